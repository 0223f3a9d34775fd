"""The axes of a still picture: ranges, ticks, and where a value lies."""

import math
from html import escape, unescape
from typing import Any

import numpy as np

__all__ = [
    "Axis",
    "BOTTOM",
    "GRID",
    "INK",
    "LEFT",
    "Panels",
    "RIGHT",
    "TOP",
    "WIDTH",
    "as_numbers",
    "axis_of",
    "bar_width",
    "extents",
    "nice_ticks",
    "panels_of",
    "text_at",
]

WIDTH = 760


LEFT, RIGHT, TOP, BOTTOM = 104, 110, 58, 96


INK = "#1F2933"


GRID = "#D9DDE2"


def as_numbers(values: Any) -> np.ndarray:
    return np.array(
        [np.nan if value is None else float(value) for value in values], dtype=float
    )


def text_at(
    x: float, y: float, text: str, size=12, anchor="middle", turn=0, ink=INK
) -> str:
    turned = f' transform="rotate({turn} {x:.1f} {y:.1f})"' if turn else ""
    for tag in ("<br>", "<b>", "</b>"):
        text = text.replace(tag, "")
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{ink}" '
        f'text-anchor="{anchor}"{turned}>{escape(unescape(text))}</text>'
    )


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers from low to high, at most `most` steps apart."""
    span = high - low or 1.0
    step = 10 ** math.floor(math.log10(span / most))
    step *= next(factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]


class Axis:
    """One axis of one panel: from data to pixels."""

    def __init__(self, spec: dict, data: list[np.ndarray], start: float, end: float):
        self.spec = spec
        self.log = spec.get("type") == "log"
        low, high = spec.get("range") or self._extent(data)
        domain = spec.get("domain") or (0, 1)
        self.low, self.high = low, high
        self.start = start + (end - start) * domain[0]
        self.end = start + (end - start) * domain[1]

    def _extent(self, data: list[np.ndarray]) -> tuple[float, float]:
        values = np.concatenate([*data, np.array([np.nan])])
        if self.log:
            values = np.log10(np.where(values > 0, values, np.nan))
        values = values[np.isfinite(values)]
        low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
        pad = 0.05 * ((high - low) or 1.0)
        low, high = low - pad, high + pad
        return (high, low) if self.spec.get("autorange") == "reversed" else (low, high)

    def at(self, values: Any) -> np.ndarray:
        values = as_numbers(values)
        if self.log:
            values = np.log10(np.where(values > 0, values, np.nan))
        fraction = (values - self.low) / ((self.high - self.low) or 1.0)
        return self.start + fraction * (self.end - self.start)

    def ticks(self) -> list[tuple[float, str]]:
        """Places in pixels and their labels; none where the figure hides them."""
        if self.spec.get("showticklabels") is False:
            return []
        if self.spec.get("tickvals") is not None:
            values = [float(value) for value in self.spec["tickvals"]]
            labels = [str(text) for text in self.spec["ticktext"]]
            return list(zip(self.at(values), labels, strict=True))
        values = nice_ticks(*sorted((self.low, self.high)))
        if self.log:
            values = [10.0**value for value in values if value == round(value)]
        return [(self.at([value])[0], f"{value:g}") for value in values]


def _axis_name(key: str) -> str:
    return key[0] + "axis" + key[1:]


Panels = dict[tuple[str, str], tuple[Axis, Axis]]


def panels_of(figure: dict, height: float) -> Panels:
    """The two axes of every panel, by their names in the traces."""
    layout, panels = figure["layout"], {}
    groups: dict[tuple[str, str], list[dict]] = {}
    for trace in figure["data"]:
        key = (trace.get("xaxis") or "x", trace.get("yaxis") or "y")
        groups.setdefault(key, []).append(trace)
    for (x, y), traces in groups.items():
        across, up = layout.get(_axis_name(x), {}), layout.get(_axis_name(y), {})
        xs = [extents(trace, "x") for trace in traces]
        ys = [extents(trace, "y") for trace in traces]
        panels[x, y] = (
            Axis(across, xs, LEFT, WIDTH - RIGHT),
            Axis(up, ys, height - BOTTOM, TOP),
        )
        if up.get("scaleanchor"):
            _same_scale(*panels[x, y])
    return panels


def _same_scale(x: Axis, y: Axis) -> None:
    """Shrink one axis about its middle until a unit is as long on both."""
    units = [abs(axis.high - axis.low) or 1.0 for axis in (x, y)]
    scales = [
        abs(a.end - a.start) / unit for a, unit in zip((x, y), units, strict=True)
    ]
    for axis, scale in zip((x, y), scales, strict=True):
        middle, share = (axis.start + axis.end) / 2, min(scales) / scale
        axis.start = middle + (axis.start - middle) * share
        axis.end = middle + (axis.end - middle) * share


def extents(trace: dict, axis: str) -> np.ndarray:
    if trace["type"] == "heatmap":
        rows = np.asarray(trace["z"], dtype=object)
        size = rows.shape[1] if axis == "x" else rows.shape[0]
        given = trace.get(axis)
        return np.arange(size, dtype=float) if given is None else as_numbers(given)
    values = as_numbers(trace[axis])
    if trace["type"] == "bar":
        length_axis = "x" if trace.get("orientation") == "h" else "y"
        if axis == length_axis:
            return np.append(values, 0.0)
        return np.concatenate([values - 0.5 * bar_width(values, trace), values])
    return values


def bar_width(places: np.ndarray, trace: dict) -> float:
    if trace.get("width") is not None:
        return float(np.max(np.asarray(trace["width"], dtype=float)))
    gaps = np.diff(np.unique(places))
    return 0.8 * float(gaps.min()) if gaps.size else 0.8


def axis_of(panels: Panels, ref: str, which: int) -> Axis:
    found = [axes[which] for names, axes in panels.items() if names[which] == ref]
    return (found or [next(iter(panels.values()))[which]])[0]
