"""What an exercise's stub promises: the parameters it takes and the kind it returns.

Both are read from the cell of the shipped notebook, which is what the learner saw. A
passed answer has these parameters, and what it returns reaches later cells in this
kind, however the answer was written: in NumPy, in float64, as a dense matrix.
"""

import ast
import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformer_lens import FactoredMatrix

from utils.checks import stub_of

__all__ = ["Stub", "handed_on", "in_kind", "read_stub", "same_kind", "signature_fault"]

NO_DEFAULT = inspect.Parameter.empty
POSITIONAL = inspect.Parameter.POSITIONAL_OR_KEYWORD
KEPT = 1e-5  # of the largest singular value: what float32 can tell from rounding


@dataclass(frozen=True)
class Stub:
    """The parameters of a stub with their defaults, and its return annotation."""

    parameters: tuple[tuple[str, object], ...]
    returns: str


@functools.cache
def read_stub(name: str) -> Stub | None:
    """The stub of an exercise; None where there is no notebook to read it from."""
    source = stub_of(name)
    if source is None:
        return None
    function = ast.parse(source).body[0]
    names = [argument.arg for argument in function.args.args]
    defaults = [ast.literal_eval(value) for value in function.args.defaults]
    padded = [NO_DEFAULT] * (len(names) - len(defaults)) + defaults
    returns = ast.unparse(function.returns) if function.returns else ""
    return Stub(tuple(zip(names, padded, strict=True)), returns)


# --- parameters ---------------------------------------------------------------------


def signature_fault(stub: Stub, function: Callable) -> str | None:
    """What is different about an answer's parameters, in a sentence, or None.

    Names, order and defaults count, annotations do not. More parameters may follow if
    they have defaults. `*args` together with `**kwargs` takes any call; one of them
    alone does not, since later cells call by position and by name.
    """
    try:
        given = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some callables cannot tell
        return None
    kinds = {parameter.kind for parameter in given}
    takes_all = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    named = [parameter for parameter in given if parameter.kind is POSITIONAL]
    for number, (name, default) in enumerate(stub.parameters):
        if number >= len(named) and takes_all <= kinds:
            break
        if number >= len(named) or named[number].name != name:
            return f"Parameter {number + 1} should be called `{name}`."
        if not _same_default(named[number].default, default):
            return f"`{name}` should {_default_words(default)}."
    more = [p for p in given if p.kind not in takes_all][len(stub.parameters) :]
    for parameter in more:
        if parameter.default is NO_DEFAULT:
            return f"`{parameter.name}` is one parameter more than the stub has."
    return None


def _same_default(one, two) -> bool:
    return one is two or (type(one) is type(two) and one == two)


def _default_words(default) -> str:
    if default is NO_DEFAULT:
        return "have no default"
    return f"have the default {default!r}"


# --- kinds --------------------------------------------------------------------------


def handed_on(
    stub: Stub | None, function: Callable, returned: list[tuple]
) -> tuple[Callable, str]:
    """A passed answer as later cells get it, and a note if they get it converted.

    `returned` holds, for calls of the check, (arguments, result). An answer whose
    results all had the stub's kind stays itself. Otherwise it is wrapped, with itself
    at `.yours`.
    """
    if stub is None:
        return function, ""
    other = [
        result
        for given, result in returned
        if not same_kind(in_kind(result, stub.returns, given), result)
    ]
    if not other:
        return function, ""

    @functools.wraps(function)
    def converted(*args, **kwargs):
        return in_kind(function(*args, **kwargs), stub.returns, (args, kwargs))

    converted.yours = function
    note = (
        f"Your function returns {_kind_words(other[0])}. That is right. Later cells "
        f"need {_kind_words(in_kind(other[0], stub.returns))}, so that is what they "
        "get. Your own stays at `.yours`."
    )
    return converted, note


def in_kind(value, kind: str, given=()):
    """A result in the kind that an annotation names, where that loses nothing.

    Floating numbers come in float32, unless float64 is among the arguments `given`. A
    value of which the annotation says nothing, or that cannot be converted, stays as it
    is.
    """
    try:
        wanted = ast.parse(kind, mode="eval").body if kind else None
        return _convert(value, wanted, given)
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return value


def _convert(value, kind: ast.expr | None, given):
    name, parts = _opened(kind)
    if name == "FactoredMatrix" and not isinstance(value, FactoredMatrix):
        return _factored(_tensor(value, given))
    if name == "FactoredMatrix":
        return FactoredMatrix(_tensor(value.A, given), _tensor(value.B, given))
    if name == "Float":
        value = _tensor(value, given)
        return value if value.is_floating_point() else value.to(torch.float32)
    if name == "Int":
        return _tensor(value, given).to(torch.int64)
    if name == "Tensor":
        return _tensor(value, given)
    if name in ("float", "int", "str"):
        return {"float": float, "int": int, "str": str}[name](value)
    if name == "dict":
        return {key: _convert(item, parts[1], given) for key, item in value.items()}
    if name == "list":
        return [_convert(item, parts[0], given) for item in value]
    if name == "tuple":
        pairs = zip(value, parts, strict=True)
        return tuple(_convert(item, part, given) for item, part in pairs)
    return value


def _opened(kind: ast.expr | None) -> tuple[str, list[ast.expr]]:
    """`tuple[int, Tensor]` is "tuple" with the two inside it."""
    if isinstance(kind, ast.Name):
        return kind.id, []
    if isinstance(kind, ast.Subscript) and isinstance(kind.value, ast.Name):
        inside = kind.slice
        return kind.value.id, inside.elts if isinstance(inside, ast.Tuple) else [inside]
    return "", []


def _tensor(value, given) -> Tensor:
    if isinstance(value, FactoredMatrix):
        value = value.AB
    value = torch.as_tensor(value)
    if value.is_floating_point() or value.is_complex():
        if torch.float64 in _dtypes(given):
            return value
        return value.to(torch.complex64 if value.is_complex() else torch.float32)
    return value if value.dtype == torch.bool else value.to(torch.int64)


def _dtypes(value) -> set[torch.dtype]:
    if isinstance(value, Tensor):
        return {value.dtype}
    if isinstance(value, nn.Module):
        return {parameter.dtype for parameter in value.parameters()}
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return set().union(*(_dtypes(item) for item in value))
    return set()


def _factored(matrix: Tensor) -> FactoredMatrix:
    """A dense matrix as the product of two thin ones, as thin as its rank allows.

    Few random combinations of the columns span them all when the rank is low. Their
    number is doubled until nothing is left over; then singular values that float32
    cannot tell from zero are dropped.
    """
    rows, columns = matrix.shape
    generator = torch.Generator().manual_seed(0)
    width, size = 0, matrix.norm()
    while True:
        width = min(2 * width or 16, rows, columns)
        draws = torch.randn(columns, width, generator=generator).to(matrix)
        basis = torch.linalg.qr(matrix @ draws)[0]
        inner = basis.T @ matrix
        full = width == min(rows, columns)
        if full or (matrix - basis @ inner).norm() <= KEPT * size:
            break
    left, sizes, right = torch.linalg.svd(inner, full_matrices=False)
    rank = max(1, int((sizes > KEPT * sizes[0]).sum()))
    return FactoredMatrix((basis @ left[:, :rank]) * sizes[:rank], right[:rank])


def same_kind(one, two) -> bool:
    """Whether two results are of one Python type, with tensors of one dtype inside."""
    if type(one) is not type(two):
        return False
    if isinstance(one, Tensor):
        return one.dtype == two.dtype
    if isinstance(one, FactoredMatrix):
        return one.A.dtype == two.A.dtype and one.B.dtype == two.B.dtype
    if isinstance(one, dict):
        return all(same_kind(value, two[key]) for key, value in one.items())
    if isinstance(one, list | tuple):
        return all(same_kind(a, b) for a, b in zip(one, two, strict=True))
    return True


def _kind_words(value) -> str:
    """The kind of a result in words: "a float32 tensor", "a NumPy array", ..."""
    if isinstance(value, Tensor):
        number = "a tensor without axes" if value.dim() == 0 else "a tensor"
        return f"{number} of {str(value.dtype).removeprefix('torch.')}"
    if isinstance(value, np.ndarray | np.generic):
        return f"a NumPy array of {value.dtype}"
    if isinstance(value, list | tuple) and value:
        kinds = list(dict.fromkeys(map(_kind_words, value)))
        return f"a {type(value).__name__} with {' and '.join(kinds)}"
    if isinstance(value, dict) and value:
        return f"a dict with {_kind_words(next(iter(value.values())))}"
    if isinstance(value, FactoredMatrix):
        return f"a FactoredMatrix of {str(value.A.dtype).removeprefix('torch.')}"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
