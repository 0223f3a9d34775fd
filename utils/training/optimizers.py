"""The optimisers of a run, and the number format that is faster here."""

import time

import torch
from torch import nn

from utils.training.config import TrainConfig, TrainingError
from utils.training.muon import Muon

__all__ = ["faster_dtype", "optimizers_for"]


def optimizers_for(
    model: nn.Module, config: TrainConfig
) -> list[torch.optim.Optimizer]:
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


def faster_dtype(device: torch.device) -> str:
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
