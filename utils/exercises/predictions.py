"""Questions before a reveal: vote, discuss, vote again, and only then see the answer.

The first vote is kept for good. Before the answer is shown there is room for a second
one: whoever sits in a pair talks in between, whoever is alone goes on with one press.
A twin asks the idea of an earlier prediction once more; its answer comes at once.
"""

from utils.checks import Prediction, find_prediction, twin_of
from utils.exercises import cards
from utils.exercises.ballots import show_ballot
from utils.exercises.cards import Card
from utils.exercises.questions import (
    answer_card,
    asked_lines,
    letters,
    order_of,
    place_of,
)
from utils.exercises.state import is_revealed, note_reveal, note_vote, read_state

__all__ = ["predict"]

VOTE, GO_ON, LOOK = "This is my prediction", "Show the answer", "Explain this choice"


def predict(name: str, choice: str | None = None) -> None:
    """Ask a question before its answer is shown, or answer it with a letter.

    The first letter is the first vote; a second one, the same or another, is the second
    vote and shows the answer. Every wrong choice gets its own explanation. Raises
    KeyError for an unknown question, ValueError for another letter.
    """
    prediction = find_prediction(name)
    if choice is not None:
        place = place_of(prediction, choice)
        cards.show(_voted(prediction, place)[0])
        return
    first = _first_vote(read_state(), prediction)
    ask = asked_lines(prediction)
    if not cards.in_notebook():
        ask.append(f'Answer with predict("{name}", "a").')
    cards.show(Card(_title(prediction), ask, tone="open"))
    chosen = None if first is None else order_of(prediction).index(first)
    revealed = first is not None and is_revealed(read_state(), name)
    label = VOTE if first is None else LOOK if revealed else GO_ON
    show_ballot(
        letters(prediction), chosen, label, lambda place: _voted(prediction, place)
    )
    if revealed:
        cards.show(_answer(prediction, first))
    elif first is not None:
        cards.show(_invitation(prediction, chosen))


def _title(prediction: Prediction) -> str:
    return "The same idea, asked again" if prediction.of else "Your prediction"


def _first_vote(state: dict, prediction: Prediction) -> int | None:
    """The index of the first choice; None also for one the question had once."""
    index = state["predictions"].get(prediction.name)
    return index if index is not None and index < len(prediction.choices) else None


def _voted(prediction: Prediction, place: int) -> tuple[Card, str]:
    """Keep the vote for the choice at a place; the reply, and what comes next."""
    name, index = prediction.name, order_of(prediction)[place]
    first = _first_vote(read_state(), prediction) is None
    note_vote(name, index, len(prediction.choices), prediction.of)
    if first and not prediction.of:
        return _invitation(prediction, place), GO_ON
    note_reveal(name)
    return _answer(prediction, index), LOOK


def _invitation(prediction: Prediction, place: int) -> Card:
    """Between the two votes: room for a talk, and how to go on without one."""
    letter = letters(prediction)[place]
    alone = f'Alone: "{GO_ON}".'
    if not cards.in_notebook():
        name = prediction.name
        alone = f'Alone, or decided: predict("{name}", "{letter}") shows the answer.'
    return Card(
        f"Your vote is {letter}",
        [
            "With others: tell somebody who voted otherwise why, and listen. Then "
            "keep your vote or choose another one.",
            alone,
        ],
        tone="open",
    )


def _answer(prediction: Prediction, index: int) -> Card:
    """The answer; for a twin with how the first question went."""
    card = answer_card(prediction, index)
    if prediction.of:
        asked = find_prediction(prediction.of)
        before = _first_vote(read_state(), asked)
        if before is not None:
            how = "right" if before == asked.right else "not right"
            card.paragraphs.append(f"Your first vote on this idea was {how}.")
    elif index != prediction.right and twin_of(prediction.name):
        card.paragraphs.append("The idea is asked again, in another way, further on.")
    return card
