"""The scoreboard: what it prints, and that every verdict is the expected one."""

import math
import re
import sys
from collections import Counter

import pytest
import torch

from solutions.ch5_induction_heads import repeated_tokens
from tests import claims, shaken
from tests.claim_rows import VERDICTS, Claim, all_claims
from tests.claim_rows.skip_trigrams import stream_at
from utils.models.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from utils.models.handmade import random_model
from utils.text.planted import PlantedLanguage
from utils.training import trainer

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


# These draw, and take a second or less.
QUICK = [
    "F-05 F-06 F-13 F-15 F-22 F-68 F-69 F-70 F-80 F-83 F-84 F-85 F-87 F-88 F-89",
    "F-100 F-102 F-103 F-104 F-105 F-106 F-108 F-109 F-110 F-111 F-112 F-113 F-130",
    "F-143 F-144 O-01 O-40 O-41 O-42 O-43 O-53",
]


@pytest.fixture(scope="module", autouse=True)
def forgotten():
    """What the rows loaded and measured goes, or later checks would look after it."""
    yield
    for name, module in list(sys.modules.items()):
        if name.startswith("tests.claim_rows."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear") and value.__module__ == name:
                    value.cache_clear()


@pytest.fixture
def happened(monkeypatch) -> set[str]:
    """What was done while the test ran: "trains", "draws"."""
    noted: set[str] = set()
    run = trainer._Loop.run

    def noted_run(self, *args):
        noted.add("trains")
        return run(self, *args)

    class Generator(torch.Generator):
        def manual_seed(self, seed):
            # A shipped model draws weights before it is given its own.
            if sys._getframe(1).f_code.co_name != "_initialise":
                noted.add("draws")
            return super().manual_seed(seed)

    monkeypatch.setattr(trainer._Loop, "run", noted_run)
    monkeypatch.setattr(torch, "Generator", Generator)
    return noted


@pytest.mark.slow
@pytest.mark.parametrize(
    "claim", CLAIMS, ids=[f"{c.row}: {c.statement[:40]}" for c in CLAIMS]
)
def test_verdict_is_the_expected_one(claim, happened, request):
    """A verdict that changes, either way, is news and fails."""
    if "smollm2" in claim.needs:
        request.getfixturevalue("smollm2")
    finding = claim.find()
    assert finding.verdict == claim.expected, (finding.ours, finding.holds)
    # What a row rests on is said, or it would not be shaken.
    assert not happened or claim.rests_on in ("draws", "trains")
    assert "trains" not in happened or claim.rests_on == "trains"


@pytest.mark.slow
def test_no_verdict_changes_with_other_kernels_and_draws():
    rows = " ".join(QUICK).split()
    chosen = [c for c in CLAIMS if c.row in rows and c.rests_on == "draws"]
    assert {claim.row for claim in chosen} == set(rows)
    changed = [
        (claim.row, ours)
        for claim, verdict, ours, _ in shaken.shake(chosen, 0)
        if verdict != claim.expected
    ]
    assert not changed


def test_a_shake_moves_last_digits_and_draws_and_puts_them_back():
    config = AttentionOnlyConfig(n_layers=1, d_vocab=9, d_model=8, n_heads=2, n_ctx=5)

    def made() -> tuple[torch.Tensor, torch.Tensor]:
        weights = AttentionOnlyTransformer(config, seed=3).head.weight.detach()
        return weights.clone(), repeated_tokens(30, span=8, seed=1)

    before, tokens = made()
    with shaken.other_last_digits(1):
        moved, _ = made()
    with shaken.other_last_digits(2):
        moved_else, _ = made()
    with shaken.other_draws(1):
        _, others = made()
    up, down = before.nextafter(before + 1), before.nextafter(before - 1)
    assert ((moved == up) | (moved == down)).all() and (moved == up).any()
    assert (moved == down).any() and (moved != moved_else).any()
    assert (others != tokens).any()
    assert all(torch.equal(a, b) for a, b in zip(made(), (before, tokens), strict=True))


def test_planted_texts_are_drawn_anew_in_a_shake():
    language = PlantedLanguage(d_vocab=16)
    before = language.sample(3, 12, seed=4)
    with shaken.other_draws(2):
        assert (language.sample(3, 12, seed=4) != before).any()
        assert (language.sample(3, 12) != language.sample(3, 12, 1)).any()
    assert torch.equal(language.sample(3, 12, seed=4), before)


def test_command_says_which_verdicts_a_shake_changes(monkeypatch, capsys):
    steady, flips = claim(), claim(row="F-2", rests_on="draws")
    monkeypatch.setattr(claims, "all_claims", lambda: (steady, flips))
    asked = []

    def shake(chosen, number):
        asked.append([each.row for each in chosen])
        for each in chosen:
            other = each is flips and number == 5
            yield each, "reproduced" if other else "partly", "x is 3", 0.1

    monkeypatch.setattr(claims, "shake", shake)
    assert claims.main(["--shake", "5"]) == 0
    # Where nothing is drawn or trained there is one shake for each set of kernels.
    assert asked == [["F-1", "F-2"]] * 4 + [["F-2"]]
    assert claims.main(["--shake", "6", "draws"]) == 1
    said = capsys.readouterr().out
    assert "F-2 (draws): reproduced instead of partly: x is 3" in said
    assert "F-2 changed in 1 of 6" in said and "F-1 changed" not in said
    assert claims.main(["--shake"]) == 2


def test_one_place_of_one_layer_is_what_the_model_computes_there():
    model = random_model(1, seed=3, d_vocab=17, n_ctx=23)
    tokens = torch.randint(17, (6, 19), generator=torch.Generator().manual_seed(0))
    places = torch.tensor([0, 1, 7, 11, 17, 18])
    whole = model.original_model.final_stream(tokens)
    found = stream_at(model, tokens, places)
    torch.testing.assert_close(found, whole[torch.arange(6), places])


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
    with pytest.raises(ValueError):
        claim(rests_on="luck")


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
    assert claims.main(["--measure", "f-1"]) == 0
    assert "F-2" not in capsys.readouterr().out
    assert claims.main([]) == 1
    assert claims.main(["--measure", "F-99"]) == 2
    assert "F-99" in capsys.readouterr().err
    assert claims.main(["--measure", "F-86"]) == 2
    assert "`claims F-86` says why" in capsys.readouterr().err


def test_command_keeps_numbers_only_when_asked(monkeypatch, tmp_path):
    from tests import claim_rows

    small, large = claim(2.5), claim(11, row="F-2", expected="reproduced")
    for module in (claims, claim_rows):
        monkeypatch.setattr(module, "all_claims", lambda: (small, large))
    path = tmp_path / "kept.json"
    path.write_text('{"F-2": {"A statement that is gone": {"x": 1}}}', "utf-8")
    monkeypatch.setattr(claim_rows, "KEPT", path)
    claim_rows._kept.cache_clear()
    try:
        assert claims.main(["--measure", "F-1"]) == 0
        assert claim_rows.kept_finding(small) is None
        assert claims.main(["--keep", "F-1"]) == 0
        assert claim_rows.kept_finding(small).ours == "x is 2.5"
        assert claims.main(["--keep", "F-2"]) == 0
        # What was kept of another row stays; of a statement that is gone, it does not.
        assert claim_rows.kept_finding(small).verdict == "partly"
        assert claim_rows.kept_finding(large).numbers == {"x": 11}
        assert "gone" not in path.read_text("utf-8")
    finally:
        claim_rows._kept.cache_clear()
