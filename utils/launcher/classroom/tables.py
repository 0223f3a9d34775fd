"""The class report as tables of CSV, and the tables that nbgrader reads.

nbgrader imports students with `nbgrader db student import FILE` (column `id`; also
`first_name`, `last_name`, `email`) and assignments with `nbgrader db assignment import
FILE` (column `name`; also `duedate`). It has no command that imports grades: they stand
in the columns of its own `nbgrader export`, keyed by `assignment` and `student_id`, so
that whatever reads that export reads this. Both imports and the columns were tried with
nbgrader 0.9.6.
"""

import csv
import re
from collections import Counter
from pathlib import Path

from utils.checks import chapters, exercises_of
from utils.launcher.classroom.counts import UNKNOWN, Room, sentence_of
from utils.launcher.classroom.learners import Learner

__all__ = ["write_nbgrader", "write_tables"]

GRADES = (
    "assignment",
    "duedate",
    "timestamp",
    "student_id",
    "last_name",
    "first_name",
    "email",
    "raw_score",
    "late_submission_penalty",
    "score",
    "max_score",
)


def write_tables(room: Room, folder: Path, names: bool = True) -> list[Path]:
    """Write learners, solved, exercises, mistakes and votes; returns the files.

    Without names no file says where a row came from.
    """
    return [
        _write(folder / "learners.csv", _learners(room, names)),
        _write(folder / "solved.csv", _solved(room)),
        _write(folder / "exercises.csv", _exercises(room)),
        _write(folder / "mistakes.csv", _mistakes(room)),
        _write(folder / "votes.csv", _votes(room)),
    ]


def write_nbgrader(room: Room, folder: Path) -> list[Path]:
    """Write the tables for nbgrader: one assignment a chapter, one point an exercise.

    A score is what running the notebook again gave where that was done, else what the
    learner's own state says.
    """
    ids = _student_ids(room.learners)
    students = [["id", "first_name"]]
    students += [[ids[one.key], one.name] for one in room.learners]
    grades = [list(GRADES)]
    for stem in chapters():
        names = exercises_of(stem)
        for learner in room.learners:
            if stem in learner.rerun:
                statuses = learner.rerun[stem]
                score = sum(statuses.get(name) == "passed" for name in names)
            else:
                score = len(room.solved[learner.key].intersection(names))
            last = room.where[learner.key].last
            when = last.strftime("%Y-%m-%d %H:%M:%S") if last else ""
            row = [stem, "", when, ids[learner.key], "", learner.name, ""]
            grades.append([*row, float(score), 0.0, float(score), float(len(names))])
    return [
        _write(folder / "nbgrader_students.csv", students),
        _write(
            folder / "nbgrader_assignments.csv", [["name"], *([s] for s in chapters())]
        ),
        _write(folder / "nbgrader_grades.csv", grades),
    ]


def _learners(room: Room, names: bool) -> list[list]:
    stems = chapters()
    head = ["learner", *stems, "solved", "at", "tries_there", "stuck", "last_seen_utc"]
    head += [f"run_again_{stem}" for stem in stems] + ["remarks"]
    head += ["place"] if names else []
    rows = [head]
    for learner in room.learners:
        solved, where = room.solved[learner.key], room.where[learner.key]
        row = [learner.name]
        row += [len(solved.intersection(exercises_of(stem))) for stem in stems]
        row += [len(solved), where.exercise or "", where.tries, int(where.stuck)]
        row.append(where.last.strftime("%Y-%m-%dT%H:%MZ") if where.last else "")
        for stem in stems:
            statuses = learner.rerun.get(stem)
            passed = Counter((statuses or {}).values())["passed"]
            row.append("" if statuses is None else passed)
        row.append(" ".join(learner.notes))
        rows.append([*row, learner.key] if names else row)
    return rows


def _solved(room: Room) -> list[list]:
    """learner x exercise: the state's "passed" or number of tries, and the re-run."""
    rows = [
        ["learner", "exercise", "passed", "tries", "hints", "solution", "run_again"]
    ]
    for learner in room.learners:
        state = learner.state or {}
        record = state.get("record", {}).get("exercises", {})
        for name, exercise in room.exercises.items():
            entry = record.get(name, {})
            tries = len(entry.get("tries", [])) + entry.get("dropped", 0)
            passed = name in room.solved[learner.key]
            again = learner.rerun.get(exercise.chapter, {}).get(name, "")
            hints = state.get("hints", {}).get(name, 0)
            if passed or tries or hints or again:
                seen = int("solution" in entry)
                row = [learner.name, name, int(passed), tries, hints, seen, again]
                rows.append(row)
    return rows


def _exercises(room: Room) -> list[list]:
    rows = [["chapter", "exercise", "solved", "tried", "hints", "solution", "here_now"]]
    here = Counter(where.exercise for where in room.where.values())
    rows += [
        [one.chapter, name, one.solved, one.tried, one.hinted, one.opened, here[name]]
        for name, one in room.exercises.items()
    ]
    return rows


def _mistakes(room: Room) -> list[list]:
    rows = [["exercise", "mistake", "learners", "sentence"]]
    for name, exercise in room.exercises.items():
        for mistake, learners in exercise.mistakes.most_common():
            says = "" if mistake == UNKNOWN else sentence_of(name, mistake)
            rows.append([name, mistake, learners, says])
    return rows


def _votes(room: Room) -> list[list]:
    """A row a choice; a twin's rows name the prediction whose idea it asks again."""
    rows = [["chapter", "prediction", "twin_of", "choice", "right", "first", "now"]]
    for vote in room.votes:
        for one in (vote, vote.twin):
            for index, choice in enumerate(one.prediction.choices if one else ()):
                right = int(index == one.prediction.right)
                row = [one.chapter, one.prediction.name, one.prediction.of]
                row += [choice.text, right, one.first[index], one.now[index]]
                rows.append(row)
    return rows


def _student_ids(learners: list[Learner]) -> dict[str, str]:
    """An id for each learner, from the name of the file or folder, never one twice."""
    ids: dict[str, str] = {}
    for learner in learners:
        wanted = re.sub(r"[^\w.@-]", "_", learner.place.name).lstrip("-.@") or "learner"
        found, number = wanted, 1
        while found in ids.values():
            number += 1
            found = f"{wanted}-{number}"
        ids[learner.key] = found
    return ids


def _write(path: Path, rows: list[list]) -> Path:
    with open(path, "w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(
            [[_harmless(value) for value in row] for row in rows]
        )
    return path


def _harmless(value):
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return "'" + value
    return value
