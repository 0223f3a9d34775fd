"""How to train: steps, rates, optimiser, and how often to look.

The trainer reads it; recipes, chapters and tests write one.
"""

import math
from dataclasses import dataclass

__all__ = ["TrainConfig", "TrainingError"]


class TrainingError(RuntimeError):
    """Training cannot go on; the message says why and what to change."""


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
