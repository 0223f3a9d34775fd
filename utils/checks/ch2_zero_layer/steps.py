"""Chapter 2: the steps of its longer exercises."""

import math
from collections import Counter

import torch

from utils.checks import Step
from utils.checks.partly import alike, dense
from utils.models.handmade import model_from_table, random_model
from utils.text.corpus import load_tokenizer

__all__ = ["STEPS"]

ROW = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1, 0]])  # each token's follower is clear
TABLE = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
OTHER = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]])


def _rows_sum_to_one(answer) -> bool:
    found = dense(answer(ROW, 3))
    shares = found if found.min() >= 0 else found.exp()
    return torch.allclose(shares.sum(1), torch.ones(3).double(), atol=1e-5)


def _is_a_logarithm(answer) -> bool:
    counts = torch.tensor([[1.0, 4.0, 1.0], [2.0, 1.0, 3.0], [3.0, 1.0, 1.0]])
    return alike(answer(ROW, 3), (counts / counts.sum(1, keepdim=True)).log())


def _divergence(frequencies):
    def holds(answer) -> bool:
        by_row = (TABLE * (TABLE / OTHER).log()).sum(1)
        found = answer(model_from_table(OTHER.log() + 3.0), TABLE.log(), frequencies)
        return alike(found, (frequencies * by_row).sum())

    return holds


TEXT = torch.tensor([[0, 1, 2, 1, 0, 2, 1, 3]])


def _plain_shares(answer) -> bool:
    """Nothing is kept back, and every pair has been seen."""
    row = TEXT[0].tolist()
    pairs = list(zip(row, row[1:], strict=False))
    count, begun = Counter(pairs), Counter(v for v, _ in pairs)
    loss = -sum(math.log(count[v, w] / begun[v]) for v, w in pairs) / len(pairs)
    return alike(answer(TEXT, TEXT, 4, discount=0.0), loss)


def _p1(w: int, discount: float) -> float:
    """How likely a word is by how many different tokens stood before it."""
    row = TEXT[0].tolist()
    before = Counter(second for _, second in set(zip(row, row[1:], strict=False)))
    whole = sum(before.values())
    return max(before[w] - discount, 0) / whole + discount * len(before) / whole / 4


def _p1_alone(answer) -> bool:
    """After token 3 nothing ever came."""
    loss = -(math.log(_p1(1, 0.6)) + math.log(_p1(2, 0.6))) / 2
    heldout = torch.tensor([[3, 1], [3, 2]])
    return alike(answer(TEXT, heldout, 4, discount=0.6), loss)


def _both(answer) -> bool:
    """After 0 came 1 and 2, once each."""
    p = (1 - 0.6) / 2 + 0.6 * 2 / 2 * _p1(1, 0.6)
    return alike(answer(TEXT, torch.tensor([[0, 1]]), 4, discount=0.6), -math.log(p))


def _likeliest():
    model = random_model(0, 3, d_vocab=1024, tokenizer=load_tokenizer(1024))
    row = model.W_E[model.to_single_token(" name")] @ model.W_U
    shares, ids = row.softmax(0).topk(4)
    return model, [model.tokenizer.decode([i]) for i in ids.tolist()], shares


def _names_them(answer) -> bool:
    model, words, _ = _likeliest()
    return [word for word, _ in answer(model, " name", k=4)] == words


def _gives_shares(answer) -> bool:
    model, _, shares = _likeliest()
    return alike([float(share) for _, share in answer(model, " name", k=4)], shares)


STEPS = {
    "bigram_log_probs": (
        Step(
            "the counts",
            lambda answer: dense(answer(ROW, 3)).argmax(1).tolist() == [1, 2, 0],
        ),
        Step("shares within each row", _rows_sum_to_one),
        Step("their logarithm", _is_a_logarithm),
    ),
    "kl_to_bigram": (
        # A constant on a row of logits changes no probability.
        Step(
            "the model's log-probabilities",
            lambda answer: alike(
                answer(model_from_table(TABLE.log() + 3.0), TABLE.log(), OTHER[0]), 0.0
            ),
        ),
        Step("the divergence of one row", _divergence(torch.tensor([0.0, 1.0, 0.0]))),
        Step("the weighted mean", _divergence(torch.tensor([0.5, 0.2, 0.3]))),
    ),
    "kneser_ney_loss": (
        Step("the shares of pairs", _plain_shares),
        Step("P1", _p1_alone),
        Step("both together", _both),
    ),
    "top_bigrams": (
        Step("the likeliest tokens", _names_them),
        Step("their probabilities", _gives_shares),
    ),
}
