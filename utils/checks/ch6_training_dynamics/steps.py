"""Chapter 6: the steps of its longer exercises."""

import torch

from utils.checks import Step
from utils.checks.partly import alike, dense

__all__ = ["STEPS"]

EVEN = torch.tensor([0.0, 4.0, 8.0, 12.0, 16.0])
FALL = torch.tensor([0.0, 0.5, -1.0, -3.0, -4.0])


def _between(answer) -> bool:
    """Windows of 2.5: on even steps of 4 they end between snapshots."""
    steps = torch.tensor([0.0, 1.0, 3.0, 6.0, 10.0])
    scores = torch.tensor([0.0, 0.0, -2.0, -2.5, -4.0])
    # From step 1 to 3.5: -2 and a sixth of the next half.
    middle, share = answer(steps, scores, width=0.25)
    return abs(middle - 2.25) < 1e-4 and abs(share - (2 + 0.5 / 6) / 4) < 1e-4


LOSSES = torch.tensor([[5.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0]])


def _by_position(part: int):
    """Bins of positions 1, 2 to 3 and 4 to 7."""
    logs = torch.arange(1.0, 8.0).log()
    places = torch.stack([logs[:1].mean(), logs[1:3].mean(), logs[3:].mean()])
    means = torch.tensor([5.0, 4.0, 2.5])
    wanted = (places, means, means.diff() / places.diff())[part]
    return lambda answer: alike(answer(LOSSES, 3)[part], wanted)


def _runs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 6, generator=generator) + 3.0


def _coordinates(lengths: bool):
    """Up to the sign of each component, and without `lengths` up to a factor."""

    def holds(answer) -> bool:
        points = _runs().flatten(0, 1).double()
        points = points - points.mean(0)
        _, _, directions = torch.linalg.svd(points, full_matrices=False)
        true = points @ directions[:2].T
        found = dense(answer(_runs(), 2)).flatten(0, 1)
        if not lengths:
            found, true = (x / x.norm(dim=0) for x in (found, true))
        return alike(found * (found * true).sum(0).sign(), true)

    return holds


def _keys():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 3, 5, generator=generator)


def _smears(alpha):
    def holds(answer) -> bool:
        k, own = _keys(), torch.tensor(alpha).sigmoid()[:, None]
        wanted = torch.cat([k[:, :1], own * k[:, 1:] + (1 - own) * k[:, :-1]], dim=1)
        return alike(answer(k, torch.tensor(alpha)), wanted)

    return holds


STEPS = {
    "phase_change_step": (
        Step(
            "the window of the largest change",
            lambda answer: abs(answer(EVEN, FALL, width=0.25)[0] - 10) < 1e-4,
        ),
        Step(
            "its share of the whole",
            lambda answer: abs(answer(EVEN, FALL, width=0.25)[1] - 0.5) < 1e-4,
        ),
        Step("windows that end between snapshots", _between),
    ),
    "loss_by_log_position": (
        Step("the places", _by_position(0)),
        Step("the losses", _by_position(1)),
        Step("the slopes", _by_position(2)),
    ),
    "loss_trajectory": (
        Step(
            "centred points",
            lambda answer: alike(
                dense(answer(_runs(), 2)).mean((0, 1)), torch.zeros(2)
            ),
        ),
        Step("the directions", _coordinates(False)),
        Step("the lengths", _coordinates(True)),
    ),
    "smear_keys": (
        Step("half of each", _smears([0.0, 0.0, 0.0])),
        Step("the share of each head", _smears([1.0, -2.0, 0.5])),
    ),
}
