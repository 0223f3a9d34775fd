"""Training dynamics: when induction appears, and how one can tell.

The solutions of chapter 6, importable as a library of analyses (paper.md's rows are
cited as O-..). They read what was measured while a model was trained; losses are in
nats.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "in_context_learning_score",
    "loss_by_log_position",
    "loss_trajectory",
    "phase_change_step",
    "smear_keys",
]


def in_context_learning_score(
    losses: Float[Tensor, "row pos"], early: tuple[int, int], late: tuple[int, int]
) -> float:
    """How much easier late tokens of a text are than early ones, in nats.

    Column i of `losses` is the loss of token i + 1; the start token has none. `early`
    and `late` are bands of **columns**, (first, last), where column `first` belongs to
    the band and column `last` does not. The score is the mean loss in the late band
    minus the mean loss in the early band, over all rows. It is negative when later
    tokens are easier, that is when the context is used.

    Example:
        >>> losses = torch.tensor([[6.0, 5.0, 3.0, 2.0, 2.0, 9.0]])
        >>> in_context_learning_score(losses, early=(0, 2), late=(3, 5))
        -3.5

    Source: O-02.
    """
    before, after = losses[:, slice(*early)], losses[:, slice(*late)]
    return (after.mean() - before.mean()).item()


def phase_change_step(
    steps: Float[Tensor, "snapshot"],
    scores: Float[Tensor, "snapshot"],
    width: float = 0.25,
) -> tuple[float, float]:
    """Where a score changes most during training, and how much of its change is there.

    `steps` say after how many updates each snapshot was taken; they rise, and need not
    be evenly spaced. Between snapshots the score is a straight line. All windows are
    `width` times as long as the whole run (last step minus first). One begins at each
    snapshot's step, as far as it ends by the last step. A window's change is the score
    at its end minus the score at its beginning. The window sought has the largest
    change in absolute value; of equal ones, the earliest.

    Returns the step in its middle, and its change divided by the change from the first
    to the last snapshot (0 where that is 0). The share is above 1 when the score partly
    goes back later, and negative when the window's change runs against the whole.

    Steps: (1) the window of the largest change, (2) its share of the whole, (3) windows
    that end between snapshots.

    Example:
        >>> steps = torch.tensor([0.0, 4.0, 8.0, 12.0, 16.0])
        >>> scores = torch.tensor([0.0, 0.0, -1.0, -3.0, -4.0])
        >>> phase_change_step(steps, scores, width=0.25)
        (10.0, 0.5)

    Source: O-04, O-05.
    """
    steps, scores = steps.double(), scores.double()
    length = width * (steps[-1] - steps[0])
    starts = steps[steps + length <= steps[-1]]
    ends = starts + length
    # The snapshots around each end, and how far it is from one to the other.
    after = torch.searchsorted(steps, ends)
    part = (ends - steps[after - 1]) / (steps[after] - steps[after - 1])
    at_end = torch.lerp(scores[after - 1], scores[after], part)
    changes = at_end - scores[: len(starts)]
    best = changes.abs().argmax()
    total = (scores[-1] - scores[0]).item()
    share = changes[best].item() / total if total else 0.0
    return (starts[best] + length / 2).item(), share


def loss_by_log_position(
    losses: Float[Tensor, "row pos"], n_bins: int
) -> tuple[Float[Tensor, "bin"], Float[Tensor, "bin"], Float[Tensor, "bin-1"]]:
    """Loss against the logarithm of the position, and how fast it falls there.

    Column i of `losses` is the loss of the token at position i + 1, so positions p run
    from 1 to n, the number of columns. Bins have equal width in ln p: position p lies
    in bin k when k <= n_bins * ln(p) / ln(n + 1) < k + 1. A bin that holds no position
    is left out, so there can be fewer than n_bins.

    Returns three tensors. The place of each bin: the mean of ln p over its positions.
    Its loss: the mean over all its entries, in nats. The slope between each bin and the
    next: difference of losses divided by difference of places, in nats for each factor
    e of the position.

    Steps: (1) the places, (2) the losses, (3) the slopes.

    Example:
        >>> places, means, slopes = loss_by_log_position(
        ...     torch.tensor([[5.0, 4.0, 4.0, 3.0, 3.0, 2.0, 2.0]]), n_bins=3)
        >>> means
        tensor([5.0000, 4.0000, 2.5000])
        >>> slopes.shape
        torch.Size([2])

    Source: O-08.
    """
    n = losses.shape[1]
    logs = torch.arange(1, n + 1).double().log()
    # A little is added so that a position on an edge is not lost to rounding.
    bins = (n_bins * logs / math.log(n + 1) + 1e-9).long()
    used = bins.unique()
    places = torch.stack([logs[bins == k].mean() for k in used])
    means = torch.stack([losses[:, bins == k].double().mean() for k in used])
    slopes = means.diff() / places.diff()
    return places.float(), means.float(), slopes.float()


def loss_trajectory(
    losses: Float[Tensor, "run snapshot token"], n_components: int = 2
) -> Float[Tensor, "run snapshot component"]:
    """The paths that several trainings take, seen in the losses of single tokens.

    Each snapshot of each run is a point: its losses on the same tokens. Take all points
    of all runs together and subtract from each token's loss the mean over all of them.
    The result holds the coordinates of these centred points along the `n_components`
    directions in which they vary most, the strongest first (principal components;
    directions have length 1, so distances stay in nats). The sign of a component is
    free.

    Steps: (1) centred points, (2) the directions, (3) the lengths.

    Example:
        >>> line = torch.arange(4.0)[None, :, None] * torch.tensor([3.0, 0.0, 4.0])
        >>> loss_trajectory(line, n_components=1).abs().flatten()
        tensor([7.5000, 2.5000, 2.5000, 7.5000])

    Source: O-11.
    """
    points = rearrange(losses, "run snapshot token -> (run snapshot) token").double()
    centred = points - points.mean(dim=0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    coordinates = left[:, :n_components] * sizes[:n_components]
    return rearrange(
        coordinates.to(losses.dtype),
        "(run snapshot) component -> run snapshot component",
        run=len(losses),
    )


def smear_keys(
    k: Float[Tensor, "batch pos head d_head"], alpha: Float[Tensor, "head"]
) -> Float[Tensor, "batch pos head d_head"]:
    """Keys of which each holds a part of the key just before it.

    With s = sigmoid(alpha) for each head, the new key at position j is s times the old
    key at j plus (1 - s) times the **old** key at j - 1. The first position has none
    before it and stays as it is.

    Steps: (1) half of each, (2) the share of each head.

    Example:
        >>> k = torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
        >>> smear_keys(k, alpha=torch.zeros(1)).flatten()
        tensor([1.0000, 1.5000, 3.0000])

    Source: O-20.
    """
    own = alpha.sigmoid()[:, None]
    smeared = k.clone()
    smeared[:, 1:] = own * k[:, 1:] + (1 - own) * k[:, :-1]
    return smeared
