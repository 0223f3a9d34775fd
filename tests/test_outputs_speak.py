"""An output that shows something is followed by words, and a list is a table.

A reader sees a figure and asks what it shows. So the next cell is prose, or the cell
says a sentence of its own: one that it prints, or the note of a table.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

CHAPTERS = sorted((Path(__file__).resolve().parents[1] / "chapters").glob("ch*.ipynb"))
CHECKED = "nbval-check-output"
DRAWERS = ("figures", "views", "diagrams")
NO_FIGURE = ("head_label", "describe", "check_values", "check_pattern")


def source(cell: dict) -> str:
    return "".join(cell["source"])


def code_of(cell: dict) -> ast.Module | None:
    """The code of a cell that a learner is shown results of, else None."""
    if cell["cell_type"] != "code" or source(cell).startswith("@exercise"):
        return None
    return ast.parse(source(cell))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def draws(tree: ast.AST, makers: set[str]) -> bool:
    """Whether something here makes a picture, itself or by one of `makers`."""
    for call in calls(tree):
        function = call.func
        if isinstance(function, ast.Name) and function.id in makers:
            return True
        if (
            isinstance(function, ast.Attribute)
            and isinstance(function.value, ast.Name)
            and function.value.id in DRAWERS
            and function.attr not in NO_FIGURE
        ):
            return True
    return False


def says_a_sentence(tree: ast.AST) -> bool:
    """Whether some string of the cell is a sentence: four words or more and a stop."""
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        words = " ".join(
            str(part.value) if isinstance(part, ast.Constant) else "x" for part in parts
        )
        last = parts[-1] if parts else None
        ends = isinstance(last, ast.Constant) and str(last.value).rstrip().endswith(".")
        if ends and isinstance(last.value, str) and len(words.split()) >= 4:
            return True
    return False


def begins_with_prose(cell: dict | None) -> bool:
    if cell is None or cell["cell_type"] != "markdown":
        return False
    return len(re.split(r"(?m)^#+ ", source(cell))[0].split()) >= 8


def silent_outputs(cells: list[dict]) -> Iterator[str]:
    makers: set[str] = set()
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        tree = code_of(cell)
        if tree is None:
            continue
        rest = []
        for statement in tree.body:
            if not isinstance(statement, ast.FunctionDef):
                rest.append(statement)
            elif draws(statement, makers):
                makers.add(statement.name)
        shown = ast.Module(rest, [])
        if draws(shown, makers) and not (
            begins_with_prose(following) or says_a_sentence(shown)
        ):
            yield cell["id"]


def printed_lists(cells: list[dict]) -> Iterator[str]:
    """Cells that print numbers line by line in columns; compared outputs stay text."""
    for cell in cells:
        tree = code_of(cell)
        if tree is None or CHECKED in cell["metadata"].get("tags", []):
            continue
        loops = [node for node in ast.walk(tree) if isinstance(node, ast.For)]
        for loop in loops:
            for call in calls(loop):
                if getattr(call.func, "id", "") == "print" and _columns(call) >= 2:
                    yield cell["id"]


def _columns(call: ast.Call) -> int:
    """How many numbers a call of print sets with a width or with digits."""
    formats = [
        n.format_spec for n in ast.walk(call) if isinstance(n, ast.FormattedValue)
    ]
    found = [ast.unparse(form) for form in formats if form is not None]
    return sum(bool(re.search(r"[.>\d]", form)) for form in found)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_every_output_that_shows_something_is_followed_by_words(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert list(silent_outputs(cells)) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_lists_of_numbers_are_tables(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert list(printed_lists(cells)) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_nothing_is_drawn_with_letters_and_dashes(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = [cell for cell in cells if cell["cell_type"] == "markdown"]
    fences = {c["id"]: re.findall(r"(?ms)^```.*?^```", source(c)) for c in prose}
    arrow = re.compile(r"--|->|\+-|\^")
    assert [i for i, found in fences.items() if any(map(arrow.search, found))] == []


# --- The rules at work --------------------------------------------------------------


def cell(kind: str, text: str) -> dict:
    return {"cell_type": kind, "id": text[:20], "metadata": {}, "source": [text]}


PROSE = cell(
    "markdown", "The drawing shows that all of it comes from here.\n\n## 2. On"
)
FIGURE = "figures.scatter(a, b)"


@pytest.mark.parametrize(
    ("cells", "silent"),
    [
        ([cell("code", FIGURE), PROSE], 0),
        ([cell("code", FIGURE)], 1),
        ([cell("code", FIGURE), cell("code", "1"), PROSE], 1),
        ([cell("code", FIGURE), cell("markdown", "## 2. A heading\n\nText.")], 1),
        ([cell("code", FIGURE + '\nprint(f"So {x} of all is left.")')], 0),
        ([cell("code", 'figures.table({}, [], note="All of it is here.")')], 0),
        ([cell("code", "def f(x):\n    return views.a(x)\n"), cell("code", "f(1)")], 1),
        ([cell("code", "def f(x):\n    return views.a(x)\n")], 0),
        ([cell("code", 'print(figures.head_label(0, 1), "a b c")')], 0),
    ],
)
def test_a_silent_output_is_found(cells, silent):
    assert len(list(silent_outputs(cells))) == silent


@pytest.mark.parametrize(
    ("code", "lists"),
    [
        ('for a in b:\n    print(f"{a:9} {a:.2f}")', 1),
        ('for a in b:\n    print(f"{a} is left")', 0),
        ('print(f"{a:9} {a:.2f}")', 0),
        ('for a in b:\n    lines.append(f"{a:9} {a:.2f}")', 0),
    ],
)
def test_a_printed_list_is_found(code, lists):
    assert len(list(printed_lists([cell("code", code)]))) == lists
