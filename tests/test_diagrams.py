"""Diagrams say what they show, in a box that holds it, in both themes.

The words are found again in the finished SVG, with their own estimate of how wide
they can become, so nothing here trusts the sheet they were drawn on.
"""

import base64
import re
import xml.etree.ElementTree as ElementTree
from html import escape
from pathlib import Path

import pytest
import torch

from tests import drawn
from tests.drawn import DRAWN, HOSTILE, cfg, normal, pattern
from utils import prelude
from utils.pictures import diagrams
from utils.pictures.diagrams.ink import ROLES, cut, number, text_width

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module", params=DRAWN)
def diagram(request):
    return DRAWN[request.param]()


# --- Reading a picture --------------------------------------------------------------


def texts(svg: str):
    return ElementTree.fromstring(svg).iter(f"{SVG}text")


def width(element) -> float:
    """At least as wide as any usual font makes it."""
    size = float(element.get("font-size"))
    mono = "monospace" in (element.get("font-family") or "")
    total = 0.0
    parts = [(element.text or "", size)]
    for child in element:
        small = float(child.get("font-size", size))
        parts += [(child.text or "", small), (child.tail or "", size)]
    for words, each in parts:
        for c in words:
            broad = 1.0 if ord(c) > 0x2E7F or c in "…⟨⟩%@mwMW" else 0.63
            broad = 0.44 if c in " itlj.,:;'|()/" else broad
            total += each * (0.61 if mono and ord(c) < 0x2E7F else broad)
    return total * (0.94 if not mono else 1.0)


def rectangle(element) -> tuple[float, float, float, float]:
    x, y, size = (float(element.get(name)) for name in ("x", "y", "font-size"))
    wide = width(element)
    left = x - {"start": 0, "middle": wide / 2, "end": wide}[element.get("text-anchor")]
    return left, y - 0.76 * size, left + wide, y + 0.22 * size


def boxes(svg: str):
    for rect in ElementTree.fromstring(svg).iter(f"{SVG}rect"):
        if rect.get("data-card") is None:
            x, y, w, h = (float(rect.get(k)) for k in ("x", "y", "width", "height"))
            yield (x, y, x + w, y + h)


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def ground(name: str, theme: int) -> str:
    """The colour behind a word: a role, or one laid thinly over paper ("role:0.4")."""
    role, _, share = name.partition(":")
    if not share:
        return ROLES[role][theme]
    top, under = ROLES[role][theme], ROLES["paper"][theme]
    mixed = [
        round(
            float(share) * int(top[i : i + 2], 16)
            + (1 - float(share)) * int(under[i : i + 2], 16)
        )
        for i in (1, 3, 5)
    ]
    return "#" + "".join(f"{value:02X}" for value in mixed)


# --- What holds of every diagram ----------------------------------------------------


def test_words_lie_inside_the_picture(diagram):
    root = ElementTree.fromstring(diagram.svg)
    _, _, wide, high = map(float, root.get("viewBox").split())
    assert wide == 700
    for element in texts(diagram.svg):
        left, top, right, bottom = rectangle(element)
        said = "".join(element.itertext())
        assert left >= 4 and right <= wide - 4, said
        assert top >= 4 and bottom <= high - 4, said


def test_no_two_words_overlap(diagram):
    places = [("".join(e.itertext()), rectangle(e)) for e in texts(diagram.svg)]
    for i, (one, a) in enumerate(places):
        for other, b in places[:i]:
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, f"{one!r} over {other!r}"


def test_words_stay_inside_their_boxes(diagram):
    frames = [b for b in boxes(diagram.svg) if b[3] - b[1] >= 16]
    for element in texts(diagram.svg):
        if element.get("data-on") == "paper" and element.get("text-anchor") != "middle":
            continue
        left, top, right, bottom = rectangle(element)
        x, y = (left + right) / 2, (top + bottom) / 2
        around = [b for b in frames if b[0] < x < b[2] and b[1] < y < b[3]]
        if around and element.get("data-on") != "paper":
            box = around[-1]  # the one drawn last is on top
            said = "".join(element.itertext())
            assert left >= box[0] - 1 and right <= box[2] + 1, said
            assert top >= box[1] - 1 and bottom <= box[3] + 1, said


def test_words_are_large_and_clear_in_both_themes(diagram):
    for element in texts(diagram.svg):
        ink = re.search(r"f-(\S+)", element.get("class"))[1]
        assert float(element.get("font-size")) >= 10.5
        assert element.get("fill") == ROLES[ink][0]
        for theme in (0, 1):
            behind = ground(element.get("data-on"), theme)
            said = f"{''.join(element.itertext())!r} on {element.get('data-on')}"
            assert contrast(ROLES[ink][theme], behind) >= 4.5, said


def test_it_says_what_it_shows(diagram):
    root = ElementTree.fromstring(diagram.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == diagram.description
    assert root.find(f"{SVG}title").text == diagram.description
    assert repr(diagram) == diagram.description
    assert diagram.description.endswith(".") and len(diagram.description.split()) >= 8
    bundle = diagram._repr_mimebundle_()
    assert set(bundle) == {"text/html", "image/svg+xml", "text/plain"}
    assert bundle["text/plain"] == diagram.description
    assert "_{" not in diagram.description.replace("_{E}", "")


def test_it_is_small_and_carries_no_script(diagram):
    assert len(diagram.html.encode()) < 60_000
    for page in (diagram.html, diagram.svg):
        assert "<script" not in page.lower()
        assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    for attribute in ("x", "y", "width", "height", "d", "points"):
        assert not re.search(rf' {attribute}="[^"]*(nan|inf)', diagram.svg)


def test_the_image_holds_the_svg_and_its_words(diagram):
    (image,) = re.findall("<img .*>", diagram.html)
    source = re.search('base64,([^"]*)"', image)[1]
    assert base64.b64decode(source).decode() == diagram.svg
    assert f'alt="{escape(diagram.description)}"' in image
    style = ElementTree.fromstring(diagram.svg).find(f"{SVG}style").text
    dark = style[style.index("prefers-color-scheme:dark") :]
    assert f"--cd-paper:{ROLES['paper'][0]};" in style.split("@media")[0]
    assert f"--cd-paper:{ROLES['paper'][1]};" in dark


# --- Each says the numbers it was given ---------------------------------------------


def said(diagram) -> str:
    return " ".join("".join(e.itertext()) for e in texts(diagram.svg))


def test_hostile_tokens_are_words_and_nothing_else():
    shown = diagrams.token_flow(HOSTILE[:5], range(5), normal(5, 2))
    assert "</script>" in said(shown) and "<b>" in said(shown)
    for page in (shown.svg, shown.html):
        assert "</script" not in page and "<b>" not in page
    assert "&lt;/script&gt;" in shown.svg


def test_a_token_like_a_formula_stays_as_it_is():
    assert "_{E}" in said(diagrams.token_flow(["_{E}"], [0], normal(1, 2)))


def test_the_tensor_product_shows_every_number():
    a = torch.tensor([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]])
    x = torch.tensor([[1.0, 0], [0, 1], [2, 1]])
    w = torch.tensor([[0.0, 2], [1, 1]])
    shown = diagrams.tensor_product(a, x, w)
    assert "[1, 0; 0.5, 0.5; 1.5, 1]" in shown.description
    assert "[0, 2; 0.5, 1.5; 1, 4]" in shown.description
    cells = [e for e in texts(shown.svg) if ":" in e.get("data-on")]
    assert len(cells) == 9 + 6 + 6 + 6 + 4 + 6
    assert [c.text for c in cells[-6:]] == ["0", "2", "0.5", "1.5", "1", "4"]


def test_paths_keep_the_direct_one_and_add_up():
    values = torch.tensor([0.01, *range(1, 31)])
    shown = diagrams.paths_to_logit(
        ["direct", *(f"0.{i}" for i in range(30))], ["s"] * 31, values, "out"
    )
    assert "direct path from s +0.01" in shown.description
    assert "head 0.29 from s +30.00" in shown.description
    assert "22 more heads +253.00" in shown.description
    assert "The sum is +465.01." in shown.description


def test_the_lattice_counts_and_lights():
    shown = diagrams.path_lattice(3, [(), ("0.2", "1.1")])
    assert (
        "1 direct path, 6 through one head and 9 through two, 16" in shown.description
    )
    assert "Lit: the direct path; 0.2 then 1.1." in shown.description
    thick = [
        p
        for p in ElementTree.fromstring(shown.svg).iter(f"{SVG}path")
        if p.get("stroke-width") == "2.6"
    ]
    assert len(thick) == 6
    with pytest.raises(ValueError, match="is no path"):
        diagrams.path_lattice(3, [("1.1", "0.2")])
    with pytest.raises(ValueError, match="is no path"):
        diagrams.path_lattice(3, [("0.3",)])
    with pytest.raises(ValueError, match="1 to 12 heads"):
        diagrams.path_lattice(13)


def test_the_induction_circuit_shows_the_off_by_one():
    tokens = ["s", "p", "q", "r", "p"]
    early, late = pattern(5), torch.zeros(5, 5)
    early[2], late[4] = (
        torch.tensor([0, 0.9, 0.1, 0, 0]),
        torch.tensor([0.2, 0, 0.8, 0, 0]),
    )
    shown = diagrams.induction_circuit(tokens, early, late, 4, ("0.5", "1.7"))
    assert "stood at position 1 too, followed by q at 2" in shown.description
    assert "Head 0.5 gives 0.90 of its attention at 2 to 1" in shown.description
    assert "Head 1.7 gives 0.80 of its attention at 4 to 2" in shown.description
    with pytest.raises(ValueError, match="no earlier copy"):
        diagrams.induction_circuit(tokens, early, late, 3)
    with pytest.raises(ValueError, match="must be"):
        diagrams.induction_circuit(tokens, early[:4], late, 4)


def test_the_virtual_pattern_is_the_product():
    back = torch.diag(torch.ones(5), -1)
    back[0, 0] = 1
    shown = diagrams.virtual_head(back, back)
    assert "1.00" in shown.description
    with pytest.raises(ValueError, match="of one size"):
        diagrams.virtual_head(pattern(3), pattern(4))


def test_the_largest_composition_is_named():
    shown = diagrams.compositions("0.1", "1.2", {"Q": 0.1, "K": 0.3, "V": 0.2})
    assert "the largest is K" in shown.description
    with pytest.raises(ValueError, match="each of Q, K and V"):
        diagrams.compositions("0.1", "1.2", {"Q": 1.0})


def test_real_models_are_drawn_from_their_config():
    llama, gpt2 = drawn.real_cfg(), drawn.real_cfg("LNPre", 12, None, gated_mlp=False)
    assert "gated" in said(diagrams.real_layer(llama))
    assert "plain" in said(diagrams.real_layer(gpt2))
    assert "share 3" in said(diagrams.real_layer(llama))
    assert "MLP" not in said(diagrams.real_layer(drawn.real_cfg(attn_only=True)))
    folded = [diagrams.norm_folding(one) for one in (llama, gpt2)]
    assert [("mean" in said(one)) for one in folded] == [False, True]
    shared = diagrams.shared_keys(drawn.real_cfg(heads=6, groups=2)).description
    assert "heads 0 to 2 read group 0; heads 3 to 5 read group 1" in shared
    sums = diagrams.into_mlp(["MLP 3", "all others"], [0.625, 0.375], "GELU")
    assert "MLP 3 62 %, all others 38 %" in sums.description


@pytest.mark.parametrize(
    "draw, words",
    [
        (
            lambda: diagrams.shared_keys(drawn.real_cfg(heads=17, groups=1)),
            "At most 16 heads",
        ),
        (lambda: diagrams.shared_keys(drawn.real_cfg(heads=7)), "evenly"),
        (lambda: diagrams.into_mlp(["a"], [1.0, 2.0], "GELU"), "1 to 6 names"),
        (lambda: diagrams.model_diagram(cfg(5)), "at most 4 layers"),
        (lambda: diagrams.product(normal(2, 3), normal(2, 3)), "inner sizes differ"),
        (lambda: diagrams.product(normal(7, 2), normal(2, 3)), "at most 5 rows"),
        (
            lambda: diagrams.tensor_product(pattern(3), normal(2, 2), normal(2, 2)),
            "fit",
        ),
        (lambda: diagrams.tensor_product(pattern(2), normal(2, 2), normal(2)), "axes"),
        (lambda: diagrams.paths_to_logit(["a"], ["b"], normal(2), "c"), "as many"),
        (lambda: diagrams.token_flow("ab", [1], normal(2, 2)), "at most 8 tokens"),
        (lambda: diagrams.curve_strips([1, 2], {}), "1 to 6 curves"),
        (lambda: diagrams.curve_strips([1, 2], {"a": [1.0]}), "1 values for 2"),
        (
            lambda: diagrams.pattern_pair([pattern(3)] * 2, "ab", "ab", "t"),
            "over 2 tokens",
        ),
        (lambda: diagrams.product(normal(2, 2) / 0, normal(2, 2)), "finite"),
        (lambda: diagrams.chain([[("qk", "a")] * 7], "t"), "at most 6 boxes"),
        (lambda: diagrams.chain([[("blue", "a")]], "t"), "the role 'blue'"),
        (lambda: diagrams.token_row(["a"] * 17, "t"), "1 to 16 tokens"),
        (lambda: diagrams.token_row("ab", "t", (2, 0, "w")), "positions 0 to 1"),
        (lambda: diagrams.matrices([normal(2, 5)] * 3, "abc", ["ov"] * 3, "t"), "14"),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()


def test_numbers_and_words_are_cut_to_their_room():
    assert number(-0.004) == "0" and number(-1.5) == "−1.5" and number(12.0) == "12"
    assert text_width("W_{OV}", 10) < text_width("W_OV{}", 10)
    assert cut("short", 100, 12) == "short"
    assert text_width(cut("long " * 50, 100, 12), 12) <= 100


def test_every_function_is_drawn_here_and_the_prelude_brings_them():
    assert prelude.diagrams is diagrams
    functions = {n for n in diagrams.__all__ if n != "Diagram"}
    source = Path(drawn.__file__).read_text(encoding="utf-8")
    assert {n for n in functions if f"diagrams.{n}(" in source} == functions


# --- In a browser, with the fonts of this computer ----------------------------------

MEASURE = """svgs => svgs.flatMap((svg, i) => {
    const card = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].map(t => [
        t.textContent, t.getBoundingClientRect()]);
    const faults = [];
    texts.forEach(([words, a], j) => {
        if (a.left < card.left || a.right > card.right || a.top < card.top
            || a.bottom > card.bottom) faults.push([i, words, "leaves the picture"]);
        for (const [other, b] of texts.slice(0, j)) {
            const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
            const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
            // A line's box is higher than its letters.
            if (wide > 1 && high > 5) faults.push([i, words, "over " + other]);
        }
    });
    return faults;
})"""
SCHEMES = """theme => {
    document.body.dataset.jpThemeLight = theme;
    const shown = [...document.querySelectorAll("img.course-diagram")];
    return [...new Set(shown.map(image => getComputedStyle(image).colorScheme))];
}"""


@pytest.mark.slow
def test_a_browser_draws_words_apart_and_follows_the_theme(page):
    made = [draw() for draw in DRAWN.values()]
    page.set_content("".join(diagram.svg for diagram in made))
    svgs = page.locator("svg")
    assert svgs.count() == len(made) and svgs.evaluate_all(MEASURE) == []
    fill = "card => getComputedStyle(card).fill"
    card = page.locator("svg > [data-card]").first
    assert card.evaluate(fill) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert card.evaluate(fill) == "rgb(21, 25, 30)"
    page.set_content("".join(diagram.html for diagram in made))
    sizes = "images => images.filter(i => !i.naturalWidth || i.width > 700).length"
    assert page.locator("img").evaluate_all(sizes) == 0
    assert page.evaluate(SCHEMES, "true") == ["light"]
    assert page.evaluate(SCHEMES, "false") == ["dark"]
