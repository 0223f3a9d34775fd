"""The votes of a room on one screen: counted, hidden until revealed, kept fresh."""

import datetime
import json
import os
import time
from collections import Counter
from html import escape
from pathlib import Path

import pytest

from tests.made_class import make_class
from utils.checks import find_prediction, twin_of
from utils.launcher import report
from utils.launcher.classroom import room as module
from utils.launcher.classroom.learners import find_learners
from utils.launcher.classroom.room import ANSWER, HIDDEN, VOTES, room, tally


def minute(ago: int) -> str:
    now = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=ago)
    return now.strftime("%Y-%m-%dT%H:%MZ")


def write(folder, name: str, votes: dict, ago: int = 0) -> None:
    """A state with first and second votes: question -> (first, second or None)."""
    record = {}
    for question, (first, second) in votes.items():
        record[question] = {"first": {"choice": first, "at": minute(ago)}}
        if second is not None:
            record[question]["second"] = {"choice": second, "at": minute(ago)}
    state = {
        "version": 3,
        "predictions": {question: pair[0] for question, pair in votes.items()},
        "record": {"predictions": record},
    }
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.json").write_text(json.dumps(state))


def test_a_made_class_is_counted_and_its_broken_states_passed_over(tmp_path):
    made = make_class(tmp_path / "class")
    asked = find_prediction("first_row")
    votes = [one.votes[asked.name] for one in made if asked.name in one.votes]
    before = Counter(first for first, _, _ in votes)
    after = Counter(first if second is None else second for first, second, _ in votes)
    vote, text, page = tally(tmp_path / "class", asked.name)
    assert vote.first == [before[i] for i in range(len(asked.choices))]
    assert vote.now == [after[i] for i in range(len(asked.choices))]
    assert vote.again == sum(second is not None for _, second, _ in votes)
    assert "1 could not be read" in text and "1 could not be read" in page
    assert "<script" not in page and "onerror" not in page


def test_votes_and_answer_stay_hidden_until_asked_for(tmp_path):
    asked = find_prediction("which_edge")
    for n in range(7):
        write(tmp_path, f"one{n}", {asked.name: (asked.right, None)})
    for n in range(4):
        write(tmp_path, f"two{n}", {asked.name: (0, asked.right)})
    hidden, votes, answer = (
        tally(tmp_path, "", show)[1:] for show in (HIDDEN, VOTES, ANSWER)
    )
    explained = asked.choices[asked.right].explanation[:30]
    for said in hidden:
        assert "11 have voted, 4 again" in said and asked.choices[0].text in said
        assert "before" not in said and "✓" not in said and "(right)" not in said
        assert explained not in said
    for said in votes:
        assert "before" in said and "after" in said
        assert "✓" not in said and "(right)" not in said and explained not in said
    assert "  7 before,  11 after" in answer[0] and "(right)" in answer[0]
    assert "✓" in answer[1] and escape(explained) in answer[1]
    # The longest bar would give the answer away.
    assert "width:" not in hidden[1].replace("max-width", "")


def test_the_room_and_not_one_fast_learner_moves_the_screen(tmp_path):
    for n in range(5):
        write(tmp_path, f"old{n}", {"where_it_looks": (0, 1)}, ago=40)
    assert tally(tmp_path)[0].prediction.name == "where_it_looks"
    for n in range(3):
        write(tmp_path, f"new{n}", {"which_edge": (0, None)}, ago=1)
    write(tmp_path, "fast", {"pointer_edge": (0, None)})
    assert tally(tmp_path)[0].prediction.name == "which_edge"
    write(tmp_path, "clock", {"sign_flip": (0, None)}, ago=-300)
    assert tally(tmp_path)[0].prediction.name == "which_edge"


def test_a_twin_is_shown_with_its_question(tmp_path):
    asked, twin = find_prediction("which_edge"), twin_of("which_edge")
    write(tmp_path, "a", {asked.name: (0, None), twin.name: (twin.right, None)})
    write(tmp_path, "b", {asked.name: (0, None), twin.name: (1, None)})
    write(tmp_path, "c", {asked.name: (0, None)})
    for said in tally(tmp_path, asked.name, VOTES)[2:]:
        assert "Asked again later: 1 of 2 right" in said
    assert sum(tally(tmp_path, twin.name)[0].first) == 2
    # Who answers only the second of the two is part of the room all the same.
    write(tmp_path, "d", {twin.name: (1, None)})
    assert sum(tally(tmp_path, twin.name)[0].first) == 3
    assert "1 of 2 right" in tally(tmp_path, asked.name)[1:][1]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"record": 3}', '{"predictions": {"which_edge": 99}}']
)
def test_what_is_no_vote_is_passed_over(tmp_path, content):
    write(tmp_path, "good", {"which_edge": (1, None)})
    (tmp_path / "odd <b>name\n.json").write_text(content)
    (tmp_path / "notes.txt").write_text("x")
    vote, text, _ = tally(tmp_path)
    assert (vote.prediction.name, sum(vote.first)) == ("which_edge", 1)
    assert "<b>" not in text


def test_states_of_all_versions_are_counted(tmp_path):
    """The first kept no minutes, the second no reveal, a newer one what it likes."""
    old = {"passed": {}, "hints": {}, "predictions": {"which_edge": 1}}
    (tmp_path / "one.json").write_text(json.dumps(old))
    (tmp_path / "still_one.json").write_text(json.dumps({**old, "passed": {"a": "b"}}))
    vote, _, _ = tally(tmp_path)
    assert (vote.prediction.name, sum(vote.first)) == ("which_edge", 2)
    write(tmp_path, "three", {"which_edge": (0, 1)})
    two = json.loads((tmp_path / "three.json").read_text())
    (tmp_path / "two.json").write_text(json.dumps({**two, "version": 2}))
    two["record"]["predictions"]["which_edge"]["third"] = [1]
    (tmp_path / "four.json").write_text(json.dumps({**two, "version": 4, "new": 1}))
    vote, text, _ = tally(tmp_path)
    assert (sum(vote.first), vote.again, vote.now[1]) == (5, 3, 5)
    assert "could not be read" not in text


def test_an_empty_room_and_what_is_not_there(tmp_path, capsys):
    room(tmp_path)
    assert "Nobody has voted yet" in capsys.readouterr().out
    with pytest.raises(NotADirectoryError):
        room(tmp_path / "nowhere")
    with pytest.raises(KeyError, match="no_such"):
        room(tmp_path, "no_such")


# --- live -----------------------------------------------------------------------------


@pytest.fixture
def screen(tmp_path, monkeypatch):
    """A screen as in a notebook, on an empty room, that looks every 50 ms."""
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", lambda *_: None)
    room(tmp_path, every=0.05)
    (found,) = module._open
    yield found
    found.stop()
    module._open.clear()


def soon(condition) -> bool:
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_the_screen_follows_the_folder_by_itself(screen, tmp_path):
    assert "Nobody has voted" in screen._page.value
    write(tmp_path, "a", {"which_edge": (0, None)})
    assert soon(lambda: "1 has voted" in screen._page.value)
    screen._show.value = VOTES
    assert soon(lambda: "before" in screen._page.value)
    (tmp_path / "a.json").write_text('{"predi')
    assert soon(lambda: "1 could not be read" in screen._page.value or
                "Nobody" in screen._page.value)  # fmt: skip
    write(tmp_path, "a", {"which_edge": (0, 1)})
    assert soon(lambda: "1 has voted, 1 again" in screen._page.value)


def test_a_new_question_is_hidden_at_first(screen, tmp_path):
    write(tmp_path, "a", {"which_edge": (0, None)})
    assert soon(lambda: "which_edge" in screen._page.value)
    screen._show.value = ANSWER
    assert soon(lambda: "✓" in screen._page.value)
    for name in "bc":
        write(tmp_path, name, {"sign_flip": (1, None)})
    assert soon(lambda: "sign_flip" in screen._page.value)
    assert screen._show.value == HIDDEN and "✓" not in screen._page.value


def test_a_folder_that_goes_away_ends_nothing(screen, tmp_path):
    write(tmp_path, "a", {"which_edge": (0, None)})
    assert soon(lambda: "1 has voted" in screen._page.value)
    moved = tmp_path.rename(tmp_path.with_name("elsewhere"))
    assert soon(lambda: "cannot be read just now" in screen._page.value)
    moved.rename(tmp_path)
    assert soon(lambda: "1 has voted" in screen._page.value)


def test_a_second_room_stops_the_first(screen, tmp_path):
    room(tmp_path, every=0.05)
    (second,) = module._open
    assert second is not screen and screen._ended
    assert screen._stop.description == "Stopped"
    second.stop()
    write(tmp_path, "a", {"which_edge": (0, None)})
    time.sleep(0.2)
    assert "Nobody has voted" in second._page.value


# --- folders that are closed ----------------------------------------------------------


@pytest.fixture
def closed(monkeypatch):
    """Folders that are closed to this process for as long as they stand in the set.

    By the one call that opens a folder, for root may open every real one.
    """
    found: set[Path] = set()
    opens = os.scandir

    def scandir(path):
        if Path(path) in found:
            raise PermissionError(13, "Permission denied", str(path))
        return opens(path)

    monkeypatch.setattr(os, "scandir", scandir)
    return found


def test_one_learner_s_closed_folder_is_counted_as_unread(tmp_path, closed):
    for name in ("ada", "ben"):
        write(tmp_path / name, "progress", {"which_edge": (0, None)})
    closed.add(tmp_path / "ben")
    vote, text, _ = tally(tmp_path)
    assert sum(vote.first) == 1 and "1 could not be read" in text
    (unread,) = [one for one in find_learners(tmp_path) if one.state is None]
    wanted = ["The folder could not be read: Permission denied."]
    assert (unread.name, unread.notes) == ("ben", wanted)


def test_a_screen_says_when_its_folder_is_closed_and_goes_on(screen, tmp_path, closed):
    """Never "nobody has voted", which would be false."""
    write(tmp_path, "ada", {"which_edge": (0, None)})
    assert soon(lambda: "1 has voted" in screen._page.value)
    closed.add(tmp_path)
    assert soon(lambda: "cannot be read just now" in screen._page.value)
    assert "Permission denied" in screen._page.value
    assert "obody" not in screen._page.value
    closed.clear()
    assert soon(lambda: "1 has voted" in screen._page.value)


def test_a_report_on_a_closed_folder_is_one_sentence(tmp_path, closed, capsys):
    closed.add(tmp_path)
    assert report.main([str(tmp_path)]) == 2
    assert "May you read the folder" in capsys.readouterr().err
