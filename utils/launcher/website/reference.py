"""The reference of `solutions`: a page for each function, and the list of all.

Called by `build.py`. All of it is read from the code by `utils/launcher/library.py`.
"""

import re

from utils.exercises.sync import solution_source
from utils.launcher import library
from utils.launcher.library import Function
from utils.launcher.lookup import ALSO_CALLED
from utils.launcher.website.chapters import ChapterPage, without_docstring
from utils.launcher.website.outputs import Picture
from utils.launcher.website.text import (
    anchor,
    code_block,
    details,
    prose,
    raw,
    table,
    toctree,
)

__all__ = ["function_page", "picture_of", "pictured", "reference_pages"]


def reference_pages(chapters: list[ChapterPage]) -> dict[str, str]:
    """Pages by name, "reference" first; `chapters` are those of this site."""
    stems = {page.stem for page in chapters}
    shown = [each for each in library.functions() if each.chapter in stems]
    pages = {"reference": _list_page(shown, chapters)}
    for each in shown:
        picture = picture_of(each, chapters)
        pages[f"reference/{each.name}"] = function_page(each, picture)
    return pages


def _list_page(shown: list[Function], chapters: list[ChapterPage]) -> str:
    parts = [
        "# Reference",
        f"The solutions are a library of {len(shown)} analyses for any model behind "
        "TransformerLens's bridge. Each page has the signature with its shapes, what "
        "the function leaves out, the mistakes people make when they write it, and "
        "the cell of the course that derives it.",
        code_block(f"from {_module(shown[0])} import {shown[0].name}"),
    ]
    for page in chapters:
        rows = [
            [f"[`{each.name}`](reference/{each.name}.md)", prose(each.summary)]
            for each in shown
            if each.chapter == page.stem
        ]
        parts += [f"## {page.title}", table(["function", "what it gives"], rows)]
    names = [f"reference/{each.name}" for each in shown]
    return "\n\n".join([*parts, toctree(names)]) + "\n"


def function_page(each: Function, picture: Picture | None = None) -> str:
    """The page of one function."""
    module = _module(each)
    parts = [
        anchor(f"fn-{each.name}"),
        f"# `{each.name}`",
        prose(each.summary),
        _doors(each),
        # The search takes `copying_score` for one word.
        f"<p hidden>{each.name.replace('_', ' ')}</p>",
        code_block(f"from {module} import {each.name}"),
        # Not in the index: the search would give each page twice.
        f"```{{py:function}} {each.signature}\n:module: {module}\n:no-index:\n```",
        *(prose(paragraph) for paragraph in each.details),
        "## Shapes",
        _shapes(each),
    ]
    if each.limits:
        parts += ["## What to keep in mind", prose(each.limits)]
    if each.example:
        parts += ["## Example", code_block(each.example, "pycon")]
    if picture is not None:
        parts += ["## Picture", _picture(picture)]
    if each.mistakes:
        parts += ["## Known mistakes", _mistakes(each)]
    source = without_docstring(solution_source(each.chapter, each.name))
    parts.append(
        details(
            f"Source, from {each.file}, line {each.line}, without its docstring",
            code_block(source),
        )
    )
    return "\n\n".join(parts) + "\n"


def _module(each: Function) -> str:
    return f"solutions.{each.chapter}"


def _shapes(each: Function) -> str:
    rows = [
        [f"`{name}`", f"`{kind}`" if kind else "", f"`{default}`" if default else ""]
        for name, kind, default in each.parameters
    ]
    if each.returns:
        rows.append(["*returns*", f"`{each.returns}`", ""])
    return table(["", "kind and shape", "if left out"], rows)


def _mistakes(each: Function) -> str:
    return "\n".join(f"- **{name}:** {prose(says)}" for name, says in each.mistakes)


def _doors(each: Function) -> str:
    """Where it is derived, which rows it is about, and what others call it."""
    lines = []
    if each.cell is not None:
        cell = each.cell
        chapter = f"chapter {cell.chapter[2]}, {prose(cell.section)}"
        lines.append(f"- *Derived in* [{chapter}](#{cell.id})")
    if each.rows:
        rows = ", ".join(f"[{row}](#row-{row.lower()})" for row in each.rows)
        lines.append(f"- *The papers:* {rows}")
    elif each.source:
        lines.append(f"- *Source:* {prose(each.source)}")
    if each.name in ALSO_CALLED:
        lines.append(f"- *Others say:* {prose(ALSO_CALLED[each.name])}")
    return "\n".join(lines)


def picture_of(each: Function, chapters: list[ChapterPage]) -> Picture | None:
    """The picture that shows best what a function gives.

    The first after its own cell, in the same section; else the first that a cell with
    the function in it draws, in its own chapter or a later one.
    """
    pages = [page for page in chapters if page.stem >= each.chapter]
    own = pages[0] if pages and pages[0].stem == each.chapter else None
    picture = _next_picture(each, own) if own else None
    named = re.compile(rf"\b{each.name}\(")
    drawn = (p for page in pages for p in page.pictures)
    codes = {cell: code for page in pages for cell, code in page.code.items()}
    called = (p for p in drawn if named.search(codes.get(p.cell, "")))
    return picture or next(called, None)


def _next_picture(each: Function, page: ChapterPage) -> Picture | None:
    if each.cell is None or each.name not in page.exercises:
        return None
    order = list(page.sections)
    first = order.index(each.cell.id)
    after = [cell for cell in order[first:] if _same(page, cell, each.cell.id)]
    later = set(page.exercises.values()) - {each.cell.id}
    for cell in after:
        if cell in later:
            return None
        for picture in page.pictures:
            if picture.cell == cell:
                return picture
    return None


def pictured(chapters: list[ChapterPage]) -> dict[str, list[str]]:
    """For each picture that a function's page shows, the names of such functions."""
    found: dict[str, list[str]] = {}
    for each in library.functions():
        picture = picture_of(each, chapters)
        if picture is not None:
            found.setdefault(picture.name, []).append(each.name)
    return found


def _same(page: ChapterPage, one: str, other: str) -> bool:
    return page.sections[one] == page.sections[other]


def _picture(picture: Picture) -> str:
    words = f" {prose(picture.description)}" if picture.description else ""
    links = (
        f"From [the cell that draws it](#{picture.cell}); "
        f"[among all pictures](#pic-{picture.name})."
    )
    return f"{raw(picture.name)}\n\n{links}{words}"
