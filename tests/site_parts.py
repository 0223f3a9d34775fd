"""A small chapter with every kind of output, and the site made of it.

For the tests of the site: the cells' outputs are made here and no kernel runs. The
exercise and the prediction are real ones of chapter 2.
"""

import importlib.util
import os
from pathlib import Path

import nbformat
import pytest
import torch
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from utils.checks import stub_of
from utils.launcher import library
from utils.launcher.website import build
from utils.launcher.website.chapters import chapter_page
from utils.launcher.website.others import front_page, gallery_page
from utils.launcher.website.outputs import STATE, WIDGET
from utils.launcher.website.reference import function_page
from utils.pictures import attention_view, diagrams, figures

__all__ = ["HOSTILE", "made_chapter", "needs_tools", "shown", "small_site"]

# tests/requirements.txt brings the tools; only an environment made before it did lacks
# them, and in CI that is a failure.
needs_tools = pytest.mark.skipif(
    importlib.util.find_spec("furo") is None and os.environ.get("CI") != "true",
    reason="what builds the site is not installed: python3 -m utils site",
)

OWN_WORDS = '# Say it.\nown_words("words_zero_layers", r"""\n\n""")'
HOSTILE = "</script><img src=//example.com/x onerror=alert(1)>"


def shown(value) -> dict:
    """A cell's output as a kernel would send it."""
    data = value._repr_mimebundle_()
    return new_output("display_data", data=data)


def made_chapter() -> nbformat.NotebookNode:
    """A notebook with each kind of output, an exercise and a prediction."""
    torch.manual_seed(0)
    pattern = torch.rand(2, 4, 4).tril()
    pattern = pattern / pattern.sum(dim=-1, keepdim=True)
    words = ["a", "<b>", HOSTILE, "d"]
    view = attention_view.attention_heads(pattern, words)
    heat = figures.matrix_heatmap(
        torch.randn(3, 3), list("xyz"), list("uvw"), title="A made table"
    )
    still = (
        '<div id="course-still-1"><div role="group" aria-label="A still.">s</div></div>'
    )
    box = {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_slider"]}}
    slider = {"model_name": "IntSliderModel", "state": {"description": "Position"}}
    widget = {WIDGET: {"model_id": "box"}, "text/plain": "VBox()"}
    ballot = new_output("display_data", data={WIDGET: {"model_id": "ballot"}})
    cells = [
        _words("ch2-001", "# Chapter 2: Made up\n\n**Time:** 5 minutes; short."),
        _words("ch2-002", "## 1. Formulas\n\nHere $\\textcolor{#9A3D84}{W_Q}$, and\n\n"
               "$$\\sum_i \\frac{x_i}{\\sqrt{d}}$$"),
        _code("ch2-003", "print(1)", [
            new_output("stream", name="stdout", text="one <b>\n"),
            new_output("stream", name="stderr", text="a warning\n"),
            new_output("stream", name="stdout", text="two\n"),
        ]),
        _code("ch2-004", "figure", [shown(heat)]),
        _code("ch2-005", "view", [shown(view)]),
        _code("ch2-006", "drawn", [shown(diagrams.model_diagram(_config()))]),
        _code("ch2-007", "explorer", [
            new_output("display_data", data={"text/html": still}),
            new_output("display_data", data=widget),
        ]),
        _code("ch2-008", 'predict("zero_layer_sees")', []),
        _code("ch2-r1", 'import this\n\nrecall("ch2")\n', [ballot]),
        _code("ch2-w1", OWN_WORDS, [ballot]),
        _code("ch2-019", stub_of("direct_path"), []),
        _code("ch2-020", 'progress("ch2")', [shown(heat)]),
    ]  # fmt: skip
    state = {"state": {"box": box, "slider": slider}}
    return new_notebook(cells=cells, metadata={"widgets": {STATE: state}})


def _config():
    from utils.models.attention_only import AttentionOnlyConfig

    return AttentionOnlyConfig(n_layers=1, d_vocab=9, d_model=8, n_heads=2, n_ctx=5)


def _words(id: str, text: str):
    return new_markdown_cell(text, id=id)


def _code(id: str, source: str, outputs: list):
    return new_code_cell(source, id=id, outputs=outputs)


def small_site(folder: Path, more: str = "") -> Path:
    """Build the site of the small chapter; returns the folder with its pages.

    `more` is Markdown that the chapter ends with.
    """
    stills = folder / "source" / "_static" / "stills"
    stills.mkdir(parents=True)
    site = build.Site()
    page = chapter_page("ch2_zero_layer", made_chapter(), stills)
    page.markdown += "\n" + more
    build.add_chapter(site, page)
    [direct] = [each for each in library.functions() if each.name == "direct_path"]
    site.pages["reference"] = function_page(direct, page.pictures[0])
    site.pages["scoreboard"] = "# Scoreboard\n\n" + "\n\n".join(
        f"(row-{row.lower()})=\n## {row}" for row in direct.rows
    )
    site.pages["gallery"] = gallery_page(site.chapters)
    site.pages["index"] = front_page(site.chapters, site.pages)
    return build.build_pages(site, folder).parent
