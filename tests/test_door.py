"""Each row of the papers is a door: what `claims F-102` prints, without measuring."""

import re

import pytest

from tests import claims, door
from tests.claim_rows import Claim, all_claims, kept_finding
from utils.launcher import library

ROWS = [each.row for each in library.statements()]


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch):
    def measured(self):
        raise AssertionError(f"{self.row} was measured")

    monkeypatch.setattr(Claim, "find", measured)


def printed(words: str, capsys) -> str:
    """What a command prints, its white space made even."""
    assert claims.main(words.split()) == 0
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("row", ROWS)
def test_every_row_opens(row):
    lines = list(door.row_lines(row, 80))
    assert all(len(line) <= 80 for line in lines) and lines[0].startswith(row)
    text = " ".join("\n".join(lines).split())
    here = [claim for claim in all_claims() if claim.row == row]
    for claim in here:
        for words in (claim.statement, claim.paper, claim.reason, *claim.conditions):
            assert " ".join(words.split()) in text
        assert f"Verdict {claim.expected} Conditions" in text
        ours = " ".join(kept_finding(claim).ours.split())
        assert f"Ours {ours} Verdict" in text
    if not here:
        assert re.search("State (taught|left out) Reason [A-Z].+ Chapter ", text)


def test_a_row_says_where_it_is_taught(capsys):
    text = printed("f-102", capsys)
    assert 'chapters/ch5_induction_heads.ipynb, "3. What does it write?"' in text
    assert "ch5-031 (logit_effect)" in text and "Functions logit_effect" in text


def test_what_does_not_hold_is_said(capsys):
    partly = [c for c in all_claims() if c.expected == "partly"]
    text = printed(partly[0].row, capsys)
    assert "[holds]" in text and "[does not hold]" in text


def test_several_rows_and_one_without_a_cell(capsys):
    text = printed("F-86 O-50 F-136", capsys)
    assert "the wrong" not in text and "wrong formula" in text
    assert text.index("F-86") < text.index("O-50") < text.index("F-136")
    assert "Chapter in none" in text


@pytest.mark.parametrize(
    ("row", "near"), [("F-200", "F-151"), ("F-8", "F-07"), ("O-45", "O-44")]
)
def test_an_unknown_row_gets_the_nearest_ones(row, near, capsys):
    assert claims.main(["F-102", row]) == 2
    said = capsys.readouterr()
    named = library.ROW.findall(said.err.split("Near it:")[1])
    assert near in named and len(named) == door.NEAR and set(named) <= set(ROWS)
    assert row not in named and not said.out


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("previous token", {"O-42", "F-105"}),
        ("bigram", {"F-41"}),
        ("phase change schedule", {"O-10"}),
        ("eigenvalue copying", {"F-69", "F-70", "O-41"}),
        ("convolution", {"F-141"}),
        ("layer norm", {"F-148"}),
        ("privileged basis", {"F-13"}),
        ("freezing attention patterns", {"F-24"}),
        ("heads are independent and additive", {"F-17"}),
        ("skip-trigram bugs", {"F-72"}),
        ("erratum", {"F-87"}),
        ("what is K-composition", {"F-80"}),
        ("term importance", {"F-120", "F-121"}),
        ("tensor product notation", {"F-146"}),
        ("SVD trick for eigenvalues", {"F-149"}),
        ("pointer arithmetic", {"F-143", "F-107"}),
        ("one-layer induction", {"F-06"}),
        ("ablating induction heads", {"O-33"}),
        ("in-context learning score", {"O-02", "O-03"}),
        ("smeared keys", {"O-20"}),
        ("one and two layers' loss curve", {"O-07"}),
        ("logit lens", {"F-134"}),
        ("virtual weights", {"F-14"}),
    ],
)
def test_words_find_rows(words, rows, capsys):
    text = printed(words, capsys)
    assert rows & set(library.ROW.findall(text)[:3])


def test_words_that_fit_nothing(capsys):
    assert claims.main(["zebra"]) == 2
    assert "zebra" in capsys.readouterr().err
