"""Keep the notebooks in step with the solutions, the glossary and the colours.

`python3 -m utils sync` writes the stub of every exercise cell anew, links each term's
first use to the glossary, colours the symbols in formulas, and writes the page about
the solutions, `solutions/README.md`; `--check` only says what would change. The tests
use `solved_copy` to run each chapter as a learner leaves it who solved everything, and
`sections` to run a chapter's sections one by one.
"""

import ast
import importlib
import inspect
import random
import re
from pathlib import Path

import nbformat

from utils.checks import EXERCISE_CELL
from utils.exercises import glossary, minutes
from utils.pictures import formulas

__all__ = [
    "drift",
    "dress",
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
STYLE_SHEET = Path(__file__).parents[1] / "assets" / "lab" / "custom.css"


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


def dress(chapter: Path, check: bool = False) -> list[str]:
    """Set a chapter's links to the glossary and the colours of its formulas anew.

    So are minutes that are missing or far off. Returns the ids of the cells that
    changed, or with `check` would.
    """
    notebook = _read(chapter)
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]
    terms = glossary.read_glossary()
    times = stale_minutes(chapter.stem)
    sources = [minutes.stated(cell.source, times) for cell in prose]
    sources = [formulas.color_formulas(source) for source in sources]
    sources = glossary.link_first_uses(sources, terms)
    changed = []
    for cell, source in zip(prose, sources, strict=True):
        if cell.source != source:
            cell.source = source
            changed.append(cell.id)
    if changed and not check:
        nbformat.write(notebook, chapter)
    return changed


def stale_minutes(stem: str) -> dict[str, int]:
    """The minutes for sections that say none, or are off by over 3 and a quarter."""

    def length(name: str) -> int:
        first, *body = ast.parse(solution_source(stem, name)).body[0].body
        return sum(line.end_lineno - line.lineno + 1 for line in body)

    found = {}
    for section in minutes.sections_of(stem):
        due = minutes.estimate(section, length)
        off = abs(due - section.minutes) if section.minutes else due
        if section.minutes is None or off > max(3, due / 4):
            found[section.heading] = due
    return found


def write_companions() -> list[str]:
    """Write the glossary's places and the style sheet; returns the files changed."""
    chapters = {
        path.stem: [c.source for c in _read(path).cells if c.cell_type == "markdown"]
        for path in sorted(CHAPTERS.glob("ch*.ipynb"))
    }
    changed = []
    met = glossary.first_met(chapters, glossary.read_glossary())
    if glossary.write_first_met(met):
        changed.append(glossary.GLOSSARY.name)
    css = formulas.dark_css()
    if not STYLE_SHEET.exists() or STYLE_SHEET.read_text(encoding="utf-8") != css:
        STYLE_SHEET.parent.mkdir(exist_ok=True)
        STYLE_SHEET.write_text(css, encoding="utf-8", newline="\n")
        changed.append(STYLE_SHEET.name)
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
    """`python3 -m utils sync [--check]`: 1 if something has drifted, with its name."""
    check = "--check" in argv
    found = []
    for chapter in sorted(CHAPTERS.glob("ch*.ipynb")):
        stubs = drift(chapter) if check else sync_chapter(chapter)
        found += [f"{chapter.name}: {name}" for name in stubs]
        cells = dress(chapter, check)
        found += [f"{chapter.name}, links and colours: {', '.join(cells)}"] * bool(
            cells
        )
    found += [] if check else write_companions()
    # The page is made a floor above, from all that can be looked up.
    shelf = importlib.import_module("utils.launcher.shelf")
    found += shelf.drift() if check else shelf.write_page()
    for line in found:
        print(f"{line} {'differs' if check else 'written anew'}")
    if not found:
        print("Every notebook and the page of the solutions are in step.")
    return 1 if check and found else 0
