"""Whether an answer makes a known mistake: by what it returned or how it behaves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from utils.checks import Mistake
from utils.checks.expect import ATOL, RTOL
from utils.exercises.guard import Snapshot, TimeUp, guarded
from utils.models.attention_only import live_models

__all__ = ["Call", "copied", "makes_mistake"]

NUMBERS = (torch.Tensor, np.ndarray, np.generic, int, float, complex)


@dataclass
class Call:
    """One call of the answer: what it was given and what came of it."""

    args: tuple
    kwargs: dict
    result: object = None
    error: BaseException | None = None


def copied(value):
    """Tensors and containers by value, everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return value


def makes_mistake(
    mistake: Mistake, answer: Callable, calls: list[Call], seconds: float
) -> bool:
    """Whether the mistake does the same on every call, or its own test says so.

    Two results count as the same within the tolerances that judges use.
    """
    if not calls:
        return False
    same = all(_same_outcome(mistake, call, seconds) for call in calls)
    return same or _behaves_as(mistake, answer, seconds)


def _behaves_as(mistake: Mistake, answer: Callable, seconds: float) -> bool:
    if mistake.matches is None:
        return False
    snapshot = Snapshot(tuple(live_models()))
    try:
        with guarded(seconds, getattr(answer, "__globals__", {})):
            return bool(mistake.matches(answer))
    except (Exception, SystemExit, TimeUp):
        return False
    finally:
        snapshot.restore()


def _same_outcome(mistake: Mistake, call: Call, seconds: float) -> bool:
    """Whether the mistake gives the same result, or fails in the same way."""
    snapshot = Snapshot((call.args, call.kwargs))
    try:
        with guarded(seconds):
            result = mistake.function(*copied(call.args), **copied(call.kwargs))
    except (Exception, TimeUp) as error:
        ours = call.error
        return type(ours) is type(error) and str(ours) == str(error)
    finally:
        snapshot.restore()
    return call.error is None and _equal_results(result, call.result)


def _equal_results(one, two) -> bool:
    """Whether two results are the same up to rounding; odd objects are different."""
    try:
        return _equal(one, two)
    except Exception:
        return False


def _equal(one, two) -> bool:
    one, two = (getattr(value, "AB", value) for value in (one, two))
    if isinstance(one, list | tuple) and isinstance(two, list | tuple):
        same = [_equal(a, b) for a, b in zip(one, two, strict=False)]
        return len(one) == len(two) and all(same)
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_equal(one[k], two[k]) for k in one)
    if isinstance(one, NUMBERS) and isinstance(two, NUMBERS):
        one, two = torch.as_tensor(one), torch.as_tensor(two)
        if one.shape != two.shape or one.is_complex() != two.is_complex():
            return False
        double = torch.complex128 if one.is_complex() else torch.float64
        one, two = one.to(double), two.to(double)
        return torch.allclose(one, two, rtol=RTOL, atol=ATOL, equal_nan=True)
    return type(one) is type(two) and bool(one == two)
