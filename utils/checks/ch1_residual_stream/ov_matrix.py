"""Chapter 1, `ov_matrix`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_ov_matrix(answer) -> None:
    answer = expect.weights_only(answer)
    for layer, head, seed, sizes in (
        (1, 2, 5, {"d_model": 10, "d_head": 4}),
        (0, 1, 6, {"d_model": 7, "d_head": 3}),
    ):
        model = random_model(2, seed, **sizes)
        size = model.cfg.d_model
        result = answer(model, layer, head)
        matrix = expect.tensor(result, source=size, destination=size)
        for source in (0, 2, 4):
            read, written = _attend_fully(model, layer, head, source)
            expect.close(
                read @ matrix,
                written,
                f"Head {layer}.{head} was made to attend only to position {source}. A "
                "row vector of the stream there, times your matrix, is not what the "
                "head writes.",
            )


def _attend_fully(model, layer: int, head: int, source: int):
    """The stream at one source and what the head writes when it sees only that."""
    tokens = torch.tensor(shared.MANY_TEXTS)

    def stare(pattern, hook):
        fixed = torch.zeros_like(pattern)
        fixed[..., source] = 1.0
        return fixed

    hooks = [
        (f"blocks.{layer}.attn.hook_pattern", stare),
        shared.silence_others(layer, head),
    ]
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.hook_attn_out"]
    seen = shared.watch(model, tokens, names, hooks)
    return seen[names[0]][:, source], seen[names[1]][:, -1]


def ov_transposed(model, layer, head):
    return (model.W_V[layer, head] @ model.W_O[layer, head]).T


def ov_in_paper_order(model, layer, head):
    return model.W_O[layer, head] @ model.W_V[layer, head]


def ov_swapped_indices(model, layer, head):
    return model.W_V[head, layer] @ model.W_O[head, layer]


def ov_first_layer(model, layer, head):
    return model.W_V[0, head] @ model.W_O[0, head]


def ov_whole_layer(model, layer, head):
    return (model.W_V[layer] @ model.W_O[layer]).sum(0)


def ov_full_circuit(model, layer, head):
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U


def ov_is_qk(model, layer, head):
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


CHECK = Check(
    name="ov_matrix",
    judge=judge_ov_matrix,
    hints=(
        "Follow a row vector of the stream: W_V makes it a value, and W_O writes the "
        "value back.",
        "`model.W_V[layer, head]` is [d_model, d_head] and `model.W_O[layer, head]` is "
        "[d_head, d_model]. The vector stands on the left, so W_V comes first.",
        "`FactoredMatrix(A, B)` holds the product A B without multiplying it out. "
        "Return `FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])`.",
    ),
    mistakes=(
        Mistake(
            "order of the paper",
            "The paper writes W_O W_V, for column vectors. In TransformerLens's shapes "
            "that product is [d_head, d_head] and maps values to values. Put W_V "
            "first.",
            ov_in_paper_order,
        ),
        Mistake(
            "transposed",
            "Your matrix is transposed: as it stands it acts on column vectors, as in "
            "the paper. Eigenvalues and rank would not notice. Here x @ W_OV should be "
            "what is written.",
            ov_transposed,
            swap=(
                "model.W_V[layer, head], model.W_O[layer, head]",
                "model.W_O[layer, head].T, model.W_V[layer, head].T",
            ),
        ),
        Mistake(
            "head before layer",
            "You used the layer as head and the head as layer. Weights are indexed "
            "`[layer, head]`.",
            ov_swapped_indices,
        ),
        Mistake(
            "always layer 0",
            "You took this head's namesake in layer 0, whatever `layer` says.",
            ov_first_layer,
        ),
        Mistake(
            "whole layer",
            "You summed over all heads of the layer. One head is wanted here.",
            ov_whole_layer,
        ),
        Mistake(
            "full OV circuit",
            "You included W_E and W_U. That is the full OV circuit of a later chapter; "
            "here the matrix maps stream to stream.",
            ov_full_circuit,
        ),
        Mistake(
            "the QK matrix",
            "This is W_Q W_K^T, which decides where the head looks. What it moves is "
            "decided by W_V and W_O.",
            ov_is_qk,
            swap=(
                "model.W_V[layer, head], model.W_O[layer, head]",
                "model.W_Q[layer, head], model.W_K[layer, head].T",
            ),
        ),
    ),
    passed=(
        "Checked by forcing a head to attend to one position only and comparing what "
        "it writes with your matrix at work, for two sizes. W_V and W_O never act "
        "apart, so their product is all there is to know."
    ),
)
