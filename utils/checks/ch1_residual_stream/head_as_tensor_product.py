"""Chapter 1, `head_as_tensor_product`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_head_as_tensor_product(answer) -> None:
    for length, size, seed in ((3, 2, 16), (5, 3, 17)):
        model = random_model(1, seed, d_model=size, n_heads=1, d_head=size)
        tokens = torch.arange(length)[None]
        names = ["blocks.0.hook_resid_pre", "blocks.0.attn.hook_pattern"]
        names.append("blocks.0.hook_attn_out")
        seen = shared.watch(model, tokens, names)
        x, pattern, out = (seen[name][0] for name in names)
        ov = model.W_V[0, 0] @ model.W_O[0, 0]
        result = answer(pattern[0].float(), ov)
        n = length * size
        axes = {"pos*d_model": n, "pos*d_model again": n}
        matrix = expect.tensor(result, **axes)
        expect.close(
            matrix @ x.flatten(),
            out.flatten(),
            f"On {length} positions of {size} numbers your matrix times x.flatten() is "
            "not what the head adds.",
        )
        expect.close(
            matrix,
            _response(pattern[0], ov.double()),
            "The head adds something else when a single number of the stream is 1 and "
            "all others are 0.",
        )
    generator = torch.Generator().manual_seed(18)
    pattern = torch.randn(4, 4, generator=generator)
    ov = torch.randn(3, 3, generator=generator)
    sizes = {"pos*d_model": 12, "pos*d_model again": 12}
    expect.close(
        expect.tensor(answer(pattern, ov), **sizes),
        _response(pattern.double(), ov.double()),
        "For the patterns of a model your matrix is right. It is not for a made-up one "
        "with weights on later keys and rows of any sum; a pattern is used as it is.",
    )


def _response(pattern: Tensor, ov: Tensor) -> Tensor:
    """Column by column: what a head adds when one number of the stream is 1."""
    length, size = len(pattern), len(ov)
    columns = []
    for key in range(length):
        for i in range(size):
            out = [
                float(pattern[query, key]) * float(ov[i, o])
                for query in range(length)
                for o in range(size)
            ]
            columns.append(torch.tensor(out, dtype=torch.float64))
    return torch.stack(columns, dim=1)


def _kron(one: Tensor, two: Tensor) -> Tensor:
    return torch.kron(one.contiguous(), two.contiguous())


def product_not_transposed(pattern, ov):
    return _kron(pattern, ov)


def product_swapped(pattern, ov):
    return _kron(ov.T, pattern)


def product_swapped_not_transposed(pattern, ov):
    return _kron(ov, pattern)


def product_of_transposed_pattern(pattern, ov):
    return _kron(pattern.T, ov.T)


def product_of_both_transposed(pattern, ov):
    return _kron(pattern.T, ov)


def product_of_the_past(pattern, ov):
    return _kron(pattern.tril(), ov.T)


def product_of_shares(pattern, ov):
    return _kron(pattern / pattern.sum(1, keepdim=True), ov.T)


def product_as_sum(pattern, ov):
    per_position = _kron(torch.eye(len(pattern)), ov.T)
    return per_position + _kron(pattern, torch.eye(len(ov)))


def product_without_ov(pattern, ov):
    return _kron(pattern, torch.eye(len(ov)))


def product_without_pattern(pattern, ov):
    return _kron(torch.eye(len(pattern)), ov.T)


def product_of_a_view(pattern, ov):
    return torch.kron(pattern, ov.T)


def product_four_axes(pattern, ov):
    return pattern[:, :, None, None] * ov.T[None, None]


CHECK = Check(
    name="head_as_tensor_product",
    judge=judge_head_as_tensor_product,
    hints=(
        "Think of the big matrix as a grid of blocks, one block for each pair of query "
        "and key. What stands in block (query, key)?",
        "Block (query, key) is pattern[query, key] times one small matrix. It acts on "
        "a column, `M @ x.flatten()`, while ov acts on rows, so it is transposed.",
        "`torch.kron(pattern, ov.T.contiguous())`. Or "
        "`einsum(pattern, ov, 'q k, i o -> q o k i')`, then "
        "`rearrange(blocks, 'q o k i -> (q o) (k i)')`.",
    ),
    mistakes=(
        Mistake(
            "not transposed",
            "You used ov as it is. The big matrix acts on a column vector, so inside "
            "its blocks ov has to be transposed.",
            product_not_transposed,
            swap=("query key, d_in d_out", "query key, d_out d_in"),
        ),
        Mistake(
            "order swapped",
            "You put W on the left and the pattern on the right. With x.flatten() the "
            "position changes slowly and comes first, so the pattern is the left "
            "factor.",
            product_swapped,
        ),
        Mistake(
            "order swapped, not transposed",
            "The two factors are in the other order, and ov is not transposed. "
            "x.flatten() goes through the positions slowly, so the pattern is the left "
            "factor, and ov acts on rows.",
            product_swapped_not_transposed,
        ),
        Mistake(
            "pattern transposed",
            "Your pattern is transposed: the past would read from the future. Rows of "
            "the pattern are queries and stay rows.",
            product_of_transposed_pattern,
            swap=("query key, d_in d_out", "key query, d_in d_out"),
        ),
        Mistake(
            "both transposed",
            "Both factors are the wrong way round: the pattern is transposed, and ov "
            "is not. Your matrix is the transpose of the one that is wanted.",
            product_of_both_transposed,
        ),
        Mistake(
            "later keys left out",
            "You cut off what the pattern has on later keys. A model's patterns have "
            "nothing there, but the rule holds for every pattern: use it as it is.",
            product_of_the_past,
        ),
        Mistake(
            "rows made to sum to 1",
            "You divided the rows of the pattern by their sums. A model's patterns sum "
            "to 1 anyway, but the rule holds for every pattern: use it as it is.",
            product_of_shares,
        ),
        Mistake(
            "sum instead of product",
            "You added the step across positions and the step per position. A head "
            "does one after the other, so the two matrices are multiplied.",
            product_as_sum,
        ),
        Mistake(
            "only across positions",
            "Your matrix mixes positions and leaves each vector as it is. W_OV is "
            "missing.",
            product_without_ov,
        ),
        Mistake(
            "only per position",
            "Your matrix changes each position by itself. The pattern, which moves "
            "information between positions, is missing.",
            product_without_pattern,
        ),
        Mistake(
            "kron of a view",
            "This is PyTorch and not you: torch.kron cannot read a matrix that was "
            "only transposed in place. Write `.T.contiguous()` and see whether the "
            "rest is right.",
            product_of_a_view,
        ),
        Mistake(
            "four axes",
            "You have all the right products, on four axes [query, key, out, in]. To "
            "act on x.flatten() they have to be laid out as [query out, key in].",
            product_four_axes,
        ),
    ),
    passed=(
        "Checked on a head of a model with three positions of two numbers and one with "
        "five of three, number by number, and with a made-up pattern. Left factor: "
        "which position. Right factor: what happens to each vector. The two never mix."
    ),
)
