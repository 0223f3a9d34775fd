"""What a person sees of the lines to order: the card, the board, and the reply.

In a notebook the lines stand on a board with buttons to move them, by mouse or by Tab
and Enter. Anywhere else they are printed with numbers, and `arrange` takes an order.
"""

import html
from collections import Counter
from collections.abc import Callable

from utils.exercises.cards import Card
from utils.exercises.puzzle import Arranged, Puzzle

__all__ = ["lines_card", "reply"]

IN_WORDS_AFTER = 2  # orders that were not right
MARKS = {
    "right": "✓ in its place",
    "wrong line": "✗ wrong line",
    "not yet": "not yet in its place",
}
CODE = (
    "margin:0;white-space:pre-wrap;overflow-wrap:anywhere;min-width:0;word-break:normal;"
    "color:inherit;background:transparent;"
    "font-family:var(--jp-code-font-family,monospace);"
    "font-size:var(--jp-code-font-size,13px);line-height:1.4"
)
BUTTON = {"width": "auto", "flex": "0 0 auto"}
_missed: Counter[str] = Counter()


def lines_card(puzzle: Puzzle, title: str, in_words: str) -> Card:
    """The lines as shown, with what to do. `in_words` helps after two misses."""
    if puzzle.length == 1:
        task = "One of these lines is the solution; two are known mistakes. Which?"
        example = "[2]"
    else:
        task = (
            f"Put {puzzle.length} of these {len(puzzle.lines)} lines in order. Two are "
            "wrong: they hold known mistakes and stay out. The indentation is right."
        )
        example = "[3, 1, 2]"
    typed = f'`arrange("{puzzle.name}", {example})` checks an order of your own.'
    return Card(
        title,
        [task, typed],
        tone="open",
        code=f"{puzzle.head}\n{puzzle.listing()}",
        below=lambda: Board(puzzle, in_words).widget,
    )


def reply(puzzle: Puzzle, order: list[int], in_words: str) -> tuple[Card, Arranged]:
    """Judge an order and say what is right about it.

    Raises ValueError for numbers that are none of the lines.
    """
    found = puzzle.arrange(order)
    if found.right:
        text = (
            "Put together, these lines pass the exercise's check. It counts when it "
            "passes in your own cell: copy the function below `@exercise` and run it."
        )
        card = Card(f"✓ {puzzle.name}: in order", [text], tone="good", code=found.code)
        return card, found
    _missed[puzzle.name] += 1
    said = _wrong_lines(puzzle, found) + _places(puzzle, found)
    if _missed[puzzle.name] >= IN_WORDS_AFTER:
        said.append(f"In words: {in_words}")
    return Card(f"✗ {puzzle.name}: not in order yet", said, tone="bad"), found


def _wrong_lines(puzzle: Puzzle, found: Arranged) -> list[str]:
    said = [
        f"Line {n} is a wrong one. {puzzle.lines[n - 1].mistake.says}"
        for n, word in found.words.items()
        if word == "wrong line"
    ]
    if said and found.result.status == "passed":
        said.append("The function passes all the same, because that is never used.")
    return said


def _places(puzzle: Puzzle, found: Arranged) -> list[str]:
    """Which lines are in their place, how many are missing, and what the check says."""
    right = [str(n) for n, word in found.words.items() if word == "right"]
    late = [str(n) for n, word in found.words.items() if word == "not yet"]
    said = []
    if right:
        said.append(f"{_lines(right, '')}: what has to come before is there.")
    if late:
        said.append(
            f"{_lines(late, 'not ')} yet: something that has to come before is not "
            "there, or the block is another one."
        )
    if found.missing:
        lines = "line is" if found.missing == 1 else "lines are"
        said.append(f"{found.missing} {lines} missing.")
    if "wrong line" not in found.words.values() and not found.missing:
        said.append(f"The check says: {found.result.message.splitlines()[0]}")
    return said


def _lines(numbers: list[str], word: str) -> str:
    if len(numbers) == 1:
        return f"Line {numbers[0]} is {word}in its place"
    first = ", ".join(numbers[:-1])
    return f"Lines {first} and {numbers[-1]} are {word}in their places"


class Board:
    """The lines with buttons: move up, move down, take out, put back, check.

    Every row keeps its place on the page and changes what it shows; the focus goes with
    the line that was moved, so the keys that moved it move it further.
    """

    def __init__(self, puzzle: Puzzle, in_words: str):
        import ipywidgets as widgets

        self.puzzle, self.in_words = puzzle, in_words
        self.used = list(range(1, len(puzzle.lines) + 1))
        self.left: list[int] = []
        self.words: dict[int, str] = {}
        self.rows = [_Row("Up", "Down", "Take out") for _ in self.used]
        self.spare = [_Row("Put back") for _ in self.used]
        moves = (self._up, self._down, self._out)
        for i, row in enumerate(self.rows):
            for button, move in zip(row.buttons, moves, strict=True):
                button.on_click(_at(move, i))
            self.spare[i].buttons[0].on_click(_at(self._back, i))
        self.check = widgets.Button(
            description="Check this order",
            layout={**BUTTON, "align_self": "flex-start"},
        )
        self.check.on_click(lambda _: self._judge())
        self.said, self.answer = widgets.HTML(), widgets.HTML()
        head = widgets.HTML(f'<pre style="{CODE}">{html.escape(puzzle.head)}</pre>')
        self.out = widgets.HTML("<p style='margin:.6em 0 0'>Left out:</p>")
        self.widget = widgets.VBox(
            [
                head,
                *(row.widget for row in self.rows),
                self.out,
                *(row.widget for row in self.spare),
                self.check,
                self.said,
                self.answer,
            ]
        )
        self._show()

    def _show(self) -> None:
        for i, row in enumerate(self.rows):
            if i < len(self.used):
                row.show(*self._about(self.used[i]))
                row.buttons[0].disabled = i == 0
                row.buttons[1].disabled = i == len(self.used) - 1
            else:
                row.hide()
        for i, row in enumerate(self.spare):
            if i < len(self.left):
                row.show(*self._about(self.left[i]))
            else:
                row.hide()
        self.out.layout.display = None if self.left else "none"
        self.check.disabled = not self.used

    def _about(self, number: int) -> tuple[int, str, str]:
        mark = MARKS.get(self.words.get(number, ""), "")
        return number, self.puzzle.lines[number - 1].text, mark

    def _changed(self, words: str) -> None:
        """Marks of places are out of date now; a wrong line stays one."""
        self.words = {n: w for n, w in self.words.items() if w == "wrong line"}
        self.said.value = f'<div role="status">{html.escape(words)}</div>'
        self._show()

    def _up(self, i: int) -> None:
        self._swap(i, i - 1, 0)

    def _down(self, i: int) -> None:
        self._swap(i, i + 1, 1)

    def _swap(self, i: int, j: int, button: int) -> None:
        if not 0 <= j < len(self.used):
            return
        self.used[i], self.used[j] = self.used[j], self.used[i]
        self._changed(f"Line {self.used[j]} is at place {j + 1} of {len(self.used)}.")
        buttons = self.rows[j].buttons
        buttons[1 - button if buttons[button].disabled else button].focus()

    def _out(self, i: int) -> None:
        if i >= len(self.used):
            return
        number = self.used.pop(i)
        self.left.append(number)
        self._changed(f"Line {number} is left out.")
        if self.used:
            self.rows[min(i, len(self.used) - 1)].buttons[2].focus()
        else:
            self.spare[0].buttons[0].focus()

    def _back(self, i: int) -> None:
        if i >= len(self.left):
            return
        number = self.left.pop(i)
        self.used.append(number)
        self._changed(f"Line {number} is at the end.")
        self.rows[len(self.used) - 1].buttons[0].focus()

    def _judge(self) -> None:
        card, found = reply(self.puzzle, self.used, self.in_words)
        self.words = found.words
        self.said.value = ""
        self.answer.value = card.html
        self._show()


class _Row:
    """One line of code with its buttons."""

    def __init__(self, *labels: str):
        import ipywidgets as widgets

        self.code = widgets.HTML(layout={"flex": "1 1 auto", "min_width": "0"})
        self.labels = labels
        self.buttons = [
            widgets.Button(description=label, layout=BUTTON) for label in labels
        ]
        self.widget = widgets.HBox([self.code, *self.buttons])

    def show(self, number: int, text: str, mark: str) -> None:
        # Where one line is too long for its place, the rest hangs below its beginning.
        hang = 0 if "\n" in text else len(text) - len(text.lstrip()) + 4
        self.code.value = (
            '<div style="display:flex;gap:.8em;align-items:baseline">'
            f"<span>{number}</span>"
            f'<pre style="{CODE};flex:1;padding-left:{hang}ch;text-indent:-{hang}ch">'
            f"{html.escape(text)}</pre>"
            f'<strong style="white-space:nowrap">{mark}</strong></div>'
        )
        for label, button in zip(self.labels, self.buttons, strict=True):
            button.tooltip = f"{label}: line {number}, {text.strip()}"
        self.widget.layout.display = None

    def hide(self) -> None:
        self.widget.layout.display = "none"


def _at(move: Callable[[int], None], i: int) -> Callable:
    return lambda _button: move(i)
