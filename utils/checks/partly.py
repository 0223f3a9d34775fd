"""What the tests of an exercise's steps share: alike, seen past what comes later.

A view takes from a result what later steps do not change. Two results are `alike` when
they have one shape and the same view.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = [
    "TOKENS",
    "alike",
    "causal",
    "centred",
    "dense",
    "losses",
    "ranks",
    "up_to_factor",
    "without_head",
    "written",
]

TOKENS = torch.tensor([[0, 4, 7, 2, 9], [0, 1, 6, 8, 3]])


def dense(value) -> Tensor:
    """A result as a float64 tensor, a FactoredMatrix multiplied out."""
    return torch.as_tensor(getattr(value, "AB", value)).detach().double()


def alike(one, two, view: Callable[[Tensor], Tensor] = lambda x: x) -> bool:
    """Whether two results have one shape and, seen this way, the same numbers."""
    one, two = dense(one), dense(two)
    if one.shape != two.shape:
        return False
    return torch.allclose(view(one), view(two), rtol=1e-3, atol=1e-4)


def up_to_factor(x: Tensor) -> Tensor:
    """What a positive factor on all numbers does not change."""
    return x / x.norm()


def centred(x: Tensor) -> Tensor:
    """What a constant on each row does not change."""
    return x - x.mean(dim=-1, keepdim=True)


def ranks(x: Tensor) -> Tensor:
    """What nothing changes that keeps the order within rows."""
    return x.argsort(dim=-1).double()


def causal(scores: Tensor) -> Tensor:
    """The pattern that scores [..., query, key] become."""
    later = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1)


def losses(logits: Tensor, tokens: Tensor) -> Tensor:
    """The loss of each next token [batch, pos - 1], in nats."""
    log_probs = logits[:, :-1].log_softmax(dim=-1)
    return -log_probs.gather(-1, tokens[:, 1:, None])[..., 0]


def written(model, tokens: Tensor, layer: int) -> Tensor:
    """What each head of a layer writes, [head, batch, pos, d_model]."""
    z = model.run_with_cache(tokens)[1]["z", layer]
    return (z[..., None, :] @ model.W_O[layer])[..., 0, :].permute(2, 0, 1, 3)


def without_head(model, layer: int, head: int) -> dict[str, Tensor]:
    """The output matrices of a model of which one head writes nothing."""
    W_O = model.W_O.detach().clone()
    W_O[layer, head] = 0
    return {"W_O": W_O}
