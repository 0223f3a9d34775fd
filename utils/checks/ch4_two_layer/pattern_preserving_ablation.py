"""Chapter 4, `pattern_preserving_ablation`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_pattern_preserving_ablation(answer) -> None:
    cases = (
        (2, 3, shared.MORE_TOKENS, [(0, 0), (0, 2), (1, 1)]),
        (2, 2, shared.TOKENS, [(0, 1)]),
        (2, 4, shared.TOKENS, []),
        (3, 2, shared.MORE_TOKENS, [(2, 1), (1, 0)]),
        (3, 3, shared.TOKENS, [(1, 2), (0, 0), (0, 1)]),
        (1, 2, shared.TOKENS, [(0, 1)]),
    )
    for n_layers, n_heads, ids, heads in cases:
        model = random_model(n_layers, n_heads, n_heads=n_heads, d_head=n_heads + 1)
        tokens = torch.tensor(ids)
        batch, length = tokens.shape
        logits = expect.tensor(
            answer(model, tokens, heads), batch=batch, pos=length, d_vocab=13
        )
        words = ", ".join(f"{a}.{b}" for a, b in heads) or "no heads"
        expect.close(
            logits,
            _left_over(model, tokens, heads),
            f"Ablating {words} of {n_layers} layers should leave the sum of all paths "
            "that do not pass through them.",
        )


def _left_over(model, tokens: Tensor, heads) -> Tensor:
    """Layer by layer in float64, each head's part added up, or not."""
    patterns = [pattern.double() for pattern in shared.patterns_of(model, tokens)]
    stream = model.W_E[tokens].double()
    for layer in range(model.cfg.n_layers):
        added = torch.zeros_like(stream)
        for head in range(model.cfg.n_heads):
            if (layer, head) not in heads:
                ov = model.W_V[layer, head].double() @ model.W_O[layer, head].double()
                added += patterns[layer][:, head] @ stream @ ov
        stream = stream + added
    return stream @ model.W_U.double()


def _silenced(model, tokens, heads, frozen=True, mean=False, keep=False) -> Tensor:
    patterns = shared.patterns_of(model, tokens)

    def as_told(pattern, hook):
        return patterns[hook.layer()]

    def silence(z, hook):
        out = z.clone()
        own = [head for layer, head in heads if layer == hook.layer()]
        if keep:
            own = [head for head in range(z.shape[2]) if head not in own]
        out[:, :, own] = z[:, :, own].mean((0, 1)) if mean else 0.0
        return out

    hooks = []
    for layer in range(model.cfg.n_layers):
        if frozen:
            hooks.append((f"blocks.{layer}.attn.hook_pattern", as_told))
        hooks.append((f"blocks.{layer}.attn.hook_z", silence))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def ablation_not_frozen(model, tokens, heads):
    return _silenced(model, tokens, heads, frozen=False)


def ablation_by_mean(model, tokens, heads):
    return _silenced(model, tokens, heads, mean=True)


def ablation_of_others(model, tokens, heads):
    return _silenced(model, tokens, heads, keep=True)


def ablation_of_logits(model, tokens, heads):
    logits, cache = model.run_with_cache(tokens)
    for layer, head in heads:
        read = cache["resid_pre", layer]
        logits = logits - shared.moved(model, cache, layer, read)[head] @ model.W_U
    return logits


def ablation_of_one_path(model, tokens, heads):
    logits, cache = model.run_with_cache(tokens)
    for layer, head in heads:
        embed = cache["hook_embed"]
        logits = logits - shared.moved(model, cache, layer, embed)[head] @ model.W_U
    return logits


def ablation_bound_late(model, tokens, heads, patterns_too=True, heads_too=True):
    """What hooks made in a loop do: each finds the loop's variables as they are last.

    Every layer attends as the last one, and loses the last head of the list.
    """
    patterns, last = shared.patterns_of(model, tokens), model.cfg.n_layers - 1

    def as_told(pattern, hook):
        return patterns[last if patterns_too else hook.layer()]

    def silence(z, hook):
        out = z.clone()
        own = [head for layer, head in heads if layer == hook.layer()]
        out[:, :, [heads[-1][1]] if own and heads_too else own] = 0.0
        return out

    hooks = []
    for layer in range(model.cfg.n_layers):
        hooks.append((f"blocks.{layer}.attn.hook_pattern", as_told))
        hooks.append((f"blocks.{layer}.attn.hook_z", silence))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def binds_late(answer) -> bool:
    """Whether patterns, heads or both are the loop's last ones in every hook."""
    model, tokens = random_model(3, 0, n_heads=3), torch.tensor(shared.TOKENS)
    heads = [(0, 0), (1, 1), (2, 2)]
    found = torch.as_tensor(answer(model, tokens, heads)).float()
    return any(
        torch.allclose(
            found, ablation_bound_late(model, tokens, heads, *late), atol=1e-3
        )
        for late in ((True, True), (True, False), (False, True))
    )


CHECK = Check(
    name="pattern_preserving_ablation",
    judge=judge_pattern_preserving_ablation,
    hints=(
        "Run the model twice. The first run only remembers the patterns.",
        "In the second run, two kinds of hooks: one forces each layer's pattern to be "
        "the remembered one, the other sets the output of the chosen heads to zero.",
        'Hook `blocks.{layer}.attn.hook_pattern` and return `cache["pattern", layer]`; '
        "hook `blocks.{layer}.attn.hook_z` [batch pos head d_head], clone it and set "
        "`[:, :, head]` of the chosen heads to 0. Then `model.run_with_hooks(tokens, "
        "fwd_hooks=hooks)`. A hook's layer is `hook.layer()`.",
    ),
    mistakes=(
        Mistake(
            "patterns not frozen",
            "You silenced the heads and let later patterns change. That is the full "
            "ablation. Here all heads attend as if nothing were missing.",
            ablation_not_frozen,
            swap=('return cache["pattern", hook.layer()]', "return pattern"),
        ),
        Mistake(
            "mean",
            "You put the head's mean output in its place. Here it is zero.",
            ablation_by_mean,
            swap=(
                "= 0.0",
                "= z[\n            :, :, [head for layer, head in heads if layer == "
                "hook.layer()]\n        ].mean(dim=(0, 1))",
            ),
        ),
        Mistake(
            "the other heads",
            "You silenced all heads but those in the list.",
            ablation_of_others,
        ),
        Mistake(
            "only the way to the logits",
            "You took away what the heads write straight to the logits. Later heads "
            "still move what these heads wrote; their values have to change too.",
            ablation_of_logits,
        ),
        Mistake(
            "only paths through one head",
            "You subtracted the paths that pass through these heads alone. Paths that "
            "pass through one of them and another head have to go too.",
            ablation_of_one_path,
        ),
        Mistake(
            "the last one in every hook",
            "Your hooks are made in a loop and all use its last layer or head: a "
            "function looks such a name up when it runs, and then the loop is over. "
            "Hand the value over: `def hook_function(value, hook, layer=layer)`.",
            ablation_bound_late,
            binds_late,
        ),
    ),
    passed=(
        "Checked against the sum of all paths that avoid the heads. With the patterns "
        "fixed, taking a head away and striking out its paths are the same. What the "
        "head did for other heads' patterns stays."
    ),
)
