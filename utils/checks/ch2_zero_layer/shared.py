"""Chapter 2: what several of its judges need."""

import torch
from torch import Tensor

__all__ = ["counts"]


def counts(tokens: Tensor, d_vocab: int) -> Tensor:
    pairs = tokens[:, :-1].flatten() * d_vocab + tokens[:, 1:].flatten()
    return torch.bincount(pairs, minlength=d_vocab**2).view(d_vocab, d_vocab).float()
