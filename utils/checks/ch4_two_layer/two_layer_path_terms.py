"""Chapter 4, `two_layer_path_terms`: judge, known mistakes and hints."""

import torch
from einops import rearrange
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_two_layer_path_terms(answer) -> None:
    for n_heads, seed, ids in ((3, 0, shared.TOKENS), (2, 1, shared.MORE_TOKENS)):
        model = random_model(2, seed, n_heads=n_heads, d_head=n_heads + 3)
        tokens = torch.tensor(ids)
        batch, length = tokens.shape
        result = expect.tensor(
            answer(model, tokens),
            term=(1 + n_heads) ** 2,
            batch=batch,
            pos=length,
            d_vocab=13,
        )
        paths = shared.terms(model, tokens)
        for number, (path, logits) in enumerate(paths.items()):
            words = " then ".join(f"{a}.{b}" for a, b in path) or "the direct path"
            expect.close(
                result[number],
                logits,
                f"Entry {number} should be the path through {words}. It is not what "
                "the model does when all other heads are silent.",
            )
        expect.close(
            result.sum(0),
            model(tokens),
            "The sum of all terms should be the model's logits.",
        )


def _path_terms(model, tokens, order="term head", swap=False, whole=False) -> Tensor:
    """The right terms, or with one thing wrong."""
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    first = shared.moved(model, cache, 0, embed)
    read = cache["resid_post", 0] if whole else embed
    second = shared.moved(model, cache, 1, read)
    if swap:
        inner = shared.moved(model, cache, 1, embed)
        both = torch.stack([shared.moved(model, cache, 0, x) for x in inner], 1)
    else:
        both = torch.stack([shared.moved(model, cache, 1, x) for x in first])
    both = rearrange(both, f"term head b p d -> ({order}) b p d")
    return torch.cat([embed[None], first, second, both])


def paths_without_pairs(model, tokens):
    n = 1 + 2 * model.cfg.n_heads
    return (_path_terms(model, tokens) @ model.W_U)[:n]


def paths_counted_twice(model, tokens):
    return _path_terms(model, tokens, whole=True) @ model.W_U


def paths_in_other_order(model, tokens):
    return _path_terms(model, tokens, order="head term") @ model.W_U


def paths_backwards(model, tokens):
    return _path_terms(model, tokens, swap=True) @ model.W_U


def paths_in_the_stream(model, tokens):
    return _path_terms(model, tokens)


def paths_with_positions(model, tokens):
    terms = _path_terms(model, tokens)
    terms[0] += model.W_pos[: tokens.shape[1]]
    return terms @ model.W_U


CHECK = Check(
    name="two_layer_path_terms",
    judge=judge_two_layer_path_terms,
    hints=(
        "With the patterns fixed, everything a head does is multiplication. So send "
        "the embedding alone through the heads, once for each path, instead of the "
        "whole stream.",
        "Write one helper that takes some streams and a layer and gives back what each "
        "head of the layer makes of each of them: times W_V, mixed by the head's "
        "pattern, times W_O. Use it on the embedding for layer 0 and for layer 1, and "
        "then on the results of layer 0 for layer 1.",
        "`first = through_heads(0, embed)`, `second = through_heads(1, embed)` and "
        "`both = through_heads(1, first)`, with a leading term axis that "
        '`rearrange(x, "term head ... -> (term head) ...")` makes flat. Then '
        "`torch.cat([embed, first, second, both]) @ model.W_U`. The patterns are "
        '`cache["pattern", layer]`.',
    ),
    mistakes=(
        Mistake(
            "no pairs",
            "The paths through two heads are missing. A head of layer 1 also moves "
            "what the heads of layer 0 wrote.",
            paths_without_pairs,
            swap=("[direct, first, second, both]", "[direct, first, second]"),
        ),
        Mistake(
            "counted twice",
            "Your layer-1 heads read the whole stream, so their terms already contain "
            "the paths through two heads, which you then add again. For a path through "
            "one head alone, that head reads the embedding only.",
            paths_counted_twice,
        ),
        Mistake(
            "other order",
            "Your terms are right and in another order. All paths that begin with 0.0 "
            "come first, whichever head of layer 1 follows.",
            paths_in_other_order,
            swap=("(term head) ...", "(head term) ..."),
        ),
        Mistake(
            "backwards",
            "Your paths pass through layer 1 first and then through layer 0. "
            "Information can only go to later layers.",
            paths_backwards,
        ),
        Mistake(
            "still in the stream",
            "These are the terms in the residual stream. Multiply them by W_U to get "
            "logits.",
            paths_in_the_stream,
        ),
        Mistake(
            "positions in the stream",
            "You added position vectors to the direct path. In this model they are "
            "only added to what W_Q and W_K read, never to the stream.",
            paths_with_positions,
        ),
    ),
    passed=(
        "Checked against the model itself, one path at a time: all patterns were held "
        "fixed, and the heads that are not on the path were silenced. Once the "
        "patterns are fixed the model is linear in the embedding, so it is a sum over "
        "paths and nothing is left over."
    ),
)
