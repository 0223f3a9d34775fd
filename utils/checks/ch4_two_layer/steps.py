"""Chapter 4: the steps of its longer exercises."""

import functools
import math

import torch
from transformer_lens import FactoredMatrix

from utils.checks import Step
from utils.checks.partly import (
    TOKENS,
    alike,
    dense,
    losses,
    up_to_factor,
    without_head,
    written,
)
from utils.models.handmade import random_model, with_weights

__all__ = ["STEPS"]


def _model(n_layers: int = 2):
    return random_model(n_layers, 7, scale=0.6)


@functools.cache
def _cache():
    return _model().run_with_cache(TOKENS)[1]


def _through(layer: int, vectors):
    """What vectors [..., batch, pos, d_model] become in each head, [head, ...]."""
    model, pattern = _model(), _cache()["pattern", layer].transpose(0, 1)
    return pattern @ vectors @ (model.W_V[layer] @ model.W_O[layer])[:, None]


def _path_terms(first: int, last: int):
    def holds(answer) -> bool:
        model = _model()
        embed = model.W_E[TOKENS]
        one = _through(0, embed)
        both = [_through(1, term) for term in one]
        terms = torch.cat([embed[None], one, _through(1, embed), *both]) @ model.W_U
        return alike(answer(model, TOKENS)[first:last], terms[first:last])

    return holds


def _pattern_of_two(answer) -> bool:
    patterns = [_cache()["pattern", layer][:, layer + 1] for layer in (0, 1)]
    found = answer(_model(), TOKENS, (0, 1), (1, 2))[0]
    return alike(found, patterns[1] @ patterns[0])


def _ov_of_two(answer) -> bool:
    model = _model()
    one, two = (model.W_V[i, i + 1] @ model.W_O[i, i + 1] for i in (0, 1))
    return alike(answer(model, TOKENS, (0, 1), (1, 2))[1], one @ two)


def _parts():
    model = _model()
    embed = model.W_E[TOKENS]
    place = model.W_pos[:5].expand_as(embed)
    parts = torch.cat([torch.stack([embed, place]), written(model, TOKENS, 0)])
    scores = (parts @ model.W_Q[1, 2])[:, None] @ (parts @ model.W_K[1, 2])[None].mT
    return scores / model.cfg.d_head**0.5


def _score_terms(view, places=()):
    def holds(answer) -> bool:
        found = dense(answer(_model(), TOKENS, 2))
        return alike(found[places], _parts()[places], view)

    return holds


def _heads(size: float):
    model = _model()
    one = FactoredMatrix(model.W_V[0, 1], model.W_O[0, 1])
    two = FactoredMatrix(model.W_Q[1, 2], model.W_K[1, 2].T)
    return [
        FactoredMatrix(h.A * size / h.AB.norm(), h.B) if size else h for h in (one, two)
    ]


def _composes(size: float):
    def holds(answer) -> bool:
        one, two = (h.AB for h in _heads(size))
        return alike(
            answer(*_heads(size)), (one @ two).norm() / one.norm() / two.norm()
        )

    return holds


def _zero_composes(answer) -> bool:
    one, _ = _heads(1.0)
    return float(answer(one, FactoredMatrix(0 * one.A, one.B))) == 0


def _pairs(kind: str):
    def holds(answer) -> bool:
        model = _model()
        writes = (model.W_V[0] @ model.W_O[0])[:, None]
        qk, ov = model.W_Q[1] @ model.W_K[1].mT, model.W_V[1] @ model.W_O[1]
        reads = {"q": qk, "k": qk.mT, "v": ov, "cycle": qk}[kind][None]
        sizes = writes.norm(dim=(-2, -1)) * reads.norm(dim=(-2, -1))
        product = writes @ reads
        if kind == "cycle":  # W_K W_O W_V W_Q^T of the paper, transposed
            inner = (model.W_O[0] @ model.W_K[1][:, None]).transpose(0, 1)
            outer = (model.W_Q[1][:, None].mT @ model.W_V[0]).transpose(0, 1)
            product = outer @ inner
        return alike(answer(model), product.norm(dim=(-2, -1)) / sizes)

    return holds


def _steps_of_composition(kind: str) -> tuple[Step, ...]:
    return (
        Step("the scores of all pairs", _pairs(kind)),
        Step(
            "0 between other layers",
            lambda answer: (
                alike(answer(_model(), 1, 0), torch.zeros(3, 3))
                and alike(answer(_model(), 1, 1), torch.zeros(3, 3))
            ),
        ),
    )


def _scores_random_heads(answer) -> bool:
    """About 1 / sqrt(d_model), and not all alike."""
    found = dense(answer(16, 4, 60))
    return bool((found.mean() - 0.25).abs() < 0.02 and 0.003 < found.std() < 0.1)


def _keeps_to_the_seed(answer) -> bool:
    one, again, two = (dense(answer(9, 3, 5, seed=seed)) for seed in (1, 1, 2))
    return torch.equal(one, again) and not torch.equal(one, two)


def _loss(logits) -> float:
    return losses(logits, TOKENS).mean().item()


def _importance(n_layers: int, orders: int):
    """Orders from 0 on: the last of all together, as the model's own loss tells."""

    def holds(answer) -> bool:
        model = _model(n_layers)
        direct = _loss(model.W_E[TOKENS] @ model.W_U)
        steps = [math.log(13), direct, _loss(model(TOKENS))]
        found = dense(answer(model, TOKENS))
        if orders == 1:
            return alike(found[0], steps[0] - steps[1])
        whole = alike(found[1:].sum(), steps[1] - steps[2])
        return whole and len(found) == n_layers + 1

    return holds


def _marginal(given: list):
    """In one layer, taking a head away changes nothing but its own path."""

    def holds(answer) -> bool:
        model = _model(1)
        kept = torch.zeros_like(model.W_O)
        for layer, head in given:
            kept[layer, head] = model.W_O[layer, head]
        before = _loss(with_weights(model, {"W_O": kept})(TOKENS))
        heads = [(0, h) for h in range(3)]
        found = (
            answer(model, TOKENS, heads, given)
            if given
            else answer(model, TOKENS, heads)
        )
        return alike(found, before - _loss(model(TOKENS)))

    return holds


def _keeps_patterns(answer) -> bool:
    model = _model()
    stream = model.W_E[TOKENS] + written(model, TOKENS, 0)[[0, 2]].sum(0)
    logits = (stream + _through(1, stream).sum(0)) @ model.W_U
    return alike(answer(model, TOKENS, [(0, 1)]), logits)


def _weighs(same_values: bool):
    """With one embedding for all tokens all values have one size."""

    def holds(answer) -> bool:
        model = _model(1)
        if same_values:
            model = with_weights(model, {"W_E": model.W_E[:1].expand_as(model.W_E)})
        pattern = model.run_with_cache(TOKENS)[1]["pattern", 0][:, 1]
        sizes = (model.W_E[TOKENS] @ model.W_V[0, 1]).norm(dim=-1)
        view = up_to_factor if same_values else (lambda x: x)
        found = answer(model, TOKENS, 0, 1)
        return alike(found, pattern * sizes[:, None, :], view)

    return holds


STEPS = {
    "two_layer_path_terms": (
        Step("the direct path", _path_terms(0, 1)),
        Step("paths through one head", _path_terms(0, 7)),
        Step("paths through two", _path_terms(0, 99)),
    ),
    "virtual_head": (
        Step("the pattern of both", _pattern_of_two),
        Step("the OV matrix of both", _ov_of_two),
    ),
    "score_path_terms": (
        Step(
            "embedding with embedding, but for a factor",
            _score_terms(up_to_factor, (0, 0)),
        ),
        Step("all parts with all", _score_terms(up_to_factor)),
        Step("the scale", _score_terms(lambda x: x)),
    ),
    "composition_score": (
        Step("the norm of the product", _composes(1.0)),
        Step("divided by both norms", _composes(0.0)),
        Step("0 where one is 0", _zero_composes),
    ),
    "q_composition": _steps_of_composition("q"),
    "k_composition": _steps_of_composition("k"),
    "v_composition": _steps_of_composition("v"),
    "cyclic_composition_score": _steps_of_composition("cycle"),
    "random_composition": (
        Step(
            "one number for each sample",
            lambda answer: tuple(answer(9, 3, 5).shape) == (5,),
        ),
        Step("scores of random heads", _scores_random_heads),
        Step("the seed", _keeps_to_the_seed),
    ),
    "term_importance": (
        Step("the direct path", _importance(1, 1)),
        Step("paths through one head", _importance(1, 2)),
        Step("paths through more", _importance(2, 3)),
    ),
    "marginal_effect": (
        Step("heads by themselves", _marginal([])),
        Step("when others are there", _marginal([(0, 1)])),
    ),
    "pattern_preserving_ablation": (
        Step(
            "no head left out",
            lambda answer: alike(answer(_model(), TOKENS, []), _model()(TOKENS)),
        ),
        Step(
            "a head of the last layer",
            lambda answer: alike(
                answer(_model(), TOKENS, [(1, 0)]),
                with_weights(_model(), without_head(_model(), 1, 0))(TOKENS),
            ),
        ),
        Step("an earlier head, while patterns stay", _keeps_patterns),
    ),
    "value_weighted_pattern": (
        Step("the pattern, where all values have one size", _weighs(True)),
        Step("times the size of each key's value", _weighs(False)),
    ),
}
