"""Chapter 4: its analyses against independent oracles, and what its prose says.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import math

import numpy as np
import pytest
import torch
from transformer_lens import FactoredMatrix

from solutions.ch4_two_layer import (
    composition_score,
    cyclic_composition_score,
    k_composition,
    marginal_effect,
    pattern_preserving_ablation,
    q_composition,
    random_composition,
    score_path_terms,
    term_importance,
    two_layer_path_terms,
    v_composition,
    value_weighted_pattern,
    virtual_head,
)
from utils.exercises.engine import run_check
from utils.models.attention_only import load_model
from utils.models.handmade import previous_token_model, random_model, with_weights
from utils.text.corpus import stdlib_corpus


def some_tokens(d_vocab: int, batch: int, length: int, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(d_vocab, (batch, length), generator=generator)


def loss_of(logits, tokens) -> float:
    following = tokens[:, 1:].flatten()
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1), following
    ).item()


# --- paths --------------------------------------------------------------------------


@pytest.mark.parametrize("n_heads", [1, 2, 4])
def test_paths_add_up_to_the_logits(n_heads):
    """F-81: nothing is left over."""
    model, tokens = random_model(2, 5, n_heads=n_heads), some_tokens(13, 3, 9)
    terms = two_layer_path_terms(model, tokens)
    assert len(terms) == 1 + 2 * n_heads + n_heads**2
    assert torch.allclose(terms.sum(0), model(tokens), atol=1e-4)


def test_paths_with_the_identity_as_a_head():
    """F-144: with a head that does nothing in each layer, every path is a pair."""
    model, tokens = random_model(2, 3, n_heads=2), some_tokens(13, 1, 6)
    _, cache = model.run_with_cache(tokens)
    layers = []
    for layer in (0, 1):
        heads = [(torch.eye(6), torch.eye(10))]
        for head in (0, 1):
            ov = model.W_V[layer, head] @ model.W_O[layer, head]
            heads.append((cache["pattern", layer][0, head], ov))
        layers.append(heads)
    embed = model.W_E[tokens[0]]
    pairs = {
        (i, j): two @ one @ embed @ ov_1 @ ov_2 @ model.W_U
        for i, (one, ov_1) in enumerate(layers[0])
        for j, (two, ov_2) in enumerate(layers[1])
    }
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 1), (2, 2)]
    expected = torch.stack([pairs[pair] for pair in order])
    assert torch.allclose(
        two_layer_path_terms(model, tokens)[:, 0], expected, atol=1e-4
    )


def test_virtual_heads_are_the_last_paths():
    """F-25: a path through two heads is the virtual head at work on the embedding."""
    model, tokens = random_model(2, 8, n_heads=3), some_tokens(13, 2, 7)
    terms = two_layer_path_terms(model, tokens)
    for a in range(3):
        for b in range(3):
            pattern, ov = virtual_head(model, tokens, (0, a), (1, b))
            moved = pattern @ model.W_E[tokens] @ ov.AB @ model.W_U
            assert torch.allclose(terms[7 + 3 * a + b], moved, atol=1e-4)
            assert torch.allclose(pattern.sum(-1), torch.ones(2, 7), atol=1e-6)
            assert pattern.triu(1).abs().max() == 0


def test_two_steps_of_one_make_a_step_of_two():
    """F-130, on the sizes of the companion's exercise: d_head 4, stream 16."""
    model = previous_token_model(d_vocab=4, d_head=4)
    assert (model.cfg.d_model, model.cfg.d_head) == (16, 4)
    tokens = some_tokens(4, 2, 11)
    pattern, ov = virtual_head(model, tokens, (0, 1), (1, 0))
    assert pattern.diagonal(-2, 1, 2).min() > 0.99
    assert torch.equal(model(tokens).argmax(-1)[:, 2:], tokens[:, :-2])
    assert ov.shape == (16, 16)


@pytest.mark.parametrize("n_ctx", [11, 40])
def test_heads_by_hand_look_back_as_told(n_ctx):
    lags = {(0, 0): 1, (0, 2): 3, (1, 1): 2}
    model = previous_token_model(lags, n_ctx=n_ctx)
    _, cache = model.run_with_cache(some_tokens(7, 1, n_ctx))
    for (layer, head), lag in lags.items():
        looks = cache["pattern", layer][0, head].diagonal(-lag)
        assert looks.min() > 0.99


# --- scores -------------------------------------------------------------------------


@pytest.mark.parametrize("head", [0, 2])
def test_scores_add_up(head):
    """F-82: the sum is the model's own score, also where the mask hides it."""
    model, tokens = random_model(2, 4, n_heads=3), some_tokens(13, 2, 8)
    terms = score_path_terms(model, tokens, head)
    assert terms.shape == (5, 5, 2, 8, 8)
    _, cache = model.run_with_cache(tokens)
    q, k = cache["q", 1][:, :, head], cache["k", 1][:, :, head]
    scores = q @ k.transpose(1, 2) / 2.0  # d_head is 4
    assert torch.allclose(terms.sum((0, 1)), scores, atol=1e-4)
    below = torch.ones(8, 8).tril().bool()
    hooked = cache["attn_scores", 1][:, head]
    assert torch.allclose(terms.sum((0, 1))[:, below], hooked[:, below], atol=1e-4)


def test_position_with_position_is_the_same_for_all_texts():
    model = random_model(2, 6)
    one = score_path_terms(model, some_tokens(13, 1, 8, seed=1), 1)[1, 1]
    two = score_path_terms(model, some_tokens(13, 1, 8, seed=2), 1)[1, 1]
    assert torch.equal(one, two)


# --- composition --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "function"),
    [("Q", q_composition), ("K", k_composition), ("V", v_composition)],
)
def test_composition_equals_the_library(mode, function):
    """F-85: TransformerLens's own scores, to 1e-5."""
    model = random_model(3, 9, n_heads=2, d_model=12, d_head=5)
    library = model.all_composition_scores(mode).scores
    for one in range(3):
        for two in range(3):
            mine = function(model, one, two)
            assert torch.allclose(mine, library[one, :, two], atol=1e-5)


def test_reading_the_previous_token_in_the_key_is_k_composition():
    """Misconception 21: on a circuit by hand, K is large and Q and V are nothing."""
    model = previous_token_model({(0, 1): 1})
    W_Q, W_K = model.W_Q.clone(), model.W_K.clone()
    W_Q[1, 2, :7, :7] = torch.eye(7)  # what is looked for: the token itself
    W_K[1, 2, 7:14, :7] = torch.eye(7)  # what is offered: the token before
    circuit = with_weights(model, {"W_Q": W_Q, "W_K": W_K})
    expected = torch.zeros(3, 3)
    expected[1, 2] = 7**-0.5
    assert torch.allclose(k_composition(circuit), expected)
    assert q_composition(circuit).abs().max() == 0
    assert v_composition(circuit).abs().max() == 0


def test_composition_does_not_see_the_size_of_the_weights():
    """Misconception 15."""
    model = random_model(2, 1)
    larger = with_weights(model, {"W_V": 10 * model.W_V})
    for function in (q_composition, k_composition, v_composition):
        assert torch.allclose(function(model), function(larger), atol=1e-6)


def test_random_heads_score_one_over_the_root_of_d_model():
    """F-85: within 2 %; and full matrices spread less (misconception 19)."""
    scores = random_composition(d_model=96, d_head=12, n_samples=600)
    assert scores.mean().item() == pytest.approx(96**-0.5, rel=0.02)
    eye = torch.eye(96)
    full = [
        composition_score(
            FactoredMatrix(torch.randn(96, 96), eye),
            FactoredMatrix(torch.randn(96, 96), eye),
        )
        for _ in range(100)
    ]
    assert np.mean(full) == pytest.approx(96**-0.5, rel=0.02)
    assert scores.std() > 2 * np.std(full)


def test_the_buggy_form_is_another_number():
    """F-87: a cycle keeps the trace and not the norm."""
    model = random_model(2, 2, d_model=20, d_head=3)
    V, out = model.W_V[0, 1].double(), model.W_O[0, 1].double()
    Q, K = model.W_Q[1, 2].double(), model.W_K[1, 2].double()
    true, buggy = Q @ K.T @ out.T @ V.T, K.T @ out.T @ V.T @ Q
    assert true.trace().item() == pytest.approx(buggy.trace().item())
    sizes = torch.linalg.norm(V @ out) * torch.linalg.norm(Q @ K.T)
    score = cyclic_composition_score(model)[1, 2].item()
    assert score == pytest.approx((torch.linalg.norm(buggy) / sizes).item(), abs=1e-5)
    assert k_composition(model)[1, 2].item() == pytest.approx(
        (torch.linalg.norm(true) / sizes).item(), abs=1e-5
    )
    assert abs(k_composition(model)[1, 2] - score) > 0.02


def test_the_bug_depends_on_the_basis_inside_a_head():
    """A change of W_V and W_O that changes nothing moves the buggy score."""
    model = random_model(2, 2)
    change = torch.diag(torch.tensor([8.0, 1.0, 1.0, 1.0]))
    same = with_weights(
        model,
        {"W_V": model.W_V @ change, "W_O": torch.linalg.inv(change) @ model.W_O},
    )
    tokens = some_tokens(13, 1, 9)
    assert torch.allclose(model(tokens), same(tokens), atol=1e-3)
    assert torch.allclose(k_composition(model), k_composition(same), atol=1e-5)
    # The product O V does not see the change, so neither does this form.
    assert torch.allclose(
        cyclic_composition_score(model), cyclic_composition_score(same), atol=1e-5
    )
    W_Q = model.W_Q @ change
    W_K = model.W_K @ torch.linalg.inv(change)
    same = with_weights(model, {"W_Q": W_Q, "W_K": W_K})
    assert torch.allclose(k_composition(model), k_composition(same), atol=1e-5)
    moved = cyclic_composition_score(model) - cyclic_composition_score(same)
    assert moved.abs().max() > 0.05


# --- what terms are worth -----------------------------------------------------------


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_the_last_order_is_exact(n_layers):
    """F-120: with all orders the loss is the model's own."""
    model, tokens = random_model(n_layers, 7), some_tokens(13, 4, 11)
    orders = term_importance(model, tokens)
    assert len(orders) == n_layers + 1
    expected = math.log(13) - loss_of(model(tokens), tokens)
    assert orders.sum().item() == pytest.approx(expected, abs=1e-5)
    direct = model.W_E[tokens] @ model.W_U
    expected = math.log(13) - loss_of(direct, tokens)
    assert orders[0].item() == pytest.approx(expected, abs=1e-5)


def test_orders_are_sums_of_paths():
    model, tokens = random_model(2, 11, n_heads=2), some_tokens(13, 2, 9)
    terms = two_layer_path_terms(model, tokens)
    losses = [math.log(13)]
    losses += [loss_of(terms[:n].sum(0), tokens) for n in (1, 5, 9)]
    expected = -torch.tensor(losses).diff()
    assert torch.allclose(term_importance(model, tokens), expected, atol=1e-5)


def test_effects_do_not_depend_on_the_way():
    """F-122: layer 0 first or layer 1 first, together they give order 1."""
    model, tokens = random_model(2, 12), some_tokens(13, 3, 10)
    first, second = ([(layer, h) for h in range(3)] for layer in (0, 1))
    one = marginal_effect(model, tokens, first)
    one += marginal_effect(model, tokens, second, given=first)
    two = marginal_effect(model, tokens, second)
    two += marginal_effect(model, tokens, first, given=second)
    order_1 = term_importance(model, tokens)[1].item()
    assert one == pytest.approx(two, abs=1e-5)
    assert one == pytest.approx(order_1, abs=1e-5)
    assert marginal_effect(model, tokens, first, given=first) == 0


def test_ablation_strikes_out_paths():
    """O-30: equality with the sum of the remaining terms."""
    model, tokens = random_model(2, 13, n_heads=2), some_tokens(13, 2, 9)
    terms = two_layer_path_terms(model, tokens)
    # direct, 0.0, 0.1, 1.0, 1.1, then the pairs 0.0-1.0, 0.0-1.1, 0.1-1.0, 0.1-1.1
    without = {((0, 1),): [0, 1, 3, 4, 5, 6], ((0, 0), (1, 1)): [0, 2, 3, 7]}
    for heads, left in without.items():
        logits = pattern_preserving_ablation(model, tokens, list(heads))
        assert torch.allclose(logits, terms[left].sum(0), atol=1e-4)


def test_only_early_heads_matter_for_patterns():
    """Frozen or not is the same for the last layer, and not for the first."""
    model, tokens = random_model(2, 14), some_tokens(13, 2, 9)
    for head, same in (((1, 2), True), ((0, 2), False)):

        def silence(z, hook, head=head):
            z[:, :, head[1]] = 0.0
            return z

        name = f"blocks.{head[0]}.attn.hook_z"
        full = model.run_with_hooks(tokens, fwd_hooks=[(name, silence)])
        frozen = pattern_preserving_ablation(model, tokens, [head])
        assert torch.allclose(full, frozen, atol=1e-4) is same


def test_a_resting_head_has_no_weight():
    """F-89: attention to a token whose value is zero disappears."""
    model = previous_token_model({(0, 1): 1})
    W_V = model.W_V.clone()
    W_V[0, 1, 3] = 0  # the value of token 3
    tokens = torch.tensor([[0, 3, 5, 3, 1]])
    weighted = value_weighted_pattern(with_weights(model, {"W_V": W_V}), tokens, 0, 1)
    assert torch.allclose(
        weighted[0].diagonal(-1), torch.tensor([1.0, 0, 1, 0]), atol=1e-4
    )
    assert weighted[0, 2].sum() < 1e-4 and weighted[0, 3].sum() > 0.99


# --- other ways to write a right answer -----------------------------------------------


def paths_head_by_head(model, tokens):
    _, cache = model.run_with_cache(tokens)
    embed = model.W_E[tokens].double()

    def step(stream, layer, head):
        ov = (model.W_V[layer, head] @ model.W_O[layer, head]).double()
        return cache["pattern", layer][:, head].double() @ stream @ ov

    heads = range(model.cfg.n_heads)
    terms = [embed]
    terms += [step(embed, layer, head) for layer in (0, 1) for head in heads]
    terms += [step(step(embed, 0, a), 1, b) for a in heads for b in heads]
    return (torch.stack(terms) @ model.W_U.double()).numpy()


def virtual_head_dense(model, tokens, from_head, to_head):
    names = [f"blocks.{layer}.attn.hook_pattern" for layer, _ in (from_head, to_head)]
    _, cache = model.run_with_cache(tokens, names_filter=names)
    one, two = (
        cache[name][:, head[1]]
        for name, head in zip(names, (from_head, to_head), strict=True)
    )
    pattern = torch.einsum("bqm,bmk->bqk", two, one)
    return [pattern, model.OV[from_head].AB @ model.OV[to_head].AB]


def scores_by_loops(model, tokens, head):
    _, cache = model.run_with_cache(tokens)
    stack = cache.stack_head_results(layer=1)  # [head batch pos d_model]
    embed = cache["hook_embed"]
    parts = [embed, model.W_pos[: tokens.shape[1]] + 0 * embed, *stack]
    qk = (model.W_Q[1, head] @ model.W_K[1, head].T) / model.cfg.d_head**0.5
    rows = [[q @ qk @ k.mT for k in parts] for q in parts]
    return torch.stack([torch.stack(row) for row in rows])


def score_by_singular_values(first, second):
    def size(matrix):
        return np.sqrt((np.linalg.svd(matrix, compute_uv=False) ** 2).sum())

    one, two = first.AB.numpy(), second.AB.numpy()
    bottom = size(one) * size(two)
    return size(one @ two) / bottom if bottom else 0


def by_library(mode):
    def answer(model, from_layer=0, to_layer=1):
        return model.all_composition_scores(mode).scores[from_layer, :, to_layer]

    return answer


def floor_at_once(d_model, d_head, n_samples=200, seed=0):
    random = np.random.default_rng(seed)
    shapes = [(n_samples, d_model, d_head), (n_samples, d_head, d_model)]
    one, two = (
        random.normal(size=shapes[0]) @ random.normal(size=shapes[1]) for _ in "ab"
    )
    sizes = np.linalg.norm(one, axis=(1, 2)) * np.linalg.norm(two, axis=(1, 2))
    return np.linalg.norm(one @ two, axis=(1, 2)) / sizes


def bug_by_einsum(model, from_layer=0, to_layer=1):
    weights = (getattr(model, name) for name in ("W_V", "W_O", "W_Q", "W_K"))
    V, out, Q, K = weights
    n = model.cfg.n_heads
    if to_layer <= from_layer:
        return torch.zeros(n, n)
    cycle = torch.einsum(
        "jdk,imd,iem,jel->ijkl",
        K[to_layer],
        out[from_layer],
        V[from_layer],
        Q[to_layer],
    )
    sizes = torch.outer(
        (V[from_layer] @ out[from_layer]).flatten(1).norm(dim=1),
        (Q[to_layer] @ K[to_layer].mT).flatten(1).norm(dim=1),
    )
    return cycle.pow(2).sum((2, 3)).sqrt() / sizes


def orders_by_hooks(model, tokens):
    """The paper's recipe word for word, with hooks on the model."""
    _, cache = model.run_with_cache(tokens)
    layers = range(model.cfg.n_layers)
    saved = {layer: 0 * cache["hook_embed"] for layer in layers}
    losses = [math.log(model.cfg.d_vocab)]
    for _ in range(model.cfg.n_layers + 1):
        now = {}

        def frozen(pattern, hook):
            return cache["pattern", hook.layer()]

        def exchange(out, hook, now=now, saved=saved):
            now[hook.layer()] = out.clone()
            return saved[hook.layer()]

        hooks = [(f"blocks.{i}.attn.hook_pattern", frozen) for i in layers]
        hooks += [(f"blocks.{i}.attn.hook_out", exchange) for i in layers]
        losses.append(loss_of(model.run_with_hooks(tokens, fwd_hooks=hooks), tokens))
        saved = now
    return -np.diff(losses)


def effect_by_paths(model, tokens, heads, given=()):
    """In NumPy, from the paths through one head each, of any number of layers."""
    _, cache = model.run_with_cache(tokens)
    embed, W_U = model.W_E[tokens].double().numpy(), model.W_U.double().numpy()

    def path(layer, head):
        ov = (model.W_V[layer, head] @ model.W_O[layer, head]).double().numpy()
        return cache["pattern", layer][:, head].double().numpy() @ embed @ ov

    losses = []
    for chosen in (set(given), set(given) | set(heads)):
        stream = sum((path(*head) for head in chosen), embed)
        losses.append(loss_of(torch.from_numpy(stream @ W_U), tokens))
    return np.float64(losses[0] - losses[1])


def ablation_by_zeroed_weights(model, tokens, heads):
    W_O = model.W_O.clone()
    for head in heads:
        W_O[head] = 0
    less = with_weights(model, {"W_O": W_O})
    _, cache = model.run_with_cache(tokens)
    names = [f"blocks.{i}.attn.hook_pattern" for i in range(model.cfg.n_layers)]
    hooks = [(name, lambda p, hook, name=name: cache[name]) for name in names]
    return less.run_with_hooks(tokens, fwd_hooks=hooks)


def weighted_by_einsum(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    values = cache["resid_pre", layer] @ model.W_V[layer, head]
    sizes = torch.einsum("bkd,bkd->bk", values, values).sqrt()
    return torch.einsum("bqk,bk->bqk", cache["pattern", layer][:, head], sizes).numpy()


OTHER_WAYS = {
    "two_layer_path_terms": paths_head_by_head,
    "virtual_head": virtual_head_dense,
    "score_path_terms": scores_by_loops,
    "composition_score": score_by_singular_values,
    "q_composition": by_library("Q"),
    "k_composition": by_library("K"),
    "v_composition": by_library("V"),
    "random_composition": floor_at_once,
    "cyclic_composition_score": bug_by_einsum,
    "term_importance": orders_by_hooks,
    "marginal_effect": effect_by_paths,
    "pattern_preserving_ablation": ablation_by_zeroed_weights,
    "value_weighted_pattern": weighted_by_einsum,
}


@pytest.mark.parametrize("name", OTHER_WAYS)
def test_other_ways_pass(name):
    result = run_check(name, OTHER_WAYS[name])
    assert result.status == "passed", result.message


# --- what the chapter says, measured ------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two_layer", "two_layer_text"])
def test_shipped_models_are_as_the_chapter_says(name):
    """Pairs are worth little, and free patterns cost more than held ones."""
    model = load_model(name)
    assert 12 < 50_257 / model.cfg.d_vocab < 13  # some twelve times as large
    every = stdlib_corpus(model.cfg.d_vocab).rows("heldout")
    tokens = every[:: len(every) // 8][:8].long()
    gains = term_importance(model, tokens)
    assert gains[2] <= 0.1 * gains.sum()
    first = [(0, head) for head in range(model.cfg.n_heads)]
    held = loss_of(pattern_preserving_ablation(model, tokens, first), tokens)
    hooks = [("blocks.0.attn.hook_z", lambda z, hook: torch.zeros_like(z))]
    assert loss_of(model.run_with_hooks(tokens, fwd_hooks=hooks), tokens) > held


TEXT = """def load(path, mode):
    with open(path, mode) as stream:
        return stream"""


def bars_of(model, tokens):
    """The paths to the token that heads help most, largest first: (label, logits)."""
    terms = two_layer_path_terms(model, tokens)[:, 0, :-1]
    gain = terms.sum(0).log_softmax(-1) - terms[0].log_softmax(-1)
    target = tokens[0, 1:]
    place = gain[torch.arange(len(target)), target].argmax()
    values = terms[:, place, target[place]] - terms[:, place].mean(-1)
    heads = range(model.cfg.n_heads)
    names = ["direct", *(f"{layer}.{i}" for layer in (0, 1) for i in heads)]
    names += [f"0.{i} then 1.{j}" for i in heads for j in heads]
    order = values.abs().argsort(descending=True)
    return [(names[i], values[i].item()) for i in order]


@pytest.mark.slow
def test_both_models_are_as_the_chapter_compares_them():
    """What cells 102, 037, 054, 058, 108 and 098 say of figures of two models."""
    floor = random_composition(256, 32, n_samples=500)
    beyond, stand_out = [], []
    untrained = random_model(2, 0, n_heads=8, d_model=256, d_head=32, d_vocab=16)
    chance = cyclic_composition_score(untrained).mean()
    for name, pair in (("two_layer", ["0.5 then 1.7"]), ("two_layer_text", [])):
        model = load_model(name)
        tokens = model.to_tokens(TEXT)
        bars = bars_of(model, tokens)
        longest = [label for label, _ in bars[:3]]
        assert "direct" in longest and not any("then" in label for label in longest)
        near = [label for label, size in bars if size > 0.4 * bars[2][1]]
        assert [label for label in near if "then" in label] == pair
        table = k_composition(model)
        best = table.max(dim=1).values
        _, cache = model.run_with_cache(tokens)
        back = cache["pattern", 0][0].diagonal(-1, 1, 2).mean(-1)
        assert best.argmax() == back.argmax() == 6
        assert 1.9 < best[6] / best[[0, 1, 2, 3, 4, 5, 7]].max() < 2.5
        assert best[6] > 2 * floor.mean()
        beyond.append((table > floor.max()).float().mean().item())
        for scores, low in (
            (table, floor.mean()),
            (cyclic_composition_score(model), chance),
        ):
            over = scores - low
            stand_out.append(int((over > over.max() / 10).sum()))
        parts = score_path_terms(model, tokens, 2)[:, :, 0].var(dim=-1).mean(-1)
        assert divmod(parts.argmax().item(), 10) == (0, 8)
    assert beyond == pytest.approx([1 / 5, 1 / 16], rel=0.06)
    true, wrong, true_text, wrong_text = stand_out
    assert wrong < true / 2 and wrong_text == true_text
