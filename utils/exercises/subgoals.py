"""How far an answer that did not pass has got: which steps of the exercise hold."""

import functools
from collections.abc import Callable

import torch

from utils.checks import Step
from utils.exercises.guard import TimeUp, guarded
from utils.exercises.snapshot import models_put_back
from utils.models.shelf import made_anew, round_of_check

__all__ = ["how_far", "listed", "steps_held"]


def steps_held(steps: tuple[Step, ...], answer: Callable, seconds: float) -> int:
    """How many of the steps hold, from the first on, up to one that does not."""
    for number, step in enumerate(steps):
        if not _holds(step, answer, seconds):
            return number
    return len(steps)


def _holds(step: Step, answer: Callable, seconds: float) -> bool:
    names = getattr(answer, "__globals__", {})
    try:
        with models_put_back(), round_of_check(), guarded(seconds, names):
            torch.manual_seed(0)
            return bool(step.holds(_apart(answer)))
    except (Exception, SystemExit, TimeUp):
        return False


def _apart(answer: Callable) -> Callable:
    """The answer, which makes its models anew."""

    @functools.wraps(answer)
    def called(*args, **kwargs):
        with made_anew():
            return answer(*args, **kwargs)

    return called


def listed(steps: tuple[Step, ...]) -> str:
    """The steps in one sentence, as the exercise's docstring gives them."""
    labels = [f"({number}) {step.label}" for number, step in enumerate(steps, 1)]
    return f"Steps: {', '.join(labels)}."


def how_far(steps: tuple[Step, ...], held: int) -> str:
    """A sentence on the step that is reached and the next one, from the count."""
    if held == len(steps):
        return (
            f"All {held} steps hold in a simple case. What is wrong shows in others "
            "only: another size, layer or head, or the ends of rows."
        )
    following = f"step {held + 1}, {steps[held].label}"
    if held == 0:
        return f"To begin with: {following}. It does not hold yet in a simple case."
    reached = f"step {held} of {len(steps)}, {steps[held - 1].label}"
    return f"You have reached {reached}. Next: {following}."
