"""The induction microscope: one query, the key it finds, and the logit that is copied.

An induction head looks for the place after the last occurrence of the token it stands
on, and raises the token it finds there (F-100).
"""

from collections.abc import Sequence
from dataclasses import dataclass

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
    chip,
    choose_head,
    choose_layer,
    need_heads,
    paragraph,
    place_in,
    place_slider,
    private_copy,
    text_box,
)
from utils.widgets.typed import read_text, token_strings

__all__ = ["Sight", "draw_sight", "induction_microscope", "sight"]

SOURCE = f"2px solid {figures.PALETTE[0]}"
BEFORE = f"2px dashed {figures.PALETTE[1]}"


@dataclass(frozen=True)
class Sight:
    """What one head does at one position.

    `target` is the key with the most attention, the start token apart; `matches` says
    whether the token before it is the query's token. `copied` is what attending to the
    target adds to the target token's own logit, over the mean; `added` what the whole
    head adds to it. `outputs` are the tokens that the head raises most.
    """

    weights: Float[Tensor, "key"]
    target: int
    matches: bool
    copied: float
    added: float
    outputs: list[tuple[int, float]]
    probability: float


def sight(
    model: TransformerBridge,
    tokens: Int[Tensor, "1 pos"],
    layer: int,
    head: int,
    position: int,
    k: int = 6,
) -> Sight:
    """Where a head looks from a position, and which logits it raises there.

    Logits are over their mean; the model is run once, with its own patterns.
    """
    logits, cache = model.run_with_cache(tokens)
    weights = cache["pattern", layer][0, head, position, : position + 1]
    target = int(weights[1:].argmax()) + 1 if position else 0
    before = int(tokens[0, target - 1]) if target else -1
    W_O, W_U = model.W_O[layer, head], model.W_U
    W_U = W_U - W_U.mean(dim=1, keepdim=True)
    values = cache["v", layer][0, : position + 1, head]
    raised = cache["z", layer][0, position, head] @ W_O @ W_U
    token = int(tokens[0, target])
    copied = weights[target] * (values[target] @ W_O @ W_U[:, token])
    best, ids = raised.topk(min(k, len(raised)))
    return Sight(
        weights=weights,
        target=target,
        matches=before == int(tokens[0, position]),
        copied=float(copied),
        added=float(raised[token]),
        outputs=list(zip(ids.tolist(), best.tolist(), strict=True)),
        probability=float(logits[0, position].softmax(dim=0)[token]),
    )


def draw_sight(
    seen: Sight,
    name: str,
    words: Sequence[str],
    position: int,
    outputs: Sequence[str],
) -> Page:
    """The text coloured by attention, the three steps in words, and what is raised."""
    target = seen.target
    query, found = visible(words[position]), visible(words[target])
    look = (
        f"Head {name} at position {position}, ‘{query}’, looks most at position "
        f"{target}, ‘{found}’, with a weight of {seen.weights[target]:.2f}."
    )
    if position == 0:
        look = f"Position 0, ‘{query}’, sees only itself. Move the position on."
    before = visible(words[target - 1]) if target else found
    match = f"The token one step before it is {before}: " + (
        "the query's own token, a match." if seen.matches else "no match."
    )
    copy = (
        f"Attending there adds {seen.copied:+.2f} to the logit of {found} (the whole "
        f"head {seen.added:+.2f}); the model then gives it {seen.probability:.1%}."
    )
    after = position + 1 < len(words)
    truth = f"Really next is {visible(words[position + 1])}." if after else ""
    description = " ".join([look, match, copy, truth]).strip()
    steps = [("1. Query", look), ("2. Key", match), ("3. Copy", f"{copy} {truth}")]
    html = f'<div style="margin-bottom:8px">{_strip(seen, words, position)}</div>'
    html += paragraph(
        "Blue is attention. Edge in the colour of the text: query. Blue edge: where it "
        "looks most. Dashed edge: the token one step before that."
    )
    html += "".join(paragraph(f"{step}. {text}") for step, text in steps)
    rows = [(w, value) for w, (_, value) in zip(outputs, seen.outputs, strict=True)]
    html += bar_table("What this head raises here", "logits over the mean", rows)
    return Page(html, description)


def _strip(seen: Sight, words: Sequence[str], position: int) -> str:
    edges = {position: MARKED}
    if position:
        edges = {seen.target - 1: BEFORE, position: MARKED, seen.target: SOURCE}
    weights = seen.weights.tolist() + [0.0] * len(words)
    return "".join(
        chip(
            word, weights[i], f"position {i}, weight {weights[i]:.2f}", edges.get(i, "")
        )
        for i, word in enumerate(words)
    )


def induction_microscope(
    model: TransformerBridge,
    layer: int,
    head: int,
    text: str = "def add(self, name):\n    self.name = name\n",
    position: int | None = None,
    tokens: Int[Tensor, "1 pos"] | None = None,
) -> Explorer:
    """Move along a text: the query, the key it finds, and the logit that is copied.

    `tokens`, such as random repeats, take the place of the text until one is typed.
    """
    own, memory = private_copy(model), Memory()
    layers, heads = choose_layer(own, layer), choose_head(own, head)
    box = text_box(text if tokens is None else "", "Text")
    slider = place_slider(own, text, position)
    if tokens is not None:
        slider.max = tokens.shape[1] - 1
        slider.value = slider.max - 1 if position is None else position
    again = button("Show")

    def read() -> tuple:
        given = tokens is not None and not box.value
        ids = tokens[:1].cpu() if given else read_text(own, box.value)
        return ids, token_strings(own, ids[0].tolist())

    def draw() -> Page:
        need_heads(own)
        ids, words = memory.get(box.value, read)
        place = place_in(slider, len(words))
        which = int(layers.value), int(heads.value)
        seen = sight(own, ids, *which, place)
        outputs = token_strings(own, [i for i, _ in seen.outputs])
        return draw_sight(seen, figures.head_label(*which), words, place, outputs)

    return Explorer(
        [[box, again], [layers, heads], [slider]], draw, {again: memory.forget}
    )
