"""`progress`: where it is kept, what is odd about the file, and how it is forgotten."""

import pytest

from tests.test_state import own_file, passed  # noqa: F401 - a fixture for each test
from utils.exercises import cards
from utils.exercises.engine import main, progress
from utils.exercises.state import (
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
    where_kept,
)


def test_forgetting_deletes_the_file(capsys):
    assert main(["progress", "--forget"]) == 0
    assert "nothing to delete" in capsys.readouterr().out
    update_state(passed("ov_matrix"))
    assert main(["progress", "--forget"]) == 0
    assert str(state_path()) in capsys.readouterr().out
    assert not state_path().exists()
    assert read_state()["passed"] == {}


def test_forgetting_says_in_a_sentence_what_it_cannot(capsys):
    state_path().mkdir(parents=True)
    assert main(["progress", "--forget"]) == 1
    assert "could not be deleted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "Nothing is kept yet. It will be in PATH."),
        (b'{"version": 1, "passed": {}}', "Kept in PATH, which any editor shows."),
        (b'{"version": 9}', "A newer version of the course wrote it"),
        (b'{"passed": {"ov_matrix": 7}}', "Odd entries in it were passed over."),
        (b'{"passed": {"a"', "PATH is damaged."),
        (b"[" * 10_000, "PATH is damaged."),
        ("{}".encode("utf-16"), "PATH is damaged."),
    ],
)
def test_progress_says_where_it_is_kept_and_what_is_odd(content, sentence, capsys):
    if content is not None:
        state_path().parent.mkdir()
        state_path().write_bytes(content)
    assert sentence.replace("PATH", str(state_path())) in where_kept()
    assert main(["progress", "ch2"]) == 0
    assert sentence.replace("PATH", str(state_path())) in capsys.readouterr().out
    if content is not None:
        assert state_path().read_bytes() == content  # looking changes nothing


def test_a_progress_in_use_has_no_oddities():
    """Whatever this version writes is none, with every kind of entry in it."""
    note_try("ov_matrix", "failed", "transposed")
    note_hint("ov_matrix", 1)
    note_solution("ov_matrix")
    note_vote("e", 1, 3)
    note_reveal("e")
    note_recall("e", "ch1", 0, True)
    note_words("paths", "text")
    assert where_kept() == f"Kept in {state_path()}, which any editor shows."


def test_the_path_is_prose_that_breaks_into_lines(monkeypatch):
    """In code it would run out of a narrow page."""
    shown = []
    monkeypatch.setattr(cards, "show", shown.append)
    progress("ch7")
    [card] = shown
    prose, listed = card.html.split("<pre")
    assert str(state_path()) in prose and str(state_path()) not in listed
    assert "fold_layer_norm" in listed
