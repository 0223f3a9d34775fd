"""Who is stopped as idle: a real hub with a short limit, and what its servers note.

One learner does nothing, another's kernel works in silence. The limit is the room's own
setting; what follows from it (how often the hub looks) is the configuration's.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import nbformat
import pytest

from utils.launcher.jupyterhub import busy, checks, settings
from utils.launcher.jupyterhub.settings import HubRoom

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)

from tests.jupyterhub_room import Learner, need_proxy, running_hub

LIMIT = 20  # seconds
TRY = """
from utils.exercises import state
state.note_try("ov_matrix", "passed", None)
"""
# Nothing is printed: a cell sends one message when it begins and one when it ends.
SILENT = """
import os, time
import numpy as np

began, matrix = time.time(), np.eye(64)
while not os.path.exists("enough") and time.time() - began < 300:
    matrix = matrix @ matrix
"""


def runs(hub, name: str) -> bool:
    """Whether the hub has a server of that learner."""
    return bool(hub.ask("get", f"users/{name}").json()["servers"])


def stopped_after(hub, name: str, most: float) -> float:
    """Seconds until a server is gone."""
    began = time.monotonic()
    while runs(hub, name):
        assert time.monotonic() - began < most, f"{name} still runs after {most} s"
        time.sleep(0.5)
    return time.monotonic() - began


@pytest.mark.slow
def test_an_idle_server_is_stopped_and_a_working_one_is_not(tmp_path):
    need_proxy()
    states = tmp_path / "states"
    states.mkdir()
    states.chmod(checks.DROP_BOX)
    room = HubRoom(learners=2, states=str(states), idle_hours=LIMIT / 3600)
    with running_hub(tmp_path, room) as hub:
        ada, ben = (Learner(hub, name, hub.token_of(name)) for name in ("ada", "ben"))
        ben.start(share=True)
        ben.open("work.ipynb")
        ben.send(SILENT)
        ada.start(share=True)
        ada.open("notes.ipynb")
        ada.run(TRY)
        mine = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("answer = 7")])
        ada.save("notes.ipynb", mine)
        assert stopped_after(hub, "ada", LIMIT * 4) > LIMIT / 2
        time.sleep(2 * room.look + 1)  # he has been silent for longer than she was
        assert runs(hub, "ben"), "a kernel that works was taken for idle"

        # What was there before is there again; the kernel's variables are not.
        ada.start(share=True)
        kept = ada.notebook("notes.ipynb")
        assert [cell["source"] for cell in kept["cells"]] == ["answer = 7"]
        text = (states / "ada" / "progress.json").read_text(encoding="utf-8")
        assert '"ov_matrix"' in text

        # And the other one is stopped like anybody once its cell has ended.
        (hub.home("ben") / "enough").touch()
        stopped_after(hub, "ben", LIMIT * 4)


def test_a_busy_kernel_is_noted_and_no_other(monkeypatch):
    states = {"a": "idle", "b": "starting"}
    kernels = SimpleNamespace(
        list_kernel_ids=lambda: list(states),
        get_kernel=lambda key: SimpleNamespace(execution_state=states[key]),
    )
    noted: dict = {}
    watch = busy.Watch(noted, kernels)
    watch.look()
    assert noted == {}
    states["b"] = "busy"
    watch.look()
    (name,) = noted
    # Jupyter counts settings with this ending (ServerApp's last_activity).
    assert name.endswith("_last_activity")
    assert datetime.now(UTC) - noted[name] < timedelta(seconds=5)

    # A cell that never ends counts for a day, and the next cell of its kernel anew.
    later = time.monotonic() + busy.LONGEST + 1
    monkeypatch.setattr(busy.time, "monotonic", lambda: later)
    noted.clear()
    watch.look()
    assert noted == {}
    states["b"] = "idle"
    watch.look()
    states["b"] = "busy"
    watch.look()
    assert list(noted) == [name]


@pytest.mark.parametrize(("hours", "look"), [(4, 300), (0.1, 90), (1e-4, 1)])
def test_the_hub_looks_and_is_told_more_often_than_the_limit(hours, look):
    room = HubRoom(idle_hours=hours)
    assert f"--cull-every={look}" in settings.culler(room)["command"]
    assert settings.variables(room)["JUPYTERHUB_ACTIVITY_INTERVAL"] == str(look)
