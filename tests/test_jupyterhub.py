"""The course on a JupyterHub, without a hub: its settings, what spawners are told, and
where a learner's progress goes. test_jupyterhub_room.py starts a hub."""

import os
import re
import stat
import sys
from pathlib import Path
from unittest import mock

import pytest
from jupyter_server.services.config.manager import ConfigManager
from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

from utils.exercises import state
from utils.launcher.jupyterhub import begin, checks, settings
from utils.launcher.jupyterhub.settings import FOLDER, HubRoom, read_room
from utils.launcher.problems import Problem
from utils.text.whole import write_whole

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)


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


@pytest.mark.parametrize("base", ["/", "/training/"])
def test_each_server_s_button_leads_below_its_own_address(box, monkeypatch, base):
    """What JupyterLab reads on that path, beside what was configured before."""
    monkeypatch.setattr(begin.lab, "FIRST_PAGE", box)  # there is one
    before = {"JUPYTER_CONFIG_PATH": "/somewhere"} if base == "/" else {}
    variables = {"JUPYTERHUB_SERVICE_PREFIX": f"{base}user/ada%20l/", **before}
    begin.link_site(variables)
    first, *rest = variables["JUPYTER_CONFIG_PATH"].split(os.pathsep)
    assert rest == list(before.values())
    manager = ConfigManager(
        config_dir_name="labconfig", read_config_path=[f"{first}/labconfig"]
    )
    read = manager.get("default_setting_overrides")
    buttons = read["@jupyterlab/notebook-extension:panel"]["toolbar"]
    (menu,) = read["@jupyterlab/mainmenu-extension:plugin"]["menus"]
    urls = {one["args"]["url"] for one in [*buttons, *menu["items"]]}
    assert urls == {f"{base}user/ada%20l/static/html/index.html"}


def test_where_no_link_can_be_laid_the_server_starts_all_the_same(
    box, monkeypatch, capsys
):
    monkeypatch.setattr(begin.lab, "FIRST_PAGE", box)
    monkeypatch.setenv("HOME", "/dev/null")
    begin.link_site({"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/"})
    assert "No button leads to the site" in capsys.readouterr().err


@pytest.mark.parametrize(("folder", "file"), [(0o755, 0o600), (0o2755, 0o640)])
def test_a_file_is_for_a_group_only_in_a_group_s_folder(tmp_path, folder, file):
    place = tmp_path / "place"
    place.mkdir()
    place.chmod(folder)
    for content in (b"one", b"two"):
        write_whole(place / "x", content)
        assert stat.S_IMODE((place / "x").stat().st_mode) == file
    assert (place / "x").read_bytes() == b"two"
