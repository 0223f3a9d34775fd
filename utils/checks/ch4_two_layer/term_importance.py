"""Chapter 4, `term_importance`: judge, known mistakes and hints."""

import itertools
import math

import torch
from einops import einsum
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_term_importance(answer) -> None:
    for n_layers, n_heads, ids in (
        (2, 3, shared.TOKENS),
        (3, 2, shared.MORE_TOKENS),
        (1, 4, shared.TOKENS),
    ):
        model = random_model(
            n_layers, 1, 12 + n_layers, n_heads=n_heads, d_head=n_heads + 1
        )
        tokens = torch.tensor(ids)
        orders = expect.tensor(answer(model, tokens), order=n_layers + 1)
        losses = _losses_by_order(model, tokens)
        for order, (before, after) in enumerate(zip(losses, losses[1:], strict=False)):
            expect.close(
                orders[order],
                before - after,
                f"With {n_layers} layers, the effect of the paths through exactly "
                f"{order} heads is not the change of the loss when they are added.",
            )
        expect.close(
            orders.sum(),
            math.log(model.cfg.d_vocab) - shared.loss(model(tokens), tokens),
            "All orders together should lead from the uniform guess to the loss of the "
            "model itself.",
        )


def _losses_by_order(model, tokens: Tensor) -> list[float]:
    """Losses of a uniform guess, then of all paths up to each order.

    A set of heads that are the only ones to write, less what its parts write alone, is
    the sum of the paths through all of it.
    """
    patterns = shared.patterns_of(model, tokens)
    layers = range(model.cfg.n_layers)
    heads = [(layer, head) for layer in layers for head in range(model.cfg.n_heads)]
    through: dict[tuple, Tensor] = {}
    logits, losses = 0.0, [math.log(model.cfg.d_vocab)]
    for order in range(model.cfg.n_layers + 1):
        for chosen in itertools.combinations(heads, order):
            if len({layer for layer, _ in chosen}) < order:
                continue  # heads of one layer do not read each other
            term = shared.only(model, tokens, chosen, patterns)[1]
            for size in range(order):
                for part in itertools.combinations(chosen, size):
                    term = term - through[part]
            through[chosen] = term
            logits = logits + term
        losses.append(shared.loss(logits, tokens))
    return losses


def _order_losses(model, tokens, frozen=True, late=True) -> list[float]:
    """The algorithm of the paper, or with one thing wrong."""
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    layers = range(model.cfg.n_layers)
    place = model.W_pos[: tokens.shape[1]]
    added = [torch.zeros_like(embed) for _ in layers]
    losses = []
    for _ in range(len(layers) + 1):
        stream, outputs = embed, []
        for layer in layers:
            own = dict(cache.items())
            if not frozen:
                own["pattern", layer] = _attend(model, stream + place, layer)
                outputs.append(shared.moved(model, own, layer, stream).sum(0))
            else:
                outputs.append(shared.moved(model, cache, layer, stream).sum(0))
            stream = stream + (added if late else outputs)[layer]
        losses.append(shared.loss(stream @ model.W_U, tokens))
        added = outputs
    return losses


def _attend(model, read: Tensor, layer: int) -> Tensor:
    queries = einsum(read, model.W_Q[layer], "b p d, h d k -> b h p k")
    keys = einsum(read, model.W_K[layer], "b p d, h d k -> b h p k")
    scores = queries @ keys.transpose(-1, -2) / model.cfg.d_head**0.5
    later = torch.ones(scores.shape[-2:], device=read.device).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def _steps(losses: list[float]) -> Tensor:
    losses = torch.tensor(losses)
    return losses[:-1] - losses[1:]


def orders_not_frozen(model, tokens):
    losses = _order_losses(model, tokens, frozen=False)
    return _steps([math.log(model.cfg.d_vocab), *losses])


def orders_one_too_many(model, tokens):
    losses = _order_losses(model, tokens, late=False)
    return _steps([math.log(model.cfg.d_vocab), *losses])


def orders_as_losses(model, tokens):
    return torch.tensor(_order_losses(model, tokens))


def orders_from_uniform(model, tokens):
    losses = torch.tensor(_order_losses(model, tokens))
    return math.log(model.cfg.d_vocab) - losses


def orders_negative(model, tokens):
    return -_steps([math.log(model.cfg.d_vocab), *_order_losses(model, tokens)])


def orders_without_direct(model, tokens):
    return _steps(_order_losses(model, tokens))


CHECK = Check(
    name="term_importance",
    judge=judge_term_importance,
    hints=(
        "Run the model several times by hand with its patterns saved from a normal "
        "run. In each pass, what is added to the stream is not what this pass "
        "computes.",
        "Pass n adds to the stream, after each layer, what that layer put out in pass "
        "n - 1; pass 0 adds nothing. So the stream of pass n holds the paths through "
        "at most n heads. Note each pass's loss and take differences, starting from "
        "log(d_vocab).",
        "Keep `added`, one tensor for each layer, all zero at first. In a pass: "
        "`stream = embed`; for each layer compute its output from `stream`, its saved "
        "pattern, W_V and W_O, append it to `outputs`, then `stream = stream + "
        "added[layer]`. After the layers note the loss of `stream @ model.W_U` and set "
        "`added = outputs`.",
    ),
    mistakes=(
        Mistake(
            "patterns not frozen",
            "You computed the attention patterns anew in each pass. That also takes "
            "away Q- and K-composition, and the early layer seems to matter more than "
            "its paths do. Keep the patterns of the whole model.",
            orders_not_frozen,
        ),
        Mistake(
            "same pass",
            "You added what the same pass computed. Then pass 0 is already the whole "
            "model. Add what the pass before computed, and nothing in pass 0.",
            orders_one_too_many,
        ),
        Mistake(
            "losses",
            "These are the losses of the passes. Return how much each order takes off: "
            "the loss before minus the loss after.",
            orders_as_losses,
        ),
        Mistake(
            "measured from uniform",
            "You measured each order from the uniform guess. Measure it from the order "
            "before.",
            orders_from_uniform,
            swap=("losses[:-1] - losses[1:]", "losses[0] - losses[1:]"),
        ),
        Mistake(
            "sign",
            "Your signs are turned round. What lowers the loss should be positive.",
            orders_negative,
            swap=("losses[:-1] - losses[1:]", "losses[1:] - losses[:-1]"),
        ),
        Mistake(
            "no direct path",
            "Order 0 is missing: the loss of a uniform guess, log(d_vocab), minus that "
            "of the direct path.",
            orders_without_direct,
        ),
    ),
    passed=(
        "Checked on models of one, two and three layers: orders 0 and 1 against the "
        "model with heads silenced one by one, and the sum against the model's own "
        "loss. That the last pass gives the exact loss is the strongest test there is "
        "of such code: any path left out or counted twice would show."
    ),
)
