"""Chapter 6, `smear_keys`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch6_training_dynamics import shared

__all__ = ["CHECK"]


def judge_smear_keys(answer) -> None:
    for seed, shape in ((0, (2, 5, 3, 4)), (1, (3, 6, 2, 7))):
        k, alpha = (
            shared.random(*shape, seed=seed),
            2 * shared.random(shape[2], seed=seed + 5),
        )
        names = dict(zip(("batch", "pos", "head", "d_head"), shape, strict=True))
        result = expect.tensor(answer(k, alpha), **names)
        expect.close(
            result[:, 0],
            k[:, 0],
            "The first position has no key before it, so its key should stay.",
        )
        expect.close(
            result, _smeared_by_hand(k, alpha), "Some keys do not match sums by hand."
        )


def _smeared_by_hand(k: Tensor, alpha: Tensor) -> Tensor:
    result = k.double().clone()
    for head, a in enumerate(alpha.tolist()):
        own = 1 / (1 + math.exp(-a))
        for j in range(1, k.shape[1]):
            mixed = own * k[:, j, head].double() + (1 - own) * k[:, j - 1, head]
            result[:, j, head] = mixed
    return result


def _mixed(k: Tensor, other: Tensor, alpha: Tensor) -> Tensor:
    own = alpha.sigmoid()[:, None]
    return own * k + (1 - own) * other


def smear_shares_swapped(k, alpha):
    before = torch.cat([k[:, :1], k[:, :-1]], 1)
    return _mixed(k, before, -alpha)


def smear_next(k, alpha):
    return _mixed(k, torch.cat([k[:, 1:], k[:, -1:]], 1), alpha)


def smear_around(k, alpha):
    return _mixed(k, k.roll(1, dims=1), alpha)


def smear_first_shrunk(k, alpha):
    before = torch.cat([torch.zeros_like(k[:, :1]), k[:, :-1]], 1)
    return _mixed(k, before, alpha)


def smear_without_sigmoid(k, alpha):
    before = torch.cat([k[:, :1], k[:, :-1]], 1)
    own = alpha[:, None]
    return own * k + (1 - own) * before


def smear_over_and_over(k, alpha):
    keys = [k[:, 0]]
    for j in range(1, k.shape[1]):
        keys.append(_mixed(k[:, j], keys[-1], alpha))
    return torch.stack(keys, 1)


def smear_heads(k, alpha):
    before = torch.cat([k[:, :, :1], k[:, :, :-1]], 2)
    return _mixed(k, before, alpha)


def smear_added(k, alpha):
    smeared = k.clone()
    smeared[:, 1:] += alpha.sigmoid()[:, None] * k[:, :-1]
    return smeared


CHECK = Check(
    name="smear_keys",
    judge=judge_smear_keys,
    hints=(
        "Line up two copies of the keys, one moved by a position, and mix them.",
        "`k[:, 1:]` are all keys but the first, `k[:, :-1]` the keys just before them. "
        "`alpha.sigmoid()[:, None]` has the shape [head, 1] and fits to the last two "
        "axes.",
        "`s = alpha.sigmoid()[:, None]`, `new = k.clone()`, then `new[:, 1:] = s * "
        "k[:, 1:] + (1 - s) * k[:, :-1]`.",
    ),
    mistakes=(
        Mistake(
            "shares swapped",
            "You swapped the shares: sigmoid(alpha) belongs to the key's own position, "
            "the rest to the one before.",
            smear_shares_swapped,
            swap=(
                "own * k[:, 1:] + (1 - own) * k[:, :-1]",
                "(1 - own) * k[:, 1:] + own * k[:, :-1]",
            ),
        ),
        Mistake(
            "the next key",
            "You mixed in the key **after** each position. That lets a head see the "
            "future.",
            smear_next,
        ),
        Mistake(
            "the last key",
            "Your first key was mixed with the last one, as `roll` does. The first "
            "position has no neighbour and stays as it is.",
            smear_around,
        ),
        Mistake(
            "first key shrunk",
            "Your first key was mixed with zeros. It should stay as it is.",
            smear_first_shrunk,
        ),
        Mistake(
            "no sigmoid",
            "You used alpha itself as the share. alpha can be any number; its sigmoid "
            "lies between 0 and 1.",
            smear_without_sigmoid,
            swap=("alpha.sigmoid()", "alpha"),
        ),
        Mistake(
            "smeared again and again",
            "You mixed in keys that were smeared already, so each key holds a bit of "
            "all before it. Use the old keys.",
            smear_over_and_over,
        ),
        Mistake(
            "along the heads",
            "You mixed neighbouring heads. The axes are [batch, pos, head, d_head].",
            smear_heads,
        ),
        Mistake(
            "added",
            "You added a part of the key before and kept the whole own key. The two "
            "shares add up to 1.",
            smear_added,
        ),
    ),
    passed=(
        "Checked key by key for two shapes with another alpha for each head. With this "
        "one change a key can say what stood just before it, which otherwise takes a "
        "whole layer."
    ),
)
