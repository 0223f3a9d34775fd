"""A real JupyterHub on loopback: what one learner costs, and what one waits for.

The hub of the test, with the course's configuration. Memory is the share that a
learner's processes hold (pages that several share are divided among them), so it is
measured alone, which is the dearest, and with others beside.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench_rows import Row
from tests.jupyterhub_room import Hub, Learner, running_hub
from utils.launcher.jupyterhub.checks import DROP_BOX, LEARNER_MB
from utils.launcher.jupyterhub.command import publish
from utils.launcher.jupyterhub.proxy import find_proxy
from utils.launcher.jupyterhub.settings import HubRoom

__all__ = ["hub_rows"]

STEM = "ch0_toolbox"
SETUP = "from utils.prelude import *\nmodel = load_model('one_layer')"
TRAIN = """
from utils.training.recipes import LIVE

network = AttentionOnlyTransformer(LIVE.model, seed=0)
run = train(network, LIVE.batches(stdlib_corpus(LIVE.model.d_vocab)), LIVE.training)
"""
# Each exercise of the course, answered by its solution, as its cell would be checked.
CHECKS = """
import importlib, json, time

from utils.checks import chapters, exercises_of
from utils.exercises.verdict import run_check

found = {}
for stem in chapters():
    answers = importlib.import_module(f"solutions.{stem}")
    for name in exercises_of(stem):
        began = time.process_time()
        assert run_check(name, getattr(answers, name)).status == "passed", name
        found[name] = time.process_time() - began
print("checks", json.dumps(found))
"""


def hub_rows(learners: int = 3) -> Iterator[Row]:
    """Rows of the bench: first one learner alone, then `learners` at once."""
    if find_proxy() is None:
        yield Row("JupyterHub", "not measured: python3 -m utils hub install")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "states").mkdir()
        (folder / "states").chmod(DROP_BOX)
        room = HubRoom(
            learners=learners,
            states=str(folder / "states"),
            repository=(folder / "chapters.git").as_uri(),
        )
        publish(room)
        with running_hub(folder, room, COURSE_TRAIN="short") as hub:
            yield Row("the hub, until it answers", f"{hub.seconds:.1f} s")
            first = _begin(hub, room, "learner0")
            yield _seconds("a server, until it answers", first, "server", 0)
            before = first.processor()
            first.run(SETUP)
            yield _seconds("the setup line and a model", first, "cell", before)
            yield _memory("memory, alone, after the setup line", first)
            first.run(TRAIN)
            yield _memory("memory, alone, after a training", first)
            said = first.run(CHECKS)
            found = json.loads(said.partition("checks ")[2])
            name = max(found, key=found.get)
            what = f"slowest of {len(found)} checks, on a core: {name}"
            yield Row(what, f"{found[name]:.1f} s", "2 s")
            others = [_begin(hub, room, f"learner{n}") for n in range(1, learners)]
            for one in others:
                one.run(SETUP)
                one.run(TRAIN)
            yield _memory(f"memory, one of {learners}, after a training", others[-1])


def _begin(hub: Hub, room: HubRoom, name: str) -> Learner:
    """A learner with a server, the chapters and a kernel."""
    learner = Learner(hub, name, hub.token_of(name))
    learner.start(share=True)
    learner.pull(room.repository, STEM)
    learner.open(f"course/{STEM}.ipynb")
    return learner


def _seconds(what: str, learner: Learner, which: str, before: float) -> Row:
    """Time by the clock, and how much of it a core has worked; `before` is not ours."""
    worked = learner.processor() - before
    return Row(what, f"{learner.seconds[which]:.1f} s ({worked:.1f} s of a core)")


def _memory(what: str, learner: Learner) -> Row:
    held = learner.memory()
    ours = f"{held.all:.0f} MB ({held.server:.0f} server, {held.kernels:.0f} kernel)"
    return Row(what, ours, f"{LEARNER_MB} MB")
