"""Wrong answers that once passed a check, one file a chapter."""

import inspect
from collections.abc import Callable
from types import ModuleType

import torch

__all__ = ["changed", "running_first"]


def changed(chapter: ModuleType, name: str, right: str, wrong: str):
    """The solution of an exercise with one piece of its source replaced."""
    source = inspect.getsource(getattr(chapter, name))
    assert source.count(right) == 1, f"{name} no longer holds {right!r} once"
    namespace = dict(vars(chapter))
    exec(compile(source.replace(right, wrong), f"<{name}>", "exec"), namespace)
    return namespace[name]


def running_first(solution: Callable) -> Callable:
    """The solution of an exercise that needs no run of the model, after a run."""

    def answer(model, *args, **kwargs):
        model(torch.tensor([[0, 1]]))
        return solution(model, *args, **kwargs)

    return answer
