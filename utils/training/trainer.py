"""The trainer: a model, a function that gives batches, a configuration, and probes.

Chapters, the shipped models' recipes and the live panel call `train`. It knows nothing
of circuits: whatever is to be measured on the way comes in as a function.

The environment variable COURSE_TRAIN says how much training is done. Besides this file
only the command `train` and the live panel look at it. "full", the default, trains as
configured. "short" does 3 % of the steps (at least 10), so that a notebook runs quickly
under test. "replay" loads the record given as `train(..., replay=path)` when that file
exists, and is "short" otherwise.
"""

import io
import math
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd
import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor, nn

from utils.models.attention_only import AttentionOnlyTransformer
from utils.training.checkpoint import (
    BatchFunction,
    identity_of,
    must_be_same_run,
    read_checkpoint,
    weights_digest,
    write_checkpoint,
)
from utils.training.config import TrainConfig, TrainingError
from utils.training.display import Display, asking_to_stop
from utils.training.losses import unembedded_cross_entropy
from utils.training.optimizers import faster_dtype, optimizers_for

__all__ = ["Run", "StepState", "next_token_loss", "save_run", "train"]

Probe = Callable[[nn.Module], float | Mapping[str, float]]


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
    with asking_to_stop() as asked, Display(loop, progress) as display:
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
        self.optimizers = optimizers_for(self.model, self.config)
        self.dtype = self.config.dtype
        if self.dtype == "auto":
            self.dtype = faster_dtype(self.device)

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
        self.identity = identity_of(self.model, self.batches, self.config)
        if not path.exists():
            return
        saved = read_checkpoint(path)
        must_be_same_run(self.identity, saved, path, weights_digest(self.model))
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
        write_checkpoint(
            self.checkpoint,
            {
                "identity": self.identity,
                "now": weights_digest(self.model),
                "model": self.model.state_dict(),
                "optimizers": [o.state_dict() for o in self.optimizers],
                "step": self.step,
                "tokens": self.tokens,
                "seconds": self.seconds,
                "rows": self.rows,
                "dtype": self.dtype,
            },
        )


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
