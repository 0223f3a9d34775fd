"""Steps of exercises: in docstrings, held by solutions, told after a failure."""

import ast
import inspect
import textwrap

import pytest
import torch

from utils.checks import chapter_of, chapters, exercises_of, find_check, steps_of
from utils.exercises.engine import run_check
from utils.exercises.subgoals import listed, steps_held
from utils.models.handmade import random_model

NAMES = [name for stem in chapters() for name in exercises_of(stem)]
STEPPED = [name for name in NAMES if steps_of(name)]
MOST_STATEMENTS = 2  # of a solution without steps
# Longer ones in which one step does not show before the next.
WITHOUT = {
    "grouped_heads": "one repetition, given to two matrices",
    "previous_token_score": "one diagonal, gathered over layers",
    "replace_pattern": "one hook: the pattern is replaced or it is not",
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


def statements(name: str) -> int:
    """How many statements a solution has below its docstring, blocks included."""
    source = textwrap.dedent(inspect.getsource(reference(name)))
    every = list(ast.walk(ast.parse(source)))
    return sum(isinstance(node, ast.stmt) for node in every) - 2


def test_every_longer_exercise_has_steps_or_a_reason():
    longer = {name for name in NAMES if statements(name) > MOST_STATEMENTS}
    assert longer - set(STEPPED) == set(WITHOUT)


# --- half-done answers ----------------------------------------------------------------

# A piece of the solution's code and what stands there instead, by the steps it leaves.
HALF_DONE = [
    ("virtual_weight", 0, "ov_matrix(model, *from_head) @ ", ""),
    ("virtual_weight", 1, "[input]", '["k"]'),
    ("positional_share", 0, " * len(tokens)", ""),
    ("positional_share", 1, "(scores - mean) * seen", "scores * seen"),
    ("positional_share", 2, "seen[:, 0] = 0", "pass"),
    ("copying_top1", 0, "argmax", "argmin"),
    (
        "copying_top1",
        1,
        "(rows @ circuit.B).argmax(dim=1)",
        "(rows @ circuit.B).argmax(0)",
    ),
    ("value_weighted_pattern", 0, '["pattern", layer]', '["attn_scores", layer]'),
    ("value_weighted_pattern", 1, "sizes[:, None, :]", "sizes[:, :, None]"),
    ("copying_head_score", 0, "own / raised", "own / logits.abs()"),
    ("copying_head_score", 1, "logits - logits.mean(dim=-1, keepdim=True)", "logits"),
    ("copying_head_score", 2, ".clamp(min=0)", ""),
    ("previous_token_weights", 0, "model.W_Q[0]", "model.W_K[0]"),
    ("previous_token_weights", 1, " / model.cfg.d_head**0.5", ""),
    ("previous_token_weights", 2, ".triu(1)", ".triu(99)"),
    ("build_induction_model", 0, '"W_U": W_E.T', '"W_U": W_E'),
    ("build_induction_model", 1, "W_QK * d_model**0.5", "-W_QK"),
    (
        "build_induction_model",
        2,
        "build_matching_head(W_E, W_prev)",
        "build_matching_head(W_prev, W_E)",
    ),
    ("build_induction_model", 3, '"W_U": W_E.T', '"W_U": W_prev.T'),
    ("build_pointer_model", 0, '"W_pos": W_pos', '"W_pos": W_pos[1:]'),
    ("build_pointer_model", 1, "(W_E.T @ W_E - W_pos.T @ W_pos)", "W_pos.T @ W_pos"),
    ("build_pointer_model", 2, "W_pointer[:-1].T @ W_pos[1:]", "W_pointer.T @ W_pos"),
    ("build_pointer_model", 3, "10 * W_E.T @ W_E", "10 * W_pos.T @ W_pos"),
    ("copying_scores", 0, "eigvals(small)", "svdvals(small) + 0j"),
    ("copying_scores", 1, "eigenvalues.abs()", "eigenvalues.real.abs()"),
    ("copying_scores", 2, '["W_O"] @ around @', '["W_O"] @'),
    ("composition_graph", 0, " / sizes.clamp(min=1e-30)", ""),
    ("composition_graph", 1, "[kind]", '["k"]'),
    (
        "composition_graph",
        2,
        "layer + 1 :] = product",
        "layer + 1 : layer + 2] = product",
    ),
]


def changed(name: str, piece: str, instead: str):
    """The solution of an exercise with one piece of its code replaced."""
    source = textwrap.dedent(inspect.getsource(reference(name)))
    assert piece in source
    names = dict(vars(inspect.getmodule(reference(name))))
    exec(source.replace(piece, instead), names)
    return names[name]


@pytest.mark.parametrize(("name", "held", "piece", "instead"), HALF_DONE)
def test_a_half_done_answer_is_told_what_it_has(name, held, piece, instead):
    answer = changed(name, piece, instead)
    with torch.no_grad():
        assert steps_held(steps_of(name), answer, 2.0) == held


def test_every_step_of_the_longest_exercises_is_seen_to_be_the_next():
    for name in {row[0] for row in HALF_DONE}:
        held = [row[1] for row in HALF_DONE if row[0] == name]
        assert held == list(range(len(steps_of(name))))


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


def test_a_named_mistake_is_not_followed_by_steps_that_all_hold():
    mistakes = find_check("ablate_head").mistakes
    always_layer_0 = next(m for m in mistakes if m.name == "always layer 0")
    result = run_check("ablate_head", always_layer_0.function)
    assert (result.mistake, result.steps_held) == ("always layer 0", 2)
    assert not any("hold in a simple case" in note for note in result.notes)


def test_nothing_is_said_of_steps_where_there_are_none_or_all_are_there():
    assert run_check("attention_pattern", pattern_of(3)).steps_held is None

    def renamed(network, tokens, layer, head):
        return pattern_of(3)(network, tokens, layer, head)

    result = run_check("attention_pattern", renamed)
    assert result.mistake == "other signature" and result.steps_held is None
    assert run_check("direct_path", lambda model: model.W_E).steps_held is None


def test_an_answer_that_stops_at_once_is_told_its_error_alone():
    def attention_pattern(model, tokens, layer, head):
        return vocabulary[tokens]  # noqa: F821

    result = run_check("attention_pattern", attention_pattern)
    assert (result.status, result.steps_held) == ("error", 0)
    assert not any("To begin with" in note for note in result.notes)


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
