"""Every figure of the course: tensors in, a plotly figure out.

Called by the chapters, the solutions' reveals and the explorers. Nothing here runs a
model. Each figure has a title, axis titles with units, head labels such as 1.4, and
one sentence, made from the data, that `describe` returns.

All figures sit on a white card of their own. No single ink reaches a contrast of 4.5
on both a white and a #111 page (the best possible is 4.35), so the card is what makes
them readable in a light and in a dark notebook.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
from jaxtyping import Complex, Float
from plotly.io.base_renderers import PlotlyRenderer
from torch import Tensor

from utils.pictures.svg import static_svg
from utils.text.tokens import one_line, visible_all

__all__ = [
    "DIVERGING",
    "INK",
    "MAX_CELLS",
    "PALETTE",
    "PAPER",
    "SEQUENTIAL",
    "attention_heatmap",
    "attention_sentence",
    "check_pattern",
    "check_values",
    "composition_figure",
    "describe",
    "eigenvalue_plot",
    "head_label",
    "head_scores",
    "logit_attribution",
    "loss_by_position",
    "matrix_heatmap",
    "mimebundle",
    "scatter",
    "score_histogram",
    "token_bars",
    "top_tokens",
    "training_curves",
    "use_offline_renderer",
]

PAPER = "#FFFFFF"
INK = "#1F2933"
GRID = "#D9DDE2"
MUTED = "#6B7280"
# Okabe and Ito's hues, darkened until each has a contrast of 3 on the card.
PALETTE = ["#0072B2", "#C84E00", "#007A5A", "#A6478F", "#8A6D00", "#4D4D4D"]
DIVERGING = [[0.0, "#9C3A00"], [0.25, "#E39A63"], [0.5, "#F7F7F7"]] + [
    [0.75, "#6FA8D0"],
    [1.0, "#00497A"],
]
SEQUENTIAL = [[0.0, "#FFFFFF"], [0.3, "#B9D3EA"], [0.65, "#3F8AC4"], [1.0, "#062E5C"]]

MAX_CELLS = 16_384
MAX_TICKS = 40
MAX_POINTS = 2_000
MAX_EDGES = 40

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


# --- small helpers -------------------------------------------------------------------


def _array(values: Any, dims: tuple[int, ...], what: str, axes: str) -> np.ndarray:
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
    array = _array(values, dims, what, axes)
    if np.isnan(array).any():
        raise ValueError(f"{what} must not hold missing values (NaN).")
    return array


def _short(value: float) -> float | None:
    """The number with five significant digits; None (a gap) if it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _list(array: np.ndarray) -> list:
    """Nested lists of short numbers: small, and read by every version of plotly.js."""
    if array.ndim == 1:
        return [_short(value) for value in array.tolist()]
    return [_list(row) for row in array]


def _need_labels(labels: Sequence[str] | None, size: int, what: str) -> list[str]:
    if labels is None:
        return [str(i) for i in range(size)]
    if isinstance(labels, str) or len(labels) != size:
        raise ValueError(
            f"{what} needs {size} labels, one for each place; got {len(labels)}."
        )
    return visible_all(labels)


def _clip(label: str, length: int = 14) -> str:
    short = label if len(label) <= length else label[: length - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;")  # plotly reads both


def _label_axis(labels: list[str], **more: Any) -> dict:
    """An axis with one place per label; of many labels only every n-th is written."""
    step = math.ceil(len(labels) / MAX_TICKS)
    places = list(range(0, len(labels), step))
    return {
        "tickmode": "array",
        "tickvals": places,
        "ticktext": [_clip(labels[i]) for i in places],
        "range": [-0.5, len(labels) - 0.5],
        "showgrid": False,
        **more,
    }


def _finish(
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


# --- heatmaps ------------------------------------------------------------------------


def _color_range(values: np.ndarray, signed: bool | None) -> dict:
    """Diverging and centred on 0 for signed values, sequential from 0 otherwise."""
    finite = values[np.isfinite(values)]
    if signed is None:
        signed = bool((finite < 0).any())
    top = float(np.abs(finite).max()) or 1.0
    low = -top if signed else 0.0
    scale = DIVERGING if signed else SEQUENTIAL
    return {"zmin": _short(low), "zmax": _short(top), "colorscale": scale}


def _too_many(cells: int, what: str) -> None:
    if cells > MAX_CELLS:
        raise ValueError(
            f"{what} has {cells:,} cells; draw at most {MAX_CELLS:,}: choose some rows "
            "and columns first."
        )


def _extreme(values: np.ndarray, absolute: bool = True) -> tuple[int, ...]:
    size = np.abs(values) if absolute else values
    flat = np.nanargmax(np.where(np.isfinite(values), size, np.nan))
    return tuple(int(i) for i in np.unravel_index(flat, values.shape))


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
) -> go.Figure:
    """A matrix [row, column] as colours, tokens or other names on both axes.

    Signed values get a diverging scale centred on 0, others a sequential one from 0
    (`signed` decides otherwise). Up to 100 cells the numbers are written in. Infinite
    and missing entries are left blank. Raises ValueError for a wrong shape or labels
    that do not fit, or more than 16,384 cells.
    """
    values = _array(matrix, (2,), "The matrix", "[row, column]")
    _too_many(values.size, "The matrix")
    rows = _need_labels(row_labels, values.shape[0], "The row axis")
    columns = _need_labels(column_labels, values.shape[1], "The column axis")
    colors = _color_range(values, signed)
    write = values.size <= 100 if show_values is None else show_values
    trace = go.Heatmap(
        z=_list(values),
        **colors,
        colorbar={"title": {"text": value_title, "side": "right"}, "thickness": 12},
        hovertemplate=f"{y_title}: %{{y}}<br>{x_title}: %{{x}}<br>"
        f"{value_title}: %{{z}}<extra></extra>",
        texttemplate="%{z:.2f}" if write else None,
    )
    fig = go.Figure(trace)
    fig.update_xaxes(_label_axis(columns, tickangle=_angle(columns)))
    fig.update_yaxes(_label_axis(rows, range=[len(rows) - 0.5, -0.5]))
    place = _extreme(values)
    finite = values[np.isfinite(values)]
    sentence = (
        f"{title}: {len(rows)} by {len(columns)} values of {value_title} from "
        f"{finite.min():.3g} to {finite.max():.3g}; the largest in size is "
        f"{values[place]:.3g}, at {y_title} {rows[place[0]]}, "
        f"{x_title} {columns[place[1]]}."
    )
    height = min(620, max(300, 170 + 24 * len(rows)))
    return _finish(fig, title, x_title, y_title, sentence, height)


def _angle(labels: list[str]) -> int:
    wide = len(labels) * max(len(_clip(label)) for label in labels) > 60
    return -90 if wide else 0


def check_pattern(
    values: Any, dims: tuple[int, ...], what: str, axes: str
) -> np.ndarray:
    """Attention weights as an array, or a ValueError in a sentence."""
    pattern = _array(values, dims, what, axes)
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
) -> go.Figure:
    """An attention pattern [query, key], or one panel per head [head, query, key].

    Weights run from 0 to 1; panels of several heads are in whole per cent, which keeps
    8 heads of 64 tokens under 60 KB. `names` are the heads' labels. Raises ValueError
    for a wrong shape, for tokens that do not fit and for negative weights.
    """
    weights = check_pattern(
        pattern, (2, 3), "The pattern", "[query, key] or [head, q, k]"
    )
    if weights.ndim == 3:
        return _attention_panels(weights, tokens, names, title)
    _too_many(weights.size, "The pattern")
    rows, keys = _query_and_key_labels(tokens, weights.shape)
    trace = go.Heatmap(
        z=_list(weights.round(3)),
        zmin=0.0,
        zmax=max(1.0, float(weights.max())),
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": "attention", "side": "right"}, "thickness": 12},
        hovertemplate="query: %{y}<br>key: %{x}<br>attention: %{z}<extra></extra>",
    )
    fig = go.Figure(trace)
    fig.update_xaxes(_label_axis(keys, tickangle=-90, constrain="domain"))
    fig.update_yaxes(
        _label_axis(
            rows,
            range=[len(rows) - 0.5, -0.5],
            scaleanchor="x",
            constrain="domain",
        )
    )
    sentence = f"{title} of {len(rows)} queries and {len(keys)} keys: "
    sentence += attention_sentence(weights, rows, keys)
    height = min(720, 260 + 12 * len(rows))
    return _finish(fig, title, "key (source)", "query (destination)", sentence, height)


def _query_and_key_labels(tokens: Sequence[str], shape) -> tuple[list[str], list[str]]:
    """Labels of both axes; queries may be the last positions only."""
    queries, keys = shape[-2:]
    labels = _need_labels(tokens, keys, "The key axis")
    if queries > keys:
        raise ValueError(
            f"The pattern has more queries ({queries}) than keys ({keys}); its axes "
            "are [query, key], so it may be transposed."
        )
    return labels[keys - queries :], labels


def attention_sentence(weights: np.ndarray, rows: list[str], keys: list[str]) -> str:
    """Where one head [query, key] looks: the largest weight off the first token."""
    start = float(weights[:, 0].mean())
    if weights.shape[1] == 1:
        return f"one token, attended with weight {start:.2f}."
    query, key = _extreme(weights[:, 1:])
    key += 1
    return (
        f"{start:.0%} of its attention rests on the first token on average; its "
        f"largest weight elsewhere is {weights[query, key]:.2f}, from {rows[query]} "
        f"(query {query}) to {keys[key]} (key {key})."
    )


def _attention_panels(
    weights: np.ndarray,
    tokens: Sequence[str],
    names: Sequence[str] | None,
    title: str,
) -> go.Figure:
    heads = weights.shape[0]
    _too_many(weights.size // 3, "The set of patterns")
    rows, keys = _query_and_key_labels(tokens, weights.shape)
    labels = _need_labels(
        names or [f"head {i}" for i in range(heads)], heads, "The heads"
    )
    across = min(4, heads)
    down = math.ceil(heads / across)
    fig = go.Figure()
    for head in range(heads):
        suffix = "" if head == 0 else str(head + 1)
        fig.add_trace(_panel_trace(weights[head], suffix, labels[head], head == 0))
        _place_panel(fig, head, across, down, rows, keys)
        _panel_title(fig, suffix, labels[head])
    off_start = weights[:, :, 1:] if weights.shape[2] > 1 else weights
    best = _extreme(off_start)[0]
    sentence = (
        f"{title}: {heads} heads, {len(rows)} queries and {len(keys)} keys; the one "
        f"strongest away from the first token is {labels[best]}: "
    ) + attention_sentence(weights[best], rows, keys)
    query_title = "query (destination)"
    key_title = "key (source)" if down == 1 else ""
    return _finish(fig, title, key_title, query_title, sentence, 90 + 230 * down)


def _panel_trace(weights: np.ndarray, suffix: str, label: str, bar: bool) -> go.Heatmap:
    percent = np.clip(weights * 100, 0, 255).round().astype(np.uint8)
    return go.Heatmap(
        z=percent,
        zmin=0,
        zmax=100,
        colorscale=SEQUENTIAL,
        showscale=bar,
        colorbar={"title": {"text": "attention (%)", "side": "right"}, "thickness": 12},
        xaxis="x" + suffix,
        yaxis="y" + suffix,
        name=label,
        hovertemplate=f"{_clip(label)}<br>query: %{{y}}<br>key: %{{x}}<br>"
        "attention: %{z} %<extra></extra>",
    )


def _place_panel(fig, head: int, across: int, down: int, rows, keys) -> None:
    column, row = head % across, head // across
    left, top = column / across, 1 - row / down
    suffix = "" if head == 0 else str(head + 1)
    small = {"showticklabels": False, "ticks": "", "linecolor": MUTED, "mirror": True}
    if len(keys) > MAX_TICKS // 2:
        small["ticktext"] = small["tickvals"] = None  # hover gives positions instead
    fig.layout["xaxis" + suffix] = _label_axis(
        keys,
        domain=[left, left + 0.86 / across],
        anchor="y" + suffix,
        constrain="domain",
        title={"text": "key (source)" if row == down - 1 else "", "standoff": 4},
        showline=True,
        **small,
    )
    fig.layout["yaxis" + suffix] = _label_axis(
        rows,
        domain=[top - 0.8 / down, top - 0.04 / down],
        anchor="x" + suffix,
        title={"text": "query (destination)" if column == 0 else "", "standoff": 4},
        showline=True,
        **{**small, "range": [len(rows) - 0.5, -0.5]},
    )


def _panel_title(fig: go.Figure, suffix: str, label: str) -> None:
    fig.add_annotation(
        text=f"<b>{_clip(label)}</b>",
        x=-0.5,
        y=-0.5,
        xref="x" + suffix,
        yref="y" + suffix,
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
    )


# --- heads ---------------------------------------------------------------------------


def _score_array(scores: Any, what: str) -> np.ndarray:
    values = _array(scores, (1, 2), what, "[head] or [layer, head]")
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
    title = title or f"{score_name} of every head"
    if kind not in (None, "bars", "grid"):
        raise ValueError(f'kind must be "bars" or "grid", not {kind!r}.')
    if kind == "grid" or (kind is None and values.size > 32):
        return _score_grid(values, score_name, title, first_layer)
    names = _head_names(values.shape, first_layer)
    heads, fig = values.shape[1], go.Figure()
    for i, row in enumerate(values):
        places = list(range(i * heads, (i + 1) * heads))
        fig.add_bar(
            x=places,
            y=_list(row),
            name=f"layer {first_layer + i}",
            marker={"color": PALETTE[i % len(PALETTE)]},
            hovertemplate=f"head %{{x}}<br>{score_name}: %{{y}}<extra></extra>",
        )
    fig.update_xaxes(_label_axis(names, showgrid=False))
    _reference_lines(fig, references or {})
    sentence = f"{title}: " + _score_sentence(values, names, score_name)
    return _finish(fig, title, "head (layer.head)", score_name, sentence, 360)


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
    return _finish(fig, title, "head", "layer", sentence, height)


def _reference_lines(fig: go.Figure, references: Mapping[str, float]) -> None:
    """Named dashed horizontal lines, each with its label at the right end."""
    for name, value in references.items():
        fig.add_hline(
            y=float(value),
            line={"color": MUTED, "dash": "dash", "width": 1.5},
            annotation={
                "text": f"{_clip(name, 40)}: {value:.3g}",
                "font": {"color": INK, "size": 11},
                "bgcolor": "rgba(255,255,255,0.8)",
            },
            annotation_position="top right",
        )
    for note in fig.layout.annotations:
        note.xanchor = "right"


def score_histogram(
    scores: Float[Tensor, "..."],
    null: Float[Tensor, "..."] | None = None,
    *,
    score_name: str = "score",
    title: str | None = None,
    bins: int = 24,
) -> go.Figure:
    """How many scores fall in each bin, beside a null distribution of the same score.

    Both are shares of their own total, so sets of different sizes compare. Raises
    ValueError when nothing finite is given.
    """
    values = _flat(scores, "The scores")
    sets = {"heads": values}
    if null is not None:
        sets = {"random (null)": _flat(null, "The null"), **sets}
    pooled = np.concatenate(list(sets.values()))
    edges = np.histogram_bin_edges(pooled, bins=bins)
    centres, fig = (edges[:-1] + edges[1:]) / 2, go.Figure()
    for name, sample in sets.items():
        share = np.histogram(sample, bins=edges)[0] / len(sample)
        fig.add_bar(
            x=_list(centres),
            y=_list(share),
            width=_short(float(edges[1] - edges[0])),
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
    return _finish(fig, title, score_name, "share of values", sentence + ".", 360)


def _flat(values: Any, what: str) -> np.ndarray:
    array = _array(values, (1, 2, 3, 4), what, "[head] or more").ravel()
    return array[np.isfinite(array)]


# --- circuits ------------------------------------------------------------------------


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
    fig = go.Figure()
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
    return _finish(fig, title, f"real {side}", f"imaginary {side}", sentence, 520)


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
        x=_list(radius * np.cos(angle)),
        y=_list(radius * np.sin(angle)),
        mode="markers",
        name=name,
        marker={"color": color, "size": size, "opacity": clear},
        customdata=[[_short(v.real), _short(v.imag)] for v in values.tolist()],
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
        fig.add_trace(go.Scatter(x=_list(x.round(3)), y=_list(y.round(3)), **quiet))
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
) -> go.Figure:
    """Heads as dots, layer by layer; a line's width is its score over a floor.

    `scores` is [head of layer 0, head of layer 1], or TransformerLens's four axes of
    `all_composition_scores`. `floor` is what random weights score. Lines at or under
    the floor are not drawn; of the rest the 40 strongest are. A clickable picture of
    it names its lines ("0.3>1.5") and dots ("0.3"). Raises ValueError for a wrong
    shape.
    """
    values = _array(
        scores, (2, 4), "The scores", "[head, head] or [layer, head, layer, head]"
    )
    if values.ndim == 2:
        values = _two_layers(values)
    places = _head_places(values)
    edges = _edges(values, floor)
    title = title or f"{kind}-composition between heads"
    fig = go.Figure()
    top = max((score - floor for score, *_ in edges), default=1.0)
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
    return _finish(fig, title, "layer (source to the left)", "head", sentence, height)


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
        line={"width": _short(9 * share), "color": PALETTE[0]},
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
        x=_list(np.array(third[0])),
        y=_list(np.array(third[1])),
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


# --- logits, losses, tokens ----------------------------------------------------------


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
    values = _array(
        contributions, (1, 2), "The contributions", "[component] or [component, pos]"
    )
    names = _need_labels(components, values.shape[0], "The component axis")
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
    fig = _lying_bars(values, names, "contribution (logits)")
    place = _extreme(values)[0]
    sentence = (
        f"{title}: {len(names)} components that add {values.sum():.3g} logits in all; "
        f"the largest in size is {names[place]}, with {values[place]:.3g}."
    )
    height = 150 + 22 * len(names)
    return _finish(fig, title, "contribution (logits)", "component", sentence, height)


def _lying_bars(values: np.ndarray, names: list[str], value_title: str) -> go.Figure:
    """Horizontal bars, first on top; blue for what adds, orange for what takes away."""
    colors = [PALETTE[1] if value < 0 else PALETTE[0] for value in values]
    bars = go.Bar(
        x=_list(values),
        y=list(range(len(names))),
        orientation="h",
        marker={"color": colors},
        hovertemplate=f"%{{y}}<br>{value_title}: %{{x}}<extra></extra>",
    )
    fig = go.Figure(bars)
    fig.update_yaxes(_label_axis(names, range=[len(names) - 0.5, -0.5]))
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
    numbers = _array(values, (1,), "The values", "[token]")
    names = _need_labels(tokens, numbers.shape[0], "The token axis")
    order = np.argsort(-numbers, kind="stable")[: max(k, 1)]
    chosen, labels = numbers[order], [names[i] for i in order]
    fig = _lying_bars(chosen, labels, value_title)
    sentence = (
        f"{title}: the first of {len(labels)} is {labels[0]}, with a {value_title} of "
        f"{chosen[0]:.3g}; the last shown is {labels[-1]}, with {chosen[-1]:.3g}."
    )
    height = 150 + 24 * len(labels)
    return _finish(fig, title, value_title, "token", sentence, height)


def token_bars(
    tokens: Sequence[str], values: np.ndarray, value_title: str, title: str
) -> go.Figure:
    """One bar per token of a text, in the order of the text."""
    names = _need_labels(tokens, len(values), "The token axis")
    colors = [PALETTE[1] if value < 0 else PALETTE[0] for value in values]
    bars = go.Bar(x=list(range(len(names))), y=_list(values), marker={"color": colors})
    fig = go.Figure(bars)
    fig.update_xaxes(_label_axis(names, tickangle=-90))
    place = _extreme(values)[0]
    sentence = (
        f"{title}: {len(names)} tokens, {value_title} from {values.min():.3g} to "
        f"{values.max():.3g}; the largest in size is {values[place]:.3g}, at "
        f"{names[place]} (position {place})."
    )
    return _finish(fig, title, "token", value_title, sentence, 360)


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
        numbers = _array(values, (1,), f"The loss {name!r}", "[pos]")
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
) -> go.Figure:
    """Named curves against steps or tokens, with named horizontal reference lines.

    Each series is a pair (x, y) or just y, counted from 0. Missing values are skipped,
    and long curves are thinned to 500 points, first and last kept. Raises ValueError
    when nothing is given or x and y do not fit.
    """
    if not series:
        raise ValueError("There is no curve to draw: give at least one series.")
    fig, sentences = go.Figure(), []
    for i, (name, curve) in enumerate(series.items()):
        x, y = _curve(name, curve)
        keep = np.unique(np.linspace(0, len(x) - 1, 500).round().astype(int))
        fig.add_scatter(
            x=_list(x[keep]),
            y=_list(y[keep]),
            mode="lines" if len(x) > 1 else "markers",
            name=_clip(one_line(name), 24),
            line={"width": 2, "color": PALETTE[i % len(PALETTE)]},
        )
        low = int(np.argmin(y))
        sentences.append(
            f"{name} goes from {y[0]:.3g} to {y[-1]:.3g} (lowest {y[low]:.3g} at "
            f"{x[low]:.6g})"
        )
    _reference_lines(fig, references or {})
    if log_x:
        fig.update_xaxes(type="log", dtick=1)
    fig.update_layout(showlegend=len(series) > 1)
    lines = [f"{name} is {value:.3g}" for name, value in (references or {}).items()]
    sentence = f"{title}, {y_title} by {x_title}: " + "; ".join(sentences + lines) + "."
    return _finish(fig, title, x_title, y_title, sentence)


def _curve(name: str, curve: Any) -> tuple[np.ndarray, np.ndarray]:
    pair = isinstance(curve, tuple) and len(curve) == 2
    y = _array(curve[1] if pair else curve, (1,), f"The curve {name!r}", "[step]")
    x = np.arange(len(y), dtype=float)
    if pair:
        x = _array(curve[0], (1,), f"The x values of {name!r}", "[step]")
    if len(x) != len(y):
        raise ValueError(
            f"The curve {name!r} has {len(x)} x values and {len(y)} y values."
        )
    known = np.isfinite(x) & np.isfinite(y)
    return x[known], y[known]


# --- two scores against each other ---------------------------------------------------


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

    Points that hide each other share one label, such as "1.2, 1.4".
    More than 2,000 points (a bigram table, say) become a density of 60 by 60 cells in
    which every point counts. `diagonal` draws y = x. Pairs that are not finite are
    left out. Raises ValueError when the lengths differ.
    """
    first = _array(x, (1, 2), "x", "[n]").ravel()
    second = _array(y, (1, 2), "y", "[n]").ravel()
    if len(first) != len(second):
        raise ValueError(
            f"x has {len(first)} values and y has {len(second)}: each point needs both."
        )
    names = _need_labels(labels, len(first), "The scatter") if labels else None
    known = np.isfinite(first) & np.isfinite(second)
    names = [n for n, k in zip(names, known, strict=True) if k] if names else None
    first, second = first[known], second[known]
    many = len(first) > MAX_POINTS
    fig = go.Figure(_density(first, second) if many else _points(first, second, names))
    if diagonal:
        _diagonal(fig, first, second)
    sentence = f"{title}: {len(first)} points, {x_title} from {first.min():.3g} to "
    sentence += f"{first.max():.3g} against {y_title} from {second.min():.3g} to "
    sentence += (
        f"{second.max():.3g}; their correlation is {_correlation(first, second)}."
    )
    return _finish(fig, title, x_title, y_title, sentence, 460)


def _correlation(x: np.ndarray, y: np.ndarray) -> str:
    if len(x) < 2 or x.std() == 0 or y.std() == 0:
        return "not defined"
    return f"{np.corrcoef(x, y)[0, 1]:.2f}"


def _points(x: np.ndarray, y: np.ndarray, names: list[str] | None) -> go.Scatter:
    write = names is not None and len(names) <= 40
    return go.Scatter(
        x=_list(x),
        y=_list(y),
        mode="markers+text" if write else "markers",
        text=_shared_labels(x, y, names) if write else None,
        hovertext=[_clip(name) for name in names] if names else None,
        textposition="top center",
        marker={"color": PALETTE[0], "size": 7, "opacity": 0.7},
        hovertemplate=("%{hovertext}<br>" if names else "")
        + "%{x}, %{y}<extra></extra>",
        showlegend=False,
    )


def _shared_labels(x: np.ndarray, y: np.ndarray, names: list[str]) -> list[str]:
    """A label for each point; points closer than 2 % of both axes share the first's."""
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
        labels[group[0]] = ", ".join(_clip(names[i]) for i in group)
    return labels


def _density(x: np.ndarray, y: np.ndarray) -> go.Heatmap:
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=60)
    shade = np.where(counts > 0, np.log10(np.maximum(counts, 1)) + 0.3, np.nan)
    return go.Heatmap(
        x=_list((x_edges[:-1] + x_edges[1:]) / 2),
        y=_list((y_edges[:-1] + y_edges[1:]) / 2),
        z=_list(shade.T.round(2)),
        zmin=0.0,
        zmax=_short(float(np.nanmax(shade))),
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
        x=_list(np.array(ends)),
        y=_list(np.array(ends)),
        mode="lines",
        name="y = x",
        line={"color": MUTED, "dash": "dash", "width": 1.5},
        showlegend=False,
    )


# --- onto the screen -----------------------------------------------------------------


def mimebundle(fig: go.Figure) -> dict[str, Any]:
    """The plotly data, a still SVG picture of it, and the sentence, in one output.

    JupyterLab and VS Code draw the first with the plotly.js they already have; a
    nbconvert page or GitHub shows the second; a terminal or screen reader the third.
    """
    meta = fig.layout.meta
    sentence = meta if isinstance(meta, str) else fig.layout.title.text or "A figure"
    bundle = PlotlyRenderer().to_mimebundle(fig.to_dict())
    bundle["image/svg+xml"] = static_svg(fig, sentence)
    bundle["text/plain"] = sentence
    return bundle


class _OfflineRenderer(PlotlyRenderer):
    def to_mimebundle(self, fig_dict: dict) -> dict[str, Any]:
        return mimebundle(go.Figure(fig_dict, skip_invalid=True))


def use_offline_renderer() -> None:
    """Show figures without any other host and without storing plotly.js.

    The prelude calls it once. JupyterLab's drawing comes from the extension that the
    plotly package installs.
    """
    pio.renderers["course"] = _OfflineRenderer()
    pio.renderers.default = "course"
