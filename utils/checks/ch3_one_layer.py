"""Checks, hints, known mistakes and predictions of chapter 3.

Circuits are judged by what they do. Expected values come from running a model: with
all heads but one silenced, with position vectors or embeddings set to zero, with one
token changed in a context.
"""

import math

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from utils.checks import Check, Choice, Mistake, Prediction, expect
from utils.handmade import random_model, with_weights

__all__ = ["CHECKS", "PREDICTIONS"]

TEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6]]


def _only(layer: int | None, head: int | None, n_layers: int) -> list[tuple]:
    """Hooks that silence every head of the model but one; None silences all."""

    def hook_for(own_layer):
        def silence(z, hook):
            kept = torch.zeros_like(z)
            if own_layer == layer:
                kept[:, :, head] = z[:, :, head]
            return kept

        return (f"blocks.{own_layer}.attn.hook_z", silence)

    return [hook_for(own_layer) for own_layer in range(n_layers)]


def _logits(model, tokens, hooks=()) -> Tensor:
    with torch.no_grad():
        return model.run_with_hooks(tokens, fwd_hooks=list(hooks)).double()


def _seen(model, tokens, name, hooks=()) -> Tensor:
    """One activation of a run with hooks, in float64."""
    seen = {}
    keep = (name, lambda value, hook: seen.update({name: value.double().clone()}))
    with torch.no_grad():
        model.run_with_hooks(tokens, fwd_hooks=[*hooks, keep])
    return seen[name]


def _ov_by_running(model, layer: int, head: int) -> Tensor:
    """[source, out]: each token attends to itself alone, all other heads are silent."""
    tokens = torch.arange(model.cfg.d_vocab)[:, None]
    n_layers = model.cfg.n_layers
    with_head = _logits(model, tokens, _only(layer, head, n_layers))
    without = _logits(model, tokens, _only(None, None, n_layers))
    return (with_head - without)[:, 0]


def _scores_by_running(model, layer: int, head: int) -> Tensor:
    """[query, key]: the scores of every pair of tokens, with no position vectors."""
    bare = with_weights(model, {"W_pos": torch.zeros_like(model.W_pos)})
    n = model.cfg.d_vocab
    pairs = torch.cartesian_prod(torch.arange(n), torch.arange(n))
    tokens = pairs.flip(1)  # the key stands first, the query sees it
    name = f"blocks.{layer}.attn.hook_attn_scores"
    scores = _seen(bare, tokens, name, _only(None, None, model.cfg.n_layers))
    return scores[:, head, 1, 0].view(n, n)


class _Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made meanwhile."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        many = result if isinstance(result, tuple | list) else [result]
        sizes = [each.numel() for each in many if isinstance(each, Tensor)]
        self.numel = max([self.numel, *sizes])
        return result


# --- frozen_pattern_logits ----------------------------------------------------------


def judge_frozen_pattern_logits(answer) -> None:
    ids = torch.tensor(TEXTS)
    model = random_model(1, seed=0)
    one_hot = torch.nn.functional.one_hot(ids, 13).float()
    pattern = _seen(model, ids, "blocks.0.attn.hook_pattern").float()
    logits = expect.tensor(answer(model, one_hot, pattern), batch=2, pos=7, d_vocab=13)
    expect.close(
        logits,
        _logits(model, ids),
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
    return _logits(model, torch.zeros(mixed.shape[:2], dtype=torch.int64), hooks)


def _frozen(model, tokens, pattern, *, direct=True, placed=False):
    stream = tokens @ model.W_E
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


def frozen_normalised(model, tokens, pattern):
    return _frozen(model, tokens, pattern / pattern.sum(-1, keepdim=True))


def frozen_transposed(model, tokens, pattern):
    return _frozen(model, tokens, pattern.transpose(-2, -1))


def frozen_mean_of_heads(model, tokens, pattern):
    return _frozen(model, tokens, pattern / model.cfg.n_heads)


FROZEN_PATTERN_LOGITS = Check(
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
        ),
        Mistake(
            "positions in the values",
            "You added the position vectors to what W_V reads. In this model only W_Q "
            "and W_K see them.",
            frozen_with_positions,
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
        ),
        Mistake(
            "mean over heads",
            "You averaged over the heads. Their outputs are added up.",
            frozen_mean_of_heads,
        ),
    ),
    passed=(
        "Checked against the model itself, and with made-up mixtures of tokens and a "
        "made-up pattern put into the model by hooks. The softmax over scores is the "
        "only thing in this model that is not linear, and the pattern is its result."
    ),
)


# --- one_layer_path_terms -----------------------------------------------------------


def judge_one_layer_path_terms(answer) -> None:
    tokens = torch.tensor(TEXTS)
    for n_heads, d_vocab, seed in ((3, 13, 0), (5, 14, 1)):
        model = random_model(1, seed, n_heads=n_heads, d_vocab=d_vocab)
        result = answer(model, tokens)
        sizes = {"path": 1 + n_heads, "batch": 2, "pos": 7, "d_vocab": d_vocab}
        terms = expect.tensor(result, **sizes)
        expect.close(
            terms.sum(0),
            _logits(model, tokens),
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
    direct = _logits(model, tokens, _only(None, None, 1))
    heads = [
        _logits(model, tokens, _only(0, head, 1)) - direct
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


def terms_without_direct(model, tokens):
    return _terms(model, tokens)[1:]


def terms_as_log_probs(model, tokens):
    return _terms(model, tokens).log_softmax(-1)


ONE_LAYER_PATH_TERMS = Check(
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
        ),
        Mistake(
            "direct path in every path",
            "Each of your head paths has the direct path in it. A path through a head "
            "begins with what the head adds.",
            terms_with_direct_each,
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


# --- full_ov_circuit ----------------------------------------------------------------


def judge_full_ov_circuit(answer) -> None:
    for n_layers, layer, head, seed in ((1, 0, 1, 0), (2, 1, 2, 1)):
        model = random_model(n_layers, seed, d_vocab=13)
        result = answer(model, layer, head)
        circuit = expect.tensor(result, source=13, out=13)
        expect.close(
            circuit,
            _ov_by_running(model, layer, head),
            "Row s should be what the head adds to the logits when all its attention "
            "is on token s.",
            atol=1e-4,
        )


def ov_transposed(model, layer, head):
    return _ov(model, layer, head).T


def _ov(model, layer, head) -> Tensor:
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_U


def ov_without_vocabulary(model, layer, head):
    return model.W_V[layer, head] @ model.W_O[layer, head]


def ov_matrix_transposed(model, layer, head):
    ov = model.W_V[layer, head] @ model.W_O[layer, head]
    return model.W_E @ ov.T @ model.W_U


def ov_tied(model, layer, head):
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_E.T


def ov_with_direct(model, layer, head):
    return _ov(model, layer, head) + model.W_E @ model.W_U


def ov_of_layer_0(model, layer, head):
    return _ov(model, 0, head)


def ov_scaled(model, layer, head):
    return _ov(model, layer, head) / model.cfg.d_head**0.5


FULL_OV_CIRCUIT = Check(
    name="full_ov_circuit",
    judge=judge_full_ov_circuit,
    hints=(
        "Follow one source token through the head to the logits: embedding, value, "
        "output, unembedding.",
        "`ov_matrix(model, layer, head)` of chapter 1 is W_V W_O as a FactoredMatrix "
        "with factors `.A` and `.B`. Put W_E in front of one factor and W_U behind "
        "the other.",
        "`return FactoredMatrix(model.W_E @ model.W_V[layer, head], "
        "model.W_O[layer, head] @ model.W_U)`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your circuit is transposed. Rows are source tokens and columns are output "
            "tokens; the paper writes it the other way round.",
            ov_transposed,
        ),
        Mistake(
            "no vocabulary",
            "This is W_V W_O, which leads from the stream to the stream. The full "
            "circuit begins at tokens and ends at logits.",
            ov_without_vocabulary,
        ),
        Mistake(
            "order of the paper",
            "W_V and W_O are the wrong way round. TransformerLens multiplies on the "
            "right: first W_V, then W_O.",
            ov_matrix_transposed,
        ),
        Mistake(
            "tied weights",
            "You unembedded with W_E. In this model W_U is a matrix of its own.",
            ov_tied,
        ),
        Mistake(
            "with the direct path",
            "The direct path W_E W_U is in it. That is another path of the model; the "
            "circuit holds only what the head adds.",
            ov_with_direct,
        ),
        Mistake(
            "layer 0",
            "You took the head from layer 0. Use the layer you are given.",
            ov_of_layer_0,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). That belongs to attention scores; what a "
            "head writes is not scaled.",
            ov_scaled,
        ),
    ),
    passed=(
        "Checked against the model: every token attending to itself alone, all other "
        "heads silent. Whatever the pattern, the head's effect on the logits is a "
        "weighted mean of rows of this matrix."
    ),
)


# --- full_qk_circuit ----------------------------------------------------------------


def judge_full_qk_circuit(answer) -> None:
    for n_layers, layer, head, seed in ((1, 0, 1, 0), (2, 1, 2, 1)):
        model = random_model(n_layers, seed, d_vocab=11, n_ctx=14)
        result = answer(model, layer, head)
        circuit = expect.tensor(result, query=11, key=11)
        expect.close(
            circuit,
            _scores_by_running(model, layer, head) * model.cfg.d_head**0.5,
            "Entry [q, k] should be the score that token q gives to token k in a model "
            "without position vectors, times sqrt(d_head).",
            atol=1e-4,
        )


def _qk(model, layer, head) -> Tensor:
    qk = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return model.W_E @ qk @ model.W_E.T


def qk_transposed(model, layer, head):
    return _qk(model, layer, head).T


def qk_scaled(model, layer, head):
    return _qk(model, layer, head) / model.cfg.d_head**0.5


def qk_with_unembedding(model, layer, head):
    qk = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return model.W_E @ qk @ model.W_U


def qk_without_vocabulary(model, layer, head):
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


def qk_softmax(model, layer, head):
    return (_qk(model, layer, head) / model.cfg.d_head**0.5).softmax(-1)


def qk_of_layer_0(model, layer, head):
    return _qk(model, 0, head)


def qk_centred(model, layer, head):
    circuit = _qk(model, layer, head)
    return circuit - circuit.mean(1, keepdim=True)


FULL_QK_CIRCUIT = Check(
    name="full_qk_circuit",
    judge=judge_full_qk_circuit,
    hints=(
        "A score is a query vector times a key vector. Both come from tokens: "
        "embedding, then W_Q or W_K.",
        "`qk_matrix(model, layer, head)` of chapter 1 is W_Q W_K^T as a FactoredMatrix "
        "with factors `.A` and `.B`. Tokens enter on both sides, so W_E is needed "
        "twice, once transposed.",
        "`return FactoredMatrix(model.W_E @ model.W_Q[layer, head], "
        "model.W_K[layer, head].T @ model.W_E.T)`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Query and key are swapped. Rows are query (destination) tokens, columns "
            "key (source) tokens.",
            qk_transposed,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). This circuit is kept without the scale, as "
            "the paper writes it; the scale comes in when a score is computed.",
            qk_scaled,
        ),
        Mistake(
            "unembedding",
            "You used W_U on the key side. Keys are tokens of the text, so they enter "
            "through W_E as well.",
            qk_with_unembedding,
        ),
        Mistake(
            "no vocabulary",
            "This is W_Q W_K^T, between two places of the stream. The full circuit is "
            "between two tokens.",
            qk_without_vocabulary,
        ),
        Mistake(
            "softmax",
            "You took a softmax over all tokens. The circuit holds scores; a softmax "
            "runs over the tokens of a text, not over the vocabulary.",
            qk_softmax,
        ),
        Mistake(
            "layer 0",
            "You took the head from layer 0. Use the layer you are given.",
            qk_of_layer_0,
        ),
        Mistake(
            "centred",
            "You subtracted each row's mean. That comes later; here the scores are "
            "kept as they are.",
            qk_centred,
        ),
    ),
    passed=(
        "Checked against the scores inside a model whose position vectors were set to "
        "zero, for every pair of tokens. All that a head knows of two tokens when it "
        "decides where to look is one entry of this matrix."
    ),
)


# --- positional_pattern -------------------------------------------------------------


def judge_positional_pattern(answer) -> None:
    for n_layers, layer, head, length, seed in ((1, 0, 1, 6, 0), (2, 1, 2, 9, 1)):
        model = random_model(n_layers, seed, n_ctx=12)
        result = answer(model, layer, head, length)
        pattern = expect.tensor(result, query=length, key=length)
        expect.close(
            pattern.sum(-1),
            torch.ones(length),
            "Each row of the pattern should sum to 1.",
        )
        blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
        tokens = torch.zeros(1, length, dtype=torch.int64)
        name = f"blocks.{layer}.attn.hook_pattern"
        expect.close(
            pattern,
            _seen(blank, tokens, name)[0, head],
            "This is not the pattern of a model whose embeddings are all zero.",
        )


def _place_scores(model, layer, head, length) -> Tensor:
    places = model.W_pos[:length]
    scores = (places @ model.W_Q[layer, head]) @ (places @ model.W_K[layer, head]).T
    return scores / model.cfg.d_head**0.5


def _masked_softmax(scores) -> Tensor:
    later = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def places_without_mask(model, layer, head, length):
    return _place_scores(model, layer, head, length).softmax(-1)


def places_unscaled(model, layer, head, length):
    scores = _place_scores(model, layer, head, length) * model.cfg.d_head**0.5
    return _masked_softmax(scores)


def places_scaled_by_width(model, layer, head, length):
    scores = _place_scores(model, layer, head, length)
    return _masked_softmax(scores * (model.cfg.d_head / model.cfg.d_model) ** 0.5)


def places_swapped(model, layer, head, length):
    return _masked_softmax(_place_scores(model, layer, head, length).T)


def places_mask_after(model, layer, head, length):
    return _place_scores(model, layer, head, length).softmax(-1).tril()


def places_as_scores(model, layer, head, length):
    return _place_scores(model, layer, head, length)


def places_zero_mask(model, layer, head, length):
    return _place_scores(model, layer, head, length).tril().softmax(-1)


POSITIONAL_PATTERN = Check(
    name="positional_pattern",
    judge=judge_positional_pattern,
    hints=(
        "This is an attention pattern like any other, only that queries and keys are "
        "made from position vectors and nothing else.",
        "Take `model.W_pos[:length]`. Multiply with W_Q and with W_K of the head, take "
        "all products of a query with a key, divide by sqrt(d_head), hide what comes "
        "later, and take the softmax over keys.",
        "`scores = (P @ W_Q) @ (P @ W_K).T / d_head**0.5` with "
        "`P = model.W_pos[:length]`. Then "
        "`scores.masked_fill(torch.ones_like(scores).triu(1).bool(), -torch.inf)"
        ".softmax(dim=-1)`.",
    ),
    mistakes=(
        Mistake(
            "no mask",
            "Your positions can see later ones. Hide all keys after the query before "
            "the softmax.",
            places_without_mask,
        ),
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head).",
            places_unscaled,
        ),
        Mistake(
            "scaled by d_model",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so "
            "the divisor is sqrt(d_head).",
            places_scaled_by_width,
        ),
        Mistake(
            "query and key swapped",
            "Query and key are swapped: row i should be the attention that position i "
            "pays.",
            places_swapped,
        ),
        Mistake(
            "mask after the softmax",
            "You hid later positions after the softmax, so the rows no longer sum to "
            "1. Set their scores to minus infinity before it.",
            places_mask_after,
        ),
        Mistake(
            "scores",
            "These are the scores. Hide later positions and take the softmax.",
            places_as_scores,
        ),
        Mistake(
            "masked with zero",
            "You set the scores of later positions to 0, and exp(0) is 1. Set them to "
            "minus infinity.",
            places_zero_mask,
        ),
    ),
    passed=(
        "Checked against the pattern of a model whose embeddings were set to zero, for "
        "two lengths and two layers. A score is a sum of four parts, and this is the "
        "one in which no token appears."
    ),
)


# --- positional_share ---------------------------------------------------------------

MORE_TEXTS = [*TEXTS, [0, 3, 3, 8, 1, 2, 10]]


def judge_positional_share(answer) -> None:
    tokens = torch.tensor(MORE_TEXTS)
    model = random_model(1, seed=2)
    blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
    expect.close(
        expect.number(answer(blank, tokens, 0, 1)),
        1.0,
        "A model that sees positions only gives every text the same scores, so its "
        "share is 1.",
    )
    for own, layer, head, n in ((model, 0, 1, 3), (random_model(2, 3), 1, 2, 2)):
        expect.close(
            expect.number(answer(own, tokens[:n], layer, head)),
            _share_by_hand(own, tokens[:n], layer, head),
            "The share does not match a sum by hand.",
        )


def _share_by_hand(model, tokens, layer, head) -> float:
    """The definition, one query and one key at a time."""
    name = f"blocks.{layer}.attn.hook_attn_scores"
    scores = _seen(model, tokens, name)[:, head].tolist()
    explained = total = 0.0
    for query in range(1, tokens.shape[1]):
        centred = []
        for text in scores:
            keys = text[query][1 : query + 1]
            centred.append([score - sum(keys) / len(keys) for score in keys])
        for cell in zip(*centred, strict=True):
            explained += len(cell) * (sum(cell) / len(cell)) ** 2
            total += sum(score**2 for score in cell)
    return explained / total


def _share(scores, first_key=1, centre="query", by_text=True) -> float:
    seen = torch.ones_like(scores[0]).tril()
    seen[:, :first_key] = 0
    scores = scores.masked_fill(seen == 0, 0)
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = {
        "query": scores.sum(-1, keepdim=True) / count,
        "all": scores.sum((-2, -1), keepdim=True) / seen.sum(),
        "no": torch.zeros(()),
    }[centre]
    centred = (scores - mean) * seen
    explained = centred.mean(0).pow(2).sum() * (len(scores) if by_text else 1)
    return (explained / centred.pow(2).sum()).item()


def _hooked(model, tokens, layer, head, name="hook_attn_scores") -> Tensor:
    return _seen(model, tokens, f"blocks.{layer}.attn.{name}")[:, head]


def share_not_centred(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), centre="no")


def share_one_mean(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), centre="all")


def share_with_start(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), first_key=0)


def share_of_attention(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head, "hook_pattern"))


def share_once(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), by_text=False)


def share_of_tokens(model, tokens, layer, head):
    return 1 - _share(_hooked(model, tokens, layer, head))


POSITIONAL_SHARE = Check(
    name="positional_share",
    judge=judge_positional_share,
    hints=(
        "The mean over many texts keeps what they have in common: the position. "
        "Compare the size of that mean with the size of the scores themselves.",
        "`scores_from_qk` of chapter 1 gives the scores, also those of later keys. "
        "Make a mask `seen` [query, key] that is 1 for keys 1 to the query. Subtract "
        "from each query row its mean over seen keys, and set the rest to 0.",
        "`centred = (scores - (scores * seen).sum(-1, keepdim=True) / count) * seen` "
        "where `count = seen.sum(-1, keepdim=True).clamp(min=1)`. The answer is "
        "`len(tokens) * centred.mean(0).pow(2).sum() / centred.pow(2).sum()`.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You did not centre the scores. A constant added to all scores of a query "
            "changes no attention, so it must not count.",
            share_not_centred,
        ),
        Mistake(
            "one mean for all",
            "You subtracted one mean from all queries of a text. Each query has a "
            "constant of its own, so centre each query row by itself.",
            share_one_mean,
        ),
        Mistake(
            "start token counted",
            "Key 0 is in your sum. The same token stands there in every text, so its "
            "score would count as position.",
            share_with_start,
        ),
        Mistake(
            "attention",
            "You used the attention pattern. The question is about the scores, before "
            "the softmax.",
            share_of_attention,
        ),
        Mistake(
            "counted once",
            "You counted the mean once and the scores once per text. Multiply the "
            "mean's part by the number of texts.",
            share_once,
        ),
        Mistake(
            "the rest",
            "This is the share that position does not explain: 1 minus the answer.",
            share_of_tokens,
        ),
    ),
    passed=(
        "Checked on a model that sees positions only (share 1) and against sums by "
        "hand over the scores inside two models. What stays when you average over "
        "texts cannot come from their tokens."
    ),
)


# --- top_skip_trigrams --------------------------------------------------------------


def judge_top_skip_trigrams(answer) -> None:
    for n_layers, layer, head, source, k, seed in (
        (1, 0, 1, 6, 4, 2),
        (2, 1, 2, 3, 5, 5),
    ):
        model = random_model(n_layers, seed, d_vocab=17)
        result = answer(model, layer, head, source, k)
        expect.true(
            isinstance(result, tuple | list) and len(result) == 2,
            "Return two lists of token ids: destinations, and output tokens.",
        )
        destinations, outs = (_ids(value) for value in result)
        scores = _scores_by_running(model, layer, head)
        wanted = (scores - scores.mean(1, keepdim=True))[:, source]
        raised = _ov_by_running(model, layer, head)[source]
        expect.same_ids(
            destinations,
            wanted.topk(k).indices,
            f"The destinations should be the {k} tokens that want the source most, "
            "the best first, compared after centring each of their rows.",
        )
        expect.same_ids(
            outs,
            raised.topk(k).indices,
            f"The output tokens should be the {k} whose logits the source raises most, "
            "the best first.",
        )


def _ids(value):
    return torch.tensor(value) if isinstance(value, list | tuple) else value


def _two_lists(model, layer, head, source, k, *, centre=True, flip=False, least=False):
    scores = _qk(model, layer, head)
    if centre:
        scores = scores - scores.mean(1, keepdim=True)
    wanted = scores[source] if flip else scores[:, source]
    circuit = _ov(model, layer, head)
    raised = circuit[source]
    return tuple(v.topk(k, largest=not least).indices for v in (wanted, raised))


def trigrams_not_centred(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, centre=False)


def trigrams_of_query(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, flip=True)


def trigrams_least(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, least=True)


def trigrams_swapped(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k)[::-1]


def trigrams_by_size(model, layer, head, source, k=5):
    scores = _qk(model, layer, head)
    wanted = (scores - scores.mean(1, keepdim=True))[:, source]
    raised = _ov(model, layer, head)[source]
    return tuple(v.abs().topk(k).indices for v in (wanted, raised))


def trigrams_of_out(model, layer, head, source, k=5):
    destinations, _ = _two_lists(model, layer, head, source, k)
    return destinations, _ov(model, layer, head)[:, source].topk(k).indices


TOP_SKIP_TRIGRAMS = Check(
    name="top_skip_trigrams",
    judge=judge_top_skip_trigrams,
    hints=(
        "The QK circuit says who wants the source: that is a column, as queries are "
        "rows. The OV circuit says what the source brings: that is a row.",
        "Entries of one column belong to different rows, and each row has a constant "
        "of its own. The mean of a row of `A @ B` is that row of A times the mean "
        "column of B, so nothing large is needed.",
        "`wanted = qk.A @ (qk.B[:, source] - qk.B.mean(dim=1))` and "
        "`raised = ov.A[source] @ ov.B`. Return `.topk(k).indices` of both.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You compared raw QK entries across rows. Each query's row may hold any "
            "constant without changing attention: subtract the row's mean first.",
            trigrams_not_centred,
        ),
        Mistake(
            "row instead of column",
            "You took the row of the QK circuit: what the token looks for as a query. "
            "Here it is the source, so its column says who looks for it.",
            trigrams_of_query,
        ),
        Mistake(
            "smallest",
            "These are the smallest entries. Take the largest.",
            trigrams_least,
        ),
        Mistake(
            "swapped lists",
            "The two lists are swapped: destinations come first, output tokens second.",
            trigrams_swapped,
        ),
        Mistake(
            "by size",
            "You took the entries that are largest in size, and very negative ones are "
            "among them. Those tokens avoid the source, or are made less likely by it.",
            trigrams_by_size,
        ),
        Mistake(
            "column of the OV circuit",
            "You took a column of the OV circuit: which sources raise this token. What "
            "the source raises stands in its row.",
            trigrams_of_out,
        ),
    ),
    passed=(
        "Checked against the scores and the logits inside two models, for every pair "
        "of tokens. One column and one row are enough, so the large matrices are never "
        "built."
    ),
)


# --- circuit_lift -------------------------------------------------------------------


def judge_circuit_lift(answer) -> None:
    for n_layers, layer, head, query, seed in ((1, 0, 1, 6, 0), (2, 1, 2, 3, 1)):
        model = random_model(n_layers, seed, d_vocab=9, n_ctx=40, scale=0.6)
        counts = [3, 1, 4, 2, 5, 1, 2, 6, 1]
        frequencies = torch.tensor(counts) / sum(counts)
        result = answer(model, layer, head, query, frequencies)
        lift = expect.tensor(result, key=9)
        expect.close(
            (frequencies * lift.exp()).sum(),
            1.0,
            "Attention is only shared out: the mean of exp(lift) over a context drawn "
            "with these frequencies should be 1.",
        )
        expect.close(
            lift,
            _lift_by_running(model, layer, head, query, counts),
            "In a text with exactly these frequencies and no positions, the attention "
            "that one occurrence of a token gets, over an even share, is not exp of "
            "your lift.",
            atol=1e-4,
        )


def _lift_by_running(model, layer, head, query, counts) -> Tensor:
    """log(attention per occurrence times length), from one text that has the counts."""
    bare = with_weights(model, {"W_pos": torch.zeros_like(model.W_pos)})
    text = [token for token, n in enumerate(counts) for _ in range(n)]
    text.remove(query)
    text.append(query)
    hooks = _only(None, None, model.cfg.n_layers)
    name = f"blocks.{layer}.attn.hook_pattern"
    attention = _seen(bare, torch.tensor([text]), name, hooks)[0, head, -1]
    first = [text.index(token) for token in range(len(counts))]
    return (attention[first] * len(text)).log()


def _row(model, layer, head, query) -> Tensor:
    return _qk(model, layer, head)[query] / model.cfg.d_head**0.5


def lift_uniform(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return scores - scores.logsumexp(0) + math.log(len(scores))


def lift_as_share(model, layer, head, query, frequencies):
    return (_row(model, layer, head, query) + frequencies.log()).log_softmax(0)


def lift_unscaled(model, layer, head, query, frequencies):
    scores = _qk(model, layer, head)[query]
    return scores - (scores + frequencies.log()).logsumexp(0)


def lift_of_column(model, layer, head, query, frequencies):
    scores = _qk(model, layer, head)[:, query] / model.cfg.d_head**0.5
    return scores - (scores + frequencies.log()).logsumexp(0)


def lift_from_mean_score(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return scores - (frequencies * scores).sum()


def lift_as_factor(model, layer, head, query, frequencies):
    scores = _row(model, layer, head, query)
    return (scores - (scores + frequencies.log()).logsumexp(0)).exp()


def lift_raw(model, layer, head, query, frequencies):
    return _row(model, layer, head, query)


CIRCUIT_LIFT = Check(
    name="circuit_lift",
    judge=judge_circuit_lift,
    hints=(
        "Softmax divides by a sum over the tokens of a text. In a text drawn with the "
        "given frequencies, that sum is an average you can compute.",
        "Take the query's row of the full QK circuit and divide by sqrt(d_head). The "
        "mean of exp(score) is the sum over tokens of frequency times exp(score). "
        "Subtract its logarithm from every score.",
        "`scores = qk.A[query] @ qk.B / d_head**0.5`, "
        "`average = (scores + frequencies.log()).logsumexp(dim=0)`, "
        "`return scores - average`.",
    ),
    mistakes=(
        Mistake(
            "all tokens alike",
            "You averaged over the vocabulary with every token counting the same. In a "
            "text, common tokens take more of the attention: weigh by `frequencies`.",
            lift_uniform,
        ),
        Mistake(
            "share of all occurrences",
            "This is the share that all occurrences of a token get together, so "
            "common tokens look wanted. The lift is about one occurrence.",
            lift_as_share,
        ),
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head).",
            lift_unscaled,
        ),
        Mistake(
            "column",
            "You took the column: how much others want this token. Its own wishes "
            "stand in its row.",
            lift_of_column,
        ),
        Mistake(
            "mean score",
            "You subtracted the mean score. Softmax works with exponentials: subtract "
            "the logarithm of the mean of exp(score).",
            lift_from_mean_score,
        ),
        Mistake(
            "no logarithm",
            "This is the factor itself. Return its logarithm.",
            lift_as_factor,
        ),
        Mistake(
            "not normalised",
            "These are raw scores. Divide by what the context as a whole draws, which "
            "means to subtract a logarithm here.",
            lift_raw,
        ),
    ),
    passed=(
        "Checked against the attention inside a model that reads a text with exactly "
        "these frequencies. Every query's lifts average to an even share, so they can "
        "be compared across queries, which raw entries cannot."
    ),
)


# --- source_token_effect ------------------------------------------------------------

EFFECT_TEXTS = [
    [0, 6, 3, 6, 2, 7, 6, 1],
    [0, 4, 6, 2, 9, 6, 3, 5],
    [0, 6, 1, 8, 6, 2, 2, 6],
    [0, 4, 1, 3, 2, 9, 6, 5],
]
EFFECT_PLACES = [5, 3, 4, 4]  # in the third row the destination is the source itself


def judge_source_token_effect(answer) -> None:
    tokens, places = torch.tensor(EFFECT_TEXTS), torch.tensor(EFFECT_PLACES)
    for n_layers, out, replacement, seed in ((1, 8, 10, 0), (2, 3, 11, 1)):
        model = random_model(n_layers, seed, scale=0.7)
        result = answer(model, tokens, places, 6, out, replacement)
        effect = expect.tensor(result, batch=4)
        expect.close(
            effect[3],
            0.0,
            "In the last row the source does not stand before the destination, so "
            "nothing changes and the effect is 0.",
        )
        expect.close(
            effect,
            _effect_by_hand(model, 6, out, replacement),
            "The effect does not match two runs by hand, one row at a time.",
            atol=1e-4,
        )


def _effect_by_hand(model, source, out, replacement) -> Tensor:
    effects = []
    for text, place in zip(EFFECT_TEXTS, EFFECT_PLACES, strict=True):
        end = text[place]
        changed = [replacement if t == source else t for t in text[:place]] + [end]
        nats = []
        for version in (text[: place + 1], changed):
            logits = _logits(model, torch.tensor([version]))[0, -1]
            nats.append((logits[out] - logits.logsumexp(0)).item())
        effects.append(nats[0] - nats[1])
    return torch.tensor(effects, dtype=torch.float64)


def _effect(model, tokens, places, source, out, replacement, which=None, how=None):
    before = torch.arange(tokens.shape[1]) < places[:, None]
    hit = before & (tokens == source)
    if which is not None:
        hit = which(hit, tokens == source, places)
    changed = torch.where(hit, replacement, tokens)
    rows = torch.arange(len(tokens))
    how = how or (lambda logits: logits.log_softmax(-1))
    one, two = (how(model(v)[rows, places])[:, out] for v in (tokens, changed))
    return one - two


def effect_reversed(model, tokens, places, source, out, replacement):
    return -_effect(model, tokens, places, source, out, replacement)


def effect_on_logits(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, how=lambda logits: logits)


def effect_on_probs(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, how=lambda logits: logits.softmax(-1))


def effect_everywhere(model, tokens, places, source, out, replacement):
    args = (model, tokens, places, source, out, replacement)
    return _effect(*args, which=lambda hit, equal, places: equal)


def effect_of_last(model, tokens, places, source, out, replacement):
    def last(hit, equal, places):
        later = hit.flip(1).cumsum(1).flip(1)
        return hit & (later == 1)

    return _effect(model, tokens, places, source, out, replacement, which=last)


def effect_of_first(model, tokens, places, source, out, replacement):
    def first(hit, equal, places):
        return hit & (hit.cumsum(1) == 1)

    return _effect(model, tokens, places, source, out, replacement, which=first)


def effect_at_the_end(model, tokens, places, source, out, replacement):
    ends = torch.full_like(places, tokens.shape[1] - 1)
    before = torch.arange(tokens.shape[1]) < places[:, None]
    changed = torch.where(before & (tokens == source), replacement, tokens)
    rows = torch.arange(len(tokens))
    one, two = (model(v)[rows, ends].log_softmax(-1)[:, out] for v in (tokens, changed))
    return one - two


SOURCE_TOKEN_EFFECT = Check(
    name="source_token_effect",
    judge=judge_source_token_effect,
    hints=(
        "Run the model twice, on the text as it is and on the text without the source, "
        "and compare the same log probability.",
        "A mask of what to change: `torch.arange(tokens.shape[1]) < places[:, None]` "
        "is True before the destination. Combine it with `tokens == source`, and use "
        "`torch.where` so that the tokens you were given stay as they are.",
        "`changed = torch.where(before & (tokens == source), replacement, tokens)`. "
        "For each version take `model(version)[rows, places].log_softmax(-1)[:, out]` "
        "with `rows = torch.arange(len(tokens))`, and subtract the second from the "
        "first.",
    ),
    mistakes=(
        Mistake(
            "sign",
            "The sign is reversed. Return before minus after, so that a source that "
            "helps has a positive effect.",
            effect_reversed,
        ),
        Mistake(
            "logits",
            "You compared logits. A logit can fall while all others fall as well; "
            "compare log probabilities.",
            effect_on_logits,
        ),
        Mistake(
            "probabilities",
            "You compared probabilities. Compare their logarithms: the effect is in "
            "nats.",
            effect_on_probs,
        ),
        Mistake(
            "destination replaced",
            "You also replaced the source where it is the destination itself. Only "
            "what stands before that place is changed.",
            effect_everywhere,
        ),
        Mistake(
            "last occurrence",
            "You replaced the last occurrence only. Another one left in the context "
            "can do the same work: replace all.",
            effect_of_last,
        ),
        Mistake(
            "first occurrence",
            "You replaced the first occurrence only. Another one left in the context "
            "can do the same work: replace all.",
            effect_of_first,
        ),
        Mistake(
            "end of the row",
            "You read the prediction at the end of the row. Read it at the "
            "destination, which stands at `places[b]` in row b.",
            effect_at_the_end,
        ),
    ),
    passed=(
        "Checked against two runs by hand for four texts: with several occurrences, "
        "with the source as destination, and with none. Weights make a claim, and this "
        "is the experiment that can prove it wrong."
    ),
)


# --- svd_of_product -----------------------------------------------------------------


def judge_svd_of_product(answer) -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, inner, columns in ((60, 3, 40), (9, 4, 70)):
        a = torch.randn(rows, inner, generator=generator)
        b = torch.randn(inner, columns, generator=generator)
        with _Largest() as largest:
            result = answer(a, b)
        expect.true(
            isinstance(result, tuple | list) and len(result) == 3,
            "Return three tensors: U, S and V.",
        )
        U = expect.tensor(result[0], row=rows, inner=inner)
        S = expect.tensor(result[1], inner=inner)
        V = expect.tensor(result[2], column=columns, inner=inner)
        _expect_svd(U, S, V, a.double() @ b.double())
        expect.true(
            largest.numel <= 2 * max(a.numel(), b.numel()),
            "The values are right, but a matrix larger than a and b was made on the "
            "way. With 50,000 rows and columns it would not fit into memory.",
        )


def _expect_svd(U, S, V, product) -> None:
    eye = torch.eye(len(S), dtype=torch.float64)
    for name, side in (("U", U), ("V", V)):
        expect.close(
            side.T @ side, eye, f"The columns of {name} should be orthonormal."
        )
    expect.true(
        (S >= 0).all() and (S.diff() <= 1e-6).all(),
        "Singular values are never negative, and the largest comes first.",
    )
    expect.close(
        U @ S.diag() @ V.T,
        product,
        "U diag(S) V^T should be the product of a and b.",
        atol=1e-4,
    )


def svd_dense(a, b):
    U, S, Vh = torch.linalg.svd(a @ b, full_matrices=False)
    inner = a.shape[1]
    return U[:, :inner], S[:inner], Vh[:inner].T


def _small_svd(a, b):
    left, small_a = torch.linalg.qr(a)
    right, small_b = torch.linalg.qr(b.T)
    return left, right, torch.linalg.svd(small_a @ small_b.T)


def svd_not_transposed(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S, (right @ Vh.T).T


def svd_of_small(a, b):
    _, _, (U, S, Vh) = _small_svd(a, b)
    return U, S, Vh.T


def svd_vh_as_v(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S, right @ Vh


def svd_multiplied(a, b):
    Ua, Sa, _ = torch.linalg.svd(a, full_matrices=False)
    _, Sb, Vb = torch.linalg.svd(b, full_matrices=False)
    return Ua, Sa * Sb, Vb.T


def svd_squared(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return left @ U, S**2, right @ Vh.T


def svd_ascending(a, b):
    left, right, (U, S, Vh) = _small_svd(a, b)
    return (left @ U).flip(1), S.flip(0), (right @ Vh.T).flip(1)


SVD_OF_PRODUCT = Check(
    name="svd_of_product",
    judge=judge_svd_of_product,
    hints=(
        "Split off from each factor a part with orthonormal columns. What is left of "
        "both is small, and its SVD is cheap.",
        "`torch.linalg.qr(a)` gives Q [row, inner] with orthonormal columns and a "
        "small R [inner, inner] with a = Q R. Do the same with b transposed. Then "
        "a b = Q_a (R_a R_b^T) Q_b^T.",
        "`U, S, Vh = torch.linalg.svd(R_a @ R_b.T)`, then "
        "`return Q_a @ U, S, Q_b @ Vh.T`.",
    ),
    mistakes=(
        Mistake(
            "dense",
            "You multiplied a and b first. With 50,000 rows and columns the product "
            "would not fit into memory; use the small inner size.",
            svd_dense,
        ),
        Mistake(
            "V transposed",
            "The third result is V^T. Return V, with one column per singular value.",
            svd_not_transposed,
        ),
        Mistake(
            "small factors",
            "These are the singular vectors of the small matrix. Lead them back with "
            "the orthonormal parts you split off.",
            svd_of_small,
        ),
        Mistake(
            "Vh taken for V",
            "`torch.linalg.svd` gives V already transposed. Transpose it back before "
            "you multiply.",
            svd_vh_as_v,
        ),
        Mistake(
            "singular values multiplied",
            "You multiplied the singular values of a and b. The two have different "
            "singular vectors, so their values do not simply multiply.",
            svd_multiplied,
        ),
        Mistake(
            "squared",
            "These are the squares of the singular values. They are the eigenvalues "
            "of M^T M, and the singular values are their square roots.",
            svd_squared,
        ),
        Mistake(
            "smallest first",
            "The smallest singular value comes first. Return the largest first.",
            svd_ascending,
        ),
    ),
    passed=(
        "Checked that U and V have orthonormal columns, that the product comes back, "
        "and that no matrix larger than the factors was made. A product through an "
        "inner size of 3 has only 3 singular values, so a 3 by 3 SVD is enough."
    ),
)


# --- ov_eigenvalues -----------------------------------------------------------------


def judge_ov_eigenvalues(answer) -> None:
    for n_layers, layer, head, d_head, seed in ((1, 0, 1, 4, 0), (2, 1, 2, 5, 1)):
        model = random_model(n_layers, seed, d_vocab=40, d_head=d_head)
        with _Largest() as largest:
            result = answer(model, layer, head)
        values = expect.tensor(result, complex_ok=True, eigenvalue=d_head)
        dense = torch.linalg.eigvals(_ov_by_running(model, layer, head))
        expected = dense[dense.abs().argsort(descending=True)[:d_head]]
        expect.close(
            _furthest_match(values.to(torch.complex128), expected),
            0.0,
            "Some eigenvalue of the head's effect on the logits is not among yours.",
            atol=1e-3,
        )
        expect.true(
            largest.numel <= 2 * max(model.W_E.numel(), model.W_Q.numel()),
            "The eigenvalues are right, but the matrix over the whole vocabulary was "
            "built on the way. Its non-zero eigenvalues are those of a small matrix.",
        )


def _furthest_match(values: Tensor, expected: Tensor) -> Tensor:
    """The largest distance when each expected value takes its nearest free partner."""
    left, worst = values.tolist(), 0.0
    for value in expected.tolist():
        nearest = min(left, key=lambda other: abs(other - value))
        worst = max(worst, abs(nearest - value))
        left.remove(nearest)
    return torch.tensor(worst / expected.abs().max().item())


def _small(model, layer, head) -> Tensor:
    write = model.W_O[layer, head] @ model.W_U
    return write @ (model.W_E @ model.W_V[layer, head])


def eigenvalues_of_all(model, layer, head):
    return torch.linalg.eigvals(_ov(model, layer, head))


def eigenvalues_of_stream(model, layer, head):
    return torch.linalg.eigvals(model.W_O[layer, head] @ model.W_V[layer, head])


def eigenvalues_symmetric(model, layer, head):
    return torch.linalg.eigvalsh(_small(model, layer, head))


def eigenvalues_singular(model, layer, head):
    return torch.linalg.svdvals(_small(model, layer, head))


def eigenvalues_real(model, layer, head):
    return torch.linalg.eigvals(_small(model, layer, head)).real


def eigenvalues_dense(model, layer, head):
    values = torch.linalg.eigvals(_ov(model, layer, head))
    return values[values.abs().argsort(descending=True)[: model.cfg.d_head]]


OV_EIGENVALUES = Check(
    name="ov_eigenvalues",
    judge=judge_ov_eigenvalues,
    hints=(
        "A product A B of a tall and a wide matrix has the same non-zero eigenvalues "
        "as B A, and B A is small.",
        "The factors of `full_ov_circuit` are A [d_vocab, d_head] and B [d_head, "
        "d_vocab]. The matrix is not symmetric, so its eigenvalues are complex.",
        "`circuit = full_ov_circuit(model, layer, head)`, then "
        "`return torch.linalg.eigvals(circuit.B @ circuit.A)`.",
    ),
    mistakes=(
        Mistake(
            "all of them",
            "You took the eigenvalues of the whole matrix over the vocabulary. All but "
            "d_head of them are zeros, or rounding errors around zero.",
            eigenvalues_of_all,
        ),
        Mistake(
            "stream to stream",
            "These are the eigenvalues of W_V W_O. They say what the head does to "
            "vectors of the stream; for tokens, W_E and W_U belong to it.",
            eigenvalues_of_stream,
        ),
        Mistake(
            "symmetric solver",
            "`eigvalsh` is for symmetric matrices. It reads one half of yours and "
            "makes up the other.",
            eigenvalues_symmetric,
        ),
        Mistake(
            "singular values",
            "These are singular values, which are never negative. Then every head "
            "would seem to copy.",
            eigenvalues_singular,
        ),
        Mistake(
            "real parts",
            "You dropped the imaginary parts. The matrix is not symmetric, so "
            "eigenvalues come in complex pairs.",
            eigenvalues_real,
        ),
        Mistake(
            "dense",
            "The values are right, but you built the matrix over the whole vocabulary "
            "to get them. A B and B A have the same non-zero eigenvalues.",
            eigenvalues_dense,
        ),
    ),
    passed=(
        "Checked against the eigenvalues of the matrix measured by running the model, "
        "and that the large matrix was never built. If A B v = c v, then B A (B v) = "
        "c (B v): the small matrix has the same eigenvalue."
    ),
)


# --- copying_score ------------------------------------------------------------------


def _half_copying(seed: int, n_layers: int = 1, d_vocab: int = 13):
    """A random model whose heads copy some of the tokens: W_U looks a bit like W_E."""
    model = random_model(n_layers, seed, d_vocab=d_vocab, d_model=10, d_head=6)
    W_U = 0.4 * model.W_E.T + model.W_U + torch.linspace(-1, 2, 10)[:, None]
    W_O = model.W_O + 0.5 * model.W_V.transpose(-2, -1)
    return with_weights(model, {"W_U": W_U, "W_O": W_O})


def judge_copying_score(answer) -> None:
    for n_layers, layer, head, seed in ((1, 0, 1, 0), (2, 1, 2, 3)):
        model = _half_copying(seed, n_layers)
        matrix = _ov_by_running(model, layer, head)
        for centred in (False, True):
            result = answer(model, layer, head, centred)
            if centred:
                matrix = matrix - matrix.mean(1, keepdim=True)
            values = torch.linalg.eigvals(matrix)
            values = values[values.abs().argsort(descending=True)[:6]]
            expect.close(
                expect.number(_without_phase(result)),
                (values.sum().real / values.abs().sum()).item(),
                f"With centred={centred}, the score does not match the eigenvalues of "
                "the matrix measured by running the model.",
                atol=1e-4,
            )


def _without_phase(value):
    """A complex result whose imaginary part is rounding counts as real."""
    if isinstance(value, complex) or (isinstance(value, Tensor) and value.is_complex()):
        if abs(value.imag) < 1e-5:
            return value.real
    return value


def _spectrum(model, layer, head, centred=False) -> Tensor:
    W_U = model.W_U - model.W_U.mean(1, keepdim=True) if centred else model.W_U
    small = model.W_O[layer, head] @ W_U @ model.W_E @ model.W_V[layer, head]
    return torch.linalg.eigvals(small)


def _ratio(values) -> float:
    return (values.sum().real / values.abs().sum()).item()


def score_counted(model, layer, head, centred=False):
    return (_spectrum(model, layer, head, centred).real > 0).float().mean().item()


def score_never_centred(model, layer, head, centred=False):
    return _ratio(_spectrum(model, layer, head))


def score_always_centred(model, layer, head, centred=False):
    return _ratio(_spectrum(model, layer, head, True))


def score_of_stream(model, layer, head, centred=False):
    return _ratio(torch.linalg.eigvals(model.W_O[layer, head] @ model.W_V[layer, head]))


def score_over_real_parts(model, layer, head, centred=False):
    values = _spectrum(model, layer, head, centred)
    return (values.real.sum() / values.real.abs().sum()).item()


def score_over_singular(model, layer, head, centred=False):
    W_U = model.W_U - model.W_U.mean(1, keepdim=True) if centred else model.W_U
    matrix = model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ W_U
    return (matrix.trace() / torch.linalg.svdvals(matrix).sum()).item()


def score_not_normalised(model, layer, head, centred=False):
    return _spectrum(model, layer, head, centred).sum().real.item()


COPYING_SCORE = Check(
    name="copying_score",
    judge=judge_copying_score,
    hints=(
        "Add up the eigenvalues, and divide by what the sum would be if all pointed "
        "the same way.",
        "The sum of the eigenvalues is real up to rounding, because complex ones come "
        "in pairs. For the centred score, subtract from W_U its mean over the "
        "vocabulary, so from each row its own mean, before anything else.",
        "`write = circuit.B`, with `centred` minus `write.mean(dim=1, keepdim=True)`. "
        "`values = torch.linalg.eigvals(write @ circuit.A)`. "
        "`return (values.sum().real / values.abs().sum()).item()`.",
    ),
    mistakes=(
        Mistake(
            "counted",
            "This is the share of eigenvalues with a positive real part. Tiny ones "
            "count as much as large ones there; add up the values themselves.",
            score_counted,
        ),
        Mistake(
            "never centred",
            "`centred=True` changes nothing in your score. It asks for W_U minus its "
            "mean over the vocabulary.",
            score_never_centred,
        ),
        Mistake(
            "always centred",
            "You centred W_U although `centred` is False.",
            score_always_centred,
        ),
        Mistake(
            "stream to stream",
            "You used W_V W_O alone. Whether a head copies tokens depends on W_E and "
            "W_U as well.",
            score_of_stream,
        ),
        Mistake(
            "real parts below",
            "You divided by the sum of the absolute real parts. Divide by the absolute "
            "values of the complex numbers.",
            score_over_real_parts,
        ),
        Mistake(
            "singular values below",
            "You divided by the sum of singular values. Divide by the absolute values "
            "of the eigenvalues, which are smaller.",
            score_over_singular,
        ),
        Mistake(
            "not normalised",
            "This is the sum alone, which grows with the size of the weights. Divide "
            "by the sum of the absolute values.",
            score_not_normalised,
        ),
    ),
    passed=(
        "Checked against the eigenvalues of the matrix measured by running two models, "
        "raw and centred. An eigenvector with a positive eigenvalue is a mixture of "
        "tokens that raises its own logits."
    ),
)


# --- copying_top1 -------------------------------------------------------------------


def judge_copying_top1(answer) -> None:
    # All are asked before any is judged: a share of few tokens is easily hit by chance.
    cases = [
        (answer(model, layer, head), _ov_by_running(model, layer, head))
        for model, layer, head in (
            (_half_copying(1, d_vocab=37), 0, 1),
            (_half_copying(4, d_vocab=29), 0, 2),
            (_half_copying(5, n_layers=2, d_vocab=23), 1, 2),
        )
    ]
    for result, circuit in cases:
        matrix = circuit.tolist()
        hits = sum(row[token] == max(row) for token, row in enumerate(matrix))
        expect.close(
            expect.number(result),
            hits / len(matrix),
            "The share does not match a count by hand, one token at a time.",
        )


def top1_of_columns(model, layer, head):
    circuit = _ov(model, layer, head)
    return (circuit.argmax(0) == torch.arange(len(circuit))).float().mean().item()


def top1_diagonal_positive(model, layer, head):
    return (_ov(model, layer, head).diagonal() > 0).float().mean().item()


def top1_by_size(model, layer, head):
    circuit = _ov(model, layer, head).abs()
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


def top1_with_direct(model, layer, head):
    circuit = _ov(model, layer, head) + model.W_E @ model.W_U
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


def top1_count(model, layer, head):
    circuit = _ov(model, layer, head)
    return (circuit.argmax(1) == torch.arange(len(circuit))).sum().item()


def top1_column_centred(model, layer, head):
    circuit = _ov(model, layer, head)
    circuit = circuit - circuit.mean(0)
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


COPYING_TOP1 = Check(
    name="copying_top1",
    judge=judge_copying_top1,
    hints=(
        "Look at each row of the full OV circuit: where does its largest entry stand?",
        "A few hundred rows at a time are small enough to write out: "
        "`circuit.A.split(512)` gives such blocks of A, and a block times B is a block "
        "of rows. `argmax(dim=1)` says where the largest entry is.",
        "`best = torch.cat([(rows @ circuit.B).argmax(dim=1) for rows in "
        "circuit.A.split(512)])`, then the mean of "
        "`best == torch.arange(len(best))` as a float.",
    ),
    mistakes=(
        Mistake(
            "columns",
            "You looked at columns: which source raises a token most. The question is "
            "which token a source raises most.",
            top1_of_columns,
        ),
        Mistake(
            "raises itself at all",
            "This is the share of tokens that raise their own logit at all. Count "
            "those that raise their own more than any other.",
            top1_diagonal_positive,
        ),
        Mistake(
            "largest in size",
            "You took the entry that is largest in size. A very negative entry makes a "
            "token less likely, it does not win.",
            top1_by_size,
        ),
        Mistake(
            "with the direct path",
            "You added the direct path. Here only what the head writes counts.",
            top1_with_direct,
        ),
        Mistake(
            "count",
            "This is the number of tokens. Divide by the size of the vocabulary.",
            top1_count,
        ),
        Mistake(
            "column means removed",
            "You subtracted from each output token its mean over sources. That is a "
            "fair question too, but here the entries are compared as they are.",
            top1_column_centred,
        ),
    ),
    passed=(
        "Checked against a count by hand on three models, from matrices measured by "
        "running them. Unlike eigenvalues, this asks each token by itself whether it "
        "is copied."
    ),
)


# --- skip_trigram_lift --------------------------------------------------------------

CONTEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6], [0, 1, 1, 7, 9, 12, 5]]


def judge_skip_trigram_lift(answer) -> None:
    contexts = torch.tensor(CONTEXTS)
    for n_layers, width, source, seed in ((1, 7, 8, 0), (2, 6, 10, 1)):
        model = random_model(n_layers, seed, scale=0.7)
        part = contexts[:, :width]
        result = answer(model, part, source, [3, 5], [1, 8, 9])
        lift = expect.tensor(result, destination=2, out=3)
        expect.close(
            lift,
            _lift_by_hand(model, part.tolist(), source, [3, 5], [1, 8, 9]),
            "The lift does not match pairs of runs by hand, one context at a time.",
            atol=1e-4,
        )


def _lift_by_hand(model, contexts, source, destinations, outs) -> Tensor:
    table = []
    for destination in destinations:
        total = torch.zeros(len(outs), dtype=torch.float64)
        for context in contexts:
            without = [*context[:-1], destination]
            with_source = list(without)
            with_source[len(context) // 2] = source
            change = torch.zeros(len(outs), dtype=torch.float64)
            for text, sign in ((with_source, 1), (without, -1)):
                logits = _logits(model, torch.tensor([text]))[0, -1]
                change += sign * (logits[outs] - logits.mean())
            total += change / len(contexts)
        table.append(total)
    return torch.stack(table)


def _lift(
    model, contexts, source, destinations, outs, *, place=None, how=None, replace=True
):
    place = contexts.shape[1] // 2 if place is None else place
    how = how or (lambda logits: logits - logits.mean(-1, keepdim=True))
    rows = []
    for destination in destinations:
        without = contexts.clone()
        if replace:
            without[:, -1] = destination
        with_source = without.clone()
        with_source[:, place] = source
        change = how(model(with_source)[:, -1]) - how(model(without)[:, -1])
        rows.append(change.mean(0)[outs])
    return torch.stack(rows)


def lift_of_log_probs(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits.log_softmax(-1))


def lift_not_centred(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits)


def lift_reversed(model, contexts, source, destinations, outs):
    return -_lift(model, contexts, source, destinations, outs)


def lift_next_to_it(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, place=-2)


def lift_same_destination(model, contexts, source, destinations, outs):
    return _lift(model, contexts, source, destinations, outs, replace=False)


def lift_summed(model, contexts, source, destinations, outs):
    return len(contexts) * _lift(model, contexts, source, destinations, outs)


def lift_of_probs(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits.softmax(-1))


SKIP_TRIGRAM_LIFT = Check(
    name="skip_trigram_lift",
    judge=judge_skip_trigram_lift,
    hints=(
        "For each destination you need two versions of every context that differ in "
        "one token only: with the source, and without.",
        "Copy the contexts with `.clone()` before you change them. Put the destination "
        "at the end of both versions, and the source in the middle of one. The "
        "prediction stands at the last position.",
        "`change = model(with_source)[:, -1] - model(without)[:, -1]`, then "
        "`change - change.mean(dim=-1, keepdim=True)`, then `.mean(dim=0)[outs]`. "
        "Stack the rows of all destinations.",
    ),
    mistakes=(
        Mistake(
            "log probabilities",
            "You compared log probabilities. Their normaliser depends on all other "
            "tokens; the lift here is in logits minus their mean.",
            lift_of_log_probs,
        ),
        Mistake(
            "not centred",
            "You did not subtract the mean over the vocabulary. A constant on all "
            "logits changes no probability.",
            lift_not_centred,
        ),
        Mistake(
            "sign",
            "The sign is reversed. The lift is with the source minus without.",
            lift_reversed,
        ),
        Mistake(
            "next to the destination",
            "You put the source right before the destination. It belongs in the "
            "middle of the context: the trigram skips.",
            lift_next_to_it,
        ),
        Mistake(
            "destination left out",
            "All your rows are the same: the last token was not replaced by the "
            "destination.",
            lift_same_destination,
        ),
        Mistake(
            "summed",
            "You summed over contexts. Take the mean, so that more contexts do not "
            "make a larger lift.",
            lift_summed,
        ),
        Mistake(
            "probabilities",
            "You compared probabilities. The lift is in logits.",
            lift_of_probs,
        ),
    ),
    passed=(
        "Checked against pairs of runs by hand, for two models and two lengths. The "
        "two versions differ in one token, so whatever differs in the logits is its "
        "doing."
    ),
)


CHECKS = (
    FROZEN_PATTERN_LOGITS,
    ONE_LAYER_PATH_TERMS,
    FULL_OV_CIRCUIT,
    FULL_QK_CIRCUIT,
    POSITIONAL_PATTERN,
    POSITIONAL_SHARE,
    TOP_SKIP_TRIGRAMS,
    CIRCUIT_LIFT,
    SOURCE_TOKEN_EFFECT,
    SVD_OF_PRODUCT,
    OV_EIGENVALUES,
    COPYING_SCORE,
    COPYING_TOP1,
    SKIP_TRIGRAM_LIFT,
)


PREDICTIONS = (
    Prediction(
        name="direct_path_in_context",
        question=(
            "Take a text and shuffle all tokens but the last. What happens to the "
            "direct path's part of the logits at the last position?"
        ),
        choices=(
            Choice(
                "It changes a little, because of the new positions.",
                "Positions enter only what W_Q and W_K read. The direct path has "
                "neither of them.",
            ),
            Choice(
                "It stays exactly the same.",
                "The direct path leads from a token to the logits at its own place and "
                "never looks anywhere else. It can only hold bigrams.",
            ),
            Choice(
                "It changes, because the heads see another context.",
                "The heads' paths do change. The direct path is the part that goes "
                "past all heads.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="constant_on_a_row",
        question=(
            "Someone adds 7 to every entry of one row of a full QK circuit: one query "
            "token now gives every key a score higher by 7. What does the model do?"
        ),
        choices=(
            Choice(
                "It attends more strongly wherever that token is the query.",
                "Attention is shared out by a softmax. When every key gains the same, "
                "no key gains anything.",
            ),
            Choice(
                "Nothing changes at all.",
                "A softmax forgets a constant. This is why entries of two different "
                "rows cannot be compared as they are.",
            ),
            Choice(
                "The pattern becomes sharper.",
                "Sharper would be a factor on the scores. A constant added to all of "
                "them drops out of the softmax.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="how_many_copy",
        question=(
            "In the paper's one-layer model, 10 of 12 heads were found to copy. What "
            "share do you expect among the 8 heads of ours, trained on Python code?"
        ),
        choices=(
            Choice(
                "None: code is not repetitive enough.",
                "Names and words come back all the time in code, so a token that was "
                "seen is a good guess for what comes next.",
            ),
            Choice(
                "About half or more.",
                "Copying is what a single layer of attention does best. How many heads "
                "exactly is printed below.",
            ),
            Choice(
                "All of them.",
                "Some heads are busy with the present and the previous token. Those "
                "look by position and have other things to write.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="crossed_trigrams",
        question=(
            "A head learned `keep ... in -> mind` and `keep ... at -> bay`. Its "
            "attention depends on the pair (keep, in) or (keep, at), and what it "
            "writes depends on keep alone. What does it do after `keep ... in`?"
        ),
        choices=(
            Choice(
                "It raises mind and leaves bay alone.",
                "It cannot. What it writes is decided by the source alone, and the "
                "source keep has to raise both words.",
            ),
            Choice(
                "It raises mind, and it raises bay as well.",
                "The row of keep in the OV circuit has to serve both rules. The paper "
                "calls the crossed cases skip-trigram bugs.",
            ),
            Choice(
                "It raises neither, because the two rules cancel.",
                "Both rules want something raised, so nothing cancels.",
            ),
        ),
        right=1,
    ),
)
