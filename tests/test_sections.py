"""A section stands alone: after the setup line, each runs without the ones before it.

The cells run here one after the other in this process, as a learner runs them who opens
a chapter in the middle; nothing is drawn. In the solved copies of the chapters, which
nbval runs, the sections come in a shuffled order as well.
"""

import random
from pathlib import Path

import nbformat
import pytest
from IPython.display import display

from utils.exercises.sync import sections, solved_copy

pytestmark = pytest.mark.slow
CHAPTERS = sorted((Path(__file__).parents[1] / "chapters").glob("ch*.ipynb"))


def read(path: Path):
    return nbformat.read(path, as_version=4)


def run(cells: list, namespace: dict) -> None:
    """Run the code cells; an error says which cell it was."""
    for cell in cells:
        if cell.cell_type == "code":
            try:
                exec(compile(cell.source, f"<cell {cell.id}>", "exec"), namespace)
            except Exception as error:
                error.add_note(f"in cell {cell.id}:\n{cell.source}")
                raise


def alone(setup: list, section: list) -> None:
    namespace = {"__name__": "__main__", "display": display}
    run([*setup, *section], namespace)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_each_section_runs_alone_in_any_order(chapter, monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    setup, *parts = sections(read(chapter))
    assert any("utils.prelude" in cell.source for cell in setup)
    assert len(parts) >= 3
    for section in random.Random(chapter.stem).sample(parts, len(parts)):
        alone(setup, section)


def notebook_of(*sources: str):
    new = nbformat.v4
    cells = [
        new.new_markdown_cell(s) if s.startswith("#") else new.new_code_cell(s)
        for s in sources
    ]
    return new.new_notebook(cells=cells)


def test_a_section_that_leans_on_another_is_found():
    notebook = notebook_of("# T", "a = 1", "## One", "b = a", "## Two", "c = b")
    setup, one, two = sections(notebook)
    alone(setup, one)
    with pytest.raises(NameError, match="'b'"):
        alone(setup, two)


def test_a_solved_copy_keeps_every_cell_when_shuffled(tmp_path):
    plain, shuffled = tmp_path / "plain.ipynb", tmp_path / "shuffled.ipynb"
    solved_copy(CHAPTERS[0], plain)
    solved_copy(CHAPTERS[0], shuffled, seed=1)
    one, two = ([cell.id for cell in read(path).cells] for path in (plain, shuffled))
    assert one != two and sorted(one) == sorted(two) and one[:2] == two[:2]
