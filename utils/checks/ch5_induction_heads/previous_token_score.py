"""Chapter 5, `previous_token_score`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    random_model,
)

__all__ = ["CHECK"]


def judge_previous_token_score(answer) -> None:
    for n_layers, n_heads, batch, span in ((2, 3, 3, 5), (3, 4, 2, 3), (1, 2, 1, 4)):
        model = random_model(n_layers, n_layers, d_vocab=13, n_heads=n_heads, scale=2.0)
        tokens = shared.rows(13, span, 2, batch, seed=n_heads)
        score = expect.tensor(answer(model, tokens), layer=n_layers, head=n_heads)
        _, _, patterns, _ = shared.by_hand(model, tokens)
        means = {}
        for place, pattern in patterns.items():
            cells = [
                pattern[row, i, i - 1].item()
                for row in range(batch)
                for i in range(1, tokens.shape[1])
            ]
            means[place] = sum(cells) / len(cells)
        expect.close(
            score,
            shared.per_head(model, means),
            "The scores do not match a mean by hand over all positions but the first.",
        )


def previous_as_current(model, tokens):
    cells = shared.patterns(model, tokens).diagonal(dim1=-2, dim2=-1)
    return cells[..., 1:].mean((1, 3))


def previous_over_all(model, tokens):
    cells = shared.patterns(model, tokens).diagonal(-1, -2, -1)
    return cells.sum(-1).mean(1) / tokens.shape[1]


def previous_as_next(model, tokens):
    return shared.patterns(model, tokens).diagonal(1, -2, -1).mean((1, 3))


def previous_two_back(model, tokens):
    return shared.patterns(model, tokens).diagonal(-2, -2, -1).mean((1, 3))


def previous_by_arg_max(model, tokens):
    top = shared.patterns(model, tokens).argmax(-1)[..., 1:]
    before = torch.arange(tokens.shape[1] - 1)
    return (top == before).double().mean((1, 3))


def previous_in_first_row(model, tokens):
    return shared.patterns(model, tokens)[:, 0].diagonal(-1, -2, -1).mean(-1)


def previous_in_two_layers(model, tokens):
    return shared.patterns(model, tokens).diagonal(-1, -2, -1).mean((1, 3))[:2]


def previous_without_second(model, tokens):
    return shared.patterns(model, tokens).diagonal(-1, -2, -1)[..., 1:].mean((1, 3))


CHECK = Check(
    name="previous_token_score",
    judge=judge_previous_token_score,
    hints=(
        "In a pattern [query, key] the cells (i, i - 1) form a line just below the "
        "diagonal.",
        "`pattern.diagonal(offset=-1, dim1=-2, dim2=-1)` takes that line. Average it "
        "over rows of the batch and positions, for every head of every layer.",
        "`cache['pattern', layer]` is [batch, head, query, key]. Its diagonal at -1 is "
        "[batch, head, pos - 1]; `.mean((0, 2))` leaves [head]. Stack the layers.",
    ),
    mistakes=(
        Mistake(
            "largest entry",
            "You count how often the position before gets the most attention. The "
            "score is how much attention it gets, be it the most or not.",
            previous_by_arg_max,
        ),
        Mistake(
            "first row only",
            "You look at the first row of the batch only. All rows count.",
            previous_in_first_row,
        ),
        Mistake(
            "current token",
            "This is attention to the token itself, the diagonal. The token before "
            "stands one column to the left.",
            previous_as_current,
        ),
        Mistake(
            "divided by all positions",
            "You divided by the number of all positions. The first has nothing before "
            "it and does not count.",
            previous_over_all,
        ),
        Mistake(
            "above the diagonal",
            "You took the line above the diagonal: attention to the token after, which "
            "the mask forbids. Queries are rows and keys columns, so it is offset -1.",
            previous_as_next,
            swap=("offset=-1", "offset=1"),
        ),
        Mistake(
            "two back",
            "This is attention to the token two back.",
            previous_two_back,
            swap=("offset=-1", "offset=-2"),
        ),
        Mistake(
            "two layers",
            shared.TWO_LAYERS,
            previous_in_two_layers,
            shared.scores_two_layers(previous_in_two_layers),
        ),
        Mistake(
            "position 1 left out",
            "You left out position 1, which attends to the start token. It counts: "
            "only position 0 has none before it.",
            previous_without_second,
        ),
    ),
    passed=(
        "Checked cell by cell for models of one, two and three layers. A head with a "
        "score near 1 tells each position what stands before it, and nothing else."
    ),
)
