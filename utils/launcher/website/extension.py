"""What the course adds to Sphinx: formulas without a script, and outputs in place.

Sphinx loads it by name. Others read this file too, pytest for one, and have no Sphinx;
hence the late imports. Formulas become MathML when the page is built, so a page needs
neither a script nor a font from elsewhere. Outputs stay out of Sphinx's hands, so that
the numbers along an axis are not found by the search.
"""

import re
from typing import Any

from utils.launcher.website.outputs import STATIC

__all__ = ["setup"]

PLACE = re.compile(r'<div class="output" data-output="([^"]+)"></div>')


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("course_outputs", {}, "")
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("html-page-context", _fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _inline_math(writer: Any, node: Any) -> None:
    _set(writer, node, "inline", "{}")


def _block_math(writer: Any, node: Any) -> None:
    _set(writer, node, "block", '<div class="scrolls">{}</div>')


def _set(writer: Any, node: Any, display: str, frame: str) -> None:
    from docutils.nodes import SkipNode
    from latex2mathml.converter import convert

    writer.body.append(frame.format(convert(node.astext(), display=display)))
    raise SkipNode


def _fill(app: Any, page: str, template: str, context: dict, doctree: Any) -> None:
    """Put each output where its place is, and give the search its doors."""
    if page == "search":
        app.add_js_file("doors_table.js", loading_method="defer")
        app.add_js_file("doors.js", loading_method="defer")
    if "body" not in context:
        return
    static = "../" * page.count("/") + "_static/"

    def output(match: re.Match) -> str:
        shown = app.config.course_outputs[match[1]].replace(STATIC, static)
        return f'<div class="output">{shown}</div>'

    context["body"] = PLACE.sub(output, context["body"])
