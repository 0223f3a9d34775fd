"""Rows on induction heads, measured on the shipped two-layer model and its twin."""

import math
from functools import cache

import torch
from torch import Tensor

from solutions.ch5_induction_heads import (
    build_pointer_model,
    copying_head_score,
    ideal_pattern_recovery,
    logit_effect,
    prefix_matching_score,
    previous_token_score,
    repeat_loss,
    repeated_tokens,
    same_matching_score,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import counts, pair_vocab, shipped, untrained_like
from utils.models.handmade import (
    induction_model,
    model_from_weights,
    with_made_up_tokens,
    with_weights,
)
from utils.text.corpus import START_ID
from utils.training.recipes import RECIPES

__all__ = ["CLAIMS"]

SPANS = (16, 32, 64)
TWO, TWIN = ("two_layer",), ("two_layer", "one_layer_twin")
# A made-up name of several tokens, so that no model can have seen it.
CODE = """class MossgroveLantern:
    def __init__(self, wick):
        self.wick = wick

lamp = MossgroveLantern(wick=3)
print(lamp, MossgroveLantern)
"""


@cache
def _usual() -> Tensor:
    """The ids that random repeats in training could hold."""
    kept_out = RECIPES["two_layer"].never_repeated
    return torch.tensor(sorted(set(range(1, pair_vocab())) - set(kept_out)))


@cache
def _matching(name: str) -> Tensor:
    """Prefix matching [layer, head], mean over the spans."""
    rows = [repeated_tokens(pair_vocab(), K, batch=8, seed=K) for K in SPANS]
    scores = [prefix_matching_score(shipped(name), row) for row in rows]
    return torch.stack(scores).mean(0)


def _induction_heads() -> list[tuple[int, int]]:
    """Heads with prefix matching over 0.5; the best one if there are none."""
    scores = _matching("two_layer")
    best = divmod(int(scores.argmax()), scores.shape[1])
    return [tuple(place) for place in (scores > 0.5).nonzero().tolist()] or [best]


@cache
def _rows32() -> Tensor:
    return repeated_tokens(pair_vocab(), 32, batch=8, seed=32)


def _previous_head() -> tuple[int, int]:
    return 0, int(previous_token_score(shipped("two_layer"), _rows32())[0].argmax())


def _copying(layer: int, head: int) -> float:
    """Sum of the eigenvalues of W_E W_V W_O W_U over the sum of their sizes."""
    model = shipped("two_layer")
    W_V, W_O = model.W_V[layer, head], model.W_O[layer, head]
    values = torch.linalg.eigvals((W_O @ (model.W_U @ model.W_E) @ W_V).double())
    return (values.sum().real / values.abs().sum()).item()


def _right(model, rows: Tensor, span: int) -> float:
    guesses = model(rows)[:, span + 1 : -1].argmax(-1)
    return (guesses == rows[:, span + 2 :]).double().mean().item()


def _correlation(x: list[float], y: list[float]) -> float:
    pair = torch.tensor([x, y], dtype=torch.float64)
    return torch.corrcoef(pair)[0, 1].nan_to_num().item()


# --- behaviour ------------------------------------------------------------------------


def loss_on_repeats() -> dict:
    two, one = shipped("two_layer"), shipped("one_layer_twin")
    shares, gaps = [], []
    for K in SPANS:
        rows = repeated_tokens(pair_vocab(), K, batch=8, ids=_usual(), seed=K)
        bound = math.lgamma(K) / (K - 1)
        shares.append(repeat_loss(two, rows, K) / bound)
        gaps.append(repeat_loss(one, rows, K) - bound)
    return {"worst": max(shares), "least": min(gaps)}


def best_heads() -> dict:
    return {
        "two": _matching("two_layer").max().item(),
        "one": _matching("one_layer_twin").max().item(),
        "count": int((_matching("two_layer") > 0.5).sum()),
    }


def finds_and_rests() -> dict:
    """The head for which the smaller of both attentions is largest."""
    model, rows = shipped("two_layer"), _rows32()
    found = prefix_matching_score(model, rows)
    _, cache = model.run_with_cache(rows)
    rests = [cache["pattern", i][:, :, 1:33, 0].mean((0, 2)) for i in (0, 1)]
    rests = torch.stack(rests)
    place = divmod(int(torch.minimum(found, rests).argmax()), found.shape[1])
    return {"target": found[place].item(), "rest": rests[place].item()}


def effect_on_code() -> dict:
    model = shipped("two_layer")
    tokens = model.to_tokens(CODE)
    ids = tokens[0].tolist()
    pairs = list(zip(ids, ids[1:], strict=False))
    repeat = torch.tensor([pair in pairs[:i] for i, pair in enumerate(pairs)])
    heads = _induction_heads()
    effect = sum(logit_effect(model, tokens, *place)[0] for place in heads)
    return {
        "above": (effect[repeat] > 0).double().mean().item(),
        "repeats": effect[repeat].mean().item(),
        "first": effect[~repeat].mean().item(),
    }


def three_copies() -> dict:
    rows = repeated_tokens(pair_vocab(), 20, copies=3, batch=16, seed=20)
    return {"right": _right(shipped("two_layer"), rows, 20)}


def never_repeated() -> dict:
    out = torch.tensor(RECIPES["two_layer"].never_repeated)
    model = shipped("two_layer")
    kinds = {
        "out": (model, out),
        "made_up": (with_made_up_tokens(model, out), out),
        "all": (model, None),
    }
    shares = {}
    for name, (reader, ids) in kinds.items():
        rows = repeated_tokens(pair_vocab(), 32, batch=16, ids=ids, seed=6)
        shares[name] = _right(reader, rows, 32)
    return shares


N_CASES = 64


@cache
def _pieces() -> Tensor:
    """Tokens that read like two others in a row: [case, (whole, first, second)]."""
    tokenizer = shipped("two_layer").tokenizer
    words = {tokenizer.decode([i]): i for i in range(1, pair_vocab())}
    found = [
        (whole, words[word[:cut]], words[word[cut:]])
        for word, whole in words.items()
        for cut in range(1, len(word))
        if word.isascii() and word[:cut] in words and word[cut:] in words
    ]
    return torch.tensor(found[:: len(found) // N_CASES][:N_CASES])


@cache
def _text_pairs() -> Tensor:
    """Pairs that text has often, though other tokens may follow: [case, (a, b)]."""
    table = counts("train", pair_vocab())
    share = table / table.sum(1, keepdim=True).clamp(min=1)
    found = (table >= 50) & (share > 0.02) & (share < 0.2)
    found[0], found[:, 0] = False, False
    found.fill_diagonal_(False)
    pairs = found.nonzero()
    return pairs[:: len(pairs) // N_CASES][:N_CASES]


def _chance(name: str, inserted: Tensor, a: Tensor, b: Tensor) -> float:
    """Mean P(b) over rows of random tokens in which something stands, that end in a.

    Four rows for each case; `inserted` is [case, n].
    """
    generator = torch.Generator().manual_seed(101)
    start, found = torch.full((4, 1), START_ID), []
    for put, last, right in zip(inserted, a, b, strict=True):
        ids = 1 + torch.randperm(pair_vocab() - 1, generator=generator)
        out = torch.cat([put, last[None], right[None]])
        middle = ids[~torch.isin(ids, out)][: 4 * 48].view(4, 48)
        middle[:, 20 : 20 + len(put)] = put
        found.append(torch.cat([start, middle, last.expand(4, 1)], dim=1))
    ends = shipped(name).original_model.final_stream(torch.cat(found))[:, -1]
    chances = (ends @ shipped(name).W_U).softmax(-1)
    return chances.gather(1, b.repeat_interleave(4)[:, None]).mean().item()


def three_ways_to_copy() -> dict:
    """P(b) after a, when the row held b (copy), a token ab (split), or a b (induction).

    Pairs a b are those of text or, with `_any`, paired anew at random.
    """
    whole, first, second = _pieces().T
    a, b = _text_pairs().T
    strange = b[torch.randperm(len(b), generator=torch.Generator().manual_seed(5))]
    one, two, nothing = "one_layer_twin", "two_layer", torch.empty(N_CASES, 0).long()
    numbers = {
        "split": _chance(one, whole[:, None], first, second),
        "no_split": _chance(one, nothing, first, second),
    }
    for kind, right in (("", b), ("_any", strange)):
        both = torch.stack([a, right], dim=1)
        numbers[f"copy{kind}"] = _chance(one, right[:, None], a, right)
        numbers[f"no_copy{kind}"] = _chance(one, nothing, a, right)
        numbers[f"induction{kind}"] = _chance(two, both, a, right)
        numbers[f"both_in_one{kind}"] = _chance(one, both, a, right)
    return numbers


def as_defined() -> dict:
    """Prefix matching with 25 tokens, four times, none very common or very rare."""
    order = counts("train", pair_vocab()).sum(0)[1:].argsort(descending=True) + 1
    tenth = pair_vocab() // 10
    ids = order[tenth:-tenth]
    rows = repeated_tokens(pair_vocab(), 25, copies=4, batch=10, ids=ids, seed=40)
    by_hand = repeated_tokens(29, 25, copies=4, batch=10, seed=40)
    scores = prefix_matching_score(shipped("two_layer"), rows)
    bare = prefix_matching_score(shipped("two_layer"), rows[:, 1:])
    text_only = prefix_matching_score(shipped("two_layer_text"), rows)
    best = scores.argmax()
    return {
        "best": scores.max().item(),
        "count": int((scores > 0.5).sum()),
        "bare": bare.flatten()[best].item(),
        "text": text_only.max().item(),
        "perfect": prefix_matching_score(induction_model(29, 101), by_hand)
        .max()
        .item(),
    }


# --- mechanism ------------------------------------------------------------------------


def without_previous_head() -> dict:
    model, rows, (_, head) = shipped("two_layer"), _rows32(), _previous_head()

    def silent(z, hook):
        return z.index_fill(2, torch.tensor([head]), 0.0)

    before = prefix_matching_score(model, rows)
    with model.hooks(fwd_hooks=[("blocks.0.attn.hook_z", silent)]):
        after = prefix_matching_score(model, rows)
    places = _induction_heads()
    left = [after[place].item() / before[place].item() for place in places]
    explained = [_explained(place) for place in places]
    return {"left": max(left), "explained": min(explained)}


def _score_parts(place: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """All scores, and those between a query's embedding and two parts of the key.

    The parts are what the previous-token head wrote, and the key's own embedding.
    """
    model, rows, (_, prev) = shipped("two_layer"), _rows32(), _previous_head()
    layer, head = place
    _, cache = model.run_with_cache(rows)
    embedded = model.W_E[rows]
    written = cache["z", 0][:, :, prev] @ model.W_O[0, prev]
    queries = embedded @ model.W_Q[layer, head] / model.cfg.d_head**0.5
    full = cache[f"blocks.{layer}.attn.hook_attn_scores"][:, head]
    W_K = model.W_K[layer, head]
    return full, queries @ (written @ W_K).mT, queries @ (embedded @ W_K).mT


def _lead(scores: Tensor, i: int) -> Tensor:
    """How far the target's score at query i exceeds each key's: [batch, key]."""
    seen = scores[:, i, 1 : i + 1]
    return scores[:, i, i - 31, None] - seen


def _explained(place: tuple[int, int]) -> float:
    """Share of the variance of target-minus-other scores due to the one part."""
    full, part, _ = _score_parts(place)
    whole = torch.cat([_lead(full, i).flatten() for i in range(33, 65)])
    through = torch.cat([_lead(part, i).flatten() for i in range(33, 65)])
    return (1 - (whole - through).var() / whole.var()).item()


def which_token_counts() -> dict:
    """How often the token before the target lifts it more than the target's own."""
    shares = []
    for place in _induction_heads():
        _, before, own = _score_parts(place)
        more = [
            (_lead(before, i).mean(1) > _lead(own, i).mean(1)).double()
            for i in range(33, 65)
        ]
        shares.append(torch.stack(more).mean().item())
    return {"share": min(shares)}


def ideal_patterns() -> dict:
    model, rows = shipped("two_layer"), _rows32()
    batch, length = rows.shape
    back = torch.eye(length).roll(-1, 1)
    back[0] = torch.eye(length)[0]
    targets = (rows[:, :, None] == rows.roll(1, 1)[:, None]).tril().float()
    targets[:, :, 0] = 0
    targets[:, :, 0] = (targets.sum(-1) == 0).float()
    targets = targets / targets.sum(-1, keepdim=True)
    previous = {_previous_head(): back.expand(batch, -1, -1)}
    induction = {place: targets for place in _induction_heads()}
    return {
        "previous": ideal_pattern_recovery(model, rows, previous, first=34),
        "induction": ideal_pattern_recovery(model, rows, induction, first=34),
    }


# --- weights --------------------------------------------------------------------------


@cache
def _second_layer() -> dict:
    """Per second-layer head: prefix matching and both eigenvalue scores."""
    model = shipped("two_layer")
    heads = range(model.cfg.n_heads)
    return {
        "matching": [_matching("two_layer")[1, head].item() for head in heads],
        "copy": [_copying(1, head) for head in heads],
        "same": [same_matching_score(model, 1, head) for head in heads],
    }


def corner() -> dict:
    columns = _second_layer().values()
    lower = [(m, min(c, s)) for m, c, s in zip(*columns, strict=True)]
    strong = [low for m, low in lower if m > 0.5]
    weak = [low for m, low in lower if m < 0.2]
    return {
        "n": len(strong),
        "least": min(strong, default=-1.0),
        "most": max(weak, default=-1.0),
    }


def two_predictions() -> dict:
    """Both eigenvalue scores of induction heads, the second through other heads too."""
    model, (_, prev) = shipped("two_layer"), _previous_head()
    heads = _induction_heads()
    others = [i for i in range(model.cfg.n_heads) if i != prev]
    fresh = untrained_like("two_layer")
    return {
        "copy": min(_copying(*place) for place in heads),
        "same": min(
            same_matching_score(model, *place, prev_head=prev) for place in heads
        ),
        "other": max(
            sum(same_matching_score(model, *place, prev_head=i) for i in others)
            / len(others)
            for place in heads
        ),
        "fresh": max(
            abs(same_matching_score(fresh, *place, prev_head=prev)) for place in heads
        ),
    }


def copying_together() -> dict:
    """Tokens that raise themselves most through all induction heads, or through one."""
    model = shipped("two_layer")

    def top1(places: list[tuple[int, int]]) -> float:
        W_OV = sum(model.W_V[place] @ model.W_O[place] for place in places)
        best = (model.W_E @ W_OV @ model.W_U).argmax(1)
        return (best == torch.arange(len(best))).double().mean().item()

    heads = _induction_heads()
    alone = [top1([place]) for place in heads]
    return {
        "joint": top1(heads),
        "best": max(alone),
        "worst": min(alone),
        "heads": len(heads),
    }


def counts_of_heads() -> dict:
    scores = _second_layer()
    n = len(scores["copy"])
    copying = sum(score > 0.5 for score in scores["copy"])
    induction = sum(score > 0.5 for score in scores["matching"])
    return {"n": n, "copying": copying, "induction": induction}


def flipped_sign() -> dict:
    model, prev = shipped("two_layer"), _previous_head()
    W_V = model.W_V.clone()
    W_V[prev] *= -1
    flipped = with_weights(model, {"W_V": W_V})
    layer, head = _induction_heads()[0]
    numbers = {}
    for name, m in (("before", model), ("after", flipped)):
        scores = m.all_composition_scores("K").scores
        numbers[f"k_{name}"] = scores[prev][layer, head].item()
        numbers[f"s_{name}"] = same_matching_score(m, layer, head, prev_head=prev[1])
    return numbers


def copying_two_ways() -> dict:
    model = shipped("two_layer")
    rows = repeated_tokens(pair_vocab(), 25, copies=1, batch=10, seed=5)
    places = [(i, j) for i in (0, 1) for j in range(model.cfg.n_heads)]
    seen = [copying_head_score(model, rows, *place) for place in places]
    return {"r": _correlation(seen, [_copying(*place) for place in places])}


def matching_two_ways() -> dict:
    scores = _second_layer()
    return {"r": _correlation(scores["matching"], scores["same"])}


def both_scores() -> dict:
    model = shipped("two_layer")
    rows = repeated_tokens(pair_vocab(), 25, copies=1, batch=10, seed=5)
    both = [
        min(_matching("two_layer")[1, j].item(), copying_head_score(model, rows, 1, j))
        for j in range(model.cfg.n_heads)
    ]
    return {"best": max(both)}


def looks_one_back() -> dict:
    score = previous_token_score(shipped("two_layer"), _rows32())
    return {"best": score[0].max().item()}


def pointer_arithmetic() -> dict:
    model = model_from_weights(build_pointer_model(29, 61), positions="stream")
    shares = [
        _right(model, repeated_tokens(29, K, copies=2, batch=20, seed=K), K)
        for K in (2, 7, 28)
    ]
    return {"right": min(shares)}


SHARED = "the data hold repeats at random lags, which one layer cannot follow"
CLAIMS = (
    Claim(
        "F-05",
        "One and two layers learn from context in different ways.",
        "two-layer models use induction, one-layer models copy",
        loss_on_repeats,
        "two layers: {worst:.2f} of ln((K-1)!)/(K-1); one layer: {least:+.2f} nats",
        {
            "two layers stay under half of ln((K-1)!)/(K-1)": lambda n: (
                n["worst"] < 0.5
            ),
            "one layer is not below ln((K-1)!)/(K-1) - 0.3": lambda n: (
                n["least"] > -0.3
            ),
        },
        SHARED,
        needs=TWIN,
        rests_on="draws",
    ),
    Claim(
        "F-06",
        "Induction heads need two layers.",
        "no one-layer model has them",
        best_heads,
        "best prefix matching {two:.2f} ({count:.0f} heads over 0.5), twin {one:.2f}",
        {
            "the two-layer model has one": lambda n: n["two"] > 0.5,
            "the twin has none": lambda n: n["one"] < 0.2,
        },
        SHARED,
        needs=TWIN,
        rests_on="draws",
    ),
    Claim(
        "F-100",
        "An induction head finds its target, and rests on the first token if none.",
        "described, no number",
        finds_and_rests,
        "one head gives {target:.2f} to the target and {rest:.2f} to the start token",
        {
            "at least half to the target": lambda n: n["target"] >= 0.5,
            "at least half to the start token": lambda n: n["rest"] >= 0.5,
        },
        "both show in the same head",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-101",
        "Induction is more confident than copying in one layer, and less tied to what "
        "follows what in training.",
        "in words",
        three_ways_to_copy,
        "P(b) after b ... a {copy:.3f}, ab ... a {split:.4f} (one layer), "
        "a b ... a {induction:.3f} (two); pairs foreign to text {copy_any:.4f}, "
        "{induction_any:.3f}",
        {
            "more confident than both": lambda n: (
                n["induction"] > 2 * max(n["copy"], n["split"])
            ),
            "also when one layer sees a b": lambda n: (
                n["induction"] > 2 * n["both_in_one"]
            ),
            "keeps more of it on foreign pairs": lambda n: (
                n["induction_any"] / n["induction"] > 2 * n["copy_any"] / n["copy"]
            ),
        },
        "Both models saw the same repeats. Our tokens were made so that a b is hardly "
        "ever written where ab exists, so splitting pays little.",
        needs=TWIN,
        rests_on="draws",
    ),
    Claim(
        "F-102",
        "Its logit effect is positive where a name is repeated.",
        "shown for two names in a novel",
        effect_on_code,
        "{above:.0%} of repeats above 0; mean {repeats:.2f}, elsewhere {first:.2f}",
        {
            "at least 90 % above 0": lambda n: n["above"] >= 0.9,
            "larger than at first occurrences": lambda n: n["repeats"] > n["first"],
        },
        "measured on code with a made-up name",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-103",
        "Random tokens are continued on their second and third time.",
        "20 random tokens, three times",
        three_copies,
        "{right:.0%} right",
        {"at least 80 % right": lambda n: n["right"] >= 0.8},
        "the same design",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-104",
        "It works on tokens that were never repeated in training.",
        "works on completely random tokens",
        never_repeated,
        "{out:.0%} right on ids kept out of the repeats, {made_up:.0%} on made-up "
        "tokens in their place, {all:.0%} on all ids",
        {
            "at least half right": lambda n: n["out"] >= 0.5,
            "made-up tokens: at least half right": lambda n: n["made_up"] >= 0.5,
        },
        "The heads take any token whose vectors lie where those of repeated tokens do, "
        "also one that never was. Training on text alone moved the vectors of the ids "
        "kept out elsewhere.",
        expected="partly",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-105",
        "Keys are made from the token before, by a previous-token head.",
        "one term of the QK circuit",
        without_previous_head,
        "without it {left:.0%} of prefix matching is left; it explains {explained:.0%}",
        {
            "under 20 % left": lambda n: n["left"] < 0.2,
            "at least 80 % of the variance": lambda n: n["explained"] >= 0.8,
        },
        "The term is query embedding against what that head wrote. Positions and the "
        "other first-layer heads make up the rest of the scores.",
        expected="partly",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-106",
        "The key's score comes from the token before the attended one.",
        "shown for one head",
        which_token_counts,
        "the token before lifts the target more in {share:.0%} of cases",
        {"at least 90 % of cases": lambda n: n["share"] >= 0.9},
        "by splitting the score, not by gradients",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-108",
        "Induction heads copy, and match the same token through the previous-token "
        "head.",
        "two predictions",
        two_predictions,
        "copying {copy:.2f}, same-matching {same:.2f} at least; through the other "
        "heads of layer 0 {other:.2f} on average, before training up to {fresh:.2f}",
        {
            "OV: over 0.5": lambda n: n["copy"] > 0.5,
            "QK through the previous-token head: over 0.5": lambda n: n["same"] > 0.5,
            "neither through others nor untrained": lambda n: (
                max(n["other"], n["fresh"]) < 0.3
            ),
        },
        "sums of eigenvalues over sums of their sizes",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-109",
        "Induction heads lie in the corner of positive QK and OV eigenvalues.",
        "all of them, in the extreme corner",
        corner,
        "{n:.0f} induction heads, lower score at least {least:.2f}; others {most:.2f}",
        {
            "every induction head has both over 0.5": lambda n: n["least"] > 0.5,
            "no head with matching under 0.2 does": lambda n: n["most"] <= 0.5,
        },
        "Another head reads the previous-token head and copies, with matching under "
        "0.2. Heads with matching between 0.2 and 0.5 count as partial.",
        expected="partly",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-110",
        "Most second-layer heads copy, and half of them do induction.",
        "7 of 12 copy; 6 of 12 are induction heads",
        counts_of_heads,
        "{copying:.0f} of {n:.0f} copy; {induction:.0f} are induction heads",
        {
            "half or more copy": lambda n: 2 * n["copying"] >= n["n"],
            "at least two are induction heads": lambda n: n["induction"] >= 2,
        },
        "counts depend on size and data; they are reported beside the paper's",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-111",
        "Strong K-composition does not force positive eigenvalues.",
        "an argument, no number",
        flipped_sign,
        "K {k_before:.3f} and {k_after:.3f}; matching {s_before:.2f} and {s_after:.2f}",
        {
            "composition stays": lambda n: abs(n["k_before"] - n["k_after"]) < 1e-5,
            "matching changes its sign": lambda n: (
                abs(n["s_before"] + n["s_after"]) < 1e-3 and n["s_before"] > 0.5
            ),
        },
        "the sign of the first head's W_V is flipped",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-113",
        "Ideal patterns recover most of what these heads are good for.",
        "previous token 99 %, simple induction about 65 % (replications, on text)",
        ideal_patterns,
        "previous token {previous:.0%}, induction {induction:.0%}, on random repeats",
        {
            "previous token at least 90 %": lambda n: n["previous"] >= 0.9,
            "induction at least 50 %": lambda n: n["induction"] >= 0.5,
        },
        "on random repeats, where nothing but induction helps",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-113",
        "Induction heads copy better together than each alone.",
        "95.6 % of tokens on top for two heads, 30.8 % for one of them (replication)",
        copying_together,
        "{joint:.1%} for {heads:.0f} heads, alone {worst:.1%} to {best:.1%}",
        {
            "there are two or more": lambda n: n["heads"] >= 2,
            "together more than the best": lambda n: n["joint"] > n["best"],
        },
        "each head copies tokens that the others do not put on top",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "F-143",
        "Pointer arithmetic does induction too, with positions in the stream.",
        "an exercise, no number",
        pointer_arithmetic,
        "hand-built weights: {right:.0%} right",
        {"every repeat is continued": lambda n: n["right"] == 1},
        "the weights are written by hand",
        rests_on="draws",
    ),
    Claim(
        "O-01",
        "An induction head both matches prefixes and copies.",
        "the definition",
        both_scores,
        "the best head has {best:.2f} of both",
        {"one head has both over 0.5": lambda n: n["best"] > 0.5},
        "Copying is the share raised of the own token among 25, which is stricter than "
        "the eigenvalues: these heads raise other tokens as well.",
        expected="not reproduced",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "O-40",
        "Prefix matching as defined finds induction heads, and needs the start token.",
        "25 random tokens, four times; some heads score low without a start token",
        as_defined,
        "best {best:.2f} ({count:.0f} over 0.5), {bare:.2f} without a start token; "
        "text only {text:.2f}; by hand {perfect:.2f}",
        {
            "a head is over 0.5": lambda n: n["best"] > 0.5,
            "a perfect head has 1": lambda n: abs(n["perfect"] - 1) < 0.01,
            "lower without a start token": lambda n: n["bare"] < 0.8 * n["best"],
        },
        "all targets of a query added up, without the tenths of ids seen most and "
        "least",
        needs=("two_layer", "two_layer_text"),
        rests_on="draws",
    ),
    Claim(
        "O-41",
        "The copying score agrees with the eigenvalues.",
        "said to correlate well",
        copying_two_ways,
        "correlation over heads {r:.2f}",
        {"over 0.7": lambda n: n["r"] > 0.7},
        "over the heads of both layers",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "O-42",
        "There is a previous-token head in the first layer.",
        "at least one",
        looks_one_back,
        "best head {best:.2f}",
        {"over 0.4": lambda n: n["best"] > 0.4},
        "measured on random tokens",
        needs=TWO,
        rests_on="draws",
    ),
    Claim(
        "O-43",
        "Same-matching, read from weights, agrees with prefix matching.",
        "used to find the heads",
        matching_two_ways,
        "correlation over second-layer heads {r:.2f}",
        {"over 0.7": lambda n: n["r"] > 0.7},
        "normalised by the sum of sizes, with the mean embedding taken off",
        needs=TWO,
        rests_on="draws",
    ),
)
