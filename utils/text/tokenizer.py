"""The shipped tokenizer: a byte-level BPE of 4,096 tokens.

It was trained once on the training half of the standard library and is kept in
`utils/assets/tokenizer.json`, so a token id means the same on every machine and on
every Python version. Called by `utils.text.corpus`, by `load_model` (which attaches the
tokenizer to a model) and by whoever shows tokens to a reader.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

__all__ = [
    "D_VOCAB",
    "START_ID",
    "START_TOKEN",
    "load_tokenizer",
    "raw_tokenizer",
    "save_tokenizer",
    "train_tokenizer",
    "word_tokenizer",
]

START_TOKEN = "<|start|>"
START_ID = 0
D_VOCAB = 4096
ASSETS = Path(__file__).parents[1] / "assets"

# Text is cut into these pieces first, and no token crosses a cut. A newline takes the
# indentation after it along, so a statement begins with its bare keyword ("if") while
# the same word inside a line carries its space (" if"). Names are cut before an
# underscore, except that `__init__` and its like stay whole.
PIECES = (
    r"\n[ \t]*"  # a newline and the next line's indentation
    r"| ?__\p{L}+__"  # a dunder name
    r"| ?_*\p{L}+"  # a word
    r"| ?\p{N}{1,3}"  # up to three digits
    r"| ?[^\s\p{L}\p{N}_]+"  # punctuation
    r"| ?_+"
    r"|[^\S\n]+(?!\S)|[^\S\n]+"  # other spaces; the last one goes to the word
)


def train_tokenizer(texts: Iterable[str], d_vocab: int = D_VOCAB) -> Tokenizer:
    """Learn a byte-level BPE with `<|start|>` as id 0 and d_vocab ids in all.

    Ids 1 to 256 are the single bytes, later ids are merges in the order in which they
    were learned. The shipped file was made by this function.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=d_vocab,
        special_tokens=[START_TOKEN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = _start_in_front()
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, record: dict, folder: Path = ASSETS) -> None:
    """Write tokenizer.json and tokenizer_record.json (how it was made, SHA-256)."""
    data = tokenizer.to_str(pretty=False).encode() + b"\n"
    (folder / "tokenizer.json").write_bytes(data)
    record = {
        **record,
        "d_vocab": tokenizer.get_vocab_size(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    text = json.dumps(record, indent=2) + "\n"
    (folder / "tokenizer_record.json").write_text(text, encoding="utf-8")


def raw_tokenizer(d_vocab: int = D_VOCAB, folder: Path = ASSETS) -> Tokenizer:
    """The shipped tokenizer as a plain `tokenizers.Tokenizer`.

    A d_vocab below 4,096 keeps only the first d_vocab ids: because merges are numbered
    in the order they were learned, that is the smaller vocabulary itself.
    Errors: RuntimeError when a file is missing or damaged, ValueError when d_vocab is
    outside 257 to 4,096.
    """
    spec = json.loads(_checked_text(folder))
    whole = len(spec["model"]["vocab"])
    smallest = 1 + len(pre_tokenizers.ByteLevel.alphabet())
    if not smallest <= d_vocab <= whole:
        raise ValueError(
            f"d_vocab must be between {smallest} (start token and single bytes) and "
            f"{whole}, got {d_vocab}."
        )
    vocab = spec["model"]["vocab"]
    kept = {token: i for token, i in vocab.items() if i < d_vocab}
    spec["model"]["vocab"] = kept
    spec["model"]["merges"] = [
        merge for merge in spec["model"]["merges"] if "".join(merge) in kept
    ]
    return Tokenizer.from_str(json.dumps(spec))


def load_tokenizer(d_vocab: int = D_VOCAB) -> PreTrainedTokenizerFast:
    """The shipped tokenizer as a Hugging Face `PreTrainedTokenizerFast`.

    It puts `<|start|>` (id 0) in front of a text once; that token is also its end,
    padding and unknown token, so TransformerLens adds nothing to the vocabulary.
    Errors: as `raw_tokenizer`.
    """
    return _wrapped(raw_tokenizer(d_vocab))


def word_tokenizer(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer for hand-made models: token i + 1 is `words[i]`, and 0 is the start.

    Words hold no blank except for one in front, as in " cat".

    Example:
        >>> word_tokenizer(["a", " cat"])("a cat").input_ids
        [0, 1, 2]
    """
    numbers = {word: i for i, word in enumerate([START_TOKEN, *words])}
    tokenizer = Tokenizer(models.WordLevel(numbers, unk_token=START_TOKEN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(
        Regex(r" ?[^ ]+"), behavior="isolated"
    )
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = _start_in_front()
    return _wrapped(tokenizer)


def _start_in_front() -> processors.TemplateProcessing:
    return processors.TemplateProcessing(
        single=f"{START_TOKEN} $A",
        pair=f"{START_TOKEN} $A {START_TOKEN} $B",
        special_tokens=[(START_TOKEN, START_ID)],
    )


def _wrapped(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START_TOKEN,
        eos_token=START_TOKEN,
        pad_token=START_TOKEN,
        unk_token=START_TOKEN,
        # TransformerLens reads both; without the second it would try to load the
        # tokenizer again from the path in the first.
        name_or_path="utils/assets",
        add_bos_token=True,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def _checked_text(folder: Path) -> str:
    """tokenizer.json as text, after comparing its SHA-256 with the record's."""
    try:
        data = (folder / "tokenizer.json").read_bytes().replace(b"\r\n", b"\n")
        record = json.loads((folder / "tokenizer_record.json").read_text("utf-8"))
        expected = record["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder, f"cannot be read ({error})") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise _broken(folder, "is damaged: it differs from what was shipped")
    return data.decode("utf-8")


def _broken(folder: Path, what: str) -> RuntimeError:
    return RuntimeError(
        f"The tokenizer in {folder} {what}. Bring it back with "
        "`git checkout -- utils/assets/tokenizer.json "
        "utils/assets/tokenizer_record.json`, or clone the course again."
    )
