"""The learner's progress: one small local file, read and written here alone.

No network and no telemetry. `COURSE_STATE` names another file. Writes happen under a
lock and replace the file in one step, so two notebooks may be open at once and a
crash never leaves half a file.

The file is an object of JSON. "version" says who wrote it last. "passed", "hints" and
"predictions" have had one form since version 1 and keep it, so that older and newer
versions of the course read each other's files; "record" came with version 2, what
version 3 added is marked:

    "exercises": name -> {"opened": minute, "tries": [{"at", "status", "mistake"}],
                          "dropped": n, "hints": {"1": minute}, "solution": {"first",
                          "views"}}
    "predictions": name -> {"first": {"choice", "at"}, "second": {"choice", "at"},
                            3: "revealed": minute or null, "of": the twin's other name}
    3: "recall": {"asked": chapter -> [names], "answers": name -> chapter -> {"choice",
                  "right", "at"}}
    3: "words": name -> [{"text", "at"}], the newest last

"revealed" is null while the answer has not been shown. Where it is missing, an older
version showed the answer after the first vote, and "second" came after it.

A minute is UTC, as "2026-01-31T09:05Z". What a version does not know it passes on.
"""

import datetime
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from utils.exercises.sound import (
    MOST_TEXTS,
    MOST_TRIES,
    VERSION,
    has_oddities,
    sound_state,
)
from utils.text.whole import write_whole

__all__ = [
    "forget",
    "is_revealed",
    "may_see_solution",
    "note_asked",
    "note_hint",
    "note_recall",
    "note_reveal",
    "note_solution",
    "note_try",
    "note_vote",
    "note_words",
    "read_state",
    "state_path",
    "update_state",
    "where_kept",
]

DEFAULT = Path(__file__).parents[2] / ".course_progress.json"
HINTS_FIRST, TRIES_FIRST = 2, 3  # one of the two, before the solution is offered
# What reading a file raises that holds no progress.
DAMAGED = (ValueError, AttributeError, TypeError, RecursionError)
LONGEST_TEXT = 4000  # characters of one's own words; the notebook keeps all


def state_path() -> Path:
    """Where the progress is kept: `COURSE_STATE`, or a dot-file of the course."""
    return Path(os.environ.get("COURSE_STATE") or DEFAULT).expanduser()


def read_state() -> dict:
    """The progress so far; empty when there is no file or it cannot be read.

    Keys: "passed" (exercise -> date), "hints" (exercise -> how many were shown),
    "predictions" (name -> index of the first choice), "record" and "version".
    """
    try:
        return sound_state(_load())
    except (OSError, *DAMAGED):
        return sound_state({})


def where_kept() -> str:
    """Where the progress is and what is odd about it, in a sentence or two."""
    path = state_path()
    try:
        state = _load()
        newer, odd = sound_state(state)["version"] > VERSION, has_oddities(state)
    except FileNotFoundError:
        return f"Nothing is kept yet. It will be in {path}."
    except OSError as error:
        return f"{path} cannot be opened ({error.strerror}), so nothing is kept."
    except DAMAGED:
        return (
            f"{path} is damaged. The next check keeps it as {path.name}.damaged and "
            "begins a new one."
        )
    says = f"Kept in {path}, which any editor shows."
    if newer:
        says += " A newer version of the course wrote it; what this one does not know "
        says += "stays there."
    if odd:
        says += " Odd entries in it were passed over."
    return says


def update_state(change: Callable[[dict], None]) -> None:
    """Let `change` edit the progress, then write it. A pass stays, whatever it does.

    A damaged file is kept beside the new one with the ending `.damaged`. A file that
    cannot be opened just now stays as it is: that, as a folder that cannot be written,
    costs a warning and no earlier work.
    """
    path = state_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=10):
            try:
                state = sound_state(_load())
            except FileNotFoundError:
                state = sound_state({})
            except DAMAGED:
                os.replace(path, f"{path}.damaged")
                state = sound_state({})
            passed = dict(state["passed"])
            change(state)
            state["passed"] = {**state["passed"], **passed}
            write_whole(path, json.dumps(state, indent=1).encode())
    except (OSError, Timeout) as error:
        warnings.warn(
            f"Your progress could not be saved in {path} ({error}). "
            "Everything else works.",
            stacklevel=3,
        )


def forget() -> list[Path]:
    """Delete the progress and what was kept of a damaged one; returns what was there.

    Raises OSError where a file cannot be removed.
    """
    path = state_path()
    found = [p for p in (path, Path(f"{path}.damaged")) if p.exists()]
    if found:
        with FileLock(f"{path}.lock", timeout=10):
            for file in found:
                file.unlink(missing_ok=True)
    return found


# --- what is written down ------------------------------------------------------------


def note_try(name: str, status: str, mistake: str | None) -> None:
    """Keep a check of an answer: its status, and the mistake that was named or None.

    An answer "not attempted" is no try; of those the first minute is kept.
    """
    at = _this_minute()

    def note(state: dict) -> None:
        entry = state["record"]["exercises"].setdefault(name, {})
        entry.setdefault("opened", at)
        if status == "not attempted":
            return
        tries = entry.setdefault("tries", [])
        tries.append({"at": at, "status": status, "mistake": mistake})
        if len(tries) > MOST_TRIES:
            entry["dropped"] = entry.get("dropped", 0) + len(tries) - MOST_TRIES
            del tries[:-MOST_TRIES]
        if status == "passed":
            state["passed"].setdefault(name, datetime.date.today().isoformat())

    update_state(note)


def note_hint(name: str, number: int) -> None:
    """Keep that a hint was shown, and the minute in which it first was."""
    at = _this_minute()

    def note(state: dict) -> None:
        state["hints"][name] = max(state["hints"].get(name, 0), number)
        entry = state["record"]["exercises"].setdefault(name, {})
        entry.setdefault("hints", {}).setdefault(str(number), at)

    update_state(note)


def note_solution(name: str) -> None:
    """Keep that the solution was shown: how often, and the minute of the first time."""
    at = _this_minute()

    def note(state: dict) -> None:
        entry = state["record"]["exercises"].setdefault(name, {})
        seen = entry.setdefault("solution", {"first": at, "views": 0})
        seen["views"] += 1

    update_state(note)


def may_see_solution(state: dict, name: str) -> bool:
    """Whether the solution is offered: after two hints, three tries or a pass."""
    tries = state["record"]["exercises"].get(name, {})
    tried = len(tries.get("tries", [])) + tries.get("dropped", 0)
    hints = state["hints"].get(name, 0)
    return hints >= HINTS_FIRST or tried >= TRIES_FIRST or name in state["passed"]


def note_vote(name: str, choice: int, choices: int, of: str = "") -> None:
    """Keep a vote: the first one for good, of those before the reveal the latest.

    `choice` is the index in the course's order; a kept first vote that the question no
    longer has, as it has `choices` of them, is replaced. After the reveal nothing is
    kept. `of` is the prediction that a twin belongs to.
    """
    at = _this_minute()

    def note(state: dict) -> None:
        before = state["predictions"].get(name)
        if before is None or before >= choices:
            state["predictions"][name] = choice
            votes = state["record"]["predictions"][name] = {
                "first": {"choice": choice, "at": at},
                "revealed": None,
            }
            if of:
                votes["of"] = of
        elif not is_revealed(state, name):
            votes = state["record"]["predictions"][name]
            votes["second"] = {"choice": choice, "at": at}

    update_state(note)


def note_reveal(name: str) -> None:
    """Keep the minute in which a prediction's answer was shown first."""
    at = _this_minute()

    def note(state: dict) -> None:
        if not is_revealed(state, name):
            state["record"]["predictions"][name]["revealed"] = at

    update_state(note)


def is_revealed(state: dict, name: str) -> bool:
    """Whether a prediction's answer was shown, or no vote of this version waits."""
    votes = state["record"]["predictions"].get(name, {})
    return votes.get("revealed", "") is not None


def note_asked(chapter: str, names: list[str]) -> None:
    """Keep which questions a chapter began with, so that they stay the same."""
    update_state(
        lambda state: _recall(state)["asked"].update({chapter: list(names)}),
    )


def note_recall(name: str, chapter: str, choice: int, right: bool) -> None:
    """Keep the first answer to a question that a chapter began with."""
    answer = {"choice": choice, "right": right, "at": _this_minute()}

    def note(state: dict) -> None:
        answers = _recall(state)["answers"].setdefault(name, {})
        answers.setdefault(chapter, answer)

    update_state(note)


def note_words(name: str, text: str) -> None:
    """Keep what was written in one's own words; the last few versions, no empty one."""
    text, at = text[:LONGEST_TEXT], _this_minute()

    def note(state: dict) -> None:
        kept = state["record"].setdefault("words", {}).setdefault(name, [])
        if text.strip() and (not kept or kept[-1]["text"] != text):
            kept.append({"text": text, "at": at})
            del kept[:-MOST_TEXTS]

    update_state(note)


def _recall(state: dict) -> dict:
    recall = state["record"].setdefault("recall", {})
    recall.setdefault("asked", {})
    recall.setdefault("answers", {})
    return recall


def _this_minute() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")


# --- reading -------------------------------------------------------------------------


def _load() -> dict:
    """What the file holds, if it is no damaged one. Raises OSError and `DAMAGED`."""
    # With or without the mark that some editors put at the beginning.
    return json.loads(state_path().read_text(encoding="utf-8-sig"))
