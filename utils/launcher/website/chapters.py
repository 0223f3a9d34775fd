"""A chapter that was run, as a page of Markdown with places for its outputs.

Called by `build.py`. What only a kernel can do is unfolded instead: an exercise shows
its hints and its solution, a prediction what each choice is told.
"""

import ast
import html
import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.checks import EXERCISE_CELL, find_check, find_prediction
from utils.exercises.sync import solution_source
from utils.launcher.website.outputs import STATE, Picture, show_cell
from utils.launcher.website.text import anchor, code_block, details, prose, raw

__all__ = ["ChapterPage", "chapter_page"]

PREDICTION = re.compile(r"\Apredict\(\"(\w+)\"\)\s*\Z")
OWN_STATE = re.compile(r"\Aprogress\(")
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.MULTILINE)
TIMES = re.compile(r"\*\*Time:\*\* *(\d+) minutes")


@dataclass
class ChapterPage:
    """A chapter's page and what other pages want to know about it.

    `outputs` holds HTML by the name of its place, `exercises` the cell of each
    exercise, `sections` the heading each cell stands under.
    """

    stem: str
    title: str = ""
    minutes: str = ""
    markdown: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    pictures: list[Picture] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    exercises: dict[str, str] = field(default_factory=dict)
    sections: dict[str, str] = field(default_factory=dict)


def chapter_page(stem: str, notebook: Any, stills: Path) -> ChapterPage:
    """The page of one chapter; pictures go to the folder `stills`."""
    page = ChapterPage(stem)
    widgets = notebook.metadata.get("widgets", {}).get(STATE, {}).get("state", {})
    parts = []
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for level, heading in HEADING.findall(_outside_fences(cell.source)):
                section = heading if level == "##" else section
                page.title = page.title or heading
            page.minutes = page.minutes or _minutes(cell.source)
        page.sections[cell.id] = section
        parts.append(_cell(cell, page, widgets, stills))
    parts.insert(1, _how_to_run(stem))
    page.markdown = "\n\n".join(filter(None, parts)) + "\n"
    return page


def _outside_fences(source: str) -> str:
    return re.sub(r"^```.*?^```", "", source, flags=re.DOTALL | re.MULTILINE)


def _minutes(source: str) -> str:
    found = TIMES.search(source)
    return found[1] if found else ""


def _how_to_run(stem: str) -> str:
    short = stem.split("_")[0]
    return (
        f"*This is the chapter as it is shipped, run from top to bottom.* "
        f"`python3 -m utils lab {short}` opens your own copy, in which you write the "
        "functions and the checks answer."
    )


def _cell(cell: Any, page: ChapterPage, widgets: dict, stills: Path) -> str:
    place = anchor(cell.id)
    if cell.cell_type == "markdown":
        return f"{place}\n\n{cell.source.strip()}"
    asked = PREDICTION.match(cell.source)
    if asked:
        return _prediction(asked[1], place)
    exercise = EXERCISE_CELL.match(cell.source)
    if exercise:
        page.exercises[exercise[1]] = cell.id
        return _exercise(page.stem, exercise[1], cell.source, place)
    parts = [place, code_block(cell.source)]
    if OWN_STATE.match(cell.source):
        return "\n\n".join(parts)
    shown = show_cell(cell, widgets, stills)
    page.lost += shown.lost
    page.pictures += shown.pictures
    if shown.html:
        page.outputs[cell.id] = shown.html
        parts.append(raw(cell.id))
    return "\n\n".join(parts)


def _prediction(name: str, place: str) -> str:
    """The question, and under each choice, folded, what whoever chose it is told."""
    prediction = find_prediction(name)
    order = list(range(len(prediction.choices)))
    random.Random(name).shuffle(order)
    question = "**Predict first.** " + prose(prediction.question)
    # A link leads to what follows its place, and that must not be raw HTML.
    lines = ['<div class="prediction">', place, question]
    for letter, index in zip("abcdefgh", order, strict=False):
        choice = prediction.choices[index]
        verdict = "**Yes.** " if index == prediction.right else "**Not quite.** "
        summary = f"{letter}) {_inline(choice.text)}"
        lines.append(details(summary, verdict + prose(choice.explanation), "choice"))
    return "\n\n".join([*lines, "</div>"])


def _exercise(stem: str, name: str, source: str, place: str) -> str:
    check = find_check(name)
    words = ("direction", "method", "nearly the code")
    folded = [
        details(f"Hint {number} of 3: {word}", prose(hint))
        for number, (word, hint) in enumerate(zip(words, check.hints, strict=True), 1)
    ]
    solution = without_docstring(solution_source(stem, name))
    folded.append(details(f"Solution of <code>{name}</code>", code_block(solution)))
    more = f"Reference: [`{name}`](#fn-{name})."
    return "\n\n".join(
        ['<div class="exercise">', place, code_block(source), *folded, more, "</div>"]
    )


def without_docstring(source: str) -> str:
    """A function's source without its docstring, which stands above it already."""
    function = ast.parse(source).body[0]
    documented = function.body[0]
    lines = source.splitlines()
    return "\n".join(lines[: documented.lineno - 1] + lines[documented.end_lineno :])


def _inline(text: str) -> str:
    """Escaped text with its `code` set as code."""
    parts = html.escape(text, quote=False).split("`")
    return "".join(
        f"<code>{part}</code>" if place % 2 else part
        for place, part in enumerate(parts)
    )
