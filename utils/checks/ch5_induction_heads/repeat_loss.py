"""Chapter 5, `repeat_loss`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    random_model,
)

__all__ = ["CHECK"]


def judge_repeat_loss(answer) -> None:
    for n_layers, span, copies, batch in ((2, 4, 2, 3), (1, 3, 3, 1), (3, 5, 3, 2)):
        model = random_model(n_layers, span, d_vocab=14, n_ctx=17, scale=2.0)
        tokens = shared.rows(14, span, copies, batch, seed=copies)
        result = expect.number(answer(model, tokens, span))
        log_probs = model(tokens).double().log_softmax(-1)
        losses = []
        for row in range(len(tokens)):
            # The token at span + 1 opens the second copy and is left out.
            for i in range(span + 2, tokens.shape[1]):
                losses.append(-log_probs[row, i - 1, tokens[row, i]].item())
        expect.close(
            result,
            sum(losses) / len(losses),
            f"The mean loss with a span of {span} and {copies} copies does not match "
            "one token after the other by hand.",
        )


def loss_with_first(model, tokens, span):
    return shared.losses(model(tokens), tokens)[:, span:].mean()


def loss_one_late(model, tokens, span):
    return shared.losses(model(tokens), tokens)[:, span + 2 :].mean()


def loss_everywhere(model, tokens, span):
    return shared.losses(model(tokens), tokens).mean()


def loss_only_second_copy(model, tokens, span):
    return shared.losses(model(tokens), tokens)[:, span + 1 : 2 * span].mean()


def loss_of_last_copy(model, tokens, span):
    return shared.losses(model(tokens), tokens)[:, 1 - span :].mean()


def loss_without_any_first(model, tokens, span):
    losses = shared.losses(model(tokens), tokens)
    keep = [i for i in range(span + 1, losses.shape[1]) if i % span]
    return losses[:, keep].mean()


def loss_summed(model, tokens, span):
    return shared.losses(model(tokens), tokens)[:, span + 1 :].sum()


def loss_of_logits(model, tokens, span):
    logits = model(tokens)[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    return -logits[:, span + 1 :].mean()


CHECK = Check(
    name="repeat_loss",
    judge=judge_repeat_loss,
    hints=(
        "Compute the loss of every next token first, then find the column where what "
        "counts begins.",
        "Losses have one column less than tokens: column i is about token i + 1. Token "
        "0 is the start, tokens 1 to span the first copy, and token span + 1 opens the "
        "second copy.",
        "`losses = -model(tokens).log_softmax(-1)[:, :-1].gather(-1, "
        "tokens[:, 1:, None])[..., 0]`, and the first token that counts is number "
        "span + 2, so its column is `span + 1`.",
    ),
    mistakes=(
        Mistake(
            "first token included",
            "You count the first token of the second copy. Nothing tells that the "
            "repeat begins there, so its loss says nothing about induction. Mind that "
            "column i of the losses is about token i + 1.",
            loss_with_first,
            swap=("span + 1 :]", "span:]"),
        ),
        Mistake(
            "one too late",
            "You begin one token too late: the second token of the second copy can be "
            "known. Mind that column i of the losses is about token i + 1.",
            loss_one_late,
            swap=("span + 1 :]", "span + 2 :]"),
        ),
        Mistake(
            "first copy included",
            "You average over everything. The first copy cannot be predicted by "
            "anybody and only blurs the number.",
            loss_everywhere,
        ),
        Mistake(
            "only the second copy",
            "You stop at the end of the second copy. Later copies count too.",
            loss_only_second_copy,
        ),
        Mistake(
            "only the last copy",
            "You take the last span - 1 tokens. With two copies these are the right "
            "ones; with more, the copies between them count too.",
            loss_of_last_copy,
        ),
        Mistake(
            "every first token left out",
            "You leave out the first token of every copy. From the third copy on it "
            "can be known: the end of the span was followed by it once.",
            loss_without_any_first,
        ),
        Mistake(
            "sum",
            "This is the sum of the losses. Take the mean per token.",
            loss_summed,
        ),
        Mistake(
            "logits",
            "You used logits as they are. Take log_softmax first.",
            loss_of_logits,
        ),
    ),
    passed=(
        "Checked token by token for three spans and for two and three copies. Whatever "
        "is left in this number could have been known from the first copy."
    ),
)
