"""A still picture of a figure, for pages on which no JavaScript runs.

Called by the figures' renderer and by the attention views. It draws what this
course's figures are made of (heatmaps, lines, markers, bars, labels) and leaves out
the rest. Needs no browser and no further package.
"""

import base64
from html import escape, unescape

import numpy as np
import plotly.graph_objects as go

from utils.pictures.axes import (
    BOTTOM,
    GRID,
    INK,
    LEFT,
    RIGHT,
    WIDTH,
    Axis,
    Panels,
    as_numbers,
    axis_of,
    bar_width,
    extents,
    panels_of,
    text_at,
)
from utils.pictures.colors import color_ramp, png_data_uri, rgb

__all__ = ["static_svg"]

LETTER = 6  # about the width of one in a legend or a note


def _plain(trace: dict) -> dict:
    """The trace with plotly's binary arrays (a NumPy array given) made arrays again."""
    plain = dict(trace)
    for key, value in trace.items():
        if isinstance(value, dict) and "bdata" in value:
            flat = np.frombuffer(base64.b64decode(value["bdata"]), value["dtype"])
            shape = str(value.get("shape", len(flat)))
            plain[key] = flat.reshape([int(size) for size in shape.split(",")])
    return plain


def _heatmap(trace: dict, x: Axis, y: Axis) -> list[str]:
    z = np.stack([as_numbers(row) for row in trace["z"]])
    scale = [list(stop) for stop in trace["colorscale"]]
    steps = 24 if z.size > 1_000 else 100
    palette = [*color_ramp(scale, steps), "#FFFFFF"]
    share = (z - trace["zmin"]) / ((trace["zmax"] - trace["zmin"]) or 1.0)
    index = np.nan_to_num(np.clip(share, 0, 1) * (steps - 1), nan=steps)
    index = index.round().astype(int)
    xs, ys = extents(trace, "x"), extents(trace, "y")
    left, right = x.at(_ends(xs))
    first, last = y.at(_ends(ys))
    source = png_data_uri(index if first < last else index[::-1], palette)
    parts = [
        f'<image x="{left:.1f}" y="{min(first, last):.1f}" width="{right - left:.1f}" '
        f'height="{abs(last - first):.1f}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="{source}"/>'
    ]
    if trace.get("texttemplate"):
        inks = np.array([_ink_on(color) for color in palette])[index]
        parts += _cell_numbers(z, inks, x.at(xs), y.at(ys))
    if trace.get("showscale") is not False:
        parts += _color_bar(trace, scale, y)
    return parts


def _ends(places: np.ndarray) -> list[float]:
    """The outer edges of evenly spaced cells."""
    half = 0.5 * (places[1] - places[0] if len(places) > 1 else 1.0)
    return [places[0] - half, places[-1] + half]


def _ink_on(color: str) -> str:
    red, green, blue = rgb(color)
    return INK if 0.3 * red + 0.59 * green + 0.11 * blue > 125 else "#FFFFFF"


def _cell_numbers(z, inks, xs, ys) -> list[str]:
    return [
        text_at(
            xs[column], ys[row] + 4, f"{z[row, column]:.2f}", 11, ink=inks[row, column]
        )
        for row, column in np.ndindex(z.shape)
        if not np.isnan(z[row, column])
    ]


def _color_bar(trace: dict, scale: list, y: Axis) -> list[str]:
    top, bottom = min(y.start, y.end), max(y.start, y.end)
    steps = np.arange(99, -1, -1)[:, None]
    bar = png_data_uri(steps, color_ramp(scale, 100))
    left = WIDTH - RIGHT + 14
    parts = [
        f'<image x="{left:.1f}" y="{top:.1f}" width="12" height="{bottom - top:.1f}" '
        f'preserveAspectRatio="none" href="{bar}"/>',
        text_at(left + 16, top + 10, f"{trace['zmax']:.3g}", 10, "start"),
        text_at(left + 16, bottom, f"{trace['zmin']:.3g}", 10, "start"),
    ]
    title = ((trace.get("colorbar") or {}).get("title") or {}).get("text")
    if title:
        parts.append(text_at(left + 32, (top + bottom) / 2, title, 11, "middle", -90))
    return parts


def _picks(trace: dict, count: int) -> list[tuple[str, str]]:
    """(name, words) of a line or of each point that can be chosen; else ("", "").

    A figure gives them as `meta={"pick": names, "words": what a pointer is told}`. What
    a click does is the business of whoever shows the picture (utils/widgets/clicks.py).
    """
    meta = trace.get("meta") or {}
    if "pick" not in meta:
        return [("", "")] * count
    return list(zip(meta["pick"], meta["words"], strict=True))


def _line(points: str, color: str, width: float, dash: str, pick: tuple) -> str:
    """A line; one that can be chosen has a broad invisible one on top to be hit."""
    shape = f'<polyline points="{points}" fill="none"'
    if not pick[0]:
        return f'{shape} stroke="{color}" stroke-width="{width:.2f}"{dash}/>'
    return (
        f'<g data-pick="{escape(pick[0])}" stroke="{color}" cursor="pointer">'
        f"<title>{escape(pick[1])}</title>"
        f'{shape} stroke-width="{width:.2f}"{dash}/>'
        f'{shape} stroke="transparent" stroke-width="{max(width, 9):.2f}"/></g>'
    )


def _dot(x: float, y: float, radius: float, fill: str, clear, pick: tuple) -> str:
    """A dot; one that can be chosen is reached by the Tab key too."""
    shape = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="{fill}" '
    if not pick[0]:
        return f'{shape}fill-opacity="{clear}"/>'
    return (
        f'{shape}fill-opacity="{clear}" stroke-width="3" cursor="pointer" '
        f'data-pick="{escape(pick[0])}" tabindex="0" role="button" '
        f'aria-label="{escape(pick[1])}"><title>{escape(pick[1])}</title></circle>'
    )


def _scatter(trace: dict, x: Axis, y: Axis) -> list[str]:
    xs, ys = x.at(trace["x"]), y.at(trace["y"])
    mode, parts = trace.get("mode") or "lines", []
    line, marker = trace.get("line") or {}, trace.get("marker") or {}
    if "lines" in mode:
        broken = np.isnan(xs) | np.isnan(ys)
        pieces = np.split(np.arange(len(xs)), np.flatnonzero(broken))
        dash = ' stroke-dasharray="5 4"' if line.get("dash") else ""
        for piece in pieces:
            points = " ".join(
                f"{xs[i]:.1f},{ys[i]:.1f}" for i in piece if not broken[i]
            )
            color, width = line.get("color", INK), line.get("width", 2)
            parts.append(_line(points, color, width, dash, _picks(trace, 1)[0]))
    if "markers" in mode:
        radius = 0.5 * float(np.max(np.asarray(marker.get("size", 6), dtype=float)))
        color = marker.get("color", INK)
        fill = color if isinstance(color, str) and color.startswith("#") else "none"
        clear = marker.get("opacity", 1)
        parts += [
            _dot(a, b, radius, fill, clear, pick)
            for a, b, pick in zip(xs, ys, _picks(trace, len(xs)), strict=True)
            if np.isfinite(a) and np.isfinite(b)
        ]
    if "text" in mode:
        lift = -8 if "top" in str(trace.get("textposition")) else 4
        parts += [
            text_at(a, b + lift, str(text), 11)
            for a, b, text in zip(xs, ys, trace["text"], strict=True)
            if text and np.isfinite(a) and np.isfinite(b)
        ]
    return parts


def _bars(trace: dict, x: Axis, y: Axis) -> list[str]:
    lying = trace.get("orientation") == "h"
    places = as_numbers(trace["y" if lying else "x"])
    lengths = as_numbers(trace["x" if lying else "y"])
    half = 0.5 * bar_width(places, trace)
    color, parts = (trace.get("marker") or {}).get("color", INK), []
    for i, (place, length) in enumerate(zip(places, lengths, strict=True)):
        if not np.isfinite(length):
            continue
        ends, sides = [0.0, length], [place - half, place + half]
        a, b = x.at(ends if lying else sides), y.at(sides if lying else ends)
        fill = color if isinstance(color, str) else color[i]
        parts.append(
            f'<rect x="{a.min():.1f}" y="{b.min():.1f}" width="{np.ptp(a):.1f}" '
            f'height="{np.ptp(b):.1f}" fill="{fill}" '
            f'fill-opacity="{trace.get("opacity") or 1}"/>'
        )
    return parts


def _turned(x: Axis) -> bool:
    """Whether labels of the axis have to stand upright."""
    return sum(len(label) + 1 for _, label in x.ticks()) * 6.5 > x.end - x.start


def _frame(x: Axis, y: Axis) -> list[str]:
    """Grid lines and tick labels, and a border where the figure asks for one."""
    ticks, parts, turned = x.ticks(), [], _turned(x)
    for place, label in ticks:
        if x.spec.get("showgrid") is not False:
            line = f"M{place:.1f} {y.start:.1f}V{y.end:.1f}"
            parts.append(f'<path d="{line}" stroke="{GRID}"/>')
        at = (place + 4, y.start + 10) if turned else (place, y.start + 15)
        end, turn = ("end", -90) if turned else ("middle", 0)
        parts.append(text_at(*at, label, 10, end, turn))
    for place, label in y.ticks():
        if y.spec.get("showgrid") is not False:
            line = f"M{x.start:.1f} {place:.1f}H{x.end:.1f}"
            parts.append(f'<path d="{line}" stroke="{GRID}"/>')
        parts.append(text_at(x.start - 6, place + 4, label, 10, "end"))
    if x.spec.get("showline"):
        border = f"M{x.start:.1f} {y.start:.1f}H{x.end:.1f}V{y.end:.1f}H{x.start:.1f}Z"
        parts.append(f'<path d="{border}" fill="none" stroke="{INK}"/>')
    return parts


def _axis_titles(x: Axis, y: Axis) -> list[str]:
    parts = []
    title = (x.spec.get("title") or {}).get("text")
    if title:
        below = BOTTOM - 12 if _turned(x) else 38 if x.ticks() else 18
        parts.append(text_at((x.start + x.end) / 2, y.start + below, title))
    title = (y.spec.get("title") or {}).get("text")
    if title:
        left = 16 if y.ticks() else x.start - 12
        parts.append(text_at(left, (y.start + y.end) / 2, title, 12, "middle", -90))
    return parts


def _place(panels: Panels, ref: str, which: int, value: float) -> float:
    """A place given in data, or as a share of the panel ("x domain")."""
    axis = axis_of(panels, ref.split()[0], which)
    if ref.endswith("domain") or ref == "paper":
        return axis.start + value * (axis.end - axis.start)
    return float(axis.at([value])[0])


def _annotations(layout: dict, panels: Panels) -> list[str]:
    parts = []
    for line in layout.get("shapes") or []:
        x0, x1 = (_place(panels, line["xref"], 0, line[end]) for end in ("x0", "x1"))
        y0, y1 = (_place(panels, line["yref"], 1, line[end]) for end in ("y0", "y1"))
        drawn = line.get("line") or {}
        dashes = ' stroke-dasharray="5 4"' if drawn.get("dash") else ""
        parts.append(
            f'<path d="M{x0:.1f} {y0:.1f}L{x1:.1f} {y1:.1f}" stroke="{INK}"{dashes}/>'
        )
    for note in layout.get("annotations") or []:
        left = _place(panels, note.get("xref") or "x", 0, note["x"])
        top = _place(panels, note.get("yref") or "y", 1, note["y"])
        top += 18 * (note.get("yanchor") == "top")  # it hangs below its place
        anchor = {"left": "start", "right": "end"}.get(note.get("xanchor"), "middle")
        if note.get("bgcolor"):
            wide = LETTER * len(unescape(note["text"]))
            begin = left - wide * {"start": 0, "middle": 0.5, "end": 1}[anchor]
            parts.append(
                f'<rect x="{begin:.1f}" y="{top - 14:.1f}" width="{wide:.0f}" '
                'height="13" fill="#FFFFFF" fill-opacity="0.8"/>'
            )
        parts.append(text_at(left, top - 4, note["text"], 11, anchor))
    return parts


def _legend(traces: list[dict]) -> list[str]:
    """Names beside the plot, or where they are too long for that in rows above it."""
    entries = [
        (trace["name"], _legend_color(trace)) for trace in traces if _told(trace)
    ]
    if len(entries) < 2:
        return []
    wide = [24 + LETTER * len(unescape(name)) for name, _ in entries]
    places = [(WIDTH - 104, 70 + 18 * i) for i in range(len(entries))]
    if max(wide) > 104:
        rows = np.cumsum(wide) // (WIDTH - LEFT)  # about as many names as fit
        starts = [
            sum(wide[j] for j in range(i) if rows[j] == row)
            for i, row in enumerate(rows)
        ]
        places = [
            (LEFT + start, (48 if rows[-1] == 0 else 42) + 13 * row)
            for start, row in zip(starts, rows, strict=True)
        ]
    return [
        f'<rect x="{x:.0f}" y="{y - 9:.0f}" width="10" height="10" fill="{color}"/>'
        + text_at(x + 14, y, name, 11, "start")
        for (x, y), (name, color) in zip(places, entries, strict=True)
    ]


def _told(trace: dict) -> bool:
    """Whether a legend names the trace."""
    hidden = trace["type"] == "heatmap" or trace.get("showlegend") is False
    return bool(trace.get("name")) and not hidden


def _legend_color(trace: dict) -> str:
    paint = trace.get("marker") or trace.get("line") or {}
    color = paint.get("color") or (trace.get("line") or {}).get("color") or INK
    return color if isinstance(color, str) else color[0]


_DRAW = {"heatmap": _heatmap, "scatter": _scatter, "bar": _bars}


def static_svg(fig: go.Figure, description: str = "", clickable: bool = False) -> str:
    """The figure as an SVG picture with the description as its accessible name.

    Traces of other kinds than heatmap, scatter and bar are left out. `clickable` marks
    the parts that the figure names, for a page where a click does something.
    """
    figure = fig.to_dict()
    layout = figure["layout"]
    height = float(layout.get("height") or 420)
    known = (trace for trace in figure["data"] if trace.get("type") in _DRAW)
    figure["data"] = [_plain(trace) for trace in known]
    if not clickable:
        for trace in figure["data"]:
            trace.pop("meta", None)
    panels = panels_of(figure, height)
    title = (layout.get("title") or {}).get("text") or ""
    label = escape(description or title)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'width="{WIDTH}" height="{height:.0f}" role="img" aria-label="{label}" '
        f'font-family="sans-serif"><title>{label}</title>'
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#FFFFFF"/>',
        text_at(20, 26, title, 15, "start"),
    ]
    for x, y in panels.values():
        parts += _frame(x, y)
        parts += _axis_titles(x, y)
    for trace in figure["data"]:
        x, y = panels[trace.get("xaxis") or "x", trace.get("yaxis") or "y"]
        parts += _DRAW[trace["type"]](trace, x, y)
    if panels:
        parts += _annotations(layout, panels)
    parts += _legend(figure["data"])
    return "".join(parts) + "</svg>"
