"""Chapter 2, `kl_to_bigram`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.models.handmade import model_from_table, random_model

__all__ = ["CHECK"]


def _random_table(d_vocab: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(d_vocab, d_vocab, generator=generator)).log_softmax(1)


def judge_kl_to_bigram(answer) -> None:
    answer = expect.weights_only(answer)
    table = _random_table(8, seed=3)
    frequencies = torch.tensor([0.3, 0.2, 0.15, 0.1, 0.1, 0.08, 0.05, 0.02])
    # A constant added to a row of logits changes no probability.
    offsets = torch.linspace(-2, 3, 8)[:, None]
    model = model_from_table(table + offsets)
    same = answer(model, table, frequencies)
    expect.close(
        expect.number(same),
        0.0,
        "A model whose logits are the table plus a constant per row gives the same "
        "probabilities as the table, so its divergence is 0.",
    )
    for d_vocab, seed in ((13, 4), (9, 5)):
        model = random_model(0, seed, d_vocab=d_vocab)
        table = _random_table(d_vocab, seed)
        weights = torch.linspace(1, 4, d_vocab)
        weights = weights / weights.sum()
        result = answer(model, table, weights)
        expect.close(
            expect.number(result),
            _kl_by_hand(model, table, weights),
            "The divergence does not match a sum by hand.",
        )


def _kl_by_hand(model, table: Tensor, frequencies: Tensor) -> float:
    """The definition, one cell of the table at a time."""
    total = 0.0
    for i, share in enumerate(frequencies.tolist()):
        logits = model(torch.tensor([[i]]))[0, 0].tolist()
        norm = math.log(sum(math.exp(x) for x in logits))
        for j, log_p in enumerate(table[i].tolist()):
            total += share * math.exp(log_p) * (log_p - (logits[j] - norm))
    return total


def _path_log_probs(model) -> Tensor:
    return (model.W_E @ model.W_U).log_softmax(1)


def kl_reversed(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return (frequencies * (mine.exp() * (mine - log_probs)).sum(1)).sum().item()


def kl_unweighted(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return (log_probs.exp() * (log_probs - mine)).sum(1).mean().item()


def kl_mean_of_entries(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return (log_probs.exp() * (log_probs - mine)).mean().item()


def kl_without_softmax(model, log_probs, frequencies):
    mine = model.W_E @ model.W_U
    return (frequencies * (log_probs.exp() * (log_probs - mine)).sum(1)).sum().item()


def kl_cross_entropy(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    return -(frequencies * (log_probs.exp() * mine).sum(1)).sum().item()


def kl_in_bits(model, log_probs, frequencies):
    mine = _path_log_probs(model)
    divergence = (log_probs.exp() * (log_probs - mine)).sum(1)
    return (frequencies * divergence).sum().item() / math.log(2)


CHECK = Check(
    name="kl_to_bigram",
    judge=judge_kl_to_bigram,
    hints=(
        "Turn the direct path into log probabilities first. Then compare it with the "
        "table, row by row.",
        "For one row the divergence is a sum over next tokens: the table's probability "
        "times the difference of the two log probabilities, the table's first.",
        "`q = direct_path(model).log_softmax(dim=1)`, then "
        "`d = (log_probs.exp() * (log_probs - q)).sum(dim=1)`, then the sum of "
        "`frequencies * d` as a float.",
    ),
    mistakes=(
        Mistake(
            "reversed",
            "You measured from the model to the table. The divergence is not "
            "symmetric: here the table's probabilities weigh the differences.",
            kl_reversed,
        ),
        Mistake(
            "unweighted",
            "You gave every current token the same weight. Weigh the rows by "
            "`frequencies`: what the model does after a rare token matters little.",
            kl_unweighted,
            swap=(
                "(frequencies * divergence).sum().item()",
                "divergence.mean().item()",
            ),
        ),
        Mistake(
            "mean over entries",
            "You took the mean over all entries. The divergence of a row is the sum "
            "over its entries; the rows are then weighed by `frequencies`. "
            "`torch.nn.functional.kl_div` takes this mean unless you ask it for "
            '`reduction="none"`.',
            kl_mean_of_entries,
        ),
        Mistake(
            "no softmax",
            "You compared logits with log probabilities. Logits are only fixed up to a "
            "constant per row, so take their log_softmax first.",
            kl_without_softmax,
            swap=(".log_softmax(dim=1)", ""),
        ),
        Mistake(
            "cross-entropy",
            "This is the cross-entropy. The divergence is the cross-entropy minus the "
            "entropy of the table, so that equal distributions give 0.",
            kl_cross_entropy,
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", kl_in_bits),
    ),
    passed=(
        "Checked on a model that equals the table up to a constant per row (0 nats) "
        "and against sums by hand on two random models. The constant per row drops "
        "out in the softmax, so W_E W_U can equal the log table only up to it."
    ),
)
