"""Logits, losses and probabilities: bars and curves."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from utils.pictures.figures.heatmaps import matrix_heatmap
from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    MUTED,
    PALETTE,
    arm_colors,
    as_array,
    as_list,
    clip,
    extreme,
    finish,
    label_axis,
    need_labels,
    reference_lines,
)
from utils.text.tokens import one_line

__all__ = [
    "logit_attribution",
    "loss_by_position",
    "token_bars",
    "top_tokens",
    "training_curves",
]


def logit_attribution(
    contributions: Float[Tensor, "component"] | Float[Tensor, "component pos"],
    components: Sequence[str],
    tokens: Sequence[str] | None = None,
    *,
    title: str = "What each component adds to the right token's logit",
) -> go.Figure:
    """What each component adds to a logit: bars [component], or a map [component, pos].

    Components are labels such as "embed" or "1.4"; `tokens` label the positions.
    Raises ValueError for a wrong shape or labels that do not fit.
    """
    values = as_array(
        contributions, (1, 2), "The contributions", "[component] or [component, pos]"
    )
    names = need_labels(components, values.shape[0], "The component axis")
    if values.ndim == 2:
        return matrix_heatmap(
            values,
            names,
            tokens,
            title=title,
            x_title="token",
            y_title="component",
            value_title="contribution (logits)",
            signed=True,
            show_values=False,
        )
    fig = lying_bars(values, names, "contribution (logits)")
    place = extreme(values)[0]
    sentence = (
        f"{title}: {len(names)} components that add {values.sum():.3g} logits in all; "
        f"the largest in size is {names[place]}, with {values[place]:.3g}."
    )
    height = 150 + 22 * len(names)
    return finish(fig, title, "contribution (logits)", "component", sentence, height)


def lying_bars(values: np.ndarray, names: list[str], value_title: str) -> go.Figure:
    """Horizontal bars, first on top; blue for what adds, orange for what takes away."""
    colors = [PALETTE[1] if value < 0 else PALETTE[0] for value in values]
    bars = go.Bar(
        x=as_list(values),
        y=list(range(len(names))),
        orientation="h",
        marker={"color": colors},
        hovertemplate=f"%{{y}}<br>{value_title}: %{{x}}<extra></extra>",
    )
    fig = OfflineFigure(bars)
    fig.update_yaxes(label_axis(names, range=[len(names) - 0.5, -0.5]))
    fig.update_xaxes(zeroline=True, zerolinecolor=MUTED)
    return fig


def top_tokens(
    tokens: Sequence[str],
    values: Float[Tensor, "token"],
    *,
    k: int = 10,
    title: str = "Most probable next tokens",
    value_title: str = "probability",
) -> go.Figure:
    """The k tokens with the largest values as horizontal bars, largest on top.

    Raises ValueError when tokens and values do not have the same length.
    """
    numbers = as_array(values, (1,), "The values", "[token]")
    names = need_labels(tokens, numbers.shape[0], "The token axis")
    order = np.argsort(-numbers, kind="stable")[: max(k, 1)]
    chosen, labels = numbers[order], [names[i] for i in order]
    fig = lying_bars(chosen, labels, value_title)
    sentence = (
        f"{title}: the first of {len(labels)} is {labels[0]}, with a {value_title} of "
        f"{chosen[0]:.3g}; the last shown is {labels[-1]}, with {chosen[-1]:.3g}."
    )
    height = 150 + 24 * len(labels)
    return finish(fig, title, value_title, "token", sentence, height)


def token_bars(
    tokens: Sequence[str],
    values: np.ndarray,
    value_title: str,
    title: str,
    *,
    bars: str = "token",
) -> go.Figure:
    """One bar per token of a text, in the order of the text.

    `bars` says what one bar is if it is no token: it names the axis.
    """
    names = need_labels(tokens, len(values), "The token axis")
    colors = [PALETTE[1] if value < 0 else PALETTE[0] for value in values]
    drawn = go.Bar(
        x=list(range(len(names))), y=as_list(values), marker={"color": colors}
    )
    fig = OfflineFigure(drawn)
    fig.update_xaxes(label_axis(names, tickangle=-90))
    place = extreme(values)[0]
    sentence = (
        f"{title}: {len(names)} {bars}s, {value_title} from {values.min():.3g} to "
        f"{values.max():.3g}; the largest in size is {values[place]:.3g}, at "
        f"{names[place]}" + (f" (position {place})." if bars == "token" else ".")
    )
    return finish(fig, title, bars, value_title, sentence, 360)


def loss_by_position(
    losses: Mapping[str, Float[Tensor, "pos"]] | Float[Tensor, "pos"],
    *,
    title: str = "Loss by position in the context",
    references: Mapping[str, float] | None = None,
    log_x: bool = False,
) -> go.Figure:
    """Loss (nats per token) against the position of the predicting token, from 1 up.

    `losses` is one tensor or named ones. Raises ValueError for a wrong shape.
    """
    named = losses if isinstance(losses, Mapping) else {"loss": losses}
    series = {}
    for name, values in named.items():
        numbers = as_array(values, (1,), f"The loss {name!r}", "[pos]")
        series[name] = (np.arange(1, len(numbers) + 1, dtype=float), numbers)
    return training_curves(
        series,
        title=title,
        x_title="position in the context (tokens)",
        y_title="loss (nats per token)",
        references=references,
        log_x=log_x,
    )


def training_curves(
    series: Mapping[str, Any],
    *,
    title: str = "Training",
    x_title: str = "training step",
    y_title: str = "loss (nats per token)",
    references: Mapping[str, float] | None = None,
    log_x: bool = False,
    arms: Sequence[str] | None = None,
    colors: Mapping[str, str] | None = None,
) -> go.Figure:
    """Named curves against steps or tokens, with named horizontal reference lines.

    Each series is a pair (x, y) or just y, counted from 0. Missing values are skipped,
    and long curves are thinned to 500 points, first and last kept. `arms` names for
    each curve the arm it belongs to, such as a model trained with several seeds: the
    curves of an arm share a colour, an entry in the legend and a part of the sentence.
    `colors` says by which colour an arm is known, in this and in other figures.
    Raises ValueError when nothing is given or x and y do not fit.
    """
    if not series:
        raise ValueError("There is no curve to draw: give at least one series.")
    arms = list(series) if arms is None else list(arms)
    if len(arms) != len(series):
        raise ValueError(f"{len(series)} curves need as many arms; got {len(arms)}.")
    fig, curves, colors = OfflineFigure(), {}, arm_colors(arms, colors)
    for (name, curve), arm in zip(series.items(), arms, strict=True):
        x, y = _curve(name, curve)
        keep = np.unique(np.linspace(0, len(x) - 1, 500).round().astype(int))
        entry = clip(one_line(arm), 24)
        fig.add_scatter(
            x=as_list(x[keep]),
            y=as_list(y[keep]),
            mode="lines" if len(x) > 1 else "markers",
            name=entry,
            legendgroup=entry,
            showlegend=arm not in curves,
            hovertemplate=f"%{{x}}, %{{y}}<extra>{clip(one_line(name), 24)}</extra>",
            line={"width": 2, "color": colors[arm]},
        )
        curves.setdefault(arm, []).append((x, y))
    drawn = [
        (np.log(x) if log_x else x, y) for pairs in curves.values() for x, y in pairs
    ]
    reference_lines(fig, references or {}, drawn)
    if log_x:
        fig.update_xaxes(type="log", dtick=1)
    fig.update_layout(showlegend=len(curves) > 1)
    sentences = [_way_of(arm, pairs) for arm, pairs in curves.items()]
    lines = [f"{name} is {value:.3g}" for name, value in (references or {}).items()]
    sentence = f"{title}, {y_title} by {x_title}: " + "; ".join(sentences + lines) + "."
    return finish(fig, title, x_title, y_title, sentence)


def _way_of(arm: str, curves: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """Where the curves of an arm begin and end."""
    if len(curves) == 1:
        ((x, y),) = curves
        low = int(np.argmin(y))
        return (
            f"{arm} goes from {y[0]:.3g} to {y[-1]:.3g} (lowest {y[low]:.3g} at "
            f"{x[low]:.6g})"
        )
    first, last = ([y[end] for _, y in curves] for end in (0, -1))
    return (
        f"the {len(curves)} curves of {arm} begin between {min(first):.3g} and "
        f"{max(first):.3g} and end between {min(last):.3g} and {max(last):.3g}"
    )


def _curve(name: str, curve: Any) -> tuple[np.ndarray, np.ndarray]:
    pair = isinstance(curve, tuple) and len(curve) == 2
    y = as_array(curve[1] if pair else curve, (1,), f"The curve {name!r}", "[step]")
    x = np.arange(len(y), dtype=float)
    if pair:
        x = as_array(curve[0], (1,), f"The x values of {name!r}", "[step]")
    if len(x) != len(y):
        raise ValueError(
            f"The curve {name!r} has {len(x)} x values and {len(y)} y values."
        )
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]
