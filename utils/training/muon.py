"""The Muon optimiser for small matrices on a processor; the trainer calls it.

Muon moves a weight matrix by the orthogonal matrix nearest to its momentum, so that
all directions of the matrix learn at one speed (Jordan et al. 2024). PyTorch has one
too. It works in bfloat16 and on one matrix after the other, which is right for large
matrices on a graphics card, and takes a quarter of a training step here: seen on one
core without bfloat16 units, with eight matrices of 128 by 128, 32 ms against 5 ms.
"""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Muon", "orthogonalised"]

# Of the polynomial whose repeated use drives all singular values to about 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, times `lr`.

    All parameters are matrices; those of one shape are made orthogonal together. A
    matrix with more rows than columns takes larger steps, by the root of the ratio, as
    in PyTorch's. Its numbers are those of `torch.optim.Muon` but for rounding.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ):
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults)
        for group in self.param_groups:
            if any(p.ndim != 2 for p in group["params"]):
                raise ValueError("Muon is for matrices; this parameter is none.")

    @torch.no_grad()
    def step(self, closure=None):
        """One update of every parameter that has a gradient."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for parameters in by_shape.values():
                self._move(parameters, group)
        return loss

    def _move(self, parameters: list[nn.Parameter], group: dict) -> None:
        wanted = torch.stack([self._momentum(p, group["momentum"]) for p in parameters])
        rows, columns = wanted.shape[1:]
        lr = group["lr"] * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, orthogonalised(wanted), strict=True):
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update.to(parameter.dtype), alpha=-lr)

    def _momentum(self, parameter: nn.Parameter, share: float) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
        buffer = state["momentum_buffer"]
        buffer.lerp_(parameter.grad, 1 - share)
        return parameter.grad.lerp(buffer, share)


def orthogonalised(
    matrices: Float[Tensor, "matrix row column"],
) -> Float[Tensor, "matrix row column"]:
    """Each matrix with its singular values driven to between about 0.7 and 1.2.

    Float32 on a processor, bfloat16 elsewhere, by the Newton-Schulz iteration.
    """
    a, b, c = COEFFICIENTS
    dtype = torch.float32 if matrices.device.type == "cpu" else torch.bfloat16
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a
        )
    return x.mT if tall else x
