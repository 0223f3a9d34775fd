"""What `hub check` looks at: is the server enough, and closed where it should be?

Lines as the doctor writes them. It changes nothing.
"""

import contextlib
import importlib.metadata
import os
import re
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from utils.launcher.doctor import GIB, Finding
from utils.launcher.environment import ROOT
from utils.launcher.jupyterhub.proxy import find_proxy
from utils.launcher.jupyterhub.settings import FOLDER, HubRoom

__all__ = ["DROP_BOX", "LEARNER_MB", "findings"]

LEARNER_MB = 700  # a learner's server and one kernel; `bench hub` measures it
SYSTEM_MB = 1500  # Linux, the hub and its proxy
READERS = "course-facilitators"  # a group of accounts
DROP_BOX = 0o3773  # everybody puts in, only the group sees what there is
INSTALL = "run: sudo python3 -m utils hub install"


def findings(room: HubRoom, root: Path = ROOT) -> Iterator[Finding]:
    """Look at everything that twenty learners will lean on."""
    yield _memory(room, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    yield _cores(room, os.cpu_count() or 1)
    yield _disk(room, shutil.disk_usage(root).free)
    yield from _packages()
    yield _proxy()
    yield _systemd()
    yield _course(root, Path(sys.base_prefix))
    yield _states(Path(room.states))
    for name in room.facilitators:
        yield _facilitator(name)


def _memory(room: HubRoom, total: int) -> Finding:
    needed = (SYSTEM_MB + room.learners * LEARNER_MB) * 1e6
    what = f"memory: {total / GIB:.0f} GB for {room.learners} learners"
    if total >= needed:
        return Finding(what)
    fits = max(0, int((total / 1e6 - SYSTEM_MB) // LEARNER_MB))
    return Finding(what, f"{needed / GIB:.0f} GB are needed; {fits} learners fit")


def _cores(room: HubRoom, cores: int) -> Finding:
    threads = room.threads(cores)
    what = f"cores: {cores}, {threads} thread{'s' * (threads > 1)} for each kernel"
    share = room.learners / cores
    if share <= 5:
        return Finding(what)
    fix = f"{share:.0f} learners share a core; trainings take that many times as long"
    return Finding(what, fix, note=True)


def _disk(room: HubRoom, free: int) -> Finding:
    needed = 1 + 0.2 * room.learners
    what = f"disk: {free / GIB:.0f} GB free"
    if free >= needed * GIB:
        return Finding(what)
    return Finding(what, f"free at least {needed:.0f} GB")


def _packages() -> Iterator[Finding]:
    text = (FOLDER / "requirements.txt").read_text(encoding="utf-8")
    for name, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE):
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Finding(f"{name}: not installed", INSTALL)
            continue
        # The Littlest JupyterHub brings a hub of its own, which the course follows.
        other = None if found == version else f"made and tested with {version}"
        yield Finding(f"{name} {found}", other, note=True)


def _proxy() -> Finding:
    if find_proxy():
        return Finding("proxy: there")
    fix = f"{INSTALL} (The Littlest JupyterHub has its own)"
    return Finding("proxy: not installed", fix, note=True)


def _systemd() -> Finding:
    if Path("/run/systemd/system").is_dir():
        return Finding("systemd: runs, so limits of memory hold")
    fix = "use a server with systemd, such as Ubuntu; a container has none"
    return Finding("systemd: does not run here", fix)


def _course(root: Path, python: Path) -> Finding:
    closed = _closed(root)
    if closed:
        fix = "install the course in /srv/course, where learners can read"
        return Finding(f"course: learners cannot enter {closed}", fix)
    closed = _closed(python)
    if closed:
        fix = "delete .venv; make it again with Ubuntu's own Python: /usr/bin/python3"
        return Finding(f"course: its Python is behind {closed}, closed to all", fix)
    if root.stat().st_mode & stat.S_IWOTH:
        return Finding(f"course: learners can write {root}", INSTALL)
    return Finding("course: learners can read it and not write it")


def _closed(folder: Path) -> Path | None:
    """The first of a folder and those around it that not everybody can enter."""
    for place in (folder, *folder.parents):
        if not place.stat().st_mode & stat.S_IXOTH:
            return place
    return None


def _facilitator(name: str) -> Finding:
    import grp
    import pwd

    for account in (name, f"jupyter-{name}"):  # as The Littlest JupyterHub calls it
        try:
            group = pwd.getpwnam(account).pw_gid
        except KeyError:
            continue
        with contextlib.suppress(KeyError):
            readers = grp.getgrnam(READERS)
            if readers.gr_gid == group or account in readers.gr_mem:
                return Finding(f"facilitator {name}: reads what learners share")
        fix = f"run: sudo usermod -aG {READERS} {account}"
        return Finding(f"facilitator {name}: is not in the group {READERS}", fix)
    what = f"facilitator {name}: is no account of this server"
    fix = "make the account first; a plain hub does not start without it"
    return Finding(what, fix)


def _states(folder: Path) -> Finding:
    fix = f"run: sudo install -d -o root -g {READERS} -m {DROP_BOX:o} {folder}"
    if not folder.is_dir():
        return Finding(f"states: there is no folder {folder}", fix)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode != DROP_BOX:
        return Finding(f"states: {folder} has the mode {mode:o}", fix)
    return Finding("states: everybody puts in, facilitators read")
