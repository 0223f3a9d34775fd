"""Matrices and attention patterns as heatmaps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    INK,
    MUTED,
    SEQUENTIAL,
    as_array,
    as_list,
    clip,
    color_range,
    extreme,
    finish,
    label_axis,
    need_labels,
)

__all__ = [
    "MAX_CELLS",
    "attention_heatmap",
    "attention_sentence",
    "check_pattern",
    "matrix_heatmap",
]

MAX_CELLS = 16_384
PANEL_TICKS = 12


def _too_many(cells: int, what: str) -> None:
    if cells > MAX_CELLS:
        raise ValueError(
            f"{what} has {cells:,} cells; draw at most {MAX_CELLS:,}: choose some rows "
            "and columns first."
        )


def matrix_heatmap(
    matrix: Float[Tensor, "row column"],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    *,
    title: str = "Matrix",
    x_title: str = "column",
    y_title: str = "row",
    value_title: str = "value",
    signed: bool | None = None,
    show_values: bool | None = None,
    blocks: tuple[int, int] | None = None,
) -> go.Figure:
    """A matrix [row, column] as colours, tokens or other names on both axes.

    Signed values get a diverging scale centred on 0, others a sequential one from 0
    (`signed` decides otherwise). Up to 100 cells the numbers are written in. Infinite
    and missing entries are left blank. `blocks` are so many rows and so many columns:
    a line parts each block of that size from the next. Raises ValueError for a wrong
    shape or labels that do not fit, or more than 16,384 cells.
    """
    values = as_array(matrix, (2,), "The matrix", "[row, column]")
    _too_many(values.size, "The matrix")
    rows = need_labels(row_labels, values.shape[0], "The row axis")
    columns = need_labels(column_labels, values.shape[1], "The column axis")
    colors = color_range(values, signed)
    write = values.size <= 100 if show_values is None else show_values
    trace = go.Heatmap(
        z=as_list(values),
        **colors,
        colorbar={"title": {"text": value_title, "side": "right"}, "thickness": 12},
        hovertemplate=f"{y_title}: %{{y}}<br>{x_title}: %{{x}}<br>"
        f"{value_title}: %{{z}}<extra></extra>",
        texttemplate="%{z:.2f}" if write else None,
    )
    fig = OfflineFigure(trace)
    fig.update_xaxes(label_axis(columns, tickangle=_angle(columns)))
    fig.update_yaxes(label_axis(rows, range=[len(rows) - 0.5, -0.5]))
    if blocks is not None:
        _block_borders(fig, values.shape, blocks)
    place = extreme(values)
    finite = values[np.isfinite(values)]
    sentence = (
        f"{title}: {len(rows)} by {len(columns)} values of {value_title} from "
        f"{finite.min():.3g} to {finite.max():.3g}; the largest in size is "
        f"{values[place]:.3g}, at {y_title} {rows[place[0]]}, "
        f"{x_title} {columns[place[1]]}."
    )
    height = min(620, max(300, 170 + 24 * len(rows)))
    return finish(fig, title, x_title, y_title, sentence, height)


def _block_borders(
    fig: go.Figure, shape: tuple[int, int], blocks: tuple[int, int]
) -> None:
    """A line between neighbouring blocks of so many rows and columns."""
    rows, columns = (size - 0.5 for size in shape)
    style = {"type": "line", "xref": "x", "yref": "y"}
    style["line"] = {"color": INK, "width": 2}
    for row in range(blocks[0], shape[0], blocks[0]):
        fig.add_shape(x0=-0.5, x1=columns, y0=row - 0.5, y1=row - 0.5, **style)
    for column in range(blocks[1], shape[1], blocks[1]):
        fig.add_shape(x0=column - 0.5, x1=column - 0.5, y0=-0.5, y1=rows, **style)


def _angle(labels: list[str]) -> int:
    wide = len(labels) * max(len(clip(label)) for label in labels) > 60
    return -90 if wide else 0


def check_pattern(
    values: Any, dims: tuple[int, ...], what: str, axes: str
) -> np.ndarray:
    """Attention weights as an array, or a ValueError in a sentence."""
    pattern = as_array(values, dims, what, axes)
    if not np.isfinite(pattern).all() or pattern.min() < -1e-4:
        raise ValueError(
            f"{what} must hold attention weights of 0 or more; for scores or other "
            "signed values use matrix_heatmap."
        )
    return pattern


def attention_heatmap(
    pattern: Float[Tensor, "query key"] | Float[Tensor, "head query key"],
    tokens: Sequence[str],
    *,
    names: Sequence[str] | None = None,
    title: str = "Attention pattern",
    value_title: str = "attention",
) -> go.Figure:
    """An attention pattern [query, key], or one panel per head [head, query, key].

    Weights of one pattern are coloured from 0 to 1. Panels share a scale that ends just
    above the largest weight among them, and are in whole per cent, which keeps 8 heads
    of 64 tokens under 60 KB. `names` are the heads' labels, `value_title` says what the
    weights are where they are not attention alone. Raises ValueError for a wrong shape,
    for tokens that do not fit and for negative weights.
    """
    weights = check_pattern(
        pattern, (2, 3), "The pattern", "[query, key] or [head, q, k]"
    )
    if weights.ndim == 3:
        return _attention_panels(weights, tokens, names, title, value_title)
    _too_many(weights.size, "The pattern")
    rows, keys = _query_and_key_labels(tokens, weights.shape)
    trace = go.Heatmap(
        z=as_list(weights.round(3)),
        zmin=0.0,
        zmax=max(1.0, float(weights.max())),
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": value_title, "side": "right"}, "thickness": 12},
        hovertemplate=f"query: %{{y}}<br>key: %{{x}}<br>{value_title}: %{{z}}"
        "<extra></extra>",
    )
    fig = OfflineFigure(trace)
    angle = 0 if max(map(len, keys)) == 1 else -90  # a letter need not lie on its side
    fig.update_xaxes(label_axis(keys, tickangle=angle, constrain="domain"))
    fig.update_yaxes(
        label_axis(
            rows,
            range=[len(rows) - 0.5, -0.5],
            scaleanchor="x",
            constrain="domain",
        )
    )
    sentence = f"{title} of {len(rows)} queries and {len(keys)} keys: "
    sentence += attention_sentence(weights, rows, keys, value_title)
    height = min(720, 260 + 12 * len(rows))
    return finish(fig, title, "key (source)", "query (destination)", sentence, height)


def _query_and_key_labels(tokens: Sequence[str], shape) -> tuple[list[str], list[str]]:
    """Labels of both axes; queries may be the last positions only."""
    queries, keys = shape[-2:]
    labels = need_labels(tokens, keys, "The key axis")
    if queries > keys:
        raise ValueError(
            f"The pattern has more queries ({queries}) than keys ({keys}); its axes "
            "are [query, key], so it may be transposed."
        )
    return labels[keys - queries :], labels


def attention_sentence(
    weights: np.ndarray, rows: list[str], keys: list[str], what: str = "attention"
) -> str:
    """Where one head [query, key] looks: the largest weight off the first token."""
    start = float(weights[:, 0].mean())
    if weights.shape[1] == 1:
        return f"one token, attended with weight {start:.2f}."
    query, key = extreme(weights[:, 1:])
    key += 1
    rests = f"{start:.0%} of its attention rests on the first token on average"
    if what != "attention":
        rests = f"the mean {what} on the first token is {start:.0%}"
    return (
        f"{rests}; its largest weight elsewhere is {weights[query, key]:.2f}, from "
        f"{rows[query]} (query {query}) to {keys[key]} (key {key})."
    )


def _attention_panels(
    weights: np.ndarray,
    tokens: Sequence[str],
    names: Sequence[str] | None,
    title: str,
    value_title: str,
) -> go.Figure:
    heads = weights.shape[0]
    _too_many(weights.size // 3, "The set of patterns")
    rows, keys = _query_and_key_labels(tokens, weights.shape)
    labels = need_labels(
        names or [f"head {i}" for i in range(heads)], heads, "The heads"
    )
    across = min(4, heads)
    down = math.ceil(heads / across)
    fig = OfflineFigure()
    for head in range(heads):
        suffix = "" if head == 0 else str(head + 1)
        fig.add_trace(_panel_trace(weights[head], suffix, labels[head], value_title))
        _place_panel(fig, head, (across, down, heads), rows, keys)
        _panel_title(fig, suffix, labels[head])
    _share_scale(fig, float(weights.max()))
    off_start = weights[:, :, 1:] if weights.shape[2] > 1 else weights
    best = extreme(off_start)[0]
    sentence = (
        f"{title}: {heads} heads, {len(rows)} queries and {len(keys)} keys; the one "
        f"strongest away from the first token is {labels[best]}: "
    ) + attention_sentence(weights[best], rows, keys, value_title)
    query_title = "query (destination)"
    key_title = "key (source)" if down == 1 else ""
    room = 6 * min(8, max(map(len, keys)))  # for the labels below
    height = 90 + 230 * down + room
    return finish(fig, title, key_title, query_title, sentence, height)


def _panel_trace(
    weights: np.ndarray, suffix: str, label: str, value_title: str
) -> go.Heatmap:
    percent = np.clip(weights * 100, 0, 255).round().astype(np.uint8)
    title = {"text": f"{value_title} (%)", "side": "right"}
    return go.Heatmap(
        z=percent,
        zmin=0,
        colorscale=SEQUENTIAL,
        showscale=not suffix,
        colorbar={"title": title, "thickness": 12},
        xaxis="x" + suffix,
        yaxis="y" + suffix,
        name=label,
        hovertemplate=f"{clip(label)}<br>query: %{{y}}<br>key: %{{x}}<br>"
        f"{value_title}: %{{z}} %<extra></extra>",
    )


def _share_scale(fig: go.Figure, largest: float) -> None:
    """All panels end at the same per cent: the largest weight, rounded up to 5s."""
    fig.update_traces(zmax=max(5, 5 * math.ceil(20 * largest - 1e-6)))


def _place_panel(
    fig: go.Figure, head: int, layout: tuple[int, int, int], rows, keys
) -> None:
    """Panels share their tokens, so only those on the left and below have labels."""
    across, down, heads = layout
    column, row = head % across, head // across
    left, top = column / across, 1 - row / down
    suffix = "" if head == 0 else str(head + 1)
    lowest = head + across >= heads
    fig.layout["xaxis" + suffix] = _panel_axis(
        keys,
        2 * PANEL_TICKS // max(2, across),  # on a narrow page too they stay apart
        labelled=lowest,
        domain=[left, left + 0.86 / across],
        anchor="y" + suffix,
        constrain="domain",
        title={"text": "key (source)" if lowest else "", "standoff": 4},
        tickangle=-90,
    )
    fig.layout["yaxis" + suffix] = _panel_axis(
        rows,
        PANEL_TICKS,
        labelled=column == 0,
        domain=[top - 0.8 / down, top - 0.04 / down],
        anchor="x" + suffix,
        title={"text": "query (destination)" if column == 0 else "", "standoff": 4},
        range=[len(rows) - 0.5, -0.5],
    )


def _panel_axis(labels: list[str], most: int, labelled: bool, **more) -> dict:
    """An axis with at most so many small labels; without them it keeps their ticks."""
    axis = label_axis(
        labels,
        most,
        showticklabels=labelled,
        tickfont={"size": 9},
        ticklen=3,
        tickcolor=MUTED,
        showline=True,
        linecolor=MUTED,
        mirror=True,
        **more,
    )
    axis["ticktext"] = [clip(labels[i], 8) for i in axis["tickvals"]]
    return axis


def _panel_title(fig: go.Figure, suffix: str, label: str) -> None:
    fig.add_annotation(
        text=f"<b>{clip(label)}</b>",
        x=-0.5,
        y=-0.5,
        xref="x" + suffix,
        yref="y" + suffix,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
    )
