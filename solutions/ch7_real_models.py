"""Real language models: norms, MLPs, grouped heads, and the induction circuit in them.

The solutions of chapter 7, importable as a library of analyses (paper.md's rows are
cited as F-.. and O-..). Weights come as the dictionary of
`utils.models.real.weights_of`, under TransformerLens's names. Nothing here ever holds a
matrix of d_vocab x d_vocab.
"""

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.real import weights_of

__all__ = [
    "SCORES",
    "composition_graph",
    "copying_scores",
    "fold_layer_norm",
    "grouped_heads",
    "induction_scores",
    "mlp_path_terms",
    "top_ov_pairs",
]

SCORES = ("prefix matching", "previous token", "duplicate token", "current", "start")


def fold_layer_norm(
    weights: dict[str, Tensor], centre: bool = True
) -> dict[str, Tensor]:
    """Move the weights and biases of all norms into the matrices that read them.

    `weights` is what `weights_of` gives: what a norm makes of a vector x is x, less its
    mean where the norm is a LayerNorm, divided by its scale, then times `w`, plus `b`.
    "ln1_w" and "ln1_b" [layer, d_model] belong to what "W_Q", "W_K" and "W_V" read,
    "ln2_w" and "ln2_b" to "W_in" and "W_gate", "ln_final_w" and "ln_final_b" to "W_U".
    "b_Q", "b_K", "b_V", "b_in" and "b_U" take up what the norms' biases add; a gate has
    no bias, and no norm before it has one.

    With `centre`, for models with LayerNorm, each vector that is written to the stream
    loses its mean over d_model ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"), so
    that no norm has to subtract one any more; and each reading matrix loses, after the
    folding, the mean of each of its columns over d_model, as nothing is left in that
    direction to be read. Without it neither is done.

    Returns a new dict of the same names and shapes, in which all norms have weight 1
    and bias 0. A name that the model lacks ("W_pos", "W_gate", the MLP's) is left out.
    With it the model computes the same log-probabilities. `weights` stays unchanged.

    Steps: (1) the norms' weights, (2) their biases, (3) the means.

    Example:
        >>> weights = {name: torch.randn(2, 8) for name in ("ln1_w", "ln1_b")}
        >>> weights |= {f"W_{x}": torch.randn(2, 3, 8, 4) for x in "QKV"}
        >>> weights |= {f"b_{x}": torch.zeros(2, 3, 4) for x in "QKV"}
        >>> weights |= {"ln_final_w": torch.ones(8), "ln_final_b": torch.zeros(8)}
        >>> weights |= {"W_U": torch.randn(8, 13), "b_U": torch.zeros(13)}
        >>> fold_layer_norm(weights)["ln1_b"].abs().max()
        tensor(0.)

    Source: F-148.
    """
    folded = dict(weights)
    readers = {
        "ln1": (("W_Q", "b_Q"), ("W_K", "b_K"), ("W_V", "b_V")),
        "ln2": (("W_in", "b_in"), ("W_gate", None)),
        "ln_final": (("W_U", "b_U"),),
    }
    for norm, pairs in readers.items():
        if f"{norm}_w" not in weights:
            continue
        w, b = weights[f"{norm}_w"], weights[f"{norm}_b"]
        for matrix, bias in pairs:
            if matrix not in weights:
                continue
            W = weights[matrix]
            if W.dim() == 4:  # one matrix for each head
                w_here, b_here = w[:, None, :, None], b[:, None, :, None]
            else:
                w_here, b_here = w[..., None], b[..., None]
            scaled = w_here * W
            if centre:
                scaled = scaled - scaled.mean(dim=-2, keepdim=True)
            folded[matrix] = scaled
            if bias is not None:
                folded[bias] = weights[bias] + (b_here * W).sum(dim=-2)
        folded[f"{norm}_w"], folded[f"{norm}_b"] = torch.ones_like(w), 0 * b
    if centre:
        for name in ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out"):
            if name in weights:
                written = weights[name]
                folded[name] = written - written.mean(dim=-1, keepdim=True)
    return folded


def mlp_path_terms(
    model: TransformerBridge, tokens: Int[Tensor, "batch pos"], layer: int
) -> Float[Tensor, "term batch pos d_mlp"]:
    """What enters the nonlinearity of one MLP, as a sum over all that wrote before it.

    `model` is folded, so W_in reads the stream divided by its norm's scale, and nothing
    else happens in between. The scale of each position is that of the model's own run
    on these tokens ("frozen"). The terms, in this order: the embedding (with the
    position vector, where positions are in the stream); the heads of layer 0, the MLP
    of layer 0, the heads of layer 1, and so on, up to the heads of `layer`; last, all
    that is the same for every text: the biases b_O of the layers up to this one, seen
    through W_in, and b_in. An MLP's own output bias counts to the MLP.

    The sum over terms is what W_in passes on: `hook_pre`, and in a gated MLP
    `hook_pre_linear`. For models whose attention and MLP follow one another.

    Steps: (1) terms that add up, (2) each in its place.

    Example:
        >>> from utils.models.real import load_real_model
        >>> model = load_real_model("small_gpt2", folded=True)
        >>> terms = mlp_path_terms(model, torch.tensor([[0, 5, 7]]), layer=1)
        >>> len(terms) == 1 + 2 * model.cfg.n_heads + 1 + 1
        True

    Source: F-140.

    Limits: It ends before the nonlinearity, and the norm's scale is taken as it was.
    """
    weights = weights_of(model)
    _, cache = model.run_with_cache(tokens)
    terms = [cache["resid_pre", 0][None]]
    for earlier in range(layer + 1):
        heads = einsum(
            cache["z", earlier],
            weights["W_O"][earlier],
            "batch pos head d_head, head d_head d_model -> head batch pos d_model",
        )
        terms.append(heads)
        if earlier < layer:
            terms.append(cache["mlp_out", earlier][None])
    constant = weights["b_O"][: layer + 1].sum(dim=0)
    terms.append(constant.expand_as(terms[0]))
    scale = cache[f"blocks.{layer}.ln2.hook_scale"]
    seen = torch.cat(terms) / scale @ weights["W_in"][layer]
    seen[-1] += weights["b_in"][layer]
    return seen


def grouped_heads(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give every head its own copy of the keys and values that its group shares.

    In a model with grouped heads "W_K", "b_K", "W_V" and "b_V" have fewer heads than
    "W_Q": with 9 heads and 3 groups, heads 0, 1 and 2 read the keys and values of group
    0, heads 3, 4 and 5 those of group 1, and so on. Returns a new dict in which these
    four have one entry for each head of "W_Q", [layer, head, ...], so that for instance
    W_Q[layer, head] W_K[layer, head]^T is the QK circuit of a head. Everything else
    stays as it is, and so does the whole dict where each head has its own.

    Example:
        >>> weights = {"W_Q": torch.zeros(1, 4, 6, 5), "W_K": torch.zeros(1, 2, 6, 5)}
        >>> weights |= {"b_K": torch.tensor([[[0.0] * 5, [1.0] * 5]])}
        >>> weights |= {"W_V": torch.zeros(1, 2, 6, 5), "b_V": torch.zeros(1, 2, 5)}
        >>> grouped_heads(weights)["b_K"][0, :, 0]
        tensor([0., 0., 1., 1.])
    """
    n_heads = weights["W_Q"].shape[1]
    shared = {
        name: weights[name].repeat_interleave(n_heads // weights[name].shape[1], dim=1)
        for name in ("W_K", "b_K", "W_V", "b_V")
    }
    return weights | shared


def induction_scores(
    model: TransformerBridge,
    tokens: Int[Tensor, "batch pos"],
    skip_start: bool = False,
) -> Float[Tensor, "score layer head"]:
    """Five numbers for every head: how much of its attention goes to certain keys.

    In this order, the keys j that count for a query i, with j <= i:

    - prefix matching: tokens[j - 1] == tokens[i], with j >= 1: what stood before the
      key is the query's own token;
    - previous token: j == i - 1;
    - duplicate token: tokens[j] == tokens[i], with j < i;
    - current: j == i;
    - start: j == 0.

    Only queries i >= 1 for which such a key exists count. A score is the attention that
    such keys get from these queries, summed over all rows, divided by all attention
    that these queries give: the mean share. With `skip_start` attention to position 0
    counts neither above nor below, so it is the share of what goes elsewhere; the score
    of "start" is then 0. A score is 0 if there is no such query, or if all of them
    together give less than 1e-6 elsewhere.

    Patterns are looked at layer by layer and not kept, so this works for long rows and
    many layers.

    Steps: (1) keys by their place, (2) keys by their token, (3) without the start
    token.

    Example:
        >>> from utils.models.handmade import previous_token_model
        >>> model = previous_token_model({(0, 1): 1})
        >>> induction_scores(model, torch.tensor([[0, 4, 2]]))[1, 0].round(decimals=3)
        tensor([0.4170, 1.0000, 0.4170])

    Source: O-03, O-50 and the paper's section on induction heads.

    Limits: They say where a head looks, and not why: compare with rows that do not
    repeat.
    """
    earlier = (tokens[:, :, None] == tokens[:, None, :]).tril(-1)
    every = torch.ones_like(earlier)
    matching = torch.zeros_like(earlier)
    matching[:, :, 1:] = earlier[:, :, :-1]
    start = torch.zeros_like(earlier)
    start[:, :, 0] = True
    previous, current = every.tril(-1).triu(-1), every.tril().triu()
    counting = torch.stack([matching, previous, earlier, current, start])[:, :, 1:]
    keys, asked = counting.float(), counting.any(dim=-1).float()
    found = []

    def look(pattern: Tensor, hook) -> None:
        weights = pattern[:, :, 1:]
        if skip_start:
            weights = weights.clone()
            weights[..., 0] = 0
        given = weights.sum(dim=-1)
        on = einsum(weights, keys, "b head query key, score b query key -> score head")
        whole = einsum(given, asked, "b head query, score b query -> score head")
        found.append(torch.where(whole < 1e-6, 0, on / whole.clamp(min=1e-6)))

    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.cfg.n_layers)]
    model.run_with_hooks(tokens, fwd_hooks=[(name, look) for name in names])
    return torch.stack(found, dim=1)


def copying_scores(weights: dict[str, Tensor]) -> Float[Tensor, "layer head"]:
    """The copying score of chapter 3 for every head of a model of any size.

    The sum of the eigenvalues of W_E W_V W_O W_U over the sum of their absolute values:
    1 when all are positive, 0 when they cancel. `weights` are folded and have one W_V
    for each head. Nothing is centred. The d_vocab x d_vocab matrix has at most d_head
    eigenvalues that are not zero, those of W_O (W_U W_E) W_V; the bracket is the same
    for all heads.

    Steps: (1) positive and negative eigenvalues, (2) complex ones, (3) through W_E and
    W_U, in every layer.

    Example:
        >>> weights = {"W_E": torch.eye(5), "W_U": torch.eye(5)}
        >>> weights |= {"W_V": torch.eye(5)[:, :2].expand(1, 3, 5, 2)}
        >>> weights |= {"W_O": torch.eye(5)[:2].expand(1, 3, 2, 5)}
        >>> copying_scores(weights)
        tensor([[1., 1., 1.]])

    Source: F-70, F-71.

    Limits: Where heads share W_V give it `grouped_heads(weights)`. Behind MLPs heads do
    not read W_E.
    """
    around = weights["W_U"] @ weights["W_E"]  # from the stream, through tokens, back
    small = weights["W_O"] @ around @ weights["W_V"]
    eigenvalues = torch.linalg.eigvals(small)
    return eigenvalues.sum(dim=-1).real / eigenvalues.abs().sum(dim=-1)


def top_ov_pairs(
    weights: dict[str, Tensor], layer: int, head: int, k: int = 10
) -> tuple[Float[Tensor, "k"], Int[Tensor, "k"], Int[Tensor, "k"]]:
    """The k largest entries of one head's full OV circuit, in a vocabulary of any size.

    An entry of W_E W_V W_O W_U says by how much attending to a source token (row)
    raises the logit of an output token (column). Each row's mean over all outputs is
    subtracted, because raising all logits alike changes no probability. `weights` are
    folded and have one W_V for each head. Returns the entries, the source tokens and
    the output tokens, largest entry first.

    Steps: (1) the largest entries, (2) their tokens.

    Example:
        >>> weights = {"W_E": torch.eye(6), "W_U": torch.eye(6)}
        >>> weights |= {"W_V": torch.eye(6)[None, None], "W_O": torch.zeros(1, 1, 6, 6)}
        >>> weights["W_O"][0, 0, 4, 2] = 3.0
        >>> [part.tolist() for part in top_ov_pairs(weights, 0, 0, k=1)]
        [[2.5], [4], [2]]

    Source: F-60, F-62.

    Limits: Where heads share W_V give it `grouped_heads(weights)`. Pairs of tokens that
    hardly occur mean nothing.
    """
    W_V, W_O = weights["W_V"][layer, head], weights["W_O"][layer, head]
    sources, outputs = weights["W_E"] @ W_V, W_O @ weights["W_U"]
    outputs = outputs - outputs.mean(dim=1, keepdim=True)
    n_out = outputs.shape[1]
    best = torch.empty(0)
    places = torch.empty(0, dtype=torch.long)
    for start in range(0, len(sources), 128):
        block = sources[start : start + 128] @ outputs
        rows = torch.arange(start, start + len(block))
        if len(best) == k:  # only what beats the worst of the best so far can enter
            better = block.amax(dim=1) > best[-1]
            block, rows = block[better], rows[better]
        values, spots = block.flatten().topk(min(k, block.numel()))
        where = rows[spots // n_out] * n_out + spots % n_out
        values, places = torch.cat([best, values]), torch.cat([places, where])
        best, order = values.topk(min(k, len(values)))
        places = places[order]
    return best, places // n_out, places % n_out


def composition_graph(
    weights: dict[str, Tensor], kind: str = "k"
) -> Float[Tensor, "from_layer from_head to_layer to_head"]:
    """The composition scores of chapter 4 for all pairs of heads of a model.

    The score of an earlier head with the Q, K or V side of a later one is the Frobenius
    norm of the product of W_OV of the earlier and W_QK, W_QK^T or W_OV of the later
    head, over the product of both norms; which it is says `kind`, "q", "k" or "v".
    W_OV = W_V W_O and W_QK = W_Q W_K^T act on row vectors. Where the second head is not
    in a later layer the entry is 0. `weights` are folded and have one W_K and one W_V
    for each head. Rotary positions are left aside: they turn queries and keys after
    W_Q and W_K.

    No d_model x d_model matrix is made: |A B|^2 with A = V O and B = X Y^T is the sum
    over all entries of (V^T V)(O X) times (O X)(Y^T Y).

    Steps: (1) keys of the next layer, (2) queries and values too, (3) all pairs of
    layers, 0 where none is later.

    Example:
        >>> shape = dict(W_Q=(2, 3, 9, 4), W_K=(2, 3, 9, 4), W_V=(2, 3, 9, 4))
        >>> weights = {name: torch.randn(size) for name, size in shape.items()}
        >>> weights["W_O"] = torch.randn(2, 3, 4, 9)
        >>> composition_graph(weights, "v").shape
        torch.Size([2, 3, 2, 3])

    Source: F-84, O-43.

    Limits: Where heads share W_K and W_V give it `grouped_heads(weights)`. Compare with
    random heads.
    """
    W_Q, W_K, W_V, W_O = (weights[f"W_{name}"] for name in "QKVO")
    X, Y = {"q": (W_Q, W_K), "k": (W_K, W_Q), "v": (W_V, W_O.mT)}[kind]
    gram_V, gram_Y = W_V.mT @ W_V, Y.mT @ Y
    size_first = (gram_V * (W_O @ W_O.mT)).sum(dim=(-1, -2)).sqrt()
    size_second = ((X.mT @ X) * gram_Y).sum(dim=(-1, -2)).sqrt()
    n_layers, n_heads = W_V.shape[:2]
    scores = W_V.new_zeros(n_layers, n_heads, n_layers, n_heads)
    for layer in range(n_layers - 1):
        for head in range(n_heads):
            between = W_O[layer, head] @ X[layer + 1 :]  # later layer, head, d_head^2
            squared = (gram_V[layer, head] @ between) * (between @ gram_Y[layer + 1 :])
            sizes = size_first[layer, head] * size_second[layer + 1 :]
            product = squared.sum(dim=(-1, -2)).clamp(min=0).sqrt()
            scores[layer, head, layer + 1 :] = product / sizes.clamp(min=1e-30)
    return scores
