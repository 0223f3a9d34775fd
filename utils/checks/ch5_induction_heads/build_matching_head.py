"""Chapter 5, `build_matching_head`: judge, known mistakes and hints."""

from torch import Tensor

from utils.checks import Check, Mistake, Wrong, expect
from utils.checks.ch5_induction_heads import shared
from utils.models.handmade import (
    orthonormal_rows,
)

__all__ = ["CHECK"]


def judge_build_matching_head(answer) -> None:
    for seed, d_vocab, n_ctx in ((0, 9, 23), (1, 12, 31)):
        d_model = 2 * d_vocab + n_ctx + 2
        W_E, W_prev, W_pos, _ = orthonormal_rows(d_model, d_model, seed).split(
            [d_vocab, d_vocab, n_ctx, 2]
        )
        circuits = shared.circuits(answer(W_E, W_prev), d_model)
        first = 30 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev
        model = shared.from_circuits(W_E, W_pos, [first, circuits])
        for span, copies in ((7, 3), (4, 2)):
            tokens = shared.rows(d_vocab, span, copies, batch=3, seed=seed)
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


def build_match_duplicate(W_E, W_prev):
    return 40 * W_E.T @ W_E + shared.rest(W_E, 20), shared.copy_tokens(W_E)


def build_match_swapped(W_E, W_prev):
    return 40 * W_prev.T @ W_E + shared.rest(W_E, 20), shared.copy_tokens(W_E)


def build_match_without_rest(W_E, W_prev):
    return 40 * W_E.T @ W_prev, shared.copy_tokens(W_E)


def build_match_strong_rest(W_E, W_prev):
    return 40 * W_E.T @ W_prev + shared.rest(W_E, 40), shared.copy_tokens(W_E)


def build_match_flat(W_E, W_prev):
    return W_E.T @ W_prev + shared.rest(W_E, 0.5), shared.copy_tokens(W_E)


def build_match_copies_previous(W_E, W_prev):
    return 40 * W_E.T @ W_prev + shared.rest(W_E, 20), 10 * W_prev[1:].T @ W_E[1:]


def build_match_copies_start(W_E, W_prev):
    return 40 * W_E.T @ W_prev + shared.rest(W_E, 20), 10 * W_E.T @ W_E


def _on_a_frame(test):
    """A mistake's own test: `test(W_QK, W_OV, W_E, W_prev)` on one frame."""

    def matches(answer) -> bool:
        W_E, W_prev, _ = orthonormal_rows(21, 21, 3).split([9, 9, 3])
        W_QK, W_OV = shared.circuits(answer(W_E, W_prev), 21)
        return test(W_QK, W_OV, W_E, W_prev)

    return matches


@_on_a_frame
def is_duplicate(W_QK, W_OV, W_E, W_prev):
    rest = shared.rest(W_E, 1)
    all_tokens = shared.made_of(W_QK, W_E.T @ W_E, rest)
    return all_tokens or shared.made_of(W_QK, W_E[1:].T @ W_E[1:], rest)


@_on_a_frame
def is_swapped(W_QK, W_OV, W_E, W_prev):
    return shared.made_of(W_QK, W_prev.T @ W_E, shared.rest(W_E, 1))


@_on_a_frame
def rests_nowhere(W_QK, W_OV, W_E, W_prev):
    found = shared.factors(W_QK, W_E.T @ W_prev)
    return found is not None and found[0] >= 10


def _match_and_rest(W_QK, W_E, W_prev) -> tuple[float, float]:
    found = shared.factors(W_QK, W_E.T @ W_prev, shared.rest(W_E, 1))
    return tuple(found) if found else (0.0, 0.0)


@_on_a_frame
def rests_too_strongly(W_QK, W_OV, W_E, W_prev):
    match, rest = _match_and_rest(W_QK, W_E, W_prev)
    return match >= 10 and rest > match - 5


@_on_a_frame
def is_flat(W_QK, W_OV, W_E, W_prev):
    match, rest = _match_and_rest(W_QK, W_E, W_prev)
    return match > 0 and 0 <= rest < 5


@_on_a_frame
def copies_previous(W_QK, W_OV, W_E, W_prev):
    all_tokens = shared.made_of(W_OV, W_prev.T @ W_E)
    return all_tokens or shared.made_of(W_OV, W_prev[1:].T @ W_E[1:])


@_on_a_frame
def copies_start(W_QK, W_OV, W_E, W_prev):
    return shared.made_of(W_OV, W_E.T @ W_E)


CHECK = Check(
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
            is_duplicate,
            swap=("match = W_E.T @ W_prev", "match = W_E.T @ W_E"),
        ),
        Mistake(
            "query and key swapped",
            "Your query is the previous token and your key the own token. It should be "
            "the other way round: own token of the query, previous token of the key.",
            build_match_swapped,
            is_swapped,
        ),
        Mistake(
            "nowhere to rest",
            "The matching is right. But where nothing matches, all scores are 0 and "
            "the head attends to everything alike. Let it rest on the start token.",
            build_match_without_rest,
            rests_nowhere,
        ),
        Mistake(
            "rest as strong as a match",
            "The pull towards the start token is as strong as a match, so the two "
            "share the attention. Make it clearly weaker.",
            build_match_strong_rest,
            rests_too_strongly,
        ),
        Mistake(
            "too flat",
            "The directions are right, but the scores are so small that the softmax "
            "stays almost flat. Make them larger.",
            build_match_flat,
            is_flat,
        ),
        Mistake(
            "copies the previous token",
            "Your W_OV copies the token before the attended one, so the model would "
            "predict the token it already has. Copy the attended position's own token.",
            build_match_copies_previous,
            copies_previous,
        ),
        Mistake(
            "copies the start token",
            "When your head rests, it copies the start token into the prediction. W_OV "
            "should move nothing from there.",
            build_match_copies_start,
            copies_start,
            swap=("moved.T @ moved", "W_E.T @ W_E"),
        ),
    ),
    passed=(
        "Checked by putting the head behind a previous-token head: it finds its match "
        "in two and three copies, rests on the start token everywhere else, and moves "
        "the right vector. This is the whole of an induction head."
    ),
)
