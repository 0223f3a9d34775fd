"""Chapter 2, `kneser_ney_loss`: judge, known mistakes and hints."""

import math

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch2_zero_layer import shared

__all__ = ["CHECK"]


TRAIN_TEXT = [[0, 3, 1, 3, 1, 2, 5], [0, 1, 3, 3, 2, 5, 2], [0, 4, 3, 1, 2, 3, 1]]


HELDOUT_TEXT = [[0, 3, 1, 2, 5], [0, 6, 3, 4, 1]]


def judge_kneser_ney_loss(answer) -> None:
    train, heldout = torch.tensor(TRAIN_TEXT), torch.tensor(HELDOUT_TEXT)
    for d_vocab, discount in ((8, 0.75), (10, 0.4)):
        result = answer(train, heldout, d_vocab, discount)
        expect.close(
            expect.number(result),
            _kneser_ney_by_hand(TRAIN_TEXT, HELDOUT_TEXT, d_vocab, discount),
            "The loss does not match a calculation by hand.",
        )


def _kneser_ney_by_hand(train, heldout, d_vocab: int, d: float) -> float:
    """The definition, with dictionaries and one pair of neighbours at a time."""
    followers: dict[int, dict[int, int]] = {}
    for row in train:
        for v, w in zip(row, row[1:], strict=False):
            counts = followers.setdefault(v, {})
            counts[w] = counts.get(w, 0) + 1
    before = [sum(w in f for f in followers.values()) for w in range(d_vocab)]
    spread, known = sum(before), sum(n > 0 for n in before)
    p1 = [max(n - d, 0) / spread + d * known / spread / d_vocab for n in before]

    def p(w: int, v: int) -> float:
        if v not in followers:
            return p1[w]
        total = sum(followers[v].values())
        kept = max(followers[v].get(w, 0) - d, 0) / total
        return kept + d * len(followers[v]) / total * p1[w]

    pairs = [(v, w) for row in heldout for v, w in zip(row, row[1:], strict=False)]
    return -sum(math.log(p(w, v)) for v, w in pairs) / len(pairs)


def _kneser_ney(train, heldout, d_vocab, discount, base="spread", freed=True) -> float:
    """The calculation with one step left out, for the known mistakes."""
    counts = shared.counts(train, d_vocab)
    before = (counts > 0).sum(0).float() if base == "spread" else counts.sum(0)
    reserved = discount * (before > 0).sum() / before.sum()
    p_word = (before - discount).clamp(min=0) / before.sum() + reserved / d_vocab
    v, w = heldout[:, :-1].flatten(), heldout[:, 1:].flatten()
    total = counts.sum(1)[v]
    kept = (counts[v, w] - discount).clamp(min=0)
    share = discount * (counts > 0).sum(1)[v] if freed else 0
    p_pair = (kept + share * p_word[w]) / total.clamp(min=1)
    p_pair = torch.where(total > 0, p_pair, p_word[w])
    return -p_pair.log().mean().item()


def kn_by_frequency(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, base="frequency")


def kn_on_train(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, train, d_vocab, discount)


def kn_not_interpolated(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, freed=False)


def kn_fixed_discount(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, 0.75)


def kn_in_bits(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount) / math.log(2)


CHECK = Check(
    name="kneser_ney_loss",
    judge=judge_kneser_ney_loss,
    hints=(
        "Build the table of pair counts first, without pseudocount. All other numbers "
        "of the formula are sums over its rows or columns.",
        "With `counts` [d_vocab, d_vocab]: c(v) is a row sum, |{w: c(v, w) > 0}| the "
        "number of positive cells in a row, n(w) the number of positive cells in a "
        "column. Look the pairs of `heldout` up with `counts[v, w]`.",
        "`p_word = (n - D).clamp(min=0) / N + D * (n > 0).sum() / N / d_vocab`; "
        "`p_pair = ((counts[v, w] - D).clamp(min=0) + D * kinds[v] * p_word[w]) / "
        "total[v]`; where `total[v]` is 0 use `p_word[w]`. Return the mean of "
        "`-p_pair.log()` as a float.",
    ),
    mistakes=(
        Mistake(
            "plain frequencies",
            "Your P1 uses how often a token occurs. Kneser-Ney uses after how many "
            "different tokens it occurs: a word that only ever follows one other word "
            "is no good guess anywhere else.",
            kn_by_frequency,
        ),
        Mistake(
            "measured on the training text",
            "You measured on the training text, where every pair has been counted. "
            "Look up the pairs of `heldout`.",
            kn_on_train,
        ),
        Mistake(
            "freed probability lost",
            "The discount takes probability away from seen pairs, and you did not give "
            "it to the others. Pairs never seen have probability 0, so the loss is "
            "infinite or the rows do not sum to 1.",
            kn_not_interpolated,
        ),
        Mistake(
            "fixed discount",
            "You used 0.75 whatever `discount` says.",
            kn_fixed_discount,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", kn_in_bits),
    ),
    passed=(
        "Checked against a calculation by hand with two discounts, including a token "
        "that never had a follower in training. This is about the best that counting "
        "pairs can do on text it has not seen."
    ),
)
