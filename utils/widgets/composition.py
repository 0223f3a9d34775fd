"""The composition browser: which heads write what later heads read."""

import math
from collections.abc import Callable, Mapping

import torch
from ipywidgets import FloatSlider
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.pictures import figures
from utils.widgets.clicks import ClickPage, mark_picked
from utils.widgets.parts import (
    Explorer,
    Memory,
    Page,
    button,
    choice,
    figure_svg,
    head_names,
    learner_call,
    paragraph,
    private_copy,
    text_box,
)
from utils.widgets.typed import Ask, read_text, token_strings

__all__ = ["as_four_axes", "composition_browser", "draw_composition", "pair_patterns"]

Head = tuple[int, int]
STRONGEST = "the strongest"
CHOSEN = "#B3371B"
# Two patterns of so many tokens are as much as one figure draws.
LONGEST = math.isqrt(3 * figures.MAX_CELLS // 2)
Score = Callable[[TransformerBridge], Tensor]


def as_four_axes(
    scores: Tensor, n_heads: int
) -> Float[Tensor, "layer1 head1 layer2 head2"]:
    """[head of layer 0, head of layer 1] or all four axes, as all four axes.

    Pairs without a score, and those whose second head is not in a later layer, become
    NaN. Raises Ask for another shape.
    """
    shape = list(getattr(scores, "shape", ()))
    if shape == [n_heads, n_heads]:
        full = torch.full((2, n_heads, 2, n_heads), torch.nan)
        full[0, :, 1] = scores.float()
        return full
    if len(shape) != 4 or shape[:2] != shape[2:] or shape[1] != n_heads:
        wanted = f"[{n_heads}, {n_heads}] or [layer, {n_heads}, layer, {n_heads}]"
        raise Ask(f"Composition scores must have the shape {wanted}; got {shape}.")
    layers = torch.arange(shape[0])
    later = layers[:, None, None, None] < layers[None, None, :, None]
    return scores.float().where(later, torch.nan)


def pair_patterns(
    model: TransformerBridge, tokens: Int[Tensor, "1 pos"], first: Head, second: Head
) -> Float[Tensor, "pair query key"]:
    """The attention patterns of two heads on one text."""
    names = [f"blocks.{layer}.attn.hook_pattern" for layer, _ in (first, second)]
    _, cache = model.run_with_cache(tokens, names_filter=sorted(set(names)))
    heads = zip(names, (first, second), strict=True)
    return torch.stack([cache[name][0, head] for name, (_, head) in heads])


def draw_composition(
    scores: Float[Tensor, "layer1 head1 layer2 head2"],
    kind: str,
    threshold: float,
    pair: tuple[Head, Head],
    patterns: Float[Tensor, "pair query key"],
    words: list[str],
) -> Page:
    """The graph over a threshold, and the patterns of the chosen two heads below it.

    The chosen pair is drawn in red. Each line and dot of the graph can be clicked.
    """
    graph = figures.composition_figure(scores, floor=threshold, kind=kind)
    names = [figures.head_label(*head) for head in pair]
    drawn = min(len(words), LONGEST)
    score = float(scores[(*pair[0], *pair[1])])
    both = figures.attention_heatmap(
        patterns[:, :drawn, :drawn],
        words[:drawn],
        names=names,
        title=f"Attention of {names[0]} and {names[1]}",
    )
    known = scores[torch.isfinite(scores)]
    above = int((known > threshold).sum())
    said = "not in a later layer" if score != score else f"{score:.3g}"
    description = (
        f"{kind}-composition: {above} of {len(known)} pairs of heads lie over "
        f"{threshold:.3g}. From {names[0]} to {names[1]}: {said}."
    )
    if drawn < len(words):
        description += f" The patterns show the first {drawn} of {len(words)} tokens."
    picture = mark_picked(figure_svg(graph, True), (">".join(names), *names), CHOSEN)
    html = paragraph(description) + picture + figure_svg(both)
    return Page(html, description)


def composition_browser(
    model: TransformerBridge,
    scores: Mapping[str, Score] | Score,
    text: str = "def add(self, name):\n    self.name = name",
    floor: float = 0.0,
) -> Explorer:
    """A graph of composition scores with a threshold, and both patterns of a pair.

    A click on a line shows the patterns of its two heads. A click on a dot chooses that
    head: as the one that is read from, or as the reader if it is in a later layer than
    the one chosen before, or in the last. The lists above the graph do the same.

    `scores` is a function, or several by name such as {"K": k_composition}; each takes
    the model and returns [head of layer 0, head of layer 1], or all four axes
    [layer, head, layer, head]. `floor` is where the threshold starts, such as what
    random weights score. A head left open is the other's strongest partner.
    Source: F-85.
    """
    own, memory, patterns = private_copy(model), Memory(), Memory()
    functions = scores if isinstance(scores, Mapping) else {"K": scores}
    names = head_names(own)
    kind = choice("Composition", list(functions), next(iter(functions)))
    threshold = _threshold(floor)
    first, second = _pair_boxes(names)
    box, again = text_box(text), button("Show")

    def values() -> Tensor:
        name, n_heads = kind.value, own.cfg.n_heads
        given = learner_call(f"scores ({name})", functions[name], own)
        found = as_four_axes(given, n_heads)
        if not torch.isfinite(found).any():
            raise Ask("There is no pair of heads in different layers to draw.")
        threshold.max = max(float(found[torch.isfinite(found)].max()), floor, 1e-3)
        return found

    def draw() -> Page:
        if len(names) == 0 or own.cfg.n_layers < 2:
            raise Ask("Composition needs two layers; this model has fewer.")
        found = memory.get(kind.value, values)
        pair = _pair(found, first.value, second.value)
        tokens = read_text(own, box.value)
        key = box.value, pair
        shown = patterns.get(key, lambda: pair_patterns(own, tokens, *pair))
        words = token_strings(own, tokens[0].tolist())
        return draw_composition(found, kind.value, threshold.value, pair, shown, words)

    def forget() -> None:
        memory.forget()
        patterns.forget()

    def choose(picked: str) -> None:
        first.value, second.value = _after_click(picked, first.value, own.cfg.n_layers)

    rows = [[kind, threshold], [first, second], [box, again]]
    page = ClickPage()
    explorer = Explorer(rows, draw, {again: forget}, page)
    page.on_pick(lambda picked: explorer.update(lambda: choose(picked)))
    return explorer


def _after_click(picked: str, first: str, n_layers: int) -> tuple[str, str]:
    """What both lists say after a click on a line ("0.3>1.5") or on a dot ("0.3")."""
    if ">" in picked:
        source, target = picked.split(">")
        return source, target
    layer = _head(picked)[0]
    if first != STRONGEST and _head(first)[0] < layer:
        return first, picked
    return (STRONGEST, picked) if layer == n_layers - 1 else (picked, STRONGEST)


def _threshold(floor: float) -> FloatSlider:
    """A slider of steps of about 0.005, one of which is the floor itself."""
    step = floor / max(1, round(floor / 0.005)) or 0.005
    return FloatSlider(
        value=floor,
        min=0.0,
        max=max(1.0, floor),
        step=step,
        readout_format=".3f",
        description="Threshold",
        style={"description_width": "initial"},
        layout={"width": "420px"},
    )


def _pair_boxes(names: list[str]) -> list:
    labels = ("From head", "To head")
    options = [STRONGEST, *names]
    return [choice(label, options, STRONGEST) for label in labels]


def _pair(scores: Tensor, first: str, second: str) -> tuple[Head, Head]:
    """The two chosen heads; one left open is the other's strongest partner."""
    known = scores.nan_to_num(-torch.inf)
    if first != STRONGEST and second != STRONGEST:
        return _head(first), _head(second)
    open_ = torch.full_like(known, -torch.inf)
    if first != STRONGEST:
        open_[_head(first)] = known[_head(first)]
    elif second != STRONGEST:
        layer, head = _head(second)
        open_[:, :, layer, head] = known[:, :, layer, head]
    else:
        open_ = known
    if not torch.isfinite(open_).any():
        raise Ask("This head has no partner: composition goes from a layer to a later.")
    a, b, c, d = (int(i) for i in torch.unravel_index(open_.argmax(), scores.shape))
    return (a, b), (c, d)


def _head(name: str) -> Head:
    layer, head = name.split(".")
    return int(layer), int(head)
