"""What a view of attention is made of: circuitsvis on the page, patterns packed small,
still pictures, and checks of what comes in.
"""

import base64
import gzip
import json
import threading
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from utils.pictures import figures
from utils.pictures.colors import color_ramp, png_data_uri
from utils.text.tokens import visible

__all__ = [
    "AttentionView",
    "MAX_BYTES",
    "check_backend",
    "check_length",
    "fit",
    "harmless",
    "is_causal",
    "of_figure",
    "pack",
    "send_script",
    "square",
    "still_pattern",
    "wrap",
]

MAX_BYTES = 60_000


LEVELS = 250


STILL_LEVELS = 24


STILL_SIZE = 64


# A light card with a border, and JupyterLab's own colours inside it set too. The style
# sheet of `lab` turns its lightness round on dark pages; elsewhere it stays light.
_CARD = (
    "--jp-content-font-color1:#1F2933;--jp-ui-font-color1:#1F2933;"
    "--jp-layout-color0:#FFFFFF;--jp-rendermime-table-row-background:#F3F4F6;"
    "background:#FFFFFF;color:#1F2933;padding:10px 12px;margin:4px 0;"
    "border:1px solid #D9DDE2;border-radius:6px;overflow:auto;max-width:"
)


class AttentionView:
    """Something to look at: `.html`, `.description`, and `.figure` for plotly's.

    Shown as the last expression of a cell. `.html` is at most 60 KB and contains no
    script.
    """

    def __init__(self, html: str, description: str, figure: go.Figure | None = None):
        self.html = html
        self.description = description
        self.figure = figure

    def stored_bytes(self) -> int:
        """What the view adds to a saved notebook, as JSON in UTF-8."""
        return len(json.dumps(self._bundle(), ensure_ascii=False).encode())

    def _bundle(self) -> dict[str, Any]:
        if self.figure is not None:
            return figures.mimebundle(self.figure)
        return {"text/html": self.html, "text/plain": self.description}

    def __repr__(self) -> str:
        return self.description

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        if self.figure is None:
            send_script()
        return self._bundle()


_lock = threading.Lock()


_loader: Any = None


@cache
def _compressed_script() -> bytes:
    """circuitsvis's script, without the line that lets a debugger fetch its map."""
    source = files("circuitsvis").joinpath("dist/cdn/iife.js").read_text("utf-8")
    return gzip.compress(source.split("\n//# sourceMappingURL")[0].encode(), 9, mtime=0)


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def send_script() -> None:
    """Send circuitsvis to the page, once per kernel and again whenever a page asks.

    Goes through a widget that is never displayed, so no output cell holds anything.
    Showing a view or an explorer calls it. Does nothing outside a notebook.
    """
    global _loader
    with _lock:
        if _loader is not None or not _in_notebook():
            return
        import anywidget

        code = Path(__file__).with_name("attention_view.js").read_text("utf-8")
        _loader = anywidget.AnyWidget(_esm=code)
        _loader.on_msg(lambda widget, *_: widget.send({}, [_compressed_script()]))
        _loader.send({}, [_compressed_script()])


def wrap(
    component: str, data: dict, still: str, description: str, width: int = 720
) -> str:
    """The HTML of a view. What comes from outside is escaped; there is no script."""
    packed = json.dumps(
        {"component": component, **data}, ensure_ascii=False, separators=(",", ":")
    )
    sentence = escape(description)
    return (
        f'<figure class="course-card" aria-label="{sentence}" style="{_CARD}{width}px">'
        f'<figcaption style="font-size:13px;margin-bottom:8px">{sentence}</figcaption>'
        f'<div data-course-view="{escape(packed)}">{still}</div></figure>'
    )


def harmless(token: str) -> str:
    """The visible token for the components of circuitsvis that write raw HTML.

    An invisible joiner after < and & keeps the browser from reading a tag or an entity,
    and unlike an escape it also looks right where the component writes plain text.
    """
    shown = visible(token)
    return shown.replace("<", "<\u2060").replace("&", "&\u2060")


def fit(length: int, build: Callable[[int], AttentionView]) -> AttentionView:
    """The view of as many leading tokens as fit into 60 KB of notebook."""
    kept = length
    while True:
        view = build(kept)
        if view.stored_bytes() <= MAX_BYTES or kept == 1:
            return view
        kept = max(1, int(kept * 0.9))


def pack(weights: np.ndarray, causal: bool) -> dict:
    """Weights [head, pos, pos] in steps of 1/250, compressed."""
    top = max(1.0, float(weights.max()))
    steps = np.clip(weights / top * LEVELS, 0, LEVELS).round().astype(np.uint8)
    if causal:
        rows, columns = np.tril_indices(weights.shape[-1])
        steps = steps[:, rows, columns]
    data = base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode()
    return {
        "shape": list(weights.shape[:2]),
        "causal": causal,
        "max": round(top, 4),
        "data": data,
    }


def _shrink(weights: np.ndarray) -> np.ndarray:
    """[pos, pos] with at most 64 pixels a side; the largest weight of a block stays."""
    step = -(-weights.shape[0] // STILL_SIZE)
    short = -weights.shape[0] % step
    padded = np.pad(weights, ((0, short), (0, short)))
    side = padded.shape[0] // step
    return padded.reshape(side, step, side, step).max((1, 3))


def still_pattern(weights: np.ndarray, name: str, causal: bool, pixels: int) -> str:
    small = _shrink(weights / max(1.0, float(weights.max())))
    index = (small * (STILL_LEVELS - 1)).round().astype(np.uint8)
    if causal:
        index[np.triu_indices(len(index), 1)] = STILL_LEVELS
    palette = [*color_ramp(figures.SEQUENTIAL, STILL_LEVELS), "#E3E5E8"]
    source = png_data_uri(index, palette)
    label = escape(name)
    return (
        f'<div style="display:inline-block;margin:4px;font-size:12px">{label}<br>'
        f'<img alt="attention of {label}" src="{source}" width="{pixels}" '
        f'height="{pixels}" style="image-rendering:pixelated;'
        'border:1px solid #6B7280"></div>'
    )


def square(patterns: Any, dims: int, axes: str) -> np.ndarray:
    weights = figures.check_pattern(patterns, (dims,), "The pattern", axes)
    if weights.shape[-1] != weights.shape[-2]:
        raise ValueError(
            f"The pattern must have as many queries as keys; got {list(weights.shape)}."
        )
    return weights


def is_causal(weights: np.ndarray) -> bool:
    above = np.triu_indices(weights.shape[-1], 1)
    return bool((weights[..., above[0], above[1]] < 1e-6).all())


def check_length(tokens: Sequence[str], length: int) -> None:
    if isinstance(tokens, str) or len(tokens) != length:
        raise ValueError(
            f"The view needs {length} tokens, one for each position; got "
            f"{len(tokens)}. Give a list of strings."
        )


def check_backend(backend: str) -> None:
    if backend not in ("circuitsvis", "plotly"):
        raise ValueError(f'backend must be "circuitsvis" or "plotly", not {backend!r}.')


def of_figure(figure: go.Figure) -> AttentionView:
    description = figures.describe(figure)
    svg = figures.mimebundle(figure)["image/svg+xml"]
    html = f'<figure aria-label="{escape(description)}">{svg}</figure>'
    return AttentionView(html, description, figure)
