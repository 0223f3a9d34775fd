"""Chapter 3: the steps of its longer exercises."""

import torch

from utils.checks import Step
from utils.checks.partly import (
    TOKENS,
    alike,
    causal,
    centred,
    dense,
    ranks,
    up_to_factor,
    written,
)
from utils.models.handmade import model_from_weights, random_model, with_weights

__all__ = ["STEPS"]


def _model():
    return random_model(1, 6)


def _ov(model):
    return model.W_E @ model.W_V[0, 1] @ model.W_O[0, 1] @ model.W_U


def _qk(model):
    return model.W_E @ model.W_Q[0, 1] @ model.W_K[0, 1].T @ model.W_E.T


def _frozen(uses_pattern: bool):
    def holds(answer) -> bool:
        model = _model()
        logits, cache = model.run_with_cache(TOKENS)
        one_hot = torch.nn.functional.one_hot(TOKENS, 13).float()
        pattern = cache["pattern", 0]
        if not uses_pattern:
            pattern, logits = 0 * pattern, model.W_E[TOKENS] @ model.W_U
        return alike(answer(model, one_hot, pattern), logits)

    return holds


def _paths(answer) -> bool:
    model = _model()
    direct = model.W_E[TOKENS][None]
    return alike(
        answer(model, TOKENS),
        torch.cat([direct, written(model, TOKENS, 0)]) @ model.W_U,
    )


def _places():
    model = _model()
    read = model.W_pos[:5]
    scores = (read @ model.W_Q[0, 1]) @ (read @ model.W_K[0, 1]).T
    return causal(scores / model.cfg.d_head**0.5)


def _hides_the_future(answer) -> bool:
    found = dense(answer(_model(), 0, 1, 5))
    later = torch.ones(5, 5).triu(1).bool()
    return bool(((found[later] == 0) | (found[later] == -torch.inf)).all())


def _trigrams(part: int):
    def holds(answer) -> bool:
        model = _model()
        wanted = (_qk(model) - _qk(model).mean(1, keepdim=True))[:, 6]
        best = (wanted, _ov(model)[6])[part].topk(3).indices
        return alike(answer(model, 0, 1, 6, 3)[part], best)

    return holds


FREQUENCIES = torch.arange(1.0, 14.0) / 91


def _lift(view):
    def holds(answer) -> bool:
        scores = _qk(_model())[6] / _model().cfg.d_head ** 0.5
        lift = scores - (FREQUENCIES * scores.exp()).sum().log()
        return alike(answer(_model(), 0, 1, 6, FREQUENCIES), lift, view)

    return holds


def _effect(row: list[int], without: list[int]):
    def holds(answer) -> bool:
        before, after = (
            _model()(torch.tensor([ids])).log_softmax(-1)[0, 4, 8]
            for ids in (row, without)
        )
        found = answer(_model(), torch.tensor([row]), torch.tensor([4]), 6, 8, 1)
        return alike(found, (before - after)[None])

    return holds


def _factors():
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(9, 3, generator=generator)
    return a, torch.randn(3, 7, generator=generator)


def _orthonormal(answer) -> bool:
    U, _, V = map(dense, answer(*_factors()))
    shapes = (tuple(U.shape), tuple(V.shape)) == ((9, 3), (7, 3))
    return shapes and all(alike(x.T @ x, torch.eye(3)) for x in (U, V))


def _multiplies_to_the_product(answer) -> bool:
    a, b = _factors()
    U, S, V = map(dense, answer(a, b))
    return alike(U @ S.diag() @ V.T, a @ b)


def _score(is_centred: bool):
    def holds(answer) -> bool:
        matrix = _ov(_model())
        if is_centred:
            matrix = matrix - matrix.mean(1, keepdim=True)
        values = torch.linalg.eigvals(matrix.double())
        chosen = {"centred": True} if is_centred else {}
        found = answer(_model(), 0, 1, **chosen)
        return alike(found, values.sum().real / values.abs().sum())

    return holds


def _silent(answer) -> bool:
    model = with_weights(_model(), {"W_O": 0 * _model().W_O})
    return float(answer(model, 0, 1)) == 0


def _eigenvalues(answer) -> bool:
    found = torch.as_tensor(answer(_model(), 0, 1)).abs()
    true = torch.linalg.eigvals(_ov(_model()).double()).abs()
    return alike(found.sort().values, true.sort().values[-4:])


def _change(view):
    def holds(answer) -> bool:
        base = TOKENS.clone()
        base[:, -1] = 5
        changed = base.clone()
        changed[:, 2] = 6
        change = (_model()(changed) - _model()(base))[:, -1].mean(0)
        change = change - change.mean()
        found = answer(_model(), TOKENS, 6, [5], list(range(13)))
        return alike(found, change[None], view)

    return holds


def _one_head(W_O):
    """A head that reads each token's own dimension, writes W_O and is read as is."""
    eye = torch.eye(len(W_O))
    weights = {name: eye for name in ("W_E", "W_pos", "W_U")}
    weights |= {name: eye[None, None] for name in ("W_Q", "W_K", "W_V")}
    return model_from_weights(weights | {"W_O": W_O[None, None]})


def _copies_or_moves_on(answer) -> bool:
    eye = torch.eye(5)
    found = [answer(_one_head(W_O), 0, 0) for W_O in (eye, eye.roll(1, 1))]
    return [float(share) for share in found] == [1.0, 0.0]


def _against_its_row(answer) -> bool:
    """Two of five tokens raise themselves most; by column it would be three."""
    W_O = torch.eye(5)
    W_O[1, 2], W_O[3, 2], W_O[4, 2] = 0.5, 3.0, 4.0
    W_O[0, 1] = W_O[1, 1] + 1
    return alike(answer(_one_head(W_O), 0, 0), 0.4)


def _share(of_queries: bool):
    """Scores that all texts have alike, but perhaps for a constant of each query."""
    tokens = torch.tensor([[0, 4, 7, 2, 9], [0, 1, 6, 8, 3], [0, 5, 5, 1, 2]])

    def holds(answer) -> bool:
        # Dimension 0 holds the token, 1 is 1 everywhere, the others hold the position.
        draw = torch.Generator().manual_seed(0)
        W_E, W_pos = torch.zeros(10, 6), torch.randn(5, 6, generator=draw)
        W_E[:, 0] = torch.arange(10.0) * of_queries
        W_pos[:, 0], W_pos[:, 1] = 0, 1
        W_Q, W_K = torch.eye(6), torch.eye(6)
        W_Q[1] = W_K[0] = 0
        W_K[1] = torch.eye(6)[0]  # the query's token meets what all keys have
        weights = {"W_E": W_E, "W_pos": W_pos, "W_U": W_E.T}
        heads = {"W_Q": W_Q, "W_K": W_K, "W_V": W_Q, "W_O": W_Q}
        weights |= {name: matrix[None, None] for name, matrix in heads.items()}
        alike_in_all = answer(model_from_weights(weights), tokens, 0, 0)
        return alike(alike_in_all, 1.0) and float(answer(_model(), TOKENS, 0, 1)) < 0.99

    return holds


def _share_by_hand(answer) -> bool:
    model = _model()
    read = model.W_E[TOKENS] + model.W_pos[:5]
    scores = (read @ model.W_Q[0, 1]) @ (read @ model.W_K[0, 1]).mT
    shared = whole = 0.0
    for query in range(1, 5):
        seen = scores[:, query, 1 : query + 1]
        seen = seen - seen.mean(1, keepdim=True)
        shared += 2 * seen.mean(0).pow(2).sum()
        whole += seen.pow(2).sum()
    return alike(answer(model, TOKENS, 0, 1), shared / whole)


STEPS = {
    "frozen_pattern_logits": (
        Step("the direct path", _frozen(False)),
        Step("what the heads add", _frozen(True)),
    ),
    "one_layer_path_terms": (
        Step(
            "the direct path",
            lambda answer: alike(
                answer(_model(), TOKENS)[0], _model().W_E[TOKENS] @ _model().W_U
            ),
        ),
        Step("a path through each head", _paths),
    ),
    "positional_pattern": (
        Step(
            "the scores of positions",
            lambda answer: alike(
                dense(answer(_model(), 0, 1, 5))[-1], _places()[-1], ranks
            ),
        ),
        Step("the mask", _hides_the_future),
        Step(
            "the scaled softmax",
            lambda answer: alike(answer(_model(), 0, 1, 5), _places()),
        ),
    ),
    "top_skip_trigrams": (
        Step("the outputs", _trigrams(1)),
        Step("the destinations", _trigrams(0)),
    ),
    "circuit_lift": (
        Step("the scores of one query", _lift(lambda x: up_to_factor(centred(x)))),
        Step("their scale", _lift(centred)),
        Step("measured against an even share", _lift(lambda x: x)),
    ),
    "source_token_effect": (
        Step(
            "nothing without the source",
            lambda answer: (
                _effect([0, 2, 3, 4, 5], [0, 2, 3, 4, 5])(answer)
                and not _effect([0, 6, 3, 4, 5], [0, 6, 3, 4, 5])(answer)
            ),
        ),
        Step("one source", _effect([0, 6, 3, 4, 5], [0, 1, 3, 4, 5])),
        Step(
            "every source before the destination",
            _effect([0, 6, 6, 4, 6], [0, 1, 1, 4, 6]),
        ),
    ),
    "svd_of_product": (
        Step(
            "the singular values",
            lambda answer: alike(
                answer(*_factors())[1],
                torch.linalg.svdvals(_factors()[0] @ _factors()[1])[:3],
            ),
        ),
        Step("orthonormal columns", _orthonormal),
        Step("the product", _multiplies_to_the_product),
    ),
    "ov_eigenvalues": (
        Step(
            "a small matrix",
            lambda answer: tuple(answer(_model(), 0, 1).shape) == (4,),
        ),
        Step("its eigenvalues", _eigenvalues),
    ),
    "copying_score": (
        Step("the raw score", _score(False)),
        Step("the centred score", _score(True)),
        Step("a head that writes nothing", _silent),
    ),
    "skip_trigram_lift": (
        Step("the change between two runs", _change(centred)),
        Step("without its mean over the vocabulary", _change(lambda x: x)),
    ),
    "positional_share": (
        Step("1 where all texts have the same scores", _share(False)),
        Step("each query centred by itself", _share(True)),
        Step("only keys it sees, without the start token", _share_by_hand),
    ),
    "copying_top1": (
        Step("1 for copying, 0 for moving on", _copies_or_moves_on),
        Step("each row by its largest entry", _against_its_row),
    ),
}
