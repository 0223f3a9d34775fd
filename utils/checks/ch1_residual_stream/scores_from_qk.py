"""Chapter 1, `scores_from_qk`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_scores_from_qk(answer) -> None:
    for texts, layer, head, d_head, seed in (
        (shared.MANY_TEXTS, 1, 2, 4, 9),
        (shared.FULL_TEXTS, 2, 0, 9, 10),
        (shared.ONE_TEXT, 0, 1, 3, 11),
    ):
        tokens = torch.tensor(texts)
        model = random_model(3, seed, d_head=d_head)
        result = answer(model, tokens, layer, head)
        batch, pos = tokens.shape
        scores = expect.tensor(result, batch=batch, query=pos, key=pos)
        _, real = shared.read_and_scores(model, tokens, layer, head)
        visible = torch.ones_like(real, dtype=torch.bool).tril()
        expect.close(
            scores.masked_fill(~visible, 0.0),
            real.masked_fill(~visible, 0.0),
            f"Your scores of head {layer}.{head} are not those inside the model.",
        )
        expect.close(
            scores,
            _dot_products(model, tokens, layer, head),
            "Where the key comes before the query your scores are right. Where it "
            "comes after, they should be what the head would score without its mask.",
        )


def _dot_products(model, tokens, layer: int, head: int) -> Tensor:
    """Every query of the model with every key, one by one."""
    names = [f"blocks.{layer}.attn.hook_{which}" for which in "qk"]
    seen = shared.watch(model, tokens, names)
    queries, keys = (seen[name][:, :, head] for name in names)
    root = math.sqrt(model.cfg.d_head)
    rows = [
        [[float(q @ k) / root for k in key] for q in query]
        for query, key in zip(queries, keys, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def _scores(model, tokens, layer, head, *, on="qk", scale=None, flip=False, at=None):
    """The calculation with one step changed, for the known mistakes."""
    _, cache = model.run_with_cache(tokens)
    at = layer if at is None else at
    stream = cache[f"blocks.{at}.hook_resid_pre"]
    placed = stream + model.W_pos[: tokens.shape[1]]
    query = (placed if "q" in on else stream) @ model.W_Q[layer, head]
    key = (placed if "k" in on else stream) @ model.W_K[layer, head]
    scores = query @ key.transpose(1, 2) / (scale or math.sqrt(model.cfg.d_head))
    return scores.transpose(1, 2) if flip else scores


def scores_unscaled(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=1.0)


def scores_by_d_model(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=math.sqrt(model.cfg.d_model))


def scores_by_d_head(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=model.cfg.d_head)


def scores_over_2(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=2)


def right_for_4_only(answer) -> bool:
    """Whether a scale is right for a d_head of 4, whose root is 2, and for no other."""
    tokens = torch.tensor(shared.TEXTS)
    right = []
    for d_head in (4, 9):
        model = random_model(1, d_head, d_head=d_head)
        wanted = _scores(model, tokens, 0, 1)
        found = torch.as_tensor(answer(model, tokens, 0, 1)).to(wanted)
        factor = (found * wanted).sum() / wanted.square().sum()
        if not torch.allclose(found, factor * wanted, atol=1e-4):
            return False
        right.append(abs(factor.item() - 1) < 1e-4)
    return right == [True, False]


def scores_without_positions(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, on="")


def scores_positions_on_queries(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, on="q")


def scores_flipped(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, flip=True)


def scores_masked(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head)
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf)


def scores_as_pattern(model, tokens, layer, head):
    return scores_masked(model, tokens, layer, head).softmax(-1)


def scores_of_embedding(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, at=0)


CHECK = Check(
    name="scores_from_qk",
    judge=judge_scores_from_qk,
    hints=(
        "Three steps: take what the head reads, put it on both sides of the QK matrix, "
        "divide.",
        "The head reads `cache[f'blocks.{layer}.hook_resid_pre']` plus "
        "`model.W_pos[:n]` with n the number of positions, for queries and for keys "
        "alike.",
        "`read = cache[...] + model.W_pos[: tokens.shape[1]]`, "
        "`scores = read @ qk_matrix(model, layer, head).AB @ read.transpose(1, 2)`, "
        "divided by `math.sqrt(model.cfg.d_head)`.",
    ),
    mistakes=(
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head). The paper's formulas leave "
            "this factor out; the model does not.",
            scores_unscaled,
        ),
        Mistake(
            "scaled by sqrt(d_model)",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so "
            "the scale is sqrt(d_head).",
            scores_by_d_model,
            swap=("model.cfg.d_head)", "model.cfg.d_model)"),
        ),
        Mistake(
            "scaled by d_head",
            "You divided by d_head. It is its square root.",
            scores_by_d_head,
        ),
        Mistake(
            "right for d_head 4 only",
            "Where d_head is 4 your scores are right, where it is 9 they are not. The "
            "scale is the square root of whatever `model.cfg.d_head` is.",
            scores_over_2,
            right_for_4_only,
        ),
        Mistake(
            "no positions",
            "The position vectors are missing. They are not in the stream, but W_Q and "
            "W_K read the stream plus `model.W_pos`.",
            scores_without_positions,
            swap=(" + model.W_pos[: tokens.shape[1]]", ""),
        ),
        Mistake(
            "positions on one side",
            "You added the position vectors to the queries only. The keys get them "
            "too.",
            scores_positions_on_queries,
        ),
        Mistake(
            "key first",
            "Query and key are swapped: your first position axis is the key.",
            scores_flipped,
        ),
        Mistake(
            "masked",
            "You applied the causal mask. Here the scores before the mask are wanted, "
            "also where the key comes after the query.",
            scores_masked,
        ),
        Mistake(
            "the pattern",
            "You went on to the softmax. Here the scores before it are wanted.",
            scores_as_pattern,
        ),
        Mistake(
            "embedding instead of stream",
            "You read the embedding. A head in a later layer reads the stream before "
            "its own layer, which holds what earlier heads added.",
            scores_of_embedding,
        ),
    ),
    passed=(
        "Checked against the scores inside the model wherever its mask lets one look, "
        "and against single dot products of queries and keys elsewhere. So the matrix, "
        "the position vectors and the scale are all there is to a score."
    ),
)
