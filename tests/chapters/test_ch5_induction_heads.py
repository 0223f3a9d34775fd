"""Chapter 5: its analyses against independent oracles, and what its prose says.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import math
from functools import cache

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix
from transformer_lens.head_detector import (
    get_induction_head_detection_pattern,
    get_previous_token_head_detection_pattern,
)

from solutions.ch5_induction_heads import (
    ablate_edge,
    build_induction_model,
    build_matching_head,
    build_pointer_model,
    build_previous_token_head,
    copying_head_score,
    ideal_pattern_recovery,
    induction_heads_from_weights,
    logit_effect,
    prefix_matching_score,
    previous_token_score,
    previous_token_weights,
    repeat_loss,
    repeated_tokens,
    same_matching_score,
)
from utils.exercises.engine import run_check
from utils.models.attention_only import load_model
from utils.models.handmade import (
    decoy_model,
    induction_model,
    model_from_weights,
    orthonormal_rows,
    pointer_model,
    previous_token_model,
    random_model,
    vectors_alike,
    with_made_up_tokens,
    with_weights,
)

KINDS = ("duplicate", "first", "lag", "text")


@cache
def induction():
    return induction_model()


def accuracy(logits, tokens, span):
    guesses = logits[:, span + 1 : -1].argmax(-1)
    return (guesses == tokens[:, span + 2 :]).double().mean().item()


# --- the hand-made models are what they say -------------------------------------------


@pytest.mark.parametrize(("span", "copies"), [(3, 2), (5, 3), (12, 2)])
def test_hand_made_induction_model_continues_repeats(span, copies):
    tokens = repeated_tokens(13, span, copies)
    assert accuracy(induction()(tokens), tokens, span) == 1
    assert accuracy(pointer_model()(tokens), tokens, span) == 1
    _, cached = induction().run_with_cache(tokens)
    assert cached["pattern", 1][:, 2, 1 : span + 1, 0].min() > 0.99  # rests, F-100


@pytest.mark.parametrize("kind", KINDS)
def test_decoys_copy_and_still_do_no_induction(kind):
    model, tokens = decoy_model(kind), repeated_tokens(13, 9)
    assert accuracy(model(tokens), tokens, 9) < 0.5
    assert copying_head_score(model, repeated_tokens(13, 10, 1), 1, 2) > 0.9
    assert previous_token_score(model, tokens)[0, 1] > 0.99


def test_a_fixed_lag_looks_like_induction_at_one_period():
    """Misconception 13: at its own period the decoy is perfect."""
    model = decoy_model("lag", lag=5)
    scores = {
        span: prefix_matching_score(model, repeated_tokens(13, span))[1, 2].item()
        for span in (4, 6, 8)
    }
    assert scores[6] > 0.99 and scores[4] < 0.2 and scores[8] < 0.2


def test_weights_of_the_wrong_shape_are_refused():
    weights = build_induction_model(5, 11)
    with pytest.raises(ValueError, match="W_U"):
        model_from_weights(weights | {"W_U": weights["W_U"].T})
    with pytest.raises(ValueError, match="missing: W_pos"):
        model_from_weights({k: v for k, v in weights.items() if k != "W_pos"})
    with pytest.raises(ValueError, match="kind must be"):
        decoy_model("perfect")


# --- behaviour ------------------------------------------------------------------------


def test_rows_of_repeats():
    tokens = repeated_tokens(50, span=7, copies=3, batch=9, seed=2)
    state = torch.random.get_rng_state()
    assert torch.equal(tokens, repeated_tokens(50, 7, 3, batch=9, seed=2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert tokens.dtype == torch.int64 and (tokens[:, 1:] > 0).all()
    some = torch.tensor([4, 40, 44])
    assert set(repeated_tokens(50, 3, ids=some)[:, 1:].flatten().tolist()) == {
        4,
        40,
        44,
    }


@pytest.mark.parametrize("copies", [2, 3])
def test_prefix_matching_is_the_stripe_of_transformerlens(copies):
    """The library's own detector builds the stripe in another way: compare the two."""
    model, span = random_model(2, seed=3, d_vocab=29, n_ctx=25), 8
    tokens = repeated_tokens(29, span, copies, batch=1, seed=1)
    mask = get_induction_head_detection_pattern(tokens)
    mask = mask.bool() & torch.ones_like(mask).tril().bool()
    mask[: span + 1] = False  # queries of the first copy point nowhere
    score = prefix_matching_score(model, tokens)
    _, cached = model.run_with_cache(tokens)
    for layer in range(2):
        sums = (cached["pattern", layer][0] * mask).sum(-1)[:, span + 1 :]
        assert torch.allclose(score[layer], sums.mean(-1), atol=1e-5)


def test_the_stripe_stands_at_minus_l_minus_one():
    """Misconceptions 9 to 11: not at -L, not at -(L + 1), start token or no."""
    span = 10
    tokens = repeated_tokens(13, span)
    _, cached = induction().run_with_cache(tokens)
    pattern = cached["pattern", 1][:, 2, span + 1 :]
    means = {
        shift: pattern.diagonal(span + 1 - shift, 1, 2).mean().item()
        for shift in (span - 1, span, span + 1)
    }
    assert means[span - 1] > 0.99 and means[span] < 0.01 and means[span + 1] < 0.01


def test_previous_token_score_is_that_of_transformerlens():
    model, tokens = random_model(2, seed=5), repeated_tokens(13, 5, batch=1)
    mask = get_previous_token_head_detection_pattern(tokens)
    _, cached = model.run_with_cache(tokens)
    score = previous_token_score(model, tokens)
    for layer in range(2):
        on_mask = (cached["pattern", layer][0] * mask).sum((-1, -2)) / mask.sum()
        assert torch.allclose(score[layer], on_mask, atol=1e-5)


def test_repeat_loss_by_a_loop():
    model, tokens = random_model(2, seed=6), repeated_tokens(13, 3, copies=3)
    logits = model(tokens).double().numpy()
    losses = []
    for row, ids in enumerate(tokens.tolist()):
        for i in range(5, 10):
            x = logits[row, i - 1]
            losses.append(np.log(np.exp(x).sum()) - x[ids[i]])
    assert repeat_loss(model, tokens, 3) == pytest.approx(np.mean(losses), abs=1e-4)


def test_logit_effects_of_all_heads_add_up():
    """With the direct path they are the logits, up to a constant (F-102)."""
    model, tokens = random_model(2, seed=7), repeated_tokens(13, 5)
    effects = sum(logit_effect(model, tokens, i, j) for i in (0, 1) for j in range(3))
    direct = model.W_E[tokens] @ model.W_U
    whole = model(tokens) - direct
    whole = (whole - whole.mean(-1, keepdim=True))[:, :-1]
    expected = whole.gather(-1, tokens[:, 1:, None]).squeeze(-1)
    assert torch.allclose(effects, expected, atol=1e-3)


def test_copying_score_of_known_heads():
    tokens = repeated_tokens(13, 12, copies=1)
    assert copying_head_score(induction(), tokens, 1, 2) > 0.95
    assert copying_head_score(induction_model(copying=-1), tokens, 1, 2) < 0.05
    noise = [copying_head_score(induction(), tokens, 1, head) for head in (0, 1)]
    assert all(0 <= share < 0.4 for share in noise)


# --- mechanism ------------------------------------------------------------------------


@pytest.mark.parametrize("edge", ["q", "k", "v"])
def test_edge_is_what_the_models_own_weight_reads(edge):
    """Take the vector from what all of W_Q reads, then put the other heads back."""
    model, tokens = random_model(2, seed=8), repeated_tokens(13, 4)
    _, clean = model.run_with_cache(tokens)
    written = clean["z", 0][:, :, 2] @ model.W_O[0, 2]

    def subtract(x, hook):
        return x - written

    def others_back(values, hook):
        kept = clean[f"blocks.1.attn.hook_{edge}"].clone()
        kept[:, :, 1] = values[:, :, 1]
        return kept

    hooks = [
        (f"blocks.1.attn.{edge}.hook_in", subtract),
        (f"blocks.1.attn.hook_{edge}", others_back),
    ]
    expected = model.run_with_hooks(tokens, fwd_hooks=hooks)
    result = ablate_edge(model, tokens, (0, 2), (1, 1), edge)
    assert torch.allclose(result, expected, atol=1e-4)
    assert not torch.allclose(result, model(tokens), atol=1e-2)


def test_only_the_key_edge_ends_induction():
    tokens = repeated_tokens(13, 10)
    right = {
        edge: accuracy(
            ablate_edge(induction(), tokens, (0, 1), (1, 2), edge), tokens, 10
        )
        for edge in "qkv"
    }
    assert right == {"q": 1.0, "k": 0.0, "v": 1.0}
    model = pointer_model()
    right = {
        edge: accuracy(ablate_edge(model, tokens, (0, 1), (1, 2), edge), tokens, 10)
        for edge in "qkv"
    }
    assert right["k"] == right["v"] == 1 and right["q"] < 0.3


def test_ideal_patterns_of_a_perfect_model_recover_everything():
    tokens = repeated_tokens(13, 8, batch=3)
    back = torch.eye(17).roll(-1, 1).expand(3, -1, -1)
    _, cached = induction().run_with_cache(tokens)
    own = {(0, 1): cached["pattern", 0][:, 1], (1, 2): cached["pattern", 1][:, 2]}
    assert ideal_pattern_recovery(induction(), tokens, own, 10) == pytest.approx(1)
    ideal = ideal_pattern_recovery(induction(), tokens, {(0, 1): back}, 10)
    assert ideal == pytest.approx(1, abs=0.01)
    nothing = {(1, 2): torch.zeros(3, 17, 17)}
    assert ideal_pattern_recovery(induction(), tokens, nothing, 10) == 0


# --- weights --------------------------------------------------------------------------


@pytest.mark.parametrize("prev_head", [0, 2])
def test_same_matching_by_factored_matrices(prev_head):
    """TransformerLens's FactoredMatrix finds the eigenvalues in its own way."""
    model = random_model(2, seed=9, d_vocab=31, d_head=6)
    E = model.W_E - model.W_E.mean(0)
    moved = E @ model.W_V[0, prev_head] @ model.W_O[0, prev_head]
    table = FactoredMatrix(E @ model.W_Q[1, 1], (moved @ model.W_K[1, 1]).T)
    values = table.eigenvalues
    expected = (values.sum().real / values.abs().sum()).item()
    assert same_matching_score(model, 1, 1, prev_head) == pytest.approx(
        expected, abs=1e-3
    )
    assert values.sum().real == pytest.approx(table.AB.trace().item(), rel=1e-3)


def test_flipped_sign_changes_matching_and_not_composition():
    """F-111: the composition score is made of norms, the eigenvalues have signs."""
    model = induction()
    W_V = model.W_V.clone()
    W_V[0, 1] *= -1
    flipped = with_weights(model, {"W_V": W_V})
    for prev_head in (None, 1):
        before = same_matching_score(model, 1, 2, prev_head)
        assert before > 0.9
        assert same_matching_score(flipped, 1, 2, prev_head) == pytest.approx(
            -before, abs=0.05
        )
    scores = [m.all_composition_scores("K").scores for m in (model, flipped)]
    scores = [s[0, 1, 1, 2].item() for s in scores]
    assert scores[0] == pytest.approx(scores[1], rel=1e-5)
    tokens = repeated_tokens(13, 8)
    assert prefix_matching_score(flipped, tokens)[1, 2] < 0.05


def test_weights_and_behaviour_name_the_same_heads():
    """On models with a known answer, impostors included (F-109)."""
    spans = (4, 7, 9)
    models = {"induction": induction(), "other seed": induction_model(11, 29, seed=5)}
    models |= {kind: decoy_model(kind, lag=3) for kind in KINDS}
    models |= {
        "avoids": induction_model(matching=-1),
        "lowers": induction_model(copying=-1),
    }
    for name, model in models.items():
        d_vocab = model.cfg.d_vocab
        rows = [repeated_tokens(d_vocab, span) for span in spans]
        matching = torch.stack([prefix_matching_score(model, r) for r in rows]).mean(0)
        single = repeated_tokens(d_vocab, 9, copies=1)
        behaves = [
            (layer, head)
            for layer in (0, 1)
            for head in range(3)
            if matching[layer, head] > 0.5
            and copying_head_score(model, single, layer, head) > 0.5
        ]
        wanted = [(1, 2)] if name in ("induction", "other seed") else []
        assert behaves == wanted, name
        assert induction_heads_from_weights(model) == wanted, name


def test_previous_token_weights_are_the_patterns_without_tokens():
    """With all embeddings 0 the model's own patterns are the positional ones."""
    model = random_model(2, seed=12, n_ctx=9)
    blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
    score = previous_token_score(blank, torch.zeros(1, 9, dtype=torch.long))[0]
    assert torch.allclose(previous_token_weights(model), score, atol=1e-5)
    weights = previous_token_weights(previous_token_model())
    assert weights[1] > 0.99 and weights[[0, 2]].max() < 0.5


def test_without_a_previous_token_head_nothing_is_named():
    """The second layer alone still matches and copies; nobody writes what it reads."""
    model = induction()
    W_Q = model.W_Q.clone()
    W_Q[0] = 0.0
    blind = with_weights(model, {"W_Q": W_Q})
    assert same_matching_score(blind, 1, 2) > 0.9
    assert prefix_matching_score(blind, repeated_tokens(13, 8))[1, 2] < 0.5
    assert induction_heads_from_weights(blind) == []


def test_a_one_layer_model_has_no_induction_heads():
    assert induction_heads_from_weights(random_model(1), threshold=-2) == []


# --- built by hand --------------------------------------------------------------------


@pytest.mark.parametrize(("d_vocab", "n_ctx"), [(5, 9), (23, 64)])
def test_built_models_are_right_everywhere(d_vocab, n_ctx):
    models = {
        "keys": model_from_weights(build_induction_model(d_vocab, n_ctx)),
        "pointer": model_from_weights(build_pointer_model(d_vocab, n_ctx), "stream"),
    }
    for span in range(2, min(d_vocab - 1, (n_ctx - 1) // 2) + 1):
        tokens = repeated_tokens(d_vocab, span, (n_ctx - 1) // span)
        for name, model in models.items():
            assert accuracy(model(tokens), tokens, span) == 1, (name, span)


def test_the_built_heads_are_found_by_the_detector():
    model = model_from_weights(build_induction_model(17, 33))
    assert induction_heads_from_weights(model) == [(1, 0)]
    pointer = model_from_weights(build_pointer_model(17, 33), "stream")
    assert induction_heads_from_weights(pointer) == []


def test_ranks_of_the_circuits():
    """The heads need no more room than this (section 8 of the chapter)."""
    W_E, W_prev, W_pos = torch.eye(2 * 12 + 20).split([12, 12, 20])
    previous = build_previous_token_head(W_E, W_pos, W_prev)
    matching = build_matching_head(W_E, W_prev)
    ranks = [int(torch.linalg.matrix_rank(m)) for m in (*previous, *matching)]
    assert ranks == [19, 12, 12, 11]


# --- other ways to write a right answer -----------------------------------------------


def tokens_by_numpy(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    random = np.random.default_rng(seed)
    pool = np.arange(1, d_vocab) if ids is None else ids.numpy()
    rows = [random.choice(pool, span, replace=False) for _ in range(batch)]
    return torch.tensor([[0, *np.tile(row, copies).tolist()] for row in rows])


def prefix_by_loops(model, tokens):
    _, cached = model.run_with_cache(tokens)
    totals = np.zeros((model.cfg.n_layers, model.cfg.n_heads))
    count = 0
    for row, ids in enumerate(tokens.tolist()):
        for i, token in enumerate(ids):
            keys = [p + 1 for p in range(i) if ids[p] == token]
            count += bool(keys)
            for layer in range(model.cfg.n_layers):
                pattern = cached["pattern", layer][row]
                totals[layer] += pattern[:, i, keys].sum(-1).numpy()
    return totals / count


def effect_from_library(model, tokens, layer, head):
    _, cached = model.run_with_cache(tokens)
    written = torch.einsum(
        "bph,hm->bpm", cached["z", layer][:, :, head], model.W_O[layer, head]
    )
    W_U = model.W_U.double() - model.W_U.double().mean(1, keepdim=True)
    logits = written.double() @ W_U
    rows, places = torch.arange(len(tokens))[:, None], torch.arange(tokens.shape[1] - 1)
    return logits[rows, places, tokens[:, 1:]]


def matching_as_a_table(model, layer, head, prev_head=None):
    n_ctx = len(model.W_pos)
    weights = np.zeros(model.cfg.n_heads)
    for k in range(model.cfg.n_heads):
        q, key = model.W_pos @ model.W_Q[0, k], model.W_pos @ model.W_K[0, k]
        scores = (q @ key.T / math.sqrt(model.cfg.d_head)).double()
        mask = torch.full((n_ctx, n_ctx), -torch.inf).triu(1)
        pattern = (scores + mask).softmax(-1)
        weights[k] = np.mean([pattern[i, i - 1].item() for i in range(1, n_ctx)])
    if prev_head is not None:
        weights = np.eye(model.cfg.n_heads)[prev_head]
    OV = sum(
        w * (model.W_V[0, k] @ model.W_O[0, k]).double() for k, w in enumerate(weights)
    )
    E = (model.W_E - model.W_E.mean(0)).double()
    QK = (model.W_Q[layer, head] @ model.W_K[layer, head].T).double()
    values = np.linalg.eigvals((E @ QK @ OV.T @ E.T).numpy())
    return np.trace((E @ QK @ OV.T @ E.T).numpy()) / max(np.abs(values).sum(), 1e-12)


def edge_by_a_changed_cache(model, tokens, source_head, target_head, input):
    _, cached = model.run_with_cache(tokens)
    written = cached["z", source_head[0]][:, :, source_head[1]].double()
    written = written @ model.W_O[source_head].double()
    matrix = {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[input][target_head]
    kept = cached[f"blocks.{target_head[0]}.attn.hook_{input}"].clone()
    kept[:, :, target_head[1]] -= (written @ matrix.double()).float()
    name = f"blocks.{target_head[0]}.attn.hook_{input}"
    with model.hooks(fwd_hooks=[(name, lambda values, hook: kept)]):
        return model(tokens)


def previous_factored(W_E, W_pos, W_prev):
    return (
        FactoredMatrix(1000.0 * W_pos[1:].T, W_pos[:-1]),
        FactoredMatrix(W_E.T, W_prev).AB.numpy(),
    )


def matching_by_loops(W_E, W_prev):
    d_vocab, d_model = W_E.shape
    W_QK, W_OV = torch.zeros(d_model, d_model), torch.zeros(d_model, d_model)
    for t in range(d_vocab):
        W_QK += 50 * torch.outer(W_E[t], W_prev[t]) + 22 * torch.outer(W_E[t], W_E[0])
        if t:
            W_OV += 10 * torch.outer(W_E[t], W_E[t])
    return W_QK, W_OV


def induction_in_small_heads(d_vocab, n_ctx):
    """Natural factors, a width of max(d_vocab, n_ctx), and a second, silent head."""
    d_head, d_model = max(d_vocab, n_ctx), 2 * d_vocab + n_ctx
    W = {name: torch.zeros(2, 2, d_model, d_head) for name in ("W_Q", "W_K", "W_V")}
    W["W_O"] = torch.zeros(2, 2, d_head, d_model)
    tok, prev, pos = torch.eye(d_model).split([d_vocab, d_vocab, n_ctx])
    W["W_Q"][0, 1, :, : n_ctx - 1] = 200.0 * pos[1:].T
    W["W_K"][0, 1, :, : n_ctx - 1] = pos[:-1].T
    W["W_V"][0, 1, :, :d_vocab], W["W_O"][0, 1, :d_vocab] = tok.T, prev
    W["W_Q"][1, 0, :, :d_vocab] = 200.0 * tok.T
    W["W_K"][1, 0, :, :d_vocab] = prev.T
    W["W_V"][1, 0, :, :d_vocab], W["W_O"][1, 0, :d_vocab] = tok.T, 5 * tok
    return W | {"W_E": tok, "W_pos": pos, "W_U": tok.T.clone()}


OTHER_WAYS = [
    ("repeated_tokens", tokens_by_numpy),
    ("prefix_matching_score", prefix_by_loops),
    ("logit_effect", effect_from_library),
    ("same_matching_score", matching_as_a_table),
    ("ablate_edge", edge_by_a_changed_cache),
    ("build_previous_token_head", previous_factored),
    ("build_matching_head", matching_by_loops),
    ("build_induction_model", induction_in_small_heads),
]


@pytest.mark.parametrize(
    ("name", "answer"), OTHER_WAYS, ids=[name for name, _ in OTHER_WAYS]
)
def test_other_ways_pass(name, answer):
    result = run_check(name, answer)
    assert result.status == "passed", result.message


def test_a_head_that_looks_two_back_is_told_so():
    def answer(W_E, W_pos, W_prev):
        return 30.0 * W_pos[2:].T @ W_pos[:-2], W_E.T @ W_prev

    result = run_check("build_previous_token_head", answer)
    assert result.status == "failed" and result.mistake is None
    assert "the position just before" in result.message


# --- tokens that are made up ---------------------------------------------------------


def test_made_up_tokens_replace_theirs_and_nothing_else():
    """Here W_U is twice W_E, which has three dimensions of its ten: so the new ones."""
    plain = random_model(2, seed=3, d_vocab=40)
    W_E = torch.randn(40, 3) @ torch.randn(3, 10)
    W_E[0] = torch.randn(10)
    model = with_weights(plain, {"W_E": W_E, "W_U": 2 * W_E.T})
    ids = torch.tensor([4, 9, 31])
    other = with_made_up_tokens(model, ids, seed=1)
    changed = (other.W_E != model.W_E).all(1).nonzero().flatten()
    assert torch.equal(changed, ids)
    for name in ("W_Q", "W_K", "W_V", "W_O", "W_pos"):
        assert torch.equal(getattr(other, name), getattr(model, name))
    torch.testing.assert_close(other.W_U.T, 2 * other.W_E, rtol=1e-4, atol=1e-5)
    rank = torch.linalg.matrix_rank(other.W_E[1:].double(), atol=1e-4)
    assert rank == 3 and torch.equal(other.W_E[0], W_E[0])


def test_vectors_alike_have_the_mean_and_covariance():
    known = (torch.randn(30, 4) @ torch.randn(4, 4) + torch.randn(4)).double()
    new = vectors_alike(known, 200_000, seed=2)
    torch.testing.assert_close(new.mean(0), known.mean(0), atol=0.05, rtol=0)
    wanted = torch.cov(known.T, correction=0)
    torch.testing.assert_close(torch.cov(new.T), wanted, atol=0.2, rtol=0.02)


# --- what the prose says --------------------------------------------------------------


def test_bounds_of_the_prose():
    """Knowing the set of K tokens, with and without striking off, and chance."""
    assert round(math.log(4096), 1) == 8.3
    assert round(math.log(64), 1) == 4.2
    assert round(math.lgamma(65) / 64, 1) == 3.2


@pytest.mark.slow
def test_the_first_head_moves_an_identity_and_no_prediction():
    """Section 5: of both heads only the second raises the right token's logit."""
    model = load_model("two_layer")
    rows = repeated_tokens(4096, 32, batch=4, seed=32)
    prev = (0, previous_token_score(model, rows)[0].argmax().item())
    scores = prefix_matching_score(model, rows)
    induction = [(1, head) for head in range(8) if scores[1, head] > 0.5]
    raised = [logit_effect(model, rows, *p)[:, 33:].mean() for p in (prev, *induction)]
    assert len(raised) > 1 and min(raised[1:]) > 10 * raised[0]
    read = {way: model.all_composition_scores(way).scores[prev] for way in "QKV"}
    for place in induction[:1]:
        assert read["K"][place] > 5 * max(read["Q"][place], read["V"][place])


def test_rotated_rows_are_orthonormal():
    rows = orthonormal_rows(7, 20, seed=3)
    assert torch.allclose(rows @ rows.T, torch.eye(7), atol=1e-5)
