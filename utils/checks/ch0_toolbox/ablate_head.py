"""Chapter 0, `ablate_head`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch0_toolbox import shared

__all__ = ["CHECK"]


def judge_ablate_head(answer) -> None:
    for model, tokens, layer, head in shared.cases(seed=9):
        for mean in (False, True):
            result = answer(model, tokens, layer, head, mean)
            shape = shared.shapes(tokens, d_vocab=model.cfg.d_vocab)
            by = "its mean" if mean else "zero"
            expect.close(
                expect.tensor(result, **shape),
                _without_head(model, tokens, layer, head, mean),
                f"With the output of head {layer}.{head} replaced by {by} the logits "
                "are different.",
                atol=1e-3,
            )


def _without_head(model, tokens, layer: int, head: int, mean: bool) -> Tensor:
    """The layer's output with one head's part taken out and its mean put in."""
    part = shared.only_head(model, tokens, layer, head)
    instead = part.mean((0, 1)) if mean else torch.zeros(part.shape[-1])
    place = f"blocks.{layer}.hook_attn_out"
    return shared.run_hooked(model, tokens, {place: lambda out: out - part + instead})


def _edit_z(model, tokens, layer, edit) -> Tensor:
    def change(z: Tensor) -> Tensor:
        z = z.clone()
        edit(z)
        return z

    return shared.run_hooked(model, tokens, {f"blocks.{layer}.attn.hook_z": change})


def _put(z: Tensor, head: int, mean, over=(0, 1)) -> None:
    own = z[:, :, head]
    z[:, :, head] = own.mean(over, keepdim=True) if mean else 0.0


def ablate_layer(model, tokens, layer, head, mean=False):
    def edit(z):
        z.copy_(z.mean((0, 1), keepdim=True) if mean else torch.zeros_like(z))

    return _edit_z(model, tokens, layer, edit)


def ablate_position(model, tokens, layer, head, mean=False):
    def edit(z):
        z[:, head] = z.mean((0, 1)) if mean else 0.0

    return _edit_z(model, tokens, layer, edit)


def ablate_next_head(model, tokens, layer, head, mean=False):
    other = (head - 1) % model.cfg.n_heads
    return _edit_z(model, tokens, layer, lambda z: _put(z, other, mean))


def ablate_first_layer(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, 0, lambda z: _put(z, head, mean))


def ablate_only_zero(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, False))


def ablate_always_mean(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, True))


def ablate_mean_of_positions(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (1,)))


def ablate_mean_of_batch(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (0,)))


def ablate_mean_number(model, tokens, layer, head, mean=False):
    return _edit_z(model, tokens, layer, lambda z: _put(z, head, mean, (0, 1, 2)))


def ablate_nothing(model, tokens, layer, head, mean=False):
    return model(tokens)


def ablate_directly(model, tokens, layer, head, mean=False):
    z = model.run_with_cache(tokens)[1]["z", layer][:, :, head]
    part = z @ model.W_O[layer, head]
    instead = part.mean((0, 1)) if mean else 0.0
    return model(tokens) - (part - instead) @ model.W_U


def ablate_with_frozen_patterns(model, tokens, layer, head, mean=False):
    cache = model.run_with_cache(tokens)[1]
    hooks = {
        f"blocks.{i}.attn.hook_pattern": lambda own, i=i: cache["pattern", i]
        for i in range(model.cfg.n_layers)
    }

    def change(z: Tensor) -> Tensor:
        z = z.clone()
        _put(z, head, mean)
        return z

    return shared.run_hooked(
        model, tokens, {**hooks, f"blocks.{layer}.attn.hook_z": change}
    )


def ablate_others(model, tokens, layer, head, mean=False):
    def edit(z):
        for other in range(model.cfg.n_heads):
            if other != head:
                _put(z, other, mean)

    return _edit_z(model, tokens, layer, edit)


CHECK = Check(
    name="ablate_head",
    judge=judge_ablate_head,
    hints=(
        "Run the model with a hook that changes one activation on the way. Choose one "
        "from which the head's output follows, and in which heads are still apart.",
        "In `blocks.{layer}.attn.hook_z` [batch, pos, head, d_head] stand the mixed "
        "values of each head. W_O comes after it and has no bias, so zero stays zero "
        "and a mean stays a mean. The hook returns the changed tensor.",
        "`def hook_function(z, hook):` copies `z`, sets `z[:, :, head]` to 0 or to "
        "`z[:, :, head].mean(dim=(0, 1))`, and returns it. Then "
        '`model.run_with_hooks(tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", '
        "hook_function)])`.",
    ),
    mistakes=(
        Mistake(
            "the whole layer",
            "You took away the whole layer. Only one head is meant.",
            ablate_layer,
        ),
        Mistake(
            "a position",
            "You replaced a position and not a head. The axes are [batch, pos, head, "
            "d_head], so the head is the third index: `z[:, :, head]`.",
            ablate_position,
        ),
        Mistake(
            "counted from 1",
            "You took away the head before the one that was asked for. Heads count "
            "from 0.",
            ablate_next_head,
        ),
        Mistake(
            "always layer 0",
            "You changed layer 0 whatever `layer` says.",
            ablate_first_layer,
        ),
        Mistake(
            "mean ignored",
            "You replace by zero also when `mean=True`.",
            ablate_only_zero,
        ),
        Mistake(
            "always the mean",
            "You replace by the mean also when `mean=False`. Without it the output "
            "becomes zero.",
            ablate_always_mean,
            swap=("own.mean(dim=(0, 1)) if mean else 0.0", "own.mean(dim=(0, 1))"),
        ),
        Mistake(
            "mean over positions only",
            "Your mean is taken within each text. It should run over batch and "
            "positions together.",
            ablate_mean_of_positions,
        ),
        Mistake(
            "mean over the batch only",
            "Your mean is taken at each position by itself. It should run over batch "
            "and positions together.",
            ablate_mean_of_batch,
            swap=("dim=(0, 1)", "dim=0"),
        ),
        Mistake(
            "mean over everything",
            "Your mean is one number for all dimensions. Keep the last axis: the mean "
            "of vectors is a vector.",
            ablate_mean_number,
        ),
        Mistake(
            "nothing changed",
            "These are the logits of the untouched model. A hook changes an activation "
            "by returning the new tensor; one that returns nothing only looks.",
            ablate_nothing,
        ),
        Mistake(
            "direct effect only",
            "You took the head's own part out of the logits and left everything after "
            "it alone. Later layers read what the head wrote, so run the model again.",
            ablate_directly,
        ),
        Mistake(
            "patterns frozen",
            "You kept the later attention patterns as they were. Here everything "
            "after the head is computed anew, patterns included.",
            ablate_with_frozen_patterns,
        ),
        Mistake(
            "the others",
            "You took away all heads of the layer but this one.",
            ablate_others,
        ),
    ),
    passed=(
        "Checked for three heads in both layers, with zero and with the mean, against "
        "taking the head's part out of what its layer adds. The hook sits before W_O, "
        "and because W_O has no bias nothing of the head is left."
    ),
)
