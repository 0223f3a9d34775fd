"""Chapter 3, `copying_top1`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared

__all__ = ["CHECK"]


def judge_copying_top1(answer) -> None:
    answer = expect.weights_only(answer)
    # All are asked before any is judged: a share of few tokens is easily hit by chance.
    cases = [
        (answer(model, layer, head), shared.ov_by_running(model, layer, head))
        for model, layer, head in (
            (shared.half_copying(1, d_vocab=37), 0, 1),
            (shared.half_copying(4, d_vocab=29), 0, 2),
            (shared.half_copying(5, n_layers=2, d_vocab=23), 1, 2),
            (shared.half_copying(6, d_vocab=600), 0, 0),
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
    circuit = shared.ov(model, layer, head)
    return (circuit.argmax(0) == torch.arange(len(circuit))).float().mean().item()


def top1_diagonal_positive(model, layer, head):
    return (shared.ov(model, layer, head).diagonal() > 0).float().mean().item()


def top1_by_size(model, layer, head):
    circuit = shared.ov(model, layer, head).abs()
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


def top1_with_direct(model, layer, head):
    circuit = shared.ov(model, layer, head) + model.W_E @ model.W_U
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


def top1_count(model, layer, head):
    circuit = shared.ov(model, layer, head)
    return (circuit.argmax(1) == torch.arange(len(circuit))).sum().item()


def top1_column_centred(model, layer, head):
    circuit = shared.ov(model, layer, head)
    circuit = circuit - circuit.mean(0)
    return (circuit.argmax(1) == torch.arange(len(circuit))).float().mean().item()


CHECK = Check(
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
            swap=(").argmax(dim=1)", ").abs().argmax(dim=1)"),
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
            swap=(".float().mean().item()", ".sum().item()"),
        ),
        Mistake(
            "column means removed",
            "You subtracted from each output token its mean over sources. That is a "
            "fair question too, but here the entries are compared as they are.",
            top1_column_centred,
        ),
    ),
    passed=(
        "Checked against a count by hand on four models, from matrices measured by "
        "running them. Unlike eigenvalues, this asks each token by itself whether it "
        "is copied."
    ),
)
