"""JupyterLab as `lab` starts it, seen by a real browser."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from utils import environment, lab

pytestmark = pytest.mark.slow
CELL = "import utils, solutions, pathlib; pathlib.Path(utils.__file__).parts[-3:]"
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "where",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": CELL,
        }
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """JupyterLab on a folder of this test; yields its address."""
    monkeypatch.setattr(lab, "CHAPTERS", tmp_path / "chapters")
    monkeypatch.setattr(lab, "COPIES", tmp_path / "my_chapters")
    lab.CHAPTERS.mkdir()
    (lab.CHAPTERS / "ch2_zero_layer.ipynb").write_text(json.dumps(NOTEBOOK))
    lab.lay_missing()
    # The setting goes into a folder of this test, not into the environment in use.
    lab._switch_off_news(tmp_path)
    variables = environment.child_environment()
    variables["JUPYTER_CONFIG_PATH"] = str(tmp_path / "etc" / "jupyter")
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        variables[f"JUPYTER_{name}"] = str(tmp_path / name)
    variables["PATH"] = os.environ["PATH"]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = ["--no-browser", f"--port={port}", "--IdentityProvider.token=course"]
    if hasattr(os, "getuid") and os.getuid() == 0:
        options.append("--allow-root")
    with open(tmp_path / "log", "w") as log:
        process = subprocess.Popen(
            lab.jupyter_command(options),
            cwd=lab.COPIES,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
        try:
            wait_for(address + "/api", process, tmp_path / "log")
            yield address
        finally:
            process.terminate()
            process.wait(20)


def wait_for(url: str, process, log) -> None:
    for _ in range(300):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    pytest.fail("JupyterLab did not answer within a minute")


def output_of_first_cell(page) -> str:
    """Run the first cell and return what it shows.

    JupyterLab forgets a cell that is run while the kernel is still being connected,
    and shows no sign of when that is over, so this asks again.
    """
    from playwright.sync_api import TimeoutError

    output = page.locator(".jp-OutputArea-output pre").first
    for _ in range(12):
        page.locator(".jp-CodeCell .cm-content").first.click()
        page.keyboard.press("Shift+Enter")
        try:
            output.wait_for(timeout=5_000)
            return output.inner_text()
        except TimeoutError:
            continue
    pytest.fail("the cell gave no output within a minute")


def test_lab_opens_the_chapter_and_asks_nobody(server, page):
    page.goto(f"{server}/?token=course")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
    assert page.title().startswith("ch2_zero")
    output = output_of_first_cell(page)
    # The kernel finds the course's own package from the learner's folder.
    assert output == str((environment.ROOT.name, "utils", "__init__.py"))
    # The question about news would come a few seconds after the start.
    page.wait_for_timeout(6_000)
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    local = (server, "data:", "blob:", server.replace("http", "ws"))
    assert [url for url in page.asked if not url.startswith(local)] == []
    assert "--LabApp.news_url=None" in lab.jupyter_command([])
    assert sys.executable == lab.jupyter_command([])[0]
