"""Chapter 7: its analyses against independent oracles, and what its prose says."""

import math

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

import solutions.ch7_real_models as chapter
from solutions.ch3_one_layer import copying_score
from solutions.ch4_two_layer import k_composition, q_composition, v_composition
from solutions.ch5_induction_heads import (
    prefix_matching_score,
    previous_token_score,
    repeated_tokens,
)
from solutions.ch7_real_models import (
    SCORES,
    composition_graph,
    copying_scores,
    fold_layer_norm,
    grouped_heads,
    induction_scores,
    mlp_path_terms,
    top_ov_pairs,
)
from utils.checks.ch7_real_models import shared
from utils.exercises.engine import run_check
from utils.models.attention_only import load_model
from utils.models.findings import REPORTED, compare, elsewhere
from utils.models.handmade import random_model
from utils.models.real import load_real_model, start_id, weights_of

NAMES = ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_U")


def weights_by_name(model):
    return {name: getattr(model, name) for name in NAMES}


# --- the earlier chapters' functions as oracles ---------------------------------------


@pytest.mark.parametrize(
    ("kind", "pairwise"),
    [("q", q_composition), ("k", k_composition), ("v", v_composition)],
)
def test_the_graph_is_chapter_4_for_all_pairs(kind, pairwise):
    model = random_model(3, seed=4, n_heads=2, d_head=3)
    graph = composition_graph(weights_by_name(model), kind)
    for one, two in ((0, 1), (0, 2), (1, 2)):
        assert torch.allclose(graph[one, :, two], pairwise(model, one, two), atol=1e-5)


@pytest.mark.parametrize("kind", "qkv")
def test_the_graph_is_the_librarys(kind):
    model = random_model(3, seed=6, n_heads=2, d_head=3)
    graph = composition_graph(weights_by_name(model), kind)
    theirs = model.all_composition_scores(kind.upper())
    assert torch.allclose(graph, theirs, atol=1e-4)


def test_copying_scores_are_chapter_3s():
    model = load_model("two_layer")
    scores = copying_scores(weights_by_name(model))
    for place in ((0, 3), (1, 0), (1, 7)):
        assert scores[place] == pytest.approx(copying_score(model, *place), abs=1e-3)


def test_scores_are_chapter_5s():
    model, tokens = load_model("two_layer"), repeated_tokens(4096, 30, batch=3)
    scores = induction_scores(model, tokens)
    assert torch.allclose(scores[0], prefix_matching_score(model, tokens), atol=1e-5)
    # Query 0 has no token before it in either; ours leaves it out of all scores.
    assert torch.allclose(scores[1], previous_token_score(model, tokens), atol=1e-5)


def test_the_top_pairs_are_those_of_the_whole_circuit():
    model = load_model("one_layer")
    values, sources, outputs = top_ov_pairs(weights_by_name(model), 0, 5, k=40)
    whole = FactoredMatrix(model.W_E @ model.W_V[0, 5], model.W_O[0, 5] @ model.W_U).AB
    whole = whole - whole.mean(dim=1, keepdim=True)
    assert torch.allclose(values, whole.flatten().topk(40).values, atol=1e-3)
    assert torch.allclose(values, whole[sources, outputs], atol=1e-3)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_folding_agrees_with_the_library(kind):
    """`bridge` is folded by the library: folding it once more changes nothing."""
    weights = weights_of(shared.bridge(kind, 2, 4, seed=1))
    again = fold_layer_norm(weights, centre=kind == "gpt2")
    for name, value in weights.items():
        if name != "W_U":  # the library's has no mean over the vocabulary either
            assert torch.allclose(again[name], value, atol=1e-5), name


def test_folding_is_exact_in_float64():
    tokens = torch.tensor(shared.TOKENS)
    for centre in (True, False):
        raw = shared.made_up(7, n_heads=4, n_groups=2)
        raw = {name: value.double() for name, value in raw.items()}
        before = shared.log_probs(raw, tokens, subtract_mean=centre)
        after = shared.log_probs(fold_layer_norm(raw, centre), tokens, False)
        assert (before - after).abs().max() < 1e-12


# --- other ways to write a right answer -----------------------------------------------


def graph_by_products(weights, kind="k"):
    """Whole matrices, in NumPy."""
    W = {name: value.double().numpy() for name, value in weights.items()}
    layers, heads = W["W_Q"].shape[:2]
    first = W["W_V"] @ W["W_O"]
    turned = np.swapaxes
    second = {
        "q": W["W_Q"] @ turned(W["W_K"], -1, -2),
        "k": W["W_K"] @ turned(W["W_Q"], -1, -2),
        "v": first,
    }[kind]
    found = np.zeros((layers, heads, layers, heads))
    for one in np.ndindex(layers, heads):
        for two in np.ndindex(layers, heads):
            if one[0] < two[0]:
                size = np.linalg.norm(first[one]) * np.linalg.norm(second[two])
                found[one + two] = np.linalg.norm(first[one] @ second[two]) / size
    return found


def scores_from_the_cache(model, tokens, skip_start=False):
    _, cache = model.run_with_cache(tokens)
    n = tokens.shape[1]
    patterns = torch.stack([cache["pattern", at] for at in range(model.cfg.n_layers)])
    patterns = patterns.double()
    if skip_start:
        patterns[..., 0] = 0
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    same = tokens[:, :, None] == tokens[:, None, :]
    before = tokens.roll(1, 1)
    kinds = [
        (tokens[:, :, None] == before[:, None, :]) & (j >= 1) & (j <= i),
        (j == i - 1).expand_as(same),
        same & (j < i),
        (i == j).expand_as(same),
        (j == 0).expand_as(same),
    ]
    found = []
    for kind in kinds:
        kind = kind & (i >= 1)
        asked = kind.any(-1)[None, :, None]
        on = (patterns * kind[None, :, None]).sum((1, 3, 4))
        whole = (patterns.sum(-1) * asked).sum((1, 3))
        found.append(torch.where(whole < 1e-6, 0.0, on / whole.clamp(min=1e-6)))
    return torch.stack(found).numpy()


def copying_in_the_stream(weights):
    """From eigenvalues of a [d_model, d_model] matrix."""
    around = weights["W_U"] @ weights["W_E"]
    eigenvalues = torch.linalg.eigvals(weights["W_V"] @ weights["W_O"] @ around)
    return eigenvalues.real.sum(-1) / eigenvalues.abs().sum(-1)


def groups_by_index(weights):
    heads, groups = weights["W_Q"].shape[1], weights["W_K"].shape[1]
    group = torch.arange(heads) * groups // heads
    named = ("W_K", "b_K", "W_V", "b_V")
    return {n: w[:, group] if n in named else w for n, w in weights.items()}


OTHER_WAYS = {
    "composition_graph": graph_by_products,
    "induction_scores": scores_from_the_cache,
    "copying_scores": copying_in_the_stream,
    "grouped_heads": groups_by_index,
}


@pytest.mark.parametrize("name", OTHER_WAYS)
def test_other_ways_pass(name):
    result = run_check(name, OTHER_WAYS[name])
    assert result.status == "passed", result.message


# --- wrong answers that once passed ---------------------------------------------------


def groups_in_place(weights):
    weights.update(chapter.grouped_heads(dict(weights)))
    return weights


def folded_in_place(weights, centre=True):
    for name, value in chapter.fold_layer_norm(weights, centre).items():
        weights[name].copy_(value)
    return weights


def float_places(weights, layer, head, k=10):
    values, sources, outputs = chapter.top_ov_pairs(weights, layer, head, k)
    return values, sources.float(), outputs.float()


@pytest.mark.parametrize(
    ("name", "answer", "words"),
    [
        ("grouped_heads", groups_in_place, "changes the dict"),
        ("fold_layer_norm", folded_in_place, "changed a tensor"),
        ("top_ov_pairs", float_places, "Ids are integers"),
    ],
)
def test_wrong_answers_that_passed_before(name, answer, words):
    result = run_check(name, answer)
    assert result.status == "failed" and words in result.message


# --- what the chapter says of the shipped model ---------------------------------------


def cut(*places):
    def silent(z, hook):
        kept = z.clone()
        kept[:, :, [head for layer, head in places if layer == hook.layer()]] = 0.0
        return kept

    return [(f"blocks.{at}.attn.hook_z", silent) for at in {at for at, _ in places}]


def second_copy(model, rows, span, hooks=()):
    log_probs = model.run_with_hooks(rows, fwd_hooks=list(hooks))[:, :-1].log_softmax(
        -1
    )
    losses = -log_probs.gather(-1, rows[:, 1:, None]).squeeze(-1)
    return losses[:, span + 1 :].mean().item()


def hidden_from(model, rows, source, places, into):
    """Hooks that take what `source` wrote away from inputs of later layers."""
    weights = weights_of(model)
    _, cache = model.run_with_cache(rows)
    written = cache["z", source[0]][:, :, source[1]] @ weights["W_O"][source]
    if into == "mlp":
        return [
            (f"blocks.{layer}.ln2.hook_in", lambda stream, hook: stream - written)
            for layer in places
        ]

    def hidden(values, hook):
        W, scale = weights["W_K"], cache[f"blocks.{hook.layer()}.ln1.hook_scale"]
        size = model.cfg.n_heads // W.shape[1]
        kept = values.clone()
        for group in {head // size for at, head in places if at == hook.layer()}:
            kept[:, :, group] -= written / scale @ W[hook.layer(), group]
        return kept

    return [(f"blocks.{at}.attn.hook_k", hidden) for at in {at for at, _ in places}]


@pytest.mark.slow
def test_small_gpt2_does_induction_by_way_of_its_mlps():
    """Weights of heads name nobody there; head 0.1 is needed, through MLPs only."""
    model = load_real_model("small_gpt2", folded=True)
    rows = repeated_tokens(1024, 40, batch=8)
    scores = induction_scores(model, rows)
    inductive = [(3, head) for head in range(4)]
    assert min(scores[0][at] for at in inductive) > 0.45
    assert divmod(int(scores[1].argmax()), 4) == (0, 1)
    graph = composition_graph(grouped_heads(weights_of(model)))
    pairs = graph[graph > 0]
    into_keys = torch.stack([graph[0, 1, 3, head] for head in range(4)])
    assert (into_keys < pairs.mean() + 2 * pairs.std()).all()
    base = second_copy(model, rows, 40)
    assert base < 1
    assert second_copy(model, rows, 40, cut((0, 1))) > base + 5
    others = [(0, 0), (1, 1), (1, 3), (2, 0), (2, 2)]
    assert max(second_copy(model, rows, 40, cut(at)) for at in others) < base + 0.5
    keys = hidden_from(model, rows, (0, 1), inductive, "k")
    assert second_copy(model, rows, 40, keys) < base + 0.3
    mlps = hidden_from(model, rows, (0, 1), range(3), "mlp")
    assert second_copy(model, rows, 40, mlps) > base + 5


@pytest.mark.slow
def test_smollm2_has_the_papers_circuit(smollm2):
    """From weights one head is named, and its cut is what stops induction."""
    model = load_real_model(smollm2, folded=True)
    rows = repeated_tokens(model.cfg.d_vocab, 40, batch=4)
    rows[:, 0] = start_id(model)
    scores = induction_scores(model, rows)
    inductive = [(17, 3), (17, 4), (17, 5), (18, 6), (18, 7), (23, 2)]
    assert min(scores[0][at] for at in inductive) > 0.4
    assert scores[1][16, 0] > 0.8 and divmod(int(scores[1].argmax()), 9) == (16, 0)
    weights = grouped_heads(weights_of(model))
    graph = composition_graph(weights)
    toward = torch.stack([graph[:, :, a, b] for a, b in inductive]).mean(0)
    assert divmod(int(toward.argmax()), 9) == (16, 0)
    for head in (3, 4, 5):  # the maximum by a wide margin
        best, second = graph[:, :, 17, head].flatten().topk(2).values
        assert graph[16, 0, 17, head] == best > 2 * second
    base = second_copy(model, rows, 40)
    assert second_copy(model, rows, 40, cut((16, 0))) > base + 4
    for control in ((16, 4), (14, 3), (11, 1), (19, 3)):
        assert second_copy(model, rows, 40, cut(control)) < base + 1
    keys = hidden_from(model, rows, (16, 0), inductive, "k")
    assert second_copy(model, rows, 40, keys) > base + 4
    copying = copying_scores(weights)
    ranks = [int((copying > copying[at]).sum()) for at in inductive]
    assert min(ranks) > 50  # they do not stand out
    verdicts = [row[5] for row in compare("smollm2", scores, graph)]
    assert verdicts == ["agrees"] * 6


@pytest.mark.slow
def test_attention_alone_explains_nothing_of_the_text_in_small_gpt2():
    from utils.text.corpus import stdlib_corpus

    model = load_real_model("small_gpt2", folded=True)
    rows = stdlib_corpus(1024).rows("heldout", 128)[::50].long()
    names = [f"blocks.{layer}.hook_mlp_out" for layer in range(4)]
    _, cache = model.run_with_cache(rows)

    def loss(hooks):
        log_probs = model.run_with_hooks(rows, fwd_hooks=hooks)[:, :-1].log_softmax(-1)
        return -log_probs.gather(-1, rows[:, 1:, None]).mean().item()

    chance = math.log(1024)
    mean = [
        (name, lambda out, hook: cache[hook.name].mean((0, 1)).expand_as(out))
        for name in names
    ]
    assert loss([]) < 3.2
    assert loss(mean) > chance


def test_terms_of_an_mlp_are_exact_in_the_shipped_model():
    model = load_real_model("small_gpt2", folded=True)
    tokens = torch.randint(1, 1024, (2, 20), generator=torch.Generator().manual_seed(1))
    _, cache = model.run_with_cache(tokens)
    for layer in (0, 3):
        terms = mlp_path_terms(model, tokens, layer)
        into = cache[f"blocks.{layer}.mlp.hook_pre"]
        assert len(terms) == 1 + 4 * (layer + 1) + layer + 1
        assert torch.allclose(terms.sum(0), into, atol=1e-3)


# --- the table of findings ------------------------------------------------------------


def test_a_table_says_reported_found_and_verdict():
    scores, graph = torch.zeros(5, 12, 12), torch.zeros(12, 12, 12, 12)
    scores[0, 5, 5], scores[0, 6, 9], scores[2, 3, 0] = 0.95, 0.2, 0.6
    rows = {row[:2]: row[2:6] for row in compare("gpt2", scores, graph)}
    assert rows["prefix matching", "5.5"] == ("0.93", pytest.approx(0.95), 1, "agrees")
    assert rows["prefix matching", "6.9"] == ("0.91", pytest.approx(0.2), 2, "differs")
    assert rows["duplicate token", "3.0"] == ("named", pytest.approx(0.6), 1, "agrees")
    assert {row[0] for row in elsewhere("gpt2")} == {"attn-only-2l"}
    assert len(elsewhere("gpt2")) == 3 and len(elsewhere("attn-only-2l")) == 12


def test_a_model_that_nobody_wrote_about_gets_its_own_numbers():
    scores = torch.zeros(5, 2, 3)
    scores[1, 1, 2] = 0.75
    rows = compare("mine", scores, torch.zeros(2, 3, 2, 3))
    assert [row[0] for row in rows] == list(SCORES[:3])
    assert rows[1] == ("previous token", "1.2", "", 0.75, 1, "new", "")
    assert len(REPORTED) >= 15 and len(SCORES) == 5
