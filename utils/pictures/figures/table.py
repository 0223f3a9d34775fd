"""Tables of numbers: headed, aligned, in the page's own colours, also as plain text.

Called by the chapters, wherever a cell would otherwise print a list line by line.
"""

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["Table", "table"]

SHORT = 14  # characters; an interval or a rank is not broken
CELL = "padding:.15em .9em .15em 0;vertical-align:top;text-align:"


class Table:
    """What `table` returns; it shows itself as HTML, and prints as aligned text."""

    def __init__(
        self,
        columns: Mapping[str, str],
        rows: Sequence[Sequence[str]],
        title: str,
        note: str,
    ):
        self.columns, self.rows = dict(columns), rows
        self.title, self.note = title, note

    def __str__(self) -> str:
        lines = [list(self.columns), *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [self.title] if self.title else []
        for line in lines:
            cells = [
                cell.ljust(width) if words else cell.rjust(width)
                for cell, width, words in zip(line, widths, self._words(), strict=True)
            ]
            text.append("  ".join(cells).rstrip())
        return "\n".join([*text, self.note] if self.note else text)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sides = ["left" if words else "right" for words in self._words()]
        head = "".join(
            f'<th scope="col" style="{CELL}{side}">{html.escape(name)}</th>'
            for name, side in zip(self.columns, sides, strict=True)
        )
        body = "".join(f"<tr>{self._row(row, sides)}</tr>" for row in self.rows)
        caption = self._caption() if self.title else ""
        note = f'<p style="max-width:62em">{html.escape(self.note)}</p>'
        return (
            '<div class="course-table" style="overflow-x:auto">'
            '<table style="font-variant-numeric:tabular-nums;margin:.3em 0">'
            f"{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            f"{note if self.note else ''}</div>"
        )

    def _caption(self) -> str:
        """The title, on one line also above a table that is narrower."""
        style = "caption-side:top;text-align:left;font-weight:600;padding:0 0 .3em"
        return (
            f'<caption style="{style}"><div style="width:0">'
            '<div style="width:max-content;max-width:46em">'
            f"{html.escape(self.title)}</div></div></caption>"
        )

    def _row(self, row: Sequence[str], sides: Sequence[str]) -> str:
        cells = []
        for i, (cell, side) in enumerate(zip(row, sides, strict=True)):
            name = 'th scope="row"' if i == 0 else "td"
            weight = ";font-weight:400" if i == 0 else ""
            space = "pre" if len(cell) <= SHORT else "pre-wrap"
            style = f"{CELL}{side};white-space:{space}{weight}"
            text = html.escape(cell.replace("->", "-\u2060>"))  # no break in an arrow
            cells.append(f'<{name} style="{style}">{text}</{name[:2]}>')
        return "".join(cells)

    def _words(self) -> list[bool]:
        """For each column whether it holds words, which stand on the left."""
        return [form == "" for form in self.columns.values()]


def table(
    columns: Mapping[str, str],
    rows: Iterable[Sequence[Any]],
    title: str = "",
    note: str = "",
) -> Table:
    """A table: `columns` gives each heading, with its unit, the format of its numbers.

    A format is one of Python's, such as ".2f", "+.1%" or ","; an empty one means words.
    Rows hold as many values as there are columns: numbers, tensors of one number, or
    words; None is left blank. The first value names the row. `note` stands below: the
    sentence that says what the table shows. Raises ValueError for a row of another
    length.

    Example:
        >>> print(table({"head": "", "loss (nats)": ".2f"}, [("0.1", 3.456)]))
        head  loss (nats)
        0.1          3.46
    """
    lines = []
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(
                f"A row of the table has {len(row)} values for {len(columns)} columns."
            )
        lines.append(
            [_shown(v, form) for v, form in zip(row, columns.values(), strict=True)]
        )
    return Table(columns, lines, title, _typeset(note))


def _typeset(note: str) -> str:
    """A note whose numbers look like those of the table above it."""
    return re.sub(r"(?<=\d)%", "\u00a0%", re.sub(r"(?<![\w.,)-])-(?=\d)", "−", note))


def _shown(value: Any, form: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value
    text = format(value, form) if form else str(value)
    if form and not any(digit in text for digit in "123456789"):
        text = text.replace("-", "")  # rounded to nothing, from below
    return text.replace("-", "−").replace("%", "\u00a0%") if form else text
