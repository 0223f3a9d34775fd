"""Chapter 3, `svd_of_product`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.largest import Largest

__all__ = ["CHECK"]


def judge_svd_of_product(answer) -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns, rank in ((60, 3, 40, 3), (9, 4, 70, 4), (50, 4, 30, 2)):
        a = torch.randn(rows, rank, generator=generator)
        a = a @ torch.randn(rank, inner, generator=generator) if rank < inner else a
        b = torch.randn(inner, columns, generator=generator)
        with Largest() as largest:
            result = answer(a, b)
        expect.true(
            isinstance(result, tuple | list) and len(result) == 3,
            "Return three tensors: U, S and V.",
        )
        U = expect.tensor(result[0], row=rows, inner=inner)
        S = expect.tensor(result[1], inner=inner)
        V = expect.tensor(result[2], column=columns, inner=inner)
        _expect_svd(U, S, V, a.double() @ b.double(), rank)
        expect.true(
            largest.numel <= 2 * max(a.numel(), b.numel()),
            "The values are right, but a matrix larger than a and b was made on the "
            "way. With 50,000 rows and columns it would not fit into memory.",
        )


def _expect_svd(U, S, V, product, rank) -> None:
    eye = torch.eye(len(S), dtype=torch.float64)
    of = "" if rank == len(S) else f" also when the product has rank {rank} only"
    for name, side in (("U", U), ("V", V)):
        expect.close(
            side.T @ side, eye, f"The columns of {name} should be orthonormal{of}."
        )
    expect.true(
        (S >= 0).all() and (S.diff() <= 1e-6).all(),
        "Singular values are never negative, and the largest comes first.",
    )
    expect.close(
        U @ S.diag() @ V.T,
        product,
        "U diag(S) V^T should be the product of a and b.",
        atol=1e-4,
    )


def svd_dense(a, b):
    U, S, Vh = torch.linalg.svd(a @ b, full_matrices=False)
    inner = a.shape[1]
    return U[:, :inner], S[:inner], Vh[:inner].T


def _small_svd(a, b):
    left, small_a = torch.linalg.qr(a)
    right, small_b = torch.linalg.qr(b.T)
    return left, right, torch.linalg.svd(small_a @ small_b.T)


def svd_not_transposed(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S, (right @ Vh.T).T


def svd_of_small(a, b):
    _, _, (U, S, Vh) = _small_svd(a, b)
    return U, S, Vh.T


def svd_vh_as_v(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S, right @ Vh


def svd_multiplied(a, b):
    Ua, Sa, _ = torch.linalg.svd(a, full_matrices=False)
    _, Sb, Vb = torch.linalg.svd(b, full_matrices=False)
    return Ua, Sa * Sb, Vb.T


def svd_by_gram(a, b):
    """Eigenvectors of M^T M, made from the small Gram matrices of both factors."""
    left, right = a.T @ a, b @ b.T
    values, vectors = torch.linalg.eigh(right)
    root = vectors @ (values.clamp(min=0).sqrt()[:, None] * vectors.T)
    squares, inside = torch.linalg.eigh(root @ left @ root)
    S = squares.flip(0).clamp(min=0).sqrt()
    inside = inside.flip(1)
    V = b.T @ torch.linalg.pinv(root) @ inside
    return a @ root @ inside / S, S, V


def fails_on_low_rank_only(answer) -> bool:
    """Whether it is right where no singular value is 0, and not where one is."""
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(size, generator=generator) for size in ((20, 3), (3, 15)))
    for factor, right in ((a, True), (a[:, [0, 1, 1]], False)):
        U, S, V = answer(factor, b)
        product = U @ S.diag() @ V.T
        eye = torch.eye(3)
        good = torch.allclose(product, factor @ b, atol=1e-3)
        good = good and torch.allclose(U.T @ U, eye, atol=1e-3)
        good = good and torch.allclose(V.T @ V, eye, atol=1e-3)
        if good is not right:
            return False
    return True


def svd_squared(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S**2, right @ Vh.T


def svd_ascending(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return (left @ U).flip(1), S.flip(0), (right @ Vh.T).flip(1)


CHECK = Check(
    name="svd_of_product",
    judge=judge_svd_of_product,
    hints=(
        "Split off from each factor a part with orthonormal columns. What is left of "
        "both is small, and its SVD is cheap.",
        "`torch.linalg.qr(a)` gives Q [row, inner] with orthonormal columns and a "
        "small R [inner, inner] with a = Q R. Do the same with b transposed. Then "
        "a b = Q_a (R_a R_b^T) Q_b^T.",
        "`U, S, Vh = torch.linalg.svd(R_a @ R_b.T)`, then "
        "`return Q_a @ U, S, Q_b @ Vh.T`.",
    ),
    mistakes=(
        Mistake(
            "dense",
            "You multiplied a and b first. With 50,000 rows and columns the product "
            "would not fit into memory; use the small inner size.",
            svd_dense,
        ),
        Mistake(
            "V transposed",
            "The third result is V^T. Return V, with one column per singular value.",
            svd_not_transposed,
        ),
        Mistake(
            "small factors",
            "These are the singular vectors of the small matrix. Lead them back with "
            "the orthonormal parts you split off.",
            svd_of_small,
            swap=("left @ U, S, right @ Vh.T", "U, S, Vh.T"),
        ),
        Mistake(
            "Vh taken for V",
            "`torch.linalg.svd` gives V already transposed. Transpose it back before "
            "you multiply.",
            svd_vh_as_v,
            swap=("right @ Vh.T", "right @ Vh"),
        ),
        Mistake(
            "singular values multiplied",
            "You multiplied the singular values of a and b. The two have different "
            "singular vectors, so their values do not simply multiply.",
            svd_multiplied,
        ),
        Mistake(
            "by squares",
            "You went through the squares M^T M, and divided by singular values. That "
            "loses half of the digits, and fails when one of them is 0. QR of each "
            "factor needs no squares.",
            svd_by_gram,
            fails_on_low_rank_only,
        ),
        Mistake(
            "squared",
            "These are the squares of the singular values. They are the eigenvalues "
            "of M^T M, and the singular values are their square roots.",
            svd_squared,
        ),
        Mistake(
            "smallest first",
            "The smallest singular value comes first. Return the largest first.",
            svd_ascending,
        ),
    ),
    passed=(
        "Checked that U and V have orthonormal columns, that the product comes back, "
        "and that no matrix larger than the factors was made. A product through an "
        "inner size of 3 has only 3 singular values, so a 3 by 3 SVD is enough."
    ),
)
