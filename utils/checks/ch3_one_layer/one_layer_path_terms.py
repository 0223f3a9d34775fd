"""Chapter 3, `one_layer_path_terms`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_one_layer_path_terms(answer) -> None:
    for n_heads, d_vocab, seed, batch, pos in ((3, 13, 0, 2, 7), (5, 14, 1, 1, 4)):
        tokens = torch.tensor(shared.TEXTS)[-batch:, :pos]
        model = random_model(1, seed, n_heads=n_heads, d_vocab=d_vocab)
        result = answer(model, tokens)
        sizes = {"path": 1 + n_heads, "batch": batch, "pos": pos, "d_vocab": d_vocab}
        terms = expect.tensor(result, **sizes)
        expect.close(
            terms.sum(0),
            shared.logits(model, tokens),
            "Your paths do not sum to the model's logits.",
            atol=1e-4,
        )
        expect.close(
            terms,
            _terms_by_running(model, tokens),
            "The sum is right, but some path is not what the logits change by when "
            "only that path is open.",
            atol=1e-4,
        )


def _terms_by_running(model, tokens) -> Tensor:
    direct = shared.logits(model, tokens, shared.only(None, None, 1))
    heads = [
        shared.logits(model, tokens, shared.only(0, head, 1)) - direct
        for head in range(model.cfg.n_heads)
    ]
    return torch.stack([direct, *heads])


def _terms(model, tokens) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    z = cache["blocks.0.attn.hook_z"]
    heads = [
        z[:, :, head] @ model.W_O[0, head] @ model.W_U
        for head in range(model.cfg.n_heads)
    ]
    return torch.stack([model.W_E[tokens] @ model.W_U, *heads])


def terms_direct_last(model, tokens):
    return _terms(model, tokens).roll(-1, dims=0)


def terms_with_direct_each(model, tokens):
    terms = _terms(model, tokens)
    return torch.cat([terms[:1], terms[1:] + terms[:1]])


def terms_running_total(model, tokens):
    return _terms(model, tokens).cumsum(0)


def terms_without_pattern(model, tokens):
    terms = _terms(model, tokens)
    values = model.W_E[tokens][:, None] @ model.W_V[0] @ model.W_O[0] @ model.W_U
    return torch.cat([terms[:1], values.transpose(0, 1)])


def terms_with_positions(model, tokens):
    terms = _terms(model, tokens)
    placed = model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    return torch.cat([(placed @ model.W_U)[None], terms[1:]])


def _placed_heads(model, tokens) -> Tensor:
    """The heads' paths where values are read from the stream plus positions."""
    _, cache = model.run_with_cache(tokens)
    mixed = (
        cache["pattern", 0]
        @ (model.W_E[tokens] + model.W_pos[: tokens.shape[1]])[:, None]
    )
    heads = mixed @ model.W_V[0] @ model.W_O[0] @ model.W_U
    return heads.transpose(0, 1)


def terms_with_positions_everywhere(model, tokens):
    return torch.cat(
        [terms_with_positions(model, tokens)[:1], _placed_heads(model, tokens)]
    )


def terms_with_placed_values(model, tokens):
    return torch.cat([_terms(model, tokens)[:1], _placed_heads(model, tokens)])


def terms_final_stream_first(model, tokens):
    terms = _terms(model, tokens)
    return torch.cat([terms.sum(0, keepdim=True), terms[1:]])


def terms_without_direct(model, tokens):
    return _terms(model, tokens)[1:]


def terms_as_log_probs(model, tokens):
    return _terms(model, tokens).log_softmax(-1)


CHECK = Check(
    name="one_layer_path_terms",
    judge=judge_one_layer_path_terms,
    hints=(
        "The final stream is a sum: the embedding and what each head adds. The "
        "unembedding is linear, so send each part through W_U by itself.",
        "`head_outputs(model, tokens, layer=0)` from chapter 0 gives what each head "
        "adds, [batch, pos, head, d_model]. The direct path is `direct_path(model)` "
        "of chapter 2, looked up at the tokens.",
        "`direct = model.W_E[tokens] @ model.W_U`. "
        "`heads = rearrange(head_outputs(model, tokens, 0) @ model.W_U, "
        "'batch pos head d_vocab -> head batch pos d_vocab')`. "
        "Then `torch.cat([direct[None], heads])`.",
    ),
    mistakes=(
        Mistake(
            "direct path last",
            "The direct path stands at the end. It is path 0.",
            terms_direct_last,
            swap=("[direct[None], heads]", "[heads, direct[None]]"),
        ),
        Mistake(
            "direct path in every path",
            "Each of your head paths has the direct path in it. A path through a head "
            "begins with what the head adds.",
            terms_with_direct_each,
            swap=("[direct[None], heads]", "[direct[None], heads + direct]"),
        ),
        Mistake(
            "running total",
            "These are running totals: the logits after each part was added. A path "
            "is what one part adds.",
            terms_running_total,
        ),
        Mistake(
            "no attention",
            "You sent each position's own values through W_O. A head first mixes the "
            "values of all positions with its pattern.",
            terms_without_pattern,
        ),
        Mistake(
            "positions in the direct path",
            "Your direct path has position vectors in it. In this model they never "
            "enter the stream, so the direct path depends on the token only.",
            terms_with_positions,
        ),
        Mistake(
            "positions everywhere",
            "You added the position vectors to the stream, so the direct path and what "
            "the heads move hold them too. In this model only W_Q and W_K read them: "
            "they shape the pattern and go nowhere else.",
            terms_with_positions_everywhere,
        ),
        Mistake(
            "positions in the values",
            "Your heads move position vectors as well. In this model values are made "
            "from the token alone; only W_Q and W_K read positions.",
            terms_with_placed_values,
        ),
        Mistake(
            "final stream as direct path",
            "Your path 0 is the whole of the logits. `resid_post` is the stream after "
            "the heads have added to it; the direct path is the embedding alone.",
            terms_final_stream_first,
        ),
        Mistake(
            "no direct path",
            "The direct path is missing: the token itself, through W_E and W_U.",
            terms_without_direct,
        ),
        Mistake(
            "log probabilities",
            "You took a softmax of each path. Logits add up, probabilities do not: "
            "leave the paths as logits.",
            terms_as_log_probs,
        ),
    ),
    passed=(
        "Checked that the paths sum to the logits, and each path against the model "
        "with all other heads silenced. This is the paper's path expansion: every "
        "step after the pattern is linear, so the sum can be multiplied out."
    ),
)
