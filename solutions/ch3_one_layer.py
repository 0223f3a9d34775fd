"""One layer: read skip-trigrams and copying off the weights, then test the reading.

The solutions of chapter 3, importable as a library of analyses (paper.md's rows are
cited as F-..). Matrices over the vocabulary stay factored: the product of two narrow
matrices says the same as one of 16 million numbers. Effects are in nats.

Over 400 lines: a chapter's solutions are one file, in which its learner looks them up.
"""

import math

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from solutions.ch0_toolbox import head_outputs
from solutions.ch1_residual_stream import ov_matrix, qk_matrix, scores_from_qk
from utils.models.reach import paper_only

__all__ = [
    "circuit_lift",
    "copying_score",
    "copying_top1",
    "frozen_pattern_logits",
    "full_ov_circuit",
    "full_qk_circuit",
    "one_layer_path_terms",
    "ov_eigenvalues",
    "positional_pattern",
    "positional_share",
    "skip_trigram_lift",
    "source_token_effect",
    "svd_of_product",
    "top_skip_trigrams",
]


def frozen_pattern_logits(
    model: TransformerBridge,
    tokens: Float[Tensor, "batch pos d_vocab"],
    pattern: Float[Tensor, "batch head query key"],
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits of a one-layer model whose attention is held fixed.

    `tokens` are vectors over the vocabulary: a one-hot vector is a token, and any other
    vector is a mixture of tokens. `pattern` is used as it is, whatever the tokens are.
    With the pattern fixed, the result is linear in `tokens`.

    Steps: (1) the direct path, (2) what the heads add.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model, ids = random_model(1), torch.tensor([[0, 5, 2, 7]])
        >>> one_hot = torch.nn.functional.one_hot(ids, 13).float()
        >>> logits, cache = model.run_with_cache(ids)
        >>> again = frozen_pattern_logits(model, one_hot, cache["pattern", 0])
        >>> torch.allclose(again, logits, atol=1e-4)
        True

    Source: F-24, F-56.

    Limits: Models with MLPs, norms or rotary positions are refused. It reads the first
    layer only.
    """
    stream = tokens @ model.W_E
    values = einsum(
        stream,
        model.W_V[0],
        "batch key d_model, head d_model d_head -> batch head key d_head",
    )
    added = einsum(
        pattern @ values,
        model.W_O[0],
        "batch head query d_head, head d_head d_model -> batch query d_model",
    )
    return (stream + added) @ model.W_U


def one_layer_path_terms(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "path batch pos d_vocab"]:
    """The logits of a one-layer model, taken apart into its paths.

    Path 0 is the direct path, from the token through W_E and W_U. Path 1 + h leads
    through head h. Nothing else reaches the logits, so the paths sum to them.

    Steps: (1) the direct path, (2) a path through each head.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model, tokens = random_model(1, n_heads=3), torch.tensor([[0, 5, 2, 7]])
        >>> terms = one_layer_path_terms(model, tokens)
        >>> terms.shape
        torch.Size([4, 1, 4, 13])
        >>> torch.allclose(terms.sum(dim=0), model(tokens), atol=1e-4)
        True

    Source: F-50.

    Limits: Models with MLPs, norms or rotary positions are refused. It reads the first
    layer only.
    """
    direct = model.W_E[tokens] @ model.W_U
    heads = einsum(
        head_outputs(model, tokens, layer=0),
        model.W_U,
        "batch pos head d_model, d_model d_vocab -> head batch pos d_vocab",
    )
    return torch.cat([direct[None], heads])


def full_ov_circuit(model: TransformerBridge, layer: int, head: int) -> FactoredMatrix:
    """What attending to each source token adds to each output logit.

    Returns a FactoredMatrix [d_vocab, d_vocab]. Rows are source tokens, columns are
    output tokens. An entry is what the head adds to that logit when all its attention
    is on that token. No text is run through the model.

    Example:
        >>> from utils.models.handmade import random_model
        >>> circuit = full_ov_circuit(random_model(1, d_vocab=13, d_head=4), 0, 1)
        >>> tuple(circuit.shape), circuit.mdim
        ((13, 13), 4)

    Source: F-53, F-58.

    Limits: Norms are left out unless they are folded into the weights. In a later layer
    heads read more than embeddings, and behind MLPs other things altogether.
    """
    ov = ov_matrix(model, layer, head)
    return FactoredMatrix(model.W_E @ ov.A, ov.B @ model.W_U)


def full_qk_circuit(model: TransformerBridge, layer: int, head: int) -> FactoredMatrix:
    """How much each query token wants to attend to each key token.

    Returns a FactoredMatrix [d_vocab, d_vocab]. Rows are query (destination) tokens,
    columns are key (source) tokens. Only tokens count: no position vectors, and no
    division by sqrt(d_head). No text is run through the model.

    Example:
        >>> from utils.models.handmade import random_model
        >>> circuit = full_qk_circuit(random_model(1, d_vocab=13, d_head=4), 0, 1)
        >>> tuple(circuit.shape), circuit.mdim
        ((13, 13), 4)

    Source: F-52, F-58.

    Limits: Norms are left out unless they are folded into the weights. Position is left
    out, and rows are not comparable before they are centred.
    """
    qk = qk_matrix(model, layer, head)
    return FactoredMatrix(model.W_E @ qk.A, qk.B @ model.W_E.T)


def positional_pattern(
    model: TransformerBridge, layer: int, head: int, length: int
) -> Float[Tensor, "query key"]:
    """The attention a head would pay if all it knew were positions.

    Queries and keys are made from the first `length` rows of `model.W_pos` alone.
    Scores are divided by sqrt(d_head), later positions are hidden, rows sum to 1. No
    text is run through the model.

    Steps: (1) the scores of positions, (2) the mask, (3) the scaled softmax.

    Example:
        >>> from utils.models.handmade import random_model
        >>> positional_pattern(random_model(1), layer=0, head=1, length=3)
        tensor([[1.0000, 0.0000, 0.0000],
                [0.5436, 0.4564, 0.0000],
                [0.3211, 0.3346, 0.3443]])

    Source: F-67.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    qk = qk_matrix(model, layer, head)
    places = model.W_pos[:length]
    scores = (places @ qk.A) @ (qk.B @ places.T) / math.sqrt(model.cfg.d_head)
    later = torch.ones_like(scores).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1)


def positional_share(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int, head: int
) -> float:
    """How much of what a head's scores tell apart is explained by position alone.

    Take the head's scores on several texts. Leave out key 0, the start token, and all
    keys after the query. Centre each query's scores: subtract their mean over its
    keys, because a constant changes no attention. Then average each cell (query, key)
    over the batch: that average depends on position only. Returns the sum of its
    squares, counted once per text, divided by the sum of the squares of all centred
    scores. 1 means that every text gets the same scores.

    Steps: (1) 1 where all texts have the same scores, (2) each query centred by itself,
    (3) only keys it sees, without the start token.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 4, 7, 2, 9], [0, 1, 1, 8, 3]])
        >>> round(positional_share(random_model(1), tokens, layer=0, head=1), 3)
        0.405

    Source: F-67, misconception 30.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    scores = scores_from_qk(model, tokens, layer, head)
    seen = torch.ones_like(scores[0]).tril()
    seen[:, 0] = 0
    count = seen.sum(dim=-1, keepdim=True).clamp(min=1)
    mean = (scores * seen).sum(dim=-1, keepdim=True) / count
    centred = (scores - mean) * seen
    explained = centred.mean(dim=0).pow(2).sum() * len(tokens)
    return (explained / centred.pow(2).sum()).item()


def top_skip_trigrams(
    model: TransformerBridge, layer: int, head: int, source: int, k: int = 5
) -> tuple[Int[Tensor, "k"], Int[Tensor, "k"]]:
    """The skip-trigrams that one head makes with one source token.

    Returns two lists of k token ids, the best first. The first are the destinations
    (query tokens) that want the source most. A row of the full QK circuit may hold any
    constant, so subtract from each row its mean over all key tokens before you compare
    rows. The second are the output tokens whose logits the source raises most. "source
    ... destination -> out" is a skip-trigram for any of both. No text is run through
    the model.

    Steps: (1) the outputs, (2) the destinations.

    Example:
        >>> from utils.models.handmade import random_model
        >>> destinations, outs = top_skip_trigrams(random_model(1), 0, 1, source=6, k=3)
        >>> destinations.tolist(), outs.tolist()
        ([2, 4, 8], [4, 7, 1])

    Source: F-57, F-62, misconception 29.

    Limits: What is on top of a list may be a token that hardly occurs. A reading is a
    guess until the source is taken out of real text.
    """
    qk = full_qk_circuit(model, layer, head)
    wanted = qk.A @ (qk.B[:, source] - qk.B.mean(dim=1))
    ov = full_ov_circuit(model, layer, head)
    raised = ov.A[source] @ ov.B
    return wanted.topk(k).indices, raised.topk(k).indices


def circuit_lift(
    model: TransformerBridge,
    layer: int,
    head: int,
    query: int,
    frequencies: Float[Tensor, "d_vocab"],
) -> Float[Tensor, "d_vocab"]:
    """How much more attention each key token gets from a query token than its share.

    Imagine a context whose tokens are drawn with `frequencies`, which sum to 1, and
    forget positions. The head's softmax then gives a key token t, per occurrence,
    exp(score of t) / (mean of exp(score) over the context) times the attention of an
    even spread. Returns the natural logarithm of this factor for every t: 0 is an even
    share. Scores are those of the full QK circuit divided by sqrt(d_head). No text is
    run through the model.

    Steps: (1) the scores of one query, (2) their scale, (3) measured against an even
    share.

    Example:
        >>> from utils.models.handmade import random_model
        >>> frequencies = torch.full((13,), 1 / 13)
        >>> lift = circuit_lift(random_model(1), 0, 1, 6, frequencies)
        >>> round((frequencies * lift.exp()).sum().item(), 4)
        1.0

    Source: F-59.
    """
    qk = full_qk_circuit(model, layer, head)
    scores = qk.A[query] @ qk.B / math.sqrt(model.cfg.d_head)
    average = (scores + frequencies.log()).logsumexp(dim=0)
    return scores - average


def source_token_effect(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    places: Int[Tensor, "batch"],
    source: int,
    out: int,
    replacement: int,
) -> Float[Tensor, "batch"]:
    """What a source token does for an output token, found by taking it away.

    In row b the destination stands at `places[b]`. Every occurrence of `source` before
    that place is replaced by the token `replacement`; the destination itself stays.
    Returns, per row, by how many nats this lowers log P(out) at the destination:
    before minus after. A row without the source gives 0.

    Steps: (1) nothing without the source, (2) one source, (3) every source before the
    destination.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 6, 3, 6, 2], [0, 4, 6, 2, 9]])
        >>> source_token_effect(
        ...     random_model(1), tokens, torch.tensor([4, 3]), source=6, out=8,
        ...     replacement=1,
        ... )
        tensor([6.0391, 4.4851])

    Source: F-66.

    Limits: The choice of the replacement matters: take several.
    """
    before = torch.arange(tokens.shape[1]) < places[:, None]
    changed = torch.where(before & (tokens == source), replacement, tokens)
    rows = torch.arange(len(tokens))
    log_probs = [
        model(version)[rows, places].log_softmax(dim=-1)[:, out]
        for version in (tokens, changed)
    ]
    return log_probs[0] - log_probs[1]


def svd_of_product(
    a: Float[Tensor, "row inner"], b: Float[Tensor, "inner column"]
) -> tuple[Tensor, Tensor, Tensor]:
    """The singular value decomposition of a @ b, without ever forming a @ b.

    `inner` is the smallest of the three sizes. Returns U [row, inner], S [inner],
    largest first, and V [column, inner] with a @ b = U diag(S) V^T; the columns of U
    and those of V are orthonormal. No matrix larger than `a` or `b` is made.

    Steps: (1) the singular values, (2) orthonormal columns, (3) the product.

    Example:
        >>> a, b = torch.randn(500, 3), torch.randn(3, 400)
        >>> U, S, V = svd_of_product(a, b)
        >>> tuple(U.shape), tuple(S.shape), tuple(V.shape)
        ((500, 3), (3,), (400, 3))
        >>> torch.allclose(U @ S.diag() @ V.T, a @ b, atol=1e-4)
        True

    Source: F-149.
    """
    left, small_a = torch.linalg.qr(a)
    right, small_b = torch.linalg.qr(b.T)
    U, S, Vh = torch.linalg.svd(small_a @ small_b.T)
    return left @ U, S, right @ Vh.T


def ov_eigenvalues(model: TransformerBridge, layer: int, head: int) -> Tensor:
    """The eigenvalues of a head's full OV circuit that are not zero by force.

    The matrix [d_vocab, d_vocab] has rank d_head at most. Returns a complex tensor
    [d_head], in any order, found without building that matrix. No text is run through
    the model.

    Steps: (1) a small matrix, (2) its eigenvalues.

    Example:
        >>> from utils.models.handmade import random_model
        >>> ov_eigenvalues(random_model(1, d_head=4), 0, 1).shape
        torch.Size([4])

    Source: F-68, F-149.

    Limits: Norms are left out unless they are folded into the weights. Positive ones do
    not prove that single tokens are copied.
    """
    circuit = full_ov_circuit(model, layer, head)
    return torch.linalg.eigvals(circuit.B @ circuit.A)


def copying_score(
    model: TransformerBridge, layer: int, head: int, centred: bool = False
) -> float:
    """The paper's summary of a head: do tokens raise their own logits?

    The sum of the eigenvalues of the full OV circuit, divided by the sum of their
    absolute values. 1: all are positive; -1: all are negative; near 0: as many point
    one way as the other. If all eigenvalues are 0, as in a head that writes nothing,
    the score is 0. With `centred`, the mean over the vocabulary is first subtracted
    from W_U: a constant on all logits changes no probability. No text is run through
    the model.

    Steps: (1) the raw score, (2) the centred score, (3) a head that writes nothing.

    Example:
        >>> from utils.models.handmade import random_model
        >>> round(copying_score(random_model(1), 0, 1), 3)
        -0.003
        >>> round(copying_score(random_model(1), 0, 1, centred=True), 3)
        0.026

    Source: F-68.

    Limits: Random heads between trained embeddings reach 0.5 by chance when W_U is not
    centred: compare with them. Norms are left out unless they are folded into the
    weights.
    """
    circuit = full_ov_circuit(model, layer, head)
    write = circuit.B
    if centred:
        write = write - write.mean(dim=1, keepdim=True)
    eigenvalues = torch.linalg.eigvals(write @ circuit.A)
    return (eigenvalues.sum().real / eigenvalues.abs().sum().clamp(min=1e-12)).item()


def copying_top1(model: TransformerBridge, layer: int, head: int) -> float:
    """The share of tokens that raise their own logit more than any other.

    A token counts when the largest entry of its row in the full OV circuit stands on
    the diagonal. Every token of the vocabulary counts the same. No text is run through
    the model.

    Steps: (1) 1 for copying, 0 for moving on, (2) each row by its largest entry.

    Example:
        >>> from utils.models.handmade import random_model
        >>> round(copying_top1(random_model(1, d_vocab=13), 0, 1), 3)
        0.154

    Source: F-71.

    Limits: It goes through all d_vocab squared entries, in blocks. Norms are left out
    unless they are folded into the weights.
    """
    circuit = full_ov_circuit(model, layer, head)
    best = [(rows @ circuit.B).argmax(dim=1) for rows in circuit.A.split(512)]
    own = torch.arange(circuit.A.shape[0])
    return (torch.cat(best) == own).float().mean().item()


def skip_trigram_lift(
    model: TransformerBridge,
    contexts: Int[Tensor, "batch pos"],
    source: int,
    destinations: list[int],
    outs: list[int],
) -> Float[Tensor, "destination out"]:
    """What a source token adds to each output logit at each destination.

    In every context the last token is replaced by a destination. Then two runs are
    compared: one in which the token in the middle, at position `pos // 2`, is replaced
    by the source, and one in which it stays. Returns the mean over contexts of logits
    with minus logits without, at the last position. From logits, the mean over the
    vocabulary is subtracted first, because a constant changes no probability.

    Steps: (1) the change between two runs, (2) without its mean over the vocabulary.

    Example:
        >>> from utils.models.handmade import random_model
        >>> contexts = torch.tensor([[0, 4, 7, 2], [0, 1, 1, 8]])
        >>> skip_trigram_lift(random_model(1), contexts, 6, [3, 5], [1, 8, 9])
        tensor([[-2.7047, -0.0135,  1.0287],
                [ 0.7886, -0.5030,  0.3522]])

    Source: F-72.
    """
    rows = []
    for destination in destinations:
        without = contexts.clone()
        without[:, -1] = destination
        with_source = without.clone()
        with_source[:, contexts.shape[1] // 2] = source
        change = model(with_source)[:, -1] - model(without)[:, -1]
        change = change - change.mean(dim=-1, keepdim=True)
        rows.append(change.mean(dim=0)[outs])
    return torch.stack(rows)


# --- on other models than the paper's -------------------------------------------------

paper_only(
    globals(),
    "frozen_pattern_logits",
    "one_layer_path_terms",
    "positional_pattern",
    "positional_share",
)
