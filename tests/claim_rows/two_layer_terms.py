"""Paths, composition and term importance of two-layer models: F-25, F-81 to F-132."""

import math
from functools import cache
from itertools import combinations

import torch
from einops import einsum
from torch import Tensor

from solutions.ch4_two_layer import (
    cyclic_composition_score,
    k_composition,
    marginal_effect,
    pattern_preserving_ablation,
    q_composition,
    random_composition,
    score_path_terms,
    term_importance,
    two_layer_path_terms,
    v_composition,
    virtual_head,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import pair_vocab, rows, shipped, untrained_like
from utils.models.handmade import previous_token_model, random_model
from utils.text.corpus import START_ID

__all__ = ["CLAIMS"]

HEADS = range(8)
LAYERS = [[(layer, head) for head in HEADS] for layer in (0, 1)]
NAMES = ("two_layer", "two_layer_text")
KINDS = {"Q": q_composition, "K": k_composition, "V": v_composition}


@cache
def text() -> Tensor:
    """Eight held-out rows from all over the corpus."""
    every = rows(d_vocab=pair_vocab())
    return every[:: len(every) // 8][:8]


@cache
def floor() -> tuple[float, float]:
    """Mean and spread of the composition of random heads."""
    cfg = shipped("two_layer").cfg
    scores = random_composition(cfg.d_model, cfg.d_head, n_samples=1000)
    return scores.mean().item(), scores.std().item()


def composition(name: str) -> dict[str, Tensor]:
    """Each kind's table, in spreads over the floor."""
    mean, spread = floor()
    return {kind: (f(shipped(name)) - mean) / spread for kind, f in KINDS.items()}


def patterns(name: str, tokens: Tensor, layer: int) -> Tensor:
    _, cache = shipped(name).run_with_cache(tokens)
    return cache["pattern", layer]


@cache
def previous(name: str) -> Tensor:
    """How much each head of layer 0 attends to the previous token."""
    return patterns(name, text()[:4], 0).diagonal(-1, 2, 3).mean((0, 2))


@cache
def prefix_matching(name: str) -> Tensor:
    """Attention of layer-1 heads to the token after the earlier copy of this one.

    On random distinct tokens that come again after 20 to 60 places.
    """
    generator = torch.Generator().manual_seed(1)
    total = torch.zeros(len(HEADS))
    lags = (20, 33, 47, 60)
    for lag in lags:
        order = torch.stack(
            [
                torch.randperm(pair_vocab() - 1, generator=generator)[:lag]
                for _ in range(4)
            ]
        )
        start = torch.full((4, 1), START_ID)
        tokens = torch.cat([start, 1 + order, 1 + order], dim=1)
        stripe = patterns(name, tokens, 1).diagonal(1 - lag, 2, 3)[..., 2:]
        total += stripe.mean((0, 2)) / len(lags)
    return total


def loss(logits: Tensor, tokens: Tensor) -> float:
    following = tokens[:, 1:, None]
    return -logits[:, :-1].log_softmax(-1).gather(-1, following).mean().item()


def of_both(measure):
    """The numbers of both trained models; those of the text-only one end in _text."""

    def numbers() -> dict[str, float]:
        one, two = (measure(name) for name in NAMES)
        return one | {f"{key}_text": value for key, value in two.items()}

    return numbers


# --- identities ---------------------------------------------------------------------


def path_sum() -> dict[str, float]:
    model, tokens = shipped("two_layer"), text()[:1, :64]
    terms = two_layer_path_terms(model, tokens)
    error = (terms.sum(0) - model(tokens)).abs().max().item()
    return {"terms": len(terms), "error": error}


def score_sum() -> dict[str, float]:
    model, tokens = shipped("two_layer"), text()[:1, :64]
    _, cache = model.run_with_cache(tokens)
    error = 0.0
    for head in HEADS:
        parts = score_path_terms(model, tokens, head)
        off = (parts.sum((0, 1)) - cache["attn_scores", 1][:, head]).tril()
        error = max(error, off.abs().max().item())
    return {"parts": parts.shape[0] ** 2, "error": error}


def six_dimensions() -> dict[str, float]:
    """The term through head 0.1 for the query and 0.2 for the key, by its tensor.

    Beside it the formula as the paper prints it, with both patterns turned round.
    """
    model, tokens, head = (
        random_model(2, 7, n_heads=3),
        torch.tensor([[0, 4, 7, 2, 9]]),
        2,
    )
    _, cache = model.run_with_cache(tokens)
    A_q, A_k = (cache["pattern", 0][0, i] for i in (1, 2))
    E_q, E_k = (model.W_E @ model.W_V[0, i] @ model.W_O[0, i] for i in (1, 2))
    W_QK = model.W_Q[1, head] @ model.W_K[1, head].T / model.cfg.d_head**0.5
    whole = einsum(
        A_q, A_k, E_q @ W_QK @ E_k.T, "query m, key n, a b -> query key m n a b"
    )
    x = torch.nn.functional.one_hot(tokens[0], model.cfg.d_vocab).float()
    scores = einsum(whole, x, x, "query key m n a b, m a, n b -> query key")
    printed = (A_q.T @ x) @ (E_q @ W_QK @ E_k.T) @ (A_k.T @ x).T
    term = score_path_terms(model, tokens, head)[3, 4, 0]
    return {
        "dimensions": whole.ndim,
        "error": (scores - term).abs().max().item(),
        "printed": (printed - term).abs().max().item(),
    }


def growth() -> dict[str, float]:
    """Paths through 1, 2 and 3 heads in 1 to 5 layers, counted one by one."""
    found = []
    for n_layers in range(1, 6):
        heads = [(layer, head) for layer in range(n_layers) for head in HEADS]
        found.append([sum(map(_climbs, combinations(heads, k))) for k in (1, 2, 3)])
    one, two, three = torch.tensor(found).T
    return {
        "one": one[3].item(),
        "two": two[3].item(),
        "three": three[3].item(),
        "linear": one.diff(n=2).abs().max().item(),
        "quadratic": two.diff(n=3).abs().max().item(),
        "cubic": three.diff(n=4).abs().max().item(),
        "bends": min(two.diff(n=2).min(), three.diff(n=3).min()).item(),
    }


def _climbs(path) -> bool:
    """Whether each head of the path is in a later layer than the one before."""
    return all(a[0] < b[0] for a, b in zip(path, path[1:], strict=False))


def virtual_patterns() -> dict[str, float]:
    tokens = text()[:1, :64]
    found = [
        virtual_head(shipped("two_layer"), tokens, (0, i), (1, i))[0] for i in HEADS
    ]
    return {
        "rows": max((p.sum(-1) - 1).abs().max().item() for p in found),
        "above": max(p.triu(1).abs().max().item() for p in found),
    }


def two_back() -> dict[str, float]:
    model = previous_token_model(d_vocab=4, d_head=4)
    tokens = torch.tensor([[0, 1, 3, 2, 2, 1, 0, 3, 1, 1, 2]])
    pattern, _ = virtual_head(model, tokens, (0, 1), (1, 0))
    return {"least": pattern[0].diagonal(-2).min().item()}


def identity_head() -> dict[str, float]:
    model, tokens = random_model(2, 3, n_heads=3), torch.tensor([[0, 4, 7, 2, 11, 5]])
    _, cache = model.run_with_cache(tokens)
    stream = model.W_E[tokens]
    for layer in (0, 1):
        heads = [(torch.eye(6), torch.eye(model.cfg.d_model))]
        for head in range(3):
            ov = model.W_V[layer, head] @ model.W_O[layer, head]
            heads.append((cache["pattern", layer][:, head], ov))
        stream = sum(weights @ stream @ ov for weights, ov in heads)
    error = (stream @ model.W_U - model(tokens)).abs().max().item()
    return {"error": error}


# --- composition --------------------------------------------------------------------


def like_the_library() -> dict[str, float]:
    model = shipped("two_layer")
    errors = [
        (f(model) - model.all_composition_scores(kind).scores[0, :, 1]).abs().max()
        for kind, f in KINDS.items()
    ]
    return {"error": max(errors).item()}


def chance() -> dict[str, float]:
    mean, spread = floor()
    cfg = shipped("two_layer").cfg
    fresh = k_composition(untrained_like("two_layer")).mean().item()
    expected = cfg.d_model**-0.5
    return {
        "mean": mean,
        "spread": spread,
        "off": abs(mean / expected - 1),
        "fresh_off": abs(fresh / expected - 1),
    }


def below_chance(name: str) -> dict[str, float]:
    tables = torch.stack(list(composition(name).values()))
    return {"below": (tables < 0).float().mean().item()}


def strongest_pair(name: str) -> dict[str, float]:
    tables = composition(name)
    best = {kind: table.max().item() for kind, table in tables.items()}
    kind = max(best, key=best.get)
    source = tables[kind].argmax().item() // len(HEADS)
    return {
        "is_k": float(kind == "K"),
        "spreads": best[kind],
        "previous": previous(name)[source].item(),
    }


def bug() -> dict[str, float]:
    model = shipped("two_layer")
    true, wrong = k_composition(model), cyclic_composition_score(model)
    return {
        "true": true.max().item(),
        "wrong": wrong.max().item(),
        "ratio": (wrong / true).max().item(),
    }


def previous_to_induction(name: str) -> dict[str, float]:
    induction = (prefix_matching(name) > 0.5).nonzero().flatten()
    source = previous(name).argmax()
    table = composition(name)["K"]
    if not len(induction):
        return {"heads": 0, "least": -1.0, "is_maximum": 0.0}
    columns = table[:, induction]
    return {
        "heads": len(induction),
        "least": columns[source].min().item(),
        "is_maximum": float((columns.argmax(0) == source).all()),
    }


def who_composes(name: str) -> dict[str, float]:
    best = torch.stack(list(composition(name).values())).amax((0, 1))
    induction = prefix_matching(name) > 0.5
    return {
        "share": (best > 5).float().mean().item(),
        "induction": induction.sum().item(),
        "induction_composing": (best[induction] > 5).sum().item(),
    }


def resting_value(name: str) -> dict[str, float]:
    """Value size at the start token over the median elsewhere, the largest of layer 1.

    Induction heads if there are any, else all heads of the layer.
    """
    _, cache = shipped(name).run_with_cache(text()[:4])
    sizes = cache["v", 1].norm(dim=-1)
    ratio = sizes[:, 0].mean(0) / sizes[:, 1:].flatten(0, 1).median(0).values
    induction = prefix_matching(name) > 0.5
    chosen = induction if induction.any() else torch.ones(len(HEADS)).bool()
    return {"ratio": ratio[chosen].max().item(), "heads": chosen.sum().item()}


# --- what terms are worth -----------------------------------------------------------


@cache
def orders(name: str) -> dict[str, float]:
    gains = term_importance(shipped(name), text())
    whole = math.log(pair_vocab()) - loss(shipped(name)(text()), text())
    zero, one, two = gains.tolist()
    return {
        "zero": zero,
        "one": one,
        "two": two,
        "share": two / gains.sum().item(),
        "error": abs(gains.sum().item() - whole),
    }


@cache
def split(name: str) -> dict[str, float]:
    model, first, second = shipped(name), *LAYERS
    given = {
        "first": marginal_effect(model, text(), first),
        "first_given": marginal_effect(model, text(), first, second),
        "second": marginal_effect(model, text(), second),
        "second_given": marginal_effect(model, text(), second, first),
    }
    ratio = given["second_given"] / max(given["first_given"], 1e-3)
    return given | {"ratio": ratio}


@cache
def frozen_or_not(name: str) -> dict[str, float]:
    model = shipped(name)
    whole = loss(model(text()), text())
    held = pattern_preserving_ablation(model, text(), LAYERS[0])
    hooks = [("blocks.0.attn.hook_z", lambda z, hook: torch.zeros_like(z))]
    full = model.run_with_hooks(text(), fwd_hooks=hooks)
    held, full = (loss(logits, text()) - whole for logits in (held, full))
    return {"held": held, "full": full, "ratio": full / max(held, 1e-3)}


CLAIMS = (
    Claim(
        row="F-25",
        statement="Two heads in a row are a virtual head: its pattern is a pattern.",
        paper="(A2 A1) x (W_OV2 W_OV1)",
        measure=virtual_patterns,
        ours="8 pairs: rows sum to 1 within {rows:.0e}, {above:.0e} above the diagonal",
        conditions={
            "rows sum to 1 within 1e-5": lambda n: n["rows"] < 1e-5,
            "nothing above the diagonal": lambda n: n["above"] == 0,
        },
        reason="Lower triangles whose rows sum to 1 multiply to another one.",
        needs=("two_layer",),
    ),
    Claim(
        row="F-81",
        statement="The logits are a sum over all paths through at most one head of "
        "each layer.",
        paper="1 + 24 + 144 = 169 terms with 12 heads",
        measure=path_sum,
        ours="{terms:.0f} terms, off by {error:.0e} logits",
        conditions={
            "1 + 16 + 64 terms": lambda n: n["terms"] == 81,
            "off by at most 1e-4": lambda n: n["error"] < 1e-4,
        },
        reason="With its patterns fixed the model is linear in the embedding.",
        needs=("two_layer",),
    ),
    Claim(
        row="F-82",
        statement="Scores of layer 1 are a sum over pairs of parts.",
        paper="a (4,2)-tensor; no number",
        measure=score_sum,
        ours="{parts:.0f} parts, off by {error:.0e}",
        conditions={
            "10 x 10 parts": lambda n: n["parts"] == 100,
            "off by at most 1e-4": lambda n: n["error"] < 1e-4,
        },
        reason="A score is linear in the query and in the key.",
        needs=("two_layer",),
    ),
    Claim(
        row="F-83",
        statement="One term of the scores is a tensor with six dimensions, and the "
        "printed rule turns its patterns round.",
        paper="x (A_q, A_k, W) y = A_q^T x W y A_k",
        measure=six_dimensions,
        ours="{dimensions:.0f} dimensions, off by {error:.0e}; as printed "
        "{printed:.2f}",
        conditions={
            "six dimensions, off by at most 1e-5": lambda n: (
                n["dimensions"] == 6 and n["error"] < 1e-5
            ),
            "as printed it is another number": lambda n: n["printed"] > 1e-3,
        },
        reason="Rows of a pattern are queries, so the query's side is A_q x. A model "
        "with random weights.",
        rests_on="draws",
    ),
    Claim(
        row="F-84",
        statement="Often the strongest composition is K-composition with a "
        "previous-token head.",
        paper="often, not always",
        measure=of_both(strongest_pair),
        ours="strongest pair {spreads:.0f} spreads over chance, its first head "
        "{previous:.2f} on the previous token; text only {spreads_text:.0f}, "
        "{previous_text:.2f}",
        conditions={
            "K, from a previous-token head": lambda n: (
                n["is_k"] == 1 and n["previous"] > 0.4
            ),
            "the same with text only": lambda n: (
                n["is_k_text"] == 1 and n["previous_text"] > 0.4
            ),
        },
        reason="Induction is the best use of a second layer, and it needs this pair.",
        needs=NAMES,
        rests_on="draws",
    ),
    Claim(
        row="F-85",
        statement="The score is a ratio of Frobenius norms, as the library has it.",
        paper="definition",
        measure=like_the_library,
        ours="largest difference from TransformerLens {error:.0e}",
        conditions={"at most 1e-5": lambda n: n["error"] < 1e-5},
        reason="The same definition, computed in two ways.",
        needs=("two_layer",),
    ),
    Claim(
        row="F-85",
        statement="Random heads score 1/sqrt(d_model).",
        paper="expectation subtracted; no number",
        measure=chance,
        ours="{mean:.4f} with a spread of {spread:.4f}; an untrained model is "
        "{fresh_off:.1%} off",
        conditions={
            "within 2 %": lambda n: n["off"] < 0.02,
            "an untrained model too": lambda n: n["fresh_off"] < 0.02,
        },
        reason="A random vector has 1/d_model of its squared length in any direction.",
        needs=("two_layer",),
        rests_on="draws",
    ),
    Claim(
        row="F-85",
        statement="Most pairs compose less than random heads would.",
        paper="most; no number",
        measure=of_both(below_chance),
        ours="{below:.0%} of Q, K and V pairs; text only {below_text:.0%}",
        conditions={
            "more than half": lambda n: n["below"] > 0.5,
            "more than half with text only": lambda n: n["below_text"] > 0.5,
        },
        reason="Heads that have no use for each other learn to keep apart.",
        needs=NAMES,
        rests_on="draws",
    ),
    Claim(
        row="F-87",
        statement="The published figure's formula gives other numbers than the score "
        "it was to show.",
        paper="erratum; no number",
        measure=bug,
        ours="largest K score {true:.3f}, largest buggy one {wrong:.3f}",
        conditions={"buggy is smaller everywhere": lambda n: n["ratio"] < 1},
        reason="A Frobenius norm changes when a factor moves from the end to the "
        "front.",
        needs=("two_layer",),
    ),
    Claim(
        row="F-87",
        statement="Corrected, K-composition of the previous-token head with the "
        "induction heads stands.",
        paper="unchanged",
        measure=of_both(previous_to_induction),
        ours="{heads:.0f} induction heads, at least {least:.0f} spreads over chance; "
        "text only {heads_text:.0f}, {least_text:.0f}",
        conditions={
            "at least 5 spreads": lambda n: n["heads"] > 0 and n["least"] >= 5,
            "the largest of their column": lambda n: n["is_maximum"] == 1,
        },
        reason="An induction head's keys are made from what the previous-token head "
        "wrote.",
        needs=NAMES,
        rests_on="draws",
    ),
    Claim(
        row="F-88",
        statement="All induction heads compose; most other heads hardly do.",
        paper="most heads compose little",
        measure=of_both(who_composes),
        ours="{share:.0%} of layer-1 heads over 5 spreads, {induction_composing:.0f} "
        "of {induction:.0f} induction heads; text only {share_text:.0%}",
        conditions={
            "all induction heads": lambda n: (
                n["induction"] > 0 and n["induction_composing"] == n["induction"]
            ),
            "at most half of all heads": lambda n: n["share"] <= 0.5,
        },
        reason="Five spreads are a low bar for trained weights.",
        expected="partly",
        needs=NAMES,
        rests_on="draws",
    ),
    Claim(
        row="F-89",
        statement="Heads rest on a token with a small value vector.",
        paper="in words",
        measure=of_both(resting_value),
        ours="value at the start at most {ratio:.2f} of the median elsewhere "
        "({heads:.0f} heads); text only {ratio_text:.2f}",
        conditions={
            "below 1": lambda n: n["ratio"] < 1,
            "below 1 with text only": lambda n: n["ratio_text"] < 1,
        },
        reason="Attention has to go somewhere, and there it does no harm.",
        needs=NAMES,
        rests_on="draws",
    ),
    Claim(
        row="F-120",
        statement="With all orders added the frozen model has exactly the model's "
        "loss.",
        paper="by construction",
        measure=of_both(orders),
        ours="off by {error:.0e} nats; text only {error_text:.0e}",
        conditions={
            "at most 1e-5": lambda n: max(n["error"], n["error_text"]) < 1e-5,
        },
        reason="No path has more heads than there are layers.",
        needs=NAMES,
    ),
    Claim(
        row="F-121",
        statement="Single heads are worth most, pairs of heads little.",
        paper="direct 1.8, heads 5.2, pairs 0.3 nats (4 %)",
        measure=of_both(orders),
        ours="{zero:.2f}, {one:.2f}, {two:.2f} nats ({share:.0%}); text only "
        "{zero_text:.2f}, {one_text:.2f}, {two_text:.2f} ({share_text:.0%})",
        conditions={
            "pairs at most 10 %": lambda n: max(n["share"], n["share_text"]) <= 0.1,
            "heads more than the direct path": lambda n: (
                n["one"] > n["zero"] and n["one_text"] > n["zero_text"]
            ),
            "direct path more than pairs": lambda n: (
                n["zero"] > n["two"] and n["zero_text"] > n["two_text"]
            ),
        },
        reason="Bigrams say more about Python with 4,096 tokens than about varied text "
        "with 50,257, so the direct path weighs more here.",
        expected="partly",
        needs=NAMES,
    ),
    Claim(
        row="F-122",
        statement="Layer 0 adds little to the logits once layer 1 is there.",
        paper="layer 0: 1.3 alone, 0.05 given layer 1; layer 1: 5.2 and 4.0 nats",
        measure=of_both(split),
        ours="{first:.2f} and {first_given:.2f}; {second:.2f} and {second_given:.2f} "
        "nats (text only {first_text:.2f}, {first_given_text:.2f}; {second_text:.2f}, "
        "{second_given_text:.2f})",
        conditions={
            "5 times, repeats": lambda n: n["ratio"] >= 5,
            "5 times, text only": lambda n: n["ratio_text"] >= 5,
        },
        reason="Layer 0 halves when layer 1 is there, where the paper's all but goes. "
        "Ours has a third fewer heads per layer and a narrower stream.",
        expected="not reproduced",
        needs=NAMES,
    ),
    Claim(
        row="F-123",
        statement="Layer 0 matters through the patterns of layer 1: without frozen "
        "patterns its loss costs far more.",
        paper="in words",
        measure=of_both(frozen_or_not),
        ours="{held:+.2f} nats held, {full:+.2f} free; text only {held_text:+.2f}, "
        "{full_text:+.2f}",
        conditions={
            "more without frozen patterns": lambda n: (
                n["full"] > n["held"] and n["full_text"] > n["held_text"]
            ),
            "5 times, repeats": lambda n: n["ratio"] >= 5,
            "5 times, text only": lambda n: n["ratio_text"] >= 5,
        },
        reason="Frozen patterns keep Q- and K-composition and take the rest away.",
        expected="partly",
        needs=NAMES,
    ),
    Claim(
        row="F-130",
        statement="Two previous-token heads make a virtual head that looks two back.",
        paper="definition",
        measure=two_back,
        ours="at least {least:.3f} on two back, d_head 4, d_model 16",
        conditions={"at least 0.99": lambda n: n["least"] >= 0.99},
        reason="Set by hand: each of the two looks exactly one back.",
        rests_on="draws",
    ),
    Claim(
        row="F-132",
        statement="Heads grow in number with the layers, paths through two heads with "
        "their square, through three with their cube.",
        paper="in words",
        measure=growth,
        ours="4 layers of 8: {one:.0f}, {two:.0f} and {three:.0f}",
        conditions={
            "differences of order 2, 3 and 4 are 0": lambda n: (
                n["linear"] == n["quadratic"] == n["cubic"] == 0
            ),
            "and no earlier ones": lambda n: n["bends"] > 0,
        },
        reason="Counted one by one for 1 to 5 layers.",
        rests_on="weights by hand",
    ),
    Claim(
        row="F-144",
        statement="The residual stream is a head whose pattern and OV matrix are "
        "identities.",
        paper="in words",
        measure=identity_head,
        ours="off by {error:.0e} logits",
        conditions={"at most 1e-4": lambda n: n["error"] < 1e-4},
        reason="With it, every path passes through one head of each layer.",
        rests_on="draws",
    ),
)
