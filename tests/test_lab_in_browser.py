"""JupyterLab as `lab` starts it, seen by a real browser."""

import json
import sys

import pytest

from tests import browser
from utils.launcher import environment, lab

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
    monkeypatch.delenv("JUPYTER_PATH", raising=False)  # a new process, no warm kernel
    with browser.jupyter(lab.COPIES, tmp_path) as address:
        yield address


def test_lab_opens_the_chapter_and_asks_nobody(server, page):
    page.set_default_timeout(120_000)
    page.goto(f"{server}/?token=course")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    assert page.title().startswith("ch2_zero")
    browser.run_first_cell(page)
    output = page.locator(".jp-OutputArea-output pre").first.inner_text()
    # The kernel finds the course's own package from the learner's folder.
    assert output == str((environment.ROOT.name, "utils", "__init__.py"))
    # The question about news would come a few seconds after the start.
    page.wait_for_timeout(6_000)
    assert page.locator(".jp-Dialog, .Toastify__toast").count() == 0
    assert browser.outside_requests(page, server) == []
    command = lab.jupyter_command(lab.chapters()[0], [])
    assert "--LabApp.news_url=None" in command
    assert sys.executable == command[0]
