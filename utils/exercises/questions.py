"""What every question with choices needs: an order for each learner, words, replies.

The choices come in another order for each learner, drawn once and kept with the
progress, so that no letter is the right one more often and neighbours cannot copy one.
"""

import random
import secrets
import string

from utils.checks import Prediction
from utils.exercises.cards import Card
from utils.exercises.state import read_state, update_state

__all__ = ["answer_card", "asked_lines", "drawn_for", "letters", "order_of", "place_of"]


def drawn_for(what: str) -> random.Random:
    """This learner's chance for something, the same whenever it is asked for."""
    if type(read_state().get("shuffle")) is not int:
        update_state(lambda state: state.update(shuffle=secrets.randbelow(2**31)))
    return random.Random(f"{what} {read_state().get('shuffle')}")


def order_of(question: Prediction) -> list[int]:
    """This learner's order of the choices: the index of each, as they are shown."""
    order = list(range(len(question.choices)))
    drawn_for(question.name).shuffle(order)
    return order


def letters(question: Prediction) -> str:
    """The letters of the choices, as many as there are."""
    return string.ascii_lowercase[: len(question.choices)]


def place_of(question: Prediction, letter: str) -> int:
    """The place of a letter, from 0. Raises ValueError for another letter."""
    if letter not in tuple(letters(question)):
        raise ValueError(
            f"Answer with one of the letters {', '.join(letters(question))}."
        )
    return letters(question).index(letter)


def asked_lines(question: Prediction) -> list[str]:
    """The question, then its choices with their letters, in this learner's order."""
    texts = [question.choices[index].text for index in order_of(question)]
    pairs = zip(letters(question), texts, strict=True)
    return [question.question, *(f"{letter}) {text}" for letter, text in pairs)]


def answer_card(question: Prediction, index: int) -> Card:
    """What is said to whoever chose a choice, by its index in the course's order."""
    chosen, right = question.choices[index], question.choices[question.right]
    if index == question.right:
        return Card("✓ Yes", [chosen.explanation], tone="good")
    answer = f"The answer is: {right.text} {right.explanation}"
    return Card(f"Not quite: {chosen.text}", [chosen.explanation, answer], tone="bad")
