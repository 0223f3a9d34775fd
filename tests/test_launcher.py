"""The launcher, used as a learner uses it: as a program, in a copy of the repository.

The copies install nothing from a network: their requirements.txt is empty or names a
package that cannot be had. What JupyterLab would do is played by a small stand-in.
"""

import ast
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import utils.__main__ as door
from utils.launcher import doctor, environment, lab, suite

ROOT = Path(__file__).resolve().parents[1]
DOOR = ("__init__", "__main__")
LAUNCHER = ("__init__", "environment", "problems", "lab", "doctor", "site", "suite")
NOTEBOOK = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
SYNC = Path("utils", "exercises", "sync.py")
# A command that shows where it runs and ends as it is told.
COMMAND = """
import json, os, sys
def main(argv):
    print(json.dumps({"prefix": sys.prefix, "cwd": os.getcwd(), "argv": argv}))
    return 7
"""
posix = pytest.mark.skipif(os.name == "nt", reason="uses POSIX programs")
# What only the new environment of a copy can do needs an interpreter of its own.
makes_venv = pytest.mark.slow


def lay_copy(folder: Path) -> Path:
    """A repository with the launcher, two chapters and nothing to install."""
    (folder / "utils" / "launcher").mkdir(parents=True)
    for name in DOOR:
        shutil.copy(ROOT / "utils" / f"{name}.py", folder / "utils")
    for name in LAUNCHER:
        place = Path("utils", "launcher", f"{name}.py")
        shutil.copy(ROOT / place, folder / place)
    (folder / SYNC).parent.mkdir()
    (folder / SYNC).write_text(COMMAND)
    shutil.copytree(ROOT / "tests" / "offline", folder / "tests" / "offline")
    for name in environment.OF_TESTS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# nothing\n")
    for name in ("requirements.txt", ".constraints.txt", "pyproject.toml"):
        (folder / name).write_text("# nothing\n")
    (folder / "utils" / "assets" / "lab").mkdir(parents=True)
    (folder / "utils" / "assets" / "lab" / "custom.css").write_text("/* dark */")
    (folder / "chapters").mkdir()
    (folder / "chapters" / "GLOSSARY.md").write_text("the glossary")
    for name in ("ch2_zero_layer", "ch3_one_layer"):
        path = folder / "chapters" / f"{name}.ipynb"
        path.write_text(json.dumps(NOTEBOOK))
    return folder


def clean_variables(**more: str) -> dict[str, str]:
    """This process's variables without what steers Python or pip."""
    steering = ("PYTHON", "PIP_", "VIRTUAL_ENV", "COURSE_")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(steering)}
    variables.update(PIP_CONFIG_FILE=os.devnull, PIP_RETRIES="1", PIP_TIMEOUT="5")
    # Nothing listens there: a stand-in for an index that cannot be reached.
    variables["PIP_INDEX_URL"] = "http://127.0.0.1:9/simple"
    variables.update(more)
    return variables


def start(folder: Path, *words: str, program=("-m", "utils"), cwd=None, **variables):
    """Run the launcher of a copy and return the finished process."""
    return subprocess.run(
        [sys.executable, *program, *words],
        cwd=cwd or folder,
        env=clean_variables(**variables),
        capture_output=True,
        text=True,
        timeout=200,
    )


def one_sentence(process) -> str:
    """The single line of complaint of a launcher that failed, without a traceback."""
    assert process.returncode not in (0, None), process.stdout
    assert "Traceback" not in process.stdout + process.stderr, process.stderr
    lines = process.stderr.strip().splitlines()
    assert len(lines) == 1, process.stderr
    assert lines[0].endswith("."), lines
    return lines[0]


@pytest.fixture
def copy(tmp_path):
    return lay_copy(tmp_path / "a course")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A copy whose environment is complete; tests that break it repair it again."""
    folder = lay_copy(tmp_path_factory.mktemp("made") / "a course")
    process = start(folder, "sync")
    assert process.returncode == 7, process.stderr
    return folder


@pytest.fixture
def with_lab(made):
    """The same copy with a stand-in for JupyterLab that shows how it was called."""
    stand_in = site_packages(made) / "jupyterlab"
    stand_in.mkdir(exist_ok=True)
    (stand_in / "__init__.py").touch()
    (stand_in / "__main__.py").write_text(COMMAND + "sys.exit(main(sys.argv[1:]))")
    server = site_packages(made) / "jupyter_server"
    server.mkdir(exist_ok=True)
    (server / "__init__.py").touch()
    return made


def site_packages(folder: Path) -> Path:
    if os.name == "nt":
        return folder / ".venv" / "Lib" / "site-packages"
    return next((folder / ".venv" / "lib").glob("python3*/site-packages"))


def poison_pip(folder: Path) -> None:
    """Make any use of the environment's pip fail, so that its use shows."""
    path = site_packages(folder) / "pip" / "__main__.py"
    path.write_text("raise SystemExit('pip was called')")


def shown(process) -> dict:
    """What the stand-in command said of itself."""
    return json.loads(process.stdout.strip().splitlines()[-1])


# --- Before there is an environment -------------------------------------------------


NEWER_THAN_3_4 = (
    ast.JoinedStr,
    ast.NamedExpr,
    ast.AnnAssign,
    ast.AsyncFunctionDef,
    ast.Match,
    ast.TryStar,
)


@pytest.mark.parametrize("name", ["__init__", "__main__"])
def test_door_parses_on_any_python_3(name):
    source = (ROOT / "utils" / f"{name}.py").read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    for node in ast.walk(tree):
        assert not isinstance(node, NEWER_THAN_3_4), ast.dump(node)
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            assert not any(isinstance(e, ast.Starred) for e in node.elts)
        if isinstance(node, ast.Dict):
            assert None not in node.keys


def test_door_imports_only_sys_before_the_version_is_checked():
    tree = ast.parse((ROOT / "utils" / "__main__.py").read_text())
    at_top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [a.name for n in at_top for a in n.names] == ["sys"]


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 4, 0), (3, 10, 9), (3, 15, 0)])
def test_wrong_python_is_one_sentence(monkeypatch, capsys, version):
    monkeypatch.setattr(sys, "version_info", version)
    assert door.main(["lab"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"Python {version[0]}.{version[1]} " in said
    assert "3.11, 3.12, 3.13 or 3.14" in said


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 4), (3, 13, 0), (3, 14, 2)])
def test_right_python_is_accepted(version):
    assert door.version_problem(version) is None


def test_help_lists_only_commands_that_work(copy):
    said = start(copy).stdout
    for command in ("lab", "test", "doctor", "sync"):
        assert re.search(rf"^  {command}\b", said, re.MULTILINE)
    for command in ("claims", "bench", "train", "hint"):
        assert command not in said
    (copy / "tests" / "claims.py").write_text(COMMAND)
    assert "claims" in start(copy, "help").stdout


def test_every_command_of_the_real_course_has_a_main():
    for words, path, _, _ in door.COMMANDS:
        if (ROOT / path).exists():
            tree = ast.parse((ROOT / path).read_text())
            names = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
            assert "main" in names, f"{words}: {path} has no main"


def test_unknown_command_is_one_sentence(copy):
    assert "lba" in one_sentence(start(copy, "lba"))


@posix
@pytest.mark.parametrize(
    "said",
    [
        "The virtual environment was not created successfully because ensurepip is "
        "not available.",
        "/usr/bin/python3: No module named venv",
        "ModuleNotFoundError: No module named 'ensurepip'",
    ],
)
def test_missing_venv_module_names_the_package(copy, said):
    fake = copy / "fake-python"
    fake.write_text(f'#!/bin/sh\necho "{said}"\nexit 1\n')
    fake.chmod(0o755)
    program = (
        f"import sys, runpy; sys._base_executable = {str(fake)!r};"
        "sys.argv[1:] = ['sync']; runpy.run_module('utils', run_name='__main__')"
    )
    sentence = one_sentence(start(copy, program=("-c", program)))
    assert "apt install python3-venv" in sentence
    # The half-made folder does not stop a later start with a whole Python.
    assert environment_says(copy) == "broken"


def environment_says(folder: Path) -> str:
    program = "from utils.launcher import environment; print(environment.state())"
    return start(folder, program=("-c", program)).stdout.strip()


def in_small_disk(copy: Path, options: str, tmp_path: Path):
    """Run the launcher of a copy on a file system of its own, where that is allowed."""
    mount = tmp_path / "disk"
    mount.mkdir()
    # The names arrive as $1 to $4, so that blanks in them do no harm.
    script = (
        'mount -t tmpfs -o size=1m none "$1" && cp -r "$2/." "$1" && '
        f'{options} && cd "$1" && exec "$3" -m utils sync'
    )
    words = ["sh", "-c", script, "sh", str(mount), str(copy), sys.executable]
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("needs unshare")
    can = subprocess.run(
        [unshare, "-rm", "sh", "-c", 'mount -t tmpfs none "$1"', "sh", str(mount)],
        capture_output=True,
    )
    if can.returncode:
        pytest.skip("mounting is not allowed here")
    return subprocess.run(
        [unshare, "-rm", *words], env=clean_variables(), capture_output=True, text=True
    )


@posix
def test_full_disk_is_one_sentence(copy, tmp_path):
    assert "disk is full" in one_sentence(in_small_disk(copy, "true", tmp_path))


@posix
def test_read_only_folder_is_one_sentence(copy, tmp_path):
    sentence = one_sentence(in_small_disk(copy, 'mount -o remount,ro "$1"', tmp_path))
    assert "cannot be written" in sentence


@pytest.mark.parametrize(
    ("said", "part"),
    [
        ("ERROR: ... OSError: [Errno 28] No space left on device", "disk is full"),
        ("[Errno 30] Read-only file system: '/media/x'", "cannot be written"),
        ("[WinError 5] Access is denied: 'C:\\x'", "cannot be written"),
        (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\n"
            "ERROR: No matching distribution found for torch==2.13.0",
            "no network",
        ),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build"),
    ],
)
def test_output_of_pip_becomes_its_sentence(said, part):
    assert part in environment.sentence_for(said)


def test_unknown_output_has_no_sentence():
    assert environment.sentence_for("ERROR: something else") is None
    assert "something else" in environment._explain("x", "a\nERROR: something else\n")


# --- The environment itself ---------------------------------------------------------


@makes_venv
def test_exit_code_and_words_pass_through(made):
    process = start(made, "sync", "--check", "a b")
    assert process.returncode == 7
    said = shown(process)
    assert said["argv"] == ["--check", "a b"]
    assert Path(said["prefix"]).resolve() == (made / ".venv").resolve()


@makes_venv
def test_second_start_never_calls_pip(made):
    poison_pip(made)
    began = time.perf_counter()
    assert start(made, "sync").returncode == 7
    # The goal is one second; the margin is for a busy machine.
    assert time.perf_counter() - began < 5


@makes_venv
def test_changed_requirements_are_installed(made):
    poison_pip(made)
    requirements = made / "requirements.txt"
    requirements.write_text("# changed\n")
    sentence = one_sentence(start(made, "sync"))
    assert "pip could not install requirements.txt (pip was called)" in sentence
    # That start was cut off, so the next one makes everything anew.
    assert environment_says(made) == "broken"
    assert start(made, "sync").returncode == 7
    requirements.write_text("# nothing\n")
    assert start(made, "sync").returncode == 7


@makes_venv
@pytest.mark.parametrize("damage", ["cut off", "no interpreter", "moved"])
def test_half_made_environment_is_repaired(made, damage):
    stamp = made / ".venv" / "course-stamp.json"
    if damage == "cut off":
        stamp.write_text('{"making": true}')
    elif damage == "moved":
        content = json.loads(stamp.read_text())
        stamp.write_text(json.dumps({**content, "root": "/elsewhere"}))
    else:
        for path in (made / ".venv" / "bin").glob("python*"):
            path.unlink()
    assert environment_says(made) == "broken"
    assert start(made, "sync").returncode == 7
    assert environment_says(made) == "complete"


@makes_venv
def test_no_network_is_one_sentence(copy):
    (copy / "requirements.txt").write_text("no-such-package-anywhere==1.0\n")
    assert "no network" in one_sentence(start(copy, "sync"))
    (copy / "requirements.txt").write_text("# nothing\n")
    assert start(copy, "sync").returncode == 7


@makes_venv
def test_two_starts_at_once_make_one_environment(copy):
    command = [sys.executable, "-m", "utils", "sync"]
    both = [
        subprocess.Popen(
            command, cwd=copy, env=clean_variables(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [7, 7]
    assert sum("Making the environment" in text for text in said) == 1


@makes_venv
@posix
def test_interrupt_reaches_the_command(made):
    waiting = (
        "import time\ndef main(argv):\n    try:\n        print('on', flush=True)\n"
        "        time.sleep(60)\n    except KeyboardInterrupt:\n        return 5\n"
    )
    command = made / SYNC
    command.write_text(waiting)
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "utils", "sync"],
            cwd=made,
            env=clean_variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # A shell that starts jobs in the background makes them deaf to SIGINT.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        assert process.stdout.readline() == b"on\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 5
    finally:
        command.write_text(COMMAND)


# --- Other folders, other packages of the same name ---------------------------------


@makes_venv
def test_works_from_another_folder_beside_a_foreign_utils(made, tmp_path):
    (tmp_path / "utils.py").write_text("raise SystemExit('the wrong utils')")
    process = start(
        made,
        "sync",
        program=(str(made / "utils"),),
        cwd=tmp_path,
        PYTHONPATH=str(tmp_path),
    )
    assert process.returncode == 7, process.stderr
    assert Path(shown(process)["cwd"]) == tmp_path


@makes_venv
def test_works_from_the_chapters_folder(made):
    program = (os.path.join("..", "utils"),)
    process = start(made, "sync", program=program, cwd=made / "chapters")
    assert process.returncode == 7, process.stderr


# --- lab ----------------------------------------------------------------------------


@makes_venv
def test_lab_lays_chapters_and_keeps_answers(with_lab):
    shutil.rmtree(with_lab / "my_chapters", ignore_errors=True)
    process = start(with_lab, "lab", "--no-browser", "--port=9999")
    assert process.returncode == 7, process.stderr
    said = shown(process)
    copies = with_lab / "my_chapters"
    assert Path(said["cwd"]).resolve() == copies.resolve()
    assert said["argv"][-2:] == ["--no-browser", "--port=9999"]
    assert "--LabApp.news_url=None" in said["argv"]
    assert "--LabApp.default_url=/lab/tree/ch2_zero_layer.ipynb" in said["argv"]
    answered = copies / "ch2_zero_layer.ipynb"
    answered.write_text("my answers")
    (copies / "ch3_one_layer.ipynb").unlink()
    (copies / "GLOSSARY.md").write_text("an older glossary")
    process = start(with_lab, "lab")
    assert "Laid into my_chapters: ch3_one_layer\n" in process.stdout
    assert answered.read_text() == "my answers"
    assert (copies / "GLOSSARY.md").read_text() == "the glossary"


@makes_venv
def test_lab_switches_the_news_question_off(with_lab):
    start(with_lab, "lab")
    path = with_lab / ".venv" / "etc" / "jupyter" / "labconfig" / "page_config.json"
    disabled = json.loads(path.read_text())["disabledExtensions"]
    assert disabled == {"@jupyterlab/apputils-extension:announcements": True}


@makes_venv
def test_lab_lays_the_style_sheet_where_the_server_looks(with_lab):
    start(with_lab, "lab")
    path = site_packages(with_lab) / "jupyter_server" / "static" / "custom"
    assert (path / "custom.css").read_text() == "/* dark */"


@pytest.fixture
def own_lab(tmp_path, monkeypatch):
    """The functions of `lab` on folders of this test."""
    folder = lay_copy(tmp_path / "course")
    monkeypatch.setattr(lab, "CHAPTERS", folder / "chapters")
    monkeypatch.setattr(lab, "COPIES", folder / "my_chapters")
    return folder / "my_chapters"


@pytest.mark.parametrize("name", ["ch3", "ch3_one_layer", "ch3_one_layer.ipynb"])
def test_fresh_sets_the_old_copy_aside(own_lab, name):
    lab.lay_missing()
    (own_lab / "ch3_one_layer.ipynb").write_text("first answers")
    lab.fresh(name)
    (own_lab / "ch3_one_layer.ipynb").write_text("second answers")
    lab.fresh(name)
    kept = {p.read_text() for p in own_lab.glob("ch3_one_layer.2*.ipynb")}
    assert kept == {"first answers", "second answers"}
    assert json.loads((own_lab / "ch3_one_layer.ipynb").read_text()) == NOTEBOOK
    assert not list(own_lab.glob("ch2_zero_layer.2*"))


def test_fresh_with_an_unknown_or_missing_name(own_lab):
    with pytest.raises(environment.Problem, match="ch9.*ch2, ch3"):
        lab.fresh("ch9")
    with pytest.raises(environment.Problem, match="which chapter"):
        lab._split_fresh(["--fresh"])


def test_fresh_leaves_the_other_words_for_jupyter():
    words = ["--port=1", "--fresh", "ch2", "--no-browser"]
    assert lab._split_fresh(words) == ("ch2", ["--port=1", "--no-browser"])
    assert lab._split_fresh(["--fresh=ch2"]) == ("ch2", [])


@pytest.fixture
def opened(own_lab, monkeypatch):
    """Runs `lab` with some words and says what it would open, and with which words."""

    def open_lab(*words: str) -> tuple[str, list[str]]:
        commands = []
        monkeypatch.setattr(
            environment, "run_child", lambda command, *_: commands.append(command)
        )
        monkeypatch.setattr(lab, "switch_off_news", lambda prefix: None)
        monkeypatch.setattr(lab, "lay_styles", lambda folder: None)
        monkeypatch.setattr(lab, "lay_site_link", lambda prefix: None)
        lab.main(list(words))
        command = commands[0]
        url = next(word for word in command if "default_url" in word)
        after = command.index(
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
        )
        return url.rpartition("/")[2].split("_")[0], command[after + 1 :]

    return open_lab


def test_the_first_chapter_opens_first(opened):
    (lab.CHAPTERS / "ch0_toolbox.ipynb").write_text("{}")
    assert opened() == ("ch0", [])
    assert opened("--no-browser") == ("ch0", ["--no-browser"])


def test_the_chapter_that_was_changed_last_opens(opened, own_lab):
    opened()
    for name in ("ch3_one_layer", "ch2_zero_layer", "ch3_one_layer"):
        time.sleep(0.02)
        (own_lab / f"{name}.ipynb").write_text("my answers")
        assert opened()[0] == name.split("_")[0]


def test_a_chapter_that_an_update_brings_does_not_open_by_itself(opened, own_lab):
    opened()
    time.sleep(0.02)
    (own_lab / "ch2_zero_layer.ipynb").write_text("my answers")
    for name in ("ch0_toolbox", "ch7_real_models"):
        (lab.CHAPTERS / f"{name}.ipynb").write_text("{}")
    assert opened()[0] == "ch2"
    assert (own_lab / "ch7_real_models.ipynb").exists()


@pytest.mark.parametrize("name", ["ch3", "ch3_one_layer", "ch3_one_layer.ipynb"])
def test_a_named_chapter_opens(opened, name):
    assert opened(name) == ("ch3", [])
    assert opened(name, "--port=1") == ("ch3", ["--port=1"])
    assert opened("--port", "1") == ("ch2", ["--port", "1"])


def test_a_renewed_chapter_opens(opened):
    assert opened("--fresh", "ch3", "--port=1") == ("ch3", ["--port=1"])
    assert opened("--fresh", "ch3", "ch2") == ("ch2", [])


def test_an_unknown_chapter_is_told_before_anything_is_laid(opened, own_lab):
    with pytest.raises(
        environment.Problem, match="^There is no chapter 'ch9'; .*ch3.$"
    ):
        opened("ch9")
    assert not own_lab.exists()


# --- doctor -------------------------------------------------------------------------


@makes_venv
def test_doctor_shows_each_damage_with_its_fix(made):
    process = start(made, "doctor")
    assert process.returncode == 1 and "Traceback" not in process.stderr
    lines = process.stdout.splitlines()
    assert all(re.match(r"\[(OK|FAIL|NOTE)\] +\S", line) for line in lines), lines
    assert any(line.startswith("[OK]   environment") for line in lines)
    broken = [line for line in lines if line.startswith("[FAIL]")]
    assert all(" -> " in line for line in broken)
    assert any("tokenizer" in line for line in broken)
    assert any("trained models" in line for line in broken)


def test_doctor_works_before_the_environment_exists(copy):
    process = start(copy, "doctor")
    assert process.returncode == 1
    assert "[FAIL] environment .venv: missing -> run:" in process.stdout
    assert not (copy / ".venv").exists()


def test_doctor_finds_a_truncated_model(tmp_path):
    import hashlib

    for name, data in (("whole", b"12345"), ("short", b"123")):
        record = {"sha256": hashlib.sha256(b"12345").hexdigest()}
        (tmp_path / f"{name}.json").write_text(json.dumps(record))
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    (tmp_path / "alone.safetensors").write_bytes(b"1")
    found = {f.what: f.fix for f in doctor._weights(tmp_path)}
    assert found["model whole: intact, 0.0 MB"] is None
    assert found["model short: damaged"]
    assert found["model alone: its file or its record is missing"]


def test_doctor_finds_a_wrong_and_a_missing_package(monkeypatch):
    wanted = {"numpy": "0.0.1", "no-such-package": "1.0"}
    monkeypatch.setattr(doctor, "pinned", lambda: wanted)
    found = list(doctor._packages())
    assert [f.fix is None for f in found] == [False, False]
    assert "instead of 0.0.1" in found[0].what and "not installed" in found[1].what


def test_doctor_reads_every_pin():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert len(doctor.pinned()) == sum("==" in line for line in lines)
    assert doctor.pinned()["torch"] == "2.13.0"


@pytest.mark.parametrize("content", ["", "{", "[1]", "\x00"])
def test_doctor_finds_a_damaged_progress_file(tmp_path, monkeypatch, content):
    path = tmp_path / "progress.json"
    path.write_text(content)
    monkeypatch.setenv("COURSE_STATE", str(path))
    assert "damaged" in doctor._progress().what
    path.write_text("{}")
    assert doctor._progress().fix is None


def test_a_note_is_no_failure():
    ok, note = doctor.Finding("a"), doctor.Finding("b", "fix", note=True)
    assert doctor.report([ok, note]) == ("[OK]   a\n[NOTE] b -> fix", True)
    text, healthy = doctor.report([ok, doctor.Finding("c", "mend it")])
    assert text.endswith("[FAIL] c -> mend it") and not healthy


@pytest.mark.slow
@pytest.mark.skipif(not environment.is_inside(), reason="needs the course's own .venv")
def test_doctor_is_content_with_this_course():
    found = list(doctor.findings())
    assert len(found) > 25
    assert doctor.report(found)[1], doctor.report(found)[0]


# --- test ---------------------------------------------------------------------------


def test_nothing_outside_answers_here():
    import socket

    with pytest.raises(OSError):
        socket.create_connection(("192.0.2.1", 80), timeout=2)


GUARDED = """
import socket
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname(), 5).close()
for attempt in (
    lambda: socket.create_connection(("192.0.2.1", 80), 1),
    lambda: socket.getaddrinfo("example.org", 80),
    lambda: socket.socket(type=socket.SOCK_DGRAM).sendto(b"x", ("192.0.2.1", 9)),
    lambda: socket.socket(socket.AF_INET6).connect(("2001:db8::1", 80)),
):
    try:
        attempt()
    except OSError as error:
        print("is outside" in str(error))
"""


def test_guard_refuses_the_outside_in_every_process():
    variables = clean_variables(PYTHONPATH=str(ROOT / "tests" / "offline"))
    answer = subprocess.run(
        [sys.executable, "-c", GUARDED], env=variables, capture_output=True, text=True
    )
    assert answer.stdout.split() == ["True"] * 4, answer.stderr


@posix
def test_guard_is_used_where_a_namespace_is_refused(tmp_path, monkeypatch):
    fake = tmp_path / "unshare"
    fake.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert suite.without_network(dict(os.environ)) == []
    # One that lets everything through is no namespace either: the probe gets out.
    fake.write_text('#!/bin/sh\nshift 3\nexec "$@"\n')
    if os.environ.get("COURSE_OFFLINE") != "namespace":
        assert suite.without_network(dict(os.environ)) == []


def test_tests_leave_the_users_files_alone(tmp_path):
    variables = suite.test_environment(tmp_path)
    for name in (
        "COURSE_STATE",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_DATA_DIR",
        "IPYTHONDIR",
    ):
        assert Path(variables[name]).is_relative_to(tmp_path)
    assert variables["HF_HUB_OFFLINE"] == variables["TRANSFORMERS_OFFLINE"] == "1"


@pytest.mark.slow
def test_whole_files_run_side_by_side(tmp_path):
    """Two processes share the files, and a notebook's cells stay together."""
    for name in ("a", "b", "c"):
        lines = "".join(
            f"def test_{i}(): print({name!r}, os.getpid())\n" for i in range(20)
        )
        (tmp_path / f"test_{name}.py").write_text("import os\n" + lines)
    words = suite.side_by_side([]) or ["-n", "2", "--dist", "loadfile"]
    words = ["-p", "no:nbval", *words, "-rP", "-c", os.devnull, "--rootdir", "."]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *words, "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = {tuple(line.split()) for line in answer.stdout.splitlines()}
    places = [said for said in said if len(said) == 2 and said[0] in ("a", "b", "c")]
    assert "60 passed" in answer.stdout, answer.stdout + answer.stderr
    assert sorted(name for name, _ in places) == ["a", "b", "c"]
    assert len({process for _, process in places}) > 1


@pytest.mark.parametrize(
    ("cores", "words", "workers"),
    [
        (2, [], "2"),
        (64, ["-m", "not slow"], "4"),
        (1, [], None),
        (None, [], None),
        (8, ["-n0"], None),
        (8, ["-n", "3"], None),
        (8, ["tests", "--pdb"], None),
    ],
)
def test_as_many_test_processes_as_cores(cores, words, workers, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    given = suite.side_by_side(words)
    assert given[:2] == (["-n", workers] if workers else [])


def test_the_slowest_tests_are_named_unless_something_else_is_asked_for():
    assert suite.slowest(["-m", "not slow"])[0] == "--durations=20"
    assert suite.slowest(["--durations=3"]) == suite.slowest(["--durations", "3"]) == []


# --- PyTorch's small build ----------------------------------------------------------


class Server(http.server.BaseHTTPRequestHandler):
    """Answers at once, or too late if the path says so."""

    def do_GET(self):
        if self.path == "/late":
            time.sleep(1.5)
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    ("path", "answers"), [("/now", True), ("/none", False), ("/late", False)]
)
def test_an_index_must_answer_in_time(path, answers):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}{path}"
    began = time.perf_counter()
    assert environment._answers(url, seconds=0.5) is answers
    assert time.perf_counter() - began < 1.2
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("system", "gpu", "answers", "small"),
    [
        ("linux", False, True, True),
        ("linux", True, True, False),
        ("linux", False, False, False),
        ("darwin", False, True, False),
        ("win32", False, True, False),
    ],
)
def test_small_build_only_on_linux_without_gpu(
    monkeypatch, system, gpu, answers, small
):
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(environment, "_has_nvidia", lambda: gpu)
    monkeypatch.setattr(environment, "_answers", lambda url, seconds: answers)
    wanted = ["--extra-index-url", environment.TORCH_CPU_INDEX] if small else []
    assert environment._torch_options() == wanted
