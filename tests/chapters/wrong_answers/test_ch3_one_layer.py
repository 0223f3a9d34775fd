"""Chapter 3: wrong answers that once passed: the solution with one thing changed."""

import pytest
import torch
from transformer_lens import FactoredMatrix

import solutions.ch3_one_layer as chapter
from tests.chapters.wrong_answers import changed, running_first
from utils.exercises.engine import run_check

SCORE = (
    "copying_score",
    "(eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()",
)
# (exercise, what stands in the solution, what stands in the wrong answer, its name)
ONCE_PASSED = {
    "the source at position 3": (
        "skip_trigram_lift",
        "contexts.shape[1] // 2",
        "3",
        "a fixed place",
    ),
    "the source at position 2": (
        "skip_trigram_lift",
        "contexts.shape[1] // 2",
        "2",
        "a fixed place",
    ),
    "no sign": (
        *SCORE,
        "abs((eigenvalues.sum().real / eigenvalues.abs().sum()).item())",
        "absolute value",
    ),
    "nothing below 0": (
        *SCORE,
        "max(0.0, (eigenvalues.sum() / eigenvalues.abs().sum()).real.item())",
        "clipped at 0",
    ),
    "0 / 0 for a silent head": (
        *SCORE,
        "(eigenvalues.sum().real / eigenvalues.abs().sum()).item()",
        None,
    ),
    "seven tokens in every text": (
        "positional_share",
        "seen = torch.ones_like(scores[0]).tril()",
        "seen = torch.ones_like(scores[0]).tril()\n    seen[7:] = 0",
        None,
    ),
    "a wide OV circuit": (
        "full_ov_circuit",
        "FactoredMatrix(model.W_E @ ov.A, ov.B @ model.W_U)",
        "FactoredMatrix(model.W_E @ ov.AB, model.W_U)",
        None,
    ),
    "a wide QK circuit": (
        "full_qk_circuit",
        "FactoredMatrix(model.W_E @ qk.A, qk.B @ model.W_E.T)",
        "FactoredMatrix(model.W_E, qk.AB @ model.W_E.T)",
        None,
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong, mistake = ONCE_PASSED[case]
    result = run_check(name, changed(chapter, name, right, wrong))
    assert result.status in ("failed", "error"), result.message
    assert result.mistake == mistake


def svd_through_one_gram_matrix(a, b):
    """M^T M is made small by QR of b, and then U by dividing by S."""
    right, small = torch.linalg.qr(b.T)
    inside = a @ small.T
    values, vectors = torch.linalg.eigh(inside.T @ inside)
    S = values.flip(0).clamp(min=0).sqrt()
    vectors = vectors.flip(1)
    return inside @ vectors / S, S, right @ vectors


def test_squares_fail_where_a_singular_value_is_0():
    result = run_check("svd_of_product", svd_through_one_gram_matrix)
    assert result.status == "failed" and result.mistake == "by squares"


def test_a_dense_circuit_is_no_wide_one():
    def dense(model, layer, head):
        return chapter.full_ov_circuit(model, layer, head).AB

    def narrow(model, layer, head):
        a = model.W_E @ model.W_V[layer, head]
        return FactoredMatrix(a, model.W_O[layer, head] @ model.W_U)

    for answer in (dense, narrow):
        assert run_check("full_ov_circuit", answer).status == "passed"


@pytest.mark.parametrize(
    "name",
    [
        "full_ov_circuit",
        "full_qk_circuit",
        "positional_pattern",
        "top_skip_trigrams",
        "circuit_lift",
        "ov_eigenvalues",
        "copying_score",
        "copying_top1",
    ],
)
def test_weights_are_read_without_running_the_model(name):
    result = run_check(name, running_first(getattr(chapter, name)))
    assert result.status == "failed" and "runs the model" in result.message
