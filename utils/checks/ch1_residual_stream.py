"""Checks, hints, known mistakes and predictions of chapter 1.

Circuits are judged by what they do. Expected values come from running a model with
hooks: with all heads but one silenced, with attention forced onto one position, with
one component standing alone in the stream.
"""

import math

import torch
from torch import Tensor

from utils.checks import Check, Choice, Mistake, Prediction, expect
from utils.handmade import random_model, with_weights

__all__ = ["CHECKS", "PREDICTIONS"]

TEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6]]
MANY_TEXTS = [[0, *range(1, 7)], [0, 12, 11, 10, 9, 8, 7], [0, 5, 5, 2, 9, 1, 12]]


def _silence_others(layer: int, head: int) -> tuple:
    """A hook that leaves only one head of a layer."""

    def keep_one(z, hook):
        kept = torch.zeros_like(z)
        kept[:, :, head] = z[:, :, head]
        return kept

    return (f"blocks.{layer}.attn.hook_z", keep_one)


def _watch(model, tokens, names, hooks=()) -> dict[str, Tensor]:
    """Activations of a run with hooks, in float64."""
    seen = {}

    def keep(name):
        return (name, lambda value, hook: seen.update({name: value.double().clone()}))

    with torch.no_grad():
        model.run_with_hooks(
            tokens, fwd_hooks=[*hooks, *(keep(name) for name in names)]
        )
    return seen


def _added_by_head(model, tokens, layer: int, head: int) -> Tensor:
    """What a layer writes while all its other heads are silent."""
    name = f"blocks.{layer}.hook_attn_out"
    return _watch(model, tokens, [name], [_silence_others(layer, head)])[name]


def _components(model, tokens) -> Tensor:
    parts = [_watch(model, tokens, ["hook_embed"])["hook_embed"]]
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            parts.append(_added_by_head(model, tokens, layer, head))
    return torch.stack(parts)


def _final_name(model) -> str:
    return f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"


# --- decompose_residual -------------------------------------------------------------


def judge_decompose_residual(answer) -> None:
    tokens = torch.tensor(TEXTS)
    for n_layers, n_heads, seed in ((2, 3, 0), (1, 5, 1)):
        model = random_model(n_layers, seed, n_heads=n_heads)
        result = answer(model, tokens)
        n = 1 + n_layers * n_heads
        parts = expect.tensor(result, component=n, batch=2, pos=7, d_model=10)
        name = _final_name(model)
        expect.close(
            parts.sum(0),
            _watch(model, tokens, [name])[name],
            "Your components do not sum to the stream after the last layer.",
        )
        expect.close(
            parts,
            _components(model, tokens),
            "The sum is right, but some component is not what that head adds when all "
            "the others of its layer are silent.",
        )


def _head_parts(model, tokens, cache) -> list[Tensor]:
    """[batch, pos, d_model] of every head, in order."""
    return [
        cache[f"blocks.{layer}.attn.hook_z"][:, :, head] @ model.W_O[layer, head]
        for layer in range(model.cfg.n_layers)
        for head in range(model.cfg.n_heads)
    ]


def _right_components(model, tokens) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    return torch.stack([cache["hook_embed"], *_head_parts(model, tokens, cache)])


def parts_by_layer(model, tokens):
    _, cache = model.run_with_cache(tokens)
    layers = range(model.cfg.n_layers)
    outs = [cache[f"blocks.{layer}.hook_attn_out"] for layer in layers]
    return torch.stack([cache["hook_embed"], *outs])


def parts_without_embedding(model, tokens):
    return _right_components(model, tokens)[1:]


def parts_with_positions(model, tokens):
    right = _right_components(model, tokens)
    positions = model.W_pos[: tokens.shape[1]].expand_as(right[0])
    return torch.cat([right[:1], positions[None], right[1:]])


def parts_embedding_last(model, tokens):
    return _right_components(model, tokens).roll(-1, dims=0)


def parts_running_total(model, tokens):
    return _right_components(model, tokens).cumsum(0)


def parts_head_major(model, tokens):
    right = _right_components(model, tokens)
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    swapped = right[1:].unflatten(0, (layers, heads)).transpose(0, 1).flatten(0, 1)
    return torch.cat([right[:1], swapped])


def parts_without_pattern(model, tokens):
    _, cache = model.run_with_cache(tokens)
    parts = [
        cache[f"blocks.{layer}.attn.hook_v"][:, :, head] @ model.W_O[layer, head]
        for layer in range(model.cfg.n_layers)
        for head in range(model.cfg.n_heads)
    ]
    return torch.stack([cache["hook_embed"], *parts])


DECOMPOSE_RESIDUAL = Check(
    name="decompose_residual",
    judge=judge_decompose_residual,
    hints=(
        "Run the model once with its cache. The embedding is in there as it is. What "
        "a head adds is its z, the weighted sum of its values, times its own W_O.",
        "The cache has `hook_embed` [batch, pos, d_model] and, for layer l, "
        "`blocks.{l}.attn.hook_z` [batch, pos, head, d_head]. `model.W_O[l]` is "
        "[head, d_head, d_model]. Keep the head axis: no sum over it.",
        "Start with `parts = [cache['hook_embed'][None]]`. For each layer append "
        "`einsum(z, model.W_O[layer], 'batch pos head d_head, head d_head d_model -> "
        "head batch pos d_model')`. Return `torch.cat(parts)`.",
    ),
    mistakes=(
        Mistake(
            "by layer",
            "You have one component per layer. The heads of a layer write on their "
            "own, and their sum is what the layer adds, so give each head its entry.",
            parts_by_layer,
        ),
        Mistake(
            "no embedding",
            "The token embedding is missing. The stream does not start at zero: the "
            "embedding is its first component.",
            parts_without_embedding,
        ),
        Mistake(
            "positions in the stream",
            "You counted the position vectors as a component. In this model they are "
            "added only to what W_Q and W_K read and never enter the stream.",
            parts_with_positions,
        ),
        Mistake(
            "embedding last",
            "The embedding is component 0; yours stands at the end.",
            parts_embedding_last,
        ),
        Mistake(
            "running total",
            "These are the stream after each component. What each component adds is "
            "the difference between two of them.",
            parts_running_total,
        ),
        Mistake(
            "head before layer",
            "The heads are in another order: yours has 1.0 right after 0.0. All heads "
            "of layer 0 come first, then those of layer 1.",
            parts_head_major,
        ),
        Mistake(
            "no attention",
            "You sent each position's own values through W_O. A head first mixes the "
            "values of all positions with its attention pattern; z holds that mixture.",
            parts_without_pattern,
        ),
    ),
    passed=(
        "Checked on models with one and two layers: the components sum to the final "
        "stream, and each head's entry is what its layer writes while all other heads "
        "of that layer are silent. It works because every layer only adds."
    ),
)


# --- logit_attribution --------------------------------------------------------------


def judge_logit_attribution(answer) -> None:
    tokens = torch.tensor(TEXTS)
    for n_layers, centred, seed in ((2, True, 2), (2, False, 3), (1, True, 4)):
        model = random_model(n_layers, seed)
        result = answer(model, tokens, centred)
        n = 1 + n_layers * model.cfg.n_heads
        found = expect.tensor(result, **{"component": n, "batch": 2, "pos-1": 6})
        what = "the logit minus the mean logit" if centred else "the logit"
        expect.close(
            found.sum(0),
            _target_logits(model(tokens).double(), tokens, centred),
            f"With centred={centred} the components should sum to {what} of the token "
            "that comes next.",
        )
        expected = [
            _target_logits(_logits_of(model, tokens, part), tokens, centred)
            for part in _components(model, tokens)
        ]
        expect.close(
            found,
            torch.stack(expected),
            "The sum is right, but some component's share is not the logit that this "
            "component gives when it stands alone in the stream.",
        )
    usual = expect.tensor(
        answer(model, tokens), **{"component": n, "batch": 2, "pos-1": 6}
    )
    expect.close(usual, found, "Without a third argument `centred` should be True.")


def _logits_of(model, tokens, part: Tensor) -> Tensor:
    """The logits when the final stream is replaced by one component."""
    alone = (_final_name(model), lambda stream, hook: part.to(stream.dtype))
    return model.run_with_hooks(tokens, fwd_hooks=[alone]).double()


def _target_logits(logits: Tensor, tokens: Tensor, centred: bool) -> Tensor:
    """Logit of the next token at every position but the last, one by one."""
    rows = []
    for row, text in zip(logits, tokens.tolist(), strict=True):
        values = [row[p, text[p + 1]] for p in range(len(text) - 1)]
        if centred:
            values = [value - row[p].mean() for p, value in enumerate(values)]
        rows.append(torch.stack(values))
    return torch.stack(rows)


def _attributed(model, tokens, centred=True, *, shift=1, ahead=0, axis=1, W_U=None):
    """The calculation with one step changed, for the known mistakes."""
    W_U = model.W_U if W_U is None else W_U
    if centred:
        W_U = W_U - W_U.mean(axis, keepdim=True)
    length = tokens.shape[1]
    targets = tokens[:, shift : length - 1 + shift]
    parts = _right_components(model, tokens)[:, :, ahead : length - 1 + ahead]
    return (parts * W_U.T[targets]).sum(-1)


def attribution_of_present(model, tokens, centred=True):
    return _attributed(model, tokens, centred, shift=0)


def attribution_uncentred(model, tokens, centred=True):
    return _attributed(model, tokens, False)


def attribution_centred_over_stream(model, tokens, centred=True):
    return _attributed(model, tokens, centred, axis=0)


def attribution_from_later(model, tokens, centred=True):
    return _attributed(model, tokens, centred, ahead=1)


def attribution_tied(model, tokens, centred=True):
    return _attributed(model, tokens, centred, W_U=model.W_E.T)


def attribution_log_probs(model, tokens, centred=True):
    parts = _right_components(model, tokens)[:, :, :-1]
    logs = (parts @ model.W_U).log_softmax(-1)
    targets = tokens[:, 1:].expand(logs.shape[:-1])
    return logs.gather(-1, targets[..., None])[..., 0]


def attribution_by_subset_mean(model, tokens, centred=True):
    raw = _attributed(model, tokens, False)
    return raw - raw.mean(0, keepdim=True) if centred else raw


LOGIT_ATTRIBUTION = Check(
    name="logit_attribution",
    judge=judge_logit_attribution,
    hints=(
        "The logit of token t is the final stream times column t of W_U. The stream is "
        "a sum, so the logit is a sum too, with one term for each component.",
        "The columns you need are those of the next tokens: "
        "`model.W_U.T[tokens[:, 1:]]` is [batch, pos-1, d_model]. For centring, "
        "subtract from every column of W_U the mean of all columns.",
        "`W_U = model.W_U - model.W_U.mean(dim=1, keepdim=True)` if centred, "
        "`columns = W_U.T[tokens[:, 1:]]`, `parts = decompose_residual(model, tokens)"
        "[:, :, :-1]`, then `(parts * columns).sum(-1)`.",
    ),
    mistakes=(
        Mistake(
            "present token",
            "You read the logit of the token that stands at each position. The model "
            "is judged on the one that comes next, `tokens[:, 1:]`.",
            attribution_of_present,
        ),
        Mistake(
            "not centred",
            "You did not centre when `centred` is True. A part that raises every logit "
            "alike changes no probability, so the mean over the vocabulary goes.",
            attribution_uncentred,
        ),
        Mistake(
            "centred over d_model",
            "You took the mean over d_model. Centring is over the vocabulary, the "
            "second axis of W_U: the mean of all its columns.",
            attribution_centred_over_stream,
        ),
        Mistake(
            "stream one too late",
            "You used the stream at p + 1 for the token at p + 1. It is predicted one "
            "position earlier, from the stream at p.",
            attribution_from_later,
        ),
        Mistake(
            "W_E for W_U",
            "You unembedded with W_E. In this model W_U is a matrix of its own and not "
            "the transpose of W_E.",
            attribution_tied,
        ),
        Mistake(
            "log probabilities",
            "You took log probabilities of each component. The softmax is not linear, "
            "so they do not add up. Logits do.",
            attribution_log_probs,
        ),
        Mistake(
            "mean over components",
            "You subtracted the mean over components. Centring subtracts the mean "
            "over the vocabulary, separately for each component.",
            attribution_by_subset_mean,
        ),
    ),
    passed=(
        "Checked with and without centring: each entry is the logit that the component "
        "gives when it alone stands in the stream, and together they give the model's "
        "logit. It works because unembedding is linear."
    ),
)


# --- ov_matrix ----------------------------------------------------------------------


def judge_ov_matrix(answer) -> None:
    for layer, head, seed, sizes in (
        (1, 2, 5, {"d_model": 10, "d_head": 4}),
        (0, 1, 6, {"d_model": 7, "d_head": 3}),
    ):
        model = random_model(2, seed, **sizes)
        size = model.cfg.d_model
        result = answer(model, layer, head)
        matrix = expect.tensor(result, source=size, destination=size)
        for source in (0, 2, 4):
            read, written = _attend_fully(model, layer, head, source)
            expect.close(
                read @ matrix,
                written,
                f"Head {layer}.{head} was made to attend only to position {source}. A "
                "row vector of the stream there, times your matrix, is not what the "
                "head writes.",
            )


def _attend_fully(model, layer: int, head: int, source: int):
    """The stream at one source and what the head writes when it sees only that."""
    tokens = torch.tensor(MANY_TEXTS)

    def stare(pattern, hook):
        fixed = torch.zeros_like(pattern)
        fixed[..., source] = 1.0
        return fixed

    hooks = [(f"blocks.{layer}.attn.hook_pattern", stare), _silence_others(layer, head)]
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.hook_attn_out"]
    seen = _watch(model, tokens, names, hooks)
    return seen[names[0]][:, source], seen[names[1]][:, -1]


def ov_transposed(model, layer, head):
    return (model.W_V[layer, head] @ model.W_O[layer, head]).T


def ov_in_paper_order(model, layer, head):
    return model.W_O[layer, head] @ model.W_V[layer, head]


def ov_swapped_indices(model, layer, head):
    return model.W_V[head, layer] @ model.W_O[head, layer]


def ov_first_layer(model, layer, head):
    return model.W_V[0, head] @ model.W_O[0, head]


def ov_whole_layer(model, layer, head):
    return (model.W_V[layer] @ model.W_O[layer]).sum(0)


def ov_full_circuit(model, layer, head):
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U


def ov_is_qk(model, layer, head):
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


OV_MATRIX = Check(
    name="ov_matrix",
    judge=judge_ov_matrix,
    hints=(
        "Follow a row vector of the stream: W_V makes it a value, and W_O writes the "
        "value back.",
        "`model.W_V[layer, head]` is [d_model, d_head] and `model.W_O[layer, head]` is "
        "[d_head, d_model]. The vector stands on the left, so W_V comes first.",
        "`FactoredMatrix(A, B)` holds the product A B without multiplying it out. "
        "Return `FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])`.",
    ),
    mistakes=(
        Mistake(
            "order of the paper",
            "The paper writes W_O W_V, for column vectors. In TransformerLens's shapes "
            "that product is [d_head, d_head] and maps values to values. Put W_V "
            "first.",
            ov_in_paper_order,
        ),
        Mistake(
            "transposed",
            "Your matrix is transposed: as it stands it acts on column vectors, as in "
            "the paper. Eigenvalues and rank would not notice. Here x @ W_OV should be "
            "what is written.",
            ov_transposed,
        ),
        Mistake(
            "head before layer",
            "You used the layer as head and the head as layer. Weights are indexed "
            "`[layer, head]`.",
            ov_swapped_indices,
        ),
        Mistake(
            "always layer 0",
            "You took this head's namesake in layer 0, whatever `layer` says.",
            ov_first_layer,
        ),
        Mistake(
            "whole layer",
            "You summed over all heads of the layer. One head is wanted here.",
            ov_whole_layer,
        ),
        Mistake(
            "full OV circuit",
            "You included W_E and W_U. That is the full OV circuit of a later chapter; "
            "here the matrix maps stream to stream.",
            ov_full_circuit,
        ),
        Mistake(
            "the QK matrix",
            "This is W_Q W_K^T, which decides where the head looks. What it moves is "
            "decided by W_V and W_O.",
            ov_is_qk,
        ),
    ),
    passed=(
        "Checked by forcing a head to attend to one position only and comparing what "
        "it writes with your matrix at work, for two sizes. W_V and W_O never act "
        "apart, so their product is all there is to know."
    ),
)


# --- qk_matrix ----------------------------------------------------------------------


def judge_qk_matrix(answer) -> None:
    for layer, head, seed, sizes in (
        (1, 2, 7, {"d_model": 10, "d_head": 4}),
        (0, 1, 8, {"d_model": 7, "d_head": 3}),
    ):
        model = random_model(2, seed, **sizes)
        size = model.cfg.d_model
        result = answer(model, layer, head)
        matrix = expect.tensor(result, query=size, key=size)
        read, scores = _read_and_scores(model, torch.tensor(MANY_TEXTS), layer, head)
        yours = read @ matrix @ read.transpose(1, 2) / math.sqrt(model.cfg.d_head)
        visible = torch.ones_like(scores, dtype=torch.bool).tril()
        expect.close(
            yours[visible],
            scores[visible],
            f"query @ matrix @ key, over sqrt(d_head), does not give the scores of "
            f"head {layer}.{head}.",
        )


def _read_and_scores(model, tokens, layer: int, head: int) -> tuple[Tensor, Tensor]:
    """What W_Q and W_K read at every position, and the model's own scores."""
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{layer}.attn.hook_attn_scores"]
    seen = _watch(model, tokens, names)
    placed = seen[names[0]] + model.W_pos[: tokens.shape[1]]
    return placed, seen[names[1]][:, head]


def qk_key_first(model, layer, head):
    return model.W_K[layer, head] @ model.W_Q[layer, head].T


def qk_small(model, layer, head):
    return model.W_Q[layer, head].T @ model.W_K[layer, head]


def qk_scaled(model, layer, head):
    matrix = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return matrix / math.sqrt(model.cfg.d_head)


def qk_swapped_indices(model, layer, head):
    return model.W_Q[head, layer] @ model.W_K[head, layer].T


def qk_whole_layer(model, layer, head):
    return (model.W_Q[layer] @ model.W_K[layer].transpose(1, 2)).sum(0)


def qk_is_ov(model, layer, head):
    return model.W_V[layer, head] @ model.W_O[layer, head]


def qk_symmetric(model, layer, head):
    return model.W_Q[layer, head] @ model.W_Q[layer, head].T


QK_MATRIX = Check(
    name="qk_matrix",
    judge=judge_qk_matrix,
    hints=(
        "A score is the dot product of a query and a key. Both are row vectors of the "
        "stream times a matrix.",
        "With q and k row vectors of the stream, the score is (q W_Q) (k W_K)^T. "
        "Multiply it out: what stands between q and k^T?",
        "Return `FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)`. "
        "The scaling stays outside.",
    ),
    mistakes=(
        Mistake(
            "key first",
            "Query and key are swapped: your rows belong to the key. Rank, norm and "
            "eigenvalues are the same, but the head would look the wrong way round.",
            qk_key_first,
        ),
        Mistake(
            "order of the paper",
            "The paper's W_Q^T W_K is [d_model, d_model] in its shapes. With "
            "TransformerLens's W_Q [d_model, d_head] the same matrix is W_Q W_K^T; "
            "yours is [d_head, d_head].",
            qk_small,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). It belongs to the scores and not to the "
            "matrix.",
            qk_scaled,
        ),
        Mistake(
            "head before layer",
            "You used the layer as head and the head as layer. Weights are indexed "
            "`[layer, head]`.",
            qk_swapped_indices,
        ),
        Mistake(
            "whole layer",
            "You summed over all heads of the layer. Each head has its own softmax, so "
            "the scores of different heads must not be mixed.",
            qk_whole_layer,
        ),
        Mistake(
            "the OV matrix",
            "This is W_V W_O, which decides what is moved. Where the head looks is "
            "decided by W_Q and W_K.",
            qk_is_ov,
        ),
        Mistake(
            "queries with queries",
            "You used W_Q on both sides. One side is the key, which W_K makes.",
            qk_symmetric,
        ),
    ),
    passed=(
        "Checked against the scores of two models, at every pair of positions that the "
        "mask leaves visible. The matrix has rank at most d_head, because it goes "
        "through d_head numbers."
    ),
)


# --- scores_from_qk -----------------------------------------------------------------


def judge_scores_from_qk(answer) -> None:
    tokens = torch.tensor(MANY_TEXTS)
    for layer, head, seed in ((1, 2, 9), (0, 1, 10)):
        model = random_model(2, seed)
        result = answer(model, tokens, layer, head)
        scores = expect.tensor(result, batch=3, query=7, key=7)
        _, real = _read_and_scores(model, tokens, layer, head)
        visible = torch.ones_like(real, dtype=torch.bool).tril()
        expect.close(
            scores.masked_fill(~visible, 0.0),
            real.masked_fill(~visible, 0.0),
            f"Your scores of head {layer}.{head} are not those inside the model.",
        )
        expect.close(
            scores,
            _dot_products(model, tokens, layer, head),
            "Where the key comes before the query your scores are right. Where it "
            "comes after, they should be what the head would score without its mask.",
        )


def _dot_products(model, tokens, layer: int, head: int) -> Tensor:
    """Every query of the model with every key, one by one."""
    names = [f"blocks.{layer}.attn.hook_{which}" for which in "qk"]
    seen = _watch(model, tokens, names)
    queries, keys = (seen[name][:, :, head] for name in names)
    root = math.sqrt(model.cfg.d_head)
    rows = [
        [[float(q @ k) / root for k in key] for q in query]
        for query, key in zip(queries, keys, strict=True)
    ]
    return torch.tensor(rows, dtype=torch.float64)


def _scores(model, tokens, layer, head, *, on="qk", scale=None, flip=False, at=None):
    """The calculation with one step changed, for the known mistakes."""
    _, cache = model.run_with_cache(tokens)
    at = layer if at is None else at
    stream = cache[f"blocks.{at}.hook_resid_pre"]
    placed = stream + model.W_pos[: tokens.shape[1]]
    query = (placed if "q" in on else stream) @ model.W_Q[layer, head]
    key = (placed if "k" in on else stream) @ model.W_K[layer, head]
    scores = query @ key.transpose(1, 2) / (scale or math.sqrt(model.cfg.d_head))
    return scores.transpose(1, 2) if flip else scores


def scores_unscaled(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=1.0)


def scores_by_d_model(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=math.sqrt(model.cfg.d_model))


def scores_by_d_head(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, scale=model.cfg.d_head)


def scores_without_positions(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, on="")


def scores_positions_on_queries(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, on="q")


def scores_flipped(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, flip=True)


def scores_masked(model, tokens, layer, head):
    scores = _scores(model, tokens, layer, head)
    hidden = torch.ones_like(scores, dtype=torch.bool).triu(1)
    return scores.masked_fill(hidden, -torch.inf)


def scores_as_pattern(model, tokens, layer, head):
    return scores_masked(model, tokens, layer, head).softmax(-1)


def scores_of_embedding(model, tokens, layer, head):
    return _scores(model, tokens, layer, head, at=0)


SCORES_FROM_QK = Check(
    name="scores_from_qk",
    judge=judge_scores_from_qk,
    hints=(
        "Three steps: take what the head reads, put it on both sides of the QK matrix, "
        "divide.",
        "The head reads `cache[f'blocks.{layer}.hook_resid_pre']` plus "
        "`model.W_pos[:n]` with n the number of positions, for queries and for keys "
        "alike.",
        "`read = cache[...] + model.W_pos[: tokens.shape[1]]`, "
        "`scores = read @ qk_matrix(model, layer, head).AB @ read.transpose(1, 2)`, "
        "divided by `math.sqrt(model.cfg.d_head)`.",
    ),
    mistakes=(
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head). The paper's formulas leave "
            "this factor out; the model does not.",
            scores_unscaled,
        ),
        Mistake(
            "scaled by sqrt(d_model)",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so "
            "the scale is sqrt(d_head).",
            scores_by_d_model,
        ),
        Mistake(
            "scaled by d_head",
            "You divided by d_head. It is its square root.",
            scores_by_d_head,
        ),
        Mistake(
            "no positions",
            "The position vectors are missing. They are not in the stream, but W_Q and "
            "W_K read the stream plus `model.W_pos`.",
            scores_without_positions,
        ),
        Mistake(
            "positions on one side",
            "You added the position vectors to the queries only. The keys get them "
            "too.",
            scores_positions_on_queries,
        ),
        Mistake(
            "key first",
            "Query and key are swapped: your first position axis is the key.",
            scores_flipped,
        ),
        Mistake(
            "masked",
            "You applied the causal mask. Here the scores before the mask are wanted, "
            "also where the key comes after the query.",
            scores_masked,
        ),
        Mistake(
            "the pattern",
            "You went on to the softmax. Here the scores before it are wanted.",
            scores_as_pattern,
        ),
        Mistake(
            "embedding instead of stream",
            "You read the embedding. A head in a later layer reads the stream before "
            "its own layer, which holds what earlier heads added.",
            scores_of_embedding,
        ),
    ),
    passed=(
        "Checked against the scores inside the model wherever its mask lets one look, "
        "and against single dot products of queries and keys elsewhere. So the matrix, "
        "the position vectors and the scale are all there is to a score."
    ),
)


# --- rotate_basis -------------------------------------------------------------------

WEIGHTS = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")


def judge_rotate_basis(answer) -> None:
    tokens = torch.tensor(TEXTS)
    for n_layers, size, seed in ((2, 10, 11), (1, 7, 12)):
        model = random_model(n_layers, seed, d_model=size)
        rotation = _orthogonal(size, seed)
        turned = with_weights(model, _seven_weights(model, answer(model, rotation)))
        name = _final_name(model)
        streams = [_watch(m, tokens, [name, "hook_embed"]) for m in (model, turned)]
        expect.close(
            turned(tokens),
            model(tokens),
            "With your weights the model's logits are different ones.",
            atol=1e-4,
        )
        expect.close(
            streams[1]["hook_embed"],
            streams[0]["hook_embed"] @ rotation.double(),
            "The logits are the same, but the embedding x of a token should have "
            "become x @ rotation.",
        )
        expect.close(
            streams[1][name],
            streams[0][name] @ rotation.double(),
            "The logits are the same, but the final stream x should have become "
            "x @ rotation.",
            atol=1e-4,
        )


def _orthogonal(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator))[0]


def _seven_weights(model, result) -> dict[str, Tensor]:
    kind = type(result).__name__
    expect.true(
        isinstance(result, dict),
        f"The result should be a dict of weights by name; yours is of type {kind}.",
    )
    names = ", ".join(WEIGHTS)
    expect.true(
        set(result) == set(WEIGHTS),
        f"The dict should have exactly the keys {names}. "
        f"Yours are {', '.join(map(str, result))}.",
    )
    checked = {}
    for name in WEIGHTS:
        shape = getattr(model, name).shape
        axes = {f"axis {i} of {name}": size for i, size in enumerate(shape)}
        checked[name] = expect.tensor(result[name], **axes).float()
    return checked


def _rotated(model, rotation, readers=None, **other):
    """All seven weights, some of them changed, for the known mistakes."""
    readers = rotation.T if readers is None else readers
    writes = {name: getattr(model, name) @ rotation for name in ("W_E", "W_pos", "W_O")}
    reads = {
        name: readers @ getattr(model, name) for name in ("W_Q", "W_K", "W_V", "W_U")
    }
    return writes | reads | other


def rotate_without_positions(model, rotation):
    return _rotated(model, rotation, W_pos=model.W_pos)


def rotate_readers_same_way(model, rotation):
    return _rotated(model, rotation, readers=rotation)


def rotate_only_writers(model, rotation):
    return _rotated(model, rotation, readers=torch.eye(len(rotation)))


def rotate_without_unembedding(model, rotation):
    return _rotated(model, rotation, W_U=model.W_U)


def rotate_without_outputs(model, rotation):
    return _rotated(model, rotation, W_O=model.W_O)


def rotate_backwards(model, rotation):
    return _rotated(model, rotation.T)


def rotate_nothing(model, rotation):
    return _rotated(model, torch.eye(len(rotation)))


def rotate_embedding_and_unembedding(model, rotation):
    same = {name: getattr(model, name) for name in ("W_pos", "W_Q", "W_K", "W_V")}
    return _rotated(model, rotation, W_O=model.W_O, **same)


ROTATE_BASIS = Check(
    name="rotate_basis",
    judge=judge_rotate_basis,
    hints=(
        "Sort the seven matrices into those that write vectors of the stream's size "
        "and those that read them. W_pos writes for W_Q and W_K.",
        "What is written has to come out rotated: multiply by the rotation on the "
        "right. What reads has to undo it first: multiply by its transpose on the "
        "left.",
        "`model.W_E @ rotation`, the same for W_pos and W_O, and "
        "`rotation.T @ model.W_Q`, the same for W_K, W_V and W_U. `@` works on "
        "[layer, head, ...] stacks as well.",
    ),
    mistakes=(
        Mistake(
            "positions left out",
            "The position vectors are not rotated. W_Q and W_K read stream plus "
            "position, so both have to be in the new basis.",
            rotate_without_positions,
        ),
        Mistake(
            "readers rotated the same way",
            "You multiplied the reading matrices by the rotation itself. They meet a "
            "rotated vector and have to undo that first, with the transpose.",
            rotate_readers_same_way,
        ),
        Mistake(
            "only the writers",
            "You rotated what is written and left the readers as they were. They would "
            "read a stream in a basis that is not theirs.",
            rotate_only_writers,
        ),
        Mistake(
            "unembedding left out",
            "W_U also reads the stream, and you left it as it was.",
            rotate_without_unembedding,
        ),
        Mistake(
            "head outputs left out",
            "W_O writes into the stream, and you left it as it was. The heads would "
            "write in the old basis and the embedding in the new one.",
            rotate_without_outputs,
        ),
        Mistake(
            "backwards",
            "The logits are right, but you rotated by the inverse: the stream became "
            "x @ rotation.T.",
            rotate_backwards,
        ),
        Mistake(
            "nothing rotated",
            "These are the old weights. Their logits are right, of course, but the "
            "stream should have become x @ rotation.",
            rotate_nothing,
        ),
        Mistake(
            "only the two ends",
            "You rotated W_E and W_U only. The heads in between also read and write "
            "the stream.",
            rotate_embedding_and_unembedding,
        ),
    ),
    passed=(
        "Checked by putting your weights into a model, for one and two layers: same "
        "logits, and a stream that is x @ rotation from the embedding to the end. "
        "Whatever writes turns by the rotation, whatever reads turns it back first."
    ),
)


# --- reparametrise_head -------------------------------------------------------------


def judge_reparametrise_head(answer) -> None:
    tokens = torch.tensor(TEXTS)
    for layer, head, pair, seed in (
        (1, 2, "ov", 13),
        (0, 1, "qk", 14),
        (1, 0, "qk", 15),
    ):
        model = random_model(2, seed)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(4, 4, generator=generator)
        change = torch.eye(4) * 1.5 + 0.4 * noise
        result = answer(model, layer, head, change, pair)
        first, second = _two_matrices(model, result, pair)
        changed = _with_head(model, layer, head, pair, first, second)
        expect.close(
            changed(tokens),
            model(tokens),
            f"With your two matrices in head {layer}.{head} (pair {pair!r}) the "
            "model's logits are different ones.",
            atol=2e-4,
        )
        what = "values" if pair == "ov" else "queries"
        name = f"blocks.{layer}.attn.hook_{what[0]}"
        old, new = (
            _watch(m, tokens, [name])[name][:, :, head] for m in (model, changed)
        )
        expect.close(
            new,
            old @ change.double(),
            f"The logits are the same, but the {what} should be the old ones times "
            "`change`.",
            atol=1e-4,
        )


def _two_matrices(model, result, pair: str) -> tuple[Tensor, Tensor]:
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    expect.true(
        isinstance(result, tuple | list) and len(result) == 2,
        f"For pair {pair!r} the result should be two matrices, {' and '.join(names)}.",
    )
    checked = []
    for name, value in zip(names, result, strict=True):
        rows, columns = getattr(model, name).shape[2:]
        axes = {f"rows of {name}": rows, f"columns of {name}": columns}
        checked.append(expect.tensor(value, **axes).float())
    return checked[0], checked[1]


def _with_head(model, layer: int, head: int, pair: str, first, second):
    """The model with two matrices of one head exchanged."""
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    weights = {name: getattr(model, name).clone() for name in names}
    weights[names[0]][layer, head] = first
    weights[names[1]][layer, head] = second
    return with_weights(model, weights)


def _pair_of(model, layer, head, pair):
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    return tuple(getattr(model, name)[layer, head] for name in names)


def head_unchanged(model, layer, head, change, pair="ov"):
    return _pair_of(model, layer, head, pair)


def head_changed_twice(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, change @ two if pair == "ov" else two @ change


def head_changed_by_transpose(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, change.T @ two if pair == "ov" else two @ change


def head_inverse_first(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    undo = torch.linalg.inv(change)
    if pair == "ov":
        return one @ undo, change @ two
    return one @ undo, two @ change.T


def head_key_not_transposed(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    undo = torch.linalg.inv(change)
    return one @ change, undo @ two if pair == "ov" else two @ undo


def head_only_first(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, two


def head_always_ov(model, layer, head, change, pair="ov"):
    undo = torch.linalg.inv(change)
    return model.W_V[layer, head] @ change, undo @ model.W_O[layer, head]


REPARAMETRISE_HEAD = Check(
    name="reparametrise_head",
    judge=judge_reparametrise_head,
    hints=(
        "Only the product counts: W_V W_O, or W_Q W_K^T. Put `change` times its "
        "inverse, which is nothing, between the two factors.",
        "W_V W_O = (W_V G) (G^-1 W_O). For the other pair write W_Q W_K^T = "
        "(W_Q G) (G^-1 W_K^T) and ask which W_K makes the second bracket.",
        '`undo = torch.linalg.inv(change)`. For "ov" return `W_V @ change, '
        'undo @ W_O`; for "qk" return `W_Q @ change, W_K @ undo.T`.',
    ),
    mistakes=(
        Mistake(
            "nothing changed",
            "These are the old matrices. The first of the two should be the old one "
            "times `change`.",
            head_unchanged,
        ),
        Mistake(
            "changed twice",
            "You multiplied both matrices by `change`. The second has to undo what the "
            "first does: use the inverse.",
            head_changed_twice,
        ),
        Mistake(
            "transpose for inverse",
            "You undid the change with its transpose. That is the inverse only of a "
            "rotation; here `change` is any invertible matrix.",
            head_changed_by_transpose,
        ),
        Mistake(
            "inverse on the first",
            "The logits are right, but you multiplied the first matrix by the inverse "
            "and the second by `change`. It should be the other way round.",
            head_inverse_first,
        ),
        Mistake(
            "key not transposed",
            'For "ov" this is right. For "qk" the score is W_Q W_K^T, and '
            "(G^-1 W_K^T) is the transpose of W_K times the transposed inverse.",
            head_key_not_transposed,
        ),
        Mistake(
            "only the first",
            "You changed only the first matrix. The second has to make up for it.",
            head_only_first,
        ),
        Mistake(
            "always OV",
            'You returned W_V and W_O also for pair "qk".',
            head_always_ov,
        ),
    ),
    passed=(
        "Checked by putting your matrices into a model, for both pairs: same logits, "
        "and values or queries that are the old ones times `change`. Only products "
        "reach the stream, so a single weight or value of a head has no meaning alone."
    ),
)


# --- head_as_tensor_product ---------------------------------------------------------


def judge_head_as_tensor_product(answer) -> None:
    for length, size, seed in ((3, 2, 16), (5, 3, 17)):
        model = random_model(1, seed, d_model=size, n_heads=1, d_head=size)
        tokens = torch.arange(length)[None]
        names = ["blocks.0.hook_resid_pre", "blocks.0.attn.hook_pattern"]
        names.append("blocks.0.hook_attn_out")
        seen = _watch(model, tokens, names)
        x, pattern, out = (seen[name][0] for name in names)
        ov = model.W_V[0, 0] @ model.W_O[0, 0]
        result = answer(pattern[0].float(), ov)
        n = length * size
        axes = {"pos*d_model": n, "pos*d_model again": n}
        matrix = expect.tensor(result, **axes)
        expect.close(
            matrix @ x.flatten(),
            out.flatten(),
            f"On {length} positions of {size} numbers your matrix times x.flatten() is "
            "not what the head adds.",
        )
        expect.close(
            matrix,
            _response(pattern[0], ov.double()),
            "The head adds something else when a single number of the stream is 1 and "
            "all others are 0.",
        )


def _response(pattern: Tensor, ov: Tensor) -> Tensor:
    """Column by column: what a head adds when one number of the stream is 1."""
    length, size = len(pattern), len(ov)
    columns = []
    for key in range(length):
        for i in range(size):
            out = [
                float(pattern[query, key]) * float(ov[i, o])
                for query in range(length)
                for o in range(size)
            ]
            columns.append(torch.tensor(out, dtype=torch.float64))
    return torch.stack(columns, dim=1)


def _kron(one: Tensor, two: Tensor) -> Tensor:
    return torch.kron(one.contiguous(), two.contiguous())


def product_not_transposed(pattern, ov):
    return _kron(pattern, ov)


def product_swapped(pattern, ov):
    return _kron(ov.T, pattern)


def product_swapped_not_transposed(pattern, ov):
    return _kron(ov, pattern)


def product_of_transposed_pattern(pattern, ov):
    return _kron(pattern.T, ov.T)


def product_as_sum(pattern, ov):
    per_position = _kron(torch.eye(len(pattern)), ov.T)
    return per_position + _kron(pattern, torch.eye(len(ov)))


def product_without_ov(pattern, ov):
    return _kron(pattern, torch.eye(len(ov)))


def product_without_pattern(pattern, ov):
    return _kron(torch.eye(len(pattern)), ov.T)


def product_of_a_view(pattern, ov):
    return torch.kron(pattern, ov.T)


def product_four_axes(pattern, ov):
    return pattern[:, :, None, None] * ov.T[None, None]


HEAD_AS_TENSOR_PRODUCT = Check(
    name="head_as_tensor_product",
    judge=judge_head_as_tensor_product,
    hints=(
        "Think of the big matrix as a grid of blocks, one block for each pair of query "
        "and key. What stands in block (query, key)?",
        "Block (query, key) is pattern[query, key] times one small matrix. It acts on "
        "a column, `M @ x.flatten()`, while ov acts on rows, so it is transposed.",
        "`torch.kron(pattern, ov.T.contiguous())`. Or "
        "`einsum(pattern, ov, 'q k, i o -> q o k i')`, then "
        "`rearrange(blocks, 'q o k i -> (q o) (k i)')`.",
    ),
    mistakes=(
        Mistake(
            "not transposed",
            "You used ov as it is. The big matrix acts on a column vector, so inside "
            "its blocks ov has to be transposed.",
            product_not_transposed,
        ),
        Mistake(
            "order swapped",
            "You put W on the left and the pattern on the right. With x.flatten() the "
            "position changes slowly and comes first, so the pattern is the left "
            "factor.",
            product_swapped,
        ),
        Mistake(
            "order swapped, not transposed",
            "The two factors are in the other order, and ov is not transposed. "
            "x.flatten() goes through the positions slowly, so the pattern is the left "
            "factor, and ov acts on rows.",
            product_swapped_not_transposed,
        ),
        Mistake(
            "pattern transposed",
            "Your pattern is transposed: the past would read from the future. Rows of "
            "the pattern are queries and stay rows.",
            product_of_transposed_pattern,
        ),
        Mistake(
            "sum instead of product",
            "You added the step across positions and the step per position. A head "
            "does one after the other, so the two matrices are multiplied.",
            product_as_sum,
        ),
        Mistake(
            "only across positions",
            "Your matrix mixes positions and leaves each vector as it is. W_OV is "
            "missing.",
            product_without_ov,
        ),
        Mistake(
            "only per position",
            "Your matrix changes each position by itself. The pattern, which moves "
            "information between positions, is missing.",
            product_without_pattern,
        ),
        Mistake(
            "kron of a view",
            "This is PyTorch and not you: torch.kron cannot read a matrix that was "
            "only transposed in place. Write `.T.contiguous()` and see whether the "
            "rest is right.",
            product_of_a_view,
        ),
        Mistake(
            "four axes",
            "You have all the right products, on four axes [query, key, out, in]. To "
            "act on x.flatten() they have to be laid out as [query out, key in].",
            product_four_axes,
        ),
    ),
    passed=(
        "Checked on a head of a model with three positions of two numbers and one with "
        "five of three, and number by number. Left factor: which position. Right "
        "factor: what happens to each vector. The two never mix."
    ),
)


# --- virtual_weight -----------------------------------------------------------------


def judge_virtual_weight(answer) -> None:
    for start, end, which, seed in (
        ((0, 2), (1, 0), "k", 18),
        ((0, 1), (1, 2), "q", 19),
        ((1, 0), (2, 1), "v", 20),
        ((0, 2), (2, 1), "k", 21),
    ):
        model = random_model(3, seed)
        result = answer(model, start, end, which)
        weight = expect.tensor(result, d_model=10, d_head=4)
        read, change = _through(model, start, end, which)
        expect.close(
            read @ weight,
            change,
            f"Head {start[0]}.{start[1]} was made to attend to each position itself. "
            f"What this adds to the {which} of head {end[0]}.{end[1]} is not the "
            "stream times your matrix.",
            atol=1e-4,
        )


def _through(model, start, end, which: str) -> tuple[Tensor, Tensor]:
    """The stream an earlier head reads, and what it changes in a later head's input.

    Layers between the two are silenced, so that only the direct way is left.
    """
    tokens = torch.tensor(MANY_TEXTS)
    hooks = [
        (f"blocks.{layer}.hook_attn_out", lambda out, hook: torch.zeros_like(out))
        for layer in range(start[0] + 1, end[0])
    ]
    layer, head = start

    def attend_to_self(pattern, hook):
        return torch.eye(pattern.shape[-1]).expand_as(pattern).clone()

    def nothing(z, hook):
        return torch.zeros_like(z)

    here = f"blocks.{layer}.attn."
    on = [(here + "hook_pattern", attend_to_self), _silence_others(layer, head)]
    off = [(here + "hook_z", nothing)]
    names = [f"blocks.{layer}.hook_resid_pre", f"blocks.{end[0]}.attn.hook_{which}"]
    with_head = _watch(model, tokens, names, hooks + on)
    without = _watch(model, tokens, names, hooks + off)
    change = (with_head[names[1]] - without[names[1]])[:, :, end[1]]
    return with_head[names[0]], change


def _reader(model, to_head, which):
    return {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[which][to_head]


def _ov(model, head):
    return model.W_V[head] @ model.W_O[head]


def weight_always_key(model, from_head, to_head, input):
    return _ov(model, from_head) @ _reader(model, to_head, "k")


def weight_q_for_k(model, from_head, to_head, input):
    other = {"q": "k", "k": "q", "v": "v"}[input]
    return _ov(model, from_head) @ _reader(model, to_head, other)


def weight_heads_swapped(model, from_head, to_head, input):
    return _ov(model, to_head) @ _reader(model, from_head, input)


def weight_without_value(model, from_head, to_head, input):
    return model.W_O[from_head] @ _reader(model, to_head, input)


def weight_ov_transposed(model, from_head, to_head, input):
    return _ov(model, from_head).T @ _reader(model, to_head, input)


def weight_reader_only(model, from_head, to_head, input):
    return _reader(model, to_head, input)


def weight_own_ov(model, from_head, to_head, input):
    return _ov(model, to_head) @ _reader(model, to_head, input)


def weight_whole_pair(model, from_head, to_head, input):
    qk = model.W_Q[to_head] @ model.W_K[to_head].T
    pair = {"q": qk, "k": qk.T, "v": _ov(model, to_head)}[input]
    return _ov(model, from_head) @ pair


VIRTUAL_WEIGHT = Check(
    name="virtual_weight",
    judge=judge_virtual_weight,
    hints=(
        "Follow a row vector: the earlier head reads it and writes something into the "
        "stream. The later head's W_Q, W_K or W_V reads that.",
        "Two steps, two matrices: first the W_OV of the earlier head, then one of "
        "`model.W_Q`, `model.W_K`, `model.W_V` of the later head.",
        '`reads = {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[input]`, then '
        "`ov_matrix(model, *from_head) @ reads[to_head]` with `to_head` a tuple.",
    ),
    mistakes=(
        Mistake(
            "always the key",
            "You used W_K whatever `input` says. A head has three inputs, and an "
            "earlier head can feed each of them.",
            weight_always_key,
        ),
        Mistake(
            "Q and K exchanged",
            'You used W_K for "q" and W_Q for "k".',
            weight_q_for_k,
        ),
        Mistake(
            "heads swapped",
            "You sent the later head's output into the earlier head. Information in "
            "the stream only moves forward through the layers.",
            weight_heads_swapped,
        ),
        Mistake(
            "without W_V",
            "You started at the earlier head's values, which gives [d_head, d_head]. "
            "Here the start is the stream that the head reads, so W_V comes in front.",
            weight_without_value,
        ),
        Mistake(
            "OV transposed",
            "The W_OV of the earlier head is transposed. A row vector goes through "
            "W_V first and then through W_O.",
            weight_ov_transposed,
        ),
        Mistake(
            "only the reader",
            "This is how the later head reads the stream. What the earlier head does "
            "before is missing.",
            weight_reader_only,
        ),
        Mistake(
            "OV of the later head",
            "You used the W_OV of the later head itself. It comes from `from_head`.",
            weight_own_ov,
        ),
        Mistake(
            "whole circuit",
            "You multiplied by the later head's whole QK or OV matrix. Here it is only "
            "the reading half: W_Q, W_K or W_V.",
            weight_whole_pair,
        ),
    ),
    passed=(
        "Checked by silencing the earlier head and measuring how the later head's "
        "query, key or value changes, with a layer in between and without one. Two "
        "heads that never meet are joined by a matrix, because both use the stream."
    ),
)


# --- feature_interference -----------------------------------------------------------


def judge_feature_interference(answer) -> None:
    corner = math.cos(math.pi / 3)
    fan = torch.tensor([[2.0, 0.0], [1.0, math.sqrt(3)], [-0.5, math.sqrt(0.75)]])
    for vectors, expected, what in (
        (3 * torch.eye(5)[:4], 0.0, "four orthogonal vectors"),
        (torch.tensor([[1.0, 2.0], [-2.0, -4.0], [0.5, 1.0]]), 1.0, "one line"),
        (fan, corner, "three directions 60 degrees apart"),
        (_uneven(), _overlap_by_hand(_uneven()), "eleven vectors in six dimensions"),
    ):
        result = expect.number(answer(vectors))
        expect.close(result, expected, f"For {what} the result is not right.")


def _uneven() -> Tensor:
    generator = torch.Generator().manual_seed(22)
    vectors = torch.randn(11, 6, generator=generator) + 0.4
    return vectors * torch.linspace(0.3, 3.0, 11)[:, None]


def _overlap_by_hand(vectors: Tensor) -> float:
    """The definition, one pair at a time."""
    rows = vectors.double().tolist()
    squares = []
    for i, one in enumerate(rows):
        for two in rows[:i]:
            dot = sum(a * b for a, b in zip(one, two, strict=True))
            lengths = math.hypot(*one) * math.hypot(*two)
            squares.append((dot / lengths) ** 2)
    return math.sqrt(sum(squares) / len(squares))


def _cosines(vectors: Tensor) -> Tensor:
    units = vectors / vectors.norm(dim=1, keepdim=True)
    return units @ units.T


def _off_diagonal(matrix: Tensor) -> Tensor:
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def interference_with_self(vectors):
    return _cosines(vectors).pow(2).mean().sqrt().item()


def interference_of_products(vectors):
    return _off_diagonal(vectors @ vectors.T).pow(2).mean().sqrt().item()


def interference_signed(vectors):
    return _off_diagonal(_cosines(vectors)).mean().item()


def interference_absolute(vectors):
    return _off_diagonal(_cosines(vectors)).abs().mean().item()


def interference_squared(vectors):
    return _off_diagonal(_cosines(vectors)).pow(2).mean().item()


def interference_of_columns(vectors):
    return _off_diagonal(_cosines(vectors.T)).pow(2).mean().sqrt().item()


def interference_centred(vectors):
    centred = vectors - vectors.mean(0)
    return _off_diagonal(_cosines(centred)).pow(2).mean().sqrt().item()


FEATURE_INTERFERENCE = Check(
    name="feature_interference",
    judge=judge_feature_interference,
    hints=(
        "Make every row one long. Then dot products are cosines, and one matrix "
        "product gives all of them.",
        "With `units` the rows divided by their lengths, `units @ units.T` holds the "
        "cosines of all pairs. Leave the diagonal out: there each vector meets itself.",
        "`different = ~torch.eye(len(units), dtype=torch.bool)`, then "
        "`cosines[different].pow(2).mean().sqrt().item()`.",
    ),
    mistakes=(
        Mistake(
            "pairs with itself",
            "You counted each vector's cosine with itself, which is always 1. Leave "
            "the diagonal out.",
            interference_with_self,
        ),
        Mistake(
            "dot products",
            "These are dot products. Longer vectors then seem to overlap more; divide "
            "each row by its length first.",
            interference_of_products,
        ),
        Mistake(
            "signs cancel",
            "You averaged the cosines themselves, and positive and negative ones "
            "cancel. Square them first.",
            interference_signed,
        ),
        Mistake(
            "mean of sizes",
            "You averaged the sizes of the cosines. Here it is the root of the mean "
            "square.",
            interference_absolute,
        ),
        Mistake(
            "no root",
            "You stopped at the mean square. Take the root, so that the result is the "
            "size of a cosine again.",
            interference_squared,
        ),
        Mistake(
            "columns",
            "You compared columns, which are the dimensions. Each row is a direction.",
            interference_of_columns,
        ),
        Mistake(
            "centred",
            "You subtracted the mean vector first. Nothing is centred here: a shared "
            "direction is part of the overlap.",
            interference_centred,
        ),
    ),
    passed=(
        "Checked on orthogonal vectors (0), on vectors of one line (1), on three "
        "directions 60 degrees apart and against pairs by hand. For random directions "
        "the result is about 1 / sqrt(d_model), which is what to compare with."
    ),
)


CHECKS = (
    DECOMPOSE_RESIDUAL,
    LOGIT_ATTRIBUTION,
    OV_MATRIX,
    QK_MATRIX,
    SCORES_FROM_QK,
    ROTATE_BASIS,
    REPARAMETRISE_HEAD,
    HEAD_AS_TENSOR_PRODUCT,
    VIRTUAL_WEIGHT,
    FEATURE_INTERFERENCE,
)

PREDICTIONS = (
    Prediction(
        name="one_head_silent",
        question=(
            "A layer has eight heads. You silence head 0.3, so that it adds nothing. "
            "What happens to what head 0.5, in the same layer, adds to the stream?"
        ),
        choices=(
            Choice(
                "It grows, because the attention of 0.3 is shared among the others.",
                "Each head has its own softmax over positions. There is no attention "
                "to share between heads.",
            ),
            Choice(
                "Nothing.",
                "Heads of one layer read the same stream and know nothing of each "
                "other. Only heads of later layers read what 0.3 wrote.",
            ),
            Choice(
                "It changes a little, through W_O, which mixes all heads.",
                "W_O looks like one big matrix, but it is a stack of one matrix per "
                "head. Multiplying the stack out gives a sum over heads.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="five_on_every_logit",
        question=(
            "A head adds 5 to the logit of every token in the vocabulary. What does "
            "this do to the model's prediction?"
        ),
        choices=(
            Choice(
                "It makes the model surer of the token it prefers.",
                "For that the difference between logits would have to grow. All of "
                "them rose alike.",
            ),
            Choice(
                "Nothing.",
                "The softmax only sees differences of logits. This is why a "
                "contribution is compared with the mean over the vocabulary.",
            ),
            Choice(
                "It makes all tokens more alike in probability.",
                "Adding a constant leaves every ratio of probabilities as it was.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="rank_of_ov",
        question=(
            "W_OV is a d_model by d_model matrix made by W_V [d_model, d_head] and "
            "W_O [d_head, d_model]. How many independent directions can it write?"
        ),
        choices=(
            Choice(
                "d_model, like any matrix of this shape.",
                "Whatever goes through the head is squeezed into d_head numbers first. "
                "What comes out cannot have more directions than that.",
            ),
            Choice(
                "At most d_head.",
                "The product goes through d_head numbers, so its rank is at most "
                "d_head. A head reads and writes a small part of the stream.",
            ),
            Choice(
                "d_head squared.",
                "d_head squared numbers describe a matrix from values to values. Here "
                "directions are counted, and there are at most d_head.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="turn_the_stream",
        question=(
            "You turn every vector of the residual stream by the same random rotation, "
            "and turn all weights with it. What is left of the picture of one "
            "embedding, number by number, and what of the logits?"
        ),
        choices=(
            Choice(
                "Both stay the same.",
                "The numbers of an embedding are its coordinates, and these depend on "
                "the basis. They all change.",
            ),
            Choice(
                "Both change.",
                "Every reader undoes the rotation before it reads, so nothing that the "
                "model computes can change.",
            ),
            Choice(
                "The numbers change, the logits stay.",
                "So dimension 17 of the stream means nothing by itself. Only "
                "directions do, and which directions the matrices read and write.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="identity_times_w",
        question=(
            "Three positions, two numbers each, laid out as six numbers, position "
            "after position. Which entries of the 6 by 6 matrix Id ⊗ W can be other "
            "than zero?"
        ),
        choices=(
            Choice(
                "Three blocks of 2 by 2 on the diagonal, all with the same numbers.",
                "Each position goes through the same W and never meets the others. "
                "This is what per position looks like.",
            ),
            Choice(
                "Only the diagonal.",
                "That would be the identity twice. W may mix the two numbers of one "
                "position, so each block is full.",
            ),
            Choice(
                "All of them.",
                "An entry far from the diagonal joins two positions. The left factor "
                "is the identity, so positions do not mix.",
            ),
            Choice(
                "Six diagonals: each number meets its partner in other positions.",
                "That is A ⊗ Id, which moves vectors across positions and leaves "
                "their numbers alone.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="twice_the_stream",
        question=(
            "Double the embedding of every token. The attention patterns are frozen: "
            "every head keeps those of the ordinary run. What happens to the logits?"
        ),
        choices=(
            Choice(
                "They double exactly.",
                "With the patterns fixed all that is left are sums and products with "
                "fixed matrices. The softmax was the only step that is not linear.",
            ),
            Choice(
                "They rise by less than double, because the softmax saturates.",
                "It would, but the softmax that makes the patterns is frozen.",
            ),
            Choice(
                "They become four times as large, because there are two layers.",
                "A second layer reads the doubled stream and adds a doubled output. "
                "Sums and products with fixed matrices never square anything.",
            ),
        ),
        right=0,
    ),
    Prediction(
        name="feeds_which_inputs",
        question=(
            "Head 0.2 writes into the stream. Which parts of head 1.4 can see it?"
        ),
        choices=(
            Choice(
                "Only its values: that is where information flows.",
                "Values are what 1.4 moves. Its queries and keys are made from the "
                "same stream, so 0.2 can also change where 1.4 looks.",
            ),
            Choice(
                "Its queries, its keys and its values, each through a matrix of its "
                "own.",
                "W_Q, W_K and W_V all read the stream. So two heads are joined by "
                "three virtual weights.",
            ),
            Choice(
                "None: head 2 feeds head 2 of the next layer.",
                "Heads with the same number have nothing to do with each other. Every "
                "head reads the one shared stream.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="twice_one_back",
        question=(
            "Head 0.0 always attends one position back, and so does head 1.0. The "
            "stream goes through 0.0 and then, as a value, through 1.0. Whose "
            "information arrives at position 7?"
        ),
        choices=(
            Choice(
                "That of position 6.",
                "1.0 fetches from position 6. But what 0.0 wrote there came from one "
                "position further back.",
            ),
            Choice(
                "That of position 5.",
                "The patterns multiply like matrices: one back times one back is two "
                "back. No head with such a pattern exists; it is a virtual head.",
            ),
            Choice(
                "An average of positions 5 and 6.",
                "Neither head averages. Each has one source, and the two steps follow "
                "one another.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="random_directions",
        question=(
            "Take 4,096 random directions in 256 dimensions. What is the typical size "
            "of the cosine between two of them?"
        ),
        choices=(
            Choice(
                "0: random directions are orthogonal.",
                "Nearly, but not exactly. At most 256 directions can be orthogonal "
                "here.",
            ),
            Choice(
                "About 0.06.",
                "It is one over the square root of the number of dimensions, 1/16. "
                "There is room for very many directions that are nearly orthogonal.",
            ),
            Choice(
                "About 0.5, because there are 16 times too many.",
                "How many there are does not matter for two random ones. Only the "
                "number of dimensions does.",
            ),
        ),
        right=1,
    ),
)
