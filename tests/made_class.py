"""A made-up class of 24, written as learners hand it in, with what was put into it.

Called by tests/test_report.py. Two are called ada, one state is damaged, one is odd,
one learner has HTML for a name and one a formula. What happened is kept as plain
events, from which the test counts without the report's own code.
"""

import datetime
import json
import random
from dataclasses import dataclass, field
from pathlib import Path

from utils.checks import chapters, exercises_of, find_check, predictions_of

START = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)
NOW = START + datetime.timedelta(hours=3)
HTML_NAME = "<img src=x onerror=alert(1)><b>eve"
FORMULA_NAME = "=1+1"
NAMES = (
    [f"learner{n:02d}" for n in range(1, 19)]
    + ["ada", "ada", "damaged", "odd", HTML_NAME, FORMULA_NAME]
)  # fmt: skip


@dataclass
class Made:
    """One learner: (minute, exercise, status, mistake), votes and what was opened."""

    name: str
    place: Path  # the state's place in the folder
    tries: list[tuple] = field(default_factory=list)
    votes: dict[str, tuple] = field(default_factory=dict)  # first, second or None
    hints: dict[str, int] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)

    @property
    def passed(self) -> set[str]:
        return {name for _, name, status, _ in self.tries if status == "passed"}


def make_class(folder: Path, seed: int = 7) -> list[Made]:
    """Write the class into a folder; returns those whose states can be read."""
    draw = random.Random(seed)
    learners = []
    for number, name in enumerate(NAMES):
        place = Path(name, ".course_progress.json")
        if number % 3 == 0 or name in (HTML_NAME, FORMULA_NAME):
            place = Path(f"{name}.json")
        if name == "ada":
            place = Path(("monday", "tuesday")[number % 2], "ada.json")
        learner = Made(name, place)
        _live(learner, draw)
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(_state(learner))
        if name == "damaged":
            text = text[: len(text) // 2]
        elif name == "odd":
            text = json.dumps(_with_oddities(_state(learner)))
        (folder / place).write_text(text, encoding="utf-8")
        if name != "damaged":
            learners.append(learner)
    return learners


def _live(learner: Made, draw: random.Random) -> None:
    """Work through chapters 0 to 2 for up to three hours, ending somewhere."""
    minute = draw.randrange(5)
    end = draw.randrange(20, 180)
    for stem in chapters()[:3]:
        for asked in predictions_of(stem):
            choices = range(len(asked.choices))
            second = asked.right if draw.random() < 0.4 else None
            if draw.random() < 0.8 and minute < end:
                learner.votes[asked.name] = (draw.choice(choices), second, minute)
        for name in exercises_of(stem):
            mistakes = [mistake.name for mistake in find_check(name).mistakes[:3]]
            many = draw.random() < 0.15
            for _ in range(draw.randrange(6 if not many else 15)):
                if minute >= end and not many:
                    return
                named = draw.choice([*mistakes, mistakes[0], None])
                status = "failed" if named else "error"
                learner.tries.append((minute, name, status, named))
                minute += draw.randrange(4)
            if draw.random() < 0.3:
                learner.hints[name] = draw.randrange(1, 4)
            if draw.random() < 0.2:
                learner.opened.add(name)
            if minute >= end:
                return
            if draw.random() < 0.85 and not many:
                learner.tries.append((minute, name, "passed", None))
            minute += 1 + draw.randrange(4)


def _minute(number: int) -> str:
    moment = START + datetime.timedelta(minutes=number)
    return moment.strftime("%Y-%m-%dT%H:%MZ")


def _state(learner: Made) -> dict:
    exercises: dict = {}
    for minute, name, status, mistake in learner.tries:
        entry = exercises.setdefault(name, {"tries": []})
        one = {"at": _minute(minute), "status": status, "mistake": mistake}
        entry["tries"].append(one)
    for name in learner.opened:
        seen = {"first": _minute(1), "views": 2}
        exercises.setdefault(name, {})["solution"] = seen
    votes: dict = {}
    for name, (first, second, minute) in learner.votes.items():
        votes[name] = {"first": {"choice": first, "at": _minute(minute)}}
        if second is not None:
            votes[name]["second"] = {"choice": second, "at": _minute(minute)}
    return {
        "version": 2,
        "passed": {name: "2026-03-02" for name in learner.passed},
        "hints": learner.hints,
        "predictions": {name: vote[0] for name, vote in learner.votes.items()},
        "record": {"exercises": exercises, "predictions": votes},
    }


def _with_oddities(state: dict) -> dict:
    """Entries that no version writes, beside the sound ones."""
    state["passed"] |= {"<script>alert(1)</script>": "2026-03-02", "next_token": 7}
    state["predictions"] |= {"no such question": 10**9, "also none": -1}
    exercises = state["record"]["exercises"]
    exercises["full_ov_circuit"] = {"tries": [3, {"at": "9999-99-99T99:99Z"}]}
    exercises["no such exercise"] = {"tries": []}
    late = {"at": "9998-01-01T00:00Z", "status": "failed", "mistake": "<b>bold</b>"}
    exercises["svd_of_product"] = {"tries": [late]}
    return state
