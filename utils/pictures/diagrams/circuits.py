"""Circuits at work, with real tokens and real numbers; and a training as strips."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from utils.pictures.diagrams.ink import cut, matrix, number
from utils.pictures.diagrams.sheet import Diagram, Sheet
from utils.pictures.figures.style import check_values
from utils.text.tokens import visible

__all__ = ["bigram_and_copy", "curve_strips", "induction_circuit", "token_flow"]

MOST_TOKENS, WIDTH_INSIDE = 12, 664


def induction_circuit(
    tokens: Sequence[str],
    previous: Float[Tensor, "query key"],
    induction: Float[Tensor, "query key"],
    position: int,
    names: Sequence[str] = ("0.0", "1.0"),
) -> Diagram:
    """The two steps of induction at one position, with the model's own attention.

    `previous` and `induction` are the two heads' patterns over `tokens`. `position` is
    the destination; its token must have stood earlier. At most 12 tokens are shown:
    pass a short text, or the part from the earlier copy on is taken.
    """
    early = matrix(previous, "The previous-token pattern", 10_000, "[query, key]")
    late = matrix(induction, "The induction pattern", 10_000, "[query, key]")
    n = len(tokens)
    if early.shape != (n, n) or late.shape != (n, n):
        raise ValueError(
            f"For {n} tokens both patterns must be [{n}, {n}]; got {list(early.shape)} "
            f"and {list(late.shape)}."
        )
    copies = [i for i in range(position) if tokens[i] == tokens[position]]
    if not 0 < position < n or not copies:
        raise ValueError(
            f"Position {position} of {n} tokens has no earlier copy of its token, so "
            "there is nothing to look up."
        )
    copy = copies[-1]
    after = copy + 1
    window = sorted(
        set(range(max(0, copy - 1), min(n, copy + 4)))
        | {position - 1, position}
        | set(range(max(0, position - MOST_TOKENS + 5), position))
    )
    while len(window) > MOST_TOKENS - 1:
        window.remove(
            max((i for i in window if after + 1 < i < position - 1), key=lambda i: -i)
        )
    a, b = (cut(name, 60, 13) for name in names)
    sheet = Sheet(f"Induction: head {a} marks, head {b} finds and copies", 398)
    gap = min(92.0, (WIDTH_INSIDE - 4) / (len(window) + 1))
    width, y = gap - 6, 196
    xs = {index: 18 + gap * i for i, index in enumerate(window)}
    middle = {index: x + width / 2 for index, x in xs.items()}
    for i, index in enumerate(window):
        sheet.token(
            xs[index], y, width, tokens[index], 30, index in (copy, after, position)
        )
        sheet.text(middle[index], y + 46, str(index), 11, ink="muted")
        tall = 42 * late[position, index]
        sheet.bar(xs[index] + 4, y - 8 - tall, width - 8, tall, "head-line", 0.85)
        tall = 42 * early[after, index]
        sheet.bar(xs[index] + 4, y + 54, width - 8, tall, "qk-line", 0.85)
        if i and index - window[i - 1] > 1:
            sheet.line(
                [(xs[index] - 3, y - 2), (xs[index] - 3, y + 32)],
                "muted",
                1.4,
                dashed=True,
            )
    goal = 18 + gap * len(window)
    sheet.token(goal, y, width, tokens[after], 30)
    sheet.text(goal + width / 2, y + 46, "next", 11, ink="muted")
    top = 96
    sheet.line(
        [
            (middle[position], y - 54),
            (middle[position], top),
            (middle[after], top),
            (middle[after], y - 54),
        ],
        "head-line",
        2,
        arrow=True,
    )
    weight = late[position, after]
    sheet.text(
        18,
        58,
        f"2. head {b}, from position {position}: {weight:.2f} of its attention is",
        13,
        "start",
        "head-line",
    )
    sheet.text(
        18,
        76,
        f"on position {after}, one after the earlier copy at {copy}",
        13,
        "start",
        "head-line",
    )
    low = 318
    sheet.line(
        [
            (middle[after], y + 104),
            (middle[after], low),
            (middle[copy], low),
            (middle[copy], y + 104),
        ],
        "qk-line",
        2,
        arrow=True,
    )
    told = early[after, copy]
    sheet.text(
        18,
        342,
        f"1. head {a}, from position {after}: {told:.2f} of its attention is on",
        13,
        "start",
        "qk-line",
    )
    sheet.text(
        18,
        360,
        f"position {copy}, so the key at {after} says what came before it",
        13,
        "start",
        "qk-line",
    )
    sheet.note(
        "bars are attention weights; the token found is what is raised next", 384
    )
    query, found = visible(tokens[position]), visible(tokens[after])
    return sheet.picture(
        f"At position {position} stands {query}, which stood at position {copy} too, "
        f"followed by {found} at {after}. Head {a} gives {told:.2f} of its attention "
        f"at {after} to {copy}, one before. Head {b} gives {weight:.2f} of its "
        f"attention at {position} to {after}, one after the earlier copy, and raises "
        f"{found}."
    )


def bigram_and_copy(
    present: str,
    following: str,
    direct: float,
    source: str,
    head: str,
    copied: float,
    attention: float | None = None,
) -> Diagram:
    """A bigram beside a copy: what the present token says, what an earlier one adds.

    `direct` is what the direct path adds to the logit of `following`, `copied` what the
    full OV circuit of `head` adds to the logit of `source` per unit of attention.
    """
    sheet = Sheet("A bigram and a copy", 214)
    name = cut(head, 60, 13)
    for x, role, words in (
        (18, "embed", "bigram: what often follows"),
        (358, "ov", "copy: what stood earlier, again"),
    ):
        sheet.text(x + 162, 58, words, 14, ink=f"{role}-line", bold=True)

    def lane(x, first, role, label, last, below):
        sheet.token(x, 84, 88, first)
        sheet.line([(x + 88, 97), (x + 106, 97)], arrow=True)
        sheet.box(x + 106, 80, 112, 34, role, label)
        sheet.line([(x + 218, 97), (x + 236, 97)], arrow=True)
        sheet.token(x + 236, 84, 88, last, lit=True)
        sheet.text(x + 162, 140, below, 13)

    lane(
        18,
        present,
        "embed",
        "W_{E} W_{U}",
        following,
        f"adds {direct:+.1f} logits".replace("-", "−"),
    )
    lane(
        358,
        source,
        "ov",
        f"OV of {name}",
        source,
        f"adds {copied:+.1f} logits × attention".replace("-", "−"),
    )
    sheet.text(18 + 162, 164, "reads the present token alone", 12, ink="muted")
    words = "works wherever the head looks"
    if attention is not None:
        words = f"here the head's attention is {number(attention)}"
    sheet.text(358 + 162, 164, words, 12, ink="muted")
    sheet.line([(350, 48), (350, 176)], "faint", 1.2)
    sheet.note("left: a table of pairs, learnt once; right: any token, also a rare one")
    return sheet.picture(
        f"Left, the direct path: after {visible(present)} it adds {direct:+.1f} to the "
        f"logit of {visible(following)}. Right, head {name}: where it looks at "
        f"{visible(source)}, its OV circuit adds {copied:+.1f} times its attention "
        f"to the logit of {visible(source)} itself."
    )


def token_flow(
    tokens: Sequence[str], ids: Sequence[int], first_numbers: Float[Tensor, "pos d"]
) -> Diagram:
    """Text, tokens, ids and vectors: how a text enters a model. At most 8 tokens."""
    values = check_values(first_numbers, (2,), "The vectors", "[pos, d]")
    if not len(tokens) == len(ids) == len(values) or len(tokens) > 8:
        raise ValueError(
            f"Give at most 8 tokens, an id and a vector for each; got {len(tokens)}, "
            f"{len(ids)} and {len(values)}."
        )
    kept = values[:, :6]
    cell = 21
    sheet = Sheet("From text to the residual stream", 186 + cell * kept.shape[1])
    gap = 576 / len(tokens)
    top = float(np.abs(kept).max()) or 1.0
    for y, words in ((68, "token"), (114, "id"), (140, "W_{E}")):
        sheet.text(18, y, words, 12, "start", "muted")
    for i, (token, index) in enumerate(zip(tokens, ids, strict=True)):
        x = 106 + gap * i
        sheet.token(x, 50, gap - 8, token)
        sheet.line([(x + gap / 2 - 4, 76), (x + gap / 2 - 4, 98)], arrow=True)
        sheet.text(x + gap / 2 - 4, 114, str(int(index)), 13)
        sheet.line(
            [(x + gap / 2 - 4, 119), (x + gap / 2 - 4, 146)], "embed-line", arrow=True
        )
        for row, value in enumerate(kept[i]):
            color = "stream-line" if value >= 0 else "head-line"
            share = 0.4 * abs(value) / top
            sheet.bar(x, 148 + cell * row, gap - 8, cell - 1, color, share)
            sheet.text(
                x + gap / 2 - 4,
                163 + cell * row,
                number(value, 2),
                12,
                on=f"{color}:{share:.3f}",
            )
    sheet.text(18, 163, "stream", 12, "start", "muted")
    sheet.note(
        f"the first {kept.shape[1]} of {values.shape[1]} numbers at each position"
    )
    said = ", ".join(
        f"{visible(t)} has id {int(i)}" for t, i in zip(tokens, ids, strict=True)
    )
    return sheet.picture(
        f"{said}. Row by row of W_E, each id becomes a vector of {values.shape[1]} "
        f"numbers; the first of {visible(tokens[0])} is {values[0, 0]:.2f}."
    )


def curve_strips(
    steps: Sequence[float],
    curves: Mapping[str, Float[Tensor, "step"]],
    change: tuple[float, float] | None = None,
    title: str = "A training, seen by several measures",
) -> Diagram:
    """Recorded curves above one another on one axis of steps, a span of it marked.

    Each strip has its own scale, whose ends are written beside it. At most 6 curves.
    """
    at = check_values(steps, (1,), "The steps", "[step]")
    if not 1 <= len(curves) <= 6 or len(at) < 2:
        raise ValueError("Give 1 to 6 curves over at least two steps.")
    tall = 58
    sheet = Sheet(title, 92 + tall * len(curves))
    left, right = 214.0, 630.0
    span = float(at[-1] - at[0]) or 1.0

    def place(step: float) -> float:
        return left + (right - left) * (min(max(step, at[0]), at[-1]) - at[0]) / span

    said, roles = [], ["stream", "head", "qk", "ov", "embed", "token"]
    bottom = 48 + tall * len(curves)
    if change is not None:
        a, b = place(change[0]), place(change[1])
        sheet.bar(a, 44, max(b - a, 3), bottom - 44, "embed-line", 0.28)
    for i, (name, raw) in enumerate(curves.items()):
        values = check_values(raw, (1,), name, "[step]")
        if len(values) != len(at):
            raise ValueError(f"{name} has {len(values)} values for {len(at)} steps.")
        y, low, high = 48 + tall * i, float(values.min()), float(values.max())
        scale = (tall - 16) / ((high - low) or 1.0)
        points = [
            (place(s), y + tall - 8 - (v - low) * scale)
            for s, v in zip(at, values, strict=True)
        ]
        sheet.line(points, f"{roles[i]}-line", 2.2)
        sheet.text(
            200,
            y + tall / 2 + 4,
            cut(name, 180, 13),
            13,
            "end",
            f"{roles[i]}-line",
            plain=True,
        )
        sheet.text(right + 8, y + 15, number(high), 11, "start", "muted")
        sheet.text(right + 8, y + tall - 6, number(low), 11, "start", "muted")
        sheet.line([(left, y + tall), (right, y + tall)], "faint", 1)
        said.append(f"{name} goes from {values[0]:.2f} to {values[-1]:.2f}")
    sheet.text(left, bottom + 20, f"step {at[0]:,.0f}", 12, "start", "muted")
    sheet.text(right, bottom + 20, f"{at[-1]:,.0f}", 12, "end", "muted")
    words = "; ".join(said)
    if change is not None:
        words += f"; marked is the span from step {change[0]:,.0f} to {change[1]:,.0f}"
        if place(change[1]) < right - 150 and place(change[0]) > left + 70:
            middle = (place(change[0]) + place(change[1])) / 2
            label = f"{change[0]:,.0f} to {change[1]:,.0f}"
            sheet.text(
                min(max(middle, left + 130), right - 130),
                bottom + 20,
                label,
                12,
                ink="embed-line",
            )
    return sheet.picture(words + ".")
