"""Kept records of training runs: what was measured on the way, over several seeds.

A record answers what no single run can: in how many seeds something happened. Chapter
6 replays and compares them, the scoreboard counts seeds in them. `tests/records.py`
makes them again.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import safe_open
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import AttentionOnlyConfig, load_model

__all__ = [
    "Record",
    "RecordError",
    "load_record",
    "load_seed",
    "record_names",
    "save_record",
]

RECORD_FOLDER = Path(__file__).parents[1] / "assets" / "records"
WEIGHT_FOLDER = RECORD_FOLDER / "weights"


class RecordError(RuntimeError):
    """A record is missing or damaged; the message says what to do."""


@dataclass(frozen=True)
class Record:
    """Several trainings that differ in their seed and in nothing else.

    `steps [snapshot]` says after how many updates each snapshot was taken, 0 first.
    Each of `series` is `[seed, snapshot, ...]`; `fixed` holds what does not change
    while training, and `about` the recipe, the versions and the text that was watched.
    All losses are in nats.
    """

    name: str
    model: AttentionOnlyConfig
    seeds: tuple[int, ...]
    steps: Int[Tensor, "snapshot"]
    series: Mapping[str, Tensor] = field(repr=False)
    fixed: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    about: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def tokens(self) -> Int[Tensor, "snapshot"]:
        """How many tokens the model had seen at each snapshot."""
        return self.steps * int(self.about["tokens_per_step"])

    @property
    def in_context_learning(self) -> Float[Tensor, "seed snapshot window"]:
        """Late loss minus early loss of each window, a bigram table's taken off.

        What the bigram table scores on the same windows is luck: it uses no context
        (O-02). An untrained model has none of it and shows minus that luck.
        """
        score = self["late_loss"] - self["early_loss"]
        if "bigram_late_loss" not in self.fixed:  # a record of one's own
            return score
        return score - (
            self.fixed["bigram_late_loss"] - self.fixed["bigram_early_loss"]
        )

    def __getitem__(self, name: str) -> Tensor:
        """A series as float32 `[seed, snapshot, ...]`; KeyError names those there are.

        Attention is stored as bytes and comes back as numbers from 0 to 1.
        """
        if name not in self.series:
            known = ", ".join(self.series)
            raise KeyError(f"{self.name} has no series {name!r}. It has: {known}.")
        values = self.series[name]
        return values.float() / 255 if values.dtype == torch.uint8 else values.float()


def record_names() -> tuple[str, ...]:
    """The records that are shipped."""
    return tuple(sorted(path.stem for path in RECORD_FOLDER.glob("*.safetensors")))


def load_record(name: str, folder: Path = RECORD_FOLDER) -> Record:
    """A kept record. Raises RecordError for an unknown name or a damaged file."""
    path = folder / f"{name}.safetensors"
    if not path.exists():
        known = ", ".join(record_names())
        raise RecordError(f"There is no record {name!r}. There are: {known}.")
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads(file.metadata()["record"])
            parts = {key: file.get_tensor(key) for key in file.keys()}
        kinds = {
            kind: {
                key.removeprefix(kind + "."): value
                for key, value in parts.items()
                if key.startswith(kind + ".")
            }
            for kind in ("series", "fixed")
        }
        if "attention" in kinds["series"]:
            kinds["series"]["attention"] = _unpacked(kinds["series"]["attention"])
        return Record(
            name=name,
            model=AttentionOnlyConfig(**head["model"]),
            seeds=tuple(head["seeds"]),
            steps=parts["steps"],
            about=head["about"],
            **kinds,
        )
    except Exception as error:
        raise RecordError(
            f"The file {path.name} is damaged or was cut short. "
            "`git checkout -- utils/assets/records` brings the shipped files back."
        ) from error


def load_seed(name: str, seed: int) -> TransformerBridge:
    """The model one seed of a record ended with, where its weights were kept.

    Raises ModelFileError where they were not.
    """
    return load_model(WEIGHT_FOLDER / f"{name}_{seed}")


def save_record(record: Record, folder: Path = RECORD_FOLDER) -> Path:
    """Write `NAME.safetensors`, with everything that is not a tensor in its head."""
    tensors = {"steps": record.steps}
    for kind in ("series", "fixed"):
        for key, value in getattr(record, kind).items():
            tensors[f"{kind}.{key}"] = value.contiguous()
    if "attention" in record.series:
        tensors["series.attention"] = _packed(record.series["attention"])
    head = {
        "model": asdict(record.model),
        "seeds": list(record.seeds),
        "about": dict(record.about),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record.name}.safetensors"
    metadata = {"record": json.dumps(head, sort_keys=True)}
    safetensors.torch.save_file(tensors, path, metadata=metadata)
    return path


def _packed(patterns: UInt8[Tensor, "*more query key"]) -> UInt8[Tensor, "*more pair"]:
    """The lower triangles only: a causal pattern is zero elsewhere."""
    query, key = torch.tril_indices(*patterns.shape[-2:])
    return patterns[..., query, key].contiguous()


def _unpacked(pairs: UInt8[Tensor, "*more pair"]) -> UInt8[Tensor, "*more query key"]:
    length = math.isqrt(2 * pairs.shape[-1])
    query, key = torch.tril_indices(length, length)
    patterns = pairs.new_zeros(*pairs.shape[:-1], length, length)
    patterns[..., query, key] = pairs
    return patterns
