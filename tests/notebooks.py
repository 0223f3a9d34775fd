"""What nbval is told about a notebook: its kernel, and what runs between sections.

A learner may stop after any section, start another day, run the chapter's first cells
and go on. As shipped, a chapter therefore runs in order with everything forgotten that
an earlier section bound: a section that leans on one stops there. With nothing
forgotten, a chapter runs in order in a browser, and solved, its sections in another
order, in nbval. `tests/conftest.py` makes this file a plugin of pytest.
"""

import os

import pytest

from tests import warm

__all__ = ["pytest_runtest_setup", "run_before"]

REMEMBER = '_setup = {k: v for k, v in globals().items() if not k.startswith("_")}'
FORGET = """for _name in [name for name in globals() if not name.startswith("_")]:
    if _name not in _setup:
        del globals()[_name]
globals().update(_setup)"""


def run_before(notebook) -> dict[str, str]:
    """The code to run before the first code cell of each section, by the cell's id."""
    from utils.exercises.sync import sections  # late, for it imports the libraries

    _, *parts = sections(notebook)
    cells = [[cell for cell in part if cell.cell_type == "code"] for part in parts]
    starts = [code[0].id for code in cells if code]
    return {start: FORGET if i else REMEMBER for i, start in enumerate(starts)}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    """Choose the kernel before nbval starts it; then let sections forget others."""
    if item.path.suffix != ".ipynb":
        return (yield)
    if warm.ADDRESS in os.environ:
        warm.choose_kernel(item.config.option, item.path)
    yield
    if ".solved" not in item.path.parts:
        _forget_other_sections(item)


def _forget_other_sections(item) -> None:
    """Before a section's first cell; the kernel is ready by then."""
    code = run_before(item.parent.nb).get(item.cell.id)
    if code:
        kernel = item.parent.kernel
        sent = kernel.execute_cell_input(code)
        kernel.await_reply(sent, 60)
        kernel.await_idle(sent, 60)
