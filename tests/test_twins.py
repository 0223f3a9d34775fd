"""The reveals of twin questions say what the questions' right answers say.

Each reveal is run as its chapter has it, on shipped weights and records, and what its
table is given is looked at: the answer, and the control beside it.
"""

import functools
import types
from pathlib import Path

import nbformat
import pytest
import torch

from utils.checks import twin_of
from utils.exercises.sync import sections

pytestmark = pytest.mark.slow  # a chapter's set-up takes seconds
CHAPTERS = Path(__file__).parents[1] / "chapters"


@functools.cache
def chapter(number: int):
    """The cells of a chapter by their ids, and what its set-up binds."""
    (path,) = CHAPTERS.glob(f"ch{number}_*.ipynb")
    notebook = nbformat.read(path, as_version=4)
    names = {"display": lambda shown: None}
    for cell in sections(notebook)[0]:
        if cell.cell_type == "code":
            exec(cell.source, names)
    return {cell.id: cell.source for cell in notebook.cells}, names


def lines_of(number: int, reveal: str, before: str = "", needs: str = ""):
    """What the reveal's table is given, line by line, as numbers and words."""
    cells, names = chapter(number)
    names = dict(names)
    with torch.no_grad():
        if needs:
            exec(f"needs({needs!r})", names)
        for cell in before.split():
            exec(cells[cell], names)
        given = []
        table = lambda columns, lines, *_: given.append(list(lines))  # noqa: E731
        names["figures"] = types.SimpleNamespace(
            table=table, head_label=names["figures"].head_label
        )
        exec(cells[reveal], names)
    return [
        [value if isinstance(value, str) else float(value) for value in line]
        for line in given[-1]
    ]


def right(name: str) -> str:
    twin = twin_of(name)
    return twin.choices[twin.right].text


def test_a_word_and_its_twin_with_a_space_are_alike_after_training_only():
    (_, words, own, other), (_, _, before, control) = lines_of(0, "ch0-t3r")
    assert words > 300 and own > other + 0.1
    assert abs(before - control) < 0.02
    assert right("self_and_space_self").startswith("Before training no more alike")


def test_without_the_head_that_matters_most_many_tokens_cost_less():
    deps = "ch0-066 ch0-067".split()
    cells, _ = chapter(0)
    assert all(cell in cells for cell in deps)
    trained, untrained = lines_of(0, "ch0-t4r", " ".join(deps), "ablate_head")
    assert 0.35 < trained[2] < 0.45 and trained[1] > 0.1 and trained[3] > 0.2
    assert untrained[3] == 0 and abs(untrained[1]) < 0.01
    assert right("removing_a_head") == "On about four in ten."


def test_a_forced_pattern_leaves_queries_and_keys_without_effect():
    lines = lines_of(0, "ch0-t5r", "ch0-103", "replace_pattern")
    (_, forced, free), *others = lines
    assert forced < 1e-4 and free > 1
    assert all(min(line[1:]) > 1 for line in others)


def test_doubled_logits_are_surer_and_no_other():
    as_is, added, doubled, halved = lines_of(1, "ch1-t4r")
    assert as_is[1] == added[1] == doubled[1] == halved[1] == 1
    assert abs(as_is[2] - added[2]) < 1e-4 and doubled[2] > as_is[2] > halved[2]


def test_two_silenced_heads_add_up_in_their_own_layer_only():
    (_, *own), (_, *after) = lines_of(1, "ch1-t5r")
    assert max(own) < 1e-5 and min(after) > 100 * max(own) and max(after) < 0.1
    assert right("one_head_silent") == "Nearly A + B, and not exactly."


def test_entries_of_products():
    counts = [int(line[1]) for line in lines_of(1, "ch1-t6r")]
    assert counts == [10 * 3, 4 * 9, 10 * 9, 16 * 3]
    assert right("identity_times_w") == f"{counts[0]}."


def test_evenly_and_one_back():
    (_, *found), (_, *other) = lines_of(1, "ch1-t7r")
    assert found == pytest.approx([1 / 7] * 7 + [0])
    assert other == pytest.approx([2 / 8] + [1 / 8] * 6 + [0])


def test_a_change_at_one_place_reaches_its_row_and_later_ones():
    for _, before, at, later in lines_of(1, "ch1-t8r"):
        assert before < 1e-6 and min(at, later) > 1e-5


def test_half_the_cosine_takes_four_times_the_dimensions():
    first, _, last = lines_of(1, "ch1-t9r", needs="feature_interference")
    assert last[0] == 4 * first[0] == 1024
    assert first[1] / last[1] == pytest.approx(2, abs=0.1)
    assert first[1] == pytest.approx(first[2], rel=0.02)


def test_without_positions_no_order_is_seen():
    _, (direct, *heads), placeless = zip(*lines_of(3, "ch3-t3r"), strict=True)
    assert direct < 1e-4 and min(heads) > 0.01 and max(placeless) < 1e-4


def test_copying_heads_sit_in_the_last_layer():
    lines = lines_of(3, "ch3-t4r", needs="copying_score")
    for name, first, second in lines:
        assert first + second == 0 if "random" in name else second > first + 2


def test_nine_paths_pass_through_a_head():
    gone = {name: count for name, count, _ in lines_of(4, "ch4-t5r")}
    assert gone == {"nothing": 0, "0.3": 9, "1.3": 9}
    assert right("number_of_paths") == "9."


def test_half_a_step_twice():
    lines = lines_of(4, "ch4-t6r", needs="virtual_head")
    assert lines[1][1:] == pytest.approx([0.25, 0.5, 0.25])
    first, second, both = (line[3] for line in lines[2:])
    assert both > max(first, second)


def test_pairs_take_nothing_off_the_second_copy():
    (_, direct, single, pairs), control = lines_of(4, "ch4-t7r")
    assert direct > 8 and single < 1.5 and pairs > single - 0.02
    assert min(control[1:]) > 8


def test_made_up_in_one_table_is_found_and_not_copied():
    before = "ch5-109 ch5-041 ch5-110"
    rows = lines_of(5, "ch5-t5r", before)
    by_kind = {}
    for kind, _, finds, copies in rows:
        by_kind.setdefault(kind, []).append((finds, copies))
    both, table = by_kind["made up in both"], by_kind["made up in W_E"]
    assert [f for f, _ in both] == pytest.approx([f for f, _ in table], abs=1e-4)
    assert min(c for _, c in both) > 0.2 and max(c for _, c in table) < 0.1


def test_each_mechanism_keeps_its_news_at_another_place():
    rows = lines_of(5, "ch5-t6r", "ch5-119 ch5-097", "build_pointer_model")
    assert [row[1:] for row in rows] == [[1, 0], [0, 1], [1, 1]]
    assert right("pointer_edge").startswith("Only the one that works by previous")


def test_one_layer_gains_less_than_a_nat_on_later_copies():
    for name, first, later, around, again in lines_of(6, "ch6-t4r"):
        gained = first - later
        assert again > around and (0.2 < gained < 1) == name.startswith("one")
        assert later > 6.93 if name.startswith("one") else gained > 5


def test_in_context_learning_comes_before_matching_in_every_run():
    learns, finds, text = lines_of(6, "ch6-t5r", needs="phase_change_step")
    assert len(learns) == 6
    assert all(a < b for a, b in zip(learns[1:], finds[1:], strict=True))
    assert max(text[1:]) < min(learns[1:])


def test_whoever_does_induction_pays_on_contradicted_tokens():
    lines = {name: ends for name, *ends in lines_of(6, "ch6-t6r")}
    assert 0 < lines["contradicted"][2] - lines["contradicted"][1] < 0.1
    assert lines["continued"][0] - lines["continued"][3] > 1
    assert lines["new"][3] < lines["new"][0]


def test_smeared_keys_weaken_looking_back_and_leave_matching_in_the_last_layer():
    rows = lines_of(6, "ch6-t8r")
    for data in ("small recipe", "text alone"):
        plain, smeared = (
            [row for row in rows if row[:2] == [data, keys]]
            for keys in ("plain", "smeared")
        )
        assert max(row[3] for row in smeared) < min(row[3] for row in plain)
    assert all(row[5] > row[4] for row in rows)
