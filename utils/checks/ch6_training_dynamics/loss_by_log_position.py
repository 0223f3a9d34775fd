"""Chapter 6, `loss_by_log_position`: judge, known mistakes and hints."""

import math

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch6_training_dynamics import shared

__all__ = ["CHECK"]


def judge_loss_by_log_position(answer) -> None:
    names = ("the place of each bin", "its loss", "the slopes")
    line = 5 - 0.4 * torch.arange(1.0, 24.0).log()
    cases = (
        (shared.random(3, 23, seed=0).abs() * 3, 4),
        (shared.random(2, 30, seed=1).abs() * 3, 11),
        (line.expand(2, -1).clone(), 5),
        # Positions on the edge of a bin: 2, 4 and 8, then 3 and 9; and a single row.
        (shared.random(2, 15, seed=2).abs() * 3, 4),
        (shared.random(1, 26, seed=3).abs() * 3, 3),
    )
    for losses, n_bins in cases:
        expected = _bins_by_hand(losses.tolist(), n_bins)
        n = len(expected[0])
        parts = shared.parts(answer(losses, n_bins), names)
        places = expect.tensor(parts[0], bin=n)
        means = expect.tensor(parts[1], bin=n)
        slopes = expect.tensor(parts[2], between=n - 1)
        for found, right, name in zip(
            (places, means, slopes), expected, names, strict=True
        ):
            expect.close(
                found,
                torch.tensor(right, dtype=torch.float64),
                f"With {losses.shape[1]} positions and {n_bins} bins, {name} "
                f"{'are' if name == 'the slopes' else 'is'} not right.",
                atol=1e-4,
            )


def _bins_by_hand(rows: list[list[float]], n_bins: int) -> tuple[list, list, list]:
    """The definition, one position at a time, in whole numbers: no edge is rounded."""
    n = len(rows[0])
    logs: dict[int, list[float]] = {}
    losses: dict[int, list[float]] = {}
    for p in range(1, n + 1):
        k = 0
        while (n + 1) ** (k + 1) <= p**n_bins:
            k += 1
        logs.setdefault(k, []).append(math.log(p))
        losses.setdefault(k, []).extend(row[p - 1] for row in rows)
    places = [sum(x) / len(x) for x in logs.values()]
    means = [sum(x) / len(x) for x in losses.values()]
    slopes = [
        (means[i + 1] - means[i]) / (places[i + 1] - places[i])
        for i in range(len(means) - 1)
    ]
    return places, means, slopes


def _binned(losses, bins, logs, place=None):
    used = bins.unique()
    places = [logs[bins == k].mean() if place is None else place(k) for k in used]
    means = torch.stack([losses[:, bins == k].mean() for k in used])
    places = torch.stack([torch.as_tensor(p, dtype=means.dtype) for p in places])
    return places, means, means.diff() / places.diff()


def _log_bins(losses, n_bins):
    n = losses.shape[1]
    logs = torch.arange(1, n + 1).double().log()
    return (n_bins * logs / math.log(n + 1)).long(), logs


def bins_of_equal_positions(losses, n_bins):
    n = losses.shape[1]
    bins = torch.arange(n) * n_bins // n
    return _binned(losses, bins, torch.arange(1, n + 1).double().log())


def bins_slope_per_position(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    places, means, _ = _binned(losses, bins, logs)
    positions = _binned(losses, bins, logs.exp())[0]
    return places, means, means.diff() / positions.diff()


def bins_slope_reversed(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    places, means, slopes = _binned(losses, bins, logs)
    return places, means, -slopes


def bins_not_divided(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    places, means, _ = _binned(losses, bins, logs)
    return places, means, means.diff()


def bins_in_decades(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    return _binned(losses, bins, logs / math.log(10))


def bins_log_of_mean(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    return _binned(losses, bins, logs, lambda k: logs.exp()[bins == k].mean().log())


def bins_positions_for_places(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    places, means, slopes = _binned(losses, bins, logs)
    return places.exp(), means, slopes


def bins_empty_kept(losses, n_bins):
    bins, logs = _log_bins(losses, n_bins)
    places = torch.stack([logs[bins == k].mean() for k in range(n_bins)])
    means = torch.stack([losses[:, bins == k].mean() for k in range(n_bins)])
    return places, means, means.diff() / places.diff()


CHECK = Check(
    name="loss_by_log_position",
    judge=judge_loss_by_log_position,
    hints=(
        "First give every position the number of its bin. After that, everything is a "
        "mean over the positions with the same number.",
        "`logs = torch.arange(1, n + 1).log()` and `bins = (n_bins * logs / "
        "math.log(n + 1)).long()`. `bins.unique()` are the bins that hold anything. "
        "Slopes are `.diff()` of losses over `.diff()` of places.",
        "`places = torch.stack([logs[bins == k].mean() for k in bins.unique()])`, "
        "`means = torch.stack([losses[:, bins == k].mean() for k in bins.unique()])`, "
        "and return `places, means, means.diff() / places.diff()`.",
    ),
    mistakes=(
        Mistake(
            "equal steps of position",
            "Your bins are equally wide in the position. In its logarithm they should "
            "be: 1 to 2 is as far as 100 to 200.",
            bins_of_equal_positions,
        ),
        Mistake(
            "slope per position",
            "Your slopes are per position. Divide by the difference of the logarithms, "
            "so that a doubling counts the same everywhere.",
            bins_slope_per_position,
        ),
        Mistake(
            "slope reversed",
            "Your slopes have the wrong sign: a loss that falls with the position "
            "should have a negative slope.",
            bins_slope_reversed,
            swap=("means.diff() / places.diff()", "-means.diff() / places.diff()"),
        ),
        Mistake(
            "not divided",
            "Your slopes are plain differences between bins. They should not depend on "
            "how many bins there are: divide by the distance in ln p.",
            bins_not_divided,
            swap=("means.diff() / places.diff()", "means.diff()"),
        ),
        Mistake(
            "another logarithm",
            "You took the logarithm to the base 10. Here it is the natural one.",
            bins_in_decades,
        ),
        Mistake(
            "logarithm of the mean",
            "Your places are the logarithm of the mean position. Take the mean of the "
            "logarithms: then a loss that is a straight line in ln p has exactly that "
            "line's slope.",
            bins_log_of_mean,
        ),
        Mistake(
            "places as positions",
            "Your places are positions. They should be logarithms of positions.",
            bins_positions_for_places,
        ),
        Mistake(
            "empty bins",
            "You kept bins that hold no position, and their mean is not a number. "
            "Leave them out.",
            bins_empty_kept,
        ),
    ),
    passed=(
        "Checked position by position for five sizes, with bins that stay empty, "
        "positions on an edge, a single row, and a loss that is a straight line in "
        "ln p, whose slope has to be the same everywhere."
    ),
)
