r"""The colours of symbols in formulas: those that the diagrams give to the same things.

`python3 -m utils sync` writes them into the chapters as `\textcolor{#9A3D84}{W_Q}`,
which every renderer of formulas knows. The colour is the one for light pages; `lab`
gives JupyterLab a style sheet, `utils/assets/lab/custom.css`, that exchanges it on dark
ones.
"""

import re

from utils.pictures.colors import rgb
from utils.pictures.diagrams.ink import ROLES

__all__ = ["FORMULA", "SYMBOLS", "color_formulas", "dark_css", "without_colors"]

FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n]*\$", re.DOTALL)
CODE = re.compile(r"^```.*?^```|`+[^`]*`+", re.MULTILINE | re.DOTALL)
# What each symbol is; the roles are those of the diagrams.
SYMBOLS = {
    "embed": ("W_E", "W_U", "W_P"),
    "qk": ("W_Q", "W_K", "W_{QK}", "A"),
    "ov": ("W_V", "W_O", "W_{OV}", "W_{in}"),
    "stream": ("x",),
}
COLORS = {role: ROLES[f"{role}-line"] for role in SYMBOLS}
DARK = '[data-jp-theme-light="false"]'
_SCRIPT = r"(?:'|[_^](?:\{(?:[^{}]|\{[^{}]*\})*\}|\\[A-Za-z]+|[^\s{}\\]))*"
_NAMES = {name: role for role, names in SYMBOLS.items() for name in names}
# Words and commands come first, so that no letter inside them counts as a symbol.
_PARTS = re.compile(
    r"\\(?:text|mathrm|operatorname)\{[^{}]*\}|\\[A-Za-z]+|(?P<symbol>"
    + "|".join(map(re.escape, sorted(_NAMES, key=len, reverse=True)))
    + r")(?P<script>(?![A-Za-z])"
    + _SCRIPT
    + ")"
)
_COLORED = re.compile(r"\\textcolor\{#[0-9A-F]{6}\}\{")


def color_formulas(source: str) -> str:
    """A Markdown text with the symbols of its formulas coloured, and no others.

    A symbol is coloured with its indices and exponents. Colours that are there already
    are set anew. Code stays as it is.
    """
    code: list[str] = []

    def keep(match: re.Match) -> str:
        code.append(match[0])
        return f"\0{len(code) - 1}\0"

    plain = FORMULA.sub(_colored, CODE.sub(keep, source))
    return re.sub("\0(\\d+)\0", lambda m: code[int(m[1])], plain)


def _colored(formula: re.Match) -> str:
    def paint(part: re.Match) -> str:
        if not part["symbol"]:
            return part[0]
        light = COLORS[_NAMES[part["symbol"]]][0]
        return rf"\textcolor{{{light}}}{{{part[0]}}}"

    return _PARTS.sub(paint, without_colors(formula[0]))


def without_colors(formula: str) -> str:
    r"""A formula without its `\textcolor{...}{...}`; what was inside stays."""
    while found := _COLORED.search(formula):
        depth, end = 1, found.end()
        while depth and end < len(formula):
            depth += {"{": 1, "}": -1}.get(formula[end], 0)
            end += 1
        inside = formula[found.end() : end - 1]
        formula = formula[: found.start()] + inside + formula[end:]
    return formula


def dark_css() -> str:
    """The style sheet that gives JupyterLab's dark pages the colours made for them.

    Plotly's figures, explorers and views of attention know no theme. They are drawn for
    light pages; on dark ones their lightness is turned round and their hues stay.
    And where JupyterLab would break printed lines at any letter, they break between
    words.
    """
    lines = [
        "/* Colours of symbols in formulas, and figures, on dark pages; written by",
        "   `python3 -m utils sync` from utils/pictures/formulas.py. */",
        ".jp-Notebook .jp-OutputArea-output pre "
        "{ word-break: normal; overflow-wrap: anywhere; }",
        f"{DARK} :is(.js-plotly-plot, .course-card) "
        "{ filter: invert(0.93) hue-rotate(180deg); }",
        f"{DARK} .course-card .course-card {{ filter: none; }}",  # not back again
    ]
    for light, dark in COLORS.values():
        red, green, blue = (int(value) for value in rgb(light))
        lines.append(
            f'{DARK} mjx-mstyle[style*="rgb({red}, {green}, {blue})"] '
            f"{{ color: {dark} !important; }}"
        )
    return "\n".join(lines) + "\n"
