"""The exercise engine: check an answer, name the mistake, help, remember.

Learners use `@exercise`, `hint`, `solution`, `predict` and `progress`; tests and other
programs use `run_check`. What makes an answer right stands in `utils/checks`.
"""

import datetime
import functools
import importlib
import inspect
import os
import string
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from utils.checks import (
    Check,
    Mistake,
    Prediction,
    Wrong,
    chapter_of,
    chapters,
    exercises_of,
    find_check,
    find_prediction,
)
from utils.exercises import cards
from utils.exercises.cards import Card
from utils.exercises.guard import Snapshot, TimeUp, guarded
from utils.exercises.state import read_state, update_state
from utils.models.attention_only import live_models

__all__ = [
    "CheckResult",
    "ExerciseFailed",
    "exercise",
    "hint",
    "needs",
    "predict",
    "progress",
    "run_check",
    "solution",
]

TIME_LIMIT = 10.0  # seconds; a check of a right answer takes under 2
NUMBERS = (torch.Tensor, np.ndarray, np.generic, int, float, complex)
HINT_NAMES = ("direction", "method", "nearly the code")


@dataclass
class CheckResult:
    """What a check found.

    `status` is "passed", "not attempted", "failed" or "error"; `message` is plain text
    and complete on its own; `mistake` is the name of the recognised mistake or None.
    """

    name: str
    status: str
    message: str
    mistake: str | None = None
    printed: str = ""
    notes: list[str] = field(default_factory=list)


class ExerciseFailed(AssertionError):
    """Raised instead of a card when `COURSE_STRICT=1` and an answer did not pass."""


# --- checking -----------------------------------------------------------------------


def exercise(function: Callable) -> Callable:
    """Check the decorated answer, show a card, and hand on something that works.

    After a pass the name stays the learner's function. Otherwise it becomes the
    course's solution, with the learner's own at `.yours`, so that later cells run.
    With `COURSE_STRICT=1` an answer that does not pass raises ExerciseFailed.
    """
    name = getattr(function, "__name__", "")
    result = run_check(name, function)
    if result.status != "passed" and os.environ.get("COURSE_STRICT") == "1":
        raise ExerciseFailed(f"{name}: {result.status}. {result.message}")
    cards.show(_result_card(result))
    if result.status == "passed":
        _remember_pass(name)
        return function
    cards.show_buttons(
        {
            "Next hint": lambda: _hint_card(name),
            "Show the solution": lambda: _solution_card(name),
        }
    )
    return _carried_on(name, function)


def run_check(
    name: str, function: Callable, time_limit: float = TIME_LIMIT
) -> CheckResult:
    """Check an answer without a notebook. Raises KeyError for an unknown exercise."""
    check = find_check(name)
    if not callable(function):
        kind = type(function).__name__
        text = f"A function is checked here, and `{name}` is not one: {kind}."
        return CheckResult(name, "error", text)
    recorder = _Recorder(function)
    snapshot = Snapshot(tuple(live_models()))
    printed = None
    try:
        with (
            _bound_to_answer(name, function),
            guarded(time_limit, _globals_of(function)) as printed,
        ):
            check.judge(recorder)
        verdict = CheckResult(name, "passed", check.passed)
    except (Exception, SystemExit, TimeUp) as error:
        verdict = _explain(check, recorder, error, time_limit)
    except BaseException:  # the stop button: put everything back, then stop
        snapshot.restore()
        raise
    snapshot.restore()
    if verdict.status == "passed":
        verdict = _with_signature(verdict, function)
    verdict = _with_side_effects(check, verdict, recorder, snapshot)
    if verdict.status in ("failed", "error") and verdict.mistake is None:
        verdict = _with_mistake(check, verdict, recorder)
    verdict.printed = printed.text if printed else ""
    return verdict


@dataclass
class _Call:
    """One call of the answer: what it was given and what came of it."""

    args: tuple
    kwargs: dict
    result: object = None
    error: BaseException | None = None


class _Recorder:
    """Stands in for the answer while it is judged and writes down every call."""

    def __init__(self, function: Callable):
        self.function = function
        self.calls: list[_Call] = []
        self.harm: list[str] = []
        self.notes: list[str] = []

    def __call__(self, *args, **kwargs):
        call = _Call(_copied(args), _copied(kwargs))
        self.calls.append(call)
        snapshot = Snapshot((args, kwargs))
        try:
            call.result = _copied(self.function(*args, **kwargs))
        except BaseException as error:
            call.error = error
            raise
        finally:
            snapshot.restore()
            self.harm += [word for word in snapshot.harm if word not in self.harm]
            self.notes += [word for word in snapshot.notes if word not in self.notes]
        return call.result


def _copied(value):
    """Tensors and containers by value, everything else as it is."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    if type(value) is dict:
        return {key: _copied(item) for key, item in value.items()}
    return value


def _globals_of(function: Callable) -> dict:
    return getattr(inspect.unwrap(function), "__globals__", {})


class _bound_to_answer:
    """While an answer is checked, its name means the answer and not the solution."""

    def __init__(self, name: str, function: Callable):
        self.name, self.function = name, function
        self.namespace = _globals_of(function)

    def __enter__(self):
        self.had = self.name in self.namespace
        self.before = self.namespace.get(self.name)
        self.namespace[self.name] = self.function

    def __exit__(self, *_):
        if self.had:
            self.namespace[self.name] = self.before
        else:
            self.namespace.pop(self.name, None)


def _with_signature(verdict: CheckResult, function: Callable) -> CheckResult:
    """A pass only with the parameters of the stub: later cells call by name.

    Names, order and defaults count, annotations do not. More parameters may follow if
    they have defaults, and `*args` or `**kwargs` stand for any.
    """
    wanted = inspect.signature(_reference(verdict.name)).parameters.values()
    try:
        given = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables cannot tell
        return verdict
    open_ended = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    if any(parameter.kind in open_ended for parameter in given):
        return verdict
    fault = None
    for number, want in enumerate(wanted):
        if number >= len(given) or given[number].name != want.name:
            fault = f"Parameter {number + 1} should be called `{want.name}`."
        elif not _same_default(given[number].default, want.default):
            fault = f"`{want.name}` should {_default_words(want.default)}."
        if fault:
            break
    else:
        if any(p.default is p.empty for p in given[len(wanted) :]):
            fault = f"`{given[-1].name}` is one parameter more than the stub has."
    if fault is None:
        return verdict
    text = (
        f"It computes the right thing, but not under the stub's first line. {fault} "
        "Later cells call the function by these names and rely on the defaults."
    )
    return CheckResult(verdict.name, "failed", text, "other signature")


def _same_default(one, two) -> bool:
    return one is two or (type(one) is type(two) and one == two)


def _default_words(default) -> str:
    if default is inspect.Parameter.empty:
        return "have no default"
    return f"have the default {default!r}"


def _explain(
    check: Check, recorder: _Recorder, error: BaseException, time_limit: float
) -> CheckResult:
    """The verdict on an answer whose check ended with an exception."""
    name = check.name
    if isinstance(error, Wrong):
        return CheckResult(name, "failed", str(error))
    if isinstance(error, TimeUp):
        text = (
            f"Your code was still running after {time_limit:g} seconds, so it was "
            "stopped. Look for a loop that never ends."
        )
        return CheckResult(name, "error", text)
    from_answer = bool(recorder.calls) and recorder.calls[-1].error is error
    if not from_answer:
        kind = type(recorder.calls[-1].result).__name__ if recorder.calls else "nothing"
        text = f"The check could not use what your function returned: {kind}."
        return CheckResult(name, "failed", text)
    if isinstance(error, NotImplementedError) and _raised_by(error, recorder.function):
        text = (
            f"`{name}` is not written yet. Replace the line "
            "`raise NotImplementedError` by your own code and run the cell again."
        )
        return CheckResult(name, "not attempted", text)
    return CheckResult(name, "error", _error_text(name, error, recorder.function))


def _raised_by(error: BaseException, function: Callable) -> bool:
    """Whether the answer's own line raised this, and not something it called."""
    frames = list(traceback.walk_tb(error.__traceback__))
    code = getattr(inspect.unwrap(function), "__code__", None)
    return bool(frames) and code is not None and frames[-1][0].f_code is code


def _error_text(name: str, error: BaseException, function: Callable) -> str:
    if isinstance(error, SystemExit):
        return (
            "Your code asked Python to quit. Inside an exercise a function has to "
            "return its result instead."
        )
    if isinstance(error, RecursionError):
        return (
            f"Your code calls itself without end. While it is checked, `{name}` "
            "means your own function, so it cannot call itself for the answer."
        )
    where = _line_of(error, function)
    text = f"Your code stopped{where} with {type(error).__name__}: {error}"
    if isinstance(error, NameError):
        text += (
            "\nA function or value of your own has to be defined above the decorated "
            "function, in the same cell or an earlier one."
        )
    return text


def _line_of(error: BaseException, function: Callable) -> str:
    """The last line of the learner's own code that the error passed through."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if code is not None and frame.filename == code.co_filename
    ]
    return f" in the line `{own[-1].line}`" if own and own[-1].line else ""


def _with_side_effects(
    check: Check, verdict: CheckResult, recorder: _Recorder, snapshot: Snapshot
) -> CheckResult:
    """Turn a pass into a failure if something was changed in place; note the rest."""
    harm = list(dict.fromkeys(recorder.harm + snapshot.harm))
    # Only what the answer's own calls changed: judges draw random numbers too.
    notes = [
        f"Your function changed {what}, which was put back."
        for what in recorder.notes
        if not (check.uses_random and what == "the random state")
    ]
    if harm:
        what = " and ".join(harm)
        said = (
            f"Your function changed {what} while it ran. What was changed has been put "
            "back. Work on a copy, or use an operation that returns a new tensor."
        )
        if verdict.status == "passed":
            verdict = CheckResult(check.name, "failed", said, "changes its input")
        else:
            verdict.message += f"\n{said}"
    verdict.notes = notes
    return verdict


def _with_mistake(
    check: Check, verdict: CheckResult, recorder: _Recorder
) -> CheckResult:
    """Replace the complaint by a known mistake's sentence, if one does the same."""
    for mistake in check.mistakes:
        if recorder.calls and (
            _same_everywhere(mistake, recorder.calls)
            or _behaves_as(mistake, recorder.function)
        ):
            verdict.status = "failed"
            verdict.mistake = mistake.name
            verdict.message = mistake.says
            break
    return verdict


def _same_everywhere(mistake: Mistake, calls: list[_Call]) -> bool:
    return all(_same_outcome(mistake, call) for call in calls)


def _behaves_as(mistake: Mistake, answer: Callable) -> bool:
    """Whether the mistake's own test says that the answer makes it."""
    if mistake.matches is None:
        return False
    snapshot = Snapshot(tuple(live_models()))
    try:
        with guarded(TIME_LIMIT, _globals_of(answer)):
            return bool(mistake.matches(answer))
    except (Exception, SystemExit, TimeUp):
        return False
    finally:
        snapshot.restore()


def _same_outcome(mistake: Mistake, call: _Call) -> bool:
    """Whether the mistake gives the same result, or fails in the same way."""
    snapshot = Snapshot((call.args, call.kwargs))
    try:
        with guarded(TIME_LIMIT):
            result = mistake.function(*_copied(call.args), **_copied(call.kwargs))
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
        return torch.allclose(one, two, rtol=1e-4, atol=1e-6, equal_nan=True)
    return type(one) is type(two) and bool(one == two)


def needs(*names: str) -> None:
    """Bring exercises of earlier sections under their names, for a section to begin.

    Whatever this notebook already has under a name stays: your own answer, or the
    course's solution in its place. The rest is the course's solution. Raises KeyError
    for a name that is no exercise.
    """
    namespace = sys._getframe(1).f_globals
    for name in names:
        find_check(name)
        if not callable(namespace.get(name)):
            namespace[name] = _reference(name)


def _carried_on(name: str, function: Callable) -> Callable:
    """The course's solution under the learner's name, the learner's at `.yours`."""
    reference = _reference(name)

    @functools.wraps(reference)
    def carried(*args, **kwargs):
        return reference(*args, **kwargs)

    carried.yours = function
    return carried


def _reference(name: str) -> Callable:
    """The course's solution. Looked up late, to show it or to carry on with it."""
    module = importlib.import_module(f"solutions.{chapter_of(name)}")
    return getattr(module, name)


# --- cards --------------------------------------------------------------------------


def _result_card(result: CheckResult) -> Card:
    name = result.name
    titles = {
        "passed": f"✓ {name}: passed",
        "not attempted": f"○ {name}: not attempted",
        "failed": f"✗ {name}: failed",
        "error": f"! {name}: error in your code",
    }
    tones = {"passed": "good", "not attempted": "open", "failed": "bad", "error": "bad"}
    paragraphs = result.message.split("\n") + result.notes
    if result.status != "passed":
        paragraphs.append(
            f"Until it passes, `{name}` is the course's solution, so that the cells "
            f'below work. Your own stays at `{name}.yours`. `hint("{name}")` helps.'
        )
    return Card(
        titles[result.status],
        paragraphs,
        tone=tones[result.status],
        printed=result.printed,
    )


def hint(name: str, number: int | None = None) -> None:
    """Show the next hint of an exercise, or hint 1, 2 or 3."""
    cards.show(_hint_card(name, number))


def _hint_card(name: str, number: int | None = None) -> Card:
    check = find_check(name)
    if number is None:
        number = min(read_state()["hints"].get(name, 0) + 1, len(check.hints))
    if not 1 <= number <= len(check.hints):
        raise ValueError(f"Hints are numbered 1 to {len(check.hints)}.")

    def count(state: dict) -> None:
        state["hints"][name] = max(state["hints"].get(name, 0), number)

    update_state(count)
    title = f"{name}, hint {number} of {len(check.hints)}: {HINT_NAMES[number - 1]}"
    more = []
    if number == len(check.hints):
        more = [f'That was the last one. `solution("{name}")` shows the solution.']
    return Card(title, [check.hints[number - 1], *more], tone="open")


def solution(name: str) -> None:
    """Show the course's solution of an exercise, with its file and line."""
    cards.show(_solution_card(name))


def _solution_card(name: str) -> Card:
    find_check(name)  # an unknown name gets the list of names
    reference = _reference(name)
    lines, first = inspect.getsourcelines(reference)
    where = f"solutions/{chapter_of(name)}.py, line {first}"
    return Card(f"{name}: solution", [where], code="".join(lines).rstrip())


# --- predictions --------------------------------------------------------------------


def predict(name: str, choice: str | None = None) -> None:
    """Ask a question before its answer is shown, or answer it with a letter.

    The first answer is kept; every wrong choice gets its own explanation.
    """
    prediction = find_prediction(name)
    letters = string.ascii_lowercase[: len(prediction.choices)]
    before = _first_vote(read_state(), prediction)
    if choice is not None:
        if choice not in tuple(letters):
            raise ValueError(f"Answer with one of the letters {', '.join(letters)}.")
        cards.show(_answer_card(name, letters.index(choice)))
        return
    options = [
        f"{letter}) {option.text}"
        for letter, option in zip(letters, prediction.choices, strict=True)
    ]
    ask = [prediction.question]
    if not cards.in_notebook():
        ask += [*options, f'Answer with predict("{name}", "a").']
    cards.show(Card("Your prediction", ask, tone="open"))
    if cards.in_notebook():
        cards.show_choices(options, before, lambda index: _answer_card(name, index))
    if before is not None:
        cards.show(_answer_card(name, before))


def _first_vote(state: dict, prediction: Prediction) -> int | None:
    """The index of the first choice; None also for one the question had once."""
    index = state["predictions"].get(prediction.name)
    return index if index is not None and index < len(prediction.choices) else None


def _answer_card(name: str, index: int) -> Card:
    prediction = find_prediction(name)

    def remember(state: dict) -> None:
        if _first_vote(state, prediction) is None:
            state["predictions"][name] = index

    update_state(remember)
    chosen = prediction.choices[index]
    paragraphs = [chosen.explanation]
    if index == prediction.right:
        return Card("✓ Yes", paragraphs, tone="good")
    right = prediction.choices[prediction.right]
    paragraphs.append(f"The answer is: {right.text} {right.explanation}")
    return Card(f"Not quite: {chosen.text}", paragraphs, tone="bad")


# --- progress -----------------------------------------------------------------------


def _remember_pass(name: str) -> None:
    today = datetime.date.today().isoformat()
    update_state(lambda state: state["passed"].setdefault(name, today))


def progress(chapter: str = "") -> None:
    """Show which exercises are done, of one chapter such as "ch2" or of all.

    A pass is never taken back. Raises ValueError for a chapter that is not there.
    """
    passed = read_state()["passed"]
    chosen = [stem for stem in chapters() if stem.startswith(chapter)]
    if not chosen:
        raise ValueError(f"No chapter is called {chapter!r}: {', '.join(chapters())}")
    lines = []
    for stem in chosen:
        names = exercises_of(stem)
        done = [name for name in names if name in passed]
        lines.append(f"{stem}: {len(done)} of {len(names)}")
        lines += [f"  {'✓' if name in done else '○'} {name}" for name in names]
    cards.show(Card("Your progress", code="\n".join(lines)))


def main(argv: list[str]) -> int:
    """`python3 -m utils hint NAME | solution NAME | progress [CHAPTER]`."""
    command, *names = argv
    show = {"hint": hint, "solution": solution, "progress": progress}[command]
    if len(names) != 1 and not (command == "progress" and not names):
        print(f"Usage: python3 -m utils {command} NAME", file=sys.stderr)
        return 2
    try:
        show(*names)
    except (KeyError, ValueError) as error:
        print(error.args[0], file=sys.stderr)
        return 2
    return 0
