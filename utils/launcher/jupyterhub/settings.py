"""What a room needs, and the JupyterHub configuration that follows from it.

`jupyterhub_config.py` and `tljh_config.py` call `for_learners`; so does the test, with
another spawner. The hub's own Python may be another one than the course's, so this
imports nothing beyond the standard library and the launcher.
"""

import os
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import quote

from utils.launcher import environment, lab
from utils.launcher.problems import Problem

__all__ = ["SETTINGS", "HubRoom", "culler", "for_learners", "read_room", "roles"]

SETTINGS = Path("/etc/course-hub.toml")
FOLDER = Path(__file__).parent
CULLER = "course-idle-culler"
CULLER_SCOPES = ("list:users", "read:users:activity", "read:servers", "delete:servers")
# They see who works and can stop a server; they cannot open a learner's notebooks.
FACILITATOR_SCOPES = (
    "admin-ui",
    "list:users",
    "read:users:activity",
    "read:servers",
    "servers",
)
BUSY = "utils.launcher.jupyterhub.busy"
CULL_EVERY = 300  # seconds between two looks at who is idle, at most
KERNEL_IDLE = 3600  # seconds, for a kernel without a page that does nothing
SPAWN_SECONDS = 180  # twenty people press the button in the same minute
FORM = FOLDER / "share.html"
# Freed tensors go back to the system instead of staying in the kernel. After chapter 1,
# when it kept more than now, that was 650 MB instead of 1,020. It has its price: the
# live training took 1.2 times the processor's time, and left 0.94 of the memory
# (medians of three short runs each, in turns).
MEMORY = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**23),
}


@dataclass(frozen=True)
class HubRoom:
    """A room as `course-hub.toml` describes it; every line of that file is optional.

    `learners` is how many work at once. `memory` is the most that one learner's server
    and kernels may take together, `cores` the same for processors (a number such as
    1.5; None shares all of them by need). `states` is where learners' progress is
    collected. A server that did nothing for `idle_hours` is stopped. `facilitators` are
    names of accounts; `repository` is where learners' chapters are pulled from.
    """

    learners: int = 20
    memory: str = "2G"
    cores: float | None = None
    states: str = "/srv/course-states"
    idle_hours: float = 4
    facilitators: tuple[str, ...] = ()
    repository: str = "file:///srv/course-chapters.git"

    def __post_init__(self):
        """Raises Problem for a value that no hub could use."""
        object.__setattr__(self, "facilitators", tuple(self.facilitators))
        rules = {
            "learners": (_whole(self.learners), "a whole number from 1"),
            "memory": (_size(self.memory), 'a size such as "1.5G" or "900M"'),
            "cores": (self.cores is None or _positive(self.cores), "a number over 0"),
            "states": (Path(str(self.states)).is_absolute(), "a whole path"),
            "idle_hours": (_positive(self.idle_hours), "a number over 0"),
        }
        for name, (fits, what) in rules.items():
            if not fits:
                value = getattr(self, name)
                raise Problem(f"{name} is {what}, not {value!r}.")

    def threads(self, cores: int | None = None) -> int:
        """Threads of one kernel: of its own limit, or its share of all `cores`.

        More threads than cores make every training slower, not only one's own.
        """
        if self.cores is not None:
            return max(1, int(self.cores))
        return max(1, (cores or os.cpu_count() or 1) // self.learners)

    @property
    def look(self) -> int:
        """Seconds between two looks at who is idle: a quarter of the limit, or less."""
        return max(1, min(CULL_EVERY, round(self.idle_hours * 900)))


def _whole(value) -> bool:
    return type(value) is int and value >= 1


def _positive(value) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")


def _size(value) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\d+(\.\d+)?[KMGT]", value))


def read_room(path: Path | None = None) -> HubRoom:
    """The room of a file of settings, or as it is without one.

    The file is `path`, `COURSE_HUB` or /etc/course-hub.toml. Raises Problem where it
    cannot be read or says something that is not understood.
    """
    named = path or os.environ.get("COURSE_HUB")
    file = Path(named or SETTINGS)
    if not file.exists():
        if named:
            raise Problem(f"There is no file {file}.")
        return HubRoom()
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Problem(f"{file} cannot be read: {error}.") from error
    known = [field.name for field in fields(HubRoom)]
    odd = sorted(given.keys() - set(known))
    if odd:
        raise Problem(f"{file} has {odd[0]!r}; it knows {', '.join(known)}.")
    return HubRoom(**given)


def for_learners(c, room: HubRoom, python: Path | None = None) -> None:
    """Set what every learner's server needs, whichever spawner starts it.

    `c` is JupyterHub's configuration object. `python` is the course's interpreter, that
    of its `.venv` unless given: servers and kernels run in that one environment, which
    learners can read and not write.
    """
    c.Spawner.cmd = [
        str(python or environment.venv_python()),
        "-P",  # a folder "utils" in a learner's home is none of ours
        "-m",
        "utils.launcher.jupyterhub.begin",
    ]
    c.Spawner.args = arguments()
    c.Spawner.default_url = "/lab"
    c.Spawner.environment = variables(room)
    c.Spawner.mem_limit = room.memory
    c.Spawner.cpu_limit = room.cores
    c.Spawner.options_form = FORM.read_text(encoding="utf-8")
    c.Spawner.options_from_form = share_of_form
    c.Spawner.start_timeout = SPAWN_SECONDS
    c.Spawner.http_timeout = SPAWN_SECONDS


def arguments() -> list[str]:
    """What a learner's JupyterLab is told: as `lab` does, and what counts as idle."""
    return [
        *lab.SETTINGS,
        f"--ServerApp.jpserver_extensions={BUSY}=True",
        f"--MappingKernelManager.cull_idle_timeout={KERNEL_IDLE}",
    ]


def variables(room: HubRoom) -> dict[str, str | Callable]:
    """Environment variables of a learner's server and of its kernels."""
    threads = str(room.threads())
    libraries = ("OMP", "MKL", "OPENBLAS")
    return {f"{name}_NUM_THREADS": threads for name in libraries} | {
        **MEMORY,
        "COURSE_STATES": room.states,
        "COURSE_SHARE": lambda spawner: spawner.user_options.get("share", "no"),
        "COURSE_CHECKPOINTS": "~/.course_training",
        "JUPYTERHUB_ACTIVITY_INTERVAL": str(room.look),
        # The course's folder comes first, wherever the environment lies.
        "PYTHONPATH": str(environment.ROOT),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def share_of_form(form: dict[str, list[str]]) -> dict[str, str]:
    """What the learner chose on the page before the server starts."""
    return {"share": "yes" if form.get("share") == ["yes"] else "no"}


def folder_name(user: str) -> str:
    """A folder for a user of the hub; different users have different ones.

    Example:
        >>> folder_name("ada"), folder_name("Ada L/"), folder_name("..")
        ('ada', 'Ada%20L%2F', '%2E.')
    """
    name = quote(user, safe="@+")
    return "%2E" + name[1:] if name.startswith(".") else name


def culler(room: HubRoom) -> dict:
    """The service that stops servers nobody uses, as JupyterHub wants it described."""
    return {
        "name": CULLER,
        "command": [
            sys.executable,
            "-m",
            "jupyterhub_idle_culler",
            f"--timeout={round(room.idle_hours * 3600)}",
            f"--cull-every={room.look}",
        ],
    }


def roles(room: HubRoom) -> list[dict]:
    """What the culler and the facilitators may do, as JupyterHub wants it described."""
    found = [
        {"name": CULLER, "scopes": list(CULLER_SCOPES), "services": [CULLER]},
    ]
    if room.facilitators:
        found.append(
            {
                "name": "facilitator",
                "description": "See who works, and stop a learner's server",
                "scopes": list(FACILITATOR_SCOPES),
                "users": list(room.facilitators),
            }
        )
    return found
