"""Chapter 5: the steps of its longer exercises."""

import math

import torch

from utils.checks import Step
from utils.checks.ch5_induction_heads.shared import built, expect_continued, rows
from utils.checks.partly import TOKENS, alike, causal, dense, losses, written
from utils.models.handmade import (
    decoy_model,
    induction_model,
    model_from_weights,
    orthonormal_rows,
    random_model,
    with_weights,
)

__all__ = ["STEPS"]


def _model(n_layers: int = 2):
    return random_model(n_layers, 8, scale=0.6)


def _begins_rows(answer) -> bool:
    found = torch.as_tensor(answer(20, 4, copies=3, batch=5))
    return tuple(found.shape) == (5, 13) and bool((found[:, 0] == 0).all())


def _draws_different(answer) -> bool:
    spans = torch.as_tensor(answer(6, 5, copies=1, batch=5))[:, 1:]
    return bool((spans.sort(1).values == torch.arange(1, 6)).all())


def _repeats(answer) -> bool:
    found = torch.as_tensor(answer(20, 4, copies=3, batch=5))[:, 1:]
    same = bool((found == found[:, :4].repeat(1, 3)).all())
    return same and not bool((found[0] == found[1]).all())


def _uniform(answer) -> bool:
    """Where every token costs the same, it does not matter which ones count."""
    model = with_weights(_model(), {"W_U": 0 * _model().W_U})
    return alike(answer(model, rows(13, 4, 2), 4), math.log(13))


def _counts_the_known(answer) -> bool:
    tokens = rows(13, 4, 2)
    return alike(
        answer(_model(), tokens, 4), losses(_model()(tokens), tokens)[:, 5:].mean()
    )


def _matches(copies: int):
    def holds(answer) -> bool:
        model, tokens = _model(), rows(13, 3, copies)
        length = tokens.shape[1]
        targets = torch.zeros(length, length)
        for i in range(4, length):
            for j in range(1, i + 1):
                targets[i, j] = tokens[0, j - 1] == tokens[0, i]
        cache = model.run_with_cache(tokens)[1]
        patterns = torch.stack([cache["pattern", layer] for layer in (0, 1)])
        sums = (patterns * targets).sum(-1)[..., 4:]
        return alike(answer(model, tokens), sums.mean((1, 3)))

    return holds


def _effect(flat: bool):
    """With `flat` no logit depends on centring."""

    def holds(answer) -> bool:
        model = _model()
        if flat:
            W_U = model.W_U - model.W_U.mean(1, keepdim=True)
            model = with_weights(model, {"W_U": W_U})
        logits = written(model, TOKENS, 1)[2] @ model.W_U
        logits = logits - logits.mean(-1, keepdim=True)
        true = logits[:, :-1].gather(-1, TOKENS[:, 1:, None])[..., 0]
        return alike(answer(model, TOKENS, 1, 2), true)

    return holds


def _recovers(told: float):
    """Told a multiple of its own pattern, a head of one layer writes that multiple."""

    def holds(answer) -> bool:
        model = _model(1)
        own = model.run_with_cache(TOKENS)[1]["pattern", 0][:, 1]
        logits, part = model(TOKENS), written(model, TOKENS, 0)[1] @ model.W_U
        as_is, as_told, without = (
            losses(logits - less * part, TOKENS).mean() for less in (0, 1 - told, 1)
        )
        found = answer(model, TOKENS, {(0, 1): told * own})
        return alike(found, (without - as_told) / (without - as_is))

    return holds


def _cuts(edge: str):
    """The last layer's head 1.2 no longer sees 0.1 through one input."""

    def holds(answer) -> bool:
        model = _model()
        cache = model.run_with_cache(TOKENS)[1]
        whole, place = cache["resid_pre", 1], model.W_pos[:5]
        less = whole - written(model, TOKENS, 0)[1]
        q, k, v = (less if edge == name else whole for name in "qkv")
        scores = (q + place) @ model.W_Q[1, 2] @ ((k + place) @ model.W_K[1, 2]).mT
        pattern = causal(scores / model.cfg.d_head**0.5)
        now = pattern @ v @ model.W_V[1, 2] @ model.W_O[1, 2]
        change = now - written(model, TOKENS, 1)[2]
        logits = model(TOKENS) + change @ model.W_U
        return alike(answer(model, TOKENS, (0, 1), (1, 2), edge), logits)

    return holds


def _near_one(found) -> bool:
    return abs(float(found) - 1) < 0.05


def _looks_back(answer) -> bool:
    W_E, W_pos, W_prev = _rows()
    W_QK = dense(answer(W_E, W_pos, W_prev)[0])
    stream = (W_E[[0, 3, 1, 4, 4, 2]] + W_pos[:6]).double()
    pattern = causal(stream @ W_QK @ stream.T)
    return bool((pattern.diagonal(-1) > 0.98).all())


def _rows():
    return orthonormal_rows(19, 20, 1).float().split([6, 7, 6])


def _moves_tokens(answer) -> bool:
    W_E, W_pos, W_prev = _rows()
    return alike(W_E.double() @ dense(answer(W_E, W_pos, W_prev)[1]), W_prev)


def _stream():
    """The stream of a row in which token 2 comes again, and its two matrices."""
    W_E, W_prev = orthonormal_rows(12, 20, 1).float().split(6)
    now, before = [0, 2, 5, 3, 2, 4], [0, 0, 2, 5, 3, 2]
    return (W_E[now] + W_prev[before]).double(), W_E, W_prev


def _attends(i: int, j: int):
    def holds(answer) -> bool:
        stream, W_E, W_prev = _stream()
        W_QK = dense(answer(W_E, W_prev)[0])
        return bool(causal(stream @ W_QK @ stream.T)[i, j] > 0.98)

    return holds


def _copies(answer) -> bool:
    stream, W_E, W_prev = _stream()
    wanted = 10 * W_E[[0, 2, 5, 3, 2, 4]]
    wanted[0] = 0
    return alike(stream @ dense(answer(W_E, W_prev)[1]), wanted)


def _raises(constant: float, lowers: bool):
    """A head of known logits; perhaps with a constant on all, and some lowered."""
    raised = torch.tensor([[3.0, 1.0, 2.0], [1.0, 2.0, 1.0], [2.0, 1.0, 1.0]])
    if lowers:
        raised = raised * torch.tensor([[1.0, -1, 1], [1, 1, -1], [1, 1, -1]])

    def holds(answer) -> bool:
        eye = torch.eye(8)
        W_O = torch.zeros(8, 8)
        W_O[1:4, 1:4] = raised
        W_O[1:4, 4:] = -raised.sum(1, keepdim=True) / 4
        weights = {"W_E": eye, "W_pos": 0 * eye, "W_U": eye}
        weights |= {name: eye[None, None] for name in ("W_Q", "W_K", "W_V")}
        weights["W_O"] = (W_O + constant)[None, None]
        found = answer(model_from_weights(weights), torch.tensor([[0, 1, 2, 3]]), 0, 0)
        above = raised.clamp(min=0)
        return alike(found, above.diagonal().sum() / above.sum())

    return holds


def _one_back(n_ctx: int, d_head: int):
    """With two positions the mask hides nothing; with d_head 1 the scale is 1."""

    def holds(answer) -> bool:
        model = random_model(1, 3, n_ctx=n_ctx, d_head=d_head)
        scores = model.W_pos @ model.W_Q[0] @ (model.W_pos @ model.W_K[0]).mT
        pattern = causal(scores / d_head**0.5)
        return alike(answer(model), pattern.diagonal(-1, 1, 2).mean(1))

    return holds


def _built(answer, positions: str):
    """The model an answer builds, on repeats of 5 tokens: tokens, logits, cache."""
    model, tokens = built(answer(11, 25), 11, 25, positions), rows(11, 5, 2)
    return tokens, *model.run_with_cache(tokens)


def _fits(positions: str):
    return lambda answer: _built(answer, positions) is not None


def _looks(positions: str, layer: int, further: int, least: float):
    """Some head of a layer looks this far on from the earlier copy of each token."""

    def holds(answer) -> bool:
        pattern = _built(answer, positions)[2]["pattern", layer]
        shares = pattern[:, :, range(6, 10), range(1 + further, 5 + further)]
        return bool((shares.amin((0, 2)) > least).any())

    return holds


def _looks_one_back(answer) -> bool:
    pattern = _built(answer, "qk")[2]["pattern", 0]
    return bool((pattern.diagonal(-1, 2, 3).amin((0, 2)) > 0.5).any())


def _continues(positions: str):
    def holds(answer) -> bool:
        tokens, logits, _ = _built(answer, positions)
        expect_continued(logits, tokens, 5, least=0.5)
        return True

    return holds


STEPS = {
    "repeated_tokens": (
        Step("rows that begin with the start token", _begins_rows),
        Step("different tokens in a span", _draws_different),
        Step("the span repeated, another in each row", _repeats),
    ),
    "repeat_loss": (
        Step("the mean loss", _uniform),
        Step("of what could be known", _counts_the_known),
    ),
    "prefix_matching_score": (
        Step("one position to point at", _matches(2)),
        Step("several of them added up", _matches(3)),
    ),
    "logit_effect": (
        Step("the head's own logits of the next token", _effect(True)),
        Step("without the mean of all logits", _effect(False)),
    ),
    "ideal_pattern_recovery": (
        Step("1 for the real pattern", _recovers(1.0)),
        Step("0 for no pattern", _recovers(0.0)),
        Step("what lies between", _recovers(0.4)),
    ),
    "ablate_edge": (
        Step("the values", _cuts("v")),
        Step("the queries", _cuts("q")),
        Step("the keys", _cuts("k")),
    ),
    "same_matching_score": (
        Step(
            "through one first-layer head",
            lambda answer: _near_one(answer(induction_model(), 1, 2, prev_head=1)),
        ),
        Step(
            "through all, weighted",
            lambda answer: (
                _near_one(answer(induction_model(), 1, 2))
                and abs(float(answer(decoy_model("duplicate"), 1, 2))) < 0.5
            ),
        ),
    ),
    "induction_heads_from_weights": (
        Step(
            "the head that does it",
            lambda answer: list(answer(induction_model())) == [(1, 2)],
        ),
        Step(
            "none that looks elsewhere",
            lambda answer: not answer(decoy_model("duplicate")),
        ),
        Step(
            "none that is too faint",
            lambda answer: not answer(induction_model(matching=0.1)),
        ),
    ),
    "build_previous_token_head": (
        Step("W_QK looks one back", _looks_back),
        Step("W_OV moves the token", _moves_tokens),
    ),
    "build_matching_head": (
        Step("the match", _attends(4, 2)),
        Step("where to rest", _attends(3, 0)),
        Step("what is moved", _copies),
    ),
    "copying_head_score": (
        Step("the share of a token's own logit", _raises(0.0, False)),
        Step("without the mean of all logits", _raises(2.0, False)),
        Step("without what is lowered", _raises(2.0, True)),
    ),
    "previous_token_weights": (
        Step("scores of positions, through a softmax", _one_back(2, 1)),
        Step("the scale", _one_back(2, 4)),
        Step("the mask, and all positions", _one_back(7, 4)),
    ),
    "build_induction_model": (
        Step("weights that fit together", _fits("qk")),
        Step("layer 0 looks one back", _looks_one_back),
        Step("layer 1 looks behind the match", _looks("qk", 1, 1, 0.5)),
        Step("the right token is the likeliest", _continues("qk")),
    ),
    "build_pointer_model": (
        Step("weights that fit together", _fits("stream")),
        Step("layer 0 finds earlier copies", _looks("stream", 0, 0, 0.3)),
        Step("layer 1 looks one further on", _looks("stream", 1, 1, 0.5)),
        Step("the right token is the likeliest", _continues("stream")),
    ),
}
