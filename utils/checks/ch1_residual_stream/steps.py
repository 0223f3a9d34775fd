"""Chapter 1: the steps of its longer exercises."""

import torch

from utils.checks import Step
from utils.checks.partly import TOKENS, alike, dense, up_to_factor, written
from utils.models.handmade import orthonormal_rows, random_model, with_weights

__all__ = ["STEPS"]


def _model():
    return random_model(2, 2)


def _components(answer) -> bool:
    model = _model()
    heads = [written(model, TOKENS, layer) for layer in range(2)]
    return alike(answer(model, TOKENS), torch.cat([model.W_E[TOKENS][None], *heads]))


def _next_logits(logits):
    return logits[:, :-1].gather(-1, TOKENS[:, 1:, None])[..., 0]


def _raw(answer) -> bool:
    found = dense(answer(_model(), TOKENS, centred=False)).sum(0)
    return alike(found, _next_logits(_model()(TOKENS)))


def _centred(answer) -> bool:
    logits = _model()(TOKENS)
    logits = logits - logits.mean(-1, keepdim=True)
    return alike(dense(answer(_model(), TOKENS)).sum(0), _next_logits(logits))


def _scores():
    model = _model()
    read = model.run_with_cache(TOKENS)[1]["resid_pre", 1] + model.W_pos[:5]
    scores = (read @ model.W_Q[1, 2]) @ (read @ model.W_K[1, 2]).mT
    return scores / model.cfg.d_head**0.5


def _rotates(*names):
    def holds(answer) -> bool:
        model, turn = _model(), orthonormal_rows(10, 10, 3).float()
        found = answer(model, turn)
        return all(
            alike(
                found[name],
                getattr(model, name) @ turn
                if name in ("W_E", "W_pos", "W_O")
                else turn.T @ getattr(model, name),
            )
            for name in names
        )

    return holds


def _pair(pair, one, two):
    def holds(answer) -> bool:
        model, change = _model(), torch.eye(4) + torch.ones(4, 4).triu(1)
        A, B = (getattr(model, name)[1, 2] for name in (one, two))
        new_A, new_B = map(dense, answer(model, 1, 2, change, pair=pair))
        turn = (lambda x: x.mT) if pair == "qk" else (lambda x: x)
        return alike(new_A, A @ change) and alike(new_A @ turn(new_B), A @ turn(B))

    return holds


PATTERN = torch.tensor([[1.0, 0.0, 0.0], [0.3, 0.7, 0.0], [0.2, 0.3, 0.5]])
OV = torch.tensor([[0.0, 4.0], [2.0, 1.0]])


def _interferes_by_hand(answer) -> bool:
    rows = torch.tensor([[2.0, 0.0], [1.0, 3.0**0.5], [0.0, 5.0]])
    return alike(answer(rows), ((0.25 + 0.75 + 0.0) / 3) ** 0.5)


def _ignores_lengths(answer) -> bool:
    return alike(answer(torch.tensor([[1.0, 2.0], [3.0, 6.0]])), 1.0)


def _joins(same_reader: bool):
    """With one reader for all, it does not matter which input is asked for."""

    def holds(answer) -> bool:
        model = _model()
        if same_reader:
            model = with_weights(model, {"W_Q": model.W_K, "W_V": model.W_K})
        first = model.W_V[0, 2] @ model.W_O[0, 2]
        return all(
            alike(answer(model, (0, 2), (1, 0), name), first @ reader[1, 0])
            for name, reader in zip(
                "qkv", (model.W_Q, model.W_K, model.W_V), strict=True
            )
        )

    return holds


STEPS = {
    "decompose_residual": (
        Step(
            "the embedding",
            lambda answer: alike(answer(_model(), TOKENS)[0], _model().W_E[TOKENS]),
        ),
        Step("what each head adds, in order", _components),
    ),
    "logit_attribution": (
        Step("raw contributions to the next token's logit", _raw),
        Step("centred ones", _centred),
    ),
    "scores_from_qk": (
        Step(
            "the scores but for a factor",
            lambda answer: alike(
                answer(_model(), TOKENS, 1, 2), _scores(), up_to_factor
            ),
        ),
        Step(
            "the scale",
            lambda answer: alike(answer(_model(), TOKENS, 1, 2), _scores()),
        ),
    ),
    "rotate_basis": (
        Step("what writes to the stream", _rotates("W_E", "W_pos", "W_O")),
        Step("what reads from it", _rotates("W_Q", "W_K", "W_V", "W_U")),
    ),
    "reparametrise_head": (
        Step("W_V and W_O", _pair("ov", "W_V", "W_O")),
        Step("W_Q and W_K", _pair("qk", "W_Q", "W_K")),
    ),
    "head_as_tensor_product": (
        Step(
            "across positions",
            lambda answer: alike(
                answer(PATTERN, torch.eye(2)), torch.kron(PATTERN, torch.eye(2))
            ),
        ),
        Step(
            "within each vector",
            lambda answer: alike(
                answer(PATTERN, OV), torch.kron(PATTERN, OV.T.contiguous())
            ),
        ),
    ),
    "feature_interference": (
        Step("lengths do not count", _ignores_lengths),
        Step(
            "pairs of different rows",
            lambda answer: abs(float(answer(torch.eye(3)))) < 1e-5,
        ),
        Step("the root of the mean square", _interferes_by_hand),
    ),
    "virtual_weight": (
        Step("through the earlier head into the later one", _joins(True)),
        Step("by the input that is asked for", _joins(False)),
    ),
}
