"""What every explorer is made of: reading what was typed, the page, the controls.

Called by the other files of this package. An explorer is three things: a function that
computes, a function that draws a `Page`, and controls above it (`Explorer`).
"""

import copy
import re
import threading
import warnings
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import ipywidgets as widgets
import plotly.graph_objects as go
import torch
from transformer_lens.model_bridge import TransformerBridge

from utils.pictures import figures
from utils.pictures.attention_view import send_script
from utils.pictures.colors import blend
from utils.pictures.svg import static_svg
from utils.text.tokens import visible
from utils.widgets.typed import Ask, read_text

__all__ = [
    "Explorer",
    "MARKED",
    "Memory",
    "Page",
    "bar_table",
    "button",
    "check_shape",
    "chip",
    "choice",
    "choose_head",
    "choose_layer",
    "figure_svg",
    "head_names",
    "learner_call",
    "need_heads",
    "paragraph",
    "place_in",
    "place_slider",
    "private_copy",
    "show_token",
    "text_box",
    "token_box",
]

_CARD = (
    "--jp-content-font-color1:#1F2933;--jp-ui-font-color1:#1F2933;"
    f"background:{figures.PAPER};color:{figures.INK};padding:10px 12px;margin:4px 0;"
    "border:1px solid #D9DDE2;border-radius:6px;overflow:auto;max-width:800px;"
    "font-size:13px;line-height:1.5"
)


_LIVE_ONLY = re.compile(
    r' (?:data-course-view|data-pick|tabindex|cursor)="[^"]*"| role="button"'
)


_LABELLED = {"description_width": "initial"}


@dataclass(frozen=True)
class Page:
    """What an explorer shows: HTML without scripts, and the same in one sentence.

    The page gets a white card around it, unless `card` says that it brings its own.
    """

    html: str
    description: str
    card: bool = True


def private_copy(model: TransformerBridge) -> TransformerBridge:
    """A copy that shares the parameters but has hooks and a tokenizer of its own.

    Callbacks run beside the cells. With the cell's own model, its hooks and theirs
    would see each other's activations.
    """
    shared = {id(p): p for p in [*model.parameters(), *model.buffers()]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that the copy is a second one
        return copy.deepcopy(model, shared)


def learner_call(name: str, function: Callable, *args: Any) -> Any:
    """Call a plugged-in function; raises Ask when it stops with an error."""
    try:
        return function(*args)
    except Exception as error:
        kind = type(error).__name__
        text = f"The function given as {name} stopped with {kind}: {error}"
        raise Ask(text) from error


def check_shape(name: str, value: Any, axes: str, sizes: Sequence[int]) -> None:
    """Raise Ask unless what a plugged-in function returned has these sizes."""
    shape = list(getattr(value, "shape", ()))
    if shape != list(sizes):
        got = shape or f"a {type(value).__name__}"
        raise Ask(
            f"The function given as {name} must return {axes}, here {list(sizes)}; "
            f"it returned {got}."
        )


def paragraph(sentence: str) -> str:
    """One paragraph, escaped."""
    return f'<p style="margin:0 0 8px">{escape(sentence)}</p>'


def show_token(token: str) -> str:
    """A token as code, escaped, its blanks visible, its direction its own."""
    return f"<code><bdi>{escape(visible(token))}</bdi></code>"


MARKED = f"2px solid {figures.INK}"


def chip(token: str, value: float = 0.0, note: str = "", edge: str = "") -> str:
    """A token on a colour from -1 (orange) over 0 (white) to 1 (blue).

    `edge` is a CSS border, such as `MARKED`.
    """
    scale = [[0.0, "#E39A63"], [0.5, "#FFFFFF"], [1.0, "#8DBCE0"]]
    color = blend(scale, 0.5 + value / 2)
    edge = edge or "1px solid #DDD"
    return (
        f'<bdi title="{escape(note)}" style="background:{color};border:{edge};'
        f'border-radius:3px;padding:0 2px;white-space:nowrap">'
        f"{escape(visible(token))}</bdi> "
    )


def bar_table(
    title: str, header: str, rows: list[tuple[str, float]], top: float | None = None
) -> str:
    """Tokens with a number and a bar each, as a small table.

    `top` is the value of a full bar; left open, the largest. `title` is HTML.
    """
    top = top or max((abs(value) for _, value in rows), default=0.0) or 1.0
    body = "".join(_bar_row(i, *row, top) for i, row in enumerate(rows, 1))
    cell = "text-align:left;padding:0 10px 2px 0;font-weight:600"
    return (
        '<table style="border-collapse:collapse;margin:0 24px 8px 0;'
        f'font-size:13px;background:{figures.PAPER};color:{figures.INK}">'
        f'<caption style="text-align:left;font-weight:600;color:{figures.INK};'
        f'padding:2px 0">{title}</caption>'
        f'<tr><th style="{cell}"></th><th style="{cell}">token</th>'
        f'<th style="{cell}">{escape(header)}</th><th></th></tr>{body}</table>'
    )


def _bar_row(rank: int, token: str, value: float, top: float) -> str:
    color = figures.PALETTE[1] if value < 0 else figures.PALETTE[0]
    width = round(110 * abs(value) / top)
    return (
        f'<tr style="background:{figures.PAPER}"><td style="color:#6B7280;'
        f'text-align:right;padding:0 8px 0 0">{rank}</td>'
        f'<td style="padding:0 12px 0 0;text-align:left">{show_token(token)}</td>'
        f'<td style="text-align:right;padding:0 8px 0 0">{value:.3g}</td>'
        f'<td style="width:110px;text-align:left"><div style="background:{color};'
        f'height:10px;width:{width}px"></div></td></tr>'
    )


def figure_svg(figure: go.Figure, clickable: bool = False) -> str:
    """The still picture of a figure, which needs no script unless it is `clickable`."""
    svg = static_svg(figure, figures.describe(figure), clickable)
    return svg.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)


def need_heads(model: TransformerBridge) -> None:
    """Raise Ask for a model without attention layers."""
    if model.cfg.n_layers == 0:
        raise Ask("This model has no attention layer, so it has no head to look at.")


def head_names(model: TransformerBridge) -> list[str]:
    """Every head's label, layer by layer, such as 1.4."""
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    return [figures.head_label(i, j) for i in range(layers) for j in range(heads)]


def choose_layer(model: TransformerBridge, layer: int = 0) -> widgets.Dropdown:
    """A list of the layers; empty for a model without any, which `need_heads` tells."""
    layers = [str(i) for i in range(model.cfg.n_layers)]
    return widgets.Dropdown(
        options=layers,
        value=str(layer) if layers else None,
        description="Layer",
        style=_LABELLED,
        layout={"width": "110px"},
    )


def choose_head(model: TransformerBridge, head: int = 0) -> widgets.Dropdown:
    """A list of one layer's heads."""
    return widgets.Dropdown(
        options=[str(i) for i in range(model.cfg.n_heads)],
        value=str(head),
        description="Head",
        style=_LABELLED,
        layout={"width": "110px"},
    )


def text_box(text: str, label: str = "Text") -> widgets.Textarea:
    """A box for a text of several lines; it answers when it is left."""
    return widgets.Textarea(
        value=text,
        description=label,
        continuous_update=False,
        rows=max(2, min(6, text.count("\n") + 1)),
        style=_LABELLED,
        layout={"width": "620px"},
    )


def token_box(token: str, label: str) -> widgets.Text:
    """A box for one token; it answers to Enter and when it is left."""
    return widgets.Text(
        value=visible(token) if token else "",
        description=label,
        continuous_update=False,
        style=_LABELLED,
        layout={"width": "260px"},
    )


def button(label: str) -> widgets.Button:
    """A button as wide as its words."""
    return widgets.Button(description=label, layout={"width": "auto"})


def choice(label: str, options: Sequence[str], value: str) -> widgets.Dropdown:
    """A list of options with a label."""
    return widgets.Dropdown(
        options=list(options),
        value=value,
        description=label,
        style=_LABELLED,
        layout={"width": "auto"},
    )


def place_slider(
    model: TransformerBridge, text: str, position: int | None = None
) -> widgets.IntSlider:
    """A slider over the positions of a text, at the last that has a successor."""
    try:
        last = read_text(model, text).shape[1] - 1
    except Ask:
        last = 1
    start = max(last - 1, 0) if position is None else min(max(position, 0), last)
    return widgets.IntSlider(
        value=start,
        min=0,
        max=last,
        description="Position",
        style=_LABELLED,
        layout={"width": "520px"},
    )


def place_in(slider: widgets.IntSlider, length: int) -> int:
    """The slider's position in a text of this length, its end moved to the text's."""
    slider.max = length - 1
    return min(slider.value, length - 1)


class Memory:
    """Keeps the last thing made, until its key is another or it is forgotten."""

    def __init__(self):
        self.key, self.value = None, None

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gave for this key."""
        if key != self.key or self.value is None:
            self.key, self.value = None, make()
            self.key = key
        return self.value

    def forget(self) -> None:
        """Make it anew next time: the weights may have changed."""
        self.key = self.value = None


class Explorer:
    """Controls above a page; show it as the last expression of a cell.

    `draw()` reads the controls and returns the page. It runs without gradients and one
    at a time, on whatever thread the front end's message arrives. What it raises
    becomes a sentence on the page. `actions` says what each button does before the
    page is drawn again. `page` is the widget that shows it, when it is not to be plain
    HTML. `.html` and `.description` are the page as it is.
    """

    def __init__(
        self,
        rows: Sequence[Sequence[widgets.Widget]],
        draw: Callable[[], Page],
        actions: dict[widgets.Button, Callable[[], Any]] | None = None,
        page: widgets.DOMWidget | None = None,
    ):
        self.rows = [list(row) for row in rows]
        self.draw = draw
        self._lock = threading.RLock()
        self._drawing = False
        self._page = page or widgets.HTML()
        self.description = ""
        self.update()
        # The still picture is to stay one. So an attention view's data can go, and what
        # could be clicked must not look as if it can.
        self._still = _LIVE_ONLY.sub("", self.html)
        self._mark = f"course-still-{zlib.crc32(self._still.encode()):08x}"
        for button, action in (actions or {}).items():
            button.on_click(lambda _, action=action: self.update(action))
        for control in [control for row in self.rows for control in row]:
            if control.has_trait("value"):
                control.observe(lambda _: self.update(), "value")

    @property
    def html(self) -> str:
        """The page as it is now, without the controls."""
        return self._page.value

    def update(self, action: Callable[[], Any] | None = None) -> None:
        """Do what a button stands for, then draw the page from what the controls say.

        Controls that the action or the drawing itself sets draw nothing by themselves.
        """
        with self._lock:
            if self._drawing:
                return
            self._drawing = True
            try:
                if action is not None:
                    action()
                page = self._answer()
            finally:
                self._drawing = False
            self.description = page.description
            self._page.value = _framed(page)

    def _answer(self) -> Page:
        with torch.no_grad():
            try:
                return self.draw()
            except Ask as error:
                return _problem(str(error))
            except Exception as error:
                name = type(error).__name__
                return _problem(f"This could not be drawn. {name}: {error}")

    def __repr__(self) -> str:
        return self.description

    def _ipython_display_(self) -> None:
        from IPython.display import display

        send_script()  # it also gives each slider its name
        still = f'<div id="{self._mark}">{self._still}</div>'
        display({"text/html": still, "text/plain": repr(self)}, raw=True)
        # Where widgets run, the still picture makes room for the live one.
        style = f"<style>#{self._mark}{{display:none}}</style>"
        rows = [
            widgets.HBox(row, layout={"flex_flow": "row wrap"}) for row in self.rows
        ]
        display(widgets.VBox([*rows, self._page, widgets.HTML(style)]))


def _framed(page: Page) -> str:
    sentence = escape(page.description)
    return (
        f'<div class="course-card" role="group" aria-label="{sentence}" '
        f'style="{_CARD}">{page.html}</div>'
    )


def _problem(sentence: str) -> Page:
    html = f'<p role="alert" class="course-problem" style="margin:0">{escape(sentence)}'
    return Page(html + "</p>", sentence)
