"""One box a section for one's own words: kept in the notebook, shown beside a model."""

import json
import re
from pathlib import Path

import nbformat
import pytest

from utils.checks import chapters, words_of
from utils.exercises import cards
from utils.exercises.own_words import own_words
from utils.exercises.state import read_state, state_path
from utils.exercises.sync import sections

CHAPTERS = Path(__file__).parents[1] / "chapters"
BOX = re.compile(r'((?:# .*\n)+)own_words\("(\w+)", r"""\n\n"""\)')
WORDS = [words for stem in chapters() for words in words_of(stem)]
ONE = WORDS[0]


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "progress.json"))


def boxes(cells) -> list[tuple[str, str]]:
    """The question and the name of each box, as they stand in the cells."""
    found = [BOX.fullmatch(cell.source) for cell in cells if cell.cell_type == "code"]
    return [
        (" ".join(match[1].replace("# ", "").split()), match[2])
        for match in found
        if match
    ]


@pytest.mark.parametrize("stem", chapters())
def test_each_numbered_section_ends_with_its_box(stem):
    notebook = nbformat.read(CHAPTERS / f"{stem}.ipynb", as_version=4)
    asked = []
    for section in sections(notebook)[1:]:
        numbered = re.match(r"## (?:\d\.)?\d+\.? ", section[0].source)
        found = boxes(section)
        assert len(found) == (1 if numbered else 0), section[0].source[:40]
        if numbered:
            assert boxes(section[-1:]) == found
        asked += found
    known = [(f"In your own words: {one.question}", one.name) for one in words_of(stem)]
    assert asked == known


def test_names_and_questions_are_unique():
    assert len({one.name for one in WORDS}) == len(WORDS) >= 50
    assert len({one.question for one in WORDS}) == len(WORDS)
    assert all(len(one.answer) > 100 for one in WORDS)


def test_an_empty_box_asks_and_gives_nothing_away(capsys):
    for text in ("", "\n\n", "   "):
        own_words(ONE.name, text)
        said = capsys.readouterr().out
        assert ONE.question in said and ONE.answer not in said
    assert not state_path().exists()


def test_what_was_written_stands_beside_a_model_answer(capsys):
    own_words(ONE.name, "\nNumbers go in.\nOthers come out.\n")
    said = capsys.readouterr().out
    assert said.index("Numbers go in.\nOthers come out.") < said.index(ONE.answer)
    (kept,) = read_state()["record"]["words"][ONE.name]
    assert kept["text"] == "Numbers go in.\nOthers come out."


def test_a_notebook_laid_anew_shows_what_was_written(capsys):
    own_words(ONE.name, "what I meant")
    capsys.readouterr()
    own_words(
        ONE.name,
        r"""

""",
    )
    said = capsys.readouterr().out
    assert "what I meant" in said and ONE.answer in said
    assert re.search(r"In your words, on \d{4}-\d\d-\d\d", said)


def test_what_is_no_text_or_no_question_is_said():
    with pytest.raises(TypeError, match="between the quotation marks"):
        own_words(ONE.name, 3)
    with pytest.raises(KeyError, match="no question for your own words"):
        own_words("words_of_nobody", "text")


def test_the_card_shows_what_was_typed_and_nothing_else(monkeypatch):
    shown = []
    monkeypatch.setattr(cards, "show", shown.append)
    own_words(ONE.name, "<script>alert(1)</script> & `code` \\theta")
    (card,) = shown
    assert "<script>" not in card.html and "&lt;script&gt;" in card.html
    assert "<code>code</code>" in card.html and "\\theta" in card.html
    assert card.text.count(ONE.answer) == 1


def test_a_text_survives_saving_and_a_copy(tmp_path):
    """It is the cell's source, which every tool keeps."""
    path = CHAPTERS / f"{chapters()[0]}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(c for c in notebook.cells if c.id == "ch0-w1")
    cell.source = cell.source.replace('r"""\n\n"""', 'r"""\nmine: "é" \\n\n"""')
    nbformat.write(notebook, tmp_path / "copy.ipynb")
    again = nbformat.read(tmp_path / "copy.ipynb", as_version=4)
    (source,) = [c.source for c in again.cells if c.id == "ch0-w1"]
    namespace = {"own_words": lambda name, text: namespace.update(name=name, text=text)}
    exec(source, namespace)
    assert namespace["text"].strip() == 'mine: "é" \\n'
    assert json.loads(path.read_text())["cells"]
