"""Chapter 3, `top_skip_trigrams`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model

__all__ = ["CHECK"]


def judge_top_skip_trigrams(answer) -> None:
    answer = expect.weights_only(answer)
    for n_layers, layer, head, source, k, seed in (
        (1, 0, 1, 6, 4, 2),
        (2, 1, 2, 3, 5, 5),
    ):
        model = random_model(n_layers, seed, d_vocab=17)
        result = answer(model, layer, head, source, k)
        expect.true(
            isinstance(result, tuple | list) and len(result) == 2,
            "Return two lists of token ids: destinations, and output tokens.",
        )
        destinations, outs = (_ids(value) for value in result)
        scores = shared.scores_by_running(model, layer, head)
        wanted = (scores - scores.mean(1, keepdim=True))[:, source]
        raised = shared.ov_by_running(model, layer, head)[source]
        expect.same_ids(
            destinations,
            wanted.topk(k).indices,
            f"The destinations should be the {k} tokens that want the source most, "
            "the best first, compared after centring each of their rows.",
        )
        expect.same_ids(
            outs,
            raised.topk(k).indices,
            f"The output tokens should be the {k} whose logits the source raises most, "
            "the best first.",
        )


def _ids(value):
    return torch.tensor(value) if isinstance(value, list | tuple) else value


def _two_lists(model, layer, head, source, k, *, centre=True, flip=False, least=False):
    scores = shared.qk(model, layer, head)
    if centre:
        scores = scores - scores.mean(1, keepdim=True)
    wanted = scores[source] if flip else scores[:, source]
    circuit = shared.ov(model, layer, head)
    raised = circuit[source]
    return tuple(v.topk(k, largest=not least).indices for v in (wanted, raised))


def trigrams_not_centred(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, centre=False)


def trigrams_of_query(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, flip=True)


def trigrams_least(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k, least=True)


def trigrams_swapped(model, layer, head, source, k=5):
    return _two_lists(model, layer, head, source, k)[::-1]


def trigrams_by_size(model, layer, head, source, k=5):
    scores = shared.qk(model, layer, head)
    wanted = (scores - scores.mean(1, keepdim=True))[:, source]
    raised = shared.ov(model, layer, head)[source]
    return tuple(v.abs().topk(k).indices for v in (wanted, raised))


def trigrams_of_out(model, layer, head, source, k=5):
    destinations, _ = _two_lists(model, layer, head, source, k)
    return destinations, shared.ov(model, layer, head)[:, source].topk(k).indices


CHECK = Check(
    name="top_skip_trigrams",
    judge=judge_top_skip_trigrams,
    hints=(
        "The QK circuit says who wants the source: that is a column, as queries are "
        "rows. The OV circuit says what the source brings: that is a row.",
        "Entries of one column belong to different rows, and each row has a constant "
        "of its own. The mean of a row of `A @ B` is that row of A times the mean "
        "column of B, so nothing large is needed.",
        "`wanted = qk.A @ (qk.B[:, source] - qk.B.mean(dim=1))` and "
        "`raised = ov.A[source] @ ov.B`. Return `.topk(k).indices` of both.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You compared raw QK entries across rows. Each query's row may hold any "
            "constant without changing attention: subtract the row's mean first.",
            trigrams_not_centred,
            swap=("(qk.B[:, source] - qk.B.mean(dim=1))", "qk.B[:, source]"),
        ),
        Mistake(
            "row instead of column",
            "You took the row of the QK circuit: what the token looks for as a query. "
            "Here it is the source, so its column says who looks for it.",
            trigrams_of_query,
        ),
        Mistake(
            "smallest",
            "These are the smallest entries. Take the largest.",
            trigrams_least,
        ),
        Mistake(
            "swapped lists",
            "The two lists are swapped: destinations come first, output tokens second.",
            trigrams_swapped,
            swap=(
                "wanted.topk(k).indices, raised.topk(k).indices",
                "raised.topk(k).indices, wanted.topk(k).indices",
            ),
        ),
        Mistake(
            "by size",
            "You took the entries that are largest in size, and very negative ones are "
            "among them. Those tokens avoid the source, or are made less likely by it.",
            trigrams_by_size,
        ),
        Mistake(
            "column of the OV circuit",
            "You took a column of the OV circuit: which sources raise this token. What "
            "the source raises stands in its row.",
            trigrams_of_out,
        ),
    ),
    passed=(
        "Checked against the scores and the logits inside two models, for every pair "
        "of tokens. One column and one row are enough, so the large matrices are never "
        "built."
    ),
)
