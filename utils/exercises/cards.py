"""How the exercise engine talks to a person: cards, buttons and plain text.

The engine builds a `Card` and calls `show`. In a notebook the card is HTML with buttons
below it; anywhere else it is the same words as plain text.
"""

import html
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = [
    "COLOURS",
    "Beside",
    "Card",
    "in_notebook",
    "inline",
    "show",
    "show_buttons",
]

COLOURS = {"good": "#009E73", "open": "#0072B2", "bad": "#D55E00", "plain": "#888888"}


@dataclass(frozen=True)
class Beside:
    """Two texts side by side, each with a heading; `code` for code, else prose.

    Where there is little room one stands above the other. With a `fold` they are hidden
    behind these words until somebody opens them; plain text, which cannot fold, says
    `instead` in their place.
    """

    left: tuple[str, str]
    right: tuple[str, str]
    code: bool = False
    fold: str = ""
    instead: str = ""

    @property
    def text(self) -> str:
        if self.fold:
            return self.instead
        return "\n\n".join(f"{head}:\n{said}" for head, said in (self.left, self.right))

    @property
    def html(self) -> str:
        """The two texts, behind a summary that Tab and Enter reach if folded."""
        columns = (
            '<div style="display:grid;gap:.4em 1.4em;margin:.5em 0 0;'
            'grid-template-columns:repeat(auto-fit,minmax(min(100%,17em),1fr))">'
            f"{self._column(self.left, 'open')}{self._column(self.right, 'good')}</div>"
        )
        if not self.fold:
            return columns
        summary = f"<summary>{html.escape(self.fold)}</summary>"
        return f'<details style="margin:.5em 0 0">{summary}{columns}</details>'

    def _column(self, column: tuple[str, str], tone: str) -> str:
        head, said = column
        shown = f'<p style="margin:.3em 0 0;white-space:pre-wrap">{inline(said)}</p>'
        return (
            f'<div style="border-top:2px solid {COLOURS[tone]};padding-top:.3em;'
            f'min-width:0"><strong>{html.escape(head)}</strong>'
            f"{_pre(said, wrap=True) if self.code else shown}</div>"
        )


@dataclass
class Card:
    """A heading, paragraphs, perhaps code and what the answer printed.

    `below` makes a widget that stands in a notebook in place of the code. `beside`
    holds two texts to be compared.
    """

    title: str
    paragraphs: list[str] = field(default_factory=list)
    tone: str = "plain"
    code: str = ""
    printed: str = ""
    below: Callable[[], object] | None = None
    beside: Beside | None = None

    @property
    def text(self) -> str:
        """The card as plain text, complete on its own."""
        parts = [self.title, *self.paragraphs]
        parts += [self.code] if self.code else []
        parts += [self.beside.text] if self.beside else []
        parts += [f"Your code printed:\n{self.printed}"] if self.printed else []
        return "\n\n".join(parts)

    @property
    def html(self) -> str:
        """The card as HTML that follows the notebook's light or dark theme."""
        pieces = [f"<strong>{inline(self.title)}</strong>"]
        pieces += [
            f'<p style="margin:.4em 0 0;max-width:46em">{inline(line)}</p>'
            for line in self.paragraphs
        ]
        if self.code and self.below is None:
            pieces.append(_pre(self.code))
        if self.beside is not None:
            pieces.append(self.beside.html)
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


def _pre(text: str, wrap: bool = False) -> str:
    lines = (
        "pre-wrap;word-break:normal;overflow-wrap:anywhere"
        if wrap
        else "pre;overflow-x:auto"
    )
    # What can be scrolled is reached by the Tab key, and then by arrows.
    reached = "" if wrap else ' tabindex="0"'
    return (
        f'<pre{reached} style="white-space:{lines};margin:.5em 0 0;'
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


def show_buttons(offered: Callable[[], dict[str, Callable[[], Card]]]) -> None:
    """Buttons below a card; each press shows the card that its function returns.

    `offered` gives the buttons by their words and is asked again after each press: one
    that is new then joins the row, and the focus stays where it is. Nothing happens
    outside a notebook: the card's words say what to type instead.
    """
    if not in_notebook():
        return
    import ipywidgets as widgets
    from IPython.display import display

    row, place = widgets.HBox(), widgets.VBox()

    def join() -> None:
        there = [button.description for button in row.children]
        new = [made(*one) for one in offered().items() if one[0] not in there]
        row.children = (*row.children, *new)

    def made(label: str, make: Callable[[], Card]) -> widgets.Button:
        button = widgets.Button(description=label, layout={"width": "auto"})

        def press(_button) -> None:
            card = make()
            below = [card.below()] if card.below is not None else []
            place.children = [widgets.HTML(card.html), *below]
            join()

        button.on_click(press)
        return button

    join()
    display(widgets.VBox([row, place]))
