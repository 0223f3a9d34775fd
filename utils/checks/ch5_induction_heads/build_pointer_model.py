"""Chapter 5, `build_pointer_model`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake
from utils.checks.ch5_induction_heads import shared

__all__ = ["CHECK"]


def judge_build_pointer_model(answer) -> None:
    for d_vocab, n_ctx in ((11, 25), (17, 36), (31, 61)):
        model = shared.built(answer(d_vocab, n_ctx), d_vocab, n_ctx, "stream")
        for tokens, span in shared.all_kinds_of_repeats(d_vocab, n_ctx):
            shared.expect_continued(model(tokens), tokens, span, least=0.5)
            shared.expect_continued(
                _keys_of_stream_only(model, tokens),
                tokens,
                span,
                "When the second layer's keys see only tokens and positions: ",
                least=0.5,
            )


def _keys_of_stream_only(model, tokens: Tensor) -> Tensor:
    """Logits when no key of layer 1 holds anything that layer 0 wrote."""
    entering = model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    keys = torch.stack([entering @ W_K for W_K in model.W_K[1]], dim=2)
    name = "blocks.1.attn.hook_k"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, lambda k, hook: keys)])


def _pointer(d_vocab, n_ctx):
    W_E, W_pointer, W_pos = shared.frame(d_vocab, n_ctx, n_ctx)
    same = 60.0 * (W_E.T @ W_E - W_pos.T @ W_pos)
    return W_E, W_pointer, W_pos, same


def pointer_by_keys(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = shared.two_heads(d_vocab, n_ctx)
    return shared.as_weights(W_E, W_pos, [previous, matching])


def pointer_not_moved(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer.T @ W_pos
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_E.T @ W_E)]
    return shared.as_weights(W_E, W_pos, layers)


def pointer_moved_back(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer[1:].T @ W_pos[:-1]
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_E.T @ W_E)]
    return shared.as_weights(W_E, W_pos, layers)


def pointer_to_tokens(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    fetch = W_E.T @ W_pointer[:d_vocab]
    follow = 60.0 * W_pointer[:-1].T @ W_pos[1:]
    return shared.as_weights(W_E, W_pos, [(same, fetch), (follow, 10 * W_E.T @ W_E)])


def pointer_copies_positions(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer[:-1].T @ W_pos[1:]
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_pos.T @ W_pos)]
    return shared.as_weights(W_E, W_pos, layers)


def _predicts(step: int):
    """A test: does the second layer say the token `step` places after its own?

    On the second of two copies the right step is 1. What the embedding says by itself,
    without the second layer, does not count.
    """

    def matches(answer) -> bool:
        weights = answer(11, 25)
        tokens = shared.rows(11, 6, 2)
        model = shared.built(weights, 11, 25, "stream")
        name = "blocks.1.attn.hook_z"
        silent = [(name, lambda z, hook: torch.zeros_like(z))]
        said = model(tokens) - model.run_with_hooks(tokens, fwd_hooks=silent)
        places = torch.arange(8, 12)
        best = said[:, places].max(dim=-1)
        wanted = tokens[:, places + step]
        return torch.equal(best.indices, wanted) and bool((best.values > 0.5).all())

    return matches


CHECK = Check(
    name="build_pointer_model",
    judge=judge_build_pointer_model,
    hints=(
        "First layer: find earlier copies of the current token, and bring home not the "
        "token but the position vector that is there in the stream.",
        "Give the fetched positions directions of their own, W_pointer. Second layer: "
        "a query that holds W_pointer[p] scores a key that holds W_pos[p + 1]. In the "
        "first layer every token also matches itself. That pointer leads one place "
        "ahead, which the mask hides: it only takes a share of the attention, and a "
        "large factor makes up for it.",
        "`W_QK_0 = 60 * W_E.T @ W_E`, `W_OV_0 = W_pos.T @ W_pointer`, `W_QK_1 = 60 * "
        "W_pointer[:-1].T @ W_pos[1:]`, `W_OV_1 = 10 * W_E.T @ W_E`, and the rest as "
        "in `build_induction_model`.",
    ),
    mistakes=(
        Mistake(
            "previous-token algorithm",
            "This is the first algorithm: the keys carry the previous token. Here the "
            "keys may hold nothing but token and position, and the query does the "
            "work.",
            pointer_by_keys,
        ),
        Mistake(
            "pointer not moved on",
            "Your query asks for the very position that was fetched, where the current "
            "token stands. Ask for the one after it.",
            pointer_not_moved,
            _predicts(0),
            swap=("W_pointer[:-1].T @ W_pos[1:]", "W_pointer.T @ W_pos"),
        ),
        Mistake(
            "pointer moved back",
            "Your pointer moves one back instead of one on.",
            pointer_moved_back,
            _predicts(-1),
            swap=("W_pointer[:-1].T @ W_pos[1:]", "W_pointer[1:].T @ W_pos[:-1]"),
        ),
        Mistake(
            "fetches tokens",
            "Your first head fetches the token, which is the one it already has. Fetch "
            "the position: W_OV should turn W_pos[p] into W_pointer[p].",
            pointer_to_tokens,
        ),
        Mistake(
            "copies positions",
            "Your second head copies the position it attends to. By then the pointer "
            "has done its work; what has to be copied is the token.",
            pointer_copies_positions,
        ),
    ),
    passed=(
        "Checked by what it predicts for three sizes, also when the keys of the second "
        "layer see nothing of the first. Same behaviour, same pattern of the second "
        "head, another algorithm: behaviour alone does not tell the mechanism."
    ),
)
