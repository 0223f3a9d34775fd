"""What several rows of the scoreboard need: models, text and tables, made once."""

from collections.abc import Iterable
from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
    model_record,
)
from utils.text.corpus import stdlib_corpus
from utils.training.records import Record, load_record

__all__ = [
    "D_VOCAB",
    "best_head",
    "count",
    "counts",
    "pair_vocab",
    "record",
    "rows",
    "shipped",
    "untrained_like",
]

D_VOCAB = 4096


@cache
def shipped(name: str) -> TransformerBridge:
    """A shipped model, loaded once."""
    return load_model(name)


@cache
def record(name: str) -> Record:
    """A kept record of training, loaded once."""
    return load_record(name)


def best_head(name: str) -> Tensor:
    """The highest prefix matching of any head [seed, snapshot]."""
    return record(name)["prefix_matching"].flatten(2).amax(-1)


def count(holds: Iterable) -> float:
    """How many of them hold."""
    return float(sum(map(bool, holds)))


def pair_vocab() -> int:
    """How many tokens the two-layer models and the one-layer twin know."""
    return shipped("two_layer").cfg.d_vocab


@cache
def untrained_like(name: str, seed: int = 0) -> TransformerBridge:
    """A model of a shipped model's sizes with the weights it would begin with."""
    config = AttentionOnlyConfig(**model_record(name)["config"])
    network = AttentionOnlyTransformer(config, seed=seed).eval()
    return as_bridge(network).requires_grad_(False)


@cache
def rows(
    split: str = "heldout", n_ctx: int = 256, d_vocab: int = D_VOCAB
) -> Int[Tensor, "row pos"]:
    """Evaluation rows of the standard library, in the tokens of a model's size."""
    return stdlib_corpus(d_vocab).rows(split, n_ctx).long()


@cache
def counts(
    split: str = "train", d_vocab: int = D_VOCAB
) -> Float[Tensor, "current next"]:
    """How often each token follows each other token."""
    text = rows(split, d_vocab=d_vocab)
    pairs = (text[:, :-1] * d_vocab + text[:, 1:]).flatten()
    table = torch.bincount(pairs, minlength=d_vocab**2)
    return table.view(d_vocab, d_vocab).float()
