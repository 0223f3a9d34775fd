"""Chapter 0, `replace_pattern`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch0_toolbox import shared

__all__ = ["CHECK"]


def judge_replace_pattern(answer) -> None:
    for model, tokens, layer, head in shared.cases(seed=14, scale=0.8):
        batch, length = tokens.shape
        generator = torch.Generator().manual_seed(layer + 10 * head)
        # Neither causal nor normalised, and another one for each row of the batch.
        pattern = torch.rand(batch, length, length, generator=generator)
        result = answer(model, tokens, layer, head, pattern)
        shape = shared.shapes(tokens, d_vocab=model.cfg.d_vocab)
        expect.close(
            expect.tensor(result, **shape),
            _with_pattern(model, tokens, layer, head, pattern),
            f"With the pattern of head {layer}.{head} replaced the logits are "
            "different.",
            atol=1e-3,
        )


def _with_pattern(model, tokens, layer: int, head: int, pattern: Tensor) -> Tensor:
    """The head's part exchanged for one that is added up source by source."""
    stream = shared.record(model, tokens, f"blocks.{layer}.hook_resid_pre")
    writes = stream @ model.W_V[layer, head] @ model.W_O[layer, head]
    part = torch.zeros_like(stream)
    for row in range(tokens.shape[0]):
        for query in range(tokens.shape[1]):
            for key in range(tokens.shape[1]):
                part[row, query] += pattern[row, query, key] * writes[row, key]
    before = shared.only_head(model, tokens, layer, head)
    place = f"blocks.{layer}.hook_attn_out"
    return shared.run_hooked(model, tokens, {place: lambda out: out - before + part})


def _force(model, tokens, layer, edit, **more_hooks) -> Tensor:
    def change(own: Tensor) -> Tensor:
        own = own.clone()
        edit(own)
        return own

    place = f"blocks.{layer}.attn.hook_pattern"
    return shared.run_hooked(model, tokens, {**more_hooks, place: change})


def _force_head(model, tokens, layer, head, pattern, **more) -> Tensor:
    def edit(own):
        own[:, head] = pattern

    return _force(model, tokens, layer, edit, **more)


def replace_transposed(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.transpose(1, 2))


def replace_masked(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.tril())


def replace_normalised(model, tokens, layer, head, pattern):
    shares = pattern / pattern.sum(-1, keepdim=True)
    return _force_head(model, tokens, layer, head, shares)


def replace_masked_and_normalised(model, tokens, layer, head, pattern):
    shares = pattern.tril() / pattern.tril().sum(-1, keepdim=True)
    return _force_head(model, tokens, layer, head, shares)


def replace_softmaxed(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern.softmax(-1))


def replace_all_heads(model, tokens, layer, head, pattern):
    def edit(own):
        own[:] = pattern[:, None]

    return _force(model, tokens, layer, edit)


def replace_next_head(model, tokens, layer, head, pattern):
    other = (head - 1) % model.cfg.n_heads
    return _force_head(model, tokens, layer, other, pattern)


def replace_first_layer(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, 0, head, pattern)


def replace_first_row(model, tokens, layer, head, pattern):
    return _force_head(model, tokens, layer, head, pattern[0])


def replace_nothing(model, tokens, layer, head, pattern):
    return model(tokens)


def replace_directly(model, tokens, layer, head, pattern):
    cache = model.run_with_cache(tokens)[1]
    change = pattern - cache["pattern", layer][:, head]
    part = change @ cache["v", layer][:, :, head] @ model.W_O[layer, head]
    return model(tokens) + part @ model.W_U


def replace_with_frozen_patterns(model, tokens, layer, head, pattern):
    cache = model.run_with_cache(tokens)[1]
    hooks = {
        f"blocks.{i}.attn.hook_pattern": lambda own, i=i: cache["pattern", i]
        for i in range(model.cfg.n_layers)
    }
    return _force_head(model, tokens, layer, head, pattern, **hooks)


def replace_only_head(model, tokens, layer, head, pattern):
    def edit(own):
        own.zero_()
        own[:, head] = pattern

    return _force(model, tokens, layer, edit)


CHECK = Check(
    name="replace_pattern",
    judge=judge_replace_pattern,
    hints=(
        "This is the same kind of intervention as `ablate_head`, at another place on "
        "the way.",
        "`blocks.{layer}.attn.hook_pattern` is [batch, head, query, key]. Your hook "
        "returns a copy in which one head's part is the given pattern. Note that the "
        "head is the second axis here.",
        "`def hook_function(own, hook):` copies `own`, sets `own[:, head] = pattern`, "
        "and returns it. Then `model.run_with_hooks(tokens, fwd_hooks=[("
        'f"blocks.{layer}.attn.hook_pattern", hook_function)])`.',
    ),
    mistakes=(
        Mistake(
            "transposed",
            "You transposed the pattern. Rows are queries, columns are keys, in the "
            "given pattern as in the model's.",
            replace_transposed,
            swap=("forced[:, head] = pattern", "forced[:, head] = pattern.mT"),
        ),
        Mistake(
            "masked",
            "You masked the pattern. Here it is used as it is given.",
            replace_masked,
        ),
        Mistake(
            "normalised",
            "You divided the rows by their sums. Here the pattern is used as it is "
            "given, so that one can also switch attention off.",
            replace_normalised,
        ),
        Mistake(
            "masked and normalised",
            "You masked the pattern and made its rows sum to 1. Here it is used as it "
            "is given.",
            replace_masked_and_normalised,
        ),
        Mistake(
            "softmax again",
            "A softmax comes after your pattern. It holds shares already, not scores; "
            "its place is `hook_pattern`, after the softmax.",
            replace_softmaxed,
        ),
        Mistake(
            "all heads",
            "You gave the pattern to all heads of the layer. Only one is meant.",
            replace_all_heads,
            swap=("forced[:, head] = pattern", "forced[:] = pattern[:, None]"),
        ),
        Mistake(
            "counted from 1",
            "You changed the head before the one that was asked for. Heads count from "
            "0.",
            replace_next_head,
        ),
        Mistake(
            "always layer 0",
            "You changed layer 0 whatever `layer` says.",
            replace_first_layer,
        ),
        Mistake(
            "first text for all",
            "You gave every text the pattern of the first one. Row i of `pattern` "
            "belongs to row i of `tokens`.",
            replace_first_row,
        ),
        Mistake(
            "nothing changed",
            "These are the logits of the untouched model. A hook changes an activation "
            "by returning the new tensor; one that returns nothing only looks.",
            replace_nothing,
        ),
        Mistake(
            "direct effect only",
            "You changed the head's own part of the logits and left everything after "
            "it alone. Later layers read what the head wrote, so run the model again.",
            replace_directly,
        ),
        Mistake(
            "later patterns frozen",
            "You kept the other layers' patterns as they were. Here everything after "
            "the head is computed anew.",
            replace_with_frozen_patterns,
        ),
        Mistake(
            "other heads switched off",
            "You set the other heads' patterns to zero. They keep their own.",
            replace_only_head,
        ),
    ),
    passed=(
        "Checked for three heads in both layers with patterns that no softmax would "
        "give, against a sum over sources by hand. Once the pattern is fixed, a head "
        "is linear: it adds up what it reads, weighted by the numbers you gave."
    ),
)
