"""Rows on what happens while training, counted over the seeds of the kept records.

Two data arms, never pooled: `text_...` saw text only, `mixed_...` and `live_...` saw
rows of repeated random tokens too. What Olsson et al. say of the loss on text is judged
on the first.
"""

import math
from functools import cache

import torch
from torch import Tensor

from solutions.ch4_two_layer import k_composition, q_composition
from solutions.ch6_training_dynamics import loss_trajectory, phase_change_step
from tests.claim_rows import Claim
from tests.claim_rows.shared import best_head, count, record
from utils.training.records import load_seed

__all__ = ["CLAIMS"]

WIDTH = 0.25  # of all steps: the paper's window, 2.5 to 5 of 10 billion tokens
TWO, ONE = "text_two_layer", "text_one_layer"


@cache
def score(name: str) -> Tensor:
    """In-context learning [seed, snapshot] in nats, a bigram table's taken off."""
    return record(name).in_context_learning.mean(-1)


def change(name: str, curves: Tensor) -> list[tuple[float, float]]:
    """For each seed: the middle of the window of most change, and the share in it."""
    steps = record(name).steps.float()
    return [phase_change_step(steps, curve, WIDTH) for curve in curves]


@cache
def window() -> list[tuple[int, int]]:
    """For each seed: the last snapshot before and the first after the change.

    The change is where the in-context learning score moves most, as in O-04.
    """
    steps = record(TWO).steps
    half = WIDTH * int(steps[-1]) / 2
    found = []
    for middle, _ in change(TWO, score(TWO)):
        before = int((steps <= middle - half).nonzero().max())
        after = int((steps >= middle + half).nonzero().min())
        found.append((before, after))
    return found


def _at(curves: Tensor, which: int) -> Tensor:
    """Each seed's value before (0) or after (1) the change."""
    return torch.stack(
        [c[pair[which]] for c, pair in zip(curves, window(), strict=True)]
    )


# --- in-context learning --------------------------------------------------------------


def in_context_learning() -> dict:
    windows = record(TWO).in_context_learning[:, -1]
    error = windows.std(-1) / math.sqrt(windows.shape[-1])
    top = windows.mean(-1) + 1.96 * error
    return {
        "score": windows.mean().item(),
        "highest": top.max().item(),
        "sure": count(top < 0),
        "seeds": len(windows),
    }


def before_and_after() -> dict:
    two, one = score(TWO), score(ONE)[:, -1]
    before, after = _at(two, 0), two[:, -1]
    return {
        "before": before.mean().item(),
        "after": after.mean().item(),
        "one": one.mean().item(),
        "ratio": (after.mean() / before.mean()).item(),
        "share": (one.mean() / after.mean()).item(),
    }


# --- the phase change on text ---------------------------------------------------------


def sudden() -> dict:
    shares = [share for _, share in change(TWO, score(TWO))]
    return {
        "least": min(shares),
        "most": max(shares),
        "good": count(share >= 0.75 for share in shares),
        "seeds": len(shares),
        "window": 100 * WIDTH,
    }


@cache
def leaving() -> Tensor:
    """How far each seed's path of token losses is from one layer's [seed, snapshot].

    In the plane of the two strongest components. Where this grows fastest the path
    turns away. The angle of the path itself says less: at the end the points stand
    still, and the angles between them are noise.
    """
    runs = torch.cat([record(name)["token_losses"] for name in (TWO, ONE)])
    n = len(record(TWO).seeds)
    paths = loss_trajectory(runs)
    return (paths[:n] - paths[n:].mean(0)).norm(dim=-1)


def together() -> dict:
    """How far apart the signs of induction come, as a share of all steps."""
    text, alone = record(TWO)["text_loss"], record(ONE)["text_loss"].mean(0)
    signs = {
        "score": score(TWO),
        "heads": best_head(TWO),
        "loss": alone - text,
        "path": leaving(),
    }
    middles = {
        name: torch.tensor([middle for middle, _ in change(TWO, curves)])
        for name, curves in signs.items()
    }
    steps = torch.stack([*middles.values()])
    apart = (steps.amax(0) - steps.amin(0)) / float(record(TWO).steps[-1])
    means = {name: float(middle.mean()) for name, middle in middles.items()}
    return means | {
        "apart": apart.max().item(),
        "good": count(apart <= 0.1),
        "seeds": len(apart),
    }


def one_layer_shows_none() -> dict:
    shares = [share for _, share in change(ONE, score(ONE))]
    return {
        "matching": best_head(ONE).max().item(),
        "gain": (score(ONE)[:, -1] - score(ONE)[:, 1]).abs().max().item(),
        "two": (score(TWO)[:, -1] - score(TWO)[:, 1]).abs().min().item(),
        "most": max(shares),
        "seeds": len(shares),
    }


def curves_part() -> dict:
    gap = record(ONE)["text_loss"].mean(0) - record(TWO)["text_loss"]
    return {
        "before": _at(gap, 0).abs().max().item(),
        "after": gap[:, -1].min().item(),
    }


@cache
def slopes(name: str) -> Tensor:
    """d loss / d ln(position) over the second half [seed, snapshot], bigrams off.

    The bigram table's loss at each position of the same windows is taken off first:
    what is left does not depend on how hard the text is there.
    """
    kept = record(name)
    losses = kept["loss_by_position"] - kept.fixed["bigram_loss_by_position"]
    n = losses.shape[-1]
    half = slice(n // 2, n)
    place = torch.arange(1, n + 1).float().log()[half]
    place = place - place.mean()
    return (losses[..., half] * place).sum(-1) / place.square().sum()


def late_positions() -> dict:
    two, one = slopes(TWO), slopes(ONE)
    return {
        "before": _at(two, 0).mean().item(),
        "after": two[:, -1].mean().item(),
        "steeper": count(two[:, -1] < _at(two, 0)),
        "one": one[:, -1].mean().item(),
        "seeds": len(two),
    }


def which_tokens() -> dict:
    """Change of the loss over the window, less that of the one-layer model."""
    two, one = record(TWO)["kind_loss"], record(ONE)["kind_loss"].mean(0)
    more = two - one
    moved = _at(more, 1) - _at(more, 0)
    return {
        "new": moved[:, 0].mean().item(),
        "again": moved[:, 1].max().item(),
        "against": moved[:, 2].min().item(),
        "worse": count(moved[:, 2] > 0),
        "seeds": len(moved),
    }


def constant_rate() -> dict:
    training = record(TWO).about["recipe"]["training"]
    warm = training["warmup_steps"]
    begin = min(int(record(TWO).steps[before]) for before, _ in window())
    return {
        "constant": float(training["schedule"] == "constant"),
        "warm": warm,
        "begin": begin,
        "gain": (best_head(TWO)[:, -1] - best_head(TWO)[:, 0]).min().item(),
    }


def trajectories() -> dict:
    """How far each arm ends from the line between its start and the one-layer end."""
    runs = torch.cat([record(name)["token_losses"] for name in (TWO, ONE)])
    n = len(record(TWO).seeds)
    paths = loss_trajectory(runs)
    two, one = paths[:n], paths[n:]
    spread = one[:, -1].std(0).norm() if len(one) > 1 else torch.tensor(0.0)
    apart = (two[:, -1].mean(0) - one[:, -1].mean(0)).norm()
    common = (two[:, 4].mean(0) - one[:, 4].mean(0)).norm()
    return {
        "snapshots": runs.shape[0] * runs.shape[1],
        "tokens": runs.shape[2],
        "early": common.item(),
        "late": apart.item(),
        "ratio": (apart / common).item(),
        "spread": spread.item(),
    }


# --- other architectures --------------------------------------------------------------


def smeared_one_layer() -> dict:
    numbers = {}
    for arm in ("live", "text"):
        smeared = best_head(f"{arm}_one_layer_smeared")
        numbers[arm] = smeared[:, -1].min().item()
        numbers[f"plain_{arm}"] = best_head(f"{arm}_one_layer").max().item()
        numbers[f"n_{arm}"] = len(smeared)
    return numbers


def _half_way(curve: Tensor, steps: Tensor) -> float:
    """The first snapshot's step at which half of the final change is there."""
    half = (curve[0] + curve[-1]) / 2
    reached = (curve - curve[0]).abs() >= (half - curve[0]).abs()
    return float(steps[reached.nonzero()[0]])


def smeared_is_earlier() -> dict:
    halves = {}
    for name in (TWO, "text_two_layer_smeared"):
        steps = record(name).steps
        each = [_half_way(curve, steps) for curve in score(name)]
        halves[name] = sorted(each)[len(each) // 2]
    one, smeared = score(ONE)[:, -1], score("text_one_layer_smeared")[:, -1]
    return {
        "plain": halves[TWO],
        "smeared": halves["text_two_layer_smeared"],
        "ratio": halves["text_two_layer_smeared"] / halves[TWO],
        "more": (smeared.mean() / one.mean()).item(),
        "one": one.mean().item(),
        "one_smeared": smeared.mean().item(),
    }


def where_they_form() -> dict:
    scores = record("live_three_layer")["prefix_matching"][:, -1]
    layers = [int(each.amax(-1).argmax()) for each in scores]
    return {
        "last": count(layer == 2 for layer in layers),
        "middle": count(layer == 1 for layer in layers),
        "seeds": len(layers),
        "least": scores.flatten(1).amax(1).min().item(),
    }


def short_contexts() -> dict:
    numbers = {}
    for n_ctx in (16, 64):
        numbers[f"n{n_ctx}"] = best_head(f"live_context_{n_ctx}")[:, -1].min().item()
    numbers["n128"] = best_head("live_two_layer")[:, -1].min().item()
    return numbers


def positions_in_the_stream() -> dict:
    name = "live_positions_in_stream"
    formed, k_first = [], []
    for seed, scores in zip(
        record(name).seeds, record(name)["prefix_matching"][:, -1], strict=True
    ):
        head = int(scores[1].argmax())
        formed.append(scores[1, head].item())
        model = load_seed(name, seed)
        k = k_composition(model)[:, head].max()
        q = q_composition(model)[:, head].max()
        k_first.append(bool(k > q))
    return {
        "least": min(formed),
        "formed": count(score > 0.5 for score in formed),
        "k": count(k_first),
        "seeds": len(formed),
    }


def before_and_after_vector() -> dict:
    """The cosine of each head's ablation with the change over the window (O-33)."""
    kept = record(TWO)
    chosen, lowest = [], []
    for seed, (before, after) in enumerate(window()):
        losses = kept["token_losses"][seed]
        vectors = kept["ablation_change"][seed]
        cosines = torch.cosine_similarity(vectors, losses[after] - losses[before], -1)
        induction = kept["prefix_matching"][seed, -1] > 0.4
        chosen.append(cosines[induction])
        lowest.append(cosines.min() < cosines[~induction].min())
    chosen = torch.cat(chosen)
    return {
        "highest": chosen.max().item(),
        "n": len(chosen),
        "lowest": count(lowest),
        "seeds": len(kept.seeds),
    }


DATA = "text only, constant rate, three small models of two layers and three of one"
CLAIMS = (
    Claim(
        "O-02",
        "Late tokens of a text are easier than early ones.",
        "loss at token 500 minus loss at token 50; negative means learning",
        in_context_learning,
        "{score:+.2f} nats with a bigram table's taken off, 95 % below {highest:+.2f}",
        {"below zero in every seed": lambda n: n["sure"] == n["seeds"]},
        "bands of positions at a tenth and at the end of 256 tokens; " + DATA,
    ),
    Claim(
        "O-03",
        "The in-context learning score jumps, and one layer gets little of it.",
        "from less than 0.15 nats to about 0.4",
        before_and_after,
        "{before:+.2f} to {after:+.2f} nats, one layer {one:+.2f}",
        {
            "three times as much after as before": lambda n: n["ratio"] >= 3,
            "one layer has at most 0.4 of it": lambda n: n["share"] <= 0.4,
        },
        DATA,
    ),
    Claim(
        "O-04",
        "Most of the score is gained in a small part of the training.",
        "over 75 % in the window",
        sudden,
        "{least:.0%} to {most:.0%} in {window:.0f} % of the steps; "
        "75 % in {good:.0f} of {seeds:.0f} seeds",
        {
            "over 60 % in every seed": lambda n: n["least"] > 0.6,
            "75 % in every seed": lambda n: n["good"] == n["seeds"],
        },
        "one seed of three has 70 %: its score rises steadily for a while. An even "
        "curve would have 25 %",
        "partly",
    ),
    Claim(
        "O-05",
        "Score, prefix matching and the loss change at the same time.",
        "all in one window, with a bump of the loss and a turn of the path",
        together,
        "mean steps: score {score:.0f}, heads {heads:.0f}, loss {loss:.0f}, path "
        "{path:.0f}; all within 10 % in {good:.0f} of {seeds:.0f} seeds, at most "
        "{apart:.0%}",
        {
            "all four within 10 % of the steps": lambda n: n["good"] == n["seeds"],
            "all four within 20 %": lambda n: n["apart"] <= 0.2,
        },
        "windows of a quarter are blunt: one seed's score rises steadily for a while, "
        "and its best window lies early; " + DATA,
        "partly",
    ),
    Claim(
        "O-06",
        "One layer shows none of this.",
        "no induction heads, no jump",
        one_layer_shows_none,
        "prefix matching at most {matching:.2f}; score gained {gain:.2f} nats, "
        "two layers at least {two:.2f}",
        {
            "no head with prefix matching of 0.2": lambda n: n["matching"] < 0.2,
            "less than half of what two layers gain": lambda n: (
                n["gain"] < n["two"] / 2
            ),
        },
        DATA,
    ),
    Claim(
        "O-07",
        "The losses of one and two layers part when induction forms.",
        "shown as curves",
        curves_part,
        "at most {before:.2f} nats apart before, at least {after:.2f} after",
        {
            "within 0.05 before": lambda n: n["before"] <= 0.05,
            "0.2 apart at the end": lambda n: n["after"] >= 0.2,
        },
        DATA,
    ),
    Claim(
        "O-08",
        "After the change the loss goes on falling along the context.",
        "little improvement past token 50 before it",
        late_positions,
        "d loss / d ln(position) in the second half {before:+.2f} before, "
        "{after:+.2f} after, one layer {one:+.2f}",
        {
            "below -0.05 after": lambda n: n["after"] < -0.05,
            "steeper than before in every seed": lambda n: n["steeper"] == n["seeds"],
            "before it, above -0.02": lambda n: n["before"] > -0.02,
        },
        "a bigram table's loss is taken off; 256 windows leave a noise of some 0.04",
    ),
    Claim(
        "O-09",
        "What is repeated gets easier, what contradicts a repeat gets harder.",
        "shown by examples",
        which_tokens,
        "beside one layer: repeated {again:+.2f} nats, contradicted {against:+.2f}, "
        "new {new:+.2f}",
        {
            "repeated tokens get easier": lambda n: n["again"] < 0,
            "contradicted ones get harder": lambda n: n["worse"] == n["seeds"],
        },
        "tokens that contradict a repeat get neither harder nor easier; the change of "
        "one layer is taken off, as both still learn bigrams",
        "partly",
    ),
    Claim(
        "O-10",
        "The change is not made by the schedule of the learning rate.",
        "it lies outside the warm-up",
        constant_rate,
        "warm-up ends at step {warm:.0f}, the window begins at {begin:.0f}",
        {
            "the rate is constant": lambda n: n["constant"] == 1,
            "it begins after the warm-up": lambda n: n["begin"] > n["warm"],
            "induction forms all the same": lambda n: n["gain"] > 0.3,
        },
        DATA,
    ),
    Claim(
        "O-11",
        "Seen in the losses of single tokens, two layers leave the path of one.",
        "principal components of 10,000 tokens' losses",
        trajectories,
        "{snapshots:.0f} snapshots, {tokens:.0f} tokens: {early:.1f} nats apart early, "
        "{late:.1f} at the end",
        {"ten times further apart at the end": lambda n: n["ratio"] > 10},
        DATA,
    ),
    Claim(
        "O-20",
        "With smeared keys one layer forms induction heads.",
        "it undergoes the change",
        smeared_one_layer,
        "prefix matching at least {live:.2f} with repeats in the data, {text:.2f} on "
        "text; plain at most {plain_live:.2f} and {plain_text:.2f}",
        {
            "over 0.5 with repeats in the data": lambda n: n["live"] >= 0.5,
            "over 0.5 on text alone": lambda n: n["text"] >= 0.5,
            "plain one-layer models stay under 0.2": lambda n: (
                max(n["plain_live"], n["plain_text"]) < 0.2
            ),
        },
        "three seeds each; on text alone two layers form weaker heads too",
    ),
    Claim(
        "O-21",
        "With smeared keys the change is earlier, and one layer learns from context.",
        "shown as curves",
        smeared_is_earlier,
        "half of the score at step {smeared:.0f} instead of {plain:.0f}; one layer "
        "{one_smeared:+.2f} instead of {one:+.2f} nats",
        {
            "at 0.8 of the steps or earlier": lambda n: n["ratio"] <= 0.8,
            "one layer at least twice the score": lambda n: n["more"] >= 2,
        },
        "text only; snapshots every 50 steps",
    ),
    Claim(
        "O-33",
        "Leaving out an induction head undoes the change of token losses.",
        "negative for induction heads",
        before_and_after_vector,
        "cosine at most {highest:+.2f} over {n:.0f} heads with prefix matching over "
        "0.4; the lowest of all heads in {lowest:.0f} of {seeds:.0f} seeds",
        {
            "negative for every induction head": lambda n: n["highest"] < 0,
            "lower than every other head's": lambda n: n["lowest"] == n["seeds"],
        },
        "patterns are kept while a head is left out; " + DATA,
    ),
    Claim(
        "O-44",
        "In attention-only models induction heads form in the last layer.",
        "shown for three and more layers",
        where_they_form,
        "best head in the last of three layers in {last:.0f}, in the middle one in "
        "{middle:.0f} of {seeds:.0f} seeds",
        {
            "last layer in most seeds": lambda n: n["last"] > n["seeds"] / 2,
            "every seed has an induction head": lambda n: n["least"] > 0.5,
        },
        "data with repeats, so that every seed has one within 500 steps",
    ),
    Claim(
        "O-54",
        "Induction is learned in short contexts too.",
        "a reader reports it at four tokens",
        short_contexts,
        "prefix matching {n16:.2f} with 16 tokens, {n64:.2f} with 64, {n128:.2f} with "
        "128, lowest seed",
        {
            "over 0.5 with 64 tokens": lambda n: n["n64"] > 0.5,
            "over 0.5 with 16 tokens": lambda n: n["n16"] > 0.5,
        },
        "the same number of tokens, a fixed share of rows with repeats",
    ),
    Claim(
        "F-107",
        "With positions in the stream a second algorithm is open.",
        "pointer arithmetic by Q-composition",
        positions_in_the_stream,
        "{formed:.0f} of {seeds:.0f} seeds form induction; K-composition is the larger "
        "one in {k:.0f}",
        {
            "the same one in every seed": lambda n: n["k"] in (0, n["seeds"]),
            "induction forms in every seed": lambda n: n["formed"] == n["seeds"],
        },
        "the row asks which of both dominates; either answer is a result",
    ),
)
