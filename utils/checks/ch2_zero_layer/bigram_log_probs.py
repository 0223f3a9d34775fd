"""Chapter 2, `bigram_log_probs`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch2_zero_layer import shared

__all__ = ["CHECK"]


SMALL_TEXT = [[0, 4, 1, 4, 1, 6, 2], [0, 1, 4, 4, 2, 2, 6], [0, 3, 4, 1, 5, 4, 1]]
OTHER_TEXT = [[0, 2, 2, 8], [0, 7, 8, 2]]


def judge_bigram_log_probs(answer) -> None:
    cases = ((SMALL_TEXT, 7, 1.0), (SMALL_TEXT, 9, 0.25), (OTHER_TEXT, 10, 0.5))
    for text, d_vocab, pseudocount in cases:
        result = answer(torch.tensor(text), d_vocab, pseudocount)
        table = expect.tensor(result, current=d_vocab, next=d_vocab)
        expect.close(
            table.exp().sum(1),
            torch.ones(d_vocab),
            "Each row should hold log probabilities: their exponentials sum to 1.",
        )
        expect.close(
            table,
            _counted_by_hand(text, d_vocab, pseudocount),
            "Some log probabilities do not match a count by hand.",
        )


def _counted_by_hand(rows: list[list[int]], d_vocab: int, extra: float) -> Tensor:
    """The definition, one pair of neighbours at a time."""
    counts = [[extra] * d_vocab for _ in range(d_vocab)]
    for row in rows:
        for here, after in zip(row, row[1:], strict=False):
            counts[here][after] += 1
    table = [[math.log(c / sum(row)) for c in row] for row in counts]
    return torch.tensor(table, dtype=torch.float64)


def bigrams_transposed(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab).T + pseudocount
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_over_columns(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab) + pseudocount
    return (counts / counts.sum(0, keepdim=True)).log()


def bigrams_sums_turned(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab) + pseudocount
    return (counts / counts.sum(1)).log()


def bigrams_without_log(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab) + pseudocount
    return counts / counts.sum(1, keepdim=True)


def bigrams_without_pseudocount(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab)
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_across_rows(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens.reshape(1, -1), d_vocab) + pseudocount
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_without_duplicates(tokens, d_vocab, pseudocount=1.0):
    counts = torch.zeros(d_vocab, d_vocab)
    counts[tokens[:, :-1], tokens[:, 1:]] += 1
    counts += pseudocount
    return (counts / counts.sum(1, keepdim=True)).log()


def bigrams_joint(tokens, d_vocab, pseudocount=1.0):
    counts = shared.counts(tokens, d_vocab) + pseudocount
    return (counts / counts.sum()).log()


CHECK = Check(
    name="bigram_log_probs",
    judge=judge_bigram_log_probs,
    hints=(
        "You need a d_vocab by d_vocab table of counts. Every token and its right-hand "
        "neighbour add one to a cell.",
        "`tokens[:, :-1]` are the current tokens and `tokens[:, 1:]` their followers. "
        "Number the cells row by row: cell (i, j) is number `i * d_vocab + j`. Then "
        "`torch.bincount` counts all pairs at once.",
        "`pairs = current * d_vocab + following`, then "
        "`counts = torch.bincount(pairs, minlength=d_vocab**2).view(d_vocab, d_vocab) "
        "+ pseudocount`. Divide each row by its sum and take the log.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your table is transposed. Row i should be the distribution of the token "
            "after token i; yours holds what came before it.",
            bigrams_transposed,
            swap=("current * d_vocab + following", "following * d_vocab + current"),
        ),
        Mistake(
            "normalised over columns",
            "You divided each column by its sum. A column collects different current "
            "tokens; each row has to sum to 1.",
            bigrams_over_columns,
            swap=("counts.sum(dim=1, keepdim=True)", "counts.sum(dim=0, keepdim=True)"),
        ),
        Mistake(
            "sums along the wrong axis",
            "Your row sums have lost their axis: `counts.sum(dim=1)` is [d_vocab], and "
            "a division by it divides column j by the sum of row j. `keepdim=True` "
            "keeps it a column, so that each row is divided by its own sum.",
            bigrams_sums_turned,
        ),
        Mistake(
            "no log",
            "These are the probabilities. Take their logarithm.",
            bigrams_without_log,
        ),
        Mistake(
            "no pseudocount",
            "The pseudocount is missing. A pair that was never seen gets probability "
            "zero, whose log is minus infinity.",
            bigrams_without_pseudocount,
        ),
        Mistake(
            "across rows",
            "You counted the last token of a row and the first of the next as "
            "neighbours. Rows are separate pieces of text.",
            bigrams_across_rows,
        ),
        Mistake(
            "each pair once",
            "You counted every pair once, however often it occurs. `counts[i, j] += 1` "
            "with lists of indices adds 1 to a cell once, also where the cell comes "
            "several times in the lists.",
            bigrams_without_duplicates,
        ),
        Mistake(
            "joint",
            "You divided by the number of all pairs, which gives P(current, next). For "
            "P(next | current) divide each row by its own sum.",
            bigrams_joint,
        ),
    ),
    passed=(
        "Checked against a count by hand, for three vocabulary sizes and "
        "pseudocounts. Dividing a row by its sum turns counts into P(next | current), "
        "and that is all a model can know that sees one token."
    ),
)
