"""Chapter 5: what several of its judges need."""

from collections.abc import Callable

import torch
from torch import Tensor

from utils.checks import Wrong, expect
from utils.checks.largest import Largest
from utils.models.handmade import (
    model_from_weights,
    random_model,
)

__all__ = [
    "TWO_LAYERS",
    "all_kinds_of_repeats",
    "as_weights",
    "built",
    "by_hand",
    "centred",
    "centred_embedding",
    "circuits",
    "copy_tokens",
    "eigenvalue_share",
    "expect_continued",
    "expect_small_eigenproblem",
    "frame",
    "from_circuits",
    "losses",
    "matching_table",
    "moved",
    "patterns",
    "per_head",
    "previous_by_position",
    "qk",
    "raw_matching_table",
    "rest",
    "rows",
    "scores_two_layers",
    "share_of",
    "two_heads",
    "written",
]


TWO_LAYERS = (
    "You score two layers. A model may have one layer or three, and each of its heads "
    "gets a score: `model.cfg.n_layers` says how many layers there are."
)


def rows(d_vocab: int, span: int, copies: int, batch: int = 2, seed: int = 0) -> Tensor:
    """The start token and a span of different tokens `copies` times, drawn by hand."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for _ in range(batch):
        ids = (1 + torch.randperm(d_vocab - 1, generator=generator)).tolist()
        rows.append([0] + ids[:span] * copies)
    return torch.tensor(rows)


def by_hand(model, tokens: Tensor, cut=None, forced=None):
    """A forward pass in float64, one head after the other, without any hook.

    `cut` is (source, target, input): this one input of the target reads the stream
    minus what the source wrote. `forced` maps heads to patterns they are to use.
    Returns the logits, what each head wrote, its pattern and its values.
    """
    forced = forced or {}
    stream = model.W_E.double()[tokens]
    place = model.W_pos.double()[: tokens.shape[1]]
    later = torch.ones(tokens.shape[1], tokens.shape[1]).triu(1).bool()
    written, patterns, values = {}, {}, {}
    for layer in range(model.cfg.n_layers):
        after = stream.clone()
        for head in range(model.cfg.n_heads):
            here = (layer, head)
            read = {}
            for name in "qkv":
                read[name] = stream
                if cut is not None and cut[1:] == (here, name):
                    read[name] = stream - written[cut[0]]
            W = {
                name: getattr(model, f"W_{name}")[layer, head].double()
                for name in "QKVO"
            }
            q, k = (read["q"] + place) @ W["Q"], (read["k"] + place) @ W["K"]
            scores = (q @ k.mT / model.cfg.d_head**0.5).masked_fill(later, -torch.inf)
            pattern = forced.get(here, scores.softmax(-1)).double()
            patterns[here], values[here] = pattern, read["v"] @ W["V"]
            written[here] = pattern @ values[here] @ W["O"]
            after = after + written[here]
        stream = after
    return stream @ model.W_U.double(), written, patterns, values


def losses(logits: Tensor, tokens: Tensor) -> Tensor:
    log_probs = logits.log_softmax(-1)
    return -log_probs[:, :-1].gather(-1, tokens[:, 1:, None]).squeeze(-1)


def per_head(model, numbers: dict) -> Tensor:
    """Numbers by (layer, head) as [layer, head]."""
    layers, heads = range(model.cfg.n_layers), range(model.cfg.n_heads)
    return torch.tensor([[float(numbers[i, j]) for j in heads] for i in layers])


def scores_two_layers(score) -> Callable[[Callable], bool]:
    """Whether an answer gives the scores of the first two of three layers."""

    def matches(answer) -> bool:
        model, tokens = random_model(3, 5, d_vocab=13), rows(13, 3, 2)
        found = torch.as_tensor(answer(model, tokens)).double()
        right = score(model, tokens)[:2].double()
        return found.shape == right.shape and torch.allclose(found, right, atol=1e-4)

    return matches


def patterns(model, tokens: Tensor) -> Tensor:
    """[layer, batch, head, query, key] for the mistakes."""
    _, cache = model.run_with_cache(tokens)
    return torch.stack([cache["pattern", i] for i in range(model.cfg.n_layers)])


def written(model, tokens: Tensor, layer: int, head: int) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    return cache["z", layer][:, :, head] @ model.W_O[layer, head]


def centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(-1, keepdim=True)


def previous_by_position(model) -> list[float]:
    """How far each first-layer head looks one back, by its position vectors alone."""
    W_pos = model.W_pos.double()
    means = []
    for head in range(model.cfg.n_heads):
        q, k = (
            W_pos @ getattr(model, name)[0, head].double() for name in ("W_Q", "W_K")
        )
        cells = []
        for i in range(1, len(W_pos)):
            scores = k[: i + 1] @ q[i] / model.cfg.d_head**0.5
            cells.append(scores.softmax(0)[i - 1].item())
        means.append(sum(cells) / len(cells))
    return means


def raw_matching_table(model, layer: int, head: int, weights: list[float]) -> Tensor:
    """Scores [query token, token before the key], one pair of tokens at a time."""
    W_E = model.W_E.double()
    W_Q, W_K = model.W_Q[layer, head].double(), model.W_K[layer, head].double()
    d_vocab = len(W_E)
    table = torch.zeros(d_vocab, d_vocab, dtype=torch.float64)
    for before in range(d_vocab):
        wrote = sum(
            weight * (W_E[before] @ model.W_V[0, i].double() @ model.W_O[0, i].double())
            for i, weight in enumerate(weights)
        )
        for query in range(d_vocab):
            table[query, before] = (W_E[query] @ W_Q) @ (wrote @ W_K)
    return table


def matching_table(model, layer: int, head: int, weights: list[float]) -> Tensor:
    """The same, without what is alike for all queries or for all keys."""
    table = raw_matching_table(model, layer, head, weights)
    # What is alike for all queries, or for all keys, is not matching.
    by_key, by_query = table.mean(0), table.mean(1, keepdim=True)
    return table - by_key - by_query + table.mean()


def eigenvalue_share(table: Tensor) -> float:
    eigenvalues = torch.linalg.eigvals(table)
    return (eigenvalues.sum().real / eigenvalues.abs().sum()).item()


def expect_small_eigenproblem(answer, model, *arguments) -> None:
    """No eigenvalues of a whole table of tokens, which take minutes at full size."""
    with Largest() as largest:
        answer(model, *arguments)
    expect.true(
        largest.eigen < model.cfg.d_vocab,
        "The result is right, but you take the eigenvalues of a table of all tokens. "
        "With 4,096 of them that takes minutes for each head, and the cells below ask "
        "for many heads. A B and B A have the same eigenvalues but for zeros: begin "
        "the product at another place, so that it is [d_head, d_head].",
    )


def moved(model, weights: Tensor) -> Tensor:
    return torch.einsum("h,hmd,hdn->mn", weights, model.W_V[0], model.W_O[0])


def qk(model, layer, head) -> Tensor:
    return model.W_Q[layer, head] @ model.W_K[layer, head].T


def share_of(matrix: Tensor) -> float:
    return eigenvalue_share(matrix.double())


def centred_embedding(model) -> Tensor:
    return model.W_E - model.W_E.mean(0)


def circuits(result, d_model: int) -> tuple[Tensor, Tensor]:
    expect.true(
        isinstance(result, tuple | list) and len(result) == 2,
        "The result should be two matrices: return W_QK, W_OV.",
    )
    axes = {"d_model": d_model, "d_model_out": d_model}
    return expect.tensor(result[0], **axes), expect.tensor(result[1], **axes)


def from_circuits(W_E: Tensor, W_pos: Tensor, layers: list[tuple[Tensor, Tensor]]):
    """A model with one head per layer whose W_QK and W_OV are these, scale included."""
    d_model = W_E.shape[1]
    identity = torch.eye(d_model).expand(len(layers), 1, -1, -1)
    W_QK = torch.stack([W_QK[None] for W_QK, _ in layers]).float()
    W_OV = torch.stack([W_OV[None] for _, W_OV in layers]).float()
    weights = {"W_E": W_E, "W_pos": W_pos, "W_Q": W_QK * d_model**0.5}
    weights |= {"W_K": identity, "W_V": W_OV, "W_O": identity, "W_U": W_E.T}
    return model_from_weights(weights)


def factors(matrix: Tensor, *terms: Tensor) -> list[float] | None:
    """The factors with which the terms add up to the matrix; None if they cannot.

    So a circuit built with another scale is still seen to be built of these terms.
    """
    wanted = matrix.double().flatten()
    columns = torch.stack([term.double().flatten() for term in terms], dim=1)
    found = torch.linalg.lstsq(columns, wanted[:, None]).solution[:, 0]
    off = (columns @ found - wanted).norm()
    return found.tolist() if off <= 1e-4 * wanted.norm() else None


def made_of(matrix: Tensor, *terms: Tensor) -> bool:
    """Whether the matrix is a sum of the terms in which the first one counts."""
    found = factors(matrix, *terms)
    return found is not None and found[0] > 1e-3


def rest(W_E, sharpness):
    return sharpness * W_E.sum(0)[:, None] * W_E[0]


def copy_tokens(W_E):
    return 10 * W_E[1:].T @ W_E[1:]


def built(weights, d_vocab: int, n_ctx: int, positions: str):
    """The model, or a complaint about the weights' names, shapes or numbers."""
    names = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")
    expect.true(
        isinstance(weights, dict) and set(names) <= set(weights),
        f"The result should be a dict with the keys {', '.join(names)}.",
    )
    tensors = {name: torch.as_tensor(weights[name]).float() for name in names}
    for name, value in tensors.items():
        expect.true(torch.isfinite(value).all(), f"{name} holds numbers not finite.")
    expect.true(
        tensors["W_Q"].ndim == 4 and tensors["W_Q"].shape[0] == 2,
        "W_Q should be [2, n_heads, d_model, d_head]: two layers.",
    )
    sizes = len(tensors["W_E"]), len(tensors["W_pos"])
    expect.true(
        sizes == (d_vocab, n_ctx),
        f"W_E and W_pos have {sizes[0]} and {sizes[1]} rows. Here they should have "
        f"d_vocab = {d_vocab} and n_ctx = {n_ctx}.",
    )
    try:
        return model_from_weights(tensors, positions)
    except (ValueError, IndexError) as error:
        raise Wrong(f"The shapes do not fit together: {error}") from None


def all_kinds_of_repeats(d_vocab: int, n_ctx: int):
    """Repeats of many lengths: two copies, three, and as long as the context allows."""
    for span in (2, 3, 5, d_vocab - 1):
        for copies in (2, 3):
            if 1 + span * copies <= n_ctx:
                yield rows(d_vocab, span, copies, batch=5, seed=span), span


def expect_continued(
    logits: Tensor, tokens: Tensor, span: int, prefix="", least: float = 0.0
) -> None:
    """Every repeat continued by the right token, with at least this probability."""
    guesses = logits[:, span + 1 : -1].argmax(-1)
    wanted = tokens[:, span + 2 :]
    wrong = (guesses != wanted).nonzero()
    if not len(wrong):
        chances = logits[:, span + 1 : -1].softmax(-1).gather(-1, wanted[..., None])
        if chances.min() < least:
            raise Wrong(
                f"{prefix}The right token is the likeliest one everywhere, but with a "
                f"span of {span} its probability is {chances.min():.2f} at one place, "
                f"and {least} is asked for. Are your scores sharp enough after the "
                "division by sqrt(d_head)?"
            )
        return
    row, i = wrong[0].tolist()
    right = (guesses == wanted).double().mean().item()
    position = span + 1 + i
    raise Wrong(
        f"{prefix}{right:.0%} of the repeats with a span of {span} are continued "
        f"rightly. In the row {tokens[row].tolist()} position {position} predicts "
        f"{guesses[row, i].item()} and should predict {wanted[row, i].item()}."
    )


def frame(d_vocab: int, n_ctx: int, second: int):
    sizes = [d_vocab, second, n_ctx]
    return torch.eye(sum(sizes)).split(sizes)


def as_weights(W_E, W_pos, layers, W_U=None):
    """The dict of a model with one head per layer, from its circuits."""
    d_model = W_E.shape[1]
    identity = torch.eye(d_model).expand(len(layers), 1, -1, -1)
    return {
        "W_E": W_E,
        "W_pos": W_pos,
        "W_Q": torch.stack([W_QK[None] for W_QK, _ in layers]) * d_model**0.5,
        "W_K": identity,
        "W_V": torch.stack([W_OV[None] for _, W_OV in layers]),
        "W_O": identity,
        "W_U": W_E.T if W_U is None else W_U,
    }


def two_heads(d_vocab, n_ctx):
    W_E, W_prev, W_pos = frame(d_vocab, n_ctx, d_vocab)
    previous = 30.0 * W_pos[1:].T @ W_pos[:-1], W_E.T @ W_prev
    matching = 40 * W_E.T @ W_prev + rest(W_E, 20), copy_tokens(W_E)
    return W_E, W_prev, W_pos, previous, matching
