"""Chapter 5: wrong answers that once passed: the solution with one thing changed.

Over 400 lines: a chapter's wrong answers are one file, which bears its name.
"""

import pytest
import torch

import solutions.ch5_induction_heads as chapter
from solutions.ch0_toolbox import ablate_head
from tests.chapters.wrong_answers import changed, running_first
from utils.exercises.engine import run_check

# (exercise, what stands in the solution, what stands in the wrong answer)
ONCE_PASSED = {
    "least_gain of 0 means the default": (
        "induction_heads_from_weights",
        "math.log(model.cfg.n_ctx) if least_gain is None else least_gain",
        "least_gain or math.log(model.cfg.n_ctx)",
    ),
    "256 keys in every model": (
        "induction_heads_from_weights",
        "math.log(model.cfg.n_ctx)",
        "math.log(256)",
    ),
    "scores of the built model are not scaled up": (
        "build_induction_model",
        "W_QK * d_model**0.5",
        "W_QK",
    ),
    "a previous-token head that hardly writes": (
        "build_induction_model",
        "    identity = ",
        "    heads[0] = heads[0][0], 0.1 * heads[0][1]\n    identity = ",
    ),
    "cut by adding to the logits": (
        "ablate_edge",
        '    name = f"blocks.{target_layer}.attn.hook_{input}"\n',
        '    name = f"blocks.{target_layer}.attn.hook_{input}"\n'
        '    z = "z", target_layer\n'
        "    with model.hooks(fwd_hooks=[(name, without_source)]):\n"
        "        _, other = model.run_with_cache(tokens)\n"
        "    change = (other[z] - cache[z])[:, :, target]\n"
        "    return model(tokens) + change @ model.W_O[target_head] @ model.W_U\n",
    ),
    "two layers in every model: prefix matching": (
        "prefix_matching_score",
        "range(model.cfg.n_layers)",
        "range(2)",
    ),
    "layer 1 in every model": (
        "induction_heads_from_weights",
        "range(1, model.cfg.n_layers)",
        "[1]",
    ),
    "the layer before the last": (
        "previous_token_weights",
        "model.W_pos @ model.W_Q[0], model.W_pos @ model.W_K[0]",
        "model.W_pos @ model.W_Q[-2], model.W_pos @ model.W_K[-2]",
    ),
    "layers counted from the end of two": (
        "logit_effect",
        'cache["z", layer]',
        'cache["z", model.cfg.n_layers - 2 + layer]',
    ),
    "a mean of the rows' means": (
        "prefix_matching_score",
        "per_query = on_targets.sum(dim=-1).transpose(1, 2)[pointing]\n"
        "        scores.append(per_query.mean(dim=0))",
        "per_row = on_targets.sum(dim=(-1, -2)) / pointing.sum(dim=-1)[:, None]\n"
        "        scores.append(per_row.mean(dim=0))",
    ),
    "key 1 is left out": (
        "prefix_matching_score",
        "targets = targets.tril()",
        "targets = targets.tril()\n    targets[:, :, 1] = False",
    ),
    "two layers in every model: previous token": (
        "previous_token_score",
        "range(model.cfg.n_layers)",
        "range(2)",
    ),
    "always layer 1": (
        "same_matching_score",
        "model.W_Q[layer, head], model.W_K[layer, head]",
        "model.W_Q[1, head], model.W_K[1, head]",
    ),
    "always the last layer": (
        "same_matching_score",
        "model.W_Q[layer, head], model.W_K[layer, head]",
        "model.W_Q[-1, head], model.W_K[-1, head]",
    ),
    "the first row's pattern for all rows": (
        "ideal_pattern_recovery",
        "factor * pattern",
        "factor * pattern[:1]",
    ),
    "a share between 0 and 1": (
        "ideal_pattern_recovery",
        "return (without - as_told) / (without - as_it_is)",
        "return min(1.0, max(0.0, (without - as_told) / (without - as_it_is)))",
    ),
    "ids that follow each other": (
        "repeated_tokens",
        "spans = ids[torch.stack(orders)[:, :span]]",
        "first = torch.stack(orders)[:, :1]\n"
        "    spans = ids[(first + torch.arange(span)) % len(ids)]",
    ),
    "only the first ids, and one more": (
        "repeated_tokens",
        "torch.randperm(len(ids), generator=generator)",
        "torch.randperm(min(span + 1, len(ids)), generator=generator)",
    ),
    "int32": (
        "repeated_tokens",
        "return torch.cat([start, spans.repeat(1, copies)], dim=1)",
        "return torch.cat([start, spans.repeat(1, copies)], dim=1).int()",
    ),
    "the global seed": (
        "repeated_tokens",
        "generator = torch.Generator().manual_seed(seed)",
        "generator = torch.manual_seed(seed)",
    ),
    "logits of half the precision": (
        "repeat_loss",
        "model(tokens).log_softmax(dim=-1)",
        "model(tokens).half().log_softmax(dim=-1).float()",
    ),
    "the last span - 1 tokens": (
        "repeat_loss",
        "losses[:, span + 1 :]",
        "losses[:, 1 - span :]",
    ),
    "the largest entry is counted": (
        "previous_token_score",
        "return before.mean(dim=(1, -1))",
        "top = patterns.argmax(dim=-1)[..., 1:] == torch.arange(patterns.shape[-1] - 1)"
        "\n    return top.float().mean(dim=(1, -1))",
    ),
    "the first row only": (
        "previous_token_score",
        "return before.mean(dim=(1, -1))",
        "return before[:, 0].mean(dim=-1)",
    ),
    "sources of rows of ten tokens": (
        "copying_head_score",
        "n_sources = logits.shape[1]",
        "n_sources = 9",
    ),
    "nothing raised is no number": (
        "copying_head_score",
        "raised.sum().clamp(min=1e-12)",
        "raised.sum()",
    ),
    "one axis of several rows taken away": (
        "ideal_pattern_recovery",
        ".squeeze(-1)",
        ".squeeze(0)",
    ),
    "heads of five dimensions": (
        "previous_token_weights",
        "model.cfg.d_head**0.5",
        "5**0.5",
    ),
    "what scores 0 is not hidden": (
        "previous_token_weights",
        "torch.ones_like(scores).triu(1)",
        "scores.triu(1)",
    ),
    "hidden with a score of -30": (
        "previous_token_weights",
        "-torch.inf",
        "-30.0",
    ),
    "a largest weight at the threshold": (
        "induction_heads_from_weights",
        "weights.max() <= threshold",
        "weights.max() < threshold",
    ),
    "three heads in every model": (
        "induction_heads_from_weights",
        "range(model.cfg.n_heads)",
        "range(3)",
    ),
    "scores at the threshold": (
        "induction_heads_from_weights",
        "min(copying.item(), matching) > threshold",
        "min(copying.item(), matching) >= threshold",
    ),
    "a gain at its bound": (
        "induction_heads_from_weights",
        "gain > least_gain",
        "gain >= least_gain",
    ),
    "a mean over all entries": (
        "induction_heads_from_weights",
        "(n * n - n)",
        "(n * n)",
    ),
    "a first head that hardly looks": (
        "build_pointer_model",
        "sharpness * (W_E.T @ W_E - W_pos.T @ W_pos)",
        "W_E.T @ W_E - W_pos.T @ W_pos",
    ),
    "scores of the pointer model are not scaled up": (
        "build_pointer_model",
        " * d_model**0.5,",
        ",",
    ),
}


@pytest.mark.parametrize("case", ONCE_PASSED)
def test_wrong_answers_that_passed_before(case):
    name, right, wrong = ONCE_PASSED[case]
    result = run_check(name, changed(chapter, name, right, wrong))
    assert result.status in ("failed", "error"), result.message


@pytest.mark.parametrize("first", [0, 2])
def test_a_stripe_at_a_fixed_distance_is_named(first):
    def answer(model, tokens):
        span = (tokens.shape[1] - 1) // 2
        _, cache = model.run_with_cache(tokens)
        layers = range(model.cfg.n_layers)
        stripes = [cache["pattern", i].diagonal(1 - span, -2, -1) for i in layers]
        return torch.stack([stripe[..., first:].mean((0, -1)) for stripe in stripes])

    result = run_check("prefix_matching_score", answer)
    assert result.status == "failed" and result.mistake == "fixed distance"


# --- mistakes with a scale of the learner's own  --------------------------------------


def previous_head(qk, ov):
    def answer(W_E, W_pos, W_prev):
        return qk(W_E, W_pos, W_prev), ov(W_E, W_pos, W_prev)

    return answer


def right_back(W_E, W_pos, W_prev):
    return 30 * W_pos[1:].T @ W_pos[:-1]


def right_slot(W_E, W_pos, W_prev):
    return W_E.T @ W_prev


@pytest.mark.parametrize("scale", [20, 30, 50, 100])
def test_a_previous_token_head_of_any_scale_is_told_its_mistake(scale):
    cases = {
        "query and key swapped": (
            lambda W_E, W_pos, W_prev: scale * W_pos[:-1].T @ W_pos[1:],
            right_slot,
        ),
        "current token": (
            lambda W_E, W_pos, W_prev: scale * W_pos.T @ W_pos,
            right_slot,
        ),
        "too flat": (
            lambda W_E, W_pos, W_prev: scale / 20 * W_pos[1:].T @ W_pos[:-1],
            right_slot,
        ),
        "OV transposed": (
            right_back,
            lambda W_E, W_pos, W_prev: scale * W_prev.T @ W_E,
        ),
        "into the token's own place": (
            right_back,
            lambda W_E, W_pos, W_prev: scale * W_E.T @ W_E,
        ),
        "moves positions": (
            right_back,
            lambda W_E, W_pos, W_prev: scale * W_pos.T @ W_pos,
        ),
    }
    for name, parts in cases.items():
        result = run_check("build_previous_token_head", previous_head(*parts))
        assert (result.status, result.mistake) == ("failed", name)


@pytest.mark.parametrize(("match", "rest"), [(30, 15), (60, 30), (100, 40)])
def test_a_matching_head_of_any_scale_is_told_its_mistake(match, rest):
    def head(W_E, W_prev, key=None, query=None, pull=rest, size=match, ov=None):
        query = W_E if query is None else query
        key = W_prev if key is None else key
        W_QK = size * query.T @ key + pull * W_E.sum(0)[:, None] * W_E[0]
        return W_QK, 10 * W_E[1:].T @ W_E[1:] if ov is None else ov

    cases = {
        "duplicates": lambda W_E, W_prev: head(W_E, W_prev, key=W_E),
        "query and key swapped": lambda W_E, W_prev: head(
            W_E, W_prev, key=W_E, query=W_prev
        ),
        "nowhere to rest": lambda W_E, W_prev: head(W_E, W_prev, pull=0),
        "rest as strong as a match": lambda W_E, W_prev: head(W_E, W_prev, pull=match),
        "too flat": lambda W_E, W_prev: head(
            W_E, W_prev, size=match / 40, pull=rest / 40
        ),
        "copies the previous token": lambda W_E, W_prev: head(
            W_E, W_prev, ov=match * W_prev[1:].T @ W_E[1:]
        ),
        "copies the start token": lambda W_E, W_prev: head(
            W_E, W_prev, ov=10 * W_E.T @ W_E
        ),
    }
    for name, answer in cases.items():
        result = run_check("build_matching_head", answer)
        assert (result.status, result.mistake) == ("failed", name)


@pytest.mark.parametrize(
    "name",
    [
        "previous_token_weights",
        "same_matching_score",
        "induction_heads_from_weights",
    ],
)
def test_weights_are_read_without_running_the_model(name):
    result = run_check(name, running_first(getattr(chapter, name)))
    assert result.status == "failed" and "runs the model" in result.message


@pytest.mark.parametrize(
    "bound",
    ["", ", head=head", ", pattern=pattern"],
    ids=["neither", "head", "pattern"],
)
def test_hooks_made_in_a_loop_that_see_its_last_values_are_named(bound):
    right = "def attend(own, hook, head=head, pattern=pattern)"
    answer = changed(
        chapter, "ideal_pattern_recovery", right, f"def attend(own, hook{bound})"
    )
    result = run_check("ideal_pattern_recovery", answer)
    assert result.mistake == "the last one in every hook"


def test_a_head_taken_out_of_the_whole_model_is_named_a_total_effect():
    def logit_effect(model, tokens, layer, head):
        change = model(tokens) - ablate_head(model, tokens, layer, head)
        change = change - change.mean(-1, keepdim=True)
        return change[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)

    assert run_check("logit_effect", logit_effect).mistake == "total effect"


@pytest.mark.parametrize(
    ("case", "mistake"),
    [
        ("two layers in every model: prefix matching", "two layers"),
        ("two layers in every model: previous token", "two layers"),
        ("layer 1 in every model", "layer 1 only"),
    ],
)
def test_two_layers_taken_for_granted_are_named(case, mistake):
    name, right, wrong = ONCE_PASSED[case]
    assert run_check(name, changed(chapter, name, right, wrong)).mistake == mistake


# (exercise, what stands in the solution, what stands in the wrong answer, its mistake)
NAMED = {
    "the mean of everything": (
        "logit_effect",
        "logits.mean(dim=-1, keepdim=True)",
        "logits.mean()",
        "one mean for all",
    ),
    "raised among all tokens": (
        "copying_head_score",
        "raised.sum().clamp(min=1e-12)",
        "logits.clamp(min=0).sum().clamp(min=1e-12)",
        "among all tokens",
    ),
    "0 divided by 0, raised": (
        "copying_head_score",
        "raised.sum().clamp(min=1e-12)",
        "raised.sum()",
        "nothing raised",
    ),
    "0 divided by 0, eigenvalues": (
        "same_matching_score",
        "eigenvalues.abs().sum().clamp(min=1e-12)",
        "eigenvalues.abs().sum()",
        "nothing to divide by",
    ),
    "scores that nobody scaled": (
        "build_induction_model",
        "W_QK * d_model**0.5",
        "W_QK",
        "not scaled",
    ),
    "scores that nobody scaled, and sharper heads": (
        "build_induction_model",
        "W_QK * d_model**0.5",
        "1.3 * W_QK",
        "not scaled",
    ),
}


@pytest.mark.parametrize("case", NAMED)
def test_wrong_answers_that_are_named(case):
    name, right, wrong, mistake = NAMED[case]
    assert run_check(name, changed(chapter, name, right, wrong)).mistake == mistake


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "same_matching_score",
            "W_K.T @ W_OV.T @ (E.T @ E) @ W_Q",
            "E @ W_Q @ W_K.T @ W_OV.T @ E.T",
        ),
        (
            "induction_heads_from_weights",
            "W_O @ (model.W_U @ model.W_E) @ W_V",
            "model.W_E @ W_V @ W_O @ model.W_U",
        ),
    ],
)
def test_eigenvalues_that_take_minutes_at_full_size_do_not_pass(name, right, wrong):
    result = run_check(name, changed(chapter, name, right, wrong))
    assert result.status == "failed" and "takes minutes" in result.message
