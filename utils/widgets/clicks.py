"""A page whose marked parts can be clicked.

Called by the explorers that have something to choose in a picture. The marks are
`data-pick` attributes, which `utils.pictures.svg` writes for a figure's `meta`;
clicks.js sends their names.
"""

from collections.abc import Callable
from html import escape
from pathlib import Path

import anywidget
from traitlets import Unicode

__all__ = ["ClickPage", "mark_picked"]


class ClickPage(anywidget.AnyWidget):
    """HTML in `value`, as in `ipywidgets.HTML`; its marked parts can be clicked."""

    _esm = Path(__file__).with_suffix(".js")
    value = Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.add_class("widget-html")  # JupyterLab's style of text and of code

    def on_pick(self, act: Callable[[str], object]) -> None:
        """Call `act` with the name of each part that is clicked."""

        def hear(_widget, content, _buffers) -> None:
            if isinstance(content, dict) and isinstance(content.get("pick"), str):
                act(content["pick"])

        self.on_msg(hear)


def mark_picked(html: str, names: tuple[str, ...], color: str) -> str:
    """The page with the parts of these names in another colour.

    A part's shape keeps its size; only its stroke is changed.
    """
    for name in names:
        mark = f'data-pick="{escape(name)}"'
        html = html.replace(mark, f'{mark} style="stroke:{color}"')
    return html
