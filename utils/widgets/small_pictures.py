"""Small still pictures, drawn some times a second: curves of a few models, one pattern.

Called by the training panel. They are written as SVG directly, because making a plotly
figure takes longer than several steps of training.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape

import numpy as np

from utils.pictures import figures
from utils.pictures.axes import nice_ticks
from utils.pictures.colors import color_ramp, png_data_uri
from utils.text.tokens import visible_all

__all__ = ["Line", "attention_picture", "curves_picture", "legend"]

GRID, MUTED = "#D9DDE2", "#6B7280"
DASHES = ["", "6 3", "2 3"]
# A picture of curves, in pixels, and the room around its axes.
WIDTH, HEIGHT = 250, 176
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 42, 32
MOST_POINTS = 200
CELL, SMALLEST_CELL, MOST_PIXELS = 15, 5, 560


@dataclass(frozen=True)
class Line:
    """One model's curve: its number (which decides colour and dashes), steps, values.

    `note` is what is written over the picture: its value at the chosen step.
    """

    number: int
    steps: Sequence[int]
    values: Sequence[float]
    note: str = ""

    @property
    def stroke(self) -> str:
        """The attributes of its stroke."""
        dash = DASHES[self.number % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        return f'stroke="{self.color}" stroke-width="2" fill="none"{dashes}'

    @property
    def color(self) -> str:
        """One of the palette."""
        return figures.PALETTE[self.number % len(figures.PALETTE)]


def legend(names: Sequence[str]) -> str:
    """The lines' names, each after a piece of its line."""
    parts = []
    for i, name in enumerate(names):
        piece = f'<path d="M1 6H29" {Line(i, (), ()).stroke}/>'
        parts.append(
            '<span style="margin-right:18px;white-space:nowrap">'
            '<svg width="30" height="12" aria-hidden="true" '
            f'style="vertical-align:middle;margin-right:5px">{piece}</svg>'
            f"{escape(name)}</span>"
        )
    return f'<div style="margin:2px 0 4px">{"".join(parts)}</div>'


def curves_picture(
    title: str, lines: Sequence[Line], now: int, total: int, unit: str, score: bool
) -> str:
    """Curves up to `total` steps; what comes after step `now` is pale.

    A score's axis goes from 0 to 1, any other one from the least to the largest value.
    """
    low, high = (0.0, 1.0) if score else _extent(lines)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(total, 1)

    def y(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - low) / (high - low)

    parts = [_text(LEFT, 13, f"{title} ({unit})", "start", 12, weight=600)]
    for value in nice_ticks(low, high, 5):
        line = f"M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}"
        parts.append(f'<path d="{line}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 4, y(value) + 3.5, f"{value:g}", "end"))
    for step in nice_ticks(0, total, 5):
        parts.append(_text(x(step), HEIGHT - BOTTOM + 13, f"{step:g}"))
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(_text(middle, HEIGHT - 5, "training step"))
    ends = f"M{x(now):.1f} {TOP}V{HEIGHT - BOTTOM}"
    parts.append(f'<path d="{ends}" stroke="{MUTED}" stroke-dasharray="2 2"/>')
    for line in lines:
        points = list(zip(line.steps, line.values, strict=True))
        parts += _curve([(x(s), y(v)) for s, v in _thin(points)], x(now), line)
    at = LEFT
    for line in lines:
        parts.append(_text(at, 29, line.note, "start", 11, line.color))
        at += 6.2 * len(line.note) + 14
    label = escape(f"{title}: {', '.join(line.note for line in lines) or 'no value'}")
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{label}" font-family="sans-serif" '
        f'style="max-width:100%">{"".join(parts)}</svg>'
    )


def _curve(points: list[tuple[float, float]], now: float, line: Line) -> list[str]:
    before = [p for p in points if p[0] <= now + 0.1]
    after = points[max(len(before) - 1, 0) :]
    parts = []
    if len(after) > 1:
        parts.append(
            f'<polyline points="{_join(after)}" {line.stroke} opacity="0.25"/>'
        )
    if before:
        parts.append(f'<polyline points="{_join(before)}" {line.stroke}/>')
        a, b = before[-1]
        parts.append(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{line.color}"/>')
    return parts


def _join(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in points)


def _thin(points: list) -> list:
    """At most some two hundred points, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    places = np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int)
    return [points[i] for i in places]


def _extent(lines: Sequence[Line]) -> tuple[float, float]:
    values = [v for line in lines for v in line.values] or [0.0, 1.0]
    low, high = min(values), max(values)
    pad = 0.06 * (high - low) or 0.5
    return low - pad, high + pad


def _text(
    x: float, y: float, text: str, anchor="middle", size=10, ink=figures.INK, weight=400
) -> str:
    bold = f' font-weight="{weight}"' if weight != 400 else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}" '
        f'text-anchor="{anchor}"{bold}>{escape(text)}</text>'
    )


# --- one head's pattern --------------------------------------------------------------


@lru_cache(maxsize=1)
def _blues() -> list[str]:
    return color_ramp(figures.SEQUENTIAL, 101)


def attention_picture(weights: np.ndarray, words: Sequence[str], label: str) -> str:
    """A pattern [query, key] with its tokens; `label` is its accessible name."""
    n = len(words)
    cell = min(CELL, max(SMALLEST_CELL, MOST_PIXELS // n))
    names = [
        word if len(word) <= 12 else word[:11] + "…" for word in visible_all(words)
    ]
    size = min(11, cell - 1)
    room = 24 + 0.62 * size * max(len(name) for name in names)
    side = n * cell
    source = png_data_uri((100 * weights).round().clip(0, 100).astype(int), _blues())
    parts = [
        f'<image x="{room:.0f}" y="{room:.0f}" width="{side}" height="{side}" '
        f'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{source}"/>',
        f'<rect x="{room:.0f}" y="{room:.0f}" width="{side}" height="{side}" '
        f'fill="none" stroke="{MUTED}"/>',
    ]
    every = 1 if size >= 7 else 2
    for i in range(0, n, every):
        at = room + (i + 0.5) * cell + 0.35 * size
        parts.append(_text(room - 4, at, names[i], "end", size))
        turned = _text(0, 0, names[i], "start", size)
        place = f'transform="translate({at:.1f} {room - 4:.1f}) rotate(-90)"'
        parts.append(f"<g {place}>{turned}</g>")
    middle = room + side / 2
    parts.append(_text(middle, 11, "key (source)", size=11))
    turn = f'transform="translate(11 {middle:.1f}) rotate(-90)"'
    parts.append(f"<g {turn}>{_text(0, 0, 'query (destination)', size=11)}</g>")
    parts.append(_scale_bar(room + side + 14, room, min(side, 140)))
    width, height = room + side + 70, room + side + 4
    return (
        f'<svg width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}" font-family="sans-serif" '
        f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )


def _scale_bar(x: float, y: float, height: float) -> str:
    bar = png_data_uri(np.arange(100, -1, -1)[:, None], _blues())
    parts = [
        f'<image x="{x:.0f}" y="{y:.0f}" width="10" height="{height}" '
        f'preserveAspectRatio="none" href="{bar}"/>',
        _text(x + 14, y + 8, "1", "start"),
        _text(x + 14, y + height, "0", "start"),
    ]
    turn = f'transform="translate({x + 24:.1f} {y + height / 2:.1f}) rotate(-90)"'
    parts.append(f"<g {turn}>{_text(0, 0, 'attention weight', size=11)}</g>")
    return "".join(parts)
