"""The learner's progress: one small local file, read and written here alone.

No network and no telemetry. `COURSE_STATE` names another file. Writes happen under a
lock and replace the file in one step, so two notebooks may be open at once and a
crash never leaves half a file.

The file is an object of JSON. "version" says who wrote it last. "passed", "hints" and
"predictions" have had one form since version 1 and keep it, so that older and newer
versions of the course read each other's files; "record" came with version 2:

    "exercises": name -> {"opened": minute, "tries": [{"at", "status", "mistake"}],
                          "dropped": n, "hints": {"1": minute}, "solution": {"first",
                          "views"}}
    "predictions": name -> {"first": {"choice", "at"}, "second": {"choice", "at"}}

A minute is UTC, as "2026-01-31T09:05Z". What a version does not know it passes on.
"""

import datetime
import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from utils.text.whole import write_whole

__all__ = [
    "MOST_TRIES",
    "forget",
    "looks_like_a_state",
    "note_hint",
    "note_solution",
    "note_try",
    "note_vote",
    "read_state",
    "sound_state",
    "state_path",
    "update_state",
]

DEFAULT = Path(__file__).parents[2] / ".course_progress.json"
VERSION = 2
KEYS = ("passed", "hints", "predictions")
MOST_TRIES = 200  # kept for an exercise; of older ones only the number
LONGEST_NAME = 200
MINUTE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\dZ")


def state_path() -> Path:
    """Where the progress is kept: `COURSE_STATE`, or a dot-file of the course."""
    return Path(os.environ.get("COURSE_STATE") or DEFAULT).expanduser()


def read_state() -> dict:
    """The progress so far; empty when there is no file or it cannot be read.

    Keys: "passed" (exercise -> date), "hints" (exercise -> how many were shown),
    "predictions" (name -> index of the first choice), "record" and "version".
    """
    return _read()[0]


def update_state(change: Callable[[dict], None]) -> None:
    """Let `change` edit the progress, then write it. A pass stays, whatever it does.

    A file that cannot be read is kept beside the new one with the ending `.damaged`.
    A folder that cannot be written costs a warning, not the learner's work.
    """
    path = state_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=10):
            state, damaged = _read()
            if damaged:
                os.replace(path, f"{path}.damaged")
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


def note_vote(name: str, choice: int, choices: int) -> None:
    """Keep a vote: the first one for good, of later ones the latest.

    `choice` is the index in the course's order; a kept first vote that the question no
    longer has, as it has `choices` of them, is replaced.
    """
    at = _this_minute()

    def note(state: dict) -> None:
        before = state["predictions"].get(name)
        votes = state["record"]["predictions"].setdefault(name, {})
        if before is None or before >= choices:
            state["predictions"][name] = choice
            votes.clear()
            votes["first"] = {"choice": choice, "at": at}
        else:
            votes["second"] = {"choice": choice, "at": at}

    update_state(note)


def _this_minute() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%MZ")


# --- reading -------------------------------------------------------------------------


def looks_like_a_state(value: object) -> bool:
    """Whether something read from JSON is a progress, of this or another version."""
    return isinstance(value, dict) and any(
        isinstance(value.get(key), dict) for key in (*KEYS, "record")
    )


def sound_state(state: dict) -> dict:
    """What of a progress can be used; odd entries are passed over one by one.

    Raises AttributeError or TypeError for something that is no object of JSON.
    """
    version = state.get("version")
    known = type(version) is int and version > VERSION
    # What this version does not know is kept for the one that wrote it.
    return {
        **state,
        **{key: _sound(key, state.get(key)) for key in KEYS},
        "version": version if known else VERSION,
        "record": _sound_record(state.get("record")),
    }


def _read() -> tuple[dict, bool]:
    try:
        # With or without the mark that some editors put at the beginning.
        state = json.loads(state_path().read_text(encoding="utf-8-sig"))
        return sound_state(state), False
    except FileNotFoundError:
        return sound_state({}), False
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return sound_state({}), True


def _sound(key: str, entries) -> dict:
    """The entries of the right kind; odd ones are passed over one by one."""
    if not isinstance(entries, dict):
        return {}
    if key == "passed":
        return {name: date for name, date in entries.items() if type(date) is str}
    return {name: n for name, n in entries.items() if _count(n)}


def _sound_record(record) -> dict:
    record = record if isinstance(record, dict) else {}
    made = {"exercises": _sound_exercise, "predictions": _sound_votes}
    sound = {}
    for key, keep in made.items():
        entries = record.get(key)
        entries = entries if isinstance(entries, dict) else {}
        sound[key] = {n: keep(e) for n, e in entries.items() if isinstance(e, dict)}
    return {**record, **sound}


def _sound_exercise(entry: dict) -> dict:
    """One exercise's record with the entries that can be used."""
    sound = dict(entry)
    for key, fits in (("opened", _minute), ("dropped", _count)):
        if key in sound and not fits(sound[key]):
            del sound[key]
    if "tries" in sound:
        tries = sound["tries"] if isinstance(sound["tries"], list) else []
        sound["tries"] = [one for one in tries if _sound_try(one)][-MOST_TRIES:]
    if "hints" in sound:
        hints = sound["hints"] if isinstance(sound["hints"], dict) else {}
        sound["hints"] = {n: at for n, at in hints.items() if _minute(at)}
    if "solution" in sound:
        seen = sound["solution"]
        fits = isinstance(seen, dict) and _minute(seen.get("first"))
        if not (fits and _count(seen.get("views"))):
            del sound["solution"]
    return sound


def _sound_try(one) -> bool:
    return (
        isinstance(one, dict)
        and _minute(one.get("at"))
        and _short(one.get("status"))
        and (one.get("mistake") is None or _short(one["mistake"]))
    )


def _sound_votes(votes: dict) -> dict:
    sound = dict(votes)
    for key in ("first", "second"):
        vote = sound.get(key)
        fits = isinstance(vote, dict) and _minute(vote.get("at"))
        if key in sound and not (fits and _count(vote.get("choice"))):
            del sound[key]
    return sound


def _minute(value) -> bool:
    return isinstance(value, str) and MINUTE.fullmatch(value) is not None


def _count(value) -> bool:
    return type(value) is int and value >= 0


def _short(value) -> bool:
    return isinstance(value, str) and 0 < len(value) <= LONGEST_NAME
