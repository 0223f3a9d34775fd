"""Models whose weights are set by hand, so that the right answer is known.

Checks and tests judge answers on these. They are tiny, and no two of their sizes are
equal, so that a swapped axis cannot go unnoticed.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.model import AttentionOnlyConfig, AttentionOnlyTransformer, as_bridge

__all__ = ["model_from_table", "random_model", "with_weights"]

_WEIGHTS = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")


def random_model(
    n_layers: int,
    seed: int = 0,
    d_vocab: int = 13,
    d_model: int = 10,
    n_heads: int = 3,
    d_head: int = 4,
    n_ctx: int = 11,
    positions: str = "qk",
    scale: float = 1.0,
    tokenizer=None,
) -> TransformerBridge:
    """A bridge around random weights of order `scale / sqrt(width)`, in eval mode.

    Larger than a fresh model's: attention is far from uniform and logits differ
    visibly, so that a wrong formula shows.
    """
    config = AttentionOnlyConfig(
        n_layers=n_layers,
        d_vocab=d_vocab,
        d_model=d_model,
        n_heads=n_heads,
        d_head=d_head,
        n_ctx=n_ctx,
        positions=positions,
    )
    model = AttentionOnlyTransformer(config, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1.5 * scale * noise / parameter.shape[-1] ** 0.5)
        model.tok_embed.weight.mul_(d_model**0.5)
    bridge = as_bridge(model.eval(), tokenizer)
    return bridge.requires_grad_(False)


def model_from_table(
    logits: Float[Tensor, "d_vocab d_vocab"],
) -> TransformerBridge:
    """A zero-layer bridge whose logits after token t are exactly `logits[t]`.

    W_E is the identity and W_U the table (F-40), so d_model equals d_vocab.
    """
    d_vocab = logits.shape[0]
    config = AttentionOnlyConfig(n_layers=0, d_vocab=d_vocab, d_model=d_vocab, n_ctx=11)
    model = AttentionOnlyTransformer(config)
    with torch.no_grad():
        model.tok_embed.weight.copy_(torch.eye(d_vocab))
        model.head.weight.copy_(logits.T)
    return as_bridge(model.eval()).requires_grad_(False)


def with_weights(
    model: TransformerBridge, weights: dict[str, Tensor]
) -> TransformerBridge:
    """A copy of a model with some of its weight matrices replaced.

    `weights` has keys such as "W_E", "W_pos", "W_Q", "W_O" or "W_U" and values in the
    shapes in which the model shows them. Raises ValueError for a name or a shape that
    the model does not have.
    """
    for name, value in weights.items():
        if name not in _WEIGHTS or getattr(model, name).shape != value.shape:
            wanted = {name: tuple(getattr(model, name).shape) for name in _WEIGHTS}
            raise ValueError(
                f"{name} {tuple(value.shape)} is no weight of this model: {wanted}."
            )
    now = {name: getattr(model, name) for name in _WEIGHTS} | weights
    copy = AttentionOnlyTransformer(model.original_model.config)
    with torch.no_grad():
        copy.tok_embed.weight.copy_(now["W_E"])
        copy.pos.weight.copy_(now["W_pos"])
        copy.head.weight.copy_(now["W_U"].T)
        for i, layer in enumerate(copy.layers):
            for name in "qkv":
                rows = now[f"W_{name.upper()}"][i].transpose(1, 2).flatten(0, 1)
                layer.attn.get_submodule(name).weight.copy_(rows)
            layer.attn.o.weight.copy_(now["W_O"][i].flatten(0, 1).T)
    return as_bridge(copy.eval(), model.tokenizer).requires_grad_(False)
