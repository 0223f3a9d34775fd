"""Every row of the two papers, F-.. and O-..: where it is done here, or why it is not.

A row is "measured" when `tests/claim_rows` has claims with its id; then their words are
its words. Otherwise it says itself what the paper says, in words of our own, and why
nothing is measured: "taught" when a chapter explains it, "left out" when none does.

    framework.py   A Mathematical Framework for Transformer Circuits, Elhage et al. 2021
    induction.py   In-context Learning and Induction Heads, Olsson et al. 2022
"""

from dataclasses import dataclass

__all__ = ["STATES", "PaperRow", "Section", "left_out", "measured", "taught"]

STATES = ("measured", "taught", "left out")


@dataclass(frozen=True)
class PaperRow:
    """One statement, formula or figure of a paper.

    `cells` are ids of notebook cells, the first one the one to open. A measured row
    without a cell is measured by `python3 -m utils claims` alone.
    """

    row: str
    cells: tuple[str, ...]
    state: str = "measured"
    says: str = ""
    reason: str = ""

    def __post_init__(self):
        own_words = self.state != "measured"
        if self.state not in STATES or own_words != bool(self.says and self.reason):
            raise ValueError(f"{self.row}: {self.state} needs other words.")
        if bool(self.cells) is (self.state == "left out") and self.state != "measured":
            raise ValueError(f"{self.row}: a {self.state} row has the wrong cells.")


@dataclass(frozen=True)
class Section:
    """A section of a paper under its chapter, with its rows in order."""

    chapter: str
    title: str
    rows: tuple[PaperRow, ...]


def measured(row: str, *cells: str) -> PaperRow:
    """A row that claims measure."""
    return PaperRow(row, cells)


def taught(row: str, cells: str, says: str, reason: str) -> PaperRow:
    """A row that chapters explain; `cells` are ids with spaces between."""
    return PaperRow(row, tuple(cells.split()), "taught", says, reason)


def left_out(row: str, says: str, reason: str) -> PaperRow:
    """A row that no chapter has."""
    return PaperRow(row, (), "left out", says, reason)
