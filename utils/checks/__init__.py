"""What a check is made of, and where to find one by the exercise's name.

Each chapter has a file here, `utils/checks/chN_x.py`, with two tuples: `CHECKS`, in the
order of the chapter, and `PREDICTIONS`. `utils/exercises.py` runs them. A check never
sees the course's solutions: an answer cannot be its own judge.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

__all__ = [
    "Check",
    "Choice",
    "Mistake",
    "Prediction",
    "Wrong",
    "chapter_of",
    "find_check",
    "find_prediction",
    "load_chapters",
]


class Wrong(Exception):
    """Raised by a judge: one or two plain sentences for the learner."""


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation, and the sentence that names the misconception."""

    name: str
    says: str
    function: Callable


@dataclass(frozen=True)
class Check:
    """How one exercise is judged and explained.

    `judge(answer)` calls the answer on inputs of its own and raises Wrong when
    something is not right. It looks at type, shape, dtype, finiteness, invariants and
    values, in this order. `hints` go from direction to method to nearly the code.
    `passed` tells, after a pass, what was checked and why it works. `uses_random`
    marks exercises whose answer may draw random numbers.
    """

    name: str
    judge: Callable[[Callable], None]
    hints: tuple[str, str, str]
    mistakes: tuple[Mistake, ...]
    passed: str
    uses_random: bool = False


@dataclass(frozen=True)
class Choice:
    """One answer to a prediction, and what to say to whoever chose it."""

    text: str
    explanation: str


@dataclass(frozen=True)
class Prediction:
    """A question asked before a reveal; `right` is the index of the right choice."""

    name: str
    question: str
    choices: tuple[Choice, ...]
    right: int


@cache
def load_chapters() -> dict[str, object]:
    """The chapters that have checks: stem such as "ch2_zero_layer" -> module."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    return {
        name: importlib.import_module(f"{__name__}.{name}")
        for name in names
        if name.startswith("ch")
    }


def find_check(name: str) -> Check:
    """The check of an exercise. Raises KeyError with the names there are."""
    return _find("CHECKS", name, "exercise")


def find_prediction(name: str) -> Prediction:
    """The prediction of this name. Raises KeyError with the names there are."""
    return _find("PREDICTIONS", name, "prediction")


def chapter_of(name: str) -> str:
    """The stem of the chapter an exercise or prediction belongs to."""
    for stem, module in load_chapters().items():
        entries = (*module.CHECKS, *module.PREDICTIONS)
        if any(entry.name == name for entry in entries):
            return stem
    raise KeyError(f"No chapter has an exercise or prediction named {name!r}.")


def _find(kind: str, name: str, word: str):
    entries = {
        entry.name: entry
        for module in load_chapters().values()
        for entry in getattr(module, kind)
    }
    if name not in entries:
        raise KeyError(
            f"There is no {word} named {name!r}. There are: {', '.join(entries)}."
        )
    return entries[name]
