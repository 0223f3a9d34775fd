"""Kernels that need not import the libraries: forked from a process that has.

Importing what a chapter stands on takes longer than most chapters take to run, and the
tests start a kernel for every notebook. On Linux one process imports the libraries
once (`server.py`), and a kernel (`kernel.py`) is a fork of it. What is forked is as
fresh as a new process after `import torch` and the like: nothing of the course is
imported, no thread runs, random numbers are seeded anew. A chapter's names, modules and
settings come from its own cells, as they do at a learner's.

`tests/conftest.py` starts it. One notebook runs in a new process all the same, and so
do what `tests/test_lab_in_browser.py` opens and what the bench measures.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["ADDRESS", "COLD", "POSSIBLE", "Warm", "choose_kernel"]

FOLDER = Path(__file__).parent
COLD = FOLDER.parents[1] / "chapters" / "ch0_toolbox.ipynb"
ADDRESS = "COURSE_WARM"  # the variable that tells a kernel where the server listens
POSSIBLE = sys.platform.startswith("linux")


class Warm:
    """A server of warm kernels, which all processes started from here may use.

    As long as it runs, "python3" is a warm kernel for whoever inherits JUPYTER_PATH.
    The libraries are imported when the first kernel is asked for. The server ends with
    `close`, or with the process that made it.
    """

    def __init__(self, scratch: Path):
        address = str(scratch / "warm")
        kernel = scratch / "jupyter" / "kernels" / "python3"
        kernel.mkdir(parents=True)
        command = [sys.executable, str(FOLDER / "kernel.py"), "-f", "{connection_file}"]
        words = {"argv": command, "display_name": "Python 3", "language": "python"}
        (kernel / "kernel.json").write_text(json.dumps(words))
        self._process = subprocess.Popen(
            [sys.executable, str(FOLDER / "server.py"), address],
            # With one thread there are none, which a fork would lose.
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        os.environ["JUPYTER_PATH"] = str(scratch / "jupyter")
        os.environ[ADDRESS] = address

    def close(self) -> None:
        """End the server."""
        self._process.stdin.close()
        self._process.wait(20)


def choose_kernel(option, notebook: Path) -> None:
    """Tell nbval which kernel a notebook is to have: a warm one or a new process."""
    option.nbval_current_env = notebook == COLD
    option.nbval_kernel_name = "python3"
