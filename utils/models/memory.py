"""Keep a large model's memory small: one copy of its weights, and freed means free.

Called by `utils.models.real` for models too large to be copied carelessly.
"""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

__all__ = ["fold_in_place", "give_back", "lay_side_by_side", "let_go", "stacked"]

M_MMAP_THRESHOLD = -3  # of glibc's mallopt
LARGE = 2**20  # bytes


def give_back() -> None:
    """From now on what is freed of large tensors goes back to the system at once.

    glibc keeps it for later, the more the larger the blocks were; told to, it gets
    blocks of a megabyte and more one by one and hands each back. Other systems do as
    they do.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE)


def let_go() -> None:
    """Collect what nothing refers to any more: `del` alone frees no model.

    A model is full of circles of references.
    """
    give_back()
    gc.collect()


def fold_in_place(bridge: TransformerBridge) -> None:
    """What TransformerLens's compatibility mode does, with two copies fewer on the way.

    The library copies all weights to centre W_U, and again to fold the values' biases.
    Both are done here on the weights themselves; the norms are folded by the library.
    """
    bridge.enable_compatibility_mode(
        disable_warnings=True, center_unembed=False, fold_value_biases=False
    )
    with torch.no_grad():
        for part in (bridge.unembed.weight, getattr(bridge.unembed, "bias", None)):
            if part is not None:
                part -= part.mean(dim=0)  # [d_vocab, d_model] and [d_vocab]
        for block in bridge.blocks:
            _fold_value_bias(block.attn)
    let_go()


def _fold_value_bias(attention: nn.Module) -> None:
    """Attention sums to 1, so a value's bias adds b_V W_O everywhere, as b_O does."""
    b_V = attention.v.bias
    if b_V is None:
        return
    W_O = attention.W_O  # [head, d_head, d_model]
    each = b_V.view(-1, W_O.shape[1])
    each = each.repeat_interleave(len(W_O) // len(each), dim=0)
    written = torch.einsum("hk,hkm->m", each, W_O)
    if attention.o.bias is None:
        attention.o.original_component.bias = nn.Parameter(written)
    else:
        attention.o.bias += written
    b_V.zero_()


def lay_side_by_side(bridge: TransformerBridge) -> None:
    """Put the same weight of all blocks into one piece of memory, block after block.

    The blocks then share it with `stacked`, which would otherwise copy. What the model
    computes stays as it is.
    """
    for name in [name for name, _ in bridge.blocks[0].named_parameters()]:
        own = [dict(block.named_parameters()).get(name) for block in bridge.blocks]
        if any(one is None or one.shape != own[0].shape for one in own):
            continue
        together = torch.stack([one.detach() for one in own])
        for one, place in zip(own, together, strict=True):
            one.data = place


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """`torch.stack(parts)`; where they lie side by side already, without a copy."""
    first = parts[0]
    start = first.storage_offset()
    step = parts[1].storage_offset() - start if len(parts) > 1 else 0
    for i, part in enumerate(parts):
        same = part.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        alike = (part.shape, part.stride()) == (first.shape, first.stride())
        if not (same and alike and part.storage_offset() == start + i * step):
            return torch.stack(list(parts))
    sizes, strides = (len(parts), *first.shape), (step, *first.stride())
    return first.as_strided(sizes, strides, start)
