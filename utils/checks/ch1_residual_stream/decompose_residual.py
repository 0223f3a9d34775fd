"""Chapter 1, `decompose_residual`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_decompose_residual(answer) -> None:
    for texts, n_layers, n_heads, d_model, seed in (
        (shared.TEXTS, 2, 3, 10, 0),
        (shared.ONE_TEXT, 1, 6, 9, 1),
        (shared.FULL_TEXTS, 3, 2, 8, 2),
    ):
        tokens = torch.tensor(texts)
        model = random_model(n_layers, seed, n_heads=n_heads, d_model=d_model)
        result = answer(model, tokens)
        batch, pos = tokens.shape
        sizes = {"batch": batch, "pos": pos, "d_model": d_model}
        parts = expect.tensor(result, component=1 + n_layers * n_heads, **sizes)
        name = shared.final_name(model)
        expect.close(
            parts.sum(0),
            shared.watch(model, tokens, [name])[name],
            "Your components do not sum to the stream after the last layer.",
        )
        expect.close(
            parts,
            shared.components(model, tokens),
            "The sum is right, but some component is not what that head adds when all "
            "the others of its layer are silent.",
        )


def parts_by_layer(model, tokens):
    _, cache = model.run_with_cache(tokens)
    layers = range(model.cfg.n_layers)
    outs = [cache[f"blocks.{layer}.hook_attn_out"] for layer in layers]
    return torch.stack([cache["hook_embed"], *outs])


def parts_without_embedding(model, tokens):
    return shared.right_components(model, tokens)[1:]


def parts_with_positions(model, tokens):
    right = shared.right_components(model, tokens)
    positions = model.W_pos[: tokens.shape[1]].expand_as(right[0])
    return torch.cat([right[:1], positions[None], right[1:]])


def parts_with_positions_in_embedding(model, tokens):
    right = shared.right_components(model, tokens)
    placed = right[0] + model.W_pos[: tokens.shape[1]]
    return torch.cat([placed[None], right[1:]])


def parts_embedding_last(model, tokens):
    return shared.right_components(model, tokens).roll(-1, dims=0)


def parts_running_total(model, tokens):
    return shared.right_components(model, tokens).cumsum(0)


def parts_head_major(model, tokens):
    right = shared.right_components(model, tokens)
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    swapped = right[1:].unflatten(0, (layers, heads)).transpose(0, 1).flatten(0, 1)
    return torch.cat([right[:1], swapped])


def parts_without_pattern(model, tokens):
    _, cache = model.run_with_cache(tokens)
    parts = [
        cache[f"blocks.{layer}.attn.hook_v"][:, :, head] @ model.W_O[layer, head]
        for layer in range(model.cfg.n_layers)
        for head in range(model.cfg.n_heads)
    ]
    return torch.stack([cache["hook_embed"], *parts])


CHECK = Check(
    name="decompose_residual",
    judge=judge_decompose_residual,
    hints=(
        "Run the model once with its cache. The embedding is in there as it is. What "
        "a head adds is its z, the weighted sum of its values, times its own W_O.",
        "The cache has `hook_embed` [batch, pos, d_model] and, for layer l, "
        "`blocks.{l}.attn.hook_z` [batch, pos, head, d_head]. `model.W_O[l]` is "
        "[head, d_head, d_model]. Keep the head axis: no sum over it.",
        "Start with `parts = [cache['hook_embed'][None]]`. For each layer append "
        "`einsum(z, model.W_O[layer], 'batch pos head d_head, head d_head d_model -> "
        "head batch pos d_model')`. Return `torch.cat(parts)`.",
    ),
    mistakes=(
        Mistake(
            "by layer",
            "You have one component per layer. The heads of a layer write on their "
            "own, and their sum is what the layer adds, so give each head its entry.",
            parts_by_layer,
        ),
        Mistake(
            "no embedding",
            "The token embedding is missing. The stream does not start at zero: the "
            "embedding is its first component.",
            parts_without_embedding,
            swap=('parts = [cache["hook_embed"][None]]', "parts = []"),
        ),
        Mistake(
            "positions in the stream",
            "You counted the position vectors as a component. In this model they are "
            "added only to what W_Q and W_K read and never enter the stream.",
            parts_with_positions,
        ),
        Mistake(
            "positions in the embedding",
            "Your component 0 holds the position vectors too. In this model they are "
            "added only to what W_Q and W_K read: component 0 is `hook_embed` alone.",
            parts_with_positions_in_embedding,
        ),
        Mistake(
            "embedding last",
            "The embedding is component 0; yours stands at the end.",
            parts_embedding_last,
        ),
        Mistake(
            "running total",
            "These are the stream after each component. What each component adds is "
            "the difference between two of them.",
            parts_running_total,
        ),
        Mistake(
            "head before layer",
            "The heads are in another order: yours has 1.0 right after 0.0. All heads "
            "of layer 0 come first, then those of layer 1.",
            parts_head_major,
        ),
        Mistake(
            "no attention",
            "You sent each position's own values through W_O. A head first mixes the "
            "values of all positions with its attention pattern; z holds that mixture.",
            parts_without_pattern,
            swap=("hook_z", "hook_v"),
        ),
    ),
    passed=(
        "Checked on models with one to three layers: the components sum to the final "
        "stream, and each head's entry is what its layer writes while all other heads "
        "of that layer are silent. It works because every layer only adds."
    ),
)
