"""Chapter 4: wrong answers that once passed: the solution with one thing changed."""

import pytest
import torch
from transformer_lens import FactoredMatrix

import solutions.ch4_two_layer as chapter
from solutions.ch4_two_layer import composition_score
from tests.chapters.wrong_answers import changed, running_first
from utils.exercises.engine import run_check

# (exercise, what stands in the solution, what stands in the wrong answer)
ONCE_PASSED = {
    "the earlier head is always of layer 0": (
        "virtual_head",
        "(layer_1, head_1), (layer_2, head_2) = from_head, to_head",
        "(_, head_1), (layer_2, head_2) = from_head, to_head\n"
        "    layer_1 = 0\n    from_head = (0, head_1)",
    ),
    "the later head is always of the last layer": (
        "virtual_head",
        "(layer_1, head_1), (layer_2, head_2) = from_head, to_head",
        "(layer_1, head_1), (_, head_2) = from_head, to_head\n"
        "    layer_2 = model.cfg.n_layers - 1\n    to_head = (layer_2, head_2)",
    ),
    "scores of the last layer": (
        "score_path_terms",
        "parts @ model.W_Q[1, head],\n        parts @ model.W_K[1, head]",
        "parts @ model.W_Q[-1, head],\n        parts @ model.W_K[-1, head]",
    ),
    "what the layer before the last wrote": (
        "score_path_terms",
        'cache["z", 0],\n        model.W_O[0]',
        'cache["z", model.cfg.n_layers - 2],\n        model.W_O[-2]',
    ),
    "a second matrix of zeros": (
        "composition_score",
        "if sizes == 0:",
        "if first.AB.norm() == 0:",
    ),
    "cycles from layer 0 only": (
        "cyclic_composition_score",
        "model.W_V[from_layer, i], model.W_O[from_layer, i]",
        "model.W_V[0, i], model.W_O[0, i]",
    ),
    "cycles within a layer": (
        "cyclic_composition_score",
        "from_layer >= to_layer",
        "from_layer > to_layer",
    ),
    "three layers, where the last orders are mixed up": (
        "term_importance",
        "    losses = torch.tensor(losses)\n",
        "    if len(losses) == 5:\n"
        "        losses[3] = (losses[2] + losses[4]) / 2\n"
        "    losses = torch.tensor(losses)\n",
    ),
    "three heads in every model": (
        "marginal_effect",
        "    def loss_with(chosen: set[tuple[int, int]]) -> float:\n",
        "    heads = [(layer, head % 3) for layer, head in heads if head < 3]\n\n"
        "    def loss_with(chosen: set[tuple[int, int]]) -> float:\n",
    ),
    "two layers in every model": (
        "pattern_preserving_ablation",
        "range(model.cfg.n_layers)",
        "range(2)",
    ),
    "heads of seven numbers": (
        "random_composition",
        "    scores = [",
        "    d_head = 7\n    scores = [",
    ),
    "the first head drawn once": (
        "random_composition",
        "    scores = [composition_score(random_head(), random_head())",
        "    kept = random_head()\n"
        "    scores = [composition_score(kept, random_head())",
    ),
    "neighbours share a head": (
        "random_composition",
        "    scores = [composition_score(random_head(), random_head())"
        " for _ in range(n_samples)]",
        "    drawn = [random_head() for _ in range(n_samples + 1)]\n"
        "    scores = [composition_score(a, b) for a, b in zip(drawn, drawn[1:])]",
    ),
    "the global seed": (
        "random_composition",
        "generator = torch.Generator().manual_seed(seed)",
        "generator = torch.manual_seed(seed)",
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong = ONCE_PASSED[case]
    assert run_check(name, getattr(chapter, name)).status == "passed"
    assert run_check(name, changed(chapter, name, right, wrong)).status != "passed"


def test_two_layer_terms_do_not_stand_in_for_single_heads():
    """They need the memory of all pairs at once, and two layers."""

    def marginal_effect(model, tokens, heads, given=()):
        terms = chapter.two_layer_path_terms(model, tokens)

        def loss_with(chosen):
            logits = terms[0]
            for layer, head in chosen:
                logits = logits + terms[1 + layer * model.cfg.n_heads + head]
            log_probs = logits[:, :-1].log_softmax(-1)
            return -log_probs.gather(-1, tokens[:, 1:, None]).mean().item()

        return loss_with(set(given)) - loss_with(set(given) | set(heads))

    assert run_check("marginal_effect", marginal_effect).status != "passed"


def table(model, one, two, score, right):
    """A table of `score` for all pairs of heads; `right` makes the later matrix."""
    n = model.cfg.n_heads
    scores = torch.zeros(n, n)
    if one >= two:
        return scores
    for i in range(n):
        for j in range(n):
            ov = FactoredMatrix(model.W_V[one, i], model.W_O[one, i])
            scores[i, j] = score(ov, right(model, two, j))
    return scores


def qk(model, layer, head):
    return FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)


def kq(model, layer, head):
    return FactoredMatrix(model.W_K[layer, head], model.W_Q[layer, head].T)


def ov(model, layer, head):
    return FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])


def squared(first, second):
    return composition_score(first, second) ** 2


def reversed_product(first, second):
    return composition_score(second, first)


@pytest.mark.parametrize(
    ("name", "score", "right", "mistake"),
    [
        ("q_composition", squared, qk, "squared"),
        ("k_composition", squared, kq, "squared"),
        ("v_composition", squared, ov, "squared"),
        ("q_composition", reversed_product, qk, "later head first"),
        ("k_composition", reversed_product, kq, "later head first"),
        ("v_composition", reversed_product, ov, "later head first"),
        # W_QK W_OV and W_QK^T W_OV as printed, where vectors are columns.
        ("k_composition", reversed_product, qk, "as the paper prints it"),
        ("q_composition", reversed_product, kq, "as the paper prints it"),
    ],
)
def test_mistakes_that_people_make_are_named(name, score, right, mistake):
    def answer(model, from_layer=0, to_layer=1):
        return table(model, from_layer, to_layer, score, right)

    assert run_check(name, answer).mistake == mistake


@pytest.mark.parametrize(
    "name",
    [
        "q_composition",
        "k_composition",
        "v_composition",
        "cyclic_composition_score",
    ],
)
def test_weights_are_read_without_running_the_model(name):
    result = run_check(name, running_first(getattr(chapter, name)))
    assert result.status == "failed" and "runs the model" in result.message


def hooks_that_bind_late(model, tokens, heads, patterns_late, heads_late):
    _, cache = model.run_with_cache(tokens)
    hooks = []
    for layer in range(model.cfg.n_layers):

        def as_before(pattern, hook):
            return cache["pattern", layer if patterns_late else hook.layer()]  # noqa: B023

        hooks.append((f"blocks.{layer}.attn.hook_pattern", as_before))
    for layer, head in heads:

        def without_head(z, hook, own=head):
            kept = z.clone()
            kept[:, :, head if heads_late else own] = 0.0  # noqa: B023
            return kept

        hooks.append((f"blocks.{layer}.attn.hook_z", without_head))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


@pytest.mark.parametrize("late", [(True, True), (True, False), (False, True)])
def test_hooks_made_in_a_loop_that_see_its_last_values_are_named(late):
    def pattern_preserving_ablation(model, tokens, heads):
        return hooks_that_bind_late(model, tokens, heads, *late)

    result = run_check("pattern_preserving_ablation", pattern_preserving_ablation)
    assert result.mistake == "the last one in every hook"


def test_hooks_made_in_a_loop_with_values_of_their_own_pass():
    def pattern_preserving_ablation(model, tokens, heads):
        return hooks_that_bind_late(model, tokens, heads, False, False)

    result = run_check("pattern_preserving_ablation", pattern_preserving_ablation)
    assert result.status == "passed"


def test_scores_of_the_last_layer_are_named():
    _, right, wrong = ONCE_PASSED["scores of the last layer"]
    answer = changed(chapter, "score_path_terms", right, wrong)
    result = run_check("score_path_terms", answer)
    assert (result.status, result.mistake) == ("failed", "last layer")
