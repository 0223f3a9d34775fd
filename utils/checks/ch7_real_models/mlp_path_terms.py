"""Chapter 7, `mlp_path_terms`: judge, known mistakes and hints.

Over 400 lines: the judge stands with all mistakes that it can name.
"""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch7_real_models import shared
from utils.models.real import weights_of

__all__ = ["CHECK"]

HOOKS = {"gpt2": "hook_pre", "llama": "hook_pre_linear"}


def judge_mlp_path_terms(answer) -> None:
    for kind, n_layers, n_heads, layer, rows in (
        ("gpt2", 3, 3, 2, [[0, 4, 7, 3, 4], [0, 9, 2, 2, 5]]),
        ("gpt2", 3, 3, 0, [[0, 8, 1]]),
        ("llama", 2, 4, 1, [[0, 5, 11, 5], [0, 3, 1, 6], [0, 2, 2, 2]]),
    ):
        model = shared.bridge(kind, n_layers, n_heads, seed=n_heads)
        tokens = torch.tensor(rows)
        weights, cache = _looked_at(model, tokens)
        n_terms = 1 + (layer + 1) * n_heads + layer + 1
        result = expect.tensor(
            answer(model, tokens, layer),
            term=n_terms,
            batch=tokens.shape[0],
            pos=tokens.shape[1],
            d_mlp=weights["W_in"].shape[-1],
        )
        expect.close(
            result.sum(dim=0),
            cache[f"blocks.{layer}.mlp.{HOOKS[kind]}"],
            f"The terms of layer {layer} do not add up to what W_in passes on.",
        )
        for term, expected in enumerate(_by_hand(weights, cache, layer)):
            expect.close(
                result[term],
                expected,
                f"The terms of layer {layer} add up, but term {term} of {n_terms} is "
                "not the one that the docstring names there.",
            )


def _looked_at(model, tokens) -> tuple[dict, dict]:
    _, cache = model.run_with_cache(tokens)
    return weights_of(model), cache


def _by_hand(weights, cache, layer: int) -> list[Tensor]:
    """Each term by itself, in float64."""
    scale = cache[f"blocks.{layer}.ln2.hook_scale"].double()
    W_in = weights["W_in"][layer].double()
    parts = [cache["resid_pre", 0].double()]
    constant = torch.zeros_like(parts[0])
    for earlier in range(layer + 1):
        z = cache["z", earlier].double()
        for head, W_O in enumerate(weights["W_O"][earlier].double()):
            parts.append(z[:, :, head] @ W_O)
        if earlier < layer:
            parts.append(cache["mlp_out", earlier].double())
        constant = constant + weights["b_O"][earlier].double()
    terms = [part / scale @ W_in for part in [*parts, constant]]
    terms[-1] = terms[-1] + weights["b_in"][layer].double()
    return terms


def _terms(model, tokens, layer, **change) -> Tensor:
    """The right way, or with one thing wrong."""
    weights, cache = _looked_at(model, tokens)
    parts, late = [cache["resid_pre", 0]], []
    if change.get("no_positions"):
        parts = [weights["W_E"][tokens]]
    if change.get("late_stream"):
        parts = [cache["resid_pre", layer]]
    for earlier in range(layer + change.get("layers", 1)):
        z, W_O = cache["z", earlier], weights["W_O"][earlier]
        heads = [z[:, :, head] @ matrix for head, matrix in enumerate(W_O)]
        if change.get("heads_together"):
            heads = [cache["attn_out", earlier]]
        own_too = change.get("own_mlp", 0)
        mlp = [cache["mlp_out", earlier]] if earlier < layer + own_too else []
        if change.get("no_mlps"):
            mlp = []
        if change.get("mlps_last"):
            late, mlp = late + mlp, []
        parts += mlp + heads if change.get("mlp_first") else heads + mlp
    first, end = change.get("b_O", (0, 1))
    constant = weights["b_O"][first and layer : layer + end].sum(0)
    if change.get("every_b_O"):
        constant = weights["b_O"].sum(0)
    if change.get("b_out_too"):
        constant = constant + weights["b_out"][:layer].sum(0)
    if change.get("heads_together"):
        constant = 0 * constant
    parts += [*late, constant.expand_as(parts[0])]
    stack = torch.stack(parts)
    if change.get("centred"):
        stack = stack - stack.mean(-1, keepdim=True)
    scale = cache[f"blocks.{layer}.{change.get('norm', 'ln2')}.hook_scale"]
    if change.get("own_scale"):
        scale = stack.pow(2).mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
    if change.get("no_scale"):
        scale = 1.0
    if change.get("constant_undivided"):
        scale = torch.stack([scale] * (len(stack) - 1) + [torch.ones_like(scale)])
    if change.get("each_layers_own"):
        return _as_each_layer_reads(weights, cache, stack, layer, change)
    if change.get("b_in_divided"):
        seen = stack / scale @ weights["W_in"][layer]
        seen[-1] += weights["b_in"][layer] / scale
        return seen
    seen = stack / scale @ weights[change.get("matrix", "W_in")][layer]
    if not change.get("no_bias"):
        seen[-1] += weights["b_in"][layer]
    if change.get("bias_everywhere"):
        seen = seen + weights["b_in"][layer]
    return seen


def _as_each_layer_reads(weights, cache, stack, layer: int, change) -> Tensor:
    """Each term with the scale, or also the W_in, of the layer that wrote it."""
    n_heads = weights["W_O"].shape[1]
    written = [0] + [at for at in range(layer + 1) for _ in range(n_heads + 1)]
    written[0] = written[-1] = layer
    scales = torch.stack(
        [cache[f"blocks.{at}.ln2.hook_scale"] for at in written[: len(stack)]]
    )
    read_by = written if change["each_layers_own"] == "W_in" else [layer] * len(written)
    scale = scales if change["each_layers_own"] == "scale" else scales[-1]
    seen = stack / scale
    terms = [part @ weights["W_in"][at] for part, at in zip(seen, read_by, strict=True)]
    terms[-1] = terms[-1] + weights["b_in"][layer]
    return torch.stack(terms)


def _with_shared_bias(model, tokens, layer) -> Tensor:
    weights, cache = _looked_at(model, tokens)
    terms = _terms(model, tokens, layer, b_O=(0, -layer))
    n_heads = weights["W_O"].shape[1]
    scale = cache[f"blocks.{layer}.ln2.hook_scale"]
    for at in range(layer + 1):
        first = 1 + at * (n_heads + 1)
        share = weights["b_O"][at] / n_heads / scale @ weights["W_in"][layer]
        terms[first : first + n_heads] += share
    return terms


def not_divided(model, tokens, layer):
    return _terms(model, tokens, layer, no_scale=True)


def divided_by_own_size(model, tokens, layer):
    return _terms(model, tokens, layer, own_scale=True)


def scale_of_the_other_norm(model, tokens, layer):
    return _terms(model, tokens, layer, norm="ln1")


def bias_left_out(model, tokens, layer):
    return _terms(model, tokens, layer, no_bias=True)


def bias_in_every_term(model, tokens, layer):
    return _terms(model, tokens, layer, no_bias=True, bias_everywhere=True)


def mlp_before_heads(model, tokens, layer):
    return _terms(model, tokens, layer, mlp_first=True)


def without_own_heads(model, tokens, layer):
    return _terms(model, tokens, layer, layers=0)


def through_the_gate(model, tokens, layer):
    gated = "W_gate" in weights_of(model)
    return _terms(model, tokens, layer, matrix="W_gate" if gated else "W_in")


def output_biases_left_out(model, tokens, layer):
    return _terms(model, tokens, layer, b_O=(0, -layer))


def output_biases_of_all_layers(model, tokens, layer):
    return _terms(model, tokens, layer, every_b_O=True)


def constant_first(model, tokens, layer):
    return _terms(model, tokens, layer).roll(1, 0)


def stream_for_the_embedding(model, tokens, layer):
    return _terms(model, tokens, layer, late_stream=True)


def mlps_left_out(model, tokens, layer):
    return _terms(model, tokens, layer, no_mlps=True)


def means_taken_off(model, tokens, layer):
    return _terms(model, tokens, layer, centred=True)


def own_output_bias_only(model, tokens, layer):
    return _terms(model, tokens, layer, b_O=(1, 1))


def own_output_bias_left_out(model, tokens, layer):
    return _terms(model, tokens, layer, b_O=(0, 0))


def mlp_biases_twice(model, tokens, layer):
    return _terms(model, tokens, layer, b_out_too=True)


def positions_left_out(model, tokens, layer):
    return _terms(model, tokens, layer, no_positions=True)


def constant_not_divided(model, tokens, layer):
    return _terms(model, tokens, layer, constant_undivided=True)


def bias_divided(model, tokens, layer):
    return _terms(model, tokens, layer, b_in_divided=True)


def mlps_after_all_heads(model, tokens, layer):
    return _terms(model, tokens, layer, mlps_last=True)


def each_layers_scale(model, tokens, layer):
    return _terms(model, tokens, layer, each_layers_own="scale")


def each_layers_w_in(model, tokens, layer):
    return _terms(model, tokens, layer, each_layers_own="W_in")


def bias_shared_among_heads(model, tokens, layer):
    return _with_shared_bias(model, tokens, layer)


def heads_together(model, tokens, layer):
    return _terms(model, tokens, layer, heads_together=True)


def own_mlp_too(model, tokens, layer):
    return _terms(model, tokens, layer, own_mlp=1)


CHECK = Check(
    name="mlp_path_terms",
    judge=judge_mlp_path_terms,
    hints=(
        "The stream before the MLP is a sum: the embedding, what each head wrote, what "
        "each earlier MLP wrote, and the biases b_O. Divide each part by the same "
        "scale, then multiply by W_in.",
        'Head outputs are `cache["z", layer]` [batch pos head d_head] times '
        '`W_O[layer]`, MLP outputs `cache["mlp_out", layer]`, the scale is '
        '`cache[f"blocks.{layer}.ln2.hook_scale"]` [batch pos 1]. The heads of the '
        "layer itself come before its MLP, so they belong to the sum.",
        "Collect the parts in a list, heads of a layer before its MLP; last `b_O[: "
        "layer + 1].sum(dim=0)`, expanded to the shape of the others. `torch.cat("
        "parts) / scale @ W_in[layer]`, then add `b_in[layer]` to the last term.",
    ),
    mistakes=(
        Mistake(
            "not divided",
            "Your terms are not divided by the norm's scale. W_in reads the stream "
            "after the norm.",
            not_divided,
            swap=("torch.cat(terms) / scale @", "torch.cat(terms) @"),
        ),
        Mistake(
            "each by its own size",
            "You divided each term by its own size. All terms share the one scale that "
            "the whole stream has; only so do they add up.",
            divided_by_own_size,
        ),
        Mistake(
            "scale of the other norm",
            "You took the scale of ln1, which stands before the attention. The MLP "
            "reads through ln2.",
            scale_of_the_other_norm,
        ),
        Mistake(
            "bias left out",
            "b_in is missing from the last term.",
            bias_left_out,
        ),
        Mistake(
            "bias in every term",
            "You added b_in to every term, so it counts many times. It belongs to the "
            "last one.",
            bias_in_every_term,
            swap=("seen[-1] +=", "seen +="),
        ),
        Mistake(
            "MLP before heads",
            "In each layer the heads write before the MLP. Yours stand the other way "
            "round.",
            mlp_before_heads,
        ),
        Mistake(
            "own heads left out",
            "The heads of the layer itself write before its MLP reads. They are "
            "missing.",
            without_own_heads,
        ),
        Mistake(
            "output biases left out",
            "What is the same for every text is more than b_in: each layer's heads "
            "also add a bias, b_O, to the stream.",
            output_biases_left_out,
        ),
        Mistake(
            "output biases of all layers",
            "You counted b_O of all layers. What later layers write is not in the "
            "stream yet when this MLP reads.",
            output_biases_of_all_layers,
        ),
        Mistake(
            "constant first",
            "Your terms are right, but what is the same for every text stands first. "
            "It belongs at the end of the list.",
            constant_first,
        ),
        Mistake(
            "stream for the embedding",
            "Your first term is the stream before `layer`. It holds what all earlier "
            'layers wrote, which then counts twice; the embedding is `cache["resid_pre"'
            ", 0]`.",
            stream_for_the_embedding,
        ),
        Mistake(
            "MLPs left out",
            "Your list has heads only. The earlier MLPs write to the stream too, and "
            "each is a term.",
            mlps_left_out,
        ),
        Mistake(
            "means taken off",
            "You subtracted a mean from what was written. In a folded model nothing "
            "is left to subtract; where the norm is an RMSNorm nothing ever was.",
            means_taken_off,
        ),
        Mistake(
            "own output bias only",
            "You counted b_O of this layer only. The earlier layers' are in the stream "
            "too.",
            own_output_bias_only,
        ),
        Mistake(
            "own output bias left out",
            "You counted b_O of the earlier layers. This layer's heads also write "
            "theirs before the MLP reads.",
            own_output_bias_left_out,
        ),
        Mistake(
            "MLP biases twice",
            "You added the MLPs' output biases to the last term. `mlp_out` holds them "
            "already, so they count twice.",
            mlp_biases_twice,
        ),
        Mistake(
            "positions left out",
            "Your first term is W_E alone. Where positions are in the stream, W_pos "
            'belongs to it: `cache["resid_pre", 0]` has both.',
            positions_left_out,
        ),
        Mistake(
            "constant not divided",
            "You did not divide the biases b_O by the scale. They lie in the stream "
            "like all else; only b_in comes after the norm.",
            constant_not_divided,
        ),
        Mistake(
            "b_in divided",
            "You divided b_in by the scale. It is added after W_in, so no norm "
            "touches it.",
            bias_divided,
        ),
        Mistake(
            "MLPs after all heads",
            "Your terms go through all heads first and all MLPs then. The order is the "
            "model's: heads of layer 0, MLP of layer 0, heads of layer 1, ...",
            mlps_after_all_heads,
        ),
        Mistake(
            "each layer's own scale",
            "You divided each term by the scale at the layer that wrote it. One MLP "
            "reads them all, through one norm: take the scale of `layer`.",
            each_layers_scale,
        ),
        Mistake(
            "each layer's own W_in",
            "You multiplied each term by W_in of the layer that wrote it. Asked for is "
            "what the MLP of `layer` reads of it.",
            each_layers_w_in,
        ),
        Mistake(
            "bias shared among heads",
            "You spread b_O over the heads of its layer. It is the same for every "
            "text, so it belongs to the last term.",
            bias_shared_among_heads,
        ),
        Mistake(
            "heads together",
            "You have one term for all heads of a layer. Each head is a term of its "
            'own: `cache["z", layer]` of one head times its W_O.',
            heads_together,
        ),
        Mistake(
            "own MLP too",
            "Your list goes on to the MLP of the layer itself. It is the one that "
            "reads, and it has not written yet.",
            own_mlp_too,
        ),
        Mistake(
            "through the gate",
            "You multiplied by W_gate. The terms here are those of W_in.",
            through_the_gate,
        ),
    ),
    passed=(
        "Checked term by term in a GPT-2 and in a Llama with gates and grouped heads. "
        "Up to the nonlinearity an MLP is as linear as a head: every path into it can "
        "be listed. Behind it the list ends, because a nonlinearity of a sum is no sum."
    ),
)
