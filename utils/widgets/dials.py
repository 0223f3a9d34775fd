"""Head dials: turn each head down from 1 to 0 and watch the loss and the guesses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from ipywidgets import FloatSlider
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
    bar_table,
    button,
    check_shape,
    chip,
    learner_call,
    need_heads,
    paragraph,
    place_in,
    place_slider,
    private_copy,
    text_box,
)
from utils.widgets.typed import read_text, token_strings

__all__ = ["Outcome", "draw_outcome", "head_dials", "outcome", "scaled_run"]

Run = Callable[[TransformerBridge, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Outcome:
    """How well a text is predicted: nats per token, and guesses at one position.

    `losses[i]` is the loss on token i + 1; guesses are (token id, probability).
    """

    losses: Float[Tensor, "pos-1"]
    guesses: list[tuple[int, float]]


def scaled_run(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    scales: Float[Tensor, "layer head"],
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits when what each head adds to the stream is multiplied by its scale.

    Later layers react to what changes. The model is left as it was.
    """

    def scale(z, hook, factors):
        return z * factors[:, None]

    hooks = [
        (f"blocks.{layer}.attn.hook_z", partial(scale, factors=factors))
        for layer, factors in enumerate(scales)
        if (factors != 1).any()
    ]
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def outcome(
    logits: Float[Tensor, "pos d_vocab"],
    tokens: Int[Tensor, "pos"],
    position: int,
    k: int = 6,
) -> Outcome:
    """The loss on every token (nats), and the k likeliest tokens after a position."""
    log_probs = logits.log_softmax(dim=-1)
    losses = -log_probs[:-1].gather(1, tokens[1:, None])[:, 0]
    best, ids = log_probs[position].exp().topk(min(k, logits.shape[1]))
    return Outcome(losses, list(zip(ids.tolist(), best.tolist(), strict=True)))


def draw_outcome(
    before: Outcome,
    after: Outcome,
    turned: Sequence[str],
    words: list[str],
    position: int,
    names: dict[int, str],
) -> Page:
    """Loss and guesses with all heads at 1 and as they are now, side by side.

    `turned` names the heads that are not at 1; `names` gives the string of every id
    among the guesses.
    """
    was, now = before.losses.mean().item(), after.losses.mean().item()
    what = "Every head is at 1" if not turned else "Turned down: " + ", ".join(turned)
    change = "" if not turned else f" ({now - was:+.3f} from {was:.3f})"
    description = (
        f"{what}. The loss is {now:.3f} nats per token{change}. After position "
        f"{position} ({visible(words[position])}) the first guess is "
        f"{visible(names[after.guesses[0][0]])}, {after.guesses[0][1]:.1%}."
    )
    tables = bar_table("Guesses, all at 1", "probability", _named(before, names), 1.0)
    tables += bar_table("Guesses now", "probability", _named(after, names), 1.0)
    html = (
        paragraph(description)
        + paragraph(
            "Colour: how the loss on a token has changed. Blue: it rose, the token is "
            "harder to predict than with all heads. Orange: it fell."
        )
        + f'<div style="margin-bottom:8px">{_strip(before, after, words, position)}'
        + f'</div><div style="display:flex;flex-wrap:wrap">{tables}</div>'
    )
    return Page(html, description)


def _named(result: Outcome, names: dict[int, str]) -> list[tuple[str, float]]:
    return [(names[i], share) for i, share in result.guesses]


def _strip(before: Outcome, after: Outcome, words: list[str], position: int) -> str:
    """The text; a token's colour is the rise of its loss, full at 3 nats.

    As in every figure of the course, blue is more of the number and orange less.
    """
    rise = after.losses - before.losses
    chips = [chip(words[0], 0.0, "not predicted", _edge(position == 0))]
    for i, change in enumerate(rise.tolist(), 1):
        note = f"{after.losses[i - 1]:.2f} nats, {change:+.2f}"
        chips.append(chip(words[i], change / 3, note, _edge(i == position)))
    return "".join(chips)


def _edge(marked: bool) -> str:
    return MARKED if marked else ""


def head_dials(
    model: TransformerBridge,
    text: str = "def add(self, name):\n    self.name = name",
    position: int | None = None,
    layers: Sequence[int] | None = None,
    run: Run = scaled_run,
) -> Explorer:
    """A slider from 0 to 1 for every head: see the loss (nats) and the guesses.

    `run(model, tokens, scales)` returns the logits with each head's output multiplied
    by `scales` [layer, head]. `layers` says which layers get dials (all).
    """
    own, memory = private_copy(model), Memory()
    dials = _dials(own, layers)
    box, slider = text_box(text), place_slider(own, text, position)
    again, up, down = button("Show"), button("All to 1"), button("All to 0")

    def read() -> tuple:
        tokens = read_text(own, box.value, least=2)
        words = token_strings(own, tokens[0].tolist())
        return tokens, words, _logits(own, tokens, run, {})

    def draw() -> Page:
        need_heads(own)
        tokens, words, logits = memory.get(box.value, read)
        place = place_in(slider, len(words))
        scales = {head: dial.value for head, dial in dials.items() if dial.value != 1}
        now = _logits(own, tokens, run, scales) if scales else logits
        before, after = (outcome(x, tokens[0], place) for x in (logits, now))
        ids = [i for i, _ in before.guesses + after.guesses]
        names = dict(zip(ids, token_strings(own, ids), strict=True))
        turned = [
            f"{figures.head_label(*head)} to {value:g}"
            for head, value in scales.items()
        ]
        return draw_outcome(before, after, turned, words, place, names)

    rows = [[box, again], list(dials.values()), [up, down], [slider]]
    actions = {
        again: memory.forget,
        up: lambda: _turn_all(dials, 1.0),
        down: lambda: _turn_all(dials, 0.0),
    }
    return Explorer(rows, draw, actions)


def _dials(model, layers: Sequence[int] | None) -> dict[tuple[int, int], FloatSlider]:
    """A slider per head, by (layer, head)."""
    chosen = range(model.cfg.n_layers) if layers is None else layers
    return {
        (layer, head): FloatSlider(
            value=1.0,
            min=0.0,
            max=1.0,
            step=0.05,
            description=figures.head_label(layer, head),
            layout={"width": "195px"},
            style={"description_width": "28px"},
        )
        for layer in chosen
        for head in range(model.cfg.n_heads)
    }


def _turn_all(dials: dict[tuple[int, int], FloatSlider], value: float) -> None:
    for dial in dials.values():
        dial.value = value


def _logits(
    model: TransformerBridge, tokens: Tensor, run: Run, scales: dict
) -> Float[Tensor, "pos d_vocab"]:
    """What `run` gives for these scales; heads without one stay at 1."""
    factors = torch.ones(model.cfg.n_layers, model.cfg.n_heads)
    for head, value in scales.items():
        factors[head] = value
    logits = learner_call("run", run, model, tokens, factors)
    sizes = [1, tokens.shape[1], model.cfg.d_vocab]
    check_shape("run", logits, "[batch, pos, d_vocab]", sizes)
    return logits[0]
