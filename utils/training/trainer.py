"""The trainer: a model, a function that gives batches, a configuration, and probes.

Chapters, the shipped models' recipes and the live panel call `train`. It knows nothing
of circuits: whatever is to be measured on the way comes in as a function.

The environment variable COURSE_TRAIN says how much training is done. Besides this file
only the command `train` and the live panel look at it. "full", the default, trains as
configured. "short" does 3 % of the steps (at least 10), so that a notebook runs quickly
under test. "replay" loads the record given as `train(..., replay=path)` when that file
exists, and is "short" otherwise.
"""

import hashlib
import io
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor, nn
from tqdm.auto import tqdm

from utils.models.attention_only import AttentionOnlyTransformer
from utils.training.losses import unembedded_cross_entropy
from utils.training.muon import Muon

__all__ = [
    "CheckpointError",
    "Run",
    "StepState",
    "TrainConfig",
    "TrainingError",
    "asking_to_stop",
    "next_token_loss",
    "save_run",
    "train",
]

BatchFunction = Callable[[int], Int[Tensor, "batch pos"]]
Probe = Callable[[nn.Module], float | Mapping[str, float]]

MAGIC = b"circuits-course checkpoint 1\n"
# Choices that say where and how often, and do not touch the weights.
FREE_FIELDS = ("device", "checkpoint_every", "probe_every")


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used for this run; the message says why."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train: everything but the model and the data.

    `optimizer` is "adamw", or "muon": Muon at `muon_lr` on the matrices inside
    `model.layers`, AdamW at `lr` on all other parameters. The learning rate rises over
    `warmup_steps`, then stays ("constant") or falls to zero over the last
    `decay_share` of the steps, as a line or a cosine. `dtype` is "float32",
    "bfloat16" (autocast; the weights stay float32) or "auto", which takes the faster
    one, measured on the device at the start and remembered in the checkpoint.
    `probe_every` is a number of steps or a tuple of steps; probes also run before the
    first step and after the last. `device` is "auto" or a PyTorch name such as "cuda".
    """

    steps: int
    lr: float = 1e-2
    muon_lr: float = 0.03
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    warmup_steps: int = 0
    schedule: str = "constant"
    decay_share: float = 0.3
    grad_clip: float | None = 1.0
    dtype: str = "float32"
    probe_every: int | tuple[int, ...] = 100
    checkpoint_every: int = 500
    device: str = "auto"

    def __post_init__(self):
        choices = {
            "optimizer": ("adamw", "muon"),
            "schedule": ("constant", "linear", "cosine"),
            "dtype": ("float32", "bfloat16", "auto"),
        }
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, not {value!r}."
                )
        if self.steps < 1 or self.checkpoint_every < 1:
            raise ValueError("steps and checkpoint_every must be at least 1.")
        if not 0 <= self.decay_share <= 1:
            raise ValueError("decay_share must be between 0 and 1.")

    def lr_factor(self, step: int) -> float:
        """The share of the full learning rate that is used for update `step` (from 1).

        Example:
            >>> config = TrainConfig(steps=10, schedule="linear", decay_share=0.5)
            >>> [config.lr_factor(step) for step in (1, 5, 6, 8, 10)]
            [1.0, 1.0, 1.0, 0.6, 0.2]
        """
        if step <= self.warmup_steps:
            return step / self.warmup_steps
        falling = round(self.steps * self.decay_share)
        if self.schedule == "constant" or step <= self.steps - falling:
            return 1.0
        left = (self.steps + 1 - step) / falling
        if self.schedule == "linear":
            return left
        return 0.5 - 0.5 * math.cos(math.pi * left)

    def probes_at(self, step: int) -> bool:
        """Whether probes run once `step` updates are done."""
        if step in (0, self.steps):
            return True
        if isinstance(self.probe_every, int):
            return self.probe_every > 0 and step % self.probe_every == 0
        return step in self.probe_every


@dataclass(frozen=True)
class StepState:
    """What `on_step` is given after each update; `rows` is the history so far."""

    step: int
    steps: int
    tokens: int
    seconds: float
    loss: float
    model: nn.Module
    rows: list[dict[str, float]]


@dataclass
class Run:
    """What training gave.

    `history` has one row per update: step (from 1), tokens seen, seconds since the
    start, loss in nats per token on that step's batch before the update, lr, and one
    column per probe, measured after the update and empty where it did not run. With
    probes there is a row for step 0, the untrained model. `finished` is False after an
    interrupt.
    """

    model: nn.Module
    config: TrainConfig
    history: pd.DataFrame
    finished: bool
    dtype: str = "float32"
    replayed: bool = False

    @property
    def steps_done(self) -> int:
        """How many updates the model has had."""
        return int(self.history["step"].max()) if len(self.history) else 0


def next_token_loss(
    model: nn.Module, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy, in nats, of every token of a row but the first.

    The last token is only a target, so the model never reads it: nothing later could
    be predicted from it. On a processor the course's own model takes a shorter way to
    the same number, without ever holding all logits.
    """
    inputs, targets = tokens[:, :-1], tokens[:, 1:].flatten()
    if tokens.device.type == "cpu" and isinstance(model, AttentionOnlyTransformer):
        stream = model.final_stream(inputs).flatten(0, 1)
        return unembedded_cross_entropy(stream, model.head.weight, targets)
    return F.cross_entropy(model(inputs).flatten(0, 1).float(), targets)


def train(
    model: nn.Module,
    batches: BatchFunction,
    config: TrainConfig,
    probes: Mapping[str, Probe] | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    on_step: Callable[[StepState], bool | None] | None = None,
    replay: str | Path | None = None,
    mode: str | None = None,
) -> Run:
    """Train `model` in place on `batches(0)`, `batches(1)`, ... and say how it went.

    `batches(step)` returns token ids `[batch, pos]` and must give the same rows for
    the same step. A probe takes the model (eval mode, no gradients) and returns a
    number or a dict of numbers. With `checkpoint`, a file, an interrupted or killed
    run goes on where the file was last written and ends in the same weights bit for
    bit (same device, number of threads and processes). A checkpoint of another run,
    or a damaged one, raises CheckpointError. `on_step` is called after each update;
    if it returns False, training stops as if interrupted. A keyboard interrupt lets
    the current step finish, writes the checkpoint and returns; a second one does not
    wait. `mode` stands in for COURSE_TRAIN. Under `accelerate launch` each process
    takes its share of each batch's rows.

    Raises TrainingError when the loss is no longer a finite number.
    """
    mode = mode or os.environ.get("COURSE_TRAIN", "full")
    if mode not in ("replay", "short", "full"):
        raise ValueError(f"COURSE_TRAIN must be replay, short or full, not {mode!r}.")
    if mode == "replay" and replay is not None and Path(replay).exists():
        return _replay(model, config, Path(replay), on_step)
    if mode != "full":
        config = _shortened(config)
    loop = _Loop(model, batches, config, probes or {}, on_step)
    if checkpoint is not None:
        loop.use_checkpoint(Path(checkpoint))
    with asking_to_stop() as asked, _Display(loop, progress) as display:
        loop.run(asked, display)
    return Run(
        model=model.eval(),
        config=config,
        history=_table(loop.rows),
        finished=loop.step == config.steps,
        dtype=loop.dtype,
    )


def _shortened(config: TrainConfig) -> TrainConfig:
    steps = min(config.steps, max(10, round(0.03 * config.steps)))
    warmup = round(config.warmup_steps * steps / config.steps)
    return replace(config, steps=steps, warmup_steps=warmup)


def _table(rows: list[dict[str, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=None if rows else ["step", "loss"])
    first = ["step", "tokens", "seconds", "loss", "lr"]
    return table.reindex(columns=first + [c for c in table.columns if c not in first])


@dataclass
class _Loop:
    """One training run: the model, its optimisers, and how far it has come."""

    model: nn.Module
    batches: BatchFunction
    config: TrainConfig
    probes: Mapping[str, Probe]
    on_step: Callable[[StepState], bool | None] | None
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    rows: list[dict[str, float]] = field(default_factory=list)
    checkpoint: Path | None = None
    updating: bool = False

    def __post_init__(self):
        # Here and not above: Accelerate takes half a second, and most who import this
        # file only want a TrainConfig.
        from accelerate import PartialState
        from accelerate.utils import parse_flag_from_env

        self.processes = PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))
        self.device = self._device()
        self.model.to(self.device)
        self.optimizers = _optimizers(self.model, self.config)
        self.dtype = self.config.dtype
        if self.dtype == "auto":
            self.dtype = _faster_dtype(self.device)

    def _device(self) -> torch.device:
        many = self.processes.num_processes > 1
        if many or self.config.device == "auto":
            return self.processes.device
        return torch.device(self.config.device)

    def run(self, asked: threading.Event, display: "_Display") -> None:
        start = time.perf_counter() - self.seconds
        try:
            if not self.rows and self.probes:
                self._add_row({"loss": math.nan, "lr": 0.0})  # its loss comes below
            while self.step < self.config.steps:
                stop = self._advance(asked.is_set(), start)
                display.show(self.rows[-1])
                if self._listener_stops() or stop:
                    asked.set()
                if self.step == self.config.steps or stop:
                    break
                if self.processes.num_processes == 1 and asked.is_set():
                    break
                if self.step % self.config.checkpoint_every == 0:
                    self.write_checkpoint()
        except KeyboardInterrupt:
            # Only here when the polite way was not open. Half an update is no state to
            # go on from, so then the last checkpoint stays as it is.
            if self.updating:
                return
        self.write_checkpoint()

    def _listener_stops(self) -> bool:
        if self.on_step is None or not self.processes.is_main_process:
            return False
        state = StepState(
            step=self.step,
            steps=self.config.steps,
            tokens=self.tokens,
            seconds=self.seconds,
            loss=self.rows[-1]["loss"],
            model=self.model,
            rows=self.rows,
        )
        return self.on_step(state) is False

    def _advance(self, asked: bool, start: float) -> bool:
        """One update. Returns whether any process was asked to stop."""
        self.model.train()
        batch = self.batches(self.step)
        loss = self._backward(batch)
        loss, stop = self._share(loss, asked)
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss at step {self.step + 1} is {loss}. "
                "Try a lower learning rate or a longer warm-up."
            )
        if self.step == 0 and self.rows:
            self.rows[0]["loss"] = loss
        factor = self.config.lr_factor(self.step + 1)
        self._update(factor)
        self.tokens += batch.numel()
        self.seconds = time.perf_counter() - start
        self._add_row({"loss": loss, "lr": self.config.lr * factor})
        self.seconds = time.perf_counter() - start
        return stop

    @torch.enable_grad()  # the prelude of the notebooks switches gradients off
    def _backward(self, batch: Int[Tensor, "batch pos"]) -> Tensor:
        """Add this process's part of the gradient of the mean over the whole batch."""
        part = batch.tensor_split(self.processes.num_processes)
        mine = part[self.processes.process_index].to(self.device)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.dtype == "bfloat16"
        ):
            loss = next_token_loss(self.model, mine) * (len(mine) / len(batch))
        loss.backward()
        return loss.detach()

    def _share(self, loss: Tensor, asked: bool) -> tuple[float, bool]:
        """Sum gradients, losses and requests to stop over the processes."""
        if self.processes.num_processes == 1:
            return loss.item(), asked
        from accelerate.utils import reduce

        grads = [p.grad for p in self.model.parameters() if p.grad is not None]
        extra = torch.tensor([loss.item(), float(asked)], device=self.device)
        flat = torch.cat([*(grad.flatten() for grad in grads), extra])
        flat = reduce(flat, "sum")
        parts = flat.split([grad.numel() for grad in grads] + [2])
        for grad, part in zip(grads, parts[:-1], strict=True):
            grad.copy_(part.view_as(grad))
        return parts[-1][0].item(), bool(parts[-1][1] > 0)

    def _update(self, factor: float) -> None:
        if self.config.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.updating = True
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["full_lr"] * factor
            optimizer.step()
        self.step += 1
        self.updating = False

    def _add_row(self, measured: dict[str, float]) -> None:
        row = {"step": self.step, "tokens": self.tokens, "seconds": self.seconds}
        row |= measured
        if self.processes.is_main_process and self.config.probes_at(self.step):
            row |= self._probe()
        self.rows.append(row)

    @torch.no_grad()
    def _probe(self) -> dict[str, float]:
        self.model.eval()
        found = {}
        for name, probe in self.probes.items():
            value = probe(self.model)
            if isinstance(value, Mapping):
                found |= {f"{name}.{key}": float(x) for key, x in value.items()}
            else:
                found[name] = float(value)
        return found

    def use_checkpoint(self, path: Path) -> None:
        """Go on from `path` if it is there, and write to it from now on."""
        self.checkpoint = path
        self.identity = _identity(self.model, self.batches, self.config)
        if not path.exists():
            return
        saved = _read_checkpoint(path)
        _must_be_same_run(self.identity, saved, path, _weights_digest(self.model))
        self.model.load_state_dict(saved["model"])
        for optimizer, state in zip(self.optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        self.identity = saved["identity"]
        self.step, self.tokens = saved["step"], saved["tokens"]
        self.seconds, self.rows = saved["seconds"], saved["rows"]
        self.dtype = saved["dtype"]

    def write_checkpoint(self) -> None:
        if self.checkpoint is None or not self.processes.is_main_process:
            return
        _write_checkpoint(
            self.checkpoint,
            {
                "identity": self.identity,
                "now": _weights_digest(self.model),
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
                "rows": self.rows,
                "dtype": self.dtype,
            },
        )


def _optimizers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices in `layers` and AdamW besides."""
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not trainable:
        raise TrainingError("No parameter of this model requires a gradient.")
    hidden = {
        name
        for name, parameter in trainable.items()
        if config.optimizer == "muon"
        and name.startswith("layers.")
        and parameter.ndim == 2
    }
    rest = [p for name, p in trainable.items() if name not in hidden]
    found: list[torch.optim.Optimizer] = []
    if rest:
        adamw = torch.optim.AdamW(
            rest,
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
            fused=True,
        )
        found.append(adamw)
    if hidden:
        matrices = [trainable[name] for name in trainable if name in hidden]
        found.append(
            Muon(matrices, lr=config.muon_lr, weight_decay=config.weight_decay)
        )
    for optimizer in found:
        for group in optimizer.param_groups:
            group["full_lr"] = group["lr"]
    return found


def _faster_dtype(device: torch.device) -> str:
    """The dtype in which this device multiplies faster, bfloat16 if 1.5 times so."""

    def seconds(dtype: torch.dtype) -> float:
        a = torch.ones(512, 512, device=device, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            for _ in range(4):
                b = a @ a
            b[0, 0].item()  # waits for the device
            times.append(time.perf_counter() - start)
        return min(times)

    try:
        gain = seconds(torch.float32) / seconds(torch.bfloat16)
    except (RuntimeError, TypeError):
        return "float32"
    return "bfloat16" if gain > 1.5 else "float32"


# Interrupts and what is shown


@contextmanager
def asking_to_stop() -> Iterator[threading.Event]:
    """An event that the first interrupt sets; the second interrupt is an ordinary one.

    Signals reach only the main thread, elsewhere the event is set by nobody.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def on_interrupt(signum, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous or signal.SIG_DFL)


class _Display:
    """A progress bar in a notebook or terminal, and a line every 30 s elsewhere."""

    def __init__(self, loop: _Loop, wanted: bool):
        self.loop = loop
        self.wanted = wanted and loop.processes.is_main_process
        self.first = (loop.step, loop.tokens, loop.seconds)
        self.bar = None
        self.line_due = time.monotonic() + 30

    def __enter__(self) -> "_Display":
        lively = sys.stderr.isatty() or "ipykernel" in sys.modules
        if self.wanted and lively:
            steps = self.loop.config.steps
            self.bar = tqdm(
                total=steps, initial=self.loop.step, unit="step", desc="Training"
            )
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, row: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(self._text(row), refresh=False)
            self.bar.update()
        elif self.wanted and time.monotonic() > self.line_due:
            self.line_due = time.monotonic() + 30
            step, steps = row["step"], self.loop.config.steps
            text = f"step {step}/{steps}, {self._text(row)}, {self._left(row)} left"
            print(text, file=sys.stderr, flush=True)

    def _text(self, row: dict[str, float]) -> str:
        seconds = max(self.loop.seconds - self.first[2], 1e-9)
        rate = (row["tokens"] - self.first[1]) / seconds
        return f"loss {row['loss']:.3f} nats, {rate:,.0f} tokens/s"

    def _left(self, row: dict[str, float]) -> str:
        done = row["step"] - self.first[0]
        per_step = (self.loop.seconds - self.first[2]) / done
        return tqdm.format_interval(per_step * (self.loop.config.steps - row["step"]))


# Checkpoints


def _identity(
    model: nn.Module, batches: BatchFunction, config: TrainConfig
) -> dict[str, Any]:
    """What must be the same for a checkpoint to belong to a run, in words."""
    choices = asdict(config)
    for name in FREE_FIELDS:
        del choices[name]
    source = re.sub(r" at 0x[0-9a-fA-F]+", "", repr(batches))
    return {name: repr(value) for name, value in choices.items()} | {
        "the model": repr(getattr(model, "config", type(model).__name__)),
        "the batch function": source,
        "the first batch": hashlib.sha256(batches(0).numpy().tobytes()).hexdigest(),
        "the weights it began with": _weights_digest(model),
    }


def _weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        flat = value.detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _must_be_same_run(
    identity: dict[str, Any], saved: dict[str, Any], path: Path, now: str
) -> None:
    there = dict(saved["identity"])
    if now == saved["now"]:
        # A cell that is run again after an interrupt brings the model as it was left.
        there["the weights it began with"] = now
    for name, value in identity.items():
        if there.get(name) != value:
            raise CheckpointError(
                f"The checkpoint {path} is of another run: {name} differs"
                + _both(there.get(name), value)
                + ". Give another path, or delete the file to train from the start."
            )


def _both(there: str | None, here: str) -> str:
    short = there is not None and max(len(there), len(here)) < 40
    return f" ({there} there, {here} here)" if short else ""


def _write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write so that at any moment `path` holds either the old or the new content."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    seal = hashlib.sha256(payload).hexdigest().encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(MAGIC + seal + payload)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def _read_checkpoint(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    if not data.startswith(MAGIC):
        raise CheckpointError(
            f"{path} is not a checkpoint of this trainer, or its beginning is damaged. "
            "Give another path, or delete the file to train from the start."
        )
    head = len(MAGIC) + 65
    seal, payload = data[len(MAGIC) : head - 1], data[head:]
    if hashlib.sha256(payload).hexdigest().encode() != seal:
        raise CheckpointError(
            f"The checkpoint {path} is damaged or was cut short. "
            "Delete the file to train from the start."
        )
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


# Records of finished runs


def save_run(run: Run, path: str | Path) -> None:
    """Write a run's weights (as float16) and history into one file for `replay`."""
    weights = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in run.model.state_dict().items()
    }
    about = {"history": run.history.to_json(orient="split"), "dtype": run.dtype}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file(weights, path, metadata=about)


def _replay(
    model: nn.Module,
    config: TrainConfig,
    path: Path,
    on_step: Callable[[StepState], bool | None] | None,
) -> Run:
    try:
        with safe_open(path, framework="pt") as file:
            about = file.metadata()
            weights = {key: file.get_tensor(key).float() for key in file.keys()}
        history = pd.read_json(io.StringIO(about["history"]), orient="split")
        model.load_state_dict(weights)
    except Exception as error:
        raise TrainingError(
            f"The record {path} is damaged or of another model. "
            "Delete the file, or set COURSE_TRAIN=short."
        ) from error
    rows = history.to_dict("records")
    for number, row in enumerate(rows, 1):
        state = StepState(
            step=int(row["step"]),
            steps=int(rows[-1]["step"]),
            tokens=int(row["tokens"]),
            seconds=row["seconds"],
            loss=row["loss"],
            model=model,
            rows=rows[:number],
        )
        if on_step is not None and on_step(state) is False:
            break
    return Run(model.eval(), config, history, True, about["dtype"], replayed=True)
