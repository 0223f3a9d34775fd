"""Chapter 1: its analyses against TransformerLens and plain loops, and its prose.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from solutions.ch0_toolbox import ablate_head
from solutions.ch1_residual_stream import (
    decompose_residual,
    feature_interference,
    head_as_tensor_product,
    logit_attribution,
    ov_matrix,
    qk_matrix,
    reparametrise_head,
    rotate_basis,
    scores_from_qk,
    virtual_weight,
)
from utils.exercises.engine import run_check
from utils.models.attention_only import load_model
from utils.models.handmade import random_model, with_weights

CHAPTER = Path(__file__).parents[2] / "chapters" / "ch1_residual_stream.ipynb"
TOKENS = torch.tensor([[0, 3, 12, 7, 3, 9], [0, 8, 1, 1, 5, 2]])


def orthogonal(size: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator))[0]


# --- the stream and the logits ------------------------------------------------------


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_components_sum_to_the_logits(n_layers):
    """F-11, F-12: unembedding the sum gives the model's logits."""
    model = random_model(n_layers, seed=n_layers)
    parts = decompose_residual(model, TOKENS)
    assert parts.shape == (1 + 3 * n_layers, 2, 6, 10)
    assert torch.allclose(parts.sum(0) @ model.W_U, model(TOKENS), atol=1e-4)


def test_components_equal_those_of_transformer_lens():
    model = random_model(2, seed=4)
    _, cache = model.run_with_cache(TOKENS)
    heads = cache.stack_head_results(layer=-1)
    assert torch.allclose(decompose_residual(model, TOKENS)[1:], heads, atol=1e-5)


def test_one_position_by_hand():
    """F-17, F-18: value, mixture, output, one number at a time."""
    model = random_model(1, seed=5)
    _, cache = model.run_with_cache(TOKENS)
    head, query = 2, 4
    pattern = cache["blocks.0.attn.hook_pattern"][1, head, query]
    z = [0.0] * 4
    for key in range(query + 1):
        x = cache["hook_embed"][1, key]
        for d in range(4):
            value = sum(float(x[i] * model.W_V[0, head, i, d]) for i in range(10))
            z[d] += float(pattern[key]) * value
    written = [
        sum(z[d] * float(model.W_O[0, head, d, i]) for d in range(4)) for i in range(10)
    ]
    part = decompose_residual(model, TOKENS)[1 + head, 1, query]
    assert part.tolist() == pytest.approx(written, abs=1e-4)


def test_attribution_sums_to_the_logit_of_the_next_token():
    model = random_model(2, seed=6)
    logits = model(TOKENS)
    for centred in (True, False):
        total = logit_attribution(model, TOKENS, centred).sum(0)
        for row in range(2):
            for p in range(5):
                wanted = logits[row, p, TOKENS[row, p + 1]]
                wanted = wanted - logits[row, p].mean() if centred else wanted
                assert total[row, p].item() == pytest.approx(wanted.item(), abs=1e-3)


def test_centred_attribution_ignores_what_all_logits_share():
    """Misconception 27: one vector on every column of W_U changes no probability."""
    model = random_model(2, seed=7)
    moved = with_weights(model, {"W_U": model.W_U + torch.randn(10, 1)})
    probabilities = [m(TOKENS).softmax(-1) for m in (model, moved)]
    assert torch.allclose(*probabilities, atol=1e-4)
    same = [logit_attribution(m, TOKENS) for m in (model, moved)]
    assert torch.allclose(*same, atol=1e-3)
    raw = [logit_attribution(m, TOKENS, centred=False) for m in (model, moved)]
    assert (raw[0] - raw[1]).abs().max() > 0.1


# --- circuits -----------------------------------------------------------------------


def test_ov_and_qk_equal_those_of_transformer_lens():
    model = random_model(2, seed=8)
    for layer in range(2):
        for head in range(3):
            ov, qk = model.OV[layer, head].AB, model.QK[layer, head].AB
            assert torch.allclose(ov_matrix(model, layer, head).AB, ov, atol=1e-5)
            assert torch.allclose(qk_matrix(model, layer, head).AB, qk, atol=1e-5)


def test_their_rank_is_d_head():
    """F-22."""
    model = random_model(1, seed=9, d_model=10, d_head=4)
    for matrix in (ov_matrix(model, 0, 1), qk_matrix(model, 0, 1)):
        assert torch.linalg.matrix_rank(matrix.AB) == 4


@pytest.mark.parametrize(("layer", "head"), [(0, 1), (1, 2)])
def test_scores_make_the_pattern(layer, head):
    """F-20: masked and through a softmax they are the model's own pattern."""
    model = random_model(2, seed=10)
    scores = scores_from_qk(model, TOKENS, layer, head)
    visible = torch.ones(6, 6, dtype=torch.bool).tril()
    pattern = scores.masked_fill(~visible, -torch.inf).softmax(-1)
    _, cache = model.run_with_cache(TOKENS)
    assert torch.allclose(
        pattern, cache[f"blocks.{layer}.attn.hook_pattern"][:, head], atol=1e-5
    )
    hooked = cache[f"blocks.{layer}.attn.hook_attn_scores"][:, head]
    assert torch.allclose(scores[:, visible], hooked[:, visible], atol=1e-4)


def test_virtual_weight_times_activation_is_what_arrives():
    """F-14, in float64 and one head at a time."""
    model = random_model(2, seed=11)
    _, cache = model.run_with_cache(TOKENS)
    stream = cache["blocks.0.hook_resid_pre"].double()
    for name, W in (("q", model.W_Q), ("k", model.W_K), ("v", model.W_V)):
        arrived = (stream + model.W_pos[:6]) @ W[1, 2].double()
        if name == "v":
            arrived = stream @ W[1, 2].double()
        for head in range(3):
            pattern = cache["blocks.0.attn.hook_pattern"][:, head].double()
            weight = virtual_weight(model, (0, head), (1, 2), name).AB.double()
            arrived = arrived + pattern @ stream @ weight
        hooked = cache[f"blocks.1.attn.hook_{name}"][:, :, 2].double()
        assert torch.allclose(arrived, hooked, atol=1e-4)


# --- other weights, the same model --------------------------------------------------


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_rotated_model_computes_the_same(n_layers):
    """F-13."""
    model = random_model(n_layers, seed=12)
    weights = rotate_basis(model, orthogonal(10, 12))
    turned = with_weights(model, weights)
    assert torch.allclose(turned(TOKENS), model(TOKENS), atol=1e-4)
    assert (weights["W_E"] - model.W_E).abs().max() > 0.1


def test_layer_norm_breaks_the_rotation_and_rms_norm_does_not():
    x, rotation = torch.randn(7, 10), orthogonal(10, 13)
    gaps = {}
    for norm in (torch.nn.functional.layer_norm, torch.nn.functional.rms_norm):
        gap = norm(x, [10]) @ rotation - norm(x @ rotation, [10])
        gaps[norm.__name__] = gap.abs().max().item()
    assert gaps["layer_norm"] > 0.1
    assert gaps["rms_norm"] < 1e-5


@pytest.mark.parametrize("pair", ["ov", "qk"])
def test_reparametrised_head_has_the_same_product(pair):
    """F-22."""
    model = random_model(1, seed=14)
    change = torch.randn(4, 4) + 3 * torch.eye(4)
    one, two = reparametrise_head(model, 0, 1, change, pair)
    if pair == "ov":
        assert torch.allclose(one @ two, model.OV[0, 1].AB, atol=1e-4)
        assert torch.allclose(one, model.W_V[0, 1] @ change)
    else:
        assert torch.allclose(one @ two.T, model.QK[0, 1].AB, atol=1e-4)
        assert torch.allclose(one, model.W_Q[0, 1] @ change)


# --- the tensor product -------------------------------------------------------------


def test_tensor_product_equals_numpy_kron():
    """F-19: np.kron(A, W_OV.T) @ vec(x), rows of x one after the other."""
    pattern, ov, x = torch.rand(5, 5).tril(), torch.randn(3, 3), torch.randn(5, 3)
    matrix = head_as_tensor_product(pattern, ov)
    assert np.allclose(matrix.numpy(), np.kron(pattern.numpy(), ov.numpy().T))
    assert torch.allclose(matrix @ x.flatten(), (pattern @ x @ ov).flatten(), atol=1e-5)


def test_tensor_product_equals_the_broadcast_of_the_notation_appendix():
    """F-146: A[:, :, None, None] * W[None, None], with axes query, key, out, in."""
    pattern, ov = torch.rand(4, 4), torch.randn(3, 3)
    four = (pattern[:, :, None, None] * ov.T[None, None]).permute(0, 2, 1, 3)
    assert torch.allclose(head_as_tensor_product(pattern, ov), four.reshape(12, 12))


def test_mixed_product_rule():
    """F-25: two heads in a row are one head with both products."""
    first, second = (torch.rand(4, 4).tril() for _ in range(2))
    one, two = torch.randn(3, 3), torch.randn(3, 3)
    in_a_row = head_as_tensor_product(second, two) @ head_as_tensor_product(first, one)
    virtual = head_as_tensor_product(second @ first, one @ two)
    assert torch.allclose(in_a_row, virtual, atol=1e-5)


def test_a_layer_is_the_identity_plus_its_heads():
    """F-144: Id (x) Id for the stream, plus A (x) W_OV for each head."""
    model = random_model(1, seed=15)
    _, cache = model.run_with_cache(TOKENS)
    patterns = cache["blocks.0.attn.hook_pattern"][0]
    layer = torch.eye(6 * 10)
    for head in range(3):
        layer = layer + head_as_tensor_product(patterns[head], model.OV[0, head].AB)
    after = cache["blocks.0.hook_resid_post"][0].flatten()
    before = cache["blocks.0.hook_resid_pre"][0].flatten()
    assert torch.allclose(layer @ before, after, atol=1e-4)


def test_three_by_two_numbers_of_the_prose():
    x = np.array([[1, 0], [0, 1], [2, 1]])
    A = np.array([[1, 0, 0], [0.5, 0.5, 0], [0, 0.25, 0.75]])
    W = np.array([[0, 2], [1, 1]])
    assert x.flatten().tolist() == [1, 0, 0, 1, 2, 1]
    assert (x @ W)[2].tolist() == (2 * W[0] + 1 * W[1]).tolist() == [1, 5]
    assert (A @ x)[2].tolist() == (x[1] / 4 + 3 * x[2] / 4).tolist() == [1.5, 1]
    assert (A @ x @ W).tolist() == [[0, 2], [0.5, 1.5], [1, 4]]


# --- interference -------------------------------------------------------------------


def test_interference_equals_a_plain_loop():
    vectors = torch.randn(9, 5) + 0.5
    squares = []
    for i in range(9):
        for j in range(9):
            if i != j:
                one, two = vectors[i].tolist(), vectors[j].tolist()
                dot = sum(a * b for a, b in zip(one, two, strict=True))
                squares.append((dot / math.hypot(*one) / math.hypot(*two)) ** 2)
    wanted = math.sqrt(sum(squares) / len(squares))
    assert feature_interference(vectors) == pytest.approx(wanted, abs=1e-5)


def test_random_directions_overlap_by_one_over_the_root_of_their_number():
    """The prediction's number: 4,096 directions in 256 dimensions, 1/16."""
    vectors = torch.randn(4096, 256)
    assert feature_interference(vectors) == pytest.approx(1 / 16, abs=5e-4)


def test_interference_cannot_fall_under_the_welch_bound():
    """More directions than dimensions cannot all be orthogonal."""
    n, d = 40, 8
    bound = math.sqrt((n - d) / (d * (n - 1)))
    assert feature_interference(torch.randn(n, d)) >= bound


# --- answers written another way ----------------------------------------------------


def other_decomposition(model, tokens):
    _, cache = model.run_with_cache(tokens)
    return torch.cat([cache["hook_embed"][None], cache.stack_head_results(-1)]).double()


def other_attribution(model, tokens, centred=True):
    logits = decompose_residual(model, tokens).double() @ model.W_U.double()
    if centred:
        logits = logits - logits.mean(-1, keepdim=True)
    targets = tokens[:, 1:].expand(len(logits), -1, -1)[..., None]
    return logits[:, :, :-1].gather(-1, targets)[..., 0].numpy()


def other_ov(model, layer, head):
    return (model.W_V[layer, head].double() @ model.W_O[layer, head].double()).numpy()


def other_qk(model, layer, head):
    return model.QK[layer, head]


def other_scores(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    q, k = (cache[f"blocks.{layer}.attn.hook_{name}"][:, :, head] for name in "qk")
    return torch.einsum("bqd,bkd->bqk", q, k) * model.cfg.d_head**-0.5


def other_rotation(model, rotation):
    back = torch.linalg.inv(rotation)
    return {
        "W_E": torch.einsum("vi,ij->vj", model.W_E, rotation),
        "W_pos": model.W_pos @ rotation,
        "W_U": (model.W_U.T @ rotation).T,
        "W_O": torch.einsum("lhdi,ij->lhdj", model.W_O, rotation).double(),
        "W_Q": back @ model.W_Q,
        "W_K": back @ model.W_K,
        "W_V": torch.einsum("ij,lhjd->lhid", back, model.W_V),
    }


def other_head(model, layer, head, change, pair="ov"):
    if pair == "ov":
        W_O = torch.linalg.solve(change, model.W_O[layer, head])
        return [model.W_V[layer, head] @ change, W_O]
    W_K = torch.linalg.solve(change, model.W_K[layer, head].T).T
    return [model.W_Q[layer, head] @ change, W_K]


def other_product(pattern, ov):
    return np.kron(pattern.numpy(), ov.numpy().T)


def other_virtual(model, from_head, to_head, input):
    reads = getattr(model, f"W_{input.upper()}")[to_head]
    return FactoredMatrix(model.W_V[from_head], model.W_O[from_head] @ reads)


def other_interference(vectors):
    vectors, found = vectors.double(), []
    for i in range(1, len(vectors)):
        found.append(torch.cosine_similarity(vectors[:i], vectors[i], dim=1))
    return torch.cat(found).square().mean().sqrt()


OTHERS = {
    "decompose_residual": other_decomposition,
    "logit_attribution": other_attribution,
    "ov_matrix": other_ov,
    "qk_matrix": other_qk,
    "scores_from_qk": other_scores,
    "rotate_basis": other_rotation,
    "reparametrise_head": other_head,
    "head_as_tensor_product": other_product,
    "virtual_weight": other_virtual,
    "feature_interference": other_interference,
}


@pytest.mark.parametrize("name", OTHERS)
def test_right_answer_written_another_way_passes(name):
    result = run_check(name, OTHERS[name])
    assert result.status == "passed", result.message


# --- with_weights -------------------------------------------------------------------


def test_with_weights_gives_back_the_same_model():
    model = random_model(2, seed=16)
    copy = with_weights(model, {})
    assert torch.equal(copy(TOKENS), model(TOKENS))
    for name in ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U"):
        assert torch.equal(getattr(copy, name), getattr(model, name))
        assert getattr(copy, name).data_ptr() != getattr(model, name).data_ptr()


def test_with_weights_refuses_what_the_model_does_not_have():
    model = random_model(1, seed=17)
    with pytest.raises(ValueError, match="W_Z"):
        with_weights(model, {"W_Z": model.W_E})
    with pytest.raises(ValueError, match="no weight of this model"):
        with_weights(model, {"W_E": model.W_E.T})


# --- what the notebook says ---------------------------------------------------------


def code_of_the_chapter() -> list[str]:
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    return ["".join(c["source"]) for c in cells if c["cell_type"] == "code"]


def cell_with(words: str) -> str:
    (found,) = [source for source in code_of_the_chapter() if words in source]
    return found


def test_one_back_twice_is_two_back():
    """F-130, as the cell of the notebook builds it."""
    lines = cell_with("one_back =").split("\nplaces")[0]
    namespace = {"torch": torch}
    exec(lines, namespace)
    twice = namespace["one_back"] @ namespace["one_back"]
    assert twice.argmax(-1).tolist() == [0, 0, 0, 1, 2, 3, 4, 5]
    assert torch.equal(twice.sum(-1), torch.ones(8))


def test_rare_features_are_kept_beyond_the_dimensions():
    """Section 9: with a ReLU more and more as they get rarer, without it never."""
    namespace = {"torch": torch}
    exec(cell_with("def squeeze"), namespace)
    squeeze = namespace["squeeze"]
    dense, sparse = squeeze(6, chances=(1.0, 0.03))
    assert all(5 <= kept <= 7 for kept in dense) and min(sparse) >= 2 * max(dense)
    assert max(map(max, squeeze(6, relu=False, chances=(1.0, 0.03)))) <= 7


def test_another_basis_is_the_same_model():
    """Section 9: any invertible change of the stream, not only a rotation."""
    lines = cell_with("def in_another_basis").split("\n\n\n")[0]
    namespace = {"torch": torch, "with_weights": with_weights}
    exec(lines, namespace)
    model = random_model(3, seed=5, n_heads=2, d_head=5)
    change = torch.randn(10, 10) + 3 * torch.eye(10)
    other = namespace["in_another_basis"](model, change)
    assert not torch.allclose(other.W_E, model.W_E, atol=0.1)
    torch.testing.assert_close(other(TOKENS), model(TOKENS), atol=1e-3, rtol=1e-3)


def test_the_text_repeats_the_two_names_it_says():
    source = cell_with('text = """def area')
    text = source.split('"""')[1]
    assert text.count("width") == text.count("height") == 2


@pytest.fixture(scope="module")
def example():
    """The chapter's model, its text as tokens, and these as strings."""
    model = load_model("two_layer")
    tokens = model.to_tokens(cell_with('text = """def area').split('"""')[1])
    return model, tokens, model.to_str_tokens(tokens[0])


def test_a_silent_head_changes_no_head_of_its_layer(example):
    """Section 1: layer 0 stays to the last digit, and all of layer 1 moves."""
    model, tokens, _ = example
    W_O = model.W_O.clone()
    W_O[0, 3] = 0
    before = decompose_residual(model, tokens)[1:]
    after = decompose_residual(with_weights(model, {"W_O": W_O}), tokens)[1:]
    change = (after - before).abs().amax(dim=(1, 2, 3))
    assert change.nonzero()[:, 0].tolist() == [3, *range(8, 16)]


def test_the_second_width_needs_the_first_and_height_does_not(example):
    """Section 2, the table under the shares: the model is run again, renamed."""
    model, tokens, words = example
    kept = {}
    for name in ("width", "height"):
        first, second = [i for i, word in enumerate(words) if word == name]
        renamed = tokens.clone()
        renamed[0, first] = model.to_single_token("length")
        sums = []
        for row, place in ((tokens, first), (tokens, second), (renamed, second)):
            logits = model(row)[0, place - 1]
            sums.append((logits[row[0, place]] - logits.mean()).item())
        kept[name] = [value / sums[1] for value in sums]
    assert max(kept["width"][0], kept["width"][2]) < 0.4
    assert min(kept["height"][0], kept["height"][2]) > 0.5


def test_a_share_is_not_what_is_lost_without_the_head(example):
    """Section 2: equal in the last layer; 0.6 and 0.7 work through it."""
    model, tokens, _ = example
    shares = logit_attribution(model, tokens)[:, 0]
    best = int(shares.sum(dim=0).argmax())

    def logit(logits):
        return logits[0, best, tokens[0, best + 1]] - logits[0, best].mean()

    falls = torch.stack([
        logit(model(tokens)) - logit(ablate_head(model, tokens, layer, head))
        for layer in (0, 1)
        for head in range(8)
    ])  # fmt: skip
    own = shares[1:, best]
    torch.testing.assert_close(falls[8:], own[8:], atol=1e-3, rtol=1e-3)
    assert (falls[6:8] > 3).all() and (own[6:8].abs() < 0.3).all()
    assert (own[4:6] < -0.5).all() and (falls[4:6].abs() < 0.3).all()
    held = ablate_head(model, tokens, 1, 1, mean=True)
    assert own[9] > 1 and abs(logit(model(tokens)) - logit(held)) < 0.1


def test_a_writer_reaches_all_three_inputs_of_a_later_head_only(example):
    """Section 8: 0.2 into the queries, keys and values of 1.4, none of 0.4."""
    model, tokens, _ = example
    W_O = model.W_O.clone()
    W_O[0, 2] = 0
    _, whole = model.run_with_cache(tokens)
    _, muted = with_weights(model, {"W_O": W_O}).run_with_cache(tokens)
    for name in "qkv":
        same, later = (
            (whole[name, layer] - muted[name, layer])[0, :, 4] for layer in (0, 1)
        )
        share = later.norm(dim=-1).mean() / whole[name, 1][0, :, 4].norm(dim=-1).mean()
        assert not same.any() and 0.02 < share < 0.15


def test_the_drawn_virtual_head_begins_one_token_back(example):
    """Section 7: 0.6 looks at the token before, and the virtual pattern shows it."""
    model, tokens, _ = example
    _, cache = model.run_with_cache(tokens)
    early, late = cache["pattern", 0][0, 6], cache["pattern", 1][0, 7]
    assert early.diagonal(-1)[1:15].min() > 0.9
    moved = (late @ early)[:16, 1:15]
    torch.testing.assert_close(moved, late[:16, 2:16], atol=0.1, rtol=0)
