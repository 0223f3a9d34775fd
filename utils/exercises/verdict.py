"""The verdict on an answer: call it safely, judge it, and say what is wrong with it.

`run_check` works without a notebook. It never looks at the course's solutions: what is
right stands in `utils/checks`, and what the parameters are in the stub that the learner
saw.
"""

import contextlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from utils.checks import Check, Wrong, chapter_of, find_check, is_exercise, steps_of
from utils.exercises.guard import TimeUp, guarded
from utils.exercises.likeness import Call, Failure, copied, makes_mistake
from utils.exercises.snapshot import Snapshot, models_put_back
from utils.exercises.stubs import read_stub, signature_fault
from utils.exercises.subgoals import how_far, steps_held
from utils.models.shelf import made_anew, round_of_check

__all__ = ["TIME_LIMIT", "CheckResult", "run_check"]

STEP_LIMIT = 2.0  # the same for each step of an answer that did not pass
TIME_LIMIT = 10.0  # seconds of computing; a check of a right answer takes under 2
# Names that people know from other courses, and what stands here in their place.
ELSEWHERE = (
    (
        re.compile(r"hook_result|use_attn_result|KeyError: .*\bresult\b"),
        "A head's own output is not kept under that name here. `head_outputs` of "
        "chapter 0 gives it, and so does `cache.stack_head_results(layer)`.",
    ),
    (
        re.compile(r"HookedTransformer"),
        "TransformerLens 4 has no HookedTransformer. A model is a TransformerBridge, "
        "and `load_model` gives one.",
    ),
)


@dataclass
class CheckResult:
    """What a check found.

    `status` is "passed", "not attempted", "failed" or "error"; `message` is plain text
    and complete on its own; `mistake` is the name of the recognised mistake or None.
    `returned` holds the calls that the check made: (arguments, what came back).
    `steps_held` counts the exercise's steps that an answer has which did not pass; it
    is None where there are none, or where it was not asked.
    """

    name: str
    status: str
    message: str
    mistake: str | None = None
    printed: str = ""
    notes: list[str] = field(default_factory=list)
    returned: list[tuple] = field(default_factory=list, repr=False)
    steps_held: int | None = None


@round_of_check()
def run_check(
    name: str, function: Callable, time_limit: float = TIME_LIMIT
) -> CheckResult:
    """Check an answer without a notebook. Raises KeyError for an unknown exercise.

    `time_limit` is in seconds of computing.
    """
    check = find_check(name)
    if not callable(function):
        kind = type(function).__name__
        text = f"A function is checked here, and `{name}` is not one: {kind}."
        return CheckResult(name, "error", text)
    with models_put_back() as snapshot:
        return _judged(check, function, time_limit, snapshot)


def _judged(
    check: Check, function: Callable, time_limit: float, snapshot: Snapshot
) -> CheckResult:
    """The verdict; what the answer did to the learner's models is said and put back."""
    name, recorder = check.name, _Recorder(function)
    printed, complaint = None, None
    try:
        with (
            _bound_to_answer(name, function),
            _as_chapters_set_torch(),
            guarded(time_limit, _globals_of(function)) as printed,
        ):
            check.judge(recorder)
        verdict = CheckResult(name, "passed", check.passed)
    except (Exception, SystemExit, TimeUp) as error:
        complaint = error
        verdict = _explain(check, recorder, error, time_limit)
    snapshot.restore()
    if verdict.status == "passed":
        verdict = _with_signature(verdict, function)
    verdict = _with_side_effects(check, verdict, recorder, snapshot)
    if verdict.status in ("failed", "error") and verdict.mistake is None:
        failure = Failure(function, check.judge, recorder.calls, complaint)
        with _as_chapters_set_torch():
            _name_mistake(check, verdict, failure)
        fault = _fault_of(name, function)
        if fault is not None:
            verdict.message += f"\nThe first line differs from the stub's. {fault}"
    if verdict.status in ("failed", "error") and not isinstance(complaint, TimeUp):
        _say_how_far(verdict, function)
    verdict.notes += _dtype_note()
    verdict.printed = printed.text if printed else ""
    verdict.returned = [
        ((call.args, call.kwargs), call.result) for call in recorder.calls
    ]
    return verdict


class _Recorder:
    """Stands in for the answer while it is judged and writes down every call."""

    def __init__(self, function: Callable):
        self.function = function
        self.calls: list[Call] = []
        self.harm: list[str] = []
        self.notes: list[str] = []

    def __call__(self, *args, **kwargs):
        call = Call(copied(args), copied(kwargs))
        self.calls.append(call)
        snapshot = Snapshot((args, kwargs))
        try:
            with made_anew():
                call.result = copied(self.function(*args, **kwargs))
        except BaseException as error:
            call.error = error
            raise
        finally:
            snapshot.restore()
            self.harm += [word for word in snapshot.harm if word not in self.harm]
            self.notes += [word for word in snapshot.notes if word not in self.notes]
        return call.result


def _say_how_far(verdict: CheckResult, function: Callable) -> None:
    """Add which step of the exercise the answer has reached, if it has several.

    An answer that does the right thing under another first line, or that changes what
    it was given, has reached them all, and where the mistake is named and all steps
    hold, the name says more. Of one that stops in its own code and has reached none the
    error alone is told.
    """
    steps = steps_of(verdict.name)
    if not steps or verdict.mistake in ("other signature", "changes its input"):
        return
    with _bound_to_answer(verdict.name, function), _as_chapters_set_torch():
        verdict.steps_held = steps_held(steps, function, STEP_LIMIT)
    all_named = verdict.mistake and verdict.steps_held == len(steps)
    if not all_named and (verdict.status == "failed" or verdict.steps_held):
        verdict.notes.append(how_far(steps, verdict.steps_held))


def _globals_of(function: Callable) -> dict:
    return getattr(inspect.unwrap(function), "__globals__", {})


@contextlib.contextmanager
def _bound_to_answer(name: str, function: Callable) -> Iterator[None]:
    """While an answer is checked, its name means the answer and not the solution."""
    namespace, missing = _globals_of(function), object()
    before = namespace.get(name, missing)
    namespace[name] = function
    try:
        yield
    finally:
        if before is missing:
            namespace.pop(name, None)
        else:
            namespace[name] = before


@contextlib.contextmanager
def _as_chapters_set_torch() -> Iterator[None]:
    """float32 and no gradients, as after the setup line, whatever is set now."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


def _dtype_note() -> list[str]:
    dtype = str(torch.get_default_dtype()).removeprefix("torch.")
    if dtype == "float32":
        return []
    return [
        f"New tensors are {dtype} in this notebook, by torch.set_default_dtype. The "
        "check ran with float32, which the models and the cells below need."
    ]


def _fault_of(name: str, function: Callable) -> str | None:
    """What is different from the stub about an answer's parameters, or None."""
    stub = read_stub(name)
    return signature_fault(stub, function) if stub else None


def _does_not_fit(function: Callable, call: Call) -> bool:
    """Whether the function cannot even be called this way."""
    try:
        inspect.signature(function).bind(*call.args, **call.kwargs)
    except TypeError:
        return True
    except ValueError:  # some callables cannot tell
        return False
    return False


def _with_signature(verdict: CheckResult, function: Callable) -> CheckResult:
    """A pass only with the parameters of the stub: later cells call by name."""
    fault = _fault_of(verdict.name, function)
    if fault is None:
        return verdict
    text = (
        f"It computes the right thing, but not under the stub's first line. {fault} "
        "Later cells call the function by these names and rely on the defaults."
    )
    return CheckResult(verdict.name, "failed", text, "other signature")


def _explain(
    check: Check, recorder: _Recorder, error: BaseException, time_limit: float
) -> CheckResult:
    """The verdict on an answer whose check ended with an exception."""
    name = check.name
    if isinstance(error, Wrong):
        return CheckResult(name, "failed", str(error))
    if isinstance(error, TimeUp):
        return CheckResult(name, "error", error.sentence(time_limit))
    from_answer = bool(recorder.calls) and recorder.calls[-1].error is error
    if not from_answer:
        kind = type(recorder.calls[-1].result).__name__ if recorder.calls else "nothing"
        text = f"The check could not use what your function returned: {kind}."
        return CheckResult(name, "failed", text)
    last = recorder.calls[-1]
    if isinstance(error, TypeError) and _does_not_fit(recorder.function, last):
        fault = _fault_of(name, recorder.function)
        if fault is not None:
            text = (
                "Your function cannot be called as the stub's first line promises. "
                f"{fault}"
            )
            return CheckResult(name, "failed", text, "other signature")
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
    what = f"{type(error).__name__}: {error}"
    text = f"Your code stopped{_line_of(error, function)} with {what}"
    if isinstance(error, NameError):
        text += f"\n{_where_to_find(error.name)}"
    advice = [sentence for pattern, sentence in ELSEWHERE if pattern.search(what)]
    return "\n".join([text, *advice])


def _where_to_find(name: str | None) -> str:
    """What to do about a name that is not known."""
    if name and is_exercise(name):
        chapter = chapter_of(name).split("_")[0].removeprefix("ch")
        brings = f'`needs("{name}")` brings it.'
        return f"`{name}` is an exercise of chapter {chapter}: {brings}"
    return (
        "A function or value of your own has to be defined above the decorated "
        "function, in the same cell or an earlier one."
    )


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


def _name_mistake(check: Check, verdict: CheckResult, failure: Failure) -> None:
    """Replace the complaint by a known mistake's sentence, if one fails the same."""
    for mistake in check.mistakes:
        if makes_mistake(mistake, failure, TIME_LIMIT):
            verdict.status = "failed"
            verdict.mistake = mistake.name
            verdict.message = mistake.says
            return
