"""The lines to order: built for every exercise, judged by running, moved by buttons."""

import itertools

import pytest

from utils.checks import chapters, exercises_of, find_check
from utils.exercises import engine, ordering
from utils.exercises.engine import arrange, hint
from utils.exercises.flow import must_come_before
from utils.exercises.puzzle import Puzzle, make_puzzle
from utils.exercises.state import read_state

NAMES = [name for stem in chapters() for name in exercises_of(stem)]


def puzzle_of(name) -> Puzzle:
    return engine._puzzle(name)


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_STATE", str(tmp_path / "progress.json"))
    monkeypatch.setattr(ordering, "_missed", ordering.Counter())


# --- every exercise -------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_lines_hold_the_solution_and_two_mistakes(name):
    """A change to a solution has to be followed by what the mistakes swap in it."""
    puzzle = puzzle_of(name)
    wrong = [line.mistake.name for line in puzzle.lines if line.mistake]
    assert len(set(wrong)) == 2 and puzzle.length == len(puzzle.lines) - 2 > 0


@pytest.mark.slow  # all together
@pytest.mark.parametrize("name", NAMES)
def test_the_solutions_order_passes_and_the_shown_one_does_not(name):
    puzzle = puzzle_of(name)
    found = puzzle.arrange(puzzle.solved)
    assert found.right and set(found.words.values()) == {"right"}, found.result.message
    # What is said of lines agrees with what the check says of the whole.
    assert set(puzzle._words(puzzle.solved).values()) == {"right"}
    card, shown = ordering.reply(puzzle, list(range(1, len(puzzle.lines) + 1)), "")
    assert not shown.right
    wrong = {n for n, line in enumerate(puzzle.lines, 1) if line.mistake}
    assert {n for n, word in shown.words.items() if word == "wrong line"} == wrong
    assert len(wrong) == 2
    for n in wrong:
        says = puzzle.lines[n - 1].mistake.says
        assert f"Line {n} is a wrong one. {says}" in card.text


@pytest.mark.slow  # all together
@pytest.mark.parametrize("name", NAMES)
def test_each_wrong_line_makes_its_mistake(name):
    """In the place of the right line, the check knows it by its name."""
    puzzle = puzzle_of(name)
    for n, line in enumerate(puzzle.lines, 1):
        if line.mistake is not None:
            order = list(puzzle.solved)
            order[line.place] = n
            found = puzzle.arrange(order)
            assert found.result.mistake == line.mistake.name, found.result.message
            assert not found.right and found.words[n] == "wrong line"
            assert found.missing == 1


# --- which order is right -------------------------------------------------------------


def test_lines_that_do_not_need_each_other_may_change_places():
    puzzle = puzzle_of("attention_pattern")
    order = list(puzzle.solved)
    assert "queries" in puzzle.lines[order[3] - 1].text
    assert "keys" in puzzle.lines[order[4] - 1].text
    order[3], order[4] = order[4], order[3]
    assert puzzle.arrange(order).right
    order[2], order[4] = order[4], order[2]  # a use before what it needs
    found = puzzle.arrange(order)
    assert not found.right and found.words[order[2]] == "not yet"
    assert found.words[order[0]] == "right"


TOY = """def toy(n):
    one = n + 1
    two = one * 2
    one = 5
    found = []
    for x in range(two):
        found.append(x * one)
    return found
"""


def test_every_order_that_respects_the_flow_computes_the_same():
    """Against all orders of the toy's lines, run one by one."""
    head, *texts = TOY.rstrip().split("\n")
    before = must_come_before(head, texts)
    respecting, same = set(), set()
    for order in itertools.permutations(range(7)):
        seen, respects = set(), True
        for place in order:
            respects &= before[place] <= seen
            seen.add(place)
        names = {}
        try:
            exec("\n".join([head, *(texts[i] for i in order)]), names)
            if names["toy"](3) == list(range(0, 40, 5)):
                same.add(order)
        except (SyntaxError, NameError):
            pass
        if respects:
            respecting.add(order)
    assert same == {o for o in respecting if o.index(5) == o.index(4) + 1}
    assert len(same) == 4


def test_a_block_comes_before_its_else():
    texts = ["    if n:", "        a = 1", "    else:", "        a = 2", "    return a"]
    before = must_come_before("def toy(n):", texts)
    assert before == [set(), {0}, {0, 1}, {0, 1, 2}, {0, 1, 2, 3}]


def test_a_wrong_line_that_is_never_used_is_still_no_part_of_an_order():
    puzzle = puzzle_of("direct_path")
    (right,) = puzzle.solved
    wrong = next(n for n, line in enumerate(puzzle.lines, 1) if line.mistake)
    card, found = ordering.reply(puzzle, [right, wrong], "")
    assert found.result.status == "passed" and not found.right
    assert "passes all the same" in card.text


def test_lines_that_are_no_python_are_told_so():
    puzzle = puzzle_of("decompose_residual")
    opening = next(n for n in puzzle.solved if puzzle.lines[n - 1].opens)
    order = [n for n in puzzle.solved if n != opening] + [opening]
    found = puzzle.arrange(order)
    assert found.result.status == "error" and "SyntaxError" in found.result.message
    assert found.words[opening] == "not yet"


def test_statements_over_several_lines_stay_whole_and_comments_stay_out():
    puzzle = puzzle_of("frozen_pattern_logits")
    whole = next(line for line in puzzle.lines if "values = einsum(" in line.text)
    assert whole.text.startswith("    values") and whole.text.endswith("    )")
    assert "#" not in puzzle_of("repeat_loss").listing()
    assert '"""' not in puzzle.listing()


def test_a_swap_that_the_solution_does_not_hold_is_an_error():
    check = find_check("direct_path")
    with pytest.raises(ValueError, match="has to stand once"):
        make_puzzle(check, "def direct_path(model):\n    return 1\n", None)


# --- as text --------------------------------------------------------------------------


def test_hint_3_prints_numbered_lines_and_arrange_checks_an_order(capsys):
    puzzle = puzzle_of("per_token_loss")
    hint("per_token_loss", 3)
    said = capsys.readouterr().out
    assert "hint 3 of 4: lines to order" in said and puzzle.listing() in said
    assert "Put 3 of these 5 lines in order" in said
    arrange("per_token_loss", puzzle.solved)
    said = capsys.readouterr().out
    assert "in order" in said and "copy the function" in said
    assert puzzle.code(puzzle.solved).strip() in said
    state = read_state()
    assert state["hints"] == {"per_token_loss": 3} and state["passed"] == {}


def test_what_is_in_words_comes_after_two_misses(capsys):
    puzzle = puzzle_of("per_token_loss")
    nearly = find_check("per_token_loss").hints[2]
    for words in (False, True):
        arrange("per_token_loss", puzzle.solved[:1])
        said = capsys.readouterr().out
        assert ("In words: " + nearly in said) == words
        assert "2 lines are missing" in said
        assert f"Line {puzzle.solved[0]} is in its place: what has to come" in said
    arrange("per_token_loss", puzzle.solved[::-1])
    last, *first = puzzle.solved[::-1]
    said = capsys.readouterr().out
    assert "Lines {} and {} are in their places: ".format(*sorted(first)) in said
    assert f"Line {last} is not in its place yet: something" in said


@pytest.mark.parametrize("order", [[], [1, 1], [0, 1], [99]])
def test_odd_numbers_are_told_what_an_order_is(order):
    with pytest.raises(ValueError, match="different numbers from 1 to 5"):
        arrange("per_token_loss", order)


def test_a_solution_of_one_line_is_a_choice(capsys):
    hint("direct_path", 3)
    assert "One of these lines is the solution" in capsys.readouterr().out


def test_the_shown_order_is_always_the_same():
    assert puzzle_of("ov_matrix").listing() == puzzle_of("ov_matrix").listing()


# --- on the board ---------------------------------------------------------------------


def press(board, number, label):
    """Press a button of the row that shows this line."""
    places = board.used if number in board.used else board.left
    rows = board.rows if number in board.used else board.spare
    row = rows[places.index(number)]
    row.buttons[row.labels.index(label)].click()


def test_the_board_moves_lines_and_checks_them():
    puzzle = puzzle_of("kl_to_bigram")
    board = ordering.Board(puzzle, "")
    for n, line in enumerate(puzzle.lines, 1):
        if line.mistake:
            press(board, n, "Take out")
    assert len(board.left) == 2 and len(board.used) == 3
    for place, number in enumerate(puzzle.solved):
        while board.used.index(number) > place:
            press(board, number, "Up")
    assert board.used == puzzle.solved
    press(board, board.used[0], "Down")
    board.check.click()
    assert "not in order yet" in board.answer.value
    press(board, puzzle.solved[0], "Up")
    board.check.click()
    assert "✓ kl_to_bigram: in order" in board.answer.value
    assert set(board.words.values()) == {"right"}
    press(board, board.left[0], "Put back")
    assert len(board.used) == 4 and "at the end" in board.said.value
    board.check.click()
    assert "is a wrong one" in board.answer.value


def test_the_board_says_where_a_line_went_and_names_it_on_its_buttons():
    board = ordering.Board(puzzle_of("kl_to_bigram"), "")
    first, second = board.used[:2]
    assert board.rows[0].buttons[0].disabled
    press(board, second, "Up")
    assert board.used[:2] == [second, first]
    assert f"Line {second} is at place 1 of 5" in board.said.value
    assert board.rows[0].buttons[2].tooltip.startswith(f"Take out: line {second}, ")
