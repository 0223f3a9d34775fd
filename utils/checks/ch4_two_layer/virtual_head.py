"""Chapter 4, `virtual_head`: judge, known mistakes and hints."""

import torch
from torch import Tensor
from transformer_lens import FactoredMatrix

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import previous_token_model, random_model

__all__ = ["CHECK"]


def judge_virtual_head(answer) -> None:
    tokens = torch.tensor([[0, 7, 3, 2, 9, 11, 4], [0, 1, 12, 5, 8, 10, 6]])
    cases = (
        (2, 3, (0, 1), (1, 2)),
        (3, 3, (0, 2), (2, 0)),
        (3, 2, (1, 0), (2, 1)),
        (3, 4, (0, 3), (1, 1)),
    )
    for n_layers, n_heads, first, second in cases:
        model = random_model(n_layers, n_heads, n_heads=n_heads, d_head=n_heads + 2)
        _judge_one_virtual_head(answer, model, tokens, first, second)
    model = previous_token_model({(0, 1): 1, (1, 2): 2})
    ids = torch.tensor([[0, 4, 2, 6, 1, 5]])
    pattern, _ = answer(model, ids, (0, 1), (1, 2))
    pattern = expect.tensor(pattern, batch=1, query=6, key=6)
    expect.close(
        pattern[0].diagonal(-3),
        torch.ones(3),
        "A head that looks one back, then one that looks two back: the pair should "
        "look three back.",
        atol=1e-3,
    )


def _judge_one_virtual_head(answer, model, tokens, first, second) -> None:
    result = answer(model, tokens, first, second)
    expect.true(
        isinstance(result, list | tuple) and len(result) == 2,
        "Two things should come back: the pattern and the OV matrix.",
    )
    batch, length = tokens.shape
    d_model = model.cfg.d_model
    pattern = expect.tensor(result[0], batch=batch, query=length, key=length)
    ov = expect.tensor(result[1], d_in=d_model, d_out=d_model)
    expect.close(
        pattern.sum(-1),
        torch.ones(batch, length),
        "Each row of the pattern should sum to 1.",
    )
    expect.close(pattern.triu(1), 0 * pattern, "Your pattern looks at later positions.")
    expect.close(
        pattern,
        _two_steps(model, tokens, first, second),
        "Your pattern is not the share that gets from each key to each query in two "
        "steps.",
    )
    patterns = shared.patterns_of(model, tokens)

    def stream(*heads):
        return shared.only(model, tokens, heads, patterns)[0]

    silent = stream()
    added = stream(first, second) - stream(first) - stream(second) + silent
    expect.close(
        pattern @ silent @ ov,
        added,
        "Pattern times embedding times your OV matrix should be what the pair adds to "
        "the stream.",
    )


def _two_steps(model, tokens: Tensor, first, second) -> Tensor:
    """From key to query by way of every position between, added up one by one."""
    _, cache = model.run_with_cache(tokens)
    one = cache["pattern", first[0]][:, first[1]].tolist()
    two = cache["pattern", second[0]][:, second[1]].tolist()
    places = range(tokens.shape[1])
    return torch.tensor(
        [
            [[sum(t[q][m] * o[m][k] for m in places) for k in places] for q in places]
            for o, t in zip(one, two, strict=True)
        ],
        dtype=torch.float64,
    )


def _pair(model, tokens, from_head, to_head):
    _, cache = model.run_with_cache(tokens)
    patterns = [cache["pattern", layer][:, h] for layer, h in (from_head, to_head)]
    ovs = [FactoredMatrix(model.W_V[h], model.W_O[h]) for h in (from_head, to_head)]
    return patterns, ovs


def virtual_patterns_swapped(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return one @ two, ov_1 @ ov_2


def virtual_ov_in_paper_order(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return two @ one, ov_2 @ ov_1


def virtual_elementwise(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return two * one, ov_1 @ ov_2


def virtual_small(model, tokens, from_head, to_head):
    (one, two), _ = _pair(model, tokens, from_head, to_head)
    ov_1, ov_2 = (model.W_O[h] @ model.W_V[h] for h in (from_head, to_head))
    return two @ one, ov_1 @ ov_2


def virtual_sum(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return (one + two) / 2, ov_1.AB + ov_2.AB


CHECK = Check(
    name="virtual_head",
    judge=judge_virtual_head,
    hints=(
        "Follow one piece of information. The earlier head carries it from a key to "
        "some position, and the later head carries it from there to the query.",
        "Adding up over all positions between is a matrix product of the two patterns. "
        "A row vector meets the earlier head's W_OV first.",
        '`pattern = second @ first`, each taken from `cache["pattern", layer][:, '
        "head]`, and `FactoredMatrix(W_V, W_O)` of the earlier head `@` that of the "
        "later one.",
    ),
    mistakes=(
        Mistake(
            "patterns swapped",
            "Your patterns are multiplied in the wrong order. Rows are queries: the "
            "later head's pattern stands on the left, and its keys are the earlier "
            "head's queries.",
            virtual_patterns_swapped,
            swap=("second @ first", "first @ second"),
        ),
        Mistake(
            "OV in the paper's order",
            "The paper writes W_OV of the later head first, for column vectors. Here "
            "vectors are rows, and the earlier head's W_OV stands on the left.",
            virtual_ov_in_paper_order,
            swap=("ov_1 @ ov_2", "ov_2 @ ov_1"),
        ),
        Mistake(
            "elementwise",
            "You multiplied the patterns entry by entry. That asks where both heads "
            "look at once; what is needed is two steps, one after the other.",
            virtual_elementwise,
        ),
        Mistake(
            "W_O before W_V",
            "W_O W_V is [d_head, d_head]. A head first reads with W_V and then writes "
            "with W_O, so its matrix is W_V W_O, [d_model, d_model].",
            virtual_small,
        ),
        Mistake(
            "side by side",
            "You added the two heads. That is what they do side by side; a virtual "
            "head is one after the other, a product.",
            virtual_sum,
        ),
    ),
    passed=(
        "Checked on models of two and three layers: the pattern against a sum over all "
        "positions between, and pattern and OV matrix together against what the "
        "model's pair of heads adds to the stream. Two lower triangles whose rows sum "
        "to 1 multiply to another one, so the pair is a head in its own right, without "
        "a single parameter of its own."
    ),
)
