"""The facilitator's guide: its minutes add up, and what it names is there."""

import datetime
import re
from pathlib import Path

import pytest

from utils.checks import chapters, exercises_of, find_check, predictions_of

ROOT = Path(__file__).resolve().parents[1]
GUIDE = (ROOT / "chapters" / "FACILITATOR.md").read_text(encoding="utf-8")
PLAN = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \| (.*) \|$", re.MULTILINE)
NAMED = re.compile(r"\| `(\w+)`: ([^|]+) \|$", re.MULTILINE)


def part(title: str) -> str:
    """The text below a heading, up to the next one of its kind."""
    return re.split(rf"^## {title}$", GUIDE, flags=re.MULTILINE)[1].split("\n## ")[0]


@pytest.mark.parametrize(("title", "whole"), [("Half a day", 240), ("A day", 480)])
def test_the_minutes_of_a_plan_add_up(title, whole):
    text = part(title)
    assert text.split()[0] == str(whole)
    clock = datetime.timedelta()
    for hours, minutes, long, _ in PLAN.findall(text):
        assert datetime.timedelta(hours=int(hours), minutes=int(minutes)) == clock
        clock += datetime.timedelta(minutes=int(long))
    assert clock == datetime.timedelta(minutes=whole)


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
