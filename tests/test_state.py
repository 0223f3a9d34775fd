"""The progress file: atomic, locked, and never the end of a session."""

import json
import multiprocessing
import os
import warnings

import pytest

from utils.exercises.state import read_state, state_path, update_state


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "folder" / "progress.json"))


def passed(name):
    return lambda state: state["passed"].setdefault(name, "2026-01-01")


def test_nothing_there_is_an_empty_progress():
    assert read_state() == {"passed": {}, "hints": {}, "predictions": {}}


def test_what_is_written_is_read():
    update_state(passed("direct_path"))
    update_state(passed("ov_matrix"))
    assert set(read_state()["passed"]) == {"direct_path", "ov_matrix"}


@pytest.mark.parametrize("content", ['{"passed": {"a"', "", "[1, 2]", "3"])
def test_damaged_file_is_kept_and_a_fresh_one_begun(content):
    state_path().parent.mkdir()
    state_path().write_text(content)
    assert read_state()["passed"] == {}
    update_state(passed("direct_path"))
    assert set(read_state()["passed"]) == {"direct_path"}
    damaged = state_path().with_name(state_path().name + ".damaged")
    assert damaged.read_text() == content


def test_failed_write_leaves_the_old_file(monkeypatch):
    update_state(passed("direct_path"))

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", no_space)
    with pytest.warns(UserWarning, match="No space left"):
        update_state(passed("ov_matrix"))
    assert set(read_state()["passed"]) == {"direct_path"}
    assert {file.suffix for file in state_path().parent.iterdir()} <= {".json", ".lock"}


def test_folder_that_cannot_be_made_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "file" / "progress.json"))
    with pytest.warns(UserWarning, match="could not be saved"):
        update_state(passed("direct_path"))


def _add_many(start: int) -> None:
    for number in range(start, start + 20):
        update_state(passed(f"exercise {number}"))


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


def test_odd_entries_are_passed_over_one_by_one():
    """Files of older and newer versions, or edited by hand, never end a cell."""
    odd = {
        "passed": {"ov_matrix": "2026-01-01", "qk_matrix": 7},
        "hints": {"ov_matrix": 2, "qk_matrix": "2", "direct_path": -1, "x": True},
        "predictions": {"which_edge": 1, "sign_flip": None},
        "something newer": [1, 2],
    }
    state_path().parent.mkdir()
    state_path().write_text("\ufeff" + json.dumps(odd), encoding="utf-8")
    sound = {
        "passed": {"ov_matrix": "2026-01-01"},
        "hints": {"ov_matrix": 2},
        "predictions": {"which_edge": 1},
        "something newer": [1, 2],
    }
    assert read_state() == sound
    update_state(lambda state: None)
    assert json.loads(state_path().read_text()) == sound


def test_one_odd_section_leaves_the_others():
    state_path().parent.mkdir()
    state_path().write_text('{"passed": 3, "hints": {"ov_matrix": 2}}')
    assert read_state() == {"passed": {}, "hints": {"ov_matrix": 2}, "predictions": {}}


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_STATE", "~/mine.json")
    assert state_path() == tmp_path / "mine.json"
