"""How a figure gets onto the page: plotly's script never comes from the network.

The figure functions make an `OfflineFigure`, which shows itself. Plotly's own way asks
its registry of renderers, and opening that registry imports nbformat with all its
validators: a second and a half for something that is not used here.
"""

import os
import sys
from typing import Any

import plotly.graph_objects as go
from plotly.io.base_renderers import PlotlyRenderer

from utils.pictures.svg import static_svg

__all__ = ["OfflineFigure", "mimebundle", "use_offline_renderer"]


class OfflineFigure(go.Figure):
    """A plotly figure that displays as data, a still picture and a sentence."""

    # IPython asks for these as well, and they would go to plotly's renderers.
    _ipython_display_ = None
    _repr_html_ = None

    def _repr_mimebundle_(self, *_, **__) -> dict[str, Any]:
        return mimebundle(self)

    def show(self, *_, **__) -> None:
        """Display the figure, as the last line of a cell would."""
        from IPython.display import display

        display(self)


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


def use_offline_renderer() -> None:
    """Show plotly figures of a learner's own without any other host, as data alone.

    The prelude calls it once. JupyterLab's drawing comes from the extension that the
    plotly package installs. A renderer that was chosen by hand stays.
    """
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")
    if "plotly.io._renderers" in sys.modules:
        import plotly.io as pio

        pio.renderers.default = os.environ["PLOTLY_RENDERER"]
