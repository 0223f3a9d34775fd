"""Chapter 0, `per_token_loss`: judge, known mistakes and hints."""

import math

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch0_toolbox import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_per_token_loss(answer) -> None:
    for tokens, seed, d_vocab in (
        (torch.tensor(shared.TEXTS[0]), 1, 13),
        (torch.tensor([[0, 8, 8, 4, 6]]), 2, 9),
    ):
        model = random_model(1, seed, d_vocab=d_vocab)
        batch, length = tokens.shape
        result = answer(model, tokens)
        loss = expect.tensor(result, **{"batch": batch, "pos-1": length - 1})
        expect.true(
            loss.min() >= 0,
            "A loss is minus the log of a probability, so it is never negative. Your "
            f"smallest is {loss.min().item():.3g}.",
        )
        expect.close(
            loss,
            _loss_by_hand(model, tokens),
            "Some losses do not match a calculation by hand.",
        )


def _loss_by_hand(model, tokens: Tensor) -> Tensor:
    """The definition, one prediction at a time, from prefixes of the text."""
    rows = []
    for row in tokens.tolist():
        losses = []
        for end in range(1, len(row)):
            logits = model(torch.tensor([row[:end]]))[0, -1].double().tolist()
            total = sum(math.exp(value) for value in logits)
            losses.append(math.log(total) - logits[row[end]])
        rows.append(losses)
    return torch.tensor(rows, dtype=torch.float64)


def _gathered(values: Tensor, tokens: Tensor) -> Tensor:
    return values.gather(-1, tokens[..., None]).squeeze(-1)


def loss_of_current(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, :-1])


def loss_of_previous(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, 1:], tokens[:, :-1])


def loss_of_own_position(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, 1:], tokens[:, 1:])


def loss_of_every_token_read(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1), tokens)


def loss_without_minus(model, tokens):
    return _gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, 1:])


def loss_in_bits(model, tokens):
    log_probs = model(tokens).log_softmax(-1)[:, :-1]
    return -_gathered(log_probs, tokens[:, 1:]) / math.log(2)


def loss_of_logits(model, tokens):
    return -_gathered(model(tokens)[:, :-1], tokens[:, 1:])


def loss_of_probs(model, tokens):
    return _gathered(model(tokens).softmax(-1)[:, :-1], tokens[:, 1:])


def loss_over_positions(model, tokens):
    return -_gathered(model(tokens).log_softmax(1)[:, :-1], tokens[:, 1:])


def loss_averaged(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1)[:, :-1], tokens[:, 1:]).mean()


def loss_with_wrap(model, tokens):
    return -_gathered(model(tokens).log_softmax(-1), tokens.roll(-1, 1))


CHECK = Check(
    name="per_token_loss",
    judge=judge_per_token_loss,
    hints=(
        "Turn the logits into log probabilities. Then, for each position, pick the "
        "entry of the token that really came next.",
        "`model(tokens).log_softmax(dim=-1)` are log probabilities [batch, pos, "
        "d_vocab]. Drop the last position of these and the first token of each row: "
        "what is left lines up, prediction with successor. `gather` picks.",
        "`log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)` picks the "
        "right log probabilities. The loss is minus that.",
    ),
    mistakes=(
        Mistake(
            "the token just read",
            "You asked how likely the token is that the model has just read. Position "
            "i predicts token i + 1.",
            loss_of_current,
            swap=("tokens[:, 1:, None]", "tokens[:, :-1, None]"),
        ),
        Mistake(
            "the tokens just read, all of them",
            "You asked at every position how likely the token is that the model has "
            "just read. Position i predicts token i + 1, and the last one predicts "
            "nothing that is in the row.",
            loss_of_every_token_read,
        ),
        Mistake(
            "the token before",
            "You shifted the wrong way: yours is the probability of the token one "
            "before. Position i predicts token i + 1.",
            loss_of_previous,
        ),
        Mistake(
            "not shifted",
            "Your logits and tokens are not shifted against each other. The logits at "
            "position i belong to token i + 1, not to token i.",
            loss_of_own_position,
        ),
        Mistake(
            "sign",
            "These are log probabilities, all negative. The loss is minus that.",
            loss_without_minus,
            swap=("return -log_probs", "return log_probs"),
        ),
        Mistake("bits", "This is in bits. The course counts in nats.", loss_in_bits),
        Mistake(
            "logits",
            "You took the logits as they are. They become log probabilities by "
            "log_softmax over the vocabulary.",
            loss_of_logits,
        ),
        Mistake(
            "probabilities",
            "These are probabilities. The loss is minus their logarithm.",
            loss_of_probs,
        ),
        Mistake(
            "softmax over positions",
            "Your softmax runs over positions. The probabilities of all tokens at one "
            "position sum to 1, so it runs over the last axis, d_vocab.",
            loss_over_positions,
        ),
        Mistake(
            "averaged",
            "You took the average. Here every token keeps its own loss.",
            loss_averaged,
        ),
        Mistake(
            "one column too many",
            "Your last column compares the end of the row with its beginning. The "
            "last token has no successor, so there is one column less.",
            loss_with_wrap,
        ),
    ),
    passed=(
        "Checked against a calculation by hand that shows the model one prefix at a "
        "time. One run gives all of them at once, because no position sees a later one."
    ),
)
