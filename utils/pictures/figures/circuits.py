"""Eigenvalues of a circuit, and the graph of what composes with what."""

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Complex, Float
from torch import Tensor

from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    GRID,
    PALETTE,
    PAPER,
    as_array,
    as_list,
    finish,
    head_label,
    short,
)

__all__ = ["composition_figure", "eigenvalue_plot"]

MAX_EDGES = 40


def eigenvalue_plot(
    eigenvalues: Complex[Tensor, "n"],
    null: Complex[Tensor, "m"] | None = None,
    *,
    title: str = "Eigenvalues",
    decades: float = 4.0,
) -> go.Figure:
    """Eigenvalues in the complex plane; the angle is kept, the radius is logarithmic.

    The centre stands for `decades` powers of ten below the largest; what is smaller
    is drawn there. `null` (the spectrum of a random matrix, say) lies behind in grey.
    The paper draws OV circuits this way (F-70). Raises ValueError for a wrong shape.
    """
    values = _complex(eigenvalues, "The eigenvalues")
    others = _complex(null, "The null") if null is not None else np.zeros(0)
    largest = np.abs(np.concatenate([values, others])).max() or 1.0
    top = math.ceil(math.log10(largest) - 1e-9)
    floor = top - decades
    fig = OfflineFigure()
    _rings(fig, floor, top)
    if null is not None:
        fig.add_trace(_spectrum(others, floor, "random (null)", "#7C848F", 6, 0.6))
    fig.add_trace(_spectrum(values, floor, "this head", PALETTE[0], 7, 0.85))
    reach = (top - floor) * 1.12
    axis = {"range": [-reach, reach], "showticklabels": False, "ticks": ""}
    fig.update_xaxes(axis, showgrid=False, constrain="domain")
    fig.update_yaxes(axis, showgrid=False, scaleanchor="x", constrain="domain")
    total = np.abs(values).sum()
    balance = float(values.real.sum() / total) if total else 0.0
    sentence = (
        f"{title}: {len(values)} eigenvalues, sizes from {np.abs(values).min():.3g} to "
        f"{np.abs(values).max():.3g}; {(values.real > 0).mean():.0%} have a positive "
        f"real part, and their sum over the sum of their sizes is {balance:.2f}."
    )
    side = "part (radius: log10 of the size)"
    return finish(fig, title, f"real {side}", f"imaginary {side}", sentence, 520)


def _complex(values: Any, what: str) -> np.ndarray:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    array = np.asarray(values, dtype=complex)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{what} must be a list [n]; got {list(array.shape)}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{what} must be finite.")
    return array


def _spectrum(values, floor: float, name: str, color: str, size: int, clear: float):
    sizes = np.abs(values)
    radius = np.log10(np.maximum(sizes, 10.0**floor)) - floor
    angle = np.angle(values)
    return go.Scatter(
        x=as_list(radius * np.cos(angle)),
        y=as_list(radius * np.sin(angle)),
        mode="markers",
        name=name,
        marker={"color": color, "size": size, "opacity": clear},
        customdata=[[short(v.real), short(v.imag)] for v in values.tolist()],
        hovertemplate="%{customdata[0]} + %{customdata[1]} i<extra></extra>",
    )


def _rings(fig: go.Figure, floor: float, top: int) -> None:
    """One circle per power of ten, and the two axes through the centre."""
    turn = np.linspace(0, 2 * np.pi, 61)
    line = {"color": GRID, "width": 1}
    quiet = {"showlegend": False, "hoverinfo": "skip", "mode": "lines", "line": line}
    powers = range(math.floor(floor) + 1, top + 1)
    for power in powers:
        radius = power - floor
        x, y = radius * np.cos(turn), radius * np.sin(turn)
        fig.add_trace(go.Scatter(x=as_list(x.round(3)), y=as_list(y.round(3)), **quiet))
        fig.add_annotation(
            x=radius * math.cos(1.2),
            y=radius * math.sin(1.2),
            text=f"{10.0**power:g}",
            showarrow=False,
            font={"size": 10},
            bgcolor=PAPER,
        )
    reach = top - floor
    cross = [-reach, reach, None, 0, 0], [0, 0, None, -reach, reach]
    fig.add_trace(go.Scatter(x=cross[0], y=cross[1], **quiet))


def composition_figure(
    scores: Float[Tensor, "head1 head2"] | Float[Tensor, "layer1 head1 layer2 head2"],
    *,
    floor: float = 0.0,
    kind: str = "K",
    title: str | None = None,
    top: float | None = None,
) -> go.Figure:
    """Heads as dots, layer by layer; a line's width is its score over a floor.

    `scores` is [head of layer 0, head of layer 1], or TransformerLens's four axes of
    `all_composition_scores`. `floor` is what random weights score. Lines at or under
    the floor are not drawn; of the rest the 40 strongest are. `top` is how far over
    the floor the widest line lies; give figures that are to be compared the same one
    (left open, it is this figure's strongest). A clickable picture of it names its
    lines ("0.3>1.5") and dots ("0.3"). Raises ValueError for a wrong shape and for a
    score over the top.
    """
    values = as_array(
        scores, (2, 4), "The scores", "[head, head] or [layer, head, layer, head]"
    )
    if values.ndim == 2:
        values = _two_layers(values)
    places = _head_places(values)
    edges = _edges(values, floor)
    title = title or f"{kind}-composition between heads"
    fig = OfflineFigure()
    strongest = max((score - floor for score, *_ in edges), default=0.0)
    top = top or strongest or 1.0
    if strongest > top * (1 + 1e-6):
        raise ValueError(
            f"A score lies {strongest:.3g} over the floor, more than top={top:.3g}."
        )
    for edge in reversed(edges):
        fig.add_trace(_edge_trace(edge, floor, top, places))
    fig.add_trace(_edge_hover(edges, places, kind))
    fig.add_trace(_head_dots(places))
    layers = sorted({layer for layer, _ in places})
    fig.update_xaxes(
        tickmode="array",
        tickvals=layers,
        ticktext=[f"layer {layer}" for layer in layers],
        range=[layers[0] - 0.25, layers[-1] + 0.25],
        showgrid=False,
    )
    heads = max(head for _, head in places) + 1
    fig.update_yaxes(
        showticklabels=False, showgrid=False, ticks="", range=[heads - 0.4, -0.6]
    )
    sentence = _composition_sentence(title, edges, floor)
    height = max(320, 150 + 36 * heads)
    return finish(fig, title, "layer (source to the left)", "head", sentence, height)


def _two_layers(values: np.ndarray) -> np.ndarray:
    """[head, head] as [layer, head, layer, head] with everything else missing."""
    first, second = values.shape
    full = np.full((2, max(first, second), 2, max(first, second)), np.nan)
    full[0, :first, 1, :second] = values
    return full


def _head_places(values: np.ndarray) -> dict[tuple[int, int], tuple[float, float]]:
    layers, heads, later, their_heads = values.shape
    if (layers, heads) != (later, their_heads):
        raise ValueError(
            "Composition scores need the axes [layer, head, layer, head] with the same "
            f"sizes twice; got {list(values.shape)}."
        )
    known = np.isfinite(values)
    used = known.any((2, 3)) | known.any((0, 1))
    return {
        (int(i), int(j)): (float(i), float(j)) for i, j in np.argwhere(used).tolist()
    }


def _edges(values: np.ndarray, floor: float) -> list[tuple[float, tuple, tuple]]:
    """(score, source head, target head) over the floor, strongest first."""
    found = [
        (float(values[i, a, j, b]), (i, a), (j, b))
        for i, a, j, b in np.ndindex(values.shape)
        if i < j and values[i, a, j, b] > floor
    ]
    return sorted(found, reverse=True)[:MAX_EDGES]


def _edge_trace(edge: tuple, floor: float, top: float, places: dict) -> go.Scatter:
    score, *ends = edge
    (x0, y0), (x1, y1) = (places[head] for head in ends)
    share = (score - floor) / top
    return go.Scatter(
        x=[x0, x1],
        y=[y0, y1],
        mode="lines",
        line={"width": short(9 * share), "color": PALETTE[0]},
        opacity=round(0.25 + 0.6 * share, 2),
        showlegend=False,
        hoverinfo="skip",
        meta={
            "pick": [">".join(head_label(*head) for head in ends)],
            "words": [_edge_words(edge)],
        },
    )


def _edge_words(edge: tuple) -> str:
    score, *ends = edge
    first, second = (head_label(*head) for head in ends)
    return f"{first} to {second}: {score:.3g}"


def _edge_hover(edges: list, places: dict, kind: str) -> go.Scatter:
    """Invisible points on the lines, so that a line can be asked for its score."""
    third = [
        [(2 * places[a][axis] + places[b][axis]) / 3 for _, a, b in edges]
        for axis in (0, 1)
    ]
    return go.Scatter(
        x=as_list(np.array(third[0])),
        y=as_list(np.array(third[1])),
        mode="markers",
        marker={"size": 10, "color": "rgba(0,0,0,0)"},
        text=[_edge_words(edge) for edge in edges],
        hovertemplate=f"{kind}-composition %{{text}}<extra></extra>",
        showlegend=False,
    )


def _head_dots(places: dict) -> go.Scatter:
    labels = [head_label(*head) for head in places]
    return go.Scatter(
        x=[x for x, _ in places.values()],
        y=[y for _, y in places.values()],
        mode="markers+text",
        text=labels,
        textposition="top center",
        marker={"size": 12, "color": PALETTE[1]},
        hoverinfo="skip",
        showlegend=False,
        meta={"pick": labels, "words": [f"head {label}" for label in labels]},
    )


def _composition_sentence(title: str, edges: list, floor: float) -> str:
    if not edges:
        return f"{title}: no pair of heads scores over the floor of {floor:.3g}."
    score, a, b = edges[0]
    return (
        f"{title}: {len(edges)} pairs of heads drawn over the floor of {floor:.3g}; "
        f"the strongest is {head_label(*a)} to {head_label(*b)}, with {score:.3g}."
    )
