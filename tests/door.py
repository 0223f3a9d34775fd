"""What `python3 -m utils claims F-102` prints: one row of a paper, with all about it.

Nothing is measured here; the numbers are those of `tests/claim_rows/kept.json`.
"""

import re
import textwrap
from collections.abc import Iterable

from utils.launcher import library
from utils.launcher.lookup import row_fields
from utils.launcher.ranking import ranked

__all__ = ["matching", "nearest", "row_lines"]

PAPERS = {
    "F": "A Mathematical Framework for Transformer Circuits",
    "O": "In-context Learning and Induction Heads",
}
RESTS_ON = {
    "shipped weights": "shipped weights, the same everywhere up to rounding",
    "weights by hand": "weights made by hand, the same everywhere up to rounding",
    "draws": "random draws, so another computer's last digits may differ",
    "trains": "trainings, which come out a little different on each computer",
}
LABEL = 11
NEAR = 5


def row_lines(row: str, width: int = 88) -> Iterable[str]:
    """The lines about a row. Raises KeyError for an id that is not there."""
    each = library.statement(row)
    yield f"{each.row}  {PAPERS[each.row[0]]}"
    place = " > ".join(dict.fromkeys((each.chapter, each.section)))
    indent = " " * (len(each.row) + 2)
    yield from textwrap.wrap(
        place, width, initial_indent=indent, subsequent_indent=indent
    )
    yield ""
    if each.claims:
        for claim in each.claims:
            yield from _claim_lines(claim, width)
    else:
        yield from textwrap.wrap(each.says, width)
        yield from _labelled("State", each.state, width)
        yield from _labelled("Reason", each.reason, width)
        yield ""
    yield from _where_lines(each, width)


def _claim_lines(claim: library.Claimed, width: int) -> Iterable[str]:
    yield from textwrap.wrap(claim.statement, width)
    yield from _labelled("Paper", claim.paper, width)
    yield from _labelled("Ours", claim.ours or "not kept; --measure", width)
    yield from _labelled("Verdict", claim.verdict, width)
    label = "Conditions"
    for words, holds in claim.conditions:
        mark = {True: "[holds] ", False: "[does not hold] ", None: ""}[holds]
        yield from _labelled(label, mark + words, width)
        label = ""
    yield from _labelled("Reason", claim.reason, width)
    yield from _labelled("Rests on", RESTS_ON[claim.rests_on], width)
    yield ""


def _where_lines(each: library.Statement, width: int) -> Iterable[str]:
    label = "Chapter"
    for (chapter, section), names in _by_section(each.cells).items():
        text = f'chapters/{chapter}.ipynb, "{section}": {", ".join(names)}'
        yield from _labelled(label, text, width)
        label = ""
    if not each.cells:
        yield from _labelled("Chapter", "in none", width)
    if each.functions:
        yield from _labelled("Functions", ", ".join(each.functions), width)
    if each.claims:
        command = f"python3 -m utils claims --measure {each.row}"
        yield from _labelled("Measure", f"{command}  (here and now)", width)


def _by_section(cells: Iterable[library.Cell]) -> dict[tuple[str, str], list[str]]:
    """The ids of cells under their chapters and headings, with the exercises' names."""
    exercises = {f.cell.id: f.name for f in library.functions() if f.cell}
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        name = f" ({exercises[cell.id]})" if cell.id in exercises else ""
        found.setdefault((cell.chapter, cell.section), []).append(cell.id + name)
    return found


def _labelled(label: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=f"  {label:{LABEL}}",
        subsequent_indent=" " * (LABEL + 2),
        break_on_hyphens=False,
    )


# --- finding a row ------------------------------------------------------------------


def nearest(row: str) -> list[str]:
    """The rows whose ids are nearest to one that is not there."""
    number = int(re.sub(r"\D", "", row) or 0)
    letter = row[:1].upper()
    ids = list(library.row_ids())
    return sorted(
        sorted(ids, key=lambda id: (id[0] != letter, abs(int(id[2:]) - number)))[:NEAR],
        key=ids.index,
    )


def matching(question: str) -> list[library.Statement]:
    """The rows that words fit, best first."""
    rows = {each.row: each for each in library.statements()}
    found = ranked(question, {row: row_fields(each) for row, each in rows.items()})
    return [rows[row] for row in found]
