"""Warm kernels are as fresh as new ones, end as they do, and are not used everywhere.

What they share is what could hide a fault, so it is looked at here: the libraries, and
nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, RunningKernel

from tests import warm

ROOT = Path(__file__).resolve().parents[1]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not warm.POSSIBLE, reason="kernels are forked on Linux only"),
]
# What a kernel is before its first cell has run, as far as a chapter could notice.
STATE = """
import json, os, random, sys, threading
import numpy, torch
modules = {name.split(".")[0] for name in sys.modules}
print(json.dumps({
    "ours": sorted(modules & {"utils", "solutions", "tests"}),
    "names": sorted(name for name in globals() if not name.startswith("_")),
    "folder": os.getcwd(),
    "path": sys.path,
    "gradients": torch.is_grad_enabled(),
    "dtype": str(torch.get_default_dtype()),
    "core threads": torch.get_num_threads(),
    "threads": sorted(thread.name for thread in threading.enumerate()),
    "variables": {name: value for name, value in os.environ.items()
                  if name not in ("JPY_PARENT_PID", "JPY_SESSION_NAME")},
    "executable": sys.executable,
    "warm": "transformer_lens" in sys.modules,
    "drawn": [random.random(), numpy.random.rand(), torch.rand(1).item()],
    "process": os.getpid(),
}))
"""


@pytest.fixture
def start(tmp_path):
    """Starts kernels in a folder of the test, and ends them."""
    running = []

    def started(name: str = "python3") -> RunningKernel:
        running.append(RunningKernel(name, cwd=str(tmp_path), startup_timeout=120))
        return running[-1]

    yield started
    for kernel in running:
        if kernel.is_alive():
            kernel.stop()


def said(kernel: RunningKernel, code: str) -> str:
    """What code prints in a kernel; "KeyboardInterrupt" and the like if it fails."""
    sent, text = kernel.execute_cell_input(code), ""
    while True:
        message = kernel.get_message("iopub", timeout=120)
        content = message["content"]
        if message["parent_header"].get("msg_id") != sent:
            continue
        text += content.get("text", "") + content.get("ename", "")
        if content.get("execution_state") == "idle":
            return text


def is_running(process: int) -> bool:
    try:
        return (
            Path(f"/proc/{process}/stat").read_text().rsplit(")")[1].split()[0] != "Z"
        )
    except OSError:
        return False


def test_a_warm_kernel_is_a_new_one_with_the_libraries(start):
    one, two, new = (
        json.loads(said(start(name), STATE))
        for name in ("python3", "python3", CURRENT_ENV_KERNEL_NAME)
    )
    assert (one["warm"], new["warm"]) == (True, False)
    assert one["ours"] == []
    apart = ("warm", "drawn", "process", "threads")
    assert {k: v for k, v in one.items() if k not in apart} == {
        k: v for k, v in new.items() if k not in apart
    }
    # One thread more, which ends the kernel with the process that Jupyter started.
    assert len(one["threads"]) == len(new["threads"]) + 1
    assert one["process"] != two["process"]
    assert all(a != b for a, b in zip(one["drawn"], two["drawn"], strict=True))


def test_a_warm_kernel_is_interrupted_and_goes_on(start):
    kernel = start()
    sent = kernel.execute_cell_input("import time\nwhile True: time.sleep(0.01)")
    while kernel.get_message("iopub", timeout=60)["content"] != {
        "execution_state": "busy"
    }:
        pass
    time.sleep(0.3)
    kernel.interrupt()
    kernel.await_idle(sent, 60)
    assert said(kernel, "print(1 + 1)").strip() == "2"


@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_warm_kernel_goes_with_what_jupyter_started(start, how):
    kernel = start()
    mine = int(said(kernel, "import os; print(os.getpid())"))
    child = int(
        said(
            kernel,
            "import subprocess; print(subprocess.Popen(['sleep', '600']).pid)",
        )
    )
    assert is_running(mine) and is_running(child)
    if how == "stop":
        kernel.stop()
    else:
        os.kill(kernel.km.provisioner.process.pid, signal.SIGKILL)
    for _ in range(200):
        if not is_running(mine) and not is_running(child):
            return
        time.sleep(0.1)
    pytest.fail("the kernel or what it started runs on")


def test_nothing_of_the_course_is_forked_and_no_thread():
    code = "import sys; sys.path.insert(0, {!r}); import server; {}; server.warm()"
    folder = str(ROOT / "tests" / "warm")
    for before, words in (
        ("import utils", "['utils']"),
        (
            "import threading, time; "
            "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "['python'",
        ),
    ):
        light = f"server.LIBRARIES = 'json'; {before}"
        done = subprocess.run(
            [sys.executable, "-c", code.format(folder, light)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert "a fork would not be fresh" in done.stderr and words in done.stderr


def test_the_server_ends_with_who_started_it(tmp_path):
    code = f"""
import os, sys
from pathlib import Path
from tests import warm
print(warm.Warm(Path({str(tmp_path)!r}))._process.pid, flush=True)
os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for _ in range(100):
        if not is_running(int(done.stdout)):
            return
        time.sleep(0.1)
    pytest.fail("the server runs on")


def test_one_notebook_runs_in_a_new_process():
    assert warm.COLD in set((ROOT / "chapters").glob("*.ipynb"))
    option = SimpleNamespace()
    warm.choose_kernel(option, warm.COLD)
    assert option.nbval_current_env
    warm.choose_kernel(option, warm.COLD.with_name("ch1_residual_stream.ipynb"))
    assert not option.nbval_current_env and option.nbval_kernel_name == "python3"


def test_nbval_takes_a_warm_kernel_and_sections_forget(tmp_path):
    """Also for notebooks outside the folder of the tests."""
    new = nbformat.v4
    cells = [
        new.new_code_cell("import sys; assert 'transformer_lens' in sys.modules"),
        new.new_markdown_cell("## One"),
        new.new_code_cell("b = 1"),
        new.new_markdown_cell("## Two"),
        new.new_code_cell("assert 'b' not in globals() and 'sys' in globals()"),
    ]
    path = tmp_path / "made.ipynb"
    nbformat.write(new.new_notebook(cells=cells), path)
    mine = "tests/test_warm.py::test_one_notebook_runs_in_a_new_process"
    words = ["-q", "-p", "no:cacheprovider", str(path), mine]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert "4 passed" in done.stdout, done.stdout
