"""Chapter 2, `direct_path`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_direct_path(answer) -> None:
    answer = expect.weights_only(answer)
    for d_vocab, d_model, seed in ((13, 10, 0), (9, 14, 1)):
        model = random_model(0, seed, d_vocab=d_vocab, d_model=d_model)
        result = answer(model)
        path = expect.tensor(result, current=d_vocab, next=d_vocab)
        tokens = torch.arange(d_vocab)[:, None]
        expect.close(
            path,
            model(tokens)[:, 0],
            "Row i should hold the logits that the model gives after token i.",
        )
    model = random_model(2, seed=2, d_vocab=11, d_model=8)
    result = answer(model)
    expect.close(
        expect.tensor(result, current=11, next=11),
        _path_by_loops(model.W_E.tolist(), model.W_U.tolist()),
        "In a model with layers, row i should hold what the embedding of token i alone "
        "gives, past all layers.",
    )


def _path_by_loops(W_E: list, W_U: list) -> torch.Tensor:
    columns = list(zip(*W_U, strict=True))
    return torch.tensor(
        [
            [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
            for row in W_E
        ],
        dtype=torch.float64,
    )


def path_transposed(model):
    return (model.W_E @ model.W_U).T


def path_in_paper_order(model):
    return model.W_U @ model.W_E


def path_as_log_probs(model):
    return (model.W_E @ model.W_U).log_softmax(-1)


def path_as_probs(model):
    return (model.W_E @ model.W_U).softmax(-1)


def path_tied(model):
    return model.W_E @ model.W_E.T


CHECK = Check(
    name="direct_path",
    judge=judge_direct_path,
    hints=(
        "Follow one token: it becomes a row of W_E, nothing happens to it, and W_U "
        "turns it into logits.",
        "Looking up a row of W_E is multiplying a one-hot vector by W_E. Doing that "
        "for all tokens at once leaves the product of two matrices.",
        "`model.W_E` is [d_vocab, d_model] and `model.W_U` is [d_model, d_vocab]. "
        "Return `model.W_E @ model.W_U`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your matrix is transposed: its rows are output tokens. Row i should hold "
            "what token i says about the next token.",
            path_transposed,
            swap=("model.W_E @ model.W_U", "(model.W_E @ model.W_U).T"),
        ),
        Mistake(
            "order of the paper",
            "The paper writes W_U W_E, with vectors as columns. TransformerLens "
            "multiplies on the right, so here it is W_E first, then W_U.",
            path_in_paper_order,
        ),
        Mistake(
            "log probabilities",
            "These are log probabilities. The direct path is the logits themselves, "
            "before any softmax.",
            path_as_log_probs,
        ),
        Mistake(
            "probabilities",
            "These are probabilities. The direct path is the logits themselves, "
            "before any softmax.",
            path_as_probs,
        ),
        Mistake(
            "tied weights",
            "You used W_E twice. In this model W_U is a matrix of its own and not the "
            "transpose of W_E.",
            path_tied,
            swap=("model.W_E @ model.W_U", "model.W_E @ model.W_E.T"),
        ),
    ),
    passed=(
        "Checked against the logits that the model itself gives after each token, for "
        "two shapes, and by hand in a model with layers. With no layers there is "
        "nothing between embedding and unembedding, so the product of the two matrices "
        "is the whole model."
    ),
)
