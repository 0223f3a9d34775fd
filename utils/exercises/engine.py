"""The exercise engine: check an answer, name the mistake, help, remember.

Learners use `@exercise`, `hint`, `solution`, `predict` and `progress`; tests and other
programs use `run_check`. What makes an answer right stands in `utils/checks`.
"""

import functools
import importlib
import inspect
import linecache
import os
import sys
from collections.abc import Callable

from utils.checks import chapter_of, chapters, exercises_of, find_check
from utils.exercises import cards, ordering
from utils.exercises.cards import Card
from utils.exercises.compare import bare, compared, written_by
from utils.exercises.minutes import time_lines
from utils.exercises.predictions import predict
from utils.exercises.puzzle import Puzzle, make_puzzle
from utils.exercises.state import (
    forget,
    may_see_solution,
    note_hint,
    note_solution,
    note_try,
    read_state,
    where_kept,
)
from utils.exercises.stubs import handed_on, read_stub
from utils.exercises.verdict import CheckResult, run_check

__all__ = [
    "CheckResult",
    "ExerciseFailed",
    "arrange",
    "exercise",
    "hint",
    "needs",
    "predict",
    "progress",
    "run_check",
    "solution",
]

HINT_NAMES = ("direction", "method", "lines to order", "solution")
_passed: dict[str, str] = {}  # what passed in this kernel, to stand beside the solution


class ExerciseFailed(AssertionError):
    """Raised instead of a card when `COURSE_STRICT=1` and an answer did not pass."""


# --- checking -----------------------------------------------------------------------


def exercise(function: Callable) -> Callable:
    """Check the decorated answer, show a card, and hand on something that works.

    After a pass the name stays the learner's function; what it returns reaches later
    cells in the stub's own kind. Otherwise the name becomes the course's solution.
    Wherever the name means something else, the learner's own is at `.yours`. With
    `COURSE_STRICT=1` an answer that does not pass raises ExerciseFailed.
    """
    name = getattr(function, "__name__", "")
    result = run_check(name, function)
    note_try(name, result.status, result.mistake)
    if result.status != "passed" and os.environ.get("COURSE_STRICT") == "1":
        raise ExerciseFailed(f"{name}: {result.status}. {result.message}")
    if result.status == "passed":
        passed, note = handed_on(read_stub(name), function, result.returned)
        result.notes += [note] if note else []
        _passed[name] = written_by(function)
        cards.show(_result_card(result))
        return passed
    cards.show(_result_card(result))
    cards.show_buttons(lambda: _help_for(name))
    return _carried_on(name, function)


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


def _help_for(name: str) -> dict[str, Callable[[], Card]]:
    """The buttons below a card: hints, and after some hints or tries the solution."""
    buttons = {"Next hint": lambda: _hint_card(name)}
    if may_see_solution(read_state(), name):
        buttons["Show the solution"] = lambda: _solution_card(name)
    return buttons


def _result_card(result: CheckResult) -> Card:
    name = result.name
    titles = {
        "passed": f"✓ {name}: passed",
        "not attempted": f"○ {name}: not attempted",
        "failed": f"✗ {name}: failed",
        "error": f"! {name}: error in your code",
    }
    tones = {"passed": "good", "not attempted": "open", "failed": "bad", "error": "bad"}
    paragraphs, beside = result.message.split("\n") + result.notes, None
    if result.status == "passed":
        beside = compared(name, _passed[name], _bare_reference(name), folded=True)
    else:
        helps = f'`hint("{name}")` helps.'
        if may_see_solution(read_state(), name):
            helps = f'`hint("{name}")` and `solution("{name}")` help.'
        paragraphs.append(
            f"Until it passes, `{name}` is the course's solution, so that the cells "
            f"below work. Your own stays at `{name}.yours`. {helps}"
        )
    return Card(
        titles[result.status],
        paragraphs,
        tone=tones[result.status],
        printed=result.printed,
        beside=beside,
    )


def _bare_reference(name: str) -> str:
    return bare(inspect.getsource(_reference(name)))


def hint(name: str, number: int | None = None) -> None:
    """Show the next hint of an exercise, or hint 1, 2, 3 or 4.

    They are a direction, the method, the solution's lines to be put in order, with two
    wrong ones among them, and the solution.
    """
    cards.show(_hint_card(name, number))


def arrange(name: str, order: list[int]) -> None:
    """Check an order of the lines that hint 3 shows, such as [3, 1, 2].

    Says which lines are in their place and what is wrong with a wrong one. Any order
    that passes the exercise's check is right. Counts as having seen that hint and not
    as a pass: for that the function has to pass in a cell of your own. Raises
    ValueError for numbers that are none of the lines.
    """
    card, _ = ordering.reply(_puzzle(name), list(order), find_check(name).hints[2])
    note_hint(name, 3)
    cards.show(card)


def _hint_card(name: str, number: int | None = None) -> Card:
    check = find_check(name)
    if number is None:
        number = min(read_state()["hints"].get(name, 0) + 1, len(HINT_NAMES))
    if not 1 <= number <= len(HINT_NAMES):
        raise ValueError(f"Hints are numbered 1 to {len(HINT_NAMES)}.")
    note_hint(name, number)
    title = f"{name}, hint {number} of {len(HINT_NAMES)}: {HINT_NAMES[number - 1]}"
    if number == 3:
        return ordering.lines_card(_puzzle(name), title, check.hints[2])
    if number == 4:
        return _solution_card(name, title)
    return Card(title, [check.hints[number - 1]], tone="open")


def _puzzle(name: str) -> Puzzle:
    """The lines to order of an exercise. Raises KeyError for an unknown one."""
    check, reference = find_check(name), _reference(name)

    def build(code: str) -> Callable:
        """A function under the exercise's name, with what the solution's code knows."""
        file, names = f"<lines of {name}>", dict(reference.__globals__)
        exec(compile(code, file, "exec"), names)
        # So that a message can quote the line in which the function stopped.
        linecache.cache[file] = (len(code), None, code.splitlines(True), file)
        return names[name]

    return make_puzzle(check, inspect.getsource(reference), build)


def solution(name: str) -> None:
    """Show the course's solution of an exercise, with its file and line.

    After a pass in this notebook your own answer stands beside it.
    """
    cards.show(_solution_card(name))


def _solution_card(name: str, title: str = "") -> Card:
    find_check(name)  # an unknown name gets the list of names
    reference = _reference(name)
    note_solution(name)
    lines, first = inspect.getsourcelines(reference)
    where = f"solutions/{chapter_of(name)}.py, line {first}"
    title = title or f"{name}: solution"
    yours, ours = _passed.get(name, ""), _bare_reference(name)
    if beside := compared(name, yours, ours, folded=False):
        return Card(title, [where], beside=beside)
    return Card(title, [where], code="".join(lines).rstrip())


# --- progress -----------------------------------------------------------------------


def progress(chapter: str = "") -> None:
    """Show which exercises are done, of one chapter such as "ch2" or of all.

    Beside it stands how long you took, by the minutes of your tries and votes, and how
    long was planned; above it, in which file that is kept. A pass is never taken back.
    Raises ValueError for a chapter that is not there.
    """
    state = read_state()
    passed = state["passed"]
    chosen = [stem for stem in chapters() if stem.startswith(chapter)]
    if not chosen:
        raise ValueError(f"No chapter is called {chapter!r}: {', '.join(chapters())}")
    lines = []
    for stem in chosen:
        names = exercises_of(stem)
        done = [name for name in names if name in passed]
        lines.append(f"{stem}: {len(done)} of {len(names)}")
        lines += [f"  {'✓' if name in done else '○'} {name}" for name in names]
        lines += time_lines(stem, state, each=len(chosen) == 1)
    cards.show(Card("Your progress", [where_kept()], code="\n".join(lines)))


def main(argv: list[str]) -> int:
    """`python3 -m utils hint NAME | progress [CHAPTER | --forget]`."""
    command, *names = argv
    if argv == ["progress", "--forget"]:
        try:
            gone = [str(path) for path in forget()]
        except OSError as error:
            print(f"It could not be deleted: {error}.", file=sys.stderr)
            return 1
        print("Deleted: " + ", ".join(gone) if gone else "There was nothing to delete.")
        return 0
    show = {"hint": hint, "progress": progress}[command]
    if len(names) != 1 and not (command == "progress" and not names):
        print(f"Usage: python3 -m utils {command} NAME", file=sys.stderr)
        return 2
    try:
        show(*names)
    except (KeyError, ValueError) as error:
        print(error.args[0], file=sys.stderr)
        return 2
    return 0
