"""The mutants: what is changed in a function, and that the checks notice it."""

from pathlib import Path

import pytest

from tests import mutants
from tests.mutant_judge import judge_all, mutants_of_exercise, survives
from tests.mutant_rows import explained
from tests.mutations import FIRST
from tests.mutator import mutants_of
from utils.checks import chapters, exercises_of

EXERCISES = [name for stem in chapters() for name in exercises_of(stem)]


def after(source: str, name: str = "f") -> list[str]:
    """The changed lines of every mutant, without what leads up to them."""
    return [mutant.after for mutant in mutants_of(source, name)]


def body(line: str, arguments: str = "x") -> list[str]:
    """The mutants of a function of one line."""
    changed = after(f"def f({arguments}):\n    return {line}\n")
    return [text.removeprefix("return ") for text in changed]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("3", ["4", "2"]),
        ("True", ["False"]),
        ("0.5", ["0.75"]),
        ("0.0", ["1.0"]),
        ("'q'", ["''"]),
        ("x < y", ["x <= y", "x > y"]),
        ("x == y", ["x != y"]),
        ("x in y", ["x not in y"]),
        ("x + y", ["x - y", "x", "y"]),
        ("x - y", ["x + y", "x", "y", "y - x"]),
        ("x @ y", ["y @ x", "x", "y"]),
        ("-x", ["x"]),
        ("x and y", ["x or y", "y", "x"]),
        ("y if x else z", ["y", "z"]),
        ("x[0]", ["x[1]", "x[-1]"]),
        ("x[y:]", ["x[:]"]),
        ("x.mean(dim=-1)", ["x.mean()", "x.sum(dim=-1)", "x", "x.mean(dim=-2)"]),
        ("x.any(dim=0)", ["x.any()", "x.all(dim=0)", "x", "x.any(dim=1)"]),
        (
            "g(x, dim=(0, 1))",
            ["g(x)", "g(x, dim=(1,))", "g(x, dim=(0,))", "g(x, dim=(1, 1))"]
            + ["g(x, dim=(0, 2))"],
        ),
        ("x.sum(1)", ["x.mean(1)", "x", "x.sum(2)", "x.sum(0)"]),
        ("x.cfg.n_heads", [f"{FIRST}(x.cfg.n_heads)"]),
        ("len(x)", [f"{FIRST}(len(x))"]),
        ("torch.triu(x)", ["torch.tril(x)", "x"]),
        ("x.masked_fill(y, -torch.inf)", None),
        ("[y, z]", ["[z]", "[y]", "[z, y]"]),
        ("x.item()", []),
        ("zip(x, y, strict=True)", []),
    ],
)
def test_what_may_stand_in_an_expressions_place(line, expected):
    if expected is None:
        expected = [
            "x",
            "x.masked_fill(y, torch.inf)",
            "x.masked_fill(y, -30.0)",
        ]
    assert body(line) == expected


def test_what_may_stand_in_an_arguments_place():
    assert body("table[layer]", "table, layer: int, head: int = 2") == [
        "def f(table, layer: int, head: int = 3):",
        "def f(table, layer: int, head: int = 1):",
        "table[head]",
        f"table[{FIRST}(layer)]",
        "table[0]",
        "table[1]",
        "table[-1]",
    ]
    assert body("f(mean)", "mean: bool = False") == [
        "def f(mean: bool = True):",
        f"f({FIRST}(mean))",
        "f(False)",
        "f(True)",
    ]
    assert body("g(heads)", "heads: list[int]")[1:] == [
        "g(heads[:1])",
        "g(heads[1:])",
        "g(heads[::-1])",
    ]
    assert "g(rows[:1])" in body("g(rows)", 'rows: Int[Tensor, "batch pos"]')


def test_axes_of_a_pattern_change_places():
    changed = body("einsum(x, y, 'batch pos d, d v -> batch pos v')")
    assert "einsum(x, y, 'batch pos d, d v -> pos batch v')" in changed
    assert "einsum(x, y, 'batch pos d, v d -> batch pos v')" in changed
    assert "rearrange(x, 'a b c -> (b a) c')" in body(
        "rearrange(x, 'a b c -> (a b) c')"
    )


def test_statements_change_too():
    changed = after(
        "def f(x):\n"
        "    y = g(x)\n"
        "    y = y.abs()\n"
        "    y[0] = 1\n"
        "    y += x\n"
        "    if y:\n"
        "        for z in y:\n"
        "            y.append(z)\n"
        "    return y\n"
    )
    assert changed.count("pass") == 4  # y.abs(), y[0], y +=, append
    assert {"y -= x", "y = x", "if True:", "if False:"} <= set(changed)
    assert {"for z in [*y][:1]:", "for z in [*y][1:]:", "for z in [*y][:-1]:"} <= set(
        changed
    )


def test_helpers_and_constants_of_the_module_belong_to_a_function():
    source = (
        '"""A module."""\n'
        "SHARP = 30\n"
        "OTHER = 5\n"
        "def _half(x):\n    return x / 2\n"
        "def public(x):\n    return x + 1\n"
        'def f(x):\n    """Half: 3."""\n'
        "    if x is None:\n        raise ValueError('no 7')\n"
        "    return public(_half(x)) * SHARP\n"
    )
    found = list(mutants_of(source, "f"))
    assert {mutant.function for mutant in found} == {"f", "_half"}
    changed = [mutant.after for mutant in found]
    assert {"SHARP = 31", "return x / 3", "return x * 2"} <= set(changed)
    assert not any("OTHER" in text or "x - 1" in text for text in changed)
    assert not any("8" in text or "4" in text.replace("x4", "") for text in changed)
    with pytest.raises(KeyError):
        list(mutants_of(source, "missing"))


def test_each_mutant_differs_and_has_a_name_of_its_own():
    for name in EXERCISES:
        found = mutants_of_exercise(name)
        assert len(found) >= 5, name
        assert len({mutant.key for mutant in found.values()}) == len(found)


def test_a_mutant_does_what_it_says():
    source = "def f(x: int):\n    return x * 10 + 1\n"
    results = {m.after: m.namespace()["f"] for m in mutants_of(source, "f")}
    assert results["return x * 10 + 2"](3) == 32
    assert results["return (x / 10) + 1"](30) == 4
    frozen = results[f"return {FIRST}(x) * 10 + 1"]
    assert [frozen(3), frozen(4)] == [31, 31]


def test_a_parted_f_string_is_shown_whole():
    assert body("f'W_{x.upper()}'") == ["f'W_{x}'"]


def test_the_reference_survives_and_a_wrong_answer_does_not():
    import solutions.ch2_zero_layer as chapter

    assert survives("direct_path", lambda: vars(chapter))
    assert not survives("direct_path", lambda: {"direct_path": lambda model: None})
    assert not survives("direct_path", lambda: 1 / 0)


def test_processes_bring_back_every_verdict():
    name = "direct_path"
    texts = list(mutants_of_exercise(name))[:2]
    found = list(judge_all([(name, text) for text in texts], processes=2))
    assert sorted(found) == sorted((name, text, False) for text in texts)


def test_report_names_survivors_and_explanations_without_one(monkeypatch):
    one, two, three = list(mutants_of_exercise("direct_path"))[:3]
    rows = {("direct_path", one): "Why.", ("direct_path", "gone"): "Why."}
    monkeypatch.setattr(mutants, "explained", lambda: rows)
    found = mutants.report("direct_path", {one: True, two: True, three: False})
    assert (found.survivors, found.explained) == ([two], [one])
    assert found.stale == ["gone"]
    text = "\n".join(found.lines)
    assert "1/3 killed, 1 explained, 1 SURVIVED" in text
    assert "no survivor: gone" in text
    found = mutants.report("direct_path", {one: False, two: False})
    assert found.stale == sorted(["gone", one])


def test_what_was_found_is_kept_until_the_check_or_the_engine_changes(
    monkeypatch, tmp_path
):
    monkeypatch.setattr(mutants, "KEPT", tmp_path)
    now = ["one", "engine"]
    monkeypatch.setattr(mutants, "_judged_by", lambda name: tuple(now))
    mutants._keep("direct_path", {"a": True, "b": False})
    assert mutants._known("direct_path") == {"a": True, "b": False}
    now[1] = "another engine"
    assert mutants._known("direct_path") == {"b": False}
    now[0] = "another check"
    assert mutants._known("direct_path") == {}
    Path(tmp_path / "direct_path.json").write_text("no json")
    assert mutants._known("direct_path") == {}


def test_command_knows_chapters_and_exercises(capsys):
    assert mutants.exercises_named(["ch2"]) == list(exercises_of("ch2_zero_layer"))
    assert mutants.exercises_named(["direct_path"]) == ["direct_path"]
    assert mutants.main(["no_such_thing"]) == 2
    assert "no_such_thing" in capsys.readouterr().err


# --- the exercises' own mutants -------------------------------------------------------


def test_explained_mutants_exist_and_say_why():
    for (name, text), why in explained().items():
        assert text in mutants_of_exercise(name), (name, text)
        assert len(why.split()) >= 4 and why.endswith("."), (name, text)


@pytest.mark.slow
@pytest.mark.parametrize("stem", chapters())
def test_explained_mutants_survive(stem):
    """An explanation of a mutant that a check fails is not true any more."""
    work = [row for row in explained() if row[0] in exercises_of(stem)]
    dead = [(name, text) for name, text, alive in judge_all(work) if not alive]
    assert not dead


@pytest.mark.slow
def test_a_sample_of_mutants_is_noticed():
    """All of a sample; `python3 -m utils mutants` judges all, for an hour.

    A mutant's own name decides whether it is in the sample, so that the sample stays
    the same when another solution changes.
    """
    known = explained()
    sample = [
        (name, text)
        for name in EXERCISES
        for text, mutant in mutants_of_exercise(name).items()
        if int(mutant.key, 16) % 100 == 7 and (name, text) not in known
    ]
    assert len(sample) > 25
    alive = [(name, text) for name, text, alive in judge_all(sample) if alive]
    assert not alive, alive
