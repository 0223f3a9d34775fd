"""`python3 -m utils claims [ROW ...]`: the paper's statements, and what became of them.

Statements stand in `tests/claim_rows`, all rows of the papers in `tests/paper_rows`.

    claims                     measure all (ten minutes) and print them as a table
    claims F-102 O-40          print all about these rows, with kept numbers, at once
    claims previous token      list the rows that words fit
    claims --measure F-102     measure these rows here and now
    claims --keep [F-102 ...]  measure these rows, or all, and keep the numbers
    claims --shake N [ROW ... | trains | draws]
                               measure each row N times more, as another computer might
                               (`tests/shaken.py`), and print which verdicts change

The exit code is 1 when a verdict differs from the expected one or changes in a shake, 2
for a row that is not there.
"""

import re
import shutil
import sys
import textwrap
from collections import Counter
from collections.abc import Container, Iterable, Sequence

from tests.claim_rows import RESTS_ON, VERDICTS, Claim, Finding, all_claims, keep
from tests.door import matching, nearest, row_lines
from tests.shaken import KERNELS, shake
from utils.launcher import library
from utils.launcher.lookup import SHOWN
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


def show(rows: Sequence[str]) -> int:
    """Print all about these rows; with a row that is not there, the nearest ones."""
    unknown = [row for row in rows if row not in library.row_ids()]
    for row in unknown:
        print(_why_not(row), file=sys.stderr)
    if unknown:
        return 2
    for row in rows:
        print("\n".join(row_lines(row, min(_width(), 100))))
    return 0


def _why_not(row: str) -> str:
    if row in library.row_ids():
        return f"{row} is not measured; `claims {row}` says why."
    return f"There is no row {row}. Near it: {', '.join(nearest(row))}."


def search(words: str) -> int:
    """List the rows that words fit, best first."""
    found = matching(words)
    for each in found[:SHOWN]:
        says = textwrap.shorten(each.says, max(40, _width() - 26), placeholder=" ...")
        print(f"{each.row:6}  {library.verdict_of(each):15}  {says}")
    if not found:
        print(f"No row fits {words!r}; `claims F-102` shows one.", file=sys.stderr)
    return 0 if found else 2


def _width() -> int:
    return shutil.get_terminal_size((120, 24)).columns


def chosen(words: Sequence[str], kinds: Container[str] = ()) -> list[Claim] | None:
    """The claims of these rows, or of all; None when a row has none, which is said."""
    wanted = {word.upper() for word in words if word not in kinds}
    claims = [
        c for c in all_claims() if not words or c.row in wanted or c.rests_on in words
    ]
    unknown = wanted - {claim.row for claim in claims}
    for row in sorted(unknown):
        print(_why_not(row), file=sys.stderr)
    return None if unknown else claims


def measured(claims: Sequence[Claim], keeping: bool = False) -> int:
    """Measure the claims, print the table, and keep the numbers if asked to."""
    findings = []

    def noted():
        for finding in measure(claims):
            findings.append(finding)
            yield finding

    for line in table(noted(), _width()):
        print(line, flush=True)
    print(summary(findings))
    if keeping:
        keep(f for f in findings if isinstance(f, Finding))
    good = all(isinstance(f, Finding) and f.as_expected for f in findings)
    return 0 if good else 1


def main(argv: list[str]) -> int:
    """Print rows, or measure them; the head of this file says with which words."""
    words = list(argv)
    if "--shake" in words:
        place = words.index("--shake")
        number = words[place + 1] if place + 1 < len(words) else ""
        if not number.isdigit():
            print("Say how many times: claims --shake 4", file=sys.stderr)
            return 2
        del words[place : place + 2]
        claims = chosen(words, RESTS_ON)
        return 2 if claims is None else shaken(claims, int(number))
    options = {"--measure", "--keep"} & set(words)
    rows = [word for word in words if word not in options]
    if rows and not options:
        ids = [word.upper() for word in rows]
        named = all(re.fullmatch(r"[FO]-?\d+", row) for row in ids)
        return show(ids) if named else search(" ".join(rows))
    claims = chosen(rows)
    return 2 if claims is None else measured(claims, "--keep" in options)
