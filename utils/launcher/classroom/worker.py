"""Runs handed-in notebooks one by one, each in a shut-in process of its own.

Started by `rerun.py` as a program. It reads one line of JSON per notebook: "path",
"stem", "seconds", "hidden"; and answers with one: "statuses" (exercise -> status),
"ended" (why it stopped before its end, or null) and "open" (what was not limited).

It loads the course once and forks for each notebook. The forked process cannot answer
but by short lines on a pipe, of which only words that are known here count.
"""

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch

from utils.checks import exercises_of
from utils.launcher.classroom import sandbox
from utils.launcher.classroom.answers import run_answers
from utils.launcher.classroom.learners import MOST_NOTEBOOK_BYTES, read_bounded

__all__ = ["main", "run_notebook"]

STATUSES = ("passed", "not attempted", "failed", "error")
UNREADABLE = ("it cannot be read", "it is too large or no ordinary file")
NO_NOTEBOOK = "it is no notebook"
MOST_SAID = 100_000  # bytes on the pipe
ROOT = Path(__file__).resolve().parents[3]


def main() -> int:
    """Answer each line of standard input; end with the input."""
    # Loaded once and shared with every fork: most of what a setup line brings.
    for name in ("pictures.figures", "text.corpus", "training.trainer"):
        importlib.import_module(f"utils.{name}")
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    for line in sys.stdin:
        print(json.dumps(run_notebook(**json.loads(line))), file=answers, flush=True)
    return 0


def run_notebook(path: str, stem: str, seconds: int, hidden: list[str]) -> dict:
    """Run one notebook's checks under all limits there are."""
    scratch = Path(tempfile.mkdtemp(prefix="course-report-"))
    reading, writing = os.pipe()
    first = os.fork()
    if first == 0:
        with contextlib.suppress(BaseException):
            os.close(reading)
            _child(writing, Path(path), stem, seconds, hidden, scratch)
        os._exit(1)
    os.close(writing)
    try:
        return _listen(reading, first, stem, seconds)
    finally:
        os.close(reading)
        shutil.rmtree(scratch, ignore_errors=True)


# --- the forked process ---------------------------------------------------------------


def _child(writing, path, stem, seconds, hidden, scratch) -> None:
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for handle in (0, 1, 2):
        os.dup2(nowhere, handle)
    for name in os.listdir("/dev/fd"):
        with contextlib.suppress(OSError):
            if int(name) > 2 and int(name) not in (writing, nowhere):
                os.close(int(name))
    try:
        content = read_bounded(path, MOST_NOTEBOOK_BYTES)
    except OSError as error:
        _say(writing, ended=UNREADABLE[error.errno is None])
        return
    if not sandbox.apart():
        _say(writing, open=sandbox.NOT_APART)
        _work(writing, content, stem, seconds, scratch)
        return
    inside = os.fork()
    if inside:
        _say(writing, inside=inside)
        os.close(writing)
        os.waitpid(inside, 0)
        return
    needed = [ROOT, Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()]
    _say(writing, open=sandbox.shut_in(scratch, [Path(h) for h in hidden], needed))
    _work(writing, content, stem, seconds, scratch)
    os._exit(0)


def _work(writing, content, stem, seconds, scratch) -> None:
    os.chdir(scratch)
    for name in ("HOME", "TMPDIR", "XDG_RUNTIME_DIR"):
        os.environ[name] = str(scratch)
    os.environ["COURSE_STATE"] = str(scratch / "state.json")
    tempfile.tempdir = None
    _say(writing, open=sandbox.limit(seconds + 5))
    try:
        run_answers(
            content, stem, lambda name, s: _say(writing, exercise=name, status=s)
        )
        _say(writing, ended=None)
    except ValueError:
        _say(writing, ended=NO_NOTEBOOK)


def _say(writing: int, **what) -> None:
    os.write(writing, (json.dumps(what) + "\n").encode())


# --- the process that waits for it ----------------------------------------------------


def _listen(reading: int, first: int, stem: str, seconds: int) -> dict:
    answer = {"statuses": {}, "ended": "it ended before its end", "open": []}
    said, taken, inside, watched = b"", 0, None, None
    until = time.monotonic() + seconds
    while True:
        if time.monotonic() > until:
            answer["ended"] = f"it ran longer than {seconds} s"
            break
        complaint = watched.complaint() if watched else None
        if complaint or taken > MOST_SAID:
            answer["ended"] = complaint or "it said too much"
            break
        if not select.select([reading], [], [], 0.1)[0]:
            continue
        more = os.read(reading, 65536)
        if not more:
            break
        taken += len(more)
        *lines, said = (said + more).split(b"\n")
        for line in lines:
            number = _hear(answer, line, stem)
            if number and inside is None and _parent(number) == first:
                inside, watched = number, sandbox.Watched(number)
    _end(first, inside)
    return answer


def _hear(answer: dict, line: bytes, stem: str) -> int | None:
    """Take in one line; words that are not known here are passed over.

    Returns the number of the first process inside, if the line says it.
    """
    try:
        what = json.loads(line)
        if type(what.get("inside")) is int:
            return what["inside"]
        if isinstance(what.get("open"), list):
            known = [word for word in sandbox.WORDS if word in what["open"]]
            answer["open"] += [word for word in known if word not in answer["open"]]
        if what.get("exercise") in exercises_of(stem) and what["status"] in STATUSES:
            answer["statuses"][what["exercise"]] = what["status"]
        if "ended" in what and what["ended"] in (None, NO_NOTEBOOK, *UNREADABLE):
            answer["ended"] = what["ended"]
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError):
        pass
    return None


def _parent(number: int) -> int | None:
    try:
        # The name in brackets may hold anything, the numbers come after it.
        text = Path(f"/proc/{number}/stat").read_text(errors="replace")
        return int(text.rpartition(")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return None


def _end(first: int, inside: int | None) -> None:
    """End the notebook's processes: with the first one inside all of them go."""
    for kill, number in ((os.kill, inside), (os.killpg, first), (os.kill, first)):
        if number is not None:
            with contextlib.suppress(OSError):
                kill(number, signal.SIGKILL)
    with contextlib.suppress(OSError):
        os.waitpid(first, 0)


if __name__ == "__main__":
    sys.exit(main())
