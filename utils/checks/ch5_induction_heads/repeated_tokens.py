"""Chapter 5, `repeated_tokens`: judge, known mistakes and hints."""

import numpy as np
import torch
from torch import Tensor

from utils.checks import Check, Mistake, Wrong, expect

__all__ = ["CHECK"]


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
    _expect_all_drawn(answer)
    same = [torch.as_tensor(answer(23, 7, seed=seed)) for seed in (4, 4, 5)]
    expect.true(
        "the random state" not in getattr(answer, "notes", ()),
        "Your function changed the global random state, as torch.manual_seed does. "
        "Whoever draws afterwards gets other numbers. Use a torch.Generator.",
    )
    expect.true(
        torch.equal(same[0], same[1]),
        "The same seed should give the same rows.",
    )
    expect.true(
        not torch.equal(same[0], same[2]),
        "Another seed should give other rows.",
    )


def _whole_numbers(rows):
    kind = getattr(rows, "dtype", None)
    if kind not in (torch.int64, np.dtype("int64"), None):
        raise Wrong(f"Your tokens have dtype {kind}. Ids are int64.")
    return rows


def _expect_all_drawn(answer) -> None:
    """Many short spans: every id comes, and in no fixed relation to the one before."""
    rows = torch.as_tensor(answer(9, 3, batch=60, seed=2))
    spans = rows[:, 1:4].tolist()
    never = set(range(1, 9)) - {i for span in spans for i in span}
    expect.true(
        not never,
        f"In 60 rows of 3 from the ids 1 to 8 these never came: {sorted(never)}. Every "
        "id should be as likely as any other.",
    )
    steps = {(b - a) % 8 for a, b, _ in spans}
    expect.true(
        len(steps) > 4,
        "Your spans are ids in a fixed order. Each should be drawn at random.",
    )


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


CHECK = Check(
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
            swap=(
                "torch.tensor([i for i in range(d_vocab) if i != START_ID])",
                "torch.arange(d_vocab)",
            ),
        ),
        Mistake(
            "each token repeated",
            "You repeat each token on the spot (a a b b). The whole span should be "
            "repeated (a b a b).",
            tokens_each_repeated,
            swap=("spans.repeat(1, copies)", "spans.repeat_interleave(copies, dim=1)"),
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
