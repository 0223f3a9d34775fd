"""The bench: what it counts, when it stops a run, and how it prints.

What it measures depends on the machine, so no time is asserted here. The runs are as
small as they can be, and clocks are made by hand.
"""

import itertools
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from solutions.ch7_real_models import grouped_heads
from tests import bench
from tests.bench_rows import (
    Row,
    Section,
    alternately,
    chapters,
    contenders,
    induction,
    jupyterhub,
    middle,
    ratio_text,
    real_models,
    speed,
    start,
)
from tests.bench_rows.induction import Outcome, Watch
from tests.bench_rows.payloads import payloads
from utils.checks.ch7_real_models import shared
from utils.models.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from utils.models.handmade import induction_model
from utils.text.batches import Repeats
from utils.training.config import TrainConfig
from utils.training.recipes import Recipe
from utils.training.trainer import next_token_loss

TINY = Recipe(
    AttentionOnlyConfig(
        n_layers=2, d_vocab=120, d_model=10, n_heads=3, d_head=4, n_ctx=104
    ),
    TrainConfig(steps=7, optimizer="muon", dtype="float32"),
    batch_size=3,
)
SHAPES = [(0, 1, 6), (1, 2, 5), (2, 3, 7)]


class Recorded:
    """The batches of a recipe, and which of them were asked for."""

    def __init__(self, recipe):
        sizes = recipe.model
        self.rows = Repeats(sizes.d_vocab, recipe.batch_size, sizes.n_ctx)
        self.asked = []

    def __call__(self, step):
        self.asked.append(step)
        return self.rows(step)


@pytest.fixture
def batches(monkeypatch):
    """Random repeats instead of text, so that nothing has to be read."""
    recorded = Recorded(TINY)
    monkeypatch.setattr(contenders, "batches_of", lambda recipe: recorded)
    return recorded


def ticking():
    """A clock on which each look takes one second."""
    count = itertools.count()
    return lambda: float(next(count))


# --- The command --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        ([], bench.Plan()),
        (["quick"], bench.Plan("quick")),
        (["training", "--limit", "90.5"], bench.Plan("training", limit=90.5)),
        (["--seeds", "3", "training"], bench.Plan("training", seeds=3)),
        (["chapters", "--train", "full"], bench.Plan("chapters", train="full")),
        (["real"], bench.Plan("real")),
        (["hub"], bench.Plan("hub")),
        (["all"], bench.Plan("all")),
    ],
)
def test_words_make_a_plan(words, plan):
    assert bench.read_words(words) == plan


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["trainig"], "'trainig' is not understood here"),
        (["training", "chapters"], "'chapters' is not understood here"),
        (["training", "--limit"], "--limit needs a value"),
        (["training", "--limit", "soon"], "a number of seconds, not 'soon'"),
        (["training", "--limit", "-3"], "a number of seconds, not '-3'"),
        (["training", "--limit", "nan"], "a number of seconds, not 'nan'"),
        (["training", "--seeds", "0"], "a whole number from 1, not '0'"),
        (["training", "--seeds", "2.5"], "a whole number from 1, not '2.5'"),
        (["chapters", "--train", "long"], "short, replay, full, not 'long'"),
    ],
)
def test_unknown_words_are_one_sentence(words, sentence, capsys, monkeypatch):
    monkeypatch.setattr(bench, "measured", lambda plan: pytest.fail("measured"))
    assert bench.main(words) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1
    assert sentence in said.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["payloads", "start", "speed", "resume"]),
        (["training", "--seeds", "2"], ["training 2 None"]),
        (["chapters", "--train", "replay"], ["chapters replay"]),
        (
            ["all"],
            ["payloads", "start", "speed", "resume"]
            + ["training 5 None", "real", "hub", "chapters short"],
        ),
    ],
)
def test_each_word_measures_its_part(words, parts, capsys, monkeypatch):
    rows = {
        "payloads": lambda: [Row("payloads", "1")],
        "start_of_a_chapter": lambda: [Row("start", "1")],
        "throughput": lambda recipe: [Row("speed", "1")],
        "resume": lambda recipe: [Row("resume", "1")],
        "real_model_rows": lambda: [Row("real", "1")],
        "hub_rows": lambda: [Row("hub", "1")],
        "induction_rows": lambda recipe, seeds, limit: [
            Row(f"training {seeds} {limit}", "1")
        ],
        "chapter_rows": lambda train: [Row(f"chapters {train}", "1")],
    }
    for name, measure in rows.items():
        monkeypatch.setattr(bench, name, measure)
    assert bench.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"PyTorch {torch.__version__}" in lines[0]
    assert [
        re.split(" {2,}", line)[0] for line in lines if line.endswith(" 1")
    ] == parts


def test_the_table_keeps_its_columns():
    rows = [
        Section("speed", other="theirs"),
        Row("tokens", "12", "6", "0.5 times"),
        Row("only ours", "3"),
    ]
    blank, heading, line, first, second = bench.table(rows)
    assert blank == "" and set(line) == {"-"}
    for word, below in (("ours", "12"), ("theirs", "6"), ("ratio", "0.5 times")):
        assert first.index(below, heading.index(word)) == heading.index(word)
    assert second.split() == ["only", "ours", "3"]


# --- Helpers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "bounded", "words"),
    [
        (1.26, False, "1.3 times"),
        (0.5, False, "0.5 times"),
        (19.6, False, "20 times"),
        (19.96, True, "more than 19 times"),
        (9.98, True, "more than 9.9 times"),
    ],
)
def test_a_bound_is_never_rounded_up(ratio, bounded, words):
    assert ratio_text(ratio, bounded) == words


def test_measures_take_turns():
    calls = []
    measures = {
        name: lambda name=name: calls.append(name) or len(calls) for name in "ab"
    }
    assert alternately(measures, 3) == {"a": [1, 3, 5], "b": [2, 4, 6]}
    assert calls == list("ababab")
    assert middle([9, 1, 4]) == 4


def test_without_a_proxy_the_hub_is_not_measured(monkeypatch):
    monkeypatch.setattr(jupyterhub, "find_proxy", lambda: None)
    (row,) = jupyterhub.hub_rows()
    assert "not measured" in row.ours and "hub install" in row.ours


def test_views_are_far_smaller_than_stock():
    rows = payloads(((2, 24), (3, 50)))
    for row in rows[:3]:
        ours, stock = (
            int(cell.replace(",", "").removesuffix(" bytes"))
            for cell in (row.ours, row.other)
        )
        assert ours < 60_000 and stock > 1_000_000
        assert float(row.ratio.split()[0]) == pytest.approx(stock / ours, rel=0.06)


def test_memory_is_the_process_s_own():
    """An empty Python is small, however large the process is that started it."""
    held = torch.ones(30_000_000)  # 120 MB here
    _, small = start._process(start.PEAK_MEMORY)
    _, large = start._process("held = b'x' * 90_000_000\n" + start.PEAK_MEMORY)
    assert len(held) and small < 60
    assert 80 < large - small < 100


def test_the_start_is_compared_within_rounds(monkeypatch):
    seconds = iter([1.0, 2.0, 0.1, 2.0, 8.0, 0.2, 3.0, 9.0, 0.3])
    monkeypatch.setattr(start, "_process", lambda code: (next(seconds), 50.0))
    whole, empty, memory = start.start_of_a_chapter(rounds=3)
    assert (whole.ours, whole.other, whole.ratio) == ("2.0 s", "8.0 s", "3.0 times")
    assert empty.ours == "0.20 s" and memory.ours == "50 MB"


# --- Speed --------------------------------------------------------------------------


@pytest.mark.parametrize(("n_layers", "n_heads", "length"), SHAPES)
def test_operations_are_those_that_torch_counts(n_layers, n_heads, length):
    """Hooks on the scores make the model compute its patterns in the open."""
    sizes = replace(TINY.model, n_layers=n_layers, n_heads=n_heads)
    model = AttentionOnlyTransformer(sizes)
    for layer in model.layers:
        layer.attn.scores_fn = (lambda scores: scores,)
    tokens = torch.randint(sizes.d_vocab, (3, length))
    with FlopCounterMode(display=False) as counter:
        model(tokens).sum().backward()
    assert speed.step_flops(sizes, 3, length) == counter.get_total_flops()


@pytest.mark.parametrize(("n_layers", "n_heads", "length"), SHAPES)
def test_the_layers_own_sizes(n_layers, n_heads, length):
    sizes = replace(TINY.model, n_layers=n_layers, n_heads=n_heads)
    model, seen = AttentionOnlyTransformer(sizes), []

    def note(module, inputs, output):
        (x,) = inputs
        assert output.shape[:-1] == x.shape[:-1]
        seen.append((x.shape[0] * x.shape[1], x.shape[-1], output.shape[-1]))

    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(note)
    model(torch.randint(sizes.d_vocab, (3, length)))
    assert speed.layer_shapes(sizes, 3, length) == seen


def test_the_rate_is_work_over_time(monkeypatch):
    monkeypatch.setattr(speed.time, "perf_counter", ticking())
    with FlopCounterMode(display=False) as counter:
        rate = speed.matmul_rate([(3, 5, 7), (2, 4, 6)], torch.float32, seconds=4)
    per_turn = 2 * (3 * 5 * 7 + 2 * 4 * 6)
    done = counter.get_total_flops()
    turns = done // per_turn - 1  # the first does not count
    assert done % per_turn == 0 and turns > 1
    # The clock is looked at once before each turn, and once in the end.
    assert rate == pytest.approx(turns * per_turn / (turns + 1))


def test_a_step_is_timed_without_the_first_few(monkeypatch):
    times = iter([100.0, 90, 80, 70, 60, 10, 12, 14, 19])
    monkeypatch.setattr(speed.time, "perf_counter", lambda: float(next(times)))

    def contender(recipe, on_step):
        assert [on_step(step) for step in range(1, 10)] == [True] * 8 + [False]

    assert speed._seconds_per_step(contender, TINY, steps=9) == 3.0


def test_shares_and_ratio_come_from_one_round(monkeypatch):
    """Three rounds on a moody machine: medians first would give other numbers."""
    numbers = {
        "ours": [1.0, 2.0, 4.0],
        "theirs": [3.0, 4.0, 12.0],
        "square, ours": [2e9, 8e9, 4e9],
        "square, theirs": [2e9, 8e9, 4e9],
        "own, ours": [1e9, 4e9, 2e9],
        "own, theirs": [1e9, 4e9, 2e9],
    }
    given = {name: iter(values) for name, values in numbers.items()}
    measures = {name: lambda it=it: next(it) for name, it in given.items()}
    monkeypatch.setattr(speed, "_measures", lambda *_: measures)
    monkeypatch.setattr(speed, "step_flops", lambda config, batch, length: 2e9)
    monkeypatch.setattr(speed, "ours", lambda recipe, on_step: replace_dtype("float32"))
    first, _, square, own = speed.throughput(TINY, rounds=3)
    tokens = TINY.batch_size * TINY.model.n_ctx
    assert first.ours == f"{tokens / 2:,.0f} (float32)"
    assert first.ratio == "3.0 times"
    assert square.ours == "12.5% of 4 GFLOP/s" and square.other.startswith("6.2%")
    assert own.ours == "25.0% of 2 GFLOP/s"


def replace_dtype(dtype):
    class Run:
        pass

    Run.dtype = dtype
    return Run


def test_a_resume_is_measured_around_the_same_updates(batches, tmp_path):
    path = tmp_path / "checkpoint"
    outside, per_step = speed._outside(TINY, steps=4, path=path)
    assert outside > 0 and per_step > 0
    assert not path.exists()
    # The first batch is looked at to know the run again, in both halves.
    assert batches.asked == [0, 0, 1, 0, 2, 3]
    (row,) = speed.resume(TINY, rounds=1, steps=4)
    assert re.fullmatch(r"-?[\d.]+ s, as long as -?[\d.]+ updates", row.ours)


# --- The contenders -----------------------------------------------------------------


def test_both_see_the_same_batches_and_stop_when_told(batches):
    seen = []

    def on_step(step):
        seen.append(step)
        return step < 3

    contenders.ours(TINY, on_step)
    assert (batches.asked, seen) == ([0, 1, 2], [1, 2, 3])
    batches.asked.clear()
    seen.clear()
    contenders.theirs(TINY, on_step)
    assert (batches.asked, seen) == ([0, 1, 2], [1, 2, 3])


def test_theirs_is_adam_at_a_thousandth_on_those_batches(batches):
    """Also where somebody has switched gradients off, as the prelude does."""
    with torch.no_grad():
        found = contenders.theirs(TINY, lambda step: step < 4)
    model = contenders.native_model(TINY)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(4):
        rows = batches.rows(step)
        logits = model(rows)[:, :-1]
        adam.zero_grad()
        F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()
        adam.step()
    wanted, before = model.state_dict(), contenders.native_model(TINY).state_dict()
    for name, value in found.state_dict().items():
        assert (value - wanted[name]).abs().max() < 1e-5, name
        if name.endswith("weight"):
            assert (value - before[name]).abs().max() > 1e-3, name


def test_ours_follows_the_recipe(batches):
    """The same weights as the trainer called by hand."""
    from utils.training.trainer import train

    model = AttentionOnlyTransformer(TINY.model, TINY.seed)
    contenders.ours(TINY, lambda step: step < 3, model)
    other = AttentionOnlyTransformer(TINY.model, TINY.seed)
    config = replace(TINY.training, steps=3)
    train(other, batches.rows, config, progress=False, mode="full")
    theirs = other.state_dict()
    assert all(torch.equal(v, theirs[n]) for n, v in model.state_dict().items())


def test_an_interrupt_ends_the_bench_and_not_only_a_run(batches, monkeypatch):
    stopped = contenders.train

    def interrupted(*args, on_step, **more):
        return stopped(*args, on_step=lambda state: False, **more)

    monkeypatch.setattr(contenders, "train", interrupted)
    with pytest.raises(KeyboardInterrupt):
        contenders.ours(TINY, lambda step: True)


def test_their_model_has_our_sizes_and_their_ways():
    bridge = contenders.native_model(TINY)
    sizes = TINY.model
    assert bridge.W_Q.shape == (2, sizes.n_heads, sizes.d_model, sizes.d_head)
    assert bridge.W_E.shape == (sizes.d_vocab, sizes.d_model)
    names = [name for name, _ in bridge.named_parameters()]
    assert sum(name.endswith("bias") for name in names) == 8
    assert not any("ln" in name for name in names)
    _, cache = bridge.run_with_cache(torch.randint(120, (1, 5)))
    assert "hook_pos_embed" in cache
    with_norm = contenders.native_model(TINY, "LN").named_parameters()
    assert any("ln" in name for name, _ in with_norm)


def test_the_wrappers_change_the_way_and_not_the_loss(batches):
    model = AttentionOnlyTransformer(TINY.model)
    rows = batches.rows(0)
    plain = contenders.FullLogits(model)
    expected = F.cross_entropy(
        model(rows)[:, :-1].flatten(0, 1), rows[:, 1:].flatten()
    ).item()
    assert next_token_loss(plain, rows).item() == pytest.approx(expected, abs=1e-5)
    assert not isinstance(plain, AttentionOnlyTransformer)
    ours = {name: id(p) for name, p in model.named_parameters()}
    assert {name: id(p) for name, p in plain.named_parameters()} == ours
    quick = contenders.QuickLoss(model)
    assert quick(rows, return_type="loss").item() == pytest.approx(expected, abs=1e-5)
    assert sorted(map(id, quick.parameters())) == sorted(ours.values())


# --- Until an induction head forms --------------------------------------------------


class HandClock:
    """Training takes a second per update, measuring a hundred seconds."""

    def __init__(self, scores):
        self.now, self.scores = 0.0, iter(scores)

    def __call__(self):
        return self.now

    def score(self):
        self.now += 100
        return next(self.scores)


def watched(scores, limit):
    clock = HandClock(scores)
    watch = Watch(clock.score, limit, clock)
    for step in range(1, 1000):
        clock.now += 1
        if not watch.goes_on(step):
            return watch.outcome
    raise AssertionError("not stopped")


def test_a_run_ends_at_the_threshold_and_measuring_costs_nothing():
    assert watched([0.1, 0.3, 0.62], 500) == Outcome(30.0, 30, 0.62, True)


def test_a_run_ends_at_the_limit_with_the_best_score_seen():
    assert watched([0.1, 0.3, 0.2], 24) == Outcome(24.0, 24, 0.3, False)


def test_the_last_look_may_still_find_it():
    assert watched([0.1, 0.5], 14) == Outcome(14.0, 14, 0.5, True)


def test_the_best_head_is_measured_and_the_model_left_as_it_was():
    bridge = induction_model()
    bridge.train()
    measure = induction.best_prefix_matching
    small = measure(bridge, span=5, copies=3)
    assert small() == pytest.approx(1.0, abs=0.01)
    assert bridge.training
    untrained = contenders.native_model(TINY)
    score = measure(untrained)()
    # About 1 key in 50 is pointed at by chance and attention is nearly even.
    assert 0 < score < 0.2


@pytest.mark.slow
def test_every_rung_runs_and_has_a_bound(batches):
    outcomes = {name: run(TINY, 0.02) for name, run in induction.LADDER.items()}
    assert len(outcomes) >= 7
    for name, outcome in outcomes.items():
        assert outcome.seconds >= 0.02 and outcome.steps >= 1, name
        assert 0 < outcome.best < 1 and not outcome.reached, name


CHANGES = {
    "ours, positions added to the stream": ("model", "positions", "stream"),
    "ours, positions begin as noise": ("model", "position_init", "normal"),
    "ours, AdamW at 1e-2 for all, no Muon": ("training", "optimizer", "adamw"),
    "ours in float32": ("training", "dtype", "float32"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_rung_changes_one_thing(name, monkeypatch):
    seen = []
    monkeypatch.setattr(induction, "our_run", lambda recipe, limit: seen.append(recipe))
    base = replace(TINY, training=replace(TINY.training, dtype="auto"))
    induction.LADDER[name](base, 9.0)
    part, field, value = CHANGES[name]
    changed = replace(getattr(base, part), **{field: value})
    assert seen == [replace(base, **{part: changed})]


@pytest.fixture
def staged(monkeypatch):
    """Runs that end as told, and a note of the limits they were given."""
    limits = []

    def our_run(recipe, limit):
        limits.append(limit)
        seconds = [40.0, 52.0, 38.0][recipe.seed]
        return Outcome(seconds, int(10 * seconds), 0.6, True)

    def their_run(recipe, limit):
        limits.append(limit)
        return Outcome(limit, 5000, 0.049, False)

    monkeypatch.setattr(induction, "our_run", our_run)
    monkeypatch.setattr(induction, "their_run", their_run)
    run = replace_dtype("float32")
    monkeypatch.setattr(induction, "ours", lambda recipe, on_step: run)
    monkeypatch.setattr(induction, "theirs", lambda recipe, on_step: None)
    return limits


def test_the_bound_is_twenty_times_our_median_and_more(staged):
    def rung(recipe, limit):
        staged.append(limit)
        return Outcome(60.0, 700, 0.7, True)

    ladder = {induction.IN_FLOAT32: rung, "a rung": rung}
    rows = list(induction.induction_rows(TINY, seeds=3, ladder=ladder))
    # The run in float32 is left out where ours is in float32 already.
    assert len(rows) == 4
    assert staged == [600, 600, 600, 840, 210]
    tokens = TINY.batch_size * TINY.model.n_ctx
    per_second = f"{400 * tokens / 40:,.0f}/s"
    assert rows[0].ours == "40 s" and rows[0].other.endswith(per_second)
    assert rows[1].ours == "52 s" and rows[1].ratio == ""
    assert rows[2].ours == "more than 840 s (best prefix matching 0.05)"
    assert rows[2].ratio == "more than 21 times"
    assert (rows[3].ours, rows[3].ratio) == ("60 s", "1.5 times")


def test_a_limit_bounds_all_runs(staged):
    list(induction.induction_rows(TINY, seeds=2, limit=80.0, ladder={}))
    assert staged == [80, 80, 80]


def test_a_run_of_ours_that_did_not_arrive_is_the_slowest():
    runs = [
        Outcome(30.0, 300, 0.4, False),
        Outcome(50.0, 500, 0.6, True),
        Outcome(45.0, 450, 0.6, True),
    ]
    assert induction.median_and_slowest(runs) == (runs[1], runs[0])
    without = induction.row("theirs", runs[1], 10, base=runs[0])
    assert without.ratio == ""


# --- A real model -------------------------------------------------------------------


@pytest.mark.parametrize("name", ["graph", "copying", "top"])
def test_what_the_library_gives_is_what_ours_gives(name, monkeypatch):
    """In float64 to 1e-9, at sizes that take no time."""
    weights = shared.made_up(4, n_heads=9, n_groups=3, d_vocab=1100, n_layers=2)
    subject = SimpleNamespace(weights=grouped_heads(weights))
    monkeypatch.setattr(real_models, "HEAD", (1, 4))
    monkeypatch.setattr(real_models, "FEW_TOKENS", 1024)
    apart = real_models.TASKS[name].apart
    assert apart(subject) < 1e-9
    ours = {"graph": "composition_graph", "copying": "copying_scores"}
    ours |= {"top": "top_ov_pairs"}
    function = getattr(real_models, ours[name])

    def off(*args, **kwargs):
        found = function(*args, **kwargs)
        return [part * 1.001 for part in found] if name == "top" else found * 1.001

    monkeypatch.setattr(real_models, ours[name], off)
    assert apart(subject) > 1e-6


def test_a_row_says_time_memory_limit_and_how_far_apart(monkeypatch):
    told = {"ours": (2.0, 900.0), "theirs": (1.0, 3100.0), "apart": (3e-15, 1.0)}
    monkeypatch.setattr(real_models, "_measured", lambda name, who: told[who])
    whole = [Row("a chapter", "300 s", "3300 MB")]
    monkeypatch.setattr(real_models, "chapter_rows", lambda which: whole)
    rows = {row.what.split(" (")[0]: row for row in real_models.real_model_rows()}
    row = rows["copying scores of 270 heads"]
    assert row.what.endswith("(limit 2 s, 2,500 MB)") and row.ours == "2.0 s, 900 MB"
    assert row.other == "30.0 s (from 9 heads), 3,100 MB; results 3e-15 apart"
    assert row.ratio == "15 times" and len(rows) == len(real_models.TASKS) + 1
    last = list(rows.values())[-1]
    assert "limit 4,000 MB" in last.what and last.other == "3300 MB"


def test_peak_memory_is_counted_anew():
    real_models._forget_peak()
    before = real_models._peak()
    torch.ones(100_000_000)  # 400 MB, gone at once
    grown = real_models._peak()
    assert grown >= before
    if Path(real_models.RESET_PEAK).exists():
        assert grown >= before + 300
        real_models._forget_peak()
        assert real_models._peak() < grown - 300


# --- Chapters -----------------------------------------------------------------------


@pytest.mark.slow
def test_chapters_are_run_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.delenv("JUPYTER_PATH", raising=False)  # a new process, no warm kernel
    cells = {
        "ch1_good": ["import os", "assert os.environ['COURSE_TRAIN'] == 'replay'"],
        "ch2_bad": ["x = 3", "1 / 0"],
    }
    for stem, sources in cells.items():
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(source) for source in sources]
        nbformat.write(notebook, tmp_path / f"{stem}.ipynb")
    good, bad = chapters.chapter_rows("replay", tmp_path)
    assert good.what == "ch1_good"
    assert re.fullmatch(r"\d+ s", good.ours) and re.fullmatch(r"\d+ MB", good.other)
    assert int(good.other.split()[0]) < 200
    assert bad.ours == "stopped by ZeroDivisionError: division by zero"
