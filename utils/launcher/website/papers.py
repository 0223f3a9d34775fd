"""The papers: their contents with what became of each row, and the scoreboard.

Called by `build.py`. Rows, verdicts and numbers come from `utils/launcher/library.py`.
"""

import re
from collections import Counter
from itertools import groupby

from utils.launcher import library
from utils.launcher.library import Claimed, Statement
from utils.launcher.website.chapters import ChapterPage
from utils.launcher.website.text import anchor, prose, table, toctree

__all__ = ["FRAMEWORK", "INDUCTION", "page_of_row", "paper_pages", "slug"]

FRAMEWORK = "A Mathematical Framework for Transformer Circuits (Elhage et al., 2021)"
INDUCTION = "In-context Learning and Induction Heads (Olsson et al., 2022)"
SIGNS = {
    "reproduced": "✓\u00a0reproduced",
    "partly": "◐\u00a0partly",
    "not reproduced": "✗\u00a0not\u00a0reproduced",
    "taught": "taught",
    "left out": "left out",
}


def paper_pages(chapters: list[ChapterPage]) -> dict[str, str]:
    """Pages by name: "paper", "scoreboard", and a page of rows for each chapter.

    `chapters` are those of this site; a row links to cells and pictures of no other.
    """
    rows = library.statements()
    if not rows:
        return {}
    known = {cell for page in chapters for cell in page.sections}
    pictures = _pictures(chapters)
    pages = {"paper": _contents(rows, known), "scoreboard": _scoreboard(rows, known)}
    for chapter, some in groupby(rows, _place):
        pages[f"rows/{slug(*chapter)}"] = _rows_page(
            chapter[1], list(some), known, pictures
        )
    details = [name for name in pages if name.startswith("rows/")]
    pages["scoreboard"] += "\n\n" + toctree(details) + "\n"
    return pages


def _pictures(chapters: list[ChapterPage]) -> dict[str, list[str]]:
    """Links to the pictures in the gallery, by the cell that draws them."""
    found: dict[str, list[str]] = {}
    for page in chapters:
        for picture in page.pictures:
            title = prose(picture.title or page.sections[picture.cell])
            link = f"[{title}, {picture.kind}](#pic-{picture.name})"
            found.setdefault(picture.cell, []).append(link)
    return found


def _paper(each: Statement) -> str:
    return FRAMEWORK if each.row.startswith("F") else INDUCTION


def _place(each: Statement) -> tuple[str, str]:
    return _paper(each), each.chapter


def slug(paper: str, chapter: str) -> str:
    """The name of the page with a chapter's rows."""
    letter = "f" if paper == FRAMEWORK else "o"
    return f"{letter}-" + re.sub(r"[^a-z0-9]+", "-", chapter.lower()).strip("-")


def page_of_row(each: Statement) -> str:
    """The name of the page on which a row has all there is to say."""
    return f"rows/{slug(*_place(each))}"


def _link(each: Statement) -> str:
    return f"[{each.row}](#row-{each.row.lower()})"


def _cells(each: Statement, known: set[str]) -> str:
    there = [cell for cell in each.cells if cell.id in known]
    return ", ".join(
        f"[{cell.chapter.split('_')[0]}, {prose(cell.section)}](#{cell.id})"
        for cell in dict((c.section, c) for c in reversed(there)).values()
    )


def _verdict(each: Statement) -> str:
    return SIGNS[library.verdict_of(each)]


def _contents(rows: tuple[Statement, ...], known: set[str]) -> str:
    parts = [
        "# The papers, section by section",
        "For each section of the two papers: what it says, the cells of the course "
        "that do it again, and what came out on this course's models.",
    ]
    for paper, of_paper in groupby(rows, _paper):
        parts.append(f"## {paper}")
        for (chapter, title), some in groupby(
            of_paper, lambda each: (each.chapter, each.section)
        ):
            heading = chapter if chapter == title else f"{chapter}: {title}"
            body = [
                [_link(each), prose(each.says), _cells(each, known), _verdict(each)]
                for each in some
            ]
            heads = ["row", "what it says", "done again in", "verdict"]
            parts += [f"### {heading}", table(heads, body)]
    return "\n\n".join(parts) + "\n"


def _scoreboard(rows: tuple[Statement, ...], known: set[str]) -> str:
    tally = Counter(library.verdict_of(each) for each in rows)
    counts = [[SIGNS[name], str(tally[name])] for name in SIGNS]
    parts = [
        "# Scoreboard",
        f"All {len(rows)} rows of the two papers. A row is measured, or taught "
        "without a measurement, or left out, and then it says why. A claim that does "
        "not reproduce is shown as such. `python3 -m utils claims F-102` measures a "
        "row on your computer.",
        table(["verdict", "rows"], counts),
    ]
    for paper, some in groupby(rows, _paper):
        body = [
            [_link(each), prose(each.says), _verdict(each), prose(_short_reason(each))]
            for each in some
        ]
        heads = ["row", "statement", "verdict", "why it is not simply reproduced"]
        parts += [f"## {paper}", table(heads, body)]
    return "\n\n".join(parts) + "\n"


def _short_reason(each: Statement) -> str:
    """Why a row is not simply reproduced; "" for one that is."""
    if each.reason:
        return each.reason
    return " ".join(c.reason for c in each.claims if c.verdict != "reproduced")


def _rows_page(
    chapter: str, rows: list[Statement], known: set[str], pictures: dict[str, list[str]]
) -> str:
    parts = [f"# Rows: {chapter}", f"From *{_paper(rows[0])}*."]
    for section, some in groupby(rows, lambda each: each.section):
        parts.append(f"## {section}")
        parts += [_row(each, known, pictures) for each in some]
    return "\n\n".join(parts) + "\n"


def _row(each: Statement, known: set[str], pictures: dict[str, list[str]]) -> str:
    parts = [
        anchor(f"row-{each.row.lower()}"),
        f"### {each.row}",
        f"**{_verdict(each)}.** {prose(each.says)}",
    ]
    if each.reason:
        parts.append(f"*Why nothing is measured:* {prose(each.reason)}")
    parts += [_claim(claim) for claim in each.claims]
    cells = _cells(each, known)
    names = ", ".join(f"[`{name}`](#fn-{name})" for name in each.functions)
    if cells:
        parts.append(f"*Done again in:* {cells}.")
    if names:
        parts.append(f"*Functions:* {names}.")
    shown = [link for cell in each.cells for link in pictures.get(cell.id, [])]
    if shown:
        parts.append(f"*Pictures:* {', '.join(shown)}.")
    return "\n\n".join(parts)


def _claim(claim: Claimed) -> str:
    marks = {True: "✓", False: "✗", None: "·"}
    conditions = "; ".join(
        f"{marks[holds]} {prose(words)}" for words, holds in claim.conditions
    )
    rows = [
        ["the paper", prose(claim.paper)],
        ["ours", prose(claim.ours) or "not kept; measure it"],
        ["verdict", SIGNS[claim.verdict]],
        ["must hold", conditions],
        ["reason", prose(claim.reason)],
        ["rests on", claim.rests_on],
    ]
    return table(["claim", prose(claim.statement)], rows)
