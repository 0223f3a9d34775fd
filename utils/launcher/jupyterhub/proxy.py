"""Brings JupyterHub's proxy, which is a program of Node.js, into the environment.

Called by the command `hub install` and by the test's set-up. Standard library only.
"""

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

from utils.launcher import environment
from utils.launcher.problems import Problem

__all__ = ["find_proxy", "install_proxy"]

PACKAGE = "configurable-http-proxy"
VERSION = "5.1.0"  # the last that runs on Node.js 18, which Ubuntu 24.04 has


def find_proxy() -> Path | None:
    """The proxy in the course's environment, or None if it or its version is not."""
    about = environment.VENV / "lib" / "node_modules" / PACKAGE / "package.json"
    with contextlib.suppress(OSError, ValueError, KeyError):
        if json.loads(about.read_text(encoding="utf-8"))["version"] == VERSION:
            return environment.VENV / "bin" / PACKAGE
    return None


def install_proxy() -> Path:
    """Install the proxy through npm unless it is there; raises Problem if it cannot."""
    program = find_proxy()
    if program is not None:
        return program
    npm = shutil.which("npm")
    if npm is None:
        raise Problem(
            "JupyterHub's proxy needs Node.js with npm; install them (on Ubuntu: sudo "
            "apt install npm) and start again."
        )
    # "Globally", that is with its program in bin, but inside the environment.
    command = [npm, "install", "--global", "--prefix", str(environment.VENV)]
    command += ["--no-audit", "--no-fund", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(command, capture_output=True, text=True)
    program = find_proxy()
    if done.returncode != 0 or program is None:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise Problem(f"npm could not install {PACKAGE} ({lines[-1]}).")
    return program
