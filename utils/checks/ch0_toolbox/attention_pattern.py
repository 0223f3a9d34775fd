"""Chapter 0, `attention_pattern`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch0_toolbox import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_attention_pattern(answer) -> None:
    for model, tokens, layer, head in shared.cases(seed=3, scale=0.6):
        _judge_pattern(answer(model, tokens, layer, head), model, tokens, layer, head)
    # Scores far below 0, where a mask that is no infinity lets attention through.
    model, tokens = random_model(1, seed=9, scale=1.2), torch.tensor(shared.TEXTS[0])
    for head in range(3):
        _judge_pattern(answer(model, tokens, 0, head), model, tokens, 0, head)
    for part in ("pattern", "attn_scores"):
        model = random_model(1, seed=8, scale=0.6)
        true_pattern = shared.record(model, tokens, "blocks.0.attn.hook_pattern")
        name = f"blocks.0.attn.hook_{part}"
        model.add_hook(name, lambda own, hook: torch.zeros_like(own), is_permanent=True)
        expect.close(
            expect.tensor(answer(model, tokens, 0, 2), batch=2, query=6, key=6),
            true_pattern[:, 2],
            f"A hook changes this model's own {name}. Your result changed with it, so "
            "it is not computed from the weights.",
        )


def _judge_pattern(result, model, tokens: Tensor, layer: int, head: int) -> None:
    batch, length = tokens.shape
    pattern = expect.tensor(result, batch=batch, query=length, key=length)
    expect.close(
        pattern.triu(1),
        torch.zeros(batch, length, length),
        "Some position attends to a later one.",
    )
    expect.close(
        pattern.sum(-1),
        torch.ones(batch, length),
        "Each query's attention should sum to 1 over the keys.",
    )
    own = shared.record(model, tokens, f"blocks.{layer}.attn.hook_pattern")
    expect.close(
        pattern,
        own[:, head],
        f"In a test model the pattern of head {layer}.{head} is different.",
        atol=1e-4,
    )


def _placed(model, tokens, stream, on_query=True, on_key=True):
    """What W_Q and W_K read, with or without the position vectors."""
    pos = model.W_pos[: tokens.shape[1]]
    return stream + pos * on_query, stream + pos * on_key


def _scores(model, tokens, layer, head, stream="resid_pre", divide=None, **positions):
    cache = model.run_with_cache(tokens)[1]
    x = cache[stream] if stream == "hook_embed" else cache[stream, layer]
    for_q, for_k = _placed(model, tokens, x, **positions)
    q, k = for_q @ model.W_Q[layer, head], for_k @ model.W_K[layer, head]
    return q @ k.transpose(1, 2) / (model.cfg.d_head**0.5 if divide is None else divide)


def _masked(scores: Tensor) -> Tensor:
    later = torch.ones(scores.shape[1:]).triu(1).bool()
    return scores.masked_fill(later, -torch.inf)


def pattern_unscaled(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, divide=1.0)).softmax(-1)


def pattern_by_d_head(model, tokens, layer, head):
    by = float(model.cfg.d_head)
    return _masked(_scores(model, tokens, layer, head, divide=by)).softmax(-1)


def pattern_by_d_model(model, tokens, layer, head):
    by = model.cfg.d_model**0.5
    return _masked(_scores(model, tokens, layer, head, divide=by)).softmax(-1)


def pattern_unmasked(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).softmax(-1)


def pattern_masked_by_zero(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).tril().softmax(-1)


def pattern_masked_late(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).softmax(-1).tril()


def pattern_over_queries(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head)).softmax(1)


def pattern_swapped(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head).transpose(1, 2)).softmax(-1)


def pattern_no_positions(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, on_query=False, on_key=False)
    return _masked(scores).softmax(-1)


def pattern_positions_on_queries(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, on_key=False)).softmax(-1)


def pattern_positions_on_keys(model, tokens, layer, head):
    return _masked(_scores(model, tokens, layer, head, on_query=False)).softmax(-1)


def pattern_from_after(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, stream="resid_post")
    return _masked(scores).softmax(-1)


def pattern_from_embedding(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head, stream="hook_embed")
    return _masked(scores).softmax(-1)


def pattern_from_hook(model, tokens, layer, head):
    return model.run_with_cache(tokens)[1]["pattern", layer][:, head]


def pattern_is_scores(model, tokens, layer, head):
    return _scores(model, tokens, layer, head).tril()


CHECK = Check(
    name="attention_pattern",
    judge=judge_attention_pattern,
    hints=(
        "Every position asks with a query and answers with a key. A score is the inner "
        "product of one query and one key. A softmax turns scores into shares.",
        "Add `model.W_pos[:length]` to the stream. Multiply the sum by "
        "`model.W_Q[layer, head]` for queries and by `model.W_K[layer, head]` for "
        "keys. Divide their inner products by sqrt(d_head), set the scores of later "
        "keys to minus infinity, and take the softmax over keys.",
        "With `q` and `k` [batch, pos, d_head]: `scores = q @ k.transpose(1, 2) / "
        "model.cfg.d_head**0.5`, then `later = torch.ones(length, length).triu(1)"
        ".bool()`, then `scores.masked_fill(later, -torch.inf).softmax(dim=-1)`.",
    ),
    mistakes=(
        Mistake(
            "not divided",
            "Your scores are not divided by sqrt(d_head). The paper's formula leaves "
            "this factor out, but its models have it, and so do these.",
            pattern_unscaled,
        ),
        Mistake(
            "divided by d_head",
            "You divided the scores by d_head. It is the square root of d_head.",
            pattern_by_d_head,
            swap=("d_head**0.5", "d_head"),
        ),
        Mistake(
            "divided by sqrt(d_model)",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so it "
            "is sqrt(d_head).",
            pattern_by_d_model,
        ),
        Mistake(
            "no mask",
            "Your positions see later ones. Set the scores of later keys to minus "
            "infinity before the softmax.",
            pattern_unmasked,
        ),
        Mistake(
            "masked with zero",
            "You set the scores of later keys to 0. The softmax turns a score of 0 "
            "into exp(0) = 1, which is not nothing. Minus infinity is.",
            pattern_masked_by_zero,
            swap=("-torch.inf", "0.0"),
        ),
        Mistake(
            "masked after the softmax",
            "You masked after the softmax, so the later keys already took their share "
            "and the rows no longer sum to 1. Mask the scores before it.",
            pattern_masked_late,
        ),
        Mistake(
            "softmax over queries",
            "Your softmax runs over queries. Each query has a whole of attention to "
            "give, so it runs over keys, the last axis.",
            pattern_over_queries,
        ),
        Mistake(
            "query and key swapped",
            "You swapped queries and keys. Rows belong to the position that asks "
            "(W_Q), columns to the one that is asked (W_K).",
            pattern_swapped,
        ),
        Mistake(
            "no positions",
            "The position vectors are missing. Add `model.W_pos` to what W_Q and W_K "
            "read; the stream itself does not hold it.",
            pattern_no_positions,
        ),
        Mistake(
            "positions on queries only",
            "The keys lack the position vectors. Both W_Q and W_K read the stream with "
            "`model.W_pos` added.",
            pattern_positions_on_queries,
        ),
        Mistake(
            "positions on keys only",
            "The queries lack the position vectors. Both W_Q and W_K read the stream "
            "with `model.W_pos` added.",
            pattern_positions_on_keys,
        ),
        Mistake(
            "the stream after the layer",
            "You started from the stream after the layer. The layer reads what enters "
            'it: `cache["resid_pre", layer]`.',
            pattern_from_after,
        ),
        Mistake(
            "the embedding",
            "You started from the embedding. That is right for layer 0 only: later "
            "layers read what earlier ones have added to the stream.",
            pattern_from_embedding,
        ),
        Mistake(
            "read from the cache",
            "You read the pattern that the model itself computed. Here you compute it "
            "from the stream and the weights, to know what is in it.",
            pattern_from_hook,
        ),
        Mistake(
            "no softmax",
            "These are the scores. A softmax over the keys turns them into shares.",
            pattern_is_scores,
        ),
    ),
    passed=(
        "Checked against the patterns of three heads in both layers of random models, "
        "and on a model whose own pattern a hook had changed. A pattern depends on the "
        "stream only through queries and keys, and on positions only through W_pos."
    ),
)
