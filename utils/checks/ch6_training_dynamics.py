"""Checks, hints, known mistakes and predictions of chapter 6."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Choice, Mistake, Prediction, expect

__all__ = ["CHECKS", "PREDICTIONS"]


def _random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _parts(result, names: tuple[str, ...]) -> tuple:
    """The result as a tuple with as many parts as there are names."""
    expect.true(
        isinstance(result, list | tuple) and len(result) == len(names),
        f"The result should be a tuple of {len(names)}: {', '.join(names)}.",
    )
    return tuple(result)


# --- in_context_learning_score --------------------------------------------------------


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
        losses = _random(*shape, seed=seed).abs() * 4
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


IN_CONTEXT_LEARNING_SCORE = Check(
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


# --- phase_change_step ----------------------------------------------------------------

UNEVEN = [0.0, 10, 20, 35, 60, 100, 150, 170, 180, 240, 300, 420]
# Steps, scores and width. The second ends where it peaks and turns; the third begins
# late; the fourth never changes; in the fifth two windows are equal; in the last one
# the largest change runs against the whole.
CURVES = (
    (UNEVEN, [0, 0, -0.1, -0.1, -0.2, -0.3, -1.9, -3, -3.1, -3.3, -3.2, -3.6], 0.15),
    (UNEVEN, [0, 0.1, 0.1, 0.4, 0.6, 1, 3, 4.1, 4.3, 3.6, 2.9, 2.5], 0.3),
    ([200.0, 230, 280, 300, 410, 500], [5, 4.9, 4.2, 2.0, 1.8, 1.5], 0.2),
    ([0.0, 4, 6, 16], [2.5, 2.5, 2.5, 2.5], 0.25),
    ([0.0, 4, 8, 12, 16], [0, -1, -1, -2, -2], 0.25),
    ([0.0, 10, 30, 40, 80], [0, 0.5, 4, 2, -1], 0.25),
)


def judge_phase_change_step(answer) -> None:
    for steps, scores, width in CURVES:
        result = answer(torch.tensor(steps), torch.tensor(scores), width)
        names = ("the step in the middle of the window", "the share of the change")
        middle, share = (expect.number(part) for part in _parts(result, names))
        right_middle, right_share = _window_by_hand(steps, scores, width)
        where = f"With snapshots at steps {steps} and a width of {width}"
        expect.close(
            middle, right_middle, f"{where}, the middle is not right.", atol=1e-3
        )
        expect.close(share, right_share, f"{where}, the share is not right.", atol=1e-4)


def _at(step: float, steps: list, scores: list) -> float:
    """The score at a step, on straight lines between snapshots."""
    for i in range(len(steps) - 1):
        if steps[i] <= step <= steps[i + 1]:
            part = (step - steps[i]) / (steps[i + 1] - steps[i])
            return scores[i] + part * (scores[i + 1] - scores[i])
    return scores[-1]


def _window_by_hand(steps: list, scores: list, width: float) -> tuple[float, float]:
    length = width * (steps[-1] - steps[0])
    best, middle = -1.0, 0.0
    for start, score in zip(steps, scores, strict=True):
        if start + length > steps[-1]:
            break
        change = _at(start + length, steps, scores) - score
        if abs(change) > best:
            best, middle, chosen = abs(change), start + length / 2, change
    total = scores[-1] - scores[0]
    return middle, chosen / total if total else 0.0


def _windows(steps, scores, width, length=None, interpolate=True):
    """Beginnings and changes of all windows, for the mistakes."""
    steps, scores = steps.double(), scores.double()
    if length is None:
        length = width * (steps[-1] - steps[0])
    starts = steps[steps + length <= steps[-1]]
    changes = []
    for i, start in enumerate(starts.tolist()):
        end = start + length
        at_end = _at(float(end), steps.tolist(), scores.tolist())
        if not interpolate:
            at_end = scores[steps <= end][-1].item()
        changes.append(at_end - scores[i].item())
    return starts, torch.tensor(changes, dtype=torch.float64), float(length)


def _result(starts, changes, length, scores, best) -> tuple[float, float]:
    total = (scores[-1] - scores[0]).item()
    share = changes[best].item() / total if total else 0.0
    return starts[best].item() + length / 2, share


def change_by_snapshots(steps, scores, width=0.15):
    n = max(1, round(width * (len(steps) - 1)))
    changes = scores[n:] - scores[:-n]
    best = changes.abs().argmax()
    total = (scores[-1] - scores[0]).item()
    middle = (steps[best] + steps[best + n]).item() / 2
    return middle, changes[best].item() / total if total else 0.0


def change_at_steepest(steps, scores, width=0.15):
    slopes = scores.diff() / steps.diff()
    best = slopes.abs().argmax()
    total = (scores[-1] - scores[0]).item()
    share = scores.diff()[best].item() / total if total else 0.0
    return (steps[best] + steps[best + 1]).item() / 2, share


def change_only_down(steps, scores, width=0.15):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.argmin())


def change_only_up(steps, scores, width=0.15):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.argmax())


def change_at_start(steps, scores, width=0.15):
    middle, share = change_right(steps, scores, width)
    return middle - width * (steps[-1] - steps[0]).item() / 2, share


def change_right(steps, scores, width):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_not_interpolated(steps, scores, width=0.15):
    starts, changes, length = _windows(steps, scores, width, interpolate=False)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_of_last_step(steps, scores, width=0.15):
    length = width * steps[-1].item()
    starts, changes, length = _windows(steps, scores, width, length)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_share_of_score(steps, scores, width=0.15):
    starts, changes, length = _windows(steps, scores, width)
    best = changes.abs().argmax()
    share = changes[best].item() / scores[-1].item()
    return starts[best].item() + length / 2, share


def change_share_unsigned(steps, scores, width=0.15):
    middle, share = change_right(steps, scores, width)
    return middle, abs(share)


PHASE_CHANGE_STEP = Check(
    name="phase_change_step",
    judge=judge_phase_change_step,
    hints=(
        "Slide a window of fixed length, counted in steps, along the run. For each "
        "place you need the score at both its ends, and only one of them is a "
        "snapshot.",
        "`length = width * (steps[-1] - steps[0])`. Windows begin at every step s with "
        "s + length <= steps[-1]. For the score at the end find the snapshots on both "
        "sides (`torch.searchsorted`, or a loop) and go part of the way between them.",
        "With `hi = torch.searchsorted(steps, ends).clamp(1, len(steps) - 1)`: `part ="
        " (ends - steps[hi-1]) / (steps[hi] - steps[hi-1])`, `at_end = scores[hi-1] + "
        "part * (scores[hi] - scores[hi-1])`, `change = at_end - scores[:len(ends)]`, "
        "and `best = change.abs().argmax()`.",
    ),
    mistakes=(
        Mistake(
            "counted in snapshots",
            "You measured the window in snapshots. They are not evenly spaced, so a "
            "number of snapshots is not a number of steps. A place with many snapshots "
            "would look slow.",
            change_by_snapshots,
        ),
        Mistake(
            "steepest interval",
            "You took the steepest piece between two neighbouring snapshots. That "
            "depends on how often one measured; the window has a fixed length.",
            change_at_steepest,
        ),
        Mistake(
            "only falls",
            "You look for the largest fall only. Some scores rise, so compare changes "
            "by their absolute value.",
            change_only_down,
        ),
        Mistake(
            "only rises",
            "You look for the largest rise only. An in-context learning score falls "
            "when it gets better, so compare changes by their absolute value.",
            change_only_up,
        ),
        Mistake(
            "beginning of the window",
            "You return the step at which the window begins. Return its middle.",
            change_at_start,
        ),
        Mistake(
            "no interpolation",
            "You use the last snapshot inside the window. Then windows have different "
            "lengths. Take the score on the straight line between snapshots.",
            change_not_interpolated,
        ),
        Mistake(
            "share of the last step",
            "You took a share of the last step's number. The whole run goes from the "
            "first snapshot to the last.",
            change_of_last_step,
        ),
        Mistake(
            "share of the score",
            "You divided by the score at the end. The share is of the change from the "
            "first snapshot to the last.",
            change_share_of_score,
        ),
        Mistake(
            "share without sign",
            "Your share has lost its sign. It is negative when the window's change "
            "runs against the change of the whole run.",
            change_share_unsigned,
        ),
    ),
    passed=(
        "Checked on six curves with uneven steps, among them a rising one, one that "
        "turns back, one that never changes and one with a tie. A share far above the "
        "width of the window is what one may call sudden."
    ),
)


# --- loss_by_log_position -------------------------------------------------------------


def judge_loss_by_log_position(answer) -> None:
    names = ("the place of each bin", "its loss", "the slopes")
    line = 5 - 0.4 * torch.arange(1.0, 24.0).log()
    cases = (
        (_random(3, 23, seed=0).abs() * 3, 4),
        (_random(2, 30, seed=1).abs() * 3, 11),
        (line.expand(2, -1).clone(), 5),
    )
    for losses, n_bins in cases:
        expected = _bins_by_hand(losses.tolist(), n_bins)
        n = len(expected[0])
        parts = _parts(answer(losses, n_bins), names)
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
    """The definition, one position at a time."""
    n = len(rows[0])
    logs: dict[int, list[float]] = {}
    losses: dict[int, list[float]] = {}
    for p in range(1, n + 1):
        k = math.floor(n_bins * math.log(p) / math.log(n + 1))
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


LOSS_BY_LOG_POSITION = Check(
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
        ),
        Mistake(
            "not divided",
            "Your slopes are plain differences between bins. They should not depend on "
            "how many bins there are: divide by the distance in ln p.",
            bins_not_divided,
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
        "Checked position by position for two sizes, with bins that stay empty, and on "
        "a loss that is a straight line in ln p, whose slope has to be the same "
        "everywhere."
    ),
)


# --- loss_trajectory ------------------------------------------------------------------


def judge_loss_trajectory(answer) -> None:
    for seed, shape, n in ((0, (3, 7, 19), 2), (1, (2, 9, 23), 3), (2, (1, 8, 5), 1)):
        losses = _paths(*shape, seed=seed)
        result = expect.tensor(
            answer(losses, n), run=shape[0], snapshot=shape[1], component=n
        )
        flat = result.reshape(-1, n)
        expect.close(
            flat.mean(0),
            torch.zeros(n),
            "The mean over all runs and snapshots should be 0 in each component: "
            "subtract from each token's loss its mean over all of them.",
            atol=1e-3,
        )
        sizes = flat.norm(dim=0)
        expect.true(
            (sizes.diff() < 1e-4).all(),
            "The strongest component should come first.",
        )
        expected = _components(losses, n)
        expect.close(
            torch.cdist(flat, flat),
            torch.cdist(expected, expected),
            "The distances between snapshots are not those along the strongest "
            "directions.",
            atol=1e-3,
        )
        signs = (flat * expected).sum(0).sign()
        expect.close(
            flat * signs,
            expected,
            "The components are not the directions of largest variance, one by one.",
            atol=1e-3,
        )


def _paths(runs: int, snapshots: int, tokens: int, seed: int) -> Tensor:
    """Paths along a few strong directions, each run from a place of its own."""
    time = torch.linspace(0, 1, snapshots)
    waves = torch.stack([8 * time, 3 * (4 * time).sin(), (7 * time).cos()], dim=-1)
    waves = waves + 0.3 * _random(runs, snapshots, 3, seed=seed)
    offsets = 2 * _random(runs, 1, tokens, seed=seed + 10)
    shared = 5 + 2 * _random(tokens, seed=seed + 20)
    directions = _random(3, tokens, seed=seed + 30)
    return waves @ directions + offsets + shared


def _components(losses: Tensor, n: int) -> Tensor:
    """Coordinates in float64, by the eigenvectors of the covariance."""
    points = losses.double().flatten(0, 1)
    centred = points - points.mean(0)
    _, directions = torch.linalg.eigh(centred.T @ centred)
    return centred @ directions.flip(1)[:, :n]


def _by_svd(points: Tensor, n: int) -> Tensor:
    left, sizes, _ = torch.linalg.svd(points, full_matrices=False)
    return left[:, :n] * sizes[:n]


def _shaped(points: Tensor, losses: Tensor) -> Tensor:
    return points.reshape(*losses.shape[:2], -1)


def trajectory_not_centred(losses, n_components=2):
    return _shaped(_by_svd(losses.flatten(0, 1), n_components), losses)


def trajectory_centred_by_run(losses, n_components=2):
    centred = losses - losses.mean(1, keepdim=True)
    return _shaped(_by_svd(centred.flatten(0, 1), n_components), losses)


def trajectory_centred_by_snapshot(losses, n_components=2):
    centred = losses - losses.mean(2, keepdim=True)
    return _shaped(_by_svd(centred.flatten(0, 1), n_components), losses)


def trajectory_run_by_run(losses, n_components=2):
    centred = losses - losses.mean(1, keepdim=True)
    return torch.stack([_by_svd(run, n_components) for run in centred])


def _centred(losses: Tensor) -> Tensor:
    points = losses.flatten(0, 1)
    return points - points.mean(0)


def trajectory_of_length_one(losses, n_components=2):
    left = torch.linalg.svd(_centred(losses), full_matrices=False)[0]
    return _shaped(left[:, :n_components], losses)


def trajectory_standardised(losses, n_components=2):
    points = _centred(losses)
    return _shaped(_by_svd(points / points.std(0), n_components), losses)


def trajectory_weakest(losses, n_components=2):
    points = _centred(losses)
    _, directions = torch.linalg.eigh(points.T @ points)
    return _shaped(points @ directions[:, :n_components], losses)


LOSS_TRAJECTORY = Check(
    name="loss_trajectory",
    judge=judge_loss_trajectory,
    hints=(
        "Put the snapshots of all runs into one long list of points first. Runs only "
        "come apart again at the very end.",
        "Subtract the mean over all points, then `torch.linalg.svd(points, "
        "full_matrices=False)` gives U, S, V. The coordinates of the points along the "
        "strongest directions are the first columns of U, each times its S.",
        "`points = rearrange(losses, 'run snapshot token -> (run snapshot) token')`, "
        "`points = points - points.mean(dim=0)`, `U, S, _ = torch.linalg.svd(points, "
        "full_matrices=False)`, then `U[:, :n] * S[:n]` in the shape "
        "[run, snapshot, n].",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You did not subtract the mean. Then the first direction just points from "
            "zero to the middle of the cloud, and says how high losses are.",
            trajectory_not_centred,
        ),
        Mistake(
            "centred run by run",
            "You subtracted each run's own mean. That puts all runs on top of each "
            "other and hides how far apart they are. Use one mean for all.",
            trajectory_centred_by_run,
        ),
        Mistake(
            "centred over tokens",
            "You subtracted from each snapshot its mean over tokens. The mean is to be "
            "taken over runs and snapshots, for each token alone.",
            trajectory_centred_by_snapshot,
        ),
        Mistake(
            "each run by itself",
            "You found directions for each run alone. Then the axes of two runs mean "
            "different things, and their paths cannot be compared.",
            trajectory_run_by_run,
        ),
        Mistake(
            "scaled to length one",
            "You return columns of U, all of length 1. Multiply each by its singular "
            "value, so that distances are in nats again.",
            trajectory_of_length_one,
        ),
        Mistake(
            "standardised",
            "You divided each token's loss by its spread. All tokens are in nats "
            "already; tokens whose loss hardly changes should count little.",
            trajectory_standardised,
        ),
        Mistake(
            "weakest directions",
            "You took the directions of smallest variance. `eigh` sorts upwards, so "
            "the strongest come last.",
            trajectory_weakest,
        ),
    ),
    passed=(
        "Checked on three sets of paths: mean zero, strongest first, distances between "
        "snapshots and each component up to its sign. One set of axes for all runs is "
        "what makes their paths comparable."
    ),
)


# --- smear_keys -----------------------------------------------------------------------


def judge_smear_keys(answer) -> None:
    for seed, shape in ((0, (2, 5, 3, 4)), (1, (3, 6, 2, 7))):
        k, alpha = _random(*shape, seed=seed), 2 * _random(shape[2], seed=seed + 5)
        names = dict(zip(("batch", "pos", "head", "d_head"), shape, strict=True))
        result = expect.tensor(answer(k, alpha), **names)
        expect.close(
            result[:, 0],
            k[:, 0],
            "The first position has no key before it, so its key should stay.",
        )
        expect.close(
            result, _smeared_by_hand(k, alpha), "Some keys do not match sums by hand."
        )


def _smeared_by_hand(k: Tensor, alpha: Tensor) -> Tensor:
    result = k.double().clone()
    for head, a in enumerate(alpha.tolist()):
        own = 1 / (1 + math.exp(-a))
        for j in range(1, k.shape[1]):
            mixed = own * k[:, j, head].double() + (1 - own) * k[:, j - 1, head]
            result[:, j, head] = mixed
    return result


def _mixed(k: Tensor, other: Tensor, alpha: Tensor) -> Tensor:
    own = alpha.sigmoid()[:, None]
    return own * k + (1 - own) * other


def smear_shares_swapped(k, alpha):
    before = torch.cat([k[:, :1], k[:, :-1]], 1)
    return _mixed(k, before, -alpha)


def smear_next(k, alpha):
    return _mixed(k, torch.cat([k[:, 1:], k[:, -1:]], 1), alpha)


def smear_around(k, alpha):
    return _mixed(k, k.roll(1, dims=1), alpha)


def smear_first_shrunk(k, alpha):
    before = torch.cat([torch.zeros_like(k[:, :1]), k[:, :-1]], 1)
    return _mixed(k, before, alpha)


def smear_without_sigmoid(k, alpha):
    before = torch.cat([k[:, :1], k[:, :-1]], 1)
    own = alpha[:, None]
    return own * k + (1 - own) * before


def smear_over_and_over(k, alpha):
    keys = [k[:, 0]]
    for j in range(1, k.shape[1]):
        keys.append(_mixed(k[:, j], keys[-1], alpha))
    return torch.stack(keys, 1)


def smear_heads(k, alpha):
    before = torch.cat([k[:, :, :1], k[:, :, :-1]], 2)
    return _mixed(k, before, alpha)


def smear_added(k, alpha):
    smeared = k.clone()
    smeared[:, 1:] += alpha.sigmoid()[:, None] * k[:, :-1]
    return smeared


SMEAR_KEYS = Check(
    name="smear_keys",
    judge=judge_smear_keys,
    hints=(
        "Line up two copies of the keys, one moved by a position, and mix them.",
        "`k[:, 1:]` are all keys but the first, `k[:, :-1]` the keys just before them. "
        "`alpha.sigmoid()[:, None]` has the shape [head, 1] and fits to the last two "
        "axes.",
        "`s = alpha.sigmoid()[:, None]`, `new = k.clone()`, then `new[:, 1:] = s * "
        "k[:, 1:] + (1 - s) * k[:, :-1]`.",
    ),
    mistakes=(
        Mistake(
            "shares swapped",
            "You swapped the shares: sigmoid(alpha) belongs to the key's own position, "
            "the rest to the one before.",
            smear_shares_swapped,
        ),
        Mistake(
            "the next key",
            "You mixed in the key **after** each position. That lets a head see the "
            "future.",
            smear_next,
        ),
        Mistake(
            "the last key",
            "Your first key was mixed with the last one, as `roll` does. The first "
            "position has no neighbour and stays as it is.",
            smear_around,
        ),
        Mistake(
            "first key shrunk",
            "Your first key was mixed with zeros. It should stay as it is.",
            smear_first_shrunk,
        ),
        Mistake(
            "no sigmoid",
            "You used alpha itself as the share. alpha can be any number; its sigmoid "
            "lies between 0 and 1.",
            smear_without_sigmoid,
        ),
        Mistake(
            "smeared again and again",
            "You mixed in keys that were smeared already, so each key holds a bit of "
            "all before it. Use the old keys.",
            smear_over_and_over,
        ),
        Mistake(
            "along the heads",
            "You mixed neighbouring heads. The axes are [batch, pos, head, d_head].",
            smear_heads,
        ),
        Mistake(
            "added",
            "You added a part of the key before and kept the whole own key. The two "
            "shares add up to 1.",
            smear_added,
        ),
    ),
    passed=(
        "Checked key by key for two shapes with another alpha for each head. With this "
        "one change a key can say what stood just before it, which otherwise takes a "
        "whole layer."
    ),
)


CHECKS = (
    IN_CONTEXT_LEARNING_SCORE,
    PHASE_CHANGE_STEP,
    LOSS_BY_LOG_POSITION,
    LOSS_TRAJECTORY,
    SMEAR_KEYS,
)


PREDICTIONS = (
    Prediction(
        name="whose_score",
        question=(
            "A bigram table sees the current token only. Windows of text are cut at "
            "random places. What will its in-context learning score be?"
        ),
        choices=(
            Choice(
                "Exactly 0: it uses no context.",
                "It would be, with endlessly many windows. With a hundred, the late "
                "tokens may happen to be harder or easier than the early ones.",
            ),
            Choice(
                "Near 0, and whatever it is, is luck of the windows.",
                "It uses no context, so only the choice of windows can make late "
                "tokens easier or harder. The same luck is in the model's score, which "
                "is why it is taken off.",
            ),
            Choice(
                "Clearly negative: later text is easier to predict.",
                "Later text is easier for a reader who remembers. And since windows "
                "are cut at random places, late tokens are no other kind of token.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="one_layer_repeats",
        question=(
            "A one-layer model is trained on text with 13 % rows of repeated random "
            "tokens. Chance is ln 512 = 6.24 nats. Where will its loss on such repeats "
            "be after 500 steps?"
        ),
        choices=(
            Choice(
                "Near ln(25!)/25 = 2.32: it learns which tokens are around.",
                "One layer could copy what is around, but copying all tokens alike "
                "costs it on text, which is most of what it reads. It does not get "
                "there.",
            ),
            Choice(
                "At chance: it can do nothing about them.",
                "It can do worse than nothing. Chance is what a model reaches that "
                "spreads its guess evenly, and this one has learned not to.",
            ),
            Choice(
                "Above chance.",
                "It has learned which tokens follow each other in text, and it is "
                "sure of them in noise too. It has no head that finds the right place.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="text_alone",
        question=(
            "A two-layer model has seen text alone. On random tokens repeated, what "
            "becomes of its best prefix-matching score and of its loss (chance: 6.93 "
            "nats)?"
        ),
        choices=(
            Choice(
                "The score rises and the loss falls far below chance.",
                "So it is with repeats in the data. From text alone a head learns to "
                "match, but not to be sure of a token that makes no sense there.",
            ),
            Choice(
                "The score rises, the loss stays above chance.",
                "Matching carries over to random tokens; copying them with confidence "
                "does not. One score alone would have misled you.",
            ),
            Choice(
                "Neither moves: text teaches nothing about noise.",
                "Text repeats itself too, and a head that matches tokens does so for "
                "any token, at least in part.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="coincide",
        question=(
            "For each of three two-layer runs, three windows of largest change: of "
            "in-context learning, of prefix matching on random tokens, and of the gap "
            "in text loss to one layer. How far apart will their middles be?"
        ),
        choices=(
            Choice(
                "At the same snapshot: they are one event.",
                "They belong together, but they measure different things. Heads that "
                "help with text need more time to work on random tokens.",
            ),
            Choice(
                "Within a tenth of the training, prefix matching last.",
                "Close enough to belong together, and in the same order each time.",
            ),
            Choice(
                "Far apart, and in a different order in each run.",
                "Then they would have little to do with each other. Three seeds say "
                "otherwise.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="contradicted",
        question=(
            "While induction forms, the loss on continued tokens falls by over a nat. "
            "What does the loss on contradicted tokens do, where the last continuation "
            "is the wrong guess?"
        ),
        choices=(
            Choice(
                "It rises by about as much.",
                "That would be a model that bets everything on repetition. Then its "
                "loss on text could not fall.",
            ),
            Choice(
                "It rises a little, on average.",
                "This is what the paper's examples suggest. Here the average falls: "
                "whatever the wrong guess costs, the rest that is learned meanwhile "
                "is worth more.",
            ),
            Choice(
                "It falls, by about as much as with one layer.",
                "On average these models pay no price. The paper shows passages where "
                "a price is paid; an average over all tokens is another question.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="smeared",
        question=(
            "Each key is mixed with the key before it, with a trained share. What will "
            "a **one-layer** model do with that?"
        ),
        choices=(
            Choice(
                "Nothing new: induction needs two layers.",
                "It needs keys that know their neighbour. Normally that takes a layer; "
                "here the architecture gives it away.",
            ),
            Choice(
                "Induction, sooner than two plain layers.",
                "The half that two layers have to find first, the previous-token head, "
                "is built in. Only the matching head is left to learn.",
            ),
            Choice(
                "Induction, but later than two layers: it has fewer parameters.",
                "Size is not what delays two layers. They wait for two heads of which "
                "each is of little use without the other.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="fixed_lag",
        question=(
            "All synthetic repeats in the data come after exactly 40 tokens. What will "
            "the best head of a one-layer model score for prefix matching?"
        ),
        choices=(
            Choice(
                "Low everywhere: one layer cannot do it.",
                "It cannot match. But always looking the same distance back takes no "
                "matching, only positions.",
            ),
            Choice(
                "High at lag 40, low at any other.",
                "A head that looks 39 positions back hits the right token whenever the "
                "lag is 40, and never otherwise.",
            ),
            Choice(
                "High at every lag: once it is learned, it is learned.",
                "What was learned is a distance. Nothing in the data asked for more.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="three_layers",
        question=(
            "A three-layer model can put its matching heads into layer 1 or layer 2 "
            "(counted from 0). Where will the best one be?"
        ),
        choices=(
            Choice(
                "In layer 1, right above the previous-token head.",
                "It could work there. But a head in the last layer reads a stream to "
                "which two layers have added, and speaks to the logits directly.",
            ),
            Choice(
                "In layer 2, the last.",
                "So the paper reports for attention-only models of every depth, and so "
                "it is here in every seed.",
            ),
            Choice(
                "In either, depending on the seed.",
                "It would be so if nothing spoke for one of them. The seeds agree.",
            ),
        ),
        right=1,
    ),
)
