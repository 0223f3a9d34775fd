"""Have the exercises' checks judge mutants, in processes of their own.

A mutant may run for ever or ask for all memory, so that each is judged in a process
that can be ended. What a check says after its verdict, such as which mistake it was,
is left out: only "passed or not" counts.
"""

import dataclasses
import importlib
import multiprocessing
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from pathlib import Path

from tests.mutator import Mutant, mutants_of

__all__ = ["ROOT", "judge_all", "mutants_of_exercise"]

ROOT = Path(__file__).resolve().parents[1]
SOFT = 10.0  # seconds after which the engine stops an answer
HARD = 60.0  # seconds after which the process is ended
MEMORY = 6 * 1024**3
# Where it can be, a new process is a fork of one that has imported this and no more.
START = "forkserver" if sys.platform.startswith("linux") else "spawn"
IMPORTED = ["transformer_lens.model_bridge", "utils.exercises.verdict"]


def mutants_of_exercise(name: str) -> dict[str, Mutant]:
    """Every mutant of an exercise's solution, by its text."""
    from utils.checks import chapter_of

    path = ROOT / "solutions" / f"{chapter_of(name)}.py"
    source = path.read_text(encoding="utf-8")
    return {mutant.text: mutant for mutant in mutants_of(source, name)}


def judge_all(
    work: Iterable[tuple[str, str]], processes: int = 1
) -> Iterator[tuple[str, str, bool]]:
    """Yield (exercise, mutant's text, whether it survived) as each has been judged."""
    waiting = deque(work)
    workers = [_Worker() for _ in range(max(1, min(processes, len(waiting))))]
    try:
        while waiting or any(worker.task for worker in workers):
            for worker in workers:
                if waiting and not worker.task:
                    worker.give(waiting.popleft())
            wait([w.pipe for w in workers if w.task], timeout=1.0)
            for worker in workers:
                answer = worker.answer()
                if answer is not None:
                    yield answer
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    """One process, and the mutant it is busy with."""

    def __init__(self):
        self.task: tuple[str, str] | None = None
        self.start()

    def start(self) -> None:
        # Not a fork of this process: torch's threads do not live through one.
        context = multiprocessing.get_context(START)
        if START == "forkserver":
            context.set_forkserver_preload(IMPORTED)
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.ready = False

    def give(self, task: tuple[str, str]) -> None:
        self.task, self.since = task, time.monotonic()
        self.pipe.send(task)

    def answer(self) -> tuple[str, str, bool] | None:
        """What came of the task, or None while there is nothing."""
        if not self.task:
            return None
        try:
            if self.pipe.poll():
                survived = self.pipe.recv()
                if survived == "ready":
                    self.ready, self.since = True, time.monotonic()
                    return None
                task, self.task = self.task, None
                return *task, survived
        except EOFError:
            if not self.ready:
                raise RuntimeError("A process for mutants did not start.") from None
            return self._without()
        if self.ready and time.monotonic() - self.since > HARD:
            return self._without()
        return None

    def _without(self) -> tuple[str, str, bool]:
        """The process died of its mutant or had to: that is no pass."""
        task, self.task = self.task, None
        self.end()
        self.start()
        return *task, False

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _serve(pipe) -> None:
    """Judge what comes through the pipe, until it closes."""
    import torch

    torch.set_num_threads(1)
    _limit_memory()
    known: dict[str, dict[str, Mutant]] = {}
    pipe.send("ready")
    while True:
        try:
            name, text = pipe.recv()
        except EOFError:
            return
        if name not in known:
            known.clear()
            known[name] = mutants_of_exercise(name)
        pipe.send(survives(name, known[name][text].namespace))


def survives(name: str, namespace: Callable[[], dict]) -> bool:
    """Whether the exercise's check lets a changed module's function pass."""
    import torch

    from utils.checks import chapter_of
    from utils.exercises import verdict

    check = importlib.import_module(f"utils.checks.{chapter_of(name)}.{name}")
    whole, steps_of = check.CHECK, verdict.steps_of
    torch.manual_seed(0)
    # As in a chapter, where the setup line switches gradients off.
    try:
        check.CHECK = dataclasses.replace(whole, mistakes=())
        verdict.steps_of = lambda name: ()
        with torch.no_grad():
            answer = namespace()[name]
            return verdict.run_check(name, answer, time_limit=SOFT).status == "passed"
    except Exception:  # noqa: BLE001 - a module that cannot even be run
        return False
    finally:
        check.CHECK, verdict.steps_of = whole, steps_of


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
