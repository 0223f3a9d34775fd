"""Chapter 6, `phase_change_step`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch6_training_dynamics import shared

__all__ = ["CHECK"]


UNEVEN = [0.0, 10, 20, 35, 60, 100, 150, 170, 180, 240, 300, 420]


TENS = [float(i) for i in range(0, 101, 10)]


# Steps, scores and width. The second ends where it peaks and turns; the third begins
# late; the fourth never changes; in the fifth two windows are equal; in the sixth the
# largest change runs against the whole. Then: a jump at the end that no window holds
# whole; one that only the last window holds; a run of two snapshots; a first score that
# is not 0; a window that is the whole run.
CURVES = (
    (UNEVEN, [0, 0, -0.1, -0.1, -0.2, -0.3, -1.9, -3, -3.1, -3.3, -3.2, -3.6], 0.15),
    (UNEVEN, [0, 0.1, 0.1, 0.4, 0.6, 1, 3, 4.1, 4.3, 3.6, 2.9, 2.5], 0.3),
    ([200.0, 230, 280, 300, 410, 500], [5, 4.9, 4.2, 2.0, 1.8, 1.5], 0.2),
    ([0.0, 4, 6, 16], [2.5, 2.5, 2.5, 2.5], 0.25),
    ([0.0, 4, 8, 12, 16], [0, -1, -1, -2, -2], 0.25),
    ([0.0, 10, 30, 40, 80], [0, 0.5, 4, 2, -1], 0.25),
    (TENS, [0.0] * 10 + [1.0], 0.15),
    ([0.0, 4, 8, 12, 16], [0, 0, 0, 0, -3], 0.25),
    ([50.0, 90], [2, -1], 0.5),
    ([0.0, 1, 2, 50, 100], [7, 5, 5, 4, 1], 0.02),
    ([0.0, 30, 40, 100], [1, 4, 2, 3], 1.0),
)


def judge_phase_change_step(answer) -> None:
    for steps, scores, width in CURVES:
        # Whole numbers would make a tensor of integers.
        tensors = torch.tensor(steps), torch.tensor(scores, dtype=torch.float32)
        result = answer(*tensors, width)
        names = ("the step in the middle of the window", "the share of the change")
        middle, share = (expect.number(part) for part in shared.parts(result, names))
        right_middle, right_share = _window_by_hand(steps, scores, width)
        where = f"With snapshots at steps {steps}, scores {scores} and width {width}"
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


def change_by_snapshots(steps, scores, width=0.25):
    n = max(1, round(width * (len(steps) - 1)))
    changes = scores[n:] - scores[:-n]
    best = changes.abs().argmax()
    total = (scores[-1] - scores[0]).item()
    middle = (steps[best] + steps[best + n]).item() / 2
    return middle, changes[best].item() / total if total else 0.0


def change_at_steepest(steps, scores, width=0.25):
    slopes = scores.diff() / steps.diff()
    best = slopes.abs().argmax()
    total = (scores[-1] - scores[0]).item()
    share = scores.diff()[best].item() / total if total else 0.0
    return (steps[best] + steps[best + 1]).item() / 2, share


def change_only_down(steps, scores, width=0.25):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.argmin())


def change_only_up(steps, scores, width=0.25):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.argmax())


def change_at_start(steps, scores, width=0.25):
    middle, share = change_right(steps, scores, width)
    return middle - width * (steps[-1] - steps[0]).item() / 2, share


def change_right(steps, scores, width):
    starts, changes, length = _windows(steps, scores, width)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_not_interpolated(steps, scores, width=0.25):
    starts, changes, length = _windows(steps, scores, width, interpolate=False)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_of_last_step(steps, scores, width=0.25):
    length = width * steps[-1].item()
    starts, changes, length = _windows(steps, scores, width, length)
    return _result(starts, changes, length, scores, changes.abs().argmax())


def change_share_of_score(steps, scores, width=0.25):
    starts, changes, length = _windows(steps, scores, width)
    best = changes.abs().argmax()
    share = changes[best].item() / scores[-1].item()
    return starts[best].item() + length / 2, share


def change_share_unsigned(steps, scores, width=0.25):
    middle, share = change_right(steps, scores, width)
    return middle, abs(share)


CHECK = Check(
    name="phase_change_step",
    judge=judge_phase_change_step,
    hints=(
        "Slide a window of fixed length, counted in steps, along the run. For each "
        "place you need the score at both its ends, and only one of them is a "
        "snapshot.",
        "`length = width * (steps[-1] - steps[0])`. Windows begin at every step s with "
        "s + length <= steps[-1]. For the score at the end find the snapshots on both "
        "sides (`torch.searchsorted`, or a loop) and go part of the way between them.",
        "With `hi = torch.searchsorted(steps, ends)`: `part = (ends - steps[hi-1]) / "
        "(steps[hi] - steps[hi-1])`, `at_end = scores[hi-1] + part * (scores[hi] - "
        "scores[hi-1])`, `change = at_end - scores[:len(ends)]`, and `best = "
        "change.abs().argmax()`.",
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
            swap=("changes.abs().argmax()", "changes.argmin()"),
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
            swap=("(starts[best] + length / 2).item()", "starts[best].item()"),
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
        "Checked on eleven curves, most with uneven steps, among them a rising one, "
        "one that turns back, one that never changes and one with a tie. A share far "
        "above the width of the window is what one may call sudden."
    ),
)
