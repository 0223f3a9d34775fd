"""`python3 -m utils hub`: what a facilitator does for a hub, one word each.

`hub install` brings JupyterHub into the course's environment, `hub check` says whether
this server is enough, `hub publish` lays the chapters into the repository that learners
pull, `hub link` prints the link for them, `hub accounts` makes accounts and `hub unit`
prints the service file. README.md beside this file says when to use which.
"""

import argparse
import csv
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlencode, urlparse

from utils.launcher import environment, lab
from utils.launcher.doctor import report
from utils.launcher.environment import ROOT, Problem
from utils.launcher.jupyterhub.checks import findings
from utils.launcher.jupyterhub.proxy import install_proxy
from utils.launcher.jupyterhub.settings import FOLDER, HubRoom, read_room

__all__ = ["accounts", "link", "main", "publish", "trust", "unit"]

BRANCH = "main"
LEARNERS = "course-learners"  # a group of accounts
PLACE = "course"  # learners' chapters, in their home
WARM_UP = "from utils.prelude import *; stdlib_corpus(); stdlib_corpus(512)"
LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # none that a slip of paper confuses
UNIT = """\
[Unit]
Description=JupyterHub of the course
After=network.target

[Service]
WorkingDirectory=/var/lib/course-hub
StateDirectory=course-hub
StateDirectoryMode=0700
Environment=PATH={bin}:/usr/local/bin:/usr/bin:/bin
ExecStart={bin}/python -m jupyterhub -f {config}
Restart=on-failure

[Install]
WantedBy=multi-user.target
"""


def main(argv: list[str]) -> int:
    """Carry out one word."""
    parser = argparse.ArgumentParser(prog="python3 -m utils hub")
    words = parser.add_subparsers(dest="word", required=True)
    words.add_parser("install", help="bring JupyterHub into the environment")
    words.add_parser("check", help="is this server enough for the room?")
    words.add_parser("publish", help="lay the chapters where learners pull them from")
    words.add_parser("unit", help="print the service file for systemd")
    linked = words.add_parser("link", help="print the link that learners open")
    linked.add_argument("address", help="of the hub, as in https://hub.example.org")
    linked.add_argument("chapter", nargs="?", default="ch0")
    made = words.add_parser("accounts", help="make the learners' accounts")
    made.add_argument("names", type=Path, help="a file with one name on each line")
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    room = read_room()
    if chosen.word == "install":
        install()
    elif chosen.word == "check":
        text, healthy = report(findings(room))
        print(text)
        return 0 if healthy else 1
    elif chosen.word == "publish":
        print(publish(room))
        if os.geteuid() == 0:
            trust(room)
    elif chosen.word == "unit":
        print(unit(), end="")
    elif chosen.word == "link":
        chapter = lab.find_chapter(chosen.chapter).stem
        print(link(chosen.address, room.repository, chapter))
    else:
        print(accounts(chosen.names))
    return 0


def install(proxy: bool = True) -> None:
    """Packages, proxy, and what is better made once than by each learner.

    Without `proxy` it is what the image for a cluster needs, which has its own.
    """
    print("Installing JupyterHub", flush=True)
    environment.install_requirements(FOLDER / "requirements.txt", [])
    if proxy:
        print(f"The proxy: {install_proxy()}", flush=True)
    lab.switch_off_news(environment.VENV)
    lab.lay_styles(lab.static_files())
    print("Making the token ids of the standard library", flush=True)
    python = str(environment.venv_python())
    variables = environment.child_environment()
    if environment.run_child([python, "-c", WARM_UP], variables, ROOT) != 0:
        raise Problem("The course does not start; see python3 -m utils doctor.")
    open_to_readers(ROOT)
    print("The course is installed, and every account of this computer can read it.")


def open_to_readers(folder: Path) -> None:
    """Let everybody read the course and nobody but its owner write it."""
    for here, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != ".git"]
        for path in (here, *(os.path.join(here, name) for name in files)):
            if os.path.islink(path):
                continue
            mode = os.stat(path).st_mode & 0o777
            enter = 0o111 if os.path.isdir(path) or mode & 0o100 else 0
            os.chmod(path, (mode | 0o444 | enter) & ~0o022)


def link(address: str, repository: str, chapter: str) -> str:
    """The link that pulls the chapters into a learner's home and opens one.

    `chapter` is a notebook's stem. What the learner has written is kept; see README.md.
    """
    query = {
        "repo": repository,
        "branch": BRANCH,
        "targetpath": PLACE,
        "urlpath": f"lab/tree/{PLACE}/{chapter}.ipynb",
    }
    return f"{address.rstrip('/')}/hub/user-redirect/git-pull?{urlencode(query)}"


def publish(room: HubRoom) -> str:
    """Lay the course's chapters into the room's repository, which is made if missing.

    What else a facilitator has put there stays. Only a repository on this server is
    written. Returns a sentence; raises Problem.
    """
    address = urlparse(room.repository)
    if address.scheme != "file":
        raise Problem(
            f"{room.repository} is elsewhere; push the chapters there by git."
        )
    bare = Path(unquote(address.path))
    with tempfile.TemporaryDirectory() as scratch:
        if not bare.exists():
            _git("init", "-q", "--bare", f"--initial-branch={BRANCH}", str(bare))
        copy = Path(scratch, "copy")
        _git("clone", "-q", str(bare), str(copy))
        _git("-C", str(copy), "checkout", "-q", "-B", BRANCH)
        glossary = lab.CHAPTERS / lab.GLOSSARY  # where the chapters' links lead
        for file in (*lab.chapters(), glossary):
            shutil.copyfile(file, copy / file.name)
        _git("-C", str(copy), "add", "--all")
        if not _git("-C", str(copy), "status", "--porcelain"):
            return f"{bare} has these chapters already."
        by = ["-c", "user.name=course", "-c", "user.email=course@localhost"]
        _git("-C", str(copy), *by, "commit", "-q", "-m", "Chapters of the course")
        _git("-C", str(copy), "push", "-q", "origin", BRANCH)
    return f"{bare} now has the chapters of this version."


def trust(room: HubRoom) -> None:
    """Let every account of this computer pull from the room's repository.

    Git reads a repository of somebody else only where the computer's settings name it.
    """
    bare = unquote(urlparse(room.repository).path)
    listed = ["git", "config", "--system", "--get-all", "safe.directory"]
    known = subprocess.run(listed, capture_output=True, text=True).stdout
    if bare not in known.splitlines():
        _git("config", "--system", "--add", "safe.directory", bare)


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True)
    except FileNotFoundError as error:
        raise Problem(
            "There is no git here; on Ubuntu: sudo apt install git."
        ) from error
    if done.returncode != 0:
        raise Problem(f"git could not {words[-1]}: {done.stderr.strip()}.")
    return done.stdout


def unit() -> str:
    """The service file of a plain hub, with this course's own places."""
    config = FOLDER / "jupyterhub_config.py"
    return UNIT.format(bin=environment.venv_python().parent, config=config)


def accounts(names: Path, run: Callable = subprocess.run) -> str:
    """Make an account for each name and write the passwords beside the file.

    An account that is there already keeps its password. Returns a sentence; raises
    Problem for a name that no account can have. `run` is what carries out a command.
    """
    wanted = names.read_text(encoding="utf-8").split()
    for name in wanted:
        if not (name.isascii() and name.islower() and name.isalnum()):
            raise Problem(f"{name!r} is no name for an account: small letters, digits.")
    run(["groupadd", "--force", LEARNERS], check=True)
    made = []
    for name in wanted:
        if run(["id", name], capture_output=True).returncode == 0:
            run(["usermod", "--append", "--groups", LEARNERS, name], check=True)
            continue
        password = "-".join(
            "".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3)
        )
        made.append((name, password))
        run(
            ["useradd", "--create-home", "--shell", "/bin/bash"]
            + ["--key", "HOME_MODE=0700", "--groups", LEARNERS, name],
            check=True,
        )
        run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
    slips = names.with_suffix(".passwords.csv")
    handle = os.open(slips, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with open(handle, "a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(made)
    return f"{len(made)} accounts made; their passwords are in {slips}."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
