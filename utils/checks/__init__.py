"""What a check is made of, and where to find one by the exercise's name.

Each chapter has a folder here, `utils/checks/chN_x/`, and in it one file an exercise:
`direct_path.py` holds the judge, the hints and the known mistakes of `direct_path` and
offers them as `CHECK`. What several files of a chapter need stands in its `shared.py`,
its questions in `predictions.py` and, asked once more in another case, in `twins.py`,
what later chapters ask of it in `recall.py` and the model answers to "in your own
words" in `words.py`. `steps.py` has the steps of its longer exercises. The order of the
exercises is the notebook's.

Expected values are worked out here once more and not taken from the course's solutions:
an answer cannot be its own judge. So `utils.checks` never reaches `solutions`.
"""

import difflib
import importlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = [
    "Check",
    "Choice",
    "Mistake",
    "Prediction",
    "Recall",
    "Words",
    "Wrong",
    "chapter_of",
    "chapters",
    "exercises_of",
    "find_check",
    "find_prediction",
    "find_words",
    "is_exercise",
    "predictions_of",
    "steps_of",
    "recall_of",
    "stub_of",
    "twin_of",
    "words_of",
]

HERE = Path(__file__).parent
NOTEBOOKS = HERE.parents[1] / "chapters"
NO_EXERCISES = (
    "__init__",
    "shared",
    "predictions",
    "recall",
    "steps",
    "twins",
    "words",
)
EXERCISE_CELL = re.compile(r"\A@exercise\ndef (\w+)\(")


class Wrong(Exception):
    """Raised by a judge: one or two plain sentences for the learner."""


@dataclass(frozen=True)
class Mistake:
    """A wrong implementation, and the sentence that names the misconception.

    It is recognised when it gives what the answer gave on the same inputs. Where there
    are many ways to make the same mistake, another constant for instance, `matches`
    asks the answer itself: it calls it on inputs of its own and says whether it behaves
    so. `swap` is the mistake made in the course's solution: a piece of its code, and
    what stands there instead. Two mistakes of each exercise have one; their lines are
    the wrong ones among those to be put in order.
    """

    name: str
    says: str
    function: Callable
    matches: Callable[[Callable], bool] | None = None
    swap: tuple[str, str] | None = None


@dataclass(frozen=True)
class Check:
    """How one exercise is judged and explained.

    `judge(answer)` calls the answer on inputs of its own and raises Wrong when
    something is not right. It looks at type, shape, dtype, finiteness, invariants and
    values, in this order. `hints` go from direction to method to nearly the code, which
    is said of lines that were put in a wrong order twice.
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
class Step:
    """A part of an exercise that can hold before the whole does.

    `label` is what the docstring calls it. `holds(answer)` calls the answer on a simple
    case, in which later steps change nothing or can be looked past, and says whether
    this one is there; what it raises counts as no.
    """

    label: str
    holds: Callable[[Callable], bool]


@dataclass(frozen=True)
class Choice:
    """One answer to a prediction, and what to say to whoever chose it."""

    text: str
    explanation: str


@dataclass(frozen=True)
class Prediction:
    """A question asked before a reveal; `right` is the index of the right choice.

    A twin asks the idea of an earlier prediction, named by `of`, in another guise.
    """

    name: str
    question: str
    choices: tuple[Choice, ...]
    right: int
    of: str = ""


@dataclass(frozen=True)
class Recall(Prediction):
    """A question on one chapter that later chapters begin with.

    `about` names the exercises and predictions that rest on the same idea: whoever
    got those wrong is asked this first.
    """

    about: tuple[str, ...] = ()


@dataclass(frozen=True)
class Words:
    """A question to be answered in one's own words, and a model answer."""

    name: str
    question: str
    answer: str


@cache
def chapters() -> tuple[str, ...]:
    """The chapters that have checks, in order: "ch0_toolbox", ..."""
    return tuple(sorted(path.name for path in HERE.glob("ch*_*") if path.is_dir()))


@cache
def exercises_of(stem: str) -> tuple[str, ...]:
    """The names of a chapter's exercises, in the order of its notebook.

    Without the notebooks, as when the course is installed as a library, by name.
    """
    files = sorted(path.stem for path in (HERE / stem).glob("*.py"))
    names = [name for name in files if name not in NO_EXERCISES]
    known = [name for name in _stubs(stem) if name in names]
    return (*known, *(name for name in names if name not in known))


@cache
def predictions_of(stem: str) -> tuple[Prediction, ...]:
    """The predictions of a chapter, twins among them."""
    twins = _offered(stem, "twins", "TWINS")
    return (*_offered(stem, "predictions", "PREDICTIONS"), *twins)


def recall_of(stem: str, name: str = "RECALL") -> tuple[Recall, ...]:
    """What later chapters ask of a chapter; "BEFORE": what comes before all of them."""
    return _offered(stem, "recall", name)


def words_of(stem: str) -> tuple[Words, ...]:
    """What a chapter's sections ask for in one's own words, in their order."""
    return _offered(stem, "words", "WORDS")


def _offered(stem: str, file: str, name: str) -> tuple:
    """What one of a chapter's files offers under a name; nothing where it is not."""
    if not (HERE / stem / f"{file}.py").exists():
        return ()
    module = importlib.import_module(f"{__name__}.{stem}.{file}")
    return getattr(module, name, ())


@cache
def steps_of(name: str) -> tuple[Step, ...]:
    """The steps of an exercise, in order; none where it has one only."""
    stem = chapter_of(name) if is_exercise(name) else ""
    if not (HERE / stem / "steps.py").exists():
        return ()
    return importlib.import_module(f"{__name__}.{stem}.steps").STEPS.get(name, ())


def chapter_of(name: str) -> str:
    """The stem of the chapter an exercise or prediction belongs to."""
    for stem in chapters():
        if name in exercises_of(stem):
            return stem
    for stem in chapters():
        if any(prediction.name == name for prediction in predictions_of(stem)):
            return stem
    raise KeyError(f"No chapter has an exercise or prediction named {name!r}.")


def is_exercise(name: str) -> bool:
    """Whether the course has an exercise of this name."""
    return any(name in exercises_of(stem) for stem in chapters())


def stub_of(name: str) -> str | None:
    """The cell of an exercise as the notebook is shipped; None without the notebook."""
    stubs = [_stubs(stem) for stem in chapters() if name in exercises_of(stem)]
    return stubs[0].get(name) if stubs else None


def find_check(name: str) -> Check:
    """The check of an exercise. Raises KeyError with the names there are."""
    for stem in chapters():
        if name in exercises_of(stem):
            return importlib.import_module(f"{__name__}.{stem}.{name}").CHECK
    raise _unknown("exercise", name, [n for s in chapters() for n in exercises_of(s)])


def find_prediction(name: str) -> Prediction:
    """The prediction of this name. Raises KeyError with the names there are."""
    known = {p.name: p for stem in chapters() for p in predictions_of(stem)}
    if name not in known:
        raise _unknown("prediction", name, list(known))
    return known[name]


def twin_of(name: str) -> Prediction | None:
    """The prediction that asks the same idea again, if there is one."""
    asked = (p for stem in chapters() for p in predictions_of(stem))
    return next((prediction for prediction in asked if prediction.of == name), None)


def find_words(name: str) -> Words:
    """The question of this name. Raises KeyError with the names there are."""
    known = {one.name: one for stem in chapters() for one in words_of(stem)}
    if name not in known:
        raise _unknown("question for your own words", name, list(known))
    return known[name]


@cache
def _stubs(stem: str) -> dict[str, str]:
    """The sources of a notebook's exercise cells, in order, by the exercise's name."""
    try:
        text = (NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8")
        sources = ["".join(cell["source"]) for cell in json.loads(text)["cells"]]
    except (OSError, ValueError, KeyError):
        return {}
    found = [(EXERCISE_CELL.match(source), source) for source in sources]
    return {match[1]: source for match, source in found if match}


def _unknown(word: str, name: str, names: list[str]) -> KeyError:
    near = difflib.get_close_matches(name, names, 3)
    known = f"Near it: {', '.join(near)}" if near else f"There are: {', '.join(names)}"
    return KeyError(
        f"There is no {word} named {name!r}. {known}. Where your copy of a chapter is "
        "older than the course, lay a new one: python3 -m utils lab --fresh and the "
        "chapter's name, or on a hub the facilitator's link."
    )
