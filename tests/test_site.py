"""The site's parts, on a small chapter whose outputs are made up (`site_parts`).

No kernel runs but for the tests of `execute`. The whole site is built and checked by
`python3 -m utils site` and `site --check`; `.github/workflows/site.yml` runs both.
"""

import json
import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tests.site_parts import HOSTILE, made_chapter, needs_tools, small_site
from utils.checks import find_words, recall_of
from utils.launcher import environment, lab, library, site
from utils.launcher.environment import Problem
from utils.launcher.website import build, check, execute
from utils.launcher.website.chapters import chapter_page
from utils.launcher.website.others import relinked
from utils.launcher.website.outputs import WIDGET, show_cell
from utils.launcher.website.reference import picture_of
from utils.launcher.website.text import code_block, prose, table

pytestmark = needs_tools


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return small_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def page(tmp_path):
    return chapter_page("ch2_zero_layer", made_chapter(), tmp_path)


# --- A chapter's page -----------------------------------------------------------------


def test_chapter_tells_its_title_minutes_and_sections(page):
    assert (page.title, page.minutes) == ("Chapter 2: Made up", "5")
    assert page.exercises == {"direct_path": "ch2-019"}
    assert page.sections["ch2-001"] == "" and page.sections["ch2-007"] == "1. Formulas"


def test_each_kind_of_picture_is_found(page):
    kinds = [(picture.cell, picture.kind) for picture in page.pictures]
    assert kinds == [
        ("ch2-004", "figure"),
        ("ch2-005", "attention view"),
        ("ch2-006", "diagram"),
        ("ch2-007", "explorer"),
    ]
    assert all(picture.description and picture.still for picture in page.pictures)
    assert not [p for p in page.pictures if "data-course-view" in p.still]
    assert page.lost == []


def test_a_figure_is_a_still_and_data_in_a_script(page, tmp_path):
    assert (tmp_path / "ch2-004-0.svg").read_text("utf-8").startswith("<svg")
    script = (tmp_path / "ch2-004-0.js").read_text("utf-8")
    found = re.fullmatch(r'window\.courseFigures\["ch2-004-0"\]=(.*);\n', script)
    figure = json.loads(found[1])
    assert figure["data"][0]["type"] == "heatmap"
    assert "A made table" in figure["layout"]["title"]["text"]
    assert 'data-figure="ch2-004-0"' in page.outputs["ch2-004"]


def test_diagrams_lie_in_files_of_their_own(page, tmp_path):
    assert (tmp_path / "ch2-006-0.svg").read_bytes().startswith(b"<svg")
    assert "base64" not in page.outputs["ch2-006"]


def test_what_was_printed_is_escaped_and_whole_and_warnings_go(page):
    assert page.outputs["ch2-003"] == '<pre class="printed">one &lt;b&gt;\ntwo</pre>'


def test_tokens_do_no_harm(html):
    text = (html / "chapters" / "ch2_zero_layer.html").read_text("utf-8")
    assert HOSTILE not in text and "<img src=//example.com" not in text


def test_an_explorer_names_its_controls(page):
    assert "In the notebook this answers to: Position." in page.outputs["ch2-007"]


def test_a_function_has_the_picture_that_is_drawn_with_it(page):
    [direct] = [each for each in library.functions() if each.name == "direct_path"]
    # Nothing is drawn after its own cell, so the first cell that has its name counts.
    assert picture_of(direct, [page]) is None
    page.code["ch2-005"] = "attention_heads(direct_path(model))"
    page.code["ch2-004"] = "heat(my_direct_path_s)"
    assert picture_of(direct, [page]).cell == "ch2-005"
    page.stem = "ch1_residual_stream"
    assert picture_of(direct, [page]) is None


def test_nobody_s_progress_is_shown(page):
    assert "ch2-020" not in page.outputs


def test_exercise_has_hints_and_solution_folded(page):
    check_of = page.markdown.split("(ch2-019)=")[1]
    assert check_of.count('<details class="fold">') == 4
    assert "raise NotImplementedError" in check_of
    assert "return model.W_E @ model.W_U" in check_of
    assert "not attempted" not in page.markdown


def test_prediction_says_what_each_choice_is_told(page):
    asked = page.markdown.split("(ch2-008)=")[1].split("(ch2-r1)=")[0]
    choices = asked.count('<details class="choice">')
    assert choices >= 3
    assert asked.count("**Yes.**") == 1
    assert asked.count("**Not quite.**") == choices - 1


def test_recall_asks_of_the_chapter_before_and_own_words_have_a_model_answer(page):
    recalled = page.markdown.split("(ch2-r1)=")[1].split("(ch2-w1)=")[0]
    questions = recall_of("ch1_residual_stream")
    assert len(questions) >= 3 and recalled.count("**From before.**") == len(questions)
    assert recalled.count("**Yes.**") == len(questions)
    written = page.markdown.split("(ch2-w1)=")[1].split("(ch2-019)=")[0]
    words = find_words("words_zero_layers")
    assert prose(words.question) in written
    assert prose(words.answer) in written.split("A model answer")[1]


def test_nothing_vanishes_unseen(tmp_path):
    widget = new_output("display_data", data={WIDGET: {"model_id": "x"}})
    error = new_output("error", ename="ValueError", evalue="no", traceback=[])
    cell = new_code_cell("x", id="ch9-001", outputs=[widget, error])
    bar = {"x": {"model_name": "HBoxModel", "state": {"children": ["IPY_MODEL_y"]}}}
    bar["y"] = {"model_name": "FloatProgressModel", "state": {}}
    assert show_cell(cell, {}, tmp_path).lost == [
        "ch9-001: a widget without a still",
        "ch9-001: ValueError: no",
    ]
    assert show_cell(cell, bar, tmp_path).lost == ["ch9-001: ValueError: no"]
    unseen = build.Site(lost=["ch9-001: a widget"])
    with pytest.raises(Problem, match="ch9-001: a widget"):
        build.build_pages(unseen, tmp_path)


# --- Small pieces ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "markdown"),
    [
        ("`a_b` and a_b", r"`a_b` and a\_b"),
        ("not **this** * that", r"not **this** \* that"),
        ("<|start|> [x](y) $1", r"\<\|start\|\> \[x\](y) \$1"),
    ],
)
def test_prose_keeps_code_and_bold_alone(text, markdown):
    assert prose(text) == markdown


def test_a_fence_is_longer_than_those_inside():
    assert code_block("a\n```\nb").startswith("````python\n")
    assert table(["a"], [["x | y\nz"]]).splitlines()[-1] == r"| x \| y z |"
    assert "✓\u00a0yes" in table(["a"], [["✓\u00a0yes"]])


def test_links_to_notebooks_become_links_to_pages():
    text = "[a](ch0_toolbox.ipynb) [b](../chapters/ch1_x.ipynb#c) [d](GLOSSARY.md#E-f)"
    assert relinked(text, "glossary") == (
        "[a](chapters/ch0_toolbox.md) [b](chapters/ch1_x.md#c) [d](glossary.md#e-f)"
    )
    assert relinked(text, "chapters/x").startswith("[a](../chapters/ch0_toolbox.md)")
    assert relinked("[a](../utils/x.md)", "guide") == "a (`utils/x.md` in the clone)"


# --- The built site -------------------------------------------------------------------


def test_small_site_has_no_fault(html):
    assert check.faults(html) == []
    assert len(check.pages(html)) >= 6


def test_nothing_of_the_whole_is_needed_by_the_first_page(html):
    first = check.first_page_bytes(html)
    assert 30e3 < first < check.FIRST_PAGE_BYTES
    assert check.size_of(html) > first + 4e6  # plotly alone has more


def test_formulas_need_no_script(html):
    text = (html / "chapters" / "ch2_zero_layer.html").read_text("utf-8")
    assert text.count("<math") == 2 and "<msqrt>" in text
    scripts = re.findall(r"<script[^>]*>", text)
    assert not [script for script in scripts if re.search("(?i)mathjax|katex", script)]
    assert '[mathcolor="#9A3D84"]' in (html / "_static" / "site.css").read_text("utf-8")
    assert (html / "_static" / "formulas.woff").read_bytes()[:4] == b"wOFF"


def test_function_page_says_all_there_is(html):
    text = (html / "reference.html").read_text("utf-8")
    [direct] = [each for each in library.functions() if each.name == "direct_path"]
    assert 'href="chapters/ch2_zero_layer.html#ch2-019"' in text
    assert '<span class="pre">direct_path</span>' in text and "sig-return" in text
    assert ":::" not in text
    for _, says in direct.mistakes:
        first = re.split(r"[`*<>&'\"]", says)[0].strip()
        assert first in re.sub(r"<[^>]+>", "", text).replace("’", "'")
    assert all(f">{row}</a>" in text or row in text for row in direct.rows)


BAD = {
    '<a href="nowhere.html">x</a>': "leads to no file",
    '<a href="#nowhere">x</a>': "leads to no place",
    '<a href="../../x.html">x</a>': "leaves the site",
    '<img src="gone.png">': "leads to no file",
    '<script src="https://example.com/x.js"></script>': "loads https://example.com",
    '<link rel="stylesheet" href="//example.com/x.css">': "loads //example.com",
    '<img srcset="x.png 1x, http://example.com/x.png 2x">': "loads http://example.com",
    '<style>@import "https://example.com/f.css";</style>': "loads https://example.com",
    '<p style="background:url(https://example.com/i.png)">x</p>': "loads https",
    '<svg><image href="https://example.com/i.png"/></svg>': "loads https",
    '<iframe src="https://example.com"></iframe>': "loads https",
}


@pytest.mark.parametrize(("markup", "words"), BAD.items())
def test_a_fault_is_found(tmp_path, markup, words):
    (tmp_path / "index.html").write_text(f"<html><body>{markup}</body></html>")
    found = check.broken_links(tmp_path) + check.foreign_loads(tmp_path)
    assert any(words in fault for fault in found), found


def test_a_link_to_another_host_is_no_fault(tmp_path):
    markup = (
        '<a href="https://example.com">x</a><link rel="canonical" href="http://e.x">'
    )
    (tmp_path / "index.html").write_text(markup + '<a href="#y">y</a><p id="y">y</p>')
    assert check.broken_links(tmp_path) + check.foreign_loads(tmp_path) == []


def test_styles_and_own_scripts_are_read_too(tmp_path):
    (tmp_path / "a.css").write_text("@font-face{src:url('https://example.com/f.woff')}")
    (tmp_path / "_static").mkdir()
    (tmp_path / "_static" / "site.js").write_text('fetch("https://example.com/x")')
    assert len(check.foreign_loads(tmp_path)) == 2


def test_a_door_that_leads_nowhere_is_found(tmp_path):
    doors = [["index", "good", "#y", "", ""], ["gone", "bad", "", "", ""]]
    doors.append(["index", "worse", "#z", "", ""])
    (tmp_path / "_static").mkdir()
    (tmp_path / "index.html").write_text('<p id="y">y</p>')
    (tmp_path / "search.html").write_text("")
    table = f"window.courseDoors = {json.dumps({'doors': doors})};\n"
    (tmp_path / "_static" / "doors_table.js").write_text(table)
    assert check.broken_doors(tmp_path) == [
        "the search: bad leads to no file",
        "the search: worse leads to no place on that page",
    ]


def test_too_large_a_site_is_found(html, monkeypatch):
    monkeypatch.setattr(check, "FIRST_PAGE_BYTES", 1000)
    monkeypatch.setattr(check, "SITE_BYTES", 2000)
    assert len(check.size_faults(html)) == 2


def test_sphinx_s_warnings_stop_the_build(tmp_path):
    with pytest.raises(Problem, match="nowhere-at-all"):
        small_site(tmp_path, more="[x](#nowhere-at-all)")


def test_script_for_views_is_the_notebooks_own():
    assert "export" not in build.view_script()
    assert "CircuitsVis.render" in build.view_script()


# --- Running the chapters -------------------------------------------------------------


@pytest.fixture
def chapter(tmp_path):
    path = tmp_path / "ch2_made.ipynb"
    source = "import os\nprint(os.environ['COURSE_TRAIN'], os.environ['COURSE_STATE'])"
    nbformat.write(new_notebook(cells=[new_code_cell(source, id="a")]), path)
    return path


@pytest.mark.slow
def test_a_chapter_is_run_once_until_it_changes(chapter, tmp_path):
    said = []
    run = execute.executed([chapter], tmp_path / "kept", said.append)
    printed = run["ch2_made"].cells[0].outputs[0].text
    assert printed.startswith("full ") and printed.rstrip().endswith("progress.json")
    execute.executed([chapter], tmp_path / "kept", said.append)
    assert said == ["Running ch2_made"]
    notebook = nbformat.read(chapter, 4)
    notebook.cells[0].source = "1 / 0"
    nbformat.write(notebook, chapter)
    with pytest.raises(Problem, match="ch2_made.ipynb does not run: ZeroDivisionError"):
        execute.executed([chapter], tmp_path / "kept", said.append)


def test_what_a_chapter_shows_depends_on_the_code_and_not_on_the_launcher(tmp_path):
    (tmp_path / "utils" / "launcher").mkdir(parents=True)
    (tmp_path / "solutions").mkdir()
    for name in ("requirements.txt", ".constraints.txt", "solutions/a.py"):
        (tmp_path / name).write_text("1")
    before = execute.fingerprint(tmp_path)
    (tmp_path / "utils" / "launcher" / "x.py").write_text("2")
    assert execute.fingerprint(tmp_path) == before
    (tmp_path / "solutions" / "a.py").write_text("2")
    assert execute.fingerprint(tmp_path) != before


# --- The command ----------------------------------------------------------------------


def test_requirements_are_pinned_and_what_is_there_is_not_installed(monkeypatch):
    lines = site.REQUIREMENTS.read_text("utf-8").splitlines()
    pinned = [line for line in lines if line[:1].isalpha()]
    assert len(pinned) > 6 and all("==" in line for line in pinned)
    asked = []
    monkeypatch.setattr(environment, "install_requirements", lambda *a: asked.append(a))
    pins = dict(re.findall(r"(?m)^([\w.-]+)==([\w.]+)", "\n".join(lines)))
    monkeypatch.setattr(site, "_version", pins.get)
    site._install_tools()
    assert asked == []
    monkeypatch.setattr(site, "_version", lambda name: None)
    site._install_tools()
    assert asked == [(site.REQUIREMENTS, [])]


def test_check_says_that_there_is_no_site(tmp_path, monkeypatch):
    monkeypatch.setattr(site, "FIRST_PAGE", tmp_path / "index.html")
    with pytest.raises(Problem, match="python3 -m utils site"):
        site.main(["--check"])


def test_lab_shows_the_way_to_a_built_site(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(lab, "COPIES", tmp_path / "my_chapters")
    monkeypatch.setattr(lab, "FIRST_PAGE", tmp_path / "index.html")
    monkeypatch.setattr(environment, "run_child", lambda *_: 0)
    monkeypatch.setattr(lab.sys, "prefix", str(tmp_path))
    link = tmp_path / "etc/jupyter/labconfig/default_setting_overrides.d/course.json"
    lab.main([])
    assert "look things up" not in capsys.readouterr().out and not link.exists()
    (tmp_path / "index.html").write_text("x")
    lab.main([])
    assert (tmp_path / "index.html").as_uri() in capsys.readouterr().out
    assert link.read_text().count(f'"url": "{lab.SITE}"') == 2
    (tmp_path / "index.html").unlink()
    lab.main([])
    assert not link.exists()


def test_the_server_of_lab_has_the_site():
    [setting] = [word for word in lab.SETTINGS if "extra_static_paths" in word]
    folder = setting.partition("=")[2]
    assert folder + lab.SITE.removeprefix("/static") == site.FIRST_PAGE.as_posix()
