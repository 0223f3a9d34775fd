"""Two layers: paths through two heads, composition, and what each order is worth.

The solutions of chapter 4, importable as a library of analyses (paper.md's rows are
cited as F-..). Everything is measured in nats or logits; layers and heads count from 0.

Over 400 lines: a chapter's solutions are one file, in which its learner looks them up.
"""

import math

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from utils.models.reach import one_key_per_head, paper_only

__all__ = [
    "composition_score",
    "cyclic_composition_score",
    "k_composition",
    "marginal_effect",
    "pattern_preserving_ablation",
    "q_composition",
    "random_composition",
    "score_path_terms",
    "term_importance",
    "two_layer_path_terms",
    "v_composition",
    "value_weighted_pattern",
    "virtual_head",
]


def two_layer_path_terms(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "term batch pos d_vocab"]:
    """The logits of a two-layer model, one entry for each path from token to logits.

    A path starts at the embedding, passes through at most one head of each layer and
    ends at W_U. Patterns are those of the whole model on these tokens. With h heads per
    layer there are 1 + 2h + h*h terms, in this order: the direct path; through one head
    of layer 0 alone (0.0, 0.1, ...); through one head of layer 1 alone (1.0, 1.1, ...);
    through two heads: first all paths that pass through 0.0 (0.0 then 1.0, 0.0 then
    1.1, ...), next all through 0.1, and so on. Nothing is centred; the sum over all
    terms is the model's logits.

    Steps: (1) the direct path, (2) paths through one head, (3) paths through two.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 4, 7, 2]])
        >>> two_layer_path_terms(random_model(2, n_heads=3), tokens).shape
        torch.Size([16, 1, 4, 13])

    Source: F-81.

    Limits: Models with MLPs, norms or rotary positions are refused. It reads the first
    two layers.
    """
    _, cache = model.run_with_cache(tokens)

    def through_heads(layer: int, terms: Tensor) -> Tensor:
        values = einsum(
            terms,
            model.W_V[layer],
            "term batch key d_model, head d_model d_head -> term head batch key d_head",
        )
        mixed = einsum(
            cache["pattern", layer],
            values,
            "batch head query key, term head batch key d_head "
            "-> term head batch query d_head",
        )
        written = einsum(
            mixed,
            model.W_O[layer],
            "term head batch pos d_head, head d_head d_model "
            "-> term head batch pos d_model",
        )
        return rearrange(written, "term head ... -> (term head) ...")

    direct = cache["hook_embed"][None]
    first = through_heads(0, direct)
    second = through_heads(1, direct)
    both = through_heads(1, first)
    return torch.cat([direct, first, second, both]) @ model.W_U


def virtual_head(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    from_head: tuple[int, int],
    to_head: tuple[int, int],
) -> tuple[Float[Tensor, "batch query key"], FactoredMatrix]:
    """The pattern and the OV matrix of two heads in a row, as if they were one head.

    Heads are pairs (layer, head), `to_head` in a later layer. The pattern says from
    which positions the pair moves something to which; each of its rows sums to 1. The
    OV matrix is a FactoredMatrix [d_model, d_model] that acts on row vectors, as each
    head's own W_OV = W_V W_O does. Patterns are those of the model on these tokens.

    Steps: (1) the pattern of both, (2) the OV matrix of both.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> model = previous_token_model({(0, 1): 1, (1, 0): 1})
        >>> pattern, ov = virtual_head(model, torch.tensor([[0, 4, 2]]), (0, 1), (1, 0))
        >>> pattern[0].round(decimals=3) + 0.0
        tensor([[1., 0., 0.],
                [1., 0., 0.],
                [1., 0., 0.]])

    Source: F-25, F-130.
    """
    _, cache = model.run_with_cache(tokens)
    (layer_1, head_1), (layer_2, head_2) = from_head, to_head
    first = cache["pattern", layer_1][:, head_1]
    second = cache["pattern", layer_2][:, head_2]
    ov_1 = FactoredMatrix(model.W_V[from_head], model.W_O[from_head])
    ov_2 = FactoredMatrix(model.W_V[to_head], model.W_O[to_head])
    return second @ first, ov_1 @ ov_2


def score_path_terms(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], head: int
) -> Float[Tensor, "query_part key_part batch query key"]:
    """The attention scores of a head of layer 1, split by where both sides come from.

    On the side of the query as on that of the key, what the head reads is a sum of
    h + 2 parts, in this order: the token embedding, the position vector `model.W_pos`,
    and what each head of layer 0 wrote (0.0, 0.1, ...). Entry (i, j) is the score of
    query part i with key part j, divided by sqrt(d_head). There is no mask: where the
    key comes after the query, the entry is as if the head could see ahead. The sum over
    all (h + 2) * (h + 2) entries is the score before mask and softmax.

    Steps: (1) embedding with embedding, but for a factor, (2) all parts with all, (3)
    the scale.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 4, 7, 2]])
        >>> score_path_terms(random_model(2, n_heads=3), tokens, head=1).shape
        torch.Size([5, 5, 1, 4, 4])

    Source: F-82, F-83.

    Limits: Models with MLPs, norms or rotary positions are refused. It reads the first
    two layers.
    """
    _, cache = model.run_with_cache(tokens)
    written = einsum(
        cache["z", 0],
        model.W_O[0],
        "batch pos head d_head, head d_head d_model -> head batch pos d_model",
    )
    embedding = cache["hook_embed"]
    position = model.W_pos[: tokens.shape[1]].expand_as(embedding)
    parts = torch.cat([embedding[None], position[None], written])
    scores = einsum(
        parts @ model.W_Q[1, head],
        parts @ model.W_K[1, head],
        "query_part batch query d_head, key_part batch key d_head "
        "-> query_part key_part batch query key",
    )
    return scores / math.sqrt(model.cfg.d_head)


def composition_score(first: FactoredMatrix, second: FactoredMatrix) -> float:
    """How much of what one matrix writes the next one reads, between 0 and 1.

    Both are FactoredMatrix [d_model, d_model] and act on row vectors: `first` is what
    the earlier head writes, `second` what reads it. The result is the Frobenius norm of
    their product, divided by the Frobenius norms of both. No baseline is subtracted. If
    one of the two is all zero, the score is 0.

    Steps: (1) the norm of the product, (2) divided by both norms, (3) 0 where one is 0.

    Example:
        >>> first = FactoredMatrix(torch.tensor([[1.0], [0.0]]), torch.ones(1, 2))
        >>> second = FactoredMatrix(torch.ones(2, 1), torch.tensor([[0.0, 3.0]]))
        >>> round(composition_score(first, second), 4)
        1.0

    Source: F-85.
    """
    sizes = first.AB.norm() * second.AB.norm()
    if sizes == 0:
        return 0.0
    return ((first @ second).AB.norm() / sizes).item()


def q_composition(
    model: TransformerBridge, from_layer: int = 0, to_layer: int = 1
) -> Float[Tensor, "from_head to_head"]:
    """Q-composition: how much later heads' queries read what earlier heads write.

    Entry (i, j) is the composition score of W_OV of head i of `from_layer` with W_QK of
    head j of `to_layer`, which reads it on the side of its query. Unless `from_layer`
    comes before `to_layer`, nothing can be read, and all entries are 0. No text is run
    through the model.

    Steps: (1) the scores of all pairs, (2) 0 between other layers.

    Example:
        >>> from utils.models.handmade import random_model
        >>> q_composition(random_model(2, n_heads=3)).shape
        torch.Size([3, 3])

    Source: F-80, F-85.

    Limits: Compare with `random_composition`: what is not there by chance may still be
    worth nothing. Norms are left out unless they are folded into the weights.
    """
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            ov = FactoredMatrix(model.W_V[from_layer, i], model.W_O[from_layer, i])
            qk = FactoredMatrix(model.W_Q[to_layer, j], model.W_K[to_layer, j].T)
            scores[i, j] = composition_score(ov, qk)
    return scores


def k_composition(
    model: TransformerBridge, from_layer: int = 0, to_layer: int = 1
) -> Float[Tensor, "from_head to_head"]:
    """K-composition: how much later heads' keys read what earlier heads write.

    Entry (i, j) is the composition score of W_OV of head i of `from_layer` with W_QK of
    head j of `to_layer`, which reads it on the side of its key. Unless `from_layer`
    comes before `to_layer`, all entries are 0. No text is run through the model.

    Steps: (1) the scores of all pairs, (2) 0 between other layers.

    Example:
        >>> from utils.models.handmade import random_model
        >>> k_composition(random_model(2, n_heads=3), from_layer=1, to_layer=1).sum()
        tensor(0.)

    Source: F-80, F-85.

    Limits: Compare with `random_composition`: what is not there by chance may still be
    worth nothing. Norms are left out unless they are folded into the weights.
    """
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            ov = FactoredMatrix(model.W_V[from_layer, i], model.W_O[from_layer, i])
            kq = FactoredMatrix(model.W_K[to_layer, j], model.W_Q[to_layer, j].T)
            scores[i, j] = composition_score(ov, kq)
    return scores


def v_composition(
    model: TransformerBridge, from_layer: int = 0, to_layer: int = 1
) -> Float[Tensor, "from_head to_head"]:
    """V-composition: how much later heads' values read what earlier heads write.

    Entry (i, j) is the composition score of W_OV of head i of `from_layer` with W_OV of
    head j of `to_layer`. Unless `from_layer` comes before `to_layer`, all entries are
    0. No text is run through the model.

    Steps: (1) the scores of all pairs, (2) 0 between other layers.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> v_composition(previous_token_model({(0, 1): 1, (1, 0): 1}))
        tensor([[0.0000, 0.0000, 0.0000],
                [0.3780, 0.0000, 0.0000],
                [0.0000, 0.0000, 0.0000]])

    Source: F-80, F-85.

    Limits: Compare with `random_composition`: what is not there by chance may still be
    worth nothing. Norms are left out unless they are folded into the weights.
    """
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            earlier = FactoredMatrix(model.W_V[from_layer, i], model.W_O[from_layer, i])
            later = FactoredMatrix(model.W_V[to_layer, j], model.W_O[to_layer, j])
            scores[i, j] = composition_score(earlier, later)
    return scores


def random_composition(
    d_model: int, d_head: int, n_samples: int = 200, seed: int = 0
) -> Float[Tensor, "sample"]:
    """Composition scores of pairs of random heads: the floor, and how far it spreads.

    Each sample has its own two matrices, and each of these is a product of two factors,
    [d_model, d_head] times [d_head, d_model], as W_OV and W_QK are. All entries of all
    four factors are independent draws from a normal distribution with mean 0. Which of
    Q-, K- or V-composition is meant makes no difference. The same seed gives the same
    samples.

    Steps: (1) one number for each sample, (2) scores of random heads, (3) the seed.

    Example:
        >>> floor = random_composition(d_model=64, d_head=8)
        >>> bool((floor.mean() - 1 / 64**0.5).abs() < 0.003), floor.std() < 0.02
        (True, tensor(True))

    Source: F-85.
    """
    generator = torch.Generator().manual_seed(seed)

    def random_head() -> FactoredMatrix:
        tall = torch.randn(d_model, d_head, generator=generator)
        wide = torch.randn(d_head, d_model, generator=generator)
        return FactoredMatrix(tall, wide)

    scores = [composition_score(random_head(), random_head()) for _ in range(n_samples)]
    return torch.tensor(scores)


def cyclic_composition_score(
    model: TransformerBridge, from_layer: int = 0, to_layer: int = 1
) -> Float[Tensor, "from_head to_head"]:
    """What the paper's first composition figure showed in place of K-composition.

    A library moved the last factor to the front, which is allowed under a trace and not
    under a norm. Its numerator was the norm of W_K W_O W_V W_Q^T, in the notation of
    the paper: W_K and W_Q of the later head, W_O and W_V of the earlier one, all as
    [d_head, d_model] (W_O as [d_model, d_head]). TransformerLens keeps each of the four
    transposed. The denominator is that of the true K-composition: the norm of W_OV
    times the norm of W_QK. Unless `from_layer` comes before `to_layer`, all entries are
    0. No head is all zero. No text is run through the model.

    Steps: (1) the scores of all pairs, (2) 0 between other layers.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model = random_model(2, n_heads=3)
        >>> k_composition(model)[0, :2], cyclic_composition_score(model)[0, :2]
        (tensor([0.2519, 0.2002]), tensor([0.1789, 0.0930]))

    Source: F-87.

    Limits: It is the published mistake, to be compared with `k_composition`.
    """
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            W_V, W_O = model.W_V[from_layer, i], model.W_O[from_layer, i]
            W_Q, W_K = model.W_Q[to_layer, j], model.W_K[to_layer, j]
            cycle = W_K.T @ W_O.T @ W_V.T @ W_Q
            scores[i, j] = cycle.norm() / ((W_V @ W_O).norm() * (W_Q @ W_K.T).norm())
    return scores


def term_importance(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "order"]:
    """How many nats the paths through 0, 1, 2, ... heads take off the loss.

    The loss is the mean over all predicted tokens: columns 1 and later of every row.
    All attention patterns stay those of the whole model on these tokens. Entry 0 is the
    loss of a uniform guess, log(d_vocab), minus the loss of the direct path alone.
    Entry n is the loss with all paths through fewer than n heads minus the loss when
    the paths through exactly n heads are added. There is one entry for each order from
    0 to the number of layers, and their sum is log(d_vocab) minus the model's loss.

    Steps: (1) the direct path, (2) paths through one head, (3) paths through more.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> tokens = torch.tensor([[0, 4, 2, 6, 1]])
        >>> term_importance(previous_token_model(), tokens)[:2]
        tensor([0., 0.])

    Source: F-120, F-121.

    Limits: Models with MLPs, norms or rotary positions are refused. With patterns held
    it says nothing about what heads are worth to later patterns.
    """
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    layers = range(model.cfg.n_layers)
    following = tokens[:, 1:, None]
    losses = [math.log(model.cfg.d_vocab)]
    added = [torch.zeros_like(embed) for _ in layers]
    for _ in range(model.cfg.n_layers + 1):
        stream, outputs = embed, []
        for layer in layers:
            values = einsum(
                stream,
                model.W_V[layer],
                "batch key d_model, head d_model d_head -> batch head key d_head",
            )
            mixed = cache["pattern", layer] @ values
            outputs.append(
                einsum(
                    mixed,
                    model.W_O[layer],
                    "batch head pos d_head, head d_head d_model -> batch pos d_model",
                )
            )
            # What the previous pass computed: paths through one head less.
            stream = stream + added[layer]
        log_probs = (stream[:, :-1] @ model.W_U).log_softmax(dim=-1)
        losses.append(-log_probs.gather(-1, following).mean().item())
        added = outputs
    losses = torch.tensor(losses)
    return losses[:-1] - losses[1:]


def marginal_effect(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    heads: list[tuple[int, int]],
    given: list[tuple[int, int]] = (),
) -> float:
    """How many nats some heads take off the loss when some others are there already.

    Heads are pairs (layer, head). Only paths through at most one head count: the direct
    path is always there, each head reads nothing but the embedding, and what it writes
    goes straight to the logits. Patterns are those of the whole model on these tokens.
    The result is the loss with the heads `given` minus the loss with those and `heads`;
    a head that is in both lists counts once. The loss is the mean over all predicted
    tokens.

    Steps: (1) heads by themselves, (2) when others are there.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> model = previous_token_model({(0, 1): 1})
        >>> marginal_effect(model, torch.tensor([[0, 4, 2, 6]]), [(0, 1)])
        0.0

    Source: F-122.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]

    def loss_with(chosen: set[tuple[int, int]]) -> float:
        stream = embed
        for layer, head in chosen:
            moved = cache["pattern", layer][:, head] @ embed
            stream = stream + moved @ model.W_V[layer, head] @ model.W_O[layer, head]
        log_probs = (stream[:, :-1] @ model.W_U).log_softmax(dim=-1)
        return -log_probs.gather(-1, tokens[:, 1:, None]).mean().item()

    return loss_with(set(given)) - loss_with(set(given) | set(heads))


def pattern_preserving_ablation(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    heads: list[tuple[int, int]],
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits without some heads, while every head goes on attending as before.

    Heads are pairs (layer, head). What each of them adds to the stream is replaced by
    zero. All attention patterns are forced to be those of the whole model on these
    tokens; everything else, such as the values that later heads read, follows from what
    is left. The model is left as it was.

    Steps: (1) no head left out, (2) a head of the last layer, (3) an earlier head,
    while patterns stay.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model, tokens = random_model(2), torch.tensor([[0, 4, 7, 2]])
        >>> nothing = pattern_preserving_ablation(model, tokens, heads=[])
        >>> torch.allclose(nothing, model(tokens), atol=1e-5)
        True

    Source: O-30, F-123.
    """
    _, cache = model.run_with_cache(tokens)

    def as_before(pattern, hook):
        return cache["pattern", hook.layer()]

    def without_heads(z, hook):
        kept = z.clone()
        kept[:, :, [head for layer, head in heads if layer == hook.layer()]] = 0.0
        return kept

    hooks = []
    for layer in range(model.cfg.n_layers):
        hooks.append((f"blocks.{layer}.attn.hook_pattern", as_before))
        hooks.append((f"blocks.{layer}.attn.hook_z", without_heads))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def value_weighted_pattern(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int, head: int
) -> Float[Tensor, "batch query key"]:
    """A head's attention pattern, each entry times how much there is to be moved.

    The weight of query q on key k is multiplied by the norm of the head's value vector
    at k, x_k W_V with d_head numbers. Rows are not normalised again, so they do not sum
    to 1.

    Steps: (1) the pattern, where all values have one size, (2) times the size of each
    key's value.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> model = previous_token_model({(0, 1): 1})
        >>> value_weighted_pattern(model, torch.tensor([[0, 4, 2]]), 0, 0)[0]
        tensor([[0., 0., 0.],
                [0., 0., 0.],
                [0., 0., 0.]])

    Source: F-89.

    Limits: Compare weights within a head: the size of a value depends on how a head
    splits its work between W_V and W_O.
    """
    _, cache = model.run_with_cache(tokens)
    sizes = cache["v", layer][:, :, head].norm(dim=-1)
    return cache["pattern", layer][:, head] * sizes[:, None, :]


# --- on other models than the paper's -------------------------------------------------

paper_only(
    globals(),
    "two_layer_path_terms",
    "score_path_terms",
    "term_importance",
    "marginal_effect",
)
one_key_per_head(
    globals(),
    "virtual_head",
    "q_composition",
    "k_composition",
    "v_composition",
    "cyclic_composition_score",
    "value_weighted_pattern",
)
