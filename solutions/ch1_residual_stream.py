"""The residual stream: what a transformer adds up, and what moves what where.

The solutions of chapter 1, importable as a library of analyses (paper.md's rows are
cited as F-..). Vectors are rows, as in TransformerLens: a matrix acts on the right.
"""

import math

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens import FactoredMatrix
from transformer_lens.model_bridge import TransformerBridge

from utils.models.reach import one_key_per_head, paper_only

__all__ = [
    "decompose_residual",
    "feature_interference",
    "head_as_tensor_product",
    "logit_attribution",
    "ov_matrix",
    "qk_matrix",
    "reparametrise_head",
    "rotate_basis",
    "scores_from_qk",
    "virtual_weight",
]


def decompose_residual(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"]
) -> Float[Tensor, "component batch pos d_model"]:
    """Everything that was added to the residual stream, one entry per writer.

    Component 0 is the token embedding. Then comes what each head adds, layer by layer:
    0.0, 0.1, and so on, then 1.0, 1.1, and so on. Nothing else writes to the stream:
    positions enter only what W_Q and W_K read. The sum over all components is the
    stream after the last layer.

    Steps: (1) the embedding, (2) what each head adds, in order.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model = random_model(n_layers=2, n_heads=3, d_model=10)
        >>> decompose_residual(model, torch.tensor([[0, 4, 7, 2]])).shape
        torch.Size([7, 1, 4, 10])

    Source: F-12, F-17.

    Limits: Models with MLPs, norms or rotary positions are refused. TransformerLens's
    `cache.decompose_resid` has what else they write.
    """
    _, cache = model.run_with_cache(tokens)
    parts = [cache["hook_embed"][None]]
    for layer in range(model.cfg.n_layers):
        z = cache[f"blocks.{layer}.attn.hook_z"]
        written = "batch pos head d_head, head d_head d_model"
        added = einsum(z, model.W_O[layer], f"{written} -> head batch pos d_model")
        parts.append(added)
    return torch.cat(parts)


def logit_attribution(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    centred: bool = True,
) -> Float[Tensor, "component batch pos-1"]:
    """What each component adds to the logit of the token that really comes next.

    Components are in the order of `decompose_residual`. The entry at position p is
    about the token at p + 1, so the last position has none. A logit is the stream
    times a column of W_U. With `centred`, the mean over the vocabulary of what this
    component adds to every logit is subtracted: a constant on all logits changes no
    probability. Without it, the contributions are raw.

    Steps: (1) raw contributions to the next token's logit, (2) centred ones.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 4, 7, 2]])
        >>> logit_attribution(random_model(n_layers=2, n_heads=3), tokens).shape
        torch.Size([7, 1, 3])

    Source: F-12, misconception 27.

    Limits: Models with MLPs, norms or rotary positions are refused. It says what a head
    wrote, and not what the model would do without it.
    """
    W_U = model.W_U
    if centred:
        W_U = W_U - W_U.mean(dim=1, keepdim=True)
    columns = W_U.T[tokens[:, 1:]]
    return einsum(
        decompose_residual(model, tokens)[:, :, :-1],
        columns,
        "component batch pos d_model, batch pos d_model -> component batch pos",
    )


def ov_matrix(model: TransformerBridge, layer: int, head: int) -> FactoredMatrix:
    """What a head writes when it attends to a vector of the stream: W_OV.

    Returns a FactoredMatrix [d_model, d_model]. A row vector x of the stream at the
    source becomes x @ W_OV at the destination, if the head attends to it fully. No text
    is run through the model.

    Example:
        >>> from utils.models.handmade import random_model
        >>> matrix = ov_matrix(random_model(1, d_model=10, d_head=4), layer=0, head=1)
        >>> tuple(matrix.shape), matrix.mdim
        ((10, 10), 4)

    Source: F-18, F-22.

    Limits: Norms are left out unless they are folded into the weights.
    """
    return FactoredMatrix(model.W_V[layer, head], model.W_O[layer, head])


def qk_matrix(model: TransformerBridge, layer: int, head: int) -> FactoredMatrix:
    """How strongly a head at one place is drawn to another: W_QK.

    Returns a FactoredMatrix [d_model, d_model]. With row vectors q read at the query
    and k read at the key, q @ W_QK @ k is the score times sqrt(d_head): the scaling is
    not part of this matrix. Rows belong to the query, columns to the key. No text is
    run through the model.

    Example:
        >>> from utils.models.handmade import random_model
        >>> matrix = qk_matrix(random_model(1, d_model=10, d_head=4), layer=0, head=1)
        >>> tuple(matrix.shape), matrix.mdim
        ((10, 10), 4)

    Source: F-20, F-22.

    Limits: Norms are left out unless they are folded into the weights. With rotary
    positions it is the score of two places at distance 0; biases and position vectors
    are left out.
    """
    return FactoredMatrix(model.W_Q[layer, head], model.W_K[layer, head].T)


def scores_from_qk(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    layer: int,
    head: int,
) -> Float[Tensor, "batch query key"]:
    """The attention scores of a head, computed from its QK matrix.

    Queries and keys read the stream before this layer plus the position vectors
    `model.W_pos`; position p gets row p. Scores are divided by sqrt(d_head). No mask
    and no softmax: where the key comes after the query, the entry says what the score
    would be if the head could see ahead.

    Steps: (1) the scores but for a factor, (2) the scale.

    Example:
        >>> from utils.models.handmade import random_model
        >>> tokens = torch.tensor([[0, 4, 7, 2]])
        >>> scores_from_qk(random_model(n_layers=2), tokens, layer=1, head=0).shape
        torch.Size([1, 4, 4])

    Source: F-20, F-147.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    _, cache = model.run_with_cache(tokens)
    read = cache[f"blocks.{layer}.hook_resid_pre"] + model.W_pos[: tokens.shape[1]]
    matrix = qk_matrix(model, layer, head)
    queries, keys = read @ matrix.A, read @ matrix.B.T
    scores = einsum(
        queries, keys, "batch query d_head, batch key d_head -> batch query key"
    )
    return scores / math.sqrt(model.cfg.d_head)


def rotate_basis(
    model: TransformerBridge, rotation: Float[Tensor, "d_model d_model"]
) -> dict[str, Tensor]:
    """The same model in another basis of the residual stream.

    `rotation` is orthogonal: its inverse is its transpose. A row vector x of the stream
    becomes x @ rotation, everywhere. Returns the seven weights "W_E", "W_pos", "W_Q",
    "W_K", "W_V", "W_O" and "W_U" in the shapes the model has them, changed so that all
    logits stay as they were. No text is run through the model.

    Steps: (1) what writes to the stream, (2) what reads from it.

    Example:
        >>> from utils.models.handmade import random_model, with_weights
        >>> model, tokens = random_model(1, d_model=10), torch.tensor([[0, 4, 7]])
        >>> rotation, _ = torch.linalg.qr(torch.randn(10, 10))
        >>> turned = with_weights(model, rotate_basis(model, rotation))
        >>> torch.allclose(turned(tokens), model(tokens), atol=1e-4)
        True

    Source: F-13.

    Limits: Models with MLPs, norms or rotary positions are refused.
    """
    writers = {name: getattr(model, name) @ rotation for name in ("W_E", "W_pos")}
    writers["W_O"] = model.W_O @ rotation
    readers = ("W_Q", "W_K", "W_V", "W_U")
    return writers | {name: rotation.T @ getattr(model, name) for name in readers}


def reparametrise_head(
    model: TransformerBridge,
    layer: int,
    head: int,
    change: Float[Tensor, "d_head d_head"],
    pair: str = "ov",
) -> tuple[Tensor, Tensor]:
    """Other weights of one head that compute exactly the same.

    `change` is any invertible matrix. With pair "ov", returns new W_V [d_model, d_head]
    and W_O [d_head, d_model] of this head; with pair "qk", new W_Q and W_K, both
    [d_model, d_head]. The first of the two is the old one times `change`, and the
    second makes up for it. No text is run through the model.

    Steps: (1) W_V and W_O, (2) W_Q and W_K.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model = random_model(1, d_model=10, d_head=4)
        >>> W_V, W_O = reparametrise_head(model, 0, 1, 2 * torch.eye(4))
        >>> torch.equal(W_V, 2 * model.W_V[0, 1]), torch.equal(W_O, model.W_O[0, 1] / 2)
        (True, True)

    Source: F-22.
    """
    undo = torch.linalg.inv(change)
    if pair == "ov":
        return model.W_V[layer, head] @ change, undo @ model.W_O[layer, head]
    return model.W_Q[layer, head] @ change, model.W_K[layer, head] @ undo.T


def head_as_tensor_product(
    pattern: Float[Tensor, "pos pos"], ov: Float[Tensor, "d_model d_model"]
) -> Float[Tensor, "pos*d_model pos*d_model"]:
    """One matrix that does all a head does with its pattern fixed.

    The stream x [pos, d_model] is laid out as one vector, position after position:
    `x.flatten()`. The result M satisfies

    M @ x.flatten() == (pattern @ x @ ov).flatten()

    for every x. `pattern` has queries as rows; `ov` acts on row vectors, as
    `ov_matrix` gives it.

    Steps: (1) across positions, (2) within each vector.

    Example:
        >>> pattern = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
        >>> ov = torch.tensor([[0.0, 4.0], [2.0, 0.0]])
        >>> head_as_tensor_product(pattern, ov)
        tensor([[0., 2., 0., 0.],
                [4., 0., 0., 0.],
                [0., 1., 0., 1.],
                [2., 0., 2., 0.]])

    Source: F-19, F-146.
    """
    blocks = einsum(pattern, ov, "query key, d_in d_out -> query d_out key d_in")
    return rearrange(blocks, "query d_out key d_in -> (query d_out) (key d_in)")


def virtual_weight(
    model: TransformerBridge,
    from_head: tuple[int, int],
    to_head: tuple[int, int],
    input: str,
) -> FactoredMatrix:
    """How a later head reads what an earlier head writes: W_OV times W_Q, W_K or W_V.

    Heads are pairs (layer, head), and `to_head` is in a later layer. `input` is "q",
    "k" or "v" and says which of its three inputs reads. Returns a FactoredMatrix
    [d_model, d_head]: a row vector x of the stream that the earlier head attends to
    fully adds x @ virtual_weight to that query, key or value of the later head. No text
    is run through the model.

    Steps: (1) through the earlier head into the later one, (2) by the input that is
    asked for.

    Example:
        >>> from utils.models.handmade import random_model
        >>> model = random_model(2, d_model=10, d_head=4)
        >>> virtual_weight(model, from_head=(0, 2), to_head=(1, 0), input="k").shape
        torch.Size([10, 4])

    Source: F-14.

    Limits: Norms are left out unless they are folded into the weights.
    """
    layer, head = to_head
    reads = {"q": model.W_Q, "k": model.W_K, "v": model.W_V}[input]
    return ov_matrix(model, *from_head) @ reads[layer, head]


def feature_interference(vectors: Float[Tensor, "feature d_model"]) -> float:
    """How much directions overlap: the typical size of a cosine between two of them.

    Each row is one direction; its length does not matter. Returns the root mean square
    of the cosine similarity over all pairs of different rows. 0 means that all are
    orthogonal, 1 that all lie on one line. Nothing is centred.

    Steps: (1) lengths do not count, (2) pairs of different rows, (3) the root of the
    mean square.

    Example:
        >>> round(feature_interference(torch.tensor([[3.0, 0.0], [2.0, 2.0]])), 4)
        0.7071

    Source: F-15, F-142.
    """
    units = vectors / vectors.norm(dim=1, keepdim=True)
    cosines = units @ units.T
    n = len(units)
    different = ~torch.eye(n, dtype=torch.bool, device=units.device)
    return cosines[different].pow(2).mean().sqrt().item()


# --- on other models than the paper's -------------------------------------------------

paper_only(
    globals(),
    "decompose_residual",
    "logit_attribution",
    instead="TransformerLens's `cache.decompose_resid` has what else is written.",
)
paper_only(globals(), "scores_from_qk", "rotate_basis")
one_key_per_head(
    globals(), "ov_matrix", "qk_matrix", "reparametrise_head", "virtual_weight"
)
