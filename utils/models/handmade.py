"""Models whose weights are set by hand, so that the right answer is known.

Checks and tests judge answers on these. They are tiny, and no two of their sizes are
equal, so that a swapped axis cannot go unnoticed.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.config import AttentionOnlyConfig
from utils.models.shelf import blank_model

__all__ = [
    "decoy_model",
    "induction_model",
    "model_from_table",
    "model_from_weights",
    "orthonormal_rows",
    "pointer_model",
    "previous_token_model",
    "random_model",
    "vectors_alike",
    "with_made_up_tokens",
    "with_weights",
]

_OUTSIDE_LAYERS = ("W_E", "W_pos", "W_U")
_WEIGHTS = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")


def random_model(
    n_layers: int,
    seed: int = 0,
    d_vocab: int = 13,
    d_model: int = 10,
    n_heads: int = 3,
    d_head: int = 4,
    n_ctx: int = 11,
    positions: str = "qk",
    scale: float = 1.0,
    tokenizer=None,
) -> TransformerBridge:
    """A bridge around random weights of order `scale / sqrt(width)`, in eval mode.

    Larger than a fresh model's: attention is far from uniform and logits differ
    visibly, so that a wrong formula shows.
    """
    config = AttentionOnlyConfig(
        n_layers=n_layers,
        d_vocab=d_vocab,
        d_model=d_model,
        n_heads=n_heads,
        d_head=d_head,
        n_ctx=n_ctx,
        positions=positions,
    )
    model, bridge = blank_model(config, tokenizer)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1.5 * scale * noise / parameter.shape[-1] ** 0.5)
        model.tok_embed.weight.mul_(d_model**0.5)
    return bridge


def model_from_table(
    logits: Float[Tensor, "d_vocab d_vocab"],
) -> TransformerBridge:
    """A zero-layer bridge whose logits after token t are exactly `logits[t]`.

    W_E is the identity and W_U the table (F-40), so d_model equals d_vocab.
    """
    d_vocab = logits.shape[0]
    config = AttentionOnlyConfig(n_layers=0, d_vocab=d_vocab, d_model=d_vocab, n_ctx=11)
    model, bridge = blank_model(config)
    with torch.no_grad():
        model.tok_embed.weight.copy_(torch.eye(d_vocab))
        model.head.weight.copy_(logits.T)
    return bridge


def with_weights(
    model: TransformerBridge, weights: dict[str, Tensor]
) -> TransformerBridge:
    """A copy of a model with some of its weight matrices replaced.

    `weights` has keys such as "W_E", "W_pos", "W_Q", "W_O" or "W_U" and values in the
    shapes in which the model shows them. Raises ValueError for a name or a shape that
    the model does not have.
    """
    names = _WEIGHTS if model.cfg.n_layers else _OUTSIDE_LAYERS
    for name, value in weights.items():
        if name not in names or getattr(model, name).shape != value.shape:
            wanted = {name: tuple(getattr(model, name).shape) for name in names}
            raise ValueError(
                f"{name} {tuple(value.shape)} is no weight of this model: {wanted}."
            )
    now = {name: getattr(model, name) for name in names} | weights
    return _bridge_with(model.original_model.config, now, model.tokenizer)


def vectors_alike(
    known: Float[Tensor, "token d"], n: int, seed: int = 0
) -> Float[Tensor, "n d"]:
    """n random vectors with the mean and the covariance of the known ones."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, len(known), generator=generator).to(known)
    spread = (known - known.mean(dim=0)) / len(known) ** 0.5
    return known.mean(dim=0) + noise @ spread


def with_made_up_tokens(
    model: TransformerBridge, ids: Int[Tensor, "token"], seed: int = 0
) -> TransformerBridge:
    """A copy of a model in which these ids are tokens that have never been anywhere.

    Their rows of W_E and W_U are drawn together, with the mean and the covariance of
    all other tokens' (the start token's aside). So they lie where tokens lie, and yet
    no text and no training ever touched them.
    """
    both = torch.cat([model.W_E, model.W_U.T], dim=1).detach().clone()
    other = torch.ones(len(both), dtype=torch.bool)
    other[0], other[ids] = False, False
    both[ids] = vectors_alike(both[other], len(ids), seed)
    W_E, W_U = both.chunk(2, dim=1)
    return with_weights(model, {"W_E": W_E, "W_U": W_U.T})


def _bridge_with(
    config: AttentionOnlyConfig, weights: dict[str, Tensor], tokenizer=None
) -> TransformerBridge:
    """A bridge around a new model with these weights, in TransformerLens's shapes."""
    model, bridge = blank_model(config, tokenizer)
    with torch.no_grad():
        model.tok_embed.weight.copy_(weights["W_E"])
        model.pos.weight.copy_(weights["W_pos"])
        model.head.weight.copy_(weights["W_U"].T)
        for i, layer in enumerate(model.layers):
            for name in "qkv":
                rows = weights[f"W_{name.upper()}"][i].transpose(1, 2).flatten(0, 1)
                layer.attn.get_submodule(name).weight.copy_(rows)
            layer.attn.o.weight.copy_(weights["W_O"][i].flatten(0, 1).T)
    return bridge


def previous_token_model(
    lags: dict[tuple[int, int], int] | None = None,
    n_layers: int = 2,
    d_vocab: int = 7,
    n_heads: int = 3,
    d_head: int = 8,
    n_ctx: int = 11,
) -> TransformerBridge:
    """Heads that look a fixed number of positions back and pass on what they find.

    `lags` gives a head's lag: {(0, 1): 1, (1, 0): 1}, the default, is a previous-token
    head in each layer. All other heads are zero. The stream has n_layers + 1 slots of
    d_vocab places, then four for positions. The embedding writes a token's one-hot
    vector into slot 0. A head of layer l copies slot l of the position it attends to
    into slot l + 1, and W_U reads the last slot. So the default model's logits at
    position p name the token at p - 2, by a virtual head alone. With d_vocab and
    d_head 4, d_model is 16, the sizes of the companion's first exercise (F-130).
    Queries too early for their lag attend to some position they can see. Needs a
    d_head of at least 4 and at least d_vocab.
    """
    lags = {(0, 1): 1, (1, 0): 1} if lags is None else lags
    d_model = (n_layers + 1) * d_vocab + 4
    shape = (n_layers, n_heads, d_model, d_head)
    W = {name: torch.zeros(shape) for name in ("W_Q", "W_K", "W_V")}
    W["W_O"] = torch.zeros(n_layers, n_heads, d_head, d_model)
    place = slice(d_model - 4, d_model)
    # Neighbours differ by about 200 / n_ctx**2 before this factor, so it grows too.
    sharpness = 0.1 * n_ctx**2 * d_head**0.5
    for (layer, head), lag in lags.items():
        W["W_Q"][layer, head, place, :4] = sharpness * _turn_back(lag, n_ctx)
        W["W_K"][layer, head, place, :4] = torch.eye(4)
        slot, after = (
            slice(i * d_vocab, (i + 1) * d_vocab) for i in (layer, layer + 1)
        )
        W["W_V"][layer, head, slot, :d_vocab] = torch.eye(d_vocab)
        W["W_O"][layer, head, :d_vocab, after] = torch.eye(d_vocab)
    W["W_E"] = torch.eye(d_vocab, d_model)
    W["W_U"] = torch.zeros(d_model, d_vocab)
    W["W_U"][n_layers * d_vocab : (n_layers + 1) * d_vocab] = torch.eye(d_vocab)
    W["W_pos"] = torch.zeros(n_ctx, d_model)
    steps = torch.arange(n_ctx)[:, None] * _speeds(n_ctx)
    W["W_pos"][:, place] = torch.stack([steps.cos(), steps.sin()], -1).flatten(1)
    blank = random_model(n_layers, 0, d_vocab, d_model, n_heads, d_head, n_ctx)
    return with_weights(blank, W)


def _speeds(n_ctx: int) -> Float[Tensor, "plane"]:
    """Angles by which two hands of a clock turn per position.

    One turns once in n_ctx positions, the other three times, so that both stand alike
    at no two positions, and the neighbours of a position differ clearly from it.
    """
    return 2 * torch.pi * torch.tensor([1.0, 3.0]) / n_ctx


def _turn_back(lag: int, n_ctx: int) -> Float[Tensor, "4 4"]:
    """A matrix that makes the position vector of p that of p - lag."""
    cosines, sines = (-lag * _speeds(n_ctx)).cos(), (-lag * _speeds(n_ctx)).sin()
    turns = [
        torch.tensor([[c, s], [-s, c]]) for c, s in zip(cosines, sines, strict=True)
    ]
    return torch.block_diag(*turns)


# --- induction heads and heads that only look like them -------------------------------

SHARP = 24.0  # a score that leaves almost nothing to the keys that score 0
GAIN = 9.0  # how far a copying head raises the logit of what it copies


def model_from_weights(
    weights: dict[str, Tensor], positions: str = "qk"
) -> TransformerBridge:
    """A bridge around weights written by hand; all sizes are read off their shapes.

    `weights` holds W_E [d_vocab, d_model], W_pos [n_ctx, d_model], W_Q, W_K and W_V
    [layer, head, d_model, d_head], W_O [layer, head, d_head, d_model] and W_U [d_model,
    d_vocab]. Raises ValueError when one is missing or the shapes do not fit together.
    """
    missing = [name for name in _WEIGHTS if name not in weights]
    if missing:
        raise ValueError(f"These weights are missing: {', '.join(missing)}.")
    if weights["W_Q"].ndim != 4:
        shape = tuple(weights["W_Q"].shape)
        raise ValueError(f"W_Q {shape} should be [layer, head, d_model, d_head].")
    n_layers, n_heads, d_model, d_head = weights["W_Q"].shape
    d_vocab, n_ctx = len(weights["W_E"]), len(weights["W_pos"])
    reads = (n_layers, n_heads, d_model, d_head)
    shapes = {"W_E": (d_vocab, d_model), "W_pos": (n_ctx, d_model)}
    shapes |= {"W_Q": reads, "W_K": reads, "W_V": reads}
    shapes |= {"W_O": (n_layers, n_heads, d_head, d_model), "W_U": (d_model, d_vocab)}
    for name, wanted in shapes.items():
        found = tuple(weights[name].shape)
        if found != wanted:
            raise ValueError(f"{name} has the shape {found}; {wanted} would fit W_Q.")
    config = AttentionOnlyConfig(
        n_layers, d_vocab, d_model, n_heads, d_head, n_ctx, positions
    )
    return _bridge_with(config, weights)


def orthonormal_rows(
    n_rows: int, d_model: int, seed: int = 0
) -> Float[Tensor, "row d_model"]:
    """Rows of length 1 at right angles to each other, in no special direction."""
    generator = torch.Generator().manual_seed(seed)
    square = torch.randn(d_model, d_model, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(square).Q[:n_rows].float()


def induction_model(
    d_vocab: int = 13,
    n_ctx: int = 27,
    seed: int = 0,
    matching: float = 1.0,
    copying: float = 1.0,
    noise: float = 0.02,
) -> TransformerBridge:
    """Head 0.1 attends to the previous token, and head 1.2 does induction.

    `matching` and `copying` scale the second head's two circuits: 1.2 looks for what it
    avoids with matching -1, and lowers what it attends to with copying -1. The other
    four heads and all weights are noise of size `noise`. Where nothing matches, 1.2
    rests on the start token and moves nothing.
    """
    tok, prev, pos = _slots(d_vocab, n_ctx, seed)
    rest = 0.4 * SHARP * tok.sum(0)[:, None] * tok[0]
    match = (
        matching * SHARP * tok.T @ prev + rest,
        copying * GAIN * tok[1:].T @ tok[1:],
    )
    return _assembled(
        tok, pos, {(0, 1): _previous(tok, prev, pos), (1, 2): match}, noise, seed
    )


def decoy_model(
    kind: str,
    d_vocab: int = 13,
    n_ctx: int = 27,
    seed: int = 0,
    lag: int = 5,
    noise: float = 0.02,
) -> TransformerBridge:
    """A model whose head 1.2 copies what it attends to, and yet does no induction.

    Head 0.1 attends to the previous token, as in `induction_model`. What 1.2 attends to
    is decided by `kind`: "duplicate" an earlier copy of the current token, "first" the
    start token, "lag" the token `lag` positions back, "text" every token alike.
    """
    tok, prev, pos = _slots(d_vocab, n_ctx, seed)
    rest = 0.4 * SHARP * tok.sum(0)[:, None] * tok[0]
    where = {
        "duplicate": SHARP * (tok.T @ tok - pos.T @ pos) + rest,
        "first": SHARP * tok.sum(0)[:, None] * tok[0],
        "lag": SHARP * pos[lag:].T @ pos[:-lag],
        "text": torch.zeros_like(rest),
    }
    if kind not in where:
        raise ValueError(f"kind must be one of {', '.join(where)}, not {kind!r}.")
    copy = where[kind], GAIN * tok[1:].T @ tok[1:]
    return _assembled(
        tok, pos, {(0, 1): _previous(tok, prev, pos), (1, 2): copy}, noise, seed
    )


def pointer_model(
    d_vocab: int = 13, n_ctx: int = 27, seed: int = 0
) -> TransformerBridge:
    """Induction by pointer arithmetic, for a stream that carries positions (F-143).

    Head 0.1 finds earlier copies of the current token and fetches their positions, and
    the query of head 1.2 asks for the positions one further on.
    """
    tok, pointer, pos = _slots(d_vocab, n_ctx, seed, second=n_ctx)
    rest = 0.4 * SHARP * tok.sum(0)[:, None] * tok[0]
    find = SHARP * (tok.T @ tok - pos.T @ pos) + rest, pos[1:].T @ pointer[1:]
    follow = 2 * SHARP * pointer[:-1].T @ pos[1:], GAIN * tok[1:].T @ tok[1:]
    return _assembled(tok, pos, {(0, 1): find, (1, 2): follow}, 0.0, seed, "stream")


def _slots(d_vocab: int, n_ctx: int, seed: int, second: int | None = None):
    """Directions for the own token, for what the first layer writes, for positions."""
    second = d_vocab if second is None else second
    sizes = [d_vocab, second, n_ctx]
    return orthonormal_rows(sum(sizes), sum(sizes), seed).split(sizes)


def _previous(tok: Tensor, prev: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
    """W_QK and W_OV of a head that tells each position the token before it."""
    return SHARP * pos[1:].T @ pos[:-1], tok.T @ prev


def _assembled(
    tok: Tensor,
    pos: Tensor,
    circuits: dict[tuple[int, int], tuple[Tensor, Tensor]],
    noise: float,
    seed: int,
    positions: str = "qk",
) -> TransformerBridge:
    """Two layers of three heads with these W_QK and W_OV, the rest being noise."""
    d_model = tok.shape[1]
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 3, d_model, d_model)
    scale = noise / d_model**0.25
    W_Q, W_K, W_V, W_O = (
        scale * torch.randn(shape, generator=generator) for _ in range(4)
    )
    for i, ((layer, head), (W_QK, W_OV)) in enumerate(circuits.items()):
        # Any invertible matrix may stand between the two factors of a circuit.
        turn = orthonormal_rows(d_model, d_model, seed + 1 + i)
        W_Q[layer, head] += d_model**0.5 * W_QK @ turn
        W_K[layer, head] += turn
        W_V[layer, head] += W_OV @ turn
        W_O[layer, head] += turn.T
    weights = {"W_E": tok, "W_pos": pos, "W_U": tok.T}
    weights |= {"W_Q": W_Q, "W_K": W_K, "W_V": W_V, "W_O": W_O}
    return model_from_weights(weights, positions)
