"""`python3 -m utils site`: the course as a static site that can be searched.

Called by `utils/__main__.py`. The first use installs what builds the site. All it makes
lies in git-ignored `.site`; `lab` shows the way there. `--check` looks at a built site:
links, other hosts, sizes, and in a Chromium also search, phone width and contrast.
"""

import argparse
import importlib.metadata
import os
import re
import shutil
import sys
import time
from pathlib import Path

from utils.launcher import environment
from utils.launcher.environment import ROOT, Problem

__all__ = ["FIRST_PAGE", "FOLDER", "main"]

FOLDER = ROOT / ".site"
FIRST_PAGE = FOLDER / "html" / "index.html"
REQUIREMENTS = Path(__file__).parent / "website" / "requirements.txt"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking")


def main(argv: list[str]) -> int:
    """Build the site, or with `--check` look for faults in the one that is built."""
    parser = argparse.ArgumentParser(prog="python3 -m utils site")
    parser.add_argument("--check", action="store_true", help="check the built site")
    try:
        chosen = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    return _check() if chosen.check else _build()


def _build() -> int:
    _install_tools()
    from utils.launcher import lab
    from utils.launcher.website import build, check

    start = time.monotonic()
    first = build.build(lab.chapters(), FOLDER)
    size = check.size_of(FOLDER / "html") / 1e6
    print(f"Built in {time.monotonic() - start:.0f} s, {size:.0f} MB.")
    print(f"Open it: {first.as_uri()}")
    print("In notebooks it has a button, Course site, from the next start of lab.")
    return 0


def _install_tools() -> None:
    """Let pip bring what is missing or has another version than is pinned."""
    pins = re.findall(r"(?m)^([\w.-]+)==([\w.]+)", REQUIREMENTS.read_text("utf-8"))
    if all(_version(name) == version for name, version in pins):
        return
    print("Installing what builds the site (about 60 MB)", flush=True)
    environment.install_requirements(REQUIREMENTS, [])


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _check() -> int:
    """Print the faults; 1 if there are any."""
    from utils.launcher.website import check

    html = FIRST_PAGE.parent
    if not FIRST_PAGE.exists():
        raise Problem("There is no site yet; build it with: python3 -m utils site")
    faults = check.faults(html)
    faults += _in_browser(html)
    print(
        f"{len(check.pages(html))} pages, {check.size_of(html) / 1e6:.1f} MB; ", end=""
    )
    print(f"the first page {check.first_page_bytes(html) / 1e3:.0f} KB.")
    for fault in faults:
        print(fault, file=sys.stderr)
    print(f"{len(faults)} faults." if faults else "No fault was found.")
    return 1 if faults else 0


def _in_browser(html: Path) -> list[str]:
    """The faults that only a browser shows, on every page."""
    from utils.launcher.website import browse, check

    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        lacking = "No Chromium or playwright: what only a browser shows is unchecked."
        print(lacking)
        return [lacking] if os.environ.get("CI") == "true" else []
    names = [path.relative_to(html).with_suffix("") for path in check.pages(html)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=list(SWITCHES)
        )
        page = browser.new_page()
        page.context.set_offline(True)
        faults = browse.search_faults(page, html)
        faults += browse.visit(page, html, [name.as_posix() for name in names])
        browser.close()
    return faults
