"""Small models that a check has done with, for its next round to use again.

Building a bridge takes 20 ms, and a check of a wrong answer asks for dozens: the judge
runs again for each known mistake. Inside `round_of_check` the models by hand therefore
come from a shelf, with the weights that were asked for, where one of the same sizes is
left. It is handed out only when nobody holds it any more and nothing about it but its
weights has changed. Outside, and inside `made_anew`, every model is a new one.
"""

import contextlib
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import AttentionOnlyTransformer, as_bridge
from utils.models.config import AttentionOnlyConfig

__all__ = ["blank_model", "made_anew", "round_of_check"]

LARGEST = 20_000  # parameters of a model that is kept
KEPT = 12  # models of the same sizes
# The library notes in these what it has seen of a run; they change no result.
NOTES = {"_fired_hook_out", "_block_alias_cache"}

Blank = tuple[AttentionOnlyTransformer, TransformerBridge]


class _Shelf(threading.local):
    """One thread's models: those that are free, and those of the rounds now open."""

    def __init__(self):
        self.free: dict[AttentionOnlyConfig, list[_Kept]] = defaultdict(list)
        self.rounds: list[list[_Kept] | None] = []


class _Kept:
    """A bridge, the module whose parameters it shares, and how both were when new."""

    def __init__(self, config: AttentionOnlyConfig):
        self.config = config
        self.module, self.bridge = _new(config, None)
        self.small = self.bridge.n_params_total <= LARGEST
        self._parts = [(part, _look(part)) for part in _parts(self.bridge)]
        self._weights = [p.detach().clone() for p in self.module.parameters()]
        self._config = _look(self.bridge.cfg)

    def is_as_new(self) -> bool:
        """Whether nobody else holds it and all but its weights is as it was built."""
        if _holders(self) > ALONE:
            return False
        weights = zip(self.module.parameters(), self._weights, strict=True)
        return (
            all(_could_hold(parameter, values) for parameter, values in weights)
            and _same(_look(self.bridge.cfg), self._config)
            and all(_same(_look(part), before) for part, before in self._parts)
        )

    @torch.no_grad()
    def begin_again(self) -> None:
        """Give it the weights that it was built with."""
        for parameter, values in zip(
            self.module.parameters(), self._weights, strict=True
        ):
            parameter.copy_(values)


def _could_hold(parameter: nn.Parameter, values: Tensor) -> bool:
    kind = parameter.shape, parameter.dtype, parameter.device
    untouched = parameter.grad is None and not parameter.requires_grad
    return untouched and kind == (values.shape, values.dtype, values.device)


def _holders(kept) -> int:
    """How many hold its bridge, itself included, as this Python counts."""
    return sys.getrefcount(kept.bridge)


def _when_alone() -> int:
    """That number for what is held, as here, by an attribute and in a list of parts."""
    kept = SimpleNamespace(bridge=object())
    kept.parts = [(kept.bridge, {})]
    return _holders(kept)


ALONE = _when_alone()
_shelf = _Shelf()


@contextlib.contextmanager
def round_of_check() -> Iterator[None]:
    """Inside, models may be used again; what was made inside is free afterwards.

    Nothing that is made inside may be looked at later, apart from what was copied.
    Rounds may stand in one another: then the outer one's models stay as they are.
    """
    lent: list[_Kept] = []
    depth = len(_shelf.rounds)
    _shelf.rounds.append(lent)
    try:
        yield
    finally:
        del _shelf.rounds[depth:]  # also one that was stopped before it ended
        for kept in lent:
            others = _shelf.free[kept.config]
            if kept.small and len(others) < KEPT:
                others.append(kept)


@contextlib.contextmanager
def made_anew() -> Iterator[None]:
    """Inside, every model is a new one: for answers, which may keep what they made."""
    depth = len(_shelf.rounds)
    _shelf.rounds.append(None)
    try:
        yield
    finally:
        del _shelf.rounds[depth:]


def blank_model(config: AttentionOnlyConfig, tokenizer=None) -> Blank:
    """A module and the bridge that shares its parameters, for weights to be written in.

    In eval mode, without gradients, with the weights that it would begin with.
    """
    lent = _shelf.rounds[-1] if _shelf.rounds else None
    if lent is None or tokenizer is not None:
        return _new(config, tokenizer)
    free, kept = _shelf.free[config], None
    while free and kept is None:
        kept = free.pop()
        kept = kept if kept.is_as_new() else None
    if kept is None:
        kept = _Kept(config)
    else:
        kept.begin_again()
    lent.append(kept)
    return kept.module, kept.bridge


def _new(config: AttentionOnlyConfig, tokenizer) -> Blank:
    module = AttentionOnlyTransformer(config).eval()
    return module, as_bridge(module, tokenizer).requires_grad_(False)


def _parts(bridge: TransformerBridge) -> list[nn.Module]:
    original = bridge.original_model
    return list(dict.fromkeys([*bridge.modules(), *original.modules()]))


def _look(part) -> dict:
    """What an object has, and what its dicts and lists hold."""
    return {
        name: _held(value) for name, value in vars(part).items() if name not in NOTES
    }


def _held(value):
    """A dict as its items and a list as a tuple, so that a later look can compare."""
    if isinstance(value, dict):
        return tuple(value.items())
    return tuple(value) if isinstance(value, list | set) else value


def _same(now: dict, before: dict) -> bool:
    """Whether all is the same object, or an equal number or word."""
    return now.keys() == before.keys() and all(
        _alike(now[name], value) for name, value in before.items()
    )


def _alike(now, before) -> bool:
    if isinstance(now, tuple) and isinstance(before, tuple):
        return len(now) == len(before) and all(map(_alike, now, before))
    plain = isinstance(now, bool | int | float | str) and type(now) is type(before)
    return now is before or (plain and now == before)
