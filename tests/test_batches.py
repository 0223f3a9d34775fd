"""Batch functions: deterministic, free of global state, exactly what was asked for."""

import math
import pickle

import pytest
import torch

from utils.text.batches import Mix, Repeats, Windows, kept_out_ids, mix, with_repeats
from utils.text.planted import PlantedLanguage

STREAM = torch.arange(1, 90, dtype=torch.int32)


def make(kind: str):
    windows = Windows(STREAM, batch_size=5, n_ctx=12, seed=3)
    made = {
        "windows": windows,
        "repeats": Repeats(d_vocab=90, batch_size=5, n_ctx=12, seed=3),
        "mix": with_repeats(windows, share=0.5, d_vocab=90),
        "planted": PlantedLanguage(20, repeat_share=0.2).batches(5, 12, seed=3),
    }
    return made[kind]


KINDS = ["windows", "repeats", "mix", "planted"]


@pytest.mark.parametrize("kind", KINDS)
def test_shape_start_token_and_type(kind):
    batch = make(kind)(7)
    assert batch.shape == (5, 12) and batch.dtype == torch.int64
    assert (batch[:, 0] == 0).all() and (batch[:, 1:] != 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_depends_on_seed_and_step_only(kind):
    batches = make(kind)
    expected = {step: batches(step) for step in (400, 0, 7)}
    torch.manual_seed(99)
    before = torch.get_rng_state()
    copy = pickle.loads(pickle.dumps(batches))
    for step in (7, 400, 0):
        assert torch.equal(copy(step), expected[step])
        assert torch.equal(make(kind)(step), expected[step])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(expected[0], expected[7])


@pytest.mark.parametrize("kind", KINDS)
def test_changing_a_batch_changes_no_later_one(kind):
    batches = make(kind)
    batches(4).fill_(-1)
    assert (batches(4) >= 0).all()


def test_windows_are_stretches_of_the_stream():
    stretches = Windows(STREAM, 64, 12, seed=0)(0)[:, 1:]
    assert (stretches.diff(dim=1) == 1).all()


def test_every_offset_can_come():
    windows = Windows(STREAM[:9], batch_size=200, n_ctx=8, seed=1)
    assert set(windows(0)[:, 1].tolist()) == {1, 2, 3}


def test_a_text_shorter_than_a_row_is_refused():
    with pytest.raises(ValueError, match="needs 11 tokens, the text has 10"):
        Windows(STREAM[:10], batch_size=2, n_ctx=12)


def test_repeats_repeat_at_the_period_they_name():
    repeats = Repeats(d_vocab=500, batch_size=40, n_ctx=33, seed=2)
    rows = repeats(5)[:, 1:].tolist()
    periods = repeats.period_of_rows(5).tolist()
    assert min(periods) >= 4 and max(periods) <= 16 and len(set(periods)) > 5
    for row, period in zip(rows, periods, strict=True):
        assert all(row[i] == row[i - period] for i in range(period, 32))
        for shorter in range(1, period):
            assert any(row[i] != row[i - shorter] for i in range(shorter, 32))


def test_a_fixed_lag_is_kept():
    repeats = Repeats(d_vocab=50, batch_size=8, n_ctx=30, lag=7)
    assert set(repeats.period_of_rows(3).tolist()) == {7}
    rows = repeats(3)
    assert torch.equal(rows[:, 8:], rows[:, 1:-7])


def test_excluded_ids_never_come_and_others_do():
    kept_out = kept_out_ids(60, share=0.1, seed=4)
    assert len(kept_out) == 6 and 0 not in kept_out
    repeats = Repeats(d_vocab=60, batch_size=50, n_ctx=40, exclude=kept_out)
    seen = set(torch.cat([repeats(step) for step in range(20)]).flatten().tolist())
    assert seen == set(range(60)) - set(kept_out)


def test_distinct_rows_hold_no_token_twice_in_a_period():
    repeats = Repeats(d_vocab=30, batch_size=20, n_ctx=41, lag=20, distinct=True)
    assert all(len(set(row)) == 20 for row in repeats(0)[:, 1:21].tolist())


@pytest.mark.parametrize(
    "wrong",
    [{"lag": 0}, {"lag": 12}, {"periods": (5, 3)}, {"exclude": range(90)}],
)
def test_impossible_repeats_are_refused(wrong):
    wrong = {k: tuple(v) if k == "exclude" else v for k, v in wrong.items()}
    with pytest.raises(ValueError, match="do not fit|ids are left"):
        Repeats(d_vocab=90, batch_size=5, n_ctx=12, **wrong)


def test_rows_of_a_mix_come_from_where_it_says():
    first = Windows(STREAM, 50, 12, seed=3)
    second = Repeats(d_vocab=90, batch_size=50, n_ctx=12, seed=8)
    mixed = mix(first, second, share=0.3, seed=1)
    for step in (0, 1):
        rows, chosen = mixed(step), mixed.from_second(step)
        for row, is_second in enumerate(chosen):
            source = second if is_second else first
            assert torch.equal(rows[row], source(step)[row])


@pytest.mark.parametrize("share", [0.0, 0.13, 1.0])
def test_share_of_a_mix(share):
    mixed = Mix(make("windows"), make("repeats"), share)
    drawn = [x for step in range(400) for x in mixed.from_second(step)]
    spread = math.sqrt(share * (1 - share) / len(drawn))
    assert abs(sum(drawn) / len(drawn) - share) <= 4 * spread


def test_a_mix_of_two_sizes_is_refused():
    with pytest.raises(ValueError, match="one batch size and context"):
        mix(make("windows"), Repeats(d_vocab=90, batch_size=4, n_ctx=12), 0.5)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mix(make("windows"), make("repeats"), 1.5)
