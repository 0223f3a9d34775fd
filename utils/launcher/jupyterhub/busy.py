"""A server extension: a kernel that works counts as activity, also a silent one.

Jupyter takes a kernel's messages for activity, and a training that prints nothing
sends none for as long as its cell runs. The hub would stop its server as idle. So while
a cell runs, the server notes the present time under a name that Jupyter counts
(settings of `ServerApp`'s web application that end with `_last_activity`).
"""

import datetime
import os
import time

__all__ = ["LONGEST", "Watch"]

LONGEST = 24 * 3600  # seconds of one cell; what runs for longer hangs
NOTED = "course_busy_last_activity"


class Watch:
    """Notes in `settings` that a cell runs, for as long as a cell may run.

    `kernels` is Jupyter's kernel manager.
    """

    def __init__(self, settings: dict, kernels):
        self._settings, self._kernels = settings, kernels
        self._since: dict[str, float] = {}  # kernel id -> when it was first seen busy

    def look(self) -> None:
        """Look at every kernel once."""
        now = time.monotonic()
        busy = {
            key
            for key in self._kernels.list_kernel_ids()
            if getattr(self._kernels.get_kernel(key), "execution_state", "") == "busy"
        }
        self._since = {key: self._since.get(key, now) for key in busy}
        if any(now - since < LONGEST for since in self._since.values()):
            self._settings[NOTED] = datetime.datetime.now(datetime.UTC)


def _jupyter_server_extension_points() -> list[dict]:
    return [{"module": __name__}]


def _load_jupyter_server_extension(app) -> None:
    """Jupyter calls it when the server starts."""
    from tornado.ioloop import PeriodicCallback

    watch = Watch(app.web_app.settings, app.kernel_manager)
    told = float(os.environ.get("JUPYTERHUB_ACTIVITY_INTERVAL", 300))  # seconds
    PeriodicCallback(watch.look, told / 2 * 1000).start()
