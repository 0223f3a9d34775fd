"""Which lines of a function have to come before which: from the names they use."""

import ast
from dataclasses import dataclass

__all__ = ["must_come_before"]

LEAVES = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass
class _Block:
    """A statement with all that is below it: its lines' places, what it reads, sets."""

    places: list[int]
    node: ast.stmt
    reads: set[str]
    sets: set[str]
    leaves: bool


def must_come_before(head: str, texts: list[str]) -> list[set[int]]:
    """For each line, the places of all lines that it may not be moved in front of.

    `texts` are the lines of the function below its `head`, a statement each, or the
    first line of one with a block. Two statements side by side keep their order if one
    sets a name that the other reads or sets, or if one of them leaves the function.
    The first line of a block comes before the block, and a block before its `else`.
    """
    source = "\n".join([head, *texts])
    first, starts = head.count("\n") + 2, {}
    for place, text in enumerate(texts):
        starts[first] = place
        first += text.count("\n") + 1
    before = [set() for _ in texts]
    _order(ast.parse(source).body[0].body, starts, before)
    return before


def _order(body: list[ast.stmt], starts: dict, before: list[set[int]]) -> None:
    blocks = [_block(statement, starts) for statement in body]
    for i, later in enumerate(blocks):
        for earlier in blocks[:i]:
            if _bound(earlier, later):
                for place in later.places:
                    before[place] |= set(earlier.places)
        for place in later.places[1:]:
            before[place].add(later.places[0])
        inner, other = (getattr(later.node, f, []) for f in ("body", "orelse"))
        _order(inner, starts, before)
        if other:
            _after(inner[-1].end_lineno, later.places, starts, before)
            _order(other, starts, before)


def _after(line: int, places: list[int], starts: dict, before: list[set[int]]) -> None:
    """What begins with `else:`, below a line, comes after all that is above it."""
    above = {place for begun, place in starts.items() if begun <= line} & {*places}
    below = sorted({*places} - above)
    for place in below:
        before[place] |= above | ({below[0]} - {place})


def _bound(one: _Block, two: _Block) -> bool:
    touched = one.sets & (two.reads | two.sets) or one.reads & two.sets
    return bool(touched) or one.leaves or two.leaves


def _block(statement: ast.stmt, starts: dict) -> _Block:
    lines = range(statement.lineno, statement.end_lineno + 1)
    places = [starts[line] for line in lines if line in starts]
    reads, sets = set(), set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Name):
            (reads if isinstance(node.ctx, ast.Load) else sets).add(node.id)
        elif isinstance(node, ast.FunctionDef):
            sets.add(node.name)
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            sets |= _base(node)
        elif isinstance(node, ast.Expr):  # a call for its effect: found.append(...)
            sets |= _base(node.value)
    inside = isinstance(statement, ast.FunctionDef)
    leaves = not inside and any(isinstance(n, LEAVES) for n in ast.walk(statement))
    return _Block(places, statement, reads, sets, leaves)


def _base(node: ast.expr) -> set[str]:
    """The name that `name[...]`, `name.method(...)` and their like begin with."""
    while not isinstance(node, ast.Name):
        inner = getattr(node, "value", None) or getattr(node, "func", None)
        if inner is None:
            return set()
        node = inner
    return {node.id}
