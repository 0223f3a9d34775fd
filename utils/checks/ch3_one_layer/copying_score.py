"""Chapter 3, `copying_score`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.checks.largest import Largest
from utils.models.handmade import with_weights

__all__ = ["CHECK"]


def judge_copying_score(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, seed, sign in (
        (1, 0, 1, 0, 1),
        (2, 1, 2, 3, 1),
        (2, 0, 0, 4, -1),
    ):
        model = shared.half_copying(seed, n_layers, d_vocab=40 + seed)
        model = with_weights(model, {"W_O": sign * model.W_O})
        matrix = shared.ov_by_running(model, layer, head)
        for centred in (False, True):
            chosen = {"centred": True} if centred else {}
            with Largest() as largest:
                result = answer(model, layer, head, **chosen)
            if centred:
                matrix = matrix - matrix.mean(1, keepdim=True)
            values = torch.linalg.eigvals(matrix)
            values = values[values.abs().argsort(descending=True)[:6]]
            expect.close(
                expect.number(_without_phase(result)),
                (values.sum().real / values.abs().sum()).item(),
                f"With centred={centred}, the score does not match the eigenvalues of "
                "the matrix measured by running the model.",
                atol=1e-4,
            )
            expect.true(
                largest.numel <= 2 * max(model.W_E.numel(), model.W_Q.numel()),
                "The score is right, but the matrix over the whole vocabulary was "
                "built on the way. With 4,096 tokens its eigenvalues take minutes; the "
                "small matrix of `ov_eigenvalues` has the same ones.",
            )
    silent = with_weights(model, {"W_O": 0 * model.W_O})
    expect.true(
        _without_phase(answer(silent, 0, 0)) == 0,
        "The eigenvalues of a head that writes nothing are all 0. Its score should be "
        "0, and 0 divided by 0 is not.",
    )


def _without_phase(value):
    """A complex result whose imaginary part is rounding counts as real."""
    if isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex()):
        if abs(value.imag) < 1e-5:
            return value.real
    return value


def _spectrum(model, layer, head, centred=False) -> Tensor:
    W_U = model.W_U - model.W_U.mean(1, keepdim=True) if centred else model.W_U
    small = model.W_O[layer, head] @ W_U @ model.W_E @ model.W_V[layer, head]
    return torch.linalg.eigvals(small)


def _ratio(values) -> float:
    return (values.sum().real / values.abs().sum()).item()


def score_counted(model, layer, head, centred=False):
    return (_spectrum(model, layer, head, centred).real > 0).float().mean().item()


def score_never_centred(model, layer, head, centred=False):
    return _ratio(_spectrum(model, layer, head))


def score_always_centred(model, layer, head, centred=False):
    return _ratio(_spectrum(model, layer, head, True))


def score_absolute(model, layer, head, centred=False):
    return abs(_ratio(_spectrum(model, layer, head, centred)))


def score_clipped(model, layer, head, centred=False):
    return max(0.0, _ratio(_spectrum(model, layer, head, centred)))


def score_of_stream(model, layer, head, centred=False):
    return _ratio(torch.linalg.eigvals(model.W_O[layer, head] @ model.W_V[layer, head]))


def score_over_real_parts(model, layer, head, centred=False):
    values = _spectrum(model, layer, head, centred)
    return (values.real.sum() / values.real.abs().sum()).item()


def score_over_singular(model, layer, head, centred=False):
    W_U = model.W_U - model.W_U.mean(1, keepdim=True) if centred else model.W_U
    matrix = model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ W_U
    return (matrix.trace() / torch.linalg.svdvals(matrix).sum()).item()


def score_not_normalised(model, layer, head, centred=False):
    return _spectrum(model, layer, head, centred).sum().real.item()


CHECK = Check(
    name="copying_score",
    judge=judge_copying_score,
    hints=(
        "Add up the eigenvalues, and divide by what the sum would be if all pointed "
        "the same way.",
        "The sum of the eigenvalues is real up to rounding, because complex ones come "
        "in pairs. For the centred score, subtract from W_U its mean over the "
        "vocabulary, so from each row its own mean, before anything else.",
        "`write = circuit.B`, with `centred` minus `write.mean(dim=1, keepdim=True)`. "
        "`values = torch.linalg.eigvals(write @ circuit.A)`. "
        "`return (values.sum().real / values.abs().sum().clamp(min=1e-12)).item()`.",
    ),
    mistakes=(
        Mistake(
            "counted",
            "This is the share of eigenvalues with a positive real part. Tiny ones "
            "count as much as large ones there; add up the values themselves.",
            score_counted,
            swap=(
                "(eigenvalues.sum().real / "
                "eigenvalues.abs().sum().clamp(min=1e-12)).item()",
                "(eigenvalues.real > 0).float().mean().item()",
            ),
        ),
        Mistake(
            "never centred",
            "`centred=True` changes nothing in your score. It asks for W_U minus its "
            "mean over the vocabulary.",
            score_never_centred,
        ),
        Mistake(
            "always centred",
            "You centred W_U although `centred` is False.",
            score_always_centred,
        ),
        Mistake(
            "absolute value",
            "Your score has lost its sign. A head whose eigenvalues are negative "
            "erases tokens, and its score is negative.",
            score_absolute,
        ),
        Mistake(
            "clipped at 0",
            "Your score stops at 0. A head whose eigenvalues are negative erases "
            "tokens, and its score is negative, down to -1.",
            score_clipped,
        ),
        Mistake(
            "stream to stream",
            "You used W_V W_O alone. Whether a head copies tokens depends on W_E and "
            "W_U as well.",
            score_of_stream,
        ),
        Mistake(
            "real parts below",
            "You divided by the sum of the absolute real parts. Divide by the absolute "
            "values of the complex numbers.",
            score_over_real_parts,
            swap=("eigenvalues.abs().sum()", "eigenvalues.real.abs().sum()"),
        ),
        Mistake(
            "singular values below",
            "You divided by the sum of singular values. Divide by the absolute values "
            "of the eigenvalues, which are smaller.",
            score_over_singular,
        ),
        Mistake(
            "not normalised",
            "This is the sum alone, which grows with the size of the weights. Divide "
            "by the sum of the absolute values.",
            score_not_normalised,
        ),
    ),
    passed=(
        "Checked against the eigenvalues of the matrix measured by running three "
        "models, raw and centred, and on a head that writes nothing. An eigenvector "
        "with a positive eigenvalue is a mixture of tokens that raises its own logits."
    ),
)
