"""Chapter 5, `same_matching_score`: judge, known mistakes and hints."""

import math

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


def judge_same_matching_score(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, n_heads in (
        (2, 1, 2, 3),
        (3, 2, 0, 2),
        (3, 1, 1, 2),
    ):
        model = random_model(n_layers, head, d_vocab=9, n_heads=n_heads, d_head=5)
        for prev_head in (1, None, 0):
            if prev_head is None:
                score = expect.number(answer(model, layer, head))
                weights = shared.previous_by_position(model)
                where = "all first-layer heads"
            else:
                score = expect.number(answer(model, layer, head, prev_head))
                weights = [float(i == prev_head) for i in range(n_heads)]
                where = f"head 0.{prev_head}"
            table = shared.matching_table(model, layer, head, weights)
            expect.close(
                score,
                shared.eigenvalue_share(table),
                f"The score of {layer}.{head} through {where} does not match the "
                "matrix written out, token by token.",
                rtol=1e-3,
            )
    _judge_silent_head(answer)
    for matching in (1.0, -1.0):
        score = expect.number(answer(induction_model(matching=matching), 1, 2))
        expect.close(
            score,
            matching,
            "A hand-made head that looks for the same scores 1, one that avoids it -1.",
            atol=0.1,
        )
    wide = random_model(2, 5, d_vocab=40, d_head=5)
    shared.expect_small_eigenproblem(answer, wide, 1, 0)


def _judge_silent_head(answer) -> None:
    model = random_model(2, 3, d_vocab=9)
    silent = model.W_Q.clone()
    silent[1, 0] = 0.0
    expect.close(
        expect.number(answer(with_weights(model, {"W_Q": silent}), 1, 0)),
        0.0,
        "A head whose scores are all 0 should score 0.",
    )


def _weights_or_one(model, prev_head) -> Tensor:
    if prev_head is None:
        return torch.tensor(shared.previous_by_position(model)).float()
    return torch.eye(model.cfg.n_heads)[prev_head]


def matching_ov_not_transposed(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    return shared.share_of(E @ shared.qk(model, layer, head) @ W_OV @ E.T)


def matching_qk_transposed(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    return shared.share_of(E @ shared.qk(model, layer, head).T @ W_OV.T @ E.T)


def matching_without_first_layer(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    return shared.share_of(E @ shared.qk(model, layer, head) @ E.T)


def matching_without_zero(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    table = E @ shared.qk(model, layer, head) @ W_OV.T @ E.T
    return shared.share_of(table) if table.abs().max() else math.nan


def matching_all_heads_alike(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    weights = torch.ones(model.cfg.n_heads)
    if prev_head is not None:
        weights = _weights_or_one(model, prev_head)
    W_OV = shared.moved(model, weights)
    return shared.share_of(E @ shared.qk(model, layer, head) @ W_OV.T @ E.T)


def matching_counted(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    small = model.W_K[layer, head].T @ W_OV.T @ E.T @ E
    eigenvalues = torch.linalg.eigvals((small @ model.W_Q[layer, head]).double())
    return (eigenvalues.real > 0).double().mean()


def matching_in_the_stream(model, layer, head, prev_head=None):
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    return shared.share_of(shared.qk(model, layer, head) @ W_OV.T)


def matching_singular(model, layer, head, prev_head=None):
    E = shared.centred_embedding(model)
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    table = (E @ shared.qk(model, layer, head) @ W_OV.T @ E.T).double()
    return table.trace() / torch.linalg.svdvals(table).sum()


def matching_not_centred(model, layer, head, prev_head=None):
    W_OV = shared.moved(model, _weights_or_one(model, prev_head))
    return shared.share_of(
        model.W_E @ shared.qk(model, layer, head) @ W_OV.T @ model.W_E.T
    )


CHECK = Check(
    name="same_matching_score",
    judge=judge_same_matching_score,
    hints=(
        "The query side is E. The key side is not E: it is what the first layer "
        "wrote at the key's position, E W_OV. W_QK joins the two.",
        "A table [d_vocab, d_vocab] is large. AB and BA have the same eigenvalues but "
        "for zeros, so begin the product at another place: W_K^T W_OV^T E^T E W_Q "
        "is only [d_head, d_head].",
        "`small = W_K.T @ W_OV.T @ (E.T @ E) @ W_Q`, `e = torch.linalg.eigvals("
        "small.double())`, and the score is `e.sum().real / e.abs().sum()`, where "
        "`W_OV` is the sum of `w[k] * model.W_V[0, k] @ model.W_O[0, k]`.",
    ),
    mistakes=(
        Mistake(
            "OV not transposed",
            "The key side is E W_OV, and a key enters a score transposed: E W_QK "
            "(E W_OV)^T = E W_QK W_OV^T E^T. Your W_OV is not transposed.",
            matching_ov_not_transposed,
            swap=("W_OV.T @ (E.T", "W_OV @ (E.T"),
        ),
        Mistake(
            "query and key swapped",
            "Your W_QK is transposed, so the query's token and the one before the key "
            "have changed places. It is W_Q W_K^T, rows for queries.",
            matching_qk_transposed,
        ),
        Mistake(
            "without the first layer",
            "You compare the query's token with the key's own token. That finds heads "
            "that look for duplicates. Induction looks at what the first layer wrote "
            "there.",
            matching_without_first_layer,
        ),
        Mistake(
            "nothing to divide by",
            "If all eigenvalues are 0 you divide 0 by 0, which is nan. The score is 0 "
            "then.",
            matching_without_zero,
        ),
        Mistake(
            "all heads alike",
            "You added up all first-layer heads with the same weight. Without "
            "`prev_head`, each counts as far as it is a previous-token head.",
            matching_all_heads_alike,
        ),
        Mistake(
            "counted",
            "You counted positive eigenvalues, tiny ones as much as large ones. Divide "
            "the sum of the eigenvalues by the sum of their absolute values.",
            matching_counted,
        ),
        Mistake(
            "without embeddings",
            "W_E is missing. In the stream's own coordinates the matrix says nothing "
            "about tokens.",
            matching_in_the_stream,
        ),
        Mistake(
            "not centred",
            "The mean embedding is still in W_E. A head that scores one key highly for "
            "every query would then look as if it matched, or avoided, that token.",
            matching_not_centred,
            swap=("E = model.W_E - model.W_E.mean(dim=0)", "E = model.W_E"),
        ),
        Mistake(
            "singular values",
            "You divided by the singular values. The score is about eigenvalues.",
            matching_singular,
        ),
    ),
    passed=(
        "Checked against the whole table, one pair of tokens at a time, through single "
        "heads and through all of them, and on hand-made heads that look for the same "
        "(1) or avoid it (-1). A positive eigenvalue is a combination of tokens that "
        "scores its own kind highly."
    ),
)
