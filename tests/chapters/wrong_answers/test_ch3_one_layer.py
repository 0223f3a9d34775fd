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


BEFORE = "before = torch.arange(tokens.shape[1]) < places[:, None]"
SEEN = "seen = torch.ones_like(scores[0]).tril()\n    seen[:, 0] = 0"
HEADS = "head_outputs(model, tokens, layer=0),"
MOVED = """einsum(
        model.run_with_cache(tokens)[1]["pattern", 0],
        model.W_E[tokens] + model.W_pos[: tokens.shape[1]], model.W_V[0], model.W_O[0],
        "b h q k, b k m, h m d, h d n -> b q h n"),"""
DIRECT = "direct = model.W_E[tokens] @ model.W_U"
PLACED = "direct = (model.W_E[tokens] + model.W_pos[: tokens.shape[1]]) @ model.W_U"
# (exercise, the changes to its solution, the name of the mistake)
HAD_NO_NAME = {
    "places + 1 given to all": (
        "source_token_effect",
        [(BEFORE, f"places = places + 1\n    {BEFORE}")],
        "everything one place later",
    ),
    "no mask and key 0": (
        "positional_share",
        [(SEEN, "seen = torch.ones_like(scores[0])")],
        "all keys counted",
    ),
    "positions in the stream": (
        "one_layer_path_terms",
        [(HEADS, MOVED), (DIRECT, PLACED)],
        "positions everywhere",
    ),
    "positions in the values": (
        "one_layer_path_terms",
        [(HEADS, MOVED)],
        "positions in the values",
    ),
}


@pytest.mark.parametrize("case", HAD_NO_NAME)
def test_mistakes_that_had_no_name(case):
    name, changes, mistake = HAD_NO_NAME[case]
    result = run_check(name, changed(chapter, name, *zip(*changes, strict=True)))
    assert (result.status, result.mistake) == ("failed", mistake)


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
