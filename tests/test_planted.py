"""Planted languages, against plain loops over every hidden path and every row."""

import itertools
import math
import pickle
from collections import Counter

import pytest
import torch

from utils.text.planted import Floor, PlantedLanguage

TINY = {
    "bigram": {"d_vocab": 4},
    "rule": {"d_vocab": 4, "n_skip_trigrams": 1, "source_rate": 0.2},
    "copy": {"d_vocab": 3, "repeat_share": 0.3, "span": 2.0, "lags": (1, 3)},
    "late copy": {"d_vocab": 4, "repeat_share": 0.5, "span": 4.0, "lags": (2, 2)},
    "both": {
        "d_vocab": 5,
        "n_skip_trigrams": 1,
        "source_rate": 0.3,
        "strength": 0.7,
        "repeat_share": 0.4,
        "span": 3.0,
        "lags": (1, 2),
    },
    "crossed": {
        "d_vocab": 7,
        "skip_trigrams": [("keep", "in", "mind"), ("keep", "at", "bay")],
        "background": [("in", "bay", 0.15), ("at", "mind", 0.2)],
        "strength": 0.8,
        "source_rate": 0.25,
    },
    "two sources": {
        "d_vocab": 7,
        "skip_trigrams": [("keep", "in", "mind"), ("hold", "in", "hand")],
        "strength": 0.6,
        "source_rate": 0.3,
    },
}


def tiny(name: str) -> PlantedLanguage:
    return PlantedLanguage(**TINY[name], seed=5)


def options(name: str) -> dict:
    return {"repeat_share": 0.0, "span": 16.0, "strength": 0.9, **TINY[name]}


def written_probability(language, strength: float, past: list[int], token: int):
    """P(token | past) while writing, straight from the rules in the docstring."""
    table = language.bigram_probs.tolist()
    current = past[-1]
    active = [
        rule
        for rule in language.skip_trigrams
        if rule.destination == current and rule.source in past[:-1]
    ]
    if not active:
        return table[current][token]
    total = 0.0
    for rule in active:
        crossed = {
            other.out
            for other in language.skip_trigrams
            if other.source == rule.source and other.destination != current
        } - {rule.out}
        rest = sum(p for i, p in enumerate(table[current]) if i not in crossed)
        share = 0.0 if token in crossed else table[current][token] / rest
        total += strength * (token == rule.out) + (1 - strength) * share
    return total / len(active)


def row_probability(language, name: str, row: list[int]) -> float:
    """P(row), summed over every path through the hidden state, one call per path."""
    given = options(name)
    stop = 1 / given["span"]
    start = stop * given["repeat_share"] / (1 - given["repeat_share"])
    low, high = given.get("lags", (8, 64))

    def paths(pos: int, lag: int) -> float:
        if pos == len(row):
            return 1.0
        possible = [k for k in range(low, high + 1) if k <= pos - 1]
        total = 0.0
        for new, chance in transitions(lag, possible):
            if new == 0:
                token = written_probability(
                    language, given["strength"], row[:pos], row[pos]
                )
            else:
                token = float(row[pos] == row[pos - new])
            if chance * token > 0:
                total += chance * token * paths(pos + 1, new)
        return total

    def transitions(lag: int, possible: list[int]):
        if lag:
            return [(0, stop), (lag, 1 - stop)]
        if not possible:
            return [(0, 1.0)]
        return [(0, 1 - start)] + [(k, start / len(possible)) for k in possible]

    return paths(1, 0)


def every_row(language, n_ctx: int) -> list[list[int]]:
    words = range(1, language.d_vocab)
    return [[0, *rest] for rest in itertools.product(words, repeat=n_ctx - 1)]


# --- exact probabilities


@pytest.mark.parametrize("name", TINY)
def test_log_prob_is_the_sum_over_hidden_paths(name):
    language = tiny(name)
    rows = language.sample(30, 7, seed=2)
    actual = language.log_prob(rows).sum(-1)
    expected = [math.log(row_probability(language, name, row)) for row in rows.tolist()]
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", TINY)
def test_every_log_prob_is_a_ratio_of_row_probabilities(name):
    language = tiny(name)
    row = language.sample(1, 7, seed=8)[0].tolist()
    up_to = [row_probability(language, name, row[: n + 1]) for n in range(7)]
    expected = [math.log(up_to[n + 1] / up_to[n]) for n in range(6)]
    assert language.log_prob(torch.tensor([row]))[0].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", TINY)
def test_all_rows_together_have_probability_one(name):
    language = tiny(name)
    rows = torch.tensor(every_row(language, 6 if language.d_vocab < 6 else 5))
    total = language.log_prob(rows).sum(-1).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("name", TINY)
def test_next_probs_agree_with_log_prob_and_sum_to_one(name):
    language = tiny(name)
    rows = language.sample(20, 9, seed=3)
    probs = language.next_probs(rows)
    assert probs.shape == (20, 9, language.d_vocab) and (probs[..., 0] == 0).all()
    torch.testing.assert_close(probs.sum(-1), torch.ones(20, 9, dtype=torch.float64))
    picked = probs[:, :-1].gather(-1, rows[:, 1:, None]).squeeze(-1)
    torch.testing.assert_close(picked.log(), language.log_prob(rows))


@pytest.mark.parametrize("name", TINY)
def test_samples_follow_the_probabilities(name):
    language = tiny(name)
    n_rows, n_ctx = 40_000, 5
    counts = Counter(map(tuple, language.sample(n_rows, n_ctx, seed=1).tolist()))
    rows = every_row(language, n_ctx)
    probs = language.log_prob(torch.tensor(rows)).sum(-1).exp().tolist()
    # Rows seldom expected are counted together, as a chi-squared test wants it.
    square, cells, rare, rare_seen = 0.0, 0, 0.0, 0
    for row, p in zip(rows, probs, strict=True):
        if p * n_rows < 5:
            rare, rare_seen = rare + p * n_rows, rare_seen + counts[tuple(row)]
            continue
        square += (counts[tuple(row)] - p * n_rows) ** 2 / (p * n_rows)
        cells += 1
    square += (rare_seen - rare) ** 2 / max(rare, 1.0)
    assert sum(counts.values()) == n_rows
    assert square < cells + 5 * math.sqrt(2 * cells)


def test_what_the_language_cannot_write_has_probability_zero():
    language = PlantedLanguage(
        12,
        skip_trigrams=[("keep", "in", "mind"), ("keep", "at", "bay")],
        strength=1.0,
        repeat_share=0.1,
        lags=(4, 6),
    )
    keep, end, bay, mind = (
        language.tokens.index(word) for word in ("keep", "in", "bay", "mind")
    )
    impossible = torch.tensor([[0, keep, end, bay, keep]])
    assert language.log_prob(impossible)[0, 2:].tolist() == [-math.inf] * 2
    possible = torch.tensor([[0, keep, end, mind, keep]])
    assert language.log_prob(possible).isfinite().all()


@pytest.mark.parametrize(
    "rows", [[[1, 2, 3]], [[0, 1, 0]], [[0, 9, 1]], [[0, -1, 1]], [0, 1, 2], [[0]]]
)
def test_rows_that_are_no_rows_are_refused(rows):
    with pytest.raises(ValueError, match="start token"):
        PlantedLanguage(9).log_prob(torch.tensor(rows))


# --- the table


@pytest.mark.parametrize("plants", [{}, {"n_skip_trigrams": 20}])
def test_table_rows_are_distributions_that_never_start_again(plants):
    probs = PlantedLanguage(100, **plants).bigram_probs
    torch.testing.assert_close(probs.sum(1), torch.ones(100, dtype=torch.float64))
    assert (probs[:, 0] == 0).all() and (probs[:, 1:] > 0).all()


def test_row_zero_is_the_stationary_distribution():
    probs = PlantedLanguage(50, seed=3).bigram_probs
    start = probs[0]
    torch.testing.assert_close(start[1:] @ probs[1:, 1:], start[1:])


def test_bigram_log_probs_are_the_logarithm():
    language = PlantedLanguage(30)
    torch.testing.assert_close(language.bigram_log_probs.exp(), language.bigram_probs)


def test_the_caller_cannot_change_the_language():
    language = PlantedLanguage(30)
    language.bigram_probs.zero_()
    assert language.bigram_probs.sum() > 29


def test_words_are_distinct_and_show_their_class():
    for d_vocab in (3, 128, 700):
        words = PlantedLanguage(d_vocab).tokens
        assert len(words) == len(set(words)) == d_vocab and words[0] == "<|start|>"
    assert words[1][:2] == words[9][:2] != words[2][:2]


def test_table_is_nearly_but_not_quite_low_rank():
    table = PlantedLanguage(128).bigram_log_probs[1:, 1:]
    values = torch.linalg.svdvals(table - table.mean(1, keepdim=True))
    energy = (values**2).cumsum(0) / (values**2).sum()
    assert energy[8] > 0.7 and energy[31] < 0.97 and energy[63] < 0.999


def test_seeds_give_different_languages():
    one, same, other = (PlantedLanguage(40, seed=s).bigram_probs for s in (1, 1, 2))
    assert torch.equal(one, same) and not torch.allclose(one, other)


# --- plants


def test_made_up_skip_trigrams_use_words_of_their_own():
    rules = PlantedLanguage(128, n_skip_trigrams=20).skip_trigrams
    ids = [i for rule in rules for i in (rule.source, rule.destination, rule.out)]
    assert len(rules) == 20 and len(set(ids)) == 60 and 0 not in ids


def test_sources_come_at_their_rate_after_every_word():
    language = PlantedLanguage(128, n_skip_trigrams=7, source_rate=0.01)
    columns = language.bigram_probs[
        1:, [rule.source for rule in language.skip_trigrams]
    ]
    torch.testing.assert_close(columns, torch.full_like(columns, 0.01))


def test_crossed_words_come_in_the_background_and_never_after_the_source():
    language = PlantedLanguage(
        40,
        skip_trigrams=[("keep", "in", "mind"), ("keep", "at", "bay")],
        background=[("in", "bay", 0.12), ("at", "mind", 0.12)],
        strength=1.0,
        source_rate=1 / 40,
    )
    seen = {True: Counter(), False: Counter()}
    for row in language.sample(600, 60, seed=1).tolist():
        words = [language.tokens[i] for i in row]
        for pos in range(1, 59):
            if words[pos] == "in":
                seen["keep" in words[:pos]][words[pos + 1]] += 1
    assert seen[True]["mind"] == seen[True].total() > 100
    without = seen[False]
    assert without["bay"] / without.total() == pytest.approx(0.12, abs=0.03)


def test_share_of_copied_tokens():
    # In a large vocabulary of even words, agreement at one lag hardly comes by chance.
    language = PlantedLanguage(
        700, repeat_share=0.4, span=10.0, lags=(9, 9), favourite_share=0.0
    )
    rows = language.sample(300, 400, seed=2)
    matches = (rows[:, 200:] == rows[:, 191:-9]).double().mean().item()
    assert matches == pytest.approx(0.4, abs=0.03)


def test_lags_vary_within_their_bounds():
    language = PlantedLanguage(700, repeat_share=0.5, lags=(8, 20), favourite_share=0.0)
    rows = language.sample(400, 200, seed=2)
    rate = {
        k: (rows[:, 100:] == rows[:, 100 - k : -k]).double().mean()
        for k in range(2, 30)
    }
    inside = torch.stack([rate[k] for k in range(8, 21)])
    assert inside.min() > 1.2 * max(rate[k] for k in (*range(2, 8), *range(25, 30)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"d_vocab": 2},
        {"repeat_share": 1.0},
        {"repeat_share": -0.1},
        {"repeat_share": 0.99, "span": 2.0},
        {"lags": (5, 4)},
        {"strength": 1.2},
        {"n_skip_trigrams": 50},
        {"n_skip_trigrams": 20, "source_rate": 0.1},
        {"skip_trigrams": [("keep", "dada", "mind")]},
    ],
)
def test_impossible_languages_are_refused(wrong):
    with pytest.raises(ValueError):
        PlantedLanguage(**{"d_vocab": 128, **wrong})


# --- floors


def entropy_by_loops(probs: list[float]) -> float:
    return -sum(p * math.log(p) for p in probs if p > 0)


def test_entropy_is_the_mean_entropy_of_a_table_row():
    language = PlantedLanguage(37, seed=2)
    start, *rows = language.bigram_probs.tolist()
    expected = sum(
        p * entropy_by_loops(row) for p, row in zip(start[1:], rows, strict=True)
    )
    assert language.entropy() == pytest.approx(expected)


def floors_by_enumeration(language, n_ctx: int) -> tuple[float, float]:
    """Both floors from the exact probability of every row."""
    rows = every_row(language, n_ctx)
    log_probs = language.log_prob(torch.tensor(rows))
    full, pairs, singles = 0.0, Counter(), Counter()
    for row, nats in zip(rows, log_probs.tolist(), strict=True):
        p = math.exp(sum(nats))
        if p == 0:
            continue
        full -= p * sum(nats)
        for current, following in itertools.pairwise(row):
            pairs[current, following] += p
            singles[current] += p
    one = -sum(p * math.log(p / singles[pair[0]]) for pair, p in pairs.items())
    return one / (n_ctx - 1), full / (n_ctx - 1)


def test_floors_of_a_bigram_language_are_exact():
    language = tiny("bigram")
    one, full = floors_by_enumeration(language, 6)
    assert language.one_token_floor(6) == pytest.approx(one)
    assert language.full_floor(6) == pytest.approx(full)
    assert language.full_floor(6).standard_error == 0


@pytest.mark.parametrize("name", ["rule", "copy", "both", "crossed"])
def test_estimated_floors_meet_the_enumerated_ones(name):
    language = tiny(name)
    n_ctx = 6 if language.d_vocab < 6 else 5
    one, full = floors_by_enumeration(language, n_ctx)
    estimates = language.one_token_floor(n_ctx, 8192), language.full_floor(n_ctx, 8192)
    for estimate, exact in zip(estimates, (one, full), strict=True):
        assert 0 < estimate.standard_error < 0.01
        assert abs(estimate - exact) < 4 * estimate.standard_error
    assert full < one


def test_full_floor_is_the_mean_loss_of_the_true_probabilities():
    language = PlantedLanguage(60, n_skip_trigrams=5, repeat_share=0.2)
    floor = language.full_floor(48)
    loss = -language.log_prob(language.sample(800, 48, seed=77)).mean(-1)
    spread = math.hypot(floor.standard_error, loss.std().item() / math.sqrt(800))
    assert abs(loss.mean().item() - floor) < 4 * spread


def test_a_floor_is_a_number_that_knows_its_error():
    floor = Floor(2.5, 0.01)
    assert floor + 1 == 3.5 and floor.standard_error == 0.01
    assert pickle.loads(pickle.dumps(floor)).standard_error == 0.01
    assert repr(floor) == "2.5000 nats (standard error 0.0100)"
    assert repr(Floor(2.5)) == "2.5000 nats (exact)"


@pytest.mark.slow
def test_low_rank_tables_fall_short_of_the_floor_by_what_they_lack():
    """Paper row F-42 without training noise: the exact expected loss is minimised."""
    language = PlantedLanguage(64)
    probs = language.bigram_probs.float()
    weight = torch.cat([torch.tensor([1 / 255]), probs[0, 1:] * 254 / 255])
    gaps = [
        fitted_loss(probs, weight, width) - language.one_token_floor(256)
        for width in (4, 16, 64)
    ]
    assert gaps[0] > 0.3 and 0.02 < gaps[1] < 0.1 and abs(gaps[2]) < 0.005


def fitted_loss(probs, weight, width: int) -> float:
    random = torch.Generator().manual_seed(0)
    left = (torch.randn(64, width, generator=random) / 10).requires_grad_()
    right = (torch.randn(width, 64, generator=random) / 10).requires_grad_()
    optimizer = torch.optim.Adam([left, right], lr=0.03)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, 500)
    for _ in range(500):
        log_probs = (left @ right).log_softmax(-1)
        loss = -(weight[:, None] * probs * log_probs).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return loss.item()
