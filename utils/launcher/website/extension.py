"""What the course adds to Sphinx: formulas without a script, and outputs in place.

Sphinx loads it by name. Formulas become MathML when the page is built, so a page needs
neither a script nor a font from elsewhere. Outputs stay out of Sphinx's hands, so that
the numbers along an axis are not found by the search.
"""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

from utils.launcher.website.outputs import STATIC

__all__ = ["setup"]

PLACE = re.compile(r'<div class="output" data-output="([^"]+)"></div>')
# The converter knows the sizes of brackets, but not the plain word for a norm.
SPELLINGS = (("\\lVert", "\\|"), ("\\rVert", "\\|"))


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_config_value("course_outputs", {}, "")
    app.add_html_math_renderer("mathml", (_inline_math, None), (_block_math, None))
    app.connect("html-page-context", _fill)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def mathml(formula: str, display: str) -> str:
    """A formula as MathML; `display` is "inline" or "block"."""
    for old, new in SPELLINGS:
        formula = formula.replace(old, new)
    return convert(formula, display=display)


def _inline_math(writer: Any, node: nodes.math) -> None:
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block_math(writer: Any, node: nodes.math_block) -> None:
    formula = mathml(node.astext(), "block")
    writer.body.append(f'<div class="scrolls">{formula}</div>')
    raise nodes.SkipNode


def _fill(app: Sphinx, page: str, template: str, context: dict, doctree: Any) -> None:
    """Put each output where its place is."""
    if "body" not in context:
        return
    static = "../" * page.count("/") + "_static/"

    def output(match: re.Match) -> str:
        shown = app.config.course_outputs[match[1]].replace(STATIC, static)
        return f'<div class="output">{shown}</div>'

    context["body"] = PLACE.sub(output, context["body"])
