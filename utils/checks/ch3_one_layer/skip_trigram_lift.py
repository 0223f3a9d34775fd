"""Chapter 3, `skip_trigram_lift`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


CONTEXTS = [[0, 4, 1, 9, 4, 6, 2], [0, 11, 4, 3, 12, 2, 6], [0, 1, 1, 7, 9, 12, 5]]


def judge_skip_trigram_lift(answer) -> None:
    contexts = torch.tensor(CONTEXTS)
    cases = (
        (1, 3, 7, 8, [3, 5], [1, 8, 9]),
        (2, 2, 4, 10, [7], [4, 2]),
        (1, 1, 5, 6, [2, 9, 11], [12]),
    )
    for n_layers, batch, width, source, destinations, outs in cases:
        model = random_model(n_layers, seed=width, scale=0.7)
        part = contexts[:batch, :width]
        result = answer(model, part, source, destinations, outs)
        lift = expect.tensor(result, destination=len(destinations), out=len(outs))
        expect.close(
            lift,
            _lift_by_hand(model, part.tolist(), source, destinations, outs),
            f"For {batch} contexts of {width} tokens, the lift does not match pairs of "
            "runs by hand, one context at a time.",
            atol=1e-4,
        )


def _lift_by_hand(model, contexts, source, destinations, outs) -> Tensor:
    table = []
    for destination in destinations:
        total = torch.zeros(len(outs), dtype=torch.float64)
        for context in contexts:
            without = [*context[:-1], destination]
            with_source = list(without)
            with_source[len(context) // 2] = source
            change = torch.zeros(len(outs), dtype=torch.float64)
            for text, sign in ((with_source, 1), (without, -1)):
                logits = shared.logits(model, torch.tensor([text]))[0, -1]
                change += sign * (logits[outs] - logits.mean())
            total += change / len(contexts)
        table.append(total)
    return torch.stack(table)


def _lift(
    model, contexts, source, destinations, outs, *, place=None, how=None, replace=True
):
    place = contexts.shape[1] // 2 if place is None else place
    how = how or (lambda logits: logits - logits.mean(-1, keepdim=True))
    rows = []
    for destination in destinations:
        without = contexts.clone()
        if replace:
            without[:, -1] = destination
        with_source = without.clone()
        with_source[:, place] = source
        change = how(model(with_source)[:, -1]) - how(model(without)[:, -1])
        rows.append(change.mean(0)[outs])
    return torch.stack(rows)


def lift_of_log_probs(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits.log_softmax(-1))


def lift_not_centred(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits)


def lift_reversed(model, contexts, source, destinations, outs):
    return -_lift(model, contexts, source, destinations, outs)


def lift_next_to_it(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, place=-2)


def lift_at_a_fixed_place(model, contexts, source, destinations, outs):
    return _lift(model, contexts, source, destinations, outs, place=3)


def at_a_fixed_place(answer) -> bool:
    """Whether the source goes to one place, however long the contexts are."""
    model, contexts = random_model(1, 5, scale=0.7), torch.tensor(CONTEXTS)
    given = (8, [3, 5], [1, 9])
    results = [
        (part, torch.as_tensor(answer(model, part, *given)))
        for part in (contexts, contexts[:, :4])
    ]
    return any(
        all(
            torch.allclose(result, _lift(model, part, *given, place=place), atol=1e-4)
            for part, result in results
        )
        for place in range(3)
    )


def lift_same_destination(model, contexts, source, destinations, outs):
    return _lift(model, contexts, source, destinations, outs, replace=False)


def lift_summed(model, contexts, source, destinations, outs):
    return len(contexts) * _lift(model, contexts, source, destinations, outs)


def lift_of_probs(model, contexts, source, destinations, outs):
    args = (model, contexts, source, destinations, outs)
    return _lift(*args, how=lambda logits: logits.softmax(-1))


CHECK = Check(
    name="skip_trigram_lift",
    judge=judge_skip_trigram_lift,
    hints=(
        "For each destination you need two versions of every context that differ in "
        "one token only: with the source, and without.",
        "Copy the contexts with `.clone()` before you change them. Put the destination "
        "at the end of both versions, and the source in the middle of one. The "
        "prediction stands at the last position.",
        "`change = model(with_source)[:, -1] - model(without)[:, -1]`, then "
        "`change - change.mean(dim=-1, keepdim=True)`, then `.mean(dim=0)[outs]`. "
        "Stack the rows of all destinations.",
    ),
    mistakes=(
        Mistake(
            "log probabilities",
            "You compared log probabilities. Their normaliser depends on all other "
            "tokens; the lift here is in logits minus their mean.",
            lift_of_log_probs,
        ),
        Mistake(
            "not centred",
            "You did not subtract the mean over the vocabulary. A constant on all "
            "logits changes no probability.",
            lift_not_centred,
        ),
        Mistake(
            "sign",
            "The sign is reversed. The lift is with the source minus without.",
            lift_reversed,
        ),
        Mistake(
            "next to the destination",
            "You put the source right before the destination. It belongs in the "
            "middle of the context: the trigram skips.",
            lift_next_to_it,
            swap=("contexts.shape[1] // 2", "-2"),
        ),
        Mistake(
            "a fixed place",
            "You put the source at the same position in every context. It belongs at "
            "`pos // 2`, which depends on how long the contexts are.",
            lift_at_a_fixed_place,
            at_a_fixed_place,
        ),
        Mistake(
            "destination left out",
            "All your rows are the same: the last token was not replaced by the "
            "destination.",
            lift_same_destination,
        ),
        Mistake(
            "summed",
            "You summed over contexts. Take the mean, so that more contexts do not "
            "make a larger lift.",
            lift_summed,
            swap=("change.mean(dim=0)[outs]", "change.sum(dim=0)[outs]"),
        ),
        Mistake(
            "probabilities",
            "You compared probabilities. The lift is in logits.",
            lift_of_probs,
        ),
    ),
    passed=(
        "Checked against pairs of runs by hand, for three lengths. The "
        "two versions differ in one token, so whatever differs in the logits is its "
        "doing."
    ),
)
