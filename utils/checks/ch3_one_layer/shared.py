"""Chapter 3: what several of its judges need."""

import torch
from torch import Tensor
from transformer_lens import FactoredMatrix

from utils.checks import expect
from utils.models.handmade import random_model, with_weights

__all__ = [
    "TEXTS",
    "expect_narrow",
    "half_copying",
    "logits",
    "only",
    "ov",
    "ov_by_running",
    "qk",
    "scores_by_running",
    "seen",
]


TEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6]]


def only(layer: int | None, head: int | None, n_layers: int) -> list[tuple]:
    """Hooks that silence every head of the model but one; None silences all."""

    def hook_for(own_layer):
        def silence(z, hook):
            kept = torch.zeros_like(z)
            if own_layer == layer:
                kept[:, :, head] = z[:, :, head]
            return kept

        return (f"blocks.{own_layer}.attn.hook_z", silence)

    return [hook_for(own_layer) for own_layer in range(n_layers)]


def logits(model, tokens, hooks=()) -> Tensor:
    with torch.no_grad():
        return model.run_with_hooks(tokens, fwd_hooks=list(hooks)).double()


def seen(model, tokens, name, hooks=()) -> Tensor:
    """One activation of a run with hooks, in float64."""
    seen = {}
    keep = (name, lambda value, hook: seen.update({name: value.double().clone()}))
    with torch.no_grad():
        model.run_with_hooks(tokens, fwd_hooks=[*hooks, keep])
    return seen[name]


def ov_by_running(model, layer: int, head: int) -> Tensor:
    """[source, out]: each token attends to itself alone, all other heads are silent."""
    tokens = torch.arange(model.cfg.d_vocab)[:, None]
    n_layers = model.cfg.n_layers
    with_head = logits(model, tokens, only(layer, head, n_layers))
    without = logits(model, tokens, only(None, None, n_layers))
    return (with_head - without)[:, 0]


def scores_by_running(model, layer: int, head: int) -> Tensor:
    """[query, key]: the scores of every pair of tokens, with no position vectors."""
    bare = with_weights(model, {"W_pos": torch.zeros_like(model.W_pos)})
    n = model.cfg.d_vocab
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    tokens = pairs.flip(1)  # the key stands first, the query sees it
    name = f"blocks.{layer}.attn.hook_attn_scores"
    scores = seen(bare, tokens, name, only(None, None, model.cfg.n_layers))
    return scores[:, head, 1, 0].view(n, n)


def expect_narrow(circuit, d_head: int) -> None:
    """A factored circuit is cut where it is narrowest, in the head."""
    if isinstance(circuit, FactoredMatrix):
        inner = circuit.A.shape[-1]
        expect.true(
            inner == d_head,
            f"Your two factors meet in {inner} numbers. Cut the product inside the "
            f"head, where only d_head = {d_head} numbers pass: later cells work in "
            "that small place.",
        )


def ov(model, layer, head) -> Tensor:
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U


def qk(model, layer, head) -> Tensor:
    qk = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return model.W_E @ qk @ model.W_E.T


def half_copying(seed: int, n_layers: int = 1, d_vocab: int = 13):
    """A random model whose heads copy some of the tokens: W_U looks a bit like W_E."""
    model = random_model(n_layers, seed, d_vocab=d_vocab, d_model=10, d_head=6)
    W_U = 0.4 * model.W_E.T + model.W_U + torch.linspace(-1, 2, 10)[:, None]
    W_O = model.W_O + 0.5 * model.W_V.transpose(-2, -1)
    return with_weights(model, {"W_U": W_U, "W_O": W_O})
