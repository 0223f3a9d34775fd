"""`from utils.prelude import *`: the one setup line of a chapter.

It brings the few names every chapter uses, which chapter 0 lists, and switches
gradients off: the analyses need none, and the trainer turns them on for itself.
"""

import math

import torch
from einops import einsum, rearrange, reduce
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from utils import attention_view as views
from utils import figures
from utils.corpus import START_ID, PlantedLanguage, load_tokenizer, stdlib_corpus
from utils.exercises import exercise, hint, predict, progress, solution
from utils.handmade import with_weights
from utils.model import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
)
from utils.tokens import visible
from utils.training import TrainConfig, next_token_loss, train

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
    "as_bridge",
    "einsum",
    "exercise",
    "figures",
    "hint",
    "load_model",
    "load_tokenizer",
    "math",
    "next_token_loss",
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
