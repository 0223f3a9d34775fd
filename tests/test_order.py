"""The long files begin first, and only what shares nothing is divided."""

import pytest

from tests import order
from tests.claim_rows import all_claims
from utils.launcher.environment import ROOT


def test_the_long_ones_are_there_and_begin_first():
    for name in order.LONGEST:
        assert (ROOT / name.replace(".solved/", "chapters/")).is_file(), name
    ids = ["tests/test_a.py::test_b", *(f"{name}::test" for name in order.LONGEST)]
    ids.append("utils/a.py::utils.a.b")
    assert sorted(ids, key=order.begins) == [*ids[1:-1], ids[0], ids[-1]]


def test_a_solved_copy_begins_as_its_chapter_says(monkeypatch):
    monkeypatch.setattr(order, "LONGEST", ["a.py", ".solved/ch2.ipynb"])
    assert order.begins(".solved/x1_y/ch2.ipynb::Cell 3") == 1
    assert order.begins("chapters/ch2.ipynb::Cell 3") == 2


@pytest.mark.parametrize(
    ("nodeid", "piece"),
    [
        ("chapters/ch2.ipynb::Cell 3", "chapters/ch2.ipynb"),
        (".solved/x/ch2.ipynb::Cell 3", ".solved/x/ch2.ipynb"),
        ("tests/test_a.py::test_b[ch1_x]", "tests/test_a.py"),
        ("tests/test_chapters_in_browser.py::b", "tests/test_chapters_in_browser.py"),
        (
            "tests/test_chapters_in_browser.py::b[ch1_x]",
            "tests/test_chapters_in_browser.py ch1_x",
        ),
        ("tests/test_claims.py::test_b[11-partly]", "tests/test_claims.py"),
    ],
)
def test_a_file_is_one_piece_unless_it_falls_apart(nodeid, piece):
    assert order.piece_of(nodeid) == piece
    assert order.Pieces._split_scope(None, nodeid) == piece


def test_claims_of_one_file_stay_together():
    """Read from the sources, the files are those where the claims come from."""
    for claim in all_claims():
        name = f"tests/test_claims.py::test_x[{claim.row}: {claim.statement[:40]}]"
        file = order.piece_of(name).split()[1]
        folder = ROOT / "tests" / "claim_rows"
        assert f'"{claim.row}"' in (folder / f"{file}.py").read_text("utf-8")
