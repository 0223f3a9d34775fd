"""Chapter 0, `next_token`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.models.handmade import random_model
from utils.text.tokenizer import load_tokenizer, word_tokenizer

__all__ = ["CHECK"]

# Another tokenizer than the course's, in which a number means another word.
WORDS = [" mat", " on", "self", " cat", " a", "import", " the"]


def judge_next_token(answer) -> None:
    course, words = load_tokenizer(1024), word_tokenizer(WORDS)
    cases = (
        (4, course, "import os"),
        (4, course, "def f(self)"),
        (11, course, "def f(self)"),
        (5, words, " cat on a mat"),
        (8, words, " mat"),
    )
    for seed, tokenizer, text in cases:
        d_vocab = len(tokenizer)
        model = random_model(1, seed, d_vocab=d_vocab, tokenizer=tokenizer)
        result = answer(model, text)
        expect.true(
            isinstance(result, str),
            f"The result should be a string. Yours is of type {type(result).__name__}.",
        )
        ids = [0] + tokenizer(text, add_special_tokens=False).input_ids
        logits = model(torch.tensor([ids]))[0, len(ids) - 1].tolist()
        best = tokenizer.decode([logits.index(max(logits))])
        expect.true(
            result == best,
            f"After {text!r} the test model finds {best!r} likeliest. Yours is "
            f"{result!r}.",
        )


def next_after_start(model, text):
    logits = model(model.to_tokens(text))
    return model.tokenizer.decode([logits[0, 0].argmax().item()])


def next_without_start(model, text):
    logits = model(model.to_tokens(text, prepend_bos=False))
    return model.tokenizer.decode([logits[0, -1].argmax().item()])


def next_as_id(model, text):
    return model(model.to_tokens(text))[0, -1].argmax().item()


def next_as_stored(model, text):
    best = model(model.to_tokens(text))[0, -1].argmax().item()
    return model.tokenizer.convert_ids_to_tokens([best])[0]


def next_stripped(model, text):
    best = model(model.to_tokens(text))[0, -1].argmax().item()
    return model.tokenizer.decode([best]).strip()


def next_is_the_last_read(model, text):
    return model.to_str_tokens(text)[-1]


CHECK = Check(
    name="next_token",
    judge=judge_next_token,
    hints=(
        "Turn the text into tokens, run the model, and look at the logits of one "
        "position. Which position has read the whole text?",
        "`model.to_tokens(text)` gives [batch, pos] and `model(tokens)` gives logits "
        "[batch, pos, d_vocab]. The last position has read everything. The place of "
        "its largest logit is a token id.",
        "`best = model(model.to_tokens(text))[0, -1].argmax().item()`, and "
        "`model.tokenizer.decode([best])` is the string.",
    ),
    mistakes=(
        Mistake(
            "first position",
            "You read the logits of the first position. It has seen the start token "
            "only. The prediction after the whole text stands at the last position.",
            next_after_start,
            swap=("logits[0, -1]", "logits[0, 0]"),
        ),
        Mistake(
            "no start token",
            "You left the start token out. The model never saw a text without it. Use "
            "`model.to_tokens(text)` as it is.",
            next_without_start,
        ),
        Mistake(
            "an id",
            "This is the token's id. Turn it into a string with "
            "`model.tokenizer.decode([id])`.",
            next_as_id,
            swap=("return model.tokenizer.decode([best])", "return best"),
        ),
        Mistake(
            "the tokenizer's spelling",
            "This is how the tokenizer spells the token inside its files, with Ġ for a "
            "space. `model.tokenizer.decode([id])` gives the text itself.",
            next_as_stored,
        ),
        Mistake(
            "space removed",
            "You removed the space. It belongs to the token: the one with a space in "
            "front is another token than the one without.",
            next_stripped,
        ),
        Mistake(
            "the last token read",
            "This is the last token of the text itself. The model's guess for the one "
            "after it comes from the logits.",
            next_is_the_last_read,
        ),
    ),
    passed=(
        "Checked on two random models and two texts. The logits at a position are the "
        "model's guess for the token after it, so the last position answers for the "
        "whole text."
    ),
)
