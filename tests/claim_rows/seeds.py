"""Rows on two layers that speak of several models, counted over kept seeds.

Three seeds with and three without repeats in their text, of the same small size, whose
weights are kept; the twins with one layer; and one seed trained by AdamW alone, as a
control for the optimiser.
"""

import math
from functools import cache

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from solutions.ch4_two_layer import (
    k_composition,
    q_composition,
    random_composition,
    term_importance,
    v_composition,
)
from solutions.ch5_induction_heads import (
    induction_heads_from_weights,
    prefix_matching_score,
    previous_token_score,
    repeated_tokens,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import best_head, count, record, rows
from utils.training.records import load_seed

__all__ = ["CLAIMS"]

MIXED, TWIN, TEXT = "mixed_two_layer", "mixed_one_layer", "text_two_layer"
ADAM = "mixed_two_layer_adamw"
SPAN = 25
# ln((K-1)!)/(K-1): the first token of a repeat cannot be told, so it is left out.
BOUND = math.lgamma(SPAN) / (SPAN - 1)
KINDS = {"Q": q_composition, "K": k_composition, "V": v_composition}


@cache
def models(name: str) -> tuple[TransformerBridge, ...]:
    """The models a record's seeds ended with."""
    return tuple(load_seed(name, seed) for seed in record(name).seeds)


@cache
def repeats() -> Tensor:
    """Random tokens repeated four times, others than the records were watched with."""
    return repeated_tokens(1024, SPAN, copies=4, batch=8, seed=21)


@cache
def matching(name: str) -> tuple[Tensor, ...]:
    """Prefix matching [layer, head] of each seed."""
    return tuple(prefix_matching_score(model, repeats()) for model in models(name))


@cache
def previous(name: str) -> tuple[int, ...]:
    """The head of layer 0 that attends most to the previous token, for each seed."""
    scores = [previous_token_score(model, repeats()) for model in models(name)]
    return tuple(int(score[0].argmax()) for score in scores)


def induction(name: str) -> list[list[int]]:
    """The heads of layer 1 with prefix matching over 0.5, for each seed."""
    return [(score[1] > 0.5).nonzero().flatten().tolist() for score in matching(name)]


def of_last(name: str, series: str) -> Tensor:
    """A series at the end of training [seed, ...]."""
    return record(name)[series][:, -1]


# --- measures -------------------------------------------------------------------------


def two_ways_to_learn() -> dict:
    two, one = of_last(MIXED, "repeat_loss"), of_last(TWIN, "repeat_loss")
    return {
        "two": two.max().item() / BOUND,
        "one": one.min().item() - BOUND,
        "n": len(two),
    }


def need_of_two_layers() -> dict:
    two, one = best_head(MIXED)[:, -1], best_head(TWIN)[:, -1]
    return {"two": two.min().item(), "one": one.max().item(), "n": len(two)}


@cache
def excess(name: str) -> tuple[Tensor, ...]:
    """Composition over the floor, in its spreads: [kind, head, next head] per seed."""
    found = []
    for model in models(name):
        floor = random_composition(model.cfg.d_model, model.cfg.d_head, n_samples=1000)
        tables = torch.stack([f(model) for f in KINDS.values()])
        found.append((tables - floor.mean()) / floor.std())
    return tuple(found)


def largest_pair() -> dict:
    """Which composition is the largest of all, and by which first head."""
    good = []
    for table, model in zip(excess(MIXED), models(MIXED), strict=True):
        place = torch.unravel_index(table.argmax(), table.shape)
        kind, first = int(place[0]), int(place[1])
        score = previous_token_score(model, repeats())[0, first]
        good.append(list(KINDS)[kind] == "K" and score > 0.4)
    return {"good": count(good), "n": len(good)}


def composed_with_previous() -> dict:
    """K-composition of every induction head with the previous-token head."""
    best, least, heads = 0, math.inf, 0
    for table, first, places in zip(
        excess(MIXED), previous(MIXED), induction(MIXED), strict=True
    ):
        k = table[list(KINDS).index("K")]
        heads += len(places)
        best += count(k[:, place].argmax() == first for place in places)
        least = min([least, *(k[first, place].item() for place in places)])
    return {"best": best, "heads": heads, "least": least}


def without_previous() -> dict:
    left = []
    for model, head, scores in zip(
        models(MIXED), previous(MIXED), matching(MIXED), strict=True
    ):

        def silent(z, hook, head=head):
            return z.index_fill(2, torch.tensor([head]), 0.0)

        with model.hooks(fwd_hooks=[("blocks.0.attn.hook_z", silent)]):
            after = prefix_matching_score(model, repeats())
        place = int(scores[1].argmax())
        left.append((after[1, place] / scores[1, place]).item())
    return {"left": max(left), "n": len(left)}


def agree(named: list[tuple[int, int]], scores: Tensor) -> bool:
    """Whether weights and behaviour tell one story.

    Every head with prefix matching over 0.5 is named and none under 0.2; a head between
    the two is called partial, and may be either.
    """
    strong, weak = (
        {tuple(place) for place in mask.nonzero().tolist()}
        for mask in (scores > 0.5, scores < 0.2)
    )
    return strong <= set(named) and not weak & set(named)


def detectors() -> dict:
    """Seeds in which weights alone and behaviour name the same heads."""
    numbers = {}
    for key, name in (("mixed", MIXED), ("text", TEXT), ("twin", TWIN)):
        named = [induction_heads_from_weights(model) for model in models(name)]
        same = [
            agree(n, scores) for n, scores in zip(named, matching(name), strict=True)
        ]
        numbers[key], numbers[f"n_{key}"] = count(same), len(same)
        numbers[f"heads_{key}"] = sum(len(n) for n in named)
    return numbers


def order_two() -> dict:
    shares = []
    text = rows(d_vocab=1024)
    text = text[:: len(text) // 8][:8]
    for model in models(MIXED):
        importance = term_importance(model, text)
        shares.append((importance[2] / importance.sum()).item())
    return {"share": max(shares), "n": len(shares)}


def optimiser() -> dict:
    """The steps at which the best head passes a prefix matching of 0.5."""

    def passed(name: str) -> list[float]:
        steps = record(name).steps
        return [float(steps[curve > 0.5][0]) for curve in best_head(name)]

    adam, muon = passed(ADAM), passed(MIXED)
    return {
        "adam": best_head(ADAM)[:, -1].min().item(),
        "step": adam[0],
        "muon": sorted(muon)[len(muon) // 2],
        "ratio": adam[0] / sorted(muon)[len(muon) // 2],
    }


SEEDS = "small models of 1,024 tokens, four heads a layer, trained with random repeats"
CLAIMS = (
    Claim(
        "F-05",
        "Over seeds, two layers learn repeats by induction and one layer does not.",
        "two-layer models use induction, one-layer models copy",
        two_ways_to_learn,
        "worst of {n:.0f} seeds: two layers {two:.2f} of ln((K-1)!)/(K-1), "
        "one layer {one:+.2f} nats from it",
        {
            "two layers stay under half of ln((K-1)!)/(K-1)": lambda n: n["two"] < 0.5,
            "one layer is not below ln((K-1)!)/(K-1) - 0.3": lambda n: n["one"] > -0.3,
        },
        SEEDS,
    ),
    Claim(
        "F-06",
        "Over seeds, induction heads need two layers.",
        "no one-layer model has them",
        need_of_two_layers,
        "prefix matching: two layers at least {two:.2f}, one layer at most {one:.2f}",
        {
            "every two-layer model has one": lambda n: n["two"] > 0.5,
            "no one-layer model has one": lambda n: n["one"] < 0.2,
        },
        SEEDS,
    ),
    Claim(
        "F-84",
        "Over seeds, the largest composition is a previous-token head's K-composition.",
        "often but not always",
        largest_pair,
        "in {good:.0f} of {n:.0f} seeds",
        {"in most seeds": lambda n: n["good"] > n["n"] / 2},
        SEEDS,
        rests_on="draws",
    ),
    Claim(
        "F-87",
        "Over seeds, induction heads K-compose most with the previous-token head.",
        "unchanged by the erratum",
        composed_with_previous,
        "{best:.0f} of {heads:.0f} heads, at least {least:.0f} spreads over the floor",
        {
            "the largest of their K-compositions": lambda n: n["best"] == n["heads"],
            "five spreads over the floor": lambda n: n["least"] >= 5,
            "there are such heads": lambda n: n["heads"] > 0,
        },
        SEEDS,
        rests_on="draws",
    ),
    Claim(
        "F-105",
        "Over seeds, nothing is left without the previous-token head.",
        "0.68 to nearly 0 in another course's model",
        without_previous,
        "at most {left:.0%} of prefix matching is left, {n:.0f} seeds",
        {"under 20 %": lambda n: n["left"] < 0.2},
        SEEDS,
        rests_on="draws",
    ),
    Claim(
        "F-109",
        "Over seeds, weights alone and behaviour name the same induction heads.",
        "all induction heads in the upper right corner",
        detectors,
        "{mixed:.0f} of {n_mixed:.0f} seeds with repeats in the data, {text:.0f} of "
        "{n_text:.0f} without, {twin:.0f} of {n_twin:.0f} with one layer",
        {
            "with repeats in the data": lambda n: n["mixed"] == n["n_mixed"],
            "on text alone": lambda n: n["text"] == n["n_text"],
            "with one layer, where there are none": lambda n: (
                n["twin"] == n["n_twin"] and n["heads_twin"] == 0
            ),
            "every two-layer arm has some": lambda n: (
                min(n["heads_mixed"] / n["n_mixed"], n["heads_text"] / n["n_text"]) >= 1
            ),
        },
        "heads with prefix matching between 0.2 and 0.5 may be named or not",
        rests_on="draws",
    ),
    Claim(
        "F-121",
        "Over seeds, paths through two heads matter little.",
        "0.3 of 7.3 nats",
        order_two,
        "at most {share:.1%} of the nats, {n:.0f} seeds",
        {"at most 10 %": lambda n: n["share"] <= 0.1},
        SEEDS,
    ),
    Claim(
        "F-06",
        "Two layers learn induction with AdamW alone too.",
        "the paper's models were not trained with Muon",
        optimiser,
        "prefix matching {adam:.2f}, over 0.5 at step {step:.0f}; with Muon at step "
        "{muon:.0f}, the median of three seeds: {ratio:.1f} times sooner",
        {
            "over 0.5 with AdamW": lambda n: n["adam"] > 0.5,
            "later than with Muon": lambda n: n["ratio"] > 1,
        },
        "one seed with AdamW alone, as a control for the optimiser",
    ),
)
