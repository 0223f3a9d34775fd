"""What must hold of a site in a browser: no other host, no fault, readable everywhere.

Called by `python3 -m utils site --check` and by the tests, which bring a Playwright
page. Pages are opened from the disk, as a reader without a server does. Each function
returns the faults as sentences.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

__all__ = [
    "CONTRAST",
    "PHONE",
    "SEARCHES",
    "answers",
    "low_contrast",
    "open_page",
    "search_faults",
    "sideways",
    "visit",
]

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
CONTRAST = 4.5
SCHEMES = ("light", "dark")
# What somebody would type, and how the address of an answer begins.
SEARCHES = {
    "copying eigenvalue": ("reference/ov_eigenvalues", "reference/copying_score"),
    "previous token head": ("reference/previous_token_score", "reference/build_prev"),
    "prefix matching": ("reference/prefix_matching_score",),
    "induction head": ("chapters/ch5_induction_heads", "glossary"),
    "skip-trigram bugs": ("chapters/ch3_one_layer",),
    "virtual head": ("reference/virtual_head",),
    "QK circuit": ("reference/full_qk_circuit", "glossary"),
    "F-102": ("rows/f-two-layer",),
    "fold layer norm": ("reference/fold_layer_norm",),
    "phase change": ("reference/phase_change_step", "chapters/ch6"),
    "logit attribution": ("reference/logit_attribution",),
    "superposition": ("chapters/ch1_residual_stream", "glossary"),
    "ablate edge": ("reference/ablate_edge",),
    "there is a way to read copying off the eigenvalues": (
        "reference/ov_eigenvalues",
        "reference/copying_score",
    ),
    "how do I find the previous-token head from weights": (
        "reference/previous_token_weights",
    ),
    "what is the QK circuit": ("reference/full_qk_circuit", "glossary"),
    "does zero ablation differ from mean ablation": ("reference/ablate_head",),
    "prefix matching score code": ("reference/prefix_matching_score",),
    "path expansion two layer terms count": ("reference/two_layer_path_terms",),
    "skip trigram bug": ("chapters/ch3_one_layer", "reference/skip_trigram_lift"),
    "loss at position 500 minus 50": ("reference/in_context_learning_score",),
    "virtual attention heads worth": ("reference/virtual_head", "rows/f-two"),
    "K-composition random baseline": ("reference/random_composition",),
    "layernorm folding": ("reference/fold_layer_norm",),
}
# Every text that a reader sees, but for pictures: its ink against the ground that is
# painted below it. Large letters need less, as WCAG has it.
MEASURE = """() => {
  const rgb = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const over = (top, under) => {
    const a = top[3] ?? 1;
    return [0, 1, 2].map((i) => top[i] * a + under[i] * (1 - a));
  };
  const ground = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement)
      layers.push(rgb(getComputedStyle(e).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  };
  const light = (color) => {
    const [r, g, b] = color.map((v) => {
      v /= 255;
      return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  // What is drawn lies on other shapes of the drawing, not on a background.
  const DRAWN = "svg, script, style, .live";
  const found = {};
  const walker = document.createTreeWalker(
    document.querySelector("article"), NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest(DRAWN)) continue;
    if (!element.checkVisibility({ visibilityProperty: true, opacityProperty: true }))
      continue;
    const style = getComputedStyle(element);
    const under = ground(element);
    const ink = light(over(rgb(style.color), under)), paper = light(under);
    const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const key = [style.color, under.map(Math.round).join()].join(" on ");
    if (!found[key] || found[key].ratio > ratio)
      found[key] = { ratio, large, text: node.data.trim().slice(0, 40) };
  }
  return found;
}"""

# The theme lets its column scroll, which a reader on a phone notices as much.
WIDE = """() => ["html", ".main", ".content"]
  .map((name) => [name, document.querySelector(name)])
  .filter(([, e]) => e && e.scrollWidth > e.clientWidth + 1)
  .map(([name, e]) => [name, e.scrollWidth, e.clientWidth])"""


def open_page(page: Any, path: Path) -> None:
    """Open a page of the site from the disk."""
    page.goto(path.resolve().as_uri())


def visit(page: Any, html: Path, names: Iterable[str]) -> list[str]:
    """Open pages by name ("chapters/ch0_toolbox") at both widths and in both colours.

    Scrolls each to its end, so that everything that can become live does.
    """
    found: list[str] = []
    where = [""]
    page.on("pageerror", lambda error: found.append(f"{where[0]}: {error}"))
    page.on("requestfailed", lambda r: found.append(f"{where[0]}: no answer: {r.url}"))
    page.on("request", lambda r: found.extend(_foreign(where[0], r.url)))
    page.on("console", lambda m: found.extend(_complaint(where[0], m)))
    for name in names:
        where[0] = name
        open_page(page, html / f"{name}.html")
        found += _too_weak(page, name)
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            found += [f"{name}: {fault}" for fault in sideways(page)]
        _scroll_through(page)
        found += [f"{name}: {fault}" for fault in _not_live(page)]
        found += _too_weak(page, name)
    return list(dict.fromkeys(found))


def _too_weak(page: Any, name: str) -> list[str]:
    """Weak contrasts of the open page, in both colours, as it stands."""
    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found += [f"{name}, {scheme}: {fault}" for fault in low_contrast(page)]
    return found


def _foreign(name: str, url: str) -> list[str]:
    local = ("file:", "data:", "blob:", "about:")
    return [] if url.startswith(local) else [f"{name}: asks for {url[:90]}"]


def _complaint(name: str, message: Any) -> list[str]:
    return [f"{name}: {message.text[:120]}"] if message.type == "error" else []


def _scroll_through(page: Any) -> None:
    """Go down by less than a screen at a time; what becomes live moves the end."""
    top = 0
    while top < page.evaluate("document.documentElement.scrollHeight"):
        page.evaluate("top => window.scrollTo(0, top)", top)
        page.wait_for_timeout(50)
        top += 500


def _not_live(page: Any) -> list[str]:
    """Figures and views that are still stills after they came near."""
    waiting = (
        "() => [...document.querySelectorAll('[data-figure], [data-course-view]')]"
        ".filter(e => e.dataset.shown !== 'live' && e.checkVisibility()).length"
    )
    for _ in range(100):
        count = page.evaluate(waiting)
        if not count:
            return []
        page.wait_for_timeout(100)
    return [f"{count} figures or views did not become live"]


def low_contrast(page: Any) -> list[str]:
    """Text of the open page whose contrast is below 4.5, or 3 for large letters."""
    found = page.evaluate(MEASURE)
    return [
        f"contrast {each['ratio']:.1f} of {colors}: {each['text']!r}"
        for colors, each in found.items()
        if each["ratio"] < (3 if each["large"] else CONTRAST)
    ]


def sideways(page: Any) -> list[str]:
    """Whether the open page, or its column of text, is wider than it may be."""
    wide = page.evaluate(WIDE)
    return [
        f"{name} is {inner} pixels wide where {outer} are"
        for name, inner, outer in wide
    ]


def search_faults(
    page: Any, html: Path, searches: dict[str, tuple[str, ...]] = SEARCHES
) -> list[str]:
    """Searches for which no right page is among the first three."""
    found = []
    for words, right in searches.items():
        first = answers(page, html, words)[:3]
        if not any(link.startswith(right) for link in first):
            found.append(f"searching for {words!r} gives {', '.join(first)}")
    return found


def answers(page: Any, html: Path, words: str) -> list[str]:
    """What the site's search finds, as addresses within the site, best first."""
    address = (html / "search.html").resolve().as_uri()
    page.goto(f"{address}?q={quote_plus(words)}")
    page.wait_for_selector("#search-results li a", timeout=20_000)
    links = page.eval_on_selector_all(
        "#search-results li a", "list => list.map(a => a.href)"
    )
    root = html.resolve().as_uri() + "/"
    return [link.removeprefix(root) for link in links]
