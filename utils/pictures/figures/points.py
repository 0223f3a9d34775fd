"""Two scores against each other."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from torch import Tensor

from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    MUTED,
    PALETTE,
    SEQUENTIAL,
    as_array,
    as_list,
    clip,
    finish,
    need_labels,
    short,
)

__all__ = ["scatter"]

MAX_POINTS = 2_000


def scatter(
    x: Float[Tensor, "n"],
    y: Float[Tensor, "n"],
    labels: Sequence[str] | None = None,
    *,
    title: str = "Two scores against each other",
    x_title: str = "x",
    y_title: str = "y",
    diagonal: bool = False,
) -> go.Figure:
    """Points [n] against each other, with names such as 1.4 beside up to 40 of them.

    Points that hide each other share one label, such as "1.2, 1.4"; one whose name is
    empty gets none.
    More than 2,000 points (a bigram table, say) become a density of 60 by 60 cells in
    which every point counts. `diagonal` draws y = x. Pairs that are not finite are
    left out. Raises ValueError when the lengths differ.
    """
    first = as_array(x, (1, 2), "x", "[n]").ravel()
    second = as_array(y, (1, 2), "y", "[n]").ravel()
    if len(first) != len(second):
        raise ValueError(
            f"x has {len(first)} values and y has {len(second)}: each point needs both."
        )
    names = need_labels(labels, len(first), "The scatter") if labels else None
    if names:
        names = [n if given else "" for n, given in zip(names, labels, strict=True)]
    known = np.isfinite(first) & np.isfinite(second)
    names = [n for n, k in zip(names, known, strict=True) if k] if names else None
    first, second = first[known], second[known]
    many = len(first) > MAX_POINTS
    fig = OfflineFigure(
        _density(first, second) if many else _points(first, second, names)
    )
    if diagonal:
        _diagonal(fig, first, second)
    sentence = f"{title}: {len(first)} points, {x_title} from {first.min():.3g} to "
    sentence += f"{first.max():.3g} against {y_title} from {second.min():.3g} to "
    sentence += (
        f"{second.max():.3g}; their correlation is {_correlation(first, second)}."
    )
    return finish(fig, title, x_title, y_title, sentence, 460)


def _correlation(x: np.ndarray, y: np.ndarray) -> str:
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return "not defined"
    return f"{np.corrcoef(x, y)[0, 1]:.2f}"


def _points(x: np.ndarray, y: np.ndarray, names: list[str] | None) -> go.Scatter:
    write = names is not None and len(names) <= 40
    return go.Scatter(
        x=as_list(x),
        y=as_list(y),
        mode="markers+text" if write else "markers",
        text=_shared_labels(x, y, names) if write else None,
        hovertext=[clip(name) for name in names] if names else None,
        textposition="top center",
        marker={"color": PALETTE[0], "size": 7, "opacity": 0.7},
        hovertemplate=("%{hovertext}<br>" if names else "")
        + "%{x}, %{y}<extra></extra>",
        showlegend=False,
    )


def _shared_labels(x: np.ndarray, y: np.ndarray, names: list[str]) -> list[str]:
    """A label for each point; points closer than 2 % of both axes share the first's.

    A name that is empty is no label.
    """
    places = np.stack([x, y], axis=1)
    near = 0.02 * (np.ptp(places, axis=0) + 1e-12)
    groups: list[list[int]] = []
    for i, place in enumerate(places):
        same = (g for g in groups if (np.abs(places[g[0]] - place) < near).all())
        group = next(same, None)
        if group is None:
            groups.append([i])
        else:
            group.append(i)
    labels = [""] * len(names)
    for group in groups:
        labels[group[0]] = ", ".join(clip(names[i]) for i in group if names[i])
    return labels


def _density(x: np.ndarray, y: np.ndarray) -> go.Heatmap:
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=60)
    shade = np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.3, np.nan)
    return go.Heatmap(
        x=as_list((x_edges[:-1] + x_edges[1:]) / 2),
        y=as_list((y_edges[:-1] + y_edges[1:]) / 2),
        z=as_list(shade.T.round(2)),
        zmin=0.0,
        zmax=short(float(np.nanmax(shade))),
        colorscale=SEQUENTIAL,
        colorbar={
            "title": {"text": "log10 of count", "side": "right"},
            "thickness": 12,
        },
        hovertemplate="%{x}, %{y}<extra></extra>",
    )


def _diagonal(fig: go.Figure, x: np.ndarray, y: np.ndarray) -> None:
    ends = [max(x.min(), y.min()), min(x.max(), y.max())]
    fig.add_scatter(
        x=as_list(np.array(ends)),
        y=as_list(np.array(ends)),
        mode="lines",
        name="y = x",
        line={"color": MUTED, "dash": "dash", "width": 1.5},
        showlegend=False,
    )
