"""Induction heads: what they do, how they do it, and how to build one by hand.

The solutions of chapter 5, importable as a library of analyses (paper.md's rows are
cited as F-.. and O-..). Rows of repeated tokens are the start token followed by a span
that occurs several times. Losses are in nats.

Over 400 lines: a chapter's solutions are one file, in which its learner looks them up.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.reach import one_key_per_head, paper_only
from utils.text.corpus import START_ID

__all__ = [
    "ablate_edge",
    "build_induction_model",
    "build_matching_head",
    "build_pointer_model",
    "build_previous_token_head",
    "copying_head_score",
    "ideal_pattern_recovery",
    "induction_heads_from_weights",
    "logit_effect",
    "prefix_matching_score",
    "previous_token_score",
    "previous_token_weights",
    "repeat_loss",
    "repeated_tokens",
    "same_matching_score",
]


def repeated_tokens(
    d_vocab: int,
    span: int,
    copies: int = 2,
    batch: int = 4,
    ids: Int[Tensor, "n"] | None = None,
    seed: int = 0,
) -> Int[Tensor, "batch pos"]:
    """Rows of random tokens that repeat: <|start|>, then one span `copies` times.

    A span has `span` **different** tokens in random order, and every row draws its own.
    They come from `ids` or, without it, from all ids below d_vocab but START_ID. The
    result has 1 + span * copies columns and holds int64. The same seed gives the same
    rows; the global random state is left alone (use torch.Generator).

    Steps: (1) rows that begin with the start token, (2) different tokens in a span, (3)
    the span repeated, another in each row.

    Example:
        >>> repeated_tokens(d_vocab=50, span=3, batch=2).shape
        torch.Size([2, 7])
        >>> repeated_tokens(50, span=1, copies=3, batch=1, ids=torch.tensor([7]))
        tensor([[0, 7, 7, 7]])

    Source: F-103, O-40.
    """
    if ids is None:
        ids = torch.tensor([i for i in range(d_vocab) if i != START_ID])
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.randperm(len(ids), generator=generator) for _ in range(batch)]
    spans = ids[torch.stack(orders)[:, :span]]
    start = torch.full((batch, 1), START_ID)
    return torch.cat([start, spans.repeat(1, copies)], dim=1)


def repeat_loss(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], span: int
) -> float:
    """Mean loss per token on everything that could be known from the first copy.

    `tokens` are the rows that `repeated_tokens` makes. What counts are the losses of
    all tokens of the second and later copies, except the very first token of the second
    copy: nothing tells that the repeat begins. The first token of a third copy counts.

    Steps: (1) the mean loss, (2) of what could be known.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> model, tokens = induction_model(), repeated_tokens(13, span=6)
        >>> round(repeat_loss(model, tokens, span=6), 3)
        0.002

    Source: F-05.

    Limits: A loss below chance is no proof of induction: knowing which tokens occurred
    gives ln((K-1)!)/(K-1) nats for K tokens.
    """
    log_probs = model(tokens).log_softmax(dim=-1)
    losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    # Column i is the loss of token i + 1, and token span + 1 opens the second copy.
    return losses[:, span + 1 :].mean().item()


def prefix_matching_score(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "layer head"]:
    """How much of its attention each head gives to the tokens induction points at.

    A query at position i points at position j if the token before j is the token at i:
    tokens[j - 1] == tokens[i], with 1 <= j <= i. For each query that points anywhere,
    **add up** the attention it gives to all positions it points at. The score is the
    mean of these sums over all such queries of all rows. Queries that point nowhere
    do not count.

    Steps: (1) one position to point at, (2) several of them added up.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> tokens = repeated_tokens(13, span=6, copies=3)
        >>> score = prefix_matching_score(induction_model(), tokens)
        >>> score.shape, round(score[1, 2].item(), 2)
        (torch.Size([2, 3]), 1.0)

    Source: O-01, O-40.

    Limits: It says where a head looks, and not why. A head that looks back a fixed
    distance scores as high at one span: take several.
    """
    _, cache = model.run_with_cache(tokens)
    targets = torch.zeros(*tokens.shape, tokens.shape[1], dtype=torch.bool)
    targets[:, :, 1:] = tokens[:, :, None] == tokens[:, None, :-1]
    targets = targets.tril()
    pointing = targets.any(dim=-1)
    scores = []
    for layer in range(model.cfg.n_layers):
        on_targets = cache["pattern", layer] * targets[:, None]
        per_query = on_targets.sum(dim=-1).transpose(1, 2)[pointing]
        scores.append(per_query.mean(dim=0))
    return torch.stack(scores)


def logit_effect(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int, head: int
) -> Float[Tensor, "batch pos-1"]:
    """What one head alone adds to the logit of the token that really comes next.

    Take the vector that the head writes to the stream at position i, and turn it into
    logits with W_U. Subtract their mean over the whole vocabulary: raising all logits
    alike changes no prediction. Entry i is what is left for tokens[:, i + 1].

    Steps: (1) the head's own logits of the next token, (2) without the mean of all
    logits.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> tokens = repeated_tokens(13, span=4, batch=1)
        >>> logit_effect(induction_model(), tokens, layer=1, head=2).round().int()
        tensor([[0, 0, 0, 0, 0, 8, 8, 8]], dtype=torch.int32)

    Source: F-102.

    Limits: A last norm is left out unless it is folded, and its scale always.
    """
    _, cache = model.run_with_cache(tokens)
    written = cache["z", layer][:, :, head] @ model.W_O[layer, head]
    logits = written @ model.W_U
    logits = logits - logits.mean(dim=-1, keepdim=True)
    return logits[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)


def copying_head_score(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int, head: int
) -> float:
    """Of what a head raises when it attends to a token, the share of that token itself.

    The rows begin with the start token, and their other tokens are all different. For
    every source position but the first:
    take the head's value vector there, as the model computes it when it reads the row;
    let it through W_O and W_U, as if the head attended to nothing else; subtract the
    mean over the whole vocabulary; keep the logits of the row's tokens (without the
    start token), and set negative ones to 0.
    The score is the sum of what each source raises its own token by, divided by the sum
    of everything that was raised, both over all sources of all rows. It is 0 if nothing
    was raised, 1 for a perfect copier and about 1/n for chance with n tokens.

    Steps: (1) the share of a token's own logit, (2) without the mean of all logits, (3)
    without what is lowered.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> tokens = repeated_tokens(13, span=10, copies=1)
        >>> round(copying_head_score(induction_model(), tokens, layer=1, head=2), 2)
        1.0

    Source: O-41.

    Limits: A last norm is left out unless it is folded.
    """
    _, cache = model.run_with_cache(tokens)
    values = cache["v", layer][:, 1:, head]
    logits = values @ model.W_O[layer, head] @ model.W_U
    logits = logits - logits.mean(dim=-1, keepdim=True)
    n_sources = logits.shape[1]
    columns = tokens[:, None, 1:].expand(-1, n_sources, -1)
    raised = logits.gather(-1, columns).clamp(min=0)
    own = raised.diagonal(dim1=1, dim2=2).sum()
    return (own / raised.sum().clamp(min=1e-12)).item()


def previous_token_score(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "layer head"]:
    """How much of its attention each head gives to the position just before.

    The mean over all rows and all positions but the first, which has none before it.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> score = previous_token_score(induction_model(), repeated_tokens(13, span=6))
        >>> score.shape, round(score[0, 1].item(), 2)
        (torch.Size([2, 3]), 1.0)

    Source: O-42.

    Limits: On repeated tokens other heads can score as well: take text.
    """
    _, cache = model.run_with_cache(tokens)
    layers = range(model.cfg.n_layers)
    patterns = torch.stack([cache["pattern", layer] for layer in layers])
    before = patterns.diagonal(offset=-1, dim1=-2, dim2=-1)
    return before.mean(dim=(1, -1))


def ideal_pattern_recovery(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    patterns: dict[tuple[int, int], Float[Tensor, "batch query key"]],
    first: int = 1,
) -> float:
    """How much of what some heads are good for is left when they attend as told.

    `patterns` gives each head, such as (1, 4), the pattern it is to use instead of its
    own; all other heads, in later layers too, react to the change. The loss is the mean
    over tokens[:, first:]. Three losses are compared: the model as it is; all named
    heads attending as told, at the same time; all of them giving 0 to every position,
    so that they write nothing. The result is

    (loss without - loss as told) / (loss without - loss as it is)

    It is 1 when the ideal patterns are as good as the real ones.

    Steps: (1) 1 for the real pattern, (2) 0 for no pattern, (3) what lies between.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> model, tokens = induction_model(), repeated_tokens(13, span=6, batch=1)
        >>> ideal = torch.eye(13).roll(-1, dims=1)[None]  # always the one before
        >>> round(ideal_pattern_recovery(model, tokens, {(0, 1): ideal}, first=8), 2)
        1.0

    Source: F-113.
    """

    def loss(factor: float | None) -> float:
        hooks = []
        for (layer, head), pattern in patterns.items():

            def attend(own, hook, head=head, pattern=pattern):
                forced = own.clone()
                forced[:, head] = factor * pattern
                return forced

            hooks.append((f"blocks.{layer}.attn.hook_pattern", attend))
        logits = model.run_with_hooks(
            tokens, fwd_hooks=hooks if factor is not None else []
        )
        log_probs = logits.log_softmax(dim=-1)
        losses = -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
        return losses[:, first - 1 :].mean().item()

    as_it_is, as_told, without = loss(None), loss(1.0), loss(0.0)
    return (without - as_told) / (without - as_it_is)


def ablate_edge(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    source_head: tuple[int, int],
    target_head: tuple[int, int],
    input: str,
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits when one head no longer sees another through one of its three inputs.

    Heads are (layer, head), the source in an earlier layer. `input` is "q", "k" or "v":
    the target's W_Q, W_K or W_V reads the stream **minus** what the source wrote. The
    target's other two inputs, all other heads and the logits still see the source. What
    comes after the target is computed anew. The model is left as it was.

    Steps: (1) the values, (2) the queries, (3) the keys.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> model, tokens = induction_model(), repeated_tokens(13, span=6, batch=1)
        >>> for edge in "qkv":
        ...     logits = ablate_edge(model, tokens, (0, 1), (1, 2), edge)
        ...     right = logits[:, 7:-1].argmax(dim=-1) == tokens[:, 8:]
        ...     print(edge, right.float().mean().item())
        q 1.0
        k 0.0
        v 1.0

    Source: F-105, O-53.

    Limits: Models with MLPs, norms or rotary positions are refused. Chapter 7 cuts
    edges in those.
    """
    layer, head = source_head
    target_layer, target = target_head
    weight = getattr(model, f"W_{input.upper()}")[target_layer, target]
    _, cache = model.run_with_cache(tokens)
    written = cache["z", layer][:, :, head] @ model.W_O[layer, head]

    def without_source(values, hook):
        kept = values.clone()
        kept[:, :, target] -= written @ weight
        return kept

    name = f"blocks.{target_layer}.attn.hook_{input}"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, without_source)])


def previous_token_weights(model: TransformerBridge) -> Float[Tensor, "head"]:
    """How far each first-layer head is a previous-token head, by its weights alone.

    Take the attention that a head of layer 0 would have if it saw position vectors and
    no tokens: the causal softmax of W_pos W_Q (W_pos W_K)^T / sqrt(d_head), for all
    positions of W_pos. The result is the mean, over positions 1, 2, ..., of the
    attention to the position just before.

    Steps: (1) scores of positions, through a softmax, (2) the scale, (3) the mask, and
    all positions.

    Example:
        >>> from utils.models.handmade import induction_model
        >>> previous_token_weights(induction_model())
        tensor([0.1112, 1.0000, 0.1112])

    Source: F-105, O-43.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    queries, keys = model.W_pos @ model.W_Q[0], model.W_pos @ model.W_K[0]
    scores = queries @ keys.mT / model.cfg.d_head**0.5
    later = torch.ones_like(scores).triu(1).bool()
    pattern = scores.masked_fill(later, -torch.inf).softmax(dim=-1)
    return pattern.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=-1)


def same_matching_score(
    model: TransformerBridge, layer: int, head: int, prev_head: int | None = None
) -> float:
    """Does the head look for a position whose token before is the head's own token?

    Read from weights alone. E is W_E with the mean of its rows subtracted from each, so
    that what is the same for all queries or for all keys does not count. The matrix
    [query token, key token] of scores that a query token gives to a key position
    through what first-layer heads wrote there is E W_QK (E W_OV)^T, where
    W_QK = W_Q W_K^T is the head's and W_OV says what the first layer moves. The score
    is the sum of its eigenvalues divided by the sum of their absolute values: 1 for
    looking for the same, 0 for no relation, -1 for avoiding the same. If all
    eigenvalues are 0, the score is 0.

    With `prev_head`, W_OV = W_V W_O is that of head 0.prev_head. Without it, it is the
    sum over all heads of layer 0, each weighted by `previous_token_weights`.

    Steps: (1) through one first-layer head, (2) through all, weighted.

    Example:
        >>> from utils.models.handmade import decoy_model, induction_model
        >>> round(same_matching_score(induction_model(), layer=1, head=2), 2)
        1.0
        >>> abs(same_matching_score(decoy_model("duplicate"), layer=1, head=2)) < 0.5
        True

    Source: F-108, F-109, O-43.

    Limits: Models with MLPs, norms or rotary positions are refused. Use
    `composition_graph` of chapter 7.
    """
    weights = previous_token_weights(model)
    if prev_head is not None:
        weights = torch.zeros_like(weights)
        weights[prev_head] = 1.0
    W_OV = (weights[:, None, None] * (model.W_V[0] @ model.W_O[0])).sum(dim=0)
    # AB and BA have the same eigenvalues but for zeros: d_head of them, not d_vocab.
    E = model.W_E - model.W_E.mean(dim=0)
    W_Q, W_K = model.W_Q[layer, head], model.W_K[layer, head]
    small = W_K.T @ W_OV.T @ (E.T @ E) @ W_Q
    eigenvalues = torch.linalg.eigvals(small.double())
    return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()


def induction_heads_from_weights(
    model: TransformerBridge, threshold: float = 0.5, least_gain: float | None = None
) -> list[tuple[int, int]]:
    """The heads that by their weights look for the same token and copy what follows.

    Three numbers have to be above the threshold. First, the largest of
    `previous_token_weights`: if no first-layer head looks one back, nobody does
    induction and the list is empty. Then, for a head from layer 1 on, its
    `same_matching_score` without a chosen `prev_head`, and its copying score, which is
    the sum of the eigenvalues of W_E W_V W_O W_U divided by the sum of their absolute
    values.

    These scores say what a head looks for, not how strongly. So its **match gain** has
    to be above `least_gain`. Take the matrix [query token, key token] of scores through
    the first layer, W_E W_QK (W_E W_OV)^T / sqrt(d_head), with the W_OV of
    `same_matching_score` and W_E as it is. The gain is the mean of its diagonal minus
    the mean of its other entries, in nats. Without `least_gain` it is log(n_ctx): what
    one match needs to outweigh n_ctx other keys.

    No text is run through the model. Returns (layer, head) pairs in order.

    Steps: (1) the head that does it, (2) none that looks elsewhere, (3) none that is
    too faint.

    Example:
        >>> from utils.models.handmade import decoy_model, induction_model
        >>> induction_heads_from_weights(induction_model())
        [(1, 2)]
        >>> induction_heads_from_weights(induction_model(matching=0.1))
        []
        >>> induction_heads_from_weights(decoy_model("duplicate"))
        []

    Source: F-109.

    Limits: Models with MLPs, norms or rotary positions are refused. It finds heads that
    work through previous-token heads of the first layer, and no other algorithm.
    """
    found = []
    weights = previous_token_weights(model)
    if weights.max() <= threshold:
        return found
    least_gain = math.log(model.cfg.n_ctx) if least_gain is None else least_gain
    W_OV = (weights[:, None, None] * (model.W_V[0] @ model.W_O[0])).sum(dim=0)
    for layer in range(1, model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            W_V, W_O = model.W_V[layer, head], model.W_O[layer, head]
            small = W_O @ (model.W_U @ model.W_E) @ W_V
            eigenvalues = torch.linalg.eigvals(small.double())
            copying = eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)
            matching = same_matching_score(model, layer, head)
            queries = model.W_E @ model.W_Q[layer, head] / model.cfg.d_head**0.5
            scores = queries @ (model.W_E @ W_OV @ model.W_K[layer, head]).T
            same = scores.diagonal().sum()
            n = len(scores)
            gain = same / n - (scores.sum() - same) / (n * n - n)
            if min(copying.item(), matching) > threshold and gain > least_gain:
                found.append((layer, head))
    return found


def build_previous_token_head(
    W_E: Float[Tensor, "d_vocab d_model"],
    W_pos: Float[Tensor, "n_ctx d_model"],
    W_prev: Float[Tensor, "d_vocab d_model"],
) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, "d_model d_model"]]:
    """W_QK and W_OV of a first-layer head that tells each position the token before it.

    The rows of W_E, W_pos and W_prev are vectors of length 1, all at right angles to
    each other, in no special direction. A query at position i scores a key at j with
    (W_E[t_i] + W_pos[i]) W_QK (W_E[t_j] + W_pos[j])^T; the softmax is taken of that,
    with nothing divided. From position 1 on, at least 0.99 of the attention must go to
    position i - 1, whatever the tokens. The value of a position holds no position
    vector, so W_OV turns W_E[t] into W_prev[t], for every token t.

    Steps: (1) W_QK looks one back, (2) W_OV moves the token.

    Example:
        >>> from utils.models.handmade import orthonormal_rows
        >>> W_E, W_pos, W_prev = orthonormal_rows(19, 20).split([6, 7, 6])
        >>> W_QK, W_OV = build_previous_token_head(W_E, W_pos, W_prev)
        >>> torch.allclose(W_E[3] @ W_OV, W_prev[3], atol=1e-5)
        True

    Source: F-105, F-151.
    """
    sharpness = 30.0
    W_QK = sharpness * W_pos[1:].T @ W_pos[:-1]
    W_OV = W_E.T @ W_prev
    return W_QK, W_OV


def build_matching_head(
    W_E: Float[Tensor, "d_vocab d_model"], W_prev: Float[Tensor, "d_vocab d_model"]
) -> tuple[Float[Tensor, "d_model d_model"], Float[Tensor, "d_model d_model"]]:
    """W_QK and W_OV of a second-layer head that finds the match and copies it.

    At position i the stream is W_E[t_i] + W_prev[t_(i-1)], thanks to the first layer;
    at position 0 it is W_E[START_ID] + W_prev[START_ID]. The rows of both matrices are
    vectors of length 1, all at right angles to each other. Scores are x_i W_QK x_j^T,
    with nothing divided; position vectors play no part. Three things are asked for:

    1. At least 0.99 of the attention of position i, added up, goes to the positions
       j <= i with t_(j-1) = t_i, if there are any.
    2. If there are none, at least 0.99 goes to position 0, which holds START_ID.
    3. W_OV turns the stream of a position into 10 W_E[t], where t is its own token, and
       that of position 0 into zero.

    Steps: (1) the match, (2) where to rest, (3) what is moved.

    Example:
        >>> from utils.models.handmade import orthonormal_rows
        >>> W_E, W_prev = orthonormal_rows(12, 20).split(6)
        >>> W_QK, W_OV = build_matching_head(W_E, W_prev)
        >>> match, other = W_E[5] + W_prev[2], W_E[2] + W_prev[5]
        >>> W_E[2] @ W_QK @ match > W_E[2] @ W_QK @ other
        tensor(True)

    Source: F-100, F-108.
    """
    sharpness = 40.0
    any_token = W_E.sum(dim=0)
    match = W_E.T @ W_prev
    rest = any_token[:, None] * W_E[START_ID]
    W_QK = sharpness * match + sharpness / 2 * rest
    moved = W_E.clone()
    moved[START_ID] = 0.0
    W_OV = 10 * moved.T @ moved
    return W_QK, W_OV


def build_induction_model(d_vocab: int, n_ctx: int) -> dict[str, Tensor]:
    """The weights of a two-layer model that continues repeats without any training.

    Returns a dict with "W_E" [d_vocab, d_model], "W_pos" [n_ctx, d_model], "W_Q", "W_K"
    and "W_V" [2, n_heads, d_model, d_head], "W_O" [2, n_heads, d_head, d_model] and
    "W_U" [d_model, d_vocab]. d_model, n_heads and d_head are yours to choose. As in all
    models of the course position vectors are added only to what W_Q and W_K read, and
    scores **are** divided by sqrt(d_head).

    On rows of `repeated_tokens`, for every span of at least 2 tokens, the likeliest
    next token must be the right one at every position from the first token of the
    second copy on, with a probability of at least one half.

    Steps: (1) weights that fit together, (2) layer 0 looks one back, (3) layer 1 looks
    behind the match, (4) the right token is the likeliest.

    Example:
        >>> from utils.models.handmade import model_from_weights
        >>> model = model_from_weights(build_induction_model(d_vocab=20, n_ctx=31))
        >>> tokens = repeated_tokens(20, span=10, copies=3)
        >>> bool((model(tokens)[:, 11:-1].argmax(dim=-1) == tokens[:, 12:]).all())
        True

    Source: F-105, F-151.
    """
    d_model = 2 * d_vocab + n_ctx
    W_E, W_prev, W_pos = torch.eye(d_model).split([d_vocab, d_vocab, n_ctx])
    heads = [
        build_previous_token_head(W_E, W_pos, W_prev),
        build_matching_head(W_E, W_prev),
    ]
    # With d_head = d_model any circuit can be written down: one factor holds it, the
    # other is the identity.
    identity = torch.eye(d_model)[None]
    W_QK = torch.stack([W_QK[None] for W_QK, _ in heads])
    W_OV = torch.stack([W_OV[None] for _, W_OV in heads])
    return {
        "W_E": W_E,
        "W_pos": W_pos,
        "W_Q": W_QK * d_model**0.5,
        "W_K": torch.stack([identity, identity]),
        "W_V": W_OV,
        "W_O": torch.stack([identity, identity]),
        "W_U": W_E.T,
    }


def build_pointer_model(d_vocab: int, n_ctx: int) -> dict[str, Tensor]:
    """The weights of a two-layer model that continues repeats by pointer arithmetic.

    The same dict as in `build_induction_model`, but for a model whose position vectors
    are added **to the stream**: W_Q, W_K, W_V and W_U all read them. A first-layer head
    fetches the *positions* of earlier copies of the current token, and the second
    layer's query asks for the positions one further on. Scores are divided by
    sqrt(d_head).

    The likeliest next token must be the right one, with a probability of at least one
    half, as in `build_induction_model`. And it must stay so when the second layer's W_K
    no longer sees what the first layer wrote: in this algorithm only the query needs
    it.

    Steps: (1) weights that fit together, (2) layer 0 finds earlier copies, (3) layer 1
    looks one further on, (4) the right token is the likeliest.

    Example:
        >>> from utils.models.handmade import model_from_weights
        >>> weights = build_pointer_model(d_vocab=20, n_ctx=31)
        >>> model = model_from_weights(weights, positions="stream")
        >>> tokens = repeated_tokens(20, span=10, copies=3)
        >>> bool((model(tokens)[:, 11:-1].argmax(dim=-1) == tokens[:, 12:]).all())
        True

    Source: F-107, F-143.
    """
    d_model = d_vocab + 2 * n_ctx
    W_E, W_pos, W_pointer = torch.eye(d_model).split([d_vocab, n_ctx, n_ctx])
    sharpness = 60.0
    # Every token matches itself too. The mask hides where that pointer leads, so at
    # this sharpness it would do no harm; without it the query keeps its length.
    same_token = sharpness * (W_E.T @ W_E - W_pos.T @ W_pos)
    fetch_position = W_pos.T @ W_pointer
    one_further = sharpness * W_pointer[:-1].T @ W_pos[1:]
    copy = 10 * W_E.T @ W_E
    identity = torch.eye(d_model).expand(2, 1, -1, -1)
    return {
        "W_E": W_E,
        "W_pos": W_pos,
        "W_Q": torch.stack([same_token[None], one_further[None]]) * d_model**0.5,
        "W_K": identity,
        "W_V": torch.stack([fetch_position[None], copy[None]]),
        "W_O": identity,
        "W_U": W_E.T,
    }


# --- on other models than the paper's -------------------------------------------------

paper_only(
    globals(),
    "previous_token_weights",
    "same_matching_score",
    "induction_heads_from_weights",
    instead="`composition_graph` of chapter 7 reads such models.",
)
paper_only(globals(), "ablate_edge", instead="Chapter 7 cuts edges in such models.")
one_key_per_head(globals(), "copying_head_score")
