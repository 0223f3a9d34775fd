"""`python3 -m utils test`: runs every test, without a network and without traces.

Called by `utils/__main__.py` and so by .ci/run. More words go to pytest:
`python3 -m utils test -m "not slow"`.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from utils.launcher import environment
from utils.launcher.environment import ROOT

__all__ = ["main", "side_by_side", "slowest", "test_environment", "without_network"]

OFFLINE = ROOT / "tests" / "offline"
# Listens and connects on this computer, and sees nothing beyond it.
PROBE = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), 5).close()
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try:
    probe.connect(("192.0.2.1", 9))
except OSError:
    print("closed")
"""


def main(argv: list[str]) -> int:
    """Install what tests need, run pytest offline, return its exit code."""
    environment.ensure(tests=True)
    _fetch_real_model()
    _fetch_proxy()
    with tempfile.TemporaryDirectory(
        prefix="course-test-", ignore_cleanup_errors=True
    ) as folder:
        variables = test_environment(Path(folder))
        words = [*slowest(argv), *side_by_side(argv), *argv]
        pytest = [sys.executable, "-m", "pytest", *words]
        prefix = without_network(variables)
        if prefix:
            print("Running the tests in a network namespace of their own", flush=True)
            variables["COURSE_OFFLINE"] = "namespace"
        else:
            print("Running the tests behind a guard against the network", flush=True)
            variables["COURSE_OFFLINE"] = "guard"
            paths = [str(OFFLINE), variables["PYTHONPATH"]]
            variables["PYTHONPATH"] = os.pathsep.join(paths)
        return environment.run_child(prefix + pytest, variables, ROOT)


def _fetch_real_model() -> None:
    """Bring SmolLM2 while there is a network; without it its tests are skipped."""
    door = ROOT / "utils"
    if not (door / "launcher" / "fetch.py").exists():
        return  # a copy of the launcher alone
    command = [sys.executable, str(door), "fetch", "smollm2"]
    if environment.run_child(command, environment.child_environment()) != 0:
        print("The tests that need SmolLM2 are skipped.", flush=True)


def _fetch_proxy() -> None:
    """Bring JupyterHub's proxy through npm; without it the hub's test is skipped."""
    place = ROOT / "utils" / "launcher" / "jupyterhub" / "proxy.py"
    if sys.platform == "win32" or not place.exists():
        return
    from utils.launcher.jupyterhub.proxy import install_proxy

    try:
        install_proxy()
    except environment.Problem as problem:
        print(f"{problem} The test with a JupyterHub is skipped.", flush=True)


def slowest(argv: list[str]) -> list[str]:
    """pytest's words for naming the slowest tests, unless `argv` has some."""
    if any(word.startswith("--durations") for word in argv):
        return []
    return ["--durations=20", "--durations-min=2"]


def side_by_side(argv: list[str]) -> list[str]:
    """pytest's words for using the cores, unless `argv` has words about that.

    A file is never divided: its tests share models, a notebook's cells share a kernel.
    Files begin in their order, because the long ones are not those with most tests.
    """
    workers = min(os.cpu_count() or 1, 4)
    if workers == 1 or any(
        word.startswith(("-n", "--num", "--pdb", "--trace")) for word in argv
    ):
        return []
    return ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]


def test_environment(folder: Path) -> dict[str, str]:
    """Variables that keep the tests off the network and out of the user's files."""
    variables = environment.child_environment()
    variables.update(
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        HF_DATASETS_OFFLINE="1",
        WANDB_MODE="disabled",
        COURSE_STATE=str(folder / "progress.json"),
    )
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        variables["JUPYTER_" + name] = str(folder / "jupyter" / name.lower())
    variables["IPYTHONDIR"] = str(folder / "ipython")
    return variables


def without_network(variables: dict[str, str]) -> list[str]:
    """The words before a command that cut it off the network, or [] if not allowed."""
    unshare = shutil.which("unshare")
    if unshare is None or not sys.platform.startswith("linux"):
        return []
    prefix = [unshare, "-rn", sys.executable, str(OFFLINE / "loopback.py")]
    try:
        answer = subprocess.run(
            [*prefix, sys.executable, "-I", "-c", PROBE],
            env=variables,
            capture_output=True,
            text=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return prefix if answer.stdout.strip() == "closed" else []
