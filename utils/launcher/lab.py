"""`python3 -m utils lab [ch3]`: lays the learner's copies and opens JupyterLab on them.

Called by `utils/__main__.py`. Chapters are copied into git-ignored `my_chapters/`, so
that an update of the course never collides with someone's answers. The glossary, which
their links lead to, is laid beside them. Where the site is built, the same server shows
it, and JupyterLab has a button for it.
"""

import importlib.util
import json
import os
import shutil
import sys
import time
from pathlib import Path

from utils.launcher import environment
from utils.launcher.environment import ROOT, Problem
from utils.launcher.site import FIRST_PAGE, FOLDER

__all__ = [
    "SETTINGS",
    "SITE",
    "chapters",
    "find_chapter",
    "fresh",
    "jupyter_command",
    "last_changed",
    "lay_missing",
    "lay_site_link",
    "lay_styles",
    "main",
    "static_files",
    "switch_off_news",
]

CHAPTERS = ROOT / "chapters"
COPIES = ROOT / "my_chapters"
GLOSSARY = "GLOSSARY.md"
STYLES = ROOT / "utils" / "assets" / "lab" / "custom.css"
ANNOUNCEMENTS = "@jupyterlab/apputils-extension:announcements"
# Where the server of `lab` shows the site's first page, if there is one.
SITE = f"/static/{FIRST_PAGE.relative_to(FOLDER).as_posix()}"
# The course's colours in formulas, and the site; and JupyterLab asks nobody outside for
# news or for a newer version of itself.
SETTINGS = (
    "--LabApp.custom_css=True",
    f"--ServerApp.extra_static_paths={FOLDER}",
    "--LabApp.news_url=None",
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
)


def main(argv: list[str]) -> int:
    """Lay missing chapters, then run JupyterLab until it is closed.

    It opens the chapter named in the first word or after `--fresh`, else the one whose
    copy was changed last. Raises Problem for a chapter that is not there.
    """
    renewed, rest = _split_fresh(argv)
    name, rest = _split_chapter(rest)
    chapter = None if name is None else find_chapter(name)
    if renewed is not None:
        print(fresh(renewed))
        chapter = chapter or find_chapter(renewed)
    laid = lay_missing()
    if laid:
        print("Laid into my_chapters: " + ", ".join(path.stem for path in laid))
    if FIRST_PAGE.exists():
        print(f"To look things up: {FIRST_PAGE.as_uri()}, or the button Course site")
    switch_off_news(Path(sys.prefix))
    lay_styles(static_files())
    lay_site_link(Path(sys.prefix))
    return environment.run_child(
        jupyter_command(chapter or last_changed(), rest),
        environment.child_environment(),
        COPIES,
    )


def chapters() -> list[Path]:
    """The chapters there are, in order."""
    found = sorted(CHAPTERS.glob("ch*_*.ipynb"))
    if not found:
        raise Problem("The folder chapters/ is empty; download the course again.")
    return found


def find_chapter(name: str) -> Path:
    """The chapter called "ch3", "ch3_one_layer" or by its file's name."""
    matching = [p for p in chapters() if name in (p.stem, p.stem.split("_")[0], p.name)]
    if not matching:
        names = ", ".join(path.stem.split("_")[0] for path in chapters())
        raise Problem(f"There is no chapter {name!r}; these exist: {names}.")
    return matching[0]


def last_changed() -> Path:
    """The chapter whose copy was changed last; of equal ones the first."""
    return max(chapters(), key=_changed)


def lay_missing() -> list[Path]:
    """Copy each chapter the learner does not have yet; returns the new copies.

    Nobody has worked on these, so they count as changed no later than any other copy.
    """
    COPIES.mkdir(exist_ok=True)
    missing = [path for path in chapters() if not (COPIES / path.name).exists()]
    others = [_changed(path) for path in chapters() if path not in missing]
    when = min(others, default=time.time_ns())
    laid = [_lay(path) for path in missing]
    for copy in laid:
        os.utime(copy, ns=(when, when))
    _lay(CHAPTERS / GLOSSARY)  # nobody's answers: always the present one
    return laid


def fresh(name: str) -> str:
    """Set the learner's copy of a chapter aside, lay a new one, say what was done."""
    chapter = find_chapter(name)
    COPIES.mkdir(exist_ok=True)
    copy = COPIES / chapter.name
    if not copy.exists():
        _lay(chapter)
        return f"Laid {chapter.stem}."
    kept = _set_aside(copy)
    _lay(chapter)
    return f"Laid {chapter.stem} anew; your copy is now my_chapters/{kept.name}."


def jupyter_command(chapter: Path, rest: list[str]) -> list[str]:
    """The command that opens a chapter's copy; `rest` may override all of it."""
    return [
        sys.executable,
        "-P",  # a file "random.py" beside the chapters is none of the server's
        "-m",
        "jupyterlab",
        f"--ServerApp.root_dir={COPIES}",
        f"--LabApp.default_url=/lab/tree/{chapter.name}",
        *SETTINGS,
        *rest,
    ]


def _split_fresh(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take `--fresh NAME` out of the words; the rest goes to JupyterLab."""
    for i, word in enumerate(argv):
        if word.startswith("--fresh="):
            return word.partition("=")[2], argv[:i] + argv[i + 1 :]
        if word == "--fresh":
            if i + 1 == len(argv):
                raise Problem("Say which chapter, for example: lab --fresh ch2.")
            return argv[i + 1], argv[:i] + argv[i + 2 :]
    return None, argv


def _split_chapter(argv: list[str]) -> tuple[str | None, list[str]]:
    """Take a chapter's name out of the words, which only the first can be."""
    if argv and not argv[0].startswith("-"):
        return argv[0], argv[1:]
    return None, argv


def _changed(chapter: Path) -> int:
    """When the learner's copy of a chapter was last written, in ns."""
    return (COPIES / chapter.name).stat().st_mtime_ns


def _lay(chapter: Path) -> Path:
    """Copy in two steps, so that a full disk never leaves half a notebook."""
    copy = COPIES / chapter.name
    temporary = copy.with_suffix(".new")
    shutil.copyfile(chapter, temporary)
    os.replace(temporary, copy)
    return copy


def _set_aside(copy: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1, 1000):
        ending = stamp if number == 1 else f"{stamp}-{number}"
        kept = copy.with_name(f"{copy.stem}.{ending}.ipynb")
        if not kept.exists():
            copy.rename(kept)
            return kept
    raise Problem(f"Too many copies of {copy.name} in my_chapters; remove some.")


def switch_off_news(prefix: Path) -> None:
    """Disable the plugin that asks about Jupyter news and looks for updates.

    The two command-line settings stop the server's requests; only this stops the
    question in the browser.
    """
    path = prefix / "etc" / "jupyter" / "labconfig" / "page_config.json"
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError):
        config = {}
    disabled = config.setdefault("disabledExtensions", {})
    if disabled.get(ANNOUNCEMENTS) is True:
        return
    disabled[ANNOUNCEMENTS] = True
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(config, indent=1))


def static_files() -> Path:
    """The server's own folder of static files, in the course's environment."""
    return Path(importlib.util.find_spec("jupyter_server").origin).parent / "static"


def lay_styles(folder: Path) -> None:
    """Give JupyterLab the course's colours for dark pages, in `folder`/custom.

    The server looks there and, before, in the folder of the user's own settings.
    """
    target = folder / "custom" / STYLES.name
    if not target.exists() or target.read_bytes() != STYLES.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(STYLES, target)


def lay_site_link(prefix: Path, address: str = SITE) -> None:
    """Give notebooks and the Help menu a link to the site; none where it is not built.

    JupyterLab reads such settings from `prefix`/etc/jupyter when a page opens.
    `address` is where the server has the site's first page.
    """
    place = prefix / "etc" / "jupyter" / "labconfig"
    place = place / "default_setting_overrides.d" / "course.json"
    if not FIRST_PAGE.exists():
        place.unlink(missing_ok=True)
        return
    words = {"url": address, "text": "Course site, to search", "newBrowserTab": True}
    opens = {"command": "help:open", "args": words}
    caption = "All chapters, functions and rows of the papers, to search (a new tab)"
    button = {
        "name": "course-site",
        "label": "Course site",
        "caption": caption,
        "icon": "ui-components:search",
        "rank": 50,
    }
    menu = {"id": "jp-mainmenu-help", "items": [{**opens, "rank": 0.5}]}
    settings = {
        "@jupyterlab/notebook-extension:panel": {"toolbar": [{**opens, **button}]},
        "@jupyterlab/mainmenu-extension:plugin": {"menus": [menu]},
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(settings, indent=1))
