"""Radio buttons under a question, for mouse and keyboard.

Tab goes from letter to letter and on to the button, Space chooses, Enter presses. The
button keeps the focus, so that a second Enter goes on.
"""

from collections.abc import Callable

from utils.exercises import cards
from utils.exercises.cards import Card

__all__ = ["show_ballot"]


def show_ballot(
    letters: str,
    chosen: int | None,
    label: str,
    answer: Callable[[int], tuple[Card, str]],
) -> None:
    """Show the letters and a button. Nothing happens where no widgets are shown.

    `answer` gets the place of the chosen letter at each press. It returns the card to
    show below and what the button is called from then on.
    """
    if not cards.in_notebook():
        return
    import ipywidgets as widgets
    from IPython.display import display

    from utils.training.display import answer_while_busy

    radio = widgets.RadioButtons(
        options=[(letter, place) for place, letter in enumerate(letters)],
        value=chosen,
        orientation="horizontal",
        layout={"width": "auto"},
    )
    button = widgets.Button(description=label, layout={"width": "auto"})
    below = widgets.HTML()

    def press(_button) -> None:
        if radio.value is None:
            below.value = Card("Choose one of the answers first.").html
            return
        card, button.description = answer(radio.value)
        below.value = card.html

    button.on_click(press)
    for control in (radio, button):
        answer_while_busy(control)
    display(widgets.VBox([radio, button, below], layout={"align_items": "flex-start"}))
