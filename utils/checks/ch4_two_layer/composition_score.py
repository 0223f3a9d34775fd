"""Chapter 4, `composition_score`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor
from transformer_lens import FactoredMatrix

from utils.checks import Check, Mistake, expect

__all__ = ["CHECK"]


def _factors(seed: int, d_model: int, inner: int) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    tall = torch.randn(d_model, inner, generator=generator)
    return FactoredMatrix(tall, torch.randn(inner, d_model, generator=generator))


def _selector(d_model: int, reads: list[int], writes: list[int]) -> FactoredMatrix:
    """Copies some places of a vector to some others."""
    eye = torch.eye(d_model)
    return FactoredMatrix(eye[:, reads], eye[writes])


def judge_composition_score(answer) -> None:
    for seed in (0, 1):
        first, second = _factors(seed, 10, 3), _factors(seed + 10, 10, 4)
        expect.close(
            expect.number(answer(first, second)),
            _score_by_vectors(first, second),
            "The score is not what comes of pushing every basis vector through both "
            "matrices.",
        )
    first, second = _factors(4, 9, 2), _factors(5, 9, 5)
    scaled = FactoredMatrix(10 * first.A, first.B)
    expect.close(
        expect.number(answer(scaled, second)),
        _score_by_vectors(first, second),
        "Making W_V ten times as large should not change the score.",
    )
    writes = _selector(11, [0, 1, 2], [5, 6, 7])
    for reads, value, words in (
        ([5], 1 / 3**0.5, "one of the three places"),
        ([8, 9], 0.0, "places that the first never writes to"),
    ):
        expect.close(
            expect.number(
                answer(writes, _selector(11, reads, list(range(len(reads)))))
            ),
            value,
            f"The second matrix reads {words}.",
        )
    silent = FactoredMatrix(torch.zeros(10, 3), first.B[:, :1].expand(2, 10)[[0, 1, 1]])
    expect.close(
        expect.number(answer(silent, _factors(6, 10, 4))),
        0.0,
        "A head that writes nothing composes with nothing: the score should be 0.",
    )
    deaf = FactoredMatrix(torch.zeros(10, 2), torch.ones(2, 10))
    for pair in ((_factors(7, 10, 4), deaf), (silent, deaf)):
        expect.close(
            expect.number(answer(*pair)),
            0.0,
            "A head that reads nothing composes with nothing: the score should be 0.",
        )


def _score_by_vectors(first: FactoredMatrix, second: FactoredMatrix) -> float:
    """Frobenius norms as sums over what happens to each basis vector."""
    basis = torch.eye(first.A.shape[0], dtype=torch.float64)

    def size(*steps) -> float:
        total = 0.0
        for vector in basis:
            for matrix in steps:
                vector = vector @ matrix.A.double() @ matrix.B.double()
            total += sum(x * x for x in vector.tolist())
        return math.sqrt(total)

    return size(first, second) / (size(first) * size(second))


def _ratio(product: Tensor, first, second) -> float:
    return (product.norm() / (first.AB.norm() * second.AB.norm())).item()


def score_without_sizes(first, second):
    return (first.AB @ second.AB).norm().item()


def score_with_one_size(first, second):
    return ((first.AB @ second.AB).norm() / first.AB.norm()).item()


def score_other_order(first, second):
    return _ratio(second.AB @ first.AB, first, second)


def score_transposed(first, second):
    return _ratio(first.AB @ second.AB.T, first, second)


def score_squared(first, second):
    return _ratio(first.AB @ second.AB, first, second) ** 2


def score_spectral(first, second):
    matrices = (first.AB @ second.AB, first.AB, second.AB)
    product, one, two = (torch.linalg.matrix_norm(m, 2).item() for m in matrices)
    return product / (one * two)


def score_less_floor(first, second):
    return _ratio(first.AB @ second.AB, first, second) - first.shape[0] ** -0.5


def score_of_silence(first, second):
    return _ratio(first.AB @ second.AB, first, second)


CHECK = Check(
    name="composition_score",
    judge=judge_composition_score,
    hints=(
        "Multiply the two matrices and see how large the product is, compared with how "
        "large it could have been.",
        "The Frobenius norm is the root of the sum of all squared entries. A row "
        "vector meets `first` first, so the product is first times second. Take care "
        "of matrices that are all zero.",
        "`(first @ second).AB.norm() / (first.AB.norm() * second.AB.norm())`, and 0 if "
        "the denominator is 0. `.AB` multiplies the factors out, and `.item()` makes a "
        "number of it.",
    ),
    mistakes=(
        Mistake(
            "no denominators",
            "Your score has no denominator, so it grows with the size of the weights. "
            "Divide by the norms of both matrices.",
            score_without_sizes,
        ),
        Mistake(
            "one denominator",
            "You divided by the norm of the first matrix only.",
            score_with_one_size,
            swap=("first.AB.norm() * second.AB.norm()", "first.AB.norm()"),
        ),
        Mistake(
            "other order",
            "You multiplied second times first. Vectors are rows here, so what the "
            "first writes meets the second from the left.",
            score_other_order,
            swap=("(first @ second)", "(second @ first)"),
        ),
        Mistake(
            "transposed",
            "You transposed the second matrix. It already reads with its rows.",
            score_transposed,
        ),
        Mistake(
            "squared",
            "This is the square of the score. A norm is the root of a sum of squares.",
            score_squared,
        ),
        Mistake(
            "spectral norm",
            "You used the largest singular value. The Frobenius norm takes all entries "
            "into account.",
            score_spectral,
        ),
        Mistake(
            "baseline subtracted",
            "You subtracted 1/sqrt(d_model). The baseline comes later; the score "
            "itself is the plain ratio.",
            score_less_floor,
        ),
        Mistake(
            "zero by zero",
            "Your score divides 0 by 0 when a head writes nothing. Return 0 then.",
            score_of_silence,
        ),
    ),
    passed=(
        "Checked against pushing every basis vector through both matrices, and on "
        "matrices with a known answer. Dividing by both norms makes heads with large "
        "and with small weights comparable."
    ),
)
