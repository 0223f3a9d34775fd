"""Shuts a process in before it runs a stranger's code.

On Linux it gets namespaces of its own: no network, its own process numbers, a file
system that is read-only but for a small scratch folder, and nothing of the learners'
folder. Everywhere on Unix it gets limits on processor time, memory, files and
processes. What could not be limited is returned in words, for the learner's row.
"""

import contextlib
import ctypes
import os
import resource
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

__all__ = ["NOT_APART", "WORDS", "Watched", "apart", "limit", "shut_in"]

GIGABYTE = 2**30
MOST_PROCESSES = 48
MOST_MEMORY = 4 * GIGABYTE  # beyond what the course itself takes
MOST_FILE = 64 * 2**20
SCRATCH, EMPTIED = b"size=256m,nr_inodes=10k", b"size=1m,nr_inodes=100"
# What may stay open, in the words of a learner's row.
NETWORK = "the network"
OTHERS = "reading others' files"
WRITING = "writing to files of this computer"
DISK = "the space on the disk"
LEFT_BEHIND = "processes left behind"
DEVICES = "the devices of this computer, as it was run by root"
TIME, FILES, MEMORY, NUMBER = "time", "files", "memory", "the number of processes"
NOT_APART = (NETWORK, OTHERS, WRITING, DISK, LEFT_BEHIND)
WORDS = (*NOT_APART, DEVICES, TIME, FILES, MEMORY, NUMBER)
NEW_USER, NEW_PROCESSES, NEW_NETWORK, NEW_MOUNTS = (
    0x10000000,
    0x20000000,
    0x40000000,
    0x00020000,
)
PRIVATE, RECURSIVE = 1 << 18, 1 << 14
NO_SUID, NO_DEVICES = 2, 4
SET_PARENT_DEATH, DROP_BOUND, NO_NEW_PRIVILEGES = 1, 24, 38
CAPSET = {"x86_64": 126, "aarch64": 91}
MOUNT_SETATTR = 442
READ_ONLY = 1


def apart() -> bool:
    """Leave the network, the processes and the mounts of this computer.

    True if that was allowed. Processes started afterwards are in the new namespaces.
    The caller has to be a process with one thread.
    """
    if not sys.platform.startswith("linux") or os.uname().machine not in CAPSET:
        return False
    user, group = os.getuid(), os.getgid()
    spaces = NEW_USER | NEW_PROCESSES | NEW_NETWORK | NEW_MOUNTS
    if _library().unshare(spaces) != 0:
        return False
    try:
        with contextlib.suppress(OSError):
            Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    except OSError:
        return False
    return True


def shut_in(scratch: Path, hidden: list[Path], needed: list[Path]) -> list[str]:
    """Called by the first process of new namespaces; returns what stayed open.

    `scratch` becomes an empty folder in memory, `hidden` folders are emptied unless
    something `needed` lies in them, and everything else becomes read-only. At the end
    the process gives up the right to undo any of it.
    """
    library = _library()
    library.prctl(SET_PARENT_DEATH, 9)
    open_still = []
    library.mount(None, b"/", None, RECURSIVE | PRIVATE, None)
    if library.mount(b"proc", b"/proc", b"proc", NO_SUID | NO_DEVICES, None) != 0:
        # Other processes' folders would lead around what follows.
        library.mount(b"none", b"/proc", b"tmpfs", NO_SUID, None)
    with contextlib.suppress(OSError):
        # Nor any namespaces further in, where this process would have rights again.
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
    attributes = (ctypes.c_uint64 * 4)(READ_ONLY, 0, 0, 0)
    size = ctypes.sizeof(attributes)
    if library.syscall(MOUNT_SETATTR, -100, b"/", 0x8000, attributes, size) != 0:
        open_still.append(WRITING)
    places = [Path("/tmp"), Path("/run"), Path("/dev/shm"), *hidden]
    for place in places:
        around = any(one.is_relative_to(place.resolve()) for one in needed)
        hides = not around and (not place.is_dir() or _empty(place, EMPTIED))
        if not hides and place in hidden:
            open_still.append(OTHERS)
    scratch.mkdir(parents=True, exist_ok=True)
    if not _empty(scratch, SCRATCH):
        open_still.append(DISK)
    if os.getuid() == 0:
        open_still.append(DEVICES)
    _give_up_rights()
    return list(dict.fromkeys(open_still))


def limit(seconds: int) -> list[str]:
    """Limits of this process and all that it starts; returns what was not allowed."""
    bounds = {
        "RLIMIT_CPU": seconds,
        "RLIMIT_FSIZE": MOST_FILE,
        "RLIMIT_CORE": 0,
        "RLIMIT_NOFILE": 256,
        "RLIMIT_AS": MOST_MEMORY + _own_size(),
    }
    words = {"RLIMIT_CPU": TIME, "RLIMIT_FSIZE": FILES, "RLIMIT_AS": MEMORY}
    open_still = []
    for name, most in bounds.items():
        try:
            resource.setrlimit(getattr(resource, name), (most, most))
        except (AttributeError, OSError, ValueError):
            open_still += [words[name]] if name in words else []
    before = resource.getrlimit(resource.RLIMIT_NPROC)
    with contextlib.suppress(OSError, ValueError):
        # The hard limit last: where others' processes count too, it may be too low.
        resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, before[1]))
        if not _threads_start():
            resource.setrlimit(resource.RLIMIT_NPROC, before)
            return [*open_still, NUMBER]
        resource.setrlimit(resource.RLIMIT_NPROC, (MOST_PROCESSES, MOST_PROCESSES))
    return open_still


class Watched:
    """Looks from outside at all processes of a shut-in one. Only on Linux."""

    def __init__(self, first: int):
        self.space = _space(first)
        self.base = _resident(first)

    def complaint(self) -> str | None:
        """In words what is too much, or None."""
        if self.space is None:
            return None
        inside = [number for number in _processes() if _space(number) == self.space]
        if len(inside) > MOST_PROCESSES:
            return f"it started more than {MOST_PROCESSES} processes"
        # What a child shares with the process it came from counts once.
        taken = sum(max(0, _resident(number) - self.base) for number in inside)
        if taken > MOST_MEMORY:
            return f"it took more than {MOST_MEMORY // GIGABYTE} GB of memory"
        return None


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _empty(place: Path, options: bytes) -> bool:
    """Put an empty folder in memory in a folder's place."""
    where = os.fsencode(place)
    flags = NO_SUID | NO_DEVICES
    return _library().mount(b"none", where, b"tmpfs", flags, options) == 0


def _give_up_rights() -> None:
    """Drop every capability, and never get one back."""
    library = _library()
    for number in range(64):
        library.prctl(DROP_BOUND, number, 0, 0, 0)
    library.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # the third version of the call
    nothing = (ctypes.c_uint32 * 6)()
    if library.syscall(CAPSET[os.uname().machine], header, nothing) != 0:
        raise OSError("the rights could not be given up")


def _threads_start() -> bool:
    try:
        thread = threading.Thread(target=int)
        thread.start()
        thread.join()
    except RuntimeError:
        return False
    return True


def _own_size() -> int:
    """The size of this process's address space in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 4 * GIGABYTE
    return pages * resource.getpagesize()


def _processes() -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            yield int(name)


def _space(number: int) -> str | None:
    try:
        return os.readlink(f"/proc/{number}/ns/pid")
    except OSError:
        return None


def _resident(number: int) -> int:
    try:
        pages = int(Path(f"/proc/{number}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()
