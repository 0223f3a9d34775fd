"""A question to be answered in one's own words, with a model answer beside it.

What a learner writes stands in the notebook's cell, between quotation marks. So it is
saved with the notebook, survives a reload and a new kernel, and goes along with a copy.
The progress file keeps the last few versions, for a notebook that was laid anew.
"""

import html
from dataclasses import dataclass

from utils.checks import find_words
from utils.exercises import cards
from utils.exercises.cards import Card
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
    cards.show(_Beside(words.question, tone="plain", left=(whose, yours),
                       right=("A model answer", words.answer)))  # fmt: skip


@dataclass
class _Beside(Card):
    """Two texts side by side, one above the other where there is little room."""

    left: tuple[str, str] = ("", "")
    right: tuple[str, str] = ("", "")

    @property
    def text(self) -> str:
        parts = [f"{head}:\n{said}" for head, said in (self.left, self.right)]
        return "\n\n".join([self.title, *parts])

    @property
    def html(self) -> str:
        columns = "".join(
            f'<div style="border-top:2px solid {colour};padding-top:.3em">'
            f"<strong>{html.escape(head)}</strong>"
            f'<p style="margin:.3em 0 0;white-space:pre-wrap">{cards.inline(said)}</p>'
            "</div>"
            for (head, said), colour in zip(
                (self.left, self.right),
                (cards.COLOURS["open"], cards.COLOURS["good"]),
                strict=True,
            )
        )
        return (
            '<div role="status" style="margin:.3em 0;max-width:62em;line-height:1.45;'
            'color:var(--jp-content-font-color1,inherit)">'
            f'<p style="margin:0 0 .5em"><strong>{cards.inline(self.title)}</strong>'
            '</p><div style="display:grid;gap:.4em 1.4em;'
            'grid-template-columns:repeat(auto-fit,minmax(17em,1fr))">'
            f"{columns}</div></div>"
        )
