"""Slow, plain versions of things the course computes fast, for tests to compare with.

Loops over Python numbers only: none of them shares code with what it checks.
"""

import math
from collections import Counter

__all__ = [
    "add_one_cross_entropy",
    "kneser_ney_cross_entropy",
    "plug_in_cross_entropy",
    "unigram_entropy",
]


def kneser_ney_cross_entropy(train, heldout, d_vocab: int, discount=0.75) -> float:
    """Held-out loss of interpolated Kneser-Ney bigrams, in nats per token.

    `train` and `heldout` are sequences of ids. Each seen pair gives up `discount` of a
    count; what a context gives up is shared out by how many different tokens a token
    has followed. That second distribution is smoothed in the same way, with an equal
    share for each of the d_vocab ids. A context that was never seen uses it alone.
    """
    pairs = Counter(zip(train, train[1:], strict=False))
    context_count, context_types, follows = Counter(), Counter(), Counter()
    for (current, following), count in pairs.items():
        context_count[current] += count
        context_types[current] += 1
        follows[following] += 1
    n_types = len(pairs)
    base = discount * len(follows) / n_types / d_vocab
    nats = 0.0
    for current, following in zip(heldout, heldout[1:], strict=False):
        lower = max(follows[following] - discount, 0) / n_types + base
        total = context_count[current]
        if total == 0:
            probability = lower
        else:
            kept = max(pairs[current, following] - discount, 0) / total
            freed = discount * context_types[current] / total
            probability = kept + freed * lower
        nats -= math.log(probability)
    return nats / (len(heldout) - 1)


def add_one_cross_entropy(train, heldout, d_vocab: int) -> float:
    """Held-out loss of bigrams with one added to every count, in nats per token."""
    pairs = Counter(zip(train, train[1:], strict=False))
    totals = Counter(train[:-1])
    nats = 0.0
    for current, following in zip(heldout, heldout[1:], strict=False):
        nats -= math.log((pairs[current, following] + 1) / (totals[current] + d_vocab))
    return nats / (len(heldout) - 1)


def plug_in_cross_entropy(tokens) -> float:
    """Loss of the bigram counts of `tokens` on `tokens` themselves, in nats."""
    pairs = Counter(zip(tokens, tokens[1:], strict=False))
    totals = Counter(tokens[:-1])
    nats = sum(-n * math.log(n / totals[pair[0]]) for pair, n in pairs.items())
    return nats / (len(tokens) - 1)


def unigram_entropy(tokens) -> float:
    """Entropy of the token frequencies, in nats."""
    counts = Counter(tokens)
    return sum(-n / len(tokens) * math.log(n / len(tokens)) for n in counts.values())
