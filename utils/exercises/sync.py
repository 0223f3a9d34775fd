"""Keep the notebooks' exercise cells in step with the solutions.

`python3 -m utils sync` writes the stub of every exercise cell anew; `--check` only says
what would change. The tests use `solved_copy` to run each chapter as a learner leaves
it who solved everything, and `sections` to run a chapter's sections one by one.
"""

import ast
import importlib
import inspect
import random
import re
from pathlib import Path

import nbformat

from utils.checks import EXERCISE_CELL

__all__ = [
    "drift",
    "exercise_names",
    "main",
    "sections",
    "solution_source",
    "solved_copy",
    "stub_source",
    "sync_chapter",
]

CHAPTERS = Path(__file__).parents[2] / "chapters"
SECTION = re.compile(r"^## ", re.MULTILINE)


def solution_source(stem: str, name: str) -> str:
    """The source of one solution, for example `("ch2_zero_layer", "direct_path")`."""
    module = importlib.import_module(f"solutions.{stem}")
    return inspect.getsource(getattr(module, name)).rstrip() + "\n"


def stub_source(source: str) -> str:
    """The stub of a solution: its signature, and its docstring up to `Example:`."""
    node = ast.parse(source).body[0]
    documented = node.body[0]
    lines = source.splitlines()
    head = "\n".join(lines[: documented.lineno - 1])
    text = documented.value.value.split("Example:")[0].rstrip()
    ending = '\n    """' if "\n" in text else '"""'
    return f'{head}\n    """{text}{ending}\n    raise NotImplementedError\n'


def exercise_names(chapter: Path) -> list[str]:
    """The exercises of a notebook, in order."""
    return [name for _, name in _exercise_cells(_read(chapter))]


def drift(chapter: Path) -> list[str]:
    """The exercises whose cell is not the stub of its solution."""
    return [
        name
        for cell, name in _exercise_cells(_read(chapter))
        if cell.source.rstrip() != _cell_source(chapter.stem, name)
    ]


def sync_chapter(chapter: Path) -> list[str]:
    """Write the stubs of a notebook anew; returns the exercises that changed."""
    changed = drift(chapter)
    if changed:
        notebook = _read(chapter)
        for cell, name in _exercise_cells(notebook):
            cell.source = _cell_source(chapter.stem, name)
        nbformat.write(notebook, chapter)
    return changed


def sections(notebook) -> list[list]:
    """A notebook's cells, cut before each cell with a `## ` heading.

    The first part is what stands before all sections: the title and the setup line.
    """
    parts = [[]]
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and SECTION.search(cell.source):
            parts.append([])
        parts[-1].append(cell)
    return parts


def solved_copy(
    chapter: Path, target: Path, seed: int | None = None, through: str = ""
) -> None:
    """Copy a notebook with every stub replaced by its solution.

    The first cell sets COURSE_STRICT, so that a solution that does not pass its check
    in the notebook's own namespace stops the run. With a `seed` the sections come in
    another order: each has to stand alone. `through` names a decorator, as in
    "package.module.name", that every solution goes through.
    """
    module, _, decorator = through.rpartition(".")
    notebook = _read(chapter)
    for cell, name in _exercise_cells(notebook):
        head = f"@exercise\n@{decorator}\n" if decorator else "@exercise\n"
        cell.source = head + solution_source(chapter.stem, name).rstrip()
    if seed is not None:
        setup, *parts = sections(notebook)
        random.Random(seed).shuffle(parts)
        notebook.cells = [cell for part in [setup, *parts] for cell in part]
    strict = 'import os\n\nos.environ["COURSE_STRICT"] = "1"'
    if decorator:
        strict += f"\nfrom {module} import {decorator}"
    first = nbformat.v4.new_code_cell(strict, id="strict")
    notebook.cells.insert(0, first)
    nbformat.write(notebook, target)


def _read(chapter: Path):
    return nbformat.read(chapter, as_version=4)


def _exercise_cells(notebook) -> list[tuple]:
    """Pairs of a cell that opens with `@exercise` and the exercise's name."""
    found = [
        (cell, EXERCISE_CELL.match(cell.source))
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    return [(cell, match.group(1)) for cell, match in found if match]


def _cell_source(stem: str, name: str) -> str:
    return "@exercise\n" + stub_source(solution_source(stem, name)).rstrip()


def main(argv: list[str]) -> int:
    """`python3 -m utils sync [--check]`: 1 if a stub has drifted, with its name."""
    check = "--check" in argv
    found = 0
    for chapter in sorted(CHAPTERS.glob("ch*.ipynb")):
        for name in drift(chapter) if check else sync_chapter(chapter):
            found += 1
            print(f"{chapter.name}: {name} {'differs' if check else 'written anew'}")
    if not found:
        print("Every stub matches its solution.")
    return 1 if check and found else 0
