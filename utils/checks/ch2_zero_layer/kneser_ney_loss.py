"""Chapter 2, `kneser_ney_loss`: judge, known mistakes and hints."""

import math

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch2_zero_layer import shared

__all__ = ["CHECK"]


TRAIN_TEXT = [[0, 3, 1, 3, 1, 2, 5], [0, 1, 3, 3, 2, 5, 2], [0, 4, 3, 1, 2, 3, 1]]
SEEN_TEXT = [[0, 3, 1, 2, 5], [0, 4, 3, 2, 1]]
NEW_WORD_TEXT = [[0, 3, 1, 2, 6], [0, 4, 3, 2, 1]]
HELDOUT_TEXT = [[0, 3, 1, 2, 5], [0, 6, 3, 4, 1]]
OTHER_TRAIN = [[0, 8, 2, 8, 2, 8], [0, 2, 7, 7, 8, 4]]
OTHER_HELDOUT = [[0, 2, 8, 7, 5, 8, 2, 1]]


def judge_kneser_ney_loss(answer) -> None:
    cases = (
        # First without a token that training never saw: no loss is infinite.
        (TRAIN_TEXT, SEEN_TEXT, 8, 0.75),
        # Then with one at the end only, where nothing follows it.
        (TRAIN_TEXT, NEW_WORD_TEXT, 8, 0.75),
        (TRAIN_TEXT, HELDOUT_TEXT, 8, 0.75),
        (TRAIN_TEXT, HELDOUT_TEXT, 10, 0.4),
        (OTHER_TRAIN, OTHER_HELDOUT, 11, 0.9),
    )
    for train, heldout, d_vocab, discount in cases:
        result = answer(torch.tensor(train), torch.tensor(heldout), d_vocab, discount)
        expect.close(
            expect.number(result),
            _kneser_ney_by_hand(train, heldout, d_vocab, discount),
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


def _kneser_ney(
    train,
    heldout,
    d_vocab,
    discount,
    base="spread",
    freed=True,
    clamped=True,
    word_clamped=True,
    raw=False,
    total=None,
) -> float:
    """The calculation with one step left out, for the known mistakes."""
    counts = shared.counts(train, d_vocab)
    before = (counts > 0).sum(0).float() if base == "spread" else counts.sum(0)
    reserved = discount * (before > 0).sum() / before.sum()
    left = before - discount
    left = left.clamp(min=0) if word_clamped else left
    p_word = left / before.sum() + reserved / d_vocab
    v, w = heldout[:, :-1].flatten(), heldout[:, 1:].flatten()
    total = counts.sum(1)[v] if total is None else total[v]
    if raw:
        p_word = before / before.sum()
    kept = counts[v, w] - discount
    kept = kept.clamp(min=0) if clamped else kept
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


def kn_without_clamp(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, clamped=False)


def kn_all_occurrences(train, heldout, d_vocab, discount=0.75):
    total = train.flatten().bincount(minlength=d_vocab)
    return _kneser_ney(train, heldout, d_vocab, discount, total=total)


def kn_without_fallback(train, heldout, d_vocab, discount=0.75):
    counts = shared.counts(train, d_vocab)
    followed = counts.sum(1)[heldout[:, :-1]].min() > 0
    loss = _kneser_ney(train, heldout, d_vocab, discount)
    return loss if followed else math.nan


def kn_word_without_clamp(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, word_clamped=False)


def kn_raw_below(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, raw=True)


def kn_raw_frequencies_below(train, heldout, d_vocab, discount=0.75):
    return _kneser_ney(train, heldout, d_vocab, discount, base="frequency", raw=True)


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
            swap=("before = (counts > 0).sum(dim=0)", "before = counts.sum(dim=0)"),
        ),
        Mistake(
            "measured on the training text",
            "You measured on the training text, where every pair has been counted. "
            "Look up the pairs of `heldout`.",
            kn_on_train,
            swap=(
                "v, w = heldout[:, :-1].flatten(), heldout[:, 1:].flatten()",
                "v, w = train[:, :-1].flatten(), train[:, 1:].flatten()",
            ),
        ),
        Mistake(
            "freed probability lost",
            "The discount takes probability away from seen pairs, and you did not give "
            "it to the others. Pairs never seen have probability 0, so the loss is "
            "infinite or the rows do not sum to 1.",
            kn_not_interpolated,
        ),
        Mistake(
            "every occurrence",
            "Your c(v) counts every place where v stands. At the end of a row it has "
            "no follower. c(v) is how often something follows v: the sum of its row of "
            "counts.",
            kn_all_occurrences,
        ),
        Mistake(
            "no follower",
            "After a token that never had a follower you divide 0 by 0, which is nan. "
            "There P(w | v) is P1(w); `torch.where` chooses between the two.",
            kn_without_fallback,
        ),
        Mistake(
            "P1 not discounted",
            "Your P1(w) is n(w) / N. The second formula takes the discount off there "
            "too and spreads it over all d_vocab tokens. So a token that never came in "
            "training has probability 0 with you, and its loss is infinite.",
            kn_raw_below,
        ),
        Mistake(
            "plain frequencies, not discounted",
            "Your P1 is how often a token occurs. It should be after how many "
            "different tokens it occurs, with the discount taken off there too and "
            "spread over all d_vocab tokens.",
            kn_raw_frequencies_below,
        ),
        Mistake(
            "below zero",
            "You take the discount off pairs that were never counted too, so their "
            "count falls below 0. max(c(v, w) - D, 0) stops there.",
            kn_without_clamp,
        ),
        Mistake(
            "P1 below zero",
            "In P1 you take the discount off tokens that came after no token at all. "
            "Their share falls below 0, and its logarithm is no number. max(n(w) - D, "
            "0) stops there, as for the pairs.",
            kn_word_without_clamp,
        ),
        Mistake(
            "fixed discount",
            "You used 0.75 whatever `discount` says.",
            kn_fixed_discount,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", kn_in_bits),
    ),
    passed=(
        "Checked against a calculation by hand with three discounts, including a token "
        "that never had a follower in training. This is about the best that counting "
        "pairs can do on text it has not seen."
    ),
)
