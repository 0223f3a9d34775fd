"""The scoreboard's rows, one file per chapter, and what a row is made of.

Each file, such as `tests/claim_rows/one_layer.py`, has a tuple `CLAIMS`. A new file is
found by itself. `tests/claims.py` measures and prints them, `tests/test_claims.py`
holds them to their verdicts.
"""

import importlib
import json
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch

__all__ = [
    "KEPT",
    "RESTS_ON",
    "VERDICTS",
    "Claim",
    "Finding",
    "all_claims",
    "keep",
    "kept_finding",
]

VERDICTS = ("reproduced", "partly", "not reproduced")
# What a row's numbers come from; `claims --shake` does with each what could differ.
RESTS_ON = ("shipped weights", "weights by hand", "draws", "trains")
Numbers = Mapping[str, float]
# The numbers of one measurement, by row and statement, for who only wants to read.
KEPT = Path(__file__).with_name("kept.json")


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, and how it is measured here.

    `row` is its row in paper.md and `paper` what the paper says in numbers. `measure`
    gives named numbers, `ours` is a format string that shows them. Each entry of
    `conditions` is a requirement in words and a test of the numbers: the verdict is
    "reproduced" when all hold, "partly" when some do, "not reproduced" when none does.
    `reason` says why the verdict is `expected`. `needs` names the models, shipped or
    fetched.
    `rests_on` says what could come out otherwise elsewhere: "shipped weights" and
    "weights by hand" only in their last digits; "draws" by other random numbers, such
    as the tokens of a test or a random baseline; "trains" by another training.
    """

    row: str
    statement: str
    paper: str
    measure: Callable[[], Numbers]
    ours: str
    conditions: Mapping[str, Callable[[Numbers], bool]]
    reason: str
    expected: str = "reproduced"
    needs: tuple[str, ...] = ()
    rests_on: str = "shipped weights"

    def __post_init__(self):
        if self.expected not in VERDICTS:
            raise ValueError(f"{self.row}: {self.expected!r} is no verdict.")
        if self.rests_on not in RESTS_ON:
            raise ValueError(f"{self.row}: it cannot rest on {self.rests_on!r}.")
        if not self.conditions:
            raise ValueError(f"{self.row}: a claim needs a condition.")

    def find(self) -> "Finding":
        """Measure, and judge what was measured."""
        with torch.no_grad():
            return self.judge(dict(self.measure()))

    def judge(self, numbers: Numbers) -> "Finding":
        """What these numbers come to. One that is not finite fails."""
        finite = all(math.isfinite(value) for value in numbers.values())
        holds = {
            words: finite and bool(test(numbers))
            for words, test in self.conditions.items()
        }
        return Finding(self, numbers, holds)


@dataclass(frozen=True)
class Finding:
    """What measuring a claim gave: its numbers, and which conditions hold."""

    claim: Claim
    numbers: Numbers = field(repr=False)
    holds: Mapping[str, bool]

    @property
    def verdict(self) -> str:
        """ "reproduced", "partly" or "not reproduced"."""
        if all(self.holds.values()):
            return "reproduced"
        return "partly" if any(self.holds.values()) else "not reproduced"

    @property
    def as_expected(self) -> bool:
        return self.verdict == self.claim.expected

    @property
    def ours(self) -> str:
        """The measured numbers as a sentence."""
        return self.claim.ours.format(**self.numbers)


@cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of all files in this folder, in the order of their row ids."""
    names = sorted(info.name for info in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    claims = [claim for module in modules for claim in getattr(module, "CLAIMS", ())]
    return tuple(sorted(claims, key=lambda claim: _order(claim.row)))


def _order(row: str) -> tuple[str, int]:
    letter, number = row.split("-")
    return letter, int(number)


# --- kept numbers -------------------------------------------------------------------


def kept_finding(claim: Claim) -> Finding | None:
    """What the kept numbers of a claim come to; None where none are kept."""
    numbers = _kept().get(claim.row, {}).get(claim.statement)
    return None if numbers is None else claim.judge(numbers)


def keep(findings: Iterable[Finding]) -> None:
    """Keep what was measured; numbers of claims that are gone are dropped."""
    new = {(f.claim.row, f.claim.statement): f.numbers for f in findings}
    table: dict[str, dict[str, Numbers]] = {}
    for claim in all_claims():
        old = _kept().get(claim.row, {}).get(claim.statement)
        numbers = new.get((claim.row, claim.statement), old)
        if numbers is not None:
            rounded = {name: float(f"{value:.6g}") for name, value in numbers.items()}
            table.setdefault(claim.row, {})[claim.statement] = rounded
    KEPT.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")
    _kept.cache_clear()


@cache
def _kept() -> dict[str, dict[str, Numbers]]:
    return json.loads(KEPT.read_text("utf-8")) if KEPT.exists() else {}
