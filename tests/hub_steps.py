"""What a program meets at the stand-in for the hub, step by step.

`python -m tests.hub_steps data|models FOLDER` serves the folder itself, asks for
something, spoils it, asks again, and prints what came of each step as JSON. A program
of its own, because the hub's client reads its address once. Called by `test_hub`.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.hub import hub

__all__ = ["ATTN_ONLY", "GPT2", "STORIES"]

GPT2 = "openai-community/gpt2"
ATTN_ONLY = "NeelNanda/Attn_Only_2L512W_C4_Code"
STORIES = "someone/stories"
ROW = [[0, 5, 9]]


def outcome(step: Callable[[], object]) -> dict:
    """What a step gave, or the kind and words of its error."""
    try:
        return {"gave": step()}
    except Exception as error:
        return {"error": type(error).__name__, "words": " ".join(str(error).split())}


def write_stories(folder: Path, animal: str) -> None:
    """Thirty rows in one file."""
    rows = [json.dumps({"text": f"story {i} of a {animal}"}) for i in range(30)]
    (folder / "datasets" / STORIES / "train.jsonl").write_text("\n".join(rows))


def data(folder: Path) -> dict[str, dict]:
    """`hub_corpus` from a data set that is whole, changed, cut off, and not there."""
    (folder / "datasets" / STORIES).mkdir(parents=True)
    write_stories(folder, "fox")
    with hub(folder) as server:
        os.environ["HF_ENDPOINT"] = server.url
        from utils.text.corpus import hub_corpus

        def read(name: str = STORIES, **how) -> str:
            corpus = hub_corpus(name, **how)
            return max((one.text for one in corpus.train), key=len)

        found = {"whole": outcome(read)}
        write_stories(folder, "crane")
        found["changed"] = outcome(read)
        found["wrong column"] = outcome(lambda: read(text_column="story"))
        found["wrong split"] = outcome(lambda: read(split="nothing"))
        found["wrong name"] = outcome(lambda: read("someone/nothing"))
        server.cut = "train.jsonl"
        write_stories(folder, "heron")
        found["cut off"] = outcome(read)
    found["no network"] = outcome(read)
    return found


def models(folder: Path) -> dict[str, dict]:
    """The library's two loaders, from repositories that `test_hub` has laid out."""
    with hub(folder) as server:
        os.environ["HF_ENDPOINT"] = server.url
        import torch
        from transformer_lens.model_bridge import TransformerBridge

        def last(bridge) -> list[float]:
            with torch.no_grad():
                return bridge(torch.tensor(ROW))[0, -1, :5].tolist()

        def gpt2(name: str = GPT2) -> list[float]:
            return last(TransformerBridge.boot_transformers(name, dtype=torch.float32))

        def legacy(name: str = ATTN_ONLY) -> list[float]:
            return last(TransformerBridge.boot_tl_legacy(name))

        loaders = {"boot_transformers": gpt2, "boot_tl_legacy": legacy}
        files = {"boot_transformers": "model.safetensors"}
        files |= {"boot_tl_legacy": "model_final.pth"}
        found = {}
        for name, load in loaders.items():
            repository = folder / (GPT2 if load is gpt2 else ATTN_ONLY)
            weights = repository / files[name]
            found[f"{name}, whole"] = outcome(load)
            found[f"{name}, wrong name"] = outcome(lambda load=load: load("nobody/x"))
            shutil.copy(folder / "changed" / weights.name, weights)
            server.cut = weights.name
            found[f"{name}, cut off"] = outcome(load)
            server.cut = None
            found[f"{name}, changed"] = outcome(load)
    for name, load in loaders.items():
        found[f"{name}, no network"] = outcome(load)
    return found


if __name__ == "__main__":
    what, place = sys.argv[1:]
    time.sleep = lambda seconds: None  # clients wait longer from try to try
    print(json.dumps({"data": data, "models": models}[what](Path(place))))
