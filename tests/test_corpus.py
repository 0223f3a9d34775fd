"""Texts and their splits: the standard library, local folders, the Hub offline."""

import json
import pickle
import sysconfig
import time
from pathlib import Path

import pytest
import torch

from tests.oracles import kneser_ney_cross_entropy, plug_in_cross_entropy
from utils.text import corpus as corpus_module
from utils.text.corpus import START_ID, hub_corpus, load_tokenizer, stdlib_corpus
from utils.text.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def stdlib():
    return stdlib_corpus()


def write_texts(folder: Path, n_texts: int = 30) -> list[str]:
    texts = [f"Text {i} tells of {i * 7} things.\n" * 3 for i in range(n_texts)]
    for i, text in enumerate(texts):
        (folder / f"{i}.txt").write_text(text, encoding="utf-8")
    return texts


def all_texts(corpus) -> list[str]:
    return sorted(document.text for document in corpus.train + corpus.heldout)


# --- the standard library


def test_stdlib_is_large_and_split_one_to_nine(stdlib):
    n_train, n_heldout = len(stdlib.train_tokens), len(stdlib.heldout_tokens)
    assert n_train + n_heldout > 1_500_000
    assert 0.04 < n_heldout / (n_train + n_heldout) < 0.18
    n_characters = sum(len(text) for text in all_texts(stdlib))
    assert 3.3 < n_characters / (n_train + n_heldout) < 3.9


def test_no_document_is_on_both_sides_or_there_twice(stdlib):
    paths = [d.path for d in stdlib.train + stdlib.heldout]
    assert len(set(paths)) == len(paths)
    texts = all_texts(stdlib)
    assert len(set(texts)) == len(texts)


def test_split_depends_on_the_path_alone():
    # Written down once, so that a change of the rule on any system is seen.
    paths = ["abc.py", "bz2.py", "json/decoder.py", "json/encoder.py", "os.py"]
    held = [path for path in paths if corpus_module.is_heldout(path)]
    assert held == ["bz2.py", "json/encoder.py"]


def test_tests_and_tables_are_left_out(stdlib):
    folders = {
        part for d in stdlib.train + stdlib.heldout for part in Path(d.path).parts[:-1]
    }
    assert not folders & {"test", "tests", "idlelib", "encodings", "site-packages"}
    assert {"json", "asyncio"} <= folders


def test_documents_are_the_files_and_their_tokens(stdlib):
    root = Path(sysconfig.get_path("stdlib"))
    tokenizer = load_tokenizer()
    for document in stdlib.heldout[:5] + stdlib.train[:5]:
        assert document.text == (root / document.path).read_text("utf-8")
        ids = tokenizer(document.text, add_special_tokens=False)["input_ids"]
        assert document.tokens.tolist() == ids


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_stream_is_the_documents_with_start_tokens_between(stdlib, split):
    documents = getattr(stdlib, split)
    stream = getattr(stdlib, f"{split}_tokens")
    expected = []
    for document in documents:
        expected += [START_ID, *document.tokens.tolist()]
    assert stream.tolist() == expected


def test_rows_cover_the_stream_without_overlap(stdlib):
    rows = stdlib.rows("heldout", 37)
    assert rows.shape[1] == 37 and (rows[:, 0] == START_ID).all()
    covered = rows[:, 1:].flatten().tolist()
    assert covered == stdlib.heldout_tokens[: len(covered)].tolist()
    assert len(stdlib.heldout_tokens) - len(covered) < 36
    with pytest.raises(ValueError, match='"train" or "heldout"'):
        stdlib.rows("test", 37)


def test_batches_read_the_training_part(stdlib):
    batch = stdlib.batches(batch_size=3, n_ctx=20, seed=5)(11)
    windows = stdlib.train_tokens.unfold(0, 19, 1)
    for row in batch[:, 1:]:
        assert (windows == row).all(1).any()


def test_a_batch_takes_less_than_a_millisecond(stdlib):
    batches = stdlib.batches(16, 256, seed=0)
    times = []
    for step in range(50):
        begin = time.perf_counter()
        batches(step)
        times.append(time.perf_counter() - begin)
    assert sorted(times)[len(times) // 2] < 1e-3


def test_second_call_is_the_same_object(stdlib):
    assert stdlib_corpus() is stdlib


@pytest.mark.slow
def test_small_vocabulary(stdlib):
    small = stdlib_corpus(1024)
    assert small.d_vocab == 1024 and small.train_tokens.max() == 1023
    assert [d.path for d in small.heldout] == [d.path for d in stdlib.heldout]
    assert len(small.train_tokens) > 1.2 * len(stdlib.train_tokens)


@pytest.mark.slow
def test_bigram_losses_stand_where_they_were_measured(stdlib):
    train, heldout = stdlib.train_tokens.tolist(), stdlib.heldout_tokens.tolist()
    kneser_ney = kneser_ney_cross_entropy(train, heldout, 4096)
    assert kneser_ney == pytest.approx(4.62, abs=0.25)
    assert plug_in_cross_entropy(train) == pytest.approx(3.89, abs=0.2)


def test_missing_library_is_explained(tmp_path, monkeypatch):
    zipped = str(tmp_path / "python311.zip")
    monkeypatch.setattr(sysconfig, "get_path", lambda name: zipped)
    with pytest.raises(RuntimeError, match=r"python311\.zip.*hub_corpus"):
        stdlib_corpus.__wrapped__()


def test_files_that_do_not_decode_are_skipped(tmp_path):
    for i in range(120):
        (tmp_path / f"m{i}.py").write_text(f"x = {i}\n", encoding="utf-8")
    (tmp_path / "latin.py").write_bytes(b"name = '\xe9'\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "test_it.py").write_text("assert True\n", encoding="utf-8")
    paths = [path for path, _ in corpus_module._stdlib_texts(tmp_path)]
    assert len(paths) == 120 and "latin.py" not in paths


# --- any other text


def test_folder_of_text_files(tmp_path):
    texts = write_texts(tmp_path)
    corpus = hub_corpus(tmp_path)
    assert all_texts(corpus) == sorted(texts)
    assert corpus.train and corpus.heldout and corpus.d_vocab == 4096
    assert corpus.batches(2, 10)(0).shape == (2, 10)


def test_jsonl_and_parquet_give_the_same_documents(tmp_path):
    import pyarrow
    import pyarrow.parquet

    rows = [{"id": i, "story": f"Story {i}: {'na ' * i}\n"} for i in range(1, 25)]
    lines, table = tmp_path / "lines", tmp_path / "table"
    lines.mkdir(), table.mkdir()
    text = "\n".join(json.dumps(row) for row in rows) + "\n\n"
    (lines / "a.jsonl").write_text(text, encoding="utf-8")
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist(rows), table / "a.parquet", row_group_size=7
    )
    expected = sorted(row["story"] for row in rows)
    for folder in (lines, table):
        assert all_texts(hub_corpus(folder, text_column="story")) == expected


def test_one_long_file_is_cut_at_line_ends(tmp_path):
    lines = [f"line {i} of a long file\n" for i in range(12_000)]
    (tmp_path / "long.txt").write_text("".join(lines), encoding="utf-8")
    corpus = hub_corpus(tmp_path)
    pieces = corpus.train + corpus.heldout
    assert len(pieces) > 2 and corpus.heldout
    assert all(len(p.text) <= 50_000 and p.text.endswith("\n") for p in pieces)
    in_order = sorted(pieces, key=lambda p: int(p.path.split("#")[1]))
    assert "".join(p.text for p in in_order) == "".join(lines)


def test_reading_stops_at_max_characters(tmp_path):
    write_texts(tmp_path)
    corpus = hub_corpus(tmp_path, max_characters=500)
    assert sum(len(text) for text in all_texts(corpus)) == 500


def test_text_that_spells_the_start_token_is_text(tmp_path):
    for i in range(3):
        text = f"{i} <|start|> not a start\n"
        (tmp_path / f"{i}.txt").write_text(text, encoding="utf-8")
    corpus = hub_corpus(tmp_path)
    for document in corpus.train + corpus.heldout:
        assert (document.tokens != START_ID).all()


def test_another_tokenizer_may_be_given(tmp_path):
    texts = write_texts(tmp_path)
    own = train_tokenizer(texts, 270)
    assert hub_corpus(tmp_path, tokenizer=own).d_vocab == 270
    assert hub_corpus(tmp_path, tokenizer=load_tokenizer(1024)).d_vocab == 1024
    foreign = train_tokenizer(texts, 270)
    foreign = type(foreign).from_str(foreign.to_str().replace("<|start|>", "<s>"))
    with pytest.raises(ValueError, match="as id 0"):
        hub_corpus(tmp_path, tokenizer=foreign)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no .txt"),
        ({"a.txt": "only one\n"}, "holds 1 different texts"),
        ({"a.txt": "same\n", "b.txt": "same\n"}, "holds 1 different texts"),
        ({"a.jsonl": '{"body": "x"}\n'}, "line 1 has no text under 'text'.*body"),
        ({"a.jsonl": '{"text": "x"}\nnot json\n'}, "line 2 is not JSON"),
    ],
)
def test_unusable_folders_are_explained(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        hub_corpus(tmp_path)


def test_a_folder_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        hub_corpus("./nowhere")


def test_hub_rows_become_documents(monkeypatch):
    import datasets

    rows = [{"text": f"row {i}\n"} for i in range(20)]
    asked = {}

    def load_dataset(name, config, **options):
        asked.update(options, name=name, config=config)
        return iter(rows)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    corpus = hub_corpus("someone/some-data", config="small", split="validation")
    assert all_texts(corpus) == sorted(row["text"] for row in rows)
    assert asked["name"] == "someone/some-data" and asked["config"] == "small"
    assert asked["split"] == "validation" and asked["streaming"]


def test_without_a_network_the_hub_is_named(monkeypatch):
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(ConnectionError, match="Hub does not answer.*stdlib_corpus"):
        hub_corpus("someone/some-data")


def test_an_error_that_is_not_the_network_is_passed_on(monkeypatch):
    import datasets

    def load_dataset(*args, **options):
        raise ValueError("Unknown split")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ValueError, match="Unknown split"):
        hub_corpus("someone/some-data", split="nothing")


def test_a_corpus_can_be_pickled(tmp_path):
    write_texts(tmp_path)
    corpus = hub_corpus(tmp_path)
    copy = pickle.loads(pickle.dumps(corpus))
    assert torch.equal(copy.train_tokens, corpus.train_tokens)
