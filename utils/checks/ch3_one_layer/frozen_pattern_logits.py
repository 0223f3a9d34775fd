"""Chapter 3, `frozen_pattern_logits`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_frozen_pattern_logits(answer) -> None:
    ids = torch.tensor(shared.TEXTS)
    model = random_model(1, seed=0)
    one_hot = torch.nn.functional.one_hot(ids, 13).float()
    pattern = shared.seen(model, ids, "blocks.0.attn.hook_pattern").float()
    logits = expect.tensor(answer(model, one_hot, pattern), batch=2, pos=7, d_vocab=13)
    expect.close(
        logits,
        shared.logits(model, ids),
        "With the model's own pattern and one-hot vectors, the logits should be those "
        "of the model.",
    )
    generator = torch.Generator().manual_seed(1)
    model = random_model(1, seed=1, d_vocab=9, n_heads=2, d_head=5)
    mixed = torch.randn(3, 4, 9, generator=generator)
    pattern = torch.randn(3, 2, 4, 4, generator=generator)
    logits = expect.tensor(answer(model, mixed, pattern), batch=3, pos=4, d_vocab=9)
    expect.close(
        logits,
        _frozen_by_hooks(model, mixed, pattern),
        "For mixtures of tokens and a pattern that was made up, the logits are not "
        "those of the model with this embedding and this pattern put in by hooks.",
    )


def _frozen_by_hooks(model, mixed, pattern) -> Tensor:
    hooks = [
        ("hook_embed", lambda value, hook: mixed @ model.W_E),
        ("blocks.0.attn.hook_pattern", lambda value, hook: pattern),
    ]
    return shared.logits(model, torch.zeros(mixed.shape[:2], dtype=torch.int64), hooks)


def _frozen(model, tokens, pattern, *, direct=True, placed=False, everywhere=False):
    stream = tokens @ model.W_E
    if everywhere:
        stream = stream + model.W_pos[: stream.shape[1]]
    read = stream + model.W_pos[: stream.shape[1]] if placed else stream
    values = read[:, None] @ model.W_V[0]
    added = (pattern @ values @ model.W_O[0]).sum(1)
    return ((stream if direct else 0) + added) @ model.W_U


def frozen_own_pattern(model, tokens, pattern):
    stream = tokens @ model.W_E
    placed = (stream + model.W_pos[: stream.shape[1]])[:, None]
    scores = (placed @ model.W_Q[0]) @ (placed @ model.W_K[0]).transpose(-2, -1)
    later = torch.ones(scores.shape[-2:]).triu(1).bool()
    scores = (scores / model.cfg.d_head**0.5).masked_fill(later, -torch.inf)
    return _frozen(model, tokens, scores.softmax(-1))


def frozen_without_direct(model, tokens, pattern):
    return _frozen(model, tokens, pattern, direct=False)


def frozen_with_positions(model, tokens, pattern):
    return _frozen(model, tokens, pattern, placed=True)


def frozen_in_stream(model, tokens, pattern):
    return _frozen(model, tokens, pattern, everywhere=True)


def frozen_normalised(model, tokens, pattern):
    return _frozen(model, tokens, pattern / pattern.sum(-1, keepdim=True))


def frozen_transposed(model, tokens, pattern):
    return _frozen(model, tokens, pattern.transpose(-2, -1))


def frozen_mean_of_heads(model, tokens, pattern):
    return _frozen(model, tokens, pattern / model.cfg.n_heads)


CHECK = Check(
    name="frozen_pattern_logits",
    judge=judge_frozen_pattern_logits,
    hints=(
        "Follow the tokens: embedding, then what the heads add, then unembedding. The "
        "pattern is given, so W_Q and W_K are not needed.",
        "The embedding is `tokens @ model.W_E`. For each head, values are the "
        "embedding times `W_V[0, head]`, the pattern mixes them over positions, and "
        "`W_O[0, head]` leads back to the stream. Add this up over heads and keep the "
        "embedding itself.",
        "`stream = tokens @ model.W_E`, then for each head "
        "`added = added + pattern[:, head] @ (stream @ model.W_V[0, head]) @ "
        "model.W_O[0, head]`, and `return (stream + added) @ model.W_U`.",
    ),
    mistakes=(
        Mistake(
            "own pattern",
            "You computed the attention anew from the tokens. Here it is held fixed: "
            "use the pattern you are given.",
            frozen_own_pattern,
        ),
        Mistake(
            "no direct path",
            "The embedding itself is missing. Heads add to the stream, they do not "
            "replace it.",
            frozen_without_direct,
            swap=("(stream + added) @", "added @"),
        ),
        Mistake(
            "positions in the values",
            "You added the position vectors to what W_V reads. In this model only W_Q "
            "and W_K see them.",
            frozen_with_positions,
        ),
        Mistake(
            "positions in the stream",
            "You added the position vectors to the stream, as GPT-2 does. In this "
            "model only W_Q and W_K see them, and with a frozen pattern neither is "
            "needed.",
            frozen_in_stream,
        ),
        Mistake(
            "normalised",
            "You normalised the pattern's rows. Use it as it is.",
            frozen_normalised,
        ),
        Mistake(
            "transposed pattern",
            "You used the pattern the wrong way round. Its rows are queries: position "
            "i receives the values of the positions that row i points to.",
            frozen_transposed,
            swap=("pattern @ values", "pattern.mT @ values"),
        ),
        Mistake(
            "mean over heads",
            "You averaged over the heads. Their outputs are added up.",
            frozen_mean_of_heads,
        ),
    ),
    passed=(
        "Checked against the model itself, and with made-up mixtures of tokens and a "
        "made-up pattern put into the model by hooks. All that is not linear in this "
        "model, scores, softmax and pattern times values, is held fixed with the "
        "pattern."
    ),
)
