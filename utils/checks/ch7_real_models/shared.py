"""What several checks of chapter 7 need: made-up weights, small models, a plain run.

`log_probs` is a language model in loops and float64, written from the formulas, so
that weights can be judged by what a model with them computes.
"""

from functools import cache

import torch
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.checks import Wrong

__all__ = [
    "GROUPED",
    "bridge",
    "copied",
    "log_probs",
    "made_up",
    "names_and_shapes",
    "unchanged",
]

GROUPED = ("W_K", "b_K", "W_V", "b_V")
EPS = 1e-6
TOKENS = [[0, 4, 7, 3, 4], [0, 9, 2, 2, 5]]


def made_up(
    seed: int,
    n_layers: int = 2,
    n_heads: int = 3,
    n_groups: int = 3,
    d_model: int = 8,
    d_head: int = 5,
    d_mlp: int = 7,
    d_vocab: int = 11,
    gated: bool = False,
    positions: bool = True,
) -> dict[str, Tensor]:
    """Random weights under the names of `weights_of`; no MLPs with `d_mlp` 0.

    Gated ones are of a model with RMSNorm: no bias anywhere.
    """
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int, around: float = 0.0) -> Tensor:
        return around + torch.randn(shape, generator=generator) / d_model**0.5

    found = {"W_E": 2 * draw(d_vocab, d_model), "W_U": draw(d_model, d_vocab)}
    if positions:
        found["W_pos"] = draw(6, d_model)
    for name, heads in (("Q", n_heads), ("K", n_groups), ("V", n_groups)):
        found[f"W_{name}"] = draw(n_layers, heads, d_model, d_head)
        found[f"b_{name}"] = draw(n_layers, heads, d_head)
    found["W_O"] = draw(n_layers, n_heads, d_head, d_model)
    found["b_O"], found["b_U"] = draw(n_layers, d_model), draw(d_vocab)
    norms = {"ln1": (n_layers, d_model), "ln_final": (d_model,)}
    if d_mlp:
        norms["ln2"] = (n_layers, d_model)
        found["W_in"] = draw(n_layers, d_model, d_mlp)
        found["W_out"] = draw(n_layers, d_mlp, d_model)
        found["b_in"], found["b_out"] = draw(n_layers, d_mlp), draw(n_layers, d_model)
    if d_mlp and gated:
        found["W_gate"] = draw(n_layers, d_model, d_mlp)
    for name, shape in norms.items():
        found[f"{name}_w"] = draw(*shape, around=1.0)
        found[f"{name}_b"] = 2 * draw(*shape)
    if gated:
        found |= {name: 0 * value for name, value in found.items() if is_bias(name)}
    return found


def is_bias(name: str) -> bool:
    return name.startswith("b_") or name.endswith("_b")


def log_probs(
    weights: dict[str, Tensor], tokens: Tensor, subtract_mean: bool
) -> Tensor:
    """What a model with these weights predicts [batch, pos, d_vocab], in float64.

    `subtract_mean` is whether its norms do so, as LayerNorm does.
    """
    W = {name: value.double() for name, value in weights.items()}
    n_layers, n_heads = W["W_Q"].shape[:2]
    group = n_heads // W["W_K"].shape[1]
    n = tokens.shape[1]

    def norm(x: Tensor, name: str, layer: int | None = None) -> Tensor:
        w, b = W[f"{name}_w"], W[f"{name}_b"]
        if layer is not None:
            w, b = w[layer], b[layer]
        if subtract_mean:
            x = x - x.mean(-1, keepdim=True)
        return x / (x.pow(2).mean(-1, keepdim=True) + EPS).sqrt() * w + b

    x = W["W_E"][tokens]
    if "W_pos" in W:
        x = x + W["W_pos"][:n]
    for layer in range(n_layers):
        seen, written = norm(x, "ln1", layer), W["b_O"][layer]
        for head in range(n_heads):
            q = seen @ W["W_Q"][layer, head] + W["b_Q"][layer, head]
            k, v = (
                seen @ W[f"W_{name}"][layer, head // group]
                + W[f"b_{name}"][layer, head // group]
                for name in "KV"
            )
            scores = q @ k.mT / k.shape[-1] ** 0.5
            later = torch.ones(n, n).triu(1).bool()
            pattern = scores.masked_fill(later, -torch.inf).softmax(-1)
            written = written + pattern @ v @ W["W_O"][layer, head]
        x = x + written
        if "W_in" in W:
            seen = norm(x, "ln2", layer)
            hidden = seen @ W["W_in"][layer] + W["b_in"][layer]
            if "W_gate" in W:
                hidden = torch.nn.functional.silu(seen @ W["W_gate"][layer]) * hidden
            else:
                hidden = torch.nn.functional.gelu(hidden)
            x = x + hidden @ W["W_out"][layer] + W["b_out"][layer]
    return (norm(x, "ln_final") @ W["W_U"] + W["b_U"]).log_softmax(-1)


def copied(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights by value."""
    return {name: value.clone() for name, value in weights.items()}


def unchanged(answer, weights: dict[str, Tensor], *more) -> None:
    """Complain if the answer changes the dict that it is given.

    Later cells use the model's own weights again.
    """
    given = copied(weights)
    answer(given, *more)
    same = given.keys() == weights.keys() and all(
        given[name].shape == value.shape and torch.equal(given[name], value)
        for name, value in weights.items()
    )
    if not same:
        raise Wrong(
            "Your function changes the dict that it is given, or the tensors in it. "
            "Return a new dict, and make new tensors for what differs."
        )


def names_and_shapes(
    result, weights: dict[str, Tensor], shapes: dict[str, tuple]
) -> None:
    """Complain unless a result is a dict of the same names, with these shapes.

    Shapes that are not told are those of `weights`.
    """
    if not isinstance(result, dict):
        kind = type(result).__name__
        raise Wrong(f"Your function should return a dict of weights, not {kind}.")
    missing, extra = weights.keys() - result.keys(), result.keys() - weights.keys()
    if missing:
        raise Wrong(f"Your dict lacks {', '.join(sorted(missing))}.")
    if extra:
        raise Wrong(
            f"Your dict has {', '.join(sorted(extra))}, which the model does not have."
        )
    for name, value in weights.items():
        wanted = tuple(shapes.get(name, value.shape))
        if tuple(getattr(result[name], "shape", ())) != wanted:
            shape = list(getattr(result[name], "shape", ()))
            raise Wrong(f"{name} has shape {shape}, it should have {list(wanted)}.")


@cache
def bridge(kind: str, n_layers: int, n_heads: int, seed: int) -> TransformerBridge:
    """A small random GPT-2 ("gpt2") or Llama with two heads a group ("llama"), folded.

    Its weights are random but large, so that each part matters.
    """
    from transformers import (
        GPT2Config,
        GPT2LMHeadModel,
        LlamaConfig,
        LlamaForCausalLM,
    )

    from utils.text.tokenizer import load_tokenizer

    d_model, d_mlp, d_vocab = 4 * n_heads, 7 + n_layers, 300
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=d_vocab,
            n_positions=11,
            n_embd=d_model,
            n_layer=n_layers,
            n_head=n_heads,
            n_inner=d_mlp,
        )
        make = GPT2LMHeadModel
    else:
        config = LlamaConfig(
            vocab_size=d_vocab,
            hidden_size=d_model,
            intermediate_size=d_mlp,
            num_hidden_layers=n_layers,
            num_attention_heads=n_heads,
            num_key_value_heads=n_heads // 2,
            head_dim=4,
        )
        make = LlamaForCausalLM
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = make(config).eval()
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            is_norm = "ln_" in name or "norm" in name
            around = 1.0 if is_norm and "bias" not in name else 0.0
            parameter.copy_(around + noise / parameter.shape[-1] ** 0.5)
        found = TransformerBridge.boot_transformers(
            kind, hf_model=model, tokenizer=load_tokenizer(d_vocab), dtype=torch.float32
        )
        found.enable_compatibility_mode(disable_warnings=True)
    return found.requires_grad_(False)
