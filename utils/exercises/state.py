"""The learner's progress: one small local file, read and written here alone.

No network and no telemetry. `COURSE_STATE` names another file. Writes happen under a
lock and replace the file in one step, so two notebooks may be open at once and a
crash never leaves half a file.
"""

import json
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["read_state", "state_path", "update_state"]

DEFAULT = Path(__file__).parents[2] / ".course_progress.json"
KEYS = ("passed", "hints", "predictions")


def state_path() -> Path:
    """Where the progress is kept: `COURSE_STATE`, or a dot-file of the course."""
    return Path(os.environ.get("COURSE_STATE") or DEFAULT).expanduser()


def read_state() -> dict:
    """The progress so far; empty when there is no file or it cannot be read.

    Keys: "passed" (exercise -> date), "hints" (exercise -> how many were shown),
    "predictions" (name -> index of the first choice).
    """
    return _read()[0]


def update_state(change: Callable[[dict], None]) -> None:
    """Let `change` edit the progress, then write it.

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
            change(state)
            _write(path, state)
    except (OSError, Timeout) as error:
        warnings.warn(
            f"Your progress could not be saved in {path} ({error}). "
            "Everything else works.",
            stacklevel=3,
        )


def _read() -> tuple[dict, bool]:
    fresh = {key: {} for key in KEYS}
    try:
        # With or without the mark that some editors put at the beginning.
        state = json.loads(state_path().read_text(encoding="utf-8-sig"))
        # What this version does not know is kept for the one that wrote it.
        return {**state, **{key: _sound(key, state.get(key)) for key in KEYS}}, False
    except FileNotFoundError:
        return fresh, False
    except (OSError, ValueError, AttributeError, TypeError):
        return fresh, True


def _sound(key: str, entries) -> dict:
    """The entries of the right kind; odd ones are passed over one by one."""
    if not isinstance(entries, dict):
        return {}
    if key == "passed":
        return {name: date for name, date in entries.items() if type(date) is str}
    return {name: n for name, n in entries.items() if type(n) is int and n >= 0}


def _write(path: Path, state: dict) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(state, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
