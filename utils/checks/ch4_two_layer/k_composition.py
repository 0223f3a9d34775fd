"""Chapter 4, `k_composition`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake
from utils.checks.ch4_two_layer import shared

__all__ = ["CHECK"]


def judge_k_composition(answer) -> None:
    shared.judge_table(answer, "K", "the key")


def k_of_query(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q")


def k_transposed(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K").T


def k_of_own_layer(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K", source=to_layer)


def k_anywhere(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K", causal=False)


def k_squared(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K") ** 2


def k_later_first(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K", later_first=True)


def k_as_printed(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q", later_first=True)


CHECK = Check(
    name="k_composition",
    judge=judge_k_composition,
    hints=(
        "The same as Q-composition, on the other side of W_QK.",
        "The key is read by the columns of W_QK. Transpose it, so that they become "
        "rows that meet W_OV.",
        "`kq = FactoredMatrix(model.W_K[to_layer, j], model.W_Q[to_layer, j].T)` is "
        "W_QK transposed; `composition_score(ov, kq)` is the score.",
    ),
    mistakes=(
        Mistake(
            "Q instead of K",
            "This is Q-composition. Here W_QK = W_Q W_K^T has the query on the left; "
            "to let the key meet W_OV, transpose it.",
            k_of_query,
            swap=(
                "model.W_K[to_layer, j], model.W_Q[to_layer, j].T",
                "model.W_Q[to_layer, j], model.W_K[to_layer, j].T",
            ),
        ),
        Mistake(
            "transposed",
            shared.TABLE_TRANSPOSED,
            k_transposed,
            swap=("scores[i, j]", "scores[j, i]"),
        ),
        Mistake("squared", shared.SQUARED, k_squared),
        Mistake("later head first", shared.LATER_FIRST, k_later_first),
        Mistake("as the paper prints it", shared.LATER_FIRST, k_as_printed),
        Mistake("own layer", shared.OWN_LAYER, k_of_own_layer),
        Mistake("any order of layers", shared.ANYWHERE, k_anywhere),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores. In the paper, with "
        "column vectors, K-composition is W_QK W_OV without a transpose and "
        "Q-composition has one; with rows it is the other way round."
    ),
)
