"""What comes from a hub: fetched from a stand-in, then loaded without it.

Each fetch is a program of its own, because the hub's client reads its address once.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.hub import hub
from tests.hub_steps import ATTN_ONLY, GPT2
from utils.exercises.sync import solved_copy
from utils.launcher.fetch import bring
from utils.models import real
from utils.models.real import is_whole, load_real_model

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]
SHIPPED = real.MODEL_FOLDER / "small_gpt2"
TOKENIZER = "NeelNanda/gpt-neox-tokenizer-digits"
SIZES = dict(d_model=12, n_layers=2, n_heads=3, d_head=4, n_ctx=128, d_vocab=1024)


@pytest.fixture
def repositories(tmp_path) -> Path:
    """A hub's folder: GPT-2 played by the shipped model, and a small attention-only."""
    folder = tmp_path / "hub"
    shutil.copytree(SHIPPED, folder / GPT2)
    (folder / TOKENIZER).mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SHIPPED / name, folder / TOKENIZER)
    place = folder / ATTN_ONLY
    place.mkdir(parents=True)
    config = SIZES | {
        "d_mlp": 48,
        "act_fn": "relu",
        "attn_only": True,
        "normalization": "LN",
        "tokenizer_name": TOKENIZER,
    }
    (place / "config.json").write_text(json.dumps(config))
    torch.save(attention_only_weights(), place / "model_final.pth")
    return folder


def attention_only_weights() -> dict[str, torch.Tensor]:
    """A checkpoint in the older library's names."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / 4

    d, h, k, v = (SIZES[name] for name in ("d_model", "n_heads", "d_head", "d_vocab"))
    found = {"embed.W_E": draw(v, d), "pos_embed.W_pos": draw(SIZES["n_ctx"], d)}
    for layer in range(2):
        block = f"blocks.{layer}"
        for name in "QKV":
            found[f"{block}.attn.W_{name}"] = draw(h, d, k)
            found[f"{block}.attn.b_{name}"] = draw(h, k)
        found[f"{block}.attn.W_O"] = draw(h, k, d)
        found[f"{block}.attn.b_O"] = draw(d)
        found[f"{block}.ln1.w"], found[f"{block}.ln1.b"] = torch.ones(d), draw(d)
    found |= {"ln_final.w": torch.ones(d), "ln_final.b": draw(d)}
    return found | {"unembed.W_U": draw(d, v), "unembed.b_U": draw(v)}


def variables(models: Path, **more: str) -> dict[str, str]:
    """The environment of a program that may ask a hub, with caches of its own."""
    found = dict(os.environ)
    for switch in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"):
        found.pop(switch, None)
    path = os.pathsep.join([str(ROOT), found.get("PYTHONPATH", "")])
    found |= {"HF_HOME": str(models / "cache"), "HF_HUB_DISABLE_XET": "1"}
    return found | {"COURSE_MODELS": str(models), "PYTHONPATH": path} | more


def fetch(name: str, models: Path, url: str) -> subprocess.CompletedProcess:
    program = (
        "import sys; from utils.launcher import environment, fetch\n"
        "try: fetch.main(sys.argv[1:])\n"
        "except environment.Problem as error: sys.exit(str(error))"
    )
    return subprocess.run(
        [sys.executable, "-c", program, name],
        env=variables(models, HF_ENDPOINT=url),
        capture_output=True,
        text=True,
        timeout=200,
    )


def steps(what: str, folder: Path, models: Path) -> dict[str, dict]:
    """What came of each step of `tests.hub_steps`."""
    command = [sys.executable, "-m", "tests.hub_steps", what, str(folder)]
    done = subprocess.run(
        command,
        env=variables(models),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def models(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("COURSE_MODELS", str(folder))
    return folder


def test_attention_only_model_loads_without_the_hub(repositories, models):
    with hub(repositories) as server:
        done = fetch("attn-only-2l", models, server.url)
        assert done.returncode == 0, done.stderr
    model = load_real_model("attn-only-2l")
    assert model.W_Q.shape == (2, 3, 12, 4) and model.cfg.attn_only
    kept = attention_only_weights()
    for layer in range(2):
        theirs = kept[f"blocks.{layer}.attn.W_K"]
        assert torch.allclose(model.W_K[layer], theirs, atol=1e-3)
    assert (
        load_real_model("attn-only-2l", folded=True)(torch.tensor([[0, 5]]))
        .isfinite()
        .all()
    )


def test_the_chapter_runs_with_a_model_of_heads_alone(
    repositories, models, tmp_path, monkeypatch
):
    """No MLPs, weights that learned nothing: the head whose cut costs most may be in
    the last layer, where no other can read it."""
    with hub(repositories) as server:
        assert fetch("attn-only-2l", models, server.url).returncode == 0
    monkeypatch.setenv("COURSE_REAL_MODEL", "attn-only-2l")
    solved = tmp_path / "ch7_real_models.ipynb"
    solved_copy(ROOT / "chapters" / solved.name, solved)
    notebook = nbformat.read(solved, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300).execute()
    printed = "".join(
        output.get("text", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    )
    assert "attn-only-2l: 2 layers, 6 heads" in printed


def test_gpt2_loads_without_the_hub_also_after_a_download_was_cut_off(
    repositories, models
):
    with hub(repositories, cut="model.safetensors") as server:
        done = fetch("gpt2", models, server.url)
    assert done.returncode != 0 and "hub" in done.stderr.strip().splitlines()[-1]
    assert not is_whole("gpt2") and not (models / "gpt2").exists()
    with hub(repositories) as server:
        done = fetch("gpt2", models, server.url)
        assert done.returncode == 0, done.stderr
        assert any("resolve" in asked for asked in server.asked)
    assert is_whole("gpt2")
    tokens = torch.tensor([[0, 5, 9]])
    model = load_real_model("gpt2")
    assert torch.equal(model(tokens), load_real_model("small_gpt2")(tokens))


def test_a_hub_without_the_model_is_one_sentence(tmp_path, models):
    (tmp_path / "empty").mkdir()
    with hub(tmp_path / "empty") as server:
        done = fetch("attn-only-2l", models, server.url)
    assert done.returncode == 1
    assert "could not be had from the Hugging Face hub" in done.stderr


def test_a_data_set_whole_changed_cut_off_and_not_there(tmp_path, models):
    """What is on the hub now is read, and each fault is a sentence."""
    found = steps("data", tmp_path / "hub", models)
    assert found["whole"]["gave"].endswith("of a fox")
    assert found["changed"]["gave"].endswith("of a crane")
    faults = {
        name: (one["error"], one["words"])
        for name, one in found.items()
        if "error" in one
    }
    words = {
        "wrong column": ("ValueError", "no text under 'story' (there: text)"),
        "wrong split": ("ValueError", "Available splits: ['train']"),
        "wrong name": ("DatasetNotFoundError", "'someone/nothing' doesn't exist"),
        "cut off": ("ConnectionError", "Hub does not answer"),
        "no network": ("ConnectionError", "with a local folder"),
    }
    assert faults.keys() == words.keys()
    for name, (kind, said) in words.items():
        assert faults[name][0] == kind and said in faults[name][1], name


def test_the_librarys_loaders_meet_the_same_faults(repositories, models):
    """Half a file is never taken for a model, and a changed one is not the old one."""
    changed = repositories / "changed"
    changed.mkdir()
    state = load_file(SHIPPED / "model.safetensors")
    first = "transformer.h.0.attn.c_attn.weight"
    save_file(
        state | {first: 2 * state[first]},
        changed / "model.safetensors",
        metadata={"format": "pt"},
    )
    weights = attention_only_weights()
    weights["unembed.W_U"] = 2 * weights["unembed.W_U"]
    torch.save(weights, changed / "model_final.pth")
    found = steps("models", repositories, models)
    for loader in ("boot_transformers", "boot_tl_legacy"):
        one = {
            name.partition(", ")[2]: value
            for name, value in found.items()
            if name.startswith(loader)
        }
        assert len(one["whole"]["gave"]) == 5, one
        assert "error" in one["wrong name"], one
        assert "error" in one["cut off"], one
        assert one["changed"]["gave"] != one["whole"]["gave"], one
        # What a program has brought it keeps.
        assert one["no network"]["gave"] == one["changed"]["gave"], one
    tokens = torch.tensor([[0, 5, 9]])
    ours = load_real_model("small_gpt2")(tokens)[0, -1, :5].tolist()
    assert found["boot_transformers, whole"]["gave"] == pytest.approx(ours, abs=1e-3)


def test_a_model_that_changed_on_the_hub_stays_as_it_was_fetched(repositories, models):
    with hub(repositories) as server:
        assert fetch("gpt2", models, server.url).returncode == 0
        before = (models / "gpt2" / "model.safetensors").read_bytes()
        weights = repositories / GPT2 / "model.safetensors"
        state = load_file(weights)
        save_file(
            {name: 2 * value for name, value in state.items()},
            weights,
            metadata={"format": "pt"},
        )
        assert "there already" in bring("gpt2")
        assert (models / "gpt2" / "model.safetensors").read_bytes() == before
        (models / "gpt2" / "model.safetensors").write_bytes(b"damaged")
        assert fetch("gpt2", models, server.url).returncode == 0
    assert is_whole("gpt2")
    assert (models / "gpt2" / "model.safetensors").read_bytes() != before
