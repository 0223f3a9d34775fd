"""How the table of a planted language is made: words, classes, and what is planted.

`utils.text.planted` writes rows from the table and says how probable they are. A table
is P(next | current) [d_vocab, d_vocab] as NumPy numbers; row and column 0 belong to the
start token.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.text.batches import generator
from utils.text.tokenizer import START_TOKEN

__all__ = [
    "SkipTrigram",
    "active_row",
    "class_table",
    "fix_entries",
    "flat_cdf",
    "made_up_words",
    "place",
    "stationary",
]

SYLLABLES = [
    c + "aeiou"[(i + j) % 5] for j in range(5) for i, c in enumerate("dflmrtvz")
]
FAVOURITE_WEIGHTS = np.array([0.6, 0.3, 0.1])
EVERYWHERE = 0.02  # share of each table row that is the same in all rows


@dataclass(frozen=True)
class SkipTrigram:
    """The rule "source ... destination -> out", as token ids."""

    source: int
    destination: int
    out: int


def made_up_words(d_vocab: int, n_classes: int) -> list[str]:
    """A made-up word for every id; words of one class share their first syllable."""
    words = [START_TOKEN]
    for number in range(d_vocab - 1):
        rank, word_class = divmod(number, n_classes)
        more, last = divmod(rank, len(SYLLABLES))
        syllables = [SYLLABLES[word_class % len(SYLLABLES)], SYLLABLES[last]]
        # Beyond the first forty words of a class a counter keeps names distinct.
        words.append("".join(syllables) + (str(more) if more else ""))
    return words


def class_table(d_vocab: int, n_classes: int, favourite_share: float, seed: int):
    """P(next | current) [d_vocab, d_vocab] before anything is planted; row 0 unset."""
    random = generator(seed, 0)
    ids = np.arange(1, d_vocab)
    word_class, rank = (ids - 1) % n_classes, (ids - 1) // n_classes
    zipf = 1 / (1.0 + rank)
    within = zipf / np.bincount(word_class, zipf)[word_class]
    classes = random.dirichlet(np.full(n_classes, 0.3), size=n_classes)
    body = classes[word_class][:, word_class] * within
    everywhere = within / n_classes
    favourites = np.zeros_like(body)
    n_favourites = min(len(FAVOURITE_WEIGHTS), len(ids))
    weights = FAVOURITE_WEIGHTS[:n_favourites] / FAVOURITE_WEIGHTS[:n_favourites].sum()
    for row in favourites:
        row[random.choice(len(ids), n_favourites, replace=False)] = weights
    table = np.zeros((d_vocab, d_vocab))
    table[1:, 1:] = (1 - favourite_share - EVERYWHERE) * body
    table[1:, 1:] += favourite_share * favourites + EVERYWHERE * everywhere
    return table


def stationary(table: np.ndarray) -> np.ndarray:
    """The distribution over ids that the table's rows 1 and up leave unchanged."""
    probs = np.full(len(table) - 1, 1 / (len(table) - 1))
    for _ in range(10_000):
        following = probs @ table[1:, 1:]
        following /= following.sum()
        if np.abs(following - probs).max() < 1e-16:
            break
        probs = following
    return np.concatenate([[0.0], following])


def place(
    table: np.ndarray, tokens: list[str], n_made_up: int, given: list, seed: int
) -> list[SkipTrigram]:
    """Give every word of the skip-trigrams an id that suits its part.

    The given words are written into `tokens`.
    Destinations take the most frequent ids, so that rules are often seen at work;
    sources the rarest; out tokens lie between.
    """
    triples = [((0, i), (1, i), (2, i)) for i in range(n_made_up)] + given
    parts = [list(dict.fromkeys(words)) for words in zip(*triples, strict=True)]
    if not parts:
        return []
    sources, ends, outs = parts
    by_frequency = (1 + np.argsort(-stationary(table)[1:], kind="stable")).tolist()
    names = list(dict.fromkeys(ends + outs + sources))
    if len(names) > len(tokens) - 1:
        raise ValueError(f"{len(names)} planted words need a larger d_vocab.")
    middle = by_frequency[len(ends) : len(by_frequency) - len(sources)]
    middle = generator(seed, 3).permutation(middle).tolist()
    free = by_frequency[: len(ends)] + middle + by_frequency[-len(sources) :]
    free = free[: len(names) - len(sources)] + free[-len(sources) :]
    ids = dict(zip(names, free, strict=True))
    for word in dict.fromkeys(word for triple in given for word in triple):
        if word in tokens:
            raise ValueError(f"{word!r} is already a word of this language.")
        tokens[ids[word]] = word
    return [SkipTrigram(*(ids[word] for word in triple)) for triple in triples]


def fix_entries(
    table: np.ndarray,
    tokens: list[str],
    rules: Sequence[SkipTrigram],
    source_rate: float,
    background: Sequence[tuple[str, str, float]],
) -> None:
    """Set source columns and background entries, and rescale the rest of a row."""
    fixed = np.full_like(table, np.nan)
    for rule in rules:
        fixed[1:, rule.source] = source_rate
    for word, following, rate in background:
        fixed[tokens.index(word), tokens.index(following)] = rate
    is_fixed = ~np.isnan(fixed)
    total = np.where(is_fixed, fixed, 0).sum(1, keepdims=True)
    if total.max() > 0.9:
        raise ValueError(
            "source_rate and background leave less than a tenth of a table row to "
            "the language itself: lower them or plant fewer sources."
        )
    rest = np.where(is_fixed, 0, table)
    rest[1:] *= (1 - total[1:]) / rest[1:].sum(1, keepdims=True)
    table[:] = np.where(is_fixed, fixed, rest)


def active_row(
    table: np.ndarray, rules: Sequence[SkipTrigram], rule: SkipTrigram, strength: float
) -> np.ndarray:
    """Distribution of the next token where a skip-trigram decides."""
    crossed = [
        other.out
        for other in rules
        if other.source == rule.source and other.destination != rule.destination
    ]
    row = table[rule.destination].copy()
    row[[out for out in crossed if out != rule.out]] = 0
    row *= (1 - strength) / row.sum()
    row[rule.out] += strength
    return row


def flat_cdf(rows: np.ndarray) -> np.ndarray:
    """Cumulative rows, row i raised by i, as one ascending list to search in."""
    cdf = np.minimum(rows.cumsum(1), 1.0)
    cdf[:, -1] = 1.0
    return (cdf + np.arange(len(rows))[:, None]).ravel()
