"""`from utils.prelude import *`: the one setup line of a chapter.

It brings the few names every chapter uses, which chapter 0 lists, and switches
gradients off: the analyses need none, and the trainer turns them on for itself.
"""

import math
import sys

# The notebook's own folder comes last: a learner's torch.py there is not the library.
sys.path.sort(key=lambda folder: folder == "")

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from utils.exercises.engine import (
    arrange,
    exercise,
    hint,
    needs,
    predict,
    progress,
    solution,
)
from utils.exercises.own_words import own_words
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
)
from utils.models.handmade import with_weights
from utils.pictures import attention_view as views
from utils.pictures import diagrams, figures
from utils.text.corpus import START_ID, PlantedLanguage, load_tokenizer, stdlib_corpus
from utils.text.tokens import visible
from utils.training.config import TrainConfig
from utils.training.trainer import next_token_loss, train

__all__ = [
    "START_ID",
    "AttentionOnlyConfig",
    "AttentionOnlyTransformer",
    "FactoredMatrix",
    "Float",
    "Int",
    "PlantedLanguage",
    "Tensor",
    "TrainConfig",
    "TransformerBridge",
    "arrange",
    "as_bridge",
    "diagrams",
    "einsum",
    "exercise",
    "figures",
    "hint",
    "load_model",
    "load_tokenizer",
    "math",
    "needs",
    "next_token_loss",
    "own_words",
    "predict",
    "progress",
    "rearrange",
    "reduce",
    "solution",
    "stdlib_corpus",
    "torch",
    "train",
    "views",
    "visible",
    "with_weights",
]

torch.set_grad_enabled(False)
figures.use_offline_renderer()
