"""Chapter 4, `cyclic_composition_score`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_cyclic_composition_score(answer) -> None:
    answer = expect.weights_only(answer)
    calls = (
        (2, 3, 0, {}, (0, 1)),
        (3, 2, 1, {"from_layer": 0, "to_layer": 2}, (0, 2)),
        (3, 2, 1, {"from_layer": 1, "to_layer": 2}, (1, 2)),
        (3, 2, 2, {"from_layer": 0, "to_layer": 1}, (0, 1)),
        (3, 2, 1, {"from_layer": 2, "to_layer": 1}, (2, 1)),
        (2, 3, 0, {"from_layer": 1, "to_layer": 1}, (1, 1)),
        (2, 3, 0, {"from_layer": 0, "to_layer": 0}, (0, 0)),
    )
    for n_layers, n_heads, seed, layers, (one, two) in calls:
        model = random_model(n_layers, seed, n_heads=n_heads)
        result = answer(model, **layers)
        table = expect.tensor(result, from_head=n_heads, to_head=n_heads)
        if one >= two:
            expect.close(
                table,
                0 * table,
                f"Layer {two} cannot read what layer {one} writes, so all scores "
                "should be 0.",
            )
            continue
        expected = [
            [_cycle_by_hand(model, (one, i), (two, j)) for j in range(n_heads)]
            for i in range(n_heads)
        ]
        expect.close(
            table,
            torch.tensor(expected),
            "These are not the numbers that the bug gives.",
        )


def _cycle_by_hand(model, first, second) -> float:
    """In the paper's own notation, with plain lists of rows."""
    W_V, W_O = model.W_V[first].T.tolist(), model.W_O[first].T.tolist()
    W_Q, W_K = model.W_Q[second].T.tolist(), model.W_K[second].T.tolist()
    W_Q_T = [list(column) for column in zip(*W_Q, strict=True)]
    cycle = _times(_times(W_K, W_O), _times(W_V, W_Q_T))
    return _size(cycle) / (_size(_times(W_Q_T, W_K)) * _size(_times(W_O, W_V)))


def _times(one: list[list[float]], two: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*two, strict=True))
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        for row in one
    ]


def _size(matrix: list[list[float]]) -> float:
    return math.sqrt(sum(x * x for row in matrix for x in row))


def _cyclic(model, from_layer, to_layer, form: str, sizes: str = "true") -> Tensor:
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            W_V, W_O = model.W_V[from_layer, i], model.W_O[from_layer, i]
            W_Q, W_K = model.W_Q[to_layer, j], model.W_K[to_layer, j]
            product = {
                "first": W_K.T @ W_O.T @ W_V.T @ W_Q,
                "second": W_V.T @ W_Q @ W_K.T @ W_O.T,
                "true": W_V @ W_O @ W_K @ W_Q.T,
                "query": W_Q.T @ W_O.T @ W_V.T @ W_K,
            }[form]
            size = {
                "true": (W_V @ W_O).norm() * (W_Q @ W_K.T).norm(),
                "pieces": (W_O @ W_K).norm() * (W_Q.T @ W_V).norm(),
                "none": torch.tensor(1.0),
            }[sizes]
            scores[i, j] = product.norm() / size
    return scores


def cyclic_true(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "true")


def cyclic_second(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "second")


def cyclic_of_query(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "query")


def cyclic_other_sizes(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first", "pieces")


def cyclic_without_sizes(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first", "none")


def cyclic_transposed(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first").T


CHECK = Check(
    name="cyclic_composition_score",
    judge=judge_cyclic_composition_score,
    hints=(
        "Write down the four matrices in the order of the docstring and turn each into "
        "TransformerLens's, by a transpose. The product is small: d_head by d_head.",
        "The paper's W_K is `model.W_K[layer, head].T`, its W_O is "
        "`model.W_O[layer, head].T`, its W_V is `model.W_V[layer, head].T`, and its "
        "W_Q^T is `model.W_Q[layer, head]` as it stands.",
        "`cycle = W_K.T @ W_O.T @ W_V.T @ W_Q`, and the score is `cycle.norm() / "
        "((W_V @ W_O).norm() * (W_Q @ W_K.T).norm())`.",
    ),
    mistakes=(
        Mistake(
            "no mistake",
            "This is the true K-composition. Here the mistake itself is wanted: the "
            "factors moved around in a cycle.",
            cyclic_true,
        ),
        Mistake(
            "second form",
            "This is the other of the two forms that the library could give. The one "
            "wanted begins with W_K of the later head.",
            cyclic_second,
        ),
        Mistake(
            "query and key swapped",
            "W_Q and W_K are swapped: yours begins with W_Q and ends with W_K^T.",
            cyclic_of_query,
            swap=("W_K.T @ W_O.T @ W_V.T @ W_Q", "W_Q.T @ W_O.T @ W_V.T @ W_K"),
        ),
        Mistake(
            "other denominator",
            "Your denominator has the norms of W_K W_O and W_V W_Q^T. The one wanted "
            "is that of the true score, the norms of W_OV and W_QK.",
            cyclic_other_sizes,
        ),
        Mistake(
            "no denominator",
            "The denominator is missing: the norm of W_OV times the norm of W_QK.",
            cyclic_without_sizes,
            swap=(" / ((W_V @ W_O).norm() * (W_Q @ W_K.T).norm())", ""),
        ),
        Mistake("transposed", shared.TABLE_TRANSPOSED, cyclic_transposed),
    ),
    passed=(
        "Checked against the paper's formula with plain loops. The trace of a product "
        "and its non-zero eigenvalues do not change when a factor moves from the end "
        "to the front. The Frobenius norm does, so this is another number than the one "
        "the figure claimed to show."
    ),
)
