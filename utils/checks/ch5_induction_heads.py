"""Checks, hints, known mistakes and predictions of chapter 5."""

import math
from functools import cache, partial

import torch
from torch import Tensor

from utils.checks import Check, Choice, Mistake, Prediction, Wrong, expect
from utils.handmade import (
    decoy_model,
    induction_model,
    model_from_weights,
    orthonormal_rows,
    random_model,
    with_weights,
)

__all__ = ["CHECKS", "PREDICTIONS"]


# --- what several judges need ---------------------------------------------------------


def _rows(
    d_vocab: int, span: int, copies: int, batch: int = 2, seed: int = 0
) -> Tensor:
    """The start token and a span of different tokens `copies` times, drawn by hand."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(batch):
        ids = (1 + torch.randperm(d_vocab - 1, generator=generator)).tolist()
        rows.append([0] + ids[:span] * copies)
    return torch.tensor(rows)


def _by_hand(model, tokens: Tensor, cut=None, forced=None):
    """A forward pass in float64, one head after the other, without any hook.

    `cut` is (source, target, input): this one input of the target reads the stream
    minus what the source wrote. `forced` maps heads to patterns they are to use.
    Returns the logits, what each head wrote, its pattern and its values.
    """
    forced = forced or {}
    stream = model.W_E.double()[tokens]
    place = model.W_pos.double()[: tokens.shape[1]]
    later = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    written, patterns, values = {}, {}, {}
    for layer in range(model.cfg.n_layers):
        after = stream.clone()
        for head in range(model.cfg.n_heads):
            here = (layer, head)
            read = {}
            for name in "qkv":
                read[name] = stream
                if cut is not None and cut[1:] == (here, name):
                    read[name] = stream - written[cut[0]]
            W = {
                name: getattr(model, f"W_{name}")[layer, head].double()
                for name in "QKVO"
            }
            q, k = (read["q"] + place) @ W["Q"], (read["k"] + place) @ W["K"]
            scores = (q @ k.mT / model.cfg.d_head**0.5).masked_fill(later, -torch.inf)
            pattern = forced.get(here, scores.softmax(-1)).double()
            patterns[here], values[here] = pattern, read["v"] @ W["V"]
            written[here] = pattern @ values[here] @ W["O"]
            after = after + written[here]
        stream = after
    return stream @ model.W_U.double(), written, patterns, values


def _losses(logits: Tensor, tokens: Tensor) -> Tensor:
    log_probs = logits.log_softmax(-1)
    return -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)


def _per_head(model, numbers: dict) -> Tensor:
    """Numbers by (layer, head) as [layer, head]."""
    layers, heads = range(model.cfg.n_layers), range(model.cfg.n_heads)
    return torch.tensor([[float(numbers[i, j]) for j in heads] for i in layers])


def _patterns(model, tokens: Tensor) -> Tensor:
    """[layer, batch, head, query, key] for the mistakes."""
    _, cache = model.run_with_cache(tokens)
    return torch.stack([cache["pattern", i] for i in range(model.cfg.n_layers)])


def _written(model, tokens: Tensor, layer: int, head: int) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    return cache["z", layer][:, :, head] @ model.W_O[layer, head]


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


# --- repeated_tokens ------------------------------------------------------------------


def judge_repeated_tokens(answer) -> None:
    some = torch.tensor([3, 9, 11, 20, 30, 31])
    cases = ((23, 7, 2, 5, None), (12, 11, 3, 4, None), (40, 4, 3, 6, some))
    for d_vocab, span, copies, batch, ids in cases:
        rows = _whole_numbers(answer(d_vocab, span, copies, batch, ids, seed=1))
        rows = expect.tensor(rows, batch=batch, pos=1 + span * copies).long()
        expect.true((rows[:, 0] == 0).all(), "Every row should begin with START_ID.")
        spans = rows[:, 1:].view(batch, copies, span)
        expect.true(
            (spans == spans[:, :1]).all(),
            f"After the start token the same {span} tokens should come {copies} times.",
        )
        allowed = ids.tolist() if ids is not None else list(range(1, d_vocab))
        _expect_good_spans(spans[:, 0].tolist(), allowed)
    same = [answer(23, 7, seed=4) for _ in range(2)]
    expect.true(
        torch.equal(torch.as_tensor(same[0]), torch.as_tensor(same[1])),
        "The same seed should give the same rows.",
    )
    expect.true(
        not torch.equal(torch.as_tensor(answer(23, 7, seed=5)), same[0]),
        "Another seed should give other rows.",
    )


def _whole_numbers(rows):
    kind = getattr(rows, "dtype", None)
    if isinstance(rows, Tensor) and (kind.is_floating_point or kind == torch.bool):
        raise Wrong(f"Your tokens have dtype {kind}. Ids are int64.")
    return rows


def _expect_good_spans(spans: list[list[int]], allowed: list[int]) -> None:
    for span in spans:
        expect.true(
            len(set(span)) == len(span),
            "A token comes twice inside one span. All tokens of a span should differ.",
        )
        outside = set(span) - set(allowed)
        expect.true(
            not outside,
            f"Token {min(outside, default=0)} is not one of those to draw from.",
        )
        # Where a span is as long as the list, this also finds an id never drawn.
    expect.true(
        len({tuple(span) for span in spans}) == len(spans),
        "Two rows hold the same span. Every row should draw its own.",
    )


def _draw(ids: Tensor, span: int, batch: int, seed: int, distinct: bool = True):
    generator = torch.Generator().manual_seed(seed)
    if not distinct:
        return ids[torch.randint(len(ids), (batch, span), generator=generator)]
    orders = [torch.randperm(len(ids), generator=generator) for _ in range(batch)]
    return ids[torch.stack(orders)[:, :span]]


def _from(ids, d_vocab):
    return torch.arange(1, d_vocab) if ids is None else ids


def tokens_with_replacement(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    spans = _draw(_from(ids, d_vocab), span, batch, seed, distinct=False)
    start = torch.zeros(batch, 1, dtype=torch.long)
    return torch.cat([start, spans.repeat(1, copies)], 1)


def tokens_without_start(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    return _draw(_from(ids, d_vocab), span, batch, seed).repeat(1, copies)


def tokens_with_start_inside(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    spans = _draw(torch.arange(d_vocab) if ids is None else ids, span, batch, seed)
    start = torch.zeros(batch, 1, dtype=torch.long)
    return torch.cat([start, spans.repeat(1, copies)], 1)


def tokens_each_repeated(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    spans = _draw(_from(ids, d_vocab), span, batch, seed)
    start = torch.zeros(batch, 1, dtype=torch.long)
    return torch.cat([start, spans.repeat_interleave(copies, 1)], 1)


def tokens_one_span_for_all(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    spans = _draw(_from(ids, d_vocab), span, 1, seed).expand(batch, -1)
    start = torch.zeros(batch, 1, dtype=torch.long)
    return torch.cat([start, spans.repeat(1, copies)], 1)


def tokens_start_in_every_copy(d_vocab, span, copies=2, batch=4, ids=None, seed=0):
    spans = _draw(_from(ids, d_vocab), span, batch, seed)
    start = torch.zeros(batch, 1, dtype=torch.long)
    return torch.cat([start, spans], 1).repeat(1, copies)


REPEATED_TOKENS = Check(
    name="repeated_tokens",
    judge=judge_repeated_tokens,
    hints=(
        "A random order of all allowed ids, cut after `span` of them, is a span of "
        "different tokens.",
        "`torch.randperm(n, generator=g)` gives a random order of n places, and "
        "`ids[places]` the ids there. Do it once per row. `spans.repeat(1, copies)` "
        "puts copies side by side.",
        "`g = torch.Generator().manual_seed(seed)`, then `spans = torch.stack("
        "[ids[torch.randperm(len(ids), generator=g)[:span]] for _ in range(batch)])`, "
        "and `torch.cat` of a column of START_ID and `spans.repeat(1, copies)`.",
    ),
    mistakes=(
        Mistake(
            "with replacement",
            "Your tokens are drawn with replacement, so one can come twice inside a "
            "span. Then a query has two possible targets, and even a perfect head "
            "cannot know which one is meant.",
            tokens_with_replacement,
        ),
        Mistake(
            "no start token",
            "The start token is missing. Heads that find nothing rest on it; without "
            "it some heads score too low (Olsson et al., footnote 31).",
            tokens_without_start,
        ),
        Mistake(
            "start token inside",
            "START_ID is among the tokens you draw from. It may only stand at the "
            "beginning of a row.",
            tokens_with_start_inside,
        ),
        Mistake(
            "each token repeated",
            "You repeat each token on the spot (a a b b). The whole span should be "
            "repeated (a b a b).",
            tokens_each_repeated,
        ),
        Mistake(
            "one span for all",
            "All rows hold the same span. Every row should draw its own.",
            tokens_one_span_for_all,
        ),
        Mistake(
            "start in every copy",
            "Your start token is repeated with the span. It stands once, in front.",
            tokens_start_in_every_copy,
        ),
    ),
    passed=(
        "Checked for three shapes: the start token once, copies that agree, no token "
        "twice in a span, only allowed ids, one span per row, and a seed that decides. "
        "No statistics of text can help on such rows: only the first copy can."
    ),
    uses_random=True,
)


# --- repeat_loss ----------------------------------------------------------------------


def judge_repeat_loss(answer) -> None:
    for seed, span, copies in ((0, 4, 2), (1, 3, 3), (2, 5, 3)):
        model = random_model(2, seed, d_vocab=14, n_ctx=17)
        tokens = _rows(14, span, copies, batch=3, seed=seed)
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
    return _losses(model(tokens), tokens)[:, span:].mean()


def loss_one_late(model, tokens, span):
    return _losses(model(tokens), tokens)[:, span + 2 :].mean()


def loss_everywhere(model, tokens, span):
    return _losses(model(tokens), tokens).mean()


def loss_only_second_copy(model, tokens, span):
    return _losses(model(tokens), tokens)[:, span + 1 : 2 * span].mean()


def loss_without_any_first(model, tokens, span):
    losses = _losses(model(tokens), tokens)
    keep = [i for i in range(span + 1, losses.shape[1]) if i % span]
    return losses[:, keep].mean()


def loss_summed(model, tokens, span):
    return _losses(model(tokens), tokens)[:, span + 1 :].sum()


def loss_of_logits(model, tokens, span):
    logits = model(tokens)[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)
    return -logits[:, span + 1 :].mean()


REPEAT_LOSS = Check(
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
        ),
        Mistake(
            "one too late",
            "You begin one token too late: the second token of the second copy can be "
            "known. Mind that column i of the losses is about token i + 1.",
            loss_one_late,
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


# --- prefix_matching_score ------------------------------------------------------------


def judge_prefix_matching_score(answer) -> None:
    # Accidental repeats, one of them on the spot, have targets as well.
    mixed = torch.tensor([[0, 4, 2, 4, 4, 6, 2, 9, 4], [0, 1, 1, 3, 5, 3, 5, 3, 8]])
    for seed, tokens in ((0, _rows(13, 3, 3)), (1, _rows(13, 5, 2)), (2, mixed)):
        model = random_model(2, seed, d_vocab=13)
        score = expect.tensor(answer(model, tokens), layer=2, head=3)
        expect.close(
            score,
            _pointed_at_by_hand(model, tokens),
            "The scores do not match a count by hand, query after query.",
        )
    perfect = answer(induction_model(), _rows(13, 6, 3, seed=3))
    expect.close(
        expect.tensor(perfect, layer=2, head=3)[1, 2],
        1.0,
        "A hand-made induction head that spreads its attention over two targets of the "
        "third copy should score 1.",
        atol=0.01,
    )


def _pointed_at_by_hand(model, tokens: Tensor) -> Tensor:
    _, _, patterns, _ = _by_hand(model, tokens)
    means = {}
    for place, pattern in patterns.items():
        sums = []
        for row, ids in enumerate(tokens.tolist()):
            for i in range(len(ids)):
                targets = [j for j in range(1, i + 1) if ids[j - 1] == ids[i]]
                if targets:
                    sums.append(sum(pattern[row, i, j].item() for j in targets))
        means[place] = sum(sums) / len(sums)
    return _per_head(model, means)


def _target_mask(tokens: Tensor, shift: int) -> Tensor:
    """[batch, query, key]: keys `shift` after an earlier copy of the query's token."""
    batch, length = tokens.shape
    mask = torch.zeros(batch, length, length, dtype=torch.bool)
    for i in range(length):
        for p in range(i):
            if 0 <= p + shift <= i:
                mask[:, i, p + shift] |= tokens[:, i] == tokens[:, p]
    return mask


def _mean_on(model, tokens: Tensor, mask: Tensor) -> Tensor:
    sums = (_patterns(model, tokens) * mask[:, None]).sum(-1).transpose(2, 3)
    return sums[:, mask.any(-1)].mean(1)


def score_of_duplicates(model, tokens):
    return _mean_on(model, tokens, _target_mask(tokens, 0))


def score_as_published(model, tokens):
    mask = _target_mask(tokens, -1)
    return _mean_on(model, tokens, mask)


def score_per_cell(model, tokens):
    mask = _target_mask(tokens, 1)
    cells = _patterns(model, tokens).transpose(1, 2)[:, :, mask]
    return cells.mean(-1)


def score_over_all_queries(model, tokens):
    mask = _target_mask(tokens, 1)
    return (_patterns(model, tokens) * mask[:, None]).sum(-1).mean((1, 3))


def score_of_nearest(model, tokens):
    mask = _target_mask(tokens, 1)
    places = torch.arange(tokens.shape[1])
    nearest = (mask * places).max(-1, keepdim=True).values
    return _mean_on(model, tokens, mask & (places == nearest))


def score_two_further(model, tokens):
    return _mean_on(model, tokens, _target_mask(tokens, 2))


PREFIX_MATCHING_SCORE = Check(
    name="prefix_matching_score",
    judge=judge_prefix_matching_score,
    hints=(
        "First build a mask of the cells (query, key) that induction points at. It "
        "depends on the tokens only, not on the model.",
        "`tokens[:, :, None] == tokens[:, None, :-1]` compares every query's token "
        "with the token at j - 1, for j from 1 on. Keep j <= i with `tril`. Multiply "
        "a pattern by the mask, and sum over keys.",
        "`mask = torch.zeros(batch, pos, pos, dtype=torch.bool)`, `mask[:, :, 1:] = "
        "...`, `mask = mask.tril()`. For each layer `(cache['pattern', layer] * "
        "mask[:, None]).sum(-1)` is [batch, head, query]; average it over the places "
        "where `mask.any(-1)` is true.",
    ),
    mistakes=(
        Mistake(
            "duplicate tokens",
            "You measure attention to the earlier copy of the current token itself, "
            "the stripe at -L on a repeat. That is a duplicate-token head. Induction "
            "attends to the token **after** it, the stripe at -(L - 1).",
            score_of_duplicates,
        ),
        Mistake(
            "as the published sentence says",
            "You measure attention to the token **before** the earlier copy, the "
            "stripe at -(L + 1). That is what one sentence of the published "
            "definition says if read literally, but it is a slip: what is meant is "
            "the token that would come next, one after the copy.",
            score_as_published,
        ),
        Mistake(
            "per cell",
            "You average over cells. A head that spreads its attention over two right "
            "targets would get one half. Add up per query first, then average.",
            score_per_cell,
        ),
        Mistake(
            "all queries",
            "You average over all queries. Those that point nowhere, such as the whole "
            "first copy, do not count.",
            score_over_all_queries,
        ),
        Mistake(
            "nearest target only",
            "You count only the nearest target. In a third copy a query has two right "
            "targets: add both up.",
            score_of_nearest,
        ),
        Mistake(
            "one too far",
            "You are one position too far: two after the earlier copy. The target is "
            "the token right after it.",
            score_two_further,
        ),
    ),
    passed=(
        "Checked query by query, on repeats and on rows with accidental repeats, and "
        "on a hand-made induction head, which scores 1. Working from equal tokens "
        "instead of a fixed offset also works on ordinary text."
    ),
)


# --- logit_effect ---------------------------------------------------------------------


def judge_logit_effect(answer) -> None:
    for seed, layer, head in ((0, 1, 2), (1, 0, 1)):
        model = random_model(2, seed, d_vocab=13)
        tokens = _rows(13, 4, 2, batch=3, seed=seed)
        effect = expect.tensor(answer(model, tokens, layer, head), batch=3, pos=8)
        _, written, _, _ = _by_hand(model, tokens)
        W_U = model.W_U.double()
        by_hand = torch.zeros(3, 8, dtype=torch.float64)
        for row in range(3):
            for i in range(8):
                logits = written[layer, head][row, i] @ W_U
                by_hand[row, i] = logits[tokens[row, i + 1]] - logits.mean()
        expect.close(
            effect,
            by_hand,
            f"What head {layer}.{head} adds to the next token's logit does not match a "
            "computation by hand.",
        )


def effect_not_centred(model, tokens, layer, head):
    logits = _written(model, tokens, layer, head) @ model.W_U
    return logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_on_current(model, tokens, layer, head):
    logits = _centred(_written(model, tokens, layer, head) @ model.W_U)
    return logits.gather(-1, tokens[:, :, None])[:, :-1, 0]


def effect_of_layer(model, tokens, layer, head):
    every = range(model.cfg.n_heads)
    written = sum(_written(model, tokens, layer, each) for each in every)
    return _centred(written @ model.W_U)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_as_log_probs(model, tokens, layer, head):
    logits = (_written(model, tokens, layer, head) @ model.W_U).log_softmax(-1)
    return logits[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


def effect_where_it_looks(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    values = cache["v", layer][:, :, head] @ model.W_O[layer, head]
    return _centred(values @ model.W_U)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]


LOGIT_EFFECT = Check(
    name="logit_effect",
    judge=judge_logit_effect,
    hints=(
        "A head's vector reaches the logits like everything in the stream: by W_U.",
        "`cache['z', layer][:, :, head]` is what the head mixed together; "
        "`model.W_O[layer, head]` writes it to the stream. Multiply by W_U, subtract "
        "the mean of the last axis, and pick the next token with `gather`.",
        "`logits = cache['z', layer][:, :, head] @ model.W_O[layer, head] @ "
        "model.W_U`, `logits = logits - logits.mean(-1, keepdim=True)`, `logits[:, "
        ":-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)`.",
    ),
    mistakes=(
        Mistake(
            "not centred",
            "The mean over the vocabulary is still in it. Raising every logit alike "
            "changes no prediction, so subtract it.",
            effect_not_centred,
        ),
        Mistake(
            "current token",
            "You read the logit of the token that is there. What counts is the token "
            "that comes next, tokens[:, i + 1].",
            effect_on_current,
        ),
        Mistake(
            "whole layer",
            "This is what the whole layer writes. Take one head's `z` and W_O.",
            effect_of_layer,
        ),
        Mistake(
            "log probabilities",
            "You applied log_softmax. One head's logits are not a prediction, because "
            "other parts add theirs. Subtract the mean and leave it at that.",
            effect_as_log_probs,
        ),
        Mistake(
            "own value",
            "You used the value vector of the position itself. The head writes the "
            "mixture `z` of all values it attends to.",
            effect_where_it_looks,
        ),
    ),
    passed=(
        "Checked for a head of each layer, position by position. The logits are a sum, "
        "so what one head adds to a logit can be read off on its own."
    ),
)


# --- copying_head_score ---------------------------------------------------------------


def judge_copying_head_score(answer) -> None:
    for seed, layer, head in ((0, 1, 2), (1, 0, 1), (2, 1, 0)):
        model = random_model(2, seed, d_vocab=17)
        tokens = _rows(17, 9, 1, batch=3, seed=seed)
        score = expect.number(answer(model, tokens, layer, head))
        _, _, _, values = _by_hand(model, tokens)
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
    for copying, wanted in ((1.0, 1.0), (-1.0, 0.0)):
        model = induction_model(copying=copying, noise=0.0)
        score = expect.number(answer(model, _rows(13, 9, 1), 1, 2))
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
    logits = _centred(logits) if centred else logits
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


def copying_mean_of_shares(model, tokens, layer, head):
    raised = _raised(model, tokens, layer, head)[:, 1:, 1:]
    own = raised.diagonal(dim1=1, dim2=2)
    return (own / raised.sum(-1).clamp(min=1e-12)).mean()


COPYING_HEAD_SCORE = Check(
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
        ),
        Mistake(
            "embeddings only",
            "You computed values from the embedding alone. In the second layer the "
            "value also holds what the first layer wrote; take it from the cache.",
            copying_of_embeddings,
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
        "(1) and that do the reverse (0). It says what a head would do with a token it "
        "attends to, and nothing about where it attends."
    ),
)


# --- previous_token_score -------------------------------------------------------------


def judge_previous_token_score(answer) -> None:
    for seed in (0, 1):
        model = random_model(2, seed, d_vocab=13)
        tokens = _rows(13, 5, 2, batch=3, seed=seed)
        score = expect.tensor(answer(model, tokens), layer=2, head=3)
        _, _, patterns, _ = _by_hand(model, tokens)
        means = {}
        for place, pattern in patterns.items():
            cells = [
                pattern[row, i, i - 1].item() for row in range(3) for i in range(1, 11)
            ]
            means[place] = sum(cells) / len(cells)
        expect.close(
            score,
            _per_head(model, means),
            "The scores do not match a mean by hand over all positions but the first.",
        )


def previous_as_current(model, tokens):
    cells = _patterns(model, tokens).diagonal(dim1=-2, dim2=-1)
    return cells[..., 1:].mean((1, 3))


def previous_over_all(model, tokens):
    cells = _patterns(model, tokens).diagonal(-1, -2, -1)
    return cells.sum(-1).mean(1) / tokens.shape[1]


def previous_as_next(model, tokens):
    return _patterns(model, tokens).diagonal(1, -2, -1).mean((1, 3))


def previous_two_back(model, tokens):
    return _patterns(model, tokens).diagonal(-2, -2, -1).mean((1, 3))


def previous_without_second(model, tokens):
    return _patterns(model, tokens).diagonal(-1, -2, -1)[..., 1:].mean((1, 3))


PREVIOUS_TOKEN_SCORE = Check(
    name="previous_token_score",
    judge=judge_previous_token_score,
    hints=(
        "In a pattern [query, key] the cells (i, i - 1) form a line just below the "
        "diagonal.",
        "`pattern.diagonal(offset=-1, dim1=-2, dim2=-1)` takes that line. Average it "
        "over rows of the batch and positions, for every head of every layer.",
        "`cache['pattern', layer]` is [batch, head, query, key]. Its diagonal at -1 is "
        "[batch, head, pos - 1]; `.mean((0, 2))` leaves [head]. Stack the layers.",
    ),
    mistakes=(
        Mistake(
            "current token",
            "This is attention to the token itself, the diagonal. The token before "
            "stands one column to the left.",
            previous_as_current,
        ),
        Mistake(
            "divided by all positions",
            "You divided by the number of all positions. The first has nothing before "
            "it and does not count.",
            previous_over_all,
        ),
        Mistake(
            "above the diagonal",
            "You took the line above the diagonal: attention to the token after, which "
            "the mask forbids. Queries are rows and keys columns, so it is offset -1.",
            previous_as_next,
        ),
        Mistake(
            "two back",
            "This is attention to the token two back.",
            previous_two_back,
        ),
        Mistake(
            "position 1 left out",
            "You left out position 1, which attends to the start token. It counts: "
            "only position 0 has none before it.",
            previous_without_second,
        ),
    ),
    passed=(
        "Checked cell by cell for two models. A head with a score near 1 tells each "
        "position what stands before it, and nothing else."
    ),
)


# --- ideal_pattern_recovery -----------------------------------------------------------


def judge_ideal_pattern_recovery(answer) -> None:
    tokens = _rows(13, 5, 2, batch=3, seed=4)
    back = torch.eye(11).roll(-1, 1).expand(3, -1, -1)
    spread = (torch.ones(11, 11).tril() / torch.arange(1, 12)[:, None]).expand(
        3, 11, 11
    )
    cases = (
        (3, {(0, 1): back}, 1),
        (5, {(0, 1): back, (1, 2): spread, (1, 0): back}, 7),
    )
    for seed, patterns, first in cases:
        model = random_model(2, seed, d_vocab=13)
        share = expect.number(answer(model, tokens, patterns, first))
        nothing = {place: torch.zeros(3, 11, 11) for place in patterns}
        as_it_is, as_told, without = (
            _losses(_by_hand(model, tokens, forced=forced)[0], tokens)[
                :, first - 1 :
            ].mean()
            for forced in ({}, patterns, nothing)
        )
        expect.close(
            share,
            ((without - as_told) / (without - as_it_is)).item(),
            f"With {len(patterns)} heads and first={first} the share does not match a "
            "forward pass by hand.",
            rtol=1e-3,
        )


def _told(model, tokens, patterns, factor, first=1, by_layer=False):
    hooks = []
    for (layer, head), pattern in patterns.items():

        def attend(own, hook, head=head, pattern=pattern):
            forced = own.clone()
            heads = slice(None) if by_layer else slice(head, head + 1)
            forced[:, heads] = factor * pattern[:, None]
            return forced

        hooks.append((f"blocks.{layer}.attn.hook_pattern", attend))
    logits = model.run_with_hooks(tokens, fwd_hooks=hooks)
    return _losses(logits, tokens)[:, first - 1 :].mean()


def _plain(model, tokens, first=1):
    return _losses(model(tokens), tokens)[:, first - 1 :].mean()


def recovery_upside_down(model, tokens, patterns, first=1):
    told = _told(model, tokens, patterns, 1.0, first)
    without = _told(model, tokens, patterns, 0.0, first)
    return (without - _plain(model, tokens, first)) / (without - told)


def recovery_lost(model, tokens, patterns, first=1):
    told, plain = (
        _told(model, tokens, patterns, 1.0, first),
        _plain(model, tokens, first),
    )
    return (told - plain) / (_told(model, tokens, patterns, 0.0, first) - plain)


def recovery_as_ratio(model, tokens, patterns, first=1):
    return _plain(model, tokens, first) / _told(model, tokens, patterns, 1.0, first)


def recovery_whole_layer(model, tokens, patterns, first=1):
    told = _told(model, tokens, patterns, 1.0, first, by_layer=True)
    without = _told(model, tokens, patterns, 0.0, first, by_layer=True)
    return (without - told) / (without - _plain(model, tokens, first))


def recovery_shifted(model, tokens, patterns, first=1):
    return _recovery(model, tokens, patterns, first + 1)


def recovery_everywhere(model, tokens, patterns, first=1):
    return _recovery(model, tokens, patterns, 1) + 0.0 * first


def _recovery(model, tokens, patterns, first):
    without = _told(model, tokens, patterns, 0.0, first)
    told = _told(model, tokens, patterns, 1.0, first)
    return (without - told) / (without - _plain(model, tokens, first))


IDEAL_PATTERN_RECOVERY = Check(
    name="ideal_pattern_recovery",
    judge=judge_ideal_pattern_recovery,
    hints=(
        "Run the model three times: untouched, with the patterns you were given, and "
        "with those heads silent.",
        "A hook on `blocks.{layer}.attn.hook_pattern` gets [batch, head, query, key]. "
        "Return a copy in which one head's pattern is replaced. A pattern of zeros "
        "makes a head write nothing. All named heads change in the same run.",
        "For each head append `(name, hook)` to a list and call "
        "`model.run_with_hooks(tokens, fwd_hooks=hooks)`. Inside a loop give the hook "
        "its values as defaults: `def attend(own, hook, head=head, pattern=pattern)`. "
        "Token `first` is column `first - 1` of the losses.",
    ),
    mistakes=(
        Mistake(
            "upside down",
            "Your fraction is upside down. What the ideal pattern gives back stands on "
            "top, what the real heads give below.",
            recovery_upside_down,
        ),
        Mistake(
            "what is lost",
            "This is the share that is lost. Its complement is asked for: 1 when the "
            "ideal pattern is as good as the real one.",
            recovery_lost,
        ),
        Mistake(
            "ratio of losses",
            "You divided two losses. A loss has no natural zero here; compare gains "
            "over the model without these heads.",
            recovery_as_ratio,
        ),
        Mistake(
            "whole layer",
            "You changed every head of the layer. Only the named heads attend as told.",
            recovery_whole_layer,
        ),
        Mistake(
            "one column late",
            "You begin one token late. Token number `first` is column `first - 1` of "
            "the losses.",
            recovery_shifted,
        ),
        Mistake(
            "all tokens",
            "You average over all tokens. Only tokens[:, first:] count.",
            recovery_everywhere,
        ),
    ),
    passed=(
        "Checked against a forward pass by hand, with one head and with three heads in "
        "two layers. It turns the sentence 'this head just does so and so' into a "
        "number."
    ),
)


# --- ablate_edge ----------------------------------------------------------------------


def judge_ablate_edge(answer) -> None:
    cases = ((2, 0, (0, 1), (1, 2)), (3, 1, (0, 2), (2, 0)), (3, 2, (1, 0), (2, 1)))
    for n_layers, seed, source, target in cases:
        model = random_model(n_layers, seed, d_vocab=13)
        tokens = _rows(13, 4, 2, batch=2, seed=seed)
        for name in "qkv":
            result = answer(model, tokens, source, target, name)
            logits = expect.tensor(result, batch=2, pos=9, d_vocab=13)
            by_hand = _by_hand(model, tokens, cut=(source, target, name))[0]
            expect.close(
                logits,
                by_hand,
                f"With {name.upper()} of {target[0]}.{target[1]} no longer reading "
                f"{source[0]}.{source[1]}, the logits do not match a forward pass by "
                "hand.",
                atol=1e-3,
            )


def _edge(model, tokens, source_head, target_head, edit, names):
    """Change inputs of the target layer: edit(values, what the source wrote, head)."""
    written = _written(model, tokens, *source_head)
    layer, head = target_head
    hooks = []
    for name in names:
        W = getattr(model, f"W_{name.upper()}")[layer]

        def change(values, hook, W=W):
            values = values.clone()
            edit(values, written, W, head)
            return values

        hooks.append((f"blocks.{layer}.attn.hook_{name}", change))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def _subtract(values, written, W, head):
    values[:, :, head] -= written @ W[head]


def edge_all_inputs(model, tokens, source_head, target_head, input):
    return _edge(model, tokens, source_head, target_head, _subtract, "qkv")


def edge_whole_source(model, tokens, source_head, target_head, input):
    layer, head = source_head

    def silence(z, hook):
        z = z.clone()
        z[:, :, head] = 0
        return z

    name = f"blocks.{layer}.attn.hook_z"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, silence)])


def edge_all_targets(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        for each in range(len(W)):
            values[:, :, each] -= written @ W[each]

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_only(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        values[:, :, head] = written @ W[head]

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_input_zero(model, tokens, source_head, target_head, input):
    def edit(values, written, W, head):
        values[:, :, head] = 0

    return _edge(model, tokens, source_head, target_head, edit, input)


def edge_q_and_k_swapped(model, tokens, source_head, target_head, input):
    other = {"q": "k", "k": "q", "v": "v"}[input]
    return _edge(model, tokens, source_head, target_head, _subtract, other)


def edge_own_weight(model, tokens, source_head, target_head, input):
    written = _written(model, tokens, *source_head)
    layer, head = target_head
    W = getattr(model, f"W_{input.upper()}")[source_head]

    def change(values, hook):
        values = values.clone()
        values[:, :, head] -= written @ W
        return values

    name = f"blocks.{layer}.attn.hook_{input}"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, change)])


ABLATE_EDGE = Check(
    name="ablate_edge",
    judge=judge_ablate_edge,
    hints=(
        "W_Q, W_K and W_V are linear. Reading the stream minus a vector is the same as "
        "reading the stream and then subtracting what the matrix makes of that vector.",
        "What the source wrote is its `z` times its W_O. Times the target's W_Q, W_K "
        "or W_V it is what has to go from `blocks.{layer}.attn.hook_q` (or k, v), "
        "whose axes are [batch, pos, head, d_head].",
        "`written = cache['z', layer][:, :, head] @ model.W_O[layer, head]` from a "
        "plain run; `weight = getattr(model, f'W_{input.upper()}')[target_head]`; in "
        "the hook clone the values and do `values[:, :, target] -= written @ weight`.",
    ),
    mistakes=(
        Mistake(
            "all three inputs",
            "You cut all three inputs of the target. Only the one named is asked for: "
            "the other two still read the source.",
            edge_all_inputs,
        ),
        Mistake(
            "whole head",
            "You silenced the source head for everybody. Only one input of one head "
            "should miss it; the logits and all other heads still see it.",
            edge_whole_source,
        ),
        Mistake(
            "all targets",
            "You cut the input of every head in the target's layer. Only one head "
            "should miss the source.",
            edge_all_targets,
        ),
        Mistake(
            "only the source left",
            "You kept what the source wrote and dropped the rest. It is the other way "
            "round: subtract it.",
            edge_only,
        ),
        Mistake(
            "input set to zero",
            "You set the input to zero. It should still read everything but the "
            "source.",
            edge_input_zero,
        ),
        Mistake(
            "query and key swapped",
            'With "q" you changed keys, and with "k" queries.',
            edge_q_and_k_swapped,
        ),
        Mistake(
            "weight of the source",
            "You used W_Q, W_K or W_V of the source head. The target does the reading, "
            "so take its weight.",
            edge_own_weight,
        ),
    ),
    passed=(
        "Checked against a forward pass by hand for all three inputs, in two and three "
        "layers. An ordinary ablation cuts every edge from a head at once; this one "
        "says which edge carries the effect."
    ),
)


# --- previous_token_weights -----------------------------------------------------------


def judge_previous_token_weights(answer) -> None:
    for seed in (0, 1):
        model = random_model(2, seed, d_vocab=13, d_head=5)
        expect.close(
            expect.tensor(answer(model), head=3),
            torch.tensor(_previous_by_position(model)),
            "The weights do not match a softmax by hand, one position after the other.",
        )
    known = expect.tensor(answer(induction_model(9, 19)), head=3)
    expect.true(
        known[1] > 0.99 and known[[0, 2]].max() < 0.5,
        "A hand-made previous-token head should get a weight near 1.",
    )


def _previous_by_position(model) -> list[float]:
    """How far each first-layer head looks one back, by its position vectors alone."""
    W_pos = model.W_pos.double()
    means = []
    for head in range(model.cfg.n_heads):
        q, k = (
            W_pos @ getattr(model, name)[0, head].double() for name in ("W_Q", "W_K")
        )
        cells = []
        for i in range(1, len(W_pos)):
            scores = k[: i + 1] @ q[i] / model.cfg.d_head**0.5
            cells.append(scores.softmax(0)[i - 1].item())
        means.append(sum(cells) / len(cells))
    return means


def _positional(model, scale=True, causal=True, layer=0, transposed=False) -> Tensor:
    """[head, query, key] from position vectors alone, for the mistakes."""
    q, k = model.W_pos @ model.W_Q[layer], model.W_pos @ model.W_K[layer]
    scores = (k @ q.mT) if transposed else (q @ k.mT)
    scores = scores / model.cfg.d_head**0.5 if scale else scores
    if causal:
        later = torch.ones_like(scores).triu(1).bool()
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(-1)


def weights_without_mask(model):
    return _positional(model, causal=False).diagonal(-1, -2, -1).mean(-1)


def weights_without_scale(model):
    return _positional(model, scale=False).diagonal(-1, -2, -1).mean(-1)


def weights_of_diagonal(model):
    return _positional(model).diagonal(0, -2, -1)[:, 1:].mean(-1)


def weights_of_last_layer(model):
    return _positional(model, layer=-1).diagonal(-1, -2, -1).mean(-1)


def weights_transposed(model):
    return _positional(model, transposed=True).diagonal(-1, -2, -1).mean(-1)


PREVIOUS_TOKEN_WEIGHTS = Check(
    name="previous_token_weights",
    judge=judge_previous_token_weights,
    hints=(
        "It is an attention pattern like any other, only that what the head reads is "
        "W_pos instead of tokens plus positions.",
        "`model.W_pos @ model.W_Q[0]` gives the queries of all heads at once, [head, "
        "position, d_head]; the keys likewise. Scale, mask, softmax, and take the line "
        "below the diagonal.",
        "`scores = q @ k.mT / model.cfg.d_head**0.5`, then `scores.masked_fill("
        "torch.ones_like(scores).triu(1).bool(), -torch.inf).softmax(-1)`, then "
        "`.diagonal(offset=-1, dim1=-2, dim2=-1).mean(-1)`.",
    ),
    mistakes=(
        Mistake(
            "no mask",
            "Your positions see later ones. Mask the scores before the softmax.",
            weights_without_mask,
        ),
        Mistake(
            "no scale",
            "Your scores are not divided by sqrt(d_head).",
            weights_without_scale,
        ),
        Mistake(
            "own position",
            "You measure attention to the position itself. The one before is one "
            "column to the left.",
            weights_of_diagonal,
        ),
        Mistake(
            "last layer",
            "You took the last layer. Previous-token heads of interest sit in layer 0.",
            weights_of_last_layer,
        ),
        Mistake(
            "query and key swapped",
            "Your rows are keys. Rows of a pattern belong to the query.",
            weights_transposed,
        ),
    ),
    passed=(
        "Checked position by position for two models, and on a hand-made "
        "previous-token head. No text is involved: if a head looks back by position, "
        "its weights say so."
    ),
)


# --- same_matching_score --------------------------------------------------------------


def judge_same_matching_score(answer) -> None:
    for seed, head in ((0, 2), (1, 0)):
        model = random_model(2, seed, d_vocab=13, d_head=5)
        for prev_head in (1, None, 0):
            score = expect.number(answer(model, 1, head, prev_head))
            if prev_head is None:
                weights = _previous_by_position(model)
                where = "all first-layer heads"
            else:
                weights = [float(i == prev_head) for i in range(3)]
                where = f"head 0.{prev_head}"
            table = _matching_table(model, 1, head, weights)
            expect.close(
                score,
                _eigenvalue_share(table),
                f"The score of 1.{head} through {where} does not match the matrix "
                "written out, token by token.",
                rtol=1e-3,
            )
    for matching in (1.0, -1.0):
        score = expect.number(answer(induction_model(matching=matching), 1, 2))
        expect.close(
            score,
            matching,
            "A hand-made head that looks for the same scores 1, one that avoids it -1.",
            atol=0.1,
        )


def _raw_matching_table(model, layer: int, head: int, weights: list[float]) -> Tensor:
    """Scores [query token, token before the key], one pair of tokens at a time."""
    W_E = model.W_E.double()
    W_Q, W_K = model.W_Q[layer, head].double(), model.W_K[layer, head].double()
    d_vocab = len(W_E)
    table = torch.zeros(d_vocab, d_vocab, dtype=torch.float64)
    for before in range(d_vocab):
        wrote = sum(
            weight * (W_E[before] @ model.W_V[0, i].double() @ model.W_O[0, i].double())
            for i, weight in enumerate(weights)
        )
        for query in range(d_vocab):
            table[query, before] = (W_E[query] @ W_Q) @ (wrote @ W_K)
    return table


def _matching_table(model, layer: int, head: int, weights: list[float]) -> Tensor:
    """The same, without what is alike for all queries or for all keys."""
    table = _raw_matching_table(model, layer, head, weights)
    # What is alike for all queries, or for all keys, is not matching.
    by_key, by_query = table.mean(0), table.mean(1, keepdim=True)
    return table - by_key - by_query + table.mean()


def _eigenvalue_share(table: Tensor) -> float:
    eigenvalues = torch.linalg.eigvals(table)
    return (eigenvalues.sum().real / eigenvalues.abs().sum()).item()


def _weights_or_one(model, prev_head) -> Tensor:
    if prev_head is None:
        return torch.tensor(_previous_by_position(model)).float()
    return torch.eye(model.cfg.n_heads)[prev_head]


def _moved(model, weights: Tensor) -> Tensor:
    return torch.einsum("h,hmd,hdn->mn", weights, model.W_V[0], model.W_O[0])


def _qk(model, layer, head) -> Tensor:
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


def _share_of(matrix: Tensor) -> float:
    return _eigenvalue_share(matrix.double())


def _centred_embedding(model) -> Tensor:
    return model.W_E - model.W_E.mean(0)


def matching_ov_not_transposed(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    return _share_of(E @ _qk(model, layer, head) @ W_OV @ E.T)


def matching_qk_transposed(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    return _share_of(E @ _qk(model, layer, head).T @ W_OV.T @ E.T)


def matching_without_first_layer(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    return _share_of(E @ _qk(model, layer, head) @ E.T)


def matching_all_heads_alike(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    weights = torch.ones(model.cfg.n_heads)
    if prev_head is not None:
        weights = _weights_or_one(model, prev_head)
    W_OV = _moved(model, weights)
    return _share_of(E @ _qk(model, layer, head) @ W_OV.T @ E.T)


def matching_counted(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    small = model.W_K[layer, head].T @ W_OV.T @ E.T @ E
    eigenvalues = torch.linalg.eigvals((small @ model.W_Q[layer, head]).double())
    return (eigenvalues.real > 0).double().mean()


def matching_in_the_stream(model, layer, head, prev_head=None):
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    return _share_of(_qk(model, layer, head) @ W_OV.T)


def matching_singular(model, layer, head, prev_head=None):
    E = _centred_embedding(model)
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    table = (E @ _qk(model, layer, head) @ W_OV.T @ E.T).double()
    return table.trace() / torch.linalg.svdvals(table).sum()


def matching_not_centred(model, layer, head, prev_head=None):
    W_OV = _moved(model, _weights_or_one(model, prev_head))
    return _share_of(model.W_E @ _qk(model, layer, head) @ W_OV.T @ model.W_E.T)


SAME_MATCHING_SCORE = Check(
    name="same_matching_score",
    judge=judge_same_matching_score,
    hints=(
        "The query side is E. The key side is not E: it is what the first layer "
        "wrote at the key's position, E W_OV. W_QK joins the two.",
        "A table [d_vocab, d_vocab] is large. AB and BA have the same eigenvalues but "
        "for zeros, so begin the product at another place: W_K^T W_OV^T E^T E W_Q "
        "is only [d_head, d_head].",
        "`small = W_K.T @ W_OV.T @ (E.T @ E) @ W_Q`, `e = torch.linalg.eigvals("
        "small.double())`, and the score is `e.sum().real / e.abs().sum()`, where "
        "`W_OV` is the sum of `w[k] * model.W_V[0, k] @ model.W_O[0, k]`.",
    ),
    mistakes=(
        Mistake(
            "OV not transposed",
            "The key side is E W_OV, and a key enters a score transposed: E W_QK "
            "(E W_OV)^T = E W_QK W_OV^T E^T. Your W_OV is not transposed.",
            matching_ov_not_transposed,
        ),
        Mistake(
            "query and key swapped",
            "Your W_QK is transposed, so the query's token and the one before the key "
            "have changed places. It is W_Q W_K^T, rows for queries.",
            matching_qk_transposed,
        ),
        Mistake(
            "without the first layer",
            "You compare the query's token with the key's own token. That finds heads "
            "that look for duplicates. Induction looks at what the first layer wrote "
            "there.",
            matching_without_first_layer,
        ),
        Mistake(
            "all heads alike",
            "You added up all first-layer heads with the same weight. Without "
            "`prev_head`, each counts as far as it is a previous-token head.",
            matching_all_heads_alike,
        ),
        Mistake(
            "counted",
            "You counted positive eigenvalues, tiny ones as much as large ones. Divide "
            "the sum of the eigenvalues by the sum of their absolute values.",
            matching_counted,
        ),
        Mistake(
            "without embeddings",
            "W_E is missing. In the stream's own coordinates the matrix says nothing "
            "about tokens.",
            matching_in_the_stream,
        ),
        Mistake(
            "not centred",
            "The mean embedding is still in W_E. A head that scores one key highly for "
            "every query would then look as if it matched, or avoided, that token.",
            matching_not_centred,
        ),
        Mistake(
            "singular values",
            "You divided by the singular values. The score is about eigenvalues.",
            matching_singular,
        ),
    ),
    passed=(
        "Checked against the whole table, one pair of tokens at a time, through single "
        "heads and through all of them, and on hand-made heads that look for the same "
        "(1) or avoid it (-1). A positive eigenvalue is a combination of tokens that "
        "scores its own kind highly."
    ),
)


# --- induction_heads_from_weights -----------------------------------------------------


def judge_induction_heads_from_weights(answer) -> None:
    cases = _detector_cases()
    # All answers first: a mistake is recognised by all of them together.
    results = [answer(*arguments) for arguments, _, _ in cases]
    for result, (_, wanted, words) in zip(results, cases, strict=True):
        _expect_heads(result, wanted, words)


@cache
def _detector_cases() -> list[tuple]:
    """The arguments, the right list, and what the model is in words."""
    real = induction_model(9, 19)
    cases = [((real,), [(1, 2)], "an induction head")]
    for kind, words in DECOYS.items():
        cases.append(((decoy_model(kind, 9, 19), 0.5), [], words))
    faint = induction_model(9, 19, matching=0.1)
    words = "a head that looks for the match, but too faintly to find it"
    cases.append(((faint,), [], words))
    for weight, words in FLIPPED.items():
        changed = getattr(real, weight).clone()
        changed[1, 2] *= -1
        cases.append(((with_weights(real, {weight: changed}), 0.5), [], words))
    blind = real.W_Q.clone()
    blind[0] = 0.0
    words = "a first layer that attends to everything alike"
    cases.append(((with_weights(real, {"W_Q": blind}), 0.5), [], words))
    return cases + _random_detector_cases(random_model(3, 5, d_vocab=11, d_head=5))


def _random_detector_cases(model) -> list[tuple]:
    """Thresholds between the scores and between the gains of heads without meaning."""
    lower = _lower_of_both_scores(model)
    weights = _previous_by_position(model)
    gains = {place: _match_gain(model, *place, weights) for place in lower}
    low = min(*lower.values(), *weights) - 1
    cases = []
    for k in (0, 2, 4):
        threshold = _between(lower, k)
        wanted = sorted(place for place, value in lower.items() if value > threshold)
        if max(weights) <= threshold:
            wanted = []
        words = f"a random model of three layers, threshold {threshold:.2f}"
        cases.append(((model, threshold, min(gains.values()) - 1), wanted, words))
        least = _between(gains, k)
        wanted = sorted(place for place, value in gains.items() if value > least)
        words = f"a random model of three layers, least gain {least:.2f}"
        cases.append(((model, low, least), wanted, words))
    return cases


def _between(values: dict, k: int) -> float:
    ranked = sorted(values.values())
    return (ranked[k] + ranked[k + 1]) / 2


def _match_gain(model, layer: int, head: int, weights: list[float]) -> float:
    """Mean score of a token with itself, less that of two different ones."""
    table = _raw_matching_table(model, layer, head, weights) / model.cfg.d_head**0.5
    n = len(table)
    same = sum(table[i, i].item() for i in range(n)) / n
    other = [table[i, j].item() for i in range(n) for j in range(n) if i != j]
    return same - sum(other) / len(other)


FLIPPED = {
    "W_Q": "a head that avoids what matches",
    "W_O": "a head that lowers what it attends to",
}
DECOYS = {
    "duplicate": "a head that attends to earlier copies of its own token",
    "first": "a head that rests on the first token",
    "lag": "a head that looks a fixed distance back",
}


def _expect_heads(result, wanted: list[tuple[int, int]], words: str) -> None:
    try:
        found = [(int(layer), int(head)) for layer, head in result]
    except (TypeError, ValueError):
        raise Wrong(
            "The result should be a list of pairs (layer, head), and it may be empty."
        ) from None
    expect.true(
        found == wanted,
        f"With {words} the list should be {wanted}. Yours is {found}.",
    )


def _lower_of_both_scores(model, layers=(1, 2)) -> dict:
    """The smaller of the two scores of each head, from tables over all tokens."""
    lower = {}
    weights = _previous_by_position(model)
    for layer in layers:
        for head in range(model.cfg.n_heads):
            copies = _copy_table(model, layer, head)
            matches = _matching_table(model, layer, head, weights)
            scores = _eigenvalue_share(copies), _eigenvalue_share(matches)
            lower[layer, head] = min(scores)
    return lower


def _copy_table(model, layer: int, head: int) -> Tensor:
    """Logits [source token, token] when attending to one embedding only."""
    W_V, W_O = model.W_V[layer, head].double(), model.W_O[layer, head].double()
    rows = [vector @ W_V @ W_O @ model.W_U.double() for vector in model.W_E.double()]
    return torch.stack(rows)


def _listed(
    model, threshold, least, rule, needs_previous=True, gain=None
) -> list[tuple[int, int]]:
    """Heads for which rule(copying, matching) exceeds the threshold."""
    weights = torch.tensor(_previous_by_position(model)).float()
    if needs_previous and weights.max() <= threshold:
        return []
    least = math.log(model.cfg.n_ctx) if least is None else least
    W_OV, E = _moved(model, weights), _centred_embedding(model)
    found = []
    for layer in range(1, model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            copies = _share_of(_copy_table(model, layer, head))
            W_QK = _qk(model, layer, head)
            table = E @ W_QK @ W_OV.T @ E.T
            raw = model.W_E @ W_QK @ (model.W_E @ W_OV).T
            strong = (gain or _gain)(raw, model.cfg.d_head) > least
            if rule(copies, _share_of(table)) > threshold and strong:
                found.append((layer, head))
    return found


def _gain(scores, d_head, scale=True, others=True) -> float:
    scores = scores / d_head**0.5 if scale else scores
    n, same = len(scores), scores.diagonal().sum()
    return (same / n - others * (scores.sum() - same) / (n * n - n)).item()


def heads_without_previous(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, min, needs_previous=False)


def heads_by_either(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, max)


def heads_by_copying(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda copies, matches: copies)


def heads_by_matching(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda copies, matches: matches)


def heads_by_size(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: min(abs(a), abs(b)))


def heads_by_mean(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: (a + b) / 2)


def heads_of_last_layer(model, threshold=0.5, least_gain=None):
    found = _listed(model, threshold, least_gain, min)
    return [place for place in found if place[0] == model.cfg.n_layers - 1]


def heads_by_product(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, least_gain, lambda a, b: a * b)


def heads_without_gain(model, threshold=0.5, least_gain=None):
    return _listed(model, threshold, -math.inf, min)


def heads_by_unscaled_gain(model, threshold=0.5, least_gain=None):
    unscaled = partial(_gain, scale=False)
    return _listed(model, threshold, least_gain, min, gain=unscaled)


def heads_by_diagonal(model, threshold=0.5, least_gain=None):
    diagonal = partial(_gain, others=False)
    return _listed(model, threshold, least_gain, min, gain=diagonal)


INDUCTION_HEADS_FROM_WEIGHTS = Check(
    name="induction_heads_from_weights",
    judge=judge_induction_heads_from_weights,
    hints=(
        "Four things have to be right at once: somebody looks one back, the head "
        "looks for what that one wrote, strongly enough, and it copies what it finds.",
        "For the first two you have functions. For copying take the "
        "eigenvalues of W_E W_V W_O W_U; the small product with the same ones is "
        "W_O W_U W_E W_V.",
        "Loop over layers from 1 and over heads. `small = W_O @ (model.W_U @ "
        "model.W_E) @ W_V`, `e = torch.linalg.eigvals(small.double())`, `copying = "
        "e.sum().real / e.abs().sum()`. For the gain: `scores = (model.W_E @ W_Q / "
        "d_head**0.5) @ (model.W_E @ W_OV @ W_K).T`, its diagonal's mean minus the "
        "mean of the rest. Keep (layer, head) if all exceed their bounds.",
    ),
    mistakes=(
        Mistake(
            "first layer not looked at",
            "You do not ask whether any first-layer head looks one back. Without one, "
            "the key holds no previous token, however well a head would match it.",
            heads_without_previous,
        ),
        Mistake(
            "either one",
            "One of the two scores is enough for you. A head that copies but does not "
            "look for the match is an ordinary copying head.",
            heads_by_either,
        ),
        Mistake(
            "copying only",
            "You look at copying only. Then duplicate-token heads, heads that rest on "
            "the first token and all other copiers are on your list.",
            heads_by_copying,
        ),
        Mistake(
            "matching only",
            "You look at matching only. A head may find the right token and then lower "
            "its logit.",
            heads_by_matching,
        ),
        Mistake(
            "absolute values",
            "You take the size of the scores. A score of -1 means the opposite: "
            "avoiding what matches, or lowering what is found.",
            heads_by_size,
        ),
        Mistake(
            "mean",
            "You average the two scores, so that a very high one makes up for a low "
            "one. Both have to exceed the threshold.",
            heads_by_mean,
        ),
        Mistake(
            "without the gain",
            "You ask what the head looks for and not how strongly. A faint match loses "
            "against the many other keys, and the head never finds it.",
            heads_without_gain,
        ),
        Mistake(
            "gain not scaled",
            "Your match gain is not divided by sqrt(d_head), as the scores that go "
            "into the softmax are.",
            heads_by_unscaled_gain,
        ),
        Mistake(
            "diagonal only",
            "Your match gain is the mean of the diagonal alone. What all keys have in "
            "common moves no attention; take off the mean of the other entries.",
            heads_by_diagonal,
        ),
        Mistake(
            "last layer only",
            "You list heads of the last layer only. Every layer from 1 on can hold "
            "induction heads.",
            heads_of_last_layer,
        ),
        Mistake(
            "product",
            "You multiply the two scores. Two negative ones would make a positive one, "
            "and each score has to exceed the threshold by itself.",
            heads_by_product,
        ),
    ),
    passed=(
        "Checked on hand-made models: it names the induction head, none of the "
        "impostors that copy as well but look elsewhere, none whose match is too "
        "faint, and nothing at all where no first-layer head looks one back. And on a "
        "random model of three layers, for three thresholds and three least gains."
    ),
)


# --- build_previous_token_head --------------------------------------------------------


def judge_build_previous_token_head(answer) -> None:
    for seed, d_vocab, n_ctx in ((0, 7, 12), (1, 9, 31)):
        d_model = 2 * d_vocab + n_ctx + 3
        W_E, W_pos, W_prev, _ = orthonormal_rows(d_model, d_model, seed).split(
            [d_vocab, n_ctx, d_vocab, 3]
        )
        circuits = _circuits(answer(W_E, W_pos, W_prev), d_model)
        tokens = _rows(d_vocab, d_vocab - 1, 3, batch=3, seed=seed)[:, :n_ctx]
        model = _from_circuits(W_E, W_pos, [circuits])
        _, cache = model.run_with_cache(tokens)
        _expect_previous(cache["pattern", 0][:, 0])
        expect.close(
            W_E.double() @ circuits[1],
            W_prev.double(),
            "W_E[t] @ W_OV should be W_prev[t], for every token.",
            atol=1e-3,
        )


def _circuits(result, d_model: int) -> tuple[Tensor, Tensor]:
    expect.true(
        isinstance(result, tuple | list) and len(result) == 2,
        "The result should be two matrices: return W_QK, W_OV.",
    )
    axes = {"d_model": d_model, "d_model_out": d_model}
    return expect.tensor(result[0], **axes), expect.tensor(result[1], **axes)


def _from_circuits(W_E: Tensor, W_pos: Tensor, layers: list[tuple[Tensor, Tensor]]):
    """A model with one head per layer whose W_QK and W_OV are these, scale included."""
    d_model = W_E.shape[1]
    identity = torch.eye(d_model).expand(len(layers), 1, -1, -1)
    W_QK = torch.stack([W_QK[None] for W_QK, _ in layers]).float()
    W_OV = torch.stack([W_OV[None] for _, W_OV in layers]).float()
    weights = {"W_E": W_E, "W_pos": W_pos, "W_Q": W_QK * d_model**0.5}
    weights |= {"W_K": identity, "W_V": W_OV, "W_O": identity, "W_U": W_E.T}
    return model_from_weights(weights)


def _expect_previous(pattern: Tensor) -> None:
    """Complain, naming a place, unless all but position 0 look one back."""
    before = pattern.diagonal(-1, 1, 2)
    if (before >= 0.99).all():
        return
    row, i = divmod(int(before.argmin()), before.shape[1])
    query = i + 1
    key = int(pattern[row, query].argmax())
    raise Wrong(
        f"Position {query} gives {before[row, i].item():.2f} of its attention to "
        f"position {query - 1}; it gives most, {pattern[row, query, key].item():.2f}, "
        f"to position {key}. At least 0.99 should go to the position just before."
    )


def build_previous_swapped(W_E, W_pos, W_prev):
    return 30.0 * W_pos[:-1].T @ W_pos[1:], W_E.T @ W_prev


def build_previous_current(W_E, W_pos, W_prev):
    return 30.0 * W_pos.T @ W_pos, W_E.T @ W_prev


def build_previous_flat(W_E, W_pos, W_prev):
    return W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev


def build_previous_ov_transposed(W_E, W_pos, W_prev):
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_prev.T @ W_E


def build_previous_same_slot(W_E, W_pos, W_prev):
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_E


def build_previous_moves_positions(W_E, W_pos, W_prev):
    W_OV = torch.zeros_like(W_E.T @ W_E)
    W_OV += W_pos[1:].T @ W_pos[:-1]
    return 30.0 * W_pos[1:].T @ W_pos[:-1], W_OV


BUILD_PREVIOUS_TOKEN_HEAD = Check(
    name="build_previous_token_head",
    judge=judge_build_previous_token_head,
    hints=(
        "With rows at right angles, `a.T @ b` is a matrix that turns row k of `a` into "
        "row k of `b`, for all k at once.",
        "W_QK has to score W_pos[i] against W_pos[i - 1] highly and all else 0. W_OV "
        "has to turn W_E[t] into W_prev[t]. Softmax needs large scores to be sure: e "
        "to the power 30 leaves nothing for the rest.",
        "`W_QK = 30 * W_pos[1:].T @ W_pos[:-1]` and `W_OV = W_E.T @ W_prev`.",
    ),
    mistakes=(
        Mistake(
            "query and key swapped",
            "Your W_QK scores position i against i + 1, which the mask hides. Rows of "
            "W_QK belong to the query: W_pos[i] on the left, W_pos[i - 1] on the "
            "right.",
            build_previous_swapped,
        ),
        Mistake(
            "current token",
            "Your head attends to its own position. Shift one side by one.",
            build_previous_current,
        ),
        Mistake(
            "too flat",
            "The direction is right, but scores of 1 against 0 leave the softmax "
            "almost flat. Multiply W_QK by something like 30.",
            build_previous_flat,
        ),
        Mistake(
            "OV transposed",
            "Your W_OV turns W_prev into W_E. Vectors are rows here, so what goes in "
            "stands on the left: W_E.T @ W_prev.",
            build_previous_ov_transposed,
        ),
        Mistake(
            "into the token's own place",
            "Your W_OV writes the previous token where the current token stands, and "
            "the two become indistinguishable. Write it into the directions W_prev.",
            build_previous_same_slot,
        ),
        Mistake(
            "moves positions",
            "Your W_OV moves position vectors. Values hold none; what has to be moved "
            "is the token.",
            build_previous_moves_positions,
        ),
    ),
    passed=(
        "Checked by putting the head into a model: two sizes, rotated directions. "
        "From position 1 on every position looks one back, and each token arrives in "
        "its new directions."
    ),
)


# --- build_matching_head --------------------------------------------------------------


def judge_build_matching_head(answer) -> None:
    for seed, d_vocab, n_ctx in ((0, 9, 23), (1, 12, 31)):
        d_model = 2 * d_vocab + n_ctx + 2
        W_E, W_prev, W_pos, _ = orthonormal_rows(d_model, d_model, seed).split(
            [d_vocab, d_vocab, n_ctx, 2]
        )
        circuits = _circuits(answer(W_E, W_prev), d_model)
        first = 30 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev
        model = _from_circuits(W_E, W_pos, [first, circuits])
        for span, copies in ((7, 3), (4, 2)):
            tokens = _rows(d_vocab, span, copies, batch=3, seed=seed)
            _, cache = model.run_with_cache(tokens)
            _expect_matching(cache["pattern", 1][:, 0], tokens)
        streams = (W_E[:, None] + W_prev[None]).double()
        wanted = 10 * W_E[:, None].double().expand_as(streams).clone()
        wanted[0] = 0.0
        expect.close(
            streams[1:] @ circuits[1],
            wanted[1:],
            "The stream of a position, times W_OV, should be 10 times W_E of its own "
            "token.",
            atol=1e-2,
        )
        expect.close(
            streams[0, 0] @ circuits[1],
            wanted[0, 0],
            "From position 0, which holds the start token, W_OV should move nothing.",
            atol=1e-2,
        )


def _expect_matching(pattern: Tensor, tokens: Tensor) -> None:
    """Complain about the first query that does not look where it should."""
    for row, ids in enumerate(tokens.tolist()):
        for i in range(1, len(ids)):
            targets = [j for j in range(1, i + 1) if ids[j - 1] == ids[i]] or [0]
            share = sum(pattern[row, i, j].item() for j in targets)
            if share >= 0.99:
                continue
            most = int(pattern[row, i].argmax())
            where = "its match" if targets != [0] else "position 0, as nothing matches"
            raise Wrong(
                f"In the row {ids} position {i} should attend to {where} (position "
                f"{', '.join(map(str, targets))}). It gives {share:.2f} to that, and "
                f"most to position {most}, whose own token is {ids[most]}."
            )


def _rest(W_E, sharpness):
    return sharpness * W_E.sum(0)[:, None] * W_E[0]


def _copy_tokens(W_E):
    return 10 * W_E[1:].T @ W_E[1:]


def build_match_duplicate(W_E, W_prev):
    return 40 * W_E.T @ W_E + _rest(W_E, 20), _copy_tokens(W_E)


def build_match_swapped(W_E, W_prev):
    return 40 * W_prev.T @ W_E + _rest(W_E, 20), _copy_tokens(W_E)


def build_match_without_rest(W_E, W_prev):
    return 40 * W_E.T @ W_prev, _copy_tokens(W_E)


def build_match_strong_rest(W_E, W_prev):
    return 40 * W_E.T @ W_prev + _rest(W_E, 40), _copy_tokens(W_E)


def build_match_flat(W_E, W_prev):
    return W_E.T @ W_prev + _rest(W_E, 0.5), _copy_tokens(W_E)


def build_match_copies_previous(W_E, W_prev):
    return 40 * W_E.T @ W_prev + _rest(W_E, 20), 10 * W_prev[1:].T @ W_E[1:]


def build_match_copies_start(W_E, W_prev):
    return 40 * W_E.T @ W_prev + _rest(W_E, 20), 10 * W_E.T @ W_E


BUILD_MATCHING_HEAD = Check(
    name="build_matching_head",
    judge=judge_build_matching_head,
    hints=(
        "W_QK is a sum of two terms: one that finds the match, and a weaker one that "
        "always pulls a little towards the start token.",
        "The match: query W_E[t] against key W_prev[t], for all t. The pull: every "
        "token as a query, so the sum of the rows of W_E, against the key "
        "W_E[START_ID]. It has to be clearly weaker than a match and clearly stronger "
        "than 0.",
        "`W_QK = 40 * W_E.T @ W_prev + 20 * W_E.sum(0)[:, None] * W_E[START_ID]`. For "
        "W_OV take `10 * E.T @ E` with a copy `E` of W_E whose row START_ID is zero.",
    ),
    mistakes=(
        Mistake(
            "duplicates",
            "Your head looks for positions that hold its own token, which is a "
            "duplicate-token head, and finds itself. The key to match is W_prev, what "
            "the first layer wrote there.",
            build_match_duplicate,
        ),
        Mistake(
            "query and key swapped",
            "Your query is the previous token and your key the own token. It should be "
            "the other way round: own token of the query, previous token of the key.",
            build_match_swapped,
        ),
        Mistake(
            "nowhere to rest",
            "The matching is right. But where nothing matches, all scores are 0 and "
            "the head attends to everything alike. Let it rest on the start token.",
            build_match_without_rest,
        ),
        Mistake(
            "rest as strong as a match",
            "The pull towards the start token is as strong as a match, so the two "
            "share the attention. Make it clearly weaker.",
            build_match_strong_rest,
        ),
        Mistake(
            "too flat",
            "The directions are right, but the scores are so small that the softmax "
            "stays almost flat. Make them larger.",
            build_match_flat,
        ),
        Mistake(
            "copies the previous token",
            "Your W_OV copies the token before the attended one, so the model would "
            "predict the token it already has. Copy the attended position's own token.",
            build_match_copies_previous,
        ),
        Mistake(
            "copies the start token",
            "When your head rests, it copies the start token into the prediction. W_OV "
            "should move nothing from there.",
            build_match_copies_start,
        ),
    ),
    passed=(
        "Checked by putting the head behind a previous-token head: it finds its match "
        "in two and three copies, rests on the start token everywhere else, and moves "
        "the right vector. This is the whole of an induction head."
    ),
)


# --- build_induction_model and build_pointer_model ------------------------------------


def judge_build_induction_model(answer) -> None:
    for d_vocab, n_ctx in ((11, 25), (17, 36)):
        model = _built(answer(d_vocab, n_ctx), d_vocab, n_ctx, "qk")
        for tokens, span in _all_kinds_of_repeats(d_vocab, n_ctx):
            _expect_continued(model(tokens), tokens, span)


def judge_build_pointer_model(answer) -> None:
    for d_vocab, n_ctx in ((11, 25), (17, 36)):
        model = _built(answer(d_vocab, n_ctx), d_vocab, n_ctx, "stream")
        for tokens, span in _all_kinds_of_repeats(d_vocab, n_ctx):
            _expect_continued(model(tokens), tokens, span)
            _expect_continued(
                _keys_of_stream_only(model, tokens),
                tokens,
                span,
                "When the second layer's keys see only tokens and positions: ",
            )


def _built(weights, d_vocab: int, n_ctx: int, positions: str):
    """The model, or a complaint about the weights' names, shapes or numbers."""
    names = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")
    expect.true(
        isinstance(weights, dict) and set(names) <= set(weights),
        f"The result should be a dict with the keys {', '.join(names)}.",
    )
    tensors = {name: torch.as_tensor(weights[name]).float() for name in names}
    for name, value in tensors.items():
        expect.true(torch.isfinite(value).all(), f"{name} holds numbers not finite.")
    expect.true(
        tensors["W_Q"].ndim == 4 and tensors["W_Q"].shape[0] == 2,
        "W_Q should be [2, n_heads, d_model, d_head]: two layers.",
    )
    sizes = len(tensors["W_E"]), len(tensors["W_pos"])
    expect.true(
        sizes == (d_vocab, n_ctx),
        f"W_E and W_pos have {sizes[0]} and {sizes[1]} rows. Here they should have "
        f"d_vocab = {d_vocab} and n_ctx = {n_ctx}.",
    )
    try:
        return model_from_weights(tensors, positions)
    except (ValueError, IndexError) as error:
        raise Wrong(f"The shapes do not fit together: {error}") from None


def _all_kinds_of_repeats(d_vocab: int, n_ctx: int):
    """Repeats of many lengths: two copies, three, and as long as the context allows."""
    for span in (2, 3, 5, d_vocab - 1):
        for copies in (2, 3):
            if 1 + span * copies <= n_ctx:
                yield _rows(d_vocab, span, copies, batch=5, seed=span), span


def _expect_continued(logits: Tensor, tokens: Tensor, span: int, prefix="") -> None:
    guesses = logits[:, span + 1 : -1].argmax(-1)
    wanted = tokens[:, span + 2 :]
    wrong = (guesses != wanted).nonzero()
    if not len(wrong):
        return
    row, i = wrong[0].tolist()
    right = (guesses == wanted).double().mean().item()
    position = span + 1 + i
    raise Wrong(
        f"{prefix}{right:.0%} of the repeats with a span of {span} are continued "
        f"rightly. In the row {tokens[row].tolist()} position {position} predicts "
        f"{guesses[row, i].item()} and should predict {wanted[row, i].item()}."
    )


def _keys_of_stream_only(model, tokens: Tensor) -> Tensor:
    """Logits when no key of layer 1 holds anything that layer 0 wrote."""
    entering = model.W_E[tokens] + model.W_pos[: tokens.shape[1]]
    keys = torch.stack([entering @ W_K for W_K in model.W_K[1]], dim=2)
    name = "blocks.1.attn.hook_k"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, lambda k, hook: keys)])


def _frame(d_vocab: int, n_ctx: int, second: int):
    sizes = [d_vocab, second, n_ctx]
    return torch.eye(sum(sizes)).split(sizes)


def _as_weights(W_E, W_pos, layers, W_U=None):
    """The dict of a model with one head per layer, from its circuits."""
    d_model = W_E.shape[1]
    identity = torch.eye(d_model).expand(len(layers), 1, -1, -1)
    return {
        "W_E": W_E,
        "W_pos": W_pos,
        "W_Q": torch.stack([W_QK[None] for W_QK, _ in layers]) * d_model**0.5,
        "W_K": identity,
        "W_V": torch.stack([W_OV[None] for _, W_OV in layers]),
        "W_O": identity,
        "W_U": W_E.T if W_U is None else W_U,
    }


def _two_heads(d_vocab, n_ctx):
    W_E, W_prev, W_pos = _frame(d_vocab, n_ctx, d_vocab)
    previous = 30.0 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev
    matching = 40 * W_E.T @ W_prev + _rest(W_E, 20), _copy_tokens(W_E)
    return W_E, W_prev, W_pos, previous, matching


def model_of_one_layer(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = _two_heads(d_vocab, n_ctx)
    weights = _as_weights(W_E, W_pos, [previous, matching])
    nothing = torch.zeros_like(previous[0]), torch.zeros_like(previous[1])
    second = _as_weights(W_E, W_pos, [nothing, nothing])
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        both = weights[name].transpose(0, 1), second[name].transpose(0, 1)
        weights[name] = torch.cat(both)
    return weights


def model_in_wrong_order(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = _two_heads(d_vocab, n_ctx)
    return _as_weights(W_E, W_pos, [matching, previous])


def model_reads_previous(d_vocab, n_ctx):
    W_E, W_prev, W_pos, previous, matching = _two_heads(d_vocab, n_ctx)
    return _as_weights(W_E, W_pos, [previous, matching], W_U=W_prev.T)


def model_of_duplicates(d_vocab, n_ctx):
    W_E, _, W_pos, previous, _ = _two_heads(d_vocab, n_ctx)
    duplicates = 40 * (W_E.T @ W_E - W_pos.T @ W_pos), _copy_tokens(W_E)
    return _as_weights(W_E, W_pos, [previous, duplicates])


def model_of_fixed_lag(d_vocab, n_ctx):
    W_E, _, W_pos, previous, _ = _two_heads(d_vocab, n_ctx)
    lag = n_ctx // 2 - 1
    fixed = 40 * W_pos[lag:].T @ W_pos[:-lag], _copy_tokens(W_E)
    return _as_weights(W_E, W_pos, [previous, fixed])


BUILD_INDUCTION_MODEL = Check(
    name="build_induction_model",
    judge=judge_build_induction_model,
    hints=(
        "Give the stream three sets of directions: own token, previous token, "
        "position. Your two functions then fill the two layers, one head each.",
        "`torch.eye(d_model).split([d_vocab, d_vocab, n_ctx])` gives W_E, W_prev and "
        "W_pos. With d_head = d_model a circuit needs no clever factors: put the whole "
        "of it into W_Q (or W_V) and the identity into W_K (or W_O). Mind that the "
        "model divides scores by sqrt(d_head).",
        "`W_Q = torch.stack([QK_0[None], QK_1[None]]) * d_model**0.5`, `W_K` two "
        "identities in the same shape, `W_V` from the W_OV, `W_O` identities again, "
        "and `W_U = W_E.T`, which reads the own-token directions.",
    ),
    mistakes=(
        Mistake(
            "both heads in one layer",
            "Both heads sit in the first layer. There the matching head reads a stream "
            "in which nothing has been written yet. It has to come a layer later.",
            model_of_one_layer,
        ),
        Mistake(
            "layers swapped",
            "Your layers are in the wrong order: the matching head needs what the "
            "previous-token head writes.",
            model_in_wrong_order,
        ),
        Mistake(
            "W_U reads the previous token",
            "Your W_U reads the directions of the previous token. The copied token is "
            "in the directions of W_E.",
            model_reads_previous,
        ),
        Mistake(
            "duplicate-token head",
            "Your second head attends to the earlier copy of the current token, so the "
            "model predicts the token it has just read. It should attend to the one "
            "after.",
            model_of_duplicates,
        ),
        Mistake(
            "fixed lag",
            "Your model looks a fixed distance back. That works for one span length "
            "only; induction finds the match wherever it is.",
            model_of_fixed_lag,
        ),
    ),
    passed=(
        "Checked by what it predicts: two sizes, spans from 2 tokens to the whole "
        "vocabulary, two and three copies, every prediction right. You wrote by hand "
        "what training finds."
    ),
)


def _pointer(d_vocab, n_ctx):
    W_E, W_pointer, W_pos = _frame(d_vocab, n_ctx, n_ctx)
    same = 60.0 * (W_E.T @ W_E - W_pos.T @ W_pos)
    return W_E, W_pointer, W_pos, same


def pointer_by_keys(d_vocab, n_ctx):
    W_E, _, W_pos, previous, matching = _two_heads(d_vocab, n_ctx)
    return _as_weights(W_E, W_pos, [previous, matching])


def pointer_not_moved(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer.T @ W_pos
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_E.T @ W_E)]
    return _as_weights(W_E, W_pos, layers)


def pointer_moved_back(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer[1:].T @ W_pos[:-1]
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_E.T @ W_E)]
    return _as_weights(W_E, W_pos, layers)


def pointer_to_tokens(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    fetch = W_E.T @ W_pointer[:d_vocab]
    follow = 60.0 * W_pointer[:-1].T @ W_pos[1:]
    return _as_weights(W_E, W_pos, [(same, fetch), (follow, 10 * W_E.T @ W_E)])


def pointer_copies_positions(d_vocab, n_ctx):
    W_E, W_pointer, W_pos, same = _pointer(d_vocab, n_ctx)
    follow = 60.0 * W_pointer[:-1].T @ W_pos[1:]
    layers = [(same, W_pos.T @ W_pointer), (follow, 10 * W_pos.T @ W_pos)]
    return _as_weights(W_E, W_pos, layers)


BUILD_POINTER_MODEL = Check(
    name="build_pointer_model",
    judge=judge_build_pointer_model,
    hints=(
        "First layer: find earlier copies of the current token, and bring home not the "
        "token but the position vector that is there in the stream.",
        "Give the fetched positions directions of their own, W_pointer. Second layer: "
        "a query that holds W_pointer[p] scores a key that holds W_pos[p + 1]. In the "
        "first layer every token also matches itself; a term -W_pos.T @ W_pos takes "
        "that out.",
        "`W_QK_0 = 60 * (W_E.T @ W_E - W_pos.T @ W_pos)`, `W_OV_0 = W_pos.T @ "
        "W_pointer`, `W_QK_1 = 60 * W_pointer[:-1].T @ W_pos[1:]`, `W_OV_1 = 10 * "
        "W_E.T @ W_E`, and the rest as in `build_induction_model`.",
    ),
    mistakes=(
        Mistake(
            "previous-token algorithm",
            "This is the first algorithm: the keys carry the previous token. Here the "
            "keys may hold nothing but token and position, and the query does the "
            "work.",
            pointer_by_keys,
        ),
        Mistake(
            "pointer not moved on",
            "Your query asks for the very position that was fetched, where the current "
            "token stands. Ask for the one after it.",
            pointer_not_moved,
        ),
        Mistake(
            "pointer moved back",
            "Your pointer moves one back instead of one on.",
            pointer_moved_back,
        ),
        Mistake(
            "fetches tokens",
            "Your first head fetches the token, which is the one it already has. Fetch "
            "the position: W_OV should turn W_pos[p] into W_pointer[p].",
            pointer_to_tokens,
        ),
        Mistake(
            "copies positions",
            "Your second head copies the position it attends to. By then the pointer "
            "has done its work; what has to be copied is the token.",
            pointer_copies_positions,
        ),
    ),
    passed=(
        "Checked by what it predicts, also when the keys of the second layer see "
        "nothing of the first. Same behaviour, same pattern of the second head, "
        "another algorithm: behaviour alone does not tell the mechanism."
    ),
)


CHECKS = (
    REPEATED_TOKENS,
    REPEAT_LOSS,
    PREFIX_MATCHING_SCORE,
    LOGIT_EFFECT,
    COPYING_HEAD_SCORE,
    PREVIOUS_TOKEN_SCORE,
    IDEAL_PATTERN_RECOVERY,
    ABLATE_EDGE,
    PREVIOUS_TOKEN_WEIGHTS,
    SAME_MATCHING_SCORE,
    INDUCTION_HEADS_FROM_WEIGHTS,
    BUILD_PREVIOUS_TOKEN_HEAD,
    BUILD_MATCHING_HEAD,
    BUILD_INDUCTION_MODEL,
    BUILD_POINTER_MODEL,
)


PREDICTIONS = (
    Prediction(
        name="below_chance",
        question=(
            "A model reads 64 random tokens, all different, and then the same 64 "
            "again. On the second copy its loss falls from ln(4096) = 8.3 to 3.3 "
            "nats. Does it do induction?"
        ),
        choices=(
            Choice(
                "Yes: without looking up what came after, it could not beat chance.",
                "It could. Knowing which 64 tokens are around is enough for "
                "ln 64 = 4.2 nats, and striking off used ones for ln(64!)/64 = 3.2.",
            ),
            Choice(
                "That cannot be told. Knowing which tokens occurred may be enough.",
                "Whoever knows the set and strikes off what was used reaches "
                "ln(64!)/64 = 3.2 nats without knowing any order. One layer can copy a "
                "set. Only a loss clearly below that needs the order.",
            ),
            Choice(
                "No: induction would bring the loss to exactly 0.",
                "A real head is never quite sure, so some loss always remains.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="where_it_looks",
        question=(
            "The row is `<start> p q r s p q r s`. An induction head has just read the "
            "second q (position 6). Which position does it attend to?"
        ),
        choices=(
            Choice(
                "2, the first q.",
                "That would be a duplicate-token head. It finds what it has already: "
                "copying from there predicts q again.",
            ),
            Choice(
                "3, the first r.",
                "The token after the earlier q. It is r that should come next, so r is "
                "where there is something to copy.",
            ),
            Choice(
                "1, the first p.",
                "This is what the published sentence says if read word by word: the "
                "token that preceded the same token. It is a slip of the pen.",
            ),
            Choice(
                "5, the second p.",
                "That is what a previous-token head does. It plays a part, but in the "
                "first layer.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="kept_out_tokens",
        question=(
            "Before training, a tenth of all tokens was kept out of the repeated rows. "
            "They occur in text, but the model never saw random repeats of them. How "
            "will it do on repeats made of these tokens only?"
        ),
        choices=(
            Choice(
                "As on tokens it did see repeated, or nearly.",
                "It would, if these tokens were like all others. But text alone has "
                "shaped their vectors. The heads find some of the places, and then "
                "fail to say what stands there.",
            ),
            Choice(
                "At chance or worse: it never learned to copy these tokens.",
                "Matching carries over in part, copying hardly. Is that the fault of "
                "the heads, or of these tokens? The last two rows of the table tell.",
            ),
            Choice(
                "It reaches the loss of knowing the set, ln(K!)/K.",
                "That would mean that copying carries over and matching does not. Here "
                "it is rather the other way round.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="which_edge",
        question=(
            "A second-layer head reads the first layer through three inputs: W_Q, W_K "
            "and W_V. You cut one of the three edges from the previous-token head to "
            "an induction head. Which cut ends induction?"
        ),
        choices=(
            Choice(
                "The edge into W_Q.",
                "Then the query would be the previous token. The query is the current "
                "token itself, which stands in the embedding.",
            ),
            Choice(
                "The edge into W_K.",
                "A position's key must say what stood before it. Only the "
                "previous-token head knows, so this is K-composition.",
            ),
            Choice(
                "The edge into W_V.",
                "Then the head would copy the token before the attended one, which is "
                "the token it already has.",
            ),
            Choice(
                "Any of the three.",
                "Three edges carry three different things, and a head may ignore two "
                "of them.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="sign_flip",
        question=(
            "Multiply W_V of the previous-token head by -1. What happens to the "
            "K-composition score with the induction head, and to its same-matching "
            "score?"
        ),
        choices=(
            Choice(
                "Both change their sign.",
                "The composition score is made of norms, which are never negative.",
            ),
            Choice(
                "Composition stays the same, same-matching changes its sign.",
                "A norm does not see a sign; an eigenvalue does. So strong composition "
                "does not by itself mean matching: F-109 is not circular.",
            ),
            Choice(
                "Both stay the same.",
                "The key now holds the opposite of the previous token. Something has "
                "to notice.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="pointer_edge",
        question=(
            "In the pointer model, which edge from the first to the second head "
            "carries the induction?"
        ),
        choices=(
            Choice(
                "K, as before: this is what induction is.",
                "Induction is a behaviour. Here the keys are plain positions.",
            ),
            Choice(
                "Q: the fetched position is part of the query.",
                "The first head puts a pointer into the stream, and the second head's "
                "query asks for the position one further on.",
            ),
            Choice(
                "V: the fetched position is what gets copied.",
                "What is copied is the token at the position pointed at.",
            ),
        ),
        right=1,
    ),
)
