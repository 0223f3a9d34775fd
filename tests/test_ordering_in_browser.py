"""Help in real JupyterLab, by keys alone: a wrong answer, hints, the lines to order, a
right answer, and both to compare."""

import nbformat
import pytest

from tests import browser
from tests.test_chapters_in_browser import tab_to
from tests.test_ordering import puzzle_of

pytestmark = pytest.mark.slow
NAME = "kl_to_bigram"
CELLS = [
    "from utils.prelude import *",
    f"@exercise\ndef {NAME}(model, log_probs, frequencies):\n"
    "    return frequencies.sum()",
]
RIGHT = f"""@exercise
def {NAME}(model, log_probs, frequencies):
    table = (model.W_E @ model.W_U).log_softmax(dim=-1)  # a remark of my own
    each = (log_probs.exp() * (log_probs - table)).sum(dim=-1)
    return float((frequencies * each).sum())"""
# Text with too little contrast against what is behind it, by WCAG's formula.
PALE = """place => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = c => c.slice(0, 3).map(v => v / 255).map(
        v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
    ).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = e => {
        for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0.5) return c;
        }
        return [255, 255, 255];
    };
    const found = [];
    for (const e of place.querySelectorAll("pre, p, strong, span, button, div")) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
        const shown = e.getClientRects().length > 0 && !e.disabled;
        if (!own || !shown || e.closest("[disabled]")) continue;
        const one = light(parse(getComputedStyle(e).color)), two = light(behind(e));
        const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (ratio < 4.5) found.push([e.innerText.slice(0, 40), ratio]);
    }
    return found;
}"""

# Code or a button's word that does not fit into its place.
CUT = """place => [...place.querySelectorAll("pre, button")]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText)"""


@pytest.fixture(params=["JupyterLab Light", "JupyterLab Dark"])
def lab(request, tmp_path, chromium):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cells = [nbformat.v4.new_code_cell(s, id=f"c{i}") for i, s in enumerate(CELLS)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=kernel)
    nbformat.write(notebook, folder / "order.ipynb")
    themes = {"@jupyterlab/apputils-extension:themes": {"theme": request.param}}
    with browser.jupyter(folder, tmp_path, themes) as address:
        yield address


def focused(page) -> str:
    return page.evaluate("() => document.activeElement.title")


def press_until(page, key: str, wanted: str) -> None:
    """Press a key until the button with this title has the focus."""
    for _ in range(80):
        if focused(page).startswith(wanted):
            return
        page.keyboard.press(key)
    pytest.fail(f"{key} does not reach {wanted!r}; last was {focused(page)!r}")


def said(page, words: str) -> None:
    page.locator(".jp-Notebook [role=status]", has_text=words).last.wait_for()


def test_lines_are_put_in_order_by_keys_alone(lab, page):
    browser.open_notebook(page, lab, "order.ipynb")
    browser.run_all(page)
    browser.walk_to(page, 1)
    tab_to(page, "Next hint")
    show = page.get_by_role("button", name="Show the solution")
    for number in (1, 2, 3):
        if number > 2:  # offered after two hints
            show.wait_for()
        assert show.count() == (number > 2)
        page.keyboard.press("Enter")
        said(page, f"hint {number} of 4")
    puzzle = puzzle_of(NAME)
    order = list(range(1, len(puzzle.lines) + 1))
    page.get_by_role("button", name="Check this order").wait_for()
    for n, line in enumerate(puzzle.lines, 1):
        if line.mistake:
            press_until(page, "Tab", f"Take out: line {n},")
            page.keyboard.press("Enter")
            said(page, f"Line {n} is left out")
            order.remove(n)
            press_until(page, "Shift+Tab", f"Down: line {order[0]},")
    for place, n in enumerate(puzzle.solved):
        if order.index(n) == place:
            continue
        press_until(page, "Tab", f"Up: line {n},")
        while order.index(n) > place:
            i = order.index(n)
            order[i - 1], order[i] = order[i], order[i - 1]
            page.keyboard.press("Enter")
            said(page, f"Line {n} is at place {i} of {len(order)}")
        # The keys stay with the line that was moved.
        stays = f"{'Down' if place == 0 else 'Up'}: line {n},"
        page.wait_for_function(f"document.activeElement.title.startsWith('{stays}')")
        press_until(page, "Shift+Tab", f"Down: line {order[0]},")
    assert order == puzzle.solved
    output = browser.cell_at(page, 1).locator(".jp-OutputArea")
    assert output.evaluate(PALE) == []
    tab_to(page, "Check this order")
    page.keyboard.press("Enter")
    said(page, "in order")
    assert output.evaluate(PALE) == [] and output.evaluate(CUT) == []
    page.keyboard.press("Escape")
    page.keyboard.press("k")  # from the button to the cell above, and back
    browser.walk_to(page, 1)
    page.keyboard.press("Enter")
    browser.write_source(page, RIGHT)
    page.keyboard.press("Control+Enter")
    said(page, "passed")
    compared = output.locator("details")
    assert compared.get_attribute("open") is None
    browser.walk_to(page, 1)
    tab_to(page, "Compare your answer with the course's solution")
    page.keyboard.press("Enter")
    output.get_by_text("a remark of my own").wait_for()
    assert output.get_by_text("direct_path(model).log_softmax").is_visible()
    assert output.evaluate(PALE) == [] and output.evaluate(CUT) == []
    assert browser.errors(page) == []
