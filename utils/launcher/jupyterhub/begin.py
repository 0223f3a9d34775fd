"""Starts one learner's server: decides where the progress goes, lays the link to the
course's site, then becomes Jupyter.

Called by the hub as the learner (`Spawner.cmd`), never with anybody else's rights.
"""

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path

from utils.launcher import lab
from utils.launcher.jupyterhub.settings import folder_name

__all__ = ["link_site", "main", "prepare"]

PRIVATE = "~/.course_progress.json"
LINKS = "~/.course_jupyter"
OTHERS = 0o027  # no rights for strangers; the group of a shared folder may read


def main(argv: list[str]) -> None:
    """Prepare, then replace this process by the server."""
    os.umask(OTHERS)
    prepare(os.environ)
    link_site(os.environ)
    command = [sys.executable, "-P", "-m", "jupyterhub.singleuser", *argv]
    os.execv(sys.executable, command)


def prepare(variables: MutableMapping[str, str]) -> None:
    """Set `COURSE_STATE` to the place that the learner chose, and bring a state there.

    A folder that cannot be written is said in the server's log and costs the
    facilitators a view, never the learner a start.
    """
    private = Path(PRIVATE).expanduser()
    folder = Path(variables["COURSE_STATES"], folder_name(variables["JUPYTERHUB_USER"]))
    shared = folder / "progress.json"
    chosen, other = private, shared
    if variables.get("COURSE_SHARE") == "yes":
        chosen, other = shared, private
    try:
        if chosen == shared:
            folder.mkdir(exist_ok=True)
        _move(other, chosen)
    except OSError as error:
        print(f"The progress stays in {private}: {error}", file=sys.stderr, flush=True)
        chosen = private
    variables["COURSE_STATE"] = str(chosen)


def link_site(variables: MutableMapping[str, str]) -> None:
    """Give the learner's JupyterLab its button to the site, at this server's address.

    Each learner's server shows the site below its own address, which only now is known:
    a hub need not begin at `/`. Without the folder there is no button.
    """
    folder = Path(LINKS).expanduser()
    address = variables["JUPYTERHUB_SERVICE_PREFIX"].rstrip("/") + lab.SITE
    try:
        lab.lay_site_link(folder, address)
    except OSError as error:
        print(f"No button leads to the site: {error}", file=sys.stderr, flush=True)
    paths = [str(folder / "etc" / "jupyter"), variables.get("JUPYTER_CONFIG_PATH")]
    variables["JUPYTER_CONFIG_PATH"] = os.pathsep.join(filter(None, paths))


def _move(old: Path, new: Path) -> None:
    """Bring a state to its other place, unless there is one already."""
    from utils.text.whole import write_whole

    if old.is_file() and not new.exists():
        write_whole(new, old.read_bytes())
    if new.exists():
        old.unlink(missing_ok=True)


if __name__ == "__main__":
    main(sys.argv[1:])
