"""The toolbox: run a model, look inside it, and change what you find there.

The solutions of chapter 0, importable as a library of analyses (paper.md's rows are
cited as F-..). Later chapters build on these. Losses are in nats.
"""

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.reach import paper_only

__all__ = [
    "ablate_head",
    "attention_pattern",
    "head_outputs",
    "next_token",
    "per_token_loss",
    "replace_pattern",
]


def next_token(model: TransformerBridge, text: str) -> str:
    """The token that the model finds likeliest after a text.

    The text gets the start token in front, as `model.to_tokens` does by itself.
    Returns the token as a string, with its spaces and line breaks.

    Steps: (1) the likeliest token after the last position, (2) its text.

    Example:
        >>> from utils.text.corpus import load_tokenizer
        >>> from utils.models.handmade import random_model
        >>> tokenizer = load_tokenizer(1024)
        >>> model = random_model(1, seed=4, d_vocab=1024, tokenizer=tokenizer)
        >>> next_token(model, "import os")
        ' as'

    Source: F-11.
    """
    logits = model(model.to_tokens(text))
    best = logits[0, -1].argmax().item()
    return model.tokenizer.decode([best])


def per_token_loss(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "batch pos-1"]:
    """How much each next token surprises the model, in nats.

    Column i is minus the log of the probability that the model, having read tokens 0
    to i, gives to token i + 1. The last token has no successor in the row, so there is
    one column less than there are tokens.

    Steps: (1) the logarithm of a token's probability, (2) of the token that comes next,
    (3) the sign.

    Example:
        >>> from utils.models.handmade import model_from_table
        >>> table = torch.tensor([[0.25, 0.75], [0.5, 0.5]]).log()
        >>> per_token_loss(model_from_table(table), torch.tensor([[0, 1, 0]]))
        tensor([[0.2877, 0.6931]])

    Source: O-02.
    """
    log_probs = model(tokens).log_softmax(dim=-1)
    following = tokens[:, 1:, None]
    return -log_probs[:, :-1].gather(-1, following).squeeze(-1)


def attention_pattern(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int, head: int
) -> Float[Tensor, "batch query key"]:
    """What share of its attention each position gives to each position up to itself.

    Computed from three things: the residual stream that enters the layer
    (`cache["resid_pre", layer]`), the position vectors `model.W_pos`, and the head's
    `W_Q` and `W_K`. In this course's models the position vectors are added to what
    W_Q and W_K read, and to nothing else. Scores are divided by sqrt(d_head). No
    position sees a later one, and each row sums to 1.

    The result is what the weights ask for. It stays the same when a hook changes the
    model's own pattern.

    Steps: (1) queries and keys, (2) the scaled scores, (3) the mask and the softmax.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model = random_model(1, scale=0.5)
        >>> attention_pattern(model, torch.tensor([[0, 5, 2]]), layer=0, head=1)
        tensor([[[1.0000, 0.0000, 0.0000],
                 [0.4566, 0.5434, 0.0000],
                 [0.2202, 0.4645, 0.3154]]])

    Source: F-20.

    Limits: Models with MLPs, norms or rotary positions are refused. What any model did
    is in `cache["pattern", layer]`.
    """
    _, cache = model.run_with_cache(tokens)
    length = tokens.shape[1]
    placed = cache["resid_pre", layer] + model.W_pos[:length]
    queries = placed @ model.W_Q[layer, head]
    keys = placed @ model.W_K[layer, head]
    scores = einsum(
        queries, keys, "batch query d_head, batch key d_head -> batch query key"
    )
    scores = scores / model.cfg.d_head**0.5
    later = torch.ones(length, length, device=scores.device).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(dim=-1)


def head_outputs(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int
) -> Float[Tensor, "batch pos head d_model"]:
    """What each head of a layer adds to the residual stream, at every position.

    The sum over heads is all that the layer adds.

    Example:
        >>> from utils.models.handmade import random_model
        >>> head_outputs(random_model(2), torch.tensor([[0, 5, 2, 7]]), 1).shape
        torch.Size([1, 4, 3, 10])

    Source: F-17, F-18.

    Limits: A bias of W_O belongs to no head and is left out.
    """
    _, cache = model.run_with_cache(tokens)
    return einsum(
        cache["z", layer],
        model.W_O[layer],
        "batch pos head d_head, head d_head d_model -> batch pos head d_model",
    )


def ablate_head(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    layer: int,
    head: int,
    mean: bool = False,
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits of the model with one head's output taken away.

    What the head adds to the stream is replaced by zero or, with `mean=True`, by its
    own mean over the whole batch and all positions, the first one included. All else
    is computed anew, so later layers react to what is missing. The model is left as
    it was.

    Steps: (1) the head writes zero, (2) or its mean.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model, tokens = random_model(2), torch.tensor([[0, 5, 2, 7]])
        >>> (model(tokens) - ablate_head(model, tokens, 0, 1)).norm() > 1
        tensor(True)

    Source: O-31.

    Limits: The mean is that of the rows given, so take many.
    """

    def without_head(z, hook):
        kept = z.clone()
        own = z[:, :, head]
        kept[:, :, head] = own.mean(dim=(0, 1)) if mean else 0.0
        return kept

    name = f"blocks.{layer}.attn.hook_z"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, without_head)])


def replace_pattern(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    layer: int,
    head: int,
    pattern: Float[Tensor, "batch query key"],
) -> Float[Tensor, "batch pos d_vocab"]:
    """The logits of the model when one head is made to attend as `pattern` says.

    The pattern is used as it is: it is not masked and its rows are not normalised.
    All that comes after the pattern is computed anew, later layers' patterns included.
    The other heads of the layer keep their own patterns. The model is left as it was.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model, tokens = random_model(1), torch.tensor([[0, 5, 2, 7]])
        >>> nothing = torch.zeros(1, 4, 4)
        >>> forced = replace_pattern(model, tokens, 0, 1, nothing)
        >>> torch.allclose(forced, ablate_head(model, tokens, 0, 1), atol=1e-5)
        True

    Source: F-24.
    """

    def attend_as_told(own, hook):
        forced = own.clone()
        forced[:, head] = pattern
        return forced

    name = f"blocks.{layer}.attn.hook_pattern"
    return model.run_with_hooks(tokens, fwd_hooks=[(name, attend_as_told)])


# --- on other models than the paper's -------------------------------------------------

paper_only(
    globals(),
    "attention_pattern",
    instead="What the model did is in `cache['pattern', layer]`.",
)
