"""The oracles themselves, against sums done by hand and against each other's limits."""

import math

import pytest

from tests.oracles import (
    add_one_cross_entropy,
    kneser_ney_cross_entropy,
    plug_in_cross_entropy,
    unigram_entropy,
)

TRAIN = [1, 2, 1, 2, 1, 3]


def kneser_ney_distribution(context: int, d_vocab: int, discount: float) -> list[float]:
    """P(. | context) recovered from the loss on single pairs."""
    return [
        math.exp(-kneser_ney_cross_entropy(TRAIN, [context, i], d_vocab, discount))
        for i in range(d_vocab)
    ]


def test_kneser_ney_by_hand():
    # Pairs: 12 twice, 21 twice, 13 once. Types: three in all, each following one kind.
    lower = (1 - 0.5) / 3 + 0.5 * 3 / 3 / 4
    expected = (2 - 0.5) / 3 + 0.5 * 2 / 3 * lower
    assert kneser_ney_distribution(1, 4, 0.5)[2] == pytest.approx(expected)


@pytest.mark.parametrize("context", [0, 1, 2, 3])
def test_kneser_ney_sums_to_one(context):
    assert sum(kneser_ney_distribution(context, 5, 0.75)) == pytest.approx(1)


def test_without_discount_kneser_ney_is_the_plug_in_estimate():
    assert kneser_ney_cross_entropy(TRAIN, TRAIN, 4, 0.0) == pytest.approx(
        plug_in_cross_entropy(TRAIN)
    )


def test_plug_in_add_one_and_unigram_by_hand():
    assert plug_in_cross_entropy(TRAIN) == pytest.approx(
        -(2 * math.log(2 / 3) + math.log(1 / 3)) / 5
    )
    assert add_one_cross_entropy(TRAIN, [1, 2, 3], 4) == pytest.approx(
        -(math.log(3 / 7) + math.log(1 / 6)) / 2
    )
    assert unigram_entropy([5, 5, 6, 6]) == pytest.approx(math.log(2))
