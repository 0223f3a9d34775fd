"""Remember what an answer could change, and put it back after the answer was called.

`Snapshot` remembers models, tensors, random state and grad mode by value, names what
changed, and puts it back. A check calls the answer many times: `models_put_back` copies
the learner's models once for all of them, for a real model takes half a gigabyte.
"""

import contextlib
import random
import threading
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from utils.models.attention_only import live_models

__all__ = ["Snapshot", "models_put_back"]


class Snapshot:
    """Remembers models and tensors by value, with random state and grad mode.

    `restore()` puts everything back and returns what had changed, in words: `.harm`
    for models and tensors, `.notes` for the rest.
    """

    def __init__(self, values: tuple = ()):
        self._models: dict[int, _ModelState] = {}
        self._tensors: list[_Value] = []
        self.harm: list[str] = []
        self.notes: list[str] = []
        self.done = False  # whether all is known to be as it was
        for value in values:
            self._remember(value)
        self._random = _random_state()
        self._grad = torch.is_grad_enabled()

    def _remember(self, value) -> None:
        if isinstance(value, nn.Module):
            self._models.setdefault(id(value), _ModelState(value))
        elif isinstance(value, Tensor):
            self._tensors.append(_Value(value))
        elif isinstance(value, dict):
            for item in value.values():
                self._remember(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self._remember(item)

    def restore(self, every_number: bool = True) -> None:
        """Put back what changed and say so in `harm` and `notes`.

        Without `every_number` a model's values are compared only where torch has
        counted a write; one past torch, through NumPy or `.data`, is not seen.
        """
        for state in self._models.values():
            changed = state.restore(every_number)
            self.harm += [word for word in changed if word not in self.harm]
        for value in self._tensors:
            if not _same_numbers(value.tensor, value.copy):
                value.put_back()
                self.harm.append("a tensor it was given")
        if not _equal_random(self._random, _random_state()):
            _set_random_state(self._random)
            self.notes.append("the random state")
        if torch.is_grad_enabled() != self._grad:
            torch.set_grad_enabled(self._grad)
            self.notes.append("torch's grad mode")
        self.done = every_number


class _ModelState:
    """One model: parameters, buffers, hooks and the training flag of each module."""

    HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks")
    LISTS = ("fwd_hooks", "bwd_hooks")  # kept by TransformerLens's hook points

    def __init__(self, model: nn.Module):
        self._modules = [(module, self._look(module)) for module in _all_modules(model)]

    def _look(self, module: nn.Module) -> dict:
        values = {**module._parameters, **module._buffers}
        return {
            "training": module.training,
            "values": {
                name: _Value(tensor)
                for name, tensor in values.items()
                if tensor is not None
            },
            "hooks": {
                name: type(hooks)(hooks)
                for name in self.HOOKS + self.LISTS
                if (hooks := module.__dict__.get(name)) is not None
            },
        }

    def restore(self, every_number: bool) -> list[str]:
        changed = []
        for module, before in self._modules:
            if module.training != before["training"]:
                module.training = before["training"]
                changed.append("the model's training mode")
            for name, value in before["values"].items():
                if self._restore_value(module, name, value, every_number):
                    changed.append("the model's weights")
            for name, hooks in before["hooks"].items():
                if module.__dict__[name] != hooks:
                    module.__dict__[name].clear()
                    _refill(module.__dict__[name], hooks)
                    changed.append("the model's hooks")
        return list(dict.fromkeys(changed))

    def _restore_value(self, module, name, value, every_number) -> bool:
        store = module._parameters if name in module._parameters else module._buffers
        if store.get(name) is value.tensor and value.is_same(every_number):
            return False
        value.put_back()
        store[name] = value.tensor
        return True


class _Value:
    """A parameter or buffer, and how it was."""

    def __init__(self, tensor: Tensor):
        # Held, so that nothing else comes to lie where its numbers lay.
        self.tensor, self.home = tensor, tensor.data
        self.copy = self.home.clone()
        self.requires_grad, self.written = tensor.requires_grad, _written(tensor)

    def is_same(self, every_number: bool) -> bool:
        if self.tensor.requires_grad != self.requires_grad:
            return False
        if not every_number and self.written and self.written == _written(self.tensor):
            return True
        return _same_numbers(self.tensor, self.copy)

    def put_back(self) -> None:
        self.home.copy_(self.copy)  # where it lay, because others may look at it there
        self.tensor.data = self.home
        if self.tensor.is_leaf:
            self.tensor.requires_grad_(self.requires_grad)


def _written(tensor: Tensor) -> tuple | None:
    """Where it lies, and how often torch wrote into it; None where nobody counts."""
    if tensor.is_inference():
        return None
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor._version


def _all_modules(model: nn.Module) -> list[nn.Module]:
    """Every module below, also those a TransformerLens bridge keeps out of sight."""
    roots = [model]
    original = model.__dict__.get("original_model")
    if isinstance(original, nn.Module):
        roots.append(original)
    return list(dict.fromkeys(module for root in roots for module in root.modules()))


def _refill(container, items) -> None:
    if isinstance(items, dict):
        container.update(items)
    else:
        container.extend(items)


def _same_numbers(now: Tensor, before: Tensor) -> bool:
    if now.dtype != before.dtype or now.shape != before.shape:
        return False
    if now.device != before.device:
        return False
    # A NaN differs from itself.
    return torch.equal(now, before) or bool(
        ((now == before) | (now.isnan() & before.isnan())).all()
    )


def _random_state() -> tuple:
    return torch.get_rng_state(), random.getstate(), np.random.get_state()


def _equal_random(one: tuple, two: tuple) -> bool:
    numpy_equal = all(np.array_equal(a, b) for a, b in zip(one[2], two[2], strict=True))
    return torch.equal(one[0], two[0]) and one[1] == two[1] and numpy_equal


def _set_random_state(state: tuple) -> None:
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    np.random.set_state(state[2])


class _Open(threading.local):
    """One thread's copies of the learner's models, while something checks."""

    def __init__(self):
        self.snapshot: Snapshot | None = None


_open = _Open()


@contextlib.contextmanager
def models_put_back() -> Iterator[Snapshot]:
    """Inside, a learner's models may be changed; afterwards they are as they were.

    Inside another one the copies of the outer one serve, and what torch has counted is
    put back at once; the outer one looks at every number when it ends.
    """
    outer = _open.snapshot
    if outer is not None:
        own = Snapshot()
        try:
            yield own
        finally:
            outer.restore(every_number=False)
            own.restore()
        return
    _open.snapshot = Snapshot(tuple(live_models()))
    try:
        yield _open.snapshot
    finally:
        snapshot, _open.snapshot = _open.snapshot, None
        if not snapshot.done:
            snapshot.restore()
