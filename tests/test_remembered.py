"""Token ids kept on disk: made once, made again when damaged, never in the way."""

import numpy as np
import pytest

from utils.text import corpus
from utils.text.remembered import remembered


class Maker:
    def __init__(self, *numbers):
        self.numbers, self.calls = np.array(numbers, dtype=np.int32), 0

    def __call__(self):
        self.calls += 1
        return self.numbers


def test_made_once_for_the_same_parts(tmp_path):
    make, other = Maker(0, 7, 5, 0), Maker(0, 1)
    for _ in range(3):
        assert remembered(["a", "bc"], make, tmp_path).tolist() == [0, 7, 5, 0]
    # The same characters in other parts are something else.
    assert remembered(["ab", "c"], other, tmp_path).tolist() == [0, 1]
    assert (make.calls, other.calls) == (1, 1)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: raw[:-3],
        lambda raw: raw[:-40] + bytes([raw[-40] ^ 1]) + raw[-39:],
        lambda raw: b"",
        lambda raw: b"not numbers at all" * 9,
    ],
    ids=["cut short", "one bit", "empty", "other"],
)
def test_a_damaged_file_is_made_anew(tmp_path, damage):
    make = Maker(*range(40))
    remembered(["x"], make, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage(file.read_bytes()))
    for _ in range(2):
        assert remembered(["x"], make, tmp_path).tolist() == list(range(40))
    assert make.calls == 2


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path):
    (tmp_path / "file").write_text("in the way")
    make = Maker(3, 4)
    for _ in range(2):
        assert remembered(["x"], make, tmp_path / "file" / "in").tolist() == [3, 4]
    assert make.calls == 2


def test_the_library_from_disk_is_the_library(tmp_path, monkeypatch):
    """Kept and made anew are the same: documents, streams and what is held out."""
    monkeypatch.setattr("utils.text.remembered.FOLDER", tmp_path)
    texts = {f"a/{i}.py": f"def f{i}(x):\n    return x + {i}\n" for i in range(40)}
    built = [
        corpus._build("few", texts, corpus.raw_tokenizer(1024), keep)
        for keep in (False, True, True)
    ]
    assert len(list(tmp_path.iterdir())) == 2
    for one in built[1:]:
        assert [d.path for d in one.train] == [d.path for d in built[0].train]
        assert [d.path for d in one.heldout] == [d.path for d in built[0].heldout]
        pairs = zip(one.train, built[0].train, strict=True)
        assert all(a.tokens.tolist() == b.tokens.tolist() for a, b in pairs)
        assert one.train_tokens.tolist() == built[0].train_tokens.tolist()
        assert one.heldout_tokens.tolist() == built[0].heldout_tokens.tolist()
