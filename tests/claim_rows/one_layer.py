"""One-layer models: paths, circuits and positions (F-50 to F-59, F-67, O-53).

Their skip-trigrams, copying and bugs stand in files of their own beside this one.
"""

from functools import cache

import torch
from torch import Tensor

from solutions.ch0_toolbox import replace_pattern
from solutions.ch3_one_layer import (
    frozen_pattern_logits,
    full_ov_circuit,
    full_qk_circuit,
    one_layer_path_terms,
    positional_pattern,
    top_skip_trigrams,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import rows, shipped
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
)
from utils.models.handmade import with_weights
from utils.text.corpus import START_ID, PlantedLanguage
from utils.training.config import TrainConfig
from utils.training.trainer import train

__all__ = ["CLAIMS", "NAME", "heads", "model"]

NAME = "one_layer"


def model():
    return shipped(NAME)


def heads() -> range:
    return range(model().cfg.n_heads)


def a_text() -> Tensor:
    return rows("heldout", 128)[7:9, :60]


# --- paths and circuits (F-50 to F-59) ----------------------------------------------


def path_sum() -> dict[str, float]:
    logits = model()(a_text())
    error = (one_layer_path_terms(model(), a_text()).sum(0) - logits).abs().max()
    return {"error": error.item(), "paths": 1 + len(heads())}


def direct_path_alone() -> dict[str, float]:
    text = a_text()
    shuffled = text.clone()
    shuffled[:, 1:-1] = text[:, 1:-1].flip(1)
    one, two = (one_layer_path_terms(model(), t)[:, :, -1] for t in (text, shuffled))
    change = (one - two).abs()
    return {"direct": change[0].max().item(), "heads": change[1:].max().item()}


def circuits() -> dict[str, float]:
    """Both circuits against the model's own scores and logits, all heads."""
    text = a_text()
    bare = with_weights(model(), {"W_pos": torch.zeros_like(model().W_pos)})
    _, cache_ = bare.run_with_cache(text)
    scores = cache_["blocks.0.attn.hook_attn_scores"]
    seen = torch.isfinite(scores[0, 0])
    qk_error = ov_error = 0.0
    pattern = torch.zeros(len(text), *seen.shape)
    without = one_layer_path_terms(model(), text)
    pattern[:, :, 5] = 1
    for head in heads():
        qk, ov = (c(model(), 0, head) for c in (full_qk_circuit, full_ov_circuit))
        lookup = qk.A[text] @ qk.B[:, text].permute(1, 0, 2)
        lookup = lookup / model().cfg.d_head ** 0.5
        qk_error = max(qk_error, (lookup - scores[:, head])[:, seen].abs().max().item())
        forced = replace_pattern(model(), text, 0, head, pattern)
        others = without.sum(0) - without[1 + head]
        row = (ov.A[text[:, 5]] @ ov.B)[:, None]
        ov_error = max(ov_error, (forced - others - row).abs().max().item())
    return {"qk": qk_error, "ov": ov_error}


def independent_effect() -> dict[str, float]:
    """F-55: two destinations with equal attention to one source, in float64."""
    exact = load_model(NAME).double()
    one_hot = torch.nn.functional.one_hot(a_text()[:1], exact.cfg.d_vocab).double()
    pattern = torch.zeros(1, len(heads()), 60, 60, dtype=torch.float64)
    pattern[0, 0, [30, 50], 5] = 0.4
    with_it = frozen_pattern_logits(exact, one_hot, pattern)
    without = frozen_pattern_logits(exact, one_hot, 0 * pattern)
    added = (with_it - without)[0]
    error = (added[30] - added[50]).abs().max()
    return {"error": error.item(), "effect": added[30].abs().max().item()}


def frozen_linear() -> dict[str, float]:
    text = a_text()
    _, cache_ = model().run_with_cache(text[:1])
    one_hot = torch.nn.functional.one_hot(text, model().cfg.d_vocab).float()
    x, y, pattern = one_hot[:1], one_hot[1:], cache_["pattern", 0]
    whole = frozen_pattern_logits(model(), 0.3 * x + 0.7 * y, pattern)
    parts = [frozen_pattern_logits(model(), z, pattern) for z in (x, y)]
    error = (whole - 0.3 * parts[0] - 0.7 * parts[1]).abs().max()
    return {"error": error.item()}


PLANTED_SEEDS = range(3)


@cache
def planted_language() -> PlantedLanguage:
    return PlantedLanguage(d_vocab=128, n_skip_trigrams=20, seed=0)


@cache
def planted_model(seed: int, steps: int):
    """A one-head model, trained on a language with 20 planted skip-trigrams."""
    config = AttentionOnlyConfig(
        n_layers=1, d_vocab=128, d_model=64, n_heads=1, d_head=32, n_ctx=64
    )
    network = AttentionOnlyTransformer(config, seed=seed)
    if steps:
        recipe = TrainConfig(
            steps=steps,
            lr=0.02,
            optimizer="muon",
            schedule="linear",
            decay_share=0.6,
            probe_every=0,
        )
        batches = planted_language().batches(32, 64)
        train(network, batches, recipe, progress=False, mode="full")
    return as_bridge(network.eval())


def planted_recovered() -> dict[str, float]:
    """The share of all rules over the seeds, and the seed with fewest."""
    rules = planted_language().skip_trigrams
    numbers = {"n": len(PLANTED_SEEDS)}
    for name, steps in (("trained", 300), ("untrained", 0)):
        shares = []
        for seed in PLANTED_SEEDS:
            each, hits = planted_model(seed, steps), 0
            for rule in rules:
                ends, outs = top_skip_trigrams(each, 0, 0, rule.source, k=3)
                hits += rule.destination in ends.tolist() and rule.out == outs[0].item()
            shares.append(hits / len(rules))
        numbers[name] = sum(shares) / len(shares)
        numbers[f"{name}_least"] = min(shares)
    return numbers


def sizes() -> dict[str, float]:
    circuit = full_ov_circuit(model(), 0, 0)
    kept = circuit.A.numel() + circuit.B.numel()
    return {"entries": model().cfg.d_vocab ** 2, "kept": kept}


def row_constant() -> dict[str, float]:
    qk = full_qk_circuit(model(), 0, 0)
    scores = qk.A[:200] @ qk.B / model().cfg.d_head ** 0.5
    moved = scores.double() + torch.linspace(-9, 9, 200)[:, None]
    change = (scores.double().softmax(1) - moved.softmax(1)).abs().max().item()
    means = scores.mean(1)
    return {"change": change, "low": means.min().item(), "high": means.max().item()}


# --- positions (F-67) ---------------------------------------------------------------


def positional() -> dict[str, float]:
    text = rows("heldout", 256)[::10]
    near, rest = torch.zeros(len(heads())), torch.zeros(len(heads()))
    for part in text.split(16):
        _, cache_ = model().run_with_cache(part)
        pattern = cache_["pattern", 0]
        two = pattern.diagonal(0, 2, 3)[..., 8:] + pattern.diagonal(-1, 2, 3)[..., 7:]
        near += two.mean(-1).sum(0)
        rest += (1 - pattern[:, :, 8:, 0]).mean(-1).sum(0)
    near, rest = near / len(text), rest / len(text)
    alone = [positional_pattern(model(), 0, head, 256)[8:, 8:] for head in heads()]
    own = torch.tensor([p.diagonal().mean() for p in alone])
    before = torch.tensor([p.diagonal(-1).mean() for p in alone])
    best = near.argmax()
    return {
        "near": near[best].item(),
        "away": (near / rest)[best].item(),
        "both": (own + before).max().item(),
        "before": before.max().item(),
    }


# --- no induction (O-53) ------------------------------------------------------------


def no_prefix_matching() -> dict[str, float]:
    """Attention to the token after an earlier copy of the query, at random lags."""
    generator = torch.Generator().manual_seed(0)
    totals = []
    for _ in range(24):
        lag = int(torch.randint(20, 60, (1,), generator=generator))
        ids = 1 + torch.randperm(model().cfg.d_vocab - 1, generator=generator)[:lag]
        text = torch.cat([torch.tensor([START_ID]), ids, ids])[None]
        _, cache_ = model().run_with_cache(text)
        stripe = cache_["pattern", 0][0].diagonal(1 - lag, 1, 2)
        totals.append(stripe[:, -lag:].mean(-1))
    best = torch.stack(totals).mean(0).max().item()
    text, changed = a_text()[:1], a_text()[:1].clone()
    changed[0, 20] = int(text[0, 21]) + 1
    scores_ = [
        model().run_with_cache(t)[1]["blocks.0.attn.hook_attn_scores"]
        for t in (text, changed)
    ]
    change = (scores_[0] - scores_[1])[0, :, 22:, 21].abs().max().item()
    return {"best": best, "change": change}


LARGE = {"below 1e-4": lambda n: n["error"] < 1e-4}

CLAIMS = (
    Claim(
        row="F-50",
        statement="The logits are the sum of one direct path and one path per head.",
        paper="equality",
        measure=path_sum,
        ours="{paths:.0f} paths, largest error {error:.1e}",
        conditions=LARGE,
        reason="All after the pattern is linear, so the product can be multiplied out.",
        needs=(NAME,),
    ),
    Claim(
        row="F-51",
        statement="The direct path moves nothing between positions.",
        paper="can only affect bigrams",
        measure=direct_path_alone,
        ours="context reversed: direct path changes by {direct:.0e}, heads' paths by "
        "up to {heads:.1f}",
        conditions={
            "the direct path does not change": lambda n: n["direct"] == 0,
            "the heads' paths do": lambda n: n["heads"] > 0.1,
        },
        reason="It reads the token at its own position and no position vector.",
        needs=(NAME,),
    ),
    Claim(
        row="F-52",
        statement="The full QK circuit, looked up by token, gives the token part of "
        "the attention scores.",
        paper="W_E^T W_QK W_E",
        measure=circuits,
        ours="largest error over all heads {qk:.1e}",
        conditions={"below 1e-4": lambda n: n["qk"] < 1e-4},
        reason="Without position vectors a score has no other part.",
        needs=(NAME,),
    ),
    Claim(
        row="F-53",
        statement="The full OV circuit gives what attending to a token adds to the "
        "logits.",
        paper="W_U W_OV W_E",
        measure=circuits,
        ours="largest error over all heads {ov:.1e}",
        conditions={"below 1e-4": lambda n: n["ov"] < 1e-4},
        reason="With all attention on one place the head's path is one row of it.",
        needs=(NAME,),
    ),
    Claim(
        row="F-55",
        statement="Given the attention weight, a source's effect does not depend on "
        "the destination.",
        paper="independence",
        measure=independent_effect,
        ours="an effect of {effect:.1f} logits differs between two destinations by "
        "{error:.1e}",
        conditions={
            "below 1e-6": lambda n: n["error"] < 1e-6,
            "there is an effect": lambda n: n["effect"] > 1,
        },
        reason="Values are made from the source alone; float64 rounding remains.",
        needs=(NAME,),
    ),
    Claim(
        row="F-56",
        statement="With frozen patterns the model is linear in its tokens.",
        paper="second run linear",
        measure=frozen_linear,
        ours="mixture against its parts: largest error {error:.1e}",
        conditions=LARGE,
        reason="All that is not linear, the scores and their softmax, is held fixed "
        "with the pattern.",
        needs=(NAME,),
    ),
    Claim(
        row="F-57",
        statement="Skip-trigrams can be read off the weights: of 20 planted ones, "
        "those with the destination among the top 3 and the output on top.",
        paper="readable; no number",
        measure=planted_recovered,
        ours="{trained:.0%} recovered over {n:.0f} trainings, {trained_least:.0%} in "
        "the worst; {untrained:.0%} from untrained models",
        conditions={
            "at least 90 % over the trainings": lambda n: n["trained"] >= 0.9,
            "at least 75 % in each": lambda n: n["trained_least"] >= 0.75,
            "at most 10 % untrained": lambda n: n["untrained"] <= 0.1,
        },
        reason="One head with d_head 32 has room for 20 sources in 128 words.",
        rests_on="trains",
    ),
    Claim(
        row="F-58",
        statement="Full circuits are too large to look at as a whole.",
        paper="2.5 billion entries per circuit at 50,000 tokens",
        measure=sizes,
        ours="{entries:,.0f} entries, kept as {kept:,.0f} factored numbers",
        conditions={
            "factored is 50 times smaller": lambda n: n["entries"] > 50 * n["kept"]
        },
        reason="A product through d_head numbers needs two narrow matrices only.",
        needs=(NAME,),
    ),
    Claim(
        row="F-59",
        statement="QK entries of different query tokens are not comparable.",
        paper="no clear normalisation",
        measure=row_constant,
        ours="constants added to rows change attention by {change:.0e}; row means of "
        "the circuit run from {low:.1f} to {high:.1f}",
        conditions={"no change above 1e-6": lambda n: n["change"] < 1e-6},
        reason="A softmax forgets a constant, and training leaves it where it falls.",
        needs=(NAME,),
    ),
    Claim(
        row="F-67",
        statement="Some head is primarily positional: it attends to the present or the "
        "previous token.",
        paper="a small number of heads",
        measure=positional,
        ours="most local head: {near:.2f} of its attention, {away:.2f} of what does "
        "not rest on the start token; positions alone {both:.2f}, previous "
        "{before:.2f}",
        conditions={
            "more than half of the attention": lambda n: n["near"] > 0.5,
            "more than half of what is not on the start token": lambda n: (
                n["away"] > 0.5
            ),
            "positions alone: more than half on both": lambda n: n["both"] > 0.5,
            "positions alone: more than half on the previous": lambda n: (
                n["before"] > 0.5
            ),
        },
        expected="partly",
        reason="Several heads share the nearest tokens; none keeps to one offset, and "
        "about a fifth of the attention rests on the start token.",
        needs=(NAME,),
    ),
    Claim(
        row="O-53",
        statement="One layer cannot match prefixes: scores depend on two tokens only.",
        paper="argument",
        measure=no_prefix_matching,
        ours="best prefix matching at random lags {best:.3f}; changing the token "
        "before the source changes the score by {change:.0e}",
        conditions={
            "below 0.2": lambda n: n["best"] < 0.2,
            "no change": lambda n: n["change"] == 0,
        },
        reason="What stands before the source never reaches the source's key.",
        needs=(NAME,),
        rests_on="draws",
    ),
)
