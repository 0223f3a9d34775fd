"""How the exercise engine talks to a person: cards, buttons and plain text.

The engine builds a `Card` and calls `show`. In a notebook the card is HTML with buttons
below it; anywhere else it is the same words as plain text.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["COLOURS", "Card", "in_notebook", "inline", "show", "show_buttons"]

COLOURS = {"good": "#009E73", "open": "#0072B2", "bad": "#D55E00", "plain": "#888888"}


@dataclass
class Card:
    """A heading, paragraphs, perhaps code and what the answer printed.

    `below` makes a widget that stands in a notebook in place of the code.
    """

    title: str
    paragraphs: list[str] = field(default_factory=list)
    tone: str = "plain"
    code: str = ""
    printed: str = ""
    below: Callable[[], object] | None = None

    @property
    def text(self) -> str:
        """The card as plain text, complete on its own."""
        parts = [self.title, *self.paragraphs]
        parts += [self.code] if self.code else []
        parts += [f"Your code printed:\n{self.printed}"] if self.printed else []
        return "\n\n".join(parts)

    @property
    def html(self) -> str:
        """The card as HTML that follows the notebook's light or dark theme."""
        pieces = [f"<strong>{html.escape(self.title)}</strong>"]
        pieces += [
            f'<p style="margin:.4em 0 0;max-width:46em">{inline(line)}</p>'
            for line in self.paragraphs
        ]
        if self.code and self.below is None:
            pieces.append(_pre(self.code))
        if self.printed:
            pieces.append("<details><summary>Your code printed</summary>")
            pieces.append(_pre(self.printed) + "</details>")
        return (
            f'<div role="status" style="border-left:6px solid {COLOURS[self.tone]};'
            "padding:.5em .9em;margin:.3em 0;max-width:62em;line-height:1.45;"
            'color:var(--jp-content-font-color1,inherit)">' + "".join(pieces) + "</div>"
        )

    def _repr_mimebundle_(self, **_):
        return {"text/plain": self.text, "text/html": self.html}


def _pre(text: str) -> str:
    return (
        '<pre style="white-space:pre;overflow-x:auto;margin:.5em 0 0;'
        'color:inherit;background:transparent">' + html.escape(text) + "</pre>"
    )


def inline(text: str) -> str:
    """Escaped text in which words between backticks are set as code."""
    parts = html.escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)
    ).replace("\n", "<br>")


def in_notebook() -> bool:
    """Whether a front end that shows HTML and widgets is listening."""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return hasattr(get_ipython(), "kernel")


def show(card: Card) -> None:
    """Put a card on the page, or print it."""
    if in_notebook():
        from IPython.display import display

        display(card)
        if card.below is not None:
            display(card.below())
    else:
        print(card.text)


def show_buttons(buttons: dict[str, Callable[[], Card]]) -> None:
    """Buttons below a card; each press shows the card that its function returns.

    Nothing happens outside a notebook: the card's words say what to type instead.
    """
    if not in_notebook():
        return
    import ipywidgets as widgets
    from IPython.display import display

    place = widgets.VBox()
    row = []
    for label, make in buttons.items():
        button = widgets.Button(description=label, layout={"width": "auto"})

        def press(_button, make=make):
            card = make()
            below = [card.below()] if card.below is not None else []
            place.children = [widgets.HTML(card.html), *below]

        button.on_click(press)
        row.append(button)
    display(widgets.VBox([widgets.HBox(row), place]))
