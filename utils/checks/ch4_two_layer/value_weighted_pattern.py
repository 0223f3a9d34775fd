"""Chapter 4, `value_weighted_pattern`: judge, known mistakes and hints."""

import math

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_value_weighted_pattern(answer) -> None:
    for layer, head, seed, ids in (
        (1, 2, 0, shared.TOKENS),
        (0, 1, 1, shared.MORE_TOKENS),
        (2, 0, 2, shared.TOKENS[:1]),
    ):
        model = random_model(3 - seed % 2, seed, n_heads=3 + seed, d_head=4 + seed)
        tokens = torch.tensor(ids)
        batch, length = tokens.shape
        result = expect.tensor(
            answer(model, tokens, layer, head), batch=batch, query=length, key=length
        )
        expect.close(
            result.triu(1), 0 * result, "Your result looks at later positions."
        )
        _, cache = model.run_with_cache(tokens)
        pattern = cache["pattern", layer][:, head].tolist()
        values = cache["v", layer][:, :, head].tolist()
        expected = [
            [
                [
                    weight * math.hypot(*value)
                    for weight, value in zip(r, v, strict=True)
                ]
                for r in rows
            ]
            for rows, v in zip(pattern, values, strict=True)
        ]
        expect.close(
            result,
            torch.tensor(expected),
            "The weight of each key should be multiplied by the size of the value "
            "vector at that key.",
        )


def _weights_and_values(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    return cache["pattern", layer][:, head], cache["v", layer][:, :, head], cache


def weighted_by_query(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * values.norm(dim=-1)[:, :, None]


def weighted_by_stream(model, tokens, layer, head):
    pattern, _, cache = _weights_and_values(model, tokens, layer, head)
    return pattern * cache["resid_pre", layer].norm(dim=-1)[:, None, :]


def weighted_by_output(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * (values @ model.W_O[layer, head]).norm(dim=-1)[:, None, :]


def weighted_and_normalised(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    weighted = pattern * values.norm(dim=-1)[:, None, :]
    return weighted / weighted.sum(-1, keepdim=True)


def weighted_by_square(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * values.pow(2).sum(-1)[:, None, :]


def not_weighted(model, tokens, layer, head):
    return _weights_and_values(model, tokens, layer, head)[0]


CHECK = Check(
    name="value_weighted_pattern",
    judge=judge_value_weighted_pattern,
    hints=(
        "Attention to a key moves nothing if the value there is zero. Multiply each "
        "weight by the size of what would be moved.",
        'The cache has the values as `cache["v", layer]` [batch pos head d_head]. '
        "Their "
        "norms belong to keys, so they multiply columns of the pattern.",
        '`sizes = cache["v", layer][:, :, head].norm(dim=-1)`, and '
        '`cache["pattern", layer][:, head] * sizes[:, None, :]`.',
    ),
    mistakes=(
        Mistake(
            "value of the query",
            "You used the values at the query. What is moved comes from the key, so "
            "the sizes belong to the columns.",
            weighted_by_query,
            swap=("sizes[:, None, :]", "sizes[:, :, None]"),
        ),
        Mistake(
            "the stream",
            "You used the size of the stream. The head moves only what W_V reads from "
            "it.",
            weighted_by_stream,
        ),
        Mistake(
            "after W_O",
            "You used the size of the value after W_O. That is a sensible measure too, "
            "and Kobayashi et al. prefer it, but the paper scales by the value vector.",
            weighted_by_output,
        ),
        Mistake(
            "normalised",
            "You made the rows sum to 1 again. Then a head that moves nothing would "
            "look as busy as any other.",
            weighted_and_normalised,
        ),
        Mistake(
            "squared",
            "You used the squared size. Take the root.",
            weighted_by_square,
            swap=(".norm(dim=-1)", ".pow(2).sum(dim=-1)"),
        ),
        Mistake(
            "not weighted",
            "This is the plain pattern. Multiply it by the sizes of the values.",
            not_weighted,
        ),
    ),
    passed=(
        "Checked entry by entry for a head of each layer. A head that has nothing to "
        "do still has to put its attention somewhere; if the value there is small, "
        "little is moved, and the weighted pattern shows it."
    ),
)
