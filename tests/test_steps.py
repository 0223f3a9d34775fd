"""Steps of exercises: in docstrings, held by solutions, told after a failure."""

import inspect

import pytest
import torch

from utils.checks import chapter_of, chapters, exercises_of, find_check, steps_of
from utils.exercises.engine import run_check
from utils.exercises.subgoals import listed, steps_held
from utils.models.handmade import random_model

NAMES = [name for stem in chapters() for name in exercises_of(stem)]
STEPPED = [name for name in NAMES if steps_of(name)]
# Several steps, and no simple case in which one shows without the next.
WITHOUT = {
    "virtual_weight",
    "positional_share",
    "copying_top1",
    "value_weighted_pattern",
    "copying_head_score",
    "previous_token_weights",
    "build_induction_model",
    "build_pointer_model",
    "copying_scores",
    "composition_graph",
}


def reference(name):
    module = __import__(f"solutions.{chapter_of(name)}", fromlist=[name])
    return getattr(module, name)


@pytest.mark.parametrize("name", NAMES)
def test_the_docstring_lists_the_steps_of_the_check(name):
    words = " ".join(inspect.getdoc(reference(name)).split("Example:")[0].split())
    steps = steps_of(name)
    assert ("Steps: (1)" in words) == bool(steps)
    assert not steps or words.endswith(listed(steps))
    assert len(steps) != 1 and all(len(step.label) < 50 for step in steps)


@pytest.mark.parametrize("name", STEPPED)
def test_the_solution_has_every_step_and_no_answer_at_all_has_none(name):
    steps = steps_of(name)
    with torch.no_grad():
        assert [step.label for step in steps if not step.holds(reference(name))] == []
        assert steps_held(steps, lambda *args, **kwargs: None, 1.0) == 0
        assert steps_held(steps, lambda *args, **kwargs: torch.ones(3), 1.0) == 0


@pytest.mark.slow  # all together
@pytest.mark.parametrize("name", STEPPED)
def test_mistakes_get_differently_far(name):
    """No step is there for nothing: some mistake stops before it."""
    steps = steps_of(name)
    with torch.no_grad():
        reached = {
            steps_held(steps, mistake.function, 2.0)
            for mistake in find_check(name).mistakes
        }
    assert min(reached) < len(steps)


def test_two_thirds_of_the_exercises_with_several_steps_have_them():
    assert not WITHOUT & set(STEPPED)
    assert len(STEPPED) >= 2 * len(WITHOUT)


# --- how far an answer got ------------------------------------------------------------


def pattern_of(step: int):
    """An answer to `attention_pattern` that is done up to a step."""

    def attention_pattern(model, tokens, layer, head):
        _, cache = model.run_with_cache(tokens)
        read = cache["resid_pre", layer] + model.W_pos[: tokens.shape[1]]
        queries, keys = read @ model.W_Q[layer, head], read @ model.W_K[layer, head]
        if step == 0:
            return keys @ queries.mT + cache["resid_pre", layer].sum()
        scores = queries @ keys.mT
        if step == 1:
            return scores.softmax(-1)
        scores = scores / model.cfg.d_head**0.5
        if step == 2:
            return scores.softmax(-1)
        later = torch.ones_like(scores[0]).triu(1).bool()
        return scores.masked_fill(later, -torch.inf).softmax(-1)

    return attention_pattern


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_failed_answer_is_told_the_step_it_has_reached(step):
    result = run_check("attention_pattern", pattern_of(step))
    assert result.status == "failed" and result.steps_held == step
    words = {
        0: "To begin with: step 1, queries and keys.",
        1: "reached step 1 of 3, queries and keys. Next: step 2, the scaled scores.",
        2: "Next: step 3, the mask and the softmax.",
    }[step]
    assert words in result.notes[-1]


def test_an_answer_that_is_right_in_the_simple_case_is_told_where_to_look():
    def attention_pattern(model, tokens, layer, head):
        return pattern_of(3)(model, tokens, 1, head)

    result = run_check("attention_pattern", attention_pattern)
    assert (result.status, result.steps_held) == ("failed", 3)
    assert "All 3 steps hold in a simple case" in result.notes[-1]


def test_nothing_is_said_of_steps_where_there_are_none_or_all_are_there():
    assert run_check("attention_pattern", pattern_of(3)).steps_held is None

    def renamed(network, tokens, layer, head):
        return pattern_of(3)(network, tokens, layer, head)

    result = run_check("attention_pattern", renamed)
    assert result.mistake == "other signature" and result.steps_held is None
    assert run_check("direct_path", lambda model: model.W_E).steps_held is None


def test_steps_survive_what_an_answer_does():
    model = random_model(1)

    def breaks(*_, **__):
        raise SystemExit

    def forever(*_, **__):
        while True:
            pass

    steps = steps_of("attention_pattern")
    assert steps_held(steps, breaks, 0.2) == steps_held(steps, forever, 0.2) == 0
    assert model(torch.tensor([[0, 1]])).shape == (1, 2, 13)
