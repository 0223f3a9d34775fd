"""Snapshots of a model in training: what was measured, and every head's attention.

Called by the training panel. A `Story` is what is drawn; it is told by a training or
by a kept record, and drawing never touches the model itself.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.text.tokenizer import load_tokenizer
from utils.text.whole import write_whole
from utils.training.records import Record
from utils.widgets.parts import learner_call
from utils.widgets.typed import Ask, token_strings

__all__ = [
    "Measure",
    "Snapshot",
    "Story",
    "best_of",
    "kept_snapshots",
    "measured",
    "save_snapshot",
    "story_of_record",
    "words_of",
]

Measure = Callable[[TransformerBridge], float | Tensor]


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A model after `step` updates.

    Each of `values` is one number or [layer, head]. `attention` on the fixed sentence
    is in 255ths.
    """

    step: int
    values: Mapping[str, Tensor]
    attention: UInt8[Tensor, "layer head query key"] | None = None


@dataclass(frozen=True)
class Story:
    """One model's snapshots, in the order of their steps, out of `total` steps.

    `heads` is how many layers and how many heads in each; `words` are the tokens of the
    sentence that is looked at.
    """

    total: int
    heads: tuple[int, int]
    words: Sequence[str]
    snapshots: Sequence[Snapshot] = ()

    def at(self, step: int) -> Snapshot | None:
        """The newest snapshot that is not after `step`."""
        found = [s for s in self.snapshots if s.step <= step]
        return found[-1] if found else None

    def until(self, step: int) -> "Story":
        """The story as far as `step`."""
        return replace(self, snapshots=[s for s in self.snapshots if s.step <= step])

    def curve(self, measure: str) -> tuple[list[int], list[float]]:
        """Steps and values, of [layer, head] the maximum; missing values left out."""
        known = [s for s in self.snapshots if measure in s.values]
        pairs = [(s.step, float(s.values[measure].max())) for s in known]
        pairs = [(step, value) for step, value in pairs if np.isfinite(value)]
        return [step for step, _ in pairs], [value for _, value in pairs]

    def by_head(self, measure: str) -> bool:
        """Whether a measure gives one number per head."""
        return any(s.values[measure].ndim == 2 for s in self._with(measure))

    def best_head(self, measure: str) -> tuple[int, int] | None:
        """The head that has the largest value in the newest snapshot."""
        known = self._with(measure)
        return best_of(known[-1].values[measure]) if known else None

    def _with(self, measure: str) -> list[Snapshot]:
        return [s for s in self.snapshots if measure in s.values]


def best_of(values: Tensor) -> tuple[int, int] | None:
    """The (layer, head) of the largest of [layer, head]; None for a single number."""
    if values.ndim != 2:
        return None
    layer, head = divmod(int(values.nan_to_num(-torch.inf).argmax()), values.shape[1])
    return layer, head


def words_of(d_vocab: int, ids: Int[Tensor, "pos"]) -> list[str]:
    """The tokens of a sentence as the shipped tokenizer writes them."""
    reader = SimpleNamespace(tokenizer=load_tokenizer(d_vocab))
    return token_strings(reader, ids.tolist())


# --- from a model --------------------------------------------------------------------


@torch.no_grad()
def measured(
    model: TransformerBridge,
    measures: Mapping[str, Measure],
    tokens: Int[Tensor, "1 pos"],
    step: int,
) -> tuple[Snapshot, dict[str, str]]:
    """A snapshot of a model, and for each measure that failed, why."""
    values, problems = {}, {}
    for name, measure in measures.items():
        try:
            values[name] = _value(model, name, learner_call(name, measure, model))
        except Ask as error:
            problems[name] = str(error)
    return Snapshot(step, values, _attention(model, tokens)), problems


def _value(model: TransformerBridge, name: str, given) -> Tensor:
    try:
        value = torch.as_tensor(given).detach().float().cpu().clone()
    except (TypeError, ValueError, RuntimeError):
        value = None
    heads = (model.cfg.n_layers, model.cfg.n_heads)
    if value is None or value.shape not in {(), heads}:
        got = type(given).__name__ if value is None else list(value.shape)
        raise Ask(
            f"The function given as {name} must return a number or [layer, head], here "
            f"{list(heads)}; it returned {got}."
        )
    return value


def _attention(model: TransformerBridge, tokens: Int[Tensor, "1 pos"]) -> Tensor | None:
    if model.cfg.n_layers == 0:
        return None
    device = next(model.parameters()).device
    _, cache = model.run_with_cache(
        tokens.to(device), names_filter=lambda name: name.endswith("hook_pattern")
    )
    layers = range(model.cfg.n_layers)
    weights = torch.stack([cache["pattern", layer][0] for layer in layers])
    return (255 * weights.float()).round().to("cpu", torch.uint8)


# --- in a folder ---------------------------------------------------------------------


def save_snapshot(snapshot: Snapshot, folder: Path) -> None:
    """One file per snapshot, there as a whole or not at all."""
    tensors = {f"values.{name}": value for name, value in snapshot.values.items()}
    if snapshot.attention is not None:
        tensors["attention"] = snapshot.attention.contiguous()
    path = folder / f"{snapshot.step:07d}.safetensors"
    write_whole(path, safetensors.torch.save(tensors))


def kept_snapshots(folder: Path) -> list[Snapshot]:
    """The snapshots in a folder, by step; a damaged one is left out."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        try:
            tensors = safetensors.torch.load_file(path)
            step = int(path.stem)
        except Exception:  # it is measured again when training comes by
            continue
        attention = tensors.pop("attention", None)
        values = {name.removeprefix("values."): v for name, v in tensors.items()}
        found.append(Snapshot(step, values, attention))
    return found


# --- from a kept record --------------------------------------------------------------


def story_of_record(record: Record, measures: Sequence[str]) -> Story:
    """The first seed of a record; measures it does not have are left out.

    Raises ValueError for a series that is neither one number nor [layer, head].
    """
    heads = (record.model.n_layers, record.model.n_heads)
    series = {name: _series(record, name) for name in measures}
    series = {name: values for name, values in series.items() if values is not None}
    for name, values in series.items():
        if values.shape[1:] not in {(), heads}:
            raise ValueError(
                f"The series {name!r} of the record {record.name} must be [seed, "
                f"snapshot] or [seed, snapshot, layer, head], not with the sizes "
                f"{list(record[name].shape)}."
            )
    attention = record.series.get("attention")
    snapshots = [
        Snapshot(
            step,
            {name: values[i] for name, values in series.items()},
            None if attention is None else attention[0, i],
        )
        for i, step in enumerate(record.steps.tolist())
    ]
    sentence = record.fixed.get("sentence")
    words = [] if sentence is None else words_of(record.model.d_vocab, sentence[0])
    return Story(int(record.steps[-1]), heads, words, snapshots)


def _series(record: Record, name: str) -> Tensor | None:
    if name in record.series:
        return record[name][0]
    both = {"early_loss", "late_loss"} <= set(record.series)
    if both and name.startswith("in_context_learning"):
        return record.in_context_learning[0].flatten(1).mean(1)
    return None
