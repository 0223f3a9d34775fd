"""Zero layers: what a transformer without attention can know, and how to read it.

The solutions of chapter 2, importable as a library of analyses (paper.md's rows are
cited as F-..). Everything is measured in nats.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

__all__ = [
    "bigram_log_probs",
    "direct_path",
    "kl_to_bigram",
    "kneser_ney_loss",
    "top_bigrams",
]


def bigram_log_probs(
    tokens: Int[Tensor, "batch pos"], d_vocab: int, pseudocount: float = 1.0
) -> Float[Tensor, "d_vocab d_vocab"]:
    """log P(next | current), counted from text.

    Count how often each token follows each other token inside the rows; the last token
    of one row and the first of the next are not neighbours. Add `pseudocount` to every
    count, so that no probability is zero. Row i of the result is the distribution of
    the token after token i.

    Steps: (1) the counts, (2) shares within each row, (3) their logarithm.

    Example:
        >>> table = bigram_log_probs(torch.tensor([[0, 1, 2, 1, 2]]), d_vocab=3)
        >>> table.exp()
        tensor([[0.2500, 0.5000, 0.2500],
                [0.2000, 0.2000, 0.6000],
                [0.2500, 0.5000, 0.2500]])

    Source: F-41.
    """
    current, following = tokens[:, :-1].flatten(), tokens[:, 1:].flatten()
    pairs = current * d_vocab + following
    counts = torch.bincount(pairs, minlength=d_vocab * d_vocab)
    counts = counts.view(d_vocab, d_vocab) + pseudocount
    return (counts / counts.sum(dim=1, keepdim=True)).log()


def direct_path(model: TransformerBridge) -> Float[Tensor, "d_vocab d_vocab_out"]:
    """The direct path from each token to the logits of the next: W_E W_U.

    Row i holds the logits that the embedding of token i alone gives to every token. In
    a zero-layer model this is the whole model. No text is run through the model.

    Example:
        >>> from utils.models.handmade import random_model
        >>> direct_path(random_model(n_layers=0, d_vocab=13)).shape
        torch.Size([13, 13])

    Source: F-40.

    Limits: It holds d_vocab numbers squared: 67 MB for 4,096 tokens and 10 GB for
    49,152. Norms are left out unless they are folded into the weights.
    """
    return model.W_E @ model.W_U


def kl_to_bigram(
    model: TransformerBridge,
    log_probs: Float[Tensor, "d_vocab d_vocab"],
    frequencies: Float[Tensor, "d_vocab"],
) -> float:
    """How far the model's direct path is from a bigram table, in nats.

    For each current token i this is the Kullback-Leibler divergence from the table's
    row to the model's: the sum over next tokens j of P(j|i) (log P(j|i) - log Q(j|i)),
    where P is the table and Q the softmax of the direct path. The result is the mean
    over i, weighted by `frequencies`, which sum to 1. No text is run through the model.

    Steps: (1) the model's log-probabilities, (2) the divergence of one row, (3) the
    weighted mean.

    Example:
        >>> from utils.models.handmade import model_from_table
        >>> table = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
        >>> abs(kl_to_bigram(model_from_table(table), table, torch.ones(2) / 2)) < 1e-6
        True

    Source: F-41.

    Limits: It makes `direct_path`, with all its numbers.
    """
    model_log_probs = direct_path(model).log_softmax(dim=1)
    divergence = (log_probs.exp() * (log_probs - model_log_probs)).sum(dim=1)
    return (frequencies * divergence).sum().item()


def kneser_ney_loss(
    train: Int[Tensor, "batch pos"],
    heldout: Int[Tensor, "batch_heldout pos_heldout"],
    d_vocab: int,
    discount: float = 0.75,
) -> float:
    """Cross-entropy of interpolated Kneser-Ney bigrams on held-out text, in nats.

    Counted on `train`, measured on `heldout`, mean over all pairs of neighbours. With
    c(v, w) the number of times w follows v inside a row, c(v) its sum over w, D the
    discount and |x| the size of a set:

    P(w | v) = max(c(v, w) - D, 0) / c(v) + D |{w: c(v, w) > 0}| / c(v) * P1(w)
    P1(w)    = max(n(w) - D, 0) / N + D |{w: n(w) > 0}| / N / d_vocab

    n(w) is the number of different tokens seen before w, N the sum of all n(w). After a
    token v that never had a follower, P(w | v) = P1(w).

    Steps: (1) the shares of pairs, (2) P1, (3) both together.

    Example:
        >>> text = torch.tensor([[0, 1, 2, 1, 2]])
        >>> round(kneser_ney_loss(text, text, d_vocab=3), 3)
        0.352

    Source: F-41.
    """
    current, following = train[:, :-1].flatten(), train[:, 1:].flatten()
    pairs = current * d_vocab + following
    counts = torch.bincount(pairs, minlength=d_vocab * d_vocab).view(d_vocab, d_vocab)
    before = (counts > 0).sum(dim=0)
    spread = before.sum()
    reserved = discount * (before > 0).sum() / spread
    p_word = (before - discount).clamp(min=0) / spread + reserved / d_vocab
    v, w = heldout[:, :-1].flatten(), heldout[:, 1:].flatten()
    total = counts.sum(dim=1)[v]
    kept = (counts[v, w] - discount).clamp(min=0)
    freed = discount * (counts > 0).sum(dim=1)[v]
    p_pair = (kept + freed * p_word[w]) / total.clamp(min=1)
    p_pair = torch.where(total > 0, p_pair, p_word[w])
    return -p_pair.log().mean().item()


def top_bigrams(
    model: TransformerBridge, token: str, k: int = 5
) -> list[tuple[str, float]]:
    """The k likeliest next tokens after a token, from the weights alone.

    `token` is a string that is one token; `model.to_single_token(token)` is its number.
    Returns pairs of a token's string and its probability under the direct path, the
    likeliest first. No text is run through the model.

    Steps: (1) the likeliest tokens, (2) their probabilities.

    Example:
        >>> from utils.models.attention_only import load_model
        >>> [word for word, p in top_bigrams(load_model("zero_layer"), " name", k=3)]
        [...]

    Source: F-40, F-43.
    """
    row = model.W_E[model.to_single_token(token)] @ model.W_U
    probabilities, ids = row.softmax(dim=0).topk(k)
    words = [model.tokenizer.decode([i]) for i in ids.tolist()]
    return list(zip(words, probabilities.tolist(), strict=True))
