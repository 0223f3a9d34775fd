"""`python3 -m utils bench`: what things cost on this machine, in one table.

Without a word: payloads of figures, a chapter's start, tokens per second, a resume.
`bench training` measures the time until an induction head forms, ours beside
TransformerLens's own trainer and a ladder that changes one thing at a time; `bench
real` times what chapter 7 does with a language model's weights; `bench hub` starts a
JupyterHub and measures a learner on it; `bench chapters` runs every chapter; `bench
all` does all of it. The rows come from
`tests/bench_rows`. Nothing here is a test: a number that depends on the machine must
not fail one.
"""

import contextlib
import os
import platform
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version

import torch

from tests.bench_rows import Row, Section
from tests.bench_rows.chapters import chapter_rows
from tests.bench_rows.induction import THRESHOLD, induction_rows
from tests.bench_rows.jupyterhub import hub_rows
from tests.bench_rows.payloads import payloads
from tests.bench_rows.real_models import real_model_rows
from tests.bench_rows.speed import resume, throughput
from tests.bench_rows.start import start_of_a_chapter
from utils.training import recipes

__all__ = ["Plan", "main", "read_words"]

WHAT = ("quick", "training", "chapters", "real", "hub", "all")
AMOUNTS = ("short", "replay", "full")
WIDTHS = (46, 44, 34, 0)
HELP = (
    "bench [quick | training | chapters | real | hub | all] [--limit SECONDS] "
    "[--seeds N] [--train short | replay | full]"
)


@dataclass(frozen=True)
class Plan:
    """What is to be measured. `limit` and `seeds` are for the training runs, `train`
    is COURSE_TRAIN while the chapters run."""

    what: str = "quick"
    limit: float | None = None
    seeds: int = 5
    train: str = "short"

    def has(self, what: str) -> bool:
        """Whether this part of the table is wanted."""
        return self.what in (what, "all")


def main(argv: list[str]) -> int:
    """Measure and print. 0, or 2 for words that are not understood."""
    try:
        plan = read_words(argv)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    print(machine(), flush=True)
    for line in table(measured(plan)):
        print(line, flush=True)
    return 0


def read_words(argv: list[str]) -> Plan:
    """The plan that the words ask for; ValueError says in a sentence what is wrong."""
    options = {"--limit": _seconds, "--seeds": _count, "--train": _amount}
    given, words = {}, list(argv)
    while words:
        word = words.pop(0)
        if word in options:
            if not words:
                raise ValueError(f"{word} needs a value: {HELP}.")
            given[word.removeprefix("--")] = options[word](words.pop(0))
        elif word in WHAT and "what" not in given:
            given["what"] = word
        else:
            raise ValueError(f"{word!r} is not understood here: {HELP}.")
    return Plan(**given)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise ValueError(f"--limit is a number of seconds, not {text!r}.")
    return seconds


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text)):
        raise ValueError(f"--seeds is a whole number from 1, not {text!r}.")
    return int(text)


def _amount(text: str) -> str:
    if text not in AMOUNTS:
        raise ValueError(f"--train is one of {', '.join(AMOUNTS)}, not {text!r}.")
    return text


def measured(plan: Plan) -> Iterator[Section | Row]:
    """Headings and rows, each as soon as it is measured."""
    lens = "TransformerLens"
    if plan.has("quick"):
        yield Section("payload in the notebook", other="stock circuitsvis, offline")
        yield from payloads()
        yield Section("a chapter's setup line", other=f"import {lens} alone")
        yield from start_of_a_chapter()
        yield Section("training the live model", other=f"{lens}'s model and trainer")
        yield from throughput(recipes.LIVE)
        yield from resume(recipes.LIVE)
    if plan.has("training"):
        title = f"until prefix matching {THRESHOLD}"
        yield Section(title, ours="time", other="tokens")
        yield from induction_rows(recipes.LIVE, plan.seeds, plan.limit)
    if plan.has("real"):
        yield Section(
            "a real model",
            ours="ours: time, largest memory with the model's",
            other=f"the same by {lens}",
        )
        yield from real_model_rows()
    if plan.has("hub"):
        yield Section("a learner on a JupyterHub", other="at most")
        yield from hub_rows()
    if plan.has("chapters"):
        title = f"a solved chapter, COURSE_TRAIN={plan.train}"
        yield Section(
            title, ours="time, top to bottom", other="kernel's largest memory"
        )
        yield from chapter_rows(plan.train)


def table(rows: Iterable[Section | Row]) -> Iterator[str]:
    """The lines of the table, one after the other."""
    for row in rows:
        if isinstance(row, Section):
            yield ""
            heading = _line((row.title, row.ours, row.other, "ratio"))
            yield heading
            yield "-" * len(heading)
        else:
            yield _line((row.what, row.ours, row.other, row.ratio))


def _line(cells: Iterable[str]) -> str:
    """Cells side by side; one that is too wide moves the others along."""
    pairs = zip(cells, WIDTHS, strict=True)
    return "  ".join(cell.ljust(width) for cell, width in pairs).rstrip()


def machine() -> str:
    """One line about what the numbers depend on."""
    return ", ".join(
        [
            _processor(),
            f"{os.cpu_count()} cores",
            f"{torch.get_num_threads()} threads",
            f"Python {platform.python_version()}",
            f"PyTorch {torch.__version__}",
            f"TransformerLens {version('transformer-lens')}",
        ]
    )


def _processor() -> str:
    """The processor's name, which Linux keeps in a file and others tell."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
