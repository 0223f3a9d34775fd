"""Three questions from earlier chapters, to begin a chapter with.

Chosen first is what this learner got wrong: questions that went wrong at the beginning
of the chapter before, then ideas behind wrong votes, named mistakes and hints. Nothing
here imports torch, so the questions are there before a chapter's models have loaded.
"""

from collections import Counter

from utils.checks import (
    Recall,
    chapters,
    find_prediction,
    is_exercise,
    recall_of,
    twin_of,
)
from utils.exercises import cards
from utils.exercises.ballots import show_ballot
from utils.exercises.cards import Card
from utils.exercises.questions import (
    answer_card,
    asked_lines,
    drawn_for,
    letters,
    order_of,
    place_of,
)
from utils.exercises.state import note_asked, note_recall, read_state

__all__ = ["recall"]

HOW_MANY = 3
ANSWER, LOOK = "This is my answer", "Explain this choice"
BACK, DONE = 1000, -1000  # wrong the last time; right the last time
MOST_MISTAKES = 3  # counted of one exercise


def recall(chapter: str, number: int | None = None, letter: str | None = None) -> None:
    """Ask the questions that a chapter such as "ch3" begins with, or answer one.

    `number` is the question's, from 1, and `letter` its answer. The first answer is
    kept. Raises ValueError for a chapter, a number or a letter that is not there.
    """
    stem = _stem(chapter)
    questions = _questions(stem)
    if letter is not None:
        if number not in range(1, len(questions) + 1):
            raise ValueError(f"Questions are numbered 1 to {len(questions)}.")
        question = questions[number - 1]
        place = place_of(question, letter)
        cards.show(_answered(question, stem, place)[0])
        return
    for n, question in enumerate(questions, 1):
        _ask(question, stem, n, len(questions))


def _stem(chapter: str) -> str:
    found = [stem for stem in chapters() if chapter and stem.startswith(chapter)]
    if len(found) != 1:
        raise ValueError(f"No chapter is called {chapter!r}: {', '.join(chapters())}")
    return found[0]


# --- asking ---------------------------------------------------------------------------


def _ask(question: Recall, stem: str, number: int, of: int) -> None:
    given = _answers(question).get(stem)
    lines = asked_lines(question)
    if not cards.in_notebook():
        short = stem.partition("_")[0]
        lines.append(f'Answer with recall("{short}", {number}, "a").')
    title = f"Question {number} of {of}, {_source(question)}"
    if _wrong_before(question, stem):
        title += ": once more, as it went wrong the last time"
    cards.show(Card(title, lines, tone="open"))
    chosen = None
    if given and given["choice"] < len(question.choices):
        chosen = order_of(question).index(given["choice"])
    show_ballot(
        letters(question),
        chosen,
        ANSWER if chosen is None else LOOK,
        lambda place: _answered(question, stem, place),
    )
    if chosen is not None:
        cards.show(answer_card(question, given["choice"]))


def _answered(question: Recall, stem: str, place: int) -> tuple[Card, str]:
    index = order_of(question)[place]
    note_recall(question.name, stem, index, index == question.right)
    return answer_card(question, index), LOOK


def _source(question: Recall) -> str:
    stem = _chapter_of(question)
    return f"from chapter {stem[2]}" if stem else "from before the course"


# --- choosing -------------------------------------------------------------------------


def _questions(stem: str) -> list[Recall]:
    """What the chapter asks this learner: drawn once, the same from then on."""
    pool = {question.name: question for question in _pool(stem)}
    asked = read_state()["record"].get("recall", {}).get("asked", {}).get(stem, [])
    kept = [pool[name] for name in dict.fromkeys(asked) if name in pool][:HOW_MANY]
    chosen = _fill(kept, list(pool.values()), stem)
    if [question.name for question in chosen] != asked:
        note_asked(stem, [question.name for question in chosen])
    return chosen


def _pool(stem: str) -> list[Recall]:
    """The questions on all earlier chapters; for the first one what comes before it."""
    before = recall_of(chapters()[0], "BEFORE")
    earlier = chapters()[: chapters().index(stem)]
    questions = [question for one in earlier for question in recall_of(one)]
    missed = [question for question in before if _wrong_before(question, stem)]
    return [*missed, *questions] if earlier else list(before)


def _fill(chosen: list[Recall], pool: list[Recall], stem: str) -> list[Recall]:
    """Add questions up to three: the heaviest, then of chapters not asked yet."""
    state, draw = read_state(), drawn_for(f"recall {stem}")
    by_chance = draw.sample(range(len(pool)), len(pool))
    weights = [_weight(question, state, stem) for question in pool]
    while len(chosen) < min(HOW_MANY, len(pool)):
        used = Counter(_chapter_of(question) for question in chosen)
        left = [n for n, question in enumerate(pool) if question not in chosen]
        best = max(
            left, key=lambda n: (weights[n], -used[_chapter_of(pool[n])], by_chance[n])
        )
        chosen.append(pool[best])
    return chosen


def _weight(question: Recall, state: dict, stem: str) -> int:
    """How much this learner needs a question."""
    given = _last_before(question, stem)
    if given is not None:
        return DONE if given["right"] else BACK
    return sum(_misses(name, state) for name in question.about)


def _misses(name: str, state: dict) -> int:
    """How often a learner went wrong with a prediction or an exercise."""
    if is_exercise(name):
        entry = state["record"]["exercises"].get(name, {})
        named = {one["mistake"] for one in entry.get("tries", []) if one["mistake"]}
        seen = 2 * ("solution" in entry and name not in state["passed"])
        hints = state["hints"].get(name, 0)
        return 2 * min(len(named), MOST_MISTAKES) + hints + seen
    asked = [find_prediction(name), *([twin] if (twin := twin_of(name)) else [])]
    wrong = 0
    for one in asked:
        votes = [state["predictions"].get(one.name)]
        second = state["record"]["predictions"].get(one.name, {}).get("second", {})
        votes.append(second.get("choice"))
        wrong += sum(vote is not None and vote != one.right for vote in votes)
    return 3 * wrong


def _answers(question: Recall) -> dict:
    answers = read_state()["record"].get("recall", {}).get("answers", {})
    return answers.get(question.name, {})


def _last_before(question: Recall, stem: str) -> dict | None:
    """The latest answer that was given at the beginning of another chapter."""
    given = [(one["at"], at) for at, one in _answers(question).items() if at != stem]
    return _answers(question)[max(given)[1]] if given else None


def _wrong_before(question: Recall, stem: str) -> bool:
    given = _last_before(question, stem)
    return given is not None and not given["right"]


def _chapter_of(question: Recall) -> str:
    """The chapter that a question is about; "" for what comes before the course."""
    return next((stem for stem in chapters() if question in recall_of(stem)), "")
