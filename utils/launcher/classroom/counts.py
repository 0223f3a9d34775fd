"""Counts what the learners' states say: exercises, where the room is, mistakes, votes.

Only names that the course knows are counted, so a state cannot put words on the page.
"""

import datetime
from collections import Counter
from dataclasses import dataclass, field

from utils.checks import (
    Prediction,
    chapters,
    exercises_of,
    find_check,
    predictions_of,
    twin_of,
)
from utils.launcher.classroom.learners import Learner

__all__ = [
    "GENERAL",
    "UNKNOWN",
    "Exercise",
    "Room",
    "Vote",
    "Where",
    "count",
    "count_votes",
    "moment_of",
    "sentence_of",
    "votes_on",
]

STUCK_TRIES, STUCK_MINUTES = 3, 10
ACTIVE_MINUTES = 60
AHEAD = datetime.timedelta(days=1)  # a clock may be wrong by a time zone
UNKNOWN = "a mistake this version of the course does not know"
# Mistakes that the engine names itself.
GENERAL = {
    "other signature": "The result is right, but the parameters are not the stub's.",
    "changes its input": "The function changed what it was given.",
}


@dataclass
class Exercise:
    """What the room did with one exercise; learners, not tries, are counted."""

    name: str
    chapter: str
    solved: int = 0
    tried: int = 0  # with a try or a pass
    opened: int = 0  # the solution was opened before or after
    hinted: int = 0
    tries: list[int] = field(default_factory=list)  # of those who tried, until the pass
    mistakes: Counter = field(default_factory=Counter)  # name -> learners


@dataclass
class Where:
    """Where a learner is: the exercise tried last, if it is still unsolved."""

    last: datetime.datetime | None = None
    exercise: str | None = None
    tries: int = 0
    minutes: int = 0
    stuck: bool = False
    active: bool = False
    mistake: str | None = None  # named at the last try


@dataclass
class Vote:
    """A prediction's votes: learners per choice, at first and now.

    `again` counts those with a second vote. `twin` holds the votes on the question that
    asks the idea again, of those who voted here as well.
    """

    prediction: Prediction
    chapter: str
    first: list[int]
    now: list[int]
    changed: int = 0
    again: int = 0
    twin: "Vote | None" = None

    def right(self, votes: list[int]) -> float:
        """The share of right votes, from 0 to 1."""
        return votes[self.prediction.right] / sum(votes) if sum(votes) else 0.0


@dataclass
class Room:
    """All that the page and the tables show."""

    at: datetime.datetime
    learners: list[Learner]
    exercises: dict[str, Exercise]
    where: dict[str, Where]  # by the learner's key
    votes: list[Vote]
    solved: dict[str, set[str]]  # by the learner's key


def count(learners: list[Learner], at: datetime.datetime) -> Room:
    """Count everything; `at` is the moment that "now" means, with its time zone."""
    names = [(name, stem) for stem in chapters() for name in exercises_of(stem)]
    exercises = {name: Exercise(name, stem) for name, stem in names}
    votes = count_votes([learner.state or {} for learner in learners])
    room = Room(at, learners, exercises, {}, votes, {})
    for learner in learners:
        state = learner.state or {}
        passed = state.get("passed", {})
        room.solved[learner.key] = {name for name in exercises if name in passed}
        room.where[learner.key] = _where(state, exercises, at)
        for exercise in exercises.values():
            _count_exercise(exercise, state)
    return room


def sentence_of(exercise: str, mistake: str) -> str:
    """The sentence by which a check names a mistake."""
    known = {one.name: one.says for one in find_check(exercise).mistakes}
    return known.get(mistake) or GENERAL.get(mistake, "")


def _record(state: dict, name: str) -> dict:
    return state.get("record", {}).get("exercises", {}).get(name, {})


def _count_exercise(exercise: Exercise, state: dict) -> None:
    entry = _record(state, exercise.name)
    tries = entry.get("tries", [])
    solved = exercise.name in state.get("passed", {})
    exercise.solved += solved
    exercise.tried += solved or bool(tries)
    exercise.opened += "solution" in entry
    exercise.hinted += state.get("hints", {}).get(exercise.name, 0) > 0
    statuses = [one["status"] for one in tries]
    if statuses:
        until = statuses.index("passed") + 1 if "passed" in statuses else len(statuses)
        exercise.tries.append(until + entry.get("dropped", 0))
    named = {one["mistake"] for one in tries if one["mistake"]}
    known = {name if sentence_of(exercise.name, name) else UNKNOWN for name in named}
    exercise.mistakes.update(known)


def count_votes(states: list[dict]) -> list[Vote]:
    """The votes on all predictions in the course's order, twins under their own."""
    votes = []
    for stem in chapters():
        for one in predictions_of(stem):
            if not one.of:
                twin = twin_of(one.name)
                votes.append(_no_votes(one, stem))
                votes[-1].twin = _no_votes(twin, stem) if twin else None
    for state in states:
        for vote in votes:
            if _count_vote(vote, state) and vote.twin:
                _count_vote(vote.twin, state)
    return votes


def votes_on(name: str, states: list[dict]) -> Vote | None:
    """The votes on one question; a twin's are those of all who answered the twin."""
    for vote in count_votes(states):
        if vote.prediction.name == name:
            return vote
        if vote.twin and vote.twin.prediction.name == name:
            alone = _no_votes(vote.twin.prediction, vote.chapter)
            for state in states:
                _count_vote(alone, state)
            return alone
    return None


def _no_votes(prediction: Prediction, chapter: str) -> Vote:
    choices = len(prediction.choices)
    return Vote(prediction, chapter, [0] * choices, [0] * choices)


def _count_vote(vote: Vote, state: dict) -> bool:
    """Count one learner's votes; whether there were any."""
    name, choices = vote.prediction.name, len(vote.prediction.choices)
    first = state.get("predictions", {}).get(name)
    if first is None or first >= choices:
        return False
    votes = state.get("record", {}).get("predictions", {}).get(name, {})
    second = votes.get("second", {}).get("choice", choices)
    vote.again += second < choices
    second = second if second < choices else first
    vote.first[first] += 1
    vote.now[second] += 1
    vote.changed += first != second
    return True


# --- where the room is --------------------------------------------------------------


def _where(state: dict, exercises: dict, at: datetime.datetime) -> Where:
    where = Where(last=_last(state, at))
    if where.last is not None:
        where.active = abs(at - where.last) <= datetime.timedelta(
            minutes=ACTIVE_MINUTES
        )
    newest = None
    for name in exercises:
        for one in _record(state, name).get("tries", []):
            moment = moment_of(one["at"], at)
            if moment and (newest is None or moment >= newest[0]):
                newest = (moment, name)
    if newest is None or newest[1] in state.get("passed", {}):
        return where
    entry = _record(state, newest[1])
    moments = [m for one in entry["tries"] if (m := moment_of(one["at"], at))]
    where.exercise = newest[1]
    where.tries = len(entry["tries"]) + entry.get("dropped", 0)
    where.minutes = int((max(moments) - min(moments)).total_seconds() // 60)
    where.stuck = where.tries >= STUCK_TRIES or where.minutes >= STUCK_MINUTES
    named = entry["tries"][-1]["mistake"]
    if named:
        where.mistake = named if sentence_of(newest[1], named) else UNKNOWN
    return where


def _last(state: dict, at: datetime.datetime) -> datetime.datetime | None:
    """The last minute in which anything was kept."""
    record = state.get("record", {})
    minutes = []
    for entry in record.get("exercises", {}).values():
        minutes += [one["at"] for one in entry.get("tries", [])]
        minutes += [*entry.get("hints", {}).values()]
        minutes += [entry["opened"]] if "opened" in entry else []
    for votes in record.get("predictions", {}).values():
        minutes += [votes[key]["at"] for key in ("first", "second") if key in votes]
    for given in record.get("recall", {}).get("answers", {}).values():
        minutes += [one["at"] for one in given.values()]
    for texts in record.get("words", {}).values():
        minutes += [one["at"] for one in texts]
    moments = [moment for text in minutes if (moment := moment_of(text, at))]
    return max(moments, default=None)


def moment_of(text: str, at: datetime.datetime) -> datetime.datetime | None:
    """A kept minute; None for one that no clock shows or that has not come yet."""
    try:
        moment = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%MZ")
    except ValueError:
        return None
    moment = moment.replace(tzinfo=datetime.UTC)
    return moment if moment <= at + AHEAD else None
