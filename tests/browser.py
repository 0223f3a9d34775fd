"""JupyterLab on loopback and hands for its pages; the browser tests call this."""

import json
import os
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from utils.launcher import environment, lab

__all__ = [
    "cell_at",
    "errors",
    "jupyter",
    "outside_requests",
    "open_notebook",
    "run_all",
    "run_first_cell",
    "select_cell",
    "walk_to",
    "write_source",
]

OFFLINE = Path(__file__).parent / "offline"
# The kernels of the tests refuse outside addresses as the tests themselves do.
PATHS = os.pathsep.join([str(OFFLINE), str(environment.ROOT)])
PROMPTS = """() => [...document.querySelectorAll(
    ".jp-Notebook .jp-CodeCell .jp-InputArea-prompt")].map(p => p.textContent.trim())"""
ERRORS = '[data-mime-type="application/vnd.jupyter.error"]'


@contextmanager
def jupyter(
    folder: Path, scratch: Path, settings: Mapping[str, dict] | None = None
) -> Iterator[str]:
    """JupyterLab on a folder with the command of `lab`; yields its address.

    All it writes goes into `scratch`. `settings` overrides JupyterLab's own, plugin by
    plugin.
    """
    lab.switch_off_news(scratch)
    lab.lay_styles(scratch / "CONFIG_DIR")
    config = scratch / "etc" / "jupyter"
    overrides = config / "labconfig" / "default_setting_overrides.json"
    overrides.write_text(json.dumps(settings or {}))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with open(scratch / "log", "w") as log:
        process = subprocess.Popen(
            _command(folder, port),
            cwd=folder,
            env=_variables(scratch, config),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            _wait_for(address + "/api", process, scratch / "log")
            yield address
        finally:
            process.terminate()
            process.wait(60)


def _command(folder: Path, port: int) -> list[str]:
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=course"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        options.append("--allow-root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lab, "COPIES", folder)
        return lab.jupyter_command(lab.chapters()[0], options)


def _variables(scratch: Path, config: Path) -> dict[str, str]:
    variables = environment.child_environment()
    variables["JUPYTER_CONFIG_PATH"] = str(config)
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        variables[f"JUPYTER_{name}"] = str(scratch / name)
    variables["PATH"] = os.environ["PATH"]
    variables["PYTHONPATH"] = PATHS
    # Two kernels that both use every core slow each other down many times over.
    variables["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 2) // 2))
    variables["COURSE_STATE"] = str(scratch / "progress.json")
    return variables


def _wait_for(url: str, process, log: Path) -> None:
    for _ in range(1_000):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("JupyterLab did not answer within minutes")


def open_notebook(page, address: str, name: str) -> None:
    """Show one notebook, with nothing left of what was open before."""
    page.set_default_timeout(120_000)  # a busy computer may be ten times slower
    page.goto(f"{address}/lab/tree/{name}?token=course&reset")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")


def run_first_cell(page) -> None:
    """Run the first code cell to its end.

    JupyterLab forgets a cell that is run while the kernel is still being connected,
    and shows no sign of when that is over, so this asks again.
    """
    prompt = page.locator(".jp-Notebook .jp-CodeCell .jp-InputArea-prompt").first
    page.locator(".jp-Notebook .jp-CodeCell .cm-content").first.click()
    for _ in range(240):
        shown = prompt.inner_text().strip()
        if re.fullmatch(r"\[\d+\]:", shown):
            return
        if shown == "[ ]:":
            page.keyboard.press("Control+Enter")
        page.wait_for_timeout(500)
    pytest.fail("the first cell did not run within two minutes")


def run_all(page, seconds: int = 600) -> None:
    """Run every cell and wait until nothing is running any more."""
    run_first_cell(page)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()
    page.wait_for_timeout(1_000)
    idle = 0
    for _ in range(4 * seconds):
        prompts = page.evaluate(PROMPTS)
        if "[*]:" not in prompts and ("[ ]:" not in prompts or errors(page)):
            return
        idle = 0 if "[*]:" in prompts else idle + 1
        if idle > 240:
            pytest.fail(f"cells are left, and for a minute none has run: {prompts}")
        page.wait_for_timeout(250)
    pytest.fail(f"not all cells had run after {seconds} seconds: {prompts}")


def errors(page) -> list[str]:
    """The error messages on the page."""
    return page.locator(f".jp-Notebook {ERRORS}").all_inner_texts()


def outside_requests(page, address: str) -> list[str]:
    """The addresses outside this computer that the page asked for."""
    local = (address, address.replace("http", "ws"), "data:", "blob:")
    return [url for url in page.asked if not url.startswith(local)]


def cell_at(page, index: int):
    """The cell of the notebook with this index, from 0."""
    return page.locator(".jp-Notebook .jp-Cell").nth(index)


def write_source(page, source: str) -> None:
    """Type a whole cell anew, with the focus in its editor."""
    page.keyboard.press("Control+a")
    # All at once: key by key, the editor would add indentation and brackets itself.
    page.keyboard.insert_text(source)


def select_cell(page, index: int) -> None:
    """Make this cell the active one, with the focus on the notebook."""
    cell_at(page, index).click(position={"x": 30, "y": 10})  # where its prompt stands


def walk_to(page, index: int) -> None:
    """Select the cell with this index by keys alone, in command mode."""
    page.keyboard.press("Escape")
    active = """() => [...document.querySelectorAll(".jp-Notebook .jp-Cell")].findIndex(
        cell => cell.classList.contains("jp-mod-active"))"""
    for _ in range(400):
        now = page.evaluate(active)
        if now == index:
            return
        page.keyboard.press("j" if now < index else "k")
    pytest.fail(f"the keys did not lead to cell {index}")
