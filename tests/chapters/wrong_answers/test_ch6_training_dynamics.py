"""Chapter 6: wrong answers that once passed: the solution with one thing changed."""

import pytest

import solutions.ch6_training_dynamics as chapter
from tests.chapters.wrong_answers import changed
from utils.exercises.engine import run_check

# (exercise, what stands in the solution, what stands in the wrong answer)
ONCE_PASSED = {
    "windows may hang over the end of the run": (
        "phase_change_step",
        "steps[steps + length <= steps[-1]]\n    ends = starts + length",
        "steps\n    ends = (starts + length).clamp(max=steps[-1])",
    ),
    "the window that ends with the run is left out": (
        "phase_change_step",
        "steps + length <= steps[-1]",
        "steps + length < steps[-1]",
    ),
    "the last window is shortened": (
        "phase_change_step",
        "steps[steps + length <= steps[-1]]\n    ends = starts + length",
        "steps[:-1]\n    ends = (starts + length).clamp(max=steps[-1])",
    ),
    "bins that hold their upper edge and not their lower": (
        "loss_by_log_position",
        "(n_bins * logs / math.log(n + 1) + 1e-9).long()",
        "(n_bins * logs / math.log(n + 1) - 1e-9).ceil().long() - 1",
    ),
    "one row loses its axis": (
        "loss_by_log_position",
        "losses[:, bins == k]",
        "losses.squeeze()[:, bins == k]",
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong = ONCE_PASSED[case]
    assert run_check(name, getattr(chapter, name)).status == "passed"
    assert run_check(name, changed(chapter, name, right, wrong)).status != "passed"
