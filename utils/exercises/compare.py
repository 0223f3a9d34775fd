"""A learner's answer and the course's, as they stand side by side after a pass.

Docstrings and decorators are left out, as both have the same; comments stay.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable

from utils.exercises.cards import Beside

__all__ = ["bare", "compared", "written_by"]

FOLD = "Compare your answer with the course's solution"


def written_by(function: Callable) -> str:
    """The source of a learner's function; "" where it cannot be had."""
    try:
        return bare(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError):
        return ""


def bare(source: str) -> str:
    """A function's source without decorators and docstring.

    Raises SyntaxError for what is no function.
    """
    source = textwrap.dedent(source)
    function = ast.parse(source).body[0]
    if not isinstance(function, ast.FunctionDef):
        raise SyntaxError("This is no function.")
    lines = source.splitlines()
    begin, end = function.lineno - 1, function.end_lineno
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        said = function.body[0]
        kept = lines[begin : said.lineno - 1] + lines[said.end_lineno : end]
    else:
        kept = lines[begin:end]
    return "\n".join(kept)


def compared(name: str, yours: str, ours: str, folded: bool) -> Beside | None:
    """Both beside each other, as `bare` gives them.

    None without the learner's own, and where it is the course's line by line. Plain
    text does not fold: there a sentence says how to see them.
    """
    if not yours or yours == ours:
        return None
    return Beside(
        ("Your answer", yours),
        ("The course's solution", ours),
        code=True,
        fold=FOLD if folded else "",
        instead=f'`solution("{name}")` shows your answer and the course\'s.',
    )
