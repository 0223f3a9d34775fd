"""A real JupyterHub, five learners at once and a facilitator: nothing is played.

The hub, its proxy, the servers, the pulls and the kernels are the programs themselves,
on loopback. The trainings are those of the live model, 3 % as long. The hub's addresses
begin with `/training/`, as beside another page of the same server.
"""

import csv
import re
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
import pytest
import requests

from utils.exercises.sync import solution_source
from utils.launcher import environment
from utils.launcher.classroom.room import tally
from utils.launcher.jupyterhub import checks, command
from utils.launcher.jupyterhub.settings import HubRoom
from utils.launcher.report import report
from utils.text.corpus import stdlib_corpus
from utils.training.recipes import LIVE

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)

from tests.jupyterhub_room import Hub, Learner, Memory, need_proxy, running_hub

pytestmark = pytest.mark.slow
NAMES = ("ada", "ben", "cem", "dia", "eva")
PRIVATE = "eva"  # does not show her progress
STEM = "ch0_toolbox"
SOLVED = ("per_token_loss", "attention_pattern", "head_outputs")
SHARE = 0.03  # of a training, with COURSE_TRAIN=short
MISTAKE = "not shifted"
MISTAKEN = """
@exercise
def per_token_loss(model, tokens):
    log_probs = model(tokens).log_softmax(dim=-1)
    return -log_probs.gather(-1, tokens[..., None])[..., 0][:, 1:]
"""
QUESTION = "self_and_space_self"
VOTE = (
    f"from utils.exercises import state\nstate.note_vote({QUESTION!r}, {{choice}}, 3)"
)
TRAINING = """
import json, time
from utils.training.recipes import LIVE

network = AttentionOnlyTransformer(LIVE.model, seed={seed})
batches = LIVE.batches(stdlib_corpus(LIVE.model.d_vocab))
began = time.time()
run = train(network, batches, LIVE.training)
print("trained", json.dumps([began, time.time(), len(run.history),
                             torch.get_num_threads()]))
"""


@dataclass
class Worked:
    """What one learner's morning came to."""

    learner: Learner
    training: tuple[float, float, int, int]  # began, ended, steps, threads
    memory: Memory
    checks: list[float]  # seconds of each exercise's cell


@dataclass
class Morning:
    """The hub after five learners have worked at once."""

    hub: Hub
    room: HubRoom
    states: Path
    work: dict[str, Worked]


def work(hub: Hub, room: HubRoom, name: str, together: threading.Barrier) -> Worked:
    """Start, pull, open a chapter, solve three exercises, train, all by the doors."""
    learner = Learner(hub, name, hub.token_of(name))
    learner.start(share=name != PRIVATE)
    learner.pull(room.repository, STEM)
    path = f"course/{STEM}.ipynb"
    cells = {cell["id"]: cell for cell in learner.notebook(path)["cells"]}
    learner.open(path)
    for cell in ("ch0-002", "ch0-102"):
        learner.run(cells[cell]["source"])
    seconds = []
    learner.run(VOTE.format(choice=NAMES.index(name) % 2))
    if name == "ben":
        learner.run(MISTAKEN)
    for exercise in SOLVED:
        learner.run("@exercise\n" + solution_source(STEM, exercise))
        seconds.append(learner.seconds["cell"])
    together.wait(300)
    said = learner.run(TRAINING.format(seed=NAMES.index(name)))
    numbers = re.search(r"trained \[(.*)\]", said)[1].split(",")
    began, ended, steps, threads = map(float, numbers)
    times = (began, ended, int(steps), int(threads))
    return Worked(learner, times, learner.memory(), seconds)


@pytest.fixture(scope="module")
def morning(tmp_path_factory):
    """Five learners, whose room says what the guide says."""
    need_proxy()
    folder = tmp_path_factory.mktemp("hub")
    states = folder / "states"
    states.mkdir()
    states.chmod(checks.DROP_BOX)
    bare = folder / "chapters.git"
    room = HubRoom(
        learners=len(NAMES),
        states=str(states),
        repository=bare.as_uri(),
        facilitators=("fay",),
    )
    command.publish(room)
    stdlib_corpus(LIVE.model.d_vocab)  # `hub install` makes these ids once for all
    with running_hub(folder, room, "/training/", COURSE_TRAIN="short") as hub:
        together = threading.Barrier(len(NAMES))
        with ThreadPoolExecutor(len(NAMES)) as pool:
            done = list(pool.map(lambda name: work(hub, room, name, together), NAMES))
        yield Morning(hub, room, states, dict(zip(NAMES, done, strict=True)))


def test_five_train_at_once_within_their_share(morning):
    """One share of the cores each, and no more memory than the guide counts with."""
    threads = morning.room.threads()
    for name, one in morning.work.items():
        print(f"{name}: {one.memory}, {one.learner.seconds}, {one.checks}")
        assert one.training[3] == threads
        assert one.memory.kernels > 100, "the kernel was not found"
        assert one.memory.all < checks.LEARNER_MB
        assert one.training[2] == 15
    starts = [one.training[0] for one in morning.work.values()]
    ends = [one.training[1] for one in morning.work.values()]
    assert max(starts) < min(ends), "they were to train at the same time"


def test_nobody_is_stopped_during_the_longest_training(morning):
    """The culler has the room's limit, which full trainings stay far under."""
    limit = morning.room.idle_hours * 3600
    longest = max(one.training[1] - one.training[0] for one in morning.work.values())
    # At most two models are trained in one cell (chapter 6).
    assert 2 * longest / SHARE < limit
    children = psutil.Process(morning.hub.process.pid).children(recursive=True)
    lines = [" ".join(one.cmdline()) for one in children]
    (culler,) = [line for line in lines if "jupyterhub_idle_culler" in line]
    assert f"--timeout={limit:.0f}" in culler


def test_each_learner_has_a_home_and_nobody_else_s(morning):
    for name, one in morning.work.items():
        notebook = morning.hub.home(name) / "course" / f"{STEM}.ipynb"
        assert notebook.exists()
        for other in set(NAMES) - {name}:
            url = f"{morning.hub.address}/user/{other}/api/contents/course"
            headers = {"Authorization": f"token {one.learner.token}"}
            answer = requests.get(url, headers=headers, allow_redirects=False)
            assert answer.status_code in (302, 403), (name, other)


def test_the_facilitator_collects_what_was_shared(morning, tmp_path):
    """Four of five said yes; the report is made from the shared folder as it stands."""
    page = report(morning.states, tmp_path / "out")
    with open(page.parent / "solved.csv", newline="") as file:
        rows = {(one["learner"], one["exercise"]): one for one in csv.DictReader(file)}
    showing = set(NAMES) - {PRIVATE}
    assert set(rows) == {(name, exercise) for name in showing for exercise in SOLVED}
    assert {one["passed"] for one in rows.values()} == {"1"}
    assert {key for key, one in rows.items() if one["tries"] != "1"} == {
        ("ben", "per_token_loss")
    }
    with open(page.parent / "mistakes.csv", newline="") as file:
        (mistake,) = csv.DictReader(file)
    assert (mistake["mistake"], mistake["learners"]) == (MISTAKE, "1")
    assert PRIVATE not in page.read_text(encoding="utf-8")
    private = morning.hub.home(PRIVATE) / ".course_progress.json"
    assert all(exercise in private.read_text() for exercise in SOLVED)
    assert not (morning.states / PRIVATE).exists()


def test_the_votes_of_the_room_are_counted_where_they_lie(morning):
    """Ada and Cem chose one answer, Ben and Dia another; Eva shows nothing."""
    vote, text, _ = tally(morning.states)
    assert vote.prediction.name == QUESTION
    assert list(vote.first)[:2] == [2, 2] and sum(vote.first) == 4
    assert "4 states read" in text


def test_a_second_click_on_the_link_loses_nothing(morning, tmp_path):
    """The facilitator publishes a newer chapter while a learner's answers are in it."""
    one = morning.work["cem"].learner
    path = f"course/{STEM}.ipynb"
    content = one.notebook(path)
    answered = next(c for c in content["cells"] if "def per_token_loss" in c["source"])
    answered["source"] = "@exercise\n" + solution_source(STEM, "per_token_loss")
    answered["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "mine"}]
    one.save(path, content)

    newer = nbformat.read(environment.ROOT / "chapters" / f"{STEM}.ipynb", as_version=4)
    newer.cells.append(nbformat.v4.new_markdown_cell("A last word.", id="ch0-last"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command.lab, "CHAPTERS", tmp_path)
        nbformat.write(newer, tmp_path / f"{STEM}.ipynb")
        (tmp_path / command.lab.GLOSSARY).write_text("# Glossary")
        command.publish(morning.room)
    one.pull(morning.room.repository, STEM)

    cells = {cell["id"]: cell for cell in one.notebook(path)["cells"]}
    assert cells[answered["id"]]["source"] == answered["source"]
    assert cells[answered["id"]]["outputs"][0]["text"] == "mine"
    assert cells["ch0-last"]["source"] == "A last word."


def test_who_logs_in_is_asked_before_the_server_starts(morning):
    """Through the pages, with a cookie, as a person comes."""
    page = requests.Session()
    hub = morning.hub.address + "/hub"
    first = page.get(f"{hub}/login", timeout=60)
    token = re.search(r'name="_xsrf" value="([^"]+)"', first.text)[1]
    link = command.link(morning.hub.address, morning.room.repository, STEM)
    words = {"username": "gus", "password": morning.hub.password, "_xsrf": token}
    page.post(f"{hub}/login?next=", data=words, timeout=60).raise_for_status()
    asked = page.get(link, timeout=60)
    assert "Yes, they may read my progress." in asked.text
    assert 'value="no"' in asked.text and "git-pull" in asked.url


@pytest.mark.parametrize("name", ["ada", "ben"])
def test_the_button_leads_to_the_site_on_one_s_own_server(morning, page, name):
    """Logged in by the form, in a browser; the hub is not the host's first page."""
    page.set_default_timeout(120_000)
    path = f"/user/{name}/lab/tree/course/{STEM}.ipynb"
    page.goto(f"{morning.hub.address}/hub/login?next=/training{path}")
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(morning.hub.password)
    page.get_by_role("button", name="Sign in").click()
    with page.context.expect_page() as opened:
        page.get_by_role("button", name="Course site").click()
    opened.value.wait_for_load_state()
    wanted = f"{morning.hub.address}/user/{name}/static/html/index.html"
    assert opened.value.url == wanted
    assert opened.value.inner_text("body") == "The site's first page"


def test_the_facilitator_can_stop_a_server_and_open_none(morning):
    fay = morning.hub.token_of("fay")
    headers = {"Authorization": f"token {fay}"}
    url = f"{morning.hub.address}/user/dia/api/contents/course"
    answer = requests.get(url, headers=headers, allow_redirects=False, timeout=60)
    assert answer.status_code in (302, 403)
    api = f"{morning.hub.address}/hub/api/users"
    listed = requests.get(api, headers=headers, timeout=60).json()
    assert {one["name"] for one in listed} >= set(NAMES)
    gone = requests.delete(f"{api}/dia/server", headers=headers, timeout=60)
    assert gone.status_code in (202, 204)
    for _ in range(100):
        one = morning.hub.ask("get", "users/dia").json()
        if not one["server"] and not one["pending"]:
            return
        time.sleep(0.2)
    pytest.fail("the server was not stopped")
