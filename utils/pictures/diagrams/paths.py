"""Ways through a model: direct, through one head, through two; and how heads meet."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from utils.pictures.diagrams.ink import cut, number
from utils.pictures.diagrams.sheet import Diagram, Sheet
from utils.pictures.figures.style import check_values
from utils.text.tokens import visible

__all__ = ["compositions", "path_lattice", "paths_to_logit"]

MOST_ROWS = 10


def paths_to_logit(
    names: Sequence[str],
    sources: Sequence[str],
    contributions: Float[Tensor, "path"],
    output: str,
    title: str = "",
) -> Diagram:
    """What each path adds to one logit. The first path is the direct one.

    `names` are heads ("0.3") after the first, `sources` the token each path begins at,
    `contributions` in logits. At most 10 paths: the first, then the largest.
    """
    values = check_values(contributions, (1,), "The contributions", "[path]")
    if not len(names) == len(sources) == len(values):
        raise ValueError(
            f"There are {len(names)} names, {len(sources)} sources and {len(values)} "
            "contributions; they must be as many."
        )
    order = [0, *sorted(range(1, len(values)), key=lambda i: -abs(values[i]))]
    shown = order[: MOST_ROWS if len(order) <= MOST_ROWS else MOST_ROWS - 1]
    rest = [i for i in order if i not in shown]
    rows = len(shown) + bool(rest)
    out = cut(visible(output), 220, 15, mono=True)
    sheet = Sheet(title or f"Paths to the logit of {out}", 96 + 34 * rows)
    largest = float(np.abs([*values[shown], values[rest].sum()]).max()) or 1.0
    both = min(*values[shown], values[rest].sum(), 0) < 0
    zero, reach = (520.0, 90.0) if both else (420.0, 190.0)
    for x, words in ((64, "from"), (240, "path"), (zero, "adds to the logit")):
        sheet.text(x, 56, words, 12, ink="muted")
    sheet.line([(zero, 64), (zero, 68 + 34 * rows)], "faint", 1)
    for row, index in enumerate([*shown, None] if rest else shown):
        y = 68 + 34 * row
        value = values[rest].sum() if index is None else values[index]
        if index is not None:
            sheet.token(18, y, 92, sources[index])
            sheet.line([(110, y + 13), (130, y + 13)], arrow=True)
        label, role = "W_{E} W_{U}: direct", "embed"
        if index is None:
            label, role = f"{len(rest)} more heads", "paper"
        elif index:
            name = cut(names[index], 70, 13)
            label, role = f"W_{{E}} · OV of head {name} · W_{{U}}", "head"
        sheet.box(130, y, 220, 26, role, label)
        long = reach * abs(value) / largest
        color = "stream-line" if value >= 0 else "head-line"
        sheet.bar(zero if value >= 0 else zero - long, y + 4, long, 18, color, 0.8)
        side = 1 if value >= 0 else -1
        sheet.text(
            zero + side * (long + 6),
            y + 18,
            f"{value:+.2f}".replace("-", "−"),
            12,
            "start" if side > 0 else "end",
        )
    sheet.note(f"all together: {values.sum():+.2f}".replace("-", "−"))
    said = ", ".join(
        f"{'direct path' if i == 0 else 'head ' + names[i]} from {visible(sources[i])} "
        f"{values[i]:+.2f}"
        for i in shown
    )
    more = f", {len(rest)} more heads {values[rest].sum():+.2f}" if rest else ""
    return sheet.picture(
        f"What each path adds to the logit of {visible(output)}: {said}{more}. The sum "
        f"is {values.sum():+.2f}."
    )


def path_lattice(
    n_heads: int, lit: Sequence[Sequence[str]] = (), title: str = ""
) -> Diagram:
    """All paths through two layers of `n_heads` heads; the chosen ones are lit.

    A path is its heads in order: () is the direct path, ("0.3",) goes through one head,
    ("0.3", "1.2") through two. At most 12 heads a layer.
    """
    if not 1 <= n_heads <= 12:
        raise ValueError(f"The lattice shows 1 to 12 heads a layer, not {n_heads}.")
    known = {f"{layer}.{head}" for layer in (0, 1) for head in range(n_heads)}
    for path in lit:
        layers = [name.split(".")[0] for name in path]
        if not known >= set(path) or layers not in ([], ["0"], ["1"], ["0", "1"]):
            raise ValueError(
                f"{tuple(path)} is no path of two layers of {n_heads} heads. Write "
                '(), ("0.3",), ("1.2",) or ("0.3", "1.2").'
            )
    count = 1 + 2 * n_heads + n_heads**2
    step = 26
    sheet = Sheet(
        title or f"{count} paths through two layers", 112 + step * (n_heads + 1)
    )
    top = 58
    middle = top + step * (n_heads + 1) / 2
    ys = {
        f"{layer}.{h}": top + step * (h + 1.5)
        for layer in (0, 1)
        for h in range(n_heads)
    }
    ys |= {"0.": top + step / 2, "1.": top + step / 2}
    start, end = (100.0, middle), (600.0, middle)
    xs = {"0": (226.0, 290.0), "1": (410.0, 474.0)}

    def route(a: str, b: str) -> list[list[tuple[float, float]]]:
        return [
            [start, (xs["0"][0], ys[a])],
            [(xs["0"][1], ys[a]), (xs["1"][0], ys[b])],
            [(xs["1"][1], ys[b]), end],
        ]

    ends = [["0.", *(f"0.{h}" for h in range(n_heads))]]
    ends.append(["1.", *(f"1.{h}" for h in range(n_heads))])
    seen = {tuple(piece) for a in ends[0] for b in ends[1] for piece in route(a, b)}
    for piece in sorted(seen):
        sheet.line(piece, "faint", 0.8)
    chosen: set[str] = set()
    for path in lit:
        a = next((n for n in path if n[0] == "0"), "0.")
        b = next((n for n in path if n[0] == "1"), "1.")
        chosen |= {a, b}
        for piece in route(a, b):
            sheet.line(piece, "head-line", 2.6)
    sheet.box(38, middle - 20, 62, 40, "embed", "W_{E}")
    sheet.box(600, middle - 20, 62, 40, "embed", "W_{U}")
    for layer, names in zip("01", ends, strict=True):
        left, right = xs[layer]
        for name in names:
            role = "head" if name in chosen else "token"
            if name.endswith("."):
                role = "stream"
            words = "skip" if name.endswith(".") else name
            sheet.box(left, ys[name] - 10, right - left, 20, role, words, size=12)
    sheet.text(258, top - 8, "layer 0", 12, ink="muted")
    sheet.text(442, top - 8, "layer 1", 12, ink="muted")
    sheet.note(f"1 direct, {2 * n_heads} through one head, {n_heads**2} through two")
    said = [" then ".join(path) if path else "the direct path" for path in lit]
    return sheet.picture(
        f"From W_E to W_U there is 1 direct path, {2 * n_heads} through one head and "
        f"{n_heads**2} through two, {count} in all. "
        + (f"Lit: {'; '.join(said)}." if said else "None is lit.")
    )


def compositions(
    first: str, second: str, scores: Mapping[str, float] | None = None
) -> Diagram:
    """Q-, K- and V-composition side by side: which input of the later head is fed.

    `scores` ("Q", "K", "V" to a number) stand below, the largest in bold.
    """
    if scores is not None and set(scores) != set("QKV"):
        raise ValueError("Give a score for each of Q, K and V, or none.")
    a, b = (cut(name, 60, 13) for name in (first, second))
    sheet = Sheet(f"Three ways in which head {b} can read head {a}", 346)
    tells = {
        "Q": ("its query reads it", "what to look for"),
        "K": ("its key reads it", "what can be found"),
        "V": ("its value reads it", "what is moved on"),
    }
    best = max(scores, key=scores.get) if scores else ""
    for i, (letter, (_, changes)) in enumerate(tells.items()):
        left = 18 + 224 * i
        role = "ov" if letter == "V" else "qk"
        sheet.text(
            left + 108, 60, f"{letter}-composition", 14, ink=f"{role}-line", bold=True
        )
        sheet.box(left, 72, 216, 62, "head")
        sheet.text(left + 108, 90, f"head {b}", 12, on="head")
        for j, port in enumerate("QKV"):
            on = port == letter
            sheet.box(left + 12 + 66 * j, 98, 60, 26, role if on else "paper", port)
        sheet.box(left, 178, 216, 16, "stream")
        x = left + 42 + 66 * "QKV".index(letter)
        sheet.line([(left + 108, 226), (left + 108, 195)], "head-line", 2.4, arrow=True)
        sheet.line([(x, 178), (x, 125)], f"{role}-line", 2.4, arrow=True)
        for j in range(3):
            if j != "QKV".index(letter):
                other = left + 42 + 66 * j
                sheet.line([(other, 178), (other, 125)], "faint", 1.2, arrow=True)
        sheet.box(left + 58, 226, 100, 32, "head", f"head {a}")
        sheet.text(left + 108, 284, changes, 13)
        if scores:
            value = f"{number(scores[letter], 3)}"
            sheet.text(
                left + 108,
                304,
                f"score {value}",
                13,
                bold=letter == best,
                ink="head-line" if letter == best else "muted",
            )
    sheet.note(
        "the blue bar is the residual stream; grey arrows read other things from it"
    )
    given = (
        ""
        if not scores
        else " Scores: "
        + ", ".join(f"{letter} {number(value, 3)}" for letter, value in scores.items())
        + f"; the largest is {best}."
    )
    return sheet.picture(
        f"Head {a} writes to the stream and head {b} reads it: with its query "
        f"(Q-composition, {tells['Q'][1]}), with its key (K-composition, "
        f"{tells['K'][1]}) or with its value (V-composition, {tells['V'][1]})." + given
    )
