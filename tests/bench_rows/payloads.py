"""Bytes a figure adds to a saved notebook, ours and stock circuitsvis."""

import circuitsvis
import torch

from tests.bench_rows import Row, ratio_text
from utils.pictures import attention_view as views
from utils.pictures import figures

__all__ = ["payloads"]

SIZES = ((8, 24), (8, 64), (8, 256))


def payloads(sizes: tuple[tuple[int, int], ...] = SIZES) -> list[Row]:
    """Views of attention for (heads, tokens), coloured tokens, and a heatmap.

    Stock circuitsvis counts as it is without a network, when it brings its script
    along with each figure.
    """
    generator = torch.Generator().manual_seed(0)
    rows = []
    for heads, length in sizes:
        scores = 4 * torch.randn(heads, length, length, generator=generator)
        future = torch.ones(length, length).triu(1).bool()
        patterns = scores.masked_fill(future, -torch.inf).softmax(-1)
        tokens = [f" word{i}" for i in range(length)]
        ours = views.attention_heads(patterns, tokens).stored_bytes()
        stock = circuitsvis.attention.attention_heads(patterns, tokens)
        rows.append(_row(f"attention of {heads} heads, {length} tokens", ours, stock))
    values = torch.randn(64, generator=generator)
    words = [f" word{i}" for i in range(64)]
    ours = views.colored_tokens(words, values).stored_bytes()
    rows.append(
        _row(
            "64 coloured tokens", ours, circuitsvis.tokens.colored_tokens(words, values)
        )
    )
    figure = figures.matrix_heatmap(torch.randn(64, 64, generator=generator))
    size = sum(len(str(part)) for part in figures.mimebundle(figure).values())
    rows.append(Row("heatmap of 64 by 64 numbers", f"{size:,} bytes"))
    return rows


def _row(name: str, ours: int, stock) -> Row:
    theirs = len(stock.local_src.encode())
    return Row(name, f"{ours:,} bytes", f"{theirs:,} bytes", ratio_text(theirs / ours))
