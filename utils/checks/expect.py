"""Questions that judges ask of a learner's result, each with a readable complaint.

All of them raise `Wrong`. Their order inside a judge is the design's: type, shape,
dtype, finite, invariants, values.
"""

import contextlib
import numbers
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from transformer_lens import FactoredMatrix

from utils.checks import Wrong

__all__ = [
    "close",
    "number",
    "same_ids",
    "tensor",
    "true",
    "weights_only",
    "without_running",
]

ATOL, RTOL = 1e-5, 1e-4  # what rounding may cost, for judges and for named mistakes


def tensor(value, *, complex_ok: bool = False, **axes: int) -> Tensor:
    """The result as a finite float64 tensor of the given named shape.

    A FactoredMatrix is multiplied out and a NumPy array converted, so that correct
    answers written another way pass. `axes` names each axis: `batch=2, pos=5`.
    """
    value = _as_tensor(value)
    if tuple(value.shape) != tuple(axes.values()):
        words = ", ".join(axes)
        wanted = ", ".join(str(size) for size in axes.values())
        raise Wrong(
            f"Your result has shape {list(value.shape)}. "
            f"Here it should be [{words}] = [{wanted}]."
        )
    if value.dtype == torch.bool:
        raise Wrong("Your result holds True and False. Numbers are needed here.")
    if value.is_complex() and not complex_ok:
        raise Wrong("Your result is complex. Real numbers are needed here.")
    value = value.to(torch.complex128 if value.is_complex() else torch.float64)
    bad = ~torch.isfinite(value)
    if bad.any() and value.dim() == 0:
        raise Wrong(f"Your result is {value.item()}, which is no finite number.")
    if bad.any():
        place = [int(i) for i in bad.nonzero()[0]]
        raise Wrong(
            f"{int(bad.sum())} of the {value.numel()} numbers in your result are not "
            f"finite. The first stands at {place} and is {value[tuple(place)].item()}."
        )
    return value


def number(value) -> float:
    """The result as one finite number; a tensor with one element counts."""
    if isinstance(value, Tensor | np.ndarray | np.generic):
        value = _as_tensor(value)
        if value.numel() != 1:
            raise Wrong(
                f"Your result is a tensor of shape {list(value.shape)}. "
                "One number is needed here."
            )
        return tensor(value.reshape(()), **{}).item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise Wrong(f"Your result is {_a_kind(value)}. One number is needed here.")
    return tensor(torch.tensor(float(value))).item()


def close(
    value: Tensor | float,
    expected: Tensor | float,
    complaint: str,
    atol: float = ATOL,
    rtol: float = RTOL,
) -> None:
    """Complain unless every number is within tolerance; say where it is furthest."""
    value = torch.as_tensor(value)
    expected = torch.as_tensor(expected).detach().to(value.dtype)
    excess = (value - expected).abs() - (atol + rtol * expected.abs())
    if not (excess > 0).any():
        return
    place = [int(i) for i in torch.unravel_index(excess.argmax(), excess.shape)]
    yours, theirs = value[tuple(place)].item(), expected[tuple(place)].item()
    at = f" at {place}" if place else ""
    raise Wrong(f"{complaint} Yours is {yours:.5g}{at}, it should be {theirs:.5g}.")


def true(condition, complaint: str) -> None:
    """Complain unless the condition holds."""
    if not bool(condition):
        raise Wrong(complaint)


def same_ids(value, expected: Tensor, complaint: str) -> None:
    """Complain unless the result holds exactly these token ids."""
    value = _as_tensor(value)
    if value.shape != expected.shape or not torch.equal(
        value.to(torch.int64), expected.to(torch.int64)
    ):
        raise Wrong(complaint)


@contextlib.contextmanager
def without_running(model: nn.Module) -> Iterator[None]:
    """Inside, a forward pass of the model is Wrong: its weights have to be enough."""

    def refuse(*_):
        raise Wrong(
            "Your function runs the model. The weights alone are enough here, and "
            "they say why the model does what it does."
        )

    # A TransformerBridge runs the model that it keeps inside, sometimes past its own
    # forward.
    inside = [model, *filter(None, [model.__dict__.get("original_model")])]
    handles = [module.register_forward_pre_hook(refuse) for module in inside]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def weights_only(answer: Callable) -> Callable:
    """The answer, with a model as its first argument that it may not run."""

    def asked(model: nn.Module, *args, **kwargs):
        with without_running(model):
            return answer(model, *args, **kwargs)

    return asked


def _as_tensor(value) -> Tensor:
    if value is None:
        raise Wrong("Your function returned None. Is the return missing?")
    if isinstance(value, FactoredMatrix):
        value = value.AB
    if isinstance(value, np.ndarray | np.generic):
        value = torch.from_numpy(np.asarray(value))
    if isinstance(value, numbers.Number) and not isinstance(value, bool):
        value = torch.tensor(value)
    if not isinstance(value, Tensor):
        raise Wrong(f"Your result is {_a_kind(value)}. A tensor is needed here.")
    if value.is_meta:
        raise Wrong("Your result is on the meta device, so it holds no numbers.")
    return value.detach().cpu()


def _a_kind(value) -> str:
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
