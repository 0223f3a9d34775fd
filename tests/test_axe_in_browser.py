"""axe-core on each kind of widget and on progress, in JupyterLab and in both themes."""

import pytest

from tests import axe, browser
from tests.test_chapters_in_browser import (
    EXPLORERS,
    check_views,
    check_widgets,
    write_notebook,
)

pytestmark = pytest.mark.slow
SETUP = f"""{EXPLORERS[0]}
from utils.exercises.recall import recall
from utils.exercises.state import note_hint, note_try, note_vote
from utils.training.recipes import LIVE
note_try("direct_path", "failed", "tied weights")
note_hint("direct_path", 2)
note_try("direct_path", "passed", None)
scores = dict(zip(("first", "second"), torch.rand(2, 2, 4)))
rows = torch.randint(1, 1024, (2, 12))
loss = dict(loss=lambda m: next_token_loss(m, rows))"""
WIDGETS = [
    *EXPLORERS[1:],
    "widgets.head_gallery(model, scores, rows)",
    'widgets.training_panel({"one": LIVE}, loss, sentence="def f(x): return x")',
    'recall("ch2")',
    'predict("zero_layer_sees")',
    "@exercise\ndef kl_to_bigram(model, log_probs, frequencies):\n"
    "    return frequencies.sum()",
    'for _ in range(3):\n    hint("kl_to_bigram")',
    'own_words("words_zero_layers", r"""It sees one token.""")',
    "progress()",
]
# How often the lightness of each card is turned round, by what is above it.
TURNED = """() => [...document.querySelectorAll(".course-card")].map(card => {
    let times = 0;
    for (let e = card; e; e = e.parentElement)
        times += getComputedStyle(e).filter.includes("invert");
    return times;
})"""


def test_no_widget_keeps_anybody_out(tmp_path, page, chromium):
    folder = tmp_path / "notebooks"
    folder.mkdir()
    write_notebook(folder / "widgets.ipynb", [SETUP, *WIDGETS])
    shown = {"@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"}}
    with browser.jupyter(folder, tmp_path, shown) as address:
        browser.open_notebook(page, address, "widgets.ipynb")
        browser.run_all(page)
        assert browser.errors(page) == []
        check_widgets(page)
        check_views(page)
        for theme in axe.THEMES:
            axe.change_theme(page, theme)
            assert axe.faults(page) == [], theme
            turned = page.evaluate(TURNED)
            assert len(turned) >= 8 and set(turned) == {int("Dark" in theme)}
