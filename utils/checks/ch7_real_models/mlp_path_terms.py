"""Chapter 7, `mlp_path_terms`: judge, known mistakes and hints."""

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
    parts = [cache["resid_pre", 0]]
    for earlier in range(layer + change.get("layers", 1)):
        z, W_O = cache["z", earlier], weights["W_O"][earlier]
        heads = [z[:, :, head] @ matrix for head, matrix in enumerate(W_O)]
        mlp = [cache["mlp_out", earlier]] if earlier < layer else []
        parts += mlp + heads if change.get("mlp_first") else heads + mlp
    parts.append(weights["b_O"][: layer + 1].sum(0).expand_as(parts[0]))
    stack = torch.stack(parts)
    scale = cache[f"blocks.{layer}.{change.get('norm', 'ln2')}.hook_scale"]
    if change.get("own_scale"):
        scale = stack.pow(2).mean(-1, keepdim=True).sqrt().clamp(min=1e-6)
    if change.get("no_scale"):
        scale = 1.0
    seen = stack / scale @ weights[change.get("matrix", "W_in")][layer]
    if not change.get("no_bias"):
        seen[-1] += weights["b_in"][layer]
    if change.get("bias_everywhere"):
        seen = seen + weights["b_in"][layer]
    return seen


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
