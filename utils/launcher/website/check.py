"""What must hold of a built site, read from its files: links, other hosts, sizes.

Called by `python3 -m utils site --check` and by the tests. Each function returns the
faults as sentences; what only a browser can say stands in `browse.py`.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = [
    "FIRST_PAGE_BYTES",
    "SITE_BYTES",
    "broken_doors",
    "broken_links",
    "doors_table",
    "faults",
    "first_page_bytes",
    "foreign_loads",
    "pages",
    "size_of",
    "size_faults",
]

SITE_BYTES = 60e6
FIRST_PAGE_BYTES = 500e3
# What a browser fetches by itself when it meets these, and the attribute that says it.
LOADING = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "iframe": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "track": ("src",),
    "input": ("src",),
}
# Of <link>, these kinds are fetched; others only say something about the page.
FETCHED_LINKS = {"stylesheet", "icon", "preload", "modulepreload", "prefetch"}
FETCHED_LINKS |= {"manifest", "preconnect", "dns-prefetch", "apple-touch-icon"}
IN_STYLE = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")
OWN_SCRIPTS = ("site.js", "doors.js", "attention_view.js")
IN_SCRIPT = re.compile(r"""["'`](?:https?:)?//[\w.-]+""")


class _Page(HTMLParser):
    """The ids, links, loads and styles of one page."""

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self._in_style = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.ids.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        names = LOADING.get(tag, ())
        if tag == "link" and FETCHED_LINKS & set(given.get("rel", "").lower().split()):
            names = ("href",)
        for name in names:
            if name in given:
                self.loads += _addresses(given[name], name)
        self.loads += _in_style(given.get("style", ""))

    def handle_data(self, data):
        if self._in_style:
            self.loads += _in_style(data)

    def handle_endtag(self, tag):
        self._in_style = False


def _addresses(value: str, name: str) -> list[str]:
    """A srcset names several, each with a size behind it."""
    if name != "srcset" or value.startswith("data:"):
        return [value]
    return [part.split()[0] for part in value.split(",") if part.strip()]


def _in_style(style: str) -> list[str]:
    return [one or other for one, other in IN_STYLE.findall(style)]


def pages(html: Path) -> list[Path]:
    """Every page of the site, in a fixed order."""
    return sorted(html.rglob("*.html"))


@cache
def _read(path: Path, _changed: int) -> _Page:
    return _Page(path.read_text(encoding="utf-8"))


def _page(path: Path) -> _Page:
    return _read(path, path.stat().st_mtime_ns)


def faults(html: Path) -> list[str]:
    """All that is wrong with the site in this folder."""
    links = [*broken_links(html), *broken_doors(html)]
    return [*links, *foreign_loads(html), *size_faults(html)]


def broken_links(html: Path) -> list[str]:
    """Links and loads inside the site that lead to no file or no place in one."""
    found = []
    for path in pages(html):
        page = _page(path)
        for link in [*page.links, *page.loads]:
            fault = _follow(html, path, link)
            if fault:
                found.append(f"{path.relative_to(html)}: {link} {fault}")
    return list(dict.fromkeys(found))


def broken_doors(html: Path) -> list[str]:
    """What the search finds first, and that leads to no page or no place on one."""
    table = html / "_static" / "doors_table.js"
    if not table.exists():
        return []
    found = []
    for page, title, anchor, *_ in doors_table(html)["doors"]:
        fault = _follow(html, html / "search.html", f"{page}.html{anchor}")
        if fault:
            found.append(f"the search: {title} {fault}")
    return found


def doors_table(html: Path) -> dict:
    """What `doors.js` reads: the doors, and what each word adds to them."""
    text = (html / "_static" / "doors_table.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("window.courseDoors = ").rstrip(";\n"))


def _follow(html: Path, path: Path, link: str) -> str:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return ""
    target = path
    if parts.path:
        target = (path.parent / unquote(parts.path)).resolve()
        if not target.is_relative_to(html.resolve()):
            return "leaves the site"
    if not target.is_file():
        return "leads to no file"
    place = unquote(parts.fragment)
    if place and target.suffix == ".html" and place not in _page(target).ids:
        return "leads to no place on that page"
    return ""


def foreign_loads(html: Path) -> list[str]:
    """What a page, a style or one of the course's scripts fetches from another host."""
    found = []
    for path in pages(html):
        found += [(path, load) for load in _page(path).loads if _is_foreign(load)]
    for path in sorted(html.rglob("*.css")):
        text = path.read_text(encoding="utf-8")
        found += [(path, load) for load in _in_style(text) if _is_foreign(load)]
    for path in sorted(html.rglob("*.svg")):
        page = _page(path)
        found += [(path, load) for load in page.loads if _is_foreign(load)]
    for name in OWN_SCRIPTS:
        path = html / "_static" / name
        for load in IN_SCRIPT.findall(path.read_text("utf-8")) if path.exists() else ():
            found.append((path, load))
    return [f"{path.relative_to(html)} loads {load[:90]}" for path, load in found]


def _is_foreign(address: str) -> bool:
    parts = urlsplit(address.strip())
    return bool(parts.netloc) or parts.scheme in ("http", "https", "ftp", "ws", "wss")


def size_of(html: Path) -> int:
    """Bytes of all files of the site."""
    return sum(path.stat().st_size for path in _files(html))


def _files(html: Path) -> Iterator[Path]:
    return (path for path in html.rglob("*") if path.is_file())


def first_page_bytes(html: Path) -> int:
    """Bytes of the first page with all that its markup and its styles load."""
    waiting, seen = [html / "index.html"], set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        loads = []
        if path.suffix == ".html":
            loads = _page(path).loads
        elif path.suffix == ".css":
            loads = _in_style(path.read_text(encoding="utf-8"))
        for load in loads:
            parts = urlsplit(load)
            if parts.scheme or parts.netloc or not parts.path:
                continue
            target = (path.parent / unquote(parts.path)).resolve()
            if target.is_file():
                waiting.append(target)
    return sum(path.stat().st_size for path in seen)


def size_faults(html: Path) -> list[str]:
    """Whether the site or its first page is too large."""
    found = []
    for what, size, most in (
        ("The site", size_of(html), SITE_BYTES),
        ("The first page", first_page_bytes(html), FIRST_PAGE_BYTES),
    ):
        if size > most:
            found.append(f"{what} has {size / 1e3:,.0f} KB, over {most / 1e3:,.0f}.")
    return found
