"""Questions before a reveal: ask, keep the first answer, explain the wrong ones.

The choices come in another order for each learner, drawn once and kept with the
progress, so that no letter is the right one more often and neighbours cannot copy one.
The first vote is kept for good; a later one, after a discussion, is kept beside it.
"""

import random
import secrets
import string

from utils.checks import Prediction, find_prediction
from utils.exercises import cards
from utils.exercises.cards import Card
from utils.exercises.state import note_vote, read_state, update_state

__all__ = ["predict"]


def predict(name: str, choice: str | None = None) -> None:
    """Ask a question before its answer is shown, or answer it with a letter.

    The first answer is kept; every wrong choice gets its own explanation. Raises
    KeyError for an unknown question, ValueError for another letter.
    """
    prediction = find_prediction(name)
    order = _order(prediction)
    letters = string.ascii_lowercase[: len(order)]
    before = _first_vote(read_state(), prediction)
    if choice is not None:
        if choice not in tuple(letters):
            raise ValueError(f"Answer with one of the letters {', '.join(letters)}.")
        cards.show(_voted(prediction, order[letters.index(choice)]))
        return
    choices = [prediction.choices[index].text for index in order]
    ask = [prediction.question]
    ask += [f"{letter}) {text}" for letter, text in zip(letters, choices, strict=True)]
    if not cards.in_notebook():
        ask.append(f'Answer with predict("{name}", "a").')
    cards.show(Card("Your prediction", ask, tone="open"))
    if cards.in_notebook():
        chosen = None if before is None else order.index(before)
        cards.show_choices(
            list(letters), chosen, lambda place: _voted(prediction, order[place])
        )
    if before is not None:
        cards.show(_answer_card(prediction, before))


def _order(prediction: Prediction) -> list[int]:
    """This learner's order of the choices, the same whenever the question is asked."""
    if type(read_state().get("shuffle")) is not int:
        update_state(lambda state: state.update(shuffle=secrets.randbelow(2**31)))
    order = list(range(len(prediction.choices)))
    drawn = read_state().get("shuffle")
    random.Random(f"{prediction.name} {drawn}").shuffle(order)
    return order


def _first_vote(state: dict, prediction: Prediction) -> int | None:
    """The index of the first choice; None also for one the question had once."""
    index = state["predictions"].get(prediction.name)
    return index if index is not None and index < len(prediction.choices) else None


def _voted(prediction: Prediction, index: int) -> Card:
    note_vote(prediction.name, index, len(prediction.choices))
    return _answer_card(prediction, index)


def _answer_card(prediction: Prediction, index: int) -> Card:
    chosen = prediction.choices[index]
    paragraphs = [chosen.explanation]
    if index == prediction.right:
        return Card("✓ Yes", paragraphs, tone="good")
    right = prediction.choices[prediction.right]
    paragraphs.append(f"The answer is: {right.text} {right.explanation}")
    return Card(f"Not quite: {chosen.text}", paragraphs, tone="bad")
