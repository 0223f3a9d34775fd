"""Kept records: the file, what is measured for them, and that a seed is not lost."""

from dataclasses import replace

import pytest
import torch

from tests import records
from tests.records import Experiment, Watch, repeat_kinds
from utils.models.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from utils.training.config import TrainConfig
from utils.training.recipes import Recipe
from utils.training.records import (
    Record,
    RecordError,
    load_record,
    load_seed,
    record_names,
    save_record,
)
from utils.training.trainer import next_token_loss

SIZES = AttentionOnlyConfig(
    n_layers=2, d_vocab=300, d_model=12, n_heads=3, d_head=4, n_ctx=40
)
TINY = Experiment(
    Recipe(SIZES, TrainConfig(steps=5), batch_size=4, repeat_share=0.5),
    seeds=(0, 3),
    every=2,
    keep=1,
    patterns=True,
)


# Three snapshots of one head on four tokens.
PATTERNS = torch.arange(48, dtype=torch.uint8).view(1, 3, 1, 1, 4, 4).tril() * 5


def made_up() -> Record:
    return Record(
        name="made_up",
        model=SIZES,
        seeds=(4, 9),
        steps=torch.tensor([0, 10, 30]),
        series={
            "text_loss": torch.arange(6.0).view(2, 3).half(),
            "attention": PATTERNS,
        },
        fixed={"sentence": torch.tensor([[0, 5, 7]])},
        about={"tokens_per_step": 160, "bands": {"early": [2, 5]}},
    )


# --- the file -------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was(tmp_path):
    kept = made_up()
    save_record(kept, tmp_path)
    again = load_record("made_up", tmp_path)
    assert (again.model, again.seeds, again.about) == (SIZES, (4, 9), kept.about)
    assert torch.equal(again.steps, kept.steps)
    assert again.tokens.tolist() == [0, 1600, 4800]
    assert torch.equal(again.fixed["sentence"], kept.fixed["sentence"])
    assert again["text_loss"].dtype == torch.float32
    assert again["text_loss"][1].tolist() == [3.0, 4.0, 5.0]
    assert torch.equal(again.series["attention"], PATTERNS)


def test_attention_is_stored_as_bytes_and_comes_back_as_shares():
    last = made_up()["attention"][0, 2, 0, 0]
    assert last[3, 3].item() == pytest.approx(47 * 5 / 255) and last[2, 3] == 0


def test_an_unknown_series_is_answered_with_those_there_are():
    with pytest.raises(KeyError, match="text_loss"):
        made_up()["loss"]


def test_an_unknown_and_a_damaged_record_are_said_in_words(tmp_path):
    with pytest.raises(RecordError, match="There is no record 'other'"):
        load_record("other", tmp_path)
    path = save_record(made_up(), tmp_path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(RecordError, match="damaged"):
        load_record("made_up", tmp_path)


# --- what is measured -----------------------------------------------------------------


def test_kinds_of_next_tokens_by_their_definition():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(6, (5, 17), generator=generator)
    kinds = repeat_kinds(rows)
    for r, row in enumerate(rows.tolist()):
        for i in range(16):
            earlier = [j for j in range(i) if row[j] == row[i]]
            if not earlier:
                wanted = 0
            else:
                wanted = 1 if row[earlier[-1] + 1] == row[i + 1] else 2
            assert kinds[r, i] == wanted
    assert set(kinds.flatten().tolist()) == {0, 1, 2}


def test_a_snapshot_holds_what_its_names_say():
    watch = Watch(TINY, n_windows=6)
    network = AttentionOnlyTransformer(SIZES, seed=1).eval()
    with torch.no_grad():
        found = watch(network)
        losses = watch.losses(network)
        text = next_token_loss(network, watch.windows).item()
    assert losses.shape == (6, 39)
    assert found["text_loss"].item() == pytest.approx(text, abs=1e-4)
    for name, (first, last) in watch.bands.items():
        wanted = losses[:, first:last].mean(1)
        assert torch.allclose(found[f"{name}_loss"].float(), wanted, atol=1e-2)
    rows, columns = watch.chosen
    assert found["token_losses"].shape == (24,)
    assert found["token_losses"][7] == losses[rows[7], columns[7]].half()
    shares, kinds = watch.fixed()["kind_share"], found["kind_loss"]
    assert (shares * kinds).sum().item() == pytest.approx(text, abs=1e-3)
    length = watch.sentence.shape[1]
    assert found["attention"].shape == (2, 3, length, length)
    sums = found["attention"].float().sum(-1) / 255
    assert (sums - 1).abs().max() < 0.1


def test_bands_lie_early_and_late_in_every_context():
    for experiment in records.EXPERIMENTS.values():
        n = experiment.recipe.model.n_ctx
        bands = Watch.bands.fget(type("", (), {"recipe": experiment.recipe}))
        early, late = bands["early"], bands["late"]
        assert 0 < early[0] < early[1] <= n // 4 < late[0] < late[1] == n - 1


# --- making one -----------------------------------------------------------------------


def test_a_seed_that_is_done_is_not_trained_again(tmp_path, monkeypatch):
    places = {"PARTS": "parts", "RECORD_FOLDER": "out", "WEIGHT_FOLDER": "out"}
    for name, folder in places.items():
        monkeypatch.setattr(records, name, tmp_path / folder)
    monkeypatch.setattr(records, "N_WINDOWS", 6)
    monkeypatch.setitem(records.EXPERIMENTS, "tiny", TINY)
    path = records.make("tiny")
    first = load_record("tiny", tmp_path / "out")
    assert first.steps.tolist() == [0, 2, 4, 5]
    assert first["prefix_matching"].shape == (2, 4, 2, 3)
    assert first["attention"].shape[:2] == (1, 4)
    assert first["ablation_change"].shape == (2, 2, 3, 24)
    assert not torch.equal(first["text_loss"][0], first["text_loss"][1])
    assert [p.name for p in (tmp_path / "out").glob("tiny_*.json")] == ["tiny_0.json"]
    before = path.read_bytes()
    monkeypatch.setattr(records, "train", None)  # would raise if it were called
    assert records.make("tiny").read_bytes() == before


def test_training_changes_what_is_measured_and_the_seed_decides(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "N_WINDOWS", 6)
    runs = []
    for folder in ("one", "two"):
        monkeypatch.setattr(records, "PARTS", tmp_path / folder)
        monkeypatch.setitem(records.EXPERIMENTS, "tiny", replace(TINY, keep=0))
        runs.append(records.run_seed("tiny", 3))
    assert torch.equal(runs[0]["text_loss"], runs[1]["text_loss"])
    assert runs[0]["text_loss"][-1] < runs[0]["text_loss"][0]


def test_unknown_record_is_refused(capsys):
    assert records.main(["nothing"]) == 2
    assert "live_two_layer" in capsys.readouterr().err


# --- what is shipped ------------------------------------------------------------------


def test_every_experiment_has_its_record_and_every_record_its_experiment():
    assert set(record_names()) == set(records.EXPERIMENTS)


@pytest.mark.parametrize("name", record_names())
def test_a_shipped_record_is_of_the_experiment_it_names(name):
    kept, experiment = load_record(name), records.EXPERIMENTS[name]
    assert kept.model == experiment.recipe.model
    assert kept.seeds == experiment.seeds
    assert tuple(kept.steps.tolist()) == experiment.steps
    for key, values in kept.series.items():
        assert torch.isfinite(values.float()).all(), key
    for seed in experiment.seeds[: experiment.keep]:
        assert load_seed(name, seed).cfg.d_vocab == kept.model.d_vocab
