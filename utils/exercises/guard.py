"""Run a learner's code so that whatever it does, the notebook goes on.

The engine calls everything here. `guarded` bounds the time, catches exits and collects
prints; `Snapshot` remembers models, tensors, random state and grad mode by value, names
what changed, and puts it back.
"""

import builtins
import contextlib
import ctypes
import io
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["Printed", "Snapshot", "TimeUp", "guarded"]

PRINT_LIMIT = 4_000
PATIENCE = 6  # how many times its limit a code may take by the clock on the wall


class TimeUp(BaseException):
    """Raised inside code that computed for longer than its limit.

    It is no Exception, so that a plain `except Exception` in the code does not stop it.
    """

    @staticmethod
    def sentence(seconds: float) -> str:
        """What to tell the learner whose limit was `seconds`."""
        return (
            f"Your code was still running after {seconds:g} seconds of computing, so "
            "it was stopped. Look for a loop that never ends."
        )


class Waited(TimeUp):
    """Raised inside code that took far longer than its limit, mostly without computing.

    It sleeps or waits for something, or the computer is busy with other work.
    """

    @staticmethod
    def sentence(seconds: float) -> str:
        return (
            f"Your code was not done after {PATIENCE * seconds:g} seconds, although it "
            f"computed for less than {seconds:g} of them, so it was stopped. Either it "
            "waits for something, or this computer is very busy: then run it again."
        )


class Printed(io.TextIOBase):
    """Collects the first few thousand printed characters and drops the rest."""

    def __init__(self):
        self._parts: list[str] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        room = PRINT_LIMIT - self._length
        if room > 0:
            self._parts.append(text[:room])
            self._length += len(text)
        return len(text)

    @property
    def text(self) -> str:
        """What was printed; says so when it was cut."""
        cut = "\n... (cut)" if self._length > PRINT_LIMIT else ""
        return "".join(self._parts) + cut


@contextlib.contextmanager
def guarded(seconds: float, namespace: dict | None = None) -> Iterator[Printed]:
    """Run the body for `seconds` of computing, with exits caught and prints collected.

    `namespace` is the global namespace of the learner's function: IPython keeps its
    own `exit` and `quit` there. Raises TimeUp or SystemExit out of the body.
    """
    printed = Printed()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_exits_only_raise(namespace or {}))
        stack.enter_context(contextlib.redirect_stdout(printed))
        stack.enter_context(contextlib.redirect_stderr(printed))
        with _time_limit(seconds):
            yield printed


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise TimeUp in this thread after `seconds`, again and again until it is out.

    What counts is the thread's own processor time, so that a busy computer stops
    nobody; after several times as long by the wall clock it is over all the same. No
    signals: JupyterLab runs widget callbacks in other threads, where signals do not
    work. One long native call ends first.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    raise_in = ctypes.pythonapi.PyThreadState_SetAsyncExc
    lock, over = threading.Lock(), threading.Event()
    computed, began = _processor_clock(), time.monotonic()

    def watch() -> None:
        reason = None
        while not over.wait(0.05):
            if reason is None and computed() > seconds:
                reason = TimeUp
            if reason is None and time.monotonic() - began > PATIENCE * seconds:
                reason = Waited
            with lock:
                if reason is not None and not over.is_set():
                    raise_in(thread, ctypes.py_object(reason))

    def stop() -> None:
        with lock:
            over.set()
            raise_in(thread, None)  # takes back one that has not arrived yet

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        while not over.is_set():
            try:
                stop()
            except TimeUp:
                continue
        raise_in(thread, None)


def _processor_clock() -> Callable[[], float]:
    """Seconds that this thread computes from now on, readable from any thread.

    Where a thread's own clock cannot be read, the smaller one of the process's and the
    wall's.
    """
    if hasattr(time, "pthread_getcpuclockid"):
        clock = time.pthread_getcpuclockid(threading.get_ident())
        start = time.clock_gettime(clock)
        return lambda: time.clock_gettime(clock) - start
    process, wall = time.process_time(), time.monotonic()
    return lambda: min(time.process_time() - process, time.monotonic() - wall)


@contextlib.contextmanager
def _exits_only_raise(namespace: dict) -> Iterator[None]:
    """Make every way to end the process raise SystemExit and nothing more."""

    def leave(*_args, **_kwargs):
        raise SystemExit

    def no_input(*_args, **_kwargs):
        raise RuntimeError("input() does not work inside an exercise.")

    with contextlib.ExitStack() as stack:
        for name in ("exit", "quit"):
            stack.enter_context(_replaced(vars(builtins), name, leave))
            if name in namespace:
                stack.enter_context(_replaced(namespace, name, leave))
        stack.enter_context(_replaced(vars(builtins), "input", no_input))
        stack.enter_context(_replaced(vars(os), "_exit", leave))
        shell = sys.modules.get("IPython") and sys.modules["IPython"].get_ipython()
        if shell is not None:
            stack.enter_context(_replaced(vars(shell), "ask_exit", leave))
        yield


@contextlib.contextmanager
def _replaced(where: dict, name: str, value) -> Iterator[None]:
    missing = object()
    before = where.get(name, missing)
    where[name] = value
    try:
        yield
    finally:
        if before is missing:
            where.pop(name, None)
        else:
            where[name] = before


class Snapshot:
    """Remembers models and tensors by value, with random state and grad mode.

    `restore()` puts everything back and returns what had changed, in words: `.harm`
    for models and tensors, `.notes` for the rest.
    """

    def __init__(self, values: tuple = ()):
        self._models: dict[int, _ModelState] = {}
        self._tensors: list[tuple[Tensor, Tensor]] = []
        self.harm: list[str] = []
        self.notes: list[str] = []
        for value in values:
            self._remember(value)
        self._random = _random_state()
        self._grad = torch.is_grad_enabled()

    def _remember(self, value) -> None:
        if isinstance(value, nn.Module):
            self._models.setdefault(id(value), _ModelState(value))
        elif isinstance(value, Tensor):
            self._tensors.append((value, value.detach().clone()))
        elif isinstance(value, dict):
            for item in value.values():
                self._remember(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self._remember(item)

    def restore(self) -> None:
        """Put back what changed and say so in `harm` and `notes`."""
        for state in self._models.values():
            self.harm += [word for word in state.restore() if word not in self.harm]
        for value, before in self._tensors:
            if not _same_numbers(value, before):
                _put_back(value, before)
                self.harm.append("a tensor it was given")
        if not _equal_random(self._random, _random_state()):
            _set_random_state(self._random)
            self.notes.append("the random state")
        if torch.is_grad_enabled() != self._grad:
            torch.set_grad_enabled(self._grad)
            self.notes.append("torch's grad mode")


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
                name: (tensor, tensor.detach().clone(), tensor.requires_grad)
                for name, tensor in values.items()
                if tensor is not None
            },
            "hooks": {
                name: type(hooks)(hooks)
                for name in self.HOOKS + self.LISTS
                if (hooks := module.__dict__.get(name)) is not None
            },
        }

    def restore(self) -> list[str]:
        changed = []
        for module, before in self._modules:
            if module.training != before["training"]:
                module.training = before["training"]
                changed.append("the model's training mode")
            for name, (tensor, copy, grad) in before["values"].items():
                if self._restore_value(module, name, tensor, copy, grad):
                    changed.append("the model's weights")
            for name, hooks in before["hooks"].items():
                if module.__dict__[name] != hooks:
                    module.__dict__[name].clear()
                    _refill(module.__dict__[name], hooks)
                    changed.append("the model's hooks")
        return list(dict.fromkeys(changed))

    def _restore_value(self, module, name, tensor, copy, grad) -> bool:
        store = module._parameters if name in module._parameters else module._buffers
        now = store.get(name)
        if (
            now is tensor
            and tensor.requires_grad == grad
            and _same_numbers(tensor, copy)
        ):
            return False
        _put_back(tensor, copy)
        if tensor.is_leaf:
            tensor.requires_grad_(grad)
        store[name] = tensor
        return True


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


def _put_back(tensor: Tensor, copy: Tensor) -> None:
    # Through .data, because the tensor may be a leaf that needs a gradient.
    if tensor.shape == copy.shape and tensor.dtype == copy.dtype:
        tensor.data.copy_(copy)  # in place, because it may be a view of another
    else:
        tensor.data = copy


def _same_numbers(now: Tensor, before: Tensor) -> bool:
    if now.dtype != before.dtype or now.shape != before.shape:
        return False
    if now.device != before.device:
        return False
    if now.is_floating_point() or now.is_complex():
        return torch.equal(now.nan_to_num(), before.nan_to_num())
    return torch.equal(now, before)


def _random_state() -> tuple:
    return torch.get_rng_state(), random.getstate(), np.random.get_state()


def _equal_random(one: tuple, two: tuple) -> bool:
    numpy_equal = all(np.array_equal(a, b) for a, b in zip(one[2], two[2], strict=True))
    return torch.equal(one[0], two[0]) and one[1] == two[1] and numpy_equal


def _set_random_state(state: tuple) -> None:
    torch.set_rng_state(state[0])
    random.setstate(state[1])
    np.random.set_state(state[2])
