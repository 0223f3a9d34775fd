"""Real models: what is loaded, under which names, and what is said when it is not."""

import json
import shutil

import pytest
import torch

from utils.checks.ch7_real_models import shared
from utils.models import real
from utils.models.attention_only import ModelFileError, live_models
from utils.models.findings import KINDS, REPORTED, compare, elsewhere
from utils.models.real import (
    as_row,
    best_here,
    is_whole,
    load_real_model,
    start_id,
    weights_of,
)
from utils.text.corpus import stdlib_corpus

SHIPPED = real.MODEL_FOLDER / "small_gpt2"


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A folder of fetched models in which smollm2 is a copy of the shipped one."""
    monkeypatch.setenv("COURSE_MODELS", str(tmp_path))
    monkeypatch.delenv("COURSE_REAL_MODEL", raising=False)
    shutil.copytree(SHIPPED, tmp_path / "smollm2")
    return tmp_path


def test_the_shipped_model_is_small_whole_and_watched():
    size = sum(file.stat().st_size for file in SHIPPED.iterdir())
    assert size < 8e6 and is_whole("small_gpt2")
    model = load_real_model("small_gpt2")
    assert model in live_models() and not model.training
    assert not any(p.requires_grad for p in model.parameters())
    assert model.W_E.dtype == torch.float32


def test_the_shipped_models_record_says_how_to_make_it_again():
    record = json.loads((SHIPPED / "course.json").read_text())["record"]
    assert record["recipe"]["training"]["steps"] == 1500
    assert record["tokens_seen"] == 1500 * 32 * 128
    rows = stdlib_corpus(1024).rows("heldout", 128)[::40].long()
    model = load_real_model("small_gpt2")
    log_probs = model(rows)[:, :-1].log_softmax(-1)
    loss = -log_probs.gather(-1, rows[:, 1:, None]).mean().item()
    assert loss == pytest.approx(record["heldout_loss"], abs=0.15)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_weights_by_name_make_the_model(kind):
    """The plain run of loops, with these weights, against the library's own."""
    model = shared.bridge(kind, 2, 4, seed=3)
    weights = weights_of(model)
    tokens = torch.tensor([[0, 4, 7, 299], [0, 9, 2, 2]])
    if kind == "llama":  # its positions are rotary, which the plain run lacks
        assert weights["W_K"].shape == (2, 2, 16, 4)
        assert weights["W_Q"].shape == (2, 4, 16, 4)
        assert not weights["b_in"].any() and "W_pos" not in weights
        tokens = tokens[:, :1]  # the first position is turned by no angle
    ours = shared.log_probs(weights, tokens, subtract_mean=False)
    theirs = model(tokens).double().log_softmax(-1)
    # GPT-2 rounds its GELU; ours does not.
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_folding_changes_no_prediction():
    tokens = torch.randint(1, 1024, (2, 30), generator=torch.Generator().manual_seed(0))
    one = load_real_model("small_gpt2")(tokens).log_softmax(-1)
    two = load_real_model("small_gpt2", folded=True)(tokens).log_softmax(-1)
    assert torch.allclose(one, two, atol=1e-3)


def test_rows_begin_with_the_token_that_training_rows_began_with():
    model = load_real_model("small_gpt2")
    assert start_id(model) == 0
    assert model.tokenizer.decode([0]) == "<|start|>"
    row = as_row(model, "def add(self):")
    assert row[0, 0] == 0 and not (row[0, 1:] == 0).any()
    assert model.tokenizer.decode(row[0, 1:]) == "def add(self):"


def test_a_fetched_model_is_preferred_unless_told_otherwise(models, monkeypatch):
    assert best_here() == "smollm2"
    (models / "smollm2" / "course.json").unlink()
    assert best_here() == "small_gpt2"
    monkeypatch.setenv("COURSE_REAL_MODEL", "gpt2")
    assert best_here() == "gpt2"


def test_any_folder_in_hugging_faces_format_is_read(models):
    (models / "smollm2" / "course.json").unlink()
    assert load_real_model(models / "smollm2").cfg.n_layers == 4


def test_what_is_not_there_is_said_in_a_sentence(models):
    with pytest.raises(ModelFileError, match="not there.*utils fetch gpt2"):
        load_real_model("gpt2")
    with pytest.raises(ValueError, match="no model named 'bert'"):
        load_real_model("bert")
    with pytest.raises(ModelFileError, match="config.json"):
        load_real_model(models)


@pytest.mark.parametrize("breach", ["cut short", "another byte", "never finished"])
def test_a_damaged_model_is_not_loaded(models, breach):
    weights = models / "smollm2" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    if breach == "cut short":
        weights.write_bytes(data[:-100])
    elif breach == "another byte":
        data[-7] ^= 1
        weights.write_bytes(data)
    else:
        (models / "smollm2" / "course.json").unlink()
    assert not is_whole("smollm2")
    with pytest.raises(ModelFileError, match="damaged.*utils fetch smollm2"):
        load_real_model("smollm2")


def test_the_start_token_comes_once_and_only_when_asked(smollm2):
    """What the library prepends is not what SmolLM2's documents began with."""
    model = load_real_model(smollm2)
    words = model.tokenizer.convert_ids_to_tokens
    assert words(model.to_tokens("a")[0].tolist()) == ["<|im_start|>", "a"]
    assert words([start_id(model)]) == ["<|endoftext|>"]
    assert words(as_row(model, "a")[0].tolist()) == ["<|endoftext|>", "a"]


@pytest.mark.parametrize("name", ["gpt2", "attn-only-2l", "smollm2"])
def test_what_was_reported_agrees_with_itself_and_differs_from_nothing(name):
    """A model with the reported scores agrees in every line; one without, in none."""
    told = [row for row in REPORTED if row.model == name]
    assert told
    layers, heads = (1 + max(row.head[i] for row in told) for i in (0, 1))
    scores, graph = torch.zeros(3, layers, heads), torch.zeros(2 * (layers, heads))
    blank = compare(name, scores - 1, graph - 1)
    for row in told:
        value = 0.5 if row.value is None else row.value
        if row.what in KINDS:
            scores[KINDS.index(row.what)][row.head] = value
        else:
            source = tuple(map(int, row.what.split()[-1].split(".")))
            graph[source + row.head] = value
    agreed = compare(name, scores, graph)
    named = sum(row.value is None for row in told)
    assert len(agreed) == len(told)
    assert sum(row[5] == "agrees" for row in agreed) >= len(told) - named
    assert sum(row[5] == "differs" for row in blank) == len(told) - named
    assert name not in {row[0] for row in elsewhere(name)}


def test_a_head_that_a_stand_in_lacks_is_not_looked_for():
    rows = compare("gpt2", torch.zeros(5, 4, 12), torch.zeros(4, 12, 4, 12))
    heads = {row[1] for row in rows}
    assert "2.2" in heads and "5.5" not in heads
    few = compare("gpt2", torch.zeros(5, 1, 1), torch.zeros(1, 1, 1, 1))
    assert [row[2] for row in few] == [""] * 3
