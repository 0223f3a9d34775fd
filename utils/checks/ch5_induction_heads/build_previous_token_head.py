"""Chapter 5, `build_previous_token_head`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, Wrong, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    orthonormal_rows,
)

__all__ = ["CHECK"]


def judge_build_previous_token_head(answer) -> None:
    for seed, d_vocab, n_ctx in ((0, 7, 12), (1, 9, 31)):
        d_model = 2 * d_vocab + n_ctx + 3
        W_E, W_pos, W_prev, _ = orthonormal_rows(d_model, d_model, seed).split(
            [d_vocab, n_ctx, d_vocab, 3]
        )
        circuits = shared.circuits(answer(W_E, W_pos, W_prev), d_model)
        tokens = shared.rows(d_vocab, d_vocab - 1, 3, batch=3, seed=seed)[:, :n_ctx]
        model = shared.from_circuits(W_E, W_pos, [circuits])
        _, cache = model.run_with_cache(tokens)
        _expect_previous(cache["pattern", 0][:, 0])
        expect.close(
            W_E.double() @ circuits[1],
            W_prev.double(),
            "W_E[t] @ W_OV should be W_prev[t], for every token.",
            atol=1e-3,
        )


def _expect_previous(pattern: Tensor) -> None:
    """Complain, naming a place, unless all but position 0 look one back."""
    before = pattern.diagonal(-1, 1, 2)
    if (before >= 0.99).all():
        return
    row, i = divmod(int(before.argmin()), before.shape[1])
    query = i + 1
    key = int(pattern[row, query].argmax())
    raise Wrong(
        f"Position {query} gives {before[row, i].item():.2f} of its attention to "
        f"position {query - 1}; it gives most, {pattern[row, query, key].item():.2f}, "
        f"to position {key}. At least 0.99 should go to the position just before."
    )


def build_previous_swapped(W_E, W_pos, W_prev):
    return 30.0 * W_pos[:-1].T @ W_pos[1:], W_E.T @ W_prev


def build_previous_current(W_E, W_pos, W_prev):
    return 30.0 * W_pos.T @ W_pos, W_E.T @ W_prev


def build_previous_flat(W_E, W_pos, W_prev):
    return W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev


def build_previous_ov_transposed(W_E, W_pos, W_prev):
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_prev.T @ W_E


def build_previous_same_slot(W_E, W_pos, W_prev):
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_E


def build_previous_moves_positions(W_E, W_pos, W_prev):
    W_OV = torch.zeros_like(W_E.T @ W_E)
    W_OV += W_pos[1:].T @ W_pos[:-1]
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_OV


def _on_a_frame(test):
    """A mistake's own test: `test(W_QK, W_OV, W_E, W_pos, W_prev)` on one frame."""

    def matches(answer) -> bool:
        sizes = [7, 12, 7, 3]
        parts = orthonormal_rows(sum(sizes), sum(sizes), 3).split(sizes)[:3]
        W_QK, W_OV = shared.circuits(answer(*parts), sum(sizes))
        return test(W_QK, W_OV, *parts)

    return matches


@_on_a_frame
def is_swapped(W_QK, W_OV, W_E, W_pos, W_prev):
    return shared.made_of(W_QK, W_pos[:-1].T @ W_pos[1:])


@_on_a_frame
def is_current(W_QK, W_OV, W_E, W_pos, W_prev):
    return shared.made_of(W_QK, W_pos.T @ W_pos)


@_on_a_frame
def is_flat(W_QK, W_OV, W_E, W_pos, W_prev):
    found = shared.factors(W_QK, W_pos[1:].T @ W_pos[:-1])
    return found is not None and 0 < found[0] < 10


@_on_a_frame
def is_ov_transposed(W_QK, W_OV, W_E, W_pos, W_prev):
    return shared.made_of(W_OV, W_prev.T @ W_E)


@_on_a_frame
def is_same_slot(W_QK, W_OV, W_E, W_pos, W_prev):
    return shared.made_of(W_OV, W_E.T @ W_E)


@_on_a_frame
def moves_positions(W_QK, W_OV, W_E, W_pos, W_prev):
    back, here = W_pos[1:].T @ W_pos[:-1], W_pos.T @ W_pos
    return shared.made_of(W_OV, back) or shared.made_of(W_OV, here)


CHECK = Check(
    name="build_previous_token_head",
    judge=judge_build_previous_token_head,
    hints=(
        "With rows at right angles, `a.T @ b` is a matrix that turns row k of `a` into "
        "row k of `b`, for all k at once.",
        "W_QK has to score W_pos[i] against W_pos[i - 1] highly and all else 0. W_OV "
        "has to turn W_E[t] into W_prev[t]. Softmax needs large scores to be sure: e "
        "to the power 30 leaves nothing for the rest.",
        "`W_QK = 30 * W_pos[1:].T @ W_pos[:-1]` and `W_OV = W_E.T @ W_prev`.",
    ),
    mistakes=(
        Mistake(
            "query and key swapped",
            "Your W_QK scores position i against i + 1, which the mask hides. Rows of "
            "W_QK belong to the query: W_pos[i] on the left, W_pos[i - 1] on the "
            "right.",
            build_previous_swapped,
            is_swapped,
            swap=("W_pos[1:].T @ W_pos[:-1]", "W_pos[:-1].T @ W_pos[1:]"),
        ),
        Mistake(
            "current token",
            "Your head attends to its own position. Shift one side by one.",
            build_previous_current,
            is_current,
        ),
        Mistake(
            "too flat",
            "The direction is right, but scores of 1 against 0 leave the softmax "
            "almost flat. Multiply W_QK by something like 30.",
            build_previous_flat,
            is_flat,
        ),
        Mistake(
            "OV transposed",
            "Your W_OV turns W_prev into W_E. Vectors are rows here, so what goes in "
            "stands on the left: W_E.T @ W_prev.",
            build_previous_ov_transposed,
            is_ov_transposed,
            swap=("W_E.T @ W_prev", "W_prev.T @ W_E"),
        ),
        Mistake(
            "into the token's own place",
            "Your W_OV writes the previous token where the current token stands, and "
            "the two become indistinguishable. Write it into the directions W_prev.",
            build_previous_same_slot,
            is_same_slot,
        ),
        Mistake(
            "moves positions",
            "Your W_OV moves position vectors. Values hold none; what has to be moved "
            "is the token.",
            build_previous_moves_positions,
            moves_positions,
        ),
    ),
    passed=(
        "Checked by putting the head into a model: two sizes, rotated directions. "
        "From position 1 on every position looks one back, and each token arrives in "
        "its new directions."
    ),
)
