"""How chapters reach learners on a JupyterHub: the repository, the link, the pulls."""

import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlparse

import nbformat
import pytest

from utils.launcher import environment, lab
from utils.launcher.jupyterhub import command
from utils.launcher.jupyterhub.settings import HubRoom
from utils.launcher.problems import Problem

if sys.platform == "win32":
    pytest.skip("JupyterHub does not run on Windows", allow_module_level=True)


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
