"""The glossary and the links to it, judged by a reader of their own.

The reader here looks at a chapter as a person does: it takes code, formulas, headings
and other links away and asks, form by form, where a term stands first.
"""

import json
import re
from pathlib import Path

import pytest

from utils.exercises import glossary
from utils.exercises.glossary import Term, link_first_uses, read_glossary

CHAPTERS = Path(__file__).resolve().parents[1] / "chapters"
LINKED = sorted(CHAPTERS.glob("ch*.ipynb"))
LINK = re.compile(r"\[([^\[\]]+)\]\(GLOSSARY\.md#([^)]+)\)")
TITLE = r"(?<!\*)\*[A-Z][\w-]*(?:\s+(?:[A-Z][\w-]*|and|the|as|a|of|in|are))+\*"


def prose_of(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    prose = ["".join(c["source"]) for c in cells if c["cell_type"] == "markdown"]
    text = "\n\n".join(prose)
    for pattern in (
        r"(?ms)^```.*?^```",
        r"`[^`]*`",
        r"(?s)\$\$.*?\$\$",
        r"\$[^$\n]*\$",
        r"(?m)^#+ .*$",
        r"\[[^\[\]]*\]\((?!GLOSSARY)[^)]*\)",
        TITLE,
        r"<[^>\n]*>",
    ):
        text = re.sub(pattern, " @ ", text)
    return text


def as_pattern(form: str) -> re.Pattern:
    words = r"[\s>]+".join(re.escape(word) for word in form.split())
    return re.compile(rf"(?<![\w-]){words}(?:e?s)?(?![\w-])", re.IGNORECASE)


def first_place(text: str, term: Term, terms: list[Term]) -> int | None:
    """Where a term stands first, not as a part of another term that is longer."""
    longer = {
        form
        for other in terms
        if other is not term
        for form in other.forms
        if any(as_pattern(mine).search(form) for mine in term.forms)
    }
    for form in sorted(longer, key=len, reverse=True):
        text = as_pattern(form).sub(lambda m: "@" * len(m[0]), text)
    found = [m.start() for form in term.forms for m in as_pattern(form).finditer(text)]
    return min(found, default=None)


@pytest.mark.parametrize("path", LINKED, ids=lambda path: path.stem)
def test_each_first_use_is_linked_and_nothing_else(path):
    terms = read_glossary()
    text = prose_of(path)
    linked = {}
    for match in LINK.finditer(text):
        linked.setdefault(match[2], []).append(match)
    bare = LINK.sub(lambda m: m[1].ljust(len(m[0]), "\1"), text)
    for term in terms:
        place = first_place(bare, term, terms)
        links = linked.pop(term.anchor, [])
        advice = f"{term.name} in {path.stem}; run python3 -m utils sync"
        if place is None:
            assert not links, f"a link without a use: {advice}"
        else:
            near = re.sub(r"\s+", " ", bare[max(0, place - 40) : place + 40])
            assert len(links) == 1, f"links: {len(links)}, at {near!r}: {advice}"
            assert links[0].start() == place, f"not the first use, {near!r}: {advice}"
    assert not linked, f"links without an entry: {sorted(linked)}"


def test_every_entry_is_used_and_says_where():
    used = {m[2] for path in LINKED for m in LINK.finditer(prose_of(path))}
    text = glossary.GLOSSARY.read_text(encoding="utf-8")
    for term in read_glossary():
        assert term.anchor in used, f"nothing links to {term.name}"
        entry = text.split(f"### {term.name}\n")[1].split("\n### ")[0]
        where = re.search(
            r"\*First met:\* \[chapter (\d)\]\((\w+)\.ipynb\), (.+)", entry
        )
        first = next(p for p in LINKED if f"#{term.anchor})" in prose_of(p))
        assert (where[2], where[1]) == (first.stem, first.stem[2]), term.name
        section = re.fullmatch(r"section ([\d.]+)\.", where[3])
        source = json.loads(first.read_text(encoding="utf-8"))["cells"]
        prose = "\n\n".join(
            "".join(c["source"]) for c in source if c["cell_type"] == "markdown"
        )
        before = prose[: prose.index(f"GLOSSARY.md#{term.anchor})")]
        numbers = re.findall(r"^## ([\d.]+?)\.? ", before, re.MULTILINE)
        assert (section[1] if section else None) == (numbers or [None])[-1], term.name


def test_entries_are_in_order_and_a_few_sentences_long():
    terms = read_glossary()
    names = [term.name.lower() for term in terms]
    assert names == sorted(names)
    forms = [form.lower() for term in terms for form in term.forms]
    assert len(forms) == len(set(forms))
    for term in terms:
        assert re.fullmatch(r"[\w -]+", term.name), f"no anchor: {term.name}"
        sentences = re.findall(r"[.](?:\s|$)", term.text)
        assert 2 <= len(sentences) <= 5, term.name
        assert len(term.text) <= 420, term.name
        assert term.paper


HEAD = Term("attention head", ("attention head", "head"), "", "")
VIRTUAL = Term("virtual head", ("virtual head",), "", "")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A head.", "A [head](GLOSSARY.md#attention-head)."),
        ("Ahead, head-on, `head`, $head$.", None),
        ("## The head", None),
        ("```\nhead\n```", None),
        ("*The Head in Context* is a title", None),
        ("[head](x.md)", None),
        ("virtual\nheads", "[virtual\nheads](GLOSSARY.md#virtual-head)"),
        (
            "> Heads and\n> attention\n> heads",
            "> [Heads](GLOSSARY.md#attention-head) and\n> attention\n> heads",
        ),
        (
            "**virtual heads**, head",
            "**[virtual heads](GLOSSARY.md#virtual-head)**, "
            "[head](GLOSSARY.md#attention-head)",
        ),
    ],
)
def test_what_is_linked(before, after):
    once = link_first_uses([before], [HEAD, VIRTUAL])
    assert once == [after or before]
    assert link_first_uses(once, [HEAD, VIRTUAL]) == once


def test_a_term_is_linked_once_in_a_chapter_and_old_links_go():
    sources = ["no use", "[a]: a head", "the [head](GLOSSARY.md#attention-head)"]
    assert link_first_uses(sources, [HEAD]) == [
        "no use",
        "[a]: a [head](GLOSSARY.md#attention-head)",
        "the head",
    ]


def test_brackets_around_a_link_stay():
    source = "of shape [head, head]"
    once = link_first_uses([source], [HEAD])
    assert once == ["of shape [[head](GLOSSARY.md#attention-head), head]"]
    assert glossary.without_links(once[0]) == source


def test_an_entry_that_lacks_a_part_is_refused(tmp_path):
    path = tmp_path / "g.md"
    path.write_text("# G\n\n### head\n\nA part.\n", encoding="utf-8")
    with pytest.raises(ValueError, match="'head' needs a text"):
        read_glossary(path)
