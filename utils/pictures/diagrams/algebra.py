"""Matrices with all their numbers, and patterns as small pictures."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from utils.pictures.diagrams.ink import cut, matrix, number
from utils.pictures.diagrams.sheet import WIDTH, Diagram, Sheet
from utils.text.tokens import visible

__all__ = [
    "matrices_in_a_row",
    "pattern_pair",
    "product",
    "spelled",
    "tensor_product",
    "virtual_head",
]

CELL = 38


def spelled(values: np.ndarray) -> str:
    """A small matrix in words: its rows, with semicolons between them."""
    rows = [", ".join(number(v) for v in row) for row in values]
    return "[" + "; ".join(rows) + "]"


def matrices_in_a_row(
    sheet: Sheet, y: float, parts: Sequence[tuple], between: Sequence[str]
) -> None:
    """Matrices side by side with signs between them, in the middle of the sheet.

    A part is (values, name, role).
    """
    tallest = max(len(values) for values, *_ in parts)
    cell = min(
        CELL, (WIDTH - 60 - 34 * len(between)) / sum(v.shape[1] for v, *_ in parts)
    )
    wide = sum(values.shape[1] for values, *_ in parts) * cell + 34 * len(between)
    x, middle = (WIDTH - wide) / 2, y + tallest * cell / 2
    for i, (values, name, role) in enumerate(parts):
        rows, columns = values.shape
        top = middle - rows * cell / 2
        sheet.grid(x, top, values, cell, role)
        room = columns * cell + 30
        sheet.text(x + columns * cell / 2, top - 9, cut(name, room, 13), 13)
        x += columns * cell
        if i < len(between):
            sheet.text(x + 17, middle + 6, between[i], 17)
            x += 34


def product(
    left: Float[Tensor, "a b"],
    right: Float[Tensor, "b c"],
    names: Sequence[str] = ("left", "right", "product"),
    title: str = "A product of two matrices",
    note: str = "",
) -> Diagram:
    """`left` times `right` is their product, with every number.

    At most 5 rows and columns. Raises ValueError for shapes that do not fit together.
    """
    a, b = matrix(left, "The left matrix", 5), matrix(right, "The right matrix", 5)
    if a.shape[1] != b.shape[0]:
        raise ValueError(
            f"[{a.shape[0]}, {a.shape[1]}] times [{b.shape[0]}, {b.shape[1]}] is not "
            "defined: the inner sizes differ."
        )
    rows = max(len(a), len(b))
    sheet = Sheet(title, round(92 + CELL * rows + (26 if note else 0)))
    parts = [
        (a, names[0], "embed"),
        (b, names[1], "embed"),
        (a @ b, names[2], "stream"),
    ]
    matrices_in_a_row(sheet, 72, parts, ["×", "="])
    if note:
        sheet.note(note)
    plain = [
        name.replace("_{", "_").replace("^{", "^").replace("}", "") for name in names
    ]
    return sheet.picture(
        f"{plain[0]} {spelled(a)} times {plain[1]} {spelled(b)} is {plain[2]} "
        f"{spelled(a @ b)}."
    )


def tensor_product(
    pattern: Float[Tensor, "query key"],
    x: Float[Tensor, "pos d"],
    w_ov: Float[Tensor, "d d_out"],
) -> Diagram:
    """What A ⊗ W_OV does to a stream x: across positions by A, per position by W_OV.

    Every number is shown, so at most 5 positions and 4 numbers at each.
    """
    a = matrix(pattern, "The pattern", 5, "[query, key]")
    stream = matrix(x, "The stream", 5, "[pos, d]")
    w = matrix(w_ov, "W_OV", 4, "[d, d_out]")
    if a.shape[1] != len(stream) or stream.shape[1] != len(w):
        raise ValueError(
            f"A [{a.shape[0]}, {a.shape[1]}], x [{len(stream)}, {stream.shape[1]}] and "
            f"W_OV [{len(w)}, {w.shape[1]}] do not fit together."
        )
    mixed = a @ stream
    tall = max(len(a), len(stream)) * CELL
    low = max(len(mixed), len(w)) * CELL
    sheet = Sheet(
        "What A ⊗ W_OV does, in two steps",
        round(202 + tall + low),
    )
    sheet.text(
        18,
        58,
        "1. across positions: each row of A mixes the rows of x",
        13,
        "start",
        "qk-line",
    )
    matrices_in_a_row(
        sheet,
        90,
        [(a, "A", "qk"), (stream, "x", "stream"), (mixed, "A x", "stream")],
        ["×", "="],
    )
    y = 90 + tall + 34
    sheet.text(
        18,
        y,
        "2. at each position: every row goes through W_{OV} by itself",
        13,
        "start",
        "ov-line",
    )
    result = mixed @ w
    matrices_in_a_row(
        sheet,
        y + 32,
        [
            (mixed, "A x", "stream"),
            (w, "W_{OV}", "ov"),
            (result, "A x W_{OV}", "stream"),
        ],
        ["×", "="],
    )
    sheet.note(
        "rows are positions; the other order, first W_{OV} and then A, gives the same"
    )
    return sheet.picture(
        f"First across positions: A {spelled(a)} times x {spelled(stream)} is "
        f"{spelled(mixed)}. Then at each position: times W_OV {spelled(w)} is "
        f"{spelled(result)}."
    )


def _pattern(
    sheet: Sheet,
    x: float,
    y: float,
    values: np.ndarray,
    side: float,
    name: str,
    role: str,
) -> None:
    sheet.grid(x, y, values, side / len(values), role, numbers=False)
    sheet.text(x + side / 2, y - 9, cut(name, side + 24, 13), 13, ink=f"{role}-line")


def virtual_head(
    first: Float[Tensor, "query key"],
    second: Float[Tensor, "query key"],
    names: Sequence[str] = ("0.0", "1.0"),
) -> Diagram:
    """Two heads in a row are one head: pattern times pattern, OV times OV."""
    early = matrix(first, "The first pattern", 40, "[query, key]")
    late = matrix(second, "The second pattern", 40, "[query, key]")
    if early.shape != late.shape or early.shape[0] != early.shape[1]:
        raise ValueError(
            f"Both patterns must be square and of one size; got {list(early.shape)} "
            f"and {list(late.shape)}."
        )
    a, b = (cut(name, 60, 13) for name in names)
    both = late @ early
    sheet = Sheet(f"A virtual head: {a}, then {b}", 330)
    side = 160
    _pattern(sheet, 52, 76, late, side, f"pattern of {b}", "qk")
    sheet.text(234, 162, "×", 18)
    _pattern(sheet, 258, 76, early, side, f"pattern of {a}", "qk")
    sheet.text(440, 162, "=", 18)
    _pattern(sheet, 474, 76, both, side, "the virtual pattern", "qk")
    sheet.text(18, 58 + side + 57, "and what it moves:", 13, "start")
    sheet.box(
        150,
        58 + side + 36,
        398,
        32,
        "ov",
        "W_{E} · W_{OV} of " + a + " · W_{OV} of " + b + " · W_{U}",
    )
    sheet.note(
        "rows are destinations, columns sources; a stronger cell is more attention"
    )
    far = np.unravel_index(both.argmax(), both.shape)
    return sheet.picture(
        f"The pattern of {b} times the pattern of {a} is the virtual pattern, over "
        f"{len(both)} positions. Its largest weight is {both.max():.2f}, from position "
        f"{far[0]} to position {far[1]}. What it moves goes through the OV matrix of "
        f"{a} and then that of {b}. It has no weights of its own."
    )


def pattern_pair(
    patterns: Float[Tensor, "two query key"],
    tokens: Sequence[str],
    names: Sequence[str],
    title: str,
    note: str = "",
) -> Diagram:
    """Two patterns side by side, over the same tokens, with the tokens as rows."""
    a, b = (matrix(p, "A pattern", 24, "[query, key]") for p in patterns)
    if a.shape != b.shape or len(tokens) != len(a):
        raise ValueError(
            f"Two patterns over {len(tokens)} tokens are needed; got {list(a.shape)} "
            f"and {list(b.shape)}."
        )
    cell = min(22.0, 232 / len(a))
    side = cell * len(a)
    sheet = Sheet(title, round(92 + side + (34 if note else 0)))
    for x, values, name in ((104, a, names[0]), (450, b, names[1])):
        _pattern(sheet, x, 72, values, side, name, "qk")
        size = 12 if cell >= 15 else 0
        for i, token in enumerate(tokens) if size else ():
            shown = cut(visible(token), 78, size, mono=True)
            sheet.text(
                x - 7,
                72 + cell * (i + 0.5) + 4,
                shown,
                size,
                "end",
                plain=True,
                mono=True,
            )
    if note:
        sheet.note(note)
    best = [np.unravel_index(p[:, 1:].argmax(), p[:, 1:].shape) for p in (a, b)]
    said = [
        f"{name} looks most from {visible(tokens[q])} (position {q}) to "
        f"{visible(tokens[k + 1])} (position {k + 1}), {p[q, k + 1]:.2f}"
        for name, p, (q, k) in zip(names, (a, b), best, strict=True)
    ]
    return sheet.picture("; ".join(said) + ", the first token left out.")
