"""Tokens made readable: every blank or invisible character gets a visible sign.

Called by the attention views, the figures and whatever prints tokens.
"""

import re
import unicodedata
from collections.abc import Iterable

__all__ = ["meant", "one_line", "visible", "visible_all", "visible_labels"]

_SIGNS = {" ": "·", "\n": "⏎", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\x7f": "␡"}
_CONTROLS = {chr(0x2400 + i): chr(i) for i in range(32)}
_BY_SIGN = str.maketrans(_CONTROLS | {sign: text for text, sign in _SIGNS.items()})
_CODE_POINT = re.compile(r"⟨U\+([0-9A-F]{4,5}|10[0-9A-F]{4})⟩")
_BETWEEN_WORDS = re.compile(r"(?<=\S) (?=\S)")
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


def meant(shown: str) -> str:
    """The text that `visible` shows in this way.

    Example:
        >>> meant("·def⏎")
        ' def\\n'
        >>> meant("a⟨U+200F⟩b") == "a\\u200fb"
        True
    """
    plain = _CODE_POINT.sub(lambda found: chr(int(found[1], 16)), shown)
    return plain.translate(_BY_SIGN)


def visible_all(tokens: Iterable[str]) -> list[str]:
    """`visible` of each token, in order."""
    return [visible(token) for token in tokens]


def visible_labels(labels: Iterable[str]) -> list[str]:
    """Labels of an axis, which may be tokens or words of ours, in order.

    One space between two words is no part of a token, so it stays a space; all else is
    shown as `visible` shows it.

    Example:
        >>> visible_labels([" def", "0.5 then 1.7", "a  b"])
        ['·def', '0.5 then 1.7', 'a··b']
    """
    return [" ".join(visible_all(_BETWEEN_WORDS.split(label))) for label in labels]


def one_line(text: object) -> str:
    """A name or a title with plain single spaces; all else as `visible` shows it."""
    return " ".join(visible_all(str(text).split()))
