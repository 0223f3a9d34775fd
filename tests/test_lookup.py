"""Words in, functions out: what `python3 -m utils solution WORDS` lists."""

import random

import pytest

from utils.launcher import library, lookup
from utils.launcher.lookup import ALSO_CALLED, find, ranked


@pytest.mark.parametrize(
    ("words", "among_first"),
    [
        ("copying eigenvalue", {"copying_score", "ov_eigenvalues"}),
        ("previous token", {"previous_token_score"}),
        ("loss of repeats", {"repeat_loss"}),
        ("induction score", {"prefix_matching_score"}),
        ("path patching", {"ablate_edge"}),
        ("direct logit attribution", {"logit_attribution"}),
        ("K-composition", {"k_composition"}),
        ("Which heads are positional?", {"positional_share"}),
        ("bigram table", {"direct_path", "bigram_log_probs"}),
        ("fold layernorm", {"fold_layer_norm"}),
        ("skip trigrams", {"top_skip_trigrams"}),
        ("find induction heads from weights", {"induction_heads_from_weights"}),
        ("grouped query attention", {"grouped_heads"}),
        ("superposition", {"feature_interference"}),
        ("zero ablation", {"ablate_head"}),
        ("in-context learning", {"in_context_learning_score"}),
        ("virtual heads", {"virtual_head"}),
    ],
)
def test_what_people_type_is_among_the_first_three(words, among_first):
    assert among_first <= {each.name for each in find(words)[:3]}


@pytest.mark.parametrize("each", library.functions(), ids=lambda each: each.name)
def test_a_function_is_found_by_its_name_and_by_its_first_sentence(each):
    assert each.name in [f.name for f in find(each.name.replace("_", " "))[:2]]
    assert each.name in [f.name for f in find(each.summary)[:3]]


def test_other_names_belong_to_functions():
    assert set(ALSO_CALLED) <= {each.name for each in library.functions()}


def test_rare_words_count_more_than_common_ones_and_fields_by_weight():
    things = {str(i): [("head pattern", 1.0)] for i in range(20)}
    things["rare"] = [("a stripe", 1.0)]
    assert ranked("the stripe of a head pattern", things)[0] == "rare"
    assert ranked("nothing here", things) == []
    titled = {"title": [("stripe", 5.0), ("x", 1.0)], "text": [("x stripe", 1.0)]}
    for order in (list(titled), list(titled)[::-1]):
        assert ranked("stripes", {key: titled[key] for key in order})[0] == "title"


def test_order_of_the_words_does_not_matter():
    words = "copying score of a head without its norm".split()
    wanted = [each.name for each in find(" ".join(words))]
    random.Random(0).shuffle(words)
    assert [each.name for each in find(" ".join(words))] == wanted


def test_command_lists_matches_and_shows_one(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert lookup.main(["copying", "eigenvalue"]) == 0
    text = capsys.readouterr().out
    assert "from solutions.ch3_one_layer import copying_score" in text
    assert "(chapter 3, 7. Copying, and how to measure it)" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.count("from solutions.") <= lookup.SHOWN
    assert lookup.main(["direct_path"]) == 0
    assert "solutions/ch2_zero_layer.py, line" in capsys.readouterr().out


def test_command_says_when_nothing_fits(capsys):
    assert lookup.main(["zebra"]) == 2
    said = capsys.readouterr().err
    assert "'zebra'" in said and "prefix_matching_score" in said
    assert lookup.main([]) == 2
