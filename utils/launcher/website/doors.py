"""What the site's search finds first: functions, rows, terms, and sections of chapters.

Called by `build.py`. Sphinx finds pages that have every word of the question, wherever
it stands, so a question in plain words finds a long chapter or nothing. Here each thing
has a few texts with weights, ranked as `python3 -m utils solution WORDS` ranks; the
table is made when the site is built, and `doors.js` sums it in the browser.
"""

import json
import re
from dataclasses import dataclass
from itertools import groupby

from utils.launcher import library, lookup
from utils.launcher.ranking import ENDINGS, SHORTEST, SMALL, Index
from utils.launcher.website.chapters import ChapterPage
from utils.launcher.website.papers import page_of_row

__all__ = ["Door", "doors", "script"]

TERM = re.compile(r"^### (.+)\n((?:(?!^### ).*\n?)*)", re.MULTILINE)
SENTENCE = re.compile(r"[.?](?= |$)")
TITLE, TEXT = 5.0, 1.0
# Of what fits equally well, a function is what the reader wants.
WORTH = {"function": 1.05}


@dataclass(frozen=True)
class Door:
    """A place of the site: page, anchor on it, and what it is found by."""

    title: str
    page: str
    anchor: str
    kind: str
    says: str
    fields: tuple[tuple[str, float], ...]


def doors(chapters: list[ChapterPage], pages: dict[str, str]) -> list[Door]:
    """All doors to pages that this site has."""
    found = [*_functions(), *_rows(), *_terms(pages.get("glossary", ""))]
    found += [door for page in chapters for door in _sections(page)]
    return [door for door in found if door.page in pages]


def _functions() -> list[Door]:
    return [
        Door(
            each.name,
            f"reference/{each.name}",
            "",
            "function",
            each.summary,
            lookup.fields(each),
        )
        for each in library.functions()
    ]


def _rows() -> list[Door]:
    return [
        Door(
            each.row,
            page_of_row(each),
            f"#row-{each.row.lower()}",
            library.verdict_of(each),
            each.says,
            ((each.row, 2 * TITLE), *lookup.row_fields(each)),
        )
        for each in library.statements()
    ]


def _terms(glossary: str) -> list[Door]:
    found = []
    for title, body in TERM.findall(glossary.replace("\n## ", "\n### ")):
        plain = re.sub(r"\]\([^)]*\)|[\[*`\\]", "", body.split("*Paper:*")[0])
        also, _, rest = plain.strip().partition("\n\n")
        if not also.startswith("Also:"):
            also, rest = "", plain
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        texts = ((title, TITLE), (also[5:], TITLE), (rest, TEXT))
        says = _first_sentence(rest)
        found.append(Door(title, "glossary", f"#{anchor}", "term", says, texts))
    return found


def _first_sentence(text: str) -> str:
    words = " ".join(text.split())
    end = SENTENCE.search(words)
    return words[: end.end()] if end else words


def _sections(page: ChapterPage) -> list[Door]:
    """A chapter's sections, each found by its heading and the exercises in it."""
    place = f"chapters/{page.stem}"
    whole = ((page.title, TITLE),)
    found = [Door(page.title, place, "", "chapter", "", whole)]
    exercises = {cell: name for name, cell in page.exercises.items()}
    for section, some in groupby(page.sections.items(), lambda item: item[1]):
        cells = [cell for cell, _ in some]
        if not section:
            continue
        names = " ".join(exercises[cell] for cell in cells if cell in exercises)
        texts = ((section, TITLE), (names, TEXT), (page.title, TEXT))
        found.append(Door(section, place, f"#{cells[0]}", "section", page.title, texts))
    return found


def script(found: list[Door]) -> str:
    """The table for `doors.js`: what each word adds to each door, by their numbers."""
    index = Index({str(number): door.fields for number, door in enumerate(found)})
    table = {}
    for word in sorted(index.words()):
        adds = index.adds(word)
        table[word] = [x for each in adds.items() for x in _worth(found, *each)]
    data = {
        "doors": [[d.page, d.title, d.anchor, d.kind, d.says] for d in found],
        "adds": table,
        "small": SMALL,
        "endings": ENDINGS,
        "shortest": SHORTEST,
    }
    packed = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"window.courseDoors = {packed};\n"


def _worth(found: list[Door], key: str, adds: float) -> tuple[int, float]:
    number = int(key)
    return number, round(adds * WORTH.get(found[number].kind, 1), 2)
