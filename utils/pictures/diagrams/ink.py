"""Colours of the diagrams, and how wide their words become."""

import re
from typing import Any

import numpy as np

from utils.pictures.figures.style import as_array

__all__ = [
    "ROLES",
    "SCRIPT",
    "SCRIPT_SIZE",
    "STYLE",
    "THEMES",
    "cut",
    "fitting",
    "matrix",
    "number",
    "text_width",
]

# (light, dark) of each colour; a role has a ground for boxes and a line for all else.
ROLES: dict[str, tuple[str, str]] = {
    "paper": ("#FFFFFF", "#15191E"),
    "ink": ("#1F2933", "#E6E8EB"),
    "muted": ("#5B6470", "#A3ACB8"),
    "faint": ("#C9CED6", "#4A525D"),
    "token": ("#EEF0F3", "#2A3038"),
    "token-line": ("#5B6470", "#A3ACB8"),
    "stream": ("#DCEAF6", "#12324A"),
    "stream-line": ("#0067A3", "#6CB8EA"),
    "head": ("#FBE5D6", "#4A2A12"),
    "head-line": ("#B84600", "#F39B63"),
    "qk": ("#F4E3F0", "#43243C"),
    "qk-line": ("#9A3D84", "#E09BD0"),
    "ov": ("#D8F0E7", "#0E3B2E"),
    "ov-line": ("#00704F", "#55C8A5"),
    "embed": ("#F6EFD2", "#3B3110"),
    "embed-line": ("#7A5F00", "#DDBE50"),
}


def _style() -> str:
    """The colours as classes, for a light page and for a dark one."""

    def colors(theme: int) -> str:
        return "".join(f"--cd-{name}:{pair[theme]};" for name, pair in ROLES.items())

    rules = [f"svg{{{colors(0)}color-scheme:light dark}}"]
    rules += [f"@media (prefers-color-scheme:dark){{svg{{{colors(1)}}}}}"]
    for name in ROLES:
        rules.append(f".f-{name}{{fill:var(--cd-{name})}}")
        rules.append(f".s-{name}{{stroke:var(--cd-{name})}}")
    return "".join(rules)


STYLE = _style()
# A picture asks for the colours of the page; where a notebook has a theme of its own,
# the element that holds the picture is told of it.
THEMES = "".join(
    f"{page} .course-diagram{{color-scheme:{scheme}}}"
    for page, scheme in (
        ('[data-jp-theme-light="true"]', "light"),
        ('[data-jp-theme-light="false"]', "dark"),
        (".vscode-light", "light"),
        (".vscode-dark", "dark"),
    )
)
_NARROW = set("iljtfrI.,:;'|!()[]{} /\\`·-")
_BROAD = set("mwMWQOG@%&⊗×+=<>→")
SCRIPT = re.compile(r"([_^])\{([^}]*)\}")
SCRIPT_SIZE = 0.75


def _char_width(character: str, mono: bool) -> float:
    if ord(character) > 0x2E7F or character in "…⟨⟩":
        return 1.05
    if mono:
        return 0.62
    if character in _NARROW:
        return 0.42
    if character in _BROAD:
        return 0.99
    if character == "−":
        return 0.84
    return 0.7 if character.isupper() else 0.64


def text_width(text: str, size: float, mono: bool = False, bold: bool = False) -> float:
    """How wide a text can become, in pixels, in the broadest usual fonts.

    `_{...}` and `^{...}` are small letters below and above the line, except in a
    monospaced text.
    """
    if mono:
        return size * sum(_char_width(c, True) for c in text)
    width, end = 0.0, 0
    for found in SCRIPT.finditer(text):
        width += sum(_char_width(c, False) for c in text[end : found.start()])
        width += SCRIPT_SIZE * sum(_char_width(c, False) for c in found[2])
        end = found.end()
    width += sum(_char_width(c, False) for c in text[end:])
    return size * width * (1.1 if bold else 1.0)


def cut(text: str, room: float, size: float, mono: bool = False) -> str:
    """The text, with an ellipsis at its end if it is wider than `room`."""
    if text_width(text, size, mono) <= room:
        return text
    if not mono:
        text = SCRIPT.sub(r"\2", text)
    while text and text_width(text + "…", size, mono) > room:
        text = text[:-1]
    return text + "…"


def number(value: float, digits: int = 2) -> str:
    """A number for a small cell: no more digits than needed, a true minus sign.

    Example:
        >>> number(-0.254), number(3.0), number(0.001), number(0.7, 1)
        ('−0.25', '3', '0', '0.7')
    """
    text = f"{value:.{digits}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text.replace("-", "−")


def fitting(value: float, room: float) -> str:
    """The number with as many digits as fit into `room` in small letters."""
    for digits in (2, 1, 0):
        words = number(value, digits)
        if text_width(words, 11) <= room:
            return words
    return f"{value:.0e}".replace("e+0", "e").replace("-", "−")


def matrix(
    values: Any, what: str, most: int, axes: str = "[rows, columns]"
) -> np.ndarray:
    """`values` as an array of two axes with at most `most` rows, or a ValueError."""
    array = as_array(values, (2,), what, axes)
    if max(array.shape) > most:
        raise ValueError(
            f"{what} has the shape {list(array.shape)}; a diagram shows at most "
            f"{most} rows and columns. Give a part of it."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{what} holds a number that is not finite.")
    return array
