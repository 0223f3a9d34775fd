"""Weights of a real language model: what a learner's functions cost, and the library's.

SmolLM2 where it was fetched, else a made-up model of its shapes with the same grouped
heads. Nothing here holds a matrix of d_vocab x d_vocab.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from transformer_lens import FactoredMatrix

from solutions.ch5_induction_heads import repeated_tokens
from solutions.ch7_real_models import (
    composition_graph,
    copying_scores,
    grouped_heads,
    induction_scores,
    top_ov_pairs,
)
from tests.bench_rows import Row, middle, ratio_text
from utils.models.real import is_whole, load_real_model, start_id, weights_of

__all__ = ["made_up_weights", "real_model_rows"]

ROUNDS = 3
LAYERS, HEADS, GROUPS, D_MODEL, D_HEAD, D_VOCAB = 30, 9, 3, 576, 64, 49_152


def made_up_weights() -> dict[str, Tensor]:
    """Random weights of SmolLM2's shapes, under the names that the analyses read."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator) / D_MODEL**0.5

    found = {"W_E": draw(D_VOCAB, D_MODEL), "W_U": draw(D_MODEL, D_VOCAB)}
    for name, n in (("Q", HEADS), ("K", GROUPS), ("V", GROUPS)):
        found[f"W_{name}"] = draw(LAYERS, n, D_MODEL, D_HEAD)
        found[f"b_{name}"] = torch.zeros(LAYERS, n, D_HEAD)
    found["W_O"] = draw(LAYERS, HEADS, D_HEAD, D_MODEL)
    return found


def seconds(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of some rounds."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return middle(times)


def some_by_the_library(weights: dict[str, Tensor], pairs: int = 400) -> float:
    """Seconds for all pairs, from some of them, with FactoredMatrix products."""
    layers, heads = weights["W_Q"].shape[:2]
    W = weights
    ov = [FactoredMatrix(W["W_V"][0, h], W["W_O"][0, h]) for h in range(heads)]
    kq = [FactoredMatrix(W["W_K"][1, h], W["W_Q"][1, h].T) for h in range(heads)]

    def score(one: FactoredMatrix, two: FactoredMatrix) -> Tensor:
        return (one @ two).norm() / one.norm() / two.norm()

    def some() -> None:
        for i in range(pairs):
            score(ov[i % heads], kq[i // heads % heads])

    every = layers * (layers - 1) // 2 * heads**2
    return seconds(some, 1) * every / pairs


def real_model_rows() -> Iterator[Row]:
    """A row per analysis."""
    fetched = is_whole("smollm2")
    model = load_real_model("smollm2", folded=True) if fetched else None
    weights = grouped_heads(weights_of(model) if model else made_up_weights())
    ours = seconds(lambda: composition_graph(weights, "k"))
    theirs = some_by_the_library(weights)
    yield Row(
        "K-composition of all pairs of 270 heads",
        f"{ours:.1f} s",
        f"{theirs:.0f} s (from 400 pairs)",
        ratio_text(theirs / ours),
    )
    yield Row(
        "copying scores of 270 heads",
        f"{seconds(lambda: copying_scores(weights)):.1f} s",
    )
    top = seconds(lambda: top_ov_pairs(weights, 17, 3, k=100), 1)
    yield Row("the 100 largest entries of one full OV circuit", f"{top:.1f} s")
    if model:
        rows = repeated_tokens(model.cfg.d_vocab, 40, batch=8)
        rows[:, 0] = start_id(model)
        took = seconds(lambda: induction_scores(model, rows), 1)
        yield Row("behaviour of all heads, 8 rows of 81 tokens", f"{took:.1f} s")
