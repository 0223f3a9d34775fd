"""The glossary: one file, `chapters/GLOSSARY.md`, that people and programs read.

A term is a heading of the third level with its other forms, some sentences, and a line
that says where the paper and the course have it. The site shows the file as a page;
JupyterLab opens it as one beside a notebook, since `lab` lays it next to the learner's
copies. `python3 -m utils sync` links the first use of each term in each chapter to its
entry, and writes where the course first has it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "GLOSSARY",
    "Term",
    "first_met",
    "link_first_uses",
    "read_glossary",
    "without_links",
    "write_first_met",
]

GLOSSARY = Path(__file__).parents[2] / "chapters" / "GLOSSARY.md"
LINK = re.compile(rf"\[([^\[\]]+)\]\({GLOSSARY.name}#[^)]*\)")
# What is no prose: code, formulas, links and pictures, tags, headings, titles of works.
SKIP = re.compile(
    r"^```.*?^```|^#{1,6} [^\n]*|`+[^`]*`+|\$\$.*?\$\$|\$[^$\n]*\$"
    r"|!?\[[^\]]*\]\([^)]*\)|<[^>\n]*>"
    r"|(?<!\*)\*[A-Z][\w-]*(?:\s+(?:[A-Z][\w-]*|and|the|as|a|of|in|are))+\*",
    re.MULTILINE | re.DOTALL,
)
SECTION = re.compile(r"^## (\d+(?:\.\d+)?)\.? ", re.MULTILINE)
GAP = r"(?:[ \t]+|[ \t]*\n(?:> ?)?[ \t]*)"  # words may stand on two lines


@dataclass(frozen=True)
class Term:
    """An entry: its name, all the forms in which it is found, and what it means.

    `text` is plain Markdown without the heading; `paper` says where the paper has it.
    """

    name: str
    forms: tuple[str, ...]
    text: str
    paper: str

    @property
    def anchor(self) -> str:
        """The end of a link to the entry, as JupyterLab makes it from the heading."""
        return self.name.replace(" ", "-")


def read_glossary(path: Path = GLOSSARY) -> list[Term]:
    """The terms in the file's order. Raises ValueError for an incomplete entry."""
    parts = re.split(r"^### ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_term(part) for part in parts[1:]]


def _term(part: str) -> Term:
    name, *paragraphs = re.split(r"\n\s*\n", part.strip())
    also = ()
    if paragraphs and paragraphs[0].startswith("Also: "):
        also = tuple(re.split(r",\s+", paragraphs.pop(0)[len("Also: ") :].strip(" .")))
    where = paragraphs.pop() if paragraphs else ""
    found = re.match(r"\*Paper:\* (.+?)\. \*First met:\*", where, re.DOTALL)
    if not (paragraphs and found):
        raise ValueError(
            f"The entry {name!r} needs a text, and then a line with *Paper:* and "
            "*First met:*."
        )
    text = "\n\n".join(paragraphs)
    return Term(name, (name, *also), text, re.sub(r"\s+", " ", found[1]))


def without_links(source: str) -> str:
    """A Markdown text with its links to the glossary taken off."""
    return LINK.sub(r"\1", source)


def link_first_uses(sources: Sequence[str], terms: Sequence[Term]) -> list[str]:
    """The Markdown texts of a chapter, each term's first use linked to its entry.

    Links that are there already are set anew. Code, formulas and headings count as no
    use.
    """
    bare = [without_links(source) for source in sources]
    seen: set[str] = set()
    linked = []
    for source in bare:
        pieces, end = [], 0
        for start, stop, term in _uses(source, terms):
            if term.name in seen:
                continue
            seen.add(term.name)
            link = f"[{source[start:stop]}]({GLOSSARY.name}#{term.anchor})"
            pieces += [source[end:start], link]
            end = stop
        linked.append("".join([*pieces, source[end:]]))
    return linked


def _uses(source: str, terms: Sequence[Term]) -> Iterator[tuple[int, int, Term]]:
    """Where terms stand in a text, as (start, stop, term); of two the longer counts."""
    forms = {form: term for term in terms for form in term.forms}
    longest_first = sorted(forms, key=len, reverse=True)
    choices = "|".join(f"({_as_regex(form)})" for form in longest_first)
    found = re.compile(rf"(?<![\w-])(?:{choices})(?![\w-])", re.IGNORECASE)
    hidden = SKIP.sub(lambda m: re.sub(r"[^\n]", "\0", m[0]), source)
    for match in found.finditer(hidden):
        yield match.start(), match.end(), forms[longest_first[match.lastindex - 1]]


def _as_regex(form: str) -> str:
    """A form with its plural, on one line or two."""
    words = GAP.join(map(re.escape, form.split(" ")))
    return words + r"(?:s|es)?"


def first_met(chapters: dict[str, list[str]], terms: Sequence[Term]) -> dict[str, str]:
    """Where the course first has each term, as Markdown for its entry.

    `chapters` gives the Markdown texts of each chapter under its stem, in order.
    """
    met: dict[str, str] = {}
    for stem, sources in chapters.items():
        section = ""
        for source in map(without_links, sources):
            headings = [(m.start(), m[1]) for m in SECTION.finditer(source)]
            for start, _, term in _uses(source, terms):
                here = [number for place, number in headings if place < start]
                place = f"section {here[-1] if here else section}"
                if not here and not section:
                    place = "at its beginning"
                link = f"[chapter {stem[2]}]({stem}.ipynb), {place}"
                met.setdefault(term.name, link)
            section = headings[-1][1] if headings else section
    return met


def write_first_met(met: dict[str, str], path: Path = GLOSSARY) -> bool:
    """Write into each entry where it is first met; returns whether that changed it."""
    before = path.read_text(encoding="utf-8")
    heads = re.split(r"(?<=\n)(?=### )", before)
    after = heads[0]
    for part in heads[1:]:
        name = part[4:].split("\n")[0].strip()
        where = met.get(name, "nowhere")
        after += re.sub(r"\*First met:\* [^\n]*", f"*First met:* {where}.", part)
    if after != before:
        path.write_text(after, encoding="utf-8", newline="\n")
    return after != before
