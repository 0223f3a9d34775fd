"""Files that are written whole or not at all."""

import os

import pytest

from utils.text.whole import write_whole


def test_a_file_is_written_into_a_new_folder_and_over_an_old_one(tmp_path):
    path = tmp_path / "a" / "b" / "file.json"
    for content in (b"old", b"new"):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_writing_that_breaks_off_leaves_the_old_file_alone(tmp_path, monkeypatch, name):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, name, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
