"""Steps one after the other, tokens in a row, small matrices side by side."""

from collections.abc import Sequence

from torch import Tensor

from utils.pictures.diagrams.algebra import matrices_in_a_row, spelled
from utils.pictures.diagrams.ink import ROLES, matrix
from utils.pictures.diagrams.sheet import WIDTH, Diagram, Sheet
from utils.text.tokens import visible

__all__ = ["chain", "matrices", "token_row"]

GAP, MARGIN, HIGH = 26, 18, 50
MOST_STEPS, MOST_TOKENS = 6, 16


def _plain(words: str) -> str:
    return words.replace("_{", "_").replace("^{", "^").replace("}", "")


def chain(
    rows: Sequence[Sequence[tuple[str, ...]]], title: str, note: str = ""
) -> Diagram:
    """Rows of boxes joined by arrows, each row read from left to right.

    A box is (role, words, perhaps a second line); roles are those with a ground of
    their own, such as "stream", "qk", "ov", "embed", "head" and "token". Raises
    ValueError for an unknown role, and for more than 6 boxes in a row.
    """
    longest = max(map(len, rows))
    if longest > MOST_STEPS:
        raise ValueError(f"A row holds at most {MOST_STEPS} boxes, not {longest}.")
    roles = {role for row in rows for role, *_ in row}
    if unknown := sorted(role for role in roles if f"{role}-line" not in ROLES):
        raise ValueError(f"No box has the role {unknown[0]!r}.")
    pitch = HIGH + 24
    sheet = Sheet(title, 54 + pitch * len(rows) + (12 if note else -8))
    wide = min(150.0, (WIDTH - 2 * MARGIN - GAP * (longest - 1)) / longest)
    for i, row in enumerate(rows):
        y = 52 + pitch * i
        for j, (role, *words) in enumerate(row):
            x = MARGIN + j * (wide + GAP)
            sheet.box(x, y, wide, HIGH, role, *words)
            if j:
                middle = y + HIGH / 2
                sheet.line([(x - GAP, middle), (x, middle)], arrow=True)
    if note:
        sheet.note(note)
    said = "; ".join(
        " to ".join(_plain(", ".join(words)) for _, *words in row) for row in rows
    )
    return sheet.picture(
        " ".join([*[note] * bool(note), f"From left to right: {said}."])
    )


def token_row(
    tokens: Sequence[str],
    title: str,
    arrow: tuple[int, int, str] | None = None,
    spans: Sequence[tuple[int, int, str]] = (),
) -> Diagram:
    """Tokens in a row under their positions, with what there is to say about them.

    `arrow` is (from, to, words): the position that looks, the one it looks at, and why.
    A span is (first, last, words), drawn as a line below. Raises ValueError for more
    than 16 tokens and for positions that are not there.
    """
    if not 1 <= len(tokens) <= MOST_TOKENS:
        raise ValueError(
            f"A row shows 1 to {MOST_TOKENS} tokens, not {len(tokens)}: give a part."
        )
    ends = [*(arrow[:2] if arrow else ()), *(end for span in spans for end in span[:2])]
    if any(not 0 <= end < len(tokens) for end in ends):
        raise ValueError(f"The row has positions 0 to {len(tokens) - 1}, not {ends}.")
    sheet = Sheet(title, 122 + 42 * bool(arrow) + 34 * bool(spans))
    pitch = (WIDTH - 2 * MARGIN) / len(tokens)
    middle = [MARGIN + pitch * (i + 0.5) for i in range(len(tokens))]
    marked = set(arrow[:2]) if arrow else set()
    for i, token in enumerate(tokens):
        sheet.text(middle[i], 56, str(i), 12, ink="muted")
        wide = pitch - 6
        sheet.token(middle[i] - wide / 2, 64, wide, token, 30, lit=i in marked)
    foot, said = 94, []
    if arrow:
        at, target, words = arrow
        path = [
            (middle[at], foot),
            (middle[at], foot + 24),
            (middle[target], foot + 24),
        ]
        sheet.line([*path, (middle[target], foot + 1)], "qk-line", 2.2, arrow=True)
        sheet.text((middle[at] + middle[target]) / 2, foot + 42, words, 13)
        said.append(f"Position {at} looks at position {target}: {words}.")
        foot += 48
    for first, last, words in spans:
        left, right = middle[first] - pitch / 2 + 6, middle[last] + pitch / 2 - 6
        sheet.line([(left, foot + 12), (right, foot + 12)], "muted", 2)
        sheet.text((left + right) / 2, foot + 30, words, 13)
        said.append(f"Positions {first} to {last}: {words}.")
    row = " ".join(visible(token) for token in tokens)
    return sheet.picture(f"The tokens are {row}. {' '.join(said)}".strip())


def matrices(
    values: Sequence[Tensor], names: Sequence[str], roles: Sequence[str], title: str
) -> Diagram:
    """Up to four small matrices side by side, with all their numbers.

    At most 5 rows and columns each, and together no more than 14 columns.
    """
    arrays = [
        matrix(value, f"Matrix {name}", 5)
        for value, name in zip(values, names, strict=True)
    ]
    if len(arrays) > 4 or sum(a.shape[1] for a in arrays) > 14:
        raise ValueError("A diagram shows at most 4 matrices with 14 columns together.")
    tallest = max(map(len, arrays))
    sheet = Sheet(title, 92 + 38 * tallest)
    parts = list(zip(arrays, names, roles, strict=True))
    matrices_in_a_row(sheet, 72, parts, [""] * (len(parts) - 1))
    said = "; ".join(f"{_plain(name)} is {spelled(a)}" for a, name, _ in parts)
    return sheet.picture(f"{said}.")
