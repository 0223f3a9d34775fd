"""What a facilitator says to the room next, and why: the first cards of the report.

While people work, only what happened in the last half hour counts, so that nobody is
asked about what the room has left behind. When nobody does, as before a session, or
when the half hour gives nothing to ask, all counts. Questions for mistakes are those of
the facilitator's guide.
"""

import datetime
import functools
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from utils.checks import find_check
from utils.launcher.classroom.counts import (
    GENERAL,
    UNKNOWN,
    Room,
    Vote,
    moment_of,
    sentence_of,
)

__all__ = ["Question", "guide_questions", "questions"]

GUIDE = Path(__file__).resolve().parents[3] / "chapters" / "FACILITATOR.md"
NAMED = re.compile(r'^\| [^|]* \| "([^|]*)" \| `(\w+)`: ([^|]+) \|$', re.MULTILINE)
RECENT = datetime.timedelta(minutes=30)
MOST = 8
VOTERS = 3  # fewer are no vote of a room
AGREED = 0.7  # of a room; where so many are right there is nothing to talk about
LOST = 0.3  # where fewer are right, talk alone does not help


@dataclass
class Question:
    """Something to ask the room next: why, the words, and what to listen for.

    `people` is how many it concerns; `late`, whether only the last half hour counted.
    """

    why: str
    ask: str
    listen: str
    people: int
    late: bool


def questions(room: Room) -> list[Question]:
    """What to ask: the best of each kind, then the others."""
    live = any(where.active for where in room.where.values())
    return (live and _found(room, room.at - RECENT)) or _found(room, None)


def _found(room: Room, since: datetime.datetime | None) -> list[Question]:
    """The best vote, mistake and place, then two more of each, where people are most.

    `since` is when counting begins.
    """
    kinds = [
        sorted(kind(room, since), key=lambda pair: pair[0])
        for kind in (_on_votes, _on_mistakes, _on_stuck)
    ]
    best = [question for kind in kinds for _, question in kind[:1]]
    others = [question for kind in kinds for _, question in kind[1:3]]
    ranked = [sorted(part, key=lambda one: -one.people) for part in (best, others)]
    return [*ranked[0], *ranked[1]][:MOST]


@functools.cache
def guide_questions() -> dict[tuple[str, str], str]:
    """(exercise, mistake) -> the guide's question for it; empty without the guide."""
    try:
        text = GUIDE.read_text(encoding="utf-8")
    except OSError:
        return {}
    return {(name, mistake): ask for ask, name, mistake in NAMED.findall(text)}


def _states(room: Room) -> list[dict]:
    return [one.state for one in room.learners if one.state is not None]


def _late(text: str, room: Room, since: datetime.datetime | None) -> bool:
    """Whether a kept minute counts; all do where there is no "since"."""
    if since is None:
        return True
    moment = moment_of(text, room.at)
    return moment is not None and moment >= since


# --- votes ----------------------------------------------------------------------------


def _on_votes(room: Room, since) -> Iterator[tuple[float, Question]]:
    """Divided votes; best is a room that is split in the middle."""
    for vote in room.votes:
        voters, share = sum(vote.now), vote.right(vote.now)
        if voters < VOTERS or share > AGREED:
            continue
        if _voted_late(room, vote, since) < VOTERS:
            continue
        wrong = [
            n if i != vote.prediction.right else -1 for i, n in enumerate(vote.now)
        ]
        best = vote.prediction.choices[wrong.index(max(wrong))]
        right = vote.prediction.choices[vote.prediction.right]
        people = voters - vote.now[vote.prediction.right]
        why = (
            f"{people} of {voters} have `{vote.prediction.name}` wrong. "
            f"{_advice(room, vote, share)}"
        )
        listen = (
            f"{max(wrong)} chose: {best.text} {best.explanation} "
            f"Right is: {right.text} {right.explanation}"
        )
        late = since is not None
        found = Question(why, vote.prediction.question, listen, people, late)
        yield abs(share - 0.5), found


def _voted_late(room: Room, vote: Vote, since) -> int:
    """How many voted on a question in the time that counts."""
    if since is None:
        return sum(vote.first)
    return sum(
        any(
            _late(votes[key]["at"], room, since)
            for key in ("first", "second")
            if key in votes
        )
        for votes in _kept(room, vote)
    )


def _kept(room: Room, vote: Vote) -> list[dict]:
    """What the record of each learner who was asked a question holds of it."""
    kept = [
        state["record"]["predictions"].get(vote.prediction.name)
        for state in _states(room)
    ]
    return [votes for votes in kept if votes]


def _advice(room: Room, vote: Vote, share: float) -> str:
    shown = [votes.get("revealed") is not None for votes in _kept(room, vote)]
    if 2 * sum(shown) > len(shown):
        return "The answer has been shown: ask for hands, and for a reason."
    if share < LOST:
        return "Few have it: work through an example first, then vote again."
    return "Let pairs argue it out, then vote again."


# --- mistakes and places --------------------------------------------------------------


def _on_mistakes(room: Room, since) -> Iterator[tuple[float, Question]]:
    """Of each exercise the mistake that most made, of those who made it in time."""
    for exercise in room.exercises.values():
        made = Counter(
            mistake
            for state in _states(room)
            for mistake in _mistakes(state, exercise.name, room, since)
        )
        for name, learners in made.most_common():
            known = sentence_of(exercise.name, name)
            if learners < 2 or not known or name in GENERAL or name == UNKNOWN:
                continue
            why = f"{learners} learners made this mistake in `{exercise.name}`: {name}."
            ask = guide_questions().get((exercise.name, name))
            listen = f"The check said: {known}"
            if ask is None:
                ask = f'Who got this message? "{known}"'
                listen = "What had you written, and what did you change?"
            yield -learners, Question(why, ask, listen, learners, since is not None)
            break


def _mistakes(state: dict, name: str, room: Room, since) -> set[str]:
    tries = state["record"]["exercises"].get(name, {}).get("tries", [])
    return {
        one["mistake"]
        for one in tries
        if one["mistake"] and _late(one["at"], room, since)
    }


def _on_stuck(room: Room, since) -> Iterator[tuple[float, Question]]:
    """Exercises at which two or more are stuck, with the first hint to give to all."""
    stuck = [one for one in room.learners if room.where[one.key].stuck]
    if since is not None:
        stuck = [one for one in stuck if room.where[one.key].active]
    at = Counter(room.where[one.key].exercise for one in stuck)
    for name, learners in at.items():
        if learners < 2:
            continue
        here = [one for one in stuck if room.where[one.key].exercise == name]
        tries = statistics.median(room.where[one.key].tries for one in here)
        who = ", ".join(one.name for one in here)
        why = f"{learners} are stuck at `{name}`, after {tries:g} tries: {who}."
        ask = "Say in one sentence what it returns, before any code."
        listen = f"Then this hint to all: {find_check(name).hints[0]}"
        yield -learners, Question(why, ask, listen, learners, since is not None)
