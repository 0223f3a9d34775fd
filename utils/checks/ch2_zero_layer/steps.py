"""Chapter 2: the steps of its longer exercises."""

import math
from collections import Counter

import torch

from utils.checks import Step
from utils.checks.partly import alike, dense
from utils.models.handmade import model_from_table, random_model
from utils.text.corpus import load_tokenizer

__all__ = ["STEPS"]

# Joining the rows, or counting a pair once, makes another table.
ROWS = torch.tensor([[0, 1, 2, 0, 1, 2, 0, 1, 0], [2, 2, 0, 1, 1, 2, 0, 1, 0]])
COUNTS = torch.tensor([[0.0, 5, 0], [2, 1, 3], [4, 0, 1]]) + 1
TABLE = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1], [0.1, 0.1, 0.8]])
OTHER = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6], [0.5, 0.1, 0.4]])


def _shares(answer):
    found = dense(answer(ROWS, 3))
    return found if found.min() >= 0 else found.exp()


def _ratios(table):
    """What no factor on a whole row or a whole column changes."""
    logs = table.log()
    return logs - logs.mean(0) - logs.mean(1, keepdim=True) + logs.mean()


def _counts_right(answer) -> bool:
    return alike(_shares(answer), COUNTS, _ratios)


def _rows_sum_to_one(answer) -> bool:
    return torch.allclose(_shares(answer).sum(1), torch.ones(3).double(), atol=1e-5)


def _is_a_logarithm(answer) -> bool:
    return alike(answer(ROWS, 3), (COUNTS / COUNTS.sum(1, keepdim=True)).log())


def _one_row(answer) -> bool:
    """All rows are one, so that weights change nothing but a sum or mean of them."""
    table, other = TABLE[:1].expand(3, 3), OTHER[:1].expand(3, 3)
    divergence = (TABLE[0] * (TABLE[0] / OTHER[0]).log()).sum()
    found = answer(model_from_table(other.log() + 3.0), table.log(), OTHER[0])
    return alike(found, divergence) or alike(found, 3 * divergence)


def _divergence(frequencies):
    def holds(answer) -> bool:
        by_row = (TABLE * (TABLE / OTHER).log()).sum(1)
        found = answer(model_from_table(OTHER.log() + 3.0), TABLE.log(), frequencies)
        return alike(found, (frequencies * by_row).sum())

    return holds


# Each row ends with a token that stands elsewhere, and 3 never has a follower.
TEXT = torch.tensor([[0, 1, 2, 1, 0, 2], [0, 2, 1, 0, 1, 3]])
PAIRS = [(v, w) for row in TEXT.tolist() for v, w in zip(row, row[1:], strict=False)]


def _plain_shares(answer) -> bool:
    """Nothing is kept back, and every pair has been seen."""
    count, begun = Counter(PAIRS), Counter(v for v, _ in PAIRS)
    loss = -sum(math.log(count[v, w] / begun[v]) for v, w in PAIRS) / len(PAIRS)
    return alike(answer(TEXT, TEXT, 5, discount=0.0), loss)


def _p1(w: int, discount: float) -> float:
    """How likely a word is by how many different tokens stood before it."""
    before = Counter(second for _, second in set(PAIRS))
    whole = sum(before.values())
    return max(before[w] - discount, 0) / whole + discount * len(before) / whole / 5


def _p1_alone(answer) -> bool:
    """After 2 came 1 alone, so all others have what is kept back, by their P1."""
    losses = [
        float(answer(TEXT, torch.tensor([[2, w]]), 5, discount=0.6)) for w in (0, 2, 4)
    ]
    wanted = torch.tensor([-math.log(_p1(w, 0.6)) for w in (0, 2, 4)])
    return alike(losses, wanted, lambda x: x - x.mean())


def _both(answer) -> bool:
    """After 0 came 1 and 2, after 3 nothing."""
    after_0 = (2 - 0.6) / 4 + 0.6 * 2 / 4 * _p1(1, 0.6)
    loss = -(math.log(after_0) + math.log(_p1(1, 0.6))) / 2
    heldout = torch.tensor([[0, 1], [3, 1]])
    return alike(answer(TEXT, heldout, 5, discount=0.6), loss)


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
        Step("the counts", _counts_right),
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
        Step("the divergence of one row", _one_row),
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
