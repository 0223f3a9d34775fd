"""Every chapter as a learner meets it: in JupyterLab, in a real browser.

One server serves all of them. Chapters run as shipped, with their trainings cut short.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest

from tests import browser
from utils.exercises.sync import exercise_names, solution_source

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("ch*_*.ipynb"))
# Cells outside the window are otherwise not on the page, and could not be looked at.
ALL_CELLS = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
PLOTLY = '[data-mime-type="application/vnd.plotly.v1+json"]'
# What plotly draws into a plot; a picture without any of it is an empty frame.
DRAWN = """plots => plots.map(plot => {
    const inside = ".plot path, .plot image, .plot text, .plot use, .pielayer path";
    const shapes = [...plot.querySelectorAll(inside)];
    return shapes.filter(s => s.getBoundingClientRect().width > 0
        || s.getBoundingClientRect().height > 0).length;
})"""
# What JupyterLab's extension for widgets writes in the place of one.
LOADING, LOST = "Loading widget...", "Error displaying widget"
HACK = "window.hacked=1"
HOSTILE = [
    "</script>",
    f"<script>{HACK}</script>",
    f'<img src=x onerror="{HACK}">',
    '"quoted"',
    "'",
    "\n",
    "\u202eabc",
    "",
    "&amp;",
    "</figure></div><b>bold</b>",
    "-->",
    " self",
]


@pytest.fixture(scope="session")
def server(tmp_path_factory, chromium):
    """JupyterLab with a copy of each chapter and the notebooks of this file."""
    scratch = tmp_path_factory.mktemp("browser")
    folder = scratch / "notebooks"
    folder.mkdir()
    for chapter in CHAPTERS:
        shutil.copy(chapter, folder)
    made = {"views": views_cells(), "explorers": EXPLORERS, "panel": PANEL}
    for name, cells in made.items():
        write_notebook(folder / f"{name}.ipynb", cells)
    with browser.jupyter(folder, scratch, ALL_CELLS) as address:
        yield address, folder


def write_notebook(path: Path, sources: list[str]) -> None:
    cells = [
        nbformat.v4.new_code_cell(source, id=f"cell-{i}")
        for i, source in enumerate(sources)
    ]
    kernel = {"name": "python3", "display_name": "Python 3"}
    metadata = {"kernelspec": kernel}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


# --- the chapters --------------------------------------------------------------------


def test_the_words_for_a_missing_widget_are_those_of_the_extension():
    """Or `check_widgets` would look for something that is never written."""
    share = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    scripts = (share / "@jupyter-widgets" / "jupyterlab-manager").rglob("*.js")
    text = " ".join(path.read_text("utf-8", "replace") for path in scripts)
    assert LOADING in text and LOST in text


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_as_a_learner_meets_it(server, page, chapter):
    address, folder = server
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    browser.open_notebook(page, address, chapter.name)
    browser.run_all(page)
    assert browser.errors(page) == []
    check_saved_size(page, folder / chapter.name)
    check_figures(page)
    check_views(page)
    cells = nbformat.read(chapter, as_version=4).cells
    check_widgets(page)
    check_explorers(page)
    check_live(page, cells)
    names = exercise_names(chapter)
    by_keys_alone(page, cells, chapter.stem, names[0])
    by_mouse(page, cells, chapter.stem, names[-1])
    check_prediction(page)
    check_recall(page)
    assert browser.errors(page) == []
    assert faults == []
    assert browser.outside_requests(page, address) == []


def check_saved_size(page, path: Path) -> None:
    """With all its outputs a chapter can be sent and put under version control."""
    page.keyboard.press("Control+s")
    wait_until(page, lambda: '"output_type"' in path.read_text("utf-8"), "it saves")
    assert path.stat().st_size < 1_500_000


def check_figures(page) -> None:
    """Every plotly figure has something drawn in it."""
    figures = page.locator(f".jp-Notebook {PLOTLY}")
    plots = page.locator(f".jp-Notebook {PLOTLY} .js-plotly-plot")
    wait_until(page, lambda: plots.count() == figures.count(), "figures are drawn")
    wait_until(page, lambda: all(plots.evaluate_all(DRAWN)), "no figure is empty")


def check_views(page) -> None:
    """Every attention view has become live and has a size."""
    views = page.locator(".jp-Notebook [data-course-view]")
    live = page.locator('.jp-Notebook [data-course-view][data-shown="live"]')
    wait_until(page, lambda: live.count() == views.count(), "attention views are live")
    empty = "views => views.filter(v => v.getBoundingClientRect().height < 20).length"
    wait_until(page, lambda: live.evaluate_all(empty) == 0, "no view is empty")


def check_widgets(page) -> None:
    """What is a widget is shown as one: none is still loading, and none was lost."""
    outputs = page.locator(".jp-Notebook .jp-OutputArea-output")
    loading = outputs.filter(has_text=LOADING)
    wait_until(page, lambda: loading.count() == 0, "no widget is loading any more")
    assert outputs.filter(has_text=LOST).all_inner_texts() == []


def check_live(page, cells: list) -> None:
    """Each cell that makes an explorer shows it in place of the still picture."""
    for index, cell in enumerate(cells):
        if "from utils.widgets import" in cell.source:
            shown = browser.cell_at(page, index)
            live = shown.locator(".widget-vbox [role=group]").first
            assert len(live.inner_text()) > 30, f"cell {cell.id} shows no live page"
            for still in shown.locator('[id^="course-still-"]').all():
                assert not still.is_visible(), f"cell {cell.id} shows its still picture"


def check_explorers(page) -> None:
    """No explorer shows a problem; a slider or a list changes what one shows."""
    assert page.locator(".jp-Notebook .course-problem").count() == 0
    for explorer in page.locator(".jp-Notebook .widget-vbox:has(.widget-html)").all():
        handle = explorer.locator(".noUi-handle")
        if handle.count():
            move_slider(page, explorer, handle.last)


def move_slider(page, explorer, handle) -> None:
    """By keys: a slider at its lower end goes up, any other goes down."""
    shown = explorer.locator(".widget-html").first
    before = shown.inner_html()
    low = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemin")
    handle.focus()
    page.keyboard.press("ArrowRight" if low else "ArrowLeft")
    wait_until(
        page, lambda: shown.inner_html() != before, "the slider changes the page"
    )


def index_of(cells: list, name: str) -> int:
    starts = [cell.source.startswith(f"@exercise\ndef {name}(") for cell in cells]
    return starts.index(True)


def answer(stem: str, name: str) -> str:
    return "@exercise\n" + solution_source(stem, name).rstrip()


def by_keys_alone(page, cells: list, stem: str, name: str) -> None:
    """A hint by Tab and Enter, then the solution, without the mouse.

    The way there begins a few cells above: each key on it draws a long page anew.
    """
    index = index_of(cells, name)
    cell = browser.cell_at(page, index)
    browser.select_cell(page, index - 3)
    browser.walk_to(page, index)
    assert "not attempted" in cell.inner_text()
    tab_to(page, "Next hint")
    page.keyboard.press("Enter")
    cell.get_by_text(re.compile(rf"{name}, hint \d of 4")).wait_for()
    page.keyboard.press("k")  # from the button to the cell above, and back
    browser.walk_to(page, index)
    page.keyboard.press("Enter")
    browser.write_source(page, answer(stem, name))
    page.keyboard.press("Control+Enter")
    cell.get_by_text(f"✓ {name}: passed").wait_for()


def tab_to(page, label: str) -> None:
    """Press Tab until the button with this label has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("() => document.activeElement.innerText") == label:
            return
    pytest.fail(f"Tab does not reach the button {label!r}")


def by_mouse(page, cells: list, stem: str, name: str) -> None:
    """The hint button, then the solution typed into the cell and run."""
    cell = browser.cell_at(page, index_of(cells, name))
    cell.get_by_role("button", name="Next hint").click()
    cell.get_by_text(re.compile(rf"{name}, hint \d of 4")).wait_for()
    cell.locator(".cm-content").click()
    browser.write_source(page, answer(stem, name))
    page.keyboard.press("Control+Enter")
    cell.get_by_text(f"✓ {name}: passed").wait_for()


def check_prediction(page) -> None:
    """The first prediction: a vote, room for a second one, and only then the answer."""
    name = "This is my prediction"
    place = page.locator(f".jp-Cell:has(button:text-is('{name}'))").first
    place = browser.cell_at(
        page,
        page.locator(".jp-Notebook .jp-Cell").evaluate_all(
            "(cells, wanted) => cells.indexOf(wanted)", place.element_handle()
        ),
    )
    place.locator('input[type="radio"]').first.check()
    place.get_by_role("button", name=name).click()
    reply = place.locator(".widget-html")
    wait_until(page, lambda: len(reply.inner_text()) > 30, "a vote is answered")
    assert reply.inner_text().startswith("Your vote is a")
    page.keyboard.press("Enter")  # the button has kept the focus
    wait_until(
        page,
        lambda: reply.inner_text().startswith(("✓ Yes", "Not quite")),
        "one more press shows the answer",
    )


def check_recall(page) -> None:
    """The first of the three questions is answered at once, by keys alone."""
    place = page.locator(".jp-Cell:has(.widget-radio)").first
    place.locator('input[type="radio"]').first.focus()
    page.keyboard.press("Space")
    tab_to(page, "This is my answer")
    page.keyboard.press("Enter")
    reply = place.locator(".widget-html").first
    wait_until(page, lambda: len(reply.inner_text()) > 30, "a question is answered")
    assert reply.inner_text().startswith(("✓ Yes", "Not quite"))


def wait_until(page, condition, what: str, seconds: int = 120) -> None:
    for _ in range(seconds * 5):
        if condition():
            return
        page.wait_for_timeout(200)
    pytest.fail(f"within {seconds} seconds it did not come true that {what}")


# --- attention views -----------------------------------------------------------------


def views_cells() -> list[str]:
    """Twelve views of hostile tokens, three of each kind."""
    first = f"""import torch
from utils.pictures import attention_view as views
tokens = {HOSTILE!r}
n = len(tokens)
scores = torch.rand(8, n, n, generator=torch.Generator().manual_seed(0)) * 8
mask = torch.ones(n, n).triu(1) > 0
patterns = scores.masked_fill(mask, -1e9).softmax(-1)
log_probs = scores[0].log_softmax(-1)"""
    kinds = [
        "views.attention_heads(patterns, tokens)",
        "views.attention_pattern(patterns[1], tokens, '0.1')",
        "views.colored_tokens(tokens, patterns[2, -1] - 0.1)",
        "views.token_log_probs(torch.arange(n), log_probs, tokens.__getitem__)",
    ]
    return [first, *kinds * 3]


def check_width_comes_back(page) -> None:
    """A pattern becomes small with its page, and large again."""
    pattern = """[data-course-view*='"AttentionPattern"']"""
    canvas = page.locator(f".jp-Notebook {pattern} canvas").first

    def width() -> float:
        return canvas.evaluate("canvas => canvas.getBoundingClientRect().width")

    wide = width()
    page.set_viewport_size({"width": 700, "height": 800})
    wait_until(page, lambda: width() < 0.8 * wide, "the pattern is small")
    page.set_viewport_size({"width": 1280, "height": 800})
    wait_until(page, lambda: abs(width() - wide) < 2, "the pattern is large again")


def test_hostile_tokens_only_appear(server, page):
    """Twelve views of tags and quotes do nothing; saved, they stay small; reopened
    without a kernel, the still pictures are there."""
    address, folder = server
    dialogs = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    browser.open_notebook(page, address, "views.ipynb")
    browser.run_all(page)
    assert browser.errors(page) == []
    views = page.locator(".jp-Notebook [data-course-view]")
    assert views.count() == 12
    check_views(page)
    page.wait_for_timeout(1_000)
    assert page.evaluate("() => window.hacked === undefined") and dialogs == []
    assert page.locator('.jp-Notebook img[src="x"]').count() == 0
    assert page.locator(".jp-Notebook [data-course-view] b").count() == 0
    # Six of the views write tokens as text, the others draw them on a canvas. A joiner
    # keeps < apart from what follows it.
    texts = [text.replace("\u2060", "") for text in views.all_text_contents()]
    assert sum("</script>" in text and "onerror=" in text for text in texts) == 6
    check_width_comes_back(page)
    page.keyboard.press("Control+s")
    saved = folder / "views.ipynb"
    wait_until(page, lambda: "data-course-view" in saved.read_text("utf-8"), "it saves")
    assert saved.stat().st_size < 1_000_000
    assert "CircuitsVis" not in saved.read_text("utf-8")
    check_reopened(page, address)
    assert browser.outside_requests(page, address) == []


def check_reopened(page, address: str) -> None:
    """The notebook again, after its kernel has ended and before another runs."""
    headers = {"Authorization": "token course"}
    for session in page.request.get(f"{address}/api/sessions", headers=headers).json():
        url = f"{address}/api/sessions/{session['id']}"
        assert page.request.delete(url, headers=headers).ok
    browser.open_notebook(page, address, "views.ipynb")
    views = page.locator(".jp-Notebook [data-course-view]")
    wait_until(page, lambda: views.count() == 12, "all views are back")
    drawn = """views => views.filter(view =>
        [...view.querySelectorAll("img")].some(i => i.naturalWidth > 0)
        || view.querySelector("bdi")).length"""
    wait_until(page, lambda: views.evaluate_all(drawn) == 12, "still pictures are seen")
    assert page.evaluate("() => window.hacked === undefined")


# --- explorers -----------------------------------------------------------------------

EXPLORERS = [
    """from utils.prelude import *
from utils import widgets
from utils.models.handmade import random_model
words = load_tokenizer(1024)
model = random_model(2, d_vocab=1024, n_ctx=64, n_heads=4, tokenizer=words)
def qk(model, layer, head):
    left, right = model.W_Q[layer, head], model.W_K[layer, head].T
    return FactoredMatrix(model.W_E @ left, right @ model.W_E.T)
def ov(model, layer, head):
    left, right = model.W_V[layer, head], model.W_O[layer, head]
    return FactoredMatrix(model.W_E @ left, right @ model.W_U)
def decompose(model, tokens):
    _, cache = model.run_with_cache(tokens)
    heads = [cache["z", i][:, :, j] @ model.W_O[i, j] for i in (0, 1) for j in range(4)]
    return torch.stack([cache["hook_embed"], *heads])""",
    "widgets.circuit_browser(model, qk, ov, source='self')",
    "widgets.pattern_browser(model)",
    "widgets.residual_ledger(model, decompose)",
    "widgets.head_dials(model)",
    "widgets.composition_browser(model, lambda model: torch.rand(4, 4))",
    "widgets.induction_microscope(model, 1, 0)",
]


def test_explorers_answer_to_keys(server, page):
    address, folder = server
    browser.open_notebook(page, address, "explorers.ipynb")
    browser.run_all(page)
    assert browser.errors(page) == []
    check_views(page)
    check_explorers(page)
    stills = page.locator('.jp-Notebook [id^="course-still-"]')
    live = page.locator(".jp-Notebook .widget-vbox:has(.widget-html)")
    assert stills.count() == live.count() == len(EXPLORERS) - 1
    for still in stills.all():
        assert not still.is_visible()  # the live page stands below
    box = page.get_by_role("textbox", name="Source token")
    shown = browser.cell_at(page, 1).locator(".widget-html").first
    for typed, words in (
        ("·name", "source token ·name"),
        ("self.name", "is no token by itself"),
        ("", "Type one token"),
    ):
        box.fill(typed)
        box.press("Enter")
        wait_until(page, lambda w=words: w in shown.inner_text(), f"{words} is said")
    text = browser.cell_at(page, 2).locator("textarea")
    graph = browser.cell_at(page, 5).locator(".widget-vbox")
    target = graph.locator('g[data-pick="0.3>1.2"] polyline').last
    target.dispatch_event("click")
    wait_until(
        page, lambda: "From 0.3 to 1.2:" in graph.inner_text(), "a line is picked"
    )
    dot = graph.locator('circle[data-pick="0.1"]')
    dot.focus()
    page.keyboard.press("Enter")
    wait_until(page, lambda: "From 0.1 to" in graph.inner_text(), "a dot is picked")
    assert page.evaluate("() => document.activeElement.dataset.pick") == "0.1"
    caption = browser.cell_at(page, 2).locator(".widget-html figcaption")
    before = caption.inner_text()
    text.fill("import os\nimport sys")
    text.press("Tab")
    wait_until(page, lambda: caption.inner_text() != before, "the new text is drawn")
    check_views(page)
    assert browser.outside_requests(page, address) == []


def test_the_saved_explorers_hold_no_widget_state(server, page):
    """Reopened where no widget runs, the first state is still there to read."""
    address, folder = server
    browser.open_notebook(page, address, "explorers.ipynb")
    browser.run_all(page)
    page.keyboard.press("Control+s")
    saved = folder / "explorers.ipynb"
    wait_until(page, lambda: "course-still" in saved.read_text("utf-8"), "it saves")
    notebook = json.loads(saved.read_text("utf-8"))
    assert "widgets" not in notebook["metadata"]
    assert saved.stat().st_size < 300_000


# --- the training panel --------------------------------------------------------------

PANEL = [
    """import os
os.environ["COURSE_TRAIN"] = "full"
from dataclasses import replace
from utils.prelude import *
from utils.training.recipes import LIVE
from utils.widgets import training_panel
sizes = dict(d_model=32, n_heads=4, d_head=8, n_ctx=32)
small = replace(LIVE, model=replace(LIVE.model, **sizes), batch_size=4,
                training=replace(LIVE.training, steps=20_000, dtype="float32"))
rows = stdlib_corpus(512).rows("heldout", 32)[:8].long()
def pattern(m):
    _, cache = m.run_with_cache(rows)
    return torch.stack([cache["pattern", layer] for layer in range(m.cfg.n_layers)])
measures = {"text_loss": lambda m: next_token_loss(m, rows),
            "previous_token": lambda m: pattern(m).diagonal(-1, 3, 4).mean((1, 3))}
arms = {"one layer": replace(small, model=replace(small.model, n_layers=1)),
        "two layers": small}""",
    """sentence = "def f(x): return x"
panel = training_panel(arms, measures, sentence=sentence, keep="kept")
panel""",
    "panel.train()",
]


def test_the_panel_answers_while_its_cell_trains(server, page):
    """Pause, go back in time, resume; an interrupt leaves a panel that goes on."""
    address, folder = server
    browser.open_notebook(page, address, "panel.ipynb")
    browser.run_first_cell(page)
    panel = browser.cell_at(page, 1)
    status = panel.locator(".widget-html [role=status]").last
    picture = panel.locator(".widget-html [role=group]").last
    run_cell(page, 1)
    wait_until(page, lambda: "Not trained yet" in status.inner_text(), "it is shown")
    run_cell(page, 2)
    wait_until(page, lambda: steps_of(status) > 40, "training is seen")
    panel.get_by_role("button", name="Pause").click()
    wait_until(page, lambda: status.inner_text().startswith("Paused"), "it pauses")
    assert is_running(page, 2)
    page.wait_for_timeout(1_000)
    paused, newest = steps_of(status), picture.inner_html()
    handle = panel.locator(".noUi-handle").last
    handle.focus()
    page.keyboard.press("ArrowLeft")
    wait_until(page, lambda: picture.inner_html() != newest, "it goes back in time")
    assert steps_of(status) == paused
    panel.get_by_role("button", name="Resume").click()
    wait_until(page, lambda: steps_of(status) > paused, "it goes on")
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_text("Interrupt Kernel", exact=True).click()
    wait_until(page, lambda: not is_running(page, 2), "the cell ends")
    assert status.inner_text().startswith("Interrupted")
    assert browser.errors(page) == []
    interrupted = steps_of(status)
    run_cell(page, 2)
    wait_until(page, lambda: steps_of(status) > interrupted, "it trains again")
    panel.get_by_role("button", name="Stop").click()
    wait_until(page, lambda: not is_running(page, 2), "it stops")
    assert browser.errors(page) == []


def run_cell(page, index: int) -> None:
    browser.cell_at(page, index).locator(".cm-content").click()
    page.keyboard.press("Control+Enter")


def is_running(page, index: int) -> bool:
    prompt = browser.cell_at(page, index).locator(".jp-InputArea-prompt")
    return prompt.inner_text().strip() == "[*]:"


def steps_of(status) -> int:
    """The first arm's updates, as the panel's status says."""
    found = re.search(r"step (\d+) of", status.inner_text())
    return int(found[1]) if found else 0
