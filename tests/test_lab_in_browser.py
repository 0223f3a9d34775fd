"""JupyterLab as `lab` starts it, seen by a real browser."""

import contextlib
import json
import re
import shutil
import sys

import pytest

from tests import browser
from utils.exercises.glossary import GLOSSARY
from utils.launcher import environment, lab
from utils.pictures.colors import rgb
from utils.pictures.diagrams.ink import ROLES
from utils.pictures.formulas import color_formulas

pytestmark = pytest.mark.slow
CELL = "import utils, solutions, pathlib; pathlib.Path(utils.__file__).parts[-3:]"
DARK = {"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}
NOTEBOOK = {
    "cells": [
        {
            "cell_type": "code",
            "id": "where",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": CELL,
        },
        {
            "cell_type": "markdown",
            "id": "term",
            "metadata": {},
            "source": color_formulas(
                "The [stream](GLOSSARY.md#residual-stream) and $W_Q$."
            ),
        },
    ],
    "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


@pytest.fixture
def server(tmp_path, monkeypatch):
    """JupyterLab, dark, on a folder of this test, with a site; yields its address."""
    monkeypatch.setattr(lab, "CHAPTERS", tmp_path / "chapters")
    monkeypatch.setattr(lab, "COPIES", tmp_path / "my_chapters")
    lab.CHAPTERS.mkdir()
    (lab.CHAPTERS / "ch2_zero_layer.ipynb").write_text(json.dumps(NOTEBOOK))
    shutil.copy(GLOSSARY, lab.CHAPTERS)
    lab.lay_missing()
    site = tmp_path / "site" / lab.FIRST_PAGE.relative_to(lab.FOLDER)
    site.parent.mkdir(parents=True)
    site.write_text('<p>Closed</p><script src="open.js"></script>')
    site.with_name("open.js").write_text('document.body.textContent = "Open"')
    monkeypatch.setattr(lab, "FIRST_PAGE", site)
    own = [word for word in lab.SETTINGS if "extra_static_paths" not in word]
    own.append(f"--ServerApp.extra_static_paths={tmp_path / 'site'}")
    monkeypatch.setattr(lab, "SETTINGS", tuple(own))
    lab.lay_site_link(tmp_path)
    monkeypatch.delenv("JUPYTER_PATH", raising=False)  # a new process, no warm kernel
    with browser.jupyter(lab.COPIES, tmp_path, DARK) as address:
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


def test_a_button_and_the_help_menu_lead_to_the_site(server, page):
    browser.open_notebook(page, server, "ch2_zero_layer.ipynb")
    page.context.route(re.compile("^(?!http://127)"), lambda route: route.abort())
    # The toolbar's own buttons are still there.
    page.locator(".jp-NotebookPanel-toolbar [data-jp-item-name=run]").wait_for()
    for opens in (_by_button, _by_menu):
        with page.context.expect_page() as opened:
            opens(page)
        opened.value.wait_for_load_state()
        assert opened.value.url == server + lab.SITE
        assert opened.value.inner_text("body") == "Open"
    assert browser.outside_requests(page, server) == []


def _by_button(page) -> None:
    page.get_by_role("button", name="Course site").click()


def _by_menu(page) -> None:
    from playwright.sync_api import TimeoutError

    # A menu that is drawn anew while it opens is closed again.
    for _ in range(6):
        page.get_by_role("menuitem", name="Help", exact=True).click()
        with contextlib.suppress(TimeoutError):
            page.get_by_text("Course site, to search").click(timeout=5_000)
            return
    raise AssertionError("The Help menu did not stay open.")


def test_a_term_leads_to_its_entry_and_symbols_have_the_dark_colour(server, page):
    browser.open_notebook(page, server, "ch2_zero_layer.ipynb")
    wanted = f"rgb({', '.join(str(int(c)) for c in rgb(ROLES['qk-line'][1]))})"
    page.locator("mjx-mstyle").first.wait_for()
    # The theme comes a moment after the page.
    page.wait_for_function(
        """wanted => getComputedStyle(document.querySelector("mjx-mstyle")).color
            == wanted""",
        arg=wanted,
    )
    page.locator(".jp-RenderedMarkdown a[href*=GLOSSARY]").click()
    entry = page.locator(".jp-MarkdownViewer h3", has_text="residual stream")
    entry.wait_for()
    page.wait_for_function(
        """() => [...document.querySelectorAll(".jp-MarkdownViewer h3")].some(
            h => h.textContent.startsWith("residual stream")
                && h.getBoundingClientRect().top > 0
                && h.getBoundingClientRect().top < 200)"""
    )
    assert browser.outside_requests(page, server) == []
