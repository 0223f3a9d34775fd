"""Change one thing in a function: every small way in which an answer could be wrong.

`mutants_of(source, name)` gives every variant of a module's source in which one
constant, comparison, index, axis, sign, default, call or use of an argument of one
function differs. Private helpers (`_name`) and constants (`NAME`) of the module that
the function reaches count as its own. `tests/mutants.py` has the exercises' checks
judge them.
"""

import ast
import contextlib
import copy
import functools
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import CodeType

from tests.mutations import FIRST, changes_of

__all__ = ["Mutant", "first_value", "mutants_of"]

LOOSE = (ast.BinOp, ast.BoolOp, ast.IfExp, ast.Compare)


@dataclass(frozen=True)
class Mutant:
    """One change: in which function, at which line, what stood there, what stands now.

    `before` and `after` are the changed lines with their white space made single.
    `compiled()` gives the code of the whole changed module.
    """

    function: str
    line: int
    before: str
    after: str
    compiled: Callable[[], CodeType] = field(repr=False, compare=False)

    @property
    def text(self) -> str:
        """The change in words, the same for as long as the line is the same."""
        return f"{self.before}  ->  {self.after}"

    @property
    def key(self) -> str:
        """A short name for the change."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:6]

    def namespace(self) -> dict:
        """Run the changed module and give its names."""
        names = {"__name__": "mutant", FIRST: first_value()}
        exec(self.compiled(), names)
        return names


def first_value():
    """A function that answers every call with what it was given at its first."""
    kept = []

    def first(value):
        kept.append(value)
        return kept[0]

    return first


def mutants_of(source: str, name: str) -> Iterator[Mutant]:
    """All changes to one function of a module. Raises KeyError without it."""
    module = ast.parse(source)
    seen: dict[str, int] = {}
    for definition in _own_parts(module, name):
        swap = _Swap(module, definition, source)
        # All are found before one is shown: the swaps take place in this very tree.
        for old, new in list(changes_of(definition)):
            line, before, after = swap.shown(old, new)
            if before == after:
                continue
            text = f"{before}->{after}"
            seen[text] = seen.get(text, 0) + 1
            if seen[text] > 1:
                after += f"  # {seen[text]}"
            owner = getattr(definition, "name", name)
            compiled = functools.partial(swap.compiled, old, new)
            yield Mutant(owner, line, before, after, compiled)


def _own_parts(module: ast.Module, name: str) -> list[ast.stmt]:
    """The function, and the private helpers and constants of its module it reaches."""
    parts = {}
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef):
            parts[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id.isupper():
                    parts[target.id] = statement
    found, waiting = {}, [name]
    while waiting:
        each = waiting.pop()
        if each in found:
            continue
        found[each] = parts[each]
        names = {n.id for n in ast.walk(parts[each]) if isinstance(n, ast.Name)}
        waiting += sorted(
            n for n in names & parts.keys() if n.startswith("_") or n.isupper()
        )
    return list(found.values())


class _Swap:
    """Put another node in a node's place, in the tree and in the source."""

    def __init__(self, module: ast.Module, definition: ast.stmt, source: str):
        self.module, self.lines = module, source.splitlines()
        self.places, self.strings = {}, {}
        for parent in ast.walk(definition):
            for name, value in ast.iter_fields(parent):
                for item in value if isinstance(value, list) else [value]:
                    if isinstance(item, ast.AST):
                        self.places.setdefault(id(item), (parent, name))
            # The parts of an f-string do not know where they stand.
            if isinstance(parent, ast.JoinedStr):
                self.strings |= {id(part): parent for part in ast.walk(parent)}

    @contextlib.contextmanager
    def put(self, old: ast.AST, new: ast.AST) -> Iterator[None]:
        """While this lasts, the new node stands in the old one's place."""
        parent, name = self.places[id(old)]
        value = getattr(parent, name)
        new = ast.fix_missing_locations(ast.copy_location(copy.copy(new), old))
        swapped = new
        if isinstance(value, list):
            swapped = [new if item is old else item for item in value]
        setattr(parent, name, swapped)
        try:
            yield
        finally:
            setattr(parent, name, value)

    def compiled(self, old: ast.AST, new: ast.AST) -> CodeType:
        """The code of the changed module."""
        with self.put(old, new):
            return compile(self.module, "<mutant>", "exec")

    def shown(self, old: ast.AST, new: ast.AST) -> tuple[int, str, str]:
        """The first line's number, and the lines before and after the change."""
        place = self.strings.get(id(old), old)
        new = ast.fix_missing_locations(ast.copy_location(copy.copy(new), old))
        with self.put(old, new):
            text = ast.unparse(new if place is old else place)
        first, last = place.lineno, place.end_lineno
        head = _cut(self.lines[first - 1], place.col_offset)[0]
        tail = _cut(self.lines[last - 1], place.end_col_offset)[1]
        alone = not tail.strip() and head.endswith(("= ", "return "))
        inside = head.endswith("(") and tail.startswith(")")
        if isinstance(new, LOOSE) and not alone and not inside:
            text = f"({text})"
        before = "\n".join(self.lines[first - 1 : last])
        return first, _single(before), _single(head + text + tail)


def _single(text: str) -> str:
    return " ".join(text.split())


def _cut(line: str, column: int) -> tuple[str, str]:
    """A line before and after a column, which Python counts in bytes."""
    raw = line.encode()
    return raw[:column].decode(), raw[column:].decode()
