"""Configuration of The Littlest JupyterHub for the course.

A link to this file in /opt/tljh/config/jupyterhub_config.d makes TLJH read it after its
own settings. It keeps TLJH's accounts, proxy and spawner, and brings the course's
environment, limits and idle time.
"""

import sys
from pathlib import Path

# TLJH's hub has a Python of its own, in which the course is not installed.
sys.path.append(str(Path(__file__).resolve().parents[3]))

from utils.launcher.jupyterhub.settings import (  # noqa: E402
    culler,
    for_learners,
    read_room,
    roles,
)


def configure(c, room) -> None:
    """What differs from TLJH's own settings."""
    for_learners(c, room)
    # In place of TLJH's, which stops a server after ten minutes without a click.
    c.JupyterHub.services = [culler(room)]
    c.JupyterHub.load_roles = roles(room)


# JupyterHub puts this name here; whoever imports the file only gets the function.
if "get_config" in globals():
    configure(get_config(), read_room())
