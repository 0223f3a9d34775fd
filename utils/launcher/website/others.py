"""The front page, the gallery, the glossary, findings, and the facilitator's guide.

Called by `build.py`.
"""

import re
from itertools import groupby

from utils.launcher.website.chapters import ChapterPage
from utils.launcher.website.outputs import Picture
from utils.launcher.website.reference import pictured
from utils.launcher.website.text import anchor, prose, raw, table, toctree
from utils.models.findings import REPORTED

__all__ = ["front_page", "gallery_page", "findings_page", "raised", "relinked"]

FINDINGS = "ch7-081"
NOTEBOOK_LINK = re.compile(
    r"\]\((?:\.\./)?(?:chapters/)?(ch\d_\w+)\.ipynb(#[\w.-]*)?\)"
)
# A file that is in the clone and no page here.
FILE_LINK = re.compile(r"\[([^\]]+)\]\(\.\./(?!chapters/)([\w./-]+)\)")
GLOSSARY_LINK = re.compile(r"\]\((?:chapters/)?GLOSSARY\.md(#[\w.-]*)?\)")
# Where a page is to be found, for the front page; a page that is not there is not told.
PLACES = (
    (
        "reference",
        "Reference",
        "every analysis as a function: signature, shapes, "
        "caveats, known mistakes, picture",
    ),
    (
        "paper",
        "The papers, section by section",
        "where each section is done again, and what came out",
    ),
    (
        "scoreboard",
        "Scoreboard",
        "every statement: reproduced, partly, not, taught or left out, with the reason",
    ),
    ("gallery", "Gallery", "all figures, diagrams and attention views"),
    ("glossary", "Glossary", "every term in two or three sentences"),
    (
        "findings",
        "Expected findings in real models",
        "which heads others report, to compare with",
    ),
    ("facilitator", "Facilitator's guide", "plans and questions for a room"),
)


def relinked(markdown: str, page: str) -> str:
    """A page's Markdown with links to notebooks and glossary turned to the site's."""
    up = "../" * page.count("/")
    markdown = FILE_LINK.sub(r"\1 (`\2` in the clone)", markdown)
    markdown = NOTEBOOK_LINK.sub(
        lambda m: f"]({up}chapters/{m[1]}.md{m[2] or ''})", markdown
    )
    # JupyterLab keeps the capitals of a heading in its anchor, Sphinx does not.
    return GLOSSARY_LINK.sub(
        lambda m: f"]({up}glossary.md{(m[1] or '').lower()})", markdown
    )


def raised(markdown: str) -> str:
    """Headings of the third level where there are none of the second, a level up."""
    return markdown if "\n## " in markdown else markdown.replace("\n### ", "\n## ")


def front_page(chapters: list[ChapterPage], pages: dict[str, str]) -> str:
    """The first page: what is here, and where to look."""
    rows = [
        [f"[{page.title}](chapters/{page.stem}.md)", page.minutes] for page in chapters
    ]
    places = [place for place in PLACES if place[0] in pages]
    looked = [[f"[{title}]({name}.md)", what] for name, title, what in places]
    return "\n\n".join(
        [
            "# Transformer circuits",
            "Small transformers can be understood completely. This is an interactive "
            "course on *A Mathematical Framework for Transformer Circuits* (Elhage et "
            "al., 2021), with all of its outputs, to read and to look things up. It "
            "works from a disk and without a network.",
            '<form class="find" action="search.html" method="get" role="search">'
            '<input type="search" name="q" aria-label="Search the course" '
            'placeholder="copying eigenvalue, previous token head, F-102">'
            '<button type="submit">Search</button></form>',
            "## Look things up",
            table(["page", "what it has"], looked),
            "## Chapters",
            table(["chapter", "minutes"], rows),
            "To write the analyses yourself and have them checked, start the course: "
            "`python3 -m utils lab`.",
            toctree([f"chapters/{page.stem}" for page in chapters], "Chapters"),
            toctree([place[0] for place in places], "Look things up"),
        ]
    )


def gallery_page(chapters: list[ChapterPage]) -> str:
    """Every picture of the course with its sentence and the cell that draws it."""
    pictures = [picture for page in chapters for picture in page.pictures]
    parts = [
        "# Gallery",
        f"All {len(pictures)} pictures of the chapters, with the sentence that "
        "describes each. The link leads to the cell that draws it; figures and "
        "attention views are live there.",
    ]
    functions = pictured(chapters)
    for page in chapters:
        if not page.pictures:
            continue
        parts.append(f"## {page.title}")
        for cell, some in groupby(page.pictures, lambda picture: picture.cell):
            for picture in some:
                names = functions.get(picture.name, [])
                parts.append(_gallery_entry(page, picture, cell, names))
    return "\n\n".join(parts) + "\n"


def _gallery_entry(
    page: ChapterPage, picture: Picture, cell: str, functions: list[str]
) -> str:
    title = prose(picture.title or page.sections[cell] or page.title)
    words = f" {prose(picture.description)}" if picture.description else ""
    links = ", ".join(f"[`{name}`](#fn-{name})" for name in functions)
    entry = f"[{title}](#{cell}), {picture.kind}.{words}"
    if links:
        entry += f" *Function:* {links}."
    place = anchor(f"pic-{picture.name}")
    return (
        f'<div class="gallery-entry">\n\n{place}\n\n{entry}\n\n'
        f"{raw('still:' + picture.name)}\n\n</div>"
    )


def findings_page(chapters: list[ChapterPage]) -> str:
    """What is reported of heads in real models, and what this site's build found."""
    rows = [
        [
            each.model,
            each.what,
            f"{each.head[0]}.{each.head[1]}",
            "named" if each.value is None else f"{each.value:.2f}",
            prose(each.source),
        ]
        for each in REPORTED
    ]
    parts = [
        "# Expected findings in real models",
        "Which heads others report in models that many people use, and this course's "
        "own numbers for SmolLM2. A number holds for one model and one way to "
        "measure: other random tokens or another length move the second digit.",
        table(["model", "what", "head", "score", "source"], rows),
    ]
    if any(FINDINGS in page.outputs for page in chapters):
        parts += [
            "## What this build found",
            f"The output of [the cell in chapter 7](#{FINDINGS}) that compares.",
            raw(FINDINGS),
        ]
    return "\n\n".join(parts) + "\n"
