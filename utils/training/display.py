"""What a training shows while it runs, and how an interrupt or a press reaches it.

The trainer uses the first two; the live panel, and whatever else has buttons that must
act while a cell is busy, the others.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tqdm.auto import tqdm

from utils.training.config import TrainConfig

__all__ = ["Display", "answer_while_busy", "asking_to_stop"]


def answer_while_busy(control) -> None:
    """Let a widget's messages arrive on the thread that JupyterLab sent them to.

    ipykernel 7.4 brings them to the thread that last wrote to the widget instead. While
    a cell runs that is the busy one, so a button would act only when all is over.
    """
    if hasattr(control.comm, "_reply_subshell_for"):
        control.comm._reply_subshell_for = lambda data, default: default


@contextmanager
def asking_to_stop() -> Iterator[threading.Event]:
    """An event that the first interrupt sets; the second interrupt is an ordinary one.

    Signals reach only the main thread, elsewhere the event is set by nobody.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def on_interrupt(signum, frame):
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, previous or signal.SIG_DFL)


class Progress(Protocol):
    """How far a run has come: what `Display` reads of the trainer's loop."""

    step: int
    tokens: int
    seconds: float
    config: TrainConfig
    processes: Any


class Display:
    """A progress bar in a notebook or terminal, and a line every 30 s elsewhere."""

    def __init__(self, loop: "Progress", wanted: bool):
        self.loop = loop
        self.wanted = wanted and loop.processes.is_main_process
        self.first = (loop.step, loop.tokens, loop.seconds)
        self.bar = None
        self.line_due = time.monotonic() + 30

    def __enter__(self) -> "_Display":
        lively = sys.stderr.isatty() or "ipykernel" in sys.modules
        if self.wanted and lively:
            steps = self.loop.config.steps
            self.bar = tqdm(
                total=steps, initial=self.loop.step, unit="step", desc="Training"
            )
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def show(self, row: dict[str, float]) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(self._text(row), refresh=False)
            self.bar.update()
        elif self.wanted and time.monotonic() > self.line_due:
            self.line_due = time.monotonic() + 30
            step, steps = row["step"], self.loop.config.steps
            text = f"step {step}/{steps}, {self._text(row)}, {self._left(row)} left"
            print(text, file=sys.stderr, flush=True)

    def _text(self, row: dict[str, float]) -> str:
        seconds = max(self.loop.seconds - self.first[2], 1e-9)
        rate = (row["tokens"] - self.first[1]) / seconds
        return f"loss {row['loss']:.3f} nats, {rate:,.0f} tokens/s"

    def _left(self, row: dict[str, float]) -> str:
        done = row["step"] - self.first[0]
        per_step = (self.loop.seconds - self.first[2]) / done
        return tqdm.format_interval(per_step * (self.loop.config.steps - row["step"]))
