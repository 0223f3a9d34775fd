"""Chapter 1, `qk_matrix`: judge, known mistakes and hints."""

import math

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_qk_matrix(answer) -> None:
    answer = expect.weights_only(answer)
    for layer, head, seed, sizes in (
        (1, 2, 7, {"d_model": 10, "d_head": 4}),
        (0, 1, 8, {"d_model": 7, "d_head": 3}),
    ):
        model = random_model(2, seed, **sizes)
        size = model.cfg.d_model
        result = answer(model, layer, head)
        matrix = expect.tensor(result, query=size, key=size)
        read, scores = shared.read_and_scores(
            model, torch.tensor(shared.MANY_TEXTS), layer, head
        )
        yours = read @ matrix @ read.transpose(1, 2) / math.sqrt(model.cfg.d_head)
        visible = torch.ones_like(scores, dtype=torch.bool).tril()
        expect.close(
            yours[visible],
            scores[visible],
            f"query @ matrix @ key, over sqrt(d_head), does not give the scores of "
            f"head {layer}.{head}.",
        )


def qk_key_first(model, layer, head):
    return model.W_K[layer, head] @ model.W_Q[layer, head].T


def qk_small(model, layer, head):
    return model.W_Q[layer, head].T @ model.W_K[layer, head]


def qk_scaled(model, layer, head):
    matrix = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return matrix / math.sqrt(model.cfg.d_head)


def qk_swapped_indices(model, layer, head):
    return model.W_Q[head, layer] @ model.W_K[head, layer].T


def qk_whole_layer(model, layer, head):
    return (model.W_Q[layer] @ model.W_K[layer].transpose(1, 2)).sum(0)


def qk_is_ov(model, layer, head):
    return model.W_V[layer, head] @ model.W_O[layer, head]


def qk_symmetric(model, layer, head):
    return model.W_Q[layer, head] @ model.W_Q[layer, head].T


CHECK = Check(
    name="qk_matrix",
    judge=judge_qk_matrix,
    hints=(
        "A score is the dot product of a query and a key. Both are row vectors of the "
        "stream times a matrix.",
        "With q and k row vectors of the stream, the score is (q W_Q) (k W_K)^T. "
        "Multiply it out: what stands between q and k^T?",
        "Return `FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)`. "
        "The scaling stays outside.",
    ),
    mistakes=(
        Mistake(
            "key first",
            "Query and key are swapped: your rows belong to the key. Rank, norm and "
            "eigenvalues are the same, but the head would look the wrong way round.",
            qk_key_first,
            swap=(
                "model.W_Q[layer, head], model.W_K[layer, head].T",
                "model.W_K[layer, head], model.W_Q[layer, head].T",
            ),
        ),
        Mistake(
            "order of the paper",
            "The paper's W_Q^T W_K is [d_model, d_model] in its shapes. With "
            "TransformerLens's W_Q [d_model, d_head] the same matrix is W_Q W_K^T; "
            "yours is [d_head, d_head].",
            qk_small,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). It belongs to the scores and not to the "
            "matrix.",
            qk_scaled,
        ),
        Mistake(
            "head before layer",
            "You used the layer as head and the head as layer. Weights are indexed "
            "`[layer, head]`.",
            qk_swapped_indices,
        ),
        Mistake(
            "whole layer",
            "You summed over all heads of the layer. Each head has its own softmax, so "
            "the scores of different heads must not be mixed.",
            qk_whole_layer,
        ),
        Mistake(
            "the OV matrix",
            "This is W_V W_O, which decides what is moved. Where the head looks is "
            "decided by W_Q and W_K.",
            qk_is_ov,
            swap=(
                "model.W_Q[layer, head], model.W_K[layer, head].T",
                "model.W_V[layer, head], model.W_O[layer, head]",
            ),
        ),
        Mistake(
            "queries with queries",
            "You used W_Q on both sides. One side is the key, which W_K makes.",
            qk_symmetric,
        ),
    ),
    passed=(
        "Checked against the scores of two models, at every pair of positions that the "
        "mask leaves visible. The matrix has rank at most d_head, because it goes "
        "through d_head numbers."
    ),
)
