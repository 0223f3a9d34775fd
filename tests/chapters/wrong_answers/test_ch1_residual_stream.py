"""Chapter 1: wrong answers that once passed: the solution with one thing changed."""

import pytest
import torch

import solutions.ch1_residual_stream as chapter
from solutions.ch0_toolbox import ablate_head
from tests.chapters.wrong_answers import changed, running_first
from utils.exercises.engine import run_check

# (exercise, what stands in the solution, what stands in the wrong answer, its name)
SCALE = ("scores_from_qk", "math.sqrt(model.cfg.d_head)")
READ = ("scores_from_qk", 'cache[f"blocks.{layer}.hook_resid_pre"]')
OV = (
    "reparametrise_head",
    "model.W_V[layer, head] @ change, undo @ model.W_O[layer, head]",
)
PATTERN = ("head_as_tensor_product", "einsum(pattern, ov,")
COSINES = ("feature_interference", "cosines[different].pow(2)")
ONCE_PASSED = {
    "scores over 2": (*SCALE, "2", "right for d_head 4 only"),
    "scores over half of d_head": (
        *SCALE,
        "(model.cfg.d_head / 2)",
        "right for d_head 4 only",
    ),
    "scores over log2 of d_head": (
        *SCALE,
        "math.log2(model.cfg.d_head)",
        "right for d_head 4 only",
    ),
    "the stream after the first layer in every later one": (
        *READ,
        'cache["blocks.0.hook_resid_post" if layer else "blocks.0.hook_resid_pre"]',
        None,
    ),
    "the last layer's values": (
        *OV,
        "model.W_V[-1, head] @ change, undo @ model.W_O[-1, head]",
        "always the last layer",
    ),
    "the last head of the last layer": (
        *OV,
        "model.W_V[-1, -1] @ change, undo @ model.W_O[-1, -1]",
        "always the last layer",
    ),
    "one row loses its axis: components": (
        "decompose_residual",
        "torch.cat(parts)",
        "torch.cat(parts).squeeze()",
        None,
    ),
    "one row loses its axis: logits": (
        "logit_attribution",
        "decompose_residual(model, tokens)[:, :, :-1]",
        "decompose_residual(model, tokens)[:, :, :-1].squeeze()",
        None,
    ),
    "five heads at most": (
        "decompose_residual",
        "parts.append(added)",
        "parts.append(added[:5])",
        None,
    ),
    "three layers at most": (
        "decompose_residual",
        "range(model.cfg.n_layers)",
        "range(min(2, model.cfg.n_layers))",
        None,
    ),
    "two rows and seven places": (
        "decompose_residual",
        "torch.cat(parts)",
        "torch.cat(parts).reshape(-1, 2, 7, model.cfg.d_model)",
        None,
    ),
    "logits of two rows and six places": (
        "logit_attribution",
        "columns = W_U.T[tokens[:, 1:]]",
        "columns = W_U.T[tokens[:2, 1:7]]",
        None,
    ),
    "seven of eleven position rows": (
        "rotate_basis",
        'writers["W_O"] =',
        'writers["W_pos"] = torch.cat([writers["W_pos"][:7], model.W_pos[7:]])\n'
        '    writers["W_O"] =',
        None,
    ),
    "no later key": (*PATTERN, "einsum(pattern.tril(), ov,", "later keys left out"),
    "rows that sum to 1": (
        *PATTERN,
        "einsum(pattern / pattern.sum(1, keepdim=True), ov,",
        "rows made to sum to 1",
    ),
    "right angles left out": (
        *COSINES,
        "cosines.triu(1)[cosines.triu(1) != 0].nan_to_num().pow(2)",
        "right angles left out",
    ),
    "right angles left out, and 0 for none": (
        *COSINES,
        "torch.cat([cosines.triu(1)[cosines.triu(1).abs() > 0], cosines[:0, 0]"
        " if (cosines.triu(1) != 0).any() else cosines.new_zeros(1)]).pow(2)",
        "right angles left out",
    ),
    "eleven vectors": (
        "feature_interference",
        "units = vectors / vectors.norm(dim=1, keepdim=True)",
        "vectors = vectors[:11]\n"
        "    units = vectors / vectors.norm(dim=1, keepdim=True)",
        None,
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong, mistake = ONCE_PASSED[case]
    result = run_check(name, changed(chapter, name, right, wrong))
    assert result.status in ("failed", "error"), result.message
    assert result.mistake == mistake


# Wrong answers that failed, but without a word on what is wrong.
def parts_with_places(model, tokens):
    parts = chapter.decompose_residual(model, tokens).clone()
    parts[0] += model.W_pos[: tokens.shape[1]]
    return parts


def product_of_both_transposed(pattern, ov):
    return torch.kron(pattern.T.contiguous(), ov)


def weight_into_layer_0(model, from_head, to_head, input):
    return chapter.virtual_weight(model, from_head, (0, to_head[1]), input)


def weight_from_layer_0(model, from_head, to_head, input):
    return chapter.virtual_weight(model, (0, from_head[1]), to_head, input)


def weight_of_values(model, from_head, to_head, input):
    return chapter.virtual_weight(model, from_head, to_head, "v")


def weight_of_queries(model, from_head, to_head, input):
    return chapter.virtual_weight(model, from_head, to_head, "q")


NAMED = {
    parts_with_places: ("decompose_residual", "positions in the embedding"),
    product_of_both_transposed: ("head_as_tensor_product", "both transposed"),
    weight_into_layer_0: ("virtual_weight", "always layer 0"),
    weight_from_layer_0: ("virtual_weight", "always from layer 0"),
    weight_of_values: ("virtual_weight", "always the value"),
    weight_of_queries: ("virtual_weight", "always the query"),
}


@pytest.mark.parametrize("answer", NAMED)
def test_mistakes_that_had_no_name(answer):
    exercise, name = NAMED[answer]
    result = run_check(exercise, answer)
    assert result.status == "failed" and result.mistake == name


@pytest.mark.parametrize(
    "name",
    [
        "ov_matrix",
        "qk_matrix",
        "virtual_weight",
        "rotate_basis",
        "reparametrise_head",
    ],
)
def test_weights_are_read_without_running_the_model(name):
    result = run_check(name, running_first(getattr(chapter, name)))
    assert result.status == "failed" and "runs the model" in result.message


@pytest.mark.parametrize("embedding", ["direct", "total"])
def test_heads_taken_out_of_the_whole_model_are_named_total_effects(embedding):
    def logit_attribution(model, tokens, centred=True):
        whole = model(tokens)
        direct = model.W_E[tokens] @ model.W_U
        nothing = ("hook_embed", lambda stream, hook: 0 * stream)
        blind = model.run_with_hooks(tokens, fwd_hooks=[nothing])
        parts = [direct if embedding == "direct" else whole - blind]
        for layer in range(model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                parts.append(whole - ablate_head(model, tokens, layer, head))
        parts = torch.stack(parts)
        if centred:
            parts = parts - parts.mean(-1, keepdim=True)
        following = tokens[:, 1:, None].expand(len(parts), -1, -1, -1)
        return parts[:, :, :-1].gather(-1, following).squeeze(-1)

    assert run_check("logit_attribution", logit_attribution).mistake == "total effect"


def test_a_number_for_every_pair_and_dimension_is_too_many():
    def feature_interference(vectors):
        cosine = torch.nn.functional.cosine_similarity
        pairs = cosine(vectors[:, None], vectors[None], dim=-1)
        return pairs[~torch.eye(len(vectors)).bool()].pow(2).mean().sqrt().item()

    result = run_check("feature_interference", feature_interference)
    assert result.status == "failed" and "every dimension" in result.message
