"""Handed-in notebooks are run again: a hostile one spoils only its own row."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from utils.exercises.sync import solution_source
from utils.launcher.report import report

STEM = "ch2_zero_layer"
NAMES = (
    "bigram_log_probs",
    "direct_path",
    "kl_to_bigram",
    "kneser_ney_loss",
    "top_bigrams",
)
SECONDS = 8
ROOT = Path(__file__).resolve().parents[1]
# Whatever is asked of `denied` must not be allowed; the exercise passes only then.
DENIED = """
import ctypes, os, socket, subprocess
def denied(what, *args):
    try:
        answer = what(*args)
    except (OSError, MemoryError):
        return True
    return answer == -1 or answer == []
c = ctypes.CDLL(None)
"""
ANSWER = """
@exercise
def direct_path(model):
    assert all(attempts), attempts
    return model.W_E @ model.W_U
"""


def solved(*names: str) -> list[str]:
    return ["@exercise\n" + solution_source(STEM, name) for name in names]


def spying(folder: Path) -> list[str]:
    other = folder / "good" / f"{STEM}.ipynb"
    return [
        DENIED,
        "attempts = [\n"
        f"    denied(open, {str(other)!r}),\n"
        f"    denied(os.listdir, {str(folder)!r}),\n"
        f"    denied(open, {str(ROOT / 'zz')!r}, 'w'),\n"
        "    denied(socket.create_connection, ('192.0.2.1', 9), 2),\n"
        f"    denied(os.kill, {os.getpid()}, 0),\n"
        "    denied(c.mount, b'none', b'/usr', b'tmpfs', 0, None),\n"
        "    denied(c.umount2, b'/tmp', 2),\n"
        "]",
        ANSWER,
    ]


GREEDY = [
    DENIED,
    "for _ in range(1024):\n    print('x' * 2**20)",
    "def fill():\n    with open('big', 'wb') as file:\n"
    "        for _ in range(1024):\n            file.write(bytes(2**20))",
    "attempts = [denied(fill), denied(bytearray, 8 * 2**30)]",
    ANSWER,
]
# Words on every open file: of other chapters, of no chapter, and no words at all.
FORGING = [
    "import os\nattempts = [True]\nfor n in range(3, 256):\n    try:\n"
    """        os.write(n, b'{"exercise": "full_ov_circuit", "status": "passed"}\\n'
            b'{"exercise": "direct_path", "status": "<b>"}\\n[[[\\n{"inside": 1}\\n'
            b'{"open": ["<b>x"]}\\n{"ended": "<b>words"}\\n')\n"""
    "    except OSError:\n        pass",
    ANSWER,
]
UNUSED = ["%matplotlib inline\n1/0", "while True:\n    pass"]


def notebooks(folder: Path) -> dict[str, list[str]]:
    """The cells of each learner's notebook, after the setup line."""
    return {
        "good": [*UNUSED, *solved(*NAMES)],
        "broken": [
            *solved(*NAMES[:2]),
            "@exercise\ndef kl_to_bigram(:\n",
            "@exercise\ndef top_bigrams(*a, **k):\n    return None",
        ],
        "endless": [
            *solved(NAMES[0]),
            "attempts = []\nwhile True:\n    attempts",
            ANSWER,
            *solved(NAMES[2]),
        ],
        "leaving": [*solved(NAMES[0]), "attempts = __import__('os')._exit(0)", ANSWER],
        "bomb": [
            *solved(NAMES[0]),
            "import os\nattempts = []\nwhile True:\n    attempts = os.fork()",
            ANSWER,
        ],
        "spy": spying(folder),
        "greedy": GREEDY,
        "forger": FORGING,
    }


def apart_is_allowed() -> bool:
    """Whether this computer lets a process leave; only then run what is hostile."""
    line = "from utils.launcher.classroom.sandbox import apart; print(apart())"
    answer = subprocess.run(
        [sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True
    )
    return answer.stdout.strip() == "True"


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The rows of the table, by learner."""
    if not apart_is_allowed():
        pytest.skip("a process cannot be shut in on this computer")
    folder = tmp_path_factory.mktemp("class") / "class"
    for name, cells in notebooks(folder).items():
        (folder / name).mkdir(parents=True)
        code = ["from utils.prelude import *", *cells]
        cells = [{"cell_type": "code", "source": c, "metadata": {}} for c in code]
        text = json.dumps({"cells": cells, "metadata": {}, "nbformat": 4})
        (folder / name / f"{STEM}.ipynb").write_text(text)
        (folder / name / "progress.json").write_text('{"passed": {}}')
    for name, content in (("huge", "x" * 20_000_001), ("none", "[1, 2]")):
        (folder / name).mkdir()
        (folder / name / f"{STEM}.ipynb").write_text(content)
    before = set(ROOT.iterdir())
    out = report(folder, rerun=SECONDS).parent
    assert set(ROOT.iterdir()) == before
    with open(out / "learners.csv", newline="", encoding="utf-8") as file:
        return {row["learner"]: row for row in csv.DictReader(file)} | {"out": out}


def statuses(found, name: str) -> dict[str, str]:
    with open(found["out"] / "solved.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["learner"] == name]
    return {row["exercise"]: row["run_again"] for row in rows}


@pytest.mark.slow
def test_an_honest_notebook_is_counted(found):
    assert found["good"][f"run_again_{STEM}"] == "5"
    assert "Run again" not in found["good"]["remarks"]
    assert statuses(found, "good") == dict.fromkeys(NAMES, "passed")
    with open(found["out"] / "nbgrader_grades.csv", newline="") as file:
        grades = {
            row["student_id"]: (row["score"], row["max_score"])
            for row in csv.DictReader(file)
            if row["assignment"] == STEM
        }
    assert grades["good"] == ("5.0", "5.0")
    assert grades["broken"] == ("2.0", "5.0")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "passed", "remark"),
    [
        ("broken", 2, ""),
        ("endless", 1, f"Run again, ch2: it ran longer than {SECONDS} s."),
        ("leaving", 1, "Run again, ch2: it ended before its end."),
        ("bomb", 1, "Run again, ch2: it started more than 48 processes."),
        ("huge", 0, "Run again, ch2: it is too large or no ordinary file."),
        ("none", 0, "Run again, ch2: it is no notebook."),
        ("spy", 1, ""),
        ("greedy", 1, ""),
        ("forger", 1, ""),
    ],
)
def test_a_bad_notebook_spoils_its_own_row(found, name, passed, remark):
    assert found[name][f"run_again_{STEM}"] == str(passed)
    if remark:
        assert remark in found[name]["remarks"]
    elif name != "forger":
        assert "Run again" not in found[name]["remarks"]


@pytest.mark.slow
def test_what_a_broken_cell_gives(found):
    broken = statuses(found, "broken")
    assert broken["kl_to_bigram"] == "error"
    assert broken["top_bigrams"] in ("failed", "error")
    assert "kneser_ney_loss" not in broken


@pytest.mark.slow
def test_a_notebook_cannot_put_words_on_the_page(found):
    text = "".join(p.read_text() for p in sorted(found["out"].iterdir()))
    assert "words" not in found["forger"]["remarks"]
    assert "<b>" not in text.replace('"tile"><b>', "")
    assert statuses(found, "forger") == {"direct_path": "passed"}


def test_only_what_exercises_need_is_run():
    from utils.launcher.classroom.answers import needed_cells

    sources = [
        "from utils.prelude import *",  # 0: needed
        "import math\nfrom math import pi",  # 1: used by 5
        "table = {}",  # 2: used by 5
        "model = train()",  # 3
        "table['x'] = 1",  # 4: changes what 5 uses
        "def helper():\n    return pi * table['x']",  # 5: used by the exercise
        "helper = None if False else helper\ntable",  # 6: binds it once more
        "not python at all (",  # 7
        # 8: needed; its model is a parameter and not the one of cell 3
        "@exercise\ndef direct_path(model):\n    return helper(model)",
        "table['y'] = 2",  # 9: too late
        "needs('next_token', 'ov_matrix')",  # 10: brings what 11 uses
        "@exercise\ndef top_bigrams(model):\n    return ov_matrix(model)",
    ]
    assert needed_cells(sources) == [0, 1, 2, 4, 5, 6, 8, 10, 11]
