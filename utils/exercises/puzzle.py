"""A solution's lines in wrong order, two wrong ones among them, to be put in order.

The lines come from the reference solution, the wrong ones from two known mistakes: the
mistake made in the solution's own code. Whether an order is right is not looked up. The
lines are put together to a function, and the exercise's check judges it, so lines that
do not depend on each other may stand either way.
"""

import ast
import io
import random
import textwrap
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from utils.checks import Check, Mistake
from utils.exercises.flow import must_come_before
from utils.exercises.verdict import CheckResult, run_check

__all__ = ["Arranged", "Line", "Puzzle", "make_puzzle"]

SKIPPED = (tokenize.NL, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT)


@dataclass(frozen=True)
class Line:
    """One statement, or the head of one that has a block below it.

    `text` holds its indentation and, where the statement is long, several lines.
    `place` is where it stands in the solution; a wrong line has the place of the line
    that it was made from, and `mistake` says what is wrong with it.
    """

    text: str
    place: int
    mistake: Mistake | None = None

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip(" "))

    @property
    def opens(self) -> bool:
        """Whether a block has to follow."""
        return self.text.endswith(":")


@dataclass(frozen=True)
class Arranged:
    """What came of an order: the verdict on the function and a word on each line.

    `words` maps the numbers of the lines that were used to "right", "wrong line" or
    "not yet"; `missing` counts lines of the solution that were left out.
    """

    right: bool
    result: CheckResult
    code: str
    words: dict[int, str]
    missing: int


@dataclass(frozen=True)
class Puzzle:
    """The lines of one exercise as they are shown, and the function around them.

    `head` is the first line of the function, over several lines where it is long;
    `build` makes a function of its code. Lines are numbered from 1.
    """

    name: str
    head: str
    lines: tuple[Line, ...]
    build: Callable[[str], Callable]

    @property
    def length(self) -> int:
        """How many lines the solution has."""
        return sum(line.mistake is None for line in self.lines)

    @property
    def solved(self) -> list[int]:
        """The numbers in the solution's own order."""
        right = [(line.place, n) for n, line in self._numbered if line.mistake is None]
        return [n for _, n in sorted(right)]

    @property
    def _numbered(self) -> list[tuple[int, Line]]:
        return list(enumerate(self.lines, 1))

    @cached_property
    def _before(self) -> list[set[int]]:
        """For each line of the solution, the places of those that must come first."""
        texts = [self.lines[n - 1].text for n in self.solved]
        return must_come_before(self.head, texts)

    def listing(self) -> str:
        """The lines with their numbers, as plain text."""
        width = len(str(len(self.lines)))
        shown = []
        for number, line in self._numbered:
            first, *more = line.text.split("\n")
            shown.append(f"{number:>{width}} | {first}")
            shown += [f"{'':>{width}} | {text}" for text in more]
        return "\n".join(shown)

    def code(self, order: list[int]) -> str:
        """The function that these lines make. Raises ValueError for odd numbers."""
        known = range(1, len(self.lines) + 1)
        if not order or len(set(order)) != len(order) or set(order) - set(known):
            raise ValueError(
                f"An order is a list of different numbers from 1 to {known[-1]}, such "
                "as [3, 1, 2]."
            )
        return "\n".join([self.head, *(self.lines[n - 1].text for n in order)]) + "\n"

    def arrange(self, order: list[int]) -> Arranged:
        """Put the lines together, have the function judged, and look at each line."""
        code = self.code(order)
        result = run_check(self.name, self._built(code))
        wrong = [n for n in order if self.lines[n - 1].mistake is not None]
        right = result.status == "passed" and not wrong
        words = dict.fromkeys(order, "right") if right else self._words(order)
        missing = 0 if right else len(set(self.solved) - set(order))
        return Arranged(right, result, code, words, missing)

    def _built(self, code: str) -> Callable:
        """The function; where the lines are no Python, one that says so."""
        try:
            return self.build(code)
        except SyntaxError as error:
            words = f"{error.msg} (line {error.lineno} of the function)"

        def broken(*_, **__):
            raise SyntaxError(words)

        return broken

    def _words(self, order: list[int]) -> dict[int, str]:
        """A line stands right if all that has to come before it stands before it."""
        chosen = [self.lines[n - 1] for n in order]
        words, seen = {}, set()
        for i, (number, line) in enumerate(zip(order, chosen, strict=True)):
            ready = self._before[line.place] <= seen and self._in_block(chosen, i)
            words[number] = "right" if ready else "not yet"
            if line.mistake is not None:
                words[number] = "wrong line"
            seen.add(line.place)
        return words

    def _in_block(self, chosen: list[Line], i: int) -> bool:
        """Whether a line stands in its own block, and opens one where it has to."""
        line = chosen[i]
        above = [other for other in chosen[:i] if other.indent < line.indent]
        owner = above[-1].place if above else None
        below = chosen[i + 1].indent if i + 1 < len(chosen) else 0
        return owner == self._owners[line.place] and line.opens == (below > line.indent)

    @cached_property
    def _owners(self) -> list[int | None]:
        """For each line of the solution, the place of the line whose block it is in."""
        texts = [self.lines[n - 1] for n in self.solved]
        owners = []
        for i, line in enumerate(texts):
            above = [j for j in range(i) if texts[j].indent < line.indent]
            owners.append(above[-1] if above else None)
        return owners


def make_puzzle(check: Check, source: str, build: Callable) -> Puzzle:
    """The puzzle of an exercise from the source of its solution.

    `build` makes a function of other source. The shown order is the same every time
    and never a right one. Raises ValueError where a mistake's `swap` is not in exactly
    one line of the solution.
    """
    head, texts = _split(source)
    lines = [Line(text, place) for place, text in enumerate(texts)]
    for mistake in check.mistakes:
        if mistake.swap is not None:
            lines.append(_wrong_line(texts, mistake))
    draw = random.Random(check.name)
    while True:
        draw.shuffle(lines)
        kept = [line.place for line in lines if line.mistake is None]
        if kept != sorted(kept) or (len(kept) == 1 and lines[0].mistake is not None):
            return Puzzle(check.name, head, tuple(lines), build)


def _wrong_line(texts: list[str], mistake: Mistake) -> Line:
    right, wrong = mistake.swap
    places = [place for place, text in enumerate(texts) if right in text]
    if len(places) != 1 or texts[places[0]].count(right) != 1:
        raise ValueError(f"{right!r} has to stand once in the solution.")
    return Line(texts[places[0]].replace(right, wrong), places[0], mistake)


def _split(source: str) -> tuple[str, list[str]]:
    """A function's first line, and its statements without docstring and comments.

    Only comments inside a statement stay. A statement that spans several lines stays
    whole; of one with a block below it, the first line is taken by itself.
    """
    source = textwrap.dedent(source)
    rows = source.splitlines()
    pieces, begun = [], None
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in SKIPPED:
            continue
        if begun is None:
            begun = token.start[0]
        if token.type != tokenize.NEWLINE:
            row, column = token.end
            continue
        whole = [*rows[begun - 1 : row - 1], rows[row - 1][:column]]
        pieces.append("\n".join(whole))
        begun = None
    documented = ast.get_docstring(ast.parse(source).body[0]) is not None
    return pieces[0], pieces[2 if documented else 1 :]
