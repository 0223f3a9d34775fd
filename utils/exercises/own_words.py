"""A question to be answered in one's own words, with a model answer beside it.

What a learner writes stands in the notebook's cell, between quotation marks. So it is
saved with the notebook, survives a reload and a new kernel, and goes along with a copy.
The progress file keeps the last few versions, for a notebook that was laid anew.
"""

from utils.checks import find_words
from utils.exercises import cards
from utils.exercises.cards import Beside, Card
from utils.exercises.state import note_words, read_state

__all__ = ["own_words"]

HOW = (
    "Write two or three sentences between the quotation marks and run the cell. A "
    "model answer then stands beside yours. Nobody grades it, and it stays in this "
    "notebook."
)


def own_words(name: str, text: str = "") -> None:
    """Keep an explanation in one's own words, and show a model answer beside it.

    Without a text the question is asked; what was written earlier, in a notebook that
    is gone, is shown. Raises KeyError for an unknown question, TypeError for what is
    no text.
    """
    words = find_words(name)
    if not isinstance(text, str):
        raise TypeError("Write your own words between the quotation marks.")
    if text.strip():
        note_words(name, text.strip())
        yours, whose = text.strip(), "In your words"
    else:
        kept = read_state()["record"].get("words", {}).get(name, [])
        if not kept:
            cards.show(Card("In your own words", [words.question, HOW], tone="open"))
            return
        yours = kept[-1]["text"]
        whose = f"In your words, on {kept[-1]['at'][:10]}"
    model_answer = ("A model answer", words.answer)
    cards.show(Card(words.question, beside=Beside((whose, yours), model_answer)))
