"""Runs the chapters as they are shipped and keeps what they showed, by content.

Called by `build.py`. A chapter is run again only when something it could depend on has
changed: its own cells, the course's code and weights, or the pinned packages.
"""

import hashlib
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from utils.launcher import environment
from utils.launcher.problems import Problem

__all__ = ["executed", "fingerprint"]

# What a chapter shows can depend on all of these, and on nothing else of the project.
SOURCES = ("utils", "solutions", "requirements.txt", ".constraints.txt")
# The launcher is not imported by a chapter.
OUTSIDE = ("utils/launcher/", "utils/__main__.py")
SECONDS_A_CELL = 300
# What this chapter trains takes minutes and comes with kept records; the others train
# for seconds, and their sentences are about models that were trained to the end.
REPLAYED = ("ch6_training_dynamics",)


def executed(
    chapters: Iterable[Path], keep: Path, say: Callable[[str], None] = print
) -> dict[str, nbformat.NotebookNode]:
    """The chapters by stem, each run from top to bottom; at most two at a time.

    `keep` is a folder for what was run. Raises Problem for a chapter with a cell that
    fails.
    """
    keep.mkdir(parents=True, exist_ok=True)
    chapters = list(chapters)
    common = fingerprint(environment.ROOT)
    places = {path.stem: keep / _kept_name(path, common) for path in chapters}
    waiting = [path for path in chapters if not places[path.stem].exists()]
    # The longest first, so that the last one to finish is a short one.
    waiting.sort(key=lambda path: -path.stat().st_size)
    with ThreadPoolExecutor(max_workers=min(2, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_run, path, places[path.stem], say) for path in waiting]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return {stem: nbformat.read(place, 4) for stem, place in places.items()}


def fingerprint(root: Path) -> str:
    """A hash of all that a chapter's outputs can depend on besides its own cells."""
    total = hashlib.sha256(platform.python_version().encode())
    total.update(_real_model().encode())
    for path in _inputs(root):
        name = path.relative_to(root).as_posix()
        total.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def _inputs(root: Path) -> list[Path]:
    found = []
    for name in SOURCES:
        top = root / name
        found += [top] if top.is_file() else sorted(top.rglob("*"))
    return [
        path
        for path in found
        if path.is_file()
        and "__pycache__" not in path.parts
        and not path.relative_to(root).as_posix().startswith(OUTSIDE)
    ]


def _kept_name(chapter: Path, common: str) -> str:
    total = hashlib.sha256(common.encode() + chapter.read_bytes())
    return f"{chapter.stem}-{total.hexdigest()[:16]}.ipynb"


def _real_model() -> str:
    """The model chapter 7 shows: the one everybody has, unless another is asked for."""
    return os.environ.get("COURSE_REAL_MODEL", "small_gpt2")


def _run(chapter: Path, place: Path, say: Callable[[str], None]) -> None:
    say(f"Running {chapter.stem}")
    notebook = nbformat.read(chapter, 4)
    with tempfile.TemporaryDirectory() as scratch:
        client = NotebookClient(
            notebook,
            timeout=SECONDS_A_CELL,
            kernel_name="python3",
            resources={"metadata": {"path": scratch}},
            store_widget_state=True,
            # Kernels warn of each connection; it stays on this computer.
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
        )
        try:
            client.execute(env=_variables(chapter.stem, Path(scratch)))
        except CellExecutionError as error:
            words = f"{error.ename}: {error.evalue}"
            raise Problem(f"{chapter.name} does not run: {words}") from error
        except (CellTimeoutError, DeadKernelError) as error:
            raise Problem(f"{chapter.name} does not run: {error}") from error
    for old in place.parent.glob(f"{chapter.stem}-*.ipynb"):
        old.unlink()
    temporary = place.with_suffix(".new")
    nbformat.write(notebook, temporary)
    os.replace(temporary, place)


def _variables(stem: str, scratch: Path) -> dict[str, str]:
    """A kernel that sees nobody's progress and asks no other host."""
    variables = environment.child_environment()
    paths = [str(environment.ROOT), *(path for path in sys.path if path)]
    variables["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(paths))
    variables["COURSE_STATE"] = str(scratch / "progress.json")
    variables["COURSE_TRAIN"] = "replay" if stem in REPLAYED else "full"
    variables["COURSE_REAL_MODEL"] = _real_model()
    variables["HF_HUB_OFFLINE"] = variables["TRANSFORMERS_OFFLINE"] = "1"
    # Two kernels that both use every core slow each other down many times over.
    variables.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    return variables
