"""Chapter 5, `prefix_matching_score`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    induction_model,
    random_model,
)

__all__ = ["CHECK"]


def judge_prefix_matching_score(answer) -> None:
    # Accidental repeats, one of them on the spot, have targets as well.
    mixed = torch.tensor([[0, 4, 2, 4, 4, 6, 2, 9, 4], [0, 1, 1, 3, 5, 3, 5, 3, 8]])
    # One row points at key 1, which holds what came after the start token, and its
    # rows point a different number of times.
    again = torch.tensor([[0, 5, 0, 7, 2], [0, 3, 3, 3, 0], [0, 1, 8, 9, 4]])
    for n_layers, n_heads, tokens in (
        (2, 3, shared.rows(13, 3, 3)),
        (3, 2, shared.rows(13, 5, 2, batch=1)),
        (1, 4, again),
        (2, 3, mixed),
    ):
        model = random_model(n_layers, len(tokens), d_vocab=13, n_heads=n_heads)
        score = expect.tensor(answer(model, tokens), layer=n_layers, head=n_heads)
        expect.close(
            score,
            _pointed_at_by_hand(model, tokens),
            "The scores do not match a count by hand, query after query.",
        )
    perfect = answer(induction_model(), shared.rows(13, 6, 3, seed=3))
    expect.close(
        expect.tensor(perfect, layer=2, head=3)[1, 2],
        1.0,
        "A hand-made induction head that spreads its attention over two targets of the "
        "third copy should score 1.",
        atol=0.01,
    )


def _pointed_at_by_hand(model, tokens: Tensor) -> Tensor:
    _, _, patterns, _ = shared.by_hand(model, tokens)
    means = {}
    for place, pattern in patterns.items():
        sums = []
        for row, ids in enumerate(tokens.tolist()):
            for i in range(len(ids)):
                targets = [j for j in range(1, i + 1) if ids[j - 1] == ids[i]]
                if targets:
                    sums.append(sum(pattern[row, i, j].item() for j in targets))
        means[place] = sum(sums) / len(sums)
    return shared.per_head(model, means)


def _target_mask(tokens: Tensor, shift: int) -> Tensor:
    """[batch, query, key]: keys `shift` after an earlier copy of the query's token."""
    batch, length = tokens.shape
    mask = torch.zeros(batch, length, length, dtype=torch.bool)
    for i in range(length):
        for p in range(i):
            if 0 <= p + shift <= i:
                mask[:, i, p + shift] |= tokens[:, i] == tokens[:, p]
    return mask


def _mean_on(model, tokens: Tensor, mask: Tensor) -> Tensor:
    sums = (shared.patterns(model, tokens) * mask[:, None]).sum(-1).transpose(2, 3)
    return sums[:, mask.any(-1)].mean(1)


def score_of_duplicates(model, tokens):
    return _mean_on(model, tokens, _target_mask(tokens, 0))


def score_as_published(model, tokens):
    mask = _target_mask(tokens, -1)
    return _mean_on(model, tokens, mask)


def score_per_cell(model, tokens):
    mask = _target_mask(tokens, 1)
    cells = shared.patterns(model, tokens).transpose(1, 2)[:, :, mask]
    return cells.mean(-1)


def score_of_fixed_lag(model, tokens):
    stripe = _stripe(model, tokens, (tokens.shape[1] - 1) // 2)
    return stripe.mean((1, 3))


def _reads_one_stripe(answer) -> bool:
    """Whether the answer is the mean of one stripe, from its top or a little below.

    On two copies that is right too, so it has to be wrong on three.
    """
    model, thrice = random_model(2, 4, d_vocab=13), shared.rows(13, 3, 3)
    right = _mean_on(model, thrice, _target_mask(thrice, 1))
    if torch.allclose(torch.as_tensor(answer(model, thrice)).to(right), right, 1e-4):
        return False
    for span in (4, 5):
        model, tokens = random_model(2, span, d_vocab=13), shared.rows(13, span, 2)
        score = torch.as_tensor(answer(model, tokens)).double()
        stripe = _stripe(model, tokens, span)
        means = [stripe[..., k:].mean((1, 3)) for k in (0, 1, 2)]
        if not any(torch.allclose(score, m, atol=1e-4) for m in means):
            return False
    return True


def _stripe(model, tokens, span: int) -> Tensor:
    return shared.patterns(model, tokens).double().diagonal(1 - span, -2, -1)


def score_over_all_queries(model, tokens):
    mask = _target_mask(tokens, 1)
    return (shared.patterns(model, tokens) * mask[:, None]).sum(-1).mean((1, 3))


def score_of_nearest(model, tokens):
    mask = _target_mask(tokens, 1)
    places = torch.arange(tokens.shape[1])
    nearest = (mask * places).max(-1, keepdim=True).values
    return _mean_on(model, tokens, mask & (places == nearest))


def score_of_two_layers(model, tokens):
    return _mean_on(model, tokens, _target_mask(tokens, 1))[:2]


def score_two_further(model, tokens):
    return _mean_on(model, tokens, _target_mask(tokens, 2))


CHECK = Check(
    name="prefix_matching_score",
    judge=judge_prefix_matching_score,
    hints=(
        "First build a mask of the cells (query, key) that induction points at. It "
        "depends on the tokens only, not on the model.",
        "`tokens[:, :, None] == tokens[:, None, :-1]` compares every query's token "
        "with the token at j - 1, for j from 1 on. Keep j <= i with `tril`. Multiply "
        "a pattern by the mask, and sum over keys.",
        "`mask = torch.zeros(batch, pos, pos, dtype=torch.bool)`, `mask[:, :, 1:] = "
        "...`, `mask = mask.tril()`. For each layer `(cache['pattern', layer] * "
        "mask[:, None]).sum(-1)` is [batch, head, query]; average it over the places "
        "where `mask.any(-1)` is true.",
    ),
    mistakes=(
        Mistake(
            "duplicate tokens",
            "You measure attention to the earlier copy of the current token itself, "
            "the stripe at -K on a repeat. That is a duplicate-token head. Induction "
            "attends to the token **after** it, the stripe at -(K - 1).",
            score_of_duplicates,
        ),
        Mistake(
            "as the published sentence says",
            "You measure attention to the token **before** the earlier copy, the "
            "stripe at -(K + 1). That is what one sentence of the published "
            "definition says if read literally, but it is a slip: what is meant is "
            "the token that would come next, one after the copy.",
            score_as_published,
        ),
        Mistake(
            "per cell",
            "You average over cells. A head that spreads its attention over two right "
            "targets would get one half. Add up per query first, then average.",
            score_per_cell,
        ),
        Mistake(
            "all queries",
            "You average over all queries. Those that point nowhere, such as the whole "
            "first copy, do not count.",
            score_over_all_queries,
            swap=("transpose(1, 2)[pointing]", "transpose(1, 2).flatten(0, 1)"),
        ),
        Mistake(
            "nearest target only",
            "You count only the nearest target. In a third copy a query has two right "
            "targets: add both up.",
            score_of_nearest,
        ),
        Mistake(
            "one too far",
            "You are one position too far: two after the earlier copy. The target is "
            "the token right after it.",
            score_two_further,
            swap=(
                "targets[:, :, 1:] = tokens[:, :, None] == tokens[:, None, :-1]",
                "targets[:, :, 2:] = tokens[:, :, None] == tokens[:, None, :-2]",
            ),
        ),
        Mistake(
            "two layers",
            shared.TWO_LAYERS,
            score_of_two_layers,
            shared.scores_two_layers(score_of_two_layers),
        ),
        Mistake(
            "fixed distance",
            "You read one stripe at a fixed distance. That is right for rows of two "
            "copies and nothing else. A third copy has two right targets, and tokens "
            "may repeat at any distance: compare the tokens instead.",
            score_of_fixed_lag,
            _reads_one_stripe,
        ),
    ),
    passed=(
        "Checked query by query, on repeats and on rows with accidental repeats, and "
        "on a hand-made induction head, which scores 1. Working from equal tokens "
        "instead of a fixed offset also works on ordinary text."
    ),
)
