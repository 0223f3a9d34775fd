"""Chapter 7: wrong answers, most of them the solution with one thing changed."""

import pytest
import torch

import solutions.ch7_real_models as chapter
from tests.chapters.wrong_answers import changed
from utils.exercises.engine import run_check

# (exercise, what stands in the solution, what stands in the wrong answer, its name)
NAMED = {
    "what the norm adds takes the bias's place": (
        "fold_layer_norm",
        "weights[bias] + (b_here * W).sum(dim=-2)",
        "(b_here * W).sum(dim=-2)",
        "own bias lost",
    ),
    "readers are centred behind an RMSNorm too": (
        "fold_layer_norm",
        "            if centre:\n                scaled",
        "            if True:\n                scaled",
        "readers always centred",
    ),
    "the stream of the layer as the embedding": (
        "mlp_path_terms",
        'cache["resid_pre", 0][None]',
        'cache["resid_pre", layer][None]',
        "stream for the embedding",
    ),
    "the biases first": (
        "mlp_path_terms",
        (
            "terms.append(constant.expand_as(terms[0]))",
            'seen[-1] += weights["b_in"][layer]',
        ),
        (
            "terms.insert(0, constant.expand_as(terms[0]))",
            'seen[0] += weights["b_in"][layer]',
        ),
        "constant first",
    ),
    "no earlier MLP": (
        "mlp_path_terms",
        "if earlier < layer:",
        "if False:",
        "MLPs left out",
    ),
    "biases of later layers": (
        "mlp_path_terms",
        'weights["b_O"][: layer + 1]',
        'weights["b_O"]',
        "output biases of all layers",
    ),
    "each term centred": (
        "mlp_path_terms",
        "seen = torch.cat(terms) / scale",
        "stack = torch.cat(terms)\n"
        "    seen = (stack - stack.mean(dim=-1, keepdim=True)) / scale",
        "means taken off",
    ),
    "equal tokens with the diagonal": (
        "induction_scores",
        "tokens[:, None, :]).tril(-1)",
        "tokens[:, None, :]).tril()",
        "its own copy",
    ),
    "equal tokens, not masked": (
        "induction_scores",
        "(tokens[:, :, None] == tokens[:, None, :]).tril(-1)",
        "(tokens[:, :, None] == tokens[:, None, :])",
        "its own copy",
    ),
    "the start counts above": (
        "induction_scores",
        "on = einsum(weights, keys,",
        "on = einsum(pattern[:, :, 1:], keys,",
        "start kept above",
    ),
    "a mean of each eigenvalue's share": (
        "copying_scores",
        "eigenvalues.sum(dim=-1).real / eigenvalues.abs().sum(dim=-1)",
        "(eigenvalues.real / eigenvalues.abs()).mean(dim=-1)",
        "each eigenvalue alike",
    ),
    "W_E twice": (
        "top_ov_pairs",
        'W_O @ weights["W_U"]',
        'W_O @ weights["W_E"].T',
        "as if tied",
    ),
    "a mean over d_head": (
        "top_ov_pairs",
        "outputs.mean(dim=1, keepdim=True)",
        "outputs.mean(dim=0, keepdim=True)",
        "mean over d_head",
    ),
    "keys read as queries are": (
        "composition_graph",
        '"k": (W_K, W_Q)',
        '"k": (W_Q, W_K)',
        "keys as queries",
    ),
    "only the earlier head's norm": (
        "composition_graph",
        "sizes = size_first[layer, head] * size_second[layer + 1 :]",
        "sizes = size_first[layer, head]",
        "divided by the earlier norm only",
    ),
    "only the later head's norm": (
        "composition_graph",
        "sizes = size_first[layer, head] * size_second[layer + 1 :]",
        "sizes = size_second[layer + 1 :]",
        "divided by the later norm only",
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_wrong_answers_that_are_named(case):
    name, right, wrong, mistake = NAMED[case]
    result = run_check(name, changed(chapter, name, right, wrong))
    assert (result.status, result.mistake) == ("failed", mistake), result.message


def heads_over_groups(weights):
    """As it is often written: a list of groups, one for each head."""
    groups = weights["W_K"].shape[1]
    heads = range(weights["W_Q"].shape[1])
    named = ("W_K", "b_K", "W_V", "b_V")
    return weights | {
        name: torch.stack([weights[name][:, head // groups] for head in heads], dim=1)
        for name in named
    }


def one_matrix_of_the_later_head(weights, kind="k"):
    """The product with W_Q, W_K or W_V alone."""
    first = weights["W_V"] @ weights["W_O"]
    second = weights[f"W_{kind.upper()}"]
    layers, heads = first.shape[:2]
    found = torch.zeros(layers, heads, layers, heads)
    for a in range(layers):
        for b in range(a + 1, layers):
            both = torch.einsum("imn,jnk->ijmk", first[a], second[b])
            sizes = [one.flatten(-2).norm(dim=-1) for one in (first[a], second[b])]
            found[a, :, b] = both.flatten(-2).norm(dim=-1) / torch.outer(*sizes)
    return found


def best_source_of_each_output(weights, layer, head, k=10):
    circuit = weights["W_E"] @ weights["W_V"][layer, head]
    circuit = circuit @ (weights["W_O"][layer, head] @ weights["W_U"])
    values, sources = (circuit - circuit.mean(dim=1, keepdim=True)).max(dim=0)
    values, outputs = values.topk(k)
    return values, sources[outputs], outputs


def entries_as_they_are(weights, layer, head, k=10):
    circuit = weights["W_E"] @ weights["W_V"][layer, head]
    circuit = circuit @ (weights["W_O"][layer, head] @ weights["W_U"])
    centred = circuit - circuit.mean(dim=1, keepdim=True)
    places = centred.flatten().topk(k).indices
    n_out = circuit.shape[1]
    return circuit.flatten()[places], places // n_out, places % n_out


@pytest.mark.parametrize(
    ("name", "answer", "mistake"),
    [
        ("grouped_heads", heads_over_groups, "divided by the number of groups"),
        (
            "composition_graph",
            one_matrix_of_the_later_head,
            "one factor of the later head",
        ),
        ("top_ov_pairs", best_source_of_each_output, "one for each output"),
        ("top_ov_pairs", entries_as_they_are, "entries not centred"),
    ],
)
def test_wrong_answers_written_from_the_start(name, answer, mistake):
    result = run_check(name, answer)
    assert (result.status, result.mistake) == ("failed", mistake), result.message


# --- right, but with no room in a real model ------------------------------------------


def copying_from_whole_matrices(weights):
    paths = weights["W_V"].double() @ weights["W_O"].double()
    whole = weights["W_E"].double() @ paths @ weights["W_U"].double()
    eigenvalues = torch.linalg.eigvals(whole)
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)


def pairs_of_the_whole_matrix(weights, layer, head, k=10):
    sources = weights["W_E"] @ weights["W_V"][layer, head]
    outputs = weights["W_O"][layer, head] @ weights["W_U"]
    circuit = sources @ (outputs - outputs.mean(dim=1, keepdim=True))
    values, places = circuit.flatten().topk(k)
    n_out = circuit.shape[1]
    return values, places // n_out, places % n_out


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("copying_scores", copying_from_whole_matrices, "all tokens by all tokens"),
        ("top_ov_pairs", pairs_of_the_whole_matrix, "the whole matrix"),
    ],
)
def test_what_has_no_room_in_a_real_model_does_not_pass(name, answer, words):
    """Each is right: the complaint about the values comes first."""
    result = run_check(name, answer)
    assert result.status == "failed" and "The result is right" in result.message
    assert words in result.message and result.mistake is None
