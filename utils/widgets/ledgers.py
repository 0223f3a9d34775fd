"""The residual ledger: which component raised which token's logit, place by place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils import figures
from utils.tokens import visible
from utils.widgets.parts import (
    Ask,
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
    read_text,
    read_token,
    text_box,
    token_box,
    token_strings,
)

__all__ = ["Entry", "Reading", "draw_entry", "ledger_entry", "residual_ledger"]

NEXT, GUESS, TYPED = "the one that comes next", "the model's first guess", "typed here"
SMALL = 1e-3


@dataclass(frozen=True)
class Reading:
    """A text as the model read it: `stack` is what each component added."""

    tokens: Int[Tensor, "pos"]
    words: list[str]
    stack: Float[Tensor, "component pos d_model"]
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
    rest = logits[token] - logits.mean() - parts.sum()
    probability = logits.softmax(dim=0)[token].item()
    rank = int((logits > logits[token]).sum()) + 1
    return Entry(parts, rest.item(), probability, rank)


def draw_entry(
    entry: Entry, names: Sequence[str], words: list[str], position: int, token: str
) -> Page:
    """The text with the place marked, and a bar per component."""
    names, parts = list(names), entry.parts
    if abs(entry.rest) > SMALL:
        names = [*names, "unexplained"]
        parts = torch.cat([parts, torch.tensor([entry.rest])])
    title = f"What each component adds to the logit of {visible(token)}"
    figure = figures.logit_attribution(parts, names, title=title)
    best, worst = int(parts.argmax()), int(parts.argmin())
    description = (
        f"After position {position} ({visible(words[position])}) the token "
        f"{visible(token)} has a probability of {entry.probability:.1%}, rank "
        f"{entry.rank}. Its logit is {parts.sum():.2f} over the mean: {names[best]} "
        f"adds most ({parts[best]:+.2f}), {names[worst]} least ({parts[worst]:+.2f})."
    )
    strip = "".join(
        chip(word, note=f"position {i}", marked=i == position)
        for i, word in enumerate(words)
    )
    html = paragraph(description)
    html += f'<div style="margin-bottom:8px">{strip}</div>{figure_svg(figure)}'
    return Page(html, description)


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
    own, memory = private_copy(model), Memory()
    box, slider = text_box(text), place_slider(own, text, position)
    which = choice("Token", [NEXT, GUESS, TYPED], NEXT)
    typed, again = token_box("", "Typed token"), button("Show")

    def draw() -> Page:
        reading = memory.get(box.value, lambda: _read(own, decompose, box.value))
        place = place_in(slider, len(reading.words))
        token = _token(own, reading, place, which.value, typed.value)
        entry = ledger_entry(reading, own.W_U, place, token)
        labels = _labels(own, names, len(entry.parts))
        word = token_strings(own, [token])[0]
        return draw_entry(entry, labels, reading.words, place, word)

    rows = [[box], [which, typed, again], [slider]]
    return Explorer(rows, draw, {again: memory.forget})


def _read(model: TransformerBridge, decompose: Callable, text: str) -> Reading:
    tokens = read_text(model, text)
    stack = learner_call("decompose", decompose, model, tokens)
    if getattr(stack, "ndim", 0) != 4:
        raise Ask("decompose must return a tensor [component, batch, pos, d_model].")
    sizes = [stack.shape[0], 1, tokens.shape[1], model.cfg.d_model]
    check_shape("decompose", stack, "[component, batch, pos, d_model]", sizes)
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


def _labels(
    model: TransformerBridge, names: Sequence[str] | None, count: int
) -> list[str]:
    labels = ["embed", *head_names(model)] if names is None else list(names)
    if len(labels) != count:
        labels = [f"part{i}" for i in range(count)]
    return labels
