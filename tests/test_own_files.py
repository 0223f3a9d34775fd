"""What a learner keeps beside the notebooks, and where: own modules, odd homes.

The lines run in IPython, which puts the notebook's folder on the path as a kernel does,
with the variables that `lab` gives to its server. On a hub they are the same.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from utils.launcher import environment

pytestmark = pytest.mark.slow
SETUP = """
from utils.prelude import *
import solutions.ch0_toolbox
model = load_model("zero_layer")
print("libraries:", torch.__version__[0].isdigit(), solutions.__file__)
"""
TRY = """
@exercise
def next_token(model, text):
    return None
progress("ch0")
"""


def run(folder: Path, code: str, **variables: str) -> str:
    """What some lines say in a notebook of that folder."""
    done = subprocess.run(
        [Path(sys.executable).with_name("ipython"), "--colors=NoColor", "-c", code],
        cwd=folder,
        env=environment.child_environment() | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_own_modules_do_not_stand_before_the_course_s(tmp_path):
    for name in ("utils", "solutions", "torch", "numpy", "transformer_lens"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "__init__.py").touch()
    (tmp_path / "my_helpers.py").write_text("answer = 7")
    said = run(tmp_path, SETUP + "import my_helpers; print('own:', my_helpers.answer)")
    assert f"libraries: True {environment.ROOT}" in said
    assert "own: 7" in said


def test_a_home_may_have_spaces_and_letters_of_any_language(tmp_path):
    home = tmp_path / "Zoë's Übung"
    (home / "my chapters").mkdir(parents=True)
    state = home / "fortschritt ö.json"
    said = run(
        home / "my chapters", SETUP + TRY, HOME=str(home), COURSE_STATE=str(state)
    )
    assert state.name in said and state.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_without_space_the_work_goes_on_and_a_sentence_says_so(tmp_path):
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    state = tmp_path / "progress.json"
    said = run(tmp_path, SETUP + full + TRY, COURSE_STATE=str(state))
    assert "Your progress could not be saved" in said
    assert "Everything else works" in said
    assert not state.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other rights")
def test_a_home_that_cannot_be_written_costs_a_sentence(tmp_path):
    # Root writes everywhere, unless it lays down the right to.
    lay_down = """
import ctypes, os
if os.geteuid() == 0:
    version_3, no_rights = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    assert ctypes.CDLL(None).capset(version_3, no_rights) == 0
"""
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    state = home / "progress.json"
    said = run(
        tmp_path, SETUP + lay_down + TRY, HOME=str(home), COURSE_STATE=str(state)
    )
    assert "Your progress could not be saved" in said and not state.exists()
