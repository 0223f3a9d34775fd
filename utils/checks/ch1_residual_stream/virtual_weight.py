"""Chapter 1, `virtual_weight`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_virtual_weight(answer) -> None:
    answer = expect.weights_only(answer)
    # All are asked before any is judged: one call cannot tell which input is ignored.
    cases = []
    for start, end, which, d_head, seed in (
        ((0, 2), (1, 0), "k", 4, 18),
        ((0, 1), (1, 2), "q", 3, 19),
        ((1, 0), (2, 1), "v", 4, 20),
        ((0, 2), (2, 1), "k", 5, 21),
    ):
        model = random_model(3, seed, d_head=d_head)
        result = answer(model, start, end, which)
        cases.append((model, start, end, which, result))
    for model, start, end, which, result in cases:
        d_head = model.cfg.d_head
        weight = expect.tensor(result, d_model=10, d_head=d_head)
        read, change = _through(model, start, end, which)
        expect.close(
            read @ weight,
            change,
            f"Head {start[0]}.{start[1]} was made to attend to each position itself. "
            f"What this adds to the {which} of head {end[0]}.{end[1]} is not the "
            "stream times your matrix.",
            atol=1e-4,
        )


def _through(model, start, end, which: str) -> tuple[Tensor, Tensor]:
    """The stream an earlier head reads, and what it changes in a later head's input.

    Layers between the two are silenced, so that only the direct way is left.
    """
    tokens = torch.tensor(shared.MANY_TEXTS)
    hooks = [
        (f"blocks.{layer}.hook_attn_out", lambda out, hook: torch.zeros_like(out))
        for layer in range(start[0] + 1, end[0])
    ]
    layer, head = start

    def attend_to_self(pattern, hook):
        return torch.eye(pattern.shape[-1]).expand_as(pattern).clone()

    def nothing(z, hook):
        return torch.zeros_like(z)

    here = f"blocks.{layer}.attn."
    on = [(here + "hook_pattern", attend_to_self), shared.silence_others(layer, head)]
    off = [(here + "hook_z", nothing)]
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{end[0]}.attn.hook_{which}"]
    with_head = shared.watch(model, tokens, names, hooks + on)
    without = shared.watch(model, tokens, names, hooks + off)
    change = (with_head[names[1]] - without[names[1]])[:, :, end[1]]
    return with_head[names[0]], change


def _reader(model, to_head, which):
    return {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[which][to_head]


def _ov(model, head):
    return model.W_V[head] @ model.W_O[head]


def weight_always_key(model, from_head, to_head, input):
    return _ov(model, from_head) @ _reader(model, to_head, "k")


def weight_always_query(model, from_head, to_head, input):
    return _ov(model, from_head) @ _reader(model, to_head, "q")


def weight_always_value(model, from_head, to_head, input):
    return _ov(model, from_head) @ _reader(model, to_head, "v")


def weight_into_layer_0(model, from_head, to_head, input):
    return _ov(model, from_head) @ _reader(model, (0, to_head[1]), input)


def weight_from_layer_0(model, from_head, to_head, input):
    return _ov(model, (0, from_head[1])) @ _reader(model, to_head, input)


def weight_q_for_k(model, from_head, to_head, input):
    other = {"q": "k", "k": "q", "v": "v"}[input]
    return _ov(model, from_head) @ _reader(model, to_head, other)


def weight_heads_swapped(model, from_head, to_head, input):
    return _ov(model, to_head) @ _reader(model, from_head, input)


def weight_without_value(model, from_head, to_head, input):
    return model.W_O[from_head] @ _reader(model, to_head, input)


def weight_ov_transposed(model, from_head, to_head, input):
    return _ov(model, from_head).T @ _reader(model, to_head, input)


def weight_reader_only(model, from_head, to_head, input):
    return _reader(model, to_head, input)


def weight_own_ov(model, from_head, to_head, input):
    return _ov(model, to_head) @ _reader(model, to_head, input)


def weight_whole_pair(model, from_head, to_head, input):
    qk = model.W_Q[to_head] @ model.W_K[to_head].T
    pair = {"q": qk, "k": qk.T, "v": _ov(model, to_head)}[input]
    return _ov(model, from_head) @ pair


CHECK = Check(
    name="virtual_weight",
    judge=judge_virtual_weight,
    hints=(
        "Follow a row vector: the earlier head reads it and writes something into the "
        "stream. The later head's W_Q, W_K or W_V reads that.",
        "Two steps, two matrices: first the W_OV of the earlier head, then one of "
        "`model.W_Q`, `model.W_K`, `model.W_V` of the later head.",
        '`reads = {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[input]`, then '
        "`ov_matrix(model, *from_head) @ reads[to_head]` with `to_head` a tuple.",
    ),
    mistakes=(
        Mistake(
            "always the key",
            "You used W_K whatever `input` says. A head has three inputs, and an "
            "earlier head can feed each of them.",
            weight_always_key,
        ),
        Mistake(
            "always the query",
            "You used W_Q whatever `input` says. A head has three inputs, and an "
            "earlier head can feed each of them.",
            weight_always_query,
        ),
        Mistake(
            "always the value",
            "You used W_V whatever `input` says. A head has three inputs, and an "
            "earlier head can feed each of them.",
            weight_always_value,
        ),
        Mistake(
            "always layer 0",
            "You took the reading matrix from layer 0. It belongs to `to_head`, whose "
            "layer is its first number.",
            weight_into_layer_0,
        ),
        Mistake(
            "always from layer 0",
            "You took the W_OV of the earlier head from layer 0. It belongs to "
            "`from_head`, whose layer is its first number: any layer before the later "
            "head's can write to it.",
            weight_from_layer_0,
        ),
        Mistake(
            "Q and K exchanged",
            'You used W_K for "q" and W_Q for "k".',
            weight_q_for_k,
            swap=(
                '{"q": model.W_Q, "k": model.W_K,',
                '{"q": model.W_K, "k": model.W_Q,',
            ),
        ),
        Mistake(
            "heads swapped",
            "You sent the later head's output into the earlier head. Information in "
            "the stream only moves forward through the layers.",
            weight_heads_swapped,
        ),
        Mistake(
            "without W_V",
            "You started at the earlier head's values, which gives [d_head, d_head]. "
            "Here the start is the stream that the head reads, so W_V comes in front.",
            weight_without_value,
        ),
        Mistake(
            "OV transposed",
            "The W_OV of the earlier head is transposed. A row vector goes through "
            "W_V first and then through W_O.",
            weight_ov_transposed,
        ),
        Mistake(
            "only the reader",
            "This is how the later head reads the stream. What the earlier head does "
            "before is missing.",
            weight_reader_only,
        ),
        Mistake(
            "OV of the later head",
            "You used the W_OV of the later head itself. It comes from `from_head`.",
            weight_own_ov,
            swap=("*from_head", "*to_head"),
        ),
        Mistake(
            "whole circuit",
            "You multiplied by the later head's whole QK or OV matrix. Here it is only "
            "the reading half: W_Q, W_K or W_V.",
            weight_whole_pair,
        ),
    ),
    passed=(
        "Checked by silencing the earlier head and measuring how the later head's "
        "query, key or value changes, with a layer in between and without one. Two "
        "heads that never meet are joined by a matrix, because both use the stream."
    ),
)
