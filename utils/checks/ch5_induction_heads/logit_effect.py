"""Chapter 5, `logit_effect`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    random_model,
)

__all__ = ["CHECK"]


def judge_logit_effect(answer) -> None:
    for n_layers, n_heads, layer, head, batch, span in (
        (2, 3, 1, 2, 3, 4),
        (2, 3, 0, 1, 2, 5),
        (3, 2, 1, 0, 1, 3),
        (1, 4, 0, 3, 2, 4),
    ):
        seed = n_layers + layer
        model = random_model(n_layers, seed, d_vocab=13, n_heads=n_heads)
        tokens = shared.rows(13, span, 2, batch=batch, seed=seed)
        length = 2 * span
        result = answer(model, tokens, layer, head)
        effect = expect.tensor(result, batch=batch, pos=length)
        _, written, _, _ = shared.by_hand(model, tokens)
        W_U = model.W_U.double()
        by_hand = torch.zeros(batch, length, dtype=torch.float64)
        for row in range(batch):
            for i in range(length):
                logits = written[layer, head][row, i] @ W_U
                by_hand[row, i] = logits[tokens[row, i + 1]] - logits.mean()
        expect.close(
            effect,
            by_hand,
            f"In a model of {n_layers} layers, what head {layer}.{head} adds to the "
            "next token's logit does not match a computation by hand.",
        )


def effect_not_centred(model, tokens, layer, head):
    logits = shared.written(model, tokens, layer, head) @ model.W_U
    return logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_less_one_mean(model, tokens, layer, head):
    logits = shared.written(model, tokens, layer, head) @ model.W_U
    logits = logits - logits.mean()
    return logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_on_current(model, tokens, layer, head):
    logits = shared.centred(shared.written(model, tokens, layer, head) @ model.W_U)
    return logits.gather(-1, tokens[:, :, None])[:, :-1, 0]


def effect_of_layer(model, tokens, layer, head):
    every = range(model.cfg.n_heads)
    written = sum(shared.written(model, tokens, layer, each) for each in every)
    return shared.centred(written @ model.W_U)[:, :-1].gather(-1, tokens[:, 1:, None])[
        ..., 0
    ]


def effect_as_log_probs(model, tokens, layer, head):
    logits = (shared.written(model, tokens, layer, head) @ model.W_U).log_softmax(-1)
    return logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_where_it_looks(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    values = cache["v", layer][:, :, head] @ model.W_O[layer, head]
    return shared.centred(values @ model.W_U)[:, :-1].gather(-1, tokens[:, 1:, None])[
        ..., 0
    ]


def effect_with_reactions(model, tokens, layer, head):
    """The total effect: later layers read the stream without the head."""

    def silence(z, hook):
        kept = z.clone()
        kept[:, :, head] = 0.0
        return kept

    hooks = [(f"blocks.{layer}.attn.hook_z", silence)]
    change = model(tokens) - model.run_with_hooks(tokens, fwd_hooks=hooks)
    return shared.centred(change)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


CHECK = Check(
    name="logit_effect",
    judge=judge_logit_effect,
    hints=(
        "A head's vector reaches the logits like everything in the stream: by W_U.",
        "`cache['z', layer][:, :, head]` is what the head mixed together; "
        "`model.W_O[layer, head]` writes it to the stream. Multiply by W_U, subtract "
        "the mean of the last axis, and pick the next token with `gather`.",
        "`logits = cache['z', layer][:, :, head] @ model.W_O[layer, head] @ "
        "model.W_U`, `logits = logits - logits.mean(-1, keepdim=True)`, `logits[:, "
        ":-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)`.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "The mean over the vocabulary is still in it. Raising every logit alike "
            "changes no prediction, so subtract it.",
            effect_not_centred,
        ),
        Mistake(
            "one mean for all",
            "You subtract one mean for all positions and rows. Every position has "
            "logits of its own: take the mean of the last axis, with `keepdim=True`.",
            effect_less_one_mean,
        ),
        Mistake(
            "current token",
            "You read the logit of the token that is there. What counts is the token "
            "that comes next, tokens[:, i + 1].",
            effect_on_current,
            swap=("tokens[:, 1:, None]", "tokens[:, :-1, None]"),
        ),
        Mistake(
            "whole layer",
            "This is what the whole layer writes. Take one head's `z` and W_O.",
            effect_of_layer,
        ),
        Mistake(
            "log probabilities",
            "You applied log_softmax. One head's logits are not a prediction, because "
            "other parts add theirs. Subtract the mean and leave it at that.",
            effect_as_log_probs,
        ),
        Mistake(
            "own value",
            "You used the value vector of the position itself. The head writes the "
            "mixture `z` of all values it attends to.",
            effect_where_it_looks,
            swap=('cache["z", layer]', 'cache["v", layer]'),
        ),
        Mistake(
            "total effect",
            "You ran the model without the head, and later layers reacted to what was "
            "missing. That is the head's total effect. Here its direct one is asked "
            "for: what the head itself writes, times W_U.",
            effect_with_reactions,
        ),
    ),
    passed=(
        "Checked for four heads in models of one, two and three layers, position by "
        "position. The logits are a sum, "
        "so what one head adds to a logit can be read off on its own."
    ),
)
