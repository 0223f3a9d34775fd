"""Chapter 1: what several of its judges need."""

import torch
from torch import Tensor

__all__ = [
    "FULL_TEXTS",
    "MANY_TEXTS",
    "ONE_TEXT",
    "TEXTS",
    "components",
    "final_name",
    "read_and_scores",
    "right_components",
    "silence_others",
    "watch",
]


TEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6]]


ONE_TEXT = [[0, 7, 3, 12]]


# As long as the models can read.
FULL_TEXTS = [[0, 2, 8, 8, 1, 12, 3, 5, 9, 2, 10], [0, 6, 11, 1, 4, 4, 7, 2, 5, 10, 3]]


MANY_TEXTS = [[0, *range(1, 7)], [0, 12, 11, 10, 9, 8, 7], [0, 5, 5, 2, 9, 1, 12]]


def silence_others(layer: int, head: int) -> tuple:
    """A hook that leaves only one head of a layer."""

    def keep_one(z, hook):
        kept = torch.zeros_like(z)
        kept[:, :, head] = z[:, :, head]
        return kept

    return (f"blocks.{layer}.attn.hook_z", keep_one)


def watch(model, tokens, names, hooks=()) -> dict[str, Tensor]:
    """Activations of a run with hooks, in float64."""
    seen = {}

    def keep(name):
        return (name, lambda value, hook: seen.update({name: value.double().clone()}))

    with torch.no_grad():
        model.run_with_hooks(
            tokens, fwd_hooks=[*hooks, *(keep(name) for name in names)]
        )
    return seen


def _added_by_head(model, tokens, layer: int, head: int) -> Tensor:
    """What a layer writes while all its other heads are silent."""
    name = f"blocks.{layer}.hook_attn_out"
    return watch(model, tokens, [name], [silence_others(layer, head)])[name]


def components(model, tokens) -> Tensor:
    parts = [watch(model, tokens, ["hook_embed"])["hook_embed"]]
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            parts.append(_added_by_head(model, tokens, layer, head))
    return torch.stack(parts)


def final_name(model) -> str:
    return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"


def _head_parts(model, tokens, cache) -> list[Tensor]:
    """[batch, pos, d_model] of every head, in order."""
    return [
        cache[f"blocks.{layer}.attn.hook_z"][:, :, head] @ model.W_O[layer, head]
        for layer in range(model.cfg.n_layers)
        for head in range(model.cfg.n_heads)
    ]


def right_components(model, tokens) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    return torch.stack([cache["hook_embed"], *_head_parts(model, tokens, cache)])


def read_and_scores(model, tokens, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """What W_Q and W_K read at every position, and the model's own scores."""
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.attn.hook_attn_scores"]
    seen = watch(model, tokens, names)
    placed = seen[names[0]] + model.W_pos[: tokens.shape[1]]
    return placed, seen[names[1]][:, head]
