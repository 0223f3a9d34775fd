"""Runs the checks of handed-in notebooks again, in a process apart from this one."""

import json
import os
import subprocess
import sys
from pathlib import Path

from utils.checks import exercises_of
from utils.launcher.classroom.learners import Learner

__all__ = ["run_again"]

WORKER = "utils.launcher.classroom.worker"
ROOT = Path(__file__).resolve().parents[3]


def run_again(learners: list[Learner], folder: Path, seconds: int) -> None:
    """Fill in each learner's `rerun`; what went wrong becomes a note in that row.

    `folder` is hidden from the notebooks. Each may take so many seconds.
    """
    jobs = [(one, stem) for one in learners for stem in sorted(one.notebooks)]
    if not jobs:
        return
    if os.name != "posix":
        for learner, _ in jobs:
            _note(learner, "Notebooks can be run again on Linux and macOS only.")
        return
    worker = None
    for number, (learner, stem) in enumerate(jobs, 1):
        print(f"\rRunning notebook {number} of {len(jobs)}", end="", file=sys.stderr)
        if worker is None or worker.poll() is not None:
            worker = _start()
        answer = _ask(worker, learner.notebooks[stem], stem, folder, seconds)
        if answer is None:
            worker.kill()
            worker.wait()
            answer = {"statuses": {}, "ended": "it could not be run", "open": []}
        _take(learner, stem, answer)
    print(file=sys.stderr)
    worker.stdin.close()
    worker.wait()
    worker.stdout.close()


def _start() -> subprocess.Popen:
    variables = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "COURSE_TRAIN": "short",
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    return subprocess.Popen(
        [sys.executable, "-m", WORKER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
        env=variables,
        text=True,
        encoding="utf-8",
    )


def _ask(worker, path: Path, stem: str, folder: Path, seconds: int) -> dict | None:
    """The worker's answer on one notebook; None if it gave none."""
    job = {"path": str(path), "stem": stem, "seconds": seconds, "hidden": [str(folder)]}
    try:
        print(json.dumps(job), file=worker.stdin, flush=True)
        return json.loads(worker.stdout.readline())
    except (OSError, ValueError):
        return None


def _take(learner: Learner, stem: str, answer: dict) -> None:
    short = stem.split("_")[0]
    statuses = answer["statuses"]
    learner.rerun[stem] = {n: statuses[n] for n in exercises_of(stem) if n in statuses}
    if answer["ended"]:
        _note(learner, f"Run again, {short}: {answer['ended']}.")
    if answer["open"]:
        _note(learner, f"Not limited in the run: {', '.join(answer['open'])}.")


def _note(learner: Learner, sentence: str) -> None:
    if sentence not in learner.notes:
        learner.notes.append(sentence)
