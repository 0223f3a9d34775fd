"""What lies in a class's folder beside sound states: hostile ones, links, others."""

import csv
import json
import os
from pathlib import Path

import pytest

from utils.launcher.classroom.learners import MOST_BYTES, find_learners
from utils.launcher.report import report


def read(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


HOSTILE = {
    "deep": "[" * 200_000,
    "numbers": '{"passed": {}, "hints": {"next_token": ' + "9" * 10_000 + "}}",
    "bytes": b"\xff\xfe\x00\x01",
    "empty": "",
    "nested": '{"passed": {"next_token": {"a": 1}}, "record": {"exercises": []}}',
    "nan": '{"passed": {}, "hints": {"next_token": NaN}}',
    "huge": '{"passed": {}}' + " " * MOST_BYTES,
    "times": json.dumps(
        {
            "record": {
                "exercises": {
                    "next_token": {
                        "tries": [
                            {"at": "2026-02-31T09:00Z", "status": "x", "mistake": None}
                        ]
                    }
                }
            }
        }
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_states(tmp_path, name):
    folder = tmp_path / "class"
    folder.mkdir()
    content = HOSTILE[name]
    content = content.encode() if isinstance(content, str) else content
    (folder / f"{name}.json").write_bytes(content)
    (folder / "good.json").write_text('{"passed": {"next_token": "2026-03-02"}}')
    out = report(folder).parent
    found = {row["learner"]: row for row in read(out / "learners.csv")}
    assert set(found) == {name, "good"}
    assert found["good"]["solved"] == "1"
    assert found[name]["solved"] == "0"
    assert found[name]["remarks"] or name == "times"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes and links here")
def test_links_and_pipes_are_not_followed(tmp_path):
    folder = tmp_path / "class"
    folder.mkdir()
    (tmp_path / "other.json").write_text('{"passed": {"next_token": "2026-03-02"}}')
    (folder / "link.json").symlink_to(tmp_path / "other.json")
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.json")
    learners = find_learners(folder)
    assert [(one.name, one.state) for one in learners] == [
        ("link", None),
        ("pipe", None),
    ]


def test_other_json_is_passed_over(tmp_path):
    folder = tmp_path / "class"
    (folder / "ada" / ".vscode").mkdir(parents=True)
    (folder / "ada" / ".vscode" / "settings.json").write_text("// a comment")
    (folder / "ada" / "package.json").write_text('{"name": "x"}')
    (folder / "ada" / "progress.json").write_text('{"passed": {}}')
    assert [one.name for one in find_learners(folder)] == ["ada"]
