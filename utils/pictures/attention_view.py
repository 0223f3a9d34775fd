"""The one door to circuitsvis: attention heads, patterns, coloured tokens, log-probs.

Called by the chapters and the explorers. A view is a few kilobytes of HTML without any
script: a still picture, one sentence, and the data as an attribute. circuitsvis's own
script (1.3 MB) travels once per kernel as a compressed message to the page and then
takes the still pictures' place. So a saved notebook never holds the script, and where
no script runs (a reopened notebook, a nbconvert page, GitHub) the picture stays.
"""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from utils.pictures import figures
from utils.pictures.colors import blend
from utils.pictures.view_parts import (
    MAX_BYTES,
    AttentionView,
    check_backend,
    check_length,
    fit,
    harmless,
    is_causal,
    of_figure,
    pack,
    send_script,
    square,
    still_pattern,
    wrap,
)
from utils.text.tokens import one_line, visible, visible_all

__all__ = [
    "MAX_BYTES",
    "AttentionView",
    "attention_heads",
    "attention_pattern",
    "colored_tokens",
    "send_script",
    "token_log_probs",
]

POSITIVE, NEGATIVE = figures.PALETTE[0], figures.PALETTE[1]


def _shortened(kept: int, length: int) -> str:
    if kept == length:
        return ""
    return f" Only the first {kept} of {length} tokens are shown, to keep this small."


def attention_heads(
    patterns: Float[Tensor, "head query key"],
    tokens: Sequence[str],
    names: Sequence[str] | None = None,
    *,
    backend: str = "circuitsvis",
) -> AttentionView:
    """Every head's pattern as a thumbnail; hover to enlarge, click or Enter to keep.

    Weights are 0 or more and shown in steps of 0.004 of the largest (at least 1).
    `names` are labels such as 1.4. `backend="plotly"` gives a plotly figure for places
    where no widget runs. Raises ValueError for a wrong shape or tokens that do not fit.
    """
    check_backend(backend)
    weights = square(patterns, 3, "[head, query, key]")
    heads, length = weights.shape[:2]
    check_length(tokens, length)
    labels = [f"head {i}" for i in range(heads)] if names is None else list(names)
    if len(labels) != heads:
        raise ValueError(f"There are {heads} heads but {len(labels)} names.")
    labels = [one_line(label) for label in labels]
    if backend == "plotly":
        most = min(length, math.isqrt(3 * figures.MAX_CELLS // heads))
        return fit(most, lambda n: _heads_figure(weights, tokens, labels, n))
    shown = visible_all(tokens)
    return fit(length, lambda n: _heads_view(weights[:, :n, :n], shown, labels, n))


def _heads_figure(
    weights: np.ndarray, tokens: Sequence[str], names: list[str], kept: int
) -> AttentionView:
    figure = figures.attention_heatmap(
        weights[:, :kept, :kept],
        tokens[:kept],
        names=names,
        title="Attention pattern of each head",
    )
    figure.layout.meta += _shortened(kept, len(tokens))
    return of_figure(figure)


def _heads_view(
    weights: np.ndarray, tokens: list[str], names: list[str], kept: int
) -> AttentionView:
    causal = is_causal(weights)
    props = _pattern_props(tokens[:kept], weights, causal)
    data = {"props": {**props, "attentionHeadNames": names}}
    still = "".join(
        still_pattern(weights[i], name, causal, 160) for i, name in enumerate(names)
    )
    best = int(weights[:, :, 1:].max((1, 2)).argmax()) if kept > 1 else 0
    sentence = figures.attention_sentence(weights[best], tokens[:kept], tokens[:kept])
    description = (
        f"Attention of {len(names)} heads over {kept} tokens; the one strongest away "
        f"from the first token is {names[best]}: {sentence}"
        + _shortened(kept, len(tokens))
    )
    data["packed"] = pack(weights, causal)
    html = wrap("AttentionHeads", data, still, description)
    return AttentionView(html, description)


def _pattern_props(tokens: list[str], weights: np.ndarray, causal: bool) -> dict:
    top = round(max(1.0, float(weights.max())), 4)
    return {
        "tokens": tokens,
        "minValue": -top,
        "maxValue": top,
        "positiveColor": POSITIVE,
        "negativeColor": NEGATIVE,
        "maskUpperTri": causal,
    }


def attention_pattern(
    pattern: Float[Tensor, "query key"],
    tokens: Sequence[str],
    name: str = "one head",
    *,
    backend: str = "circuitsvis",
) -> AttentionView:
    """One attention pattern in full size, weights on hover.

    As `attention_heads` otherwise.
    """
    check_backend(backend)
    weights = square(pattern, 2, "[query, key]")
    length = len(weights)
    check_length(tokens, length)
    if backend == "plotly":
        title = f"Attention pattern of {one_line(name)}"
        most = min(length, math.isqrt(figures.MAX_CELLS))
        return fit(most, lambda n: _pattern_figure(weights, tokens, title, n))
    shown, label = visible_all(tokens), one_line(name)
    return fit(length, lambda n: _pattern_view(weights[:n, :n], shown, label, n))


def _pattern_figure(
    weights: np.ndarray, tokens: Sequence[str], title: str, kept: int
) -> AttentionView:
    figure = figures.attention_heatmap(
        weights[:kept, :kept], tokens[:kept], title=title
    )
    figure.layout.meta += _shortened(kept, len(tokens))
    return of_figure(figure)


def _pattern_view(
    weights: np.ndarray, tokens: list[str], name: str, kept: int
) -> AttentionView:
    causal = is_causal(weights)
    data = {"props": {**_pattern_props(tokens[:kept], weights, causal), "zoomed": True}}
    sentence = figures.attention_sentence(weights, tokens[:kept], tokens[:kept])
    description = f"Attention of {name} over {kept} tokens: {sentence}" + _shortened(
        kept, len(tokens)
    )
    data["packed"] = pack(weights[None], causal)
    still = still_pattern(weights, name, causal, 360)
    html = wrap(
        "AttentionPattern", data, still, description, 560 if kept <= 32 else 720
    )
    return AttentionView(html, description)


def _chip(token: str, color: str, note: str) -> str:
    linear = [(int(color[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5)]
    light = 0.21 * linear[0] + 0.72 * linear[1] + 0.07 * linear[2]
    # Where white has no contrast of 4.5, black has it.
    ink = "#FFF" if light < 0.178 else "#000"
    return (
        f'<bdi title="{escape(note)}" style="background:{color};color:{ink};'
        f'border:1px solid #DDD">{escape(token)}</bdi> '
    )


def colored_tokens(
    tokens: Sequence[str],
    values: Float[Tensor, "pos"],
    *,
    value_name: str = "value",
    first: int = 0,
    backend: str = "circuitsvis",
) -> AttentionView:
    """The text, each token coloured by its value: blue above 0, orange below.

    White is 0 and the largest size has the full colour. `first` is the first token's
    position, 1 where the start token is left out. Raises ValueError for a wrong shape,
    missing values, or tokens that do not fit.
    """
    check_backend(backend)
    numbers = figures.check_values(values, (1,), "The values", "[pos]")
    check_length(tokens, len(numbers))
    if backend == "plotly":
        title = f"{value_name} of each token"
        figure = figures.token_bars(tokens, numbers, value_name, title)
        return of_figure(figure)
    return fit(
        len(numbers),
        lambda n: _colored_view(list(tokens), numbers, value_name, first, n),
    )


def _colored_view(
    tokens: list[str], numbers: np.ndarray, value_name: str, first: int, kept: int
) -> AttentionView:
    chosen = numbers[:kept]
    top = float(np.abs(numbers).max()) or 1.0
    rounded = [float(f"{value:.3g}") for value in chosen]
    data = {
        "props": {
            "tokens": [harmless(token) for token in tokens[:kept]],
            "values": rounded,
            "minValue": -top,
            "maxValue": top,
            "positiveColor": POSITIVE,
            "negativeColor": NEGATIVE,
        }
    }
    scale = [[0.0, NEGATIVE], [0.5, "#FFFFFF"], [1.0, POSITIVE]]
    still = "".join(
        _chip(visible(token), blend(scale, 0.5 + value / top / 2), f"{value:g}")
        for token, value in zip(tokens, rounded, strict=False)
    )
    low, high = int(numbers.argmin()), int(numbers.argmax())
    description = (
        f"{len(tokens)} tokens coloured by {value_name}, from {numbers[low]:.3g} at "
        f"{visible(tokens[low])} (position {first + low}) to {numbers[high]:.3g} at "
        f"{visible(tokens[high])} (position {first + high})."
        + _shortened(kept, len(tokens))
    )
    html = wrap("ColoredTokens", data, still, description)
    return AttentionView(html, description)


def token_log_probs(
    token_ids: Int[Tensor, "pos"],
    log_probs: Float[Tensor, "pos d_vocab"],
    to_string: Callable[[int], str],
    top_k: int = 5,
    *,
    backend: str = "circuitsvis",
) -> AttentionView:
    """The text, each token coloured by how expected it was; the best guesses on hover.

    `log_probs` [pos, d_vocab] are the model's log-probabilities (nats) for the token
    after each position. The first token has none and is not coloured. Raises
    ValueError for a wrong shape, ids outside the vocabulary, or rows that do not sum
    to a probability of 1 (logits, say).
    """
    check_backend(backend)
    ids = [int(i) for i in token_ids]
    rows = figures.check_values(log_probs, (2,), "The log-probs", "[pos, d_vocab]")
    _check_log_probs(ids, rows)
    if backend == "plotly":
        right = rows[np.arange(len(ids) - 1), ids[1:]]
        title = "Log-probability of each token"
        strings = [to_string(i) for i in ids[1:]]
        return of_figure(figures.token_bars(strings, right, "log-prob (nats)", title))
    top_k = min(max(top_k, 1), rows.shape[1])
    return fit(len(ids), lambda n: _log_prob_view(ids, rows, to_string, top_k, n))


def _check_log_probs(ids: list[int], rows: np.ndarray) -> None:
    if len(ids) != len(rows) or len(ids) < 2:
        raise ValueError(
            f"There are {len(ids)} tokens and {len(rows)} rows of log-probabilities; "
            "both must be the same and at least 2."
        )
    if min(ids) < 0 or max(ids) >= rows.shape[1]:
        raise ValueError(f"A token id lies outside the vocabulary of {rows.shape[1]}.")
    total = np.exp(rows).sum(1)
    if not np.allclose(total, 1, atol=0.02):
        raise ValueError(
            "Each row of log-probabilities must sum to a probability of 1; apply "
            f"log_softmax to logits first (the first row sums to {total[0]:.3g})."
        )


def _log_prob_view(
    ids: list[int],
    rows: np.ndarray,
    to_string: Callable[[int], str],
    top_k: int,
    kept: int,
) -> AttentionView:
    right = rows[np.arange(len(ids) - 1), ids[1:]]
    guesses = np.argsort(-rows[: kept - 1], axis=1, kind="stable")[:, :top_k]
    best = np.take_along_axis(rows[: kept - 1], guesses, 1)
    rank = (rows[: kept - 1] > right[: kept - 1, None]).sum(1)
    words = [[to_string(int(i)) for i in line] for line in guesses]
    text = [to_string(i) for i in ids[:kept]]
    data = {
        "props": {
            "prompt": [harmless(token) for token in text],
            "topKLogProbs": [[round(float(v), 3) for v in line] for line in best],
            "topKTokens": [[harmless(word) for word in line] for line in words],
            "correctTokenRank": rank.tolist(),
            "correctTokenLogProb": [round(float(v), 3) for v in right[: kept - 1]],
        }
    }
    data["room"] = 130 + 30 * top_k  # for the table that opens under the text
    still = _still_log_probs(text, right, rank, words)
    hard = int(right.argmin())
    description = (
        f"{len(ids) - 1} predicted tokens, {-right.mean():.2f} nats each on average; "
        f"{(rows[:-1].argmax(1) == ids[1:]).mean():.0%} were the first guess, and the "
        f"least expected is {visible(to_string(ids[hard + 1]))} (position {hard + 1}, "
        f"{-right[hard]:.2f} nats)." + _shortened(kept, len(ids))
    )
    html = wrap("TokenLogProbs", data, still, description)
    return AttentionView(html, description)


def _still_log_probs(text, right, rank, words) -> str:
    scale = [[0.0, "#FFFFFF"], [1.0, POSITIVE]]
    chips = []
    for i, guess in enumerate(words):
        note = f"log-prob {right[i]:.2f}, rank {rank[i]}; guessed "
        note += " ".join(visible_all(guess))
        color = blend(scale, float(np.exp(right[i])))
        chips.append(_chip(visible(text[i + 1]), color, note))
    return "".join(chips)
