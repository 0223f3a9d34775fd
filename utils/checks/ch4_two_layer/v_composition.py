"""Chapter 4, `v_composition`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch4_two_layer import shared
from utils.models.handmade import previous_token_model

__all__ = ["CHECK"]


def judge_v_composition(answer) -> None:
    answer = expect.weights_only(answer)
    shared.judge_table(answer, "V", "the value")
    model = previous_token_model({(0, 0): 1, (1, 0): 1}, n_heads=1)
    expect.close(
        expect.tensor(answer(model), from_head=1, to_head=1),
        torch.full((1, 1), 7**-0.5),
        "In a model made by hand, 1.0 reads all seven places that 0.0 writes to, so "
        "the score should be the root of 1/7.",
    )


def v_of_output(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V.T")


def v_transposed(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V").T


def v_of_own_layer(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V", source=to_layer)


def v_anywhere(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V", causal=False)


def v_squared(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V") ** 2


def v_later_first(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V", later_first=True)


CHECK = Check(
    name="v_composition",
    judge=judge_v_composition,
    hints=(
        "What does a later head do with what it moves? It reads it with W_V.",
        "W_OV of the later head stands where W_QK stood in the other two.",
        "`later = FactoredMatrix(model.W_V[to_layer, j], model.W_O[to_layer, j])` and "
        "`composition_score(earlier, later)`.",
    ),
    mistakes=(
        Mistake(
            "the wrong side",
            "You transposed the later W_OV, so you compare two outputs. The later head "
            "reads with W_V, the left factor.",
            v_of_output,
        ),
        Mistake(
            "transposed",
            shared.TABLE_TRANSPOSED,
            v_transposed,
            swap=("scores[i, j]", "scores[j, i]"),
        ),
        Mistake("squared", shared.SQUARED, v_squared),
        Mistake(
            "later head first",
            shared.LATER_FIRST,
            v_later_first,
            swap=(
                "composition_score(earlier, later)",
                "composition_score(later, earlier)",
            ),
        ),
        Mistake("own layer", shared.OWN_LAYER, v_of_own_layer),
        Mistake("any order of layers", shared.ANYWHERE, v_anywhere),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores and on two "
        "previous-token heads set by hand, of which one reads what the other writes. "
        "The product in the numerator is the OV matrix of the virtual head."
    ),
)
