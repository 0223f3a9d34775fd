"""Configuration of a plain JupyterHub for the course.

JupyterHub reads it: `jupyterhub -f jupyterhub_config.py`, which is the line that `hub
unit` writes. What can be changed stands in /etc/course-hub.toml. Learners are accounts
of the server and run in systemd's units, so that their limits hold.
"""

import os

from utils.launcher.jupyterhub.settings import culler, for_learners, read_room, roles


def configure(c, room) -> None:
    """Everything that a hub on a server of its own needs."""
    for_learners(c, room)
    c.JupyterHub.spawner_class = "systemd"
    c.SystemdSpawner.isolate_tmp = True
    c.SystemdSpawner.unit_name_template = "course-{USERNAME}"
    c.JupyterHub.services = [culler(room)]
    c.JupyterHub.load_roles = roles(room)
    c.JupyterHub.authenticator_class = "pam"
    c.PAMAuthenticator.allowed_groups = {"course-learners", "course-facilitators"}
    # A restart of the hub stops nobody's training.
    c.JupyterHub.cleanup_servers = False
    for name in ("ssl_cert", "ssl_key"):
        if os.environ.get(f"COURSE_HUB_{name.upper()}"):
            setattr(c.JupyterHub, name, os.environ[f"COURSE_HUB_{name.upper()}"])


# JupyterHub puts this name here; whoever imports the file only gets the function.
if "get_config" in globals():
    configure(get_config(), read_room())
