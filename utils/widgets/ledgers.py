"""Two ledgers of a prediction: by component (residual) and by path.

Each says what raised which token's logit, place by place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.pictures import figures
from utils.text.tokens import visible
from utils.widgets.parts import (
    MARKED,
    Explorer,
    Memory,
    Page,
    button,
    check_shape,
    chip,
    choice,
    figure_svg,
    head_names,
    learner_call,
    paragraph,
    place_in,
    place_slider,
    private_copy,
    text_box,
    token_box,
)
from utils.widgets.typed import Ask, read_text, read_token, token_strings

__all__ = [
    "Entry",
    "Reading",
    "draw_entry",
    "ledger_entry",
    "path_entry",
    "path_ledger",
    "path_names",
    "residual_ledger",
]

NEXT, GUESS, TYPED = "the one that comes next", "the model's first guess", "typed here"
SMALL = 1e-3
LONGEST = 64


@dataclass(frozen=True)
class Reading:
    """A text as the model read it, with its parts.

    `stack` is what each component added to the stream (residual ledger, d_model), or
    each path to the logits (path ledger, d_vocab).
    """

    tokens: Int[Tensor, "pos"]
    words: list[str]
    stack: Float[Tensor, "component pos width"]
    logits: Float[Tensor, "pos d_vocab"]


@dataclass(frozen=True)
class Entry:
    """Why one token is as likely as it is at one place.

    `parts` are logits over the mean of all tokens, one per component; `rest` is what
    the components leave unexplained. `rank` counts from 1.
    """

    parts: Float[Tensor, "component"]
    rest: float
    probability: float
    rank: int


def ledger_entry(
    reading: Reading, W_U: Float[Tensor, "d_model d_vocab"], position: int, token: int
) -> Entry:
    """What each component adds to a token's logit at a position, over the mean logit.

    A constant on all logits changes no probability, so the mean over the vocabulary is
    taken off (misconception 27).
    """
    column = W_U[:, token] - W_U.mean(dim=1)
    parts = reading.stack[:, position] @ column
    logits = reading.logits[position]
    return _entry(parts, logits, token)


def path_entry(
    terms: Float[Tensor, "term d_vocab"], logits: Float[Tensor, "d_vocab"], token: int
) -> Entry:
    """What each path adds to a token's logit, over what it adds to the mean logit."""
    parts = terms[:, token] - terms.mean(dim=1)
    return _entry(parts, logits, token)


def _entry(
    parts: Float[Tensor, "component"], logits: Float[Tensor, "d_vocab"], token: int
) -> Entry:
    rest = logits[token] - logits.mean() - parts.sum()
    probability = logits.softmax(dim=0)[token].item()
    rank = int((logits > logits[token]).sum()) + 1
    return Entry(parts, rest.item(), probability, rank)


def draw_entry(
    entry: Entry,
    names: Sequence[str],
    words: list[str],
    position: int,
    token: str,
    most: int | None = None,
) -> Page:
    """The text with the place marked, and a bar per component.

    With `most`, only so many of the largest get a bar, and the others one together.
    """
    names, values = list(names), entry.parts.tolist()
    best = max(range(len(values)), key=values.__getitem__)
    worst = min(range(len(values)), key=values.__getitem__)
    description = (
        f"After position {position}, ‘{visible(words[position])}’, the token "
        f"‘{visible(token)}’ has a probability of {entry.probability:.1%}, rank "
        f"{entry.rank}. Its logit is {sum(values) + entry.rest:.2f} over the mean: "
        f"{names[best]} adds most ({values[best]:+.2f}), {names[worst]} least "
        f"({values[worst]:+.2f})."
    )
    bars = _bars(list(zip(names, values, strict=True)), most)
    if abs(entry.rest) > SMALL:
        bars.append(("unexplained", entry.rest))
    title = f"What adds to the logit of {visible(token)}"
    figure = figures.logit_attribution(
        torch.tensor([value for _, value in bars]),
        [name for name, _ in bars],
        title=title,
    )
    strip = "".join(
        chip(word, 0.0, f"position {i}", MARKED if i == position else "")
        for i, word in enumerate(words)
    )
    html = paragraph(description)
    html += f'<div style="margin-bottom:8px">{strip}</div>{figure_svg(figure)}'
    return Page(html, description)


def _bars(parts: list[tuple[str, float]], most: int | None) -> list[tuple[str, float]]:
    """All parts in order, or the largest in size and the sum of the others."""
    if most is None or len(parts) <= most:
        return parts
    ranked = sorted(parts, key=lambda part: -abs(part[1]))
    others = sum(value for _, value in ranked[most:])
    return [*ranked[:most], ("others", others)]


def residual_ledger(
    model: TransformerBridge,
    decompose: Callable[[TransformerBridge, Tensor], Tensor],
    text: str = "def add(self, name):\n    self.name = name",
    position: int | None = None,
    names: Sequence[str] | None = None,
) -> Explorer:
    """Choose a place in a text and a token: see what each component adds to its logit.

    `decompose(model, tokens)` returns [component, batch, pos, d_model], whose sum is
    the stream after the last layer. `names` label the components; without them they
    are the embedding and then every head.
    """

    def read(own: TransformerBridge, text: str) -> Reading:
        return _read(own, "decompose", decompose, text, own.cfg.d_model)

    def entry(own: TransformerBridge, reading: Reading, place: int, token: int):
        return ledger_entry(reading, own.W_U, place, token)

    def label(own: TransformerBridge) -> list[str]:
        return ["embed", *head_names(own)] if names is None else list(names)

    return _ledger(model, text, position, read, entry, label)


def path_ledger(
    model: TransformerBridge,
    path_terms: Callable[[TransformerBridge, Tensor], Tensor],
    text: str = "def add(self, name):\n    self.name = name",
    position: int | None = None,
    names: Sequence[str] | None = None,
    most: int = 16,
) -> Explorer:
    """Choose a place and a token: see which paths made the prediction.

    `path_terms(model, tokens)` returns [term, batch, pos, d_vocab], whose sum is the
    logits. Without `names` the terms are in the order of the course: the direct path,
    then through one head, then through two. The `most` largest get a bar each.
    Source: F-50, F-81.
    """

    def read(own: TransformerBridge, text: str) -> Reading:
        length = read_text(own, text).shape[1]
        if length > LONGEST:
            raise Ask(
                f"This text has {length} tokens. Every path gets a logit for every "
                f"token of the vocabulary, so keep it to {LONGEST}."
            )
        return _read(own, "path_terms", path_terms, text, own.cfg.d_vocab)

    def entry(own: TransformerBridge, reading: Reading, place: int, token: int):
        return path_entry(reading.stack[:, place], reading.logits[place], token)

    def label(own: TransformerBridge) -> list[str]:
        return path_names(own) if names is None else list(names)

    return _ledger(model, text, position, read, entry, label, most)


def path_names(model: TransformerBridge) -> list[str]:
    """The paths of a model with up to two layers: direct, 0.1, 1.0, 0.1>1.0 and so on.

    All paths through one head stand before those through two.
    """
    heads = range(model.cfg.n_heads)
    pairs = [
        f"{figures.head_label(0, i)}>{figures.head_label(1, j)}"
        for i in heads
        for j in heads
        if model.cfg.n_layers == 2
    ]
    return ["direct", *head_names(model), *pairs]


def _ledger(
    model: TransformerBridge,
    text: str,
    position: int | None,
    read: Callable[[TransformerBridge, str], Reading],
    make_entry: Callable[[TransformerBridge, Reading, int, int], Entry],
    label: Callable[[TransformerBridge], list[str]],
    most: int | None = None,
) -> Explorer:
    """The controls that both ledgers share."""
    own, memory = private_copy(model), Memory()
    box, slider = text_box(text), place_slider(own, text, position)
    which = choice("Token", [NEXT, GUESS, TYPED], NEXT)
    typed, again = token_box("", "Typed token"), button("Show")

    def draw() -> Page:
        reading = memory.get(box.value, lambda: read(own, box.value))
        place = place_in(slider, len(reading.words))
        token = _token(own, reading, place, which.value, typed.value)
        entry = make_entry(own, reading, place, token)
        labels = label(own)
        if len(labels) != len(entry.parts):
            labels = [f"part{i}" for i in range(len(entry.parts))]
        word = token_strings(own, [token])[0]
        return draw_entry(entry, labels, reading.words, place, word, most)

    rows = [[box], [which, typed, again], [slider]]
    return Explorer(rows, draw, {again: memory.forget})


def _read(
    model: TransformerBridge, name: str, function: Callable, text: str, width: int
) -> Reading:
    tokens = read_text(model, text)
    stack = learner_call(name, function, model, tokens)
    if getattr(stack, "ndim", 0) != 4:
        raise Ask(f"{name} must return a tensor [component, batch, pos, {width}].")
    sizes = [stack.shape[0], 1, tokens.shape[1], width]
    check_shape(name, stack, f"[component, batch, pos, {width}]", sizes)
    words = token_strings(model, tokens[0].tolist())
    return Reading(tokens[0], words, stack[:, 0], model(tokens)[0])


def _token(
    model: TransformerBridge, reading: Reading, place: int, which: str, typed: str
) -> int:
    if which == TYPED:
        return read_token(model, typed)
    if which == GUESS:
        return int(reading.logits[place].argmax())
    if place == len(reading.tokens) - 1:
        raise Ask(
            "The text ends here, so no token comes next. Move the position back, or "
            "choose the model's first guess."
        )
    return int(reading.tokens[place + 1])
