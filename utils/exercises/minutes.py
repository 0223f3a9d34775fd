"""How long a section takes: what it says, what it should say, and what it took you.

Each section of a chapter says its minutes below its heading. `python3 -m utils sync`
writes a line that is missing or far off, by a rule from the section's length. The
learner's own minutes come from the record of tries, hints and votes in the state file;
`progress` shows both.
"""

import datetime
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from utils.checks import EXERCISE_CELL

__all__ = [
    "LINE",
    "Section",
    "estimate",
    "own_minutes",
    "sections_of",
    "stated",
    "time_lines",
]

CHAPTERS = Path(__file__).parents[2] / "chapters"
HEADING = re.compile(r"^## (\d+(?:\.\d+)?\.? [^\n]*)", re.MULTILINE)
LINE = re.compile(r"^\*About (\d+) minutes?\.\*\n*", re.MULTILINE)
BOX = re.compile(r"^own_words\(", re.MULTILINE)
QUESTION = re.compile(r"^predict\(\"(\w+)\"", re.MULTILINE)
NOT_READ = re.compile(r"\]\([^)]*\)|\\textcolor\{[^}]*\}|^```.*?^```", re.M | re.S)
# What is known, each from one person and once. Chapter 5 took 170 minutes for somebody
# who wrote the code, before it had boxes for one's own words: that set the weights but
# the last. Later two newcomers, with the notebook alone, took 74 minutes for chapter 2
# and 204 for chapter 5. They wrote in the boxes, and entered a wrong answer at every
# exercise before the right one, which a reader does at some. The last weight, a box's,
# was fitted to these two: with 3.5 the sections come to 71 and 202, and a chapter's
# beginning and end take about 4. Six chapters were never timed, and how far two people
# differ is not known: a third less or more would be no surprise.
WORDS_A_MINUTE, PER_EXERCISE, PER_LINE = 230, 2, 0.55
PER_QUESTION, PER_OUTPUT, PER_BOX = 0.7, 0.4, 3.5
LONGEST_STEP = 20  # a longer time between two traces is a pause


@dataclass(frozen=True)
class Section:
    """A numbered section: its heading, the minutes it says, what it asks, its size."""

    heading: str
    minutes: int | None
    exercises: tuple[str, ...]
    questions: tuple[str, ...]
    words: int
    outputs: int
    boxes: int


def sections_of(stem: str) -> list[Section]:
    """The numbered sections of a chapter, in order, as the notebook has them."""
    path = CHAPTERS / f"{stem}.ipynb"
    parts: list[dict] = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for piece in re.split(r"(?m)^(?=## )", source):
                if piece.startswith("## "):
                    parts.append(_empty(piece))
                if parts:
                    parts[-1]["words"] += len(NOT_READ.sub("", piece).split())
        elif parts:
            _count_code(parts[-1], source)
    return [
        Section(**{**part, "heading": part["heading"][3:].strip()})
        for part in parts
        if HEADING.match(part["heading"])
    ]


def _empty(piece: str) -> dict:
    said = LINE.search(piece)
    return {
        "heading": piece.split("\n")[0],
        "minutes": int(said[1]) if said else None,
        "exercises": (),
        "questions": (),
        "words": 0,
        "outputs": 0,
        "boxes": 0,
    }


def _count_code(part: dict, source: str) -> None:
    if exercise := EXERCISE_CELL.match(source):
        part["exercises"] += (exercise[1],)
        task = source.split('"""')
        part["words"] += len(task[1].split()) if len(task) > 1 else 0
    elif question := QUESTION.match(source):
        part["questions"] += (question[1],)
    elif BOX.search(source):
        part["boxes"] += 1
    else:
        part["outputs"] += 1


def estimate(section: Section, length: Callable[[str], int]) -> int:
    """The minutes a section should say; `length` gives an exercise's lines of code."""
    minutes = section.words / WORDS_A_MINUTE
    minutes += sum(PER_EXERCISE + PER_LINE * length(n) for n in section.exercises)
    minutes += PER_QUESTION * len(section.questions) + PER_OUTPUT * section.outputs
    minutes += PER_BOX * section.boxes
    return max(1, round(minutes))


def stated(source: str, minutes: dict[str, int]) -> str:
    """A Markdown text with the given minutes below the headings that have some."""

    def write(found: re.Match) -> str:
        heading = found[1].strip()
        if heading not in minutes:
            return found[0]
        number = minutes[heading]
        return f"## {heading}\n\n*About {number} minute{'s' * (number != 1)}.*\n\n"

    return re.sub(
        rf"{HEADING.pattern}\n*(?:{LINE.pattern})?", write, source, flags=re.M
    ).rstrip("\n")


# --- the learner's own ----------------------------------------------------------------


def own_minutes(state: dict) -> dict[str, int]:
    """Minutes spent before each exercise and question, by the state file's record.

    Every try, hint, solution and vote is a trace with its minute. The time between two
    traces counts for the later one, unless it is over 20 minutes, which is a pause. So
    the sum is at least what was worked, but for what was read before the first trace.
    """
    traces = []
    for name, entry in state["record"]["exercises"].items():
        times = [entry.get("opened"), entry.get("solution", {}).get("first")]
        times += [one["at"] for one in entry.get("tries", [])]
        times += entry.get("hints", {}).values()
        traces += [(at, name) for at in times if at]
    for name, votes in state["record"]["predictions"].items():
        chosen = [votes[key]["at"] for key in ("first", "second") if key in votes]
        traces += [(at, name) for at in chosen]
    traces = sorted((_time(at), name) for at, name in traces)
    spent: dict[str, int] = {}
    for (before, _), (now, name) in zip(traces, traces[1:], strict=False):
        step = round((now - before).total_seconds() / 60)
        if step <= LONGEST_STEP:
            spent[name] = spent.get(name, 0) + step
    return spent


def _time(at: str) -> datetime.datetime:
    return datetime.datetime.strptime(at, "%Y-%m-%dT%H:%MZ")


def time_lines(stem: str, state: dict, each: bool = True) -> list[str]:
    """What a chapter took the learner beside what it says, section by section.

    Only sections with minutes of the learner's own are named; `each=False` gives their
    sum alone. Empty where there is nothing yet.
    """
    spent = own_minutes(state)
    lines, mine, planned = [], 0, 0
    for section in sections_of(stem):
        own = sum(spent.get(n, 0) for n in section.exercises + section.questions)
        mine, planned = mine + own, planned + (section.minutes or 0)
        if own and each:
            said = f"{section.heading}: you {own} min, planned {section.minutes}"
            lines.append(f"  {said}")
    total = f"  time: you {mine} min, all sections together planned {planned}"
    return [*lines, total] if mine else []
