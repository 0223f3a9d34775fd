"""The words of `hub`: accounts, rights, what a check sees; and the pages beside."""

import copy
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

import pytest
import yaml
from traitlets.config import Config

from utils.launcher import environment, lab
from utils.launcher.jupyterhub import begin, checks, command, proxy, settings
from utils.launcher.jupyterhub.settings import FOLDER, HubRoom, read_room
from utils.launcher.problems import Problem

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)


GUIDE = (FOLDER / "README.md").read_text(encoding="utf-8")
VALUES = yaml.safe_load((FOLDER / "kubernetes_values.yaml").read_text("utf-8"))
ARGUMENTS = settings.arguments()


# --- Rights of the shared folder ------------------------------------------------------


@pytest.fixture
def open_place():
    """A folder that every account can enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory() as place:
        os.chmod(place, 0o755)
        yield Path(place)


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
    python = open_place / "python"
    python.mkdir()
    assert "cannot enter" in checks._course(inner, python).what
    inner.chmod(0o777)
    inner.parent.chmod(0o711)
    assert "can write" in checks._course(inner, python).what
    command.open_to_readers(inner)
    assert checks._course(inner, python).fix is None
    python.chmod(0o700)  # as in the home of an account
    assert f"behind {python}" in checks._course(inner, python).what

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
    assert VALUES["cull"]["every"] == room.look
    assert user["extraEnv"]["JUPYTERHUB_ACTIVITY_INTERVAL"] == str(room.look)
    assert user["extraEnv"]["OMP_NUM_THREADS"] == str(int(user["cpu"]["limit"]))
    assert settings.MEMORY.items() <= user["extraEnv"].items()
    given = set(settings.variables(room)) - {"PYTHONPATH", "COURSE_SHARE"}
    assert given <= set(user["extraEnv"])
    mounted = {m["mountPath"]: m for m in user["storage"]["extraVolumeMounts"]}
    assert mounted[user["extraEnv"]["COURSE_STATES"]]["subPath"].startswith("states/")
    json.dumps(VALUES)  # plain data: strings, numbers, lists and mappings


def misfits(schema: dict, values: dict) -> list[str]:
    """Where values break a chart's schema; what they leave to its defaults is none."""
    import jsonschema

    whole = copy.deepcopy(values)
    # As --set-file does it.
    whole["hub"]["extraFiles"]["share"]["stringData"] = "a page"
    found = jsonschema.validators.validator_for(schema)(schema).iter_errors(whole)
    return [one.message for one in found if one.validator != "required"]


def test_the_kubernetes_values_fit_a_chart_s_schema():
    """That of the file in COURSE_CHART_SCHEMA; KUBERNETES.md says where it is had."""
    place = os.environ.get("COURSE_CHART_SCHEMA")
    if not place:
        pytest.skip("COURSE_CHART_SCHEMA names no schema of the chart")
    schema = yaml.safe_load(Path(place).read_text("utf-8"))
    assert misfits(schema, VALUES) == []
    wrong = copy.deepcopy(VALUES)
    wrong["cull"]["timeout"] = "4h"
    wrong["singleuser"]["memories"] = {}
    assert len(misfits(schema, wrong)) == 2


@pytest.mark.parametrize("kind", [list, dict])
def test_on_kubernetes_facilitators_alone_see_the_whole_folder(kind, tmp_path):
    """The Python in the values does what the hub's settings do."""
    (code,) = VALUES["hub"]["extraConfig"].values()
    code = code.replace("set()", "{'fay'}")
    place = VALUES["hub"]["extraFiles"]["share"]["mountPath"]
    (tmp_path / "share.html").write_text((FOLDER / "share.html").read_text())
    code = code.replace(place, str(tmp_path / "share.html"))
    c = Config()
    c.KubeSpawner.environment = {}
    exec(code, {"c": c})
    own = VALUES["singleuser"]["storage"]["extraVolumeMounts"][0]
    for name, seen in (("fay", 2), ("ada", 1)):
        mounts = [own] if kind is list else {"own": own}
        spawner = SimpleNamespace(
            user=SimpleNamespace(name=name), volume_mounts=mounts, user_options={}
        )
        c.KubeSpawner.pre_spawn_hook(spawner)
        found = spawner.volume_mounts
        found = list(found.values()) if isinstance(found, dict) else found
        assert len(found) == seen and own in found
        assert all(one.get("readOnly") for one in found if one is not own)
        assert c.KubeSpawner.environment["COURSE_SHARE"](spawner) == "no"
    for form in ({"share": ["yes"]}, {"share": ["no"]}, {}):
        shared = c.KubeSpawner.options_from_form(form)
        assert shared == settings.share_of_form(form)
    assert c.KubeSpawner.options_form == settings.FORM.read_text("utf-8")
