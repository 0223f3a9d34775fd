"""Chapter 3, `circuit_lift`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model, with_weights

__all__ = ["CHECK"]


def judge_circuit_lift(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, query, d_head, counts in (
        (1, 0, 1, 6, 4, [3, 1, 4, 2, 5, 1, 2, 6, 1]),
        (2, 1, 2, 3, 6, [1, 7, 2, 1, 3, 1, 5, 1, 2]),
        (2, 0, 0, 5, 3, [2, 2, 9, 1, 1, 4, 6]),
    ):
        sizes = {"d_vocab": len(counts), "d_head": d_head}
        model = random_model(n_layers, query, n_ctx=40, scale=0.6, **sizes)
        frequencies = torch.tensor(counts) / sum(counts)
        result = answer(model, layer, head, query, frequencies)
        lift = expect.tensor(result, key=len(counts))
        expect.close(
            (frequencies * lift.exp()).sum(),
            1.0,
            "Attention is only shared out: the mean of exp(lift) over a context drawn "
            "with these frequencies should be 1.",
        )
        expect.close(
            lift,
            _lift_by_running(model, layer, head, query, counts),
            "In a text with exactly these frequencies and no positions, the attention "
            "that one occurrence of a token gets, over an even share, is not exp of "
            "your lift.",
            atol=1e-4,
        )


def _lift_by_running(model, layer, head, query, counts) -> Tensor:
    """log(attention per occurrence times length), from one text that has the counts."""
    bare = with_weights(model, {"W_pos": torch.zeros_like(model.W_pos)})
    text = [token for token, n in enumerate(counts) for _ in range(n)]
    text.remove(query)
    text.append(query)
    hooks = shared.only(None, None, model.cfg.n_layers)
    name = f"blocks.{layer}.attn.hook_pattern"
    attention = shared.seen(bare, torch.tensor([text]), name, hooks)[0, head, -1]
    first = [text.index(token) for token in range(len(counts))]
    return (attention[first] * len(text)).log()


def _row(model, layer, head, query) -> Tensor:
    return shared.qk(model, layer, head)[query] / model.cfg.d_head**0.5


def lift_uniform(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return scores - scores.logsumexp(0) + math.log(len(scores))


def lift_as_share(model, layer, head, query, frequencies):
    return (_row(model, layer, head, query) + frequencies.log()).log_softmax(0)


def lift_unscaled(model, layer, head, query, frequencies):
    scores = shared.qk(model, layer, head)[query]
    return scores - (scores + frequencies.log()).logsumexp(0)


def lift_of_column(model, layer, head, query, frequencies):
    scores = shared.qk(model, layer, head)[:, query] / model.cfg.d_head**0.5
    return scores - (scores + frequencies.log()).logsumexp(0)


def lift_from_mean_score(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return scores - (frequencies * scores).sum()


def lift_as_factor(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return (scores - (scores + frequencies.log()).logsumexp(0)).exp()


def lift_raw(model, layer, head, query, frequencies):
    return _row(model, layer, head, query)


CHECK = Check(
    name="circuit_lift",
    judge=judge_circuit_lift,
    hints=(
        "Softmax divides by a sum over the tokens of a text. In a text drawn with the "
        "given frequencies, that sum is an average you can compute.",
        "Take the query's row of the full QK circuit and divide by sqrt(d_head). The "
        "mean of exp(score) is the sum over tokens of frequency times exp(score). "
        "Subtract its logarithm from every score.",
        "`scores = qk.A[query] @ qk.B / d_head**0.5`, "
        "`average = (scores + frequencies.log()).logsumexp(dim=0)`, "
        "`return scores - average`.",
    ),
    mistakes=(
        Mistake(
            "all tokens alike",
            "You averaged over the vocabulary with every token counting the same. In a "
            "text, common tokens take more of the attention: weigh by `frequencies`.",
            lift_uniform,
        ),
        Mistake(
            "share of all occurrences",
            "This is the share that all occurrences of a token get together, so "
            "common tokens look wanted. The lift is about one occurrence.",
            lift_as_share,
        ),
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head).",
            lift_unscaled,
            swap=(" / math.sqrt(model.cfg.d_head)", ""),
        ),
        Mistake(
            "column",
            "You took the column: how much others want this token. Its own wishes "
            "stand in its row.",
            lift_of_column,
        ),
        Mistake(
            "mean score",
            "You subtracted the mean score. Softmax works with exponentials: subtract "
            "the logarithm of the mean of exp(score).",
            lift_from_mean_score,
            swap=(
                "(scores + frequencies.log()).logsumexp(dim=0)",
                "(frequencies * scores).sum()",
            ),
        ),
        Mistake(
            "no logarithm",
            "This is the factor itself. Return its logarithm.",
            lift_as_factor,
        ),
        Mistake(
            "not normalised",
            "These are raw scores. Divide by what the context as a whole draws, which "
            "means to subtract a logarithm here.",
            lift_raw,
        ),
    ),
    passed=(
        "Checked against the attention inside a model that reads a text with exactly "
        "these frequencies. Every query's lifts average to an even share, so they can "
        "be compared across queries, which raw entries cannot."
    ),
)
