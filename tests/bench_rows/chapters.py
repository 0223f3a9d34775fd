"""Each chapter from top to bottom, answered by the solutions: time and memory.

The same copies that the tests run. Trainings in a chapter are as long as COURSE_TRAIN
says, which the heading names.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from tests.bench_rows import Row
from tests.bench_rows.start import PEAK_MEMORY
from utils.exercises.sync import solved_copy
from utils.launcher.environment import ROOT
from utils.launcher.suite import test_environment

__all__ = ["chapter_rows", "run_chapter"]


def chapter_rows(
    training: str = "short", folder: Path = ROOT / "chapters", which: str = "ch*"
) -> Iterator[Row]:
    """A row per chapter, as it is measured; an error in a chapter becomes its row."""
    for chapter in sorted(folder.glob(f"{which}.ipynb")):
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / chapter.name
            solved_copy(chapter, copy)
            variables = test_environment(Path(scratch)) | {"COURSE_TRAIN": training}
            try:
                seconds, megabytes = run_chapter(copy, variables)
            except CellExecutionError as error:
                yield Row(chapter.stem, f"stopped by {error.ename}: {error.evalue}")
            except DeadKernelError:
                yield Row(chapter.stem, "stopped: its kernel died")
            else:
                yield Row(chapter.stem, f"{seconds:.0f} s", f"{megabytes:.0f} MB")


def run_chapter(path: Path, variables: dict[str, str]) -> tuple[float, float]:
    """Seconds from the kernel's start to its last cell, and its largest memory in MB.

    Raises CellExecutionError at the first cell that fails, and DeadKernelError.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK_MEMORY))
    place = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources=place
    )
    start = time.perf_counter()
    client.execute(env=variables, stderr=subprocess.DEVNULL)
    seconds = time.perf_counter() - start
    said = "".join(o.get("text", "") for o in notebook.cells[-1].outputs)
    return seconds, float(said.split()[-1])
