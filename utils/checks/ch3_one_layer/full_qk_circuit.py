"""Chapter 3, `full_qk_circuit`: judge, known mistakes and hints."""

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_full_qk_circuit(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, seed in ((1, 0, 1, 0), (2, 1, 2, 1)):
        model = random_model(n_layers, seed, d_vocab=11, n_ctx=14)
        result = answer(model, layer, head)
        circuit = expect.tensor(result, query=11, key=11)
        expect.close(
            circuit,
            shared.scores_by_running(model, layer, head) * model.cfg.d_head**0.5,
            "Entry [q, k] should be the score that token q gives to token k in a model "
            "without position vectors, times sqrt(d_head).",
            atol=1e-4,
        )
    shared.expect_narrow(result, model.cfg.d_head)


def qk_transposed(model, layer, head):
    return shared.qk(model, layer, head).T


def qk_scaled(model, layer, head):
    return shared.qk(model, layer, head) / model.cfg.d_head**0.5


def qk_with_unembedding(model, layer, head):
    qk = model.W_Q[layer, head] @ model.W_K[layer, head].T
    return model.W_E @ qk @ model.W_U


def qk_without_vocabulary(model, layer, head):
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


def qk_softmax(model, layer, head):
    return (shared.qk(model, layer, head) / model.cfg.d_head**0.5).softmax(-1)


def qk_of_layer_0(model, layer, head):
    return shared.qk(model, 0, head)


def qk_centred(model, layer, head):
    circuit = shared.qk(model, layer, head)
    return circuit - circuit.mean(1, keepdim=True)


CHECK = Check(
    name="full_qk_circuit",
    judge=judge_full_qk_circuit,
    hints=(
        "A score is a query vector times a key vector. Both come from tokens: "
        "embedding, then W_Q or W_K.",
        "`qk_matrix(model, layer, head)` of chapter 1 is W_Q W_K^T as a FactoredMatrix "
        "with factors `.A` and `.B`. Tokens enter on both sides, so W_E is needed "
        "twice, once transposed.",
        "`return FactoredMatrix(model.W_E @ model.W_Q[layer, head], "
        "model.W_K[layer, head].T @ model.W_E.T)`.",
    ),
    mistakes=(
        Mistake(
            "transposed",
            "Query and key are swapped. Rows are query (destination) tokens, columns "
            "key (source) tokens.",
            qk_transposed,
        ),
        Mistake(
            "scaled",
            "You divided by sqrt(d_head). This circuit is kept without the scale, as "
            "the paper writes it; the scale comes in when a score is computed.",
            qk_scaled,
        ),
        Mistake(
            "unembedding",
            "You used W_U on the key side. Keys are tokens of the text, so they enter "
            "through W_E as well.",
            qk_with_unembedding,
            swap=("qk.B @ model.W_E.T", "qk.B @ model.W_U"),
        ),
        Mistake(
            "no vocabulary",
            "This is W_Q W_K^T, between two places of the stream. The full circuit is "
            "between two tokens.",
            qk_without_vocabulary,
            swap=("FactoredMatrix(model.W_E @ qk.A, qk.B @ model.W_E.T)", "qk"),
        ),
        Mistake(
            "softmax",
            "You took a softmax over all tokens. The circuit holds scores; a softmax "
            "runs over the tokens of a text, not over the vocabulary.",
            qk_softmax,
        ),
        Mistake(
            "layer 0",
            "You took the head from layer 0. Use the layer you are given.",
            qk_of_layer_0,
        ),
        Mistake(
            "centred",
            "You subtracted each row's mean. That comes later; here the scores are "
            "kept as they are.",
            qk_centred,
        ),
    ),
    passed=(
        "Checked against the scores inside a model whose position vectors were set to "
        "zero, for every pair of tokens. All that a head knows of two tokens when it "
        "decides where to look is one entry of this matrix."
    ),
)
