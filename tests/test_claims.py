"""The scoreboard: what it prints, and that every verdict is the expected one."""

import math
import re
from collections import Counter

import pytest

from tests import claims
from tests.claim_rows import VERDICTS, Claim, all_claims

CLAIMS = all_claims()


def claim(value: float = 1.0, **changes) -> Claim:
    parts = {
        "row": "F-1",
        "statement": "A statement about nothing in particular",
        "paper": "1",
        "measure": lambda: {"x": value},
        "ours": "x is {x:.1f}",
        "conditions": {
            "x above 0": lambda n: n["x"] > 0,
            "x above 10": lambda n: n["x"] > 10,
        },
        "reason": "Because of the example.",
        "expected": "partly",
    }
    return Claim(**(parts | changes))


@pytest.mark.slow
@pytest.mark.parametrize(
    "claim", CLAIMS, ids=[f"{c.row}: {c.statement[:40]}" for c in CLAIMS]
)
def test_verdict_is_the_expected_one(claim):
    """A verdict that changes, either way, is news and fails."""
    finding = claim.find()
    assert finding.verdict == claim.expected, (finding.ours, finding.holds)


def test_rows_are_well_formed():
    for each in CLAIMS:
        assert re.fullmatch(r"[FO]-\d+", each.row)
        assert len(each.reason) > 10, each.row
        assert each.statement.endswith((".", "?")), each.row
    twice = Counter((c.row, c.statement) for c in CLAIMS)
    assert max(twice.values()) == 1


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(11, "reproduced"), (1, "partly"), (-1, "not reproduced")],
)
def test_verdict_counts_the_conditions(value, verdict):
    finding = claim(value).find()
    assert finding.verdict == verdict
    assert finding.as_expected is (verdict == "partly")
    assert finding.ours == f"x is {value:.1f}"


def test_a_number_that_is_not_finite_reproduces_nothing():
    finding = claim(math.inf).find()
    assert finding.verdict == "not reproduced"


def test_no_claim_without_a_condition_or_with_another_verdict():
    with pytest.raises(ValueError):
        claim(conditions={})
    with pytest.raises(ValueError):
        claim(expected="nearly")


def test_table_says_what_does_not_hold_and_why():
    lines = list(claims.table(claims.measure([claim(), claim(11)]), width=90))
    assert all(len(line) <= 90 for line in lines)
    text = re.sub(r"\s+", " ", " ".join(lines))
    assert text.count("x above 10") == 1  # the second one holds
    assert "Because of the example." in text
    assert "EXPECTED: partly" in text


def test_summary_counts_and_names_surprises():
    findings = list(claims.measure([claim(), claim(11, row="F-2")]))
    text = claims.summary(findings)
    assert text.startswith("2 statements: 1 reproduced, 1 partly, 0 not reproduced")
    assert text.endswith("Not as expected: F-2.")
    assert "Every verdict" in claims.summary(findings[:1])


def test_a_missing_model_is_no_verdict():
    from utils.models.attention_only import ModelFileError

    def missing():
        raise ModelFileError("The file is missing.")

    findings = list(claims.measure([claim(measure=missing)]))
    assert "1 not measured" in claims.summary(findings)
    assert any("not measured" in line for line in claims.table(findings, 100))
    assert all(verdict in claims.summary(findings) for verdict in VERDICTS)


def test_command_measures_the_rows_named(monkeypatch, capsys):
    monkeypatch.setattr(claims, "all_claims", lambda: (claim(), claim(11, row="F-2")))
    assert claims.main(["f-1"]) == 0
    assert "F-2" not in capsys.readouterr().out
    assert claims.main([]) == 1
    assert claims.main(["F-99"]) == 2
    assert "F-99" in capsys.readouterr().err
