"""Checkpoints: files from which an interrupted run goes on, and only that run.

The trainer writes and reads them. A checkpoint holds everything that the next step
depends on, with a checksum, and says to which run it belongs.
"""

import hashlib
import io
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from utils.text.whole import write_whole
from utils.training.config import TrainConfig

__all__ = [
    "BatchFunction",
    "CheckpointError",
    "identity_of",
    "must_be_same_run",
    "read_checkpoint",
    "weights_digest",
    "write_checkpoint",
]

BatchFunction = Callable[[int], Int[Tensor, "batch pos"]]


MAGIC = b"circuits-course checkpoint 1\n"


# Choices that say where and how often, and do not touch the weights.
FREE_FIELDS = ("device", "checkpoint_every", "probe_every")


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used for this run; the message says why."""


def identity_of(
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
        "the weights it began with": weights_digest(model),
    }


def weights_digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        flat = value.detach().cpu().contiguous().view(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def must_be_same_run(
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


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write so that at any moment `path` holds either the old or the new content."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    payload = buffer.getvalue()
    seal = hashlib.sha256(payload).hexdigest().encode() + b"\n"
    write_whole(path, MAGIC + seal + payload)


def read_checkpoint(path: Path) -> dict[str, Any]:
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
