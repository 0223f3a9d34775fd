"""Tokens made readable: every blank or invisible character gets a visible sign.

Called by the attention views, the figures and whatever prints tokens.
"""

import unicodedata
from collections.abc import Iterable

__all__ = ["one_line", "visible", "visible_all"]

_SIGNS = {" ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\x7f": "␡"}
_ZERO_WIDTH_JOINER = "\u200d"


def _sign(character: str, before: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    if ord(character) < 32:
        return chr(0x2400 + ord(character))
    category = unicodedata.category(character)
    if character == _ZERO_WIDTH_JOINER and before and ord(before) > 0x2000:
        return character  # holds together an emoji of several parts
    if category in ("Cf", "Cs", "Cc", "Zs", "Zl", "Zp"):
        return f"⟨U+{ord(character):04X}⟩"
    if category.startswith("M") and not before:
        return "◌" + character
    return character


def visible(token: str) -> str:
    """The token with spaces, line breaks and invisible characters made visible.

    Every character of the result can be drawn; direction marks and lone surrogates
    become their code point, and the empty token becomes a sign of its own.

    Example:
        >>> visible(" def\\n")
        '·def⏎'
        >>> visible("")
        '∅'
        >>> visible("a\\u200fb")
        'a⟨U+200F⟩b'
    """
    if not token:
        return "∅"
    before = ["", *token[:-1]]
    return "".join(
        _sign(character, b) for character, b in zip(token, before, strict=True)
    )


def visible_all(tokens: Iterable[str]) -> list[str]:
    """`visible` of each token, in order."""
    return [visible(token) for token in tokens]


def one_line(text: object) -> str:
    """A name or a title with plain single spaces; all else as `visible` shows it."""
    return " ".join(visible_all(str(text).split()))
