"""Batch functions: small objects that turn a step number into a batch of tokens.

A batch function is called with a step and answers with int64 tokens
[batch, n_ctx] whose first column is the start token. What it answers depends only on
its seed and the step, never on a global random state, so a run resumed at step 1,000
sees what it would have seen, and several processes can share one. They can be pickled.
Called by `utils.text.corpus`, the trainer's users and the recipes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from utils.text.tokenizer import START_ID

__all__ = [
    "BatchFunction",
    "Mix",
    "Repeats",
    "Windows",
    "generator",
    "kept_out_ids",
    "mix",
    "with_repeats",
]


class BatchFunction(Protocol):
    """What a trainer may rely on: two sizes, a seed, and a batch for every step."""

    batch_size: int
    n_ctx: int
    seed: int

    def __call__(self, step: int) -> Int[Tensor, "batch pos"]: ...


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the given non-negative integers only."""
    return np.random.default_rng(key)


def with_start(tokens: np.ndarray) -> Int[Tensor, "batch pos"]:
    """Put the start token in front of every row: [batch, n] becomes [batch, n + 1]."""
    rows = torch.full((tokens.shape[0], tokens.shape[1] + 1), START_ID)
    rows[:, 1:] = torch.from_numpy(tokens)
    return rows


@dataclass(frozen=True)
class Windows:
    """Rows cut from one long stream of tokens, each at an offset of its own.

    Every offset is equally likely. Errors: ValueError when the stream is too short.
    """

    tokens: Int[Tensor, "stream"]
    batch_size: int
    n_ctx: int
    seed: int = 0

    def __post_init__(self):
        if len(self.tokens) < self.n_ctx - 1:
            raise ValueError(
                f"A row of {self.n_ctx} needs {self.n_ctx - 1} tokens, the text has "
                f"{len(self.tokens)}."
            )

    def __call__(self, step: int) -> Int[Tensor, "batch pos"]:
        n_offsets = len(self.tokens) - self.n_ctx + 2
        offsets = generator(self.seed, step).integers(n_offsets, size=self.batch_size)
        where = offsets[:, None] + np.arange(self.n_ctx - 1)
        return with_start(self.tokens.numpy()[where])


@dataclass(frozen=True)
class Repeats:
    """Rows of random tokens repeated at a random period (paper rows F-104, O-40).

    A row draws its period uniformly from `periods` (both ends included), draws that
    many tokens uniformly from the ids that are not in `exclude`, and repeats them to
    the end. By default periods run from 4 to half a row, so every row holds two copies.
    `lag` fixes the period instead: a model trained so may learn to look back a fixed
    distance, a head that only looks like an induction head (misconception 13).
    `distinct` draws a row's tokens without repetition.
    Errors: ValueError for periods that do not fit and for too few ids.
    """

    d_vocab: int
    batch_size: int
    n_ctx: int
    seed: int = 0
    exclude: tuple[int, ...] = ()
    lag: int | None = None
    periods: tuple[int, int] | None = None
    distinct: bool = False
    ids: np.ndarray = field(init=False, repr=False, compare=False)

    def __post_init__(self):
        out = {START_ID, *(int(i) for i in self.exclude)}
        ids = np.array([i for i in range(self.d_vocab) if i not in out])
        object.__setattr__(self, "exclude", tuple(sorted(out - {START_ID})))
        object.__setattr__(self, "ids", ids)
        low, high = self.period_range
        if not 1 <= low <= high <= self.n_ctx - 1:
            raise ValueError(
                f"Periods from {low} to {high} do not fit rows of {self.n_ctx}: "
                f"choose them between 1 and {self.n_ctx - 1}."
            )
        if len(ids) < (high if self.distinct else 1):
            raise ValueError(
                f"Only {len(ids)} ids are left, too few for period {high}."
            )

    @property
    def period_range(self) -> tuple[int, int]:
        """Shortest and longest period of a row."""
        if self.lag is not None:
            return self.lag, self.lag
        return self.periods or (4, (self.n_ctx - 1) // 2)

    def period_of_rows(self, step: int) -> Int[Tensor, "batch"]:
        """The period of each row of the batch that the call with `step` returns."""
        return torch.from_numpy(self._periods(generator(self.seed, step)))

    def __call__(self, step: int) -> Int[Tensor, "batch pos"]:
        random = generator(self.seed, step)
        period = self._periods(random)
        spans = self._spans(random)
        where = np.arange(self.n_ctx - 1)[None, :] % period[:, None]
        return with_start(np.take_along_axis(spans, where, axis=1))

    def _periods(self, random: np.random.Generator) -> np.ndarray:
        low, high = self.period_range
        return random.integers(low, high + 1, size=self.batch_size)

    def _spans(self, random: np.random.Generator) -> np.ndarray:
        longest = self.period_range[1]
        if not self.distinct:
            return random.choice(self.ids, size=(self.batch_size, longest))
        draws = [
            random.choice(self.ids, longest, replace=False)
            for _ in range(self.batch_size)
        ]
        return np.stack(draws)


@dataclass(frozen=True)
class Mix:
    """Each row comes from `second` with probability `share`, else from `first`."""

    first: BatchFunction
    second: BatchFunction
    share: float
    seed: int = 0

    def __post_init__(self):
        sizes = [(b.batch_size, b.n_ctx) for b in (self.first, self.second)]
        if sizes[0] != sizes[1]:
            raise ValueError(
                f"Both must have one batch size and context, got {sizes[0]} "
                f"and {sizes[1]}."
            )
        if not 0 <= self.share <= 1:
            raise ValueError(f"share must lie between 0 and 1, got {self.share}.")

    @property
    def batch_size(self) -> int:
        return self.first.batch_size

    @property
    def n_ctx(self) -> int:
        return self.first.n_ctx

    def from_second(self, step: int) -> np.ndarray:
        """Which rows of the batch at `step` come from `second`: booleans [batch]."""
        return generator(self.seed, step).random(self.batch_size) < self.share

    def __call__(self, step: int) -> Int[Tensor, "batch pos"]:
        chosen = torch.from_numpy(self.from_second(step))
        if not chosen.any():
            return self.first(step)
        return torch.where(chosen[:, None], self.second(step), self.first(step))


def mix(
    first: BatchFunction, second: BatchFunction, share: float, seed: int = 0
) -> Mix:
    """A batch function whose rows come from `second` with probability `share`."""
    return Mix(first, second, share, seed)


def with_repeats(
    batches: BatchFunction,
    share: float,
    d_vocab: int,
    exclude: Iterable[int] = (),
    lag: int | None = None,
    periods: tuple[int, int] | None = None,
    distinct: bool = False,
) -> Mix:
    """`batches` with a share of its rows replaced by repeated random tokens.

    The options are those of `Repeats`; sizes and seed are taken from `batches`.
    """
    # Seeds differ so that the text's offsets and the repeats are independent.
    repeats = Repeats(
        d_vocab,
        batches.batch_size,
        batches.n_ctx,
        seed=batches.seed + 1_000_003,
        exclude=tuple(exclude),
        lag=lag,
        periods=periods,
        distinct=distinct,
    )
    return Mix(batches, repeats, share, seed=batches.seed + 2_000_003)


def kept_out_ids(d_vocab: int, share: float = 0.1, seed: int = 0) -> tuple[int, ...]:
    """A random share of the ids, to keep out of all repeats (paper row F-104).

    A model that still continues repeats of these has learned induction and not a list
    of pairs. The start token is never among them.
    """
    ids = 1 + generator(seed).permutation(d_vocab - 1)
    return tuple(sorted(int(i) for i in ids[: round(share * d_vocab)]))
