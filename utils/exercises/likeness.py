"""Whether an answer makes a known mistake: by what it returned or how it behaves."""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from utils.checks import Mistake
from utils.checks.expect import ATOL, RTOL
from utils.exercises.guard import TimeUp, guarded
from utils.exercises.snapshot import Snapshot, models_put_back
from utils.models.shelf import made_anew, round_of_check

__all__ = ["Call", "Failure", "copied", "makes_mistake"]

NUMBERS = (torch.Tensor, np.ndarray, np.generic, int, float, complex)
NUMERAL = re.compile(r"[-+]?\b(?:\d[\d.]*(?:e[-+]?\d+)?|nan|inf)j?\b")


@dataclass
class Call:
    """One call of the answer: what it was given and what came of it."""

    args: tuple
    kwargs: dict
    result: object = None
    error: BaseException | None = None


@dataclass(frozen=True)
class Failure:
    """An answer that did not pass: who judged it, in which calls, and the complaint."""

    answer: Callable
    judge: Callable
    calls: list[Call]
    error: BaseException


def copied(value):
    """Tensors and containers by value, everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(copied(item) for item in value)
    if type(value) is dict:
        return {key: copied(item) for key, item in value.items()}
    return value


def makes_mistake(mistake: Mistake, failure: Failure, seconds: float) -> bool:
    """Whether the answer failed as the mistake does, or the mistake's test says so.

    The judge is asked about the mistake as it was about the answer. Up to the failure
    both have to give the same in every call, within the tolerance of judges, and both
    have to fail there and with the same complaint, whatever numbers it holds. A mistake
    that is right so far, or that fails later, is not what is wrong with the answer.
    """
    if not failure.calls:
        return False
    return _fails_alike(mistake, failure, seconds) or _behaves_as(
        mistake, failure.answer, seconds
    )


def _fails_alike(mistake: Mistake, failure: Failure, seconds: float) -> bool:
    shadow = _Shadow(mistake.function, failure.calls)
    try:
        with round_of_check(), guarded(seconds):
            failure.judge(shadow)
    except (_Different, SystemExit, TimeUp):
        return False
    except Exception as error:
        done = shadow.made == len(failure.calls)
        return done and _complaint(error) == _complaint(failure.error)
    return False


class _Different(BaseException):
    """The mistake did something else than the answer; no judge may catch this."""


class _Shadow:
    """Calls a mistake in an answer's place for as long as both do the same."""

    def __init__(self, function: Callable, calls: list[Call]):
        self.function, self.calls, self.made = function, calls, 0

    def __call__(self, *args, **kwargs):
        if self.made == len(self.calls):
            raise _Different
        call = self.calls[self.made]
        self.made += 1
        snapshot = Snapshot((args, kwargs))
        try:
            with made_anew():
                result = copied(self.function(*args, **kwargs))
        except Exception as error:
            if call.error is None or _complaint(error) != _complaint(call.error):
                raise _Different from error
            raise
        finally:
            snapshot.restore()
        if call.error is not None or not _equal_results(result, call.result):
            raise _Different
        return result


def _complaint(error: BaseException) -> tuple[str, str]:
    """The kind of an exception, and its words without the numbers in them."""
    return type(error).__name__, NUMERAL.sub("#", str(error))


def _behaves_as(mistake: Mistake, answer: Callable, seconds: float) -> bool:
    if mistake.matches is None:
        return False
    names = getattr(answer, "__globals__", {})
    try:
        with models_put_back(), made_anew(), guarded(seconds, names):
            return bool(mistake.matches(answer))
    except (Exception, SystemExit, TimeUp):
        return False


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
