"""Chapter 6: what several of its judges need."""

import torch
from torch import Tensor

from utils.checks import expect

__all__ = ["parts", "random"]


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parts(result, names: tuple[str, ...]) -> tuple:
    """The result as a tuple with as many parts as there are names."""
    expect.true(
        isinstance(result, list | tuple) and len(result) == len(names),
        f"The result should be a tuple of {len(names)}: {', '.join(names)}.",
    )
    return tuple(result)
