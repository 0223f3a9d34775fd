"""Chapter 3, `positional_pattern`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model, with_weights

__all__ = ["CHECK"]


def judge_positional_pattern(answer) -> None:
    answer = expect.weights_only(answer)
    for model, layer, head, length in (
        (random_model(1, 0, n_ctx=12), 0, 1, 6),
        (random_model(2, 1, n_ctx=12, d_head=7), 1, 2, 9),
        (_far_down(), 0, 2, 5),
        (_without_queries(), 0, 0, 4),
    ):
        result = answer(model, layer, head, length)
        pattern = expect.tensor(result, query=length, key=length)
        expect.close(
            pattern.sum(-1),
            torch.ones(length),
            "Each row of the pattern should sum to 1.",
        )
        blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
        tokens = torch.zeros(1, length, dtype=torch.int64)
        name = f"blocks.{layer}.attn.hook_pattern"
        expect.close(
            pattern,
            shared.seen(blank, tokens, name)[0, head],
            "This is not the pattern of a model whose embeddings are all zero.",
        )


def _far_down():
    """A model whose places score about -40 with each other: only differences count."""
    model = random_model(1, 2)
    weights = {name: getattr(model, name).clone() for name in ("W_pos", "W_Q", "W_K")}
    weights["W_pos"][:, 0] = 4.0
    weights["W_Q"][:, :, 0], weights["W_K"][:, :, 0] = 0.0, 0.0
    weights["W_Q"][:, :, 0, 0], weights["W_K"][:, :, 0, 0] = -2.5, 2.0
    return with_weights(model, weights)


def _without_queries():
    """A model whose heads ask for nothing: all scores are 0, attention is even."""
    model = random_model(1, 3)
    return with_weights(model, {"W_Q": torch.zeros_like(model.W_Q)})


def _place_scores(model, layer, head, length) -> Tensor:
    places = model.W_pos[:length]
    scores = (places @ model.W_Q[layer, head]) @ (places @ model.W_K[layer, head]).T
    return scores / model.cfg.d_head**0.5


def _masked_softmax(scores) -> Tensor:
    later = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def places_without_mask(model, layer, head, length):
    return _place_scores(model, layer, head, length).softmax(-1)


def places_unscaled(model, layer, head, length):
    scores = _place_scores(model, layer, head, length) * model.cfg.d_head**0.5
    return _masked_softmax(scores)


def places_scaled_by_width(model, layer, head, length):
    scores = _place_scores(model, layer, head, length)
    return _masked_softmax(scores * (model.cfg.d_head / model.cfg.d_model) ** 0.5)


def places_swapped(model, layer, head, length):
    return _masked_softmax(_place_scores(model, layer, head, length).T)


def places_mask_after(model, layer, head, length):
    return _place_scores(model, layer, head, length).softmax(-1).tril()


def places_as_scores(model, layer, head, length):
    return _place_scores(model, layer, head, length)


def places_zero_mask(model, layer, head, length):
    return _place_scores(model, layer, head, length).tril().softmax(-1)


CHECK = Check(
    name="positional_pattern",
    judge=judge_positional_pattern,
    hints=(
        "This is an attention pattern like any other, only that queries and keys are "
        "made from position vectors and nothing else.",
        "Take `model.W_pos[:length]`. Multiply with W_Q and with W_K of the head, take "
        "all products of a query with a key, divide by sqrt(d_head), hide what comes "
        "later, and take the softmax over keys.",
        "`scores = (P @ W_Q) @ (P @ W_K).T / d_head**0.5` with "
        "`P = model.W_pos[:length]`. Then "
        "`scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)"
        ".softmax(dim=-1)`.",
    ),
    mistakes=(
        Mistake(
            "no mask",
            "Your positions can see later ones. Hide all keys after the query before "
            "the softmax.",
            places_without_mask,
        ),
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head).",
            places_unscaled,
            swap=(" / math.sqrt(model.cfg.d_head)", ""),
        ),
        Mistake(
            "scaled by d_model",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so "
            "the divisor is sqrt(d_head).",
            places_scaled_by_width,
        ),
        Mistake(
            "query and key swapped",
            "Query and key are swapped: row i should be the attention that position i "
            "pays.",
            places_swapped,
        ),
        Mistake(
            "mask after the softmax",
            "You hid later positions after the softmax, so the rows no longer sum to "
            "1. Set their scores to minus infinity before it.",
            places_mask_after,
        ),
        Mistake(
            "scores",
            "These are the scores. Hide later positions and take the softmax.",
            places_as_scores,
        ),
        Mistake(
            "masked with zero",
            "You set the scores of later positions to 0, and exp(0) is 1. Set them to "
            "minus infinity.",
            places_zero_mask,
            swap=("-torch.inf", "0.0"),
        ),
    ),
    passed=(
        "Checked against the pattern of a model whose embeddings were set to zero, for "
        "several lengths, and for scores that are all 0 or far below it. A score is a "
        "sum of four parts, and this is the one in which no token appears."
    ),
)
