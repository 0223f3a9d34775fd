"""Made-up languages whose every probability is known.

A `PlantedLanguage` writes rows from a bigram table it shows, with skip-trigrams and
repeated spans planted on demand, and can say for any row what the best possible
prediction was. Its table is made in `utils.text.planted_table`. Called by the chapters,
the recipes and the tests, through `utils.text.corpus`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from utils.text.batches import generator, with_start
from utils.text.floor import Floor, floor_of
from utils.text.planted_table import (
    SkipTrigram,
    active_row,
    class_table,
    fix_entries,
    flat_cdf,
    made_up_words,
    place,
    stationary,
)
from utils.text.tokenizer import START_ID

__all__ = ["Floor", "PlantedBatches", "PlantedLanguage", "SkipTrigram"]

ROWS_PER_BLOCK = 1024


class PlantedLanguage:
    """A language with a known bigram table, planted skip-trigrams and repeated spans.

    Every row begins with the start token (id 0), which is never written again. Then,
    token by token, the language is in one of two states:

    * *Writing.* The next token is drawn from the current token's row of `bigram_probs`.
      A skip-trigram is active when its destination is the current token and its source
      stands anywhere before it in the row. Then its out token comes with probability
      `strength`, and otherwise the table row decides, without the out tokens which the
      same source has at other destinations (after "keep", nobody says "in bay").
      Of several active ones, one is picked with equal chances.
    * *Copying.* With a small probability a written token is replaced by the beginning
      of a copy: a lag is drawn uniformly from `lags`, as far as the row reaches back,
      and the token that far back is repeated, then the next, and so on; before each
      further token the copying stops with probability 1 / `span`. In the long run
      `repeat_share` of the tokens are copies.

    Without plants, the default, it is a bigram language in its stationary distribution.
    Its table mixes word classes, which show in a word's first syllable and alone would
    make a low-rank table, with favourite successors of each single token, which would
    not.

    `n_skip_trigrams` plants rules on made-up words of their own, `skip_trigrams` plants
    given triples of words such as ("keep", "in", "mind"). Sources come with probability
    `source_rate` after any token, rarely enough that many rows lack them. `background`
    holds (word, next word, probability) to be set in the table (paper row F-72).
    Errors: ValueError for sizes that do not fit together.
    """

    def __init__(
        self,
        d_vocab: int = 128,
        n_skip_trigrams: int = 0,
        repeat_share: float = 0.0,
        seed: int = 0,
        *,
        skip_trigrams: Sequence[tuple[str, str, str]] = (),
        strength: float = 0.9,
        source_rate: float = 1 / 128,
        background: Sequence[tuple[str, str, float]] = (),
        span: float = 16.0,
        lags: tuple[int, int] = (8, 64),
        n_classes: int = 8,
        favourite_share: float = 0.4,
    ):
        self.d_vocab = d_vocab
        self.seed = seed
        self.strength = strength
        self.lags = lags
        self.p_stop = 1 / span
        self.p_start = self.p_stop * repeat_share / max(1 - repeat_share, 1e-9)
        self._check_sizes(repeat_share, span)
        n_classes = min(n_classes, d_vocab - 1)
        table = class_table(d_vocab, n_classes, favourite_share, seed)
        self.tokens = made_up_words(d_vocab, n_classes)
        self.skip_trigrams = rules = place(
            table, self.tokens, n_skip_trigrams, list(skip_trigrams), seed
        )
        fix_entries(table, self.tokens, rules, source_rate, background)
        table[START_ID] = stationary(table)
        outcomes = [active_row(table, rules, rule, strength) for rule in rules]
        # One row per token, then one per skip-trigram: all a written token depends on.
        self._rows = np.stack([*table, *outcomes])
        self._cdf = flat_cdf(self._rows)
        self._estimates = lru_cache(maxsize=8)(self._estimate_floors)

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k != "_estimates"}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._estimates = lru_cache(maxsize=8)(self._estimate_floors)

    # --- what the language is ---------------------------------------------------

    @property
    def bigram_probs(self) -> Float[Tensor, "current next"]:
        """P(next | current) while writing and with no skip-trigram active.

        Row 0 is the distribution of a row's first token: the table's stationary one.
        Column 0 is zero.
        """
        return torch.from_numpy(self._rows[: self.d_vocab].copy())

    @property
    def bigram_log_probs(self) -> Float[Tensor, "current next"]:
        """The logarithm of `bigram_probs` in nats; minus infinity in column 0."""
        return self.bigram_probs.log()

    @property
    def is_bigram(self) -> bool:
        """Whether nothing is planted, so that the current token says all there is."""
        return not self.skip_trigrams and self.p_start == 0

    def sample(
        self, n_rows: int, n_ctx: int, seed: int = 0
    ) -> Int[Tensor, "batch pos"]:
        """Rows of the language, each beginning with the start token."""
        return self._write(n_rows, n_ctx, generator(self.seed, seed, 1))

    def batches(self, batch_size: int, n_ctx: int, seed: int = 0) -> "PlantedBatches":
        """A batch function over the language (see `utils.text.batches`)."""
        return PlantedBatches(self, batch_size, n_ctx, seed)

    # --- exact probabilities ----------------------------------------------------

    def log_prob(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos-1"]:
        """Exact log P(next token | all tokens before it) in nats, for every next token.

        The copying state is hidden; it is summed over by the forward recursion of
        hidden Markov models. From a token on that the language cannot write, all
        values are minus infinity. Errors: ValueError for rows that do not begin with
        the start token, or hold it or an unknown id later.
        """
        self._check_rows(tokens)
        written = self._written_prob(tokens)
        if self.p_start == 0:
            return written.log()
        writing, copying = self._state_probs(tokens, written)
        match = self._copied(tokens)[:, :-1] == tokens[:, 1:, None]
        return (writing[:, :-1] * written + (copying[:, :-1] * match).sum(-1)).log()

    def next_probs(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_vocab"]:
        """Exact P(next token | all tokens up to here) over the whole vocabulary."""
        self._check_rows(tokens)
        rows = torch.from_numpy(self._rows)
        probs = rows[tokens]
        weights = self._active_weights(tokens)
        if self.skip_trigrams:
            off = 1 - weights.sum(-1, keepdim=True)
            probs = off * probs + weights @ rows[self.d_vocab :]
        if self.p_start == 0:
            return probs
        written = self._written_prob(tokens)
        writing, copying = self._state_probs(tokens, written)
        probs = writing[..., None] * probs
        return probs.scatter_add(-1, self._copied(tokens), copying)

    # --- floors -----------------------------------------------------------------

    def entropy(self) -> float:
        """Exact entropy rate of the bigram table in nats per token.

        The mean over the stationary distribution of the entropy of a table row. It is
        the long-run floor of the language when nothing is planted; plants change both
        floors below, not this.
        """
        start, *rows = self._rows[: self.d_vocab]
        return float(start[1:] @ _entropies(np.stack(rows)))

    def one_token_floor(self, n_ctx: int = 256, n_rows: int = 1024) -> Floor:
        """Lowest loss of a predictor that sees the current token only (paper row F-41).

        Nats per predicted token over rows of n_ctx, the first prediction (from the
        start token) included. Exact when nothing is planted. Otherwise estimated: in
        n_rows sampled rows the exact next-token probabilities are averaged by current
        token; each half of the rows is predicted by the other half's averages.
        """
        if self.is_bigram:
            return self._exact_floor(n_ctx)
        return self._estimates(n_ctx, n_rows)[0]

    def full_floor(self, n_ctx: int = 256, n_rows: int = 1024) -> Floor:
        """Lowest loss of a predictor that sees everything before the next token.

        Nats per predicted token over rows of n_ctx. Exact when nothing is planted.
        Otherwise estimated: the mean over n_rows sampled rows of the entropy of the
        exact next-token probabilities.
        """
        if self.is_bigram:
            return self._exact_floor(n_ctx)
        return self._estimates(n_ctx, n_rows)[1]

    def _exact_floor(self, n_ctx: int) -> Floor:
        first = float(_entropies(self._rows[START_ID][None])[0])
        return Floor((first + (n_ctx - 2) * self.entropy()) / (n_ctx - 1))

    def _estimate_floors(self, n_ctx: int, n_rows: int) -> tuple[Floor, Floor]:
        rows = self._write(n_rows, n_ctx, generator(self.seed, n_ctx, 2))
        chunks = rows.split(64)
        full = [torch.special.entr(self._predictions(c)).sum(-1) for c in chunks]
        # Judging a table by rows it was not made from keeps it from knowing their luck.
        halves = chunks[0::2], chunks[1::2]
        one = []
        for judged, other in (halves, halves[::-1]):
            table = self._mean_next_probs(other)
            for c in judged:
                nats = -torch.xlogy(self._predictions(c), table[c[:, :-1]])
                one.append(nats.sum(-1))
        return floor_of(torch.cat(one)), floor_of(torch.cat(full))

    def _predictions(self, tokens: Tensor) -> Float[Tensor, "batch pos-1 d_vocab"]:
        return self.next_probs(tokens)[:, :-1]

    def _mean_next_probs(self, chunks: Sequence[Tensor]) -> Tensor:
        """Mean of the exact next-token probabilities after each current token."""
        total = torch.from_numpy(1e-6 * self._rows[: self.d_vocab])
        for chunk in chunks:
            probs = self._predictions(chunk).flatten(0, 1)
            total.index_add_(0, chunk[:, :-1].flatten(), probs)
        return total / total.sum(-1, keepdim=True)

    # --- the hidden copying state -----------------------------------------------

    def _active_weights(self, tokens: Tensor) -> Float[Tensor, "batch pos rule"]:
        """Each active skip-trigram's share of the decision, zero for inactive ones."""
        ids = torch.tensor(
            [[r.source, r.destination] for r in self.skip_trigrams], dtype=torch.int64
        ).view(-1, 2)
        is_source = tokens[..., None] == ids[:, 0]
        before = is_source.cumsum(1) - is_source.long() > 0
        active = (before & (tokens[..., None] == ids[:, 1])).double()
        return active / active.sum(-1, keepdim=True).clamp_min(1)

    def _written_prob(self, tokens: Tensor) -> Float[Tensor, "batch pos-1"]:
        """P(next token | the row so far, and that it is written and not copied)."""
        rows = torch.from_numpy(self._rows)
        current, following = tokens[:, :-1], tokens[:, 1:]
        probs = rows[current, following]
        if not self.skip_trigrams:
            return probs
        weights = self._active_weights(tokens)[:, :-1]
        planted = rows[self.d_vocab :].T[following]
        return (1 - weights.sum(-1)) * probs + (weights * planted).sum(-1)

    def _copied(self, tokens: Tensor) -> Int[Tensor, "batch pos lag"]:
        """The token that a copy at each lag would put next; 0 where there is none."""
        positions = torch.arange(tokens.shape[1])[:, None]
        sources = positions + 1 - torch.arange(self.lags[0], self.lags[1] + 1)
        return tokens[:, sources.clamp_min(0)]

    def _state_probs(
        self, tokens: Tensor, written: Tensor
    ) -> tuple[Float[Tensor, "batch pos"], Float[Tensor, "batch pos lag"]]:
        """P(the next token is written), P(it is copied at each lag), given the row."""
        n_rows, n_ctx = tokens.shape
        lags = torch.arange(self.lags[0], self.lags[1] + 1)
        match = self._copied(tokens)[:, :-1] == tokens[:, 1:, None]
        off = torch.ones(n_rows, dtype=torch.float64)
        on = torch.zeros(n_rows, len(lags), dtype=torch.float64)
        writing, copying = [], []
        for pos in range(n_ctx):
            possible = (lags <= pos).double()
            begin = self.p_start * possible / possible.sum().clamp_min(1)
            copying.append(on * (1 - self.p_stop) + off[:, None] * begin)
            writing.append(off * (1 - begin.sum()) + on.sum(-1) * self.p_stop)
            if pos == n_ctx - 1:
                break
            off = writing[-1] * written[:, pos]
            on = copying[-1] * match[:, pos]
            seen = (off + on.sum(-1)).clamp_min(1e-300)
            off, on = off / seen, on / seen[:, None]
        return torch.stack(writing, 1), torch.stack(copying, 1)

    # --- writing ----------------------------------------------------------------

    def _write(
        self, n_rows: int, n_ctx: int, random: np.random.Generator
    ) -> Int[Tensor, "batch pos"]:
        tokens = np.zeros((n_ctx, n_rows), dtype=np.int64)
        sources = np.array([r.source for r in self.skip_trigrams])[:, None]
        seen = np.zeros((len(self.skip_trigrams), n_rows), dtype=bool)
        lag = np.zeros(n_rows, dtype=np.int64)
        for pos in range(1, n_ctx):
            current = tokens[pos - 1]
            row = self._table_row(current, seen, random)
            tokens[pos] = self._draw(row, random)
            if self.p_start:
                lag = self._next_lag(lag, pos, random)
                copies = tokens[pos - lag, np.arange(n_rows)]
                tokens[pos] = np.where(lag > 0, copies, tokens[pos])
            if self.skip_trigrams:
                seen |= current == sources
        return with_start(tokens[1:].T.copy())

    def _table_row(self, current, seen, random) -> np.ndarray:
        """Which row of `_rows` decides: the current token's or an active rule's."""
        if not self.skip_trigrams:
            return current
        ends = np.array([r.destination for r in self.skip_trigrams])[:, None]
        active = seen & (current == ends)
        picked = (active * random.random(active.shape)).argmax(0)
        return np.where(active.any(0), self.d_vocab + picked, current)

    def _draw(self, row: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """One token from each of the given rows of `_rows`."""
        point = row + random.random(len(row))
        place = np.searchsorted(self._cdf, point, side="right")
        return np.minimum(place - row * self.d_vocab, self.d_vocab - 1)

    def _next_lag(self, lag, pos, random) -> np.ndarray:
        """The lags after one step of the hidden state; 0 means writing."""
        low, high = self.lags[0], min(self.lags[1], pos - 1)
        chance, choice = random.random((2, len(lag)))
        going = np.where(chance < self.p_stop, 0, lag)
        if high < low:
            return going
        new = low + (choice * (high - low + 1)).astype(np.int64)
        return np.where((lag == 0) & (chance < self.p_start), new, going)

    # --- building ---------------------------------------------------------------

    def _check_sizes(self, repeat_share: float, span: float) -> None:
        low, high = self.lags
        wrong = {
            "d_vocab must be at least 3": self.d_vocab < 3,
            "lags must be (low, high) with 1 <= low <= high": not 1 <= low <= high,
            "span must be at least 1": span < 1,
            "repeat_share is too large for this span": not 0 <= self.p_start <= 1,
            "repeat_share must lie in [0, 1)": not 0 <= repeat_share < 1,
            "strength must lie in [0, 1]": not 0 <= self.strength <= 1,
        }
        for message, is_wrong in wrong.items():
            if is_wrong:
                raise ValueError(f"{message}.")

    def _check_rows(self, tokens: Tensor) -> None:
        if tokens.ndim != 2 or tokens.shape[1] < 2 or (tokens[:, 0] != START_ID).any():
            raise ValueError(
                "tokens must be rows [batch, pos] that begin with the start token "
                f"(id {START_ID}) and hold at least one more."
            )
        rest = tokens[:, 1:]
        if (rest == START_ID).any() or (rest < 0).any() or (rest >= self.d_vocab).any():
            raise ValueError(
                f"After the start token, ids must lie between 1 and {self.d_vocab - 1}."
            )


@dataclass
class PlantedBatches:
    """Batches of a planted language: written in blocks of steps, which is faster.

    What a step gives depends on the language, the sizes, the seed and the step only.
    """

    language: PlantedLanguage
    batch_size: int
    n_ctx: int
    seed: int = 0
    _block: tuple[int, Tensor] | None = field(default=None, repr=False, compare=False)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_block": None}

    def __call__(self, step: int) -> Int[Tensor, "batch pos"]:
        steps = max(1, ROWS_PER_BLOCK // self.batch_size)
        number, place = divmod(step, steps)
        if self._block is None or self._block[0] != number:
            random = generator(self.language.seed, self.seed, number, 4)
            n_rows = steps * self.batch_size
            self._block = number, self.language._write(n_rows, self.n_ctx, random)
        first = place * self.batch_size
        return self._block[1][first : first + self.batch_size].clone()


def _entropies(probs: np.ndarray) -> np.ndarray:
    """Entropy of each row in nats."""
    return torch.special.entr(torch.from_numpy(probs)).sum(-1).numpy()
