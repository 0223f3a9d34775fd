"""Every figure of the course: tensors in, a plotly figure out.

Called by the chapters, the solutions' reveals and the explorers. Nothing here runs a
model. Each figure has a title, axis titles with units, head labels such as 1.4, and
one sentence, made from the data, that `describe` returns.
"""

from utils.pictures.figures.circuits import (
    composition_figure,
    eigenvalue_plot,
)
from utils.pictures.figures.heads import (
    head_scores,
    score_histogram,
)
from utils.pictures.figures.heatmaps import (
    MAX_CELLS,
    attention_heatmap,
    attention_sentence,
    check_pattern,
    matrix_heatmap,
)
from utils.pictures.figures.lines import (
    logit_attribution,
    loss_by_position,
    token_bars,
    top_tokens,
    training_curves,
)
from utils.pictures.figures.points import (
    paths,
    scatter,
)
from utils.pictures.figures.screen import (
    mimebundle,
    use_offline_renderer,
)
from utils.pictures.figures.style import (
    DIVERGING,
    INK,
    PALETTE,
    PAPER,
    SEQUENTIAL,
    check_values,
    describe,
    head_label,
)
from utils.pictures.figures.table import table

__all__ = [
    "DIVERGING",
    "INK",
    "MAX_CELLS",
    "PALETTE",
    "PAPER",
    "SEQUENTIAL",
    "attention_heatmap",
    "attention_sentence",
    "check_pattern",
    "check_values",
    "composition_figure",
    "describe",
    "eigenvalue_plot",
    "head_label",
    "head_scores",
    "logit_attribution",
    "loss_by_position",
    "matrix_heatmap",
    "mimebundle",
    "paths",
    "scatter",
    "score_histogram",
    "table",
    "token_bars",
    "top_tokens",
    "training_curves",
    "use_offline_renderer",
]
