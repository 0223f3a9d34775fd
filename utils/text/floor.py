"""A lowest possible loss: a number that says how exact it is."""

from jaxtyping import Float
from torch import Tensor

__all__ = ["Floor", "floor_of"]


class Floor(float):
    """Nats per predicted token, with the standard error of the estimate.

    A number like any other; `standard_error` is 0.0 where the value is exact.
    """

    standard_error: float

    def __new__(cls, nats: float, standard_error: float = 0.0):
        floor = super().__new__(cls, nats)
        floor.standard_error = float(standard_error)
        return floor

    def __getnewargs__(self):
        return float(self), self.standard_error

    def __repr__(self) -> str:
        if self.standard_error == 0.0:
            return f"{float(self):.4f} nats (exact)"
        return f"{float(self):.4f} nats (standard error {self.standard_error:.4f})"


def floor_of(nats: Float[Tensor, "batch pos"]) -> Floor:
    """Mean over all predictions, with the standard error over rows."""
    per_row = nats.mean(-1)
    return Floor(per_row.mean().item(), (per_row.std() / len(per_row) ** 0.5).item())
