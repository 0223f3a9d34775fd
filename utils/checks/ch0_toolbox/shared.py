"""Chapter 0: what several of its judges need."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from utils.models.handmade import random_model

__all__ = ["TEXTS", "cases", "only_head", "record", "run_hooked", "shapes"]


# Rows of different texts; the start token opens each. In no case two axes are equally
# long, and from case to case every size of text and model changes.
TEXTS = (
    [[0, 5, 12, 5, 1, 7], [0, 3, 3, 9, 11, 2]],
    [[0, 8, 2, 2, 10]],
    [[0, 1, 6, 4, 4, 9, 1, 3], [0, 7, 12, 2, 8, 5, 5, 10], [0, 2, 9, 9, 3, 11, 6, 1]],
)
# Layer and head looked at, then layers, heads and width of a head of the model.
PLACES = ((0, 1, 2, 3, 4), (1, 2, 2, 3, 7), (1, 0, 3, 2, 5))


def cases(seed: int, scale: float = 1.0) -> Iterator[tuple]:
    """A model, tokens [batch, pos], a layer and a head, each time of another size."""
    for text, (layer, head, n_layers, n_heads, d_head) in zip(
        TEXTS, PLACES, strict=True
    ):
        model = random_model(
            n_layers, seed + n_heads, n_heads=n_heads, d_head=d_head, scale=scale
        )
        yield model, torch.tensor(text), layer, head


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
