"""The shipped tokenizer: start token, smaller vocabularies, damage, TransformerLens."""

import json
import shutil

import pytest
import torch

from utils.text.tokenizer import (
    ASSETS,
    START_ID,
    START_TOKEN,
    load_tokenizer,
    raw_tokenizer,
    save_tokenizer,
    train_tokenizer,
)

CODE = 'def f(self, x):\n    if x is None:\n        return {"é☃": [1234]}\n\n'


def pieces(text: str) -> list[str]:
    tokenizer = raw_tokenizer()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return [tokenizer.decode([i], skip_special_tokens=False) for i in ids]


@pytest.fixture
def own_assets(tmp_path):
    for name in ("tokenizer.json", "tokenizer_record.json"):
        shutil.copy(ASSETS / name, tmp_path / name)
    return tmp_path


def test_start_token_is_id_zero_and_comes_once():
    tokenizer = load_tokenizer()
    assert tokenizer.convert_tokens_to_ids(START_TOKEN) == START_ID == 0
    ids = tokenizer(CODE)["input_ids"]
    assert ids[0] == START_ID and ids.count(START_ID) == 1
    assert len(tokenizer) == 4096
    kinds = ("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id")
    assert {getattr(tokenizer, kind) for kind in kinds} == {START_ID}


@pytest.mark.parametrize("text", [CODE, "\t\ta\r\n \n", "日本 🙂\x00", "x" * 300, " "])
@pytest.mark.parametrize("d_vocab", [257, 1024, 4096])
def test_text_survives_a_round_trip(text, d_vocab):
    tokenizer = raw_tokenizer(d_vocab)
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids, skip_special_tokens=False) == text
    assert max(ids) < d_vocab


def test_readers_recognise_words_and_indentation():
    assert pieces(
        "    def __init__(self, name=None):\n        if x in self.items:"
    ) == [
        *["   ", " def", " __init__", "(", "self", ",", " name", "=", "None", "):"],
        *["\n        ", "if", " x", " in", " self", ".", "items", ":"],
    ]


def test_a_newline_takes_the_indentation_along():
    for depth in (0, 4, 8, 12, 16, 20):
        newline = "\n" + " " * depth
        assert pieces(f"{newline}else:") == [newline, "else", ":"]
    assert pieces("\n\n    else") == ["\n", "\n    ", "else"]


def test_a_space_belongs_to_the_word_after_it():
    tokenizer = load_tokenizer()
    with_space = tokenizer.encode(" self", add_special_tokens=False)
    without = tokenizer.encode("self", add_special_tokens=False)
    assert len(with_space) == len(without) == 1 and with_space != without


@pytest.mark.parametrize("d_vocab", [257, 300, 1024])
def test_first_ids_are_themselves_a_vocabulary(d_vocab):
    small, whole = raw_tokenizer(d_vocab), raw_tokenizer()
    assert small.get_vocab_size() == d_vocab
    for i in range(d_vocab):
        assert small.id_to_token(i) == whole.id_to_token(i)


def test_a_smaller_vocabulary_is_what_training_for_it_gives():
    texts = [CODE * 3, "for line in lines:\n    total += line\n" * 5]
    small, large = train_tokenizer(texts, 280), train_tokenizer(texts, 320)
    kept = {token: i for token, i in large.get_vocab().items() if i < 280}
    assert small.get_vocab() == kept


def test_smaller_vocabulary_reaches_hugging_face():
    tokenizer = load_tokenizer(1024)
    assert len(tokenizer) == 1024
    assert tokenizer.decode(tokenizer(CODE)["input_ids"][1:]) == CODE


@pytest.mark.parametrize("d_vocab", [0, 256, 4097])
def test_impossible_sizes_are_refused(d_vocab):
    with pytest.raises(ValueError, match="between 257 .* 4096"):
        load_tokenizer(d_vocab)


def damage_truncate(folder):
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:1000])


def damage_one_letter(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text("utf-8").replace("self", "selg", 1), "utf-8")


def damage_remove(folder):
    (folder / "tokenizer.json").unlink()


def damage_record(folder):
    (folder / "tokenizer_record.json").write_text("{", "utf-8")


def damage_record_shape(folder):
    (folder / "tokenizer_record.json").write_text("[]", "utf-8")


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_one_letter,
        damage_remove,
        damage_record,
        damage_record_shape,
    ],
)
def test_damage_is_named_with_the_way_back(damage, own_assets):
    damage(own_assets)
    with pytest.raises(RuntimeError, match="git checkout -- utils/assets/tokenizer"):
        raw_tokenizer(folder=own_assets)


def test_windows_line_ends_are_not_damage(own_assets):
    path = own_assets / "tokenizer.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert raw_tokenizer(folder=own_assets).get_vocab_size() == 4096


def test_what_is_saved_can_be_read(tmp_path):
    trained = train_tokenizer([CODE], 270)
    save_tokenizer(trained, {"text": "a test"}, tmp_path)
    assert raw_tokenizer(270, tmp_path).get_vocab() == trained.get_vocab()
    record = json.loads((tmp_path / "tokenizer_record.json").read_text("utf-8"))
    assert record["text"] == "a test" and record["d_vocab"] == 270


def test_transformer_lens_prepends_the_start_token_once():
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge import TransformerBridge

    config = TransformerBridgeConfig(
        d_model=12,
        d_head=4,
        n_heads=3,
        n_layers=1,
        n_ctx=32,
        d_vocab=4096,
        attn_only=True,
        act_fn="relu",
        normalization_type=None,
        architecture="TransformerLensNative",
    )
    bridge = TransformerBridge.boot_native(config, tokenizer=load_tokenizer())
    tokens = bridge.to_tokens("def f(x):")
    assert tokens[0, 0] == START_ID and (tokens == START_ID).sum() == 1
    assert torch.equal(bridge.to_tokens("def f(x):", prepend_bos=False), tokens[:, 1:])
    shown = bridge.to_str_tokens("def f(x):\n    self")
    assert shown == [START_TOKEN, "def", " f", "(", "x", "):", "\n    ", "self"]
    assert bridge.to_string(bridge.to_single_token(" self")) == " self"
    assert len(bridge.tokenizer) == 4096
