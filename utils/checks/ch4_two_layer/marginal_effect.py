"""Chapter 4, `marginal_effect`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


TWO_LAYERS = (
    ([(1, 0), (1, 2)], [(0, 1)]),
    ([(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]),
    ([(0, 2), (1, 1)], [(0, 2)]),
    ([(1, 1)], []),
)
THREE_LAYERS = (
    ([(2, 1), (0, 0)], [(1, 0)]),
    ([(1, 1)], [(2, 0), (0, 1)]),
)


def judge_marginal_effect(answer) -> None:
    for n_layers, n_heads, ids, cases in (
        (2, 3, shared.MORE_TOKENS, TWO_LAYERS),
        (3, 2, shared.TOKENS, THREE_LAYERS),
        (1, 4, shared.TOKENS, [([(0, 3)], [(0, 1), (0, 0)])]),
    ):
        model = random_model(n_layers, n_heads, n_heads=n_heads, d_head=n_heads + 1)
        tokens = torch.tensor(ids)
        for heads, given in cases:
            result = expect.number(answer(model, tokens, heads, given))
            words = [f"{a}.{b}" for a, b in heads], [f"{a}.{b}" for a, b in given]
            expect.close(
                result,
                _effect_by_hand(model, tokens, heads, given),
                f"In a model of {n_layers} layers, the effect of heads {words[0]} "
                f"given {words[1]} is not the change of the loss when each head reads "
                "the embedding only.",
            )
    expect.close(
        expect.number(answer(model, tokens, heads)),
        _effect_by_hand(model, tokens, heads, []),
        "Without `given` the heads should be compared with the direct path alone.",
    )


def _effect_by_hand(model, tokens: Tensor, heads, given) -> float:
    patterns = shared.patterns_of(model, tokens)
    direct = shared.only(model, tokens, (), patterns)[1]

    def loss_with(chosen) -> float:
        logits = direct
        for head in set(chosen):
            logits = logits + shared.only(model, tokens, (head,), patterns)[1] - direct
        return shared.loss(logits, tokens)

    return loss_with(given) - loss_with([*given, *heads])


def _first_order(model, tokens, heads, cache=None) -> float:
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    layers = range(model.cfg.n_layers)
    outputs = [shared.moved(model, cache, layer, embed) for layer in layers]
    stream = embed + sum(outputs[layer][head] for layer, head in heads)
    return shared.loss(stream @ model.W_U, tokens)


def effect_negative(model, tokens, heads, given=()):
    both = set(heads) | set(given)
    return _first_order(model, tokens, both) - _first_order(model, tokens, given)


def effect_counted_twice(model, tokens, heads, given=()):
    both = [*heads, *given]
    return _first_order(model, tokens, given) - _first_order(model, tokens, both)


def effect_alone(model, tokens, heads, given=()):
    return _first_order(model, tokens, ()) - _first_order(model, tokens, heads)


def effect_of_given(model, tokens, heads, given=()):
    both = set(heads) | set(given)
    return _first_order(model, tokens, heads) - _first_order(model, tokens, both)


def effect_with_pairs(model, tokens, heads, given=()):
    patterns = shared.patterns_of(model, tokens)
    less = shared.only(model, tokens, tuple(given), patterns)[1]
    more = shared.only(model, tokens, tuple(set(given) | set(heads)), patterns)[1]
    return shared.loss(less, tokens) - shared.loss(more, tokens)


def effect_unfrozen(model, tokens, heads, given=()):
    losses = []
    for keep in (set(given), set(given) | set(heads)):

        def kept(z, hook, keep=keep):
            own = [head for layer, head in keep if layer == hook.layer()]
            out = torch.zeros_like(z)
            out[:, :, own] = z[:, :, own]
            return out

        layers = range(model.cfg.n_layers)
        hooks = [(f"blocks.{layer}.attn.hook_z", kept) for layer in layers]
        losses.append(
            shared.loss(model.run_with_hooks(tokens, fwd_hooks=hooks), tokens)
        )
    return losses[0] - losses[1]


CHECK = Check(
    name="marginal_effect",
    judge=judge_marginal_effect,
    hints=(
        "Compute two losses, without and with the heads, and subtract.",
        "For a set of heads, the stream is the embedding plus, for each head, pattern "
        "times embedding times W_V times W_O. No head reads what another one wrote.",
        '`moved = cache["pattern", layer][:, head] @ embed`, then `stream = stream + '
        "moved @ model.W_V[layer, head] @ model.W_O[layer, head]`. Use a set, so that "
        "no head is added twice, and return loss(given) - loss(given and heads).",
    ),
    mistakes=(
        Mistake(
            "sign",
            "Your sign is turned round: heads that lower the loss should have a "
            "positive effect.",
            effect_negative,
            swap=(
                "loss_with(set(given)) - loss_with(set(given) | set(heads))",
                "loss_with(set(given) | set(heads)) - loss_with(set(given))",
            ),
        ),
        Mistake(
            "counted twice",
            "A head that is in both lists is added twice. It is there or it is not.",
            effect_counted_twice,
        ),
        Mistake(
            "given ignored",
            "You compared with the direct path alone. The heads in `given` are there "
            "in both runs.",
            effect_alone,
            swap=(
                "loss_with(set(given)) - loss_with(set(given) | set(heads))",
                "loss_with(set()) - loss_with(set(heads))",
            ),
        ),
        Mistake(
            "the other way round",
            "This is the effect of `given` when `heads` are there already.",
            effect_of_given,
        ),
        Mistake(
            "with pairs",
            "Your later heads also move what the earlier ones wrote. Only paths "
            "through at most one head count here, so every head reads the embedding.",
            effect_with_pairs,
        ),
        Mistake(
            "patterns not frozen",
            "You ran the model with some heads silenced, so the later patterns "
            "changed. Use the patterns of the whole model.",
            effect_unfrozen,
        ),
    ),
    passed=(
        "Checked for four pairs of sets against the model with heads silenced one by "
        "one. Effects of two sets need not add up to the effect of both: if two heads "
        "know the same thing, the second one adds little, whichever comes second."
    ),
)
