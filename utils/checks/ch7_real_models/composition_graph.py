"""Chapter 7, `composition_graph`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch7_real_models import shared

__all__ = ["CHECK"]

LATER = {
    "q": lambda w, at: w["W_Q"][at] @ w["W_K"][at].T,
    "k": lambda w, at: w["W_K"][at] @ w["W_Q"][at].T,
    "v": lambda w, at: w["W_V"][at] @ w["W_O"][at],
}


def judge_composition_graph(answer) -> None:
    for sizes in (
        dict(seed=0, n_layers=3, n_heads=2, n_groups=2, d_head=3),
        dict(seed=1, n_layers=2, n_heads=4, n_groups=4, d_model=9),
        dict(seed=2, n_layers=1, n_heads=3),
    ):
        weights = shared.made_up(**sizes)
        # All kinds first, so that a mistake shows in each of them.
        found = {kind: answer(weights, kind) for kind in LATER}
        for kind, result in found.items():
            _judge_one(result, weights, kind)
    weights = shared.made_up(3)
    _judge_one(answer(weights), weights, "k")


def _judge_one(result, weights, kind) -> None:
    layers, heads = weights["W_Q"].shape[:2]
    result = expect.tensor(
        result, from_layer=layers, from_head=heads, to_layer=layers, to_head=heads
    )
    expected = _by_hand(weights, kind)
    later = torch.ones(layers, layers).triu(1).bool()[:, None, :, None]
    expect.close(
        result.where(~later, 0),
        0 * result,
        "A head reads only what earlier layers wrote, so all other entries are 0.",
    )
    expect.close(
        result,
        expected,
        f"With kind '{kind}', some scores are not norms of products over products of "
        "norms.",
    )


def _by_hand(weights, kind, **change) -> Tensor:
    """Pair by pair from whole matrices, in float64; or with one thing wrong."""
    weights = {name: value.double() for name, value in weights.items()}
    layers, heads = weights["W_Q"].shape[:2]
    result = torch.zeros(layers, heads, layers, heads, dtype=torch.float64)
    for a in range(layers):
        for b in range(a + 1 - change.get("same_layer", 0), layers):
            for i in range(heads):
                for j in range(heads):
                    first = weights["W_V"][a, i] @ weights["W_O"][a, i]
                    second = LATER[kind](weights, (b, j))
                    if change.get("transposed"):
                        first = first.T
                    both = second @ first if change.get("reversed") else first @ second
                    size = first.norm() * second.norm()
                    if change.get("raw"):
                        size = 1.0
                    score = both.norm() / size
                    if change.get("adjacent") and b > a + 1:
                        score = 0.0
                    result[a, i, b, j] = score**2 if change.get("squared") else score
    return result


def not_divided(weights, kind="k"):
    return _by_hand(weights, kind, raw=True)


def squared(weights, kind="k"):
    return _by_hand(weights, kind, squared=True)


def later_first(weights, kind="k"):
    return _by_hand(weights, kind, reversed=True)


def same_layer_too(weights, kind="k"):
    return _by_hand(weights, kind, same_layer=1)


def neighbours_only(weights, kind="k"):
    return _by_hand(weights, kind, adjacent=True)


def queries_for_keys(weights, kind="k"):
    return _by_hand(weights, {"q": "k", "k": "q", "v": "v"}[kind])


def always_keys(weights, kind="k"):
    return _by_hand(weights, "k")


def transposed(weights, kind="k"):
    return _by_hand(weights, kind, transposed=True)


CHECK = Check(
    name="composition_graph",
    judge=judge_composition_graph,
    hints=(
        "The squared norm of a matrix M is the trace of M^T M. For M = V (O X) Y^T the "
        "trace can be turned until only d_head x d_head matrices are left.",
        "With `between = O @ X`, `gram_V = V.mT @ V` and `gram_Y = Y.mT @ Y` it is the "
        "sum over all entries of `(gram_V @ between) * (between @ gram_Y)`. X and Y "
        "are W_Q and W_K for queries, W_K and W_Q for keys, W_V and W_O.mT for values. "
        "The norms of both heads come in the same way.",
        "Loop over the earlier head; `between = W_O[layer, head] @ X[layer + 1:]` does "
        "all later heads at once. Norm of W_OV: `(gram_V * (W_O @ W_O.mT)).sum((-1, "
        "-2)).sqrt()`; of the later matrix: `((X.mT @ X) * gram_Y).sum((-1, -2))"
        ".sqrt()`.",
    ),
    mistakes=(
        Mistake(
            "not divided",
            "You did not divide by the norms, so large heads seem to compose with "
            "everybody.",
            not_divided,
        ),
        Mistake(
            "squared",
            "Your scores are squared. Take the root.",
            squared,
        ),
        Mistake(
            "later head first",
            "You multiplied in the wrong order. Row vectors meet the earlier head "
            "first.",
            later_first,
        ),
        Mistake(
            "same layer",
            "Heads of one layer do not read each other; those entries are 0.",
            same_layer_too,
        ),
        Mistake(
            "neighbours only",
            "You compared each layer with the next one only. A head reads what all "
            "earlier layers wrote.",
            neighbours_only,
        ),
        Mistake(
            "always keys",
            "Your function does not use `kind`.",
            always_keys,
        ),
        Mistake(
            "queries for keys",
            "Your 'q' and 'k' have changed places. For the keys the vector meets W_K "
            "first: W_QK^T = W_K W_Q^T.",
            queries_for_keys,
        ),
        Mistake(
            "transposed",
            "You transposed the earlier head's W_OV. What composes is what it writes, "
            "not what it reads.",
            transposed,
        ),
    ),
    passed=(
        "Checked pair by pair from whole matrices, in models of one, two and three "
        "layers. Done with d_head x d_head matrices, all 435 pairs of layers of a "
        "model of 30 take seconds."
    ),
)
