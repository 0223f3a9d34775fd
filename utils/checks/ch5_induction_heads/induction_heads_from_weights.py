"""Chapter 5, `induction_heads_from_weights`: judge, known mistakes and hints."""

import math
from functools import cache, partial

import torch
from torch import Tensor

from utils.checks import Check, Mistake, Wrong, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    decoy_model,
    induction_model,
    previous_token_model,
    random_model,
    with_weights,
)

__all__ = ["CHECK"]


def judge_induction_heads_from_weights(answer) -> None:
    answer = expect.weights_only(answer)
    cases = _detector_cases()
    # All answers first: a mistake is recognised by all of them together.
    results = [answer(*arguments) for arguments, _, _ in cases]
    for result, (_, wanted, words) in zip(results, cases, strict=True):
        _expect_heads(result, wanted, words)
    # No head is left out before its scores are looked at.
    wide = random_model(2, 5, d_vocab=40, d_head=5)
    shared.expect_small_eigenproblem(answer, wide, -2.0, -math.inf)


@cache
def _detector_cases() -> list[tuple]:
    """The arguments, the right list, and what the model is in words."""
    real = induction_model(9, 19)
    cases = [((real,), [(1, 2)], "an induction head")]
    for kind, words in DECOYS.items():
        cases.append(((decoy_model(kind, 9, 19), 0.5), [], words))
    faint = induction_model(9, 19, matching=0.1)
    words = "a head that looks for the match, but too faintly to find it"
    cases.append(((faint,), [], words))
    for weight, words in FLIPPED.items():
        changed = getattr(real, weight).clone()
        changed[1, 2] *= -1
        cases.append(((with_weights(real, {weight: changed}), 0.5), [], words))
    blind = real.W_Q.clone()
    blind[0] = 0.0
    words = "a first layer that attends to everything alike"
    cases.append(((with_weights(real, {"W_Q": blind}), 0.5), [], words))
    alone = previous_token_model({(0, 1): 1}, n_layers=1)
    words = "a model of one layer, whose head looks one back"
    cases.append(((alone, 0.5), [], words))
    return (
        cases
        + _bound_cases()
        + _cases_at_the_bound()
        + _random_detector_cases(random_model(3, 5, d_vocab=11, d_head=5))
        + _cases_next_to_a_gain(random_model(2, 1, d_vocab=8, n_heads=4, d_head=3))
    )


def _bound_cases() -> list[tuple]:
    """One head that matches between two bounds, and a bound of 0."""
    cases = []
    for n_ctx, matching in ((8, 0.1), (30, 0.1), (30, 0.2)):
        model = induction_model(7, n_ctx, matching=matching)
        gain = _match_gain(model, 1, 2, shared.previous_by_position(model))
        wanted = [(1, 2)] if gain > math.log(n_ctx) else []
        words = f"a match gain of {gain:.2f} nats among {n_ctx} keys"
        cases.append(((model,), wanted, words))
        cases.append(((model, 0.5, 0.0), [(1, 2)], f"{words} and a least gain of 0"))
    return cases


def _cases_at_the_bound() -> list[tuple]:
    """Numbers that are exactly at their bound, and so not above it."""
    # All other heads are zero: their scores and their gains are exactly 0.
    clean = induction_model(7, 19, noise=0.0)
    words = "an induction head among heads that are zero"
    cases = [((clean, 0.0, -1.0), [(1, 2)], f"{words} and a threshold of 0")]
    cases.append(((clean, -0.5, 0.0), [(1, 2)], f"{words} and a least gain of 0"))
    # Position 1 sees two positions, and gives exactly a half to each.
    short = induction_model(7, 2)
    blind = short.W_Q.clone()
    blind[0] = 0.0
    words = "a first layer that gives each of two positions exactly 0.5 and a threshold"
    blind = with_weights(short, {"W_Q": blind})
    cases.append(((blind, 0.5, -1.0), [], f"{words} of 0.5, which 0.5 is not above,"))
    cases.append(((blind, 0.4, -1.0), [(1, 2)], f"{words} of 0.4"))
    return cases


def _cases_next_to_a_gain(model) -> list[tuple]:
    """A least gain just below and just above each gain of heads without meaning."""
    lower, weights = (
        _lower_of_both_scores(model, (1,)),
        shared.previous_by_position(model),
    )
    low = min(*lower.values(), *weights) - 1
    gains = {place: _match_gain(model, *place, weights) for place in lower}
    cases = []
    for gain in gains.values():
        for least in (gain - 1e-3, gain + 1e-3):
            wanted = sorted(place for place, value in gains.items() if value > least)
            words = f"a random model of four heads, least gain {least:.3f}"
            cases.append(((model, low, least), wanted, words))
    return cases


def _random_detector_cases(model) -> list[tuple]:
    """Thresholds between the scores and between the gains of heads without meaning."""
    lower = _lower_of_both_scores(model)
    weights = shared.previous_by_position(model)
    gains = {place: _match_gain(model, *place, weights) for place in lower}
    low = min(*lower.values(), *weights) - 1
    cases = []
    for k in (0, 2, 4):
        threshold = _between(lower, k)
        wanted = sorted(place for place, value in lower.items() if value > threshold)
        if max(weights) <= threshold:
            wanted = []
        words = f"a random model of three layers, threshold {threshold:.2f}"
        cases.append(((model, threshold, min(gains.values()) - 1), wanted, words))
        least = _between(gains, k)
        wanted = sorted(place for place, value in gains.items() if value > least)
        words = f"a random model of three layers, least gain {least:.2f}"
        cases.append(((model, low, least), wanted, words))
    return cases


def _between(values: dict, k: int) -> float:
    ranked = sorted(values.values())
    return (ranked[k] + ranked[k + 1]) / 2


def _match_gain(model, layer: int, head: int, weights: list[float]) -> float:
    """Mean score of a token with itself, less that of two different ones."""
    table = (
        shared.raw_matching_table(model, layer, head, weights) / model.cfg.d_head**0.5
    )
    n = len(table)
    same = sum(table[i, i].item() for i in range(n)) / n
    other = [table[i, j].item() for i in range(n) for j in range(n) if i != j]
    return same - sum(other) / len(other)


FLIPPED = {
    "W_Q": "a head that avoids what matches",
    "W_O": "a head that lowers what it attends to",
}


DECOYS = {
    "duplicate": "a head that attends to earlier copies of its own token",
    "first": "a head that rests on the first token",
    "lag": "a head that looks a fixed distance back",
}


def _expect_heads(result, wanted: list[tuple[int, int]], words: str) -> None:
    try:
        found = [(int(layer), int(head)) for layer, head in result]
    except (TypeError, ValueError):
        raise Wrong(
            "The result should be a list of pairs (layer, head), and it may be empty."
        ) from None
    expect.true(
        found == wanted,
        f"With {words} the list should be {wanted}. Yours is {found}.",
    )


def _lower_of_both_scores(model, layers=(1, 2)) -> dict:
    """The smaller of the two scores of each head, from tables over all tokens."""
    lower = {}
    weights = shared.previous_by_position(model)
    for layer in layers:
        for head in range(model.cfg.n_heads):
            copies = _copy_table(model, layer, head)
            matches = shared.matching_table(model, layer, head, weights)
            scores = shared.eigenvalue_share(copies), shared.eigenvalue_share(matches)
            lower[layer, head] = min(scores)
    return lower


def _copy_table(model, layer: int, head: int) -> Tensor:
    """Logits [source token, token] when attending to one embedding only."""
    W_V, W_O = model.W_V[layer, head].double(), model.W_O[layer, head].double()
    rows = [vector @ W_V @ W_O @ model.W_U.double() for vector in model.W_E.double()]
    return torch.stack(rows)


def _listed(
    model, threshold, least, rule, needs_previous=True, gain=None
) -> list[tuple[int, int]]:
    """Heads for which rule(copying, matching) exceeds the threshold."""
    weights = torch.tensor(shared.previous_by_position(model)).float()
    if needs_previous and weights.max() <= threshold:
        return []
    least = math.log(model.cfg.n_ctx) if least is None else least
    W_OV, E = shared.moved(model, weights), shared.centred_embedding(model)
    found = []
    for layer in range(1, model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            copies = shared.share_of(_copy_table(model, layer, head))
            W_QK = shared.qk(model, layer, head)
            table = E @ W_QK @ W_OV.T @ E.T
            raw = model.W_E @ W_QK @ (model.W_E @ W_OV).T
            strong = (gain or _gain)(raw, model.cfg.d_head) > least
            if rule(copies, shared.share_of(table)) > threshold and strong:
                found.append((layer, head))
    return found


def _gain(scores, d_head, scale=True, others=True) -> float:
    scores = scores / d_head**0.5 if scale else scores
    n, same = len(scores), scores.diagonal().sum()
    return (same / n - others * (scores.sum() - same) / (n * n - n)).item()


def heads_without_previous(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, min, needs_previous=False)


def heads_by_either(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, max)


def heads_by_copying(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda copies, matches: copies)


def heads_by_matching(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda copies, matches: matches)


def heads_by_size(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: min(abs(a), abs(b)))


def heads_by_mean(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: (a + b) / 2)


def heads_of_last_layer(model, threshold=0.5, least_gain=None):
    found = _listed(model, threshold, least_gain, min)
    return [place for place in found if place[0] == model.cfg.n_layers - 1]


def heads_of_layer_1(model, threshold=0.5, least_gain=None):
    found = _listed(model, threshold, least_gain, min)
    return [place for place in found if place[0] == 1]


def _names_layer_1_alone(answer) -> bool:
    """Whether of three layers, all heads over their bounds, only layer 1 is named."""
    model = random_model(3, 5, d_vocab=11, d_head=5)
    found = [tuple(place) for place in answer(model, -2.0, -1e9)]
    return found == [(1, head) for head in range(model.cfg.n_heads)]


def heads_by_product(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: a * b)


def heads_without_gain(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, -math.inf, min)


def heads_by_unscaled_gain(model, threshold=0.5, least_gain=None):
    unscaled = partial(_gain, scale=False)
    return _listed(model, threshold, least_gain, min, gain=unscaled)


def heads_by_diagonal(model, threshold=0.5, least_gain=None):
    diagonal = partial(_gain, others=False)
    return _listed(model, threshold, least_gain, min, gain=diagonal)


CHECK = Check(
    name="induction_heads_from_weights",
    judge=judge_induction_heads_from_weights,
    hints=(
        "Four things have to be right at once: somebody looks one back, the head "
        "looks for what that one wrote, strongly enough, and it copies what it finds.",
        "For the first two you have functions. For copying take the "
        "eigenvalues of W_E W_V W_O W_U; the small product with the same ones is "
        "W_O W_U W_E W_V.",
        "Loop over layers from 1 and over heads. `small = W_O @ (model.W_U @ "
        "model.W_E) @ W_V`, `e = torch.linalg.eigvals(small.double())`, `copying = "
        "e.sum().real / e.abs().sum()`. For the gain: `scores = (model.W_E @ W_Q / "
        "d_head**0.5) @ (model.W_E @ W_OV @ W_K).T`, its diagonal's mean minus the "
        "mean of the rest. Keep (layer, head) if all exceed their bounds.",
    ),
    mistakes=(
        Mistake(
            "first layer not looked at",
            "You do not ask whether any first-layer head looks one back. Without one, "
            "the key holds no previous token, however well a head would match it.",
            heads_without_previous,
        ),
        Mistake(
            "either one",
            "One of the two scores is enough for you. A head that copies but does not "
            "look for the match is an ordinary copying head.",
            heads_by_either,
            swap=("min(copying.item(), matching)", "max(copying.item(), matching)"),
        ),
        Mistake(
            "copying only",
            "You look at copying only. Then duplicate-token heads, heads that rest on "
            "the first token and all other copiers are on your list.",
            heads_by_copying,
        ),
        Mistake(
            "matching only",
            "You look at matching only. A head may find the right token and then lower "
            "its logit.",
            heads_by_matching,
        ),
        Mistake(
            "absolute values",
            "You take the size of the scores. A score of -1 means the opposite: "
            "avoiding what matches, or lowering what is found.",
            heads_by_size,
        ),
        Mistake(
            "mean",
            "You average the two scores, so that a very high one makes up for a low "
            "one. Both have to exceed the threshold.",
            heads_by_mean,
        ),
        Mistake(
            "without the gain",
            "You ask what the head looks for and not how strongly. A faint match loses "
            "against the many other keys, and the head never finds it.",
            heads_without_gain,
        ),
        Mistake(
            "gain not scaled",
            "Your match gain is not divided by sqrt(d_head), as the scores that go "
            "into the softmax are.",
            heads_by_unscaled_gain,
            swap=(" / model.cfg.d_head**0.5", ""),
        ),
        Mistake(
            "diagonal only",
            "Your match gain is the mean of the diagonal alone. What all keys have in "
            "common moves no attention; take off the mean of the other entries.",
            heads_by_diagonal,
        ),
        Mistake(
            "last layer only",
            "You list heads of the last layer only. Every layer from 1 on can hold "
            "induction heads.",
            heads_of_last_layer,
        ),
        Mistake(
            "layer 1 only",
            "You list heads of layer 1 only. A model may have more layers, and every "
            "layer from 1 on can hold induction heads.",
            heads_of_layer_1,
            _names_layer_1_alone,
        ),
        Mistake(
            "product",
            "You multiply the two scores. Two negative ones would make a positive one, "
            "and each score has to exceed the threshold by itself.",
            heads_by_product,
        ),
    ),
    passed=(
        "Checked on hand-made models: it names the induction head, none of the "
        "impostors that copy as well but look elsewhere, none whose match is too "
        "faint, and nothing at all where no first-layer head looks one back. And on "
        "two random models, for thresholds and least gains on both sides of the scores."
    ),
)
