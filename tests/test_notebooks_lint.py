"""What a chapter's notebook must look like, whatever it teaches.

The rules are those by which people find a notebook readable and by which GitHub, git
and nbval can work with it. Each rule is shown a notebook that breaks it.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "chapters").glob("*.ipynb"))
SETUP = "from utils.prelude import *"
RECALL = re.compile(r'from utils.exercises.recall import recall\n\nrecall\("ch\d"\)')
# These cells hold nothing to compute: a question, and what is said to its answer.
QUESTION = re.compile(r"(?:# .*\n)*(?:predict|own_words)\(|" + RECALL.pattern)
CHECKED = "nbval-check-output"
MOST_CELLS, MOST_BYTES = 140, 150_000
MOST_LINES, USUAL_LINES, USUAL_SHARE = 40, 26, 0.9
LEAST_PROSE = 0.4
FORMULA = re.compile(r"\$\$.+?\$\$|\$[^$\n ][^$\n]*\$", re.DOTALL)
MACHINE_PATH = re.compile(
    r"(?<![\w.:/])/(?:work|root|home|Users|tmp)/\w|[A-Z]:\\+(?:Users|Temp)"
)


def text(cell: dict) -> str:
    """A cell's source, which notebooks store as lines or as one string."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def of_type(notebook: dict, kind: str) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == kind]


def headings(notebook: dict) -> list[int]:
    """The levels of all headings in order; lines inside code fences are none."""
    levels = []
    for cell in of_type(notebook, "markdown"):
        bare = re.sub(r"^```.*?^```", "", text(cell), flags=re.MULTILINE | re.DOTALL)
        levels += [len(m) for m in re.findall(r"^(#{1,6}) ", bare, re.MULTILINE)]
    return levels


def questions(notebook: dict) -> list[dict]:
    return [c for c in of_type(notebook, "code") if QUESTION.match(text(c))]


def prose(cell: dict) -> str:
    """Markdown without code, formulas, images, link targets, comments and tags."""
    bare = text(cell)
    for pattern in (
        r"^```.*?^```",
        r"`+[^`]*`+",
        r"\$\$.*?\$\$|\$[^$\n]*\$",
        r"!\[[^\]]*\]\([^)]*\)",
        r"\]\([^)]*\)",
        r"<!--.*?-->|<[^>\n]*>",
    ):
        bare = re.sub(pattern, " ", bare, flags=re.MULTILINE | re.DOTALL)
    return bare


# --- The rules: each yields sentences about what is wrong ---------------------------


def title(notebook: dict) -> Iterator[str]:
    levels = headings(notebook)
    if levels.count(1) != 1 or levels[0] != 1:
        yield f"one H1, at the beginning; the headings are {levels}"


def order_of_headings(notebook: dict) -> Iterator[str]:
    levels = headings(notebook)
    for above, below in zip(levels, levels[1:], strict=False):
        if below > above + 1:
            yield f"an H{below} follows an H{above}"


def numbers_of_sections(notebook: dict) -> Iterator[str]:
    """`## 3. ...` or `## 0.3 ...`: none is left out, and none comes twice."""
    prose = "\n".join(text(cell) for cell in of_type(notebook, "markdown"))
    found = re.findall(r"^## (?:\d\.)?(\d+)\.? ", prose, re.MULTILINE)
    if found != [str(i + 1) for i in range(len(found))]:
        yield f"the sections are numbered {', '.join(found)}"


def cell_ids(notebook: dict) -> Iterator[str]:
    ids = [cell.get("id") for cell in notebook["cells"]]
    if None in ids:
        yield "a cell has no id"
    if len(set(ids)) != len(ids):
        yield "two cells have the same id"
    # Eight hex digits are what an editor makes up anew; a chosen name stays.
    for made_up in [
        i for i in ids if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", i or "")
    ]:
        yield f"the id {made_up} was made up by an editor; give it a name"


def widget_state(notebook: dict) -> Iterator[str]:
    if "widgets" in notebook["metadata"]:
        yield "metadata.widgets is stored, which GitHub refuses"


def lengths_of_code(notebook: dict) -> Iterator[str]:
    lengths = [len(text(c).splitlines()) for c in of_type(notebook, "code")]
    if max(lengths, default=0) > MOST_LINES:
        yield f"a code cell has {max(lengths)} lines"
    usual = sum(n <= USUAL_LINES for n in lengths)
    if usual < math.floor(USUAL_SHARE * len(lengths)):
        yield f"only {usual} of {len(lengths)} code cells have {USUAL_LINES} lines"


def share_of_prose(notebook: dict) -> Iterator[str]:
    others = len(notebook["cells"]) - len(questions(notebook))
    share = len(of_type(notebook, "markdown")) / max(1, others)
    if share < LEAST_PROSE:
        yield f"only {share:.0%} of the cells are prose"


def size(notebook: dict) -> Iterator[str]:
    others = len(notebook["cells"]) - len(questions(notebook))
    if others > MOST_CELLS:
        yield f"{others} cells besides questions"
    stored = len(json.dumps(notebook, ensure_ascii=False).encode())
    if stored > MOST_BYTES:
        yield f"{stored} bytes"


def stored_outputs(notebook: dict) -> Iterator[str]:
    for cell in of_type(notebook, "code"):
        tagged = CHECKED in cell["metadata"].get("tags", [])
        kinds = {kind for output in cell["outputs"] for kind in mime_types(output)}
        if cell["outputs"] and not tagged:
            yield f"an output is stored in {cell.get('id')} without the tag {CHECKED}"
        if tagged and not cell["outputs"]:
            yield f"{cell.get('id')} is to be compared but stores no output"
        if tagged and cell.get("execution_count") is None:
            yield f"{cell.get('id')} has no execution_count, so nbval skips it"
        if not tagged and cell.get("execution_count") is not None:
            yield f"{cell.get('id')} stores an execution_count"
        if kinds - {"text/plain"}:
            yield f"{cell.get('id')} stores {sorted(kinds)}; only text is kept"


def mime_types(output: dict) -> set[str]:
    if output["output_type"] == "stream":
        return {"text/plain" if output["name"] == "stdout" else "stderr"}
    return set(output.get("data", {output["output_type"]: ""}))


def setup_line(notebook: dict) -> Iterator[str]:
    code = [text(cell) for cell in of_type(notebook, "code")]
    count = sum(source.count(SETUP) for source in code)
    if code and RECALL.fullmatch(code[0].strip()):
        code = code[1:]  # answered while the setup line loads
    if count != 1 or code[0].strip() != SETUP:
        yield f"the first code cell is not {SETUP!r} after recall, or it comes again"


def exclamations(notebook: dict) -> Iterator[str]:
    for cell in of_type(notebook, "markdown"):
        found = re.search(r"[^\n]{0,30}!", prose(cell))
        if found:
            yield f"an exclamation mark: {found[0].strip()!r}"


def machine_paths(notebook: dict) -> Iterator[str]:
    for cell in notebook["cells"]:
        outputs = json.dumps(cell.get("outputs", []))
        found = MACHINE_PATH.search(text(cell) + "\n" + outputs)
        if found:
            yield f"{cell.get('id')} names a place on one computer: {found[0]!r}"


def kernel(notebook: dict) -> Iterator[str]:
    if notebook["metadata"].get("kernelspec", {}).get("name") != "python3":
        yield "the kernel is not python3"
    if "version" in notebook["metadata"].get("language_info", {}):
        yield "the version of one Python is stored"


RULES: tuple[Callable, ...] = (
    title,
    order_of_headings,
    numbers_of_sections,
    cell_ids,
    widget_state,
    lengths_of_code,
    share_of_prose,
    size,
    stored_outputs,
    setup_line,
    exclamations,
    machine_paths,
    kernel,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_keeps_the_rule(path, rule):
    assert list(rule(json.loads(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_chapter_is_a_valid_notebook(path):
    import nbformat

    nbformat.validate(nbformat.read(path, as_version=4))
    assert path.stat().st_size <= MOST_BYTES


# --- Formulas stand beside the code -------------------------------------------------

WITH_FORMULAS = [path for path in CHAPTERS if re.match(r"ch[0-7]_", path.stem)]


def exercises_without_formula(notebook: dict) -> Iterator[str]:
    """Exercises in whose section (from ## to ##) no prose holds a formula."""
    found, waiting = False, []
    for cell in notebook["cells"]:
        source = text(cell)
        if cell["cell_type"] == "markdown":
            bare = re.sub(r"^```.*?^```|`[^`]*`", "", source, flags=re.M | re.S)
            # A heading in the middle of a cell belongs to what follows it.
            above, *below = re.split(r"^## ", bare, flags=re.MULTILINE)
            found |= bool(FORMULA.search(above))
            if below:
                yield from [] if found else waiting
                found, waiting = bool(FORMULA.search(below[-1])), []
        elif source.startswith("@exercise"):
            waiting.append(re.search(r"def (\w+)", source)[1])
    yield from [] if found else waiting


@pytest.mark.parametrize("path", WITH_FORMULAS, ids=lambda path: path.stem)
def test_every_exercise_has_a_formula_in_its_section(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert list(exercises_without_formula(notebook)) == []


def test_an_exercise_without_a_formula_is_found():
    stub = code("@exercise\ndef f(x):\n    ...", "stub")
    prose_only = markdown("It costs `$5` or $6, no formula.\n", "words")
    formula = markdown("Here is $a^2$.\n\n## Next", "formula")
    for cells, missing in (
        ([prose_only, stub], ["f"]),
        ([formula, stub], ["f"]),
        ([prose_only, stub, formula], []),
        ([formula, stub, markdown("$$x$$", "late")], []),
        ([markdown("## A $a$", "a"), stub, markdown("## B", "b"), stub], ["f"]),
    ):
        assert list(exercises_without_formula(with_cells(*cells))) == missing


# --- The rules at work --------------------------------------------------------------


def markdown(source: str, name: str) -> dict:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def code(source: str, name: str, outputs=(), count=None, tags=()) -> dict:
    return {
        "cell_type": "code",
        "id": name,
        "metadata": {"tags": list(tags)} if tags else {},
        "execution_count": count,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
    }


def result(kind: str = "text/plain") -> dict:
    data = {kind: "3"}
    return {"output_type": "execute_result", "data": data, "metadata": {}}


def good() -> dict:
    """A short notebook that breaks no rule."""
    return {
        "cells": [
            markdown("# Title\n\nWhat `a != b` means, ![a!](b.svg) and 3$!$.", "top"),
            code(
                'from utils.exercises.recall import recall\n\nrecall("ch3")', "recall"
            ),
            code(SETUP, "setup"),
            *[code(f'# Why?\nown_words("w{i}", r"""\n""")', f"w{i}") for i in range(9)],
            markdown("## Part\n\n```\n# no heading!\n```\n<!-- no! -->", "part"),
            code("1 + 2", "sum", [result()], 2, [CHECKED]),
            markdown("### Detail", "detail"),
            markdown("## Next part", "next"),
            code("3 * 4\n" * 20, "longer"),
        ],
        "metadata": {"kernelspec": {"name": "python3"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_good_notebook_keeps_the_rule(rule):
    assert list(rule(good())) == []


def with_cells(*cells: dict) -> dict:
    return {**good(), "cells": good()["cells"] + list(cells)}


def with_metadata(**more) -> dict:
    return {**good(), "metadata": {**good()["metadata"], **more}}


BAD = {
    "second title": (title, with_cells(markdown("# Again", "again"))),
    "no title": (title, {**good(), "cells": good()["cells"][1:]}),
    "title late": (title, {**good(), "cells": good()["cells"][::-1]}),
    "skipped level": (order_of_headings, with_cells(markdown("#### Deep", "deep"))),
    "section left out": (
        numbers_of_sections,
        with_cells(markdown("## 1. One", "one"), markdown("a\n\n## 3. Three", "three")),
    ),
    "same id": (cell_ids, with_cells(markdown("a", "top"))),
    "no id": (cell_ids, with_cells({**markdown("a", "x"), "id": None})),
    "made-up id": (cell_ids, with_cells(markdown("a", "0c3f9a1e"))),
    "long id": (cell_ids, with_cells(markdown("a", "0c3f9a1e-77aa-4b2d"))),
    "widgets": (widget_state, with_metadata(widgets={})),
    "very long cell": (lengths_of_code, with_cells(code("a\n" * 41, "long"))),
    "many long cells": (
        lengths_of_code,
        with_cells(*[code("a\n" * 27, f"long-{i}") for i in range(3)]),
    ),
    "little prose": (
        share_of_prose,
        with_cells(*[code("a", f"more-{i}") for i in range(9)]),
    ),
    "many cells": (
        size,
        with_cells(*[markdown("a", f"more-{i}") for i in range(MOST_CELLS - 5)]),
    ),
    "many bytes": (size, with_cells(markdown("a" * 150_000, "huge"))),
    "untagged output": (stored_outputs, with_cells(code("1", "x", [result()], None))),
    "untagged count": (stored_outputs, with_cells(code("1", "x", [], 5))),
    "tag without count": (
        stored_outputs,
        with_cells(code("1", "x", [result()], None, [CHECKED])),
    ),
    "tag without output": (
        stored_outputs,
        with_cells(code("1", "x", [], 5, [CHECKED])),
    ),
    "stored picture": (
        stored_outputs,
        with_cells(code("1", "x", [result("image/png")], 5, [CHECKED])),
    ),
    "stored error": (
        stored_outputs,
        with_cells(code("1", "x", [{"output_type": "error"}], 5, [CHECKED])),
    ),
    "setup after more": (
        setup_line,
        {**good(), "cells": [code("recall('ch3')\nx = 1", "r"), *good()["cells"][2:]]},
    ),
    "second setup": (setup_line, with_cells(code(SETUP, "again"))),
    "setup with more": (
        setup_line,
        {**good(), "cells": [code(SETUP + "\nx = 1", "setup")]},
    ),
    "no setup": (setup_line, {**good(), "cells": [code("x = 1", "x")]}),
    "exclamation": (exclamations, with_cells(markdown("Well done!", "praise"))),
    "exclamation in a link's text": (
        exclamations,
        with_cells(markdown("[Look!](https://example.com)", "praise")),
    ),
    "path in code": (machine_paths, with_cells(code("open('/" + "home/ann/x')", "x"))),
    "path in an output": (
        machine_paths,
        with_cells(code("1", "x", [{"text": "/" + "tmp/abc/x.py:3"}])),
    ),
    "other kernel": (kernel, with_metadata(kernelspec={"name": "venv"})),
    "stored version": (kernel, with_metadata(language_info={"version": "3.11.7"})),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_notebook_is_found(name):
    rule, notebook = BAD[name]
    assert list(rule(notebook))


def test_every_rule_is_shown_a_breach():
    assert {rule for rule, _ in BAD.values()} == set(RULES)


def test_every_chapter_is_also_run_as_solved(request):
    """In whole runs, and in each of several test processes."""
    if request.config.args_source is pytest.Config.ArgsSource.ARGS:
        pytest.skip("only some files were asked for")
    copies = [Path(given) for given in request.config.args if ".solved" in given]
    assert [copy.name for copy in copies] == [path.name for path in CHAPTERS]
    assert all(copy.exists() for copy in copies)


def test_no_two_tests_have_the_same_name(request):
    """Several test processes know a test by its name alone."""
    names = [item.nodeid for item in request.session.items]
    assert len(names) == len(set(names))
