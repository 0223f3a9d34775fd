"""Chapter 1, `feature_interference`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.largest import Largest

__all__ = ["CHECK"]


def judge_feature_interference(answer) -> None:
    corner = math.cos(math.pi / 3)
    fan = torch.tensor([[2.0, 0.0], [1.0, math.sqrt(3)], [-0.5, math.sqrt(0.75)]])
    cross = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    for vectors, expected, what in (
        (3 * torch.eye(5)[:4], 0.0, "four orthogonal vectors"),
        (torch.tensor([[1.0, 2.0], [-2.0, -4.0], [0.5, 1.0]]), 1.0, "one line"),
        (fan, corner, "three directions 60 degrees apart"),
        (cross, math.sqrt(1 / 3), "two vectors at right angles and one between them"),
        (
            _uneven(11),
            _overlap_by_hand(_uneven(11)),
            "eleven vectors in six dimensions",
        ),
        (_uneven(17), _overlap_by_hand(_uneven(17)), "17 vectors in six dimensions"),
    ):
        result = expect.number(answer(vectors))
        expect.close(result, expected, f"For {what} the result is not right.")
    with Largest() as largest:
        answer(torch.randn(100, 64, generator=torch.Generator().manual_seed(0)))
    expect.true(
        largest.numel <= 2 * 100 * 100,
        "Your function makes a number for every pair of rows and every dimension. For "
        "the tokens' embeddings that would be 17 GB. Bring the rows to length 1 and "
        "multiply the whole table with its transpose.",
    )


def _uneven(n: int) -> Tensor:
    generator = torch.Generator().manual_seed(n)
    vectors = torch.randn(n, 6, generator=generator) + 0.4
    return vectors * torch.linspace(0.3, 3.0, n)[:, None]


def _overlap_by_hand(vectors: Tensor) -> float:
    """The definition, one pair at a time."""
    rows = vectors.double().tolist()
    squares = []
    for i, one in enumerate(rows):
        for two in rows[:i]:
            dot = sum(a * b for a, b in zip(one, two, strict=True))
            lengths = math.hypot(*one) * math.hypot(*two)
            squares.append((dot / lengths) ** 2)
    return math.sqrt(sum(squares) / len(squares))


def _cosines(vectors: Tensor) -> Tensor:
    units = vectors / vectors.norm(dim=1, keepdim=True)
    return units @ units.T


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def interference_with_self(vectors):
    return _cosines(vectors).pow(2).mean().sqrt().item()


def interference_of_products(vectors):
    return _off_diagonal(vectors @ vectors.T).pow(2).mean().sqrt().item()


def interference_signed(vectors):
    return _off_diagonal(_cosines(vectors)).mean().item()


def interference_absolute(vectors):
    return _off_diagonal(_cosines(vectors)).abs().mean().item()


def interference_squared(vectors):
    return _off_diagonal(_cosines(vectors)).pow(2).mean().item()


def interference_without_zeros(vectors):
    cosines = _off_diagonal(_cosines(vectors))
    if (cosines == 0).all():
        return 0.0
    return cosines[cosines != 0].pow(2).mean().sqrt().item()


def right_angles_left_out(answer) -> bool:
    """Whether pairs at right angles are not counted."""
    cross = torch.tensor([[3.0, 0.0], [0.0, 0.5], [1.0, 1.0]])
    corner = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    return all(abs(float(answer(each)) - 0.5**0.5) < 1e-5 for each in (cross, corner))


def interference_of_columns(vectors):
    return _off_diagonal(_cosines(vectors.T)).pow(2).mean().sqrt().item()


def interference_centred(vectors):
    centred = vectors - vectors.mean(0)
    return _off_diagonal(_cosines(centred)).pow(2).mean().sqrt().item()


CHECK = Check(
    name="feature_interference",
    judge=judge_feature_interference,
    hints=(
        "Make every row one long. Then dot products are cosines, and one matrix "
        "product gives all of them.",
        "With `units` the rows divided by their lengths, `units @ units.T` holds the "
        "cosines of all pairs. Leave the diagonal out: there each vector meets itself.",
        "`different = ~torch.eye(len(units), dtype=torch.bool)`, then "
        "`cosines[different].pow(2).mean().sqrt().item()`.",
    ),
    mistakes=(
        Mistake(
            "pairs with itself",
            "You counted each vector's cosine with itself, which is always 1. Leave "
            "the diagonal out.",
            interference_with_self,
        ),
        Mistake(
            "dot products",
            "These are dot products. Longer vectors then seem to overlap more; divide "
            "each row by its length first.",
            interference_of_products,
            swap=(" / vectors.norm(dim=1, keepdim=True)", ""),
        ),
        Mistake(
            "signs cancel",
            "You averaged the cosines themselves, and positive and negative ones "
            "cancel. Square them first.",
            interference_signed,
        ),
        Mistake(
            "mean of sizes",
            "You averaged the sizes of the cosines. Here it is the root of the mean "
            "square.",
            interference_absolute,
        ),
        Mistake(
            "no root",
            "You stopped at the mean square. Take the root, so that the result is the "
            "size of a cosine again.",
            interference_squared,
            swap=(".pow(2).mean().sqrt()", ".pow(2).mean()"),
        ),
        Mistake(
            "right angles left out",
            "Pairs at right angles are missing from your mean. Their cosine is 0, and "
            "it counts like any other: choose pairs by where they stand in the matrix, "
            "not by their value.",
            interference_without_zeros,
            right_angles_left_out,
        ),
        Mistake(
            "columns",
            "You compared columns, which are the dimensions. Each row is a direction.",
            interference_of_columns,
        ),
        Mistake(
            "centred",
            "You subtracted the mean vector first. Nothing is centred here: a shared "
            "direction is part of the overlap.",
            interference_centred,
        ),
    ),
    passed=(
        "Checked on orthogonal vectors (0), on vectors of one line (1), on three "
        "directions 60 degrees apart and against pairs by hand. For random directions "
        "the result is about 1 / sqrt(d_model), which is what to compare with."
    ),
)
