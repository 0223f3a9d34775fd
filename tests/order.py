"""In what order the tests begin, and which files several processes may divide.

What begins last decides when all is done, so the longest files begin first. A file is
one piece of work, because its tests share models and a notebook's cells share a kernel;
those in `DIVIDED` fall into pieces that share nothing. `tests/conftest.py` asks here.
"""

import re
from functools import cache
from pathlib import Path

from xdist.scheduler import LoadFileScheduling

__all__ = ["Pieces", "begins", "piece_of"]

# Longest first, as `--durations=0` says; the others follow as they come.
LONGEST = """
    tests/test_chapters_in_browser.py
    tests/test_claims.py
    tests/test_exercises.py
    tests/test_launcher.py
    .solved/ch3_one_layer.ipynb
    chapters/ch3_one_layer.ipynb
    .solved/ch4_two_layer.ipynb
    .solved/ch5_induction_heads.ipynb
    chapters/ch4_two_layer.ipynb
    chapters/ch5_induction_heads.ipynb
    .solved/ch6_training_dynamics.ipynb
    chapters/ch6_training_dynamics.ipynb
    tests/test_jupyterhub_room.py
    tests/test_hub.py
    tests/test_site_in_browser.py
    tests/test_training.py
    tests/test_lab_in_browser.py
    tests/test_reach.py
    tests/test_mutants.py
""".split()


class Pieces(LoadFileScheduling):
    """Gives each process one piece at a time, in the order of collection."""

    def _split_scope(self, nodeid: str) -> str:
        return piece_of(nodeid)


def begins(nodeid: str) -> int:
    """A key to sort by: files that take long come first."""
    file = re.sub(r"^\.solved/[^/]+/", ".solved/", nodeid.split("::")[0])
    return LONGEST.index(file) if file in LONGEST else len(LONGEST)


def piece_of(nodeid: str) -> str:
    """The file of a test, or the part of a file that is divided."""
    file, _, name = nodeid.partition("::")
    part = DIVIDED.get(file, lambda name: "")(name)
    return f"{file} {part}".rstrip()


def parameter(name: str) -> str:
    """Each chapter is a piece, and all that is about no chapter is one more."""
    found = re.search(r"\[(ch\d_\w+)\]$", name)
    return found[1] if found else ""


@cache
def _files_of_rows() -> dict[str, str]:
    """Which file in `tests/claim_rows` has a row; read, because imports take long."""
    row = re.compile(r'^ +(?:row=)?"([FO]-\d+)",$', re.MULTILINE)
    files = sorted((Path(__file__).parent / "claim_rows").glob("*.py"))
    return {
        found: file.stem for file in files for found in row.findall(file.read_text())
    }


def measured_in(name: str) -> str:
    """The rows of one file in `tests/claim_rows` share what they measure."""
    found = re.search(r"\[([FO]-\d+): ", name)
    return _files_of_rows()[found[1]] if found else ""


DIVIDED = {
    "tests/test_chapters_in_browser.py": parameter,
    "tests/test_claims.py": measured_in,
}
