"""The circuit browser: what draws a head to a token, and what it then predicts.

One page of what the paper calls a head dump (F-60), for the head and the source token
that somebody chooses. The full circuits have d_vocab x d_vocab entries; only one row
and one column of them are ever computed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from utils.text.tokens import visible
from utils.widgets.parts import (
    Explorer,
    Page,
    bar_table,
    check_shape,
    choose_head,
    choose_layer,
    head_names,
    learner_call,
    need_heads,
    paragraph,
    private_copy,
    show_token,
    token_box,
)
from utils.widgets.typed import Ask, read_token, token_strings

__all__ = ["HeadDump", "circuit_browser", "draw_dump", "head_dump"]

Circuit = FactoredMatrix | Tensor


@dataclass(frozen=True)
class HeadDump:
    """One source token seen by one head; pairs are (token id, value), largest first.

    `destinations`: query tokens by their QK entry minus the mean of their row.
    `outputs`: tokens by their OV entry minus the mean of the source's row (logits).
    `own_rank` is the place of the source itself among the outputs, from 1.
    """

    destinations: list[tuple[int, float]]
    outputs: list[tuple[int, float]]
    own_rank: int


def head_dump(
    qk: Circuit,
    ov: Circuit,
    source: int,
    k: int = 10,
    among: Int[Tensor, "n"] | None = None,
) -> HeadDump:
    """The k destinations and outputs with the largest entries for a source token.

    `qk` is [d_vocab_query, d_vocab_key], `ov` [d_vocab_source, d_vocab_out], factored
    or dense. A query's whole row may be shifted without changing its pattern, so rows
    are centred before they are compared (F-59). `among` are the ids that may be
    listed, such as frequent ones; means and ranks are over all.
    """
    drawn = _centred_column(qk, source)
    written = _row(ov, source)
    written = written - written.mean()
    own_rank = int((written > written[source]).sum()) + 1
    return HeadDump(_largest(drawn, k, among), _largest(written, k, among), own_rank)


def _centred_column(matrix: Circuit, column: int) -> Float[Tensor, "row"]:
    if isinstance(matrix, FactoredMatrix):
        return matrix.A @ (matrix.B[:, column] - matrix.B.mean(dim=1))
    return matrix[:, column] - matrix.mean(dim=1)


def _row(matrix: Circuit, row: int) -> Float[Tensor, "column"]:
    if isinstance(matrix, FactoredMatrix):
        return matrix.A[row] @ matrix.B
    return matrix[row]


def _largest(
    values: Float[Tensor, "token"], k: int, among: Int[Tensor, "n"] | None
) -> list[tuple[int, float]]:
    ids = torch.arange(len(values)) if among is None else among
    best, places = values[ids].topk(min(k, len(ids)))
    return list(zip(ids[places].tolist(), best.tolist(), strict=True))


def draw_dump(dump: HeadDump, name: str, source: str, words: dict[int, str]) -> Page:
    """The page of a dump; `words` gives the string of every id in it."""
    drawn = [(words[i], value) for i, value in dump.destinations]
    written = [(words[i], value) for i, value in dump.outputs]
    own = "first" if dump.own_rank == 1 else f"number {dump.own_rank}"
    description = (
        f"Head {name} and the source token {visible(source)}: it is attended to most "
        f"from {visible(drawn[0][0])} (QK {drawn[0][1]:.3g} over the row's mean) and "
        f"then raises {visible(written[0][0])} most (OV {written[0][1]:.3g} logits "
        f"over the mean); {visible(source)} itself is {own} among the outputs."
    )
    shown = show_token(source)
    tables = bar_table(f"From where is {shown} attended to?", "QK, centred", drawn)
    tables += bar_table(f"What does {shown} then raise?", "OV, centred", written)
    html = paragraph(description)
    html += f'<div style="display:flex;flex-wrap:wrap">{tables}</div>'
    return Page(html, description)


def circuit_browser(
    model: TransformerBridge,
    qk: Callable[[TransformerBridge, int, int], Circuit],
    ov: Callable[[TransformerBridge, int, int], Circuit],
    source: str = " self",
    layer: int = 0,
    head: int = 0,
    k: int = 10,
    among: Int[Tensor, "n"] | None = None,
) -> Explorer:
    """Choose a head and type a source token: see its destinations and outputs.

    `qk(model, layer, head)` returns [d_vocab_query, d_vocab_key] and `ov` returns
    [d_vocab_source, d_vocab_out], as a FactoredMatrix or dense. With `among`, ids such
    as those that occur often, only these are listed: the vectors of rare tokens are
    hardly trained and fill a list with noise. Source: F-59, F-60.
    """
    own = private_copy(model)
    layers, heads = choose_layer(own, layer), choose_head(own, head)
    typed = token_box(source, "Source token")

    def draw() -> Page:
        need_heads(own)
        place = int(layers.value), int(heads.value)
        token = read_token(own, typed.value)
        circuits = [
            _circuit(own, name, function, place)
            for name, function in (("qk", qk), ("ov", ov))
        ]
        dump = head_dump(*circuits, token, k, among)
        ids = [token, *(i for i, _ in dump.destinations + dump.outputs)]
        words = dict(zip(ids, token_strings(own, ids), strict=True))
        name = head_names(own)[place[0] * own.cfg.n_heads + place[1]]
        return draw_dump(dump, name, words[token], words)

    return Explorer([[layers, heads, typed]], draw)


def _circuit(
    model: TransformerBridge, name: str, function: Callable, place: tuple[int, int]
) -> Circuit:
    circuit = learner_call(name, function, model, *place)
    if not isinstance(circuit, FactoredMatrix | Tensor):
        kind = type(circuit).__name__
        raise Ask(f"{name} must return a FactoredMatrix or a tensor, not a {kind}.")
    d_vocab = model.cfg.d_vocab
    check_shape(name, circuit, "a matrix [d_vocab, d_vocab]", [d_vocab, d_vocab])
    if not torch.isfinite(_row(circuit, 0)).all():
        raise Ask(f"The function given as {name} returned values that are not finite.")
    return circuit
