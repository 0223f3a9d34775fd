"""Tokens per second of both trainers, share of the peak, and what a resume costs.

The peak is what torch's own matrix product reaches in the same seconds on the same
threads and in the same number format. A large square shows what the machine can do;
the layers' own sizes show what it can do with matrices as small as these.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from tests.bench_rows import Row, alternately, middle, ratio_text
from tests.bench_rows.contenders import ours, theirs
from utils.models.attention_only import AttentionOnlyConfig
from utils.training.recipes import Recipe

__all__ = ["layer_shapes", "matmul_rate", "resume", "step_flops", "throughput"]

SQUARE = 2048
SKIPPED = 5  # the first updates find cold caches
Shape = tuple[int, int, int]


def step_flops(config: AttentionOnlyConfig, batch_size: int, length: int) -> int:
    """Floating point operations of matrix products in one update.

    Six per weight and token (two on the way forward, four on the way back) for the
    four matrices of each layer and W_U, and the same for scores and mixing, counted as
    full squares, which is what both models compute. An embedding is looked up and not
    multiplied. Optimisers are not counted.

    Example:
        >>> config = AttentionOnlyConfig(0, d_vocab=5, d_model=2)
        >>> step_flops(config, batch_size=1, length=3)
        180
    """
    width = config.n_heads * config.d_head
    per_layer = 4 * config.d_model * width
    weights = config.n_layers * per_layer + config.d_model * config.d_vocab
    attention = 2 * config.n_layers * width * length
    return 6 * batch_size * length * (weights + attention)


def layer_shapes(
    config: AttentionOnlyConfig, batch_size: int, length: int
) -> list[Shape]:
    """The products with weight matrices on the way forward, as (rows, inner, columns).

    Example:
        >>> config = AttentionOnlyConfig(1, d_vocab=7, d_model=6, n_heads=2, d_head=4)
        >>> layer_shapes(config, batch_size=2, length=3)
        [(6, 6, 8), (6, 6, 8), (6, 6, 8), (6, 8, 6), (6, 6, 7)]
    """
    rows, width = batch_size * length, config.n_heads * config.d_head
    d_model = config.d_model
    inward, outward = (rows, d_model, width), (rows, width, d_model)
    layer = [inward] * 3 + [outward]
    return layer * config.n_layers + [(rows, d_model, config.d_vocab)]


@torch.no_grad()
def matmul_rate(shapes: list[Shape], dtype: torch.dtype, seconds: float = 0.3) -> float:
    """Floating point operations per second of torch's products of these shapes.

    All are done in turn, again and again for about `seconds`, after one turn that does
    not count.
    """
    pairs = [
        (torch.ones(rows, inner, dtype=dtype), torch.ones(inner, columns, dtype=dtype))
        for rows, inner, columns in shapes
    ]
    per_turn = sum(2 * rows * inner * columns for rows, inner, columns in shapes)
    turns, start = -1, 0.0
    while turns < 1 or time.perf_counter() - start < seconds:
        if turns == 0:
            start = time.perf_counter()
        for a, b in pairs:
            a @ b
        turns += 1
    return turns * per_turn / (time.perf_counter() - start)


def throughput(recipe: Recipe, rounds: int = 5, steps: int = 25) -> list[Row]:
    """Tokens per second and shares of the peak, ours beside TransformerLens's."""
    dtype = ours(recipe, lambda step: step < 1).dtype
    found = alternately(_measures(recipe, getattr(torch, dtype), steps), rounds)
    sizes, batch_size = recipe.model, recipe.batch_size
    # Ours leaves a row's last token out, because nothing is predicted from it.
    flops = [
        step_flops(sizes, batch_size, length)
        for length in (sizes.n_ctx - 1, sizes.n_ctx)
    ]
    tokens = batch_size * sizes.n_ctx
    speeds = [[tokens / s for s in found[name]] for name in ("ours", "theirs")]
    gain = [a / b for a, b in zip(*speeds, strict=True)]
    first = Row(
        "tokens/s in training",
        f"{middle(speeds[0]):,.0f} ({dtype})",
        f"{middle(speeds[1]):,.0f} (float32)",
        ratio_text(middle(gain)),
    )
    counted = Row(
        "matrix products of one update",
        *(f"{count / 1e9:.2f} GFLOP" for count in flops),
    )
    return [first, counted, *_shares(found, flops)]


def _measures(recipe: Recipe, dtype: torch.dtype, steps: int) -> dict[str, Callable]:
    square = [(SQUARE, SQUARE, SQUARE)]
    own = layer_shapes(recipe.model, recipe.batch_size, recipe.model.n_ctx - 1)
    return {
        "ours": lambda: _seconds_per_step(ours, recipe, steps),
        "theirs": lambda: _seconds_per_step(theirs, recipe, steps),
        "square, ours": lambda: matmul_rate(square, dtype),
        "square, theirs": lambda: matmul_rate(square, torch.float32),
        "own, ours": lambda: matmul_rate(own, dtype),
        "own, theirs": lambda: matmul_rate(own, torch.float32),
    }


def _shares(found: dict[str, list[float]], flops: list[int]) -> list[Row]:
    """Operations per second of training over those of the bare product."""
    rows = []
    names = {
        "square": f"share of a product of {SQUARE:,} by {SQUARE:,}",
        "own": "share of products of the layers' own sizes",
    }
    for kind, what in names.items():
        cells = []
        for name, count in zip(("ours", "theirs"), flops, strict=True):
            rates = found[f"{kind}, {name}"]
            shares = [
                count / seconds / rate
                for seconds, rate in zip(found[name], rates, strict=True)
            ]
            cells.append(f"{middle(shares):.1%} of {middle(rates) / 1e9:,.0f} GFLOP/s")
        rows.append(Row(what, *cells))
    return rows


def _seconds_per_step(contender: Callable, recipe: Recipe, steps: int) -> float:
    """Mean seconds of an update, batches included, without the first few."""
    times = []

    def on_step(step: int) -> bool:
        times.append(time.perf_counter())
        return step < steps

    contender(recipe, on_step)
    return (times[-1] - times[SKIPPED]) / (len(times) - 1 - SKIPPED)


def resume(recipe: Recipe, rounds: int = 3, steps: int = 20) -> list[Row]:
    """What it costs to stop a run half-way and go on from its checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        measures = {
            "straight": lambda: _outside(recipe, steps, None),
            "broken": lambda: _outside(recipe, steps, Path(folder) / "checkpoint"),
        }
        found = alternately(measures, rounds)
    pairs = zip(found["broken"], found["straight"], strict=True)
    lost = [broken - straight for (broken, _), (straight, _) in pairs]
    updates = [s / per for s, (_, per) in zip(lost, found["straight"], strict=True)]
    words = f"{middle(lost):.2f} s, as long as {middle(updates):.1f} updates"
    return [Row("stop, write, read and go on", words)]


def _outside(recipe: Recipe, steps: int, path: Path | None) -> tuple[float, float]:
    """Seconds of a run that were not spent in updates, and seconds of one update.

    With a path the run is stopped half-way and taken up from the checkpoint there.
    """
    start = time.perf_counter()
    if path is not None:
        ours(recipe, lambda step: step < steps // 2, checkpoint=path, steps=steps)
    run = ours(recipe, lambda step: True, checkpoint=path, steps=steps)
    whole = time.perf_counter() - start
    if path is not None:
        path.unlink()
    inside = run.history["seconds"].iloc[-1]
    return whole - inside, inside / steps
