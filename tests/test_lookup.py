"""Words in, functions out: what `python3 -m utils solution WORDS` lists."""

import random

import pytest

from utils.launcher import library, lookup
from utils.launcher.lookup import ALSO_CALLED, find
from utils.launcher.ranking import ranked

# What researchers type, and what must then be among the first three.
SEARCHES = {
    "copying eigenvalue": "copying_score ov_eigenvalues",
    "a way to read copying off the eigenvalues": "copying_score ov_eigenvalues",
    "do heads copy tokens": "copying_score",
    "previous token": "previous_token_score",
    "find the previous-token head from weights": "previous_token_weights",
    "what is the QK circuit": "full_qk_circuit",
    "query key matrix": "qk_matrix",
    "bilinear form of attention": "qk_matrix",
    "what does a head write": "ov_matrix",
    "loss of repeats": "repeat_loss",
    "repeated random tokens": "repeated_tokens",
    "induction score": "prefix_matching_score",
    "diagonal stripe": "prefix_matching_score",
    "find induction heads from weights": "induction_heads_from_weights",
    "duplicate token head": "induction_scores",
    "hand-coded induction head": "build_induction_model",
    "path patching": "ablate_edge",
    "indirect effect through another head": "ablate_edge",
    "activation patching": "replace_pattern",
    "does zero ablation differ from mean ablation": "ablate_head",
    "frozen attention": "frozen_pattern_logits",
    "direct logit attribution": "logit_attribution",
    "logit lens": "logit_attribution decompose_residual",
    "K-composition": "k_composition",
    "K-composition random baseline": "random_composition",
    "subspace overlap between heads": "composition_score",
    "erratum of the composition figure": "cyclic_composition_score",
    "composition of all head pairs in gpt2": "composition_graph",
    "path expansion two layer terms count": "two_layer_path_terms",
    "virtual attention heads worth": "virtual_head term_importance",
    "head importance": "marginal_effect",
    "Which heads are positional?": "positional_share",
    "bigram table": "direct_path bigram_log_probs",
    "KL divergence from bigrams": "kl_to_bigram",
    "n-gram baseline": "kneser_ney_loss",
    "fold layernorm": "fold_layer_norm",
    "layer norm folding": "fold_layer_norm",
    "RMSNorm gain": "fold_layer_norm",
    "grouped query attention": "grouped_heads",
    "neuron preactivation": "mlp_path_terms",
    "skip trigrams": "top_skip_trigrams",
    "skip trigram bug": "skip_trigram_lift",
    "strongest token pairs of a head": "top_ov_pairs",
    "SVD without forming the matrix": "svd_of_product",
    "superposition": "feature_interference",
    "gauge freedom of a head's weights": "reparametrise_head",
    "privileged basis": "rotate_basis",
    "Kronecker product": "head_as_tensor_product",
    "attention sink": "value_weighted_pattern",
    "in-context learning": "in_context_learning_score",
    "loss at position 500 minus 50": "in_context_learning_score",
    "sudden drop in loss": "phase_change_step",
    "PCA of training trajectories": "loss_trajectory",
    "shift keys by one token": "smear_keys",
}


@pytest.mark.parametrize(("words", "among_first"), SEARCHES.items())
def test_what_people_type_is_among_the_first_three(words, among_first):
    assert set(among_first.split()) <= {each.name for each in find(words)[:3]}


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


def test_a_word_of_two_parts_is_found_joined_and_apart():
    things = {"norm": [("LayerNorm folds", 1.0)], "other": [("the layers", 1.0)]}
    assert ranked("layer norm", things)[0] == "norm"
    assert ranked("layernorm", things) == ranked("LayerNorm", things)[:1] == ["norm"]


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
