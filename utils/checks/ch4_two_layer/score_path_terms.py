"""Chapter 4, `score_path_terms`: judge, known mistakes and hints."""

import math

import torch
from einops import einsum
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_score_path_terms(answer) -> None:
    for n_layers, n_heads, head, ids in (
        (2, 3, 1, shared.TOKENS),
        (2, 2, 0, shared.MORE_TOKENS),
        (3, 2, 1, shared.TOKENS[:1]),
        (3, 1, 0, shared.TOKENS),
    ):
        model = random_model(
            n_layers, n_layers + head, n_heads=n_heads, d_head=n_heads + 3
        )
        tokens = torch.tensor(ids)
        batch, length = tokens.shape
        parts = n_heads + 2
        result = expect.tensor(
            answer(model, tokens, head),
            query_part=parts,
            key_part=parts,
            batch=batch,
            query=length,
            key=length,
        )
        names = ["embedding", "position", *(f"head 0.{i}" for i in range(n_heads))]
        expected = _scores_of_parts(model, tokens, head)
        for i, query in enumerate(names):
            for j, key in enumerate(names):
                expect.close(
                    result[i, j],
                    expected[i, j],
                    f"In a model of {n_layers} layers, the scores of query part {i} "
                    f"({query}) with key part {j} ({key}) are not what head 1.{head} "
                    "gives when it reads only these.",
                )
        _, cache = model.run_with_cache(tokens)
        expect.close(
            result.sum((0, 1)).tril(),
            cache["attn_scores", 1][:, head].tril(),
            "All entries together should be the scores of the model.",
        )


def _scores_of_parts(model, tokens: Tensor, head: int) -> Tensor:
    """The model's own queries and keys when layer 1 is given one part to read."""
    patterns = shared.patterns_of(model, tokens)
    silent = shared.only(model, tokens, (), patterns)[0]
    parts = [silent, model.W_pos[: tokens.shape[1]].double().expand_as(silent)]
    for other in range(model.cfg.n_heads):
        stream = shared.only(model, tokens, ((0, other),), patterns)[0]
        parts.append(stream - silent)
    sides = [_read_by_layer_1(model, tokens, part, head) for part in parts]
    size = math.sqrt(model.cfg.d_head)
    rows = [[q @ k.transpose(-1, -2) / size for _, k in sides] for q, _ in sides]
    return torch.stack([torch.stack(row) for row in rows])


def _read_by_layer_1(model, tokens: Tensor, part: Tensor, head: int):
    seen = []

    def give(read, hook):
        return part.float()

    def look(value, hook):
        seen.append(value[:, :, head].double())

    hooks = [(f"blocks.1.attn.{side}.hook_in", give) for side in "qk"]
    hooks += [(f"blocks.1.attn.hook_{side}", look) for side in "qk"]
    model.run_with_hooks(tokens, fwd_hooks=hooks)
    queries, keys = seen  # the model computes its queries first
    return queries, keys


def _score_parts(model, tokens, layer=0) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    position = model.W_pos[: tokens.shape[1]].expand_as(embed)
    stream = cache["resid_pre", layer]
    heads = shared.moved(model, cache, layer, stream)
    return torch.cat([embed[None], position[None], heads])


def _score_terms(model, queries: Tensor, keys: Tensor, head: int, layer=1) -> Tensor:
    return einsum(
        queries @ model.W_Q[layer, head],
        keys @ model.W_K[layer, head],
        "i batch q d, j batch k d -> i j batch q k",
    )


def scores_unscaled(model, tokens, head):
    parts = _score_parts(model, tokens)
    return _score_terms(model, parts, parts, head)


def scores_over_d_model(model, tokens, head):
    return scores_unscaled(model, tokens, head) / model.cfg.d_model**0.5


def scores_swapped(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    return right.transpose(0, 1)


def scores_of_other_order(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    return right.transpose(-1, -2)


def scores_without_position(model, tokens, head):
    parts = _score_parts(model, tokens)[[0, *range(2, model.cfg.n_heads + 2)]]
    return _score_terms(model, parts, parts, head) / model.cfg.d_head**0.5


def scores_of_layer_1(model, tokens, head):
    parts = _score_parts(model, tokens, layer=1)
    return _score_terms(model, parts, parts, head) / model.cfg.d_head**0.5


def scores_of_last_layer(model, tokens, head):
    parts = _score_parts(model, tokens)
    return _score_terms(model, parts, parts, head, -1) / model.cfg.d_head**0.5


def scores_masked(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    later = torch.ones(right.shape[-2:], device=right.device).triu(1).bool()
    return right.masked_fill(later, -torch.inf)


CHECK = Check(
    name="score_path_terms",
    judge=judge_score_path_terms,
    hints=(
        "A score is a product of a query and a key. If both are sums, the product is a "
        "sum over all pairs, like (a + b) * (c + d).",
        "Stack the h + 2 parts of what layer 1 reads: embedding, position, and what "
        "each head of layer 0 wrote. Turn all of them into queries with W_Q and all of "
        "them into keys with W_K, then take every query part with every key part.",
        "`parts @ model.W_Q[1, head]` and `parts @ model.W_K[1, head]` are [part, "
        "batch, "
        'pos, d_head]. One `einsum` with "query_part batch query d_head, key_part '
        'batch key d_head -> query_part key_part batch query key", divided by '
        "`math.sqrt(model.cfg.d_head)`, is all.",
    ),
    mistakes=(
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head). The paper leaves this factor "
            "out; the model has it.",
            scores_unscaled,
            swap=("return scores / math.sqrt(model.cfg.d_head)", "return scores"),
        ),
        Mistake(
            "scaled by d_model",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so it "
            "is sqrt(d_head).",
            scores_over_d_model,
        ),
        Mistake(
            "parts swapped",
            "Query parts and key parts are swapped. The first axis is the part that "
            "the query is made from. Swapped, K-composition would look like "
            "Q-composition.",
            scores_swapped,
            swap=("-> query_part key_part", "-> key_part query_part"),
        ),
        Mistake(
            "query and key swapped",
            "The last two axes are swapped: queries should be rows, keys columns.",
            scores_of_other_order,
        ),
        Mistake(
            "no position",
            "The position vectors are missing. They are added to what W_Q and W_K "
            "read, in layer 1 as in layer 0.",
            scores_without_position,
        ),
        Mistake(
            "heads of layer 1",
            "You used what the heads of layer 1 write. Layer 1 reads what the heads of "
            "layer 0 wrote.",
            scores_of_layer_1,
        ),
        Mistake(
            "last layer",
            "You took the head of the last layer. In a model of two layers that is "
            "layer 1; in a deeper one it is not. Take W_Q and W_K of layer 1.",
            scores_of_last_layer,
        ),
        Mistake(
            "masked",
            "You masked the scores. A mask of minus infinity cannot be split into "
            "parts; it comes after the sum.",
            scores_masked,
        ),
    ),
    passed=(
        "Checked by letting layer 1 of the model read one part at a time and taking "
        "its own queries and keys, for all pairs of parts, and the sum against the "
        "model's scores, in models of two and of three layers. A score is linear in "
        "the query and linear in the key, and each is a sum of h + 2 parts, so a score "
        "is a sum of (h + 2) squared."
    ),
)
