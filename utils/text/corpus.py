"""The course's texts: the standard library, planted languages, any other text.

This is the one module to import text from; tokenizer, batch functions and planted
languages have files of their own and are passed on here. Called by the chapters, the
recipes and the tests.
"""

import hashlib
import json
import os
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from utils.text.batches import (
    BatchFunction,
    Mix,
    Repeats,
    Windows,
    kept_out_ids,
    mix,
    with_repeats,
)
from utils.text.planted import PlantedLanguage, SkipTrigram
from utils.text.remembered import remembered
from utils.text.tokenizer import (
    D_VOCAB,
    START_ID,
    START_TOKEN,
    load_tokenizer,
    raw_tokenizer,
)
from utils.text.tokens import visible

__all__ = [
    "START_ID",
    "START_TOKEN",
    "BatchFunction",
    "Corpus",
    "Document",
    "Mix",
    "PlantedLanguage",
    "Repeats",
    "SkipTrigram",
    "Windows",
    "hub_corpus",
    "kept_out_ids",
    "load_tokenizer",
    "mix",
    "stdlib_corpus",
    "visible",
    "with_repeats",
]

# Folders of the standard library that hold no ordinary program text: tests, tables of
# characters, generated help pages, bundled installers, an editor, build settings.
SKIPPED_FOLDERS = frozenset(
    "test tests idle_test idlelib encodings pydoc_data lib2to3 turtledemo ensurepip "
    "site-packages dist-packages __pycache__ lib-dynload".split()
)
HELDOUT_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class Document:
    """One text: where it came from, its characters and its token ids [pos]."""

    path: str
    text: str = field(repr=False)
    tokens: Int[Tensor, "pos"] = field(repr=False)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents split into a training and a held-out part.

    A part's stream (`train_tokens`, `heldout_tokens`) is its documents one after the
    other with the start token in front of each. Training windows and evaluation rows
    are cut from the stream wherever they fall, so about one row in twenty of the
    standard library runs over the end of a file; the start token marks that place.
    """

    name: str
    d_vocab: int
    train: list[Document] = field(repr=False)
    heldout: list[Document] = field(repr=False)
    train_tokens: Int[Tensor, "train_pos"] = field(repr=False)
    heldout_tokens: Int[Tensor, "heldout_pos"] = field(repr=False)

    def batches(self, batch_size: int, n_ctx: int, seed: int = 0) -> Windows:
        """A batch function over the training part (see `utils.text.batches`)."""
        return Windows(self.train_tokens, batch_size, n_ctx, seed)

    def rows(self, split: str = "heldout", n_ctx: int = 256) -> Int[Tensor, "row pos"]:
        """Rows that do not overlap, from "train" or "heldout", for evaluation.

        Each is the start token and n_ctx - 1 tokens of the stream; what is left over
        at the end is dropped. Errors: ValueError for another split.
        """
        streams = {"train": self.train_tokens, "heldout": self.heldout_tokens}
        if split not in streams:
            raise ValueError(f'split must be "train" or "heldout", got {split!r}.')
        width = n_ctx - 1
        stream = streams[split]
        n_rows = len(stream) // width
        rows = torch.full((n_rows, n_ctx), START_ID)
        rows[:, 1:] = stream[: n_rows * width].view(n_rows, width)
        return rows


@lru_cache(maxsize=2)
def stdlib_corpus(d_vocab: int = D_VOCAB) -> Corpus:
    """The Python source of this interpreter's standard library, as tokens.

    Its tokens are made at the very first call (some seconds) and kept in `.cache`. A
    file is held out when a hash of its relative path says so, which is the same on
    every version.
    Errors: RuntimeError when the library is not there as .py files.
    """
    texts = dict(_stdlib_texts(Path(sysconfig.get_path("stdlib"))))
    return _build("stdlib", texts, raw_tokenizer(d_vocab), keep=True)


def hub_corpus(
    name: str | Path,
    *,
    config: str | None = None,
    split: str = "train",
    text_column: str = "text",
    max_characters: int = 20_000_000,
    tokenizer: Tokenizer | PreTrainedTokenizerFast | None = None,
) -> Corpus:
    """Any text as a Corpus: a data set of the Hugging Face Hub, or a local folder.

    A folder is searched for .txt files (one document each) and for .jsonl and .parquet
    files (one document per row, from `text_column`). Reading stops at max_characters.
    Texts over 50,000 characters are cut at line ends, so that one long file can also be
    split into training and held-out parts. `tokenizer` is the shipped one unless given;
    a given one must have `<|start|>` as id 0, as `train_tokenizer` makes it.
    Errors: ConnectionError without a network, FileNotFoundError for a folder that is
    not there, ValueError for text that is missing or too little.
    """
    if Path(name).is_dir():
        texts = _folder_texts(Path(name), text_column)
    elif isinstance(name, Path) or str(name).startswith((".", "/", "~")):
        raise FileNotFoundError(f"There is no folder {name}.")
    else:
        texts = _hub_texts(name, config, split, text_column)
    pieces = dict(_cut(_up_to(texts, max_characters)))
    return _build(str(name), pieces, _own_copy(tokenizer or raw_tokenizer()))


def is_heldout(path: str) -> bool:
    """Whether a document is held out: decided by the SHA-256 of its path alone."""
    number = int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big")
    return number < HELDOUT_SHARE * 2**64


def _own_copy(tokenizer: Tokenizer | PreTrainedTokenizerFast) -> Tokenizer:
    tokenizer = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if tokenizer.token_to_id(START_TOKEN) != START_ID:
        raise ValueError(
            f"The tokenizer must have {START_TOKEN} as id {START_ID}. Make one with "
            "utils.text.tokenizer.train_tokenizer, or use the shipped one."
        )
    return Tokenizer.from_str(tokenizer.to_str())


def _build(
    name: str, texts: dict[str, str], tokenizer: Tokenizer, keep: bool = False
) -> Corpus:
    """Drop empty texts and duplicates, split, tokenise; `keep` the tokens on disk."""
    first_path = {}
    for path, text in sorted(texts.items()):
        if text.strip():
            first_path.setdefault(text, path)
    paths = {path: text for text, path in first_path.items()}
    if len(paths) < 2:
        raise ValueError(
            f"{name} holds {len(paths)} different texts. A corpus needs two, or one of "
            "more than 50,000 characters, so that some can be held out."
        )
    held = [path for path in paths if is_heldout(path)]
    # A handful of documents may all fall on one side; a corpus needs both.
    if not held:
        held = [max(paths)]
    if len(held) == len(paths):
        held = held[1:]
    train, train_tokens = _documents(paths, set(paths) - set(held), tokenizer, keep)
    heldout, heldout_tokens = _documents(paths, set(held), tokenizer, keep)
    d_vocab = tokenizer.get_vocab_size()
    return Corpus(name, d_vocab, train, heldout, train_tokens, heldout_tokens)


def _documents(
    texts: dict[str, str], chosen: set[str], tokenizer: Tokenizer, keep: bool
) -> tuple[list[Document], Int[Tensor, "stream"]]:
    """The chosen texts as documents, whose tokens are views into one stream."""
    paths = sorted(chosen)
    wanted = [texts[path] for path in paths]

    def make() -> np.ndarray:
        return _stream(wanted, tokenizer)

    numbers = remembered([tokenizer.to_str(), *wanted], make) if keep else make()
    stream = torch.from_numpy(numbers)
    begins = (stream == START_ID).nonzero().flatten().tolist()
    documents = [
        Document(path, text, stream[begin + 1 : end])
        for path, text, begin, end in zip(
            paths, wanted, begins, [*begins[1:], len(stream)], strict=True
        )
    ]
    return documents, stream


def _stream(texts: list[str], tokenizer: Tokenizer) -> np.ndarray:
    """All texts one after the other, the start token in front of each."""
    # Text that happens to spell the start token is text, not a start.
    tokenizer.encode_special_tokens = True
    parts = []
    for some in _chunks(texts, 32):
        encoded = tokenizer.encode_batch_fast(some, add_special_tokens=False)
        parts += [np.array([START_ID, *each.ids], dtype=np.int32) for each in encoded]
    return np.concatenate(parts)


def _chunks(items: list, size: int) -> Iterator[list]:
    return (items[i : i + size] for i in range(0, len(items), size))


def _stdlib_texts(root: Path) -> Iterator[tuple[str, str]]:
    """Relative path and text of every program file of the library."""
    found = 0
    for path in sorted(_program_files(root)):
        try:
            text = (root / path).read_text(encoding="utf-8")
        except (UnicodeDecodeError, OSError):
            continue
        found += 1
        yield path.as_posix(), text
    if found < 100:
        raise RuntimeError(
            f"The standard library's source was looked for in {root}, but only {found} "
            ".py files are there. This Python keeps it zipped or compiled. Use a full "
            "Python (python.org, conda, pyenv, your system's package), or read other "
            'text with hub_corpus("a/folder").'
        )


def _program_files(root: Path) -> Iterator[Path]:
    """Relative paths; folders that are skipped are not walked."""
    for folder, inside, names in os.walk(root):
        here = Path(folder).relative_to(root)
        inside[:] = [name for name in inside if name not in SKIPPED_FOLDERS]
        if not here.parts and "config" in inside:
            inside.remove("config")
        yield from (here / name for name in names if name.endswith(".py"))


def _folder_texts(folder: Path, column: str) -> Iterator[tuple[str, str]]:
    found = False
    for file in sorted(folder.rglob("*")):
        reader = {".txt": _txt, ".jsonl": _jsonl, ".parquet": _parquet}.get(file.suffix)
        if reader is None or not file.is_file():
            continue
        found = True
        path = file.relative_to(folder).as_posix()
        for ending, text in reader(file, column):
            yield path + ending, text
    if not found:
        raise ValueError(f"{folder} holds no .txt, .jsonl or .parquet file.")


def _txt(file: Path, column: str) -> Iterator[tuple[str, str]]:
    yield "", file.read_text(encoding="utf-8", errors="replace")


def _jsonl(file: Path, column: str) -> Iterator[tuple[str, str]]:
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file}, line {number} is not JSON.") from error
            yield f":{number}", _text_of(row, column, f"{file}, line {number}")


def _parquet(file: Path, column: str) -> Iterator[tuple[str, str]]:
    import pyarrow.parquet

    number = 0
    for batch in pyarrow.parquet.ParquetFile(file).iter_batches():
        for row in batch.to_pylist():
            number += 1
            yield f":{number}", _text_of(row, column, f"{file}, row {number}")


def _hub_texts(
    name: str, config: str | None, split: str, column: str
) -> Iterator[tuple[str, str]]:
    """Rows of a data set on the Hub, streamed so that only what is used is fetched."""
    import datasets

    try:
        rows = datasets.load_dataset(name, config, split=split, streaming=True)
        for number, row in enumerate(rows, start=1):
            where = f"{name}, row {number}"
            yield f"{name}:{number}", _text_of(row, column, where)
    except Exception as error:
        if not _is_network_error(error):
            raise
        raise ConnectionError(
            f"The data set {name} could not be read: the Hugging Face Hub does not "
            "answer. Without a network use stdlib_corpus(), or hub_corpus with a local "
            "folder of .txt, .jsonl or .parquet files."
        ) from error


def _is_network_error(error: BaseException | None) -> bool:
    """Whether an error, or one that caused it, says that the Hub was not reached."""
    names = ("Connection", "Timeout", "Offline", "ConnectError", "LocalEntryNotFound")
    while error is not None:
        if isinstance(error, ConnectionError | TimeoutError):
            return True
        if any(name in type(error).__name__ for name in names):
            return True
        error = error.__cause__ or error.__context__
    return False


def _text_of(row: dict, column: str, where: str) -> str:
    if not isinstance(row, dict) or not isinstance(row.get(column), str):
        keys = ", ".join(row) if isinstance(row, dict) else type(row).__name__
        raise ValueError(
            f"{where} has no text under {column!r} (there: {keys}). Name the right one "
            "with text_column."
        )
    return row[column]


def _up_to(
    texts: Iterable[tuple[str, str]], max_characters: int
) -> Iterator[tuple[str, str]]:
    left = max_characters
    for path, text in texts:
        yield path, text[:left]
        left -= len(text)
        if left <= 0:
            return


def _cut(
    texts: Iterable[tuple[str, str]], longest: int = 50_000
) -> Iterator[tuple[str, str]]:
    """Cut long texts after a line end, or at `longest` where a line is longer."""
    for path, text in texts:
        if len(text) <= longest:
            yield path, text
            continue
        begin, number = 0, 0
        while begin < len(text):
            end = begin + longest
            if end < len(text):
                end = text.rfind("\n", begin, end) + 1 or end
            yield f"{path}#{number}", text[begin:end]
            begin, number = end, number + 1
