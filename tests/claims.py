"""`python3 -m utils claims [ROW ...]`: measure the paper's statements and print them.

The statements stand in `tests/claim_rows`. `claims` measures all of them, `claims F-41
F-69` only these rows. The exit code is 1 when a verdict differs from the expected one,
2 for a row that is not there.

`claims --shake N [ROW ... | trains | draws]` measures each row N times more, as another
computer might (`tests/shaken.py`), and prints which verdicts change; the exit code is 1
if any does.
"""

import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence

from tests.claim_rows import RESTS_ON, VERDICTS, Claim, Finding, all_claims
from tests.shaken import KERNELS, shake
from utils.models.attention_only import ModelFileError

__all__ = ["main", "measure", "shaken", "summary", "table"]

HEADS = ("row", "statement", "paper", "ours", "verdict")
SHARES = (0, 0.38, 0.24, 0.38, 0)
FIXED = {"row": 6, "verdict": 15}


def measure(claims: Iterable[Claim]) -> Iterable[Finding | tuple[Claim, str]]:
    """A finding per claim, or the claim and why it could not be measured."""
    for claim in claims:
        try:
            yield claim.find()
        except ModelFileError as error:
            yield claim, str(error)


def table(findings: Iterable[Finding | tuple[Claim, str]], width: int) -> Iterable[str]:
    """The lines of the table, one claim after the other as they are measured."""
    widths = _widths(width)
    yield _line(HEADS, widths)
    yield "-" * min(width, sum(widths) + 2 * len(widths) - 2)
    for finding in findings:
        yield from _rows_of(finding, widths)


def _widths(width: int) -> list[int]:
    free = max(60, width) - sum(FIXED.values()) - 2 * (len(HEADS) - 1)
    return [
        FIXED.get(name, int(free * share))
        for name, share in zip(HEADS, SHARES, strict=True)
    ]


def _rows_of(finding, widths: list[int]) -> Iterable[str]:
    if isinstance(finding, Finding):
        claim, ours, verdict = finding.claim, finding.ours, finding.verdict
    else:
        (claim, ours), verdict = finding, "not measured"
    cells = (claim.row, claim.statement, claim.paper, ours, verdict)
    wrapped = [
        textwrap.wrap(text, size, break_on_hyphens=False) or [""]
        for text, size in zip(cells, widths, strict=True)
    ]
    for i in range(max(map(len, wrapped))):
        yield _line([part[i] if i < len(part) else "" for part in wrapped], widths)
    for note in _notes(finding):
        indent = " " * (widths[0] + 2)
        yield from textwrap.wrap(
            note, sum(widths[1:]), initial_indent=indent, subsequent_indent=indent
        )
    yield ""


def _notes(finding) -> Iterable[str]:
    """What did not hold and why, where a row is not simply reproduced."""
    if not isinstance(finding, Finding):
        return
    failed = [words for words, holds in finding.holds.items() if not holds]
    if failed:
        yield f"Does not hold: {'; '.join(failed)}."
    if not finding.as_expected:
        yield f"EXPECTED: {finding.claim.expected}."
    if failed or not finding.as_expected:
        yield f"Reason: {finding.claim.reason}"


def _line(cells: Sequence[str], widths: list[int]) -> str:
    padded = (cell.ljust(size) for cell, size in zip(cells, widths, strict=True))
    return "  ".join(padded).rstrip()


def summary(findings: Sequence[Finding | tuple[Claim, str]]) -> str:
    """One sentence: how many claims got which verdict, and what was not expected."""
    measured = [f for f in findings if isinstance(f, Finding)]
    tally = Counter(finding.verdict for finding in measured)
    parts = [f"{tally[verdict]} {verdict}" for verdict in VERDICTS]
    if len(measured) < len(findings):
        parts.append(f"{len(findings) - len(measured)} not measured")
    changed = [f.claim.row for f in measured if not f.as_expected]
    text = f"{len(findings)} statements: {', '.join(parts)}."
    if changed:
        return f"{text} Not as expected: {', '.join(changed)}."
    return f"{text} Every verdict is the expected one." if measured else text


def shaken(claims: Sequence[Claim], times: int) -> int:
    """Measure the claims so many times more and say which verdicts change."""
    changed: Counter[int] = Counter()
    for number in range(times):
        # Without draws or training only the kernels can differ.
        chosen = [
            c
            for c in claims
            if number < len(KERNELS) or c.rests_on in ("draws", "trains")
        ]
        words = " ".join(f"{k}={v}" for k, v in KERNELS[number % len(KERNELS)].items())
        print(f"Shake {number + 1} of {times}: {words}", flush=True)
        for claim, verdict, ours, seconds in shake(chosen, number):
            if verdict != claim.expected:
                changed[all_claims().index(claim)] += 1
                words = f"{verdict} instead of {claim.expected}: {ours}"
                print(f"  {claim.row} ({claim.rests_on}): {words}", flush=True)
            elif seconds > 5:
                print(f"  {claim.row}: holds ({seconds:.0f} s)", flush=True)
    for place, count in changed.items():
        claim = all_claims()[place]
        print(f"{claim.row} changed in {count} of {times}: {claim.statement}")
    kinds = Counter(claim.rests_on for claim in claims)
    parts = [f"{kinds[kind]} on {kind}" for kind in RESTS_ON if kinds[kind]]
    print(f"{len(claims)} statements ({', '.join(parts)}): {len(changed)} changed.")
    return 1 if changed else 0


def main(argv: list[str]) -> int:
    """Print the table of the rows named, or of all."""
    words = list(argv)
    times = 0
    if "--shake" in words:
        place = words.index("--shake")
        number = words[place + 1] if place + 1 < len(words) else ""
        if not number.isdigit():
            print("Say how many times: claims --shake 4", file=sys.stderr)
            return 2
        times = int(number)
        del words[place : place + 2]
    kinds = {word for word in words if times and word in RESTS_ON}
    wanted = {word.upper() for word in words if word not in kinds}
    claims = [
        c for c in all_claims() if not words or c.row in wanted or c.rests_on in kinds
    ]
    unknown = wanted - {claim.row for claim in claims}
    if unknown:
        known = ", ".join(dict.fromkeys(claim.row for claim in all_claims()))
        print(
            f"There is no row {', '.join(sorted(unknown))}. There are: {known}.",
            file=sys.stderr,
        )
        return 2
    if times:
        return shaken(claims, times)
    findings = []

    def kept():
        for finding in measure(claims):
            findings.append(finding)
            yield finding

    for line in table(kept(), shutil.get_terminal_size((120, 24)).columns):
        print(line, flush=True)
    print(summary(findings))
    good = all(isinstance(f, Finding) and f.as_expected for f in findings)
    return 0 if good else 1
