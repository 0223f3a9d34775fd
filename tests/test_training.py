"""The trainer: what it computes, what it records, and what survives an interrupt.

A second optimiser loop, written out by hand here, is the oracle for the weights.
"""

import math
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from utils.models.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from utils.training import display
from utils.training.checkpoint import CheckpointError
from utils.training.config import TrainConfig, TrainingError
from utils.training.losses import unembedded_cross_entropy
from utils.training.trainer import next_token_loss, save_run, train

ROOT = Path(__file__).parents[1]
SIZES = AttentionOnlyConfig(
    n_layers=1, d_vocab=11, d_model=8, n_heads=2, d_head=3, n_ctx=10
)


@dataclass(frozen=True)
class Counting:
    """A language in which every token is followed by the next number, 10 by 1."""

    batch_size: int = 5
    n_ctx: int = 10
    seed: int = 0

    def __call__(self, step):
        generator = torch.Generator().manual_seed(1_000 * self.seed + step)
        begin = torch.randint(10, (self.batch_size, 1), generator=generator)
        rows = 1 + (begin + torch.arange(self.n_ctx)) % 10
        rows[:, 0] = 0
        return rows


CONFIG = TrainConfig(steps=12, checkpoint_every=4, probe_every=5, schedule="cosine")


@pytest.fixture(autouse=True)
def full_training(monkeypatch):
    monkeypatch.delenv("COURSE_TRAIN", raising=False)


def fresh(n_layers=1, seed=0):
    return AttentionOnlyTransformer(replace(SIZES, n_layers=n_layers), seed=seed)


def run(model=None, batches=None, config=CONFIG, **more):
    model = fresh() if model is None else model
    return train(model, batches or Counting(), config, progress=False, **more)


def same_weights(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def interrupt_at(step):
    """An `on_step` that presses the interrupt button during one step."""

    def on_step(state):
        if state.step == step:
            signal.raise_signal(signal.SIGINT)

    return on_step


# What is computed


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_quick_loss_is_cross_entropy(dtype):
    torch.manual_seed(0)
    stream = torch.randn(700, 6, dtype=dtype, requires_grad=True)
    weight = torch.randn(13, 6, dtype=dtype, requires_grad=True)
    targets = torch.randint(13, (700,))
    found = unembedded_cross_entropy(stream, weight, targets)
    (3 * found).backward()
    grads = stream.grad, weight.grad
    stream.grad = weight.grad = None
    expected = F.cross_entropy(stream @ weight.T, targets)
    (3 * expected).backward()
    near = 1e-12 if dtype == torch.float64 else 1e-5
    assert found.item() == pytest.approx(expected.item(), abs=near)
    for mine, theirs in zip(grads, (stream.grad, weight.grad), strict=True):
        assert (mine - theirs).abs().max() < near
    with torch.no_grad():
        again = unembedded_cross_entropy(stream, weight, targets)
    assert again.item() == pytest.approx(expected.item(), abs=near)


def test_the_quick_loss_survives_huge_logits():
    stream = torch.tensor([[1e4, 0.0], [0.0, 1e4]], requires_grad=True)
    found = unembedded_cross_entropy(stream, torch.eye(2), torch.tensor([0, 0]))
    assert found.item() == pytest.approx(5e3)


@pytest.mark.parametrize("n_layers", [0, 1])
def test_next_token_loss_is_the_mean_over_all_but_the_first_token(n_layers):
    model = fresh(n_layers)
    tokens = Counting()(3)
    log_probs = model(tokens).log_softmax(dim=-1)
    total = count = 0
    for row, words in enumerate(tokens.tolist()):
        for pos in range(1, len(words)):
            total -= log_probs[row, pos - 1, words[pos]].item()
            count += 1
    found = next_token_loss(model, tokens)
    assert found.item() == pytest.approx(total / count, abs=1e-5)
    as_any_module = torch.nn.Sequential(model)
    assert next_token_loss(as_any_module, tokens).item() == pytest.approx(
        total / count, abs=1e-5
    )


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_weights_are_those_of_a_loop_written_out(optimizer):
    config = replace(CONFIG, optimizer=optimizer, weight_decay=0.1, warmup_steps=3)
    found = run(config=config).model
    # PyTorch's Muon, the oracle, rounds to bfloat16; ours does not.
    rounding = 1e-4 if optimizer == "adamw" else 1e-2
    assert_same_up_to_rounding(found, loop_written_out(config), rounding)


def assert_same_up_to_rounding(a, b, rounding=1e-4):
    theirs = b.state_dict()
    for name, value in a.state_dict().items():
        assert (value - theirs[name]).abs().max() < rounding, name


def loop_written_out(config):
    """Twelve steps: warm-up over 3, cosine to zero over the last 4 of 12."""
    model = fresh()
    hidden = [layer.attn for layer in model.layers]
    matrices = [part.weight for attn in hidden for part in (attn.q, attn.k, attn.v)]
    matrices += [attn.o.weight for attn in hidden]
    outer = [model.tok_embed.weight, model.pos.weight, model.head.weight]
    if config.optimizer == "muon":
        muon = torch.optim.Muon(matrices, lr=0.03, weight_decay=0.1)
        adamw = torch.optim.AdamW(outer, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1)
        pairs = [(muon, 0.03), (adamw, 0.01)]
    else:
        everything = outer + matrices
        adamw = torch.optim.AdamW(
            everything, lr=0.01, betas=(0.9, 0.95), weight_decay=0.1
        )
        pairs = [(adamw, 0.01)]
    falling = [0.5 - 0.5 * math.cos(math.pi * k / 4) for k in (4, 3, 2, 1)]
    factors = [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1, *falling]
    for step, factor in enumerate(factors):
        model.zero_grad()
        tokens = Counting()(step)
        logits = model(tokens)[:, :-1].reshape(-1, 11)
        F.cross_entropy(logits, tokens[:, 1:].reshape(-1)).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, lr in pairs:
            optimiser.param_groups[0]["lr"] = lr * factor
            optimiser.step()
    return model


@pytest.mark.parametrize("n_layers", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_the_loss_falls_on_a_tiny_language(n_layers, dtype):
    config = TrainConfig(steps=80, lr=0.05, dtype=dtype)
    history = run(fresh(n_layers), config=config).history
    assert history["loss"].iloc[0] > 2.0
    # Only the first number of a row cannot be known: ln(10) at one of nine places.
    assert history["loss"].iloc[-1] < math.log(10) / 9 + 0.1


def test_linear_decay_ends_just_above_zero():
    config = TrainConfig(steps=10, schedule="linear", decay_share=0.5)
    factors = [config.lr_factor(step) for step in range(1, 11)]
    assert factors == pytest.approx([1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


# What is recorded


def test_history_is_a_table_with_one_row_per_update():
    history = run().history
    assert list(history.columns[:5]) == ["step", "tokens", "seconds", "loss", "lr"]
    assert history["step"].tolist() == list(range(1, 13))
    assert history["tokens"].tolist() == [50 * step for step in range(1, 13)]
    assert history["seconds"].is_monotonic_increasing
    assert history["loss"].notna().all()


def test_probes_run_in_eval_without_gradients_and_are_recorded():
    seen = []

    def probe(model):
        seen.append((model.training, torch.is_grad_enabled()))
        return {"first": float(len(seen)), "second": torch.tensor(2.0)}

    probes = {"pair": probe, "one": lambda model: 0.5}
    history = run(probes=probes).history
    measured = history.dropna(subset=["pair.first"])
    assert measured["step"].tolist() == [0, 5, 10, 12]
    assert measured["pair.first"].tolist() == [1, 2, 3, 4]
    assert measured["pair.second"].tolist() == [2, 2, 2, 2]
    assert history["one"].count() == 4
    assert history["loss"].iloc[0] == history["loss"].iloc[1]
    assert seen == [(False, False)] * 4


def test_probes_see_the_weights_after_the_row_s_update():
    config = replace(CONFIG, probe_every=(1, 3))
    probes = {"loss_again": lambda model: next_token_loss(model, Counting()(3))}
    history = run(config=config, probes=probes).history.set_index("step")
    # The batch of step 4 is measured once by the probe, once by training.
    assert history.loc[3, "loss_again"] == pytest.approx(history.loc[4, "loss"])
    assert history["loss_again"].count() == 4


def test_probes_do_not_change_what_is_learned():
    probes = {"random": lambda model: torch.randn(3).sum()}
    assert same_weights(run().model, run(probes=probes).model)


def test_on_step_sees_each_update_and_can_stop():
    states = []

    def on_step(state):
        states.append(state)
        return state.step < 7

    found = run(on_step=on_step)
    assert [state.step for state in states] == list(range(1, 8))
    assert states[-1].tokens == 350 and states[-1].steps == 12
    assert len(states[-1].rows) == 7
    assert not found.finished and found.steps_done == 7


# Interrupts and checkpoints


def test_an_interrupt_leaves_a_usable_model(tmp_path):
    before = signal.getsignal(signal.SIGINT)
    found = run(checkpoint=tmp_path / "c.pt", on_step=interrupt_at(6))
    assert not found.finished
    assert found.steps_done == 6 and len(found.history) == 6
    assert found.model(Counting()(0)).isfinite().all()
    assert not found.model.training
    assert (tmp_path / "c.pt").exists()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_does_not_wait(tmp_path):
    def twice(model):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("not reached")

    config = replace(CONFIG, probe_every=(3,))
    probes = {"twice": lambda model: twice(model) if calls() else 0.0}
    count = []

    def calls():
        count.append(1)
        return len(count) == 2  # the first is before training

    found = run(config=config, probes=probes, checkpoint=tmp_path / "c.pt")
    assert not found.finished
    resumed = run(config=config, checkpoint=tmp_path / "c.pt")
    assert resumed.finished and same_weights(resumed.model, run(config=config).model)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_resuming_gives_the_same_weights_bit_for_bit(tmp_path, optimizer, dtype):
    config = replace(CONFIG, optimizer=optimizer, dtype=dtype, warmup_steps=3)
    path = tmp_path / "c.pt"
    run(config=config, checkpoint=path, on_step=interrupt_at(2))
    run(config=config, checkpoint=path, on_step=interrupt_at(7))
    resumed = run(config=config, checkpoint=path)
    straight = run(config=config)
    assert resumed.finished
    assert same_weights(resumed.model, straight.model)
    assert resumed.history["loss"].tolist() == straight.history["loss"].tolist()
    assert resumed.history["seconds"].is_monotonic_increasing


def test_a_cell_run_again_after_an_interrupt_goes_on(tmp_path):
    model = fresh()
    run(model, checkpoint=tmp_path / "c.pt", on_step=interrupt_at(5))
    found = run(model, checkpoint=tmp_path / "c.pt")
    assert found.finished and same_weights(model, run().model)


def test_a_finished_run_is_not_trained_further(tmp_path):
    first = run(checkpoint=tmp_path / "c.pt")
    again = run(checkpoint=tmp_path / "c.pt", on_step=lambda state: 1 / 0)
    assert again.finished and same_weights(first.model, again.model)
    assert len(again.history) == 12


KILLED = """
import sys, time
sys.path.insert(0, {folder!r})
import torch
import test_training as t
torch.set_num_threads(1)
def slowly(state):
    print(state.step, flush=True)
    time.sleep(0.02)
model = t.run(config=t.LONGER, checkpoint={path!r}, on_step=slowly).model
torch.save(model.state_dict(), {path!r} + ".weights")
"""
LONGER = replace(CONFIG, steps=60, optimizer="muon")


def start_subprocess(path):
    code = KILLED.format(folder=str(Path(__file__).parent), path=str(path))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment
    )


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no kill -9 here")
def test_after_kill_9_the_weights_are_the_same(tmp_path, one_thread):
    path = tmp_path / "c.pt"
    process = start_subprocess(path)
    for line in process.stdout:
        if int(line) >= 31:
            process.send_signal(signal.SIGKILL)
            break
    process.wait(timeout=60)
    assert process.returncode == -signal.SIGKILL
    process = start_subprocess(path)
    steps = [int(line) for line in process.communicate(timeout=120)[0].split()]
    assert steps[0] % 4 == 1 and 28 < steps[0] <= 33 and steps[-1] == 60
    resumed = torch.load(f"{path}.weights")
    straight = run(config=LONGER).model.state_dict()
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_writing_that_breaks_off_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.pt"
    run(checkpoint=path, on_step=interrupt_at(5))
    before = path.read_bytes()

    def full_disk(number):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        run(checkpoint=path)
    assert path.read_bytes() == before


def cut_short(data):
    return data[: len(data) // 2]


def change_a_byte(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (cut_short, "is damaged or was cut short"),
        (change_a_byte, "is damaged or was cut short"),
        (lambda data: data[:40], "is damaged or was cut short"),
        (lambda data: b"", "is not a checkpoint of this trainer"),
        (lambda data: b"a holiday photograph", "is not a checkpoint of this trainer"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_a_sentence(tmp_path, harm, sentence):
    path = tmp_path / "c.pt"
    run(checkpoint=path, on_step=interrupt_at(5))
    harmed = harm(path.read_bytes())
    path.write_bytes(harmed)
    model = fresh()
    with pytest.raises(CheckpointError, match=sentence):
        run(model, checkpoint=path)
    assert path.read_bytes() == harmed
    assert same_weights(model, fresh())


OTHER_RUNS = {
    r"steps differs \(12 there, 13 here\)": {"config": replace(CONFIG, steps=13)},
    r"lr differs \(0\.01 there, 0\.02 here\)": {"config": replace(CONFIG, lr=0.02)},
    "the batch function differs": {"batches": Counting(seed=2)},
    "the weights it began with differs": {"model": fresh(seed=1)},
    "the model differs": {"model": fresh(n_layers=2)},
}


@pytest.mark.parametrize("sentence", OTHER_RUNS)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, sentence):
    path = tmp_path / "c.pt"
    run(checkpoint=path, on_step=interrupt_at(5))
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=sentence):
        run(checkpoint=path, **OTHER_RUNS[sentence])
    assert path.read_bytes() == before


def test_other_text_behind_the_same_words_is_refused(tmp_path):
    rows = [Counting()(step) for step in range(12)]

    class Stored:
        def __call__(self, step):
            return rows[step]

    run(batches=Stored(), checkpoint=tmp_path / "c.pt", on_step=interrupt_at(5))
    rows[0] = rows[0].flip(0)
    with pytest.raises(CheckpointError, match="the first batch differs"):
        run(batches=Stored(), checkpoint=tmp_path / "c.pt")


def test_how_often_is_written_and_measured_may_change(tmp_path):
    run(checkpoint=tmp_path / "c.pt", on_step=interrupt_at(5))
    config = replace(CONFIG, checkpoint_every=1, probe_every=2, device="cpu")
    found = run(config=config, checkpoint=tmp_path / "c.pt")
    assert same_weights(found.model, run().model)


# Errors


def test_a_loss_that_is_no_number_stops_with_a_sentence():
    model = fresh()
    with torch.no_grad():
        model.head.weight[3] = math.nan
    with pytest.raises(TrainingError, match="loss at step 1 is nan"):
        run(model)


def test_a_model_without_gradients_is_refused():
    with pytest.raises(TrainingError, match="requires a gradient"):
        run(fresh().requires_grad_(False))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"optimizer": "sgd"}, "optimizer must be one of adamw, muon, not 'sgd'"),
        ({"schedule": "step"}, "schedule must be one of"),
        ({"dtype": "float16"}, "dtype must be one of"),
        ({"steps": 0}, "steps and checkpoint_every must be at least 1"),
        ({"decay_share": 1.5}, "decay_share must be between 0 and 1"),
    ],
)
def test_impossible_configurations_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(CONFIG, **change)


# COURSE_TRAIN


def test_short_does_three_percent_of_the_steps(monkeypatch):
    monkeypatch.setenv("COURSE_TRAIN", "short")
    found = run(config=replace(CONFIG, steps=500, warmup_steps=100))
    assert found.finished and found.steps_done == 15
    assert found.config.warmup_steps == 3
    assert run(config=replace(CONFIG, steps=100)).steps_done == 10
    assert run(config=replace(CONFIG, steps=6)).steps_done == 6


def test_an_unknown_amount_is_named(monkeypatch):
    monkeypatch.setenv("COURSE_TRAIN", "fast")
    with pytest.raises(ValueError, match="replay, short or full, not 'fast'"):
        run()


def test_replay_shows_the_record_without_training(tmp_path, monkeypatch):
    probes = {"size": lambda model: model.head.weight.norm()}
    first = run(probes=probes)
    save_run(first, tmp_path / "record")
    monkeypatch.setenv("COURSE_TRAIN", "replay")
    steps = []
    again = run(
        probes=probes,
        replay=tmp_path / "record",
        on_step=lambda state: steps.append(state.step),
    )
    assert again.replayed and again.finished
    assert steps == list(range(13))
    assert again.history["loss"].tolist()[1:] == pytest.approx(
        first.history["loss"].tolist()[1:]
    )
    assert again.history["size"].count() == first.history["size"].count()
    difference = again.model.head.weight - first.model.head.weight
    assert difference.abs().max() < 1e-3


def test_replay_without_a_record_is_short(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_TRAIN", "replay")
    found = run(config=replace(CONFIG, steps=500), replay=tmp_path / "record")
    assert not found.replayed and found.steps_done == 15


def test_a_damaged_record_is_named(tmp_path, monkeypatch):
    save_run(run(), tmp_path / "record")
    data = (tmp_path / "record").read_bytes()
    (tmp_path / "record").write_bytes(data[:-30])
    monkeypatch.setenv("COURSE_TRAIN", "replay")
    with pytest.raises(TrainingError, match="record is damaged or of another model"):
        run(replay=tmp_path / "record")


# What is shown


def test_a_terminal_gets_a_bar_with_loss_speed_and_time_left(capsys, monkeypatch):
    monkeypatch.setattr(display.sys.stderr, "isatty", lambda: True, raising=False)
    train(fresh(), Counting(), CONFIG)
    shown = capsys.readouterr().err
    assert "Training: 100%" in shown and "12/12" in shown
    assert "nats" in shown and "tokens/s" in shown


def test_a_log_gets_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(display.sys.stderr, "isatty", lambda: False, raising=False)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    clock = iter(range(0, 10_000, 20))
    monkeypatch.setattr(display.time, "monotonic", lambda: next(clock))
    train(fresh(), Counting(), CONFIG)
    lines = capsys.readouterr().err.splitlines()
    assert 2 <= len(lines) <= 8
    assert lines[0].startswith("step ") and lines[0].endswith(" left")
    assert "\r" not in "".join(lines)


def test_progress_false_shows_nothing(capsys):
    run()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


# Several processes

TWO_PROCESSES = """
import sys
sys.path.insert(0, {folder!r})
import torch
import test_training as t
from accelerate import PartialState
torch.set_num_threads(1)
found = t.gradients_and_weights({rows})
if PartialState().is_main_process:
    torch.save((PartialState().num_processes, *found), {path!r})
"""


def gradients_and_weights(rows):
    gradients = []

    def keep(state):
        if state.step == 1:
            gradients.extend(p.grad.clone() for p in state.model.parameters())

    batches = Counting(batch_size=rows)
    config = replace(CONFIG, grad_clip=None)
    found = run(batches=batches, config=config, on_step=keep)
    weights = [p.detach() for p in found.model.parameters()]
    return gradients, weights, found.history["loss"].tolist()


@pytest.mark.slow
@pytest.mark.parametrize("rows", [6, 5])
def test_two_processes_compute_what_one_computes(tmp_path, one_thread, rows):
    """Five rows do not divide evenly: one process has three of them, one two."""
    script, path = tmp_path / "two.py", tmp_path / "found"
    folder = str(Path(__file__).parent)
    script.write_text(TWO_PROCESSES.format(folder=folder, rows=rows, path=str(path)))
    launch_two(script)
    n_processes, gradients, weights, losses = torch.load(path)
    assert n_processes == 2
    alone = gradients_and_weights(rows)
    for mine, theirs in zip(gradients, alone[0], strict=True):
        assert (mine - theirs).norm() < 1e-5 * theirs.norm()
    for mine, theirs in zip(weights, alone[1], strict=True):
        assert (mine - theirs).abs().max() < 1e-3
    assert losses == pytest.approx(alone[2], abs=1e-4)


def launch_two(script):
    """`--multi_gpu` starts several processes; the variable gives them processors."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", "2", "--num_machines", "1"]
    command += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", "0", str(script)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "1"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
