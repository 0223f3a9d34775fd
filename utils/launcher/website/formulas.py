"""How formulas look: a small font for them, and their symbols' colours on dark pages.

Called by `build.py`. Formulas are MathML, which browsers draw themselves; the font is
what some computers lack.
"""

from importlib.resources import files
from pathlib import Path

from utils.pictures.diagrams.ink import ROLES
from utils.pictures.formulas import SYMBOLS

__all__ = ["dark_rules", "write_font"]

FONT = "fonts/STIXTwoMath-Regular.ttf"
# What formulas are written with: Latin, Greek, arrows, operators, and slanted letters.
RANGES = (
    (0x20, 0x7E),
    (0xA0, 0xFF),
    (0x300, 0x30C),
    (0x391, 0x3F5),
    (0x2010, 0x2034),
    (0x2100, 0x2135),
    (0x2190, 0x2194),
    (0x21D0, 0x21D4),
    (0x2200, 0x226B),
    (0x2282, 0x229B),
    (0x22A4, 0x22A5),
    (0x22C5, 0x22EF),
    (0x2308, 0x230B),
    (0x27E8, 0x27EB),
    (0x1D400, 0x1D467),
    (0x1D6A8, 0x1D71B),
)


def write_font(target: Path) -> None:
    """Cut the font down to `RANGES`, with what makes brackets and roots grow."""
    from fontTools import subset

    options = subset.Options(
        flavor="woff", layout_features=["ssty", "dtls"], notdef_outline=True
    )
    font = subset.load_font(str(files("ziamath").joinpath(FONT)), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[c for a, b in RANGES for c in range(a, b + 1)])
    cutter.subset(font)
    subset.save_font(font, str(target), options)


def dark_rules() -> str:
    """Style rules that exchange the colours of symbols where the page is dark."""
    pairs = dict.fromkeys(ROLES[f"{role}-line"] for role in SYMBOLS)
    marked = [(f'[mathcolor="{light}"]', dark) for light, dark in pairs]
    by_hand = [
        f'body[data-theme="dark"] {which} {{ color: {dark}; }}'
        for which, dark in marked
    ]
    by_system = [
        f'body:not([data-theme="light"]) {which} {{ color: {dark}; }}'
        for which, dark in marked
    ]
    asked = "@media (prefers-color-scheme: dark) {\n" + "\n".join(by_system) + "\n}"
    return "\n".join([*by_hand, asked]) + "\n"
