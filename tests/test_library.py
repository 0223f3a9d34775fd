"""What the course offers to be looked up: it agrees with the code it is read from."""

import ast
import importlib
import inspect
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from tests import paper_rows
from tests.claim_rows import all_claims, kept_finding
from tests.paper_rows import framework, induction
from utils.checks import chapters, find_check
from utils.launcher import library, shelf

ROOT = Path(__file__).parents[1]
SECTIONS = (*framework.SECTIONS, *induction.SECTIONS)
ROWS = [row for section in SECTIONS for row in section.rows]
NAMES = [each.name for each in library.functions()]


def imported(each: library.Function):
    return getattr(importlib.import_module(f"solutions.{each.chapter}"), each.name)


# --- functions ----------------------------------------------------------------------


def test_every_public_function_is_there_once():
    modules = [importlib.import_module(f"solutions.{stem}") for stem in chapters()]
    public = [n for m in modules for n in m.__all__ if callable(getattr(m, n))]
    assert sorted(NAMES) == sorted(public) and len(NAMES) > 70


@pytest.mark.parametrize("each", library.functions(), ids=NAMES)
def test_what_is_read_is_what_python_imports(each):
    function = imported(each)
    parameters = inspect.signature(function).parameters
    assert [name for name, _, _ in each.parameters] == list(parameters)
    for name, _, default in each.parameters:
        real = parameters[name].default
        assert (real is inspect.Parameter.empty) == (default == "")
        assert default == "" or ast.literal_eval(default) == real
    assert each.line == inspect.getsourcelines(function)[1]
    assert inspect.getsourcefile(inspect.unwrap(function)) == str(ROOT / each.file)
    # No word of the docstring is lost but the labels.
    parts = (each.summary, *each.details, each.example, each.source, each.limits)
    words = re.sub(
        r"^(Example|Source|Limits):", "", inspect.getdoc(function), flags=re.M
    )
    assert Counter(" ".join(parts).split()) == Counter(words.split())
    assert each.summary[-1] in ".?" and each.example.startswith(">>>")


@pytest.mark.parametrize("stem", chapters())
def test_a_function_knows_its_cell_and_section(stem):
    """Counted in another way: headings and exercises as lines of the whole notebook."""
    cells = json.loads((ROOT / "chapters" / f"{stem}.ipynb").read_text("utf-8"))[
        "cells"
    ]
    section, found = "", {}
    for cell in cells:
        for line in "".join(cell["source"]).splitlines():
            if cell["cell_type"] == "markdown" and line.startswith(("# ", "## ")):
                section = line.lstrip("#").strip()
            elif cell["source"][0] == "@exercise\n" and line.startswith("def "):
                name = line.removeprefix("def ").split("(")[0]
                found.setdefault(name, (cell["id"], section))
    mine = [each for each in library.functions() if each.chapter == stem]
    assert {each.name for each in mine} <= set(found)
    for each in mine:
        assert (each.cell.id, each.cell.section) == found[each.name]


def test_mistakes_are_those_of_the_check():
    each = next(f for f in library.functions() if f.name == "prefix_matching_score")
    said = {m.name: m.says for m in find_check(each.name).mistakes}
    assert dict(each.mistakes) == said and "per cell" in said


def test_page_of_the_solutions_is_made_from_the_code():
    """After a change of a docstring: `python3 -m utils sync`."""
    text = shelf.PAGE.read_text("utf-8")
    assert text == shelf.page()
    for each in library.functions():
        assert f"| `{each.name}(" in text and each.summary.split("|")[0] in text
    assert all(f"]({stem}.py)" in text for stem in chapters())


# --- rows ---------------------------------------------------------------------------


def test_no_row_is_missing_or_there_twice():
    ids = [row.row for row in ROWS]
    assert len(set(ids)) == len(ids) == 129
    places = [(s.chapter, s.title) for s in SECTIONS]
    assert len(set(places)) == len(places)


def test_a_row_is_measured_just_when_there_are_claims():
    claimed = {claim.row for claim in all_claims()}
    assert {row.row for row in ROWS if row.state == "measured"} == claimed
    assert Counter(row.state for row in ROWS)["left out"] < 10


def test_every_row_that_is_named_is_known():
    known = {row.row for row in ROWS}
    places = [*ROOT.glob("chapters/*.ipynb"), *ROOT.glob("solutions/*.py")]
    places += [ROOT / "README.md", ROOT / "chapters" / "FACILITATOR.md"]
    for place in places:
        named = set(library.ROW.findall(place.read_text("utf-8")))
        assert named <= known, f"{place.name}: {named - known}"


def test_a_row_brings_its_claims_cells_and_functions():
    rows = library.statements()
    assert [each.row for each in rows] == [row.row for row in ROWS]
    assert sum(len(each.claims) for each in rows) == len(all_claims())
    for each in rows:
        assert (each.state == "measured") == bool(each.claims)
        assert bool(each.cells) or each.state != "taught"
    there = library.statement("F-102")
    assert "logit_effect" in there.functions
    assert "ch5-031" in [cell.id for cell in there.cells]
    assert library.verdict_of(there) == there.claims[0].verdict
    with pytest.raises(KeyError):
        library.statement("F-999")


def test_a_row_says_why_it_is_not_measured():
    with pytest.raises(ValueError):
        paper_rows.PaperRow("F-1", (), "left out", says="Something.")
    with pytest.raises(ValueError):
        paper_rows.left_out("F-1", "Something.", "")
    with pytest.raises(ValueError):
        paper_rows.PaperRow("F-1", ("ch0-001",), "left out", "Something.", "It is.")
    with pytest.raises(ValueError):
        paper_rows.taught("F-1", "", "Something.", "It is.")


@pytest.mark.parametrize("claim", all_claims(), ids=lambda c: f"{c.row}: {c.statement}")
def test_kept_numbers_come_to_the_expected_verdict(claim):
    """Whoever changes a claim measures it again: `claims --keep ROW`."""
    finding = kept_finding(claim)
    assert finding is not None, f"python3 -m utils claims --keep {claim.row}"
    assert finding.verdict == claim.expected and finding.ours
