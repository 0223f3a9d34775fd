"""A section stands alone: after the setup line, each runs without the ones before it.

nbval runs the chapters that way (`tests/notebooks.py`). Here it is shown that a section
that leans on another one is found.
"""

from pathlib import Path

import nbformat
import pytest

from tests.notebooks import run_before
from utils.exercises.sync import sections, solved_copy

CHAPTERS = sorted((Path(__file__).parents[1] / "chapters").glob("ch*.ipynb"))


def read(path: Path):
    return nbformat.read(path, as_version=4)


def notebook_of(*sources: str):
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(s) if s.startswith("#") else new.new_code_cell(s)
        for s in sources
    ]
    return new.new_notebook(cells=cells)


def run(notebook) -> dict:
    """Run the code cells, and before some of them what makes sections forget."""
    namespace, before = {"__name__": "__main__"}, run_before(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            exec(before.get(cell.id, ""), namespace)
            exec(cell.source, namespace)
    return namespace


def test_a_section_has_what_the_setup_bound():
    one, two = "a += 1; seen.append(a)", "a += 5; seen.append(a)"
    cells = ("# T", "a, seen = 1, []", "## One", one, "text = 2", "## Two", two)
    found = run(notebook_of(*cells))
    assert found["seen"] == [2, 6] and "text" not in found


def test_a_section_that_leans_on_another_is_found():
    with pytest.raises(NameError, match="'b'"):
        run(notebook_of("# T", "a = 1", "## One", "b = a", "## Two", "c = b"))
    with pytest.raises(NameError, match="'b'"):
        parts = ("## One", "b = a", "## Two", "## More", "## Three", "c = b")
        run(notebook_of("# T", "a = 1", *parts))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_every_section_of_a_chapter_forgets(chapter):
    notebook = read(chapter)
    setup, *parts = sections(notebook)
    assert len(parts) >= 3 and any("utils.prelude" in cell.source for cell in setup)
    before = run_before(notebook)
    for part in parts:
        code = [cell.id for cell in part if cell.cell_type == "code"]
        wanted = [True, *[False] * len(code)][: len(code)]
        assert [cell in before for cell in code] == wanted


def test_a_solved_copy_keeps_every_cell_when_shuffled(tmp_path):
    plain, shuffled = tmp_path / "plain.ipynb", tmp_path / "shuffled.ipynb"
    solved_copy(CHAPTERS[0], plain)
    solved_copy(CHAPTERS[0], shuffled, seed=1)
    one, two = ([cell.id for cell in read(path).cells] for path in (plain, shuffled))
    assert one != two and sorted(one) == sorted(two) and one[:2] == two[:2]
