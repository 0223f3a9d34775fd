"""Run a learner's code so that whatever it does, the notebook goes on.

The engine calls everything here. `guarded` bounds the time, catches exits and collects
prints. What the code changed is put back by `utils/exercises/snapshot.py`.
"""

import builtins
import contextlib
import ctypes
import io
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

__all__ = ["Printed", "TimeUp", "guarded"]

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
