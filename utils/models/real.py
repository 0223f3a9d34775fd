"""Real models for chapter 7: a shipped small GPT-2, and what `fetch` has brought.

`python3 -m utils fetch` writes the folders that `load_real_model` reads; chapters and
tests call it. None of this needs a network.
"""

import hashlib
import json
import os
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import MODEL_FOLDER, ModelFileError, watch_over
from utils.models.memory import (
    fold_in_place,
    give_back,
    lay_side_by_side,
    let_go,
    stacked,
)

__all__ = [
    "REAL_MODELS",
    "as_row",
    "best_here",
    "folder_of",
    "is_whole",
    "let_go",
    "load_real_model",
    "models_folder",
    "save_note",
    "start_id",
    "untrained_like",
    "weights_of",
]

ROOT = Path(__file__).parents[2]
NOTE = "course.json"  # written last, so a folder without it was never finished
WEIGHTS = "model.safetensors"
WATCHED = 20_000_000  # parameters
REAL_MODELS = ("small_gpt2", "smollm2", "gpt2", "attn-only-2l")


def models_folder() -> Path:
    """Where fetched models are kept; COURSE_MODELS names another place."""
    return Path(os.environ.get("COURSE_MODELS") or ROOT / ".models")


def folder_of(name: str | Path) -> Path:
    """The folder of a model by name, or the folder itself."""
    if name == "small_gpt2":
        return MODEL_FOLDER / name
    if name in REAL_MODELS:
        return models_folder() / name
    folder = Path(name)
    if isinstance(name, Path) or folder.is_dir():
        return folder
    raise ValueError(
        f"There is no model named {name!r}. The course knows {', '.join(REAL_MODELS)}; "
        "any other name is taken for a folder, and there is no such folder."
    )


def save_note(folder: Path, **about) -> None:
    """Say in `folder` what it holds, with the weights' SHA-256: it is whole now."""
    note = about | {"sha256": _digest(folder / WEIGHTS)}
    text = json.dumps(note, indent=1, sort_keys=True) + "\n"
    (folder / NOTE).write_text(text, encoding="utf-8")


def is_whole(name: str | Path, thorough: bool = True) -> bool:
    """Whether a model is there and its weights are those that were written.

    Not thorough: only whether it was finished, which takes no time.
    """
    folder = folder_of(name)
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
        if not thorough:
            return (folder / WEIGHTS).exists()
        return note["sha256"] == _digest(folder / WEIGHTS)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def best_here() -> str:
    """The model that chapter 7 looks at: SmolLM2 once it is fetched.

    COURSE_REAL_MODEL names another one.
    """
    chosen = os.environ.get("COURSE_REAL_MODEL")
    if chosen:
        return chosen
    return "smollm2" if is_whole("smollm2", thorough=False) else "small_gpt2"


def load_real_model(name: str | Path, folded: bool = False) -> TransformerBridge:
    """A language model in eval mode and float32, offline, with its tokenizer.

    `name` is one of `REAL_MODELS` or any folder in Hugging Face's format. With
    `folded`, norms are folded into the weights that read them and what writes is
    centred, as TransformerLens's compatibility mode does. Checks put a small model back
    whatever an answer does to it; copying a large one each time would take too long.
    Raises ModelFileError when it is not there or damaged, and ValueError for an unknown
    name.
    """
    folder = folder_of(name)
    if name in REAL_MODELS and not is_whole(name):
        raise ModelFileError(_remedy(name, folder))
    give_back()
    if name == "attn-only-2l":
        bridge = _from_bridge_state(folder)
    else:
        bridge = _from_hugging_face(folder)
    if folded:
        _fold(bridge)
    return _finished(bridge)


def untrained_like(name: str | Path, seed: int = 0) -> TransformerBridge:
    """A model of the same config that has learned nothing, folded and in eval mode.

    Its weights are drawn as they are before a training; `seed` decides them, and the
    global random state stays. What a trained model's heads show and this one's do too
    was not learned. Raises as `load_real_model` does.
    """
    folder = folder_of(name)
    if not (folder / "config.json").exists():
        raise ModelFileError(_remedy(str(name), folder))
    let_go()  # what other models left; a large one needs the room
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == "attn-only-2l":
            bridge = _native(folder)
        else:
            bridge = _from_hugging_face(folder, untrained=True)
    _fold(bridge)
    return _finished(bridge, watched=False)


def _finished(bridge: TransformerBridge, watched: bool = True) -> TransformerBridge:
    """In eval mode and without gradients; a small one is put back after checks."""
    bridge.requires_grad_(False).eval()
    if not _is_small(bridge):
        lay_side_by_side(bridge)
        let_go()
        return bridge
    return watch_over(bridge) if watched else bridge


def _fold(bridge: TransformerBridge) -> None:
    """Fold norms and centre; a large model with as few copies as can be."""
    if _is_small(bridge):
        bridge.enable_compatibility_mode(disable_warnings=True)
    else:
        fold_in_place(bridge)


def _is_small(bridge: TransformerBridge) -> bool:
    return sum(p.numel() for p in bridge.parameters()) < WATCHED


def _from_hugging_face(folder: Path, untrained: bool = False) -> TransformerBridge:
    if not (folder / "config.json").exists():
        raise ModelFileError(
            f"The folder {folder.name} holds no config.json, so it is no model in "
            "Hugging Face's format."
        )
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # it would be drawn under every cell that loads
    ready = {}
    try:
        if untrained:
            config = AutoConfig.from_pretrained(folder, dtype=torch.float32)
            ready["hf_model"] = AutoModelForCausalLM.from_config(config)
            ready["tokenizer"] = AutoTokenizer.from_pretrained(folder)
        return TransformerBridge.boot_transformers(
            str(folder), dtype=torch.float32, **ready
        )
    except (OSError, ValueError) as error:
        raise ModelFileError(
            f"The model in {folder.name} cannot be read: {error}"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()


def _from_bridge_state(folder: Path) -> TransformerBridge:
    """A model that has no format of Hugging Face's, as `fetch` keeps it."""
    import safetensors.torch

    bridge = _native(folder)
    state = safetensors.torch.load_file(folder / WEIGHTS)
    bridge.load_state_dict({key: value.float() for key, value in state.items()})
    return bridge


def _native(folder: Path) -> TransformerBridge:
    """The library's own model of a kept config, with fresh weights."""
    from transformer_lens import TransformerBridgeConfig
    from transformers import AutoTokenizer

    about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return TransformerBridge.boot_native(
        TransformerBridgeConfig(**about),
        tokenizer=AutoTokenizer.from_pretrained(folder),
    )


def start_id(model: TransformerBridge) -> int:
    """The token that a row of this model begins with, as in its training.

    Where a tokenizer has an end-of-text token it separates documents, so it also
    stands before one; the course's own models begin with id 0.
    """
    words = model.tokenizer.get_vocab()
    return words.get("<|endoftext|>", model.tokenizer.bos_token_id or 0)


def as_row(model: TransformerBridge, text: str) -> Int[Tensor, "1 pos"]:
    """The tokens of a text as one row that begins with `start_id`, and only with it.

    Some tokenizers put a token of their own in front, such as one that opens a
    dialogue.
    """
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor([[start_id(model), *ids]])


def _digest(file: Path) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _remedy(name: str, folder: Path) -> str:
    there = "damaged or was never finished" if folder.exists() else "not there"
    if name == "small_gpt2":
        return (
            f"The shipped model {name} is {there}. `git checkout -- utils/assets` "
            "brings it back."
        )
    return f"The model {name} is {there}. `python3 -m utils fetch {name}` brings it."


# --- Weights by name ------------------------------------------------------------------


def weights_of(model: TransformerBridge) -> dict[str, Tensor]:
    """All weights of a language model under TransformerLens's names.

    Of every layer: "ln1_w" and "ln1_b" [layer, d_model], "W_Q" [layer, head, d_model,
    d_head] with "b_Q" [layer, head, d_head], likewise "W_K" and "W_V" with as many
    heads as the model has keys and values, "W_O" [layer, head, d_head, d_model] with
    "b_O" [layer, d_model], "ln2_w", "ln2_b", "W_in" [layer, d_model, d_mlp] with
    "b_in", "W_gate" where MLPs are gated, "W_out" [layer, d_mlp, d_model] with "b_out".
    Besides: "W_E", "W_pos" where positions are learned, "ln_final_w", "ln_final_b",
    "W_U", "b_U". A bias that the model lacks is zero. Nothing is copied but what has to
    be stacked, and of a large model not even that: these are the weights it computes
    with, so change none of them in place.
    """
    found = {name: getattr(model, name) for name in ("W_E", "W_U", "b_U")}
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        found[name] = stacked([getattr(block.attn, name) for block in model.blocks])
    for name, like in (("b_Q", "W_Q"), ("b_K", "W_K"), ("b_V", "W_V")):
        found[name] = _or_zeros(model, name, found[like][:, :, 0])
    found["b_O"] = _or_zeros(model, "b_O", found["W_O"][:, 0, 0])
    if model.cfg.positional_embedding_type == "standard":
        found["W_pos"] = model.W_pos
    norms = ["ln1"]
    if not model.cfg.attn_only:
        norms.append("ln2")
        names = ("W_in", "W_out", *(["W_gate"] if model.cfg.gated_mlp else []))
        for name in names:
            found[name] = stacked([getattr(block.mlp, name) for block in model.blocks])
        found["b_in"] = _or_zeros(model, "b_in", found["W_in"][:, 0])
        found["b_out"] = _or_zeros(model, "b_out", found["W_out"][:, 0])
    for name in norms:
        pairs = [_norm(getattr(block, name)) for block in model.blocks]
        for kind, values in zip("wb", zip(*pairs, strict=True), strict=True):
            found[f"{name}_{kind}"] = torch.stack(values)
    found["ln_final_w"], found["ln_final_b"] = _norm(model.ln_final)
    return {name: value.detach() for name, value in found.items()}


def _or_zeros(model: TransformerBridge, name: str, like: Tensor) -> Tensor:
    try:
        return getattr(model, name)
    except AttributeError:  # the library's answer for a model without this bias
        return torch.zeros_like(like)


def _norm(module) -> tuple[Tensor, Tensor]:
    bias = getattr(module, "bias", None)
    return module.weight, torch.zeros_like(module.weight) if bias is None else bias
