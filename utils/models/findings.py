"""What others reported about heads of public models, to print beside what is found.

Chapter 7 shows `compare` and `elsewhere`. A reported number holds for one model and one
way to measure; where ours differs in the way (other random tokens, other lengths)
it can only be close.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["REPORTED", "Reported", "compare", "elsewhere"]

# The order of `induction_scores`.
KINDS = ("prefix matching", "previous token", "duplicate token")
CLOSE = 0.1


@dataclass(frozen=True)
class Reported:
    """A score of one head as it was reported; `value` None where none was given.

    `what` is one of `KINDS`, or "K-composition with L.H".
    """

    model: str
    what: str
    head: tuple[int, int]
    value: float | None
    source: str

    @property
    def told(self) -> str:
        """The number as it is printed, or that there is none."""
        return "named" if self.value is None else f"{self.value:.2f}"


PUBLIC = "public reproductions of 2026; several agree to .01"
IOI = "Wang et al. 2022, arXiv 2211.00593"
NOTEBOOK = "a public notebook"
OURS = "this course, on another computer"
REPORTED = (
    *(
        Reported("gpt2", "prefix matching", head, value, PUBLIC)
        for head, value in (
            ((5, 5), 0.93),
            ((6, 9), 0.91),
            ((7, 10), 0.91),
            ((5, 1), 0.91),
            ((7, 2), 0.83),
        )
    ),
    *(
        Reported("gpt2", "prefix matching", head, None, IOI)
        for head in ((5, 8), (5, 9))
    ),
    Reported("gpt2", "previous token", (4, 11), 1.00, IOI + ", on text"),
    Reported("gpt2", "previous token", (2, 2), None, IOI),
    *(
        Reported("gpt2", "duplicate token", head, None, IOI)
        for head in ((0, 1), (0, 10), (3, 0))
    ),
    Reported("attn-only-2l", "previous token", (0, 3), 0.52, NOTEBOOK),
    Reported("attn-only-2l", "prefix matching", (1, 6), 0.70, NOTEBOOK),
    Reported("attn-only-2l", "K-composition with 0.3", (1, 6), 0.124, NOTEBOOK),
    *(
        Reported("smollm2", "prefix matching", head, value, OURS)
        for head, value in (((18, 6), 0.90), ((17, 4), 0.75), ((17, 3), 0.73))
    ),
    Reported("smollm2", "previous token", (16, 0), 0.91, OURS),
    Reported("smollm2", "duplicate token", (14, 3), 0.75, OURS),
    Reported("smollm2", "K-composition with 16.0", (17, 3), 0.17, OURS),
)


def compare(
    name: str,
    scores: Float[Tensor, "score layer head"],
    graph: Float[Tensor, "from_layer from_head to_layer to_head"],
) -> list[tuple[str, str, str, float, int, str, str]]:
    """Rows: what, head, reported, found here, its rank, verdict, source.

    `scores` as `induction_scores` gives them and `graph` as `composition_graph` does
    for keys, both of the model called `name`. Within 0.1 a score agrees; without a
    reported number, one of the five largest of its kind does. Where nobody reported
    anything about a model, the rows are its best head of each kind.
    """
    layers, heads = scores.shape[1:]
    mine = [
        row
        for row in REPORTED
        if row.model == name and row.head[0] < layers and row.head[1] < heads
    ]
    if not mine:
        best = [divmod(int(values.argmax()), heads) for values in scores[: len(KINDS)]]
        return [
            (kind, _called(at), "", float(values[at]), 1, "new", "")
            for kind, at, values in zip(KINDS, best, scores, strict=False)
        ]
    rows = []
    for row in mine:
        found, rank = _found(row, scores, graph)
        agrees = rank <= 5 if row.value is None else abs(found - row.value) <= CLOSE
        verdict = "agrees" if agrees else "differs"
        rows.append(
            (row.what, _called(row.head), row.told, found, rank, verdict, row.source)
        )
    return rows


def elsewhere(name: str) -> list[tuple[str, str, str, str, str]]:
    """Rows about other models than `name`: model, what, head, reported, source."""
    return [
        (row.model, row.what, _called(row.head), row.told, row.source)
        for row in REPORTED
        if row.model not in (name, "smollm2")
    ]


def _found(row: Reported, scores: Tensor, graph: Tensor) -> tuple[float, int]:
    """The head's own score, and its rank among all that it is compared with."""
    if row.what in KINDS:
        values = scores[KINDS.index(row.what)]
        found = values[row.head]
    else:
        layer, head = map(int, row.what.split()[-1].split("."))
        values = graph[: row.head[0], :, row.head[0], row.head[1]]
        found = values[layer, head]
    return float(found), int((values > found).sum()) + 1


def _called(place: tuple[int, int]) -> str:
    return f"{place[0]}.{place[1]}"
