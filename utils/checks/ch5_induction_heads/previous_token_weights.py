"""Chapter 5, `previous_token_weights`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    induction_model,
    random_model,
    with_weights,
)

__all__ = ["CHECK"]


def judge_previous_token_weights(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, seed, n_heads, d_head, n_ctx in (
        (2, 0, 3, 5, 11),
        (3, 1, 2, 7, 8),
        (1, 2, 4, 3, 6),
    ):
        model = random_model(
            n_layers, seed, d_vocab=13, n_heads=n_heads, d_head=d_head, n_ctx=n_ctx
        )
        for asked in (model, _with_a_silent_head(model), _with_low_scores(model)):
            expect.close(
                expect.tensor(answer(asked), head=n_heads),
                torch.tensor(shared.previous_by_position(asked)),
                f"In a model of {n_layers} layers the weights do not match a softmax "
                "by hand, one position after the other.",
            )
    known = expect.tensor(answer(induction_model(9, 19)), head=3)
    expect.true(
        known[1] > 0.99 and known[[0, 2]].max() < 0.5,
        "A hand-made previous-token head should get a weight near 1.",
    )


def _with_a_silent_head(model):
    """Head 0.1 scores everything 0, what it cannot see as well."""
    W_Q = model.W_Q.clone()
    W_Q[0, 1] = 0.0
    return with_weights(model, {"W_Q": W_Q})


def _with_low_scores(model):
    """All positions have a direction in common that takes some 50 off every score."""
    W_pos, W_Q, W_K = (getattr(model, w).clone() for w in ("W_pos", "W_Q", "W_K"))
    W_pos[:, 0] = 1.0
    W_Q[0, :, 0] -= 5.0
    W_K[0, :, 0] += 5.0
    return with_weights(model, {"W_pos": W_pos, "W_Q": W_Q, "W_K": W_K})


def _positional(model, scale=True, causal=True, layer=0, transposed=False) -> Tensor:
    """[head, query, key] from position vectors alone, for the mistakes."""
    q, k = model.W_pos @ model.W_Q[layer], model.W_pos @ model.W_K[layer]
    scores = (k @ q.mT) if transposed else (q @ k.mT)
    scores = scores / model.cfg.d_head**0.5 if scale else scores
    if causal:
        later = torch.ones_like(scores).triu(1).bool()
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(-1)


def weights_without_mask(model):
    return _positional(model, causal=False).diagonal(-1, -2, -1).mean(-1)


def weights_without_scale(model):
    return _positional(model, scale=False).diagonal(-1, -2, -1).mean(-1)


def weights_of_diagonal(model):
    return _positional(model).diagonal(0, -2, -1)[:, 1:].mean(-1)


def weights_of_last_layer(model):
    return _positional(model, layer=-1).diagonal(-1, -2, -1).mean(-1)


def weights_transposed(model):
    return _positional(model, transposed=True).diagonal(-1, -2, -1).mean(-1)


CHECK = Check(
    name="previous_token_weights",
    judge=judge_previous_token_weights,
    hints=(
        "It is an attention pattern like any other, only that what the head reads is "
        "W_pos instead of tokens plus positions.",
        "`model.W_pos @ model.W_Q[0]` gives the queries of all heads at once, [head, "
        "position, d_head]; the keys likewise. Scale, mask, softmax, and take the line "
        "below the diagonal.",
        "`scores = q @ k.mT / model.cfg.d_head**0.5`, then `scores.masked_fill("
        "torch.ones_like(scores).triu(1).bool(), -torch.inf).softmax(-1)`, then "
        "`.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1)`.",
    ),
    mistakes=(
        Mistake(
            "no mask",
            "Your positions see later ones. Mask the scores before the softmax.",
            weights_without_mask,
        ),
        Mistake(
            "no scale",
            "Your scores are not divided by sqrt(d_head).",
            weights_without_scale,
            swap=(" / model.cfg.d_head**0.5", ""),
        ),
        Mistake(
            "own position",
            "You measure attention to the position itself. The one before is one "
            "column to the left.",
            weights_of_diagonal,
        ),
        Mistake(
            "last layer",
            "You took the last layer. Previous-token heads of interest sit in layer 0.",
            weights_of_last_layer,
        ),
        Mistake(
            "query and key swapped",
            "Your rows are keys. Rows of a pattern belong to the query.",
            weights_transposed,
            swap=("queries @ keys.mT", "keys @ queries.mT"),
        ),
    ),
    passed=(
        "Checked position by position for nine models of one to three layers, and on a "
        "hand-made previous-token head. No text is involved: if a head looks back by "
        "position, its weights say so."
    ),
)
