"""Runs the checks of a handed-in chapter, in a process that was shut in before.

Only cells that exercises need are run: the exercises, what they use, what that uses,
and imports of everything. Trainings and pictures are left out, and so are magics.
"""

import ast
import json
import linecache
import re
import symtable
import sys
import types
from collections.abc import Callable

from utils.checks import exercises_of
from utils.exercises import engine

__all__ = ["needed_cells", "run_answers"]

# Anywhere in a cell: helpers stand above the exercise that needs them.
EXERCISE = re.compile(r"^@exercise\b.*\n(?:async )?def (\w+)\(", re.MULTILINE)
MAGIC = re.compile(r"^\s*[%!?].*$", re.MULTILINE)


def run_answers(content: bytes, stem: str, tell: Callable[[str, str], None]) -> None:
    """Run a notebook's exercises; `tell(exercise, status)` for each that was checked.

    Raises ValueError for what is no notebook.
    """
    expected = exercises_of(stem)
    sources = _sources(content)
    check = engine.run_check

    def noting(name, function, *args, **kwargs):
        result = check(name, function, *args, **kwargs)
        if name in expected:
            tell(name, result.status)
        return result

    engine.run_check = noting
    notebook = types.ModuleType("__main__")
    sys.modules["__main__"] = notebook
    for number in needed_cells(sources):
        source = sources[number]
        try:
            place = f"<cell {number}>"
            linecache.cache[place] = (len(source), None, source.splitlines(True), place)
            exec(compile(source, place, "exec"), notebook.__dict__)
        except (Exception, SystemExit, KeyboardInterrupt):
            found = EXERCISE.search(source)
            if found and found[1] in expected:
                tell(found[1], "error")


def needed_cells(sources: list[str]) -> list[int]:
    """The numbers of the cells that exercises need, in order."""
    cells = [_Cell(source) for source in sources]
    wanted = {number for number, cell in enumerate(cells) if cell.always}
    waiting = sorted(wanted)
    while waiting:
        number = waiting.pop()
        for name in cells[number].uses:
            for other in _makers(cells, number, name) - wanted:
                wanted.add(other)
                waiting.append(other)
    return sorted(wanted)


def _makers(cells: list["_Cell"], number: int, name: str) -> set[int]:
    """The last cell above that binds a name, and those that change it afterwards."""
    binding = [i for i in range(number) if name in cells[i].binds]
    first = binding[-1] if binding else 0
    changing = {i for i in range(first, number) if name in cells[i].changes}
    return changing | set(binding[-1:])


class _Cell:
    """What a cell binds, changes and uses, by name."""

    def __init__(self, source: str):
        self.binds: set[str] = set()
        self.changes: set[str] = set()
        self.uses: set[str] = set()
        self.always = EXERCISE.search(source) is not None
        try:
            tree = ast.parse(source)
            table = symtable.symtable(source, "cell", "exec")
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        self._look(table, True)
        for node in ast.walk(tree):
            if isinstance(node, ast.Subscript | ast.Attribute):
                if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                    self.changes.add(node.value.id)
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "needs":
                # It brings earlier exercises under their names.
                words = [a.value for a in node.args if isinstance(a, ast.Constant)]
                self.binds.update(word for word in words if isinstance(word, str))
            elif isinstance(node, ast.ImportFrom):
                self.always = self.always or node.names[0].name == "*"

    def _look(self, table: symtable.SymbolTable, outermost: bool) -> None:
        """Note the notebook's own names; a function's parameters are none of them."""
        for symbol in table.get_symbols():
            name = symbol.get_name()
            if outermost or symbol.is_global():
                if symbol.is_assigned() or symbol.is_imported():
                    self.binds.add(name)
                if symbol.is_referenced():
                    self.uses.add(name)
        for inner in table.get_children():
            self._look(inner, False)


def _sources(content: bytes) -> list[str]:
    """The code of a notebook's cells, without magics."""
    try:
        cells = json.loads(content.decode("utf-8-sig"))["cells"]
        code = [cell["source"] for cell in cells if cell.get("cell_type") == "code"]
        texts = [s if isinstance(s, str) else "".join(s) for s in code]
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError("no notebook") from error
    return [MAGIC.sub("", text) for text in texts]
