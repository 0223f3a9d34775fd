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
        begin = 0 if change.get("every_pair") else a + 1 - change.get("same_layer", 0)
        for b in range(begin, layers):
            for i in range(heads):
                for j in range(heads):
                    first = weights["W_V"][a, i] @ weights["W_O"][a, i]
                    second = LATER[kind](weights, (b, j))
                    if change.get("one_factor"):
                        second = weights[f"W_{kind.upper()}"][b, j]
                    if change.get("later_turned"):
                        second = second.T
                    if change.get("values_turned") and kind == "v":
                        second = second.T
                    if change.get("transposed"):
                        first = first.T
                    both = second @ first if change.get("reversed") else first @ second
                    size = first.norm() * second.norm()
                    if change.get("raw"):
                        size = 1.0
                    if change.get("one_size"):
                        size = (first, second)[change["one_size"] == "later"].norm()
                    if change.get("above_squared"):
                        size = size / both.norm()
                    if change.get("size_squared"):
                        size = size**2
                    if change.get("factors"):
                        size = _sizes_of_factors(weights, kind, (a, i), (b, j))
                    score = both.norm() / size
                    if change.get("largest"):
                        score = _spectral(both) / _spectral(first) / _spectral(second)
                    if change.get("above_chance"):
                        score = score - first.shape[0] ** -0.5
                    if change.get("adjacent") and b > a + 1:
                        score = 0.0
                    result[a, i, b, j] = score**2 if change.get("squared") else score
    return result


def _spectral(matrix: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(matrix, ord=2)


def _sizes_of_factors(weights, kind, one, two) -> Tensor:
    """The product of the norms of the four factors."""
    later = {"q": ("W_Q", "W_K"), "k": ("W_K", "W_Q"), "v": ("W_V", "W_O")}[kind]
    factors = [weights["W_V"][one], weights["W_O"][one]]
    factors += [weights[name][two] for name in later]
    return torch.stack([factor.norm() for factor in factors]).prod()


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


def keys_as_queries(weights, kind="k"):
    return _by_hand(weights, {"q": "q", "k": "q", "v": "v"}[kind])


def one_factor_of_the_later(weights, kind="k"):
    return _by_hand(weights, kind, one_factor=True)


def divided_by_the_earlier(weights, kind="k"):
    return _by_hand(weights, kind, one_size="earlier")


def divided_by_the_later(weights, kind="k"):
    return _by_hand(weights, kind, one_size="later")


def always_keys(weights, kind="k"):
    return _by_hand(weights, "k")


def transposed(weights, kind="k"):
    return _by_hand(weights, kind, transposed=True)


def every_pair(weights, kind="k"):
    return _by_hand(weights, kind, every_pair=True)


def from_and_to_swapped(weights, kind="k"):
    return _by_hand(weights, kind).permute(2, 3, 0, 1)


def divided_twice(weights, kind="k"):
    return _by_hand(weights, kind, size_squared=True)


def product_squared(weights, kind="k"):
    return _by_hand(weights, kind, above_squared=True)


def later_turned(weights, kind="k"):
    return _by_hand(weights, kind, later_turned=True)


def divided_by_factors(weights, kind="k"):
    return _by_hand(weights, kind, factors=True)


def spectral_norms(weights, kind="k"):
    return _by_hand(weights, kind, largest=True)


def above_chance(weights, kind="k"):
    return _by_hand(weights, kind, above_chance=True)


def values_turned(weights, kind="k"):
    return _by_hand(weights, kind, values_turned=True)


def inner_matrix_only(weights, kind="k"):
    """|O X| / |O| / |X|, without the outer factors."""
    layers, heads = weights["W_Q"].shape[:2]
    X = {"q": weights["W_Q"], "k": weights["W_K"], "v": weights["W_V"]}[kind]
    result = torch.zeros(layers, heads, layers, heads)
    for a in range(layers):
        for i in range(heads):
            W_O, later = weights["W_O"][a, i], X[a + 1 :]
            size = W_O.norm() * later.flatten(-2).norm(dim=-1)
            result[a, i, a + 1 :] = (W_O @ later).flatten(-2).norm(dim=-1) / size
    return result


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
            swap=("product / sizes.clamp(min=1e-30)", "product"),
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
            "every pair",
            "You filled in all pairs of layers. A head reads only what earlier layers "
            "wrote; all other entries are 0.",
            every_pair,
        ),
        Mistake(
            "from and to swapped",
            "Your first two axes are the later head. The result is [from_layer, "
            "from_head, to_layer, to_head]: who writes comes first.",
            from_and_to_swapped,
        ),
        Mistake(
            "divided twice",
            "You divided by the squares of the norms. Above stands a norm, so below "
            "stand norms, each once.",
            divided_twice,
        ),
        Mistake(
            "product squared",
            "The norms below are right; above stands the squared norm of the product. "
            "The formula with small matrices gives the square: take its root.",
            product_squared,
        ),
        Mistake(
            "later head turned",
            "You transposed the later head's matrix in all three kinds: W_QK belongs "
            "to queries, W_QK^T to keys, and W_OV stays as it is.",
            later_turned,
        ),
        Mistake(
            "divided by the earlier norm only",
            "You divided by the norm of the earlier head's W_OV alone. The later "
            "head's matrix has a size too: divide by both norms.",
            divided_by_the_earlier,
        ),
        Mistake(
            "divided by the later norm only",
            "You divided by the norm of the later head's matrix alone. The earlier "
            "head's W_OV has a size too: divide by both norms.",
            divided_by_the_later,
        ),
        Mistake(
            "one factor of the later head",
            "You multiplied by one matrix of the later head, such as W_K, and left "
            "out the other. A side of it is a whole circuit: W_QK, W_QK^T or W_OV.",
            one_factor_of_the_later,
        ),
        Mistake(
            "divided by the factors' norms",
            "You divided by the norms of W_V, W_O, W_Q and W_K one by one. What is "
            "compared are whole circuits: divide by the norms of W_OV and W_QK.",
            divided_by_factors,
        ),
        Mistake(
            "inner matrix only",
            "You took the norm of what stands in the middle, such as W_O W_K, alone. "
            "The outer factors decide which of its directions are used.",
            inner_matrix_only,
        ),
        Mistake(
            "spectral norms",
            "You took the largest singular value. The Frobenius norm is the root of "
            "the sum of all squares.",
            spectral_norms,
        ),
        Mistake(
            "chance subtracted",
            "You subtracted what random matrices score. Here the scores stand as they "
            "are; the chapter prints the reference beside them.",
            above_chance,
        ),
        Mistake(
            "values turned",
            "With kind 'v' you transposed the later head's W_OV. A row vector meets "
            "its W_V first.",
            values_turned,
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
            swap=("[kind]", '["k"]'),
        ),
        Mistake(
            "keys as queries",
            "Your 'k' gives what 'q' gives. For the keys the vector meets W_K first: "
            "W_QK^T = W_K W_Q^T.",
            keys_as_queries,
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
