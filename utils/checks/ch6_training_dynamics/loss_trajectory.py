"""Chapter 6, `loss_trajectory`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch6_training_dynamics import shared

__all__ = ["CHECK"]


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
    waves = waves + 0.3 * shared.random(runs, snapshots, 3, seed=seed)
    offsets = 2 * shared.random(runs, 1, tokens, seed=seed + 10)
    common = 5 + 2 * shared.random(tokens, seed=seed + 20)
    directions = shared.random(3, tokens, seed=seed + 30)
    return waves @ directions + offsets + common


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


CHECK = Check(
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
            swap=("points.mean(dim=0)", "points.mean(dim=1, keepdim=True)"),
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
            swap=(" * sizes[:n_components]", ""),
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
