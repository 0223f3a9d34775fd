"""Chapter 3: its analyses against independent oracles, and what its prose says.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from solutions.ch3_one_layer import (
    circuit_lift,
    copying_score,
    copying_top1,
    frozen_pattern_logits,
    full_ov_circuit,
    full_qk_circuit,
    one_layer_path_terms,
    ov_eigenvalues,
    positional_pattern,
    positional_share,
    skip_trigram_lift,
    source_token_effect,
    svd_of_product,
    top_skip_trigrams,
)
from utils.exercises.engine import run_check
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
)
from utils.models.handmade import random_model, with_weights


def some_tokens(n_rows: int, length: int, d_vocab: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, d_vocab, (n_rows, length), generator=generator)
    tokens[:, 0] = 0
    return tokens


def one_hot(tokens: torch.Tensor, d_vocab: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(tokens, d_vocab).float()


# --- paths (F-50, F-51, F-55, F-56) -------------------------------------------------


def test_frozen_model_is_linear_in_its_tokens():
    """F-56: f(ax + by) = a f(x) + b f(y) once the pattern is fixed."""
    model, tokens = random_model(1, seed=3), some_tokens(2, 8, 13)
    _, cache = model.run_with_cache(tokens)
    x, y = one_hot(tokens, 13), torch.randn(2, 8, 13)
    f = frozen_pattern_logits(model, 2 * x - 0.5 * y, cache["pattern", 0])
    parts = [frozen_pattern_logits(model, z, cache["pattern", 0]) for z in (x, y)]
    assert torch.allclose(f, 2 * parts[0] - 0.5 * parts[1], atol=1e-4)


def test_paths_sum_to_the_logits_and_the_direct_one_ignores_the_context():
    """F-50 and F-51, the latter exactly."""
    model, tokens = random_model(1, seed=4, n_heads=5), some_tokens(3, 9, 13)
    shuffled = tokens.clone()
    shuffled[:, 1:-1] = tokens[:, 1:-1].flip(1)
    terms, again = (one_layer_path_terms(model, t) for t in (tokens, shuffled))
    assert torch.allclose(terms.sum(0), model(tokens), atol=1e-4)
    assert torch.equal(terms[0, :, -1], again[0, :, -1])
    assert not torch.allclose(terms[1:, :, -1], again[1:, :, -1])


def test_paths_agree_with_the_library():
    """ActivationCache.stack_head_results is TransformerLens's own decomposition."""
    model, tokens = random_model(1, seed=5, n_heads=4), some_tokens(2, 7, 13)
    _, cache = model.run_with_cache(tokens)
    theirs = cache.stack_head_results() @ model.W_U
    assert torch.allclose(one_layer_path_terms(model, tokens)[1:], theirs, atol=1e-4)


# --- circuits (F-52, F-53, F-55, F-59) ----------------------------------------------


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 2), (1, 1)])
def test_circuits_agree_with_the_library(layer, head):
    model = random_model(2, seed=6, d_vocab=17)
    ov = model.W_E @ model.OV[layer, head].AB @ model.W_U
    qk = model.W_E @ model.QK[layer, head].AB @ model.W_E.T
    assert torch.allclose(full_ov_circuit(model, layer, head).AB, ov, atol=1e-4)
    assert torch.allclose(full_qk_circuit(model, layer, head).AB, qk, atol=1e-4)


def test_circuits_stay_factored():
    for circuit in (full_ov_circuit, full_qk_circuit):
        result = circuit(random_model(1, d_vocab=17, d_head=4), 0, 1)
        assert isinstance(result, FactoredMatrix)
        assert result.mdim == 4


def test_equal_attention_to_a_source_has_an_equal_effect():
    """F-55: given the weight, the destination does not matter."""
    model, tokens = random_model(1, seed=7), torch.tensor([[0, 5, 3], [0, 5, 9]])
    pattern = torch.zeros(2, 3, 3, 3)
    pattern[:, 1, 2, 1] = 0.6
    both = frozen_pattern_logits(model, one_hot(tokens, 13), pattern)
    neither = frozen_pattern_logits(model, one_hot(tokens, 13), 0 * pattern)
    added = (both - neither)[:, 2]
    assert torch.allclose(added[0], added[1], atol=1e-5)
    assert torch.allclose(added[0], 0.6 * full_ov_circuit(model, 0, 1).AB[5], atol=1e-5)


def test_a_constant_on_a_query_row_changes_no_attention():
    """F-59: which is why entries of different rows cannot be compared."""
    circuit = full_qk_circuit(random_model(1, seed=8), 0, 0).AB
    moved = circuit + torch.linspace(-5, 5, 13)[:, None]
    assert torch.allclose(circuit.softmax(1), moved.softmax(1), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 1])
def test_lift_by_a_plain_loop(seed):
    model = random_model(1, seed=seed, d_vocab=9, scale=0.5)
    frequencies = torch.linspace(1, 3, 9) / torch.linspace(1, 3, 9).sum()
    query = model.W_E[4] @ model.W_Q[0, 2]
    scores = [float(query @ (key @ model.W_K[0, 2])) / 2 for key in model.W_E]
    mean = sum(p * math.exp(s) for p, s in zip(frequencies.tolist(), scores, strict=1))
    expected = [score - math.log(mean) for score in scores]
    lift = circuit_lift(model, 0, 2, 4, frequencies)
    assert lift.tolist() == pytest.approx(expected, abs=1e-4)


def test_top_skip_trigrams_by_a_plain_sort():
    model = random_model(1, seed=9, d_vocab=15)
    qk, ov = full_qk_circuit(model, 0, 1).AB, full_ov_circuit(model, 0, 1).AB
    rows = [[x - sum(row) / 15 for x in row] for row in qk.tolist()]
    wanted = sorted(range(15), key=lambda query: -rows[query][6])[:4]
    raised = sorted(range(15), key=lambda out: -ov[6, out].item())[:4]
    destinations, outs = top_skip_trigrams(model, 0, 1, source=6, k=4)
    assert (destinations.tolist(), outs.tolist()) == (wanted, raised)


# --- positions (F-67) ---------------------------------------------------------------


def test_positional_pattern_is_that_of_a_model_without_embeddings():
    model = random_model(1, seed=1, n_ctx=9)
    blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
    _, cache = blank.run_with_cache(some_tokens(1, 9, 13))
    for head in range(3):
        expected = cache["pattern", 0][0, head]
        assert torch.allclose(positional_pattern(model, 0, head, 9), expected)


def test_positional_share_has_both_ends():
    model, tokens = random_model(1, seed=2), some_tokens(40, 9, 13)
    blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
    bare = with_weights(model, {"W_pos": torch.zeros_like(model.W_pos)})
    assert positional_share(blank, tokens, 0, 1) == pytest.approx(1)
    # Without positions what is left is chance: about one in the number of texts.
    assert positional_share(bare, tokens, 0, 1) < 3 / 40


# --- interventions ------------------------------------------------------------------


def test_effect_of_a_source_that_is_not_there_is_nothing():
    model, tokens = random_model(1, seed=3), some_tokens(4, 8, 12)
    places = torch.tensor([3, 4, 5, 7])
    effect = source_token_effect(model, tokens, places, 12, out=2, replacement=1)
    assert torch.equal(effect, torch.zeros(4))


def test_effect_and_its_reverse_cancel():
    """Putting the source back undoes taking it away."""
    model, tokens = random_model(1, seed=3), some_tokens(4, 8, 12)
    tokens[:, 2] = 12
    places = torch.tensor([3, 4, 5, 7])
    there = source_token_effect(model, tokens, places, 12, out=2, replacement=0)
    gone = torch.where(tokens == 12, 0, tokens)
    # Column 0 holds a 0 of its own, so only column 2 is put back by hand.
    rows = torch.arange(4)
    logs = [model(t)[rows, places].log_softmax(-1)[:, 2] for t in (tokens, gone)]
    assert torch.allclose(there, logs[0] - logs[1], atol=1e-5)


def test_lift_of_one_source_is_rank_one_when_attention_is_fixed():
    """F-72: f(a, b, c) = f1(a, b) f2(a, c), as long as nothing else changes."""
    model, contexts = random_model(1, seed=4, n_heads=1), some_tokens(6, 7, 13)
    pattern = torch.zeros(6, 1, 7, 7)

    def lift(destination, attention):
        versions = []
        for put_source in (True, False):
            tokens = contexts.clone()
            tokens[:, -1] = destination
            if put_source:
                tokens[:, 3] = 8
            forced = pattern.clone()
            forced[:, 0, -1, 3] = attention
            logits = frozen_pattern_logits(model, one_hot(tokens, 13), forced)
            versions.append(logits[:, -1])
        return (versions[0] - versions[1]).mean(0)

    table = torch.stack([lift(2, 0.9), lift(5, 0.3)])
    values = torch.linalg.svdvals(table)
    assert values[1] < 1e-4 * values[0]
    free = skip_trigram_lift(model, contexts, 8, [2, 5], list(range(13)))
    assert torch.linalg.svdvals(free)[1] > 1e-3 * values[0]


def test_a_distractor_flips_the_prediction():
    """F-73: the same source and destination, and a third token changes the outcome."""
    words = ["start", "source", "distractor", "destination", "one", "other"]
    config = AttentionOnlyConfig(
        n_layers=1, d_vocab=6, d_model=6, n_heads=1, d_head=6, n_ctx=8
    )
    network = AttentionOnlyTransformer(config)
    eye = torch.eye(6)
    score, effect = torch.zeros(6, 6), torch.zeros(6, 6)
    score[3, 1], score[3, 2] = 10, 30
    effect[1, 4], effect[2, 5] = 5, 5
    weights = {
        "W_E": eye,
        "W_pos": torch.zeros(8, 6),
        "W_Q": score[None, None],
        "W_K": eye[None, None],
        "W_V": eye[None, None],
        "W_O": effect[None, None],
        "W_U": eye,
    }
    model = with_weights(as_bridge(network.eval()), weights)
    without = model(torch.tensor([[0, 1, 0, 3]]))[0, -1]
    with_it = model(torch.tensor([[0, 1, 2, 3]]))[0, -1]
    assert words[without.argmax()] == "one"
    assert words[with_it.argmax()] == "other"
    quiet, loud = (
        skip_trigram_lift(model, torch.tensor([context]), 1, [3], [4])
        for context in ([0, 0, 0, 0], [0, 2, 0, 0])
    )
    assert loud.item() < 0.5 * quiet.item()


# --- low rank (F-68 to F-71, F-149) -------------------------------------------------


@pytest.mark.parametrize("sizes", [(30, 4, 50), (6, 6, 9), (70, 1, 3)])
def test_svd_of_a_product_equals_the_dense_one(sizes):
    rows, inner, columns = sizes
    a, b = torch.randn(rows, inner).double(), torch.randn(inner, columns).double()
    U, S, V = svd_of_product(a, b)
    dense = torch.linalg.svdvals(a @ b)[:inner]
    assert torch.allclose(S, dense, rtol=1e-6)
    assert torch.allclose(U @ S.diag() @ V.T, a @ b)
    library = FactoredMatrix(a, b).svd()[1][:inner]
    assert torch.allclose(S, library, rtol=1e-5)


def test_eigenvalues_equal_the_dense_and_the_library_ones():
    model = random_model(1, seed=5, d_vocab=40, d_head=4)
    circuit = full_ov_circuit(model, 0, 1)
    dense = torch.linalg.eigvals(circuit.AB.double())
    largest = dense[dense.abs().argsort(descending=True)[:4]]
    ours = ov_eigenvalues(model, 0, 1)
    for values in (largest, circuit.eigenvalues):
        for wanted in values.tolist():
            assert min(abs(wanted - v) for v in ours.tolist()) < 1e-3 * abs(wanted)
    trace = torch.trace(circuit.AB)
    assert ours.sum().real == pytest.approx(trace.item(), rel=1e-3, abs=1e-3)


def test_copying_score_has_its_ends_and_its_null():
    """F-68: 1 for a head that copies, -1 for one that erases, about 0 at random."""
    model = random_model(1, seed=6, d_vocab=30, d_model=10, d_head=6)
    W_U = torch.linalg.pinv(model.W_E)
    W_V = torch.linalg.qr(model.W_V)[0]
    copies = {"W_U": W_U, "W_V": W_V, "W_O": W_V.transpose(-2, -1)}
    assert copying_score(with_weights(model, copies), 0, 1) == pytest.approx(1, abs=0.1)
    erases = copies | {"W_O": -W_V.transpose(-2, -1)}
    assert copying_score(with_weights(model, erases), 0, 1) == pytest.approx(
        -1, abs=0.1
    )
    null = [
        copying_score(random_model(1, s, d_vocab=200, d_model=64, d_head=32), 0, 1)
        for s in range(12)
    ]
    assert abs(np.mean(null)) < 0.05
    assert copying_score(with_weights(model, {"W_O": 0 * model.W_O}), 0, 1) == 0


def test_positive_eigenvalues_do_not_prove_copying():
    """F-71: both eigenvalues are positive, and the first token lowers itself."""
    matrix = torch.tensor([[-1.0, 3.0], [-1.5, 3.5]])
    values = torch.linalg.eigvals(matrix).real.sort().values
    assert values.tolist() == pytest.approx([0.5, 2.0])
    assert matrix[0, 0] < 0


def test_copying_top1_by_a_plain_loop():
    model = random_model(1, seed=6, d_vocab=23)
    rows = full_ov_circuit(model, 0, 2).AB.tolist()
    share = sum(row.index(max(row)) == i for i, row in enumerate(rows)) / 23
    assert copying_top1(model, 0, 2) == pytest.approx(share)


# --- other ways to write a right answer ---------------------------------------------


def dense_ov(model, layer, head):
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U


def dense_qk_in_double(model, layer, head):
    query = model.W_E.double() @ model.W_Q[layer, head].double()
    key = model.W_E.double() @ model.W_K[layer, head].double()
    return torch.einsum("qd,kd->qk", query, key)


def frozen_by_einsum(model, tokens, pattern):
    stream = tokens.double() @ model.W_E.double()
    ov = torch.einsum("hmd,hdn->hmn", model.W_V[0], model.W_O[0]).double()
    added = torch.einsum("bhqk,bkm,hmn->bqn", pattern.double(), stream, ov)
    return (stream + added) @ model.W_U.double()


def terms_by_library(model, tokens):
    _, cache = model.run_with_cache(tokens)
    heads = cache.stack_head_results()
    parts = torch.cat([cache["hook_embed"][None], heads])
    return (parts @ model.W_U).numpy()


def positional_by_loops(model, layer, head, length):
    place = model.W_pos.double()
    q = place @ model.W_Q[layer, head].double()
    k = place @ model.W_K[layer, head].double()
    pattern = np.zeros((length, length))
    for i in range(length):
        scores = [float(q[i] @ k[j]) / math.sqrt(k.shape[1]) for j in range(i + 1)]
        weights = np.exp(np.array(scores) - max(scores))
        pattern[i, : i + 1] = weights / weights.sum()
    return pattern


def share_by_numpy(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    scores = cache[f"blocks.{layer}.attn.hook_attn_scores"][:, head].double().numpy()
    top = bottom = 0.0
    for i in range(2, tokens.shape[1]):
        part = scores[:, i, 1 : i + 1]
        part = part - part.mean(1, keepdims=True)
        top += len(part) * (part.mean(0) ** 2).sum()
        bottom += (part**2).sum()
    return top / bottom


def trigrams_as_lists(model, layer, head, source, k=5):
    qk, ov = dense_qk_in_double(model, layer, head), dense_ov(model, layer, head)
    centred = qk - qk.mean(1, keepdim=True)
    pair = centred[:, source].argsort(descending=True), ov[source].argsort().flip(0)
    return [ids[:k].tolist() for ids in pair]


def lift_in_numpy(model, layer, head, query, frequencies):
    scores = dense_qk_in_double(model, layer, head)[query].numpy()
    scores = scores / np.sqrt(model.cfg.d_head)
    return scores - np.log((frequencies.numpy() * np.exp(scores)).sum())


def effect_row_by_row(model, tokens, places, source, out, replacement):
    effects = []
    for text, place in zip(tokens.tolist(), places.tolist(), strict=True):
        changed = [replacement if t == source else t for t in text]
        changed[place:] = text[place:]
        logs = [
            torch.log_softmax(model(torch.tensor([t]))[0, place], 0)[out]
            for t in (text, changed)
        ]
        effects.append((logs[0] - logs[1]).item())
    return np.array(effects)


def svd_by_library(a, b):
    U, S, V = FactoredMatrix(a, b).svd()
    inner = a.shape[1]
    return U[:, :inner], S[:inner], V[:, :inner]


def eigenvalues_by_library(model, layer, head):
    return full_ov_circuit(model, layer, head).eigenvalues


def score_by_traces(model, layer, head, centred=False):
    W_U = model.W_U - model.W_U.mean(1, keepdim=True) if centred else model.W_U
    small = model.W_O[layer, head] @ W_U @ model.W_E @ model.W_V[layer, head]
    values = torch.linalg.eigvals(small.double())
    return small.trace() / values.abs().sum() if small.any() else 0.0


def top1_by_comparison(model, layer, head):
    circuit = dense_ov(model, layer, head)
    own = circuit.diagonal()[:, None]
    return np.mean([bool((row <= d).all()) for row, d in zip(circuit, own, strict=1)])


def lift_row_by_row(model, contexts, source, destinations, outs):
    table = np.zeros((len(destinations), len(outs)))
    pairs = itertools.product(enumerate(destinations), contexts.tolist())
    for (row, destination), context in pairs:
        context[-1] = destination
        other = list(context)
        other[len(context) // 2] = source
        logits = model(torch.tensor([other, context]))[:, -1].double()
        logits = logits - logits.mean(1, keepdim=True)
        table[row] += (logits[0] - logits[1])[outs].numpy() / len(contexts)
    return table


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("frozen_pattern_logits", frozen_by_einsum),
        ("one_layer_path_terms", terms_by_library),
        ("full_ov_circuit", dense_ov),
        ("full_qk_circuit", dense_qk_in_double),
        ("positional_pattern", positional_by_loops),
        ("positional_share", share_by_numpy),
        ("top_skip_trigrams", trigrams_as_lists),
        ("circuit_lift", lift_in_numpy),
        ("source_token_effect", effect_row_by_row),
        ("svd_of_product", svd_by_library),
        ("ov_eigenvalues", eigenvalues_by_library),
        ("copying_score", score_by_traces),
        ("copying_top1", top1_by_comparison),
        ("skip_trigram_lift", lift_row_by_row),
    ],
)
def test_a_right_answer_written_another_way_passes(name, answer):
    result = run_check(name, answer)
    assert result.status == "passed", result.message


# --- what the chapter says of the shipped model; the scoreboard has the rest ---------


@pytest.fixture(scope="module")
def shipped():
    return load_model("one_layer")


def outputs(model, string: str, k: int = 40) -> set[str]:
    """What a source raises most in any head, as strings."""
    source = model.to_single_token(string)
    lists = [
        top_skip_trigrams(model, 0, head, source, k)[1].tolist()
        for head in range(model.cfg.n_heads)
    ]
    return {model.tokenizer.decode([i]) for ids in lists for i in ids}


@pytest.mark.parametrize(
    ("source", "raised"),
    [
        ("try", {"except", "finally"}),
        ("class", {" __init__"}),
        (" []", {"append"}),
        (" open", {"r", "w"}),
        ("(", {"))", "),"}),
        ("[", {"]", "],"}),
    ],
)
def test_the_tables_hold_what_the_prose_says(shipped, source, raised):
    """F-62 and F-66, as far as they can be read off weights."""
    assert raised <= outputs(shipped, source)


def test_most_shipped_heads_copy(shipped):
    """F-69: the paper has 10 of 12."""
    heads = range(shipped.cfg.n_heads)
    assert sum(copying_score(shipped, 0, head) > 0.5 for head in heads) >= 4


def test_intervals_of_readings_draw_texts_and_replacements():
    """Section 6: either alone can make the mean uncertain, and both are counted."""
    notebook = Path(__file__).parents[2] / "chapters" / "ch3_one_layer.ipynb"
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    (source,) = ["".join(c["source"]) for c in cells if c["id"] == "ch3-110"]
    namespace = {"torch": torch}
    exec(source[source.index("def interval") :], namespace)
    widths = []
    for falls in (
        torch.ones(4, 20),
        torch.tensor([0.0, 0, 0, 4])[:, None].expand(4, 20),
        torch.arange(20.0).expand(4, 20),
    ):
        low, high = namespace["interval"](falls)
        assert low <= falls.mean() <= high
        widths.append(high - low)
    assert widths[0] == 0
    assert widths[1] == pytest.approx(3, abs=0.1)  # 0 to 3 of 4 draws, or all of them
    spread = torch.arange(20.0).std(correction=0).item() / 20**0.5
    assert widths[2] == pytest.approx(2 * 1.96 * spread, rel=0.1)
