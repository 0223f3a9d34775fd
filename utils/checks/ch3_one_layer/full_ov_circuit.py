"""Chapter 3, `full_ov_circuit`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_full_ov_circuit(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, seed in ((1, 0, 1, 0), (2, 1, 2, 1)):
        model = random_model(n_layers, seed, d_vocab=13)
        result = answer(model, layer, head)
        circuit = expect.tensor(result, source=13, out=13)
        expect.close(
            circuit,
            shared.ov_by_running(model, layer, head),
            "Row s should be what the head adds to the logits when all its attention "
            "is on token s.",
            atol=1e-4,
        )
    shared.expect_narrow(result, model.cfg.d_head)


def ov_transposed(model, layer, head):
    return shared.ov(model, layer, head).T


def ov_without_vocabulary(model, layer, head):
    return model.W_V[layer, head] @ model.W_O[layer, head]


def ov_matrix_transposed(model, layer, head):
    ov = model.W_V[layer, head] @ model.W_O[layer, head]
    return model.W_E @ ov.T @ model.W_U


def ov_tied(model, layer, head):
    return model.W_E @ model.W_V[layer, head] @ model.W_O[layer, head] @ model.W_E.T


def ov_with_direct(model, layer, head):
    return shared.ov(model, layer, head) + model.W_E @ model.W_U


def ov_of_layer_0(model, layer, head):
    return shared.ov(model, 0, head)


def ov_scaled(model, layer, head):
    return shared.ov(model, layer, head) / model.cfg.d_head**0.5


CHECK = Check(
    name="full_ov_circuit",
    judge=judge_full_ov_circuit,
    hints=(
        "Follow one source token through the head to the logits: embedding, value, "
        "output, unembedding.",
        "`ov_matrix(model, layer, head)` of chapter 1 is W_V W_O as a FactoredMatrix "
        "with factors `.A` and `.B`. Put W_E in front of one factor and W_U behind "
        "the other.",
        "`return FactoredMatrix(model.W_E @ model.W_V[layer, head], "
        "model.W_O[layer, head] @ model.W_U)`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Your circuit is transposed. Rows are source tokens and columns are output "
            "tokens; the paper writes it the other way round.",
            ov_transposed,
        ),
        Mistake(
            "no vocabulary",
            "This is W_V W_O, which leads from the stream to the stream. The full "
            "circuit begins at tokens and ends at logits.",
            ov_without_vocabulary,
            swap=("FactoredMatrix(model.W_E @ ov.A, ov.B @ model.W_U)", "ov"),
        ),
        Mistake(
            "order of the paper",
            "W_V and W_O are the wrong way round. TransformerLens multiplies on the "
            "right: first W_V, then W_O.",
            ov_matrix_transposed,
        ),
        Mistake(
            "tied weights",
            "You unembedded with W_E. In this model W_U is a matrix of its own.",
            ov_tied,
            swap=("ov.B @ model.W_U", "ov.B @ model.W_E.T"),
        ),
        Mistake(
            "with the direct path",
            "The direct path W_E W_U is in it. That is another path of the model; the "
            "circuit holds only what the head adds.",
            ov_with_direct,
        ),
        Mistake(
            "layer 0",
            "You took the head from layer 0. Use the layer you are given.",
            ov_of_layer_0,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). That belongs to attention scores; what a "
            "head writes is not scaled.",
            ov_scaled,
        ),
    ),
    passed=(
        "Checked against the model: every token attending to itself alone, all other "
        "heads silent. Whatever the pattern, the head's effect on the logits is a "
        "weighted mean of rows of this matrix."
    ),
)
