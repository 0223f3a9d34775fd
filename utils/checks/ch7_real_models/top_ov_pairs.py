"""Chapter 7, `top_ov_pairs`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, Wrong, expect
from utils.checks.ch7_real_models import shared
from utils.checks.largest import Largest

__all__ = ["CHECK"]

DEFAULT = 10
ROWS = 1301  # no multiple of what is usual
MANY = 3000  # more than the rows that are taken at a time
BLOCKS = (128, 512, 64, 100, 200, 256, 500, 1000, 1024)  # rows at a time


def judge_top_ov_pairs(answer) -> None:
    for layer, head, k, sizes in (
        (1, 2, 6, dict(seed=0)),
        (1, 0, 15, dict(seed=2, n_layers=3, d_model=9, d_head=3, d_vocab=1300)),
        (0, 1, 9, dict(seed=1, n_layers=1, n_heads=2, n_groups=2, d_vocab=700)),
        (0, 2, 20, dict(seed=4, d_vocab=5)),
    ):
        weights = shared.made_up(**sizes)
        # Tokens at edges of blocks of 128 to 512 are among those with large entries.
        edges = [at for at in (0, 511, 512, 1023, 1024) if at < sizes.get("d_vocab", 0)]
        weights["W_E"][edges] *= 30
        weights["W_E"][[at for at in edges if at in (511, 1023)]] *= 2
        _let_the_last_row_just_enter(weights, layer, head, k)
        _judge_one(answer(weights, layer, head, k), weights, layer, head, k)
    result = answer(weights, layer, head)
    _judge_one(result, weights, layer, head, DEFAULT)
    weights = shared.made_up(seed=5, d_vocab=600)
    weights["W_E"][512:] /= 1000  # a last strip of which nothing enters
    _judge_one(answer(weights, 1, 1, 12), weights, 1, 1, 12)
    weights = _every_row_counts(6, 0, 2)
    _judge_one(answer(weights, 0, 2, ROWS), weights, 0, 2, ROWS)
    # Last, so that a known mistake has shown itself in the cases above.
    weights = shared.made_up(seed=7, d_vocab=MANY)
    with Largest() as largest:
        answer(weights, 0, 1, 3)
    expect.true(
        largest.numel < MANY**2,
        "The result is right, but you make the whole matrix of all tokens by all "
        "tokens. For 49,152 of them it takes 9.7 GB. Take some hundred rows at a time, "
        "and keep the k largest entries so far.",
    )
    for name, ids in (("source", result[1]), ("output", result[2])):
        expect.true(
            not (isinstance(ids, Tensor) and ids.is_floating_point()),
            f"Your {name} tokens are numbers with a point. Ids are integers; float32 "
            "cannot hold the places of a large vocabulary.",
        )


def _let_the_last_row_just_enter(weights, layer, head, k) -> None:
    """Its largest entry lies between the two smallest of the k largest of the others.

    So it is missed where strips are compared with anything but the worst so far.
    """
    circuit = _centred_circuit(weights, layer, head)
    others = circuit[:-1].flatten().topk(k).values
    wanted = (others[-1] + others[-2]) / 2
    weights["W_E"][-1] *= (wanted / circuit[-1].max()).float()


def _every_row_counts(seed: int, layer: int, head: int) -> dict[str, Tensor]:
    """As many tokens as entries are asked for: each has one among the largest.

    One output stands far above the others, and sources differ in size alone.
    """
    weights = shared.made_up(seed, d_vocab=ROWS)
    weights["W_U"][:, 3] *= 100
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(seed))
    entry = _centred_circuit(weights, layer, head)[0, 3]
    weights["W_E"] = (1 + order[:, None] / ROWS) * weights["W_E"][0] / entry.float()
    return weights


def _judge_one(result, weights, layer, head, k) -> None:
    if not isinstance(result, tuple | list) or len(result) != 3:
        raise Wrong(
            "Your function should return three tensors: entries, source tokens, output "
            "tokens."
        )
    values, sources, outputs = (expect.tensor(part, k=k) for part in result)
    circuit = _centred_circuit(weights, layer, head)
    expected = circuit.flatten().topk(k).values
    expect.close(
        values, expected, f"These are not the {k} largest entries, largest first."
    )
    n = len(circuit)
    for name, ids in (("source", sources), ("output", outputs)):
        expect.true(
            ((ids >= 0) & (ids < n) & (ids == ids.round())).all(),
            f"Your {name} tokens are not all ids of this vocabulary of {n}.",
        )
    expect.close(
        circuit[sources.long(), outputs.long()],
        values,
        "Your entries do not stand where you say: rows are source tokens, columns "
        "output tokens.",
    )
    expect.true(
        len({*zip(sources.tolist(), outputs.tolist(), strict=True)}) == k,
        "You name a pair twice.",
    )


def _centred_circuit(weights, layer, head) -> Tensor:
    names = ("W_E", "W_V", "W_O", "W_U")
    W_E, W_V, W_O, W_U = (weights[name].double() for name in names)
    circuit = W_E @ W_V[layer, head] @ W_O[layer, head] @ W_U
    return circuit - circuit.mean(dim=1, keepdim=True)


def _largest(circuit: Tensor, k: int):
    circuit = circuit.float()
    values, places = circuit.flatten().topk(k)
    return values, places // circuit.shape[1], places % circuit.shape[1]


def not_centred(weights, layer, head, k=10):
    path = weights["W_V"][layer, head] @ weights["W_O"][layer, head]
    return _largest(weights["W_E"] @ path @ weights["W_U"], k)


def columns_centred(weights, layer, head, k=10):
    path = weights["W_V"][layer, head] @ weights["W_O"][layer, head]
    circuit = weights["W_E"] @ path @ weights["W_U"]
    return _largest(circuit - circuit.mean(0), k)


def one_mean_for_all(weights, layer, head, k=10):
    path = weights["W_V"][layer, head] @ weights["W_O"][layer, head]
    circuit = weights["W_E"] @ path @ weights["W_U"]
    return _largest(circuit - circuit.mean(), k)


def both_centred(weights, layer, head, k=10):
    circuit = _centred_circuit(weights, layer, head)
    return _largest(circuit - circuit.mean(0), k)


def smallest(weights, layer, head, k=10):
    values, rows, columns = _largest(-_centred_circuit(weights, layer, head), k)
    return -values, rows, columns


def largest_in_size(weights, layer, head, k=10):
    circuit = _centred_circuit(weights, layer, head)
    _, rows, columns = _largest(circuit.abs(), k)
    return circuit[rows, columns], rows, columns


def pairs_swapped(weights, layer, head, k=10):
    values, rows, columns = _largest(_centred_circuit(weights, layer, head), k)
    return values, columns, rows


def one_for_each_source(weights, layer, head, k=10):
    best = _centred_circuit(weights, layer, head).max(dim=1)
    values, rows = best.values.topk(k)
    return values, rows, best.indices[rows]


def mean_over_the_stream(weights, layer, head, k=10):
    path = weights["W_V"][layer, head] @ weights["W_O"][layer, head]
    W_U = weights["W_U"] - weights["W_U"].mean(0)
    return _largest(weights["W_E"] @ path @ W_U, k)


def mean_over_the_head(weights, layer, head, k=10):
    outputs = weights["W_O"][layer, head] @ weights["W_U"]
    sources = weights["W_E"] @ weights["W_V"][layer, head]
    return _largest(sources @ (outputs - outputs.mean(0)), k)


def as_if_tied(weights, layer, head, k=10):
    return _largest(
        _centred_circuit(weights | {"W_U": weights["W_E"].T}, layer, head), k
    )


def one_for_each_output(weights, layer, head, k=10):
    best = _centred_circuit(weights, layer, head).max(dim=0)
    values, columns = best.values.topk(k)
    return values, best.indices[columns], columns


def entries_not_centred(weights, layer, head, k=10):
    """Found with each row's mean taken off, told with it."""
    _, rows, columns = _largest(_centred_circuit(weights, layer, head), k)
    path = weights["W_V"][layer, head] @ weights["W_O"][layer, head]
    return (weights["W_E"] @ path @ weights["W_U"])[rows, columns], rows, columns


def strips_not_joined(weights, layer, head, k=10, block=512):
    circuit = _centred_circuit(weights, layer, head)
    found = []
    for start in range(0, len(circuit), block):
        strip = circuit[start : start + block]
        values, rows, columns = _largest(strip, min(k, strip.numel()))
        found.append((values, rows + start, columns))
    return tuple(torch.cat(part) for part in zip(*found, strict=True))


def largest_last(weights, layer, head, k=10):
    found = _largest(_centred_circuit(weights, layer, head), k)
    return tuple(part.flip(0) for part in found)


def rest_left_out(weights, layer, head, k=10, block=512):
    """As with `range(len(W_E) // 512)` strips, where not less than one is left."""
    circuit = _centred_circuit(weights, layer, head)
    whole = len(circuit) // block * block
    return _largest(circuit[: whole or len(circuit)], k)


def first_block_only(weights, layer, head, k=10, block=512):
    return _largest(_centred_circuit(weights, layer, head)[:block], k)


def rows_from_zero(weights, layer, head, k=10, block=512):
    values, rows, columns = _largest(_centred_circuit(weights, layer, head), k)
    return values, rows % block, columns


def _with_blocks_of_some_size(mistake):
    """A mistake that depends on how many rows are taken at a time, at usual numbers."""

    def matches(answer) -> bool:
        asked = (_every_row_counts(7, 0, 1), 0, 1, ROWS)
        found = [torch.as_tensor(part) for part in answer(*asked)]
        return any(
            all(
                one.shape == other.shape and torch.allclose(one.to(other), other)
                for one, other in zip(found, mistake(*asked, block), strict=True)
            )
            for block in BLOCKS
        )

    return matches


CHECK = Check(
    name="top_ov_pairs",
    judge=judge_top_ov_pairs,
    hints=(
        "Keep the two thin factors, W_E W_V and W_O W_U. Multiply a few hundred rows "
        "of the first with all of the second, take what is largest, and go on with the "
        "next rows.",
        "The mean of a row of A B is A times the mean of B's columns, so subtract "
        "`B.mean(dim=1, keepdim=True)` from B once. After each block join the k best "
        "so far with the block's own and take `topk` again. A flat place p is row "
        "`p // d_vocab` and column `p % d_vocab`; add the block's first row.",
        "For `start` in steps of 128: `block = (A[start:start + 128] @ B).flatten()`, "
        "`values, places = block.topk(min(k, len(block)))`, `places += start * "
        "d_vocab`; join with the best so far, `topk(k)`, and keep the same places. At "
        "the end divide places into rows and columns.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You did not subtract each row's mean. An entry that lifts all logits "
            "alike changes no probability.",
            not_centred,
        ),
        Mistake(
            "columns centred",
            "You subtracted each column's mean. What changes no probability is a "
            "number added to a whole row.",
            columns_centred,
        ),
        Mistake(
            "one mean for all",
            "You subtracted one number from all entries, the mean of the whole matrix. "
            "Each row has its own mean.",
            one_mean_for_all,
        ),
        Mistake(
            "both centred",
            "You subtracted each column's mean as well. How much an output token is "
            "raised by any source is part of what the head does.",
            both_centred,
        ),
        Mistake(
            "mean over d_model",
            "You subtracted W_U's mean over d_model. What changes no probability is a "
            "number added to all outputs: the mean over the vocabulary.",
            mean_over_the_stream,
        ),
        Mistake(
            "mean over d_head",
            "You subtracted a mean over d_head, the first axis of W_O W_U. What "
            "changes no probability is a number added to all outputs: the mean over "
            "the vocabulary.",
            mean_over_the_head,
        ),
        Mistake(
            "as if tied",
            "You used W_E in place of W_U. In some models one is the transpose of the "
            "other, but not in all.",
            as_if_tied,
        ),
        Mistake(
            "entries not centred",
            "You found the right pairs, but your entries still have their row's mean.",
            entries_not_centred,
        ),
        Mistake(
            "strips not joined",
            "You give the largest entries of every strip. Join them, and take the k "
            "largest of all.",
            strips_not_joined,
            matches=_with_blocks_of_some_size(strips_not_joined),
        ),
        Mistake(
            "largest last",
            "These are the right entries in the wrong order: the largest comes first.",
            largest_last,
        ),
        Mistake(
            "smallest",
            "These are the smallest entries.",
            smallest,
        ),
        Mistake(
            "largest in size",
            "You compared absolute values. Asked for are the entries that raise a "
            "logit most.",
            largest_in_size,
        ),
        Mistake(
            "pairs swapped",
            "Sources and outputs have changed places. Rows are source tokens.",
            pairs_swapped,
            swap=("places // n_out, places % n_out", "places % n_out, places // n_out"),
        ),
        Mistake(
            "one for each source",
            "You took only the best output of each source token. One token may have "
            "several of the largest entries.",
            one_for_each_source,
        ),
        Mistake(
            "one for each output",
            "You took only the best source of each output token. One output may have "
            "several of the largest entries.",
            one_for_each_output,
        ),
        Mistake(
            "rest left out",
            "You left out the last rows, which do not fill a strip.",
            rest_left_out,
            matches=_with_blocks_of_some_size(rest_left_out),
        ),
        Mistake(
            "first block only",
            "You looked at the first rows only.",
            first_block_only,
            matches=_with_blocks_of_some_size(first_block_only),
        ),
        Mistake(
            "rows counted anew",
            "Your row numbers begin again in every block. Add the number of its first "
            "row.",
            rows_from_zero,
            matches=_with_blocks_of_some_size(rows_from_zero),
            swap=(
                "torch.arange(start, start + len(block))",
                "torch.arange(len(block))",
            ),
        ),
    ),
    passed=(
        "Checked against the whole matrix for vocabularies of 5, 600, 700 and 1,301. "
        "Done strip by strip it works for 50,000 as well, where the whole matrix would "
        "take 10 GB."
    ),
)
