"""Help in order: hints, then the solution, and after a pass both answers to compare."""

import linecache
import types

import pytest

from utils.checks import find_check
from utils.exercises import cards, engine
from utils.exercises.compare import bare, compared, written_by
from utils.exercises.engine import exercise, hint, solution
from utils.exercises.state import may_see_solution, note_try, read_state
from utils.exercises.sync import solution_source

NAME = "direct_path"
NEXT, SHOW = "Next hint", "Show the solution"
OWN = '''@exercise
def direct_path(model):
    """Words of the stub,
    over two lines.
    """
    # my own remark
    through = model.W_E
    return through @ model.W_U
'''
BARE = (
    "def direct_path(model):\n    # my own remark\n    through = model.W_E\n"
    "    return through @ model.W_U"
)


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "progress.json"))
    monkeypatch.setattr(engine, "_passed", {})


@pytest.fixture
def page(monkeypatch):
    """What a notebook would show, as (cards, boxes of widgets)."""
    shown = types.SimpleNamespace(cards=[], boxes=[])

    def display(one):
        (shown.boxes if hasattr(one, "children") else shown.cards).append(one)

    monkeypatch.setattr(cards, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    return shown


def run(source: str = OWN):
    """Run a cell as a notebook does, so that its source can be found."""
    file = f"<cell {len(linecache.cache)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    namespace = {"exercise": exercise}
    exec(compile(source, file, "exec"), namespace)
    return namespace[NAME]


def reference() -> str:
    return bare(solution_source("ch2_zero_layer", NAME))


def wrong():
    return run(OWN.replace(" @ model.W_U", ""))


def row(page) -> dict:
    buttons = page.boxes[-1].children[0].children
    return {button.description: button for button in buttons}


def test_the_solution_joins_the_buttons_after_two_hints(page):
    wrong()
    first = row(page)
    assert list(first) == [NEXT]
    first[NEXT].click()
    assert list(row(page)) == [NEXT]
    first[NEXT].click()
    assert list(row(page)) == [NEXT, SHOW]
    assert row(page)[NEXT] is first[NEXT]  # the one with the focus is not made anew
    row(page)[SHOW].click()
    said = page.boxes[-1].children[1].children[0].value
    assert "return model.W_E @ model.W_U" in said
    assert read_state()["record"]["exercises"][NAME]["solution"]["views"] == 1


def test_the_solution_is_offered_after_three_tries_and_the_card_says_so(page):
    for offered in (False, False, True):
        wrong()
        assert (SHOW in row(page)) == offered
        assert (f'`solution("{NAME}")` help' in page.cards[-1].text) == offered


def test_a_stub_that_is_run_is_no_try(page):
    for _ in range(5):
        run("@exercise\ndef direct_path(model):\n    raise NotImplementedError\n")
    assert list(row(page)) == [NEXT]


def test_old_tries_count_and_a_pass_offers_the_solution():
    note_try(NAME, "failed", None)
    state = read_state()
    assert not may_see_solution(state, NAME)
    state["record"]["exercises"][NAME]["dropped"] = 2
    assert may_see_solution(state, NAME)
    note_try("ov_matrix", "passed", None)
    assert may_see_solution(read_state(), "ov_matrix")


def test_after_a_pass_both_answers_stand_side_by_side_folded(page):
    run()
    card = page.cards[-1]
    assert "passed" in card.title and page.boxes == []
    folded = card.html[card.html.index("<details") :]
    assert folded.startswith("<details style") and " open" not in folded[:80]
    yours, ours = folded.split("Your answer")[1].split("The course&#x27;s solution")
    assert "# my own remark" in yours and "W_E @" not in yours
    assert "return model.W_E @ model.W_U" in ours
    assert "Words of the stub" not in folded and "Returns" not in folded


def test_in_plain_text_the_solution_is_a_call_away(capsys):
    run()
    said = capsys.readouterr().out
    assert f'`solution("{NAME}")` shows your answer' in said
    assert "return model.W_E @" not in said
    solution(NAME)
    said = capsys.readouterr().out
    assert said.index(BARE) < said.index("return model.W_E @ model.W_U")
    for number in range(3):
        hint(NAME, number + 1)
    assert find_check(NAME).hints[1] in capsys.readouterr().out


def test_whoever_wrote_the_courses_own_lines_has_nothing_to_compare(page):
    run("from __future__ import annotations\n\n\n@exercise\n" + reference() + "\n")
    assert "passed" in page.cards[-1].title and page.cards[-1].beside is None


def test_without_a_source_there_is_the_solution_alone(page):
    namespace = {"exercise": exercise}
    exec(OWN, namespace)
    assert "passed" in page.cards[-1].title and page.cards[-1].beside is None
    assert written_by(print) == written_by(lambda x: x) == ""
    assert compared(NAME, "", "x", folded=True) is None


def test_what_is_compared_is_the_code():
    assert bare(OWN) == BARE
    assert bare('def f(x):\n    "only words"') == 'def f(x):\n    "only words"'
    method = "    def f(\n        x,\n    ):\n        '''words'''\n        return x\n"
    assert bare(method) == "def f(\n    x,\n):\n    return x"
    with pytest.raises(SyntaxError):
        bare("x = 1")


def test_a_hostile_answer_is_only_text(page):
    run(OWN.replace("# my own remark", "# </pre><script>alert(1)</script>"))
    assert "<script>" not in page.cards[-1].html
