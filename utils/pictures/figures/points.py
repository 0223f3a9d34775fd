"""Two scores against each other, and paths through a plane."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int
from torch import Tensor

from utils.pictures.figures.screen import OfflineFigure
from utils.pictures.figures.style import (
    MUTED,
    PALETTE,
    SEQUENTIAL,
    arm_colors,
    as_array,
    as_list,
    clip,
    finish,
    need_labels,
    short,
)

__all__ = ["paths", "scatter"]

MOST_NAMES = 40
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
    """Points [n] against each other, with names such as 1.4 beside them.

    Points that hide each other share one label, such as "1.2, 1.4"; one whose name is
    empty gets none. With more than 40 names they are seen on hover only.
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
    write = names is not None and sum(map(bool, names)) <= MOST_NAMES
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


def paths(
    runs: Mapping[str, Float[Tensor, "run snapshot 2"]],
    steps: Int[Tensor, "snapshot"],
    marks: Sequence[int] = (),
    *,
    title: str = "Training as a path",
    x_title: str = "first coordinate",
    y_title: str = "second coordinate",
) -> go.Figure:
    """Paths of several runs through a plane, arm by arm, with marks for points in time.

    `runs` are the coordinates of each arm's runs at the snapshots `steps` [snapshot].
    Dots mark the steps `marks` on every path; beside the first path of an arm stands
    the step. Both axes have the same unit, so that angles are what they seem.
    Raises ValueError for a wrong shape or a mark at which there is no snapshot.
    """
    when = [int(step) for step in steps]
    if missing := [mark for mark in marks if mark not in when]:
        raise ValueError(f"There is no snapshot at step {missing[0]} to mark.")
    at = [when.index(mark) for mark in marks]
    fig, colors, sentences = OfflineFigure(), arm_colors(list(runs)), []
    for arm, given in runs.items():
        places = as_array(given, (3,), f"The runs of {arm!r}", "[run, snapshot, 2]")
        if places.shape[1:] != (len(when), 2):
            raise ValueError(
                f"The runs of {arm!r} have the shape {list(places.shape)}; for "
                f"{len(when)} steps they need [run, {len(when)}, 2]."
            )
        for i, path in enumerate(places):
            fig.add_traces(_path(path, arm, colors[arm], i, marks, at))
        begin, end = (places[:, time].mean(axis=0) for time in (0, -1))
        sentences.append(
            f"the {len(places)} runs of {arm} go from about ({begin[0]:.3g}, "
            f"{begin[1]:.3g}) to ({end[0]:.3g}, {end[1]:.3g})"
        )
    fig.update_yaxes(scaleanchor="x")
    sentence = f"{title}, {x_title} and {y_title}, from step {when[0]} to {when[-1]}: "
    return finish(
        fig, title, x_title, y_title, sentence + "; ".join(sentences) + ".", 460
    )


def _path(path: np.ndarray, arm: str, color: str, run: int, marks, at) -> list:
    """One path and the dots on it; the first of an arm carries names."""
    x, y = path.T
    first = run == 0
    line = go.Scatter(
        x=as_list(x),
        y=as_list(y),
        mode="lines",
        name=clip(arm, 24),
        legendgroup=arm,
        showlegend=first,
        line={"width": 2, "color": color},
        hoverinfo="skip",
    )
    dots = go.Scatter(
        x=as_list(x[at]),
        y=as_list(y[at]),
        mode="markers+text" if first else "markers",
        text=[str(mark) for mark in marks] if first else None,
        textposition="top center",
        legendgroup=arm,
        showlegend=False,
        marker={"color": color, "size": 7},
        customdata=list(marks),
        hovertemplate=f"{clip(arm, 24)}, run {run}: step %{{customdata}}"
        "<extra></extra>",
    )
    return [line, dots]
