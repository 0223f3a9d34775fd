"""What the bench measures, one file per subject, and what a row of its table is.

`tests/bench.py` prints the rows; `tests/test_bench.py` tests what does not depend on
the machine. Everything here measures and returns, nothing prints.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Row", "Section", "alternately", "middle", "ratio_text"]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is measured, ours, the other one, their ratio."""

    what: str
    ours: str
    other: str = ""
    ratio: str = ""


@dataclass(frozen=True)
class Section:
    """A heading over some rows; `other` says what stands in the third column."""

    title: str
    ours: str = "ours"
    other: str = ""


def middle(values: Sequence[float]) -> float:
    """The median; the higher of the two in the middle, so that it was measured.

    Example:
        >>> middle([3.0, 1.0, 2.0]), middle([4.0, 1.0, 2.0, 3.0])
        (2.0, 3.0)
    """
    return statistics.median_high(values)


def ratio_text(ratio: float, bounded: bool = False) -> str:
    """A ratio in words; `bounded` when the run was stopped before it got there.

    Example:
        >>> ratio_text(3.04), ratio_text(21.3, bounded=True)
        ('3.0 times', 'more than 21 times')
    """
    digits = 1 if ratio < 10 else 0
    before = "more than " if bounded else ""
    # A bound must not be rounded up to more than was seen.
    shown = int(ratio * 10**digits) / 10**digits if bounded else ratio
    return f"{before}{shown:.{digits}f} times"


def alternately(measures: dict, rounds: int) -> dict[str, list]:
    """Call each of the functions once per round, and collect what they return.

    Neighbours in time share the machine's mood, so that a ratio within a round is
    steadier than the ratio of two long runs.
    """
    found = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            found[name].append(measure())
    return found
