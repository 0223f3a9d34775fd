"""The model against plain loops, against TransformerLens's own, and through the bridge.

The oracle `loops` computes everything with Python's floats, one number at a time, from
the paper's formulas; it shares no code with `utils.models.attention_only`.
"""

import copy
import gc
import json
import math
from dataclasses import replace

import pytest
import torch
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.model_bridge.sources import native  # noqa: F401 (boot_native)

from utils.models import attention_only as model_file
from utils.models.attention import _RowByRow
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    ModelFileError,
    as_bridge,
    live_models,
    load_model,
    model_record,
    save_model,
)
from utils.text import corpus

# No two sizes are equal, so that a transposed matrix cannot go unnoticed.
SIZES = AttentionOnlyConfig(
    n_layers=2, d_vocab=13, d_model=10, n_heads=3, d_head=4, n_ctx=9
)
TOKENS = torch.tensor([[0, 5, 12, 5, 1, 7], [0, 3, 3, 9, 11, 2]])
VARIANTS = [
    replace(SIZES, n_layers=n_layers, positions=positions, smeared_keys=smeared)
    for n_layers in (0, 1, 2, 3)
    for positions in ("qk", "stream")
    for smeared in (False, True)
]


def name_of(config):
    smeared = "-smeared" if config.smeared_keys else ""
    return f"{config.n_layers}-layer-{config.positions}{smeared}"


every_variant = pytest.mark.parametrize("config", VARIANTS, ids=name_of)


def build(config, seed=0, dtype=torch.float32):
    """A model whose weights are all large enough to matter."""
    model = AttentionOnlyTransformer(config, seed=seed)
    generator = torch.Generator().manual_seed(seed + 100)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.add_(0.3 * noise)
    return model.to(dtype)


# The oracle


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def times(matrix, vector):
    """A matrix stored as nn.Linear stores it: one row per output."""
    return [dot(row, vector) for row in matrix]


def plus(a, b):
    return [x + y for x, y in zip(a, b, strict=True)]


def softmax(scores):
    powers = [math.exp(score - max(scores)) for score in scores]
    return [power / sum(powers) for power in powers]


def smear(keys, alpha):
    """O-20: each key mixed with the one before it, the first unchanged."""
    own = 1 / (1 + math.exp(-alpha))
    mixed = [keys[0]]
    for t in range(1, len(keys)):
        pairs = zip(keys[t], keys[t - 1], strict=True)
        mixed.append([own * now + (1 - own) * before for now, before in pairs])
    return mixed


def head_by_loops(config, weights, layer, head, stream, edit_scores, edit_pattern):
    """What one head adds to the stream at every position."""
    prefix = f"layers.{layer}.attn"
    rows = slice(head * config.d_head, (head + 1) * config.d_head)
    w_q, w_k, w_v = (weights[f"{prefix}.{x}.weight"][rows] for x in "qkv")
    w_o = [row[rows] for row in weights[f"{prefix}.o.weight"]]
    placed = stream
    if config.positions == "qk":
        placed = [plus(x, weights["pos.weight"][t]) for t, x in enumerate(stream)]
    keys = [times(w_k, x) for x in placed]
    if config.smeared_keys:
        keys = smear(keys, weights[f"{prefix}.smear"][head])
    out = []
    for t in range(len(stream)):
        query = times(w_q, placed[t])
        scores = [dot(query, keys[s]) / config.d_head**0.5 for s in range(t + 1)]
        scores = edit_scores(layer, head, t, scores)
        pattern = edit_pattern(layer, head, t, softmax(scores))
        mixed = [0.0] * config.d_head
        for s, share in enumerate(pattern):
            mixed = plus(mixed, [share * x for x in times(w_v, stream[s])])
        out.append(times(w_o, mixed))
    return out


def as_it_is(layer, head, t, row):
    return row


def loops(model, row, edit_scores=as_it_is, edit_pattern=as_it_is):
    """Logits [pos][d_vocab] for one row of token ids."""
    config = model.config
    weights = {key: value.tolist() for key, value in model.state_dict().items()}
    stream = [weights["tok_embed.weight"][token] for token in row]
    if config.positions == "stream":
        stream = [plus(x, weights["pos.weight"][t]) for t, x in enumerate(stream)]
    for layer in range(config.n_layers):
        added = [
            head_by_loops(
                config, weights, layer, head, stream, edit_scores, edit_pattern
            )
            for head in range(config.n_heads)
        ]
        for out in added:
            stream = [plus(x, y) for x, y in zip(stream, out, strict=True)]
    return [times(weights["head.weight"], x) for x in stream]


def loops_batch(model, tokens, **edits):
    rows = [loops(model, row, **edits) for row in tokens.tolist()]
    return torch.tensor(rows, dtype=torch.float64)


def assert_near(a, b, tolerance):
    assert a.shape == b.shape
    assert (a - b).abs().max().item() < tolerance


# The forward pass


@every_variant
def test_logits_are_those_of_plain_loops(config):
    model = build(config, dtype=torch.float64)
    assert_near(model(TOKENS), loops_batch(model, TOKENS), 1e-10)


@every_variant
def test_bridge_gives_the_modules_logits(config):
    model = build(config).eval()
    assert_near(as_bridge(model)(TOKENS), model(TOKENS), 1e-5)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_positions_in_the_stream_equal_transformerlens(n_layers):
    config = replace(SIZES, n_layers=n_layers, positions="stream")
    model = build(config, seed=3)
    theirs = TransformerBridge.boot_native(
        TransformerBridgeConfig(
            n_layers=n_layers,
            d_model=config.d_model,
            d_vocab=config.d_vocab,
            n_heads=config.n_heads,
            d_head=config.d_head,
            n_ctx=config.n_ctx,
            attn_only=True,
            normalization_type=None,
            seed=0,
        )
    )
    copy_into_native(model, theirs)
    assert_near(theirs(TOKENS), model(TOKENS), 1e-5)
    assert_near(theirs.W_Q, as_bridge(model).W_Q, 1e-7)


def copy_into_native(model, theirs):
    """Our weights into their model; whatever is left of theirs, the biases, is zero."""
    ours = model.state_dict()
    with torch.no_grad():
        for name, parameter in theirs.original_model.named_parameters():
            plain = name.replace("_original_component.", "")
            parameter.copy_(ours.get(plain, torch.zeros_like(parameter)))
            if plain not in ours:
                assert plain.endswith("bias")


@pytest.mark.parametrize("smeared", [False, True])
@pytest.mark.parametrize("through_bridge", [False, True])
def test_future_tokens_do_not_matter(smeared, through_bridge):
    model = build(replace(SIZES, smeared_keys=smeared)).eval()
    run = as_bridge(model) if through_bridge else model
    changed = TOKENS.clone()
    changed[:, 4:] = torch.tensor([[8, 8], [6, 4]])
    before, after = run(TOKENS), run(changed)
    assert_near(before[:, :4], after[:, :4], 1e-6)
    assert (before[:, 4:] - after[:, 4:]).abs().max() > 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_attention_row_by_row_is_pytorch_s_attention(dtype):
    torch.manual_seed(0)
    parts = [torch.randn(3, 2, 7, 4, dtype=torch.float64) for _ in range(4)]
    ours = attend(_RowByRow.apply, *(part.to(dtype) for part in parts))
    theirs = attend(by_the_formula, *(part.to(dtype).double() for part in parts))
    near = 1e-12 if dtype == torch.float64 else 0.05
    for mine, right in zip(ours, theirs, strict=True):
        assert_near(mine.double(), right, near)


def attend(attention, q, k, v, d_out):
    """The output of an attention and its three gradients."""
    for part in (q, k, v):
        part.requires_grad_()
    out = attention(q, k, v)
    return out, *torch.autograd.grad(out, (q, k, v), d_out)


def by_the_formula(q, k, v):
    scores = torch.einsum("bhqd,bhkd->bhqk", q, k) / q.shape[-1] ** 0.5
    length = q.shape[2]
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    pattern = scores.where(seen, -torch.inf).softmax(dim=-1)
    return torch.einsum("bhqk,bhkd->bhqd", pattern, v)


@pytest.mark.parametrize("smeared", [False, True])
def test_training_in_bfloat16_takes_the_quick_way_and_agrees(smeared):
    model = build(replace(SIZES, smeared_keys=smeared))
    with torch.autocast("cpu", torch.bfloat16):
        quick = model.final_stream(TOKENS)
    assert "RowByRow" in graph_of(quick)
    assert_near(quick.float(), model.final_stream(TOKENS), 0.2)
    quick.float().sum().backward()
    quickly = {
        name: p.grad.clone()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    model.zero_grad()
    model.final_stream(TOKENS).sum().backward()
    for name, gradient in quickly.items():
        right = model.get_parameter(name).grad
        assert_near(gradient, right, 0.1 * right.abs().max().item() + 1e-6)
    assert "RowByRow" not in graph_of(model.final_stream(TOKENS))


def graph_of(x):
    """The names of all steps that led to `x`."""
    names, todo = [], [x.grad_fn]
    while todo:
        step = todo.pop()
        names.append(step.name())
        todo += [before for before, _ in step.next_functions if before is not None]
    return " ".join(names)


def test_a_smear_of_one_half_mixes_equally():
    config = replace(SIZES, n_layers=1, smeared_keys=True)
    model = AttentionOnlyTransformer(config)
    assert model.layers[0].attn.smear.tolist() == [0.0] * config.n_heads
    keys = torch.randn(2, config.n_heads, 5, config.d_head)
    found = model.layers[0].attn._smeared(keys)
    for t in range(5):
        before = keys[:, :, max(t - 1, 0)]
        assert_near(found[:, :, t], 0.5 * keys[:, :, t] + 0.5 * before, 1e-6)


def test_padding_is_not_looked_at():
    model = build(SIZES).eval()
    padded = torch.cat([torch.zeros(2, 2, dtype=torch.long), TOKENS], dim=1)
    mask = torch.ones_like(padded)
    mask[:, :2] = 0
    other = padded.clone()
    other[:, :2] = 4
    assert_near(
        model(padded, attention_mask=mask)[:, 2:],
        model(other, attention_mask=mask)[:, 2:],
        1e-6,
    )
    everything = torch.ones_like(padded)
    assert_near(model(padded, attention_mask=everything), model(padded), 1e-6)


def test_same_seed_same_weights_other_seed_other_weights():
    def first(seed):
        return AttentionOnlyTransformer(SIZES, seed=seed).layers[1].attn.k.weight

    torch.manual_seed(99)  # the seed of the whole program plays no part
    assert torch.equal(first(4), first(4))
    assert not torch.equal(first(4), first(5))


def test_sinusoidal_positions_are_half_sines_and_cosines():
    model = AttentionOnlyTransformer(SIZES)
    found = model.W_pos.tolist()
    for t in range(SIZES.n_ctx):
        for pair in range(SIZES.d_model // 2):
            angle = t / 10_000 ** (2 * pair / SIZES.d_model)
            assert found[t][2 * pair] == pytest.approx(0.5 * math.sin(angle), abs=1e-5)
            assert found[t][2 * pair + 1] == pytest.approx(
                0.5 * math.cos(angle), abs=1e-5
            )


def test_an_odd_width_has_positions_too():
    config = replace(SIZES, d_model=7)
    assert AttentionOnlyTransformer(config).W_pos.shape == (SIZES.n_ctx, 7)


def test_too_long_a_text_is_refused_in_a_sentence():
    model = AttentionOnlyTransformer(SIZES)
    with pytest.raises(ValueError, match="10 tokens, this model reads at most 9"):
        model(torch.zeros(1, 10, dtype=torch.long))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"positions": "rotary"}, 'positions must be "qk" or "stream"'),
        ({"position_init": "zero"}, 'position_init must be "sinusoidal" or "normal"'),
        ({"n_layers": 4}, "n_layers must be 0 to 3"),
        ({"d_head": 0}, "d_head must be at least 1"),
    ],
)
def test_impossible_sizes_are_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(SIZES, **change)


# The bridge


def test_weights_have_transformerlens_shapes_and_order():
    model = build(SIZES)
    bridge = as_bridge(model)
    heads, wide = SIZES.n_heads, SIZES.d_model
    assert bridge.W_E.shape == (13, wide)
    assert bridge.W_U.shape == (wide, 13)
    assert bridge.W_pos.shape == (9, wide)
    assert torch.equal(bridge.W_E, model.tok_embed.weight)
    assert torch.equal(bridge.W_U, model.head.weight.T)
    for layer, block in enumerate(model.layers):
        for head in range(heads):
            rows = slice(4 * head, 4 * head + 4)
            for name, linear in (("Q", "q"), ("K", "k"), ("V", "v")):
                mine = getattr(block.attn, linear).weight[rows].T
                found = getattr(bridge, f"W_{name}")[layer, head]
                assert found.shape == (wide, 4)
                assert torch.equal(found, mine)
            assert torch.equal(bridge.W_O[layer, head], block.attn.o.weight[:, rows].T)


def test_circuits_do_what_the_heads_do():
    model = build(SIZES, dtype=torch.float64)
    bridge = as_bridge(model)
    x = torch.randn(SIZES.d_model, dtype=torch.float64)
    weights = {key: value.tolist() for key, value in model.state_dict().items()}
    w_v = weights["layers.1.attn.v.weight"][8:12]
    w_o = [row[8:12] for row in weights["layers.1.attn.o.weight"]]
    out = torch.tensor(times(w_o, times(w_v, x.tolist())), dtype=torch.float64)
    assert_near(x @ bridge.OV[1, 2].AB, out, 1e-10)


@pytest.mark.parametrize("config", [c for c in VARIANTS if c.n_layers], ids=name_of)
def test_cache_holds_the_pattern_and_the_parts_of_the_stream(config):
    model = build(config, dtype=torch.float64).eval()
    bridge = as_bridge(model)
    logits, cache = bridge.run_with_cache(TOKENS)
    seen = {}

    def note(layer, head, t, row):
        seen[layer, head, t] = row
        return row

    loops(model, TOKENS[1].tolist(), edit_pattern=note)
    for (layer, head, t), row in seen.items():
        found = cache[f"blocks.{layer}.attn.hook_pattern"][1, head, t]
        assert_near(found[: t + 1], torch.tensor(row, dtype=torch.float64), 1e-9)
        assert (found[t + 1 :] == 0).all()
    final = cache[f"blocks.{config.n_layers - 1}.hook_resid_post"]
    assert_near(cache.decompose_resid().sum(0), final, 1e-9)
    assert_near(final @ bridge.W_U, logits, 1e-9)
    heads = cache.stack_head_results(config.n_layers)
    assert heads.shape[0] == config.n_layers * config.n_heads


def test_zero_layers_have_a_cache_too():
    bridge = as_bridge(build(replace(SIZES, n_layers=0)))
    logits, cache = bridge.run_with_cache(TOKENS)
    assert_near(cache["hook_embed"] @ bridge.W_U, logits, 1e-5)


@pytest.mark.parametrize("smeared", [False, True])
def test_editing_the_pattern_changes_the_output_as_loops_say(smeared):
    model = build(replace(SIZES, smeared_keys=smeared), dtype=torch.float64).eval()

    def first_token_only(pattern, hook):
        pattern[:, 2] = 0.0
        pattern[:, 2, :, 0] = 1.0
        return pattern

    def by_loops(layer, head, t, row):
        return [1.0] + [0.0] * t if (layer, head) == (1, 2) else row

    found = as_bridge(model).run_with_hooks(
        TOKENS, fwd_hooks=[("blocks.1.attn.hook_pattern", first_token_only)]
    )
    assert_near(found, loops_batch(model, TOKENS, edit_pattern=by_loops), 1e-9)
    assert (found - model(TOKENS)).abs().max() > 0.01


def test_editing_the_scores_changes_the_output_as_loops_say():
    model = build(SIZES, dtype=torch.float64).eval()

    def sharper(scores, hook):
        scores[:, 1] *= 3.0
        return scores

    def by_loops(layer, head, t, row):
        return [3.0 * x for x in row] if (layer, head) == (0, 1) else row

    found = as_bridge(model).run_with_hooks(
        TOKENS, fwd_hooks=[("blocks.0.attn.hook_attn_scores", sharper)]
    )
    assert_near(found, loops_batch(model, TOKENS, edit_scores=by_loops), 1e-9)
    assert (found - model(TOKENS)).abs().max() > 0.01


@pytest.mark.parametrize("hook", ["hook_q", "hook_k", "hook_v", "hook_z"])
def test_hooks_on_parts_of_a_head_can_change_it(hook):
    model = build(SIZES).eval()
    bridge = as_bridge(model)
    point = f"blocks.0.attn.{hook}"
    _, cache = bridge.run_with_cache(TOKENS)
    assert cache[point].shape == (2, 6, SIZES.n_heads, SIZES.d_head)
    edited = bridge.run_with_hooks(TOKENS, fwd_hooks=[(point, lambda x, hook: 0 * x)])
    assert (edited - model(TOKENS)).abs().max() > 0.01
    assert_near(bridge(TOKENS), model(TOKENS), 1e-5)


def test_module_and_bridge_share_their_parameters():
    model = build(SIZES)
    bridge = as_bridge(model)
    before = bridge(TOKENS)
    with torch.no_grad():
        model.layers[0].attn.o.weight.zero_()
        model.tok_embed.weight[5] += 1.0
    assert (bridge(TOKENS) - before).abs().max() > 0.01
    assert_near(bridge(TOKENS), model(TOKENS), 1e-5)
    bridge(TOKENS).sum().backward()
    assert model.head.weight.grad is not None


def test_making_a_bridge_leaves_the_module_as_it_was():
    model = build(SIZES).eval()
    before = copy.deepcopy(model.state_dict())
    logits = model(TOKENS)
    bridge = as_bridge(model)
    assert list(model.state_dict()) == list(before)
    assert torch.equal(model(TOKENS), logits)
    assert not bridge.training
    assert as_bridge(model.train()).training


# Files


@pytest.fixture
def saved(tmp_path):
    model = build(SIZES).eval()
    path = tmp_path / "small"
    save_model(model, path, {"seed": 7}, dtype=torch.float32)
    return model, path


@pytest.fixture(autouse=True)
def no_tokenizer(monkeypatch):
    """These models' vocabulary is smaller than any that the course's tokenizer has."""
    monkeypatch.setattr(corpus, "load_tokenizer", lambda d_vocab=None: None)


@every_variant
def test_what_is_saved_is_what_is_loaded(config, tmp_path):
    model = build(config).eval()
    save_model(model, tmp_path / "model", {"seed": 7}, dtype=torch.float32)
    bridge = load_model(tmp_path / "model")
    assert torch.equal(bridge(TOKENS), as_bridge(model)(TOKENS))
    assert not bridge.training
    assert not any(p.requires_grad for p in bridge.parameters())
    about = model_record(tmp_path / "model")
    assert about["record"] == {"seed": 7}
    assert AttentionOnlyConfig(**about["config"]) == config


def test_half_precision_halves_the_file(saved, tmp_path):
    model, path = saved
    save_model(model, tmp_path / "half")
    full = path.with_suffix(".safetensors").stat().st_size
    half = (tmp_path / "half.safetensors").stat().st_size
    assert half < 0.65 * full
    assert_near(load_model(tmp_path / "half")(TOKENS), model(TOKENS), 0.05)


def cut_short(file):
    file.write_bytes(file.read_bytes()[:-40])


def change_a_byte(file):
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def empty(file):
    file.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut_short, change_a_byte, empty])
def test_damaged_weights_are_never_loaded(saved, harm):
    _, path = saved
    harm(path.with_suffix(".safetensors"))
    with pytest.raises(ModelFileError) as caught:
        load_model(path)
    assert "small.safetensors is damaged or was cut short" in str(caught.value)
    assert "save_model" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"config": 3, "sha256": "SHA"}',
        b'{"config": {"n_layers": 2}, "sha256": "SHA"}',
        b'{"config": {"colour": 2}, "sha256": "SHA"}',
        b'{"config": {"n_layers": 1, "d_vocab": 5, "d_model": 3}, "sha256": "SHA"}',
    ],
)
def test_a_damaged_description_is_named(saved, content):
    _, path = saved
    sha = model_record(path)["sha256"].encode()
    path.with_suffix(".json").write_bytes(content.replace(b"SHA", sha))
    with pytest.raises(ModelFileError, match=r"small\.json is damaged"):
        load_model(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_file_is_named(saved, suffix):
    _, path = saved
    path.with_suffix(suffix).unlink()
    with pytest.raises(ModelFileError, match=f"small{suffix} is missing"):
        load_model(path)


def test_a_missing_shipped_model_says_how_to_get_it_back(monkeypatch, tmp_path):
    folder = tmp_path / "utils" / "assets" / "models"
    monkeypatch.setattr(model_file, "MODEL_FOLDER", folder)
    with pytest.raises(ModelFileError) as caught:
        load_model("one_layer")
    assert "git checkout -- utils/assets/models/one_layer.json" in str(caught.value)
    assert "python3 -m utils train one_layer" in str(caught.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError) as caught:
        load_model("gpt5")
    assert "no model named 'gpt5'" in str(caught.value)
    for name in ("zero_layer", "one_layer", "two_layer", "one_layer_twin"):
        assert name in str(caught.value)


def test_the_description_is_readable_json(saved):
    _, path = saved
    about = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert about["config"]["d_model"] == 10
    assert len(about["sha256"]) == 64


def test_live_models_are_those_still_in_use(saved):
    _, path = saved
    gc.collect()
    before = len(live_models())
    bridge = load_model(path)
    assert any(model is bridge for model in live_models())
    del bridge
    gc.collect()
    assert len(live_models()) == before
