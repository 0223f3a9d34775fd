"""Chapter 5, `build_induction_model`: judge, known mistakes and hints."""

import contextlib

import torch

from utils.checks import Check, Mistake, Wrong
from utils.checks.ch5_induction_heads import shared

__all__ = ["CHECK"]


SIZES = ((11, 25), (17, 36), (31, 61))


def judge_build_induction_model(answer) -> None:
    for d_vocab, n_ctx in SIZES:
        _expect_induction(answer(d_vocab, n_ctx), d_vocab, n_ctx)


def _expect_induction(weights, d_vocab: int, n_ctx: int) -> None:
    model = shared.built(weights, d_vocab, n_ctx, "qk")
    for tokens, span in shared.all_kinds_of_repeats(d_vocab, n_ctx):
        shared.expect_continued(model(tokens), tokens, span, least=0.5)


def model_not_scaled(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = shared.two_heads(d_vocab, n_ctx)
    weights = shared.as_weights(W_E, W_pos, [previous, matching])
    return weights | {"W_Q": weights["W_Q"] / W_E.shape[1] ** 0.5}


def _only_scale_is_missing(answer) -> bool:
    """Whether it is wrong, and right once queries are sqrt(d_head) times as long."""
    with contextlib.suppress(Wrong):
        judge_build_induction_model(answer)
        return False
    for d_vocab, n_ctx in SIZES:
        weights = answer(d_vocab, n_ctx)
        W_Q = torch.as_tensor(weights["W_Q"])
        scaled = weights | {"W_Q": W_Q * W_Q.shape[-1] ** 0.5}
        _expect_induction(scaled, d_vocab, n_ctx)
    return True


def model_of_one_layer(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = shared.two_heads(d_vocab, n_ctx)
    weights = shared.as_weights(W_E, W_pos, [previous, matching])
    nothing = torch.zeros_like(previous[0]), torch.zeros_like(previous[1])
    second = shared.as_weights(W_E, W_pos, [nothing, nothing])
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        both = weights[name].transpose(0, 1), second[name].transpose(0, 1)
        weights[name] = torch.cat(both)
    return weights


def model_in_wrong_order(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = shared.two_heads(d_vocab, n_ctx)
    return shared.as_weights(W_E, W_pos, [matching, previous])


def model_reads_previous(d_vocab, n_ctx):
    W_E, W_prev, W_pos, previous, matching = shared.two_heads(d_vocab, n_ctx)
    return shared.as_weights(W_E, W_pos, [previous, matching], W_U=W_prev.T)


def model_of_duplicates(d_vocab, n_ctx):
    W_E, _, W_pos, previous, _ = shared.two_heads(d_vocab, n_ctx)
    duplicates = 40 * (W_E.T @ W_E - W_pos.T @ W_pos), shared.copy_tokens(W_E)
    return shared.as_weights(W_E, W_pos, [previous, duplicates])


def model_of_fixed_lag(d_vocab, n_ctx):
    W_E, _, W_pos, previous, _ = shared.two_heads(d_vocab, n_ctx)
    lag = n_ctx // 2 - 1
    fixed = 40 * W_pos[lag:].T @ W_pos[:-lag], shared.copy_tokens(W_E)
    return shared.as_weights(W_E, W_pos, [previous, fixed])


CHECK = Check(
    name="build_induction_model",
    judge=judge_build_induction_model,
    hints=(
        "Give the stream three sets of directions: own token, previous token, "
        "position. Your two functions then fill the two layers, one head each.",
        "`torch.eye(d_model).split([d_vocab, d_vocab, n_ctx])` gives W_E, W_prev and "
        "W_pos. With d_head = d_model a circuit needs no clever factors: put the whole "
        "of it into W_Q (or W_V) and the identity into W_K (or W_O). Mind that the "
        "model divides scores by sqrt(d_head).",
        "`W_Q = torch.stack([QK_0[None], QK_1[None]]) * d_model**0.5`, `W_K` two "
        "identities in the same shape, `W_V` from the W_OV, `W_O` identities again, "
        "and `W_U = W_E.T`, which reads the own-token directions.",
    ),
    mistakes=(
        Mistake(
            "both heads in one layer",
            "Both heads sit in the first layer. There the matching head reads a stream "
            "in which nothing has been written yet. It has to come a layer later.",
            model_of_one_layer,
        ),
        Mistake(
            "layers swapped",
            "Your layers are in the wrong order: the matching head needs what the "
            "previous-token head writes.",
            model_in_wrong_order,
            swap=(
                "build_previous_token_head(W_E, W_pos, W_prev),\n        "
                "build_matching_head(W_E, W_prev),",
                "build_matching_head(W_E, W_prev),\n        "
                "build_previous_token_head(W_E, W_pos, W_prev),",
            ),
        ),
        Mistake(
            "not scaled",
            "Your scores are too small: the model divides them by sqrt(d_head), and "
            "then the softmax is too flat. With W_Q times sqrt(d_head) all your "
            "repeats are continued rightly.",
            model_not_scaled,
            _only_scale_is_missing,
        ),
        Mistake(
            "W_U reads the previous token",
            "Your W_U reads the directions of the previous token. The copied token is "
            "in the directions of W_E.",
            model_reads_previous,
            swap=('"W_U": W_E.T', '"W_U": W_prev.T'),
        ),
        Mistake(
            "duplicate-token head",
            "Your second head attends to the earlier copy of the current token, so the "
            "model predicts the token it has just read. It should attend to the one "
            "after.",
            model_of_duplicates,
        ),
        Mistake(
            "fixed lag",
            "Your model looks a fixed distance back. That works for one span length "
            "only; induction finds the match wherever it is.",
            model_of_fixed_lag,
        ),
    ),
    passed=(
        "Checked by what it predicts: three sizes, spans from 2 tokens to the whole "
        "vocabulary, two and three copies, every prediction right. You wrote by hand "
        "what training finds."
    ),
)
