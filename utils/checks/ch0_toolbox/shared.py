"""Chapter 0: what several of its judges need."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["LAYER_AND_HEAD", "TOKENS", "only_head", "record", "run_hooked", "shapes"]


# Rows of different texts; the start token opens each. No two axes are equally long.
TOKENS = [[0, 5, 12, 5, 1, 7], [0, 3, 3, 9, 11, 2]]


LAYER_AND_HEAD = ((0, 1), (1, 2), (1, 0))


def shapes(tokens: Tensor, **more: int) -> dict[str, int]:
    return {"batch": tokens.shape[0], "pos": tokens.shape[1], **more}


def run_hooked(model, tokens: Tensor, hooks: dict[str, Callable]) -> Tensor:
    """Logits with `change(activation)` applied at each named place."""
    pairs = [
        (name, lambda activation, hook, change=change: change(activation))
        for name, change in hooks.items()
    ]
    return model.run_with_hooks(tokens, fwd_hooks=pairs)


def record(model, tokens: Tensor, name: str) -> Tensor:
    """One activation of an undisturbed run."""
    return model.run_with_cache(tokens)[1][name].clone()


def only_head(model, tokens: Tensor, layer: int, head: int) -> Tensor:
    """What the layer adds when its other heads are switched off."""
    found = []

    def silence_others(z: Tensor) -> Tensor:
        kept = torch.zeros_like(z)
        kept[:, :, head] = z[:, :, head]
        return kept

    def note(out: Tensor) -> Tensor:
        found.append(out.clone())
        return out

    prefix = f"blocks.{layer}"
    hooks = {f"{prefix}.attn.hook_z": silence_others, f"{prefix}.hook_attn_out": note}
    run_hooked(model, tokens, hooks)
    return found[0]
