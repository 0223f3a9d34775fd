"""Chapter 6: its analyses against independent oracles, and what its prose says.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import math

import numpy as np
import pytest
import torch

from solutions.ch0_toolbox import per_token_loss
from solutions.ch4_two_layer import k_composition, q_composition, random_composition
from solutions.ch5_induction_heads import (
    ablate_edge,
    prefix_matching_score,
    repeated_tokens,
)
from solutions.ch6_training_dynamics import (
    in_context_learning_score,
    loss_by_log_position,
    loss_trajectory,
    phase_change_step,
    smear_keys,
)
from utils.exercises.engine import run_check
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
)
from utils.training.records import load_record, load_seed


def numbers(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- the in-context learning score ----------------------------------------------------


def test_score_of_a_model_that_uses_its_context():
    """Misconception 37: negative is learning; a constant of all losses drops out."""
    losses = numbers(9, 31, seed=0).abs() + torch.linspace(6, 2, 31)
    score = in_context_learning_score(losses, (2, 6), (25, 30))
    assert score < -2
    assert in_context_learning_score(losses + 3, (2, 6), (25, 30)) == pytest.approx(
        score, abs=1e-5
    )
    assert in_context_learning_score(losses, (25, 30), (2, 6)) == pytest.approx(
        -score, abs=1e-6
    )


def test_bands_leave_their_last_column_out():
    losses = torch.zeros(2, 8)
    losses[:, 5] = 100.0
    assert in_context_learning_score(losses, (0, 2), (3, 5)) == 0
    assert in_context_learning_score(losses, (0, 2), (4, 6)) == 50


# --- the phase change -----------------------------------------------------------------


def change_on_a_grid(steps, scores, width):
    """NumPy's interpolation, one window after the other."""
    length = width * (steps[-1] - steps[0])
    starts = [s for s in steps if s + length <= steps[-1]]
    changes = [np.interp([s, s + length], steps, scores) for s in starts]
    changes = np.array([b - a for a, b in changes])
    best = int(np.abs(changes).argmax())
    return starts[best] + length / 2, changes[best] / (scores[-1] - scores[0])


@pytest.mark.parametrize("width", [0.07, 0.15, 0.5])
def test_window_equals_interpolation_by_numpy(width):
    random = np.random.default_rng(3)
    for n in (5, 23, 60):
        steps = np.cumsum(random.integers(1, 40, n)).astype(float)
        scores = np.cumsum(random.normal(size=n))
        middle, share = phase_change_step(
            torch.tensor(steps), torch.tensor(scores), width
        )
        assert (middle, share) == pytest.approx(change_on_a_grid(steps, scores, width))


def test_a_step_is_found_whatever_the_snapshots():
    """Denser snapshots must not move the window (they would if it counted them)."""
    for spacing in (1.0, 7.0):
        early = torch.arange(0, 300, spacing)
        steps = torch.cat([early, torch.arange(300.0, 1001, 20)])
        scores = -4 * ((steps - 600) / 20).sigmoid()
        middle, share = phase_change_step(steps, scores, width=0.15)
        assert abs(middle - 600) < 20 and share > 0.9


def test_a_straight_line_has_no_phase_change():
    steps = torch.arange(0.0, 1001, 50)
    middle, share = phase_change_step(steps, 3 - steps / 1000, width=0.15)
    assert share == pytest.approx(0.15) and middle == pytest.approx(75)
    assert phase_change_step(steps, torch.ones(21))[1] == 0


# --- loss by log position -------------------------------------------------------------


def test_bins_equal_a_histogram_by_numpy():
    losses = numbers(7, 127, seed=1)
    places, means, slopes = loss_by_log_position(losses, 6)
    positions = np.arange(1, 128)
    edges = np.exp(np.linspace(0, np.log(128), 7))
    counts, _ = np.histogram(positions, edges)
    logs, _ = np.histogram(positions, edges, weights=np.log(positions))
    sums, _ = np.histogram(positions, edges, weights=losses.mean(0).numpy())
    assert np.allclose(places, logs / counts, atol=1e-5)
    assert np.allclose(means, sums / counts, atol=1e-5)
    assert np.allclose(slopes, np.diff(sums / counts) / np.diff(logs / counts), 1e-3)


@pytest.mark.parametrize("n_bins", [3, 9, 20])
def test_slope_of_a_line_in_the_logarithm(n_bins):
    line = 4 - 0.3 * torch.arange(1, 201).log()
    _, _, slopes = loss_by_log_position(line.expand(3, -1), n_bins)
    assert torch.allclose(slopes, torch.full_like(slopes, -0.3), atol=1e-4)


def test_a_position_on_an_edge_opens_its_bin():
    """With 255 positions and 8 bins every power of 2 is an edge."""
    places, means, _ = loss_by_log_position(torch.arange(1.0, 256)[None], 8)
    assert len(places) == 8
    middles = [(2**k + 2 ** (k + 1) - 1) / 2 for k in range(8)]
    assert means.tolist() == pytest.approx(middles)


# --- the trajectory -------------------------------------------------------------------


def test_trajectory_equals_numpy_in_float64():
    losses = numbers(4, 11, 37, seed=2) + 3 * numbers(4, 1, 37, seed=3)
    found = loss_trajectory(losses, 3).flatten(0, 1).numpy()
    points = losses.double().numpy().reshape(44, 37)
    centred = points - points.mean(0)
    left, sizes, directions = np.linalg.svd(centred, full_matrices=False)
    expected = centred @ directions[:3].T
    assert np.allclose(np.abs(found), np.abs(expected), atol=1e-3)
    assert np.allclose((found**2).sum(0), sizes[:3] ** 2, rtol=1e-4)


def test_trajectory_keeps_distances_when_two_directions_are_all():
    plane = numbers(2, 29, seed=4)
    losses = numbers(3, 8, 2, seed=5) @ plane + 4
    found = loss_trajectory(losses, 2).flatten(0, 1)
    points = losses.flatten(0, 1)
    assert torch.allclose(
        torch.cdist(found, found), torch.cdist(points, points), atol=1e-3
    )


def test_trajectory_does_not_depend_on_the_order_of_runs_or_tokens():
    losses = numbers(3, 6, 17, seed=6).cumsum(1)
    found = loss_trajectory(losses)
    shuffled = loss_trajectory(losses[[2, 0, 1]][:, :, torch.arange(16, -1, -1)])
    assert torch.allclose(found[[2, 0, 1]].abs(), shuffled.abs(), atol=1e-3)


# --- smeared keys ---------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["qk", "stream"])
def test_smeared_keys_are_what_the_model_computes(positions):
    """O-20, through the model: scores of a smeared model from its plain keys."""
    config = AttentionOnlyConfig(
        n_layers=1,
        d_vocab=19,
        d_model=10,
        n_heads=3,
        d_head=4,
        n_ctx=9,
        positions=positions,
        smeared_keys=True,
    )
    network = AttentionOnlyTransformer(config, seed=1)
    alpha = torch.tensor([-1.5, 0.0, 2.0])
    with torch.no_grad():
        network.layers[0].attn.smear.copy_(alpha)
        model = as_bridge(network.eval())
        tokens = torch.randint(19, (2, 9), generator=torch.Generator().manual_seed(0))
        _, cached = model.run_with_cache(tokens)
        read = cached["blocks.0.hook_resid_pre"]
        if positions == "qk":
            read = read + model.W_pos[:9]
        q = torch.einsum("bpm,hmd->bphd", read, model.W_Q[0])
        k = torch.einsum("bpm,hmd->bphd", read, model.W_K[0])
        scores = torch.einsum("bqhd,bkhd->bhqk", q, smear_keys(k, alpha)) / 4**0.5
        plain = torch.einsum("bqhd,bkhd->bhqk", q, k) / 4**0.5
    seen = torch.ones(9, 9).tril().bool()
    theirs = cached["blocks.0.attn.hook_attn_scores"][:, :, seen]
    assert torch.allclose(theirs, scores[:, :, seen], atol=1e-5)
    assert not torch.allclose(theirs, plain[:, :, seen], atol=1e-2)


def test_smearing_never_looks_ahead():
    k, alpha = numbers(2, 7, 3, 5, seed=7), numbers(3, seed=8)
    changed = k.clone()
    changed[:, 4] += 1
    differs = (smear_keys(k, alpha) != smear_keys(changed, alpha)).any(-1).any(-1)
    assert differs.any(0).tolist() == [False] * 4 + [True, True, False]


# --- other ways to write a right answer -----------------------------------------------


def icl_by_numpy(losses, early, late):
    table = losses.numpy().astype(float)
    after, before = table[:, range(*late)], table[:, range(*early)]
    return np.mean(after) - np.mean(before)


def change_by_numpy(steps, scores, width=0.25):
    if scores[0] == scores[-1] and len(set(scores.tolist())) == 1:
        return (steps[0] + width * (steps[-1] - steps[0]) / 2).item(), 0
    middle, share = change_on_a_grid(
        steps.double().numpy(), scores.double().numpy(), width
    )
    return torch.tensor(middle), np.float32(share)


def bins_by_a_table(losses, n_bins):
    n = losses.shape[1]
    logs = np.log(np.arange(1, n + 1))
    of = np.floor(n_bins * logs / np.log(n + 1))
    table = (of[None] == np.unique(of)[:, None]).astype(float)
    table /= table.sum(1, keepdims=True)
    places, means = table @ logs, table @ losses.double().mean(0).numpy()
    return [places, means, np.diff(means) / np.diff(places)]


def trajectory_by_gram_matrix(losses, n_components=2):
    points = losses.double().reshape(-1, losses.shape[-1])
    gram = torch.cov(points.T, correction=0)
    _, directions = torch.linalg.eigh(gram)
    directions = directions.flip(-1)[:, :n_components]
    return -torch.einsum("rst,tc->rsc", losses - points.mean(0), directions)


def smear_by_a_matrix(k, alpha):
    n = k.shape[1]
    own = torch.sigmoid(alpha.double())
    before = torch.diag(torch.ones(n - 1).double(), -1)
    mix = torch.einsum("h,jk->hjk", own, torch.eye(n).double())
    mix = mix + torch.einsum("h,jk->hjk", 1 - own, before)
    mix[:, 0, 0] = 1
    return torch.einsum("hjk,bkhd->bjhd", mix, k.double())


OTHER_WAYS = [
    ("in_context_learning_score", icl_by_numpy),
    ("phase_change_step", change_by_numpy),
    ("loss_by_log_position", bins_by_a_table),
    ("loss_trajectory", trajectory_by_gram_matrix),
    ("smear_keys", smear_by_a_matrix),
]


@pytest.mark.parametrize(
    ("name", "answer"), OTHER_WAYS, ids=[name for name, _ in OTHER_WAYS]
)
def test_other_ways_pass(name, answer):
    result = run_check(name, answer)
    assert result.status == "passed", result.message


def test_a_trajectory_with_its_components_swapped_is_told_so():
    def answer(losses, n_components=2):
        return trajectory_by_gram_matrix(losses, n_components).flip(-1)

    result = run_check("loss_trajectory", answer)
    assert result.status == "failed" and "strongest" in result.message


# --- what the prose says --------------------------------------------------------------

CHANCE = math.log(512)
BOUND = math.lgamma(25) / 24


def best(name, series="prefix_matching", snapshots=slice(None)):
    """The highest score of any head [seed, snapshot]."""
    return load_record(name)[series].flatten(2).amax(-1)[:, snapshots]


def learning(name):
    """In-context learning, the bigram table taken off [seed, snapshot, window]."""
    kept = load_record(name)
    fixed = kept.fixed["bigram_late_loss"] - kept.fixed["bigram_early_loss"]
    return kept["late_loss"] - kept["early_loss"] - fixed


def reached(name, mark, series="prefix_matching"):
    """The step at which each seed is first above a mark; infinity if never."""
    steps = load_record(name).steps.tolist()
    curves = best(name, series).tolist()
    return [
        min((s for s, v in zip(steps, curve, strict=True) if v > mark), default=np.inf)
        for curve in curves
    ]


def test_bounds_of_the_prose():
    """Chance and the bound of knowing a set of 25 tokens (sections 2 and 3)."""
    assert round(CHANCE, 2) == 6.24 and round(math.log(1024), 2) == 6.93
    assert round(BOUND, 2) == 2.28


def test_bigram_tables_score_is_luck():
    """Section 1: its interval holds 0, and taking it off narrows the model's."""
    kept = load_record("text_two_layer")
    table = kept.fixed["bigram_late_loss"] - kept.fixed["bigram_early_loss"]
    assert abs(table.mean()) < 2 * table.std() / len(table) ** 0.5
    own = (kept["late_loss"] - kept["early_loss"])[:, -1]
    assert (learning("text_two_layer")[:, -1].std(-1) < own.std(-1)).all()


def test_two_models_side_by_side():
    """Section 2: above chance with one layer, below the set bound with two."""
    one = load_record("live_one_layer")["repeat_loss"]
    two = load_record("live_two_layer")["repeat_loss"][:, -1]
    assert (one[:, -1] > CHANCE).all() and best("live_one_layer").max() < 0.1
    assert (two < BOUND).all()


def test_a_weak_habit_first_then_both_together():
    early = reached("live_two_layer", 0.25, "previous_token")
    previous = reached("live_two_layer", 0.5, "previous_token")
    matching = reached("live_two_layer", 0.5)
    late = reached("live_two_layer", 0.25)
    for habit, first, begun, second in zip(
        early, previous, late, matching, strict=True
    ):
        assert habit < 0.5 * begun and abs(first - second) <= 45
    assert max(matching) - min(matching) <= 45


def test_heads_look_back_on_the_sentence():
    """Section 2: the attention of the best head on what followed an equal token."""
    kept = load_record("live_two_layer")
    ids, attention = kept.fixed["sentence"][0].tolist(), kept["attention"][0]
    layer, head = divmod(int(kept["prefix_matching"][0, -1].argmax()), 4)
    sums = []
    for snapshot in (0, 12, len(kept.steps) - 4):
        pattern, found = attention[snapshot, layer, head], []
        for i, token in enumerate(ids):
            keys = [j + 1 for j in range(i) if ids[j] == token]
            found += [pattern[i, keys].sum().item()] if keys else []
        sums.append(np.mean(found))
    assert max(sums[:2]) < 0.1 and sums[2] > 0.2


def test_text_alone_makes_heads_and_keeps_the_loss_above_chance():
    """Section 3."""
    alone, mixed = (load_record(f"{arm}_two_layer") for arm in ("text", "mixed"))
    assert (alone["repeat_loss"][:, -1] > math.log(1024)).all()
    assert (mixed["repeat_loss"][:, -1] < BOUND).all()
    assert (best("text_two_layer")[:, -1] > 0.5).all()
    assert (best("mixed_two_layer")[:, -1] > 0.8).all()
    for record in (alone, mixed):
        lowest = record["text_loss"].cummin(dim=1).values
        assert (record["text_loss"] - lowest).max() < 0.1  # no bump to the naked eye


def test_more_repeats_do_not_bring_it_forward():
    share = load_record("live_repeats_0").fixed["kind_share"][1]
    assert abs(share - 1 / 6) < 0.02
    assert min(reached("live_repeats_0", 0.5)) == np.inf
    assert best("live_repeats_0")[:, -1].min() > 0.15
    assert best("live_repeats_3")[:, -1].min() > 0.4
    assert np.median(reached("live_repeats_3", 0.5)) > 345
    middle = np.median(reached("live_two_layer", 0.5))
    assert np.median(reached("live_repeats_50", 0.5)) >= middle
    losses = [
        load_record(name)["text_loss"][:, -1].mean()
        for name in ("live_two_layer", "live_repeats_50")
    ]
    assert losses[1] - losses[0] > 0.2


def test_in_context_learning_of_the_text_arm():
    """Section 4: O-03 and O-06 with their intervals."""
    two, one = (learning(f"text_{n}_layer")[:, -1] for n in ("two", "one"))
    error = 1.96 * two.std(-1) / two.shape[-1] ** 0.5
    assert (two.mean(-1) + error < one.mean(-1)).all()
    assert (one.mean(-1) < 0).all() and (one.mean(-1) > -0.2).all()
    totals = learning("text_one_layer").mean(-1)
    assert (totals[:, -1] - totals[:, 0]).abs().max() < 0.15
    shares = [change("text_one_layer", curve)[1] for curve in totals]
    assert max(shares) > 1  # a share of almost nothing


def change(name, curve):
    return phase_change_step(load_record(name).steps.float(), curve)


def test_three_windows_lie_close():
    """O-04 and O-05: two seeds of three over 75 per cent, the heads never first."""
    two, one = load_record("text_two_layer"), load_record("text_one_layer")
    scores = learning("text_two_layer").mean(-1)
    gaps = one["text_loss"].mean(0) - two["text_loss"]
    found = [
        [change("text_two_layer", curve) for curve in curves]
        for curves in (scores, best("text_two_layer"), gaps)
    ]
    shares = [round(100 * share) for _, share in found[0]]
    assert sorted(shares) == [70, 76, 86]
    apart = []
    for (score, _), (heads, _), (gap, _) in zip(*found, strict=True):
        assert max(score, gap) <= heads
        apart.append((heads - min(score, gap)) / float(two.steps[-1]))
    assert max(apart) < 0.2 and sum(part <= 0.05 for part in apart) == 2
    for curve in two["text_loss"]:
        assert change("text_two_layer", curve)[1] > 0.8


def test_text_alone_teaches_copying():
    """Section 3: the loss on repeats turns back with two layers and not with one."""
    two, one = (load_record(f"text_{n}_layer")["repeat_loss"] for n in ("two", "one"))
    assert (two.amax(dim=1) - two[:, -1] > 0.5).all()
    assert (one.amax(dim=1) - one[:, -1] < 0.4).all() and one[:, -1].min() > 10.5
    for seed in load_record("text_two_layer").seeds:
        model = load_seed("text_two_layer", seed)
        rows = repeated_tokens(d_vocab=1024, span=25, copies=4, batch=16, seed=3)
        losses = per_token_loss(model, rows)
        right = (model(rows)[:, :-1].argmax(-1) == rows[:, 1:]).double()
        assert losses[:, 1:25].mean() - losses[:, 26:].mean() > 1.5
        assert right[:, 26:].mean() > 0.03 > 5 * right[:, 1:25].mean()


def test_slopes_before_and_after():
    """O-08, beyond about 40 tokens, averaged over the seeds."""
    slopes = {}
    for name in ("one", "two"):
        losses = load_record(f"text_{name}_layer")["loss_by_position"]
        for snapshot in (4, 30):
            found = loss_by_log_position(losses[:, snapshot], 9)[2]
            slopes[name, snapshot] = found[5:].mean().item()
    assert max(abs(slopes[n, 4]) for n in ("one", "two")) < 0.03
    assert slopes["two", 30] < -0.1 and slopes["one", 30] > -0.05


def test_which_tokens_gain():
    """O-09: continued tokens gain over a nat, contradicted ones as with one layer."""
    falls = {}
    for name in ("one", "two"):
        losses = load_record(f"text_{name}_layer")["kind_loss"].mean(0)
        falls[name] = (losses[5] - losses[12]).tolist()
    assert falls["two"][1] > 1.2 and falls["one"][1] < 0.5
    assert falls["two"][2] > 0.1
    assert abs(falls["two"][2] - falls["one"][2]) < 0.05
    one, two = (load_record(f"text_{name}_layer") for name in ("one", "two"))
    lower = (one["kind_loss"] - two["kind_loss"])[:, 12].mean(0)
    lower = lower * two.fixed["kind_share"]
    assert 0.87 < lower[1] / lower.sum() < 0.93  # nine tenths
    rose = two["token_losses"][:, 12] > two["token_losses"][:, 5] + 0.1
    shares = [rose[:, two.fixed["token_kind"] == k].double().mean() for k in range(3)]
    assert shares[1] < 0.7 * min(shares[0], shares[2])
    assert abs(shares[0] - shares[2]) < 0.06


def test_the_pivot():
    """O-11: in the plane paths with two layers turn more; in all axes they do not."""
    records = [load_record(f"text_{name}_layer") for name in ("one", "two")]
    both = torch.cat([record["token_losses"] for record in records])

    def turns(points, at, reach):
        into, out = points[:, at] - points[:, at - reach], points[:, at + reach]
        cosine = torch.cosine_similarity(into, out - points[:, at], dim=-1)
        return cosine.acos().rad2deg()

    plane = loss_trajectory(both)
    for reach in (2, 3, 4):
        for at in (4, 5):  # steps 200 and 250
            angles = turns(plane, at, reach)
            assert angles[3:].min() > angles[:3].max()
        for at in (4, 5, 6, 8, 10):
            angles = turns(both, at, reach)
            assert angles[3:].min() < angles[:3].max() + 1  # nowhere by over a degree
            assert angles.min() > 75 and angles.max() < 120
    further = (plane[:, -1] - plane[:, 6]).norm(dim=-1)
    assert further[3:].min() > 2 * further[:3].max()


def test_smeared_keys_bring_induction_to_one_layer_and_forward_to_two():
    """O-20 and O-21."""
    plain, one = reached("live_two_layer", 0.5), reached("live_one_layer_smeared", 0.5)
    assert max(one) < min(plain)
    assert max(reached("live_two_layer_smeared", 0.5)) < min(plain)
    scores = {
        name: learning(f"text_{name}").mean(-1)
        for name in (
            "one_layer_smeared",
            "two_layer",
            "two_layer_smeared",
        )
    }
    steps = load_record("text_two_layer").steps
    half = {
        name: [int(steps[(c / c[-1] > 0.5).nonzero()[0]]) for c in curves]
        for name, curves in scores.items()
    }
    assert max(half["two_layer_smeared"]) <= 0.8 * min(half["two_layer"])
    ends = [scores[n][:, -1].mean() for n in ("one_layer_smeared", "two_layer")]
    assert abs(ends[0] - ends[1]) < 0.1


def test_a_fixed_lag_is_learned_as_a_distance():
    """Misconception 13."""
    at_lag = best("live_fixed_lag_one_layer", "prefix_matching_at_fixed_lag")[:, -1]
    assert at_lag.min() > 0.5 and best("live_fixed_lag_one_layer")[:, -1].max() < 0.1
    two = best("live_fixed_lag_two_layer", "prefix_matching_at_fixed_lag")[:, -1]
    assert (best("live_fixed_lag_two_layer")[:, -1] < two / 2).all()
    assert best("live_two_layer")[:, -1].min() > 0.7
    ends, begins = (best("live_fixed_lag_one_layer")[:, i] for i in (-1, 0))
    assert ends.max() < begins.max() + 0.005  # no higher than an untrained model


def test_positions_in_the_stream_still_give_the_previous_token_algorithm():
    """F-107, per seed."""
    repeats = repeated_tokens(512, 25, copies=4, batch=8, seed=9)
    for seed in load_record("live_positions_in_stream").seeds:
        model = load_seed("live_positions_in_stream", seed)
        head = int(prefix_matching_score(model, repeats)[1].argmax())
        floor = random_composition(model.cfg.d_model, model.cfg.d_head)
        losses, over = {}, {}
        for edge, table in (("q", q_composition(model)), ("k", k_composition(model))):
            scores = (table[:, head] - floor.mean()) / floor.std()
            over[edge], source = scores.max(), (0, int(scores.argmax()))
            logits = ablate_edge(model, repeats, source, (1, head), edge)
            log_probs = logits.log_softmax(-1)[:, :-1]
            picked = log_probs.gather(-1, repeats[:, 1:, None])
            losses[edge] = -picked[:, 26:].mean()
        assert over["k"] > 10 and over["q"] < 0
        assert losses["k"] > CHANCE and losses["q"] < 0.6 * CHANCE
    later = reached("live_positions_in_stream", 0.5)
    assert min(later) > max(reached("live_two_layer", 0.5))


def test_short_contexts_are_enough_and_sooner():
    """O-54."""
    short, middle, long = (
        reached(name, 0.5)
        for name in ("live_context_16", "live_context_64", "live_two_layer")
    )
    assert max(short) < min(middle) and max(middle) < min(long)


def test_matching_heads_form_in_the_last_of_three_layers():
    """O-44, in every seed; layer 1 looks one back in two of three."""
    back = load_record("live_three_layer")["previous_token"][:, -1, 1].amax(-1)
    even = (1 / torch.arange(2, 102)).mean()
    assert (back > 5 * even).tolist() == [True, False, True]
    assert back[1] < 1.5 * even
    scores = load_record("live_three_layer")["prefix_matching"][:, -1].amax(-1)
    assert (scores.argmax(-1) == 2).all()
    assert scores[:, 1].max() < 0.1 and scores[:, 2].min() > 0.5


def test_adamw_alone_finds_them_later():
    later = reached("mixed_two_layer_adamw", 0.5)
    with_muon = reached("mixed_two_layer", 0.5)
    assert 2.5 < min(later) / np.mean(with_muon) < 4


def test_the_arms_differ_in_repeats_and_in_the_last_third():
    """Section 3: what may be compared, and until when."""
    mixed, alone = (
        load_record(f"{arm}_two_layer").about["recipe"] for arm in ("mixed", "text")
    )
    assert mixed["repeat_share"] == 0.13 and alone["repeat_share"] == 0
    assert mixed["model"] == alone["model"] and mixed["batch_size"] == 16
    assert alone["training"]["schedule"] == "constant"
    last = 1 - mixed["training"]["decay_share"]
    assert round(last * mixed["training"]["steps"]) == 1000
