"""Finds the learners in a folder and reads what each has handed in.

A learner is a file of JSON that is a state, or a folder with one. Files come from
strangers: links and pipes are not followed, sizes are bounded, and what cannot be read
spoils only its own row.
"""

import json
import os
import random
import re
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from utils.checks import chapters
from utils.exercises.sound import has_oddities, looks_like_a_state, sound_state

__all__ = ["Learner", "find_learners", "read_bounded"]

MOST_BYTES = 4_000_000  # of a state; a busy learner's has some 100 kB
MOST_NOTEBOOK_BYTES = 20_000_000
MOST_FILES = 20_000
DEPTH = 4
SKIPPED = ("__pycache__", "node_modules")  # and those that begin with a dot
# Files so called take the learner's name from their folder.
PLAIN = re.compile(r"\.?(course_)?(progress|state)(\.json)+", re.IGNORECASE)


@dataclass
class Learner:
    """One row of the report.

    `key` is the file's place in the folder and unique, `place` the folder that is this
    learner's (or would be), `name` what the page shows. `state` is None where nothing
    could be read; `notes` says in sentences what was odd. `notebooks` are the handed-in
    chapters by their stem; `rerun` is what running one again gave: stem -> exercise ->
    status.
    """

    key: str
    place: Path
    name: str
    state: dict | None = None
    notes: list[str] = field(default_factory=list)
    notebooks: dict[str, Path] = field(default_factory=dict)
    rerun: dict[str, dict[str, str]] = field(default_factory=dict)


def find_learners(folder: Path, names: bool = True) -> list[Learner]:
    """The learners of a folder in order of their names, or, without names, in none.

    Raises NotADirectoryError where there is no such folder, another OSError where it
    cannot be read.
    """
    if not folder.is_dir():
        raise NotADirectoryError(folder)
    learners: list[Learner] = []
    notebooks = []
    closed: list[OSError] = []
    for path in _files(folder, closed.append):
        if path.suffix == ".json":
            learner = _read_learner(folder, path)
            learners += [learner] if learner else []
        elif path.suffix == ".ipynb":
            notebooks.append(path)
    for path in notebooks:
        _give_notebook(learners, folder, path)
    learners += [_closed(folder, error) for error in closed]
    if names:
        learners.sort(key=lambda one: (one.name.casefold(), one.key))
        often = Counter(learner.name for learner in learners)
        for learner in learners:
            if often[learner.name] > 1:
                learner.name += f" ({_printable(learner.key)})"
        return learners
    # Numbers in an order that says nothing, drawn anew for each report.
    random.SystemRandom().shuffle(learners)
    for number, learner in enumerate(learners, 1):
        learner.name = f"Learner {number}"
    return learners


def read_bounded(path: Path, most: int) -> bytes:
    """The bytes of an ordinary file; OSError for links, pipes and what is too large."""
    flags = os.O_RDONLY
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    handle = os.open(path, flags | getattr(os, "O_BINARY", 0))
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is no ordinary file")
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(f"it is larger than {most // 1_000_000} MB")
    return content


def _files(folder: Path, closed: Callable[[OSError], None]) -> Iterator[Path]:
    """Files of the folder in order, without links to folders, bounded.

    `closed` is told of each folder inside that cannot be read; where the folder itself
    cannot, OSError is raised.
    """

    def on_error(error: OSError) -> None:
        if Path(error.filename) == folder:
            raise error
        closed(error)

    seen = 0
    for here, folders, files in os.walk(folder, onerror=on_error, followlinks=False):
        depth = len(Path(here).relative_to(folder).parts)
        folders[:] = sorted(
            name for name in folders if name not in SKIPPED and name[0] != "."
        )
        if depth >= DEPTH:
            folders.clear()
        for name in sorted(files):
            seen += 1
            if seen > MOST_FILES:
                return
            yield Path(here) / name


def _closed(folder: Path, error: OSError) -> Learner:
    """A row for a folder that cannot be read; it may be a learner's."""
    place = Path(error.filename).relative_to(folder)
    learner = Learner(place.as_posix() + "/", place, _printable(place.name))
    learner.notes.append(f"The folder could not be read: {error.strerror}.")
    return learner


def _read_learner(folder: Path, path: Path) -> Learner | None:
    """The learner of one file of JSON; None where it is JSON of something else."""
    place = path.relative_to(folder)
    plain = PLAIN.fullmatch(path.name) and len(place.parts) > 1
    shown = place.parent if plain else place.with_suffix("")
    learner = Learner(place.as_posix(), shown, _printable(shown.name))
    try:
        found = json.loads(read_bounded(path, MOST_BYTES).decode("utf-8-sig"))
        if not looks_like_a_state(found):
            return None
        learner.state = sound_state(found)
    except OSError as error:
        why = error.strerror or str(error)
        learner.notes.append(f"The state could not be read: {why}.")
        return learner
    except (ValueError, RecursionError):
        learner.notes.append("The state is damaged: it is no JSON.")
        return learner
    if has_oddities(found):
        learner.notes.append("Odd entries of the state were passed over.")
    return learner


def _give_notebook(learners: list[Learner], folder: Path, path: Path) -> None:
    """Give a handed-in chapter to the learner whose folder it lies in."""
    if path.stem not in chapters() or path.is_symlink():
        return
    inside = path.relative_to(folder).parent
    for place in [inside, *inside.parents][:-1]:
        for learner in learners:
            if place == learner.place:
                learner.notebooks.setdefault(path.stem, path)
                return
    # A first folder in which other learners have theirs is a group's.
    group = any(one.place.parts[:-1] == inside.parts[:1] for one in learners)
    place = (
        Path(*inside.parts[: 2 if group else 1]) if inside.parts else Path(path.stem)
    )
    learner = Learner(place.as_posix() + "/", place, _printable(place.name))
    learner.notes.append("There are notebooks and no state.")
    learner.notebooks[path.stem] = path
    learners.append(learner)


def _printable(name: str) -> str:
    """A file's name for the page: no control characters, not too long."""
    shown = "".join(c if c.isprintable() else "�" for c in name)
    return shown if len(shown) <= 60 else shown[:59] + "…"
