"""Every analysis on models of three kinds: it works, or says in a sentence why not.

The shipped models, a GPT-2 with norms and MLPs, and SmolLM2, whose heads share keys and
values and whose positions are rotations.
"""

import inspect
from functools import cache

import pytest
import torch
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from solutions import ch1_residual_stream as ch1
from solutions import ch4_two_layer as ch4
from solutions import ch5_induction_heads as ch5
from solutions.ch5_induction_heads import repeated_tokens
from solutions.ch7_real_models import grouped_heads
from tests.test_library import imported
from utils.launcher import library
from utils.models.attention_only import load_model
from utils.models.reach import UnfitModelError, one_key_per_head, paper_only
from utils.models.real import is_whole, load_real_model, weights_of

# What is exact for the paper's models only.
REFUSED = set(
    """
    attention_pattern decompose_residual logit_attribution scores_from_qk rotate_basis
    frozen_pattern_logits one_layer_path_terms positional_pattern positional_share
    two_layer_path_terms score_path_terms term_importance marginal_effect ablate_edge
    previous_token_weights same_matching_score induction_heads_from_weights
    """.split()
)
TAKING = [
    each
    for each in library.functions()
    if each.parameters and each.parameters[0][0] in ("model", "weights")
]
# They go through d_vocab squared entries.
LARGE = {"direct_path", "kl_to_bigram", "copying_top1", "top_ov_pairs"}
KINDS = ("two_layer", "small_gpt2", "smollm2")


@cache
def model_of(kind: str) -> TransformerBridge:
    if kind == "two_layer":
        return load_model(kind)
    if not is_whole(kind, thorough=False):
        pytest.skip(f"{kind} is not here")
    return load_real_model(kind, folded=True)


@cache
def weights(kind: str) -> dict[str, Tensor]:
    return grouped_heads(weights_of(model_of(kind)))


def given(each: library.Function, model: TransformerBridge) -> dict:
    """Arguments for one function, by the names of its parameters."""
    n_vocab, d_model = model.cfg.d_vocab, model.cfg.d_model
    tokens = repeated_tokens(500, span=6, batch=2)
    head = model.cfg.n_heads - 1
    even = torch.ones(2, 13, 13).tril() / torch.arange(1, 14)[:, None]
    frequencies = torch.full((n_vocab,), 1 / n_vocab)
    values = {
        "model": model,
        "tokens": tokens,
        "text": "import os",
        "token": "x",
        "layer": 0,
        "head": head,
        "span": 6,
        "pattern": even,
        "patterns": {(0, head): even},
        "from_head": (0, head),
        "to_head": (1, head),
        "source_head": (0, head),
        "target_head": (1, head),
        "heads": [(0, head)],
        "input": "k",
        "contexts": tokens,
        "places": torch.tensor([9, 10]),
        "source": int(tokens[0, 2]),
        "out": 7,
        "replacement": 5,
        "destinations": [7, 8],
        "outs": [9, 10],
        "length": 9,
        "query": 7,
        "frequencies": frequencies,
        "rotation": torch.eye(d_model),
        "change": torch.eye(model.cfg.d_head),
    }
    if each.name == "frozen_pattern_logits":
        values["tokens"] = torch.nn.functional.one_hot(tokens, n_vocab).float()
        values["pattern"] = even[:, None].expand(-1, model.cfg.n_heads, -1, -1)
    if each.name == "kl_to_bigram":
        values["log_probs"] = torch.zeros(n_vocab, n_vocab).log_softmax(1)
    needed = [name for name, _, default in each.parameters if not default]
    return {name: values.get(name) for name in needed}


def finite(result) -> bool:
    if isinstance(result, FactoredMatrix):
        return finite(result.A) and finite(result.B)
    if isinstance(result, dict):
        return all(map(finite, result.values()))
    if isinstance(result, list | tuple):
        return all(map(finite, result))
    if isinstance(result, Tensor):
        return bool(result.isfinite().all())
    return isinstance(result, str | float | int) and result == result


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("each", TAKING, ids=lambda each: each.name)
def test_an_analysis_works_or_says_why_not(each, kind):
    model, function = model_of(kind), imported(each)
    if kind == "two_layer" and each.chapter.startswith("ch7"):
        if each.name != "induction_scores":
            pytest.skip("for models with norms and MLPs")
    if kind == "smollm2" and each.name in LARGE:
        pytest.skip("d_vocab squared is too much here")
    if each.name == "frozen_pattern_logits" and kind == "two_layer":
        model = load_model("one_layer")
    arguments = given(each, model)
    if "weights" in arguments:
        arguments["weights"] = weights(kind)
    if not model.cfg.attn_only and each.name in REFUSED:
        with pytest.raises(UnfitModelError, match=f"{each.name} is for models with"):
            function(**arguments)
        return
    assert finite(function(**arguments))


def test_what_is_refused_says_so_where_it_is_looked_up():
    said = {each.name for each in library.functions() if "refused" in each.limits}
    assert said == REFUSED


@pytest.mark.slow
def test_a_head_of_a_group_has_its_groups_keys_and_values():
    """Against the projections of the model itself, for each head of a layer."""
    if not is_whole("smollm2", thorough=False):
        pytest.skip("smollm2 is not here")
    model = load_real_model("smollm2")
    n_heads, d_head, layer = model.cfg.n_heads, model.cfg.d_head, 5
    own = model.original_model.model.layers[layer].self_attn
    groups = own.k_proj.weight.shape[0] // d_head
    assert groups < n_heads
    tokens = repeated_tokens(500, span=10, batch=2)
    _, cache = model.run_with_cache(tokens)
    heads = {}
    for name in ("q_proj", "k_proj", "v_proj"):
        rows = getattr(own, name).weight.view(-1, d_head, model.cfg.d_model)
        heads[name] = rows.repeat_interleave(n_heads // len(rows), dim=0)
    for head in (0, 1, 4, n_heads - 1):
        qk = ch1.qk_matrix(model, layer, head)
        close(qk.AB, heads["q_proj"][head].T @ heads["k_proj"][head])
        out = own.o_proj.weight[:, head * d_head : (head + 1) * d_head].T
        close(ch1.ov_matrix(model, layer, head).AB, heads["v_proj"][head].T @ out)
        values = cache["v", layer][:, :, head * groups // n_heads]
        weighted = ch4.value_weighted_pattern(model, tokens, layer, head)
        pattern = cache["pattern", layer][:, head]
        close(weighted, pattern * values.norm(dim=-1)[:, None])
    # Keys of one group alone: heads of one group compose alike into their keys' space.
    scores = ch4.k_composition(model, 0, 1)
    assert scores.shape == (n_heads, n_heads) and (scores > 0).all()


def close(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_the_papers_own_models_reach_the_function_untouched():
    seen = []

    def analysis(model, x=1):
        seen.append((model, x))
        return x

    names = {"analysis": analysis}
    paper_only(names, "analysis", instead="Use another.")
    one_key_per_head(names, "analysis")
    model = load_model("two_layer")
    assert names["analysis"](model, x=3) == 3 and names["analysis"](model=model) == 1
    assert [m for m, _ in seen] == [model, model]
    with pytest.raises(TypeError, match="model"):
        names["analysis"]()
    with pytest.raises(UnfitModelError, match="MLPs and norms.*Use another"):
        names["analysis"](load_real_model("small_gpt2"))
    assert inspect.unwrap(names["analysis"]) is analysis
    assert names["analysis"].__globals__ is analysis.__globals__


def test_a_fitted_function_is_still_the_modules_own():
    """So that its doctest runs and its source is shown."""
    for function in (ch1.ov_matrix, ch5.ablate_edge):
        assert function.__globals__ is vars(inspect.getmodule(function))
        assert inspect.getsource(function).startswith(f"def {function.__name__}(")
