"""Chapter 4, `q_composition`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake
from utils.checks.ch4_two_layer import shared

__all__ = ["CHECK"]


def judge_q_composition(answer) -> None:
    shared.judge_table(answer, "Q", "the query")


def q_of_key(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K")


def q_of_value(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "V")


def q_transposed(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q").T


def q_of_own_layer(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q", source=to_layer)


def q_anywhere(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q", causal=False)


def q_less_floor(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q") - model.cfg.d_model**-0.5


def q_squared(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q") ** 2


def q_later_first(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "Q", later_first=True)


def q_as_printed(model, from_layer=0, to_layer=1):
    return shared.table(model, from_layer, to_layer, "K", later_first=True)


CHECK = Check(
    name="q_composition",
    judge=judge_q_composition,
    hints=(
        "What the earlier head writes lies in the row space of its W_OV. The later "
        "head's query reads it with W_Q, the left factor of its W_QK. Use "
        "`composition_score` on each pair.",
        "W_OV is W_V times W_O, and W_QK is W_Q times W_K transposed. Two loops over "
        "heads fill the table. Do not forget the case without any earlier layer.",
        "`ov = FactoredMatrix(model.W_V[from_layer, i], model.W_O[from_layer, i])`, "
        "`qk = FactoredMatrix(model.W_Q[to_layer, j], model.W_K[to_layer, j].T)`, and "
        "`scores[i, j] = composition_score(ov, qk)`.",
    ),
    mistakes=(
        Mistake(
            "K instead of Q",
            "This is K-composition. With row vectors, W_QK = W_Q W_K^T has the query "
            "on the left, and that is the side that has to meet W_OV. Transposed, it "
            "is the key.",
            q_of_key,
            swap=(
                "model.W_Q[to_layer, j], model.W_K[to_layer, j].T",
                "model.W_K[to_layer, j], model.W_Q[to_layer, j].T",
            ),
        ),
        Mistake(
            "V instead of Q",
            "This is V-composition: you took W_OV of the later head. Its query is read "
            "by W_QK.",
            q_of_value,
        ),
        Mistake(
            "transposed",
            shared.TABLE_TRANSPOSED,
            q_transposed,
            swap=("scores[i, j]", "scores[j, i]"),
        ),
        Mistake("squared", shared.SQUARED, q_squared),
        Mistake("later head first", shared.LATER_FIRST, q_later_first),
        Mistake("as the paper prints it", shared.LATER_FIRST, q_as_printed),
        Mistake("own layer", shared.OWN_LAYER, q_of_own_layer),
        Mistake("any order of layers", shared.ANYWHERE, q_anywhere),
        Mistake(
            "baseline subtracted",
            "You subtracted 1/sqrt(d_model). The table should hold the plain scores.",
            q_less_floor,
        ),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores on models of two and "
        "three layers, and that a head which comes too early reads nothing."
    ),
)
