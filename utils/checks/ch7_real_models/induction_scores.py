"""Chapter 7, `induction_scores`: judge, known mistakes and hints.

Over 400 lines: the judge stands with all mistakes that it can name.
"""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.models.handmade import random_model

__all__ = ["CHECK"]

NAMES = ("prefix matching", "previous token", "duplicate token", "current", "start")
ROWS = (
    [[0, 4, 7, 3, 4, 7, 3], [0, 5, 5, 2, 5, 1, 8]],
    [[0, 6, 2, 9, 6]],
    [[0, 1, 2, 3], [0, 3, 5, 6], [0, 8, 4, 7]],  # nothing occurs twice
)


def judge_induction_scores(answer) -> None:
    for number, rows in enumerate(ROWS):
        model = random_model(
            1 + number, number, n_heads=4 - number, d_head=3, scale=1.5
        )
        tokens = torch.tensor(rows)
        for skip in (False, True):
            result = expect.tensor(
                answer(model, tokens, skip),
                score=5,
                layer=model.cfg.n_layers,
                head=model.cfg.n_heads,
            )
            for name, found, expected in zip(
                NAMES, result, _by_hand(model, tokens, skip), strict=True
            ):
                expect.close(
                    found,
                    expected,
                    f"With skip_start={skip}, '{name}' does not match sums by hand.",
                )
    expect.close(
        expect.tensor(answer(model, tokens), score=5, layer=3, head=2),
        _by_hand(model, tokens, False),
        "Without `skip_start` being given, attention to position 0 should count.",
    )


def _counts(name: str, row: list[int], i: int, j: int) -> bool:
    return {
        "prefix matching": j >= 1 and row[j - 1] == row[i],
        "previous token": j == i - 1,
        "duplicate token": j < i and row[j] == row[i],
        "current": j == i,
        "start": j == 0,
    }[name]


def _by_hand(model, tokens: Tensor, skip: bool) -> Tensor:
    """Query by query, key by key."""
    _, cache = model.run_with_cache(tokens)
    layers, heads = model.cfg.n_layers, model.cfg.n_heads
    result = torch.zeros(5, layers, heads, dtype=torch.float64)
    for layer in range(layers):
        patterns = cache["pattern", layer].double()
        for head in range(heads):
            for number, name in enumerate(NAMES):
                on = whole = 0.0
                for row, pattern in zip(tokens.tolist(), patterns, strict=True):
                    for i in range(1, len(row)):
                        keys = [j for j in range(i + 1) if _counts(name, row, i, j)]
                        weights = pattern[head, i].tolist()
                        if skip:
                            weights[0] = 0.0
                        if keys:
                            on += sum(weights[j] for j in keys)
                            whole += sum(weights)
                if whole >= 1e-6:
                    result[number, layer, head] = on / whole
    return result


def _scores(model, tokens, skip_start=False, **change) -> Tensor:
    """The right way, or with one thing wrong."""
    _, cache = model.run_with_cache(tokens)
    first = change.get("first", 1)
    same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    every = torch.ones_like(same)
    if change.get("own_copy"):
        same = (tokens[:, :, None] == tokens[:, None, :]).tril()
    matching = torch.zeros_like(same)
    matching[..., 1:] = same[..., :-1]
    if change.get("after"):  # what follows the query's own position is not there yet
        matching = same
    if change.get("before_the_copy"):
        matching = torch.zeros_like(same)
        matching[..., :-1] = same[..., 1:]
    if change.get("latest_only"):
        later = matching.flip(-1).cumsum(-1).flip(-1)
        matching = matching & (later == 1)
    start = torch.zeros_like(same)
    start[..., 0] = True
    current = every.tril().triu()
    if change.get("not_itself"):
        matching = matching & ~current
    kinds = [matching, every.tril(-1).triu(-1), same, current, start]
    if change.get("itself"):
        kinds[2] = same | current
    if change.get("swapped"):
        kinds[0], kinds[2] = kinds[2], kinds[0]
    if change.get("later_copies"):
        kinds[2] = (tokens[:, :, None] == tokens[:, None, :]) & ~current
        kinds[0] = torch.zeros_like(same)
        kinds[0][..., 1:] = kinds[2][..., :-1]
    kinds = torch.stack(kinds)[:, :, first:]
    rows = []
    for layer in range(model.cfg.n_layers):
        pattern = cache["pattern", layer][:, :, first:].clone()
        if skip_start and not change.get("start_kept"):
            pattern[..., 0] = 0
        if change.get("mean_of"):
            rows.append(_mean_of(change["mean_of"], pattern, kinds))
            continue
        seen = pattern
        if change.get("start_above"):
            seen = cache["pattern", layer][:, :, first:]
        on = (seen[None] * kinds[:, :, None]).sum((1, 3, 4))  # score head
        asked = kinds.any(-1)
        if change.get("all_queries"):
            asked = torch.ones_like(asked)
        given = pattern.sum(-1)
        if change.get("not_renormalised"):
            given = torch.ones_like(given)
        whole = (given[None] * asked[:, :, None]).sum((1, 3))
        if change.get("per_key"):
            whole = (
                whole * (kinds.sum((1, 2, 3)) / asked.sum((1, 2)).clamp(min=1))[:, None]
            )
        rows.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))
    return torch.stack(rows, 1)


def _mean_of(what: str, pattern: Tensor, kinds: Tensor) -> Tensor:
    """[score, head]: a ratio for each query, or for each row, and then their mean."""
    asked = kinds.any(-1)[:, :, None].float()  # score batch 1 query
    on = (pattern[None] * kinds[:, :, None]).sum(-1)
    given = pattern.sum(-1)[None] * asked
    if what == "rows":
        on, given, asked = on.sum(-1), given.sum(-1), asked.amax(-1)
        axes = 1
    else:
        axes = (1, 3)
    shares = on / given.clamp(min=1e-9)
    if what != "all queries":
        asked = asked * (given > 1e-9)
    return (shares * asked).sum(axes) / asked.sum(axes).clamp(min=1)


def _is_a_mean_of_ratios(answer) -> bool:
    """Whatever is done with queries that give nearly nothing to the keys that count."""
    model = random_model(1, 0, n_heads=4, d_head=3, scale=1.5)
    tokens = torch.tensor(ROWS[0])
    found = torch.as_tensor(answer(model, tokens, True)).float()
    away = [
        (found - _scores(model, tokens, True, **change)).abs().max()
        for change in ({"mean_of": "queries"}, {"mean_of": "all queries"}, {})
    ]
    return min(away[:2]) < 2e-3 < away[2]


def points_at_the_copy(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, after=True)


def counts_itself(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, itself=True)


def its_own_copy(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, own_copy=True)


def start_kept_above(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, start_above=True)


def order_swapped(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, swapped=True)


def start_never_skipped(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, start_kept=True)


def not_renormalised(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, not_renormalised=True)


def over_all_queries(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, all_queries=True)


def mean_over_keys(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, per_key=True)


def first_query_too(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, first=0)


def key_before_the_copy(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, before_the_copy=True)


def latest_copy_only(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, latest_only=True)


def itself_left_out(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, not_itself=True)


def queries_before_a_copy(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, later_copies=True)


def mean_of_ratios(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, mean_of="queries")


def fixed_stripe(model, tokens, skip_start=False):
    scores = _scores(model, tokens, skip_start)
    _, cache = model.run_with_cache(tokens)
    back = (tokens.shape[1] - 1) // 2 - 1
    for layer in range(model.cfg.n_layers):
        stripe = cache["pattern", layer].diagonal(-back, dim1=-2, dim2=-1)
        scores[0, layer] = stripe.mean((0, 2))
    return scores


def first_row_only(model, tokens, skip_start=False):
    return _scores(model, tokens[:1], skip_start)


def row_by_row(model, tokens, skip_start=False):
    return _scores(model, tokens, skip_start, mean_of="rows")


def run_without_the_start(model, tokens, skip_start=False):
    if not skip_start:
        return _scores(model, tokens)
    scores = _scores(model, tokens[:, 1:])
    scores[4] = 0
    return scores


CHECK = Check(
    name="induction_scores",
    judge=judge_induction_scores,
    hints=(
        "For each of the five, make a mask [batch, query, key] of the keys that count. "
        "The rest is the same for all five: attention on the mask, over all attention "
        "of the queries that have such a key.",
        "`same = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)` are the earlier "
        "copies. Moved one key to the right it is what prefix matching looks for. "
        "`run_with_hooks` with a hook on each `blocks.L.attn.hook_pattern` shows one "
        "pattern [batch head query key] after the other.",
        "Inside the hook: `pattern[:, :, 1:].clone()` leaves the first query out; with "
        "`skip_start` set `[..., 0] = 0`. Above: "
        '`einsum(weights, mask.float(), "b head query key, b query key -> head")`. '
        "Below: `weights.sum(dim=-1)` of the queries where `mask.any(dim=-1)`.",
    ),
    mistakes=(
        Mistake(
            "the copy itself",
            "Your prefix matching looks at the earlier copy of the query's token. "
            "Induction points one further: at what came after it.",
            points_at_the_copy,
            swap=(
                "matching[:, :, 1:] = earlier[:, :, :-1]",
                "matching[:, :, :] = earlier",
            ),
        ),
        Mistake(
            "key before the copy",
            "Your prefix matching looks one before the earlier copy. Induction points "
            "one after it: tokens[j - 1] is the query's token, not tokens[j + 1].",
            key_before_the_copy,
        ),
        Mistake(
            "latest copy only",
            "You look at what followed the latest copy only. Every key that fits "
            "counts.",
            latest_copy_only,
        ),
        Mistake(
            "itself left out",
            "Where a token stands twice in a row, what followed its first copy is the "
            "query's own position, j == i. It counts for prefix matching.",
            itself_left_out,
        ),
        Mistake(
            "queries before a copy",
            "You counted queries whose copy comes later. They have no such key yet, so "
            "they only pull the score down.",
            queries_before_a_copy,
        ),
        Mistake(
            "mean of ratios",
            "You took a share for each query and then the mean. The sums come first: "
            "a query that gives nearly all to the start says little about the rest, "
            "and counts little here.",
            mean_of_ratios,
            matches=_is_a_mean_of_ratios,
        ),
        Mistake(
            "fixed stripe",
            "You read prefix matching off one diagonal, as if the second half of each "
            "row repeated the first. These tokens repeat anywhere: compare tokens.",
            fixed_stripe,
        ),
        Mistake(
            "first row only",
            "You looked at the first row only.",
            first_row_only,
        ),
        Mistake(
            "row by row",
            "You took a score for each row and then the mean. Sum over all rows first, "
            "above and below, so that each query counts once.",
            row_by_row,
        ),
        Mistake(
            "run without the start",
            "You ran the model without its first token. That is another text, in which "
            "another token is the first. Run it whole, and leave attention to "
            "position 0 out of the sums.",
            run_without_the_start,
        ),
        Mistake(
            "counts itself",
            "Your duplicate-token score counts the query's own position. Only earlier "
            "positions are duplicates.",
            counts_itself,
        ),
        Mistake(
            "its own copy",
            "Your mask of equal tokens has the query's own position in it. Then every "
            "query has a copy, and prefix matching asks queries that have none. Take "
            "earlier positions only: `.tril(-1)`.",
            its_own_copy,
        ),
        Mistake(
            "order",
            "Prefix matching and duplicate token have changed places.",
            order_swapped,
        ),
        Mistake(
            "start never skipped",
            "`skip_start` changes nothing in your function.",
            start_never_skipped,
        ),
        Mistake(
            "divided by all",
            "You took the attention to position 0 away above and not below. Divide by "
            "the attention that goes elsewhere, or a head that rests on the start "
            "token seems to do nothing.",
            not_renormalised,
            swap=(
                "given = weights.sum(dim=-1)",
                "given = pattern[:, :, 1:].sum(dim=-1)",
            ),
        ),
        Mistake(
            "start kept above",
            "You took the attention to position 0 away below and not above, so a score "
            "can exceed 1. With `skip_start` it counts on neither side.",
            start_kept_above,
        ),
        Mistake(
            "over all queries",
            "You averaged over all queries. Most of them have no such key and pull "
            "the score down; count only those that have one.",
            over_all_queries,
        ),
        Mistake(
            "mean over keys",
            "You averaged over the keys that count. Where a token occurs three times "
            "a head may share its attention among them; sum over keys first.",
            mean_over_keys,
        ),
        Mistake(
            "first query",
            "You counted query 0. It can only look at itself, so it says nothing.",
            first_query_too,
        ),
    ),
    passed=(
        "Checked key by key in models of one, two and three layers, with and without "
        "position 0, also where nothing repeats. A score says where a head looks on "
        "these tokens; what it is for, only an intervention can tell."
    ),
)
