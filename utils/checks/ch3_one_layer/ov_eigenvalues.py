"""Chapter 3, `ov_eigenvalues`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.checks.largest import Largest
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_ov_eigenvalues(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, d_head, seed in ((1, 0, 1, 4, 0), (2, 1, 2, 5, 1)):
        model = random_model(n_layers, seed, d_vocab=40, d_head=d_head)
        with Largest() as largest:
            result = answer(model, layer, head)
        values = expect.tensor(result, complex_ok=True, eigenvalue=d_head)
        dense = torch.linalg.eigvals(shared.ov_by_running(model, layer, head))
        expected = dense[dense.abs().argsort(descending=True)[:d_head]]
        expect.close(
            _furthest_match(values.to(torch.complex128), expected),
            0.0,
            "Some eigenvalue of the head's effect on the logits is not among yours.",
            atol=1e-3,
        )
        expect.true(
            largest.numel <= 2 * max(model.W_E.numel(), model.W_Q.numel()),
            "The eigenvalues are right, but the matrix over the whole vocabulary was "
            "built on the way. Its non-zero eigenvalues are those of a small matrix.",
        )


def _furthest_match(values: Tensor, expected: Tensor) -> Tensor:
    """The largest distance when each expected value takes its nearest free partner."""
    left, worst = values.tolist(), 0.0
    for value in expected.tolist():
        nearest = min(left, key=lambda other: abs(other - value))
        worst = max(worst, abs(nearest - value))
        left.remove(nearest)
    return torch.tensor(worst / expected.abs().max().item())


def _small(model, layer, head) -> Tensor:
    write = model.W_O[layer, head] @ model.W_U
    return write @ (model.W_E @ model.W_V[layer, head])


def eigenvalues_of_all(model, layer, head):
    return torch.linalg.eigvals(shared.ov(model, layer, head))


def eigenvalues_of_stream(model, layer, head):
    return torch.linalg.eigvals(model.W_O[layer, head] @ model.W_V[layer, head])


def eigenvalues_symmetric(model, layer, head):
    return torch.linalg.eigvalsh(_small(model, layer, head))


def eigenvalues_singular(model, layer, head):
    return torch.linalg.svdvals(_small(model, layer, head))


def eigenvalues_real(model, layer, head):
    return torch.linalg.eigvals(_small(model, layer, head)).real


def eigenvalues_dense(model, layer, head):
    values = torch.linalg.eigvals(shared.ov(model, layer, head))
    return values[values.abs().argsort(descending=True)[: model.cfg.d_head]]


CHECK = Check(
    name="ov_eigenvalues",
    judge=judge_ov_eigenvalues,
    hints=(
        "A product A B of a tall and a wide matrix has the same non-zero eigenvalues "
        "as B A, and B A is small.",
        "The factors of `full_ov_circuit` are A [d_vocab, d_head] and B [d_head, "
        "d_vocab]. The matrix is not symmetric, so its eigenvalues are complex.",
        "`circuit = full_ov_circuit(model, layer, head)`, then "
        "`return torch.linalg.eigvals(circuit.B @ circuit.A)`.",
    ),
    mistakes=(
        Mistake(
            "all of them",
            "You took the eigenvalues of the whole matrix over the vocabulary. All but "
            "d_head of them are zeros, or rounding errors around zero.",
            eigenvalues_of_all,
            swap=("circuit.B @ circuit.A", "circuit.A @ circuit.B"),
        ),
        Mistake(
            "stream to stream",
            "These are the eigenvalues of W_V W_O. They say what the head does to "
            "vectors of the stream; for tokens, W_E and W_U belong to it.",
            eigenvalues_of_stream,
        ),
        Mistake(
            "symmetric solver",
            "`eigvalsh` is for symmetric matrices. It reads one half of yours and "
            "makes up the other.",
            eigenvalues_symmetric,
        ),
        Mistake(
            "singular values",
            "These are singular values, which are never negative. Then every head "
            "would seem to copy.",
            eigenvalues_singular,
            swap=("torch.linalg.eigvals(", "torch.linalg.svdvals("),
        ),
        Mistake(
            "real parts",
            "You dropped the imaginary parts. The matrix is not symmetric, so "
            "eigenvalues come in complex pairs.",
            eigenvalues_real,
        ),
        Mistake(
            "dense",
            "The values are right, but you built the matrix over the whole vocabulary "
            "to get them. A B and B A have the same non-zero eigenvalues.",
            eigenvalues_dense,
        ),
    ),
    passed=(
        "Checked against the eigenvalues of the matrix measured by running the model, "
        "and that the large matrix was never built. If A B v = c v, then B A (B v) = "
        "c (B v): the small matrix has the same eigenvalue."
    ),
)
