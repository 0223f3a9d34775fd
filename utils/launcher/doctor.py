"""`python3 -m utils doctor`: one line per thing a chapter needs, with its fix.

Called by `utils/__main__.py`. It installs and changes nothing. Without a whole
environment it runs on any supported Python and says so in its second line.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from utils.launcher import environment
from utils.launcher.environment import ROOT

__all__ = ["Finding", "findings", "main", "pinned", "report"]

GIB = 2**30
INSTALL_AGAIN = "delete the folder .venv and run: python3 -m utils lab"
DOWNLOAD_AGAIN = "download the course again, or: git checkout -- utils/assets"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Finding(NamedTuple):
    """One thing that was looked at. `fix` is None if it is well."""

    what: str
    fix: str | None = None
    note: bool = False


def main(argv: list[str]) -> int:
    """Print what was found; 1 if anything has to be put right."""
    if argv:
        raise environment.Problem("doctor takes no further words.")
    text, healthy = report(findings())
    print(text)
    return 0 if healthy else 1


def report(found) -> tuple[str, bool]:
    """The lines to print and whether every one is well."""
    lines, healthy = [], True
    for item in found:
        mark = "[OK]  " if item.fix is None else "[NOTE]" if item.note else "[FAIL]"
        lines.append(f"{mark} {item.what}" + (f" -> {item.fix}" if item.fix else ""))
        healthy = healthy and (item.fix is None or item.note)
    return "\n".join(lines), healthy


def findings() -> Iterator[Finding]:
    """Look at everything, cheapest first."""
    yield Finding("Python {}.{}.{}".format(*sys.version_info))
    yield _environment()
    yield _memory()
    yield _disk()
    yield _writable()
    if not environment.is_inside():
        return
    yield from _packages()
    yield from _import_places()
    yield from _extensions()
    yield _tokenizer()
    yield from _weights(ROOT / "utils" / "assets" / "models")
    yield _real_model()
    yield _progress()
    yield _browser()


def _environment() -> Finding:
    now = environment.state()
    if now == "complete":
        return Finding("environment .venv: complete")
    return Finding(f"environment .venv: {now}", "run: python3 -m utils lab")


def _memory() -> Finding:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return Finding("memory: not known on this system")
    what = f"memory: {total / GIB:.1f} GB in all"
    if total < 3.5 * GIB:
        return Finding(what, "4 GB are needed; close other programs or use another PC")
    return Finding(what)


def _disk() -> Finding:
    free = shutil.disk_usage(ROOT).free
    what = f"disk: {free / GIB:.1f} GB free"
    # Before the environment exists it needs about 2 GB; afterwards little is written.
    needed = 0.5 if environment.is_inside() else 3
    if free < needed * GIB:
        return Finding(what, f"free at least {needed:g} GB")
    return Finding(what)


def _writable() -> Finding:
    try:
        with tempfile.TemporaryFile(dir=ROOT):
            return Finding("folder: can be written to")
    except OSError:
        fix = "copy the course to a folder of your own"
        return Finding(f"folder: {ROOT} cannot be written to", fix)


def pinned() -> dict[str, str]:
    """Package and version of each line of requirements.txt that pins one."""
    text = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==([\w.]+)", text, flags=re.MULTILINE))


def _packages() -> Iterator[Finding]:
    for name, version in pinned().items():
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(f"{name}: not installed", INSTALL_AGAIN)
            continue
        # 2.13.0+cpu is PyTorch's small build of 2.13.0.
        if found.partition("+")[0] == version:
            yield Finding(f"{name} {found}")
        else:
            yield Finding(f"{name}: {found} instead of {version}", INSTALL_AGAIN)


def _import_places() -> Iterator[Finding]:
    """Whether a notebook, started in any way, imports the packages of this folder."""
    folder = ROOT / "my_chapters"
    if not folder.exists():
        folder = ROOT / "chapters"
    variables = dict(os.environ)
    variables.pop("PYTHONPATH", None)
    for name in ("utils", "solutions"):
        program = f"import {name}; print(list({name}.__path__)[0])"
        answer = subprocess.run(
            [sys.executable, "-c", program],
            cwd=folder if folder.exists() else ROOT,
            env=variables,
            capture_output=True,
            text=True,
        )
        place = answer.stdout.strip()
        if place and Path(place).resolve() == ROOT / name:
            yield Finding(f"import {name}: this folder's")
        elif place or "__path__" in answer.stderr:
            other = place or f"a file {name}.py in {folder.name}"
            fix = f"rename or remove it, or: {INSTALL_AGAIN}"
            yield Finding(f"import {name}: {other} comes first", fix)
        else:
            yield Finding(f"import {name}: not found", INSTALL_AGAIN)


def _extensions() -> Iterator[Finding]:
    """What JupyterLab needs in the browser for sliders and figures."""
    base = Path(sys.prefix) / "share" / "jupyter"
    for what, path in (
        ("JupyterLab: its pages", base / "lab" / "static" / "index.html"),
        ("JupyterLab: the kernel python3", base / "kernels" / "python3/kernel.json"),
        (
            "JupyterLab: widgets",
            base / "labextensions/@jupyter-widgets/jupyterlab-manager/package.json",
        ),
        ("JupyterLab: anywidget", base / "labextensions/anywidget/package.json"),
    ):
        missing = None if path.exists() else INSTALL_AGAIN
        yield Finding(what if missing is None else what + " missing", missing)


def _tokenizer() -> Finding:
    try:
        from utils.text.tokenizer import load_tokenizer

        ids = load_tokenizer()("def f(self):")["input_ids"]
    except Exception as error:  # any reason is one line for the learner
        text = " ".join(str(error).split())[:200]
        return Finding(f"tokenizer: does not load ({text})", DOWNLOAD_AGAIN)
    return Finding(f"tokenizer: loads, {len(ids)} tokens for a test line")


def _weights(folder: Path) -> Iterator[Finding]:
    """Each trained model's file against the SHA-256 that its record gives."""
    names = {
        path.stem for ending in ("json", "safetensors") for path in _in(folder, ending)
    }
    if not names:
        yield Finding("trained models: none are there", DOWNLOAD_AGAIN)
    for name in sorted(names):
        what = f"model {name}"
        try:
            record = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
            data = (folder / f"{name}.safetensors").read_bytes()
            intact = hashlib.sha256(data).hexdigest() == record["sha256"]
        except (OSError, ValueError, KeyError, TypeError):
            yield Finding(f"{what}: its file or its record is missing", DOWNLOAD_AGAIN)
            continue
        if intact:
            yield Finding(f"{what}: intact, {len(data) / 2**20:.1f} MB")
        else:
            yield Finding(f"{what}: damaged", DOWNLOAD_AGAIN)


def _real_model() -> Finding:
    """Whether chapter 7 has its language model."""
    bring = "python3 -m utils fetch smollm2"
    try:
        from utils.models.real import folder_of, is_whole
    except ImportError:
        return Finding("real model: cannot be looked for", INSTALL_AGAIN)
    if not is_whole("small_gpt2"):
        return Finding("model small_gpt2: damaged or missing", DOWNLOAD_AGAIN)
    if is_whole("smollm2"):
        return Finding("real model smollm2: intact")
    if folder_of("smollm2").exists():
        return Finding("real model smollm2: damaged", f"run: {bring}")
    what = "real model smollm2: not fetched; chapter 7 then uses a small one"
    return Finding(what, f"with a network, run: {bring}", note=True)


def _in(folder: Path, ending: str) -> Iterator[Path]:
    return folder.glob(f"*.{ending}")


def _progress() -> Finding:
    try:
        from utils.exercises.state import state_path

        path = state_path()
    except ImportError:
        return Finding("progress: cannot be looked for", INSTALL_AGAIN)
    if not path.exists():
        return Finding("progress: none yet")
    try:
        whole = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except (OSError, ValueError):
        whole = False
    if whole:
        return Finding(f"progress: {path} can be read")
    fix = "restore it from a backup or delete it; the next pass starts a new one"
    return Finding(f"progress: {path} is damaged", fix)


def _browser() -> Finding:
    found = next((b for b in BROWSERS if shutil.which(b)), None)
    if found:
        return Finding(f"browser for the tests: {found}")
    what = "browser for the tests: no Chromium; those tests are skipped"
    return Finding(what, "only needed to work on the course itself", note=True)
