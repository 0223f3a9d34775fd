"""Chapter 0: its tools against slow oracles, and what its notebook says.

Over 400 lines: a chapter's tests are one file, which bears its name.
"""

import math
import re

import nbformat
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from solutions.ch0_toolbox import (
    ablate_head,
    attention_pattern,
    head_outputs,
    next_token,
    per_token_loss,
    replace_pattern,
)
from utils import prelude
from utils.checks import find_prediction
from utils.exercises.engine import run_check
from utils.exercises.sync import CHAPTERS
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
    load_model,
)
from utils.models.handmade import random_model
from utils.text.corpus import load_tokenizer, stdlib_corpus

TOKENS = torch.tensor([[0, 5, 12, 5, 1], [0, 3, 3, 9, 11], [0, 7, 2, 2, 4]])
HEADS = [(0, 0), (0, 2), (1, 1), (1, 2)]
every_head = pytest.mark.parametrize(("layer", "head"), HEADS)


# --- oracles: plain loops over the module's own weights -------------------------------


def weights_of(model, layer, head):
    """W_Q, W_K, W_V, W_O of one head in the paper's shapes, from the nn.Linear's."""
    attention = model.original_model.layers[layer].attn
    own = slice(head * model.cfg.d_head, (head + 1) * model.cfg.d_head)
    w_q, w_k, w_v, w_o = (
        next(linear.parameters()).double().numpy()
        for linear in (attention.q, attention.k, attention.v, attention.o)
    )
    return w_q[own], w_k[own], w_v[own], w_o[:, own]


def head_by_loops(model, stream, layer, head, forced=None):
    """Pattern [query, key] and output [pos, d_model] of a head for one text."""
    w_q, w_k, w_v, w_o = weights_of(model, layer, head)
    x = stream.double().numpy()
    placed = x + model.W_pos[: len(x)].double().numpy()
    pattern, out = np.zeros((len(x), len(x))), np.zeros_like(x)
    for query in range(len(x)):
        scores = [
            (w_q @ placed[query]) @ (w_k @ placed[key]) / math.sqrt(len(w_q))
            for key in range(query + 1)
        ]
        powers = [math.exp(score) for score in scores]
        pattern[query, : query + 1] = np.array(powers) / sum(powers)
    used = pattern if forced is None else forced.double().numpy()
    for query in range(len(x)):
        for key in range(len(x)):
            out[query] += w_o @ (used[query, key] * (w_v @ x[key]))
    return torch.tensor(pattern), torch.tensor(out)


def logits_by_loops(model, tokens, change):
    """Logits in which `change(layer, head, text, stream)` may replace an output."""
    streams = [model.W_E[row].double() for row in tokens]
    for layer in range(model.cfg.n_layers):
        added = [torch.zeros_like(stream) for stream in streams]
        for head in range(model.cfg.n_heads):
            for text, stream in enumerate(streams):
                out = change(layer, head, text, stream)
                if out is None:
                    out = head_by_loops(model, stream, layer, head)[1]
                added[text] += out
        streams = [a + b for a, b in zip(streams, added, strict=True)]
    return torch.stack([stream @ model.W_U.double() for stream in streams])


# --- the tools ------------------------------------------------------------------------


def test_losses_equal_the_librarys():
    model = random_model(2, seed=31)
    theirs = model(TOKENS, return_type="loss", loss_per_token=True)
    assert torch.allclose(per_token_loss(model, TOKENS), theirs, atol=1e-6)


def test_a_loss_is_minus_the_log_of_a_probability():
    model = random_model(1, seed=32)
    losses = per_token_loss(model, TOKENS)
    for text, row in enumerate(TOKENS.tolist()):
        for pos in range(len(row) - 1):
            probs = model(torch.tensor([row[: pos + 1]]))[0, -1].softmax(0)
            expected = -math.log(probs[row[pos + 1]])
            assert losses[text, pos].item() == pytest.approx(expected, abs=1e-4)


@every_head
def test_patterns_equal_plain_loops_and_the_models_own(layer, head):
    model = random_model(2, seed=33, scale=0.7)
    patterns = attention_pattern(model, TOKENS, layer, head)
    _, cache = model.run_with_cache(TOKENS)
    for text in range(len(TOKENS)):
        stream = cache["resid_pre", layer][text]
        by_loops, _ = head_by_loops(model, stream, layer, head)
        assert torch.allclose(patterns[text].double(), by_loops, atol=1e-5)
    assert torch.allclose(patterns, cache["pattern", layer][:, head], atol=1e-6)


@pytest.mark.parametrize("layer", [0, 1])
def test_head_outputs_equal_plain_loops_and_the_librarys(layer):
    model = random_model(2, seed=34)
    outputs = head_outputs(model, TOKENS, layer)
    _, cache = model.run_with_cache(TOKENS)
    stacked = cache.stack_head_results(layer=layer + 1)[-model.cfg.n_heads :]
    theirs = stacked.permute(1, 2, 0, 3)
    assert torch.allclose(outputs, theirs, atol=1e-5)
    for head in range(model.cfg.n_heads):
        stream = cache["resid_pre", layer][1]
        _, by_loops = head_by_loops(model, stream, layer, head)
        assert torch.allclose(outputs[1, :, head].double(), by_loops, atol=1e-4)


@every_head
def test_ablation_by_zero_equals_plain_loops(layer, head):
    model = random_model(2, seed=35, scale=0.7)
    by_loops = logits_by_loops(
        model, TOKENS, lambda i, h, _, x: 0 * x if (i, h) == (layer, head) else None
    )
    ablated = ablate_head(model, TOKENS, layer, head).double()
    assert torch.allclose(ablated, by_loops, atol=1e-4)


@every_head
def test_ablation_by_the_mean_equals_plain_loops(layer, head):
    model = random_model(2, seed=36, scale=0.7)
    own = head_outputs(model, TOKENS, layer)[:, :, head].double()
    mean = sum(own.flatten(0, 1)) / TOKENS.numel()
    by_loops = logits_by_loops(
        model,
        TOKENS,
        lambda i, h, _, x: mean.expand_as(x) if (i, h) == (layer, head) else None,
    )
    ablated = ablate_head(model, TOKENS, layer, head, mean=True).double()
    assert torch.allclose(ablated, by_loops, atol=1e-4)


@every_head
def test_a_forced_pattern_equals_plain_loops(layer, head):
    model = random_model(2, seed=37, scale=0.7)
    forced = torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(1))

    def change(i, h, text, stream):
        if (i, h) == (layer, head):
            return head_by_loops(model, stream, i, h, forced[text])[1]

    result = replace_pattern(model, TOKENS, layer, head, forced).double()
    assert torch.allclose(result, logits_by_loops(model, TOKENS, change), atol=1e-4)


@every_head
def test_a_heads_own_pattern_changes_nothing(layer, head):
    model = random_model(2, seed=38)
    own = attention_pattern(model, TOKENS, layer, head)
    forced = replace_pattern(model, TOKENS, layer, head, own)
    assert torch.allclose(forced, model(TOKENS), atol=1e-4)


def test_interventions_leave_the_model_as_it_was():
    model = random_model(2, seed=39)
    before = model(TOKENS)
    ablate_head(model, TOKENS, 0, 1)
    replace_pattern(model, TOKENS, 0, 1, torch.zeros(3, 5, 5))
    assert torch.equal(model(TOKENS), before)


def test_next_token_is_what_the_library_generates():
    model = random_model(1, 4, d_vocab=1024, tokenizer=load_tokenizer(1024))
    for text in ("import os", "def f(self)"):
        ids = model.to_tokens(text)
        longer = model.generate(
            ids, max_new_tokens=1, do_sample=False, verbose=False, stop_at_eos=False
        )
        assert next_token(model, text) == model.tokenizer.decode([longer[0, -1]])


def test_everything_works_in_double_precision():
    def results(model):
        return (
            per_token_loss(model, TOKENS),
            attention_pattern(model, TOKENS, 1, 0),
            head_outputs(model, TOKENS, 1),
            ablate_head(model, TOKENS, 0, 0, mean=True),
            replace_pattern(model, TOKENS, 0, 1, torch.ones(3, 5, 5)),
        )

    model = random_model(2, seed=40)
    single, double = results(model), results(model.double())
    for one, two in zip(single, double, strict=True):
        assert two.dtype == torch.float64
        assert torch.allclose(one.double(), two, atol=1e-4)


# --- other ways to write a right answer -----------------------------------------------


def next_by_string(model, text):
    ids = [0, *model.tokenizer(text, add_special_tokens=False)["input_ids"]]
    return model.to_string(model(torch.tensor([ids]))[0, -1].softmax(-1).argmax())


def loss_by_library(model, tokens):
    return model(tokens, return_type="loss", loss_per_token=True)


def loss_by_cross_entropy(model, tokens):
    logits = model(tokens)[:, :-1].transpose(1, 2)
    return F.cross_entropy(logits.double(), tokens[:, 1:], reduction="none")


def loss_by_numpy(model, tokens):
    logits = model(tokens).numpy().astype(float)
    log_probs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    text, pos = np.indices((tokens.shape[0], tokens.shape[1] - 1))
    return -log_probs[text, pos, tokens[:, 1:].numpy()]


def pattern_from_q_and_k(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    q, k = cache["q", layer][:, :, head], cache["k", layer][:, :, head]
    scores = torch.einsum("bqd,bkd->bqk", q, k) / math.sqrt(q.shape[-1])
    allowed = torch.ones(scores.shape[-2:]).tril().bool()
    return torch.where(allowed, scores, torch.tensor(-1e9)).softmax(-1)


def pattern_from_the_product(model, tokens, layer, head):
    x = model.run_with_cache(tokens)[1]["resid_pre", layer].double()
    x = x + model.W_pos[: tokens.shape[1]]
    product = (model.W_Q[layer, head] @ model.W_K[layer, head].T).double()
    powers = (x @ product @ x.transpose(1, 2) / model.cfg.d_head**0.5).exp().tril()
    return powers / powers.sum(-1, keepdim=True)


def outputs_by_library(model, tokens, layer):
    _, cache = model.run_with_cache(tokens)
    stacked = cache.stack_head_results(layer=layer + 1)[-model.cfg.n_heads :]
    return stacked.permute(1, 2, 0, 3)


def outputs_by_pattern(model, tokens, layer):
    _, cache = model.run_with_cache(tokens)
    return torch.einsum(
        "bhqk,bkhd,hdm->bqhm", cache["pattern", layer], cache["v", layer],
        model.W_O[layer],
    )  # fmt: skip


def ablate_in_place(model, tokens, layer, head, mean=False):
    def hook(z, hook):
        z[:, :, head] = z[:, :, head].mean((0, 1)) if mean else 0
        return z

    return model.run_with_hooks(
        tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook)]
    )


def ablate_after_w_o(model, tokens, layer, head, mean=False):
    _, cache = model.run_with_cache(tokens)
    part = cache["z", layer][:, :, head] @ model.W_O[layer, head]
    instead = part.mean((0, 1)) if mean else 0
    name = f"blocks.{layer}.hook_attn_out"
    with model.hooks(fwd_hooks=[(name, lambda out, hook: out - part + instead)]):
        return model(tokens)


def replace_in_place(model, tokens, layer, head, pattern):
    def hook(own, hook):
        own[:, head] = pattern

    return model.run_with_hooks(
        tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_pattern", hook)]
    )


def replace_at_z(model, tokens, layer, head, pattern):
    _, cache = model.run_with_cache(tokens)

    def hook(z, hook):
        return torch.cat(
            [
                z[:, :, :head],
                (pattern @ cache["v", layer][:, :, head])[:, :, None],
                z[:, :, head + 1 :],
            ],
            dim=2,
        )

    return model.run_with_hooks(
        tokens, fwd_hooks=[(f"blocks.{layer}.attn.hook_z", hook)]
    )


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("next_token", next_by_string),
        ("per_token_loss", loss_by_library),
        ("per_token_loss", loss_by_cross_entropy),
        ("per_token_loss", loss_by_numpy),
        ("attention_pattern", pattern_from_q_and_k),
        ("attention_pattern", pattern_from_the_product),
        ("head_outputs", outputs_by_library),
        ("head_outputs", outputs_by_pattern),
        ("ablate_head", ablate_in_place),
        ("ablate_head", ablate_after_w_o),
        ("replace_pattern", replace_in_place),
        ("replace_pattern", replace_at_z),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_right_answer_written_another_way_passes(name, answer):
    result = run_check(name, answer)
    assert result.status == "passed", result.message
    assert not result.notes


def test_a_hook_left_behind_does_not_pass():
    def answer(model, tokens, layer, head, mean=False):
        def hook(z, hook):
            z = z.clone()
            z[:, :, head] = z[:, :, head].mean((0, 1)) if mean else 0
            return z

        model.add_hook(f"blocks.{layer}.attn.hook_z", hook)
        return model(tokens)

    result = run_check("ablate_head", answer)
    assert result.status == "failed"
    assert "hooks" in result.message


# --- what the notebook says -----------------------------------------------------------


@pytest.fixture(scope="module")
def notebook():
    return nbformat.read(CHAPTERS / "ch0_toolbox.ipynb", as_version=4)


def table_rows(notebook, heading):
    """The cells of the first table after a heading, row by row."""
    source = next(
        cell.source
        for cell in notebook.cells
        if cell.cell_type == "markdown" and f"# {heading}" in cell.source
    )
    lines = [line for line in source.splitlines() if line.startswith("|")]
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines[2:]]


def test_the_list_of_names_is_the_preludes(notebook):
    rows = table_rows(notebook, "What this line brought")
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(prelude.__all__)


AXES = {"batch": 3, "pos": 5, "query": 5, "key": 5}
SIZES = {"head": 3, "d_model": 10, "d_head": 4, "d_vocab": 13, "n_ctx": 11}


def sizes(words):
    """`[batch, pos, head]` as numbers, for TOKENS and `random_model`."""
    return [(AXES | SIZES)[word] for word in re.findall(r"\w+", words.split("]")[0])]


def test_the_cache_has_the_entries_and_axes_of_the_table(notebook):
    model = random_model(1)
    _, cache = model.run_with_cache(TOKENS)
    rows = table_rows(notebook, "The cache")
    assert len(rows) == 10
    for full, short, axes, _ in rows:
        value = eval(short.strip("`"), {"cache": cache})
        assert list(value.shape) == sizes(axes)
        assert torch.equal(value, cache[full.strip("`")])


def test_weights_and_products_have_the_shapes_of_the_table(notebook):
    model = random_model(1)
    _, cache = model.run_with_cache(TOKENS)
    names = {"model": model, "cache": cache, "layer": 0, "head": 1, "tokens": TOKENS}
    for letter in "QKVO":
        names[f"W_{letter}"] = getattr(model, f"W_{letter}")[0, 1]
    names |= {"W_E": model.W_E, "W_U": model.W_U}
    names |= {"A": cache["pattern", 0][0, 1], "x": cache["resid_pre", 0][0]}
    checked = 0
    for _, _, theirs, here, ours in table_rows(notebook, "The paper's letters"):
        if not ours.startswith("["):
            continue
        value = eval(re.search("`(.+?)`", here)[1], names)
        assert list(value.shape) == sizes(ours), here
        checked += 1
        if "model.W" in here:
            assert sizes(theirs.replace("n_vocab", "d_vocab")) == sizes(ours)[::-1]
    assert checked == 12


def test_the_two_products_in_both_notations():
    """nn.Linear stores a matrix as the paper writes it (paper.md, section 3)."""
    model = random_model(1)
    w_q, w_k, w_v, w_o = (torch.tensor(w) for w in weights_of(model, 0, 2))
    qk = model.W_Q[0, 2] @ model.W_K[0, 2].T
    ov = model.W_V[0, 2] @ model.W_O[0, 2]
    assert torch.allclose((w_q.T @ w_k).float(), qk, atol=1e-5)
    assert torch.allclose((w_o @ w_v).T.float(), ov, atol=1e-5)


def test_stored_token_numbers_are_the_tokenizers(notebook):
    cell = next(c for c in notebook.cells if c.source.startswith("for piece in"))
    tokenizer = load_tokenizer()
    stored = cell.outputs[0].text
    for piece in ("self", " self", "\n    self", "myself", "Self"):
        ids = tokenizer(piece)["input_ids"]
        line = next(x for x in stored.splitlines() if x.startswith(repr(piece)))
        assert [int(i) for i in re.findall(r"\((\d+)\)", line)] == ids
    assert len(tokenizer("self")["input_ids"]) == 2
    assert len(tokenizer(" self")["input_ids"]) == 2


def test_the_start_token_is_put_in_front_once():
    model = random_model(1, d_vocab=1024, tokenizer=load_tokenizer(1024))
    assert model.to_tokens("import os").tolist()[0].count(0) == 1


def test_a_model_that_knows_nothing_loses_the_log_of_the_vocabulary():
    config = AttentionOnlyConfig(n_layers=1, d_vocab=4096, d_model=8, n_heads=1)
    model = AttentionOnlyTransformer(config)
    with torch.no_grad():
        model.head.weight.zero_()
    loss = per_token_loss(as_bridge(model), torch.tensor([[0, 5, 4095]]))
    prediction = find_prediction("know_nothing_loss")
    assert f"About {loss.mean():.1f}." == prediction.choices[prediction.right].text
    assert "4,096" in prediction.question


@pytest.fixture(scope="module")
def trained():
    return load_model("one_layer"), stdlib_corpus().rows("heldout", 128)[::100]


@pytest.mark.slow
def test_the_trained_model_uses_order_and_is_sure_of_it(trained):
    """Section 0.3: shuffled text costs more than knowing nothing."""
    model, rows = trained
    nothing = math.log(model.cfg.d_vocab)
    untrained = as_bridge(AttentionOnlyTransformer(model.original_model.config).eval())
    order = torch.randperm(127, generator=torch.Generator().manual_seed(0))
    shuffled = torch.cat([rows[:, :1], rows[:, 1:][:, order]], dim=1)
    assert per_token_loss(model, rows).mean() < 0.6 * nothing
    assert abs(per_token_loss(untrained, rows).mean() - nothing) < 0.1
    assert per_token_loss(model, shuffled).mean() > nothing


@pytest.mark.slow
def test_heads_matter_to_very_different_degrees(trained):
    """Section 0.7, the answer to the prediction "removing_a_head"."""
    model, rows = trained
    whole = cross_entropy(model(rows), rows)
    rises = [
        cross_entropy(ablate_head(model, rows, 0, h), rows) - whole for h in range(8)
    ]
    assert max(rises) > 3 * min(rises)


def cross_entropy(logits, tokens):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten()).item()


def test_a_head_that_reads_the_start_token_only_writes_one_vector():
    """Section 0.8: forced to the start token, a head is as good as switched off."""
    model = random_model(1, seed=41)
    start = torch.zeros(3, 5, 5)
    start[:, :, 0] = 1
    forced = replace_pattern(model, TOKENS, 0, 1, start)
    added = (forced - ablate_head(model, TOKENS, 0, 1)).flatten(0, 1)
    assert torch.allclose(added, added[:1].expand_as(added), atol=1e-4)


def test_what_the_paper_is_said_to_use(notebook):
    """F-147."""
    rows = table_rows(notebook, "How its training differed")
    text = " ".join(" ".join(row) for row in rows)
    assert "12 heads with d_head 64, so d_model 768" in text and 12 * 64 == 768
    assert "2,048 tokens" in text


def test_the_heads_that_section_0_5_names(notebook):
    """0.3 and 0.5 look one back, the others rest on the start token, 0.7 is evenest."""
    model = load_model("one_layer")
    (setup,) = [c.source for c in notebook.cells if 'text = """def load' in c.source]
    _, cache = model.run_with_cache(model.to_tokens(setup.split('"""')[1]))
    patterns = cache["pattern", 0][0]
    previous = patterns.diagonal(-1, 1, 2)[:, 1:].mean(dim=1)
    assert set(previous.topk(2).indices.tolist()) == {3, 5}
    assert previous.topk(3).values[1:].diff() < -0.1
    start = patterns[:, 2:, 0].mean(dim=1)
    assert all(start[h] > 0.4 for h in (0, 1, 2, 4, 6))
    n = patterns.shape[-1]
    even = torch.ones(n, n).tril() / torch.arange(1, n + 1)[:, None]
    assert (patterns - even).abs().sum(dim=(1, 2)).argmin() == 7
