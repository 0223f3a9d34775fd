"""Time and memory of a fresh process that runs a chapter's setup line."""

import subprocess
import sys
import time

from tests.bench_rows import Row, alternately, middle, ratio_text
from utils.launcher import environment

__all__ = ["PEAK_MEMORY", "start_of_a_chapter"]

# Prints the largest memory so far of the process that runs it, in megabytes; Windows
# has no such account. On Linux `ru_maxrss` would not do: it begins with the memory of
# the process that started this one.
PEAK_MEMORY = """
import sys
if sys.platform == "linux":
    with open("/proc/self/status") as status:
        lines = [line.split() for line in status if line.startswith("VmHWM")]
    print(int(lines[0][1]) / 1024)
elif sys.platform == "win32":
    print("nan")
else:
    import resource
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(peak / (1024**2 if sys.platform == "darwin" else 1024))
"""
# What the setup line stands on, without a line of the course.
LIBRARIES = """
import einops, jaxtyping, numpy, pandas, plotly.graph_objects, safetensors.torch
import tokenizers, torch, tqdm.auto, transformer_lens, transformers
from transformer_lens.model_bridge import TransformerBridge
"""
LINES = {
    "ours": "from utils.prelude import *",
    "library": LIBRARIES,
    "python": "pass",
}


def start_of_a_chapter(rounds: int = 3) -> list[Row]:
    """The prelude beside bare imports of its libraries: seconds and megabytes."""
    measures = {
        name: lambda line=line: _process(line + "\n" + PEAK_MEMORY)
        for name, line in LINES.items()
    }
    found = alternately(measures, rounds)
    seconds = {name: [s for s, _ in pairs] for name, pairs in found.items()}
    megabytes = {name: [m for _, m in pairs] for name, pairs in found.items()}
    return [
        _row("time from start to end of the process", seconds, "{:.1f} s"),
        _row("of that, an empty Python", {"ours": seconds["python"]}, "{:.2f} s"),
        _row("largest memory", megabytes, "{:.0f} MB"),
    ]


def _row(what: str, found: dict[str, list[float]], form: str) -> Row:
    ours = form.format(middle(found["ours"]))
    if "library" not in found:
        return Row(what, ours)
    ratios = [b / a for a, b in zip(found["ours"], found["library"], strict=True)]
    other = form.format(middle(found["library"]))
    return Row(what, ours, other, ratio_text(middle(ratios)))


def _process(code: str) -> tuple[float, float]:
    """Seconds of a Python process, and the number it prints last."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, float(done.stdout.split()[-1])
