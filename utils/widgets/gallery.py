"""The head gallery: every head of a model a dot; choose one to see what it does.

A short score says little about a head. So beside the scores stand its pattern, places
in real text from its whole range of weights, and single entries of its circuits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape

import ipywidgets
import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.pictures import attention_view, figures
from utils.text.tokens import one_line, visible
from utils.widgets.clicks import ClickPage
from utils.widgets.gallery_points import Measured, points_picture
from utils.widgets.parts import (
    MARKED,
    Explorer,
    Page,
    button,
    choice,
    head_names,
    learner_call,
    paragraph,
    show_token,
)
from utils.widgets.typed import Ask, token_strings, visible_line

__all__ = ["Place", "head_gallery", "kept_patterns", "places_by_tenths"]

MOST_ROWS = 2
TENTHS = 10
NONE, LAYER = "none", "layer"
KEY_EDGE = f"2px solid {figures.PALETTE[0]}"
Pairs = tuple[Sequence[float], Sequence[int], Sequence[int]]


def kept_patterns(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "row layer head query key"]:
    """Every head's pattern on the first two rows, in float16, from one run.

    270 heads of 81 tokens take 3.5 MB a row. Each layer's are made small as they come.
    """
    rows = tokens[:MOST_ROWS]
    kept: list[Tensor] = []

    def keep(pattern: Tensor, hook: object) -> None:
        kept.append(pattern.detach().half().cpu())

    names = [f"blocks.{i}.attn.hook_pattern" for i in range(model.cfg.n_layers)]
    with torch.no_grad():
        model.run_with_hooks(rows, fwd_hooks=[(name, keep) for name in names])
    return torch.stack(kept, dim=1)


@dataclass(frozen=True)
class Place:
    """One query's strongest key away from position 0, and the tenth it stands for."""

    tenth: int
    row: int
    query: int
    key: int
    weight: float


def places_by_tenths(patterns: Float[Tensor, "row query key"]) -> list[Place]:
    """One place from each tenth of a head's attention on text, the strongest first.

    Each query from position 1 on is taken with the key, from position 1 on, to which it
    gives most. These places are ordered by weight and cut into ten parts of equal size;
    the strongest of each part stands for it. With fewer than ten places all are given.
    """
    if patterns.shape[-1] < 2:
        return []
    weights, keys = patterns[:, 1:, 1:].float().max(dim=2)
    order = weights.flatten().argsort(descending=True, stable=True).tolist()
    parts, queries = min(TENTHS, len(order)), weights.shape[1]
    places = []
    for part in range(parts):
        row, query = divmod(order[part * len(order) // parts], queries)
        key, weight = int(keys[row, query]) + 1, float(weights[row, query])
        places.append(Place(part + 1, row, query + 1, key, weight))
    return places


@dataclass
class _Rows:
    """Rows of tokens, as words, with every head's pattern on them."""

    model: TransformerBridge
    tokens: Tensor

    @cached_property
    def patterns(self) -> Tensor:
        return kept_patterns(self.model, self.tokens)

    @cached_property
    def words(self) -> list[list[str]]:
        rows = self.tokens[:MOST_ROWS].tolist()
        return [token_strings(self.model, row) for row in rows]


def head_gallery(
    model: TransformerBridge,
    scores: Mapping[str, Float[Tensor, "layer head"]],
    tokens: Int[Tensor, "batch pos"],
    text: Int[Tensor, "batch pos"] | None = None,
    top_pairs: Mapping[str, Callable[[int, int], Pairs]] | None = None,
    *,
    x: str | None = None,
    y: str | None = None,
    color: str = NONE,
    head: str | None = None,
    pairs_at_once: bool = False,
) -> Explorer:
    """Every head as a dot between any two scores; choose one to see what it does.

    A click on a dot chooses its head, and so does typing it, such as 1.4; the buttons
    go through the heads by the score on the x axis. `scores` has values [layer, head]
    by name; the layer's number is always among them. Left open, the axes are the first
    two scores and the head is the first one's largest.

    Shown are the head's pattern on the first two rows of `tokens`, such as random
    repeats, or of `text`; and, of `text`, one place from each tenth of its attention.
    Patterns are computed once, here. `top_pairs` has functions by name, such as
    {"OV": f}, where f(layer, head) gives values and two lists of token ids of equal
    length. They are asked while their box is ticked (`pairs_at_once`: from the start),
    once for each head. Raises ValueError for scores of another shape or an unknown
    name. Source: F-60, F-100.
    """
    names = head_names(model)
    if not names:
        raise ValueError("This model has no attention layer, so it has no heads.")
    table = _table(model, scores)
    options = list(table)
    chosen_x = _known(x or options[0], options)
    chosen_y = _known(y or options[min(1, len(options) - 1)], options)
    rows = {"tokens": _Rows(model, tokens)}
    if text is not None:
        rows["text"] = _Rows(model, text)
    for one in rows.values():
        _ = one.patterns, one.words  # now, so that no click runs the model
    across, up = choice("x", options, chosen_x), choice("y", options, chosen_y)
    tint = choice("Colour", [NONE, *options], _known(color, [NONE, *options]))
    row_names = {
        f"{name}, row {i + 1}": (name, i)
        for name, one in rows.items()
        for i in range(len(one.words))
    }
    on_row = choice("Pattern on", list(row_names), next(iter(row_names)))
    best = int(np.nan_to_num(table[options[0]], nan=-np.inf).argmax())
    typed = _head_box(names, head or names[best])
    tick = ipywidgets.Checkbox(
        value=pairs_at_once,
        description="Top pairs of each head (slow in a large model)",
        indent=False,
        layout={"width": "auto"},
    )
    asked: dict[tuple[str, int], Pairs] = {}

    def pairs_of(i: int) -> dict[str, Pairs]:
        found = {}
        for name, function in (top_pairs or {}).items() if tick.value else ():
            if (name, i) not in asked:
                asked[name, i] = _ask_pairs(name, function, divmod(i, n_heads))
            found[name] = asked[name, i]
        return found

    n_heads = model.cfg.n_heads

    def draw() -> Page:
        i = _place_of(typed.value, names)
        layer, which = divmod(i, n_heads)
        axes = [Measured(c.value, table[c.value]) for c in (across, up)]
        tinted = None if tint.value == NONE else table[tint.value]
        paint = None if tinted is None else Measured(tint.value, tinted)
        said = _summary(names, axes, paint, i)
        kind, row = row_names[on_row.value]
        view = attention_view.attention_pattern(
            rows[kind].patterns[row, layer, which].float(),
            rows[kind].words[row],
            f"{names[i]} on {on_row.value}",
        )
        html = paragraph(said) + points_picture(names, *axes, paint, i, said)
        html += view.html
        if "text" in rows:
            places = places_by_tenths(rows["text"].patterns[:, layer, which])
            html += _places_table(names[i], places, rows["text"].words)
            said += _strongest(places, rows["text"].words)
        for name, pairs in pairs_of(i).items():
            html += _pairs_table(model, f"Top {name} pairs of {names[i]}", pairs)
        return Page(html, said)

    def step(by: int) -> None:
        values = np.nan_to_num(table[across.value], nan=-np.inf)
        order = np.argsort(-values, kind="stable").tolist()
        place = order.index(_place_of(typed.value, names)) + by
        typed.value = names[order[place % len(order)]]

    higher, lower = button("Higher x"), button("Lower x")
    actions = {higher: lambda: step(-1), lower: lambda: step(1)}
    last = [on_row, tick] if top_pairs else [on_row]
    controls = [[across, up, tint], [typed, higher, lower], last]
    page = ClickPage()
    explorer = Explorer(controls, draw, actions, page)
    page.on_pick(lambda name: explorer.update(lambda: setattr(typed, "value", name)))
    return explorer


def _head_box(names: Sequence[str], value: str) -> ipywidgets.Combobox:
    return ipywidgets.Combobox(
        value=value,
        options=list(names),
        description="Head",
        continuous_update=False,
        style={"description_width": "initial"},
        layout={"width": "160px"},
    )


def _table(model: TransformerBridge, scores: Mapping) -> dict[str, np.ndarray]:
    """Every score as an array [head of all layers], and the layers' numbers."""
    sizes = [model.cfg.n_layers, model.cfg.n_heads]
    table = {}
    for name, values in scores.items():
        shape = list(getattr(values, "shape", ()))
        if shape != sizes:
            raise ValueError(
                f"The scores named {name!r} must be [layer, head], here {sizes}; got "
                f"{shape or type(values).__name__}."
            )
        found = torch.as_tensor(values).detach().cpu().double()
        table[str(name)] = found.flatten().numpy()
    layers = np.repeat(np.arange(sizes[0], dtype=float), sizes[1])
    return table | {LAYER: layers}


def _known(name: str, options: Sequence[str]) -> str:
    if name not in options:
        raise ValueError(f"There is no score {name!r}; there are {', '.join(options)}.")
    return name


def _place_of(typed: str, names: Sequence[str]) -> int:
    name = typed.strip()
    if name not in names:
        raise Ask(
            f'"{visible_line(name)}" is no head of this model. Type a layer, a point '
            f"and a head, from {names[0]} to {names[-1]}."
        )
    return names.index(name)


def _ask_pairs(name: str, function: Callable, place: tuple[int, int]) -> Pairs:
    given = learner_call(f"top_pairs ({name})", function, *place)
    try:
        values, first, second = (torch.as_tensor(part).tolist() for part in given)
        rows = list(zip(values, first, second, strict=True))
    except (TypeError, ValueError, RuntimeError) as error:
        raise Ask(
            f"The function given as top_pairs ({name}) must return values and two "
            "lists of token ids, all of one length."
        ) from error
    return tuple(zip(*rows, strict=True)) or ((), (), ())


def _summary(
    names: Sequence[str], axes: Sequence[Measured], paint: Measured | None, i: int
) -> str:
    """The chosen head's scores, each with its place among all heads."""
    shown = {one.name: one for one in [*axes, *([paint] if paint else [])]}
    words = []
    for one in shown.values():
        value = one.values[i]
        rank = int((one.values > value).sum()) + 1
        place = "" if one.name == LAYER else f" (number {rank} of {len(names)})"
        known = np.isfinite(value)
        words.append(f"{one.title} {value:.2f}{place}" if known else f"no {one.title}")
    missing = sum(~(np.isfinite(axes[0].values) & np.isfinite(axes[1].values)))
    left = f" {missing} of {len(names)} heads have no place here." if missing else ""
    return f"Head {names[i]}: {', '.join(words)}.{left}"


def _strongest(places: Sequence[Place], words: Sequence[Sequence[str]]) -> str:
    if not places:
        return ""
    best = places[0]
    query, key = (visible(words[best.row][at]) for at in (best.query, best.key))
    return (
        f" Its strongest place in the text: from {query} at position {best.query} to "
        f"{key} at position {best.key}, weight {best.weight:.2f}."
    )


_CELL = "padding:2px 10px 2px 0;text-align:left;vertical-align:top"
_TABLE = (
    f'<table style="border-collapse:collapse;margin:8px 0;font-size:13px;'
    f'background:{figures.PAPER};color:{figures.INK}">'
)


def _rows_html(title: str, headers: Sequence[str], rows: Sequence[str]) -> str:
    head = "".join(f'<th style="{_CELL};font-weight:600">{one}</th>' for one in headers)
    return (
        f'{_TABLE}<caption style="text-align:left;font-weight:600;'
        f'color:{figures.INK};padding:2px 0">{escape(title)}</caption>'
        f"<tr>{head}</tr>{''.join(rows)}</table>"
    )


def _row(*cells: str) -> str:
    inner = "".join(f'<td style="{_CELL}">{cell}</td>' for cell in cells)
    return f'<tr style="background:{figures.PAPER}">{inner}</tr>'


def _places_table(
    name: str, places: Sequence[Place], words: Sequence[Sequence[str]]
) -> str:
    rows = [
        _row(
            str(place.tenth),
            f"{place.weight:.3f}",
            show_token(words[place.row][place.query]),
            show_token(words[place.row][place.key]),
            _context(words[place.row], place.query, place.key),
        )
        for place in places
    ]
    title = f"Where {name} looks in text: the strongest place of each tenth"
    seen = "around the key (blue) and up to the query (black)"
    return _rows_html(title, ("tenth", "weight", "query", "key", seen), rows)


def _context(words: Sequence[str], query: int, key: int) -> str:
    """Two tokens on both sides of the key, and two before the query."""
    shown = set(range(max(key - 2, 0), min(key + 3, query + 1)))
    shown |= set(range(max(query - 2, 0), query + 1))
    edges = {key: KEY_EDGE, query: MARKED}
    parts, before = [], -1
    for i in sorted(shown):
        if i != before + 1:
            parts.append("…")
        edge = f' style="border:{edges[i]};border-radius:3px"' if i in edges else ""
        parts.append(f"<bdi{edge}>{escape(visible(words[i]))}</bdi>")
        before = i
    return f"<code>{' '.join(parts)}</code>"


def _pairs_table(model: TransformerBridge, title: str, pairs: Pairs) -> str:
    values, *ids = pairs
    first, second = (token_strings(model, one) for one in ids)
    rows = [
        _row(f"{value:.2f}", show_token(a), show_token(b))
        for value, a, b in zip(values, first, second, strict=True)
    ]
    return _rows_html(one_line(title), ("value", "first token", "second token"), rows)
