"""Causal attention without hooks, for training; `utils.models.attention_only` calls it.

PyTorch's fused kernel is slow on the way back on a processor when its numbers are
bfloat16 and rows are short. There it is quicker to go through the batch one row at a
time with plain matrix products, so that a row's pattern stays in the cache; seen on one
core with 255 tokens and 8 heads of 32: 33 ms instead of 76 ms for both ways.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = ["causal_attention"]

LONGEST = 512


def causal_attention(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch head pos d_head"],
    v: Float[Tensor, "batch head pos d_head"],
) -> Float[Tensor, "batch head pos d_head"]:
    """softmax(q k^T / sqrt(d_head)) v, where no position sees a later one."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[2] <= LONGEST:
        # Smeared keys are float32: the way back, unlike this one, would not convert.
        return _RowByRow.apply(q, k.to(q.dtype), v.to(q.dtype))
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


class _RowByRow(torch.autograd.Function):
    """The pattern is kept for the way back, where it saves half of the work."""

    @staticmethod
    def forward(ctx, q, k, v):
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        n_rows, n_heads, length, d_head = q.shape
        later = torch.full((length, length), -torch.inf, dtype=q.dtype).triu(1)
        later = later.expand(n_heads, -1, -1)
        pattern = q.new_empty(n_rows, n_heads, length, length)
        out = torch.empty_like(q)
        for row in range(n_rows):
            keys = k[row].transpose(1, 2)
            scores = torch.baddbmm(later, q[row], keys, alpha=d_head**-0.5)
            torch.softmax(scores, dim=-1, out=pattern[row])
            torch.bmm(pattern[row], v[row], out=out[row])
        ctx.save_for_backward(q, k, v, pattern)
        return out

    @staticmethod
    def backward(ctx, d_out):
        q, k, v, pattern = ctx.saved_tensors
        d_out = d_out.contiguous()
        d_q, d_k, d_v = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        scale = q.shape[-1] ** -0.5
        for row in range(len(q)):
            shares = pattern[row]
            torch.bmm(shares.transpose(1, 2), d_out[row], out=d_v[row])
            d_shares = torch.bmm(d_out[row], v[row].transpose(1, 2))
            # d softmax: p * (d - sum(p d)), as PyTorch's own softmax does it.
            d_scores = torch._softmax_backward_data(d_shares, shares, -1, q.dtype)
            d_scores *= scale
            torch.bmm(d_scores, k[row], out=d_q[row])
            torch.bmm(d_scores.transpose(1, 2), q[row], out=d_k[row])
        return d_q, d_k, d_v
