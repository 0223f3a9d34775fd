"""Chapter 5, `copying_head_score`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    induction_model,
    random_model,
    with_weights,
)

__all__ = ["CHECK"]


def judge_copying_head_score(answer) -> None:
    # The shortest rows come first: what is cut off at their length shows later.
    for seed, n_layers, layer, head, n_heads, span in (
        (0, 2, 1, 2, 3, 6),
        (1, 3, 0, 1, 2, 10),
        (2, 3, 2, 0, 4, 8),
    ):
        model = random_model(
            n_layers, seed, d_vocab=12 + span, n_heads=n_heads, d_head=3 + seed
        )
        tokens = shared.rows(12 + span, span, 1, batch=3 - seed, seed=seed)
        score = expect.number(answer(model, tokens, layer, head))
        _, _, _, values = shared.by_hand(model, tokens)
        to_logits = (model.W_O[layer, head] @ model.W_U).double()
        own = every = 0.0
        for row, ids in enumerate(tokens.tolist()):
            for source in range(1, len(ids)):
                logits = values[layer, head][row, source] @ to_logits
                logits = (logits - logits.mean()).tolist()
                own += max(logits[ids[source]], 0.0)
                every += sum(max(logits[token], 0.0) for token in ids[1:])
        expect.close(
            score,
            own / every,
            f"The share for head {layer}.{head} does not match a sum by hand.",
        )
    model = random_model(2, 3)
    silent = with_weights(model, {"W_O": torch.zeros_like(model.W_O)})
    expect.close(
        expect.number(answer(silent, shared.rows(13, 5, 1), 1, 0)),
        0.0,
        "A head that writes nothing raises nothing, and should score 0.",
    )
    for copying, wanted in ((1.0, 1.0), (-1.0, 0.0)):
        model = induction_model(copying=copying, noise=0.0)
        score = expect.number(answer(model, shared.rows(13, 9, 1), 1, 2))
        expect.close(
            score,
            wanted,
            "A head that only copies scores 1, one that only lowers what it sees 0.",
            atol=0.02,
        )


def _raised(model, tokens, layer, head, centred=True, clamped=True, values=None):
    """[batch, source, token of the row], the start token left in."""
    _, cache = model.run_with_cache(tokens)
    values = cache["v", layer][:, :, head] if values is None else values
    logits = values @ model.W_O[layer, head] @ model.W_U
    logits = shared.centred(logits) if centred else logits
    length = tokens.shape[1]
    logits = logits.gather(-1, tokens[:, None, :].expand(-1, length, -1))
    return logits.clamp(min=0) if clamped else logits


def _share(raised: Tensor):
    return raised.diagonal(dim1=1, dim2=2).sum() / raised.sum().clamp(min=1e-12)


def copying_not_centred(model, tokens, layer, head):
    return _share(_raised(model, tokens, layer, head, centred=False)[:, 1:, 1:])


def copying_with_negatives(model, tokens, layer, head):
    raised = _raised(model, tokens, layer, head, clamped=False)[:, 1:, 1:]
    return raised.diagonal(dim1=1, dim2=2).sum() / raised.sum()


def copying_with_start(model, tokens, layer, head):
    return _share(_raised(model, tokens, layer, head))


def copying_of_mixture(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    mixed = cache["z", layer][:, :, head]
    return _share(_raised(model, tokens, layer, head, values=mixed)[:, 1:, 1:])


def copying_of_embeddings(model, tokens, layer, head):
    values = model.W_E[tokens] @ model.W_V[layer, head]
    return _share(_raised(model, tokens, layer, head, values=values)[:, 1:, 1:])


def copying_among_all_tokens(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    values = cache["v", layer][:, 1:, head]
    raised = shared.centred(values @ model.W_O[layer, head] @ model.W_U).clamp(min=0)
    own = raised.gather(-1, tokens[:, 1:, None])
    return own.sum() / raised.sum().clamp(min=1e-12)


def copying_without_zero(model, tokens, layer, head):
    raised = _raised(model, tokens, layer, head)[:, 1:, 1:]
    return raised.diagonal(dim1=1, dim2=2).sum() / raised.sum()


def copying_mean_of_shares(model, tokens, layer, head):
    raised = _raised(model, tokens, layer, head)[:, 1:, 1:]
    own = raised.diagonal(dim1=1, dim2=2)
    return (own / raised.sum(-1).clamp(min=1e-12)).mean()


CHECK = Check(
    name="copying_head_score",
    judge=judge_copying_head_score,
    hints=(
        "The pattern plays no part: pretend that the head attends to one source token "
        "only, and look at which of the row's tokens it would then raise.",
        "`cache['v', layer][:, 1:, head] @ W_O @ W_U` is [batch, source, d_vocab]. "
        "Centre it, then `gather` the columns of the row's own tokens: a square per "
        "row, sources down, raised tokens across. Own tokens are its diagonal.",
        "`columns = tokens[:, None, 1:].expand(-1, n_sources, -1)`, `raised = "
        "logits.gather(-1, columns).clamp(min=0)`, and the score is "
        "`raised.diagonal(dim1=1, dim2=2).sum() / raised.sum()`.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You did not subtract the mean over the vocabulary. A head that raises "
            "every token alike would seem to raise them all.",
            copying_not_centred,
        ),
        Mistake(
            "negatives kept",
            "Lowered tokens cancel raised ones in your sums. Set negative entries to 0 "
            "first.",
            copying_with_negatives,
            swap=(".clamp(min=0)", ""),
        ),
        Mistake(
            "start token included",
            "The start token counts among your sources or raised tokens. Heads treat "
            "it specially; leave it out on both sides.",
            copying_with_start,
        ),
        Mistake(
            "mixture",
            "You used `z`, which mixes the values of many positions. The question is "
            "what one source does by itself: use the values `v`.",
            copying_of_mixture,
            swap=('cache["v", layer]', 'cache["z", layer]'),
        ),
        Mistake(
            "embeddings only",
            "You computed values from the embedding alone. In the second layer the "
            "value also holds what the first layer wrote; take it from the cache.",
            copying_of_embeddings,
        ),
        Mistake(
            "among all tokens",
            "You divide by what every token of the vocabulary is raised by. Keep the "
            "logits of the row's own tokens first; the score compares these.",
            copying_among_all_tokens,
        ),
        Mistake(
            "nothing raised",
            "A head that raises nothing gives you 0 divided by 0, which is nan. Its "
            "score is 0.",
            copying_without_zero,
        ),
        Mistake(
            "mean of shares",
            "You averaged the shares of single sources. Then a source that hardly "
            "raises anything counts as much as a strong one. Add up first, divide "
            "last.",
            copying_mean_of_shares,
        ),
    ),
    passed=(
        "Checked source by source for three heads, and on hand-made heads that copy "
        "(1), that do the reverse (0) and that write nothing (0). It says what a head "
        "would do with a token it attends to, and nothing about where it attends."
    ),
)
