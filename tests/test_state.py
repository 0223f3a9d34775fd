"""The progress file: atomic, locked, and never the end of a session."""

import datetime
import json
import os

import pytest

from utils.exercises.sound import MOST_TEXTS, MOST_TRIES
from utils.exercises.state import (
    is_revealed,
    note_asked,
    note_hint,
    note_recall,
    note_reveal,
    note_solution,
    note_try,
    note_vote,
    note_words,
    read_state,
    state_path,
    update_state,
)

EMPTY = {"exercises": {}, "predictions": {}}


@pytest.fixture(autouse=True)
def own_file(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "folder" / "progress.json"))


def passed(name):
    return lambda state: state["passed"].setdefault(name, "2026-01-01")


def test_nothing_there_is_an_empty_progress():
    assert read_state() == {
        "version": 3,
        "passed": {},
        "hints": {},
        "predictions": {},
        "record": EMPTY,
    }


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


def test_a_file_that_cannot_be_opened_just_now_is_not_begun_anew(monkeypatch):
    """As on a home that is far away and does not answer for a moment."""
    update_state(passed("direct_path"))
    there = state_path()

    def no_answer(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as moment:
        moment.setattr(type(there), "read_text", no_answer)
        assert read_state()["passed"] == {}
        with pytest.warns(UserWarning, match="Input/output error"):
            update_state(passed("ov_matrix"))
    assert set(read_state()["passed"]) == {"direct_path"}


def test_folder_that_cannot_be_made_costs_a_warning(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "file" / "progress.json"))
    with pytest.warns(UserWarning, match="could not be saved"):
        update_state(passed("direct_path"))


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
        "version": 3,
        "record": EMPTY,
    }
    assert read_state() == sound
    update_state(lambda state: None)
    assert json.loads(state_path().read_text()) == sound


def test_one_odd_section_leaves_the_others():
    state_path().parent.mkdir()
    state_path().write_text('{"passed": 3, "hints": {"ov_matrix": 2}}')
    state = read_state()
    assert (state["passed"], state["predictions"]) == ({}, {})
    assert state["hints"] == {"ov_matrix": 2}


def test_a_home_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("COURSE_STATE", "~/mine.json")
    assert state_path() == tmp_path / "mine.json"


# --- the record ---------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch):
    """Minutes that pass one by one, from half past nine."""
    minutes = iter(f"2026-01-31T09:{n:02d}Z" for n in range(30, 60))
    monkeypatch.setattr(
        "utils.exercises.state._this_minute", lambda: next(minutes, "2026-01-31T10:00Z")
    )


def test_tries_are_kept_with_the_mistake_and_the_minute(clock):
    note_try("ov_matrix", "not attempted", None)
    note_try("ov_matrix", "failed", "transposed")
    note_try("ov_matrix", "error", None)
    note_try("ov_matrix", "passed", None)
    note_try("ov_matrix", "failed", "transposed")
    entry = read_state()["record"]["exercises"]["ov_matrix"]
    assert entry["opened"] == "2026-01-31T09:30Z"
    assert [tuple(one.values()) for one in entry["tries"]] == [
        ("2026-01-31T09:31Z", "failed", "transposed"),
        ("2026-01-31T09:32Z", "error", None),
        ("2026-01-31T09:33Z", "passed", None),
        ("2026-01-31T09:34Z", "failed", "transposed"),
    ]
    assert set(read_state()["passed"]) == {"ov_matrix"}


def test_the_minute_is_utc_to_the_minute():
    note_try("ov_matrix", "failed", None)
    at = read_state()["record"]["exercises"]["ov_matrix"]["tries"][0]["at"]
    then = datetime.datetime.strptime(at, "%Y-%m-%dT%H:%MZ").replace(
        tzinfo=datetime.UTC
    )
    passed = datetime.datetime.now(datetime.UTC) - then
    assert datetime.timedelta(0) <= passed < datetime.timedelta(minutes=3)


def test_hints_and_solutions_are_kept_with_their_first_minute(clock):
    for number in (1, 2, 1):
        note_hint("ov_matrix", number)
    note_solution("ov_matrix")
    note_solution("ov_matrix")
    assert read_state()["hints"] == {"ov_matrix": 2}
    assert read_state()["record"]["exercises"]["ov_matrix"] == {
        "hints": {"1": "2026-01-31T09:30Z", "2": "2026-01-31T09:31Z"},
        "solution": {"first": "2026-01-31T09:33Z", "views": 2},
    }


def test_the_first_vote_stays_and_the_latest_before_the_reveal_beside_it(clock):
    note_vote("which_edge", 2, 3)
    first = {"choice": 2, "at": "2026-01-31T09:30Z"}
    votes = read_state()["record"]["predictions"]["which_edge"]
    assert votes == {"first": first, "revealed": None}
    note_vote("which_edge", 1, 3)
    note_vote("which_edge", 0, 3)
    note_reveal("which_edge")
    note_vote("which_edge", 1, 3)
    note_reveal("which_edge")
    assert read_state()["predictions"] == {"which_edge": 2}
    assert read_state()["record"]["predictions"]["which_edge"] == {
        "first": first,
        "second": {"choice": 0, "at": "2026-01-31T09:32Z"},
        "revealed": "2026-01-31T09:33Z",
    }


def test_a_vote_on_a_choice_that_is_gone_begins_anew(clock):
    note_vote("which_edge", 3, 4)
    note_reveal("which_edge")
    note_vote("which_edge", 1, 3)
    assert read_state()["predictions"] == {"which_edge": 1}
    votes = read_state()["record"]["predictions"]["which_edge"]
    assert votes["first"]["choice"] == 1 and votes["revealed"] is None


def test_a_twin_says_whose_idea_it_asks(clock):
    note_vote("which_edge_again", 2, 3, of="which_edge")
    votes = read_state()["record"]["predictions"]["which_edge_again"]
    assert votes["of"] == "which_edge"


def test_the_first_answer_of_each_chapter_is_kept(clock):
    note_asked("ch3_one_layer", ["a", "b"])
    note_recall("a", "ch3_one_layer", 2, False)
    note_recall("a", "ch3_one_layer", 0, True)
    note_recall("a", "ch4_two_layer", 0, True)
    assert read_state()["record"]["recall"] == {
        "asked": {"ch3_one_layer": ["a", "b"]},
        "answers": {
            "a": {
                "ch3_one_layer": {
                    "choice": 2,
                    "right": False,
                    "at": "2026-01-31T09:30Z",
                },
                "ch4_two_layer": {
                    "choice": 0,
                    "right": True,
                    "at": "2026-01-31T09:32Z",
                },
            }
        },
    }


def test_own_words_are_never_replaced_by_nothing(clock):
    for text in ("one", "one", *(f"version {n}" for n in range(9)), "  \n", ""):
        note_words("paths", text)
    texts = [one["text"] for one in read_state()["record"]["words"]["paths"]]
    assert texts == [f"version {n}" for n in range(9)][-MOST_TEXTS:]
    note_words("paths", "x" * 10**6)
    assert len(state_path().read_bytes()) < 10_000


def test_the_number_of_tries_kept_is_bounded(clock):
    def many(state):
        entry = state["record"]["exercises"].setdefault("ov_matrix", {})
        one = {"at": "2026-01-31T09:00Z", "status": "failed", "mistake": None}
        entry["tries"] = [dict(one) for _ in range(MOST_TRIES)]

    update_state(many)
    note_try("ov_matrix", "error", None)
    note_try("ov_matrix", "failed", "newest")
    entry = read_state()["record"]["exercises"]["ov_matrix"]
    assert len(entry["tries"]) == MOST_TRIES
    assert entry["dropped"] == 2
    assert entry["tries"][-1]["mistake"] == "newest"


def test_a_pass_is_never_taken_back():
    update_state(passed("ov_matrix"))
    update_state(lambda state: state["passed"].clear())
    update_state(lambda state: state["passed"].update(ov_matrix="2027-01-01"))
    note_try("ov_matrix", "failed", None)
    assert read_state()["passed"] == {"ov_matrix": "2026-01-01"}


def test_a_file_of_the_first_version_is_read_and_goes_on():
    old = {"passed": {"ov_matrix": "2026-01-01"}, "hints": {}, "predictions": {"e": 1}}
    state_path().parent.mkdir()
    state_path().write_text(json.dumps(old))
    note_vote("e", 0, 3)
    state = read_state()
    assert state["passed"] == old["passed"]
    assert state["predictions"] == {"e": 1}
    assert is_revealed(state, "e")  # that version showed the answer at once
    assert "second" not in state["record"]["predictions"].get("e", {})


def test_the_version_before_this_one_reads_what_is_written_now():
    """What it looks at: its three sections, and the first and second vote."""
    note_vote("e", 1, 3)
    note_vote("e", 0, 3)
    note_asked("ch3_one_layer", ["a"])
    note_words("paths", "text")
    state = json.loads(state_path().read_text())
    assert state["predictions"] == {"e": 1}
    assert {name: type(votes) for name, votes in state["predictions"].items()} == {
        "e": int
    }
    votes = state["record"]["predictions"]["e"]
    assert (votes["first"]["choice"], votes["second"]["choice"]) == (1, 0)
    assert set(state["record"]) == {"exercises", "predictions", "recall", "words"}


def test_a_newer_version_keeps_what_it_wrote():
    """What this version does not know stays, and so does the number."""
    one = {"at": "2026-01-31T09:00Z", "status": "nearly", "mistake": None, "new": 1}
    newer = {
        "version": 4,
        "passed": {"ov_matrix": "2026-01-01"},
        "record": {
            "exercises": {"ov_matrix": {"tries": [one], "new": {"a": 1}}},
            "rooms": {"a": 1},
        },
    }
    state_path().parent.mkdir()
    state_path().write_text(json.dumps(newer))
    note_try("ov_matrix", "failed", None)
    state = json.loads(state_path().read_text())
    assert state["version"] == 4
    assert state["record"]["rooms"] == {"a": 1}
    entry = state["record"]["exercises"]["ov_matrix"]
    assert (entry["tries"][0], entry["new"]) == (one, {"a": 1})


@pytest.mark.parametrize(
    "record",
    [
        3,
        {"exercises": []},
        {"exercises": {"ov_matrix": 7}},
        {"exercises": {"ov_matrix": {"tries": 7, "dropped": -1, "opened": "soon"}}},
        {"exercises": {"ov_matrix": {"tries": [[], {"at": "x"}, {"at": 1}, None]}}},
        {"exercises": {"ov_matrix": {"hints": [1], "solution": {"views": "2"}}}},
        {"predictions": {"e": {"first": 1, "second": {"choice": True}}}},
        {"predictions": {"e": {"revealed": 7, "of": [1]}}, "recall": 3, "words": []},
        {"recall": {"asked": {"ch1": 1, "ch2": [2, "b"]}, "answers": [1]}},
        {"recall": {"answers": {"a": 3, "b": {"ch1": {"choice": -1}}}}},
        {"words": {"paths": "text", "more": [1, {"text": 2}, {"text": "x"}]}},
    ],
)
def test_odd_records_are_passed_over(record):
    state_path().parent.mkdir()
    state_path().write_text(json.dumps({"record": record, "hints": {"ov_matrix": 2}}))
    note_try("ov_matrix", "failed", "transposed")
    note_hint("ov_matrix", 1)
    note_solution("ov_matrix")
    note_vote("e", 1, 3)
    note_asked("ch1", ["a"])
    note_recall("b", "ch1", 1, True)
    note_words("paths", "mine")
    assert read_state()["record"]["words"]["paths"][-1]["text"] == "mine"
    assert read_state()["record"]["recall"]["asked"]["ch1"] == ["a"]
    assert read_state()["record"]["recall"]["answers"]["b"]["ch1"]["choice"] == 1
    entry = read_state()["record"]["exercises"]["ov_matrix"]
    assert [one["mistake"] for one in entry["tries"]] == ["transposed"]
    assert entry["solution"]["views"] == 1
    assert read_state()["hints"] == {"ov_matrix": 2}
    assert read_state()["record"]["predictions"]["e"]["first"]["choice"] == 1


def test_the_engine_writes_the_record(capsys):
    from utils.exercises import engine

    namespace = {"exercise": engine.exercise, "FactoredMatrix": object}
    lines = "@exercise\ndef ov_matrix(model, layer, head):\n    return None\n"
    exec(lines, namespace)
    engine.hint("ov_matrix")
    engine.solution("ov_matrix")
    state = read_state()
    entry = state["record"]["exercises"]["ov_matrix"]
    assert [one["status"] for one in entry["tries"]] == ["failed"]
    assert set(entry["hints"]) == {"1"}
    assert entry["solution"]["views"] == 1
    assert state["passed"] == {}
