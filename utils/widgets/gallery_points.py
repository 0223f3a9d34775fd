"""The head gallery's scatter: every head a dot that can be clicked, a few with names.

It is written as SVG directly, because making a plotly figure of some hundred points
takes longer than all else that a click asks for.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from utils.pictures import figures
from utils.pictures.axes import nice_ticks, text_at
from utils.pictures.colors import blend, color_ramp, png_data_uri
from utils.text.tokens import one_line

__all__ = ["Measured", "labels_at", "points_picture"]

# The picture, in pixels, and where its axes lie in it.
WIDTH, HEIGHT = 740, 400
LEFT, RIGHT, TOP, BOTTOM = 66, 632, 16, 348
GRID, MUTED, CHOSEN = "#D9DDE2", "#6B7280", "#B3371B"
RADIUS, SIZE = 4.5, 11
MOST_LABELS = 14
# With more dots than this the Tab key would stop too often; the list of heads is there.
MOST_STOPS = 40
LONGEST = 44
Box = tuple[float, float, float, float]


class Measured(NamedTuple):
    """One score of every head: its name, and its values [head] in the heads' order."""

    name: str
    values: np.ndarray

    @property
    def title(self) -> str:
        """The name on one line, short enough for an axis."""
        name = one_line(self.name)
        return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"

    def range(self) -> tuple[float, float]:
        """From the least to the largest finite value, with some room at both ends."""
        known = self.values[np.isfinite(self.values)]
        low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
        pad = 0.06 * float(high - low) or max(0.05 * abs(float(high)), 0.05)
        return float(low) - pad, float(high) + pad


def points_picture(
    names: Sequence[str],
    x: Measured,
    y: Measured,
    color: Measured | None,
    chosen: int,
    label: str,
) -> str:
    """The scatter as SVG; heads whose x or y is not finite are left out.

    `chosen` is the place of the head with a ring around it. `label` is the picture's
    accessible name.
    """
    (x_low, x_high), (y_low, y_high) = x.range(), y.range()
    across = LEFT + (RIGHT - LEFT) * (x.values - x_low) / (x_high - x_low)
    up = BOTTOM - (BOTTOM - TOP) * (y.values - y_low) / (y_high - y_low)
    fills, bar = _paint(color, len(names))
    drawn = np.flatnonzero(np.isfinite(across) & np.isfinite(up)).tolist()
    parts = [*_frame((x_low, x_high), (y_low, y_high), x.title, y.title), *bar]
    shown = [x, y] + ([color] if color else [])
    stops = len(drawn) <= MOST_STOPS
    dots = [
        _dot(across[i], up[i], fills[i], names[i], _said(names[i], shown, i), stops)
        for i in drawn
    ]
    parts.append(
        f'<g cursor="pointer" stroke="{MUTED}" stroke-width="1">{"".join(dots)}</g>'
    )
    if chosen in drawn:
        parts.append(
            f'<circle cx="{across[chosen]:.1f}" cy="{up[chosen]:.1f}" r="7.5" '
            f'fill="none" stroke="{CHOSEN}" stroke-width="3" pointer-events="none"/>'
        )
    places = [(across[i], up[i]) for i in drawn]
    first = drawn.index(chosen) if chosen in drawn else None
    found = labels_at(places, [names[i] for i in drawn], first)
    parts += [_name(*box[:2], names[drawn[i]], i == first) for i, box in found.items()]
    return (
        f'<svg width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="group" aria-label="{escape(label)}" font-family="sans-serif" '
        f'style="max-width:100%;height:auto">{"".join(parts)}</svg>'
    )


def _said(name: str, shown: Sequence[Measured], i: int) -> str:
    values = (f"{one.title} {one.values[i]:.2f}" for one in shown)
    return f"{name}: {', '.join(values)}"


def _dot(x: float, y: float, fill: str, name: str, said: str, stop: bool) -> str:
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RADIUS}" fill="{fill}"'
    key = f' tabindex="0" role="button" aria-label="{escape(said)}"' if stop else ""
    pick = f' data-pick="{escape(name)}"'
    return f"{shape}{pick}{key}><title>{escape(said)}</title></circle>"


def _name(x: float, y: float, name: str, chosen: bool) -> str:
    """A name whose box begins at (x, y), on white where it lies over something."""
    ink, weight = (CHOSEN, 700) if chosen else (figures.INK, 400)
    return (
        f'<text x="{x:.1f}" y="{y + SIZE:.1f}" font-size="{SIZE}" fill="{ink}" '
        f'font-weight="{weight}" stroke="#FFFFFF" stroke-width="3" '
        f'paint-order="stroke" pointer-events="none">{escape(name)}</text>'
    )


def labels_at(
    places: Sequence[tuple[float, float]], names: Sequence[str], first: int | None
) -> dict[int, Box]:
    """Boxes (left, top, right, bottom) of the names that are written, by the point.

    The point `first` always gets its name; the others in the order of how far they lie
    from the middle of all, if there is a place beside them inside the axes that covers
    no other name and no dot.
    """
    points = np.array(places, dtype=float).reshape(-1, 2)
    if not len(points):
        return {}
    away = np.abs(points - np.median(points, axis=0)).max(axis=1)
    order = [i for i in np.argsort(-away, kind="stable").tolist() if i != first]
    boxes: dict[int, Box] = {}
    if first is not None:
        order = [first, *order]
    for i in order:
        if len(boxes) == MOST_LABELS:
            break
        found = [
            box for box in _beside(points[i], names[i]) if _inside(box, boxes.values())
        ]
        clear = [box for box in found if not _on_dots(box, points, i)]
        if clear or (i == first and found):
            boxes[i] = (clear or found)[0]
    return boxes


def _beside(point: np.ndarray, name: str) -> list[Box]:
    x, y = float(point[0]), float(point[1])
    wide, high, gap = 0.66 * SIZE * len(name) + 2, SIZE + 3, RADIUS + 6
    level = min(max(y - high / 2, TOP), BOTTOM - high)
    corners = [
        (x + gap, level),
        (x - gap - wide, level),
        (x - wide / 2, y - gap - high),
        (x - wide / 2, y + gap),
        (x + gap - 3, y - gap - high + 3),
        (x - gap - wide + 3, y - gap - high + 3),
    ]
    return [(a, b, a + wide, b + high) for a, b in corners]


def _inside(box: Box, taken) -> bool:
    """Whether a box lies between the axes and meets none of those taken."""
    left, top, right, bottom = box
    if left < LEFT or right > RIGHT or top < TOP or bottom > BOTTOM:
        return False
    return not any(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom
        for other in taken
    )


def _on_dots(box: Box, points: np.ndarray, own: int) -> bool:
    left, top, right, bottom = box
    x, y = points[:, 0], points[:, 1]
    hit = (x > left - RADIUS) & (x < right + RADIUS)
    hit &= (y > top - RADIUS) & (y < bottom + RADIUS)
    hit[own] = False
    return bool(hit.any())


def _paint(color: Measured | None, count: int) -> tuple[list[str], list[str]]:
    """A fill for each head, and the bar that says what the colours mean."""
    if color is None:
        return [figures.PALETTE[0]] * count, []
    known = color.values[np.isfinite(color.values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    scale = figures.SEQUENTIAL
    if low < 0:
        low, high, scale = -max(-low, high), max(-low, high), figures.DIVERGING
    span = high - low or 1.0
    fills = [
        blend(scale, (value - low) / span) if np.isfinite(value) else GRID
        for value in color.values.tolist()
    ]
    source = png_data_uri(np.arange(99, -1, -1)[:, None], color_ramp(scale, 100))
    left = RIGHT + 24
    bar = [
        f'<image x="{left}" y="{TOP}" width="12" height="{BOTTOM - TOP}" '
        f'preserveAspectRatio="none" href="{source}"/>',
        f'<rect x="{left}" y="{TOP}" width="12" height="{BOTTOM - TOP}" fill="none" '
        f'stroke="{MUTED}"/>',
        text_at(left + 17, TOP + 9, f"{high:.3g}", 10, "start"),
        text_at(left + 17, BOTTOM, f"{low:.3g}", 10, "start"),
        text_at(left + 34, (TOP + BOTTOM) / 2, color.title, 11, "middle", -90),
    ]
    return fills, bar


def _frame(
    xs: tuple[float, float], ys: tuple[float, float], x_title: str, y_title: str
) -> list[str]:
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{figures.PAPER}"/>']
    for value in nice_ticks(*xs):
        x = LEFT + (RIGHT - LEFT) * (value - xs[0]) / (xs[1] - xs[0])
        parts.append(f'<path d="M{x:.1f} {TOP}V{BOTTOM}" stroke="{GRID}"/>')
        parts.append(text_at(x, BOTTOM + 15, f"{value:g}", 10))
    for value in nice_ticks(*ys):
        y = BOTTOM - (BOTTOM - TOP) * (value - ys[0]) / (ys[1] - ys[0])
        parts.append(f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="{GRID}"/>')
        parts.append(text_at(LEFT - 6, y + 4, f"{value:g}", 10, "end"))
    parts.append(text_at((LEFT + RIGHT) / 2, HEIGHT - 14, x_title))
    parts.append(text_at(16, (TOP + BOTTOM) / 2, y_title, 12, "middle", -90))
    return parts
