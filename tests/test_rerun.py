"""A cell may be run once more after the cells below it have run.

A learner who has come to the end of a chapter goes back to a figure, changes a number
and runs that cell alone. It must still find what it found the first time. So where a
cell reads a name that a cell above it has bound, no cell below may give that name to
something else. The same statement on the same inputs is nothing else: that is how a
section sets out once more what it needs.

What a cell reads inside a function counts for the cell that calls the function. And
what it draws at random it draws from a seed of its own.
"""

import ast
import hashlib
import json
import re
import symtable
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("ch*_*.ipynb"))
SCOPES = ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp


@dataclass
class Cell:
    """What a cell takes from cells above it, and what it binds.

    `own` is what it reads of its own making; `when_called` has, for each function it
    makes, the outer names that its body reads; a step is a statement, the names that it
    binds, and those that it reads.
    """

    name: str
    reads: set[str] = field(default_factory=set)
    own: set[str] = field(default_factory=set)
    when_called: dict[str, set[str]] = field(default_factory=dict)
    steps: list[tuple[str, set[str], set[str]]] = field(default_factory=list)

    @property
    def made(self) -> set[str]:
        return set().union(*(bound for _, bound, _ in self.steps))


def read_cell(source: str, name: str) -> Cell:
    cell = Cell(name)
    for part in parts(ast.parse(source).body):
        if is_exercise(part):
            cell.steps.append(("an exercise", {part.name}, set()))
            continue
        now, called = names_read(part)
        cell.reads |= now - cell.made
        cell.own |= now & cell.made
        bound = names_bound(part)
        cell.steps.append((ast.unparse(part), bound, now | called))
        if called:
            cell.when_called |= dict.fromkeys(bound, called)
    return cell


def parts(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements in the order in which they bind names; blocks come in pieces."""
    for statement in body:
        if isinstance(statement, ast.For):
            given = ast.Assign([statement.target], statement.iter)
            yield ast.fix_missing_locations(given)
        elif isinstance(statement, ast.With):
            for item in statement.items:
                given = item.optional_vars or ast.Name("_", ast.Store())
                yield ast.fix_missing_locations(ast.Assign([given], item.context_expr))
        elif isinstance(statement, ast.If | ast.While):
            yield ast.Expr(statement.test)
        if isinstance(statement, ast.For | ast.With | ast.If | ast.While):
            yield from parts(statement.body)
            yield from parts(getattr(statement, "orelse", []))
        else:
            yield statement


def is_exercise(part: ast.stmt) -> bool:
    """Its name means one function throughout, whoever has written it."""
    marks = [ast.unparse(mark) for mark in getattr(part, "decorator_list", [])]
    return "exercise" in marks


def names_bound(node: ast.AST) -> set[str]:
    if isinstance(node, SCOPES):
        return {node.name}
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(a.asname or a.name).split(".")[0] for a in node.names}
    if isinstance(node, ast.Name):
        return {node.id} if isinstance(node.ctx, ast.Store) else set()
    if isinstance(node, COMPREHENSIONS | ast.Lambda):
        walrus = (w for w in ast.walk(node) if isinstance(w, ast.NamedExpr))
        return {w.target.id for w in walrus}
    return set().union(*map(names_bound, ast.iter_child_nodes(node)))


def names_read(part: ast.stmt) -> tuple[set[str], set[str]]:
    """What a statement reads from outside: at once, and when its functions run."""
    now, called = set(), set()

    def visit(table: symtable.SymbolTable, found: set[str]) -> None:
        top = table.get_type() == "module"
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (top or symbol.is_global()):
                found.add(symbol.get_name())
        for inner in table.get_children():
            comprehension = inner.get_name() in ("listcomp", "setcomp", "dictcomp",
                                                 "genexpr")  # fmt: skip
            runs_later = inner.get_type() == "function" and not comprehension
            visit(inner, called if runs_later else found)

    visit(symtable.symtable(ast.unparse(part), "cell", "exec"), now)
    if isinstance(part, ast.AugAssign):
        now |= names_bound(part)
    return now, called


def needed(cell: Cell, when_called: dict[str, set[str]]) -> set[str]:
    """Its reads, and what the functions it reads will look for when they are called."""
    found, new = set(), cell.reads | cell.own
    while new:
        found |= new
        new = {n for f in new for n in when_called.get(f, ())} - found
    return found - cell.made


def meanings(cells: list[Cell]) -> list[dict[str, str]]:
    """For each cell: what each name it binds stands for, by how it came about."""
    known: dict[str, str] = {}
    out = []
    for cell in cells:
        for statement, bound, reads in cell.steps:
            story = statement, sorted((name, known.get(name)) for name in reads)
            known |= dict.fromkeys(
                bound, hashlib.sha256(repr(story).encode()).hexdigest()
            )
        out.append({name: known[name] for name in cell.made})
    return out


def taken_names(cells: list[Cell]) -> list[str]:
    """A sentence for each name that a cell reads and a later cell gives away."""
    stand_for, when_called, maker = meanings(cells), {}, {}
    faults = []
    for i, cell in enumerate(cells):
        when_called |= cell.when_called
        for name in sorted(needed(cell, when_called) & maker.keys()):
            above = maker[name]
            for below in range(i + 1, len(cells)):
                if (
                    stand_for[below].get(name, stand_for[above][name])
                    != (stand_for[above][name])
                ):
                    faults.append(
                        f"{cell.name} reads `{name}` of {cells[above].name}; "
                        f"{cells[below].name} binds something else to it"
                    )
                    break
        maker |= dict.fromkeys(cell.made, i)
    return faults


def code_cells(path: Path) -> list[Cell]:
    notebook = json.loads(path.read_text("utf-8"))
    return [
        read_cell("".join(cell["source"]), cell["id"])
        for cell in notebook["cells"]
        if cell["cell_type"] == "code"
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_cell_takes_a_name_that_a_cell_above_reads(path):
    assert taken_names(code_cells(path)) == []


DRAWS = re.compile(r"torch\.(?:rand\w*|normal|multinomial|bernoulli)\(")


def drawn_without_seed(source: str) -> list[str]:
    """The calls that draw from a generator which other cells have moved on."""
    if "torch.manual_seed(" in source:
        return []
    calls = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call)]
    return [
        ast.unparse(call)
        for call in calls
        if DRAWS.match(ast.unparse(call))
        and "generator" not in [word.arg for word in call.keywords]
    ]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_cell_that_is_run_again_draws_the_same_numbers(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    sources = ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]
    assert [drawn for source in sources for drawn in drawn_without_seed(source)] == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("x = torch.randn(3)", 1),
        ("torch.manual_seed(0)\nx = torch.randn(3)", 0),
        ("x = torch.randn(3, generator=g)", 0),
        ("g = torch.Generator().manual_seed(0)\ny = torch.randperm(3)", 1),
        ("x = torch.randn_like(y) + torch.rand(2)", 2),
    ],
)
def test_what_is_drawn_without_a_seed_is_found(source, found):
    assert len(drawn_without_seed(source)) == found


# --- the rule, shown notebooks of few cells -----------------------------------------

MAKE, READ = "x = 1", "print(x)"
FREE = {
    "the reader binds it itself": [MAKE, "x = 1\nprint(x)", "x = 2"],
    "the same statement on the same inputs": [MAKE, READ, MAKE, READ],
    "the same in two steps": ["a = 1\nx = a", READ, "a = 1\nx = a"],
    "bound before the reader only": [MAKE, "x = 2", READ],
    "a variable of a comprehension": [MAKE, READ, "y = [x for x in range(3)]"],
    "a name inside a function": [MAKE, READ, "def f():\n    x = 2"],
    "a loop's own index": ["for x in range(3):\n    print(x)", "x = 2"],
    "a function nobody calls above": [MAKE, "def f():\n    return x", "x = 2"],
    "the function's cell binds it": [
        "x = 1\n\ndef f():\n    return x\n\nprint(f())",
        "x = 2",
    ],
    "an exercise is one function": [
        "@exercise\ndef x():\n    return y",
        "print(x)",
        "from solutions import y",
    ],
}
TAKEN = {
    "another value": [MAKE, READ, "x = 2"],
    "two at once": ["x, y = 1, 2", READ, "x, y = 3, 4"],
    "an index": [MAKE, READ, "for x in range(3):\n    pass"],
    "after with": [MAKE, READ, "with open(name) as x:\n    pass"],
    "an import": [MAKE, READ, "import x"],
    "a function": ["def x():\n    return 1", "x()", "def x():\n    return 2"],
    "added to": [MAKE, READ, "x += 1"],
    "read in a loop": [MAKE, "for i in range(3):\n    print(x)", "x = 2"],
    "read in a comprehension": [MAKE, "y = [x for _ in range(3)]", "x = 2"],
    "read by a function that is called": [
        MAKE,
        "def f():\n    return x",
        "def g():\n    return f()",
        "print(g())",
        "x = 2",
    ],
    "the same statement after another step": ["a = 1\nx = a", READ, "a = 2\nx = a"],
    "the same statement on another input": [
        "a = 1",
        "x = a",
        READ,
        "a = 2",
        "x = a",
    ],
}


def made(sources: list[str]) -> list[Cell]:
    return [read_cell(source, f"cell-{i}") for i, source in enumerate(sources)]


@pytest.mark.parametrize("name", FREE)
def test_what_keeps_its_meaning_is_let_pass(name):
    assert taken_names(made(FREE[name])) == []


@pytest.mark.parametrize("name", TAKEN)
def test_what_takes_a_name_is_found(name):
    sentences = taken_names(made(TAKEN[name]))
    last = f"cell-{len(TAKEN[name]) - 1}"
    assert any("`x`" in said and last in said for said in sentences)
