"""Words in, things out: what `solution WORDS`, `claims WORDS` and the site search with.

Each thing is a few texts with weights. A word of the question counts by how rare it is
among the things, and more of the same word counts less and less (BM25 over weighted
fields). What a word adds to a thing does not depend on the question, so the site's
search takes the table `Index.adds` to the browser and only sums there.
"""

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache

__all__ = ["ENDINGS", "SHORTEST", "SMALL", "Index", "ranked", "stems"]

Fields = Sequence[tuple[str, float]]
SMALL = (
    "a an and are another at by can do does for from how i in is it of on or that the "
    "there to what when where which with"
).split()
ENDINGS = ("ations", "ation", "ings", "ing", "ies", "ied", "ed", "es", "s", "y", "e")
SHORTEST = 3
HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
K1, B = 1.2, 0.3


class Index:
    """Things to be found, each a few texts with weights."""

    def __init__(self, things: Mapping[str, Fields]):
        self._counts = {key: _counted(tuple(things[key])) for key in things}
        lengths = {key: sum(counts.values()) for key, counts in self._counts.items()}
        mean = sum(lengths.values()) / max(len(lengths), 1)
        self._damping = {k: K1 * (1 - B + B * n / mean) for k, n in lengths.items()}

    def words(self) -> set[str]:
        """Every word by which anything is found, without its ending."""
        return set().union(*self._counts.values())

    def adds(self, word: str) -> dict[str, float]:
        """What a word of a question adds to the things that have it."""
        holding = [key for key, counts in self._counts.items() if word in counts]
        others = len(self._counts) - len(holding)
        rarity = math.log(1 + (others + 0.5) / (len(holding) + 0.5))
        often = {key: self._counts[key][word] for key in holding}
        return {
            key: rarity * n * (K1 + 1) / (n + self._damping[key])
            for key, n in often.items()
        }

    def ranked(self, question: str) -> list[str]:
        """The things that share a word with the question, best first."""
        scores: Counter[str] = Counter()
        for word in dict.fromkeys(stems(question)):
            scores.update(self.adds(word))
        return [key for key, _ in scores.most_common()]


def ranked(question: str, things: Mapping[str, Fields]) -> list[str]:
    """The keys of the things that share a word with the question, best first."""
    return Index(things).ranked(question)


@cache
def _counted(fields: tuple[tuple[str, float], ...]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text, weight in fields:
        for word in stems(text):
            counts[word] += weight
    return counts


def stems(text: str) -> list[str]:
    """Words and numbers without their endings: "copying_scores" is "cop", "scor".

    "LayerNorm" is found by "layernorm" and by "layer norm". The site's search does the
    same in a browser.
    """
    found = re.findall(r"[^\W_]+", text)
    parts = [part for word in found for part in HUMP.sub(" ", word).split()]
    joined = [word for word in found if HUMP.search(word)]
    lower = [word.lower() for word in (*parts, *joined)]
    return [_stem(word) for word in lower if word not in SMALL]


def _stem(word: str) -> str:
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST:
            word = word.removesuffix(ending)
            break
    # "copying" and "copy" are one word.
    return word[:-1] if len(word) > SHORTEST and word.endswith("y") else word
