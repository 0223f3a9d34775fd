"""How a figure gets onto the page: plotly's script never comes from the network."""

from typing import Any

import plotly.graph_objects as go
import plotly.io as pio
from plotly.io.base_renderers import PlotlyRenderer

from utils.pictures.svg import static_svg

__all__ = ["mimebundle", "use_offline_renderer"]


def mimebundle(fig: go.Figure) -> dict[str, Any]:
    """The plotly data, a still SVG picture of it, and the sentence, in one output.

    JupyterLab and VS Code draw the first with the plotly.js they already have; a
    nbconvert page or GitHub shows the second; a terminal or screen reader the third.
    """
    meta = fig.layout.meta
    sentence = meta if isinstance(meta, str) else fig.layout.title.text or "A figure"
    bundle = PlotlyRenderer().to_mimebundle(fig.to_dict())
    bundle["image/svg+xml"] = static_svg(fig, sentence)
    bundle["text/plain"] = sentence
    return bundle


class _OfflineRenderer(PlotlyRenderer):
    def to_mimebundle(self, fig_dict: dict) -> dict[str, Any]:
        return mimebundle(go.Figure(fig_dict, skip_invalid=True))


def use_offline_renderer() -> None:
    """Show figures without any other host and without storing plotly.js.

    The prelude calls it once. JupyterLab's drawing comes from the extension that the
    plotly package installs.
    """
    pio.renderers["course"] = _OfflineRenderer()
    pio.renderers.default = "course"
