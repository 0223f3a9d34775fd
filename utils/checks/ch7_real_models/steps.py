"""Chapter 7: the steps of its longer exercises."""

import torch

from utils.checks import Step
from utils.checks.ch7_real_models import shared
from utils.checks.partly import TOKENS, alike, dense
from utils.models.handmade import random_model
from utils.models.real import weights_of

__all__ = ["STEPS"]


def _folds_weights(answer) -> bool:
    weights = shared.made_up(1)
    folded = answer(shared.copied(weights), centre=False)
    queries = weights["ln1_w"][:, None, :, None] * weights["W_Q"]
    logits = weights["ln_final_w"][:, None] * weights["W_U"]
    return alike(folded["W_Q"], queries) and alike(folded["W_U"], logits)


def _folds_biases(answer) -> bool:
    weights = shared.made_up(1)
    folded = answer(shared.copied(weights), centre=False)
    added = (weights["ln1_b"][:, None, :, None] * weights["W_Q"]).sum(-2)
    more = (weights["ln_final_b"][:, None] * weights["W_U"]).sum(-2)
    return alike(folded["b_Q"], weights["b_Q"] + added) and alike(
        folded["b_U"], weights["b_U"] + more
    )


def _centres(answer) -> bool:
    folded = answer(shared.made_up(1))
    means = (folded["W_E"].mean(-1), folded["W_O"].mean(-1), folded["W_Q"].mean(-2))
    return all(alike(mean, 0 * mean) for mean in means)


def _terms(answer):
    """The answer's terms in layer 0, and the same written down, bias last."""
    model = shared.bridge("gpt2", 2, 3, 3)
    weights, (_, cache) = weights_of(model), model.run_with_cache(TOKENS)
    z = cache["z", 0].permute(2, 0, 1, 3)
    embed, heads = cache["resid_pre", 0], z @ weights["W_O"][0][:, None]
    parts = [embed[None], heads, weights["b_O"][0].expand_as(embed)[None]]
    scale = cache["blocks.0.ln2.hook_scale"]
    wanted = torch.cat(parts) / scale @ weights["W_in"][0]
    wanted[-1] += weights["b_in"][0]
    return dense(answer(model, TOKENS, 0)), wanted


def _sums_up(answer) -> bool:
    found, wanted = _terms(answer)
    return found.shape == wanted.shape and alike(found.sum(0), wanted.sum(0))


REPEAT = torch.tensor([[0, 4, 7, 4, 7]])


def _scores(answer, skip: bool = False):
    """The answer's scores [score, head], and the pattern they are of."""
    model = random_model(1, 9, scale=0.6)
    pattern = model.run_with_cache(REPEAT)[1]["pattern", 0][0].double()
    found = answer(model, REPEAT, skip_start=True) if skip else answer(model, REPEAT)
    return dense(found)[:, 0], pattern


def _by_place(answer) -> bool:
    found, pattern = _scores(answer)
    before = pattern.diagonal(-1, 1, 2).mean(1)
    own = pattern.diagonal(0, 1, 2)[:, 1:].mean(1)
    wanted = torch.stack([before, own, pattern[:, 1:, 0].mean(1)])
    return alike(found[[1, 3, 4]], wanted)


def _by_token(answer) -> bool:
    """Queries 3 and 4 have their tokens at 1 and 2, and what followed at 2 and 3."""
    found, pattern = _scores(answer)
    after = (pattern[:, 3, 2] + pattern[:, 4, 3]) / 2
    same = (pattern[:, 3, 1] + pattern[:, 4, 2]) / 2
    return alike(found[[0, 2]], torch.stack([after, same]))


def _without_start(answer) -> bool:
    found, pattern = _scores(answer, skip=True)
    left = (1 - pattern[:, 1:, 0]).sum(1)
    own = pattern.diagonal(0, 1, 2)[:, 1:].sum(1) / left
    return alike(found[3:5], torch.stack([own, 0 * own]))


def _pairs(part: int):
    def holds(answer) -> bool:
        weights = {name: torch.eye(6) for name in ("W_E", "W_U")}
        weights["W_V"] = torch.eye(6)[None, None]
        W_O = torch.arange(36.0).remainder(7).add(torch.eye(6).flatten()).view(6, 6)
        W_O[2, 4], W_O[5, 1], W_O[0, 3] = 20.0, 30.0, 25.0
        weights["W_O"] = W_O[None, None]
        centred = W_O - W_O.mean(1, keepdim=True)
        values, places = centred.flatten().topk(3)
        wanted = (values, places // 6, places % 6)
        found = answer(weights, 0, 0, k=3)
        return all(alike(found[i], wanted[i]) for i in ((0,), (1, 2))[part])

    return holds


def _scores_copying(W_O, wanted: list[float]):
    """Heads that read and are read as they are, so that W_O is the whole circuit."""

    def holds(answer) -> bool:
        eye = torch.eye(W_O.shape[-1])
        weights = {"W_E": eye, "W_U": eye, "W_V": eye.expand_as(W_O), "W_O": W_O}
        return alike(answer(weights), torch.tensor([wanted]))

    return holds


SIGNS = torch.tensor([[[2.0, 1, 3], [-1, -2, -1], [3, -1, 1]]]).diag_embed()
TURNS = torch.tensor([[[[3.0, 4.0], [-4.0, 3.0]]]])  # eigenvalues 3 + 4i and 3 - 4i


def _through_tokens(answer) -> bool:
    weights = shared.made_up(2, d_head=3, d_vocab=9)
    circuits = weights["W_E"] @ weights["W_V"] @ weights["W_O"] @ weights["W_U"]
    values = torch.linalg.eigvals(circuits.double())
    wanted = values.sum(-1).real / values.abs().sum(-1)
    return alike(answer(shared.copied(weights)), wanted)


def _composes(kind: str, n_layers: int):
    def holds(answer) -> bool:
        W = shared.made_up(4, n_layers)
        writes = (W["W_V"] @ W["W_O"])[:, :, None, None]
        reads = {
            "q": W["W_Q"] @ W["W_K"].mT,
            "k": W["W_K"] @ W["W_Q"].mT,
            "v": W["W_V"] @ W["W_O"],
        }[kind]
        sizes = writes.norm(dim=(-1, -2)) * reads.norm(dim=(-1, -2))
        wanted = (writes @ reads).norm(dim=(-1, -2)) / sizes
        found = dense(answer(shared.copied(W), kind))
        later = torch.ones(n_layers, n_layers).triu(1).bool()[:, None, :, None]
        if n_layers == 2:  # the only pair of layers there is
            return alike(found[0, :, 1], wanted[0, :, 1])
        return alike(found, wanted.where(later, 0))

    return holds


STEPS = {
    "fold_layer_norm": (
        Step("the norms' weights", _folds_weights),
        Step("their biases", _folds_biases),
        Step("the means", _centres),
    ),
    "mlp_path_terms": (
        Step("terms that add up", _sums_up),
        Step("each in its place", lambda answer: alike(*_terms(answer))),
    ),
    "induction_scores": (
        Step("keys by their place", _by_place),
        Step("keys by their token", _by_token),
        Step("without the start token", _without_start),
    ),
    "top_ov_pairs": (
        Step("the largest entries", _pairs(0)),
        Step("their tokens", _pairs(1)),
    ),
    "copying_scores": (
        Step("positive and negative eigenvalues", _scores_copying(SIGNS, [1, -1, 0.6])),
        Step("complex ones", _scores_copying(TURNS, [0.6])),
        Step("through W_E and W_U, in every layer", _through_tokens),
    ),
    "composition_graph": (
        Step("keys of the next layer", _composes("k", 2)),
        Step(
            "queries and values too",
            lambda answer: _composes("q", 2)(answer) and _composes("v", 2)(answer),
        ),
        Step("all pairs of layers, 0 where none is later", _composes("k", 3)),
    ),
}
