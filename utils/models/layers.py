"""An attention layer as in the paper, and the block that adds it to the stream."""

import math
from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from utils.models.attention import causal_attention
from utils.models.config import AttentionOnlyConfig

__all__ = ["Block"]


class Attention(nn.Module):
    """One attention layer: queries, keys, values, one softmax, one output matrix.

    `pattern_fn` and `scores_fn` are the two places where the bridge's hooks look in
    and may change what they see. Without them the fused kernel is used, which never
    forms the pattern.
    """

    accepts_pattern_fn = True  # tells TransformerLens to hook the pattern from inside

    def __init__(self, config: AttentionOnlyConfig):
        super().__init__()
        width = config.n_heads * config.d_head
        self.n_heads = config.n_heads
        self.d_head = config.d_head
        self.q = nn.Linear(config.d_model, width, bias=False)
        self.k = nn.Linear(config.d_model, width, bias=False)
        self.v = nn.Linear(config.d_model, width, bias=False)
        self.o = nn.Linear(width, config.d_model, bias=False)
        if config.smeared_keys:
            self.smear = nn.Parameter(torch.zeros(config.n_heads))
        # A tuple, so that a hook point stored here is not registered as a submodule.
        self.scores_fn: tuple[Callable[[Tensor], Tensor], ...] = ()

    def forward(
        self,
        hidden_states: Float[Tensor, "batch pos d_model"],
        positions: Float[Tensor, "batch pos d_model"] | None = None,
        attention_mask: Int[Tensor, "batch pos"] | None = None,
        pattern_fn: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Float[Tensor, "batch pos d_model"]]:
        x = hidden_states
        placed = x if positions is None else x + positions
        q = self._split_heads(self.q(placed))
        k = self._smeared(self._split_heads(self.k(placed)))
        v = self._split_heads(self.v(x))
        if pattern_fn is None and not self.scores_fn and attention_mask is None:
            mixed = causal_attention(q, k, v)
        else:
            mixed = self._pattern(q, k, attention_mask, pattern_fn) @ v
        mixed = rearrange(mixed, "batch head pos d_head -> batch pos (head d_head)")
        # A tuple, because TransformerLens expects what Hugging Face's layers return.
        return (self.o(mixed),)

    def _split_heads(self, x: Tensor) -> Float[Tensor, "batch head pos d_head"]:
        return rearrange(
            x, "batch pos (head d_head) -> batch head pos d_head", head=self.n_heads
        )

    def _smeared(self, k: Float[Tensor, "batch head pos d_head"]) -> Tensor:
        if not hasattr(self, "smear"):
            return k
        own = torch.sigmoid(self.smear)[:, None, None]
        before = torch.cat([k[:, :, :1], k[:, :, :-1]], dim=2)
        return own * k + (1 - own) * before

    def _pattern(self, q, k, attention_mask, pattern_fn) -> Tensor:
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.d_head)
        length = scores.shape[-1]
        hidden = torch.ones(length, length, dtype=torch.bool, device=q.device).triu(1)
        if attention_mask is not None:
            padded = attention_mask[:, None, None, :] == 0
            # The diagonal stays visible, so that a padded row has something to see.
            own = torch.eye(length, dtype=torch.bool, device=q.device)
            hidden = hidden | (padded & ~own)
        scores = scores.masked_fill(hidden, -torch.inf)
        for look in self.scores_fn:
            scores = look(scores)
        pattern = scores.softmax(dim=-1)
        return pattern if pattern_fn is None else pattern_fn(pattern)


class Block(nn.Module):
    """An attention layer that adds its output to the residual stream (F-11)."""

    def __init__(self, config: AttentionOnlyConfig):
        super().__init__()
        self.ln1 = nn.Identity()  # the bridge looks for a place of this name
        self.attn = Attention(config)

    def forward(self, hidden_states, positions=None, attention_mask=None):
        (out,) = self.attn(
            self.ln1(hidden_states),
            positions=positions,
            attention_mask=attention_mask,
        )
        return (hidden_states + out,)
