"""Chapter 7, `grouped_heads`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch7_real_models import shared

__all__ = ["CHECK"]


def judge_grouped_heads(answer) -> None:
    for sizes in (
        dict(seed=0, n_heads=6, n_groups=2),
        dict(seed=1, n_heads=4, n_groups=4, n_layers=1),
        dict(seed=2, n_heads=6, n_groups=3, n_layers=3, d_head=4),
        dict(seed=3, n_heads=5, n_groups=1),
    ):
        weights = shared.made_up(**sizes)
        n_layers, n_heads = weights["W_Q"].shape[:2]
        shapes = {
            name: (n_layers, n_heads, *weights[name].shape[2:])
            for name in shared.GROUPED
        }
        result = answer(shared.copied(weights))
        shared.names_and_shapes(result, weights, shapes)
        size = n_heads // sizes["n_groups"]
        for name, value in weights.items():
            if name not in shared.GROUPED:
                expect.true(
                    torch.equal(torch.as_tensor(result[name]), value),
                    f"{name} belongs to no group and should stay as it is.",
                )
                continue
            for head in range(n_heads):
                expect.close(
                    torch.as_tensor(result[name])[:, head],
                    value[:, head // size],
                    f"{name} of head {head} is not that of group {head // size}, with "
                    f"{sizes['n_groups']} groups of {size} heads.",
                )
    # Last, so that a known mistake has shown itself in the cases above.
    shared.unchanged(answer, weights)


def _with(weights, change, names=shared.GROUPED):
    times = weights["W_Q"].shape[1] // weights["W_K"].shape[1]
    return weights | {name: change(weights[name], times) for name in names}


def _in_turn(value, times):
    return value.repeat(1, times, *[1] * (value.dim() - 2))


def groups_in_turn(weights):
    return _with(weights, _in_turn)


def keys_only(weights):
    return _with(weights, lambda v, n: v.repeat_interleave(n, 1), ("W_K", "b_K"))


def matrices_only(weights):
    return _with(weights, lambda v, n: v.repeat_interleave(n, 1), ("W_K", "W_V"))


def once_for_each_head(weights):
    heads = weights["W_Q"].shape[1]
    return _with(weights, lambda v, n: v.repeat_interleave(heads, 1))


def as_often_as_groups(weights):
    groups = weights["W_K"].shape[1]
    return _with(weights, lambda v, n: v.repeat_interleave(groups, 1))


def divided_by_groups(weights):
    heads, groups = weights["W_Q"].shape[1], weights["W_K"].shape[1]
    return _with(weights, lambda v, n: v[:, torch.arange(heads) // groups])


def along_the_layers(weights):
    return _with(weights, lambda v, n: v.repeat_interleave(n, 0))


CHECK = Check(
    name="grouped_heads",
    judge=judge_grouped_heads,
    hints=(
        "Write down for six heads in two groups which group each head reads: 0, 0, 0, "
        "1, 1, 1. Each entry of W_K is needed that often, one after the other.",
        "`repeat_interleave(n, dim=1)` writes each entry n times in a row; `repeat` "
        "would go through all groups and begin anew.",
        '`n = weights["W_Q"].shape[1] // weights["W_K"].shape[1]`, then '
        "`weights | {name: weights[name].repeat_interleave(n, dim=1) for name in "
        '("W_K", "b_K", "W_V", "b_V")}`.',
    ),
    mistakes=(
        Mistake(
            "groups in turn",
            "Your heads take the groups in turn: 0, 1, 0, 1. Heads of one group stand "
            "beside each other: 0, 0, 1, 1.",
            groups_in_turn,
        ),
        Mistake(
            "keys only",
            "You expanded the keys. The values are shared in the same way.",
            keys_only,
            swap=('("W_K", "b_K", "W_V", "b_V")', '("W_K", "b_K")'),
        ),
        Mistake(
            "biases forgotten",
            "The matrices are expanded, their biases b_K and b_V are not.",
            matrices_only,
            swap=('("W_K", "b_K", "W_V", "b_V")', '("W_K", "W_V")'),
        ),
        Mistake(
            "too often",
            "You repeated each group once for every head of the layer. A group serves "
            "only its own heads: their number is heads divided by groups.",
            once_for_each_head,
        ),
        Mistake(
            "as often as there are groups",
            "You repeated each group as often as there are groups. It has to stand "
            "once for each of its heads: heads divided by groups.",
            as_often_as_groups,
        ),
        Mistake(
            "divided by the number of groups",
            "You divided a head's number by the number of groups. The group of head h "
            "is h // (heads per group), and that is heads divided by groups.",
            divided_by_groups,
        ),
        Mistake(
            "along the layers",
            "You repeated along the layers. The heads are the second axis.",
            along_the_layers,
        ),
    ),
    passed=(
        "Checked for 1, 2, 3 and 4 groups. Sharing saves memory when a model writes "
        "text, because the keys and values of all earlier tokens have to be kept. For "
        "the circuits nothing changes: each head still has one W_QK and one W_OV."
    ),
)
