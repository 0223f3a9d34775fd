"""A chapter that was run, as a page of Markdown with places for its outputs.

Called by `build.py`. What only a kernel can do is unfolded instead: an exercise shows
its hints and its solution, a prediction what each choice is told.
"""

import ast
import html
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from utils.checks import (
    EXERCISE_CELL,
    Prediction,
    chapters,
    find_check,
    find_prediction,
    find_words,
    recall_of,
)
from utils.exercises.sync import solution_source
from utils.launcher.website.outputs import STATE, Picture, show_cell
from utils.launcher.website.text import anchor, code_block, details, prose, raw

__all__ = ["ChapterPage", "chapter_page"]

PREDICTION = re.compile(r"\Apredict\(\"(\w+)\"\)\s*\Z")
RECALL = re.compile(r"^recall\(\"(ch\d)\"\)\s*\Z", re.MULTILINE)
OWN_WORDS = re.compile(r"^own_words\(\"(\w+)\",", re.MULTILINE)
OWN_STATE = re.compile(r"\Aprogress\(")
HEADING = re.compile(r"^(#{1,3}) (.+)$", re.MULTILINE)
TIMES = re.compile(r"\*\*Time:\*\* *(\d+) minutes")


@dataclass
class ChapterPage:
    """A chapter's page and what other pages want to know about it.

    `outputs` holds HTML by the name of its place, `exercises` the cell of each
    exercise, `sections` the heading each cell stands under, `code` what a cell runs.
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
    code: dict[str, str] = field(default_factory=dict)


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
    question = _question(cell.source, place)
    if question:
        return question
    exercise = EXERCISE_CELL.match(cell.source)
    if exercise:
        page.exercises[exercise[1]] = cell.id
        return _exercise(page.stem, exercise[1], cell.source, place)
    parts = [place, code_block(cell.source)]
    if OWN_STATE.match(cell.source):
        return "\n\n".join(parts)
    page.code[cell.id] = cell.source
    shown = show_cell(cell, widgets, stills)
    page.lost += shown.lost
    page.pictures += shown.pictures
    if shown.html:
        page.outputs[cell.id] = shown.html
        parts.append(raw(cell.id))
    return "\n\n".join(parts)


def _question(source: str, place: str) -> str:
    """What a cell that only asks something asks, and the answers, folded; or ""."""
    if asked := PREDICTION.match(source):
        return _asked([find_prediction(asked[1])], "Predict first.", place)
    if asked := RECALL.search(source):
        return _asked(_recalled(asked[1]), "From before.", place)
    if asked := OWN_WORDS.search(source):
        words = find_words(asked[1])
        lead = f"**In your own words.** {prose(words.question)}"
        answer = details("A model answer", prose(words.answer), "choice")
        return _framed("prediction", place, lead, answer)
    return ""


def _recalled(chapter: str) -> tuple[Prediction, ...]:
    """Questions that the chapter may begin with: a learner's own record draws them
    from all earlier chapters, here they are those on the one before."""
    stems = chapters()
    place = [stem.split("_")[0] for stem in stems].index(chapter)
    return recall_of(stems[place - 1]) if place else recall_of(stems[0], "BEFORE")


def _asked(questions: Iterable[Prediction], lead: str, place: str) -> str:
    """Questions with choices; under each choice what whoever chose it is told."""
    lines = []
    for question in questions:
        lines.append(f"**{lead}** {prose(question.question)}")
        order = list(range(len(question.choices)))
        random.Random(question.name).shuffle(order)
        for letter, index in zip("abcdefgh", order, strict=False):
            choice = question.choices[index]
            verdict = "**Yes.** " if index == question.right else "**Not quite.** "
            summary = f"{letter}) {_inline(choice.text)}"
            told = verdict + prose(choice.explanation)
            lines.append(details(summary, told, "choice"))
    return _framed("prediction", place, *lines)


def _framed(kind: str, place: str, *parts: str) -> str:
    """A card. A link leads to what follows its place, which must not be raw HTML."""
    return "\n\n".join([f'<div class="{kind}">', place, *parts, "</div>"])


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
    return _framed("exercise", place, code_block(source), *folded, more)


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
