"""What there is to look up: every function, every row of the papers, and their cells.

All of it is read from the code: docstrings and signatures from the files in
`solutions`, cells from the notebooks, mistakes from the checks, rows and verdicts from
`tests`. The commands use it, and so does whoever makes pages of the course:

    from utils.launcher import library

    for each in library.functions():        # in the order of the chapters; quick
        each.name, each.signature, each.summary, each.details, each.example
        each.parameters                     # (name, kind with its shape, default)
        each.rows, each.limits, each.file, each.line
        each.cell.chapter, each.cell.id, each.cell.section
        each.mistakes                       # (name, sentence); loads torch, 5 s once
    for each in library.statements():       # in the papers' order; loads torch
        each.row, each.chapter, each.section       # the paper's own
        each.state, each.says, each.reason         # measured, taught, left out
        each.cells, each.functions
        for claim in each.claims:           # none unless measured
            claim.statement, claim.paper, claim.ours, claim.verdict
            claim.conditions, claim.reason, claim.rests_on
    library.verdict_of(statement)           # one word for the whole row

Nothing is measured: `ours` is made from the numbers kept in the repository by
`python3 -m utils claims --keep`, which a test holds against the code. `details` and
`limits` use Markdown's backquotes and `**`. Installed as a library the course has no
notebooks and no tests: then `cell` is None and `statements()` is empty.
"""

import ast
import importlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from utils.checks import EXERCISE_CELL, chapters, exercises_of, find_check

__all__ = [
    "Cell",
    "Claimed",
    "Function",
    "Statement",
    "cell_of",
    "functions",
    "row_ids",
    "statement",
    "statements",
    "verdict_of",
]

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"\b[FO]-\d+\b")
HEADING = re.compile(r"^#{1,2} (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Cell:
    """A cell of a notebook: chapter's stem, id, and the heading it stands under."""

    chapter: str
    id: str
    section: str


@dataclass(frozen=True)
class Function:
    """One function of `solutions`, its docstring taken apart.

    `summary` is the first sentence, `details` the paragraphs up to the example,
    `example` a doctest, `limits` what the function does not do or where it misleads.
    `parameters` are (name, kind, default), as they are written; "" stands for none.
    """

    name: str
    chapter: str
    signature: str
    parameters: tuple[tuple[str, str, str], ...]
    returns: str
    summary: str
    details: tuple[str, ...]
    example: str
    rows: tuple[str, ...]
    source: str
    limits: str
    cell: Cell | None
    file: str
    line: int

    @property
    def mistakes(self) -> tuple[tuple[str, str], ...]:
        """The named mistakes: what the check calls each and says about it."""
        return tuple((m.name, m.says) for m in find_check(self.name).mistakes)


@dataclass(frozen=True)
class Claimed:
    """One claim about a row: the paper's number, ours as kept, and what must hold.

    `ours` and `conditions` (words, and whether they hold) are those of the kept
    numbers; `ours` is "" and nothing is said to hold where none are kept.
    """

    statement: str
    paper: str
    ours: str
    verdict: str
    conditions: tuple[tuple[str, bool | None], ...]
    reason: str
    rests_on: str


@dataclass(frozen=True)
class Statement:
    """One row of a paper: "measured", "taught" or "left out".

    `says` is its statement in words of the course; `reason` says why nothing is
    measured, and is "" for measured rows, whose claims have reasons of their own.
    `functions` are those whose docstrings name the row.
    """

    row: str
    chapter: str
    section: str
    state: str
    says: str
    reason: str
    cells: tuple[Cell, ...]
    functions: tuple[str, ...]
    claims: tuple[Claimed, ...]


# --- functions ----------------------------------------------------------------------


@cache
def functions() -> tuple[Function, ...]:
    """Every function of `solutions`, by chapter and in the order of its notebook."""
    return tuple(each for stem in chapters() for each in _functions_of(stem))


def _functions_of(stem: str) -> list[Function]:
    file = ROOT / "solutions" / f"{stem}.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    nodes = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    return [_function(stem, nodes[name]) for name in exercises_of(stem)]


def _function(stem: str, node: ast.FunctionDef) -> Function:
    text = ast.get_docstring(node) or ""
    task, example, source, limits = _parts(text)
    summary, *details = re.split(r"\n\s*\n", task)
    returns = ast.unparse(node.returns) if node.returns else ""
    parameters = tuple(_parameters(node.args))
    return Function(
        name=node.name,
        chapter=stem,
        signature=_signature(node.name, parameters, returns),
        parameters=parameters,
        returns=returns,
        summary=_one_line(summary),
        details=tuple(details),
        example=example,
        rows=tuple(dict.fromkeys(ROW.findall(source))),
        source=source,
        limits=limits,
        cell=_exercise_cells(stem).get(node.name),
        file=f"solutions/{stem}.py",
        line=node.lineno,
    )


def _parts(text: str) -> tuple[str, str, str, str]:
    """A docstring's task, and what stands under Example, Source and Limits."""
    task, *labelled = re.split(r"^(Example|Source|Limits):", text, flags=re.MULTILINE)
    found = dict(zip(labelled[::2], labelled[1::2], strict=True))
    example = "\n".join(
        line.removeprefix("    ") for line in found.get("Example", "").splitlines()
    )
    source, limits = (_one_line(found.get(name, "")) for name in ("Source", "Limits"))
    return task.strip(), example.strip(), source, limits


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _parameters(arguments: ast.arguments):
    defaults = [ast.unparse(value) for value in arguments.defaults]
    padded = [""] * (len(arguments.args) - len(defaults)) + defaults
    for argument, default in zip(arguments.args, padded, strict=True):
        kind = ast.unparse(argument.annotation) if argument.annotation else ""
        yield argument.arg, kind, default


def _signature(name: str, parameters, returns: str) -> str:
    shown = [
        f"{each}{': ' + kind if kind else ''}{' = ' + default if default else ''}"
        for each, kind, default in parameters
    ]
    return f"{name}({', '.join(shown)}){' -> ' + returns if returns else ''}"


# --- cells --------------------------------------------------------------------------


@cache
def _cells(stem: str) -> tuple[tuple[Cell, str], ...]:
    """A notebook's cells with their sources; none where there is no notebook."""
    path = ROOT / "chapters" / f"{stem}.ipynb"
    if not path.exists():
        return ()
    found, section = [], ""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown" and (titles := HEADING.findall(source)):
            section = titles[-1]
        found.append((Cell(stem, cell["id"], section), source))
    return tuple(found)


def _exercise_cells(stem: str) -> dict[str, Cell]:
    found = [(EXERCISE_CELL.match(source), cell) for cell, source in _cells(stem)]
    return {match[1]: cell for match, cell in found if match}


@cache
def _by_id() -> dict[str, Cell]:
    return {cell.id: cell for stem in chapters() for cell, _ in _cells(stem)}


def cell_of(id: str) -> Cell:
    """The cell of this id. Raises KeyError if no notebook has it."""
    return _by_id()[id]


# --- rows of the papers -------------------------------------------------------------


@cache
def statements() -> tuple[Statement, ...]:
    """Every row of both papers, in their order; none where there are no tests."""
    citing: dict[str, list[str]] = {}
    for each in functions():
        for row in each.rows:
            citing.setdefault(row, []).append(each.name)
    claims: dict[str, list[Claimed]] = {}
    for row, claim in _claims():
        claims.setdefault(row, []).append(claim)
    return tuple(
        _statement(section, each, claims.get(each.row, []), citing.get(each.row, []))
        for section in _sections()
        for each in section.rows
    )


def _statement(section, each, claims, citing) -> Statement:
    return Statement(
        row=each.row,
        chapter=section.chapter,
        section=section.title,
        state=each.state,
        says=each.says or claims[0].statement,
        reason=each.reason,
        cells=tuple(cell_of(id) for id in each.cells),
        functions=tuple(citing),
        claims=tuple(claims),
    )


def _sections():
    """The papers' sections with their rows; looked up late, as `tests` lie above."""
    if not (ROOT / "tests" / "paper_rows").is_dir():
        return ()
    modules = ("framework", "induction")
    found = [importlib.import_module(f"tests.paper_rows.{name}") for name in modules]
    return [section for module in found for section in module.SECTIONS]


def _claims():
    module = importlib.import_module("tests.claim_rows")
    for claim in module.all_claims() if _sections() else ():
        finding = module.kept_finding(claim)
        holds = finding.holds if finding else dict.fromkeys(claim.conditions)
        yield (
            claim.row,
            Claimed(
                claim.statement,
                claim.paper,
                finding.ours if finding else "",
                claim.expected,
                tuple(holds.items()),
                claim.reason,
                claim.rests_on,
            ),
        )


def row_ids() -> tuple[str, ...]:
    """The ids of all rows, without loading what measures them."""
    return tuple(each.row for section in _sections() for each in section.rows)


def statement(row: str) -> Statement:
    """The row of this id, such as "F-102". Raises KeyError if there is none."""
    found = [each for each in statements() if each.row == row]
    if not found:
        raise KeyError(row)
    return found[0]


def verdict_of(each: Statement) -> str:
    """One word for a row: its state, or the verdict that its claims come to.

    Several claims of one row that do not agree come to "partly".
    """
    verdicts = {claim.verdict for claim in each.claims}
    if not verdicts:
        return each.state
    return verdicts.pop() if len(verdicts) == 1 else "partly"
