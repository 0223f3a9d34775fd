"""What nbval runs between the sections of a chapter, so that each has to stand alone.

A learner may stop after any section, start another day, run the chapter's first cells
and go on. As shipped, a chapter therefore runs in order with everything forgotten that
an earlier section bound: a section that leans on one stops there. `tests/conftest.py`
sends this to the kernel. With nothing forgotten, a chapter runs in order in a browser,
and solved, its sections in another order, in nbval.
"""

from utils.exercises.sync import sections

__all__ = ["run_before"]

REMEMBER = '_setup = {k: v for k, v in globals().items() if not k.startswith("_")}'
FORGET = """for _name in [name for name in globals() if not name.startswith("_")]:
    if _name not in _setup:
        del globals()[_name]
globals().update(_setup)"""


def run_before(notebook) -> dict[str, str]:
    """The code to run before the first code cell of each section, by the cell's id."""
    _, *parts = sections(notebook)
    cells = [[cell for cell in part if cell.cell_type == "code"] for part in parts]
    starts = [code[0].id for code in cells if code]
    return {start: FORGET if i else REMEMBER for i, start in enumerate(starts)}
