"""The site in Chromium, opened from the disk with the network off.

Each kind of page is visited on a small site (`site_parts`): nothing asks another host,
what can be live becomes live, texts can be read in both colours, and a phone shows no
page wider than itself. The search is tried on the site of all chapters as they are
shipped, without their outputs, which the search does not read.
"""

import re

import nbformat
import pytest

from tests.site_parts import needs_tools, small_site
from utils.launcher import lab, library
from utils.launcher.ranking import stems
from utils.launcher.website import browse, build, check
from utils.launcher.website.chapters import chapter_page

pytestmark = [needs_tools, pytest.mark.slow]


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return small_site(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Every page there is; of the chapters all but what their cells showed."""
    folder = tmp_path_factory.mktemp("whole")
    stills = folder / "source" / "_static" / "stills"
    stills.mkdir(parents=True)
    site = build.Site()
    for path in lab.chapters():
        build.add_chapter(site, chapter_page(path.stem, nbformat.read(path, 4), stills))
    build.add_other_pages(site)
    return build.build_pages(site, folder).parent


@pytest.fixture
def offline(page):
    page.context.set_offline(True)
    return page


def test_every_page_of_the_small_site(offline, html):
    names = [path.relative_to(html).with_suffix("") for path in check.pages(html)]
    faults = browse.visit(offline, html, [name.as_posix() for name in names])
    assert faults == []


def test_a_figure_and_a_view_become_live(offline, html):
    browse.open_page(offline, html / "chapters" / "ch2_zero_layer.html")
    for kind in ("figure", "course-view"):
        place = offline.locator(f"[data-{kind}]").first
        place.scroll_into_view_if_needed()
        offline.wait_for_selector(f"[data-{kind}][data-shown=live]", timeout=20_000)
    assert offline.locator(".live .main-svg").count() > 0
    # The hostile token is text: nothing ran and nothing was asked for.
    assert not [url for url in offline.asked if "example.com" in url]


def test_a_link_into_something_folded_opens_it(offline, html):
    path = html / "chapters" / "ch2_zero_layer.html"
    browse.open_page(offline, path)
    offline.evaluate("document.querySelector('details p').id = 'inside'")
    offline.evaluate("location.hash = '#inside'")
    offline.wait_for_selector("details[open] #inside", state="attached", timeout=20_000)


BAD = [
    ('<p style="color:#999;background:#fff">pale</p>', "contrast 2.8"),
    ('<p style="width:900px">wide</p>', "pixels wide where 3"),
    ('<img src="https://example.com/i.png">', "asks for https://example.com"),
    ("<script>throw new Error('broken')</script>", "broken"),
    ('<div data-figure="no"><img alt=""></div>', "no answer"),
]


@pytest.mark.parametrize(("markup", "words"), BAD)
def test_what_is_wrong_is_found(offline, html, tmp_path, markup, words):
    text = (html / "scoreboard.html").read_text("utf-8")
    changed = re.sub(r"(?=</article>)", lambda _: markup, text, count=1)
    place = html / "changed.html"
    place.write_text(changed, "utf-8")
    try:
        faults = browse.visit(offline, html, ["changed"])
    finally:
        place.unlink()
    assert any(words in fault for fault in faults), faults


def test_search_finds_what_users_type(offline, whole):
    assert len(browse.SEARCHES) >= 10
    assert browse.search_faults(offline, whole) == []
    wrong = {"copying eigenvalue": ("chapters/ch0_toolbox",)}
    assert len(browse.search_faults(offline, whole, wrong)) == 1


def by_table(table: dict, question: str) -> list[str]:
    """The first answers, with what each word adds summed by Python's own words."""
    scores: dict[int, float] = {}
    for word in dict.fromkeys(stems(question)):
        pairs = table["adds"].get(word, [])
        for number, adds in zip(pairs[::2], pairs[1::2], strict=True):
            scores[number] = scores.get(number, 0) + adds
    best = sorted(scores, key=lambda number: (-scores[number], number))[:5]
    return [
        f"{page}.html{anchor}"
        for page, _, anchor, *_ in map(table["doors"].__getitem__, best)
    ]


def test_a_browser_orders_as_the_command_does(offline, whole):
    table = check.doors_table(whole)
    for question in (*browse.SEARCHES, "LayerNorm's Queries", "W_OV constructor"):
        first = browse.answers(offline, whole, question)[:5]
        assert first == by_table(table, question), question


def test_whole_site_has_every_function_row_and_link(whole):
    assert check.faults(whole) == []
    doors = {title: page for page, title, *_ in check.doors_table(whole)["doors"]}
    assert {each.name for each in library.functions()} < doors.keys()
    assert set(library.row_ids()) < doors.keys() and "residual stream" in doors
    text = (whole / "scoreboard.html").read_text("utf-8")
    rows = set(re.findall(r"#row-([fo]-\d+)", text))
    written = "".join(p.read_text("utf-8") for p in (whole / "rows").glob("*.html"))
    assert len(rows) > 100 and rows == set(re.findall(r'id="row-([fo]-\d+)"', written))
    listed = (whole / "reference.html").read_text("utf-8")
    pages = {path.stem for path in (whole / "reference").glob("*.html")}
    assert len(pages) > 70 and all(f"reference/{name}.html" in listed for name in pages)
