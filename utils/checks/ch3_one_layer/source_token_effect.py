"""Chapter 3, `source_token_effect`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


EFFECT_TEXTS = [
    [0, 6, 3, 6, 2, 7, 6, 1],
    [0, 4, 6, 2, 9, 6, 3, 5],
    [0, 6, 1, 8, 6, 2, 2, 6],
    [0, 4, 1, 3, 2, 9, 6, 5],
]


EFFECT_PLACES = [5, 3, 4, 4]  # in the third row the destination is the source itself
SHORT_TEXTS = [[0, 2, 5, 2, 7], [0, 9, 2, 2, 1]]


def judge_source_token_effect(answer) -> None:
    cases = (
        (EFFECT_TEXTS, EFFECT_PLACES, 6, 8, 10),
        (SHORT_TEXTS, [4, 1], 2, 3, 11),
        (EFFECT_TEXTS[1:2], [7], 5, 1, 2),
        ([row[::-1] for row in EFFECT_TEXTS[:3]], [7, 6, 5], 2, 12, 3),
    )
    for texts, places, source, out, replacement in cases:
        model = random_model(1 + len(texts) % 2, seed=source, scale=0.7)
        tokens = torch.tensor(texts)
        result = answer(model, tokens, torch.tensor(places), source, out, replacement)
        effect = expect.tensor(result, batch=len(texts))
        for row, (text, place) in enumerate(zip(texts, places, strict=True)):
            if source not in text[:place]:
                expect.close(
                    effect[row],
                    0.0,
                    f"The source {source} does not stand before place {place} of "
                    f"{text}, so nothing changes there and the effect is 0.",
                )
        expect.close(
            effect,
            _effect_by_hand(model, texts, places, source, out, replacement),
            "The effect does not match two runs by hand, one row at a time.",
            atol=1e-4,
        )


def _effect_by_hand(model, texts, places, source, out, replacement) -> Tensor:
    effects = []
    for text, place in zip(texts, places, strict=True):
        end = text[place]
        changed = [replacement if t == source else t for t in text[:place]] + [end]
        nats = []
        for version in (text[: place + 1], changed):
            logits = shared.logits(model, torch.tensor([version]))[0, -1]
            nats.append((logits[out] - logits.logsumexp(0)).item())
        effects.append(nats[0] - nats[1])
    return torch.tensor(effects, dtype=torch.float64)


def _effect(model, tokens, places, source, out, replacement, which=None, how=None):
    before = torch.arange(tokens.shape[1]) < places[:, None]
    hit = before & (tokens == source)
    if which is not None:
        hit = which(hit, tokens == source, places)
    changed = torch.where(hit, replacement, tokens)
    rows = torch.arange(len(tokens))
    how = how or (lambda logits: logits.log_softmax(-1))
    one, two = (how(model(v)[rows, places])[:, out] for v in (tokens, changed))
    return one - two


def effect_reversed(model, tokens, places, source, out, replacement):
    return -_effect(model, tokens, places, source, out, replacement)


def effect_on_logits(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, how=lambda logits: logits)


def effect_on_probs(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, how=lambda logits: logits.softmax(-1))


def effect_everywhere(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, which=lambda hit, equal, places: equal)


def effect_of_last(model, tokens, places, source, out, replacement):
    def last(hit, equal, places):
        later = hit.flip(1).cumsum(1).flip(1)
        return hit & (later == 1)

    return _effect(model, tokens, places, source, out, replacement, which=last)


def effect_of_first(model, tokens, places, source, out, replacement):
    def first(hit, equal, places):
        return hit & (hit.cumsum(1) == 1)

    return _effect(model, tokens, places, source, out, replacement, which=first)


def effect_one_later(model, tokens, places, source, out, replacement):
    later = (places + 1).clamp(max=tokens.shape[1] - 1)
    before = torch.arange(tokens.shape[1]) < places[:, None]
    changed = torch.where(before & (tokens == source), replacement, tokens)
    rows = torch.arange(len(tokens))
    one, two = (
        model(v)[rows, later].log_softmax(-1)[:, out] for v in (tokens, changed)
    )
    return one - two


def effect_all_one_later(model, tokens, places, source, out, replacement):
    later = (places + 1).clamp(max=tokens.shape[1] - 1)
    return _effect(model, tokens, later, source, out, replacement)


def effect_at_the_end(model, tokens, places, source, out, replacement):
    ends = torch.full_like(places, tokens.shape[1] - 1)
    before = torch.arange(tokens.shape[1]) < places[:, None]
    changed = torch.where(before & (tokens == source), replacement, tokens)
    rows = torch.arange(len(tokens))
    one, two = (model(v)[rows, ends].log_softmax(-1)[:, out] for v in (tokens, changed))
    return one - two


CHECK = Check(
    name="source_token_effect",
    judge=judge_source_token_effect,
    hints=(
        "Run the model twice, on the text as it is and on the text without the source, "
        "and compare the same log probability.",
        "A mask of what to change: `torch.arange(tokens.shape[1]) < places[:, None]` "
        "is True before the destination. Combine it with `tokens == source`, and use "
        "`torch.where` so that the tokens you were given stay as they are.",
        "`changed = torch.where(before & (tokens == source), replacement, tokens)`. "
        "For each version take `model(version)[rows, places].log_softmax(-1)[:, out]` "
        "with `rows = torch.arange(len(tokens))`, and subtract the second from the "
        "first.",
    ),
    mistakes=(
        Mistake(
            "sign",
            "The sign is reversed. Return before minus after, so that a source that "
            "helps has a positive effect.",
            effect_reversed,
            swap=("log_probs[0] - log_probs[1]", "log_probs[1] - log_probs[0]"),
        ),
        Mistake(
            "logits",
            "You compared logits. A logit can fall while all others fall as well; "
            "compare log probabilities.",
            effect_on_logits,
        ),
        Mistake(
            "probabilities",
            "You compared probabilities. Compare their logarithms: the effect is in "
            "nats.",
            effect_on_probs,
        ),
        Mistake(
            "destination replaced",
            "You also replaced the source where it is the destination itself. Only "
            "what stands before that place is changed.",
            effect_everywhere,
            swap=("< places[:, None]", "<= places[:, None]"),
        ),
        Mistake(
            "last occurrence",
            "You replaced the last occurrence only. Another one left in the context "
            "can do the same work: replace all.",
            effect_of_last,
        ),
        Mistake(
            "first occurrence",
            "You replaced the first occurrence only. Another one left in the context "
            "can do the same work: replace all.",
            effect_of_first,
        ),
        Mistake(
            "one place later",
            "You read the prediction at `places + 1`. The logits at the destination "
            "already predict what follows it: read them at `places`.",
            effect_one_later,
        ),
        Mistake(
            "everything one place later",
            "You went one place too far with both: what is replaced and where the "
            "prediction is read. The destination stands at `places` itself; it is not "
            "replaced, and its logits already predict what follows.",
            effect_all_one_later,
        ),
        Mistake(
            "end of the row",
            "You read the prediction at the end of the row. Read it at the "
            "destination, which stands at `places[b]` in row b.",
            effect_at_the_end,
        ),
    ),
    passed=(
        "Checked against two runs by hand for ten texts: with several occurrences, "
        "with the source as destination, and with none. Weights make a claim, and this "
        "is the experiment that can prove it wrong."
    ),
)
