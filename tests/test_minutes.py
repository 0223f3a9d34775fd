"""What chapters say about their length, and what the record says it took."""

import json
import re
from pathlib import Path

import pytest

from utils.checks import chapters
from utils.exercises import minutes
from utils.exercises.minutes import Section, estimate, own_minutes, stated, time_lines
from utils.exercises.state import sound_state
from utils.exercises.sync import stale_minutes

ROOT = Path(__file__).resolve().parents[1]
TIMED = chapters()
LONG = 120
HOURS = dict(enumerate("fourteen fifteen sixteen seventeen".split(), 14))
HOURS |= dict(enumerate("eighteen nineteen twenty".split(), 18))


def prose_of(stem: str) -> str:
    path = ROOT / "chapters" / f"{stem}.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join(
        "".join(c["source"]) for c in cells if c["cell_type"] == "markdown"
    )


def said_minutes(stem: str) -> list[int]:
    """The minutes below each numbered heading; 0 where there are none."""
    parts = re.split(r"^## (?=\d)", prose_of(stem), flags=re.MULTILINE)[1:]
    lines = [part.split("\n")[1:3] for part in parts]
    found = [re.fullmatch(r"\*About (\d+) minutes?\.\*", "".join(two)) for two in lines]
    return [int(match[1]) if match else 0 for match in found]


def said_time(stem: str) -> int:
    return int(re.search(r"\*\*Time:\*\* (\d+) minutes", prose_of(stem))[1])


@pytest.mark.parametrize("stem", TIMED)
def test_sections_say_minutes_that_fit_their_length_and_add_up(stem):
    said = said_minutes(stem)
    assert all(said), f"{said}: run python3 -m utils sync"
    assert stale_minutes(stem) == {}, "run python3 -m utils sync"
    # The beginning and the end of a chapter, which have no number, take some more.
    assert 0 <= said_time(stem) - sum(said) <= 12, (said_time(stem), sum(said))


@pytest.mark.parametrize("stem", TIMED)
def test_a_long_chapter_has_a_marked_place_to_stop(stem):
    marks = re.findall(r"^> \*\*A good place to stop", prose_of(stem), re.MULTILINE)
    assert len(marks) == (said_time(stem) > LONG)
    if marks:
        before = prose_of(stem).split("> **A good place to stop")[0]
        done = len(re.findall(r"^## \d", before, re.MULTILINE))
        first = sum(said_minutes(stem)[:done])
        assert first <= LONG and said_time(stem) - first <= LONG
        assert f"the end of section {done} is a good place to stop" in before


def test_the_readme_follows_the_chapters():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| \[(\w+)\].*?\| (\d+) \|", readme, re.MULTILINE))
    assert {stem: int(table[stem]) for stem in TIMED} == {
        stem: said_time(stem) for stem in TIMED
    }
    whole = sum(map(int, table.values()))
    boxes = sum(s.boxes for stem in TIMED for s in minutes.sections_of(stem))
    said = re.sub(r"\s+", " ", readme)
    assert f"about {HOURS[round(whole / 60)]} hours with every exercise" in said
    without = HOURS[round((whole - minutes.PER_BOX * boxes) / 60)]
    assert f"about {without} without the boxes" in said


def test_the_estimate_rises_with_all_that_takes_time():
    def of(exercises=(), questions=(), words=460, outputs=0, boxes=0):
        section = Section("1. A", None, exercises, questions, words, outputs, boxes)
        return estimate(section, {"f": 10, "g": 40}.get)

    assert of() == 2
    assert of(("f",)) == round(2 + 2 + 5.5)
    assert of(("f", "g")) == round(2 + 2 + 5.5 + 2 + 22)
    assert of(outputs=10) == 6
    assert of(questions=("q",) * 10) == 9
    assert of(boxes=2) == 9


# What was timed with the boxes filled in: chapter, minutes of one newcomer.
NEWCOMERS = {"ch2_zero_layer": 74, "ch5_induction_heads": 204}


@pytest.mark.parametrize("stem", NEWCOMERS)
def test_what_is_said_is_what_newcomers_took(stem):
    assert abs(said_time(stem) - NEWCOMERS[stem]) <= NEWCOMERS[stem] / 10
    assert sum(section.boxes for section in minutes.sections_of(stem)) >= 5


def test_minutes_are_written_below_a_heading_and_changed_in_place():
    source = "Before.\n\n## 2. A title\n\nText.\n\n## Unnumbered\n\nMore."
    once = stated(source, {"2. A title": 7})
    assert once == (
        "Before.\n\n## 2. A title\n\n*About 7 minutes.*\n\nText.\n\n"
        "## Unnumbered\n\nMore."
    )
    assert stated(once, {}) == once
    assert stated(once, {"2. A title": 1}) == once.replace("7 minutes", "1 minute")
    assert stated("## 0.1 A", {"0.1 A": 2}) == "## 0.1 A\n\n*About 2 minutes.*"


def record(**exercises) -> dict:
    votes = {"q": {"first": {"choice": 0, "at": "2026-01-01T10:31Z"}}}
    return sound_state({"record": {"exercises": exercises, "predictions": votes}})


def one_try(at: str) -> dict:
    return {"at": at, "status": "failed", "mistake": None}


def test_time_between_traces_counts_for_the_later_and_pauses_do_not():
    state = record(
        f={
            "opened": "2026-01-01T10:00Z",
            "tries": [one_try("2026-01-01T10:04Z"), one_try("2026-01-01T10:09Z")],
            "hints": {"1": "2026-01-01T10:06Z"},
        },
        g={
            "opened": "2026-01-01T10:12Z",
            "solution": {"first": "2026-01-01T10:40Z", "views": 1},
        },
    )
    # f: 4 + 2 + 3; g: 3, and 9 after the vote; the 19 minutes before are the vote's.
    assert own_minutes(state) == {"f": 9, "q": 19, "g": 12}
    state["record"]["predictions"]["q"]["first"]["at"] = "2026-01-01T10:33Z"
    assert own_minutes(state) == {"f": 9, "g": 10}
    assert own_minutes(sound_state({})) == {}


def test_progress_shows_them_beside_what_was_planned(monkeypatch):
    sections = [
        Section("1. One", 15, ("f",), ("q",), 0, 0, 0),
        Section("2. Two", 8, ("g",), (), 0, 0, 0),
    ]
    monkeypatch.setattr(minutes, "sections_of", lambda stem: sections)
    times = [f"2026-01-01T10:{at:02}Z" for at in (0, 14)]
    state = record(f={"tries": [one_try(at) for at in times]})
    state["record"]["predictions"] = {}
    total = "  time: you 14 min, all sections together planned 23"
    assert time_lines("ch9", state) == ["  1. One: you 14 min, planned 15", total]
    assert time_lines("ch9", state, each=False) == [total]
    assert time_lines("ch9", sound_state({})) == []
