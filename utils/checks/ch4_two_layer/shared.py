"""Chapter 4: what several of its judges need."""

import torch
from einops import einsum
from torch import Tensor

from utils.checks import expect
from utils.models.handmade import random_model

__all__ = [
    "ANYWHERE",
    "LATER_FIRST",
    "MORE_TOKENS",
    "OWN_LAYER",
    "SQUARED",
    "TABLE_TRANSPOSED",
    "TOKENS",
    "judge_table",
    "loss",
    "moved",
    "only",
    "patterns_of",
    "table",
    "terms",
]


TOKENS = [[0, 7, 3, 3, 9], [0, 1, 12, 5, 8]]


MORE_TOKENS = [[0, 6, 2, 6, 10, 4], [0, 11, 9, 1, 1, 7], [0, 3, 8, 5, 2, 12]]


def patterns_of(model, tokens: Tensor) -> list[Tensor]:
    """Each layer's pattern [batch head query key] in an ordinary run."""
    _, cache = model.run_with_cache(tokens)
    return [cache["pattern", layer] for layer in range(model.cfg.n_layers)]


def only(model, tokens: Tensor, keep, patterns) -> tuple[Tensor, Tensor]:
    """Final stream and logits when only some heads write and all attend as told."""
    seen = {}

    def as_told(pattern, hook):
        return patterns[hook.layer()]

    def kept(z, hook):
        heads = [head for layer, head in keep if layer == hook.layer()]
        out = torch.zeros_like(z)
        out[:, :, heads] = z[:, :, heads]
        return out

    def look(stream, hook):
        seen["stream"] = stream.clone()

    hooks = [("unembed.hook_in", look)]
    for layer in range(model.cfg.n_layers):
        hooks.append((f"blocks.{layer}.attn.hook_pattern", as_told))
        hooks.append((f"blocks.{layer}.attn.hook_z", kept))
    logits = model.run_with_hooks(tokens, fwd_hooks=hooks)
    return seen["stream"].double(), logits.double()


def terms(model, tokens: Tensor) -> dict[tuple, Tensor]:
    """Each path's logits, found by switching heads of the model on and off."""
    heads, patterns = range(model.cfg.n_heads), patterns_of(model, tokens)
    direct = only(model, tokens, (), patterns)[1]
    terms = {(): direct}
    for layer in (0, 1):
        for head in heads:
            path = ((layer, head),)
            terms[path] = only(model, tokens, path, patterns)[1] - direct
    for a in heads:
        for b in heads:
            path = ((0, a), (1, b))
            alone = terms[path[:1]] + terms[path[1:]]
            terms[path] = only(model, tokens, path, patterns)[1] - direct - alone
    return terms


def loss(logits: Tensor, tokens: Tensor) -> float:
    """Mean nats per predicted token, one token at a time."""
    log_probs = logits.double().log_softmax(-1)
    nats = [
        -log_probs[row, place - 1, token].item()
        for row, line in enumerate(tokens.tolist())
        for place, token in enumerate(line)
        if place > 0
    ]
    return sum(nats) / len(nats)


def moved(model, cache, layer: int, stream: Tensor) -> Tensor:
    """[head batch pos d_model]: what each head of a layer makes of a stream."""
    values = einsum(
        stream, model.W_V[layer], "batch pos d, head d d_head -> batch head pos d_head"
    )
    return einsum(
        cache["pattern", layer] @ values,
        model.W_O[layer],
        "batch head pos d_head, head d_head d -> head batch pos d",
    )


def judge_table(answer, mode: str, reads: str) -> None:
    answer = expect.weights_only(answer)
    calls = (
        (2, 3, 0, {}, (0, 1)),
        (3, 2, 1, {"from_layer": 0, "to_layer": 2}, (0, 2)),
        (3, 2, 2, {"from_layer": 0, "to_layer": 1}, (0, 1)),
        (3, 2, 1, {"from_layer": 1, "to_layer": 2}, (1, 2)),
        (3, 2, 1, {"from_layer": 2, "to_layer": 1}, (2, 1)),
        (2, 3, 0, {"from_layer": 1, "to_layer": 1}, (1, 1)),
        (2, 3, 0, {"from_layer": 0, "to_layer": 0}, (0, 0)),
    )
    for n_layers, n_heads, seed, layers, (one, two) in calls:
        model = random_model(n_layers, seed, n_heads=n_heads)
        library = model.all_composition_scores(mode).scores
        result = answer(model, **layers)
        table = expect.tensor(result, from_head=n_heads, to_head=n_heads)
        if one >= two:
            expect.close(
                table,
                0 * table,
                f"Layer {two} cannot read what layer {one} writes, so all scores "
                "should be 0.",
            )
        expect.close(
            table,
            library[one, :, two],
            f"From layer {one} to layer {two}, your scores are not those of "
            f"TransformerLens: how much {reads} of the later head reads.",
        )


def table(
    model, from_layer, to_layer, mode, causal=True, source=None, later_first=False
) -> Tensor:
    """Composition scores of all pairs from dense matrices, rightly or wrongly."""
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if causal and from_layer >= to_layer:
        return scores
    source = from_layer if source is None else source
    for i in range(n_heads):
        ov = model.W_V[source, i] @ model.W_O[source, i]
        for j in range(n_heads):
            qk = model.W_Q[to_layer, j] @ model.W_K[to_layer, j].T
            later = model.W_V[to_layer, j] @ model.W_O[to_layer, j]
            right = {"Q": qk, "K": qk.T, "V": later, "V.T": later.T}[mode]
            product = right @ ov if later_first else ov @ right
            scores[i, j] = product.norm() / (ov.norm() * right.norm())
    return scores


TABLE_TRANSPOSED = (
    "Your table is transposed. Rows are the earlier heads, columns the later ones."
)


LATER_FIRST = (
    "Your product has the later head's matrix on the left. That is the paper's order, "
    "for column vectors. Here vectors are rows: what is written first stands on the "
    "left, so it is W_OV of the earlier head times the later head's matrix."
)


SQUARED = (
    "Your scores are squares. The score is a ratio of norms; if you sum squares of "
    "entries, take the root at the end."
)


OWN_LAYER = (
    "You used W_OV of the later layer. What is read was written by a head of "
    "`from_layer`."
)


ANYWHERE = (
    "Your function also scores pairs in which the reading head is not in a later "
    "layer. Such heads cannot read each other; their scores should be 0."
)
