"""Several notebooks that write one progress file at the same moment."""

import json
import multiprocessing
import subprocess
import sys
import warnings
from subprocess import PIPE

import pytest

from utils.exercises.state import note_try, read_state, state_path


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "folder" / "progress.json"))


def _add_many(start: int) -> None:
    for number in range(start, start + 20):
        note_try(f"exercise {number}", "passed", None)


def test_two_notebooks_at_once_lose_nothing():
    context = multiprocessing.get_context("spawn")
    jobs = [context.Process(target=_add_many, args=(start,)) for start in (0, 20, 40)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(120)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(json.loads(state_path().read_text())["passed"]) == 60


TAB = """
import sys
from utils.exercises import state

first, many = map(int, sys.argv[1:])
for number in range(first, first + many):
    state.note_try(f"exercise {number}", "passed", None)
    state.note_hint("shared", number % 3 + 1)
    state.note_vote(f"question {number}", number % 2, 2)
    print(number, flush=True)
"""


def test_two_tabs_write_at_once_and_one_is_killed_in_the_middle():
    """All that a tab has said to be kept is kept, and the other one writes on."""
    many, seen = 30, []  # tries, hints and votes: 90 writes of each tab
    begin = [sys.executable, "-c", TAB]
    tabs = [
        subprocess.Popen([*begin, str(first), str(many)], stdout=PIPE, text=True)
        for first in (0, 1000)
    ]
    killed, other = tabs
    for line in killed.stdout:
        seen.append(int(line))
        json.loads(state_path().read_text())  # whole at any moment
        if len(seen) == many // 2:
            killed.kill()
    for tab in tabs:
        seen += map(int, tab.communicate(timeout=120)[0].split())
    assert killed.returncode != 0 and other.returncode == 0
    assert many // 2 + many <= len(seen) < 2 * many
    kept = read_state()
    assert {f"exercise {number}" for number in seen} <= set(kept["passed"])
    assert {f"question {number}" for number in seen} <= set(kept["predictions"])
    tries = kept["record"]["exercises"]
    assert all(len(tries[f"exercise {number}"]["tries"]) == 1 for number in seen)
    assert kept["hints"] == {"shared": 3}
    assert not state_path().with_name(state_path().name + ".damaged").exists()
