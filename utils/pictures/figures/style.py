"""The card that every figure sits on: colours, axes, checks of what comes in.

All figures sit on a white card of their own. No single ink reaches a contrast of 4.5
on both a white and a #111 page (the best possible is 4.35), so the card is what makes
them readable in a light and in a dark notebook.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from utils.pictures.colors import blend
from utils.text.tokens import visible_labels

__all__ = [
    "DIVERGING",
    "GRID",
    "INK",
    "MAX_TICKS",
    "MUTED",
    "PALETTE",
    "PAPER",
    "SEQUENTIAL",
    "arm_colors",
    "as_array",
    "as_list",
    "check_values",
    "clip",
    "color_range",
    "describe",
    "extreme",
    "finish",
    "flat",
    "head_label",
    "label_axis",
    "need_labels",
    "reference_lines",
    "short",
]

PAPER = "#FFFFFF"


INK = "#1F2933"


GRID = "#D9DDE2"


MUTED = "#6B7280"


# Okabe and Ito's hues, darkened until each has a contrast of 3 on the card.
# The last two are for a chapter that keeps over six arms apart.
PALETTE = ["#0072B2", "#C84E00", "#007A5A", "#A6478F", "#8A6D00", "#4D4D4D"] + [
    "#5B4FC7",
    "#B0304F",
]


DIVERGING = [[0.0, "#9C3A00"], [0.25, "#E39A63"], [0.5, "#F7F7F7"]] + [
    [0.75, "#6FA8D0"],
    [1.0, "#00497A"],
]


SEQUENTIAL = [[0.0, "#FFFFFF"], [0.3, "#B9D3EA"], [0.65, "#3F8AC4"], [1.0, "#062E5C"]]


MAX_TICKS = 40
# Where the label of a line may stand, the first where all are free.
CORNERS = [("top", "right"), ("top", "left"), ("bottom", "right"), ("bottom", "left")]


_AXIS = {
    "gridcolor": GRID,
    "linecolor": MUTED,
    "zeroline": False,
    "automargin": True,
    "ticks": "outside",
    "tickcolor": GRID,
    "title": {"standoff": 10},
}


_TEMPLATE = go.layout.Template(
    layout={
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "font": {"color": INK, "size": 12, "family": "system-ui, sans-serif"},
        "title": {"x": 0.02, "xanchor": "left", "font": {"size": 15}},
        "colorway": PALETTE,
        "margin": {"l": 64, "r": 24, "t": 56, "b": 56},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
        "legend": {"bgcolor": PAPER},
        "hoverlabel": {"bgcolor": PAPER, "font": {"color": INK}},
    }
)


def arm_colors(
    arms: Sequence[str], known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """A colour for each arm: the one it is known by, else the next that is free."""
    found = {arm: (known or {}).get(arm) for arm in arms}
    free = [color for color in PALETTE if color not in found.values()] or PALETTE
    new = [arm for arm, color in found.items() if color is None]
    return found | {arm: free[i % len(free)] for i, arm in enumerate(new)}


def as_array(values: Any, dims: tuple[int, ...], what: str, axes: str) -> np.ndarray:
    """`values` as a float array on the CPU, or a ValueError in a sentence."""
    if isinstance(values, Tensor):
        values = values.detach().float().cpu().numpy()
    array = np.asarray(values, dtype=float)
    if array.ndim not in dims:
        raise ValueError(
            f"{what} must have the axes {axes}; got the shape {list(array.shape)}."
        )
    if array.size == 0:
        raise ValueError(f"{what} is empty: its shape is {list(array.shape)}.")
    if not np.isfinite(array).any():
        raise ValueError(f"{what} holds no finite number, so there is nothing to draw.")
    return array


def check_values(
    values: Any, dims: tuple[int, ...], what: str, axes: str
) -> np.ndarray:
    """Values without gaps as an array, or a ValueError in a sentence."""
    array = as_array(values, dims, what, axes)
    if np.isnan(array).any():
        raise ValueError(f"{what} must not hold missing values (NaN).")
    return array


def short(value: float) -> float | None:
    """The number with five significant digits; None (a gap) if it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def as_list(array: np.ndarray) -> list:
    """Nested lists of short numbers: small, and read by every version of plotly.js."""
    if array.ndim == 1:
        return [short(value) for value in array.tolist()]
    return [as_list(row) for row in array]


def need_labels(labels: Sequence[str] | None, size: int, what: str) -> list[str]:
    if labels is None:
        return [str(i) for i in range(size)]
    if isinstance(labels, str) or len(labels) != size:
        raise ValueError(
            f"{what} needs {size} labels, one for each place; got {len(labels)}."
        )
    return visible_labels(labels)


def clip(label: str, length: int = 14) -> str:
    short = label if len(label) <= length else label[: length - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;")  # plotly reads both


def label_axis(labels: list[str], most: int = MAX_TICKS, **more: Any) -> dict:
    """An axis with one place per label; of over `most` only every n-th is written."""
    step = math.ceil(len(labels) / most)
    places = list(range(0, len(labels), step))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [clip(labels[i]) for i in places],
        "range": [-0.5, len(labels) - 0.5],
        "showgrid": False,
        **more,
    }


def finish(
    fig: go.Figure,
    title: str,
    x_title: str,
    y_title: str,
    sentence: str,
    height: int = 420,
) -> go.Figure:
    fig.update_layout(
        template=_TEMPLATE, title={"text": title}, height=height, meta=sentence
    )
    fig.update_layout(xaxis_title_text=x_title, yaxis_title_text=y_title)
    return fig


def describe(fig: go.Figure) -> str:
    """One sentence on what the figure shows, made from its data when it was drawn.

    Raises ValueError for a figure that this module did not make.
    """
    if not isinstance(fig.layout.meta, str):
        raise ValueError("This figure carries no description: figures.py made none.")
    return fig.layout.meta


def head_label(layer: int, head: int) -> str:
    """The name of a head, such as 1.4."""
    return f"{layer}.{head}"


def color_range(values: np.ndarray, signed: bool | None) -> dict:
    """Diverging and white at 0 for signed values, sequential from 0 otherwise.

    Of the diverging colours a side that hardly occurs is cut where its values end; the
    colours that are left mean what they meant.
    """
    finite = values[np.isfinite(values)]
    low, high = min(float(finite.min()), 0.0), max(float(finite.max()), 0.0)
    top = max(-low, high) or 1.0
    if signed is None:
        signed = low < 0
    if not signed:
        return {"zmin": 0.0, "zmax": short(top), "colorscale": SEQUENTIAL}
    low = low if -low < top / 4 else -top
    high = high if high < top / 4 and low < 0 else top
    return {"zmin": short(low), "zmax": short(high), "colorscale": _cut(low, high, top)}


def _cut(low: float, high: float, top: float) -> list[list]:
    """The diverging scale of -top to top, from low to high only."""
    ends = [0.5 + end / top / 2 for end in (low, high)]
    inside = [stop for stop, _ in DIVERGING if ends[0] < stop < ends[1]]
    return [
        [short((stop - ends[0]) / (ends[1] - ends[0])), blend(DIVERGING, stop)]
        for stop in (ends[0], *inside, ends[1])
    ]


def extreme(values: np.ndarray, absolute: bool = True) -> tuple[int, ...]:
    size = np.abs(values) if absolute else values
    flat = np.nanargmax(np.where(np.isfinite(values), size, np.nan))
    return tuple(int(i) for i in np.unravel_index(flat, values.shape))


def reference_lines(
    fig: go.Figure,
    references: Mapping[str, float],
    curves: Sequence[tuple[np.ndarray, np.ndarray]] = (),
) -> None:
    """Named dashed horizontal lines, each with its label at one end.

    A label stands above its line at the right end, or where fewest points of `curves`
    (pairs x, y in the places where they are drawn) lie under it.
    """
    for name, value in references.items():
        corner = min(CORNERS, key=lambda each: _covered(curves, value, each))
        fig.add_hline(
            y=float(value),
            line={"color": MUTED, "dash": "dash", "width": 1.5},
            annotation={
                "text": f"{clip(name, 40)}: {value:.3g}",
                "font": {"color": INK, "size": 11},
                "bgcolor": "rgba(255,255,255,0.8)",
            },
            annotation_position=" ".join(corner),
        )
        fig.layout.annotations[-1].xanchor = corner[1]


def _covered(
    curves: Sequence[tuple[np.ndarray, np.ndarray]],
    line: float,
    corner: tuple[str, str],
) -> int:
    """How many points of curves lie under a label in this corner of a line.

    A label takes a quarter of the width and less than a tenth of the height.
    """
    if not curves:
        return 0
    grids = [np.linspace(x.min(), x.max(), 100) for x, _ in curves]
    across = np.concatenate(grids)
    up = np.concatenate([np.interp(g, *c) for g, c in zip(grids, curves, strict=True)])
    left, right = across.min(), across.max()
    edge = left + (0.75 if corner[1] == "right" else 0.25) * (right - left)
    beside = across >= edge if corner[1] == "right" else across <= edge
    height = 0.08 * (max(up.max(), line) - min(up.min(), line))
    low = line if corner[0] == "top" else line - height
    return int((beside & (up >= low) & (up <= low + height)).sum())


def flat(values: Any, what: str) -> np.ndarray:
    array = as_array(values, (1, 2, 3, 4), what, "[head] or more").ravel()
    return array[np.isfinite(array)]
