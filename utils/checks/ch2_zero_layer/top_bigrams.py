"""Chapter 2, `top_bigrams`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.models.handmade import random_model
from utils.text.tokenizer import load_tokenizer, word_tokenizer

__all__ = ["CHECK"]

# Another tokenizer than the course's, in which a number means another word.
WORDS = ["return", " self", ".", " name", " =", "None", " def"]


def judge_top_bigrams(answer) -> None:
    answer = expect.weights_only(answer)
    course, words = load_tokenizer(1024), word_tokenizer(WORDS)
    cases = ((course, " self", 4), (course, "return", 3), (words, " self", 5))
    for tokenizer, token, k in cases:
        d_vocab = len(tokenizer)
        model = random_model(0, k, d_vocab=d_vocab, d_model=6 + k, tokenizer=tokenizer)
        result = answer(model, token, k)
        row = model(torch.tensor([[model.to_single_token(token)]]))[0, 0].double()
        order = row.argsort(descending=True)[:k]
        words = [tokenizer.decode([int(i)]) for i in order]
        _expect_pairs(result, k)
        expect.true(
            [word for word, _ in result] == words,
            f"After {token!r} the {k} likeliest tokens of the test model are {words}. "
            f"Yours are {[word for word, _ in result]}.",
        )
        values = torch.tensor([float(p) for _, p in result])
        expect.close(
            values,
            row.softmax(0)[order],
            "The tokens are right, their probabilities are not.",
        )


def _expect_pairs(result, k: int) -> None:
    expect.true(
        isinstance(result, list | tuple) and len(result) == k,
        f"The result should be a list of {k} pairs (token, probability). One token "
        "has one row: is yours the row of one number?",
    )
    for pair in result:
        expect.true(
            isinstance(pair, list | tuple)
            and len(pair) == 2
            and isinstance(pair[0], str),
            "Each entry should be a pair of a token's string and its probability.",
        )
        expect.number(pair[1])


def _pairs(model, values: Tensor, k: int) -> list[tuple[str, float]]:
    best, ids = values.topk(k)
    words = [model.tokenizer.decode([i]) for i in ids.tolist()]
    return list(zip(words, best.tolist(), strict=True))


def top_by_column(model, token, k=5):
    column = model.W_E @ model.W_U[:, model.to_single_token(token)]
    return _pairs(model, column.softmax(0), k)


def top_after_start(model, token, k=5):
    return _pairs(model, (model.W_E[0] @ model.W_U).softmax(0), k)


def top_logits(model, token, k=5):
    return _pairs(model, model.W_E[model.to_single_token(token)] @ model.W_U, k)


def top_similar(model, token, k=5):
    similar = model.W_E @ model.W_E[model.to_single_token(token)]
    return _pairs(model, similar.softmax(0), k)


def top_least(model, token, k=5):
    row = (model.W_E[model.to_single_token(token)] @ model.W_U).softmax(0)
    values, ids = row.topk(k, largest=False)
    words = [model.tokenizer.decode([i]) for i in ids.tolist()]
    return list(zip(words, values.tolist(), strict=True))


CHECK = Check(
    name="top_bigrams",
    judge=judge_top_bigrams,
    hints=(
        "You need one row of the direct path, turned into probabilities, and its k "
        "largest entries.",
        "`model.to_single_token(token)` gives the row's number. `torch.topk` gives the "
        "largest values and their places, and the places are token ids.",
        "`row = (model.W_E[i] @ model.W_U).softmax(dim=0)`, "
        "`values, ids = row.topk(k)`, and `model.tokenizer.decode([j])` for each j of "
        "`ids.tolist()` gives the string.",
    ),
    mistakes=(
        Mistake(
            "a column",
            "You read a column: which tokens this one is likely to follow. What comes "
            "next stands in the row.",
            top_by_column,
        ),
        Mistake(
            "the start token",
            "You read the row of the start token. `model.to_tokens` puts it before "
            "every text; `model.to_single_token(token)` is the number alone.",
            top_after_start,
        ),
        Mistake(
            "logits",
            "These are logits. Take the softmax of the row first.",
            top_logits,
            swap=("row.softmax(dim=0).topk(k)", "row.topk(k)"),
        ),
        Mistake(
            "similar embeddings",
            "You compared embeddings with each other. That finds tokens like this one; "
            "what comes next needs W_U.",
            top_similar,
        ),
        Mistake(
            "smallest",
            "These are the unlikeliest tokens. Sort the other way round.",
            top_least,
            swap=(".topk(k)", ".topk(k, largest=False)"),
        ),
    ),
    passed=(
        "Checked against the logits of three random models with two tokenizers. The "
        "whole table is never needed: one row of W_E times W_U answers the question."
    ),
)
