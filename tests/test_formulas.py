"""Symbols have one colour, that of the diagrams, and it can be read on every page."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from utils.pictures import figures, formulas
from utils.pictures.colors import rgb
from utils.pictures.diagrams.ink import ROLES
from utils.pictures.formulas import color_formulas, dark_css

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("ch*.ipynb"))
QK, OV, EMBED, STREAM = (
    ROLES[f"{role}-line"][0] for role in ("qk", "ov", "embed", "stream")
)
# What JupyterLab paints behind Markdown, light and dark.
PAGES = ("#FFFFFF", "#111111")


def bare(formula: str) -> str:
    """A formula in which each coloured piece, which may hold braces, is a mark."""
    piece = r"\\textcolor\{#[0-9A-F]{6}\}\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"
    formula = re.sub(piece, "@", formula)
    return re.sub(r"\\(?:text|mathrm)\{[^{}]*\}|\\[A-Za-z]+", " ", formula)


def formulas_of(path: Path) -> list[str]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    text = re.sub(r"(?ms)^```.*?^```|`[^`]*`", "", "\n\n".join(prose))
    return re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", text, re.DOTALL)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_symbol_of_the_chapters_has_its_colour(path):
    found = formulas_of(path)
    assert len(found) > 5
    names = {
        QK: {"W_Q", "W_K", "W_{QK}", "A"},
        OV: {"W_V", "W_O", "W_{OV}", "W_{in}"},
        EMBED: {"W_E", "W_U", "W_P"},
        STREAM: {"x"},
    }
    for formula in found:
        advice = f"{formula}: run python3 -m utils sync"
        plain = bare(formula)
        assert not re.search(r"W_|(?<![a-zA-Z])[Ax](?![a-zA-Z])", plain), advice
        for color, inside in re.findall(
            r"\\textcolor\{(#\w+)\}\{(\w+(?:_\{\w+\})?)", plain
        ):
            assert inside in names[color], advice
        for color, inside in re.findall(r"\\textcolor\{(#\w+)\}\{([^}]*)", formula):
            known = [n for n in names[color] if inside.startswith(n.rstrip("}"))]
            assert known, advice


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("$W_Q$", rf"$\textcolor{{{QK}}}{{W_Q}}$"),
        (
            "$W_{OV}^{h_1} x$",
            rf"$\textcolor{{{OV}}}{{W_{{OV}}^{{h_1}}}} \textcolor{{{STREAM}}}{{x}}$",
        ),
        ("$A'_{ij}$", rf"$\textcolor{{{QK}}}{{A'_{{ij}}}}$"),
        (r"$W_E^\top$", rf"$\textcolor{{{EMBED}}}{{W_E^\top}}$"),
        (r"$$\max_t \text{A x} \mathrm{A}$$", r"$$\max_t \text{A x} \mathrm{A}$$"),
        ("`$A$` and A", "`$A$` and A"),
        ("$AB, W, xs$", "$AB, W, xs$"),
    ],
)
def test_what_is_coloured(before, after):
    assert color_formulas(before) == after
    assert color_formulas(after) == after


def test_a_wrong_colour_is_put_right():
    wrong = rf"$\textcolor{{{OV}}}{{W_{{QK}}^{{h}}}} + \textcolor{{{QK}}}{{b}}$"
    assert color_formulas(wrong) == rf"$\textcolor{{{QK}}}{{W_{{QK}}^{{h}}}} + b$"


def luminance(color: str) -> float:
    shares = rgb(color) / 255
    linear = [
        s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("role", formulas.SYMBOLS)
def test_colours_can_be_read_in_both_themes(role):
    for color, page in zip(ROLES[f"{role}-line"], PAGES, strict=True):
        assert contrast(color, page) >= 4.5


def test_the_style_sheet_of_lab_exchanges_each_colour_on_dark_pages():
    css = (ROOT / "utils" / "assets" / "lab" / "custom.css").read_text(encoding="utf-8")
    assert css == dark_css(), "run python3 -m utils sync"
    for role in formulas.SYMBOLS:
        light, dark = ROLES[f"{role}-line"]
        red, green, blue = (int(light[i : i + 2], 16) for i in (1, 3, 5))
        line = next(x for x in css.splitlines() if f"rgb({red}, {green}, {blue})" in x)
        assert dark in line
        assert 'data-jp-theme-light="false"' in line


WORDS = """() => {
    const text = document.querySelector("pre").firstChild;
    return [...text.data.matchAll(/\\S+/g)].filter(word => {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        return new Set([...range.getClientRects()].map(r => r.top)).size > 1;
    }).map(word => word[0]);
}"""
# As JupyterLab has it.
ANYWHERE = ".jp-OutputArea-output pre { word-break: break-all; white-space: pre-wrap; }"


@pytest.mark.slow
def test_printed_lines_break_between_words(page):
    printed = "one layer: 35 snapshots over 500 steps, two million tokens of text"
    body = f"""<style>{{css}}</style><div class=jp-Notebook style="width:190px">
        <div class=jp-OutputArea-output><pre>{printed}</pre></div></div>"""
    page.set_content(body.format(css=ANYWHERE))
    assert page.evaluate(WORDS)
    page.set_content(body.format(css=dark_css() + ANYWHERE))
    assert page.evaluate(WORDS) == []


def turned(color: str) -> str:
    """What `invert(0.93) hue-rotate(180deg)` makes of a colour, by the CSS standard."""
    inverted = rgb(color) / 255 * (1 - 2 * 0.93) + 0.93
    weights = np.array([0.213, 0.715, 0.072])
    rotated = 2 * weights @ inverted - inverted
    values = np.rint(255 * rotated.clip(0, 1)).astype(int)
    return "#" + "".join(f"{value:02X}" for value in values)


def test_figures_can_be_read_on_dark_pages():
    assert "filter: invert(0.93) hue-rotate(180deg)" in dark_css()
    ground = turned(figures.PAPER)
    assert contrast(ground, "#111111") < 1.1
    assert contrast(turned(figures.INK), ground) >= 7
    for color in figures.PALETTE:
        assert contrast(turned(color), ground) >= 4.5, color
