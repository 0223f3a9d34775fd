"""The course on a JupyterHub, without a hub: settings, what spawners are told, links,
pulls by nbgitpuller, rights of the shared folder. test_jupyterhub_room.py starts one.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest import mock
from urllib.parse import parse_qs, urlparse

import nbformat
import pytest
import yaml
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from utils.exercises import state
from utils.launcher import environment, lab
from utils.launcher.jupyterhub import begin, checks, command, proxy, settings
from utils.launcher.jupyterhub.settings import FOLDER, HubRoom, read_room
from utils.launcher.problems import Problem
from utils.text.whole import write_whole

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)

GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
ARGUMENTS = settings.arguments()
VALUES = yaml.safe_load((FOLDER / "kubernetes_values.yaml").read_text("utf-8"))


# --- The settings -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learners", "limit", "cores", "threads"),
    [
        (5, None, 2, 1),
        (20, None, 64, 3),
        (4, 1.5, 64, 1),
        (4, 2, 1, 2),
        (1, None, 8, 8),
    ],
)
def test_threads_follow_from_limit_or_share(learners, limit, cores, threads):
    room = HubRoom(learners=learners, cores=limit)
    assert room.threads(cores) == threads
    if limit is None:
        assert threads == 1 or threads * learners <= cores


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("learners = 0", "learners is a whole number from 1, not 0."),
        ("learners = true", "learners is a whole number from 1, not True."),
        ('memory = "lots"', "memory is a size such as"),
        ("cores = -1", "cores is a number over 0, not -1."),
        ('states = "here"', "states is a whole path, not 'here'."),
        ("idle_hours = 0", "idle_hours is a number over 0, not 0."),
        ("idle_huors = 2", "has 'idle_huors'; it knows learners, memory,"),
        ("learners = ", "cannot be read"),
    ],
)
def test_a_wrong_line_is_one_sentence(tmp_path, line, sentence):
    file = tmp_path / "course-hub.toml"
    file.write_text(line)
    with pytest.raises(Problem, match=re.escape(sentence)):
        read_room(file)


def test_a_file_of_settings_is_optional_but_a_named_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(settings, "SETTINGS", tmp_path / "none.toml")
    monkeypatch.delenv("COURSE_HUB", raising=False)
    assert read_room() == HubRoom()
    monkeypatch.setenv("COURSE_HUB", str(tmp_path / "other.toml"))
    with pytest.raises(Problem, match="There is no file"):
        read_room()
    (tmp_path / "other.toml").write_text('learners = 7\nfacilitators = ["fay"]')
    assert read_room() == HubRoom(learners=7, facilitators=("fay",))


def test_users_never_share_a_folder_and_never_leave_theirs():
    users = ["ada", "Ada", "a/b", "a%2Fb", "a b", "..", ".", ".x", "é", "a\\b", "-"]
    names = [settings.folder_name(user) for user in users]
    assert len(set(names)) == len(users)
    for name in names:
        assert not name.startswith(".") and "/" not in name and Path(name).name == name


def test_only_a_clear_yes_shares():
    for form, share in [
        ({"share": ["yes"]}, "yes"),
        ({"share": ["no"]}, "no"),
        ({}, "no"),
        ({"share": ["yes", "no"]}, "no"),
    ]:
        assert settings.share_of_form(form) == {"share": share}


# --- What the hubs are told ---------------------------------------------------------


def loaded(name: str, monkeypatch, tmp_path, before: str = "") -> Config:
    """A configuration as JupyterHub reads it, after some lines of another one."""
    file = tmp_path / "course-hub.toml"
    file.write_text('learners = 8\nmemory = "1.5G"\nidle_hours = 3\ncores = 2\n')
    monkeypatch.setenv("COURSE_HUB", str(file))
    (tmp_path / "whole.py").write_text(
        f"c = get_config()\n{before}\nload_subconfig({str(FOLDER / name)!r})\n"
    )
    return PyFileConfigLoader("whole.py", path=str(tmp_path)).load_config()


@pytest.mark.parametrize("name", ["jupyterhub_config.py", "tljh_config.py"])
def test_each_configuration_sets_limits_and_idle_time(name, monkeypatch, tmp_path):
    # The Littlest JupyterHub's own lines, which come first.
    before = (
        "c.JupyterHub.services = [{'name': 'cull-idle', 'admin': True, 'command': "
        "['python', '-m', 'jupyterhub_idle_culler', '--timeout=600']}]\n"
        "c.Spawner.mem_limit = None\nc.JupyterHub.spawner_class = 'theirs'"
    )
    c = loaded(name, monkeypatch, tmp_path, before)
    assert (c.Spawner.mem_limit, c.Spawner.cpu_limit) == ("1.5G", 2)
    assert c.Spawner.environment["OMP_NUM_THREADS"] == "2"
    (service,) = c.JupyterHub.services
    assert "--timeout=10800" in service["command"]
    assert c.JupyterHub.load_roles[0]["services"] == [service["name"]]
    theirs = name == "tljh_config.py"
    assert (c.JupyterHub.spawner_class == "theirs") is theirs
    assert ("authenticator_class" in c.JupyterHub) is not theirs


async def _nothing(*words):
    return False


def test_systemd_is_told_the_limits(monkeypatch, tmp_path):
    """The spawner's own translation, up to the call that would start the unit."""
    import asyncio
    import pwd

    from jupyterhub.objects import Hub
    from systemdspawner import SystemdSpawner, systemd

    told = {}

    async def start(unit, **words):
        told.update(words, unit=unit)

    async def running(unit):
        return bool(told)

    monkeypatch.setattr(systemd, "start_transient_service", start)
    monkeypatch.setattr(systemd, "service_running", running)
    monkeypatch.setattr(systemd, "service_failed", _nothing)
    monkeypatch.setattr(systemd, "get_systemd_version", lambda: 255)
    c = loaded("jupyterhub_config.py", monkeypatch, tmp_path)
    me = pwd.getpwuid(os.getuid()).pw_name
    user = mock.MagicMock(id=1, url="/user/x", escaped_name=me, settings={})
    user.name = me
    hub = Hub(ip="127.0.0.1", port=1, base_url="/hub/")
    spawner = SystemdSpawner(
        config=c, user=user, hub=hub, api_token="t", oauth_client_id="o"
    )
    spawner.user_options = {"share": "yes"}
    asyncio.run(spawner.start())
    assert told["unit"] == f"course-{me}"
    properties = told["properties"]
    assert properties["MemoryMax"] == int(1.5 * 2**30)
    assert properties["CPUQuota"] == "200%"
    assert properties["NoNewPrivileges"] == "yes"
    variables = told["environment_variables"]
    assert variables["COURSE_SHARE"] == "yes"
    assert variables["OMP_NUM_THREADS"] == "2"
    assert told["cmd"][1:] == ["-P", "-m", "utils.launcher.jupyterhub.begin"]


def test_facilitators_see_who_works_and_open_nothing():
    from jupyterhub import scopes

    (role,) = [
        one
        for one in settings.roles(HubRoom(facilitators=["fay"]))
        if one["name"] == "facilitator"
    ]
    whole = scopes.expand_scopes(role["scopes"])
    names = {scope.partition("!")[0] for scope in whole}
    assert {"list:users", "delete:servers", "admin-ui"} <= names
    assert not any(name.startswith(("access:", "admin:")) for name in names), names


# --- The learner's own start --------------------------------------------------------


@pytest.fixture
def box(tmp_path, monkeypatch):
    """A shared folder as the guide makes it, and a home; rights as `begin` has them."""
    folder = tmp_path / "states"
    folder.mkdir()
    folder.chmod(checks.DROP_BOX)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    before = os.umask(begin.OTHERS)
    yield folder
    os.umask(before)


@pytest.fixture
def open_place():
    """A folder that every account can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(place)


def prepared(box: Path, share: str, user: str = "ada") -> Path:
    variables = {"COURSE_STATES": str(box), "JUPYTERHUB_USER": user}
    variables["COURSE_SHARE"] = share
    begin.prepare(variables)
    return Path(variables["COURSE_STATE"])


def test_a_shared_state_is_for_the_group_alone(box, monkeypatch):
    place = prepared(box, "yes")
    assert place == box / "ada" / "progress.json"
    monkeypatch.setenv("COURSE_STATE", str(place))
    state.note_try("ov_matrix", "passed", None)
    assert stat.S_IMODE(place.parent.stat().st_mode) == 0o2750
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert place.stat().st_gid == box.stat().st_gid


def test_a_private_state_is_nobody_else_s(box, tmp_path, monkeypatch):
    place = prepared(box, "no")
    assert place == tmp_path / "home" / ".course_progress.json"
    monkeypatch.setenv("COURSE_STATE", str(place))
    state.note_try("ov_matrix", "passed", None)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert list(box.iterdir()) == []


def test_progress_goes_with_the_choice(box, monkeypatch):
    for share in ("yes", "no", "yes", "yes"):
        place = prepared(box, share)
        monkeypatch.setenv("COURSE_STATE", str(place))
        kept = state.read_state()["record"]["exercises"]
        assert list(kept) in ([], ["ov_matrix"])
        assert not kept or place.exists()
        state.note_try("ov_matrix", "failed", "sign")
        assert len(state.read_state()["record"]["exercises"]["ov_matrix"]["tries"]) == (
            1 + len(kept.get("ov_matrix", {}).get("tries", []))
        )
    assert len(state.read_state()["record"]["exercises"]["ov_matrix"]["tries"]) == 4


def test_without_a_shared_folder_the_server_starts_all_the_same(box, capsys):
    box.rmdir()
    place = prepared(box, "yes")
    assert place.name == ".course_progress.json"
    assert "The progress stays in" in capsys.readouterr().err


def as_account(uid: int, gid: int, code: str) -> str:
    """What some lines of Python print, or their last complaint, run by an account."""
    lines = f"import os\nos.setgroups([]); os.setgid({gid}); os.setuid({uid})\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, cwd="/"
    )
    return done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]


def test_accounts_read_what_their_group_lets_them(open_place):
    """With real accounts: a learner, a facilitator, and another learner."""
    if os.geteuid() != 0 or as_account(50_001, 50_001, "print('let')") != "let":
        pytest.skip("only root, and not in a namespace, can act as three accounts")
    group = 54_321
    box = open_place / "states"
    box.mkdir()
    os.chown(box, 0, group)
    box.chmod(checks.DROP_BOX)
    folder, file = box / "ada", box / "ada" / "progress.json"
    made = as_account(
        50_001,
        50_001,
        f"os.umask({begin.OTHERS}); os.mkdir({str(folder)!r})\n"
        f"os.close(os.open({str(file)!r}, os.O_CREAT | os.O_WRONLY, 0o640))\n"
        "print('made')",
    )
    assert made == "made"
    read = f"print(repr(open({str(file)!r}).read()), os.listdir({str(box)!r}))"
    assert as_account(50_009, group, read) == "'' ['ada']"
    assert "Permission denied" in as_account(50_002, 50_002, read)
    listed = f"print(os.listdir({str(box)!r}))"
    assert "Permission denied" in as_account(50_002, 50_002, listed)
    for spoil in (f"os.remove({str(file)!r})", f"os.rename({str(folder)!r}, '/x')"):
        for uid, gid in ((50_002, 50_002), (50_009, group)):
            said = as_account(uid, gid, spoil)
            assert "denied" in said or "not permitted" in said, said


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o600), (0o2755, 0o640)])
def test_a_file_is_for_a_group_only_in_a_group_s_folder(tmp_path, folder, file):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    for content in (b"one", b"two"):
        write_whole(place / "x", content)
        assert stat.S_IMODE((place / "x").stat().st_mode) == file
    assert (place / "x").read_bytes() == b"two"


# --- Chapters and their link --------------------------------------------------------


@pytest.fixture
def course(tmp_path, monkeypatch):
    """Two small chapters, and a room whose repository is on this disk."""
    chapters = tmp_path / "chapters"
    chapters.mkdir()
    monkeypatch.setattr(lab, "CHAPTERS", chapters)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", str(tmp_path / "system"))
    for stem in ("ch0_a", "ch1_b"):
        write(chapters / f"{stem}.ipynb", [f"# {stem}", "answer = None", "after = 1"])
    (chapters / lab.GLOSSARY).write_text("# Glossary\n")
    bare = tmp_path / "a place" / "chapters.git"
    bare.parent.mkdir()
    return SimpleNamespace(
        chapters=chapters,
        bare=bare,
        room=HubRoom(repository=bare.as_uri()),
        home=tmp_path / "course",
    )


def write(path: Path, sources: list[str], outputs: str = "") -> None:
    """A notebook with these cells, as JupyterLab saves it."""
    cells = []
    for i, source in enumerate(sources):
        cell = nbformat.v4.new_code_cell(source, id=f"{path.stem[:3]}-{i:03}")
        if outputs:
            cell.execution_count = i + 1
            cell.outputs = [nbformat.v4.new_output("stream", text=f"{outputs} {i}\n")]
        cells.append(cell)
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)


def sources(path: Path) -> list[str]:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    return [cell.source for cell in notebook.cells]


def pull(course) -> None:
    from nbgitpuller.pull import GitPuller

    puller = GitPuller(course.room.repository, str(course.home), branch="main")
    for _ in puller.pull():
        pass


def test_a_pull_keeps_the_learner_s_edits_and_brings_the_news(course):
    command.publish(course.room)
    pull(course)
    mine = course.home / "ch0_a.ipynb"
    write(mine, ["# ch0_a", "answer = 42", "after = 1"], outputs="seen")
    (course.home / "notes.txt").write_text("my notes")
    write(course.home / "ch2_c.ipynb", ["mine, made before the chapter came"])
    (course.home / "ch1_b.ipynb").unlink()

    write(course.chapters / "ch0_a.ipynb", ["# ch0_a, new", "answer = 0", "after = 2"])
    write(course.chapters / "ch1_b.ipynb", ["# ch1_b", "answer = None", "more = 3"])
    write(course.chapters / "ch2_c.ipynb", ["# ch2_c"])
    assert "now has the chapters" in command.publish(course.room)
    pull(course)

    # The learner's answer stands where both changed a line, and so do its outputs.
    assert sources(mine)[1] == "answer = 42"
    assert "seen 1" in mine.read_text()
    assert (course.home / "notes.txt").read_text() == "my notes"
    # What nobody here had touched is the new one; a deleted chapter is back.
    assert sources(course.home / "ch1_b.ipynb") == [
        "# ch1_b",
        "answer = None",
        "more = 3",
    ]
    # A chapter that came where the learner had a file: both are there.
    assert sources(course.home / "ch2_c.ipynb") == ["# ch2_c"]
    (aside,) = course.home.glob("ch2_c__*.ipynb")
    assert sources(aside) == ["mine, made before the chapter came"]


def test_real_chapters_survive_a_pull(course, tmp_path):
    """An answer in one cell; new cells and new prose from above."""
    shipped = environment.ROOT / "chapters" / "ch2_zero_layer.ipynb"
    shutil.copy(shipped, course.chapters)
    command.publish(course.room)
    pull(course)
    mine = course.home / shipped.name
    notebook = nbformat.read(mine, as_version=4)
    answered = [c for c in notebook.cells if c.source.startswith("@exercise")][1]
    answered.source = answered.source.replace("raise NotImplementedError", "return 7")
    answered.execution_count = 3
    nbformat.write(notebook, mine)

    newer = nbformat.read(shipped, as_version=4)
    newer.cells[1].source += "\n\nA sentence that is new."
    newer.cells.insert(5, nbformat.v4.new_markdown_cell("A new cell.", id="ch2-new"))
    newer.cells.append(nbformat.v4.new_code_cell("1 + 1", id="ch2-last"))
    nbformat.write(newer, course.chapters / shipped.name)
    command.publish(course.room)
    pull(course)

    merged = nbformat.read(mine, as_version=4)
    nbformat.validate(merged)
    found = {cell.id: cell for cell in merged.cells}
    assert found[answered.id].source == answered.source
    assert found["ch2-new"].source == "A new cell." and "ch2-last" in found
    assert merged.cells[1].source.endswith("A sentence that is new.")
    assert len(merged.cells) == len(newer.cells)


def test_publishing_twice_changes_nothing_and_keeps_what_a_facilitator_added(
    course, tmp_path
):
    command.publish(course.room)
    assert "already" in command.publish(course.room)
    copy = tmp_path / "copy"
    git = ["git", "-c", "user.name=f", "-c", "user.email=f@localhost"]
    subprocess.run([*git, "clone", "-q", course.bare, copy], check=True)
    (copy / "welcome.md").write_text("hello")
    for words in (["add", "-A"], ["commit", "-qm", "w"], ["push", "-q"]):
        subprocess.run([*git, "-C", copy, *words], check=True)
    write(course.chapters / "ch0_a.ipynb", ["newer"])
    command.publish(course.room)
    pull(course)
    assert (course.home / "welcome.md").read_text() == "hello"
    assert sources(course.home / "ch0_a.ipynb") == ["newer"]


def test_a_repository_elsewhere_is_not_written():
    with pytest.raises(Problem, match="push the chapters there by git"):
        command.publish(HubRoom(repository="https://git.example.org/chapters.git"))


def test_accounts_may_pull_from_root_s_repository(course):
    for _ in range(2):
        command.trust(course.room)
    said = subprocess.run(
        ["git", "config", "--system", "--get-all", "safe.directory"],
        capture_output=True,
        text=True,
    )
    assert said.stdout.splitlines() == [str(course.bare)]


def test_the_link_says_all_that_nbgitpuller_asks():
    made = command.link("https://hub.example.org/", "file:///srv/a b.git", "ch3_x")
    parts = urlparse(made)
    assert parts.path == "/hub/user-redirect/git-pull"
    assert parse_qs(parts.query) == {
        "repo": ["file:///srv/a b.git"],
        "branch": ["main"],
        "targetpath": ["course"],
        "urlpath": ["lab/tree/course/ch3_x.ipynb"],
    }


# --- The command's other words ------------------------------------------------------


def test_accounts_are_made_once_and_their_passwords_kept_apart(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("ada\nben\n\ncem\n")
    asked = []

    def run(words, **more):
        asked.append((words, more.get("input")))
        return SimpleNamespace(returncode=0 if words == ["id", "ben"] else 1)

    assert command.accounts(names, run).startswith("2 accounts made")
    slips = tmp_path / "names.passwords.csv"
    assert stat.S_IMODE(slips.stat().st_mode) == 0o600
    rows = dict(line.split(",") for line in slips.read_text().split())
    given = dict(text.split(":") for words, text in asked if words == ["chpasswd"])
    assert rows == given and set(rows) == {"ada", "cem"}
    passwords = set(rows.values())
    assert len(passwords) == 2 and {len(one) for one in passwords} == {14}
    # Nobody's password stands in a command, which every account can list.
    assert not passwords & {word for words, _ in asked for word in words}
    commands = [words for words, _ in asked]
    assert ["usermod", "--append", "--groups", "course-learners", "ben"] in commands


@pytest.mark.parametrize("name", ["../x", "-rf", "Ada", "a:b", "root;"])
def test_odd_names_make_no_accounts(tmp_path, name):
    names = tmp_path / "names.txt"
    names.write_text(f"ada\n{name}\n")
    with pytest.raises(Problem, match="is no name for an account"):
        command.accounts(names, lambda *a, **k: pytest.fail("ran"))


@pytest.mark.parametrize("with_proxy", [True, False])
def test_install_prepares_and_then_opens_the_course(monkeypatch, with_proxy):
    """In this order: what is made by root last must be readable by all as well."""
    done = []
    note = lambda name: lambda *words, **more: done.append(name)  # noqa: E731
    monkeypatch.setattr(environment, "install_requirements", note("packages"))
    monkeypatch.setattr(command, "install_proxy", note("proxy"))
    monkeypatch.setattr(lab, "switch_off_news", note("news"))
    monkeypatch.setattr(lab, "lay_styles", note("styles"))
    monkeypatch.setattr(environment, "run_child", lambda *w: done.append("ids") or 0)
    monkeypatch.setattr(command, "open_to_readers", note("open"))
    command.install(with_proxy)
    wanted = ["packages", "proxy", "news", "styles", "ids", "open"]
    assert done == [step for step in wanted if with_proxy or step != "proxy"]
    monkeypatch.setattr(environment, "run_child", lambda *words: 1)
    with pytest.raises(Problem, match="does not start"):
        command.install(with_proxy)
    assert done[-1] != "open"


def test_the_service_file_names_this_course(capsys):
    assert command.main(["unit"]) == 0
    said = capsys.readouterr().out
    line = re.search(r"^ExecStart=(.*)$", said, re.MULTILINE)[1].split()
    assert Path(line[0]).parent == environment.venv_python().parent
    assert line[1:4] == ["-m", "jupyterhub", "-f"] and Path(line[4]).exists()
    assert re.search(r"^Environment=PATH=(\S+?):", said, re.M)[1] in line[0]


def test_check_counts_what_a_room_needs():
    room = HubRoom(learners=20)
    enough = int((checks.SYSTEM_MB + 20 * checks.LEARNER_MB) * 1e6)
    assert checks._memory(room, enough).fix is None
    assert "19 learners fit" in checks._memory(room, enough - 10**6).fix
    assert checks._cores(room, 4).fix is None
    slow = checks._cores(room, 2)
    assert slow.note and "10 learners share a core" in slow.fix
    assert checks._disk(room, 5 * 2**30).fix is None
    assert checks._disk(room, 5 * 2**30 - 1).fix


def test_check_sees_a_closed_course_and_a_leaking_folder(open_place):
    inner = open_place / "closed" / "course"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    inner.parent.chmod(0o700)
    assert "cannot enter" in checks._course(inner).what
    inner.chmod(0o777)
    inner.parent.chmod(0o711)
    assert "can write" in checks._course(inner).what
    command.open_to_readers(inner)
    assert checks._course(inner).fix is None

    states = open_place / "states"
    assert "there is no folder" in checks._states(states).what
    states.mkdir(mode=0o755)
    assert f"-m {checks.DROP_BOX:o}" in checks._states(states).fix
    states.chmod(checks.DROP_BOX)
    assert checks._states(states).fix is None


@pytest.mark.parametrize(
    ("accounts", "members", "says"),
    [
        ({}, [], "is no account of this server"),
        ({"fay": 7}, [], "is not in the group"),
        ({"fay": 7}, ["fay"], None),
        ({"fay": 9}, [], None),  # it is the account's own group
        ({"jupyter-fay": 7}, ["jupyter-fay"], None),
        ({"jupyter-fay": 7}, ["fay"], "is not in the group"),
    ],
)
def test_check_sees_who_can_read(monkeypatch, accounts, members, says):
    import grp
    import pwd

    group = SimpleNamespace(gr_gid=9, gr_mem=members)
    monkeypatch.setattr(grp, "getgrnam", lambda name: group)
    monkeypatch.setattr(
        pwd, "getpwnam", lambda name: SimpleNamespace(pw_gid=accounts[name])
    )
    found = checks._facilitator("fay")
    assert (found.fix is None) is (says is None)
    assert says is None or says in found.what


def test_a_course_opened_to_readers_stays_closed_to_writers(tmp_path):
    kept = {"a.txt": 0o600, "run": 0o700, "b.txt": 0o666, ".git": None}
    for name, mode in kept.items():
        if mode is None:
            (tmp_path / name).mkdir(mode=0o700)
        else:
            (tmp_path / name).write_text("")
            (tmp_path / name).chmod(mode)
    command.open_to_readers(tmp_path)
    found = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert found == {"a.txt": 0o644, "run": 0o755, "b.txt": 0o644, ".git": 0o700}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


@pytest.mark.parametrize(
    ("which", "answer", "sentence"),
    [
        (None, None, "needs Node.js with npm"),
        ("npm", (1, "", "npm error\nno network"), "(no network)"),
        ("npm", (0, "", ""), "(it said nothing)"),
    ],
)
def test_a_proxy_that_cannot_be_had_is_one_sentence(
    tmp_path, monkeypatch, which, answer, sentence
):
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: which)
    monkeypatch.setattr(
        subprocess, "run", lambda *w, **k: subprocess.CompletedProcess(w, *answer)
    )
    with pytest.raises(Problem, match=re.escape(sentence)):
        proxy.install_proxy()


def test_the_proxy_goes_into_the_environment_and_is_fetched_once(tmp_path, monkeypatch):
    asked = []

    def npm(words, **more):
        asked.append(words)
        about = tmp_path / "lib" / "node_modules" / proxy.PACKAGE / "package.json"
        about.parent.mkdir(parents=True)
        about.write_text(json.dumps({"version": proxy.VERSION}))
        return subprocess.CompletedProcess(words, 0, "", "")

    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", npm)
    assert proxy.install_proxy() == proxy.install_proxy() == proxy.find_proxy()
    monkeypatch.setattr(proxy, "VERSION", "99.0")
    assert proxy.find_proxy() is None, "an update brings the newer one"
    monkeypatch.undo()
    ((*_, last),) = asked
    assert last == f"{proxy.PACKAGE}@{proxy.VERSION}" and str(tmp_path) in asked[0]


# --- The pages ----------------------------------------------------------------------


def test_the_guide_s_settings_are_understood(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, re.DOTALL)
    file = tmp_path / "course-hub.toml"
    file.write_text(block)
    shown = read_room(file)
    named = set(re.findall(r"^#? ?(\w+) =", block, re.MULTILINE))
    assert named == set(vars(shown)), "every setting is shown once"
    assert shown.learners == HubRoom().learners


def test_commands_of_the_guide_exist():
    words = set(re.findall(r"utils hub (\w+)", GUIDE))
    assert words == {"install", "check", "publish", "unit", "link", "accounts"}
    assert f"-m {checks.DROP_BOX:o}" in GUIDE
    assert f"{checks.LEARNER_MB} MB" in GUIDE


def test_the_kubernetes_values_say_what_the_hub_s_settings_say():
    room = HubRoom()
    user = VALUES["singleuser"]
    assert user["memory"]["limit"] == room.memory
    assert user["cmd"][1:4] == ["-P", "-m", "utils.launcher.jupyterhub.begin"]
    there = [word.replace(str(environment.ROOT), "/srv/course") for word in ARGUMENTS]
    assert user["cmd"][4:] == there
    assert VALUES["cull"]["timeout"] == room.idle_hours * 3600
    assert user["extraEnv"]["OMP_NUM_THREADS"] == str(int(user["cpu"]["limit"]))
    given = set(settings.variables(room)) - {"PYTHONPATH", "COURSE_SHARE"}
    assert given <= set(user["extraEnv"])
    mounted = {m["mountPath"]: m for m in user["storage"]["extraVolumeMounts"]}
    assert mounted[user["extraEnv"]["COURSE_STATES"]]["subPath"].startswith("states/")
    (code,) = VALUES["hub"]["extraConfig"].values()
    compile(code, "extraConfig", "exec")
    json.dumps(VALUES)  # plain data: strings, numbers, lists and mappings
