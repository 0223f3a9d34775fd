"""Chapter 3, `positional_share`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch3_one_layer import shared
from utils.models.handmade import random_model, with_weights

__all__ = ["CHECK"]


MORE_TEXTS = [*shared.TEXTS, [0, 3, 3, 8, 1, 2, 10]]


def judge_positional_share(answer) -> None:
    tokens = torch.tensor(MORE_TEXTS)
    model = random_model(1, seed=2)
    blank = with_weights(model, {"W_E": torch.zeros_like(model.W_E)})
    expect.close(
        expect.number(answer(blank, tokens, 0, 1)),
        1.0,
        "A model that sees positions only gives every text the same scores, so its "
        "share is 1.",
    )
    other = random_model(2, 3)
    cases = ((model, 0, 1, 3, 7), (other, 1, 2, 2, 5), (other, 0, 0, 3, 9))
    for own, layer, head, n_texts, length in cases:
        part = torch.cat([tokens, tokens[:, 1:].flip(1)], dim=1)[:n_texts, :length]
        expect.close(
            expect.number(answer(own, part, layer, head)),
            _share_by_hand(own, part, layer, head),
            f"For {n_texts} texts of {length} tokens, the share does not match a sum "
            "by hand.",
        )


def _share_by_hand(model, tokens, layer, head) -> float:
    """The definition, one query and one key at a time."""
    name = f"blocks.{layer}.attn.hook_attn_scores"
    scores = shared.seen(model, tokens, name)[:, head].tolist()
    explained = total = 0.0
    for query in range(1, tokens.shape[1]):
        centred = []
        for text in scores:
            keys = text[query][1 : query + 1]
            centred.append([score - sum(keys) / len(keys) for score in keys])
        for cell in zip(*centred, strict=True):
            explained += len(cell) * (sum(cell) / len(cell)) ** 2
            total += sum(score**2 for score in cell)
    return explained / total


def _share(scores, first_key=1, centre="query", by_text=True) -> float:
    seen = torch.ones_like(scores[0]).tril()
    seen[:, :first_key] = 0
    scores = scores.masked_fill(seen == 0, 0)
    count = seen.sum(-1, keepdim=True).clamp(min=1)
    mean = {
        "query": scores.sum(-1, keepdim=True) / count,
        "all": scores.sum((-2, -1), keepdim=True) / seen.sum(),
        "no": torch.zeros(()),
    }[centre]
    centred = (scores - mean) * seen
    explained = centred.mean(0).pow(2).sum() * (len(scores) if by_text else 1)
    return (explained / centred.pow(2).sum()).item()


def _hooked(model, tokens, layer, head, name="hook_attn_scores") -> Tensor:
    return shared.seen(model, tokens, f"blocks.{layer}.attn.{name}")[:, head]


def share_unmasked(model, tokens, layer, head, first_key=1):
    stream = model.W_E[tokens] if layer == 0 else None
    if stream is None:
        name = f"blocks.{layer - 1}.hook_resid_post"
        stream = shared.seen(model, tokens, name).float()
    placed = stream + model.W_pos[: tokens.shape[1]]
    query, key = placed @ model.W_Q[layer, head], placed @ model.W_K[layer, head]
    scores = query @ key.transpose(-2, -1) / model.cfg.d_head**0.5
    scores = scores[:, :, first_key:]
    centred = scores - scores.mean(-1, keepdim=True)
    explained = centred.mean(0).pow(2).sum() * len(tokens)
    return (explained / centred.pow(2).sum()).item()


def share_of_all(model, tokens, layer, head):
    return share_unmasked(model, tokens, layer, head, first_key=0)


def share_not_centred(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), centre="no")


def share_one_mean(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), centre="all")


def share_with_start(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), first_key=0)


def share_of_attention(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head, "hook_pattern"))


def share_once(model, tokens, layer, head):
    return _share(_hooked(model, tokens, layer, head), by_text=False)


def share_of_tokens(model, tokens, layer, head):
    return 1 - _share(_hooked(model, tokens, layer, head))


CHECK = Check(
    name="positional_share",
    judge=judge_positional_share,
    hints=(
        "The mean over many texts keeps what they have in common: the position. "
        "Compare the size of that mean with the size of the scores themselves.",
        "`scores_from_qk` of chapter 1 gives the scores, also those of later keys. "
        "Make a mask `seen` [query, key] that is 1 for keys 1 to the query. Subtract "
        "from each query row its mean over seen keys, and set the rest to 0.",
        "`centred = (scores - (scores * seen).sum(-1, keepdim=True) / count) * seen` "
        "where `count = seen.sum(-1, keepdim=True).clamp(min=1)`. The answer is "
        "`len(tokens) * centred.mean(0).pow(2).sum() / centred.pow(2).sum()`.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "You did not centre the scores. A constant added to all scores of a query "
            "changes no attention, so it must not count.",
            share_not_centred,
        ),
        Mistake(
            "later keys counted",
            "Keys after the query are in your sums. `scores_from_qk` gives them a "
            "score as well, but no query sees them: leave them out of the mean and of "
            "both sums of squares.",
            share_unmasked,
            swap=(
                "seen = torch.ones_like(scores[0]).tril()",
                "seen = torch.ones_like(scores[0])",
            ),
        ),
        Mistake(
            "all keys counted",
            "You counted all keys: those after the query, which it does not see, and "
            "key 0, where the same token stands in every text. Leave both out of the "
            "mean and of both sums of squares.",
            share_of_all,
        ),
        Mistake(
            "one mean for all",
            "You subtracted one mean from all queries of a text. Each query has a "
            "constant of its own, so centre each query row by itself.",
            share_one_mean,
        ),
        Mistake(
            "start token counted",
            "Key 0 is in your sum. The same token stands there in every text, so its "
            "score would count as position.",
            share_with_start,
        ),
        Mistake(
            "attention",
            "You used the attention pattern. The question is about the scores, before "
            "the softmax.",
            share_of_attention,
        ),
        Mistake(
            "counted once",
            "You counted the mean once and the scores once per text. Multiply the "
            "mean's part by the number of texts.",
            share_once,
            swap=(" * len(tokens)", ""),
        ),
        Mistake(
            "the rest",
            "This is the share that position does not explain: 1 minus the answer.",
            share_of_tokens,
        ),
    ),
    passed=(
        "Checked on a model that sees positions only (share 1) and against sums by "
        "hand over the scores inside two models, for several lengths. What all texts "
        "have in common stays in the average. So does about one part in the number of "
        "texts of what they do not share, so use many."
    ),
)
