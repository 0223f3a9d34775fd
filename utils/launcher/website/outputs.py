"""What a cell showed, as HTML for a page without a kernel.

Called by `chapters.py`. A plotly figure becomes a still picture that the page's script
makes live when it comes near; an attention view stays as it is; of an explorer the
still that the notebook itself keeps is shown, with the names of its controls. Whatever
could not be shown is told in `lost`, and nothing vanishes unseen.
"""

import base64
import html
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Picture", "Shown", "show_cell"]

PLOTLY = "application/vnd.plotly.v1+json"
WIDGET = "application/vnd.jupyter.widget-view+json"
STATE = "application/vnd.jupyter.widget-state+json"
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
STATIC = "{static}"
SENTENCE = re.compile(r'(?:aria-label|alt)="([^"]+)"')
DRAWING = re.compile(r'src="data:image/svg\+xml;base64,([^"]+)"')
IN_VIEW = re.compile(r'<div data-course-view="[^"]*">(.*)</div></figure>', re.DOTALL)
FIRST_PICTURE = re.compile(r"<img [^>]*>|<svg.*?</svg>", re.DOTALL)
THEME_RULES = re.compile(r"<style>\[data-jp-theme.*?</style>", re.DOTALL)
# Controls with a name that a reader would look for in the notebook.
CONTROLS = ("Dropdown", "Slider", "Text", "Textarea", "Checkbox", "Toggle", "Radio")


@dataclass(frozen=True)
class Picture:
    """One figure, diagram or view: where it stands, what it is and what it says.

    `html` shows it on any page of the site, and `still` without anything live; `kind`
    is "figure", "diagram", "attention view" or "explorer".
    """

    name: str
    cell: str
    kind: str
    title: str
    description: str
    html: str
    still: str


@dataclass
class Shown:
    """The HTML of a cell's outputs, the pictures among them, and what was lost."""

    html: str = ""
    pictures: list[Picture] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def show_cell(cell: Any, widgets: dict[str, dict], stills: Path) -> Shown:
    """A code cell's outputs.

    `widgets` is the notebook's widget state by model id. Stills and the data of live
    figures are written to the folder `stills`, which pages find at `_static/stills`.
    """
    shown = Shown()
    outputs = list(_joined(cell.get("outputs", [])))
    has_still = any("course-still-" in _html_of(output) for output in outputs)
    parts = []
    for number, output in enumerate(outputs):
        name = f"{cell['id']}-{number}"
        parts.append(_one(output, name, cell["id"], shown, stills))
        view = output.get("data", {}).get(WIDGET)
        if view and not (has_still or _is_progress(view["model_id"], widgets)):
            shown.lost.append(f"{cell['id']}: a widget without a still")
    if has_still:
        parts.append(_controls(outputs, widgets))
    shown.html = "\n".join(filter(None, parts))
    return shown


def _joined(outputs: Iterable[dict]) -> Iterable[dict]:
    """The outputs, with what was printed in pieces put together, without warnings."""
    text = ""
    for output in outputs:
        if output["output_type"] == "stream":
            text += output["text"] if output["name"] == "stdout" else ""
            continue
        if text:
            yield {"output_type": "stream", "text": text}
            text = ""
        yield output
    if text:
        yield {"output_type": "stream", "text": text}


def _html_of(output: dict) -> str:
    return "".join(output.get("data", {}).get("text/html", ""))


def _one(output: dict, name: str, cell: str, shown: Shown, stills: Path) -> str:
    data = output.get("data", {})
    if output["output_type"] == "stream":
        return _text(output["text"])
    if output["output_type"] == "error":
        shown.lost.append(f"{cell}: {output['ename']}: {output['evalue']}")
        return _text(f"{output['ename']}: {output['evalue']}")
    if PLOTLY in data:
        return _figure(data, name, cell, shown, stills)
    if "text/html" in data:
        return _markup(_html_of(output), name, cell, shown, stills)
    if WIDGET in data:
        return ""
    return _text("".join(data.get("text/plain", "")))


def _text(text: str) -> str:
    return f'<pre class="printed">{html.escape(ANSI.sub("", text).rstrip())}</pre>'


def _figure(data: dict, name: str, cell: str, shown: Shown, stills: Path) -> str:
    """A picture in its own file, and the data in a script that is fetched when near."""
    figure = data[PLOTLY]
    title = figure["layout"].get("title", {}).get("text", "") or "A figure"
    description = "".join(data.get("text/plain", "")) or title
    (stills / f"{name}.svg").write_text("".join(data["image/svg+xml"]), "utf-8")
    packed = json.dumps(
        {"data": figure["data"], "layout": figure["layout"]},
        ensure_ascii=False,
        separators=(",", ":"),
    )
    script = f'window.courseFigures["{name}"]={packed};\n'
    (stills / f"{name}.js").write_text(script, "utf-8")
    words = html.escape(description, quote=True)
    still = f'<img loading="lazy" src="{STATIC}stills/{name}.svg" alt="{words}">'
    markup = (
        f'<figure class="scrolls"><div class="live" data-figure="{name}">{still}</div>'
        "</figure>"
    )
    shown.pictures.append(
        Picture(name, cell, "figure", _plain(title), description, markup, still)
    )
    return markup


def _markup(markup: str, name: str, cell: str, shown: Shown, stills: Path) -> str:
    """Views, diagrams and explorers come as HTML without scripts."""
    markup = THEME_RULES.sub("", markup)
    drawn = DRAWING.search(markup)
    if drawn:
        (stills / f"{name}.svg").write_bytes(base64.b64decode(drawn[1]))
        source = f'loading="lazy" src="{STATIC}stills/{name}.svg"'
        markup = markup[: drawn.start()] + source + markup[drawn.end() :]
    boxed = f'<div class="scrolls">{markup}</div>'
    kind = _kind(markup)
    if kind:
        found = SENTENCE.search(markup)
        sentence = html.unescape(found[1]) if found else ""
        picture = Picture(name, cell, kind, "", sentence, boxed, _still(markup, kind))
        shown.pictures.append(picture)
    return boxed


def _still(markup: str, kind: str) -> str:
    """What stands for a picture in the gallery; all of it where it is only text."""
    inside = IN_VIEW.search(markup) if kind == "attention view" else None
    if inside:
        return inside[1]
    seen = FIRST_PICTURE.search(markup)
    return seen[0] if seen else markup


def _kind(markup: str) -> str:
    if "course-still-" in markup:
        return "explorer"
    if "data-course-view" in markup:
        return "attention view"
    return "diagram" if "course-diagram" in markup else ""


def _plain(title: str) -> str:
    """Plotly's titles may hold tags."""
    return html.unescape(re.sub(r"<[^>]*>", " ", title)).strip()


def _is_progress(model_id: str, widgets: dict[str, dict]) -> bool:
    """Whether a widget is a progress bar, or holds one."""
    found = widgets.get(model_id, {})
    if "Progress" in found.get("model_name", ""):
        return True
    children = found.get("state", {}).get("children", [])
    return any(_is_progress(child.split("_")[-1], widgets) for child in children)


def _controls(outputs: Iterable[dict], widgets: dict[str, dict]) -> str:
    """Which controls an explorer has where a kernel answers them."""
    names = []
    for output in outputs:
        view = output.get("data", {}).get(WIDGET)
        names += _labels(view["model_id"], widgets) if view else []
    names = [html.escape(name) for name in dict.fromkeys(names) if name]
    if not names:
        return ""
    return (
        '<p class="controls">A still. In the notebook this answers to: '
        f"{', '.join(names)}.</p>"
    )


def _labels(model_id: str, widgets: dict[str, dict]) -> list[str]:
    found = widgets.get(model_id, {})
    state = found.get("state", {})
    labels = []
    if any(kind in found.get("model_name", "") for kind in CONTROLS):
        labels.append(state.get("description", "").strip())
    for child in state.get("children", []):
        labels += _labels(child.split("_")[-1], widgets)
    return labels
