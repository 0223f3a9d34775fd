"""Chapter 6, `in_context_learning_score`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch6_training_dynamics import shared

__all__ = ["CHECK"]


def judge_in_context_learning_score(answer) -> None:
    ramp = torch.arange(11.0).expand(3, -1) / 4
    result = expect.number(answer(4 + ramp, (1, 3), (7, 10)))
    expect.true(
        result > 0,
        "These losses rise with the position, so the score should be positive. Yours "
        "is not.",
    )
    result = expect.number(answer(4 - ramp, (1, 3), (7, 10)))
    expect.true(
        result < 0,
        "These losses fall with the position, so the context is used and the score "
        "should be negative. Yours is not.",
    )
    for seed, shape, early, late in (
        (0, (4, 13), (2, 5), (8, 12)),
        (1, (2, 9), (1, 2), (6, 9)),
        (2, (7, 16), (3, 4), (9, 16)),
    ):
        losses = shared.random(*shape, seed=seed).abs() * 4
        result = expect.number(answer(losses, early, late))
        means = []
        for first, last in (early, late):
            band = [row[i] for row in losses.tolist() for i in range(first, last)]
            means.append(sum(band) / len(band))
        expect.close(
            result,
            means[1] - means[0],
            f"The score of the bands {early} and {late} does not match sums by hand.",
        )


def _band_means(losses, early, late, shift=(0, 0)):
    bands = [slice(band[0] + shift[0], band[1] + shift[1]) for band in (early, late)]
    return losses[:, bands[0]].mean(), losses[:, bands[1]].mean()


def icl_reversed(losses, early, late):
    before, after = _band_means(losses, early, late)
    return before - after


def icl_last_included(losses, early, late):
    before, after = _band_means(losses, early, late, (0, 1))
    return after - before


def icl_by_token_number(losses, early, late):
    before, after = _band_means(losses, early, late, (-1, -1))
    return after - before


def icl_single_positions(losses, early, late):
    return losses[:, late[0]].mean() - losses[:, early[0]].mean()


def icl_size_only(losses, early, late):
    before, after = _band_means(losses, early, late)
    return (after - before).abs()


def icl_ratio(losses, early, late):
    before, after = _band_means(losses, early, late)
    return after / before


def icl_of_all(losses, early, late):
    return losses[:, slice(*late)].mean() - losses.mean()


CHECK = Check(
    name="in_context_learning_score",
    judge=judge_in_context_learning_score,
    hints=(
        "Two means and one difference. Which of the two comes first decides the sign, "
        "so say in words what negative is to mean.",
        "`losses[:, first:last]` are the columns of a band, the last one not included. "
        "Take the mean over rows and columns of each band.",
        "`losses[:, late[0] : late[1]].mean() - losses[:, early[0] : early[1]].mean()`,"
        " as a float.",
    ),
    mistakes=(
        Mistake(
            "sign",
            "You subtract the late loss from the early one. The score is late minus "
            "early: it is negative for a model that uses its context. The paper itself "
            "writes it both ways, so it pays to say which.",
            icl_reversed,
            swap=("after.mean() - before.mean()", "before.mean() - after.mean()"),
        ),
        Mistake(
            "last column included",
            "You count the column `last` as part of the band. Like a slice in Python, "
            "a band ends before it.",
            icl_last_included,
        ),
        Mistake(
            "token numbers",
            "You moved the bands by one, as if they gave token numbers. They give "
            "columns, and column i is already the loss of token i + 1.",
            icl_by_token_number,
        ),
        Mistake(
            "single positions",
            "You used one position of each band. The loss at one position depends a "
            "lot on which texts are there; the mean over a band is steadier.",
            icl_single_positions,
        ),
        Mistake(
            "size only",
            "You took the absolute value. The sign tells whether late tokens are "
            "easier or harder, so keep it.",
            icl_size_only,
        ),
        Mistake(
            "ratio",
            "You divided. The score is a difference, in nats.",
            icl_ratio,
            swap=("after.mean() - before.mean()", "after.mean() / before.mean()"),
        ),
        Mistake(
            "against all positions",
            "You compare the late band with all positions, which contain it. Compare "
            "it with the early band.",
            icl_of_all,
        ),
    ),
    passed=(
        "Checked against sums by hand for three pairs of bands of different lengths, "
        "and for its sign on losses that only rise or only fall. The size of the "
        "model's loss drops out of the difference: what is left is what the position "
        "in the text is worth."
    ),
)
