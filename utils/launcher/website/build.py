"""Puts the site together: run the chapters, write the pages, let Sphinx build them.

Called by `python3 -m utils site`. Nothing that is loaded by a page comes from another
host: theme, search, formulas, plotly and circuitsvis are copied from what is installed.
"""

import contextlib
import io
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from utils.launcher.environment import ROOT
from utils.launcher.problems import Problem
from utils.launcher.website.chapters import ChapterPage, chapter_page
from utils.launcher.website.doors import doors, script
from utils.launcher.website.execute import executed
from utils.launcher.website.formulas import dark_rules, write_font
from utils.launcher.website.others import (
    findings_page,
    front_page,
    gallery_page,
    raised,
    relinked,
)
from utils.launcher.website.papers import paper_pages
from utils.launcher.website.reference import reference_pages

__all__ = ["Site", "build", "build_pages", "write_static"]

HERE = Path(__file__).parent
TITLE = "Transformer circuits, an interactive course"
THEME = {
    "light_css_variables": {
        "color-brand-primary": "#0067A3",
        "color-brand-content": "#0067A3",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6CB8EA",
        "color-brand-content": "#6CB8EA",
    },
}
SETTINGS: dict[str, Any] = {
    "project": TITLE,
    "html_title": TITLE,
    "extensions": ["myst_parser", "utils.launcher.website.extension"],
    "html_theme": "furo",
    "html_theme_options": THEME,
    "html_static_path": ["_static"],
    "html_css_files": ["site.css"],
    "html_js_files": [("site.js", {"defer": "defer"})],
    "html_copy_source": False,
    "html_show_sphinx": False,
    "html_search_scorer": str(HERE / "scorer.js"),
    "html_math_renderer": "mathml",
    "myst_enable_extensions": ["dollarmath", "attrs_inline", "deflist"],
    "myst_heading_anchors": 3,
    "myst_dmath_allow_labels": False,
    "myst_dmath_double_inline": True,
    "python_maximum_signature_line_length": 60,
    "python_display_short_literal_types": True,
    "pygments_style": "a11y-high-contrast-light",
    "language": "en",
}


@dataclass
class Site:
    """Pages by name ("chapters/ch0_toolbox") in Markdown, and their outputs by place.

    `chapters` are the parts that are left out elsewhere; `lost` tells what a page could
    not show.
    """

    pages: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    chapters: list[ChapterPage] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def build(
    chapters: Iterable[Path], folder: Path, say: Callable[[str], None] = print
) -> Path:
    """Build the site into `folder`/html; returns its first page.

    Raises Problem when a chapter does not run, an output cannot be shown, or Sphinx
    warns of anything, such as a link that leads nowhere.
    """
    notebooks = executed(chapters, folder / "kept", say)
    say("Writing the pages")
    source = _emptied(folder / "source")
    stills = source / "_static" / "stills"
    stills.mkdir(parents=True)
    site = Site()
    for stem, notebook in notebooks.items():
        add_chapter(site, chapter_page(stem, notebook, stills))
    add_other_pages(site)
    return build_pages(site, folder, say)


def add_chapter(site: Site, page: ChapterPage) -> None:
    """Add a chapter's page to the site."""
    site.chapters.append(page)
    site.pages[f"chapters/{page.stem}"] = page.markdown
    site.outputs.update(page.outputs)
    for picture in page.pictures:
        site.outputs[picture.name] = picture.html
        site.outputs[f"still:{picture.name}"] = picture.still
    site.lost += page.lost


def add_other_pages(site: Site) -> None:
    """Add all that stands beside the chapters, and the front page."""
    site.pages |= reference_pages(site.chapters)
    site.pages |= paper_pages(site.chapters)
    site.pages["gallery"] = gallery_page(site.chapters)
    site.pages["findings"] = findings_page(site.chapters)
    for name, file in (("glossary", "GLOSSARY.md"), ("facilitator", "FACILITATOR.md")):
        place = ROOT / "chapters" / file
        if place.exists():
            site.pages[name] = raised(place.read_text(encoding="utf-8"))
    site.pages["index"] = front_page(site.chapters, site.pages)


def build_pages(site: Site, folder: Path, say: Callable[[str], None] = print) -> Path:
    """Let Sphinx make HTML of the pages; returns the first."""
    if site.lost:
        raise Problem("These outputs cannot be shown: " + "; ".join(site.lost))
    source = folder / "source"
    for name, markdown in site.pages.items():
        place = source / f"{name}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(relinked(markdown, name), encoding="utf-8")
    write_static(source / "_static")
    table = script(doors(site.chapters, site.pages))
    (source / "_static" / "doors_table.js").write_text(table, encoding="utf-8")
    html = _emptied(folder / "html")
    warnings = _run_sphinx(source, html, folder / "doctrees", site.outputs)
    if warnings:
        raise Problem("Sphinx warns:\n" + "\n".join(warnings))
    return html / "index.html"


def _run_sphinx(source: Path, html: Path, doctrees: Path, outputs: dict) -> list[str]:
    """Build, and return the warnings."""
    from sphinx.application import Sphinx
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    said = io.StringIO()
    settings = SETTINGS | {"course_outputs": outputs}
    with patch_docutils(), docutils_namespace(), contextlib.redirect_stderr(said):
        app = Sphinx(
            source,
            None,
            html,
            _emptied(doctrees),
            "html",
            confoverrides=settings,
            status=None,
            warning=said,
            freshenv=True,
        )
        app.build(force_all=True)
    return [line for line in said.getvalue().splitlines() if line.strip()]


def write_static(static: Path) -> None:
    """The style, the scripts and what they load."""
    static.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "static").iterdir():
        shutil.copyfile(path, static / path.name)
    with (static / "site.css").open("a", encoding="utf-8") as style:
        style.write(dark_rules())
    write_font(static / "formulas.woff")
    plotly = files("plotly").joinpath("package_data/plotly.min.js")
    (static / "plotly.min.js").write_bytes(plotly.read_bytes())
    circuits = files("circuitsvis").joinpath("dist/cdn/iife.js").read_text("utf-8")
    circuits = circuits.split("\n//# sourceMappingURL")[0]
    (static / "circuitsvis.js").write_text(circuits, encoding="utf-8")
    (static / "attention_view.js").write_text(view_script(), encoding="utf-8")


def view_script() -> str:
    """The notebooks' own script for attention views, for a page opened from a disk.

    There a browser loads no modules, so the one line that makes it one is replaced.
    """
    source = (HERE.parents[1] / "pictures" / "attention_view.js").read_text("utf-8")
    body, count = re.subn(r"(?m)^export default \{[^}]*\};\n", "", source)
    if count != 1:
        raise Problem("attention_view.js no longer ends as the site expects.")
    return f"(() => {{\n{body}\nwatch();\nshowAll();\n}})();\n"


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
