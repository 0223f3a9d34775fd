"""What two-layer models do when parts are taken away: F-80, F-112, O-30 to O-32.

`two_layer` also saw random tokens repeated in training, `two_layer_text` saw text only,
so their numbers stand side by side and are never pooled.
"""

from functools import cache
from itertools import combinations

import torch
from torch import Tensor

from solutions.ch2_zero_layer import bigram_log_probs
from solutions.ch4_two_layer import pattern_preserving_ablation, two_layer_path_terms
from solutions.ch5_induction_heads import (
    ablate_edge,
    prefix_matching_score,
    repeated_tokens,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import pair_vocab, rows, shipped
from tests.claim_rows.two_layer_terms import (
    HEADS,
    NAMES,
    loss,
    of_both,
    prefix_matching,
    previous,
    text,
)
from utils.text.batches import Windows
from utils.text.corpus import stdlib_corpus

__all__ = ["CLAIMS"]

N_WINDOWS, CHUNK = 384, 32
EARLY, LATE = range(20, 31), range(240, 251)  # places of the predicted tokens
SPAN = 32


@cache
def induction_heads(name: str) -> tuple[int, ...]:
    """Layer-1 heads with prefix matching over 0.5; the best one if there are none."""
    scores = prefix_matching(name)
    heads = tuple((scores > 0.5).nonzero().flatten().tolist())
    return heads or (int(scores.argmax()),)


@cache
def repeats(seed: int = 0) -> Tensor:
    return repeated_tokens(pair_vocab(), SPAN, batch=8, seed=SPAN + seed)


def previous_head(name: str) -> tuple[int, int]:
    return 0, int(previous(name).argmax())


# --- two ablations --------------------------------------------------------------------


def ablation_is_subtraction(name: str) -> dict[str, float]:
    """Leave out each head in turn, and subtract the terms that pass through it."""
    model, tokens, n = shipped(name), text()[:1, :48], len(HEADS)
    terms, logits = two_layer_path_terms(model, tokens), model(tokens)
    pairs = 1 + 2 * n + torch.arange(n * n).view(n, n)
    errors, changes = [], []
    for i in HEADS:
        for layer, through in ((0, pairs[i]), (1, pairs[:, i])):
            own = torch.cat([torch.tensor([1 + layer * n + i]), through])
            removed = terms[own].sum(0)
            left = pattern_preserving_ablation(model, tokens, [(layer, i)])
            errors.append((left - (logits - removed)).abs().max().item())
            changes.append(removed.abs().max().item())
    return {"error": max(errors), "moved": min(changes)}


def two_ablations(name: str) -> dict[str, float]:
    """Nats that the previous-token head is worth on text, in both ablations."""
    model, (layer, head) = shipped(name), previous_head(name)

    def silent(z, hook):
        return z.index_fill(2, torch.tensor([head]), 0.0)

    hooks = [(f"blocks.{layer}.attn.hook_z", silent)]
    whole = loss(model(text()), text())
    held = pattern_preserving_ablation(model, text(), [(layer, head)])
    full = model.run_with_hooks(text(), fwd_hooks=hooks)
    held, full = (loss(logits, text()) - whole for logits in (held, full))
    return {"head": head, "held": held, "full": full, "more": full - held}


# --- in-context learning --------------------------------------------------------------


@cache
def windows() -> Tensor:
    """Held-out text cut at random places, so that no place in a file is special."""
    stream = stdlib_corpus(pair_vocab()).heldout_tokens
    return Windows(stream, N_WINDOWS, 256, seed=32)(0)


def in_bands(values: Tensor) -> Tensor:
    """Of [window, pos, ...] the places where the tokens of both bands are predicted."""
    before = torch.tensor([*EARLY, *LATE]) - 1
    return values[:, before]


@cache
def streams(name: str) -> tuple[Tensor, Tensor]:
    """At both bands: the stream before W_U, and z of the layer-1 heads."""
    names = ["blocks.1.hook_resid_post", "blocks.1.attn.hook_z"]
    ends, heads = [], []
    for part in windows().split(CHUNK):
        _, found = shipped(name).run_with_cache(
            part, names_filter=names, stop_at_layer=2
        )
        ends.append(in_bands(found[names[0]]))
        heads.append(in_bands(found[names[1]]))
    return torch.cat(ends), torch.cat(heads)


def late_minus_early(losses: Tensor) -> Tensor:
    """In-context score of each window from its losses at both bands, in nats."""
    early, late = losses.split([len(EARLY), len(LATE)], dim=1)
    return late.mean(1) - early.mean(1)


@cache
def score(name: str, without: tuple[int, ...] = ()) -> Tensor:
    """In-context score of each window, with some layer-1 heads left out.

    Nothing comes after layer 1 but W_U, so leaving a head out is a subtraction, and the
    two kinds of ablation are the same.
    """
    model, (stream, z) = shipped(name), streams(name)
    for head in without:
        stream = stream - z[:, :, head] @ model.W_O[1, head]
    following = in_bands(windows().roll(-1, 1))[..., None]
    logits = stream @ model.W_U
    right = logits.gather(-1, following).squeeze(-1)
    return late_minus_early(logits.logsumexp(-1) - right)


@cache
def bigram_score() -> Tensor:
    """The score of bigram counts: what comes from the windows and not from context."""
    d_vocab = pair_vocab()
    table = bigram_log_probs(rows("train", d_vocab=d_vocab), d_vocab, pseudocount=0.1)
    following = windows().roll(-1, 1)
    return late_minus_early(-table[in_bands(windows()), in_bands(following)])


def without_induction(name: str) -> dict[str, float]:
    """Shares of the in-context score that go when heads of layer 1 are left out."""
    chosen = induction_heads(name)
    others = [head for head in HEADS if head not in chosen]

    def net(*heads: int) -> float:
        return (score(name, heads) - bigram_score()).mean().item()

    whole = net()
    sets = [1 - net(*some) / whole for some in combinations(others, len(chosen))]
    alone = [net(head) < whole for head in others]
    return {
        "heads": len(chosen),
        "score": whole,
        "removed": 1 - net(*chosen) / whole,
        "others": sum(sets) / len(sets),
        "change": sum(map(abs, sets)) / len(sets),
        "stronger": sum(alone),
        "n_others": len(others),
    }


# --- one edge, and what a gradient sees -----------------------------------------------


def three_edges() -> dict[str, float]:
    """Prefix matching of induction heads when one input loses the previous token."""
    model, source = shipped("two_layer"), previous_head("two_layer")
    written = model.run_with_cache(repeats())[1]["z", 0][:, :, source[1]]
    written = written @ model.W_O[source]
    whole, logits = prefix_matching_score(model, repeats())[1], model(repeats())
    left, moved = {}, []
    for edge in "qkv":
        W = getattr(model, f"W_{edge.upper()}")[1]
        left[edge] = []
        for head in induction_heads("two_layer"):

            def cut(values, hook, head=head, W=W):
                values = values.clone()
                values[:, :, head] -= written @ W[head]
                return values

            with model.hooks(fwd_hooks=[(f"blocks.1.attn.hook_{edge}", cut)]):
                after = prefix_matching_score(model, repeats())[1, head]
            left[edge].append((after / whole[head]).item())
    for head in induction_heads("two_layer"):
        without = ablate_edge(model, repeats(), source, (1, head), "v")
        moved.append((without - logits).abs().max().item())
    return {
        "q": min(left["q"]),
        "k": max(left["k"]),
        "v": max(abs(share - 1) for share in left["v"]),
        "moved": min(moved),
    }


def _target_gradients(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For the queries of the second copy, at the best induction head.

    Its attention to the target; the size of the gradient of the right token's logit
    (over the mean logit) by the target's key; what the gradient says the previous-token
    head's part of all keys is worth; and what that logit really loses without it.
    """
    model = shipped("two_layer")
    source, head = (
        previous_head("two_layer"),
        int(prefix_matching("two_layer").argmax()),
    )
    kept = {}

    def leaf(scores, hook):
        kept["scores"] = scores.detach().requires_grad_()
        return kept["scores"]

    def right(logits: Tensor) -> Tensor:
        centred = logits - logits.mean(-1, keepdim=True)
        return centred[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)

    with torch.enable_grad():
        logits = model.run_with_hooks(
            tokens, fwd_hooks=[("blocks.1.attn.hook_attn_scores", leaf)]
        )
        wanted = right(logits)[:, SPAN + 1 :].sum()
        by_score = torch.autograd.grad(wanted, kept["scores"])[0][:, head]
    _, found = model.run_with_cache(tokens)
    queries = found["q", 1][:, :, head] / model.cfg.d_head**0.5
    written = found["z", 0][:, :, source[1]] @ model.W_O[source]
    part = queries @ (written @ model.W_K[1, head]).mT
    without = ablate_edge(model, tokens, source, (1, head), "k")
    real = right(logits.detach()) - right(without)
    query = torch.arange(SPAN + 1, tokens.shape[1] - 1)
    target = query - SPAN + 1
    by_key = by_score[:, query, target].abs() * queries[:, query].norm(dim=-1)
    guess = (by_score * part).nan_to_num().sum(-1)[:, query]
    attention = found["pattern", 1][:, head, query, target]
    return attention, by_key, guess, real[:, query]


def saturation() -> dict[str, float]:
    # Few places are half attended to, so that one draw of tokens has too few.
    found = [_target_gradients(repeats(seed)) for seed in range(8)]
    attention, by_key, guess, real = map(torch.cat, zip(*found, strict=True))
    full = attention > 0.99
    half = (attention > 0.4) & (attention < 0.6)
    return {
        "full": full.sum().item(),
        "half": half.sum().item(),
        "ratio": (by_key[full].mean() / by_key[half].mean()).item(),
        "guess": guess[full].mean().item(),
        "real": real[full].mean().item(),
        "share": (guess[full].mean() / real[full].mean()).item(),
    }


CLAIMS = (
    Claim(
        row="F-80",
        statement="Q- and K-composition change where a head looks, V-composition only "
        "what it moves.",
        paper="definition",
        measure=three_edges,
        ours="without the edge from the previous-token head, {q:.0%} (Q) and {k:.1%} "
        "(K) of prefix matching are left; V moves logits by {moved:.1f} or more",
        conditions={
            "K: under 20 % is left": lambda n: n["k"] < 0.2,
            "V: the pattern stays, logits move": lambda n: (
                n["v"] < 1e-6 and n["moved"] > 0.1
            ),
            "Q: over 80 % is left": lambda n: n["q"] > 0.8,
        },
        reason="The previous-token head is read through W_K, and hardly through W_Q.",
        needs=("two_layer",),
        rests_on="draws",
    ),
    Claim(
        row="F-112",
        statement="Where attention is saturated a gradient hides what it rests on.",
        paper="in words; a factor of A(1 - A)",
        measure=saturation,
        ours="gradient by the target's key at A > 0.99 is {ratio:.3f} of that at 0.4 "
        "to 0.6 ({full:.0f} and {half:.0f} places); it gives the token before "
        "{guess:.1f} of {real:.1f} logits",
        conditions={
            "less than 0.04 of it": lambda n: (
                min(n["full"], n["half"]) >= 20 and n["ratio"] < 0.04
            ),
            "under a quarter of what is lost without it": lambda n: n["share"] < 0.25,
        },
        reason="A softmax that has made up its mind does not answer to small changes.",
        needs=("two_layer",),
        rests_on="draws",
    ),
    Claim(
        row="O-30",
        statement="Leaving a head out with patterns held is the same as subtracting "
        "all path terms with that head.",
        paper="by construction",
        measure=of_both(ablation_is_subtraction),
        ours="off by {error:.0e} logits, each head moves {moved:.1f} or more; text "
        "only {error_text:.0e}",
        conditions={
            "off by at most 1e-4": lambda n: max(n["error"], n["error_text"]) < 1e-4,
            "every head moves logits": lambda n: min(n["moved"], n["moved_text"]) > 0.1,
        },
        reason="With its patterns held the model is a sum over paths.",
        needs=NAMES,
    ),
    Claim(
        row="O-31",
        statement="Most of the previous-token head's work is done through patterns: a "
        "full ablation costs more than one with patterns held.",
        paper="in words",
        measure=of_both(two_ablations),
        ours="0.{head:.0f} on text: {held:+.2f} nats held, {full:+.2f} full; text only "
        "0.{head_text:.0f}: {held_text:+.2f}, {full_text:+.2f}",
        conditions={
            "full costs more, repeats": lambda n: n["more"] > 0,
            "full costs more, text only": lambda n: n["more_text"] > 0,
            "most of it, both": lambda n: (
                n["more"] > n["held"] and n["more_text"] > n["held_text"]
            ),
        },
        reason="What it writes is read by the keys of the induction heads.",
        needs=NAMES,
    ),
    Claim(
        row="O-32",
        statement="Almost all in-context learning comes from the induction heads.",
        paper="almost all; leaving out most other heads increases it",
        measure=of_both(without_induction),
        ours="{heads:.0f} heads take {removed:.0%} of {score:+.2f} nats, as many other "
        "ones {others:+.0%} (size {change:.0%}); text only {heads_text:.0f} head "
        "{removed_text:.0%} of {score_text:+.2f}, another {others_text:+.0%} "
        "({change_text:.0%})",
        conditions={
            "at least 70 %": lambda n: n["removed"] >= 0.7,
            "as many others at most 20 %": lambda n: n["change"] <= 0.2,
            "most others increase it": lambda n: 2 * n["stronger"] > n["n_others"],
        },
        reason="The verdict is on two_layer, which saw repeats in training. With text "
        "only there is one such head; its share is too near the bound to judge.",
        needs=NAMES,
        rests_on="draws",
    ),
)
