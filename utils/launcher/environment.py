"""Makes and repairs `.venv`, and starts programs inside it.

Called by `utils/__main__.py` and by the launcher's commands. Standard library only: it
runs before anything is installed. Whatever can go wrong on a learner's machine ends as
a `Problem` with one sentence, never as a traceback.
"""

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

from utils.launcher.problems import Problem, sentence_for

__all__ = [
    "ROOT",
    "VENV",
    "Problem",
    "child_environment",
    "ensure",
    "install_requirements",
    "is_complete",
    "is_inside",
    "run_again",
    "run_child",
    "sentence_for",
    "state",
    "venv_python",
    "watch",
]

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
TORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"
INPUTS = ("requirements.txt", ".constraints.txt", "pyproject.toml")
# The first of these names the others.
OF_TESTS = (
    "tests/requirements.txt",
    "utils/launcher/jupyterhub/requirements.txt",
    "utils/launcher/website/requirements.txt",
)

# --- What is there ----------------------------------------------------------------


def venv_python() -> Path:
    """The environment's own interpreter, whether or not it exists yet."""
    if os.name == "nt":
        return VENV / "Scripts" / "python.exe"
    return VENV / "bin" / "python"


def is_inside() -> bool:
    """Whether this process already runs in the course's environment."""
    return os.path.realpath(sys.prefix) == os.path.realpath(VENV)


def state(tests: bool = False) -> str:
    """One of "missing", "broken", "outdated" and "complete".

    Broken means: to be made anew, because an earlier start was cut off, the folder was
    moved, or the interpreter is gone or became another version.
    """
    if not VENV.exists():
        return "missing"
    stamp = _read_stamp()
    version = _running_version()
    if version is None or stamp.get("making"):
        return "broken"
    if stamp and (stamp.get("python"), stamp.get("root")) != (version, str(ROOT)):
        return "broken"
    wanted = _wanted_stamp(tests)
    if all(stamp.get(key) == value for key, value in wanted.items()):
        return "complete"
    return "outdated"


def is_complete(tests: bool = False) -> bool:
    """Whether the environment is whole and up to date."""
    return state(tests) == "complete"


def _stamp_path() -> Path:
    return VENV / "course-stamp.json"


def _read_stamp() -> dict:
    try:
        stamp = json.loads(_stamp_path().read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _write_stamp(stamp: dict) -> None:
    temporary = _stamp_path().with_suffix(".new")
    temporary.write_text(json.dumps(stamp))
    os.replace(temporary, _stamp_path())


def _wanted_stamp(tests: bool) -> dict[str, str]:
    wanted = {"base": _fingerprint(INPUTS)}
    if tests:
        wanted["tests"] = _fingerprint([*INPUTS, *OF_TESTS])
    return wanted


def _fingerprint(names) -> str:
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + (ROOT / name).read_bytes() + b"\0")
    return total.hexdigest()


def _running_version() -> str | None:
    """The version of the environment's interpreter as it runs now, or None."""
    if is_inside():
        return "{}.{}".format(*sys.version_info)
    program = "import sys; print('{}.{}'.format(*sys.version_info))"
    try:
        answer = subprocess.run(
            [venv_python(), "-I", "-S", "-c", program],
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


# --- Making it --------------------------------------------------------------------


def ensure(tests: bool = False) -> None:
    """Make, repair or update the environment; raises Problem if that fails."""
    if is_complete(tests):
        return
    with _one_at_a_time():
        now = state(tests)  # another start may have finished the work meanwhile
        if now in ("missing", "broken"):
            _make()
        if now != "complete":
            _install(tests)


def _make() -> None:
    """An empty environment, marked as unfinished until everything is installed."""
    print("Making the environment in .venv", flush=True)
    if VENV.exists():
        shutil.rmtree(VENV)
    VENV.mkdir()
    _write_stamp({"making": True})
    base = getattr(sys, "_base_executable", None) or sys.executable
    # In two steps, because venv keeps to itself what went wrong when it adds pip.
    steps = (
        [base, "-m", "venv", "--without-pip", str(VENV)],
        [str(venv_python()), "-m", "ensurepip", "--upgrade", "--default-pip"],
    )
    for step in steps:
        code, output = watch(step)
        if code != 0:
            raise Problem(_explain("Python's venv module could not make .venv", output))


def _install(tests: bool) -> None:
    """Install from the requirement files; the stamp is written only at the end."""
    old = _read_stamp()
    _write_stamp({**old, "making": True})
    if old.get("base") != _fingerprint(INPUTS):
        print(
            "Installing what the course needs (about 2 GB on disk, a few minutes the "
            "first time)",
            flush=True,
        )
        install_requirements("requirements.txt", _torch_options())
    if tests:
        print("Installing what the tests need", flush=True)
        install_requirements(OF_TESTS[0], [])
    version = _running_version()
    stamp = {"python": version, "root": str(ROOT), **_wanted_stamp(tests)}
    _write_stamp(stamp)


def install_requirements(requirements: str | Path, options: list[str]) -> None:
    """Let pip install a file of requirements; raises Problem if that fails."""
    command = [str(venv_python()), "-m", "pip", "install", "--no-input"]
    command += ["--disable-pip-version-check", "-r", str(requirements), *options]
    code, output = watch(command, _show_progress)
    if code == 0:
        return
    with contextlib.suppress(OSError):
        (VENV / "install.log").write_text(output, encoding="utf-8")
    raise Problem(_explain(f"pip could not install {requirements}", output))


def _explain(what: str, output: str) -> str:
    """The known sentence for a program's output, else its last line of complaint."""
    known = sentence_for(output)
    if known:
        return known
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower()] or lines
    last = errors[-1] if errors else "it said nothing"
    return f"{what} ({last}); see .venv/install.log and start again."


def _show_progress(line: str) -> None:
    if line.strip().startswith(("Collecting", "Downloading", "Installing")):
        print("  " + line.strip()[:76], flush=True)


def watch(command: list[str], each_line=None, **variables: str) -> tuple[int, str]:
    """Run a program in silence; its exit code and all it said, each line also told."""
    environment = child_environment()
    # Packages of the caller's PYTHONPATH would count as installed.
    environment.pop("PYTHONPATH", None)
    environment["PIP_USER"] = "0"
    environment.update(variables)
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if each_line is not None:
                each_line(line)
    except KeyboardInterrupt:
        process.terminate()
        raise
    finally:
        process.stdout.close()
        process.wait()
    return process.returncode, "".join(lines)


@contextlib.contextmanager
def _one_at_a_time():
    """Hold a lock file, so that two starts do not build into one folder at once."""
    with open(ROOT / ".venv.lock", "w") as handle:
        if os.name == "nt":
            import msvcrt

            while True:  # each try waits ten seconds by itself
                try:
                    msvcrt.locking(handle.fileno(), msvcrt.LK_LOCK, 1)
                    break
                except OSError:
                    print("Waiting for another start to finish", flush=True)
        else:
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("Waiting for another start to finish", flush=True)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _torch_options() -> list[str]:
    """On Linux without an NVIDIA GPU: PyTorch's small CPU build, if it can be had."""
    if not sys.platform.startswith("linux") or _has_nvidia():
        return []
    if not _answers(TORCH_CPU_INDEX + "/torch/", seconds=2):
        return []
    return ["--extra-index-url", TORCH_CPU_INDEX]


def _has_nvidia() -> bool:
    driver = Path("/proc/driver/nvidia/version")
    return driver.exists() or shutil.which("nvidia-smi") is not None


def _answers(url: str, seconds: float) -> bool:
    """Whether a page can be opened in time; a thread, as name look-up has no limit."""
    answered = threading.Event()

    def ask():
        with contextlib.suppress(OSError, ValueError):
            with urllib.request.urlopen(url, timeout=seconds):
                answered.set()

    threading.Thread(target=ask, daemon=True).start()
    return answered.wait(seconds)


# --- Running in it ----------------------------------------------------------------


def child_environment() -> dict[str, str]:
    """Variables for a program of the course: this folder first, nobody else's path."""
    environment = dict(os.environ)
    environment.pop("PYTHONHOME", None)
    environment["PYTHONPATH"] = str(ROOT)
    environment["VIRTUAL_ENV"] = str(VENV)
    environment["JUPYTER_PREFER_ENV_PATH"] = "1"
    folders = [str(venv_python().parent), environment.get("PATH", "")]
    environment["PATH"] = os.pathsep.join(folders)
    return environment


def run_again(argv: list[str]) -> int:
    """Carry out the same command with the environment's interpreter."""
    command = [str(venv_python()), str(ROOT / "utils"), *argv]
    return run_child(command, child_environment())


def run_child(command: list[str], environment: dict, folder: Path | None = None) -> int:
    """Run a program to its end and return its exit code; pass on interrupts.

    A terminal sends Ctrl-C to parent and child alike; without one it comes only to the
    parent, which hands it on. The parent waits for the child in both cases.
    """
    sys.stdout.flush()  # what was said so far comes before what the program says
    process = subprocess.Popen(command, env=environment, cwd=folder)
    previous = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        while True:
            try:
                code = process.wait()
                break
            except KeyboardInterrupt:
                if os.name != "nt" and not sys.stdin.isatty():
                    process.send_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGTERM, previous)
    return 128 - code if code < 0 else code
