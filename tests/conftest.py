"""What every test shares: no network, no traces, the same randomness, the notebooks.

Read by pytest before it collects anything. The launcher's `test` prepares most of this
already; here it is made sure of, so that a plain `pytest` is as safe.
"""

import contextlib
import importlib
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from tests import notebooks, warm
from tests.order import begins

ROOT = Path(__file__).resolve().parents[1]
OFFLINE = ROOT / "tests" / "offline"
SCRATCH = Path(tempfile.mkdtemp(prefix="course-pytest-"))
SOLVED_FOLDER = ROOT / ".solved"
SHUFFLE = 1  # with this seed the sections of the solved chapters change places
SOLVED = pytest.StashKey[list[str]]()
WARM = pytest.StashKey[warm.Warm]()
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "COURSE_STATE": str(SCRATCH / "progress.json"),
    # The notebooks train briefly under test; a full training has its own test.
    "COURSE_TRAIN": os.environ.get("COURSE_TRAIN", "short"),
    # Chapter 7 is compared on the model that everybody has; another test has SmolLM2.
    "COURSE_REAL_MODEL": "small_gpt2",
}


def guard_network() -> None:
    """Refuse outside addresses here and in every process started from here."""
    if os.environ.get("COURSE_OFFLINE") == "namespace":
        return
    paths = [str(OFFLINE), str(ROOT), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
    if not getattr(sys.modules.get("sitecustomize"), "refuse", None):
        sys.path.insert(0, str(OFFLINE))
        sys.modules.pop("sitecustomize", None)
        importlib.import_module("sitecustomize")
        sys.path.remove(str(OFFLINE))


os.environ.update(QUIET)
guard_network()


def pytest_configure(config):
    """Add the solved copies of the chapters to what is collected."""
    try:
        import torch

        torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    except ImportError:
        pass
    # A plugin, because what stands here is not asked about files of other folders.
    config.pluginmanager.register(notebooks)
    if hasattr(config, "workerinput"):
        # One of several processes: all of them collect the same copies, and what each
        # starts, such as a notebook's kernel, keeps to its share of the cores.
        config.args.extend(config.workerinput["solved"])
        share = (os.cpu_count() or 1) // config.workerinput["workercount"]
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
        return
    if warm.POSSIBLE:
        config.stash[WARM] = warm.Warm(SCRATCH)
    # Somebody who names files wants those, not every chapter.
    chosen = config.args_source is pytest.Config.ArgsSource.ARGS
    if not chosen or str(ROOT) in config.args:
        # Inside the repository, or their cells' names would not say which chapter.
        SOLVED_FOLDER.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=SOLVED_FOLDER))
        config.stash[SOLVED] = [str(path) for path in solved_copies(folder)]
        config.args.extend(config.stash[SOLVED])


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    """pytest-xdist starts a process: tell it where the solved copies are."""
    node.workerinput["solved"] = node.config.stash.get(SOLVED, [])


def solved_copies(folder: Path) -> list[Path]:
    """Write each chapter with its exercises answered by the solutions.

    The answers return dense float64 NumPy arrays, and the sections come in another
    order: after a pass the rest of the notebook works, and each section stands alone.
    """
    chapters = sorted((ROOT / "chapters").glob("*.ipynb"))
    if not chapters or not (ROOT / "utils" / "exercises" / "sync.py").exists():
        return []
    from utils.exercises.sync import solved_copy

    copies = [folder / path.name for path in chapters]
    for chapter, copy in zip(chapters, copies, strict=True):
        solved_copy(chapter, copy, SHUFFLE, "tests.answered.in_other_clothes")
    return copies


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Several processes take whole files, or pieces that share nothing."""
    if config.option.dist == "loadfile":
        from tests.order import Pieces

        return Pieces(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """The longest first. Running a whole notebook is slow, which is said before
    `-m "not slow"` is applied."""
    items.sort(key=lambda item: begins(item.nodeid))
    for item in items:
        if item.path.suffix == ".ipynb":
            item.add_marker(pytest.mark.slow)


def pytest_unconfigure(config):
    if WARM in config.stash:
        config.stash[WARM].close()
    shutil.rmtree(SCRATCH, ignore_errors=True)
    for copy in config.stash.get(SOLVED, [])[:1]:
        shutil.rmtree(Path(copy).parent, ignore_errors=True)
        with contextlib.suppress(OSError):  # another run has its copies there
            SOLVED_FOLDER.rmdir()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium; without one the test is skipped, in CI it fails."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    if found is None and os.environ.get("CI") == "true" and os.name == "posix":
        pytest.fail("there is no Chromium, and in CI these tests must not be skipped")
    if found is None:
        pytest.skip("there is no Chromium on this computer")
    return found


@pytest.fixture(scope="session")
def smollm2() -> str:
    """The name of SmolLM2 where it was fetched; else skipped, in CI it fails."""
    from utils.models.real import is_whole

    if not is_whole("smollm2"):
        words = "SmolLM2 is not there; with a network: python3 -m utils fetch smollm2"
        if os.environ.get("CI") == "true":
            pytest.fail(words)
        pytest.skip(words)
    return "smollm2"


@pytest.fixture(scope="module")
def running_chromium(chromium):
    """Gives a headless Chromium, the same one while it lives, to a file's tests."""
    from playwright.sync_api import sync_playwright

    switches = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
    ]
    # Not longer: while playwright runs, nobody can start a loop of asyncio.
    with sync_playwright() as playwright:
        started = []

        def running():
            if not started or not started[-1].is_connected():
                started.append(
                    playwright.chromium.launch(executable_path=chromium, args=switches)
                )
            return started[-1]

        yield running
        for browser in started:
            browser.close()


@pytest.fixture
def page(running_chromium):
    """A page of a new profile, which notes every address that it asks for."""
    context = running_chromium().new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.asked = []
    page.on("request", lambda request: page.asked.append(request.url))
    yield page
    context.close()


@pytest.fixture(autouse=True)
def same_start():
    """Every test begins with the same seeds and with gradients switched on."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        # Importing the prelude switches gradients off, as a chapter wants it.
        sys.modules["torch"].set_grad_enabled(True)
