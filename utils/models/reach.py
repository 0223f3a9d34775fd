"""Analyses on models they were not written for: made to fit, or refused in a sentence.

The analyses of the course are exact for the paper's models. Used as a library they meet
others. `one_key_per_head` gives a model whose heads share keys and values one of each
per head, so that what is said about a head is about that head. `paper_only` names the
analyses that would be wrong without a word where there are MLPs or norms.
"""

import functools
from collections.abc import Callable
from types import FunctionType

from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

__all__ = ["UnfitModelError", "one_key_per_head", "paper_only"]


class UnfitModelError(ValueError):
    """An analysis that says nothing true about a model of this kind."""


def paper_only(namespace: dict, *names: str, instead: str = "") -> None:
    """Let these functions of a module refuse models with MLPs or norms.

    They raise UnfitModelError, which says what the model has and what to use `instead`.
    """
    for name in names:
        namespace[name] = _before(namespace[name], _refusing(name, instead))


def _refusing(name: str, instead: str) -> Callable:
    def checked(model):
        found = _foreign_parts(model)
        if found:
            raise UnfitModelError(
                f"{name} is for models with attention only, as the paper's are, and "
                f"this one has {' and '.join(found)}: the result would leave them out."
                + (f" {instead}" if instead else "")
            )
        return model

    return checked


def _foreign_parts(model) -> list[str]:
    """What a model has that the paper's have not; nothing for what is no model."""
    if not isinstance(model, TransformerBridge):
        return []
    cfg = model.cfg
    parts = [] if cfg.attn_only else ["MLPs"]
    if cfg.normalization_type is not None:
        parts.append("norms")
    if cfg.positional_embedding_type == "rotary":
        parts.append("rotary positions")
    return parts


def one_key_per_head(namespace: dict, *names: str) -> None:
    """Let these functions of a module see one W_K and one W_V for each head.

    Where heads share them, `model.W_K[layer, head]` is another head's key, or none.
    """
    for name in names:
        namespace[name] = _before(namespace[name], _ungrouped)


def _ungrouped(model):
    if isinstance(model, TransformerBridge):
        groups = model.cfg.n_key_value_heads
        if groups is not None and groups != model.cfg.n_heads:
            return _OwnKeys(model, model.cfg.n_heads // groups)
    return model


class _OwnKeys:
    """A bridge in which every head has its own copy of the keys and values it reads."""

    def __init__(self, model: TransformerBridge, share: int):
        self._model, self._share = model, share

    def __getattr__(self, name: str):
        return getattr(self._model, name)

    def __call__(self, *args, **kwargs):
        return self._model(*args, **kwargs)

    @functools.cached_property
    def W_K(self) -> Tensor:
        return self._model.W_K.repeat_interleave(self._share, dim=1)

    @functools.cached_property
    def W_V(self) -> Tensor:
        return self._model.W_V.repeat_interleave(self._share, dim=1)

    def run_with_cache(self, *args, **kwargs):
        logits, cache = self._model.run_with_cache(*args, **kwargs)
        for name, values in cache.cache_dict.items():
            if name.endswith((".attn.hook_k", ".attn.hook_v")):
                cache.cache_dict[name] = values.repeat_interleave(self._share, dim=2)
        return logits, cache


def _before(function: Callable, change: Callable) -> Callable:
    """The function with its model, the first argument, changed or refused before.

    It keeps the module's globals and its own source, so doctests and `inspect` find it.
    """

    def fitted(*args, **kwargs):
        if args:
            args = (change(args[0]), *args[1:])
        elif "model" in kwargs:
            kwargs["model"] = change(kwargs["model"])
        return function(*args, **kwargs)

    same_module = FunctionType(
        fitted.__code__,
        function.__globals__,
        function.__name__,
        None,
        fitted.__closure__,
    )
    return functools.wraps(function)(same_module)
