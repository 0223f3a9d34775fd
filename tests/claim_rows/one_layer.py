"""One-layer models: F-50 to F-74, F-149 and O-53."""

import time
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from solutions.ch0_toolbox import replace_pattern
from solutions.ch3_one_layer import (
    copying_score,
    copying_top1,
    frozen_pattern_logits,
    full_ov_circuit,
    full_qk_circuit,
    one_layer_path_terms,
    ov_eigenvalues,
    positional_pattern,
    skip_trigram_lift,
    svd_of_product,
    top_skip_trigrams,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import count, rows, shipped
from tests.claim_rows.skip_trigrams import (
    is_copying,
    token_frequencies,
    verified_skip_trigrams,
)
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

__all__ = ["CLAIMS"]

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


# --- skip-trigrams (F-62 to F-66) ---------------------------------------------------


@cache
def common_words(least: float = 1e-4) -> list[int]:
    """Tokens with letters that make up at least this share of the training text."""
    frequent = (token_frequencies() >= least).nonzero()[:, 0].tolist()
    words = {i: model().tokenizer.decode([i]) for i in frequent}
    return [i for i, word in words.items() if word.strip().isalpha() and len(word) > 2]


def copying_rows() -> dict[str, float]:
    """Share of common words that stand, in a variant, on top of their own list."""
    common = (token_frequencies() >= 1e-4).nonzero()[:, 0]
    names = [model().tokenizer.decode([i]) for i in common.tolist()]
    ov = [full_ov_circuit(model(), 0, head) for head in heads()]
    tops = []
    for source in common_words():
        raised = torch.stack([c.A[source] @ (c.B[:, common]) for c in ov])
        raised = raised - raised.mean(1, keepdim=True)
        word = model().tokenizer.decode([source])
        best = raised[raised.amax(1).argmax()].topk(5).indices.tolist()
        tops.append(any(is_copying(word, names[i]) for i in best))
    return {"share": sum(tops) / len(tops), "words": len(tops)}


def split_tokens() -> dict[str, float]:
    """F-64: gain in log P(second piece) when the whole word stands 19 tokens before."""
    tokenizer, gains = model().tokenizer, {}
    contexts = rows("heldout", 128)[::40, :40]
    for whole in common_words():
        word = tokenizer.decode([whole])
        pieces = [i for i in tokenizer(word[1:]).input_ids if i != START_ID]
        if word[0] != " " or len(pieces) != 2:
            continue
        without = contexts.clone()
        without[:, -1] = pieces[0]
        with_word = without.clone()
        with_word[:, 20] = whole
        logs = [
            model()(t)[:, -1].log_softmax(-1)[:, pieces[1]]
            for t in (with_word, without)
        ]
        gains[word] = (logs[0] - logs[1]).mean().item()
    strong = [word for word, gain in gains.items() if gain >= 1]
    return {
        "strong": len(strong),
        "words": len(gains),
        "best": max(gains.values()),
        "positive": sum(gain > 0 for gain in gains.values()) / len(gains),
    }


def interventions() -> dict[str, float]:
    tested = verified_skip_trigrams(NAME)
    good = [each for each in tested if each.holds]
    effects = [each.effect for each in good] or [0.0]
    return {
        "tested": len(tested),
        "good": len(good),
        "mean": sum(effects) / len(effects),
        "control": sum(each.control for each in good) / max(1, len(good)),
        "best": max(effects),
    }


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


# --- copying (F-68 to F-71, F-149) --------------------------------------------------


RANDOM_SEEDS = range(6)


@cache
def random_heads(seed: int):
    """The shipped model with W_V and W_O drawn: random heads between trained ends.

    As large as the trained ones, and with the same W_E and W_U: what those two alone
    bring into a score is in the null too.
    """
    generator = torch.Generator().manual_seed(seed)
    return with_weights(
        model(),
        {
            name: weight.std() * torch.randn(weight.shape, generator=generator)
            for name, weight in (("W_V", model().W_V), ("W_O", model().W_O))
        },
    )


@cache
def scores(
    centred: bool = False,
) -> tuple[Float[Tensor, "head"], Float[Tensor, "null"]]:
    """Copying scores of the shipped model and of random heads."""
    null = [
        copying_score(random_heads(seed), 0, head, centred)
        for seed in RANDOM_SEEDS
        for head in heads()
    ]
    return trained_scores(centred), torch.tensor(null)


@cache
def trained_scores(centred: bool = False) -> Float[Tensor, "head"]:
    return torch.tensor([copying_score(model(), 0, head, centred) for head in heads()])


def copying() -> dict[str, float]:
    numbers = {"heads": len(heads()), "nulls": len(RANDOM_SEEDS) * len(heads())}
    for name, centred in (("raw", False), ("centred", True)):
        trained, null = scores(centred)
        numbers[f"{name}_mean"] = null.mean().item()
        numbers[f"{name}_error"] = (null.std() / len(null) ** 0.5).item()
        numbers[f"{name}_null"] = null.max().item()
        numbers[f"{name}_above"] = count(trained > null.max())
        numbers[f"{name}_n"] = count(trained > 0.5)
        numbers[f"{name}_largest"] = trained.abs().max().item()
    return numbers


def right_of_zero(each, head: int) -> float:
    """The share of the sum of absolute eigenvalues that lies right of zero."""
    values = ov_eigenvalues(each, 0, head)
    return (values.abs()[values.real > 0].sum() / values.abs().sum()).item()


def spectrum() -> dict[str, float]:
    """The copying head with the highest score, and all random heads."""
    null = [
        right_of_zero(random_heads(seed), head)
        for seed in RANDOM_SEEDS
        for head in heads()
    ]
    return {
        "right": right_of_zero(model(), int(scores()[0].argmax())),
        "null": sum(null) / len(null),
        "most": max(null),
        "nulls": len(null),
    }


def rank_correlation(x: Tensor, y: Tensor) -> float:
    ranks = torch.stack([each.argsort().argsort().float() for each in (x, y)])
    return torch.corrcoef(ranks)[0, 1].item()


def two_measures() -> dict[str, float]:
    trained, _ = scores()
    top1 = torch.tensor([copying_top1(model(), 0, head) for head in heads()])
    high = trained > 0.5
    best = full_ov_circuit(model(), 0, int(trained.argmax()))
    diagonal = (best.A * best.B.T).sum(1)
    total = ov_eigenvalues(model(), 0, int(trained.argmax())).sum().real
    return {
        "correlation": rank_correlation(trained, top1),
        "within": rank_correlation(trained[high], top1[high]),
        "high": count(high),
        "trace": abs((total - diagonal.sum()) / total).item(),
        "lower": (diagonal < 0).float().mean().item(),
        "score": trained.max().item(),
        "top1": top1.max().item(),
    }


def low_rank_tools() -> dict[str, float]:
    circuit = full_ov_circuit(model(), 0, int(trained_scores().argmax()))
    a, b = circuit.A[:1000].double(), circuit.B[:, :1000].double()
    start = time.perf_counter()
    dense = torch.linalg.svdvals(a @ b)[: a.shape[1]]
    middle = time.perf_counter()
    _, S, _ = svd_of_product(a, b)
    ratio = (middle - start) / (time.perf_counter() - middle)
    small, large = torch.linalg.eigvals(b @ a), torch.linalg.eigvals(a @ b)
    large = large[large.abs().argsort(descending=True)[: len(small)]]
    nearest = (small[:, None] - large).abs().amin(1) / small.abs()
    error = ((S - dense) / dense).abs().max()
    return {
        "singular": error.item(),
        "eigen": nearest.max().item(),
        "ratio": ratio,
    }


# --- bugs and the dispute (F-72, F-73) ----------------------------------------------


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
        row="F-62",
        statement="Most rows of the skip-trigram table are copying: the source or a "
        "variant is among its own top five outputs.",
        paper="six rows shown, all copying",
        measure=copying_rows,
        ours="{share:.0%} of {words:.0f} common words, each in its strongest head",
        conditions={
            "at least half": lambda n: n["share"] >= 0.5,
            "at least ten rows": lambda n: n["words"] >= 10,
        },
        reason="In code, names come back more than anything else.",
        needs=(NAME,),
    ),
    Claim(
        row="F-64",
        statement="A word that is one token with a space and two without is copied "
        "through its second piece.",
        paper="five names shown",
        measure=split_tokens,
        ours="{strong:.0f} of {words:.0f} words gain at least 1 nat, {positive:.0%} "
        "gain at all, the best {best:.1f} nats",
        conditions={"at least five words gain 1 nat": lambda n: n["strong"] >= 5},
        reason="A single occurrence among 39 tokens is tested, on held-out contexts.",
        needs=(NAME,),
    ),
    Claim(
        row="F-66",
        statement="Other skip-trigrams, such as Python's own, do what the weights say "
        "when the source is taken out of real text.",
        paper="listed from weights, not tested",
        measure=interventions,
        ours="{good:.0f} of {tested:.0f} hold on held-out text: log P(out) falls by "
        "{mean:.2f} nats on average (control {control:.2f}), at most {best:.2f}",
        conditions={"at least 20 hold": lambda n: n["good"] >= 20},
        reason="The text is Python only, so no markup and no English is tested.",
        needs=(NAME,),
        rests_on="draws",
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
        row="F-68",
        statement="The copying score is a number between -1 and 1 whose mean over "
        "random heads is 0.",
        paper="formula",
        measure=copying,
        ours="{nulls:.0f} random heads {raw_mean:+.3f} (standard error "
        "{raw_error:.3f}), with W_U centred {centred_mean:+.3f} ({centred_error:.3f}); "
        "largest trained {raw_largest:.2f} and {centred_largest:.2f}",
        conditions={
            "within [-1, 1]": lambda n: (
                max(n["raw_largest"], n["centred_largest"]) <= 1
            ),
            "mean within 3 standard errors of 0": lambda n: (
                abs(n["raw_mean"]) < 3 * n["raw_error"]
            ),
            "and with W_U centred": lambda n: (
                abs(n["centred_mean"]) < 3 * n["centred_error"]
            ),
        },
        reason="A random W_V is as likely as its negative, which turns the score's "
        "sign. Random are W_V and W_O only, between the trained W_E and W_U.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-69",
        statement="Most heads of a one-layer model copy (score above 0.5).",
        paper="10 of 12 heads (0.83)",
        measure=copying,
        ours="{raw_n:.0f} of {heads:.0f} heads; {raw_above:.0f} score above all "
        "{nulls:.0f} random heads (at most {raw_null:.2f}), {centred_above:.0f} with "
        "W_U centred (at most {centred_null:.2f})",
        conditions={
            "at least half": lambda n: n["raw_n"] >= n["heads"] / 2,
            "at least half above all random heads": lambda n: (
                n["raw_above"] >= n["heads"] / 2
            ),
            "at least half, centred": lambda n: n["centred_above"] >= n["heads"] / 2,
        },
        reason="Copying is the most a single layer can do with the context. Raw, some "
        "random heads reach 0.5 by chance; centred, they stay near 0.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-70",
        statement="A copying head's eigenvalues lie right of zero, random ones all "
        "around it.",
        paper="figure",
        measure=spectrum,
        ours="{right:.2f} of the sum of absolute values lies right of zero; "
        "{nulls:.0f} random heads {null:.2f} on average, at most {most:.2f}",
        conditions={
            "at least 0.9 trained": lambda n: n["right"] >= 0.9,
            "about half at random": lambda n: 0.4 < n["null"] < 0.6,
            "no random head has as much": lambda n: n["most"] < n["right"],
        },
        reason="Shown for the head with the highest score.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-71",
        statement="The score agrees with the diagonal on which heads copy, and does "
        "not speak for each token.",
        paper="limits named, no number",
        measure=two_measures,
        ours="rank correlation with top-1 copying {correlation:.2f} over all heads, "
        "{within:.2f} within the {high:.0f} above 0.5; trace identity {trace:.0e}; at "
        "score {score:.2f}, {lower:.0%} of tokens lower themselves and at most "
        "{top1:.0%} are on top",
        conditions={
            "rank correlation above 0.5": lambda n: n["correlation"] > 0.5,
            "and within the heads above 0.5": lambda n: n["within"] > 0.5,
            "trace identity below 1e-4": lambda n: n["trace"] < 1e-4,
        },
        expected="partly",
        reason="Both tell copying heads from others. Among those that copy they rank "
        "differently: the sum of eigenvalues is the sum of the diagonal, so it "
        "averages over tokens.",
        needs=(NAME,),
        rests_on="draws",
    ),
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
    Claim(
        row="F-149",
        statement="Singular values and eigenvalues of a product come from its small "
        "factors.",
        paper="eigenvalues of AB are those of BA",
        measure=low_rank_tools,
        ours="relative errors {singular:.0e} and {eigen:.0e}, {ratio:.0f} times faster",
        conditions={
            "singular values within 1e-4": lambda n: n["singular"] < 1e-4,
            "eigenvalues within 1e-4": lambda n: n["eigen"] < 1e-4,
        },
        reason="Measured on 1,000 tokens in float64; the time depends on the machine.",
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
