"""The live training panel: what it trains, what it shows, what interrupts do to it.

`train` alone, with the same recipe, is the oracle for the weights; what a measure
returned is noted by the measure itself.
"""

import os
import re
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from ipykernel.comm.comm import BaseComm
from torch import nn

from tests.test_widgets import Tags
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
)
from utils.text.corpus import Corpus, Document
from utils.text.tokenizer import load_tokenizer
from utils.training.checkpoint import CheckpointError
from utils.training.config import TrainConfig, TrainingError
from utils.training.recipes import Recipe
from utils.training.records import Record
from utils.training.trainer import train
from utils.widgets import dynamics, small_pictures, snapshots, training_panel, turns

V, HEADS, STEPS, EVERY = 300, 3, 27, 5
SENTENCE = "def add(self, n):\n    n = n"
TWO = Recipe(
    AttentionOnlyConfig(
        n_layers=2, d_vocab=V, d_model=8, n_heads=HEADS, d_head=4, n_ctx=30
    ),
    TrainConfig(steps=STEPS, lr=1e-2, optimizer="muon", warmup_steps=3, probe_every=0),
    batch_size=3,
    repeat_share=0.2,
)
ARMS = {"one layer": replace(TWO, model=replace(TWO.model, n_layers=1)), "two": TWO}
SNAPSHOTS = [*range(0, STEPS, EVERY), STEPS]


def small_corpus(d_vocab=V):
    stream = torch.arange(3_000) * 7 % (V - 1) + 1
    document = Document("a.py", "", stream)
    return Corpus("small", d_vocab, [document], [document], stream, stream[:500])


@pytest.fixture(autouse=True)
def small_world(monkeypatch):
    monkeypatch.delenv("COURSE_TRAIN", raising=False)
    monkeypatch.setattr(turns, "stdlib_corpus", small_corpus)


class Norm:
    """A measure that notes what it returned, of which model, after each step."""

    def __init__(self, act=lambda number: None):
        self.act, self.seen = act, []

    def __call__(self, model):
        value = 3.0 + sum(float(p.abs().mean()) for p in model.parameters())
        self.seen.append((model.cfg.n_layers, value))
        self.act(len(self.seen))
        return value

    def of(self, n_layers):
        return [value for layers, value in self.seen if layers == n_layers]


def score(model):
    """[layer, head]: how large each head's values are."""
    return model.W_V.abs().mean((2, 3))


def make(tmp_path, norm=None, arms=ARMS, **more):
    measures = {"size_loss": norm or Norm(), "matching": score}
    more = {"sentence": SENTENCE, "every": EVERY, "keep": tmp_path / "kept"} | more
    return training_panel(arms, measures, **more)


@pytest.fixture(scope="module")
def alone():
    """Each arm as `train` by itself leaves it, and its weights at every snapshot."""
    found = {}
    for name, recipe in ARMS.items():
        network = AttentionOnlyTransformer(recipe.model, seed=recipe.seed)
        states = {0: {k: v.clone() for k, v in network.state_dict().items()}}

        def note(state, states=states):
            now = state.model.state_dict()
            states[state.step] = {key: value.clone() for key, value in now.items()}

        batches = recipe.batches(small_corpus())
        given = {"progress": False, "mode": "full", "on_step": note}
        train(network, batches, recipe.training, **given)
        found[name] = states
    return found


def check_weights(panel, alone):
    """The panel's models are those that `train` alone gave, in every bit."""
    assert list(panel.runs) == list(ARMS)
    for name, run in panel.runs.items():
        assert run.finished and run.steps_done == STEPS
        ours, theirs = run.model.state_dict(), alone[name][STEPS]
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def interrupt():
    """Press the interrupt button, and give the main thread time to see it."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.3)


def value_at(panel, step):
    """The page's sentence when the slider stands at a step."""
    panel._slider.value = step
    return panel.description


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# --- what it trains ------------------------------------------------------------------


def test_the_weights_are_those_of_train_alone(tmp_path, alone):
    panel = make(tmp_path)
    assert panel.train() is None
    check_weights(panel, alone)
    for name, arm in panel._arms.items():
        assert [s.step for s in arm.snapshots] == SNAPSHOTS, name
    panel.train()  # nothing is left to do
    check_weights(panel, alone)


def test_the_models_take_turns(tmp_path):
    norm = Norm()
    make(tmp_path, norm).train()
    layers = [layers for layers, _ in norm.seen]
    # The first turn begins with the untrained model.
    assert layers == [1, 1, 2, 2] + [1, 2] * (len(SNAPSHOTS) - 2)


def test_attention_and_scores_are_the_models_own_at_each_step(tmp_path, alone):
    panel = make(tmp_path)
    panel.train()
    tokenizer = load_tokenizer(V)
    for name, recipe in ARMS.items():
        for snapshot in panel._arms[name].snapshots:
            network = AttentionOnlyTransformer(recipe.model).eval()
            network.load_state_dict(alone[name][snapshot.step])
            model = as_bridge(network, tokenizer)
            with torch.no_grad():
                _, cache = model.run_with_cache(model.to_tokens(SENTENCE))
            for layer in range(recipe.model.n_layers):
                weights = cache["pattern", layer][0]
                kept = snapshot.attention[layer].float() / 255
                assert (weights - kept).abs().max() < 0.51 / 255 + 1e-5
                for head in range(HEADS):
                    value = model.W_V[layer, head].abs().mean()
                    assert snapshot.values["matching"][layer, head] == value


@pytest.mark.parametrize("number", [1, 4, 7])
def test_an_interrupt_keeps_everything(tmp_path, alone, number):
    """While the n-th measurement is made; then the same panel goes on."""
    norm = Norm(lambda seen: interrupt() if seen == number else None)
    panel = make(tmp_path, norm)
    panel.train()
    assert "Interrupted" in repr(panel) and ".train()" in repr(panel)
    runs = panel.runs.values()
    assert len(runs) < 2 or not any(run.finished for run in runs)
    if number > 2:
        assert all(arm.checkpoint.exists() for arm in panel._arms.values())
    panel.train()
    check_weights(panel, alone)
    assert panel._status.value.count("Finished") == 1


def test_two_interrupts_do_not_wait(tmp_path, alone):
    """The second one, in a measurement that does not end, is an ordinary one."""
    open_again = threading.Event()

    def hang(seen):
        if seen == 6:
            interrupt()
            time.sleep(0.5)
            interrupt()
            open_again.wait(60)

    panel = make(tmp_path, Norm(hang))
    with pytest.raises(KeyboardInterrupt):
        panel.train()
    open_again.set()
    panel.train()
    check_weights(panel, alone)


def test_a_reopened_notebook_goes_on(tmp_path, alone):
    norm = Norm(lambda seen: interrupt() if seen == 8 else None)
    first = make(tmp_path, norm)
    first.train()
    before = {name: arm.snapshots for name, arm in first._arms.items()}
    assert all(0 < shots[-1].step < STEPS for shots in before.values())
    again = make(tmp_path, Norm())
    assert "earlier session" in repr(again)
    assert value_at(again, EVERY) == value_at(first, EVERY)
    again.train()
    check_weights(again, alone)
    for name, arm in again._arms.items():
        assert [s.step for s in arm.snapshots] == SNAPSHOTS, name
    third = make(tmp_path, norm := Norm())
    assert f"after {STEPS} of {STEPS} steps" in third.description
    third.train()
    assert norm.seen == []  # all was done


def test_a_killed_kernel_loses_only_what_came_after_the_checkpoint(tmp_path, alone):
    """Snapshots that are ahead of the checkpoint are taken again."""
    panel = make(tmp_path, Norm(lambda seen: interrupt() if seen == 8 else None))
    panel.train()
    for arm in panel._arms.values():
        arm.checkpoint.unlink()
    norm = Norm()
    again = make(tmp_path, norm)
    again.train()
    check_weights(again, alone)
    assert len(norm.of(1)) == len(norm.of(2)) == len(SNAPSHOTS) - 1  # step 0 was there


def test_no_snapshot_is_ahead_of_the_checkpoint(tmp_path):
    """After a checkpoint was lost, training began anew and was interrupted early."""
    panel = make(tmp_path, Norm(lambda seen: interrupt() if seen == 8 else None))
    panel.train()
    ahead = panel._arms["one layer"].snapshots[-1].step
    panel._arms["one layer"].checkpoint.unlink()
    early = make(tmp_path, Norm(lambda seen: interrupt() if seen == 1 else None))
    early.train()
    step = early._arms["one layer"].step
    assert step < ahead
    assert make(tmp_path)._arms["one layer"].snapshots[-1].step <= step


def test_a_damaged_snapshot_and_other_choices_do_not_mix(tmp_path):
    panel = make(tmp_path)
    panel.train()
    arm = panel._arms["two"]
    (arm.folder / f"{EVERY:07d}.safetensors").write_bytes(b"cut")
    again = make(tmp_path)
    assert [s.step for s in again._arms["two"].snapshots] == [0, *SNAPSHOTS[2:]]
    other = make(tmp_path, every=EVERY + 1)
    assert "Not trained yet" in repr(other)


def test_restart_forgets(tmp_path, alone):
    panel = make(tmp_path)
    panel.train()
    panel.restart()
    assert "Not trained yet" in repr(panel) and not panel.runs
    assert "not trained yet" in make(tmp_path).description
    panel.train()
    check_weights(panel, alone)


# --- pause and stop ------------------------------------------------------------------


def beside(panel, act):
    """Run `act()` on another thread while the panel trains; its errors count."""
    errors = []

    def run():
        try:
            act()
        except BaseException as error:
            errors.append(error)
            panel.stop()

    thread = threading.Thread(target=run)
    thread.start()
    panel.train()
    thread.join()
    assert errors == []


def test_pause_and_resume_from_another_thread(tmp_path, alone):
    norm = Norm(lambda seen: time.sleep(0.05))
    panel = make(tmp_path, norm)
    steps = lambda: [arm.step for arm in panel._arms.values()]  # noqa: E731

    def act():
        wait_for(lambda: len(norm.seen) > 4)
        panel._pause.click()
        wait_for(lambda: "Paused" in panel._status.value)
        time.sleep(0.5)  # the step in work ends
        now = steps()
        assert panel._pause.description == "Resume"
        time.sleep(0.5)
        assert steps() == now and max(now) < STEPS
        assert value_at(panel, EVERY).startswith(f"one layer after {EVERY} of")
        panel._pause.click()
        assert panel._pause.description == "Pause"

    beside(panel, act)
    check_weights(panel, alone)
    assert panel._pause.disabled and panel._stop.disabled


@pytest.mark.parametrize("paused", [False, True])
def test_stop_from_another_thread(tmp_path, alone, paused):
    norm = Norm(lambda seen: time.sleep(0.05))
    panel = make(tmp_path, norm)

    def act():
        wait_for(lambda: len(norm.seen) > 4)
        if paused:
            panel.pause()
            time.sleep(0.2)
        panel._stop.click()

    beside(panel, act)
    assert "Stopped" in repr(panel)
    assert not any(run.finished for run in panel.runs.values())
    assert all(arm.checkpoint.exists() for arm in panel._arms.values())
    panel.train()
    check_weights(panel, alone)


def test_controls_are_answered_on_the_thread_that_jupyterlab_asks(
    tmp_path, monkeypatch
):
    """Not on the one that wrote to them last, which is busy with the training."""
    comm = BaseComm(primary=False)
    comm._reply_subshell_id = None  # the main thread wrote to it
    dynamics.answer_while_busy(SimpleNamespace(comm=comm))
    assert comm._reply_subshell_for({"method": "custom"}, "subshell") == "subshell"
    asked = []
    monkeypatch.setattr(dynamics, "answer_while_busy", asked.append)
    panel = make(tmp_path)
    assert asked == [control for row in panel.rows for control in row]


def test_buttons_do_nothing_when_nothing_runs(tmp_path, alone):
    panel = make(tmp_path)
    for act in (panel.pause, panel.stop, panel.resume, panel._pause.click):
        act()
    panel.train()
    check_weights(panel, alone)


def test_it_trains_off_the_main_thread(tmp_path, alone):
    panel = make(tmp_path)
    thread = threading.Thread(target=panel.train)
    thread.start()
    thread.join()
    check_weights(panel, alone)


# --- what it shows -------------------------------------------------------------------


def test_going_back_shows_the_numbers_of_then(tmp_path):
    norm = Norm()
    panel = make(tmp_path, norm)
    panel.train()
    assert panel._slider.value == panel._slider.max == STEPS
    for i, step in enumerate(SNAPSHOTS):
        said = value_at(panel, step)
        for name, layers in (("one layer", 1), ("two", 2)):
            value = norm.of(layers)[i]
            found = f"{name} after {step} of {STEPS} steps: size loss {value:.2f} nats"
            assert found in said
            assert f">{value:.2f}<" in panel.html
    assert not panel._follow.value
    between = value_at(panel, EVERY + 2)  # what was seen last before it
    assert between == value_at(panel, EVERY)
    panel._follow.value = True
    assert panel._slider.value == STEPS


def test_it_follows_while_training_and_stays_where_it_is_put(tmp_path):
    norm = Norm(lambda seen: time.sleep(0.1))
    panel = make(tmp_path, norm)
    places = []

    def act():
        wait_for(lambda: panel._slider.value >= 2 * EVERY)
        panel._slider.value = EVERY
        seen = len(norm.seen)
        wait_for(lambda: len(norm.seen) > seen + 3)
        places.append(panel._slider.value)

    beside(panel, act)
    assert places == [EVERY] and panel._slider.value == EVERY


def test_the_best_head_and_any_other_can_be_chosen(tmp_path):
    panel = make(tmp_path)
    panel.train()
    assert panel._head.value == "best: matching"
    values = panel._arms["two"].snapshots[-1].values["matching"]
    places = [(i, j) for i in range(2) for j in range(HEADS)]
    layer, head = max(places, key=lambda place: float(values[place]))
    assert f"Head {layer}.{head}: " in panel.description
    assert f"matching {values[layer, head]:.2f} ({layer}.{head})" in panel.description
    panel._head.value = "1.2"
    pattern = panel._arms["two"].snapshots[-1].attention[1, 2]
    assert f"{pattern[:, 0].float().mean() / 255:.0%} of its attention" in panel.html
    panel._model.value = "one layer"  # which has no such head
    assert panel._head.value == "best: matching"
    assert "1.2" not in panel._head.options and "0.2" in panel._head.options


def test_the_page_is_small_labelled_and_without_scripts(tmp_path):
    panel = make(tmp_path, sentence="a < b && '</script>' # <b>")
    empty = Tags(panel.html)
    panel.train()
    assert len(panel.html) < 40_000
    page = Tags(panel.html)
    for tags in (empty.tags, page.tags):
        assert not {"script", "b"} & {tag for tag, _ in tags}
    pictures = [about for tag, about in page.tags if about.get("role") == "img"]
    assert len(pictures) == 3 and all(about["aria-label"] for about in pictures)
    words = " ".join(page.words)
    for said in ("training step", "key (source)", "query (destination)", "(nats)"):
        assert said in words
    assert "JupyterLab" in words and "Interrupting the kernel" in words
    controls = [control for row in panel.rows for control in row]
    assert all(control.description for control in controls)
    group = next(about for _, about in page.tags if about.get("role") == "group")
    assert group["aria-label"] == panel.description


def test_a_long_training_does_not_make_a_long_page():
    story = snapshots.Story(
        5_000,
        (1, 1),
        ["a", "b"],
        [snapshots.Snapshot(i, {"x": torch.tensor(i % 7.0)}) for i in range(5_000)],
    )
    page = dynamics.draw_view(dynamics.View({"m": story}, 4_000, "m", None), ["x"], [])
    assert len(page.html) < 10_000


def test_a_curve_is_where_its_numbers_are():
    steps, values = [0, 10, 40], [0.0, 0.25, 1.0]
    line = small_pictures.Line(1, steps, values, "1.00")
    picture = small_pictures.curves_picture("score", [line], 10, 40, "0 to 1", True)
    pale, full = (
        [tuple(map(float, point.split(","))) for point in points.split()]
        for points in re.findall(r'<polyline points="([^"]*)"', picture)
    )
    (left, low), (x, y), (right, high) = full[0], full[1], pale[1]
    assert len(full) == len(pale) == 2 and pale[0] == full[1]
    assert x == pytest.approx(left + 0.25 * (right - left), abs=0.11)
    assert y == pytest.approx(low + 0.25 * (high - low), abs=0.11)
    assert high < low and right > left
    assert 'opacity="0.25"' in picture.split("<polyline")[1]


def test_the_next_picture_waits_ten_times_as_long_as_one_takes(tmp_path, monkeypatch):
    """So that drawing is less than a tenth of the time, however slow it is."""
    draw, drawn, seen = dynamics.draw_view, [], 0

    def slow(*given):
        start = time.monotonic()
        time.sleep(0.05)
        page = draw(*given)
        drawn.append((start, time.monotonic()))
        return page

    def until_it_is_drawn(number):
        """The training waits for a picture of its last step, while few are drawn."""
        nonlocal seen
        patience = time.monotonic() + 10
        while number > 2 and len(drawn) == seen < 4 and time.monotonic() < patience:
            time.sleep(0.02)
        seen = len(drawn)

    panel = make(tmp_path, Norm(until_it_is_drawn), every=1)
    monkeypatch.setattr(dynamics, "draw_view", slow)
    panel.train()
    assert len(drawn) >= 4
    # Before and after the training pictures come at once.
    between = drawn[1:-1]
    for (start, end), (following, _) in zip(between, between[1:], strict=False):
        assert following - start >= 10 * (end - start)


# --- kept records --------------------------------------------------------------------

RECORDED = [0, 30, 90]


def record_of(recipe, seed):
    """A made-up record of two seeds; only the first is shown."""
    generator = torch.Generator().manual_seed(seed)
    layers, n = recipe.model.n_layers, len(load_tokenizer(V).encode(SENTENCE))
    sizes = {
        "size_loss": (2, 3),
        "early_loss": (2, 3, 4),
        "late_loss": (2, 3, 4),
        "matching": (2, 3, layers, HEADS),
    }
    series = {k: torch.rand(*s, generator=generator) for k, s in sizes.items()}
    pattern = torch.rand(1, 3, layers, HEADS, n, n, generator=generator).tril()
    pattern = pattern / pattern.sum(-1, keepdim=True)
    series["attention"] = (255 * pattern).round().to(torch.uint8)
    sentence = torch.tensor([load_tokenizer(V).encode(SENTENCE)])
    return Record(
        "made_up",
        recipe.model,
        (0, 1),
        torch.tensor(RECORDED),
        series,
        {"sentence": sentence},
        {"tokens_per_step": 1},
    )


@pytest.fixture
def records():
    return {name: record_of(recipe, i) for i, (name, recipe) in enumerate(ARMS.items())}


def with_records(tmp_path, records, **more):
    measures = {"size_loss": Norm(), "in_context_learning_score": Norm()}
    measures |= {"matching": score, "never_recorded": Norm()}
    given = {"sentence": "x = 1", "keep": tmp_path / "kept", "records": records}
    return training_panel(ARMS, measures, **given | more)


def test_a_record_is_shown_without_training(tmp_path, records):
    panel = with_records(tmp_path, records)
    assert "kept record" in repr(panel)
    assert "Not measured here: never recorded." in panel.html
    for i, step in enumerate(RECORDED):
        said = value_at(panel, step)
        for name, record in records.items():
            size = float(record.series["size_loss"][0, i])
            late, early = (record.series[f"{x}_loss"][0, i] for x in ("late", "early"))
            score = sum(late.tolist()) / 4 - sum(early.tolist()) / 4
            best = max(record.series["matching"][0, i].flatten().tolist())
            assert (
                f"{name} after {step} of 90 steps: size loss {size:.2f} nats, "
                f"in context learning score {score:.2f} nats, matching {best:.2f} ("
            ) in said
    assert list(panel._arms["two"].folder.glob("*")) == []


def points_of(panel):
    """How many points each curve of the page has."""
    return {line.count(",") for line in re.findall(r'points="([^"]+)"', panel.html)}


def test_a_record_gives_nothing_away_before_it_is_looked_at(tmp_path, records):
    panel = with_records(tmp_path, records)
    assert panel._slider.value == 0 and "after 0 of 90 steps" in panel.description
    assert points_of(panel) <= {1}
    value_at(panel, RECORDED[1])
    assert max(points_of(panel)) == 2
    value_at(panel, RECORDED[2])
    value_at(panel, 0)  # what was seen stays to be seen
    assert max(points_of(panel)) == 3
    panel._source.value = "this training"
    assert "not trained yet" in panel.description


def test_replay_goes_through_all_snapshots(tmp_path, records):
    panel = with_records(tmp_path, records)
    places = []
    panel._slider.observe(lambda change: places.append(change["new"]), "value")
    start = time.monotonic()
    panel.replay(speed=20)
    assert places == RECORDED[1:]  # it stood at the beginning
    assert time.monotonic() - start >= 3 / 20


def test_the_play_button_plays_and_halts(tmp_path, records):
    panel = with_records(tmp_path, records)
    places = []
    panel._slider.observe(lambda change: places.append(change["new"]), "value")
    panel._speed.value = "20"
    panel._play.click()
    assert panel._play.description == "Halt"
    wait_for(lambda: panel._play.description == "Play")
    assert places == RECORDED[1:] and not panel._follow.value
    panel._speed.value = "1"
    panel._play.click()  # from the beginning
    wait_for(lambda: panel._slider.value == 0)
    panel._play.click()
    wait_for(lambda: panel._play.description == "Play")
    assert panel._slider.value == 0
    panel._play.click()  # on from here
    wait_for(lambda: panel._slider.value == RECORDED[1])
    panel._slider.value = 0  # somebody moves it
    wait_for(lambda: panel._play.description == "Play")
    assert panel._slider.value == 0


def test_a_replay_can_be_stopped(tmp_path, records):
    panel = with_records(tmp_path, records)
    threading.Timer(0.5, panel._stop.click).start()
    panel.replay(speed=0.001)
    assert panel._slider.value == 0
    threading.Timer(0.5, interrupt).start()
    panel.replay(speed=0.001)
    panel._follow.value = True
    assert panel._slider.value == RECORDED[-1]


def test_replay_mode_waits_for_nothing(tmp_path, records, monkeypatch):
    monkeypatch.setenv("COURSE_TRAIN", "replay")
    norm = Norm()
    panel = with_records(tmp_path, records)
    monkeypatch.setattr(turns, "train", lambda *a, **k: pytest.fail("it trains"))
    panel.train()
    panel.replay(speed=1e-6)
    assert panel._slider.value == RECORDED[-1] and norm.seen == []
    panel._source.value = "this training"
    assert "not trained yet" in panel.description


@pytest.mark.parametrize("mode", ["short", "replay"])
def test_short_mode_trains_a_little(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("COURSE_TRAIN", mode)
    panel = make(tmp_path, keep=None)
    panel.train()
    assert {run.steps_done for run in panel.runs.values()} == {10}
    assert "after 10 of 10 steps" in panel.description
    assert panel._slider.max == 10


def test_training_beside_a_record(tmp_path, records, alone):
    panel = make(tmp_path, records=records)
    panel.train()
    check_weights(panel, alone)
    assert f"after {STEPS} of {STEPS}" in panel.description
    panel._source.value = "kept record"
    assert "after 90 of 90" in panel.description


# --- what goes wrong -----------------------------------------------------------------


def broken(model):
    raise RuntimeError("no such <head>")


def test_a_measure_that_raises_is_named_and_training_goes_on(tmp_path, alone):
    norm = Norm()
    measures = {"broken_score": broken, "wide": lambda m: m.W_V, "size": norm}
    panel = training_panel(
        ARMS, measures, sentence=SENTENCE, every=EVERY, keep=tmp_path
    )
    panel.train()
    check_weights(panel, alone)
    assert (
        "The function given as broken_score stopped with RuntimeError: no such <head>"
    ) in panel.description
    assert "no such &lt;head&gt;" in panel.html
    assert "given as wide must return a number or [layer, head]" in panel.description
    assert f"size {norm.of(2)[-1]:.2f} nats" in panel.description
    assert "Not measured here: broken score, wide." in panel.html


def test_a_training_that_diverges_says_so_and_the_panel_stays(tmp_path):
    wild = replace(TWO, training=replace(TWO.training, lr=1e30, optimizer="adamw"))
    panel = make(tmp_path, arms={"one layer": ARMS["one layer"], "two": wild})
    with pytest.raises(TrainingError, match="learning rate"):
        panel.train()
    assert "learning rate" in panel.description and "Ended by an error" in repr(panel)
    assert value_at(panel, 0).count("after 0 of") == 2
    with pytest.raises(TrainingError):
        panel.train()


def test_a_checkpoint_of_another_run_is_refused_in_words(tmp_path):
    panel = make(tmp_path)
    panel.train()
    one, two = panel._arms.values()
    two.checkpoint.write_bytes(one.checkpoint.read_bytes())
    again = make(tmp_path)
    with pytest.raises(CheckpointError, match="of another run"):
        again.train()
    assert "of another run" in again.description
    again.restart()
    again.train()
    assert all(run.finished for run in again.runs.values())


def test_gradients_may_be_off_and_no_measure_has_any(tmp_path, alone):
    """A chapter's prelude switches them off on the main thread."""
    seen = []

    def measure(model):
        seen.append((torch.is_grad_enabled(), model.training))
        return float(next(model.parameters()).sum())

    with torch.no_grad():
        panel = make(tmp_path, measure)
        panel.train()
    check_weights(panel, alone)
    assert set(seen) == {(False, False)}
    assert isinstance(panel.models["two"], nn.Module)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"arms": {}}, "at least one arm"),
        ({"every": 0}, "every"),
        ({"sentence": ""}, "sentence has 1 token"),
        ({"sentence": "x " * 40}, "at most 30"),
        ({"records": {}}, "records must be of one layer, two"),
    ],
)
def test_what_does_not_fit_is_said_at_once(tmp_path, change, words):
    with pytest.raises(ValueError, match=words):
        make(tmp_path, **change)


def test_a_series_of_another_kind_is_refused(tmp_path, records):
    series = dict(records["two"].series)
    series["size_loss"] = torch.rand(2, 3, 5)
    records["two"] = replace(records["two"], series=series)
    with pytest.raises(ValueError, match="size_loss"):
        with_records(tmp_path, records)
