"""Drawn diagrams of models, circuits and algebra: a config or real tensors in, SVG out.

Called by the chapters. Nothing here runs a model. One colour means one thing in all of
them (see `ink.ROLES`), in light and dark pages, and each says in words what it shows.
"""

from utils.pictures.diagrams.algebra import (
    pattern_pair,
    product,
    tensor_product,
    virtual_head,
)
from utils.pictures.diagrams.architecture import head_halves, model_diagram, stream_bus
from utils.pictures.diagrams.circuits import (
    bigram_and_copy,
    curve_strips,
    induction_circuit,
    token_flow,
)
from utils.pictures.diagrams.paths import compositions, path_lattice, paths_to_logit
from utils.pictures.diagrams.real import (
    into_mlp,
    norm_folding,
    real_layer,
    shared_keys,
)
from utils.pictures.diagrams.sheet import Diagram
from utils.pictures.diagrams.steps import chain, matrices, token_row

__all__ = [
    "Diagram",
    "bigram_and_copy",
    "chain",
    "compositions",
    "curve_strips",
    "head_halves",
    "induction_circuit",
    "into_mlp",
    "matrices",
    "model_diagram",
    "norm_folding",
    "paths_to_logit",
    "path_lattice",
    "pattern_pair",
    "product",
    "real_layer",
    "shared_keys",
    "stream_bus",
    "tensor_product",
    "token_flow",
    "token_row",
    "virtual_head",
]
