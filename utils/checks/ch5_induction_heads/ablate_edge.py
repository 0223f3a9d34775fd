"""Chapter 5, `ablate_edge`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    random_model,
)

__all__ = ["CHECK"]


def judge_ablate_edge(answer) -> None:
    cases = (
        (2, 3, (0, 1), (1, 2), 2),
        (3, 3, (0, 2), (2, 0), 1),
        (3, 2, (1, 0), (2, 1), 2),
        (3, 3, (0, 1), (1, 0), 2),  # a layer comes after the target
    )
    for n_layers, n_heads, source, target, batch in cases:
        seed = n_layers + target[1]
        model = random_model(n_layers, seed, d_vocab=13, n_heads=n_heads)
        tokens = shared.rows(13, 4, 2, batch, seed=seed)
        for name in "qkv":
            result = answer(model, tokens, source, target, name)
            logits = expect.tensor(result, batch=batch, pos=9, d_vocab=13)
            by_hand = shared.by_hand(model, tokens, cut=(source, target, name))[0]
            expect.close(
                logits,
                by_hand,
                f"With {name.upper()} of {target[0]}.{target[1]} no longer reading "
                f"{source[0]}.{source[1]}, the logits do not match a forward pass by "
                "hand.",
                atol=1e-3,
            )


def _edge(model, tokens, source_head, target_head, edit, names):
    """Change inputs of the target layer: edit(values, what the source wrote, head)."""
    written = shared.written(model, tokens, *source_head)
    layer, head = target_head
    hooks = []
    for name in names:
        W = getattr(model, f"W_{name.upper()}")[layer]

        def change(values, hook, W=W):
            values = values.clone()
            edit(values, written, W, head)
            return values

        hooks.append((f"blocks.{layer}.attn.hook_{name}", change))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def _subtract(values, written, W, head):
    values[:, :, head] -= written @ W[head]


def edge_all_inputs(model, tokens, source_head, target_head, input):
    return _edge(model, tokens, source_head, target_head, _subtract, "qkv")


def edge_whole_source(model, tokens, source_head, target_head, input):
    layer, head = source_head

    def silence(z, hook):
        z = z.clone()
        z[:, :, head] = 0
        return z

    name = f"blocks.{layer}.attn.hook_z"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, silence)])


def edge_all_targets(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        for each in range(len(W)):
            values[:, :, each] -= written @ W[each]

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_only(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        values[:, :, head] = written @ W[head]

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_input_zero(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        values[:, :, head] = 0

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_q_and_k_swapped(model, tokens, source_head, target_head, input):
    other = {"q": "k", "k": "q", "v": "v"}[input]
    return _edge(model, tokens, source_head, target_head, _subtract, other)


def edge_own_weight(model, tokens, source_head, target_head, input):
    written = shared.written(model, tokens, *source_head)
    layer, head = target_head
    W = getattr(model, f"W_{input.upper()}")[source_head]

    def change(values, hook):
        values = values.clone()
        values[:, :, head] -= written @ W
        return values

    name = f"blocks.{layer}.attn.hook_{input}"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, change)])


CHECK = Check(
    name="ablate_edge",
    judge=judge_ablate_edge,
    hints=(
        "W_Q, W_K and W_V are linear. Reading the stream minus a vector is the same as "
        "reading the stream and then subtracting what the matrix makes of that vector.",
        "What the source wrote is its `z` times its W_O. Times the target's W_Q, W_K "
        "or W_V it is what has to go from `blocks.{layer}.attn.hook_q` (or k, v), "
        "whose axes are [batch, pos, head, d_head].",
        "`written = cache['z', layer][:, :, head] @ model.W_O[layer, head]` from a "
        "plain run; `weight = getattr(model, f'W_{input.upper()}')[target_head]`; in "
        "the hook clone the values and do `values[:, :, target] -= written @ weight`.",
    ),
    mistakes=(
        Mistake(
            "all three inputs",
            "You cut all three inputs of the target. Only the one named is asked for: "
            "the other two still read the source.",
            edge_all_inputs,
        ),
        Mistake(
            "whole head",
            "You silenced the source head for everybody. Only one input of one head "
            "should miss it; the logits and all other heads still see it.",
            edge_whole_source,
        ),
        Mistake(
            "all targets",
            "You cut the input of every head in the target's layer. Only one head "
            "should miss the source.",
            edge_all_targets,
        ),
        Mistake(
            "only the source left",
            "You kept what the source wrote and dropped the rest. It is the other way "
            "round: subtract it.",
            edge_only,
        ),
        Mistake(
            "input set to zero",
            "You set the input to zero. It should still read everything but the "
            "source.",
            edge_input_zero,
            swap=("kept[:, :, target] -= written @ weight", "kept[:, :, target] = 0.0"),
        ),
        Mistake(
            "query and key swapped",
            'With "q" you changed keys, and with "k" queries.',
            edge_q_and_k_swapped,
        ),
        Mistake(
            "weight of the source",
            "You used W_Q, W_K or W_V of the source head. The target does the reading, "
            "so take its weight.",
            edge_own_weight,
            swap=("[target_layer, target]", "[layer, head]"),
        ),
    ),
    passed=(
        "Checked against a forward pass by hand for all three inputs, in two and three "
        "layers. An ordinary ablation cuts every edge from a head at once; this one "
        "says which edge carries the effect."
    ),
)
