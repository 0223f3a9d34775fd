"""The facilitator's guide: its minutes add up, and what it names is there."""

import ast
import datetime
import re
from pathlib import Path

import pytest

from utils.checks import chapters, exercises_of, find_check, predictions_of
from utils.exercises.minutes import PER_EXERCISE, PER_LINE, sections_of
from utils.exercises.sync import solution_source

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "chapters" / "FACILITATOR.md").read_text(encoding="utf-8")
PLAN = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \|(?: (\d+))? \| (.*) \|$", re.MULTILINE)
WEEK = re.compile(r"^\| \d \| (.*) \| (.*) \| (.*): (\d+) \|$", re.MULTILINE)
MORE = 1.25  # of the stated minutes, at least, are needed in a room
SESSION = 100  # minutes without the break
# "Chapter 5, sections 1 and 2 without `one`, `another`"
PLACE = re.compile(
    r"[Cc]hapter (\d)(?:, sections? ((?:[\d.]+(?:, | and | to )?)+))?"
    r"(?: without ((?:`\w+`(?:, )?)+))?"
)
NAMED = re.compile(r"\| `(\w+)`: ([^|]+) \|$", re.MULTILINE)


def part(title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    return re.split(rf"^## {title}$", GUIDE, flags=re.MULTILINE)[1].split("\n## ")[0]


@pytest.mark.parametrize(("title", "whole"), [("Half a day", 240), ("A day", 480)])
def test_the_minutes_of_a_plan_add_up(title, whole):
    text = part(title)
    assert text.split()[0] == str(whole)
    clock = datetime.timedelta()
    for hours, minutes, long, *_ in PLAN.findall(text):
        assert datetime.timedelta(hours=int(hours), minutes=int(minutes)) == clock
        clock += datetime.timedelta(minutes=int(long))
    assert clock == datetime.timedelta(minutes=whole)


def alone(words: str) -> float:
    """The minutes that sections named in a plan state for one who writes the code."""
    whole = 0.0
    for number, named, left_out in PLACE.findall(words):
        (stem,) = [one for one in chapters() if one.startswith(f"ch{number}_")]
        sections = {re.match(r"[\d.]*\d", s.heading)[0]: s for s in sections_of(stem)}
        keys = re.findall(r"[\d.]*\d", named) or list(sections)
        if " to " in named:
            (first, last), order = keys, list(sections)
            keys = order[order.index(first) : order.index(last) + 1]
        whole += sum(sections[key].minutes for key in keys)
        here = {name for key in keys for name in sections[key].exercises}
        for name in re.findall(r"`(\w+)`", left_out):
            assert name in here, (name, words)
            body = ast.parse(solution_source(stem, name)).body[0].body[1:]
            lines = sum(one.end_lineno - one.lineno + 1 for one in body)
            whole -= PER_EXERCISE + PER_LINE * lines
    return whole


@pytest.mark.parametrize("title", ["Half a day", "A day"])
def test_a_plan_has_time_for_what_its_sections_state(title):
    rows = [row for row in PLAN.findall(part(title)) if row[3]]
    assert len(rows) >= 6
    for _, _, minutes, said, words in rows:
        stated = alone(words)
        # The sections' own lines may move by as much before sync changes them.
        assert abs(int(said) - stated) <= max(3, stated / 4), (words, stated)
        assert int(minutes) >= MORE * int(said), words
    for *_, said, words in PLAN.findall(part(title)):
        assert bool(said) == words.startswith("Chapter"), words


def test_sessions_and_homework_have_time_for_their_sections():
    rows = WEEK.findall(part("Four weeks"))
    assert len(rows) == 4
    for *sessions, homework, minutes in rows:
        for words in sessions:
            assert 0 < MORE * alone(words) <= SESSION, (words, alone(words))
        assert -3 <= int(minutes) - alone(homework) <= 10, (homework, alone(homework))


def test_a_section_takes_what_it_says():
    minutes = re.findall(r"^\| (\d+) \|", part("How a section goes"), re.MULTILINE)
    assert sum(map(int, minutes)) == 20


def test_misconceptions_have_the_names_of_the_checks():
    found = NAMED.findall(GUIDE)
    assert len(found) >= 40
    for exercise, mistake in found:
        names = [one.name for one in find_check(exercise).mistakes]
        assert mistake in names, (exercise, mistake)


def test_what_is_set_as_code_exists():
    known = {name for stem in chapters() for name in exercises_of(stem)}
    known |= {one.name for stem in chapters() for one in predictions_of(stem)}
    for name in set(re.findall(r"`([a-z]+(?:_[a-z0-9]+)+)`", GUIDE)):
        assert name in known, name


def test_sections_that_are_named_are_there():
    """ "Chapter 3, sections 2, 5 and 6" are headings of that notebook."""
    for number, words in re.findall(
        r"[Cc]hapter (\d), sections? ([\d., and to]+)", GUIDE
    ):
        (notebook,) = (ROOT / "chapters").glob(f"ch{number}_*.ipynb")
        text = notebook.read_text(encoding="utf-8")
        for section in re.findall(r"\d(?:\.\d)?", words):
            assert re.search(rf"## {re.escape(section)}\.? ", text), (number, section)


def test_each_chapter_of_the_guide_has_its_parts():
    parts = re.split(r"^### ", part("Chapter by chapter"), flags=re.MULTILINE)[1:]
    assert len(parts) >= 7
    for text in parts:
        for word in ("*At the end:*", "*Discuss:*", "*Late?*"):
            assert word in text, text[:40]
        assert len(NAMED.findall(text)) >= 5, text[:40]
