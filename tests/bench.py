"""`python3 -m utils bench`: what things cost on this machine, in one table.

Payloads of figures beside stock circuitsvis, and time and memory of a chapter's setup
line. Times are medians of three runs of a whole process. Nothing here is a test: a
number that depends on the machine must not fail one.
"""

import statistics
import subprocess
import sys
import time

import circuitsvis
import torch

from utils import attention_view as views
from utils import environment, figures

__all__ = ["main"]

SETUP = """
import sys
from utils.prelude import *
if sys.platform == "win32":
    print("nan")
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1024**2 if sys.platform == "darwin" else 1024))
"""


def main(argv: list[str]) -> int:
    """Measure and print; no arguments."""
    for name, ours, other in [*_payloads(), *_setup_line()]:
        print(f"{name:<44}{ours:>16}{other:>30}")
    return 0


def _payloads() -> list[tuple[str, str, str]]:
    """Bytes in a saved notebook, ours and stock circuitsvis without a network."""
    generator = torch.Generator().manual_seed(0)
    rows = [("payload in the notebook", "ours", "stock circuitsvis")]
    for heads, length in ((8, 24), (8, 64), (8, 256)):
        scores = 4 * torch.randn(heads, length, length, generator=generator)
        future = torch.ones(length, length).triu(1).bool()
        patterns = scores.masked_fill(future, -torch.inf).softmax(-1)
        tokens = [f" word{i}" for i in range(length)]
        ours = views.attention_heads(patterns, tokens).stored_bytes()
        stock = circuitsvis.attention.attention_heads(patterns, tokens)
        rows.append(_bytes(f"attention of {heads} heads, {length} tokens", ours, stock))
    values = torch.randn(64, generator=generator)
    words = [f" word{i}" for i in range(64)]
    ours = views.colored_tokens(words, values).stored_bytes()
    stock = circuitsvis.tokens.colored_tokens(words, values)
    rows.append(_bytes("64 coloured tokens", ours, stock))
    figure = figures.matrix_heatmap(torch.randn(64, 64, generator=generator))
    size = sum(len(str(part)) for part in figures.mimebundle(figure).values())
    rows.append(("heatmap of 64 by 64 numbers", f"{size:,} bytes", ""))
    return rows


def _bytes(name: str, ours: int, stock) -> tuple[str, str, str]:
    theirs = len(stock.local_src.encode())
    other = f"{theirs:,} bytes, {theirs / ours:.0f} times"
    return name, f"{ours:,} bytes", other


def _setup_line() -> list[tuple[str, str, str]]:
    """The prelude in a fresh process: median seconds and largest memory of three."""
    seconds, memory = [], []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", SETUP],
            env=environment.child_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        seconds.append(time.perf_counter() - start)
        memory.append(float(done.stdout))
    return [
        ("a chapter's setup line, whole process", "", ""),
        ("time", f"{statistics.median(seconds):.1f} s", ""),
        ("memory", f"{max(memory):.0f} MB", ""),
    ]
