"""The pattern browser: type any text and see where every head looks."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.pictures import attention_view, figures
from utils.pictures.attention_view import AttentionView
from utils.widgets.parts import (
    Explorer,
    Page,
    button,
    check_shape,
    choose_layer,
    learner_call,
    need_heads,
    private_copy,
    text_box,
)
from utils.widgets.typed import read_text, token_strings

__all__ = ["draw_patterns", "layer_patterns", "pattern_browser"]

Pattern = Callable[[TransformerBridge, Tensor, int, int], Tensor]


def layer_patterns(
    model: TransformerBridge,
    tokens: Int[Tensor, "1 pos"],
    layer: int,
    attention_pattern: Pattern | None = None,
) -> Float[Tensor, "head query key"]:
    """Every head's pattern in one layer on one text.

    From the model's own hook, or from `attention_pattern(model, tokens, layer, head)`,
    which returns [batch, query, key].
    """
    if attention_pattern is None:
        name = f"blocks.{layer}.attn.hook_pattern"
        _, cache = model.run_with_cache(tokens, names_filter=name)
        return cache[name][0]
    found = []
    for head in range(model.cfg.n_heads):
        given = model, tokens, layer, head
        pattern = learner_call("attention_pattern", attention_pattern, *given)
        sizes = [1, tokens.shape[1], tokens.shape[1]]
        check_shape("attention_pattern", pattern, "[batch, query, key]", sizes)
        found.append(pattern[0])
    return torch.stack(found)


def draw_patterns(
    patterns: Float[Tensor, "head query key"], words: list[str], layer: int
) -> AttentionView:
    """All heads of a layer as one attention view."""
    names = [figures.head_label(layer, head) for head in range(len(patterns))]
    return attention_view.attention_heads(patterns, words, names)


def pattern_browser(
    model: TransformerBridge,
    text: str = "def add(self, name):\n    self.name = name",
    layer: int = 0,
    attention_pattern: Pattern | None = None,
) -> Explorer:
    """Type a text and choose a layer: see every head's attention pattern.

    Without `attention_pattern(model, tokens, layer, head)` [batch, query, key] the
    model's own patterns are shown. Hover over a head to enlarge it.
    """
    own = private_copy(model)
    layers, box = choose_layer(own, layer), text_box(text)

    def draw() -> Page:
        need_heads(own)
        tokens = read_text(own, box.value)
        chosen = int(layers.value)
        patterns = layer_patterns(own, tokens, chosen, attention_pattern)
        view = draw_patterns(patterns, token_strings(own, tokens[0].tolist()), chosen)
        return Page(view.html, view.description, card=False)

    show = button("Show")
    return Explorer([[box], [layers, show]], draw, {show: lambda: None})
