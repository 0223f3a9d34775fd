"""The recipes' data, the command `train`, and the record it leaves."""

import sys
from dataclasses import replace

import pytest
import torch

from utils.models.attention_only import (
    MODEL_NAMES,
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    load_model,
    model_record,
)
from utils.text.corpus import Corpus, Document, kept_out_ids
from utils.training import recipes
from utils.training.config import TrainConfig
from utils.training.recipes import (
    RECIPES,
    Recipe,
    grow,
    heldout_loss,
    main,
    train_recipe,
)

SMALL = Recipe(
    AttentionOnlyConfig(
        n_layers=1, d_vocab=60, d_model=8, n_heads=2, d_head=3, n_ctx=12
    ),
    TrainConfig(steps=20, probe_every=10),
    batch_size=4,
)


def small_corpus(d_vocab=60):
    stream = torch.arange(2_000) * 7 % (d_vocab - 1) + 1
    document = Document("a.py", "", stream)
    return Corpus("small", d_vocab, [document], [document], stream, stream[:500])


@pytest.fixture(autouse=True)
def small_world(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_TRAIN", raising=False)
    monkeypatch.setattr(recipes, "stdlib_corpus", small_corpus)
    monkeypatch.setattr(recipes, "CHECKPOINTS", tmp_path / "checkpoints")
    monkeypatch.setitem(RECIPES, "one_layer", SMALL)


def test_every_shipped_model_has_a_recipe():
    assert tuple(RECIPES) == (*MODEL_NAMES, "small_gpt2")


@pytest.mark.parametrize("name", ["two_layer", "one_layer_twin", "two_layer_text"])
def test_vocabularies_grow_as_chapters_4_and_5_say(name):
    recipe = RECIPES[name]
    assert (recipe.first_tokens, recipe.model.d_vocab) == (1024, 4096)
    assert (recipe.first_steps, recipe.training.steps) == (1500, 3300 - 1500)


def test_repeats_never_hold_the_ids_kept_out():
    recipe = replace(SMALL, repeat_share=1.0)
    batches = recipe.batches(small_corpus())
    seen = torch.cat([batches(step)[:, 1:].flatten() for step in range(200)])
    out = kept_out_ids(60, 0.1)
    assert len(out) == 6
    assert not set(seen.tolist()) & {0, *out}
    assert len(set(seen.tolist())) == 59 - 6


def test_the_share_of_repeated_rows_is_as_said():
    batches = replace(SMALL, repeat_share=0.25, batch_size=40).batches(small_corpus())
    text = SMALL.batches(small_corpus())
    steps_of_7 = [
        (row[2:].diff() % 59 == 7).all() for step in range(50) for row in batches(step)
    ]
    assert 0.7 < sum(steps_of_7) / len(steps_of_7) < 0.8
    assert all((row[2:].diff() % 59 == 7).all() for row in text(0))


def test_fewer_tokens_keep_the_same_ids_out_of_repeats():
    recipe = replace(SMALL, repeat_share=1.0, first_tokens=30)
    out = set(recipe.never_repeated)
    young = {token for token in out if token < 30}
    assert len(young) == 3 and 0 < len(out - young) < 6
    for d_vocab in (30, 60):
        batches = recipe.batches(small_corpus(d_vocab))
        seen = torch.cat([batches(step)[:, 1:].flatten() for step in range(200)])
        assert set(seen.tolist()) == set(range(1, d_vocab)) - out


def test_a_grown_model_gives_the_same_logits_for_the_tokens_it_knew():
    small, large = (
        AttentionOnlyTransformer(replace(SMALL.model, d_vocab=d_vocab), seed=seed)
        for d_vocab, seed in ((30, 1), (60, 2))
    )
    grow(small, large)
    tokens = torch.arange(1, 25).view(2, 12)
    torch.testing.assert_close(large(tokens)[..., :30], small(tokens))


def test_new_tokens_are_like_the_known_ones():
    """Known: points of a plane in W_E, and W_U three times W_E. So are the new ones."""
    small, large = (
        AttentionOnlyTransformer(replace(SMALL.model, d_vocab=d_vocab))
        for d_vocab in (30, 4000)
    )
    plane, middle = torch.randn(2, 8), torch.randn(8)
    points = torch.randn(30, 2) * torch.tensor([3.0, 0.5])
    points[0] = 100.0  # the start token is unlike the others
    small.tok_embed.weight.data = middle + points @ plane
    small.head.weight.data = 3 * small.tok_embed.weight.data
    grow(small, large, seed=4)
    new = large.tok_embed.weight[30:]
    torch.testing.assert_close(large.head.weight[30:], 3 * new, rtol=1e-4, atol=1e-4)
    left = new - middle
    found = torch.linalg.lstsq(plane.T, left.T).solution.T
    torch.testing.assert_close(found @ plane, left, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.mean(0), points[1:].mean(0), atol=0.2, rtol=0)
    assert (found.std(0) / points[1:].std(0, correction=0) - 1).abs().max() < 0.05
    again = AttentionOnlyTransformer(replace(SMALL.model, d_vocab=4000))
    grow(small, again, seed=5)
    assert not torch.allclose(again.head.weight[30:], large.head.weight[30:])


def test_a_recipe_with_fewer_tokens_first_trains_in_two_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.text.corpus.load_tokenizer", lambda d_vocab=None: None)
    recipe = replace(SMALL, first_tokens=30, first_steps=15)
    sizes = []

    def listen(state):
        sizes.append(state.model.config.d_vocab)

    train_recipe(recipe, tmp_path / "model", on_step=listen)
    assert sizes == 15 * [30] + 20 * [60]
    record = model_record(tmp_path / "model")["record"]
    assert record["tokens_seen"] == 35 * 4 * 12
    assert [tokens for tokens, _ in record["heldout_loss_by_tokens"]] == [
        15 * 48,
        25 * 48,
        35 * 48,
    ]


@pytest.mark.parametrize("stop", [6, 23])
def test_both_parts_go_on_after_an_interrupt(stop, tmp_path, monkeypatch):
    grown = replace(SMALL, first_tokens=30, first_steps=15)
    monkeypatch.setitem(RECIPES, "one_layer", grown)
    done = []

    def stopping(*args, **more):
        def count(state):
            done.append(state.step)
            return len(done) < stop

        return train_recipe(*args, **more, on_step=count)

    with monkeypatch.context() as patch:
        patch.setattr(recipes, "train_recipe", stopping)
        assert main(["one_layer", "--out", str(tmp_path)]) == 130
    assert main(["one_layer", "--out", str(tmp_path)]) == 0
    assert not list((tmp_path / "checkpoints").iterdir())
    assert main(["one_layer", "--out", str(tmp_path / "straight")]) == 0
    resumed, straight = (
        (folder / "one_layer.safetensors").read_bytes()
        for folder in (tmp_path, tmp_path / "straight")
    )
    assert resumed == straight


def test_another_seed_gives_other_rows():
    first, second = (
        replace(SMALL, seed=seed).batches(small_corpus()) for seed in (0, 1)
    )
    assert not torch.equal(first(0), second(0))


def test_heldout_loss_is_the_mean_over_all_predictions():
    rows = small_corpus().rows("heldout", 12)[:19]
    torch.manual_seed(0)
    table = torch.randn(60, 60)
    model = torch.nn.Embedding.from_pretrained(table)
    log_probs = table.log_softmax(dim=-1)
    words = [
        -log_probs[int(row[pos - 1]), int(row[pos])].item()
        for row in rows
        for pos in range(1, 12)
    ]
    assert heldout_loss(model, rows) == pytest.approx(sum(words) / len(words), abs=1e-5)


def test_a_trained_model_is_saved_with_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr("utils.text.corpus.load_tokenizer", lambda d_vocab=None: None)
    run = train_recipe(SMALL, tmp_path / "model")
    record = model_record(tmp_path / "model")["record"]
    assert record["corpus"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["tokens_seen"] == 20 * 4 * 12
    assert record["recipe"]["training"]["steps"] == 20
    assert record["seed"] == 0
    assert [tokens for tokens, _ in record["heldout_loss_by_tokens"]] == [0, 480, 960]
    rows = small_corpus().rows("heldout", 12)
    bridge = load_model(tmp_path / "model")
    assert record["heldout_loss"] == pytest.approx(heldout_loss(bridge, rows), abs=0.01)
    assert record["heldout_loss"] < run.history["loss"].iloc[0]


def test_the_command_trains_saves_and_cleans_up(tmp_path, capsys):
    assert main(["one_layer", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "one_layer.safetensors").exists()
    assert not list((tmp_path / "checkpoints").iterdir())
    assert "one_layer is trained and saved" in capsys.readouterr().out


def test_an_interrupted_command_goes_on_the_next_time(tmp_path, monkeypatch, capsys):
    def stopping(*args, **more):
        return train_recipe(*args, **more, on_step=lambda state: state.step < 8)

    with monkeypatch.context() as patch:
        patch.setattr(recipes, "train_recipe", stopping)
        assert main(["one_layer", "--out", str(tmp_path)]) == 130
    assert "Stopped after 8 of 20 steps" in capsys.readouterr().out
    assert not (tmp_path / "one_layer.json").exists()
    assert main(["one_layer", "--out", str(tmp_path)]) == 0
    assert main(["one_layer", "--out", str(tmp_path / "straight")]) == 0
    resumed, straight = (
        (folder / "one_layer.safetensors").read_bytes()
        for folder in (tmp_path, tmp_path / "straight")
    )
    assert resumed == straight


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["five_layer"], "There is no model named 'five_layer'. Give one name: zero_"),
        ([], "Give one name: zero_layer, one_layer, two_layer"),
    ],
)
def test_wrong_words_get_a_sentence_with_the_names(words, sentence, capsys):
    assert main(words) == 2
    assert sentence in capsys.readouterr().err


def test_a_short_training_does_not_replace_a_shipped_model(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_TRAIN", "short")
    assert main(["one_layer"]) == 2
    assert "barely trained" in capsys.readouterr().err


def test_a_damaged_checkpoint_is_a_sentence(tmp_path, capsys):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "one_layer.pt").write_bytes(b"half")
    assert main(["one_layer", "--out", str(tmp_path)]) == 1
    assert "not a checkpoint of this trainer" in capsys.readouterr().err
