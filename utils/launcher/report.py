"""`python3 -m utils report FOLDER`: the class on one page, and as tables.

FOLDER holds what learners handed in: a state each (`.course_progress.json`, under the
learner's name or in a folder of that name) and, if wanted, their notebooks beside it.
Nothing in FOLDER is changed; the page and the tables go beside it.
"""

import argparse
import datetime
import os
import sys
from pathlib import Path

from utils.launcher.classroom.counts import count
from utils.launcher.classroom.learners import find_learners
from utils.launcher.classroom.page import page
from utils.launcher.classroom.rerun import run_again
from utils.launcher.classroom.tables import write_nbgrader, write_tables

__all__ = ["main", "report"]


def main(argv: list[str]) -> int:
    """Read the folder, write the report, say where it is."""
    parser = argparse.ArgumentParser(prog="python3 -m utils report")
    parser.add_argument("folder", type=Path, help="where the learners' states are")
    parser.add_argument("--out", type=Path, help="where to write; beside FOLDER if not")
    parser.add_argument(
        "--rerun",
        nargs="?",
        type=int,
        const=120,
        metavar="SECONDS",
        help="run the notebooks' checks again, each for at most so long (120)",
    )
    parser.add_argument("--names", choices=("yes", "no"), default="yes")
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        written = report(
            chosen.folder, chosen.out, chosen.names == "yes", rerun=chosen.rerun
        )
    except NotADirectoryError:
        print(f"There is no folder {chosen.folder}.", file=sys.stderr)
        return 2
    except PermissionError as error:
        what = "May you read the folder and write beside it? --out writes elsewhere."
        print(f"{error.filename}: {error.strerror}. {what}", file=sys.stderr)
        return 2
    print(f"The page: {written}")
    return 0


def report(
    folder: Path,
    out: Path | None = None,
    names: bool = True,
    at: datetime.datetime | None = None,
    rerun: int | None = None,
) -> Path:
    """Write the report on a folder of learners; returns the page.

    `at` is what "now" means, the present moment if left out. With `rerun` the checks of
    handed-in notebooks are run again, each for at most so many seconds. Raises
    NotADirectoryError where there is no such folder, another OSError where it cannot be
    read or the report not be written.
    """
    folder = folder.resolve()
    learners = find_learners(folder, names)
    if rerun is not None:
        run_again(learners, folder, rerun)
    at = at or datetime.datetime.now(datetime.UTC)
    out = out or folder.with_name(f"{folder.name}-report")
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    room = count(learners, at)
    write_tables(room, out, names)
    if names:
        write_nbgrader(room, out)
    written = out / "room.html"
    temporary = out / "room.html.new"
    text = page(room, _footer(names, rerun is not None))
    temporary.write_text(text, encoding="utf-8", errors="replace")
    os.replace(temporary, written)
    return written


def _footer(names: bool, rerun: bool) -> list[str]:
    lines = [
        "Made on this computer from the learners' own states, which they can edit. "
        "Nothing was sent anywhere. The same figures are in the files of CSV beside "
        "this page."
    ]
    if rerun:
        lines.append(
            "Notebooks were run again with their exercises and what these need. That "
            "finds honest errors. It is no proof: whoever sets out to deceive a check "
            "in the process that runs it can."
        )
    if names:
        lines.append(
            "For nbgrader: `nbgrader db student import nbgrader_students.csv` and "
            "`nbgrader db assignment import nbgrader_assignments.csv`. The grades are "
            "in the columns of nbgrader's own export."
        )
    else:
        lines.append("Names are left out. The numbers are drawn anew for each report.")
    return lines
