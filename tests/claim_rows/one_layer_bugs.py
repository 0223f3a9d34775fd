"""Rows F-72 and F-73: skip-trigram bugs, and what a head cannot see of its context.

Models of a made-up language with two rules, trained here, and one made by hand.
"""

from functools import cache

import torch
from torch import Tensor

from solutions.ch3_one_layer import (
    skip_trigram_lift,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import count
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
)
from utils.models.handmade import with_weights
from utils.text.corpus import PlantedLanguage
from utils.training.config import TrainConfig
from utils.training.trainer import train

__all__ = ["CLAIMS"]


def keep_language(second: str) -> PlantedLanguage:
    return PlantedLanguage(
        d_vocab=64,
        seed=0,
        strength=1.0,
        source_rate=1 / 64,
        skip_trigrams=[("keep", "in", "mind"), (second, "at", "bay")],
        background=[("in", "bay", 0.1), ("at", "mind", 0.1)],
    )


KEEP_SEEDS = range(8)


@cache
def keep_model(second: str, n_layers: int, seed: int):
    config = AttentionOnlyConfig(
        n_layers=n_layers, d_vocab=64, d_model=48, n_heads=1, d_head=24, n_ctx=48
    )
    recipe = TrainConfig(
        steps=150, lr=0.02, schedule="linear", decay_share=0.6, probe_every=0
    )
    network = AttentionOnlyTransformer(config, seed=seed)
    batches = keep_language(second).batches(32, 48)
    train(network, batches, recipe, progress=False, mode="full")
    return as_bridge(network.eval())


@cache
def keep_text(second: str) -> tuple[Tensor, Tensor]:
    """Rows of a language up to places where a rule is active, and the truth there."""
    language = keep_language(second)
    text = language.sample(n_rows=500, n_ctx=48, seed=5)
    index, active = language.tokens.index, torch.zeros_like(text).bool()
    for source, end in (("keep", "in"), (second, "at")):
        after = (text == index(source)).cumsum(1) > 0
        active |= (text == index(end)) & after
    return text, active


def bug_costs(second: str, n_layers: int) -> Tensor:
    """KL from the truth, in nats, where a planted skip-trigram is active, by seed."""
    text, active = keep_text(second)
    truth = keep_language(second).next_probs(text)[active]
    costs = []
    for seed in KEEP_SEEDS:
        guess = keep_model(second, n_layers, seed)(text)[active].log_softmax(-1)
        nats = (torch.special.xlogy(truth, truth) - truth * guess).sum(-1)
        costs.append(nats.mean().item())
    return torch.tensor(costs)


def bugs() -> dict[str, float]:
    language = keep_language("keep")
    keep, into, at, mind, bay = map(
        language.tokens.index, ("keep", "in", "at", "mind", "bay")
    )
    contexts = language.sample(400, 24, seed=3)
    contexts = contexts[(contexts != keep).all(1)][:100]
    lifts = torch.stack(
        [
            skip_trigram_lift(
                keep_model("keep", 1, seed), contexts, keep, [into, at], [mind, bay]
            )
            for seed in KEEP_SEEDS
        ]
    )
    values = torch.linalg.svdvals(lifts)
    one, twin, two = (bug_costs(*a) for a in (("keep", 1), ("hold", 1), ("keep", 2)))
    return {
        "n": len(KEEP_SEEDS),
        "crossed": torch.stack([lifts[:, 0, 1], lifts[:, 1, 0]]).min().item(),
        "ratio": (values[:, 1] / values[:, 0]).median().item(),
        "more": count(one > 2 * twin),
        "less": count(two < one),
        "one": one.median().item(),
        "one_worst": one.max().item(),
        "twin": twin.median().item(),
        "two": two.median().item(),
        "two_worst": two.max().item(),
    }


def distractor() -> dict[str, float]:
    """A destination that likes its source, and likes a distractor more."""
    config = AttentionOnlyConfig(
        n_layers=1, d_vocab=6, d_model=6, n_heads=1, d_head=6, n_ctx=8
    )
    likes, says = torch.zeros(6, 6), torch.zeros(6, 6)
    likes[3, 1], likes[3, 2] = 10, 30
    says[1, 4], says[2, 5] = 5, 5
    eye = torch.eye(6)
    weights = {"W_Q": likes, "W_K": eye, "W_V": eye, "W_O": says}
    weights = {name: value[None, None] for name, value in weights.items()}
    weights |= {"W_E": eye, "W_U": eye, "W_pos": torch.zeros(8, 6)}
    made = with_weights(as_bridge(AttentionOnlyTransformer(config).eval()), weights)
    quiet, loud = (
        skip_trigram_lift(made, torch.tensor([[0, filler, 0, 0]]), 1, [3], [4]).item()
        for filler in (0, 2)
    )
    guesses = [
        made(torch.tensor([text]))[0, -1].argmax().item()
        for text in ([0, 1, 0, 3], [0, 1, 2, 3])
    ]
    return {"quiet": quiet, "loud": loud, "flipped": float(guesses == [4, 5])}


CLAIMS = (
    Claim(
        row="F-72",
        statement="Skip-trigram bugs: keep...in -> mind and keep...at -> bay raise the "
        "crossed cases. What do they cost?",
        paper="open question",
        measure=bugs,
        ours="crossed logits at least {crossed:+.1f} (sigma2/sigma1 {ratio:.2f}); "
        "median cost {one:.4f} nats against {twin:.4f} in the twin, twice as much or "
        "more in {more:.0f} of {n:.0f} seeds, and {two:.4f} with two layers, less in "
        "{less:.0f} of {n:.0f}; the costliest seeds {one_worst:.2f} and "
        "{two_worst:.2f}",
        conditions={
            "both crossed logits are raised in every seed": lambda n: n["crossed"] > 0,
            "costs twice the twin or more in three of four seeds": lambda n: (
                n["more"] >= 0.75 * n["n"]
            ),
            "two layers pay less in three of four seeds": lambda n: (
                n["less"] >= 0.75 * n["n"]
            ),
        },
        reason="The bug is there and cheap: by attending to the source a destination "
        "attends less to itself, which undoes a part of it. Single trainings get stuck "
        "at a tenth of a nat and more, so seeds are counted. How long one trains "
        "counts too: after 500 steps on 64 rows, instead of 150 on 32, one layer had "
        "caught up, and two layers paid less in 5 of 8 only, one stuck at 0.23.",
        rests_on="trains",
    ),
    Claim(
        row="F-73",
        statement="Disputed: a one-layer model is no exact ensemble of skip-trigrams, "
        "as a distractor can flip a prediction.",
        paper="claims the ensemble; disputed since",
        measure=distractor,
        ours="lift of the source {quiet:.2f} without and {loud:.2f} with a distractor",
        conditions={
            "the prediction flips": lambda n: n["flipped"] == 1,
            "the lift falls by half": lambda n: n["loud"] < 0.5 * n["quiet"],
        },
        reason="Attention is shared out, so keys compete. Reproduced is the objection.",
        rests_on="weights by hand",
    ),
)
