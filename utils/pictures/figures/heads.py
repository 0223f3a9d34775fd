"""Scores of heads, and how a score is spread."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from utils.pictures.figures.heatmaps import matrix_heatmap
from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    PALETTE,
    as_array,
    as_list,
    finish,
    flat,
    head_label,
    label_axis,
    reference_lines,
    short,
)

__all__ = ["head_scores", "score_histogram"]


def _score_array(scores: Any, what: str) -> np.ndarray:
    values = as_array(scores, (1, 2), what, "[head] or [layer, head]")
    return values[None] if values.ndim == 1 else values


def _head_names(shape: tuple[int, int], first_layer: int) -> list[str]:
    layers, heads = shape
    return [head_label(first_layer + i, j) for i in range(layers) for j in range(heads)]


def head_scores(
    scores: Float[Tensor, "head"] | Float[Tensor, "layer head"],
    *,
    score_name: str = "score",
    title: str | None = None,
    first_layer: int = 0,
    references: Mapping[str, float] | None = None,
    kind: str | None = None,
) -> go.Figure:
    """One score per head, as bars labelled 1.4 or as a grid [layer, head].

    `kind` is "bars" or "grid"; left open, up to 32 heads are bars. `references` draws
    named horizontal lines (bars only), such as a random baseline. A single row
    [head] belongs to layer `first_layer`. Raises ValueError for a wrong shape.
    """
    values = _score_array(scores, "The scores")
    title = title or f"{score_name[:1].upper()}{score_name[1:]} of every head"
    if kind not in (None, "bars", "grid"):
        raise ValueError(f'kind must be "bars" or "grid", not {kind!r}.')
    if kind == "grid" or (kind is None and values.size > 32):
        return _score_grid(values, score_name, title, first_layer)
    names = _head_names(values.shape, first_layer)
    heads, fig = values.shape[1], OfflineFigure()
    for i, row in enumerate(values):
        places = list(range(i * heads, (i + 1) * heads))
        fig.add_bar(
            x=places,
            y=as_list(row),
            name=f"layer {first_layer + i}",
            marker={"color": PALETTE[i % len(PALETTE)]},
            hovertemplate=f"head %{{x}}<br>{score_name}: %{{y}}<extra></extra>",
        )
    fig.update_xaxes(label_axis(names, showgrid=False))
    reference_lines(fig, references or {})
    sentence = f"{title}: " + _score_sentence(values, names, score_name)
    return finish(fig, title, "head (layer.head)", score_name, sentence, 360)


def _score_sentence(values: np.ndarray, names: list[str], score_name: str) -> str:
    flat = values.ravel()
    top, low = int(np.nanargmax(flat)), int(np.nanargmin(flat))
    return (
        f"{len(names)} heads; {score_name} runs from {flat[low]:.3g} (head "
        f"{names[low]}) to {flat[top]:.3g} (head {names[top]}), with a mean of "
        f"{np.nanmean(flat):.3g}."
    )


def _score_grid(values: np.ndarray, score_name: str, title: str, first: int):
    layers, heads = values.shape
    fig = matrix_heatmap(
        values,
        [str(first + i) for i in range(layers)],
        [str(j) for j in range(heads)],
        title=title,
        value_title=score_name,
        show_values=values.size <= 160,
    )
    names = _head_names(values.shape, first)
    sentence = f"{title}: " + _score_sentence(values, names, score_name)
    height = max(280, 150 + 30 * layers)
    return finish(fig, title, "head", "layer", sentence, height)


def score_histogram(
    scores: Float[Tensor, "..."],
    null: Float[Tensor, "..."] | None = None,
    *,
    score_name: str = "score",
    title: str | None = None,
    bins: int = 24,
    span: tuple[float, float] | None = None,
) -> go.Figure:
    """How many scores fall in each bin, beside a null distribution of the same score.

    Both are shares of their own total, so sets of different sizes compare. `span` is
    where the first bin begins and the last one ends; give figures that are to be
    compared the same one (left open, it is what the values span). Raises ValueError
    when nothing finite is given or a value lies outside.
    """
    values = flat(scores, "The scores")
    sets = {"heads": values}
    if null is not None:
        sets = {"random (null)": flat(null, "The null"), **sets}
    pooled = np.concatenate(list(sets.values()))
    low, high = span or (pooled.min(), pooled.max())
    if pooled.min() < low or pooled.max() > high:
        raise ValueError(
            f"Not all values lie in the span from {low:.3g} to {high:.3g}."
        )
    edges = np.histogram_bin_edges(pooled, bins=bins, range=(low, high))
    centres, fig = (edges[:-1] + edges[1:]) / 2, OfflineFigure()
    for name, sample in sets.items():
        share = np.histogram(sample, bins=edges)[0] / len(sample)
        fig.add_bar(
            x=as_list(centres),
            y=as_list(share),
            width=short(float(edges[1] - edges[0])),
            name=name,
            marker={"color": PALETTE[0] if name == "heads" else "#9AA1AB"},
            opacity=0.75,
        )
    fig.update_layout(barmode="overlay")
    title = title or f"Distribution of the {score_name}"
    sentence = f"{title}: {len(values)} values from {values.min():.3g} to "
    sentence += f"{values.max():.3g}, median {np.median(values):.3g}"
    if null is not None:
        above = float((values > sets["random (null)"].max()).mean())
        sentence += f"; {above:.0%} lie above every one of the "
        sentence += f"{len(sets['random (null)'])} random values"
    return finish(fig, title, score_name, "share of values", sentence + ".", 360)
