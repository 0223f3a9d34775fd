"""Checks, hints, known mistakes and predictions of chapter 4."""

import math

import torch
from einops import einsum, rearrange
from torch import Tensor
from transformer_lens import FactoredMatrix

from utils.checks import Check, Choice, Mistake, Prediction, expect
from utils.handmade import previous_token_model, random_model

__all__ = ["CHECKS", "PREDICTIONS"]


# --- what several judges use: the model itself, with patterns held fixed -------------

TOKENS = [[0, 7, 3, 3, 9], [0, 1, 12, 5, 8]]
MORE_TOKENS = [[0, 6, 2, 6, 10, 4], [0, 11, 9, 1, 1, 7], [0, 3, 8, 5, 2, 12]]


def _patterns(model, tokens: Tensor) -> list[Tensor]:
    """Each layer's pattern [batch head query key] in an ordinary run."""
    _, cache = model.run_with_cache(tokens)
    return [cache["pattern", layer] for layer in range(model.cfg.n_layers)]


def _only(model, tokens: Tensor, keep, patterns) -> tuple[Tensor, Tensor]:
    """Final stream and logits when only some heads write and all attend as told."""
    seen = {}

    def as_told(pattern, hook):
        return patterns[hook.layer()]

    def kept(z, hook):
        heads = [head for layer, head in keep if layer == hook.layer()]
        out = torch.zeros_like(z)
        out[:, :, heads] = z[:, :, heads]
        return out

    def look(stream, hook):
        seen["stream"] = stream.clone()

    hooks = [("unembed.hook_in", look)]
    for layer in range(model.cfg.n_layers):
        hooks.append((f"blocks.{layer}.attn.hook_pattern", as_told))
        hooks.append((f"blocks.{layer}.attn.hook_z", kept))
    logits = model.run_with_hooks(tokens, fwd_hooks=hooks)
    return seen["stream"].double(), logits.double()


def _terms(model, tokens: Tensor) -> dict[tuple, Tensor]:
    """Each path's logits, found by switching heads of the model on and off."""
    heads, patterns = range(model.cfg.n_heads), _patterns(model, tokens)
    direct = _only(model, tokens, (), patterns)[1]
    terms = {(): direct}
    for layer in (0, 1):
        for head in heads:
            path = ((layer, head),)
            terms[path] = _only(model, tokens, path, patterns)[1] - direct
    for a in heads:
        for b in heads:
            path = ((0, a), (1, b))
            alone = terms[path[:1]] + terms[path[1:]]
            terms[path] = _only(model, tokens, path, patterns)[1] - direct - alone
    return terms


def _loss(logits: Tensor, tokens: Tensor) -> float:
    """Mean nats per predicted token, one token at a time."""
    log_probs = logits.double().log_softmax(-1)
    nats = [
        -log_probs[row, place - 1, token].item()
        for row, line in enumerate(tokens.tolist())
        for place, token in enumerate(line)
        if place > 0
    ]
    return sum(nats) / len(nats)


def _moved(model, cache, layer: int, stream: Tensor) -> Tensor:
    """[head batch pos d_model]: what each head of a layer makes of a stream."""
    values = einsum(
        stream, model.W_V[layer], "batch pos d, head d d_head -> batch head pos d_head"
    )
    return einsum(
        cache["pattern", layer] @ values,
        model.W_O[layer],
        "batch head pos d_head, head d_head d -> head batch pos d",
    )


# --- two_layer_path_terms -----------------------------------------------------------


def judge_two_layer_path_terms(answer) -> None:
    for n_heads, seed, ids in ((3, 0, TOKENS), (2, 1, MORE_TOKENS)):
        model, tokens = random_model(2, seed, n_heads=n_heads), torch.tensor(ids)
        batch, length = tokens.shape
        result = expect.tensor(
            answer(model, tokens),
            term=(1 + n_heads) ** 2,
            batch=batch,
            pos=length,
            d_vocab=13,
        )
        paths = _terms(model, tokens)
        for number, (path, logits) in enumerate(paths.items()):
            words = " then ".join(f"{a}.{b}" for a, b in path) or "the direct path"
            expect.close(
                result[number],
                logits,
                f"Entry {number} should be the path through {words}. It is not what "
                "the model does when all other heads are silent.",
            )
        expect.close(
            result.sum(0),
            model(tokens),
            "The sum of all terms should be the model's logits.",
        )


def _path_terms(model, tokens, order="term head", swap=False, whole=False) -> Tensor:
    """The right terms, or with one thing wrong."""
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    first = _moved(model, cache, 0, embed)
    read = cache["resid_post", 0] if whole else embed
    second = _moved(model, cache, 1, read)
    if swap:
        inner = _moved(model, cache, 1, embed)
        both = torch.stack([_moved(model, cache, 0, x) for x in inner], 1)
    else:
        both = torch.stack([_moved(model, cache, 1, x) for x in first])
    both = rearrange(both, f"term head b p d -> ({order}) b p d")
    return torch.cat([embed[None], first, second, both])


def paths_without_pairs(model, tokens):
    n = 1 + 2 * model.cfg.n_heads
    return (_path_terms(model, tokens) @ model.W_U)[:n]


def paths_counted_twice(model, tokens):
    return _path_terms(model, tokens, whole=True) @ model.W_U


def paths_in_other_order(model, tokens):
    return _path_terms(model, tokens, order="head term") @ model.W_U


def paths_backwards(model, tokens):
    return _path_terms(model, tokens, swap=True) @ model.W_U


def paths_in_the_stream(model, tokens):
    return _path_terms(model, tokens)


def paths_with_positions(model, tokens):
    terms = _path_terms(model, tokens)
    terms[0] += model.W_pos[: tokens.shape[1]]
    return terms @ model.W_U


TWO_LAYER_PATH_TERMS = Check(
    name="two_layer_path_terms",
    judge=judge_two_layer_path_terms,
    hints=(
        "With the patterns fixed, everything a head does is multiplication. So send "
        "the embedding alone through the heads, once for each path, instead of the "
        "whole stream.",
        "Write one helper that takes some streams and a layer and gives back what each "
        "head of the layer makes of each of them: times W_V, mixed by the head's "
        "pattern, times W_O. Use it on the embedding for layer 0 and for layer 1, and "
        "then on the results of layer 0 for layer 1.",
        "`first = through_heads(0, embed)`, `second = through_heads(1, embed)` and "
        "`both = through_heads(1, first)`, with a leading term axis that "
        '`rearrange(x, "term head ... -> (term head) ...")` makes flat. Then '
        "`torch.cat([embed, first, second, both]) @ model.W_U`. The patterns are "
        '`cache["pattern", layer]`.',
    ),
    mistakes=(
        Mistake(
            "no pairs",
            "The paths through two heads are missing. A head of layer 1 also moves "
            "what the heads of layer 0 wrote.",
            paths_without_pairs,
        ),
        Mistake(
            "counted twice",
            "Your layer-1 heads read the whole stream, so their terms already contain "
            "the paths through two heads, which you then add again. For a path through "
            "one head alone, that head reads the embedding only.",
            paths_counted_twice,
        ),
        Mistake(
            "other order",
            "Your terms are right and in another order. All paths that begin with 0.0 "
            "come first, whichever head of layer 1 follows.",
            paths_in_other_order,
        ),
        Mistake(
            "backwards",
            "Your paths pass through layer 1 first and then through layer 0. "
            "Information can only go to later layers.",
            paths_backwards,
        ),
        Mistake(
            "still in the stream",
            "These are the terms in the residual stream. Multiply them by W_U to get "
            "logits.",
            paths_in_the_stream,
        ),
        Mistake(
            "positions in the stream",
            "You added position vectors to the direct path. In this model they are "
            "only added to what W_Q and W_K read, never to the stream.",
            paths_with_positions,
        ),
    ),
    passed=(
        "Checked against the model itself, one path at a time: all patterns were held "
        "fixed, and the heads that are not on the path were silenced. Once the "
        "patterns are fixed the model is linear in the embedding, so it is a sum over "
        "paths and nothing is left over."
    ),
)


# --- virtual_head -------------------------------------------------------------------


def judge_virtual_head(answer) -> None:
    tokens = torch.tensor([[0, 7, 3, 2, 9, 11, 4], [0, 1, 12, 5, 8, 10, 6]])
    cases = ((2, (0, 1), (1, 2), 0), (3, (0, 2), (2, 0), 1))
    for n_layers, first, second, seed in cases:
        model = random_model(n_layers, seed)
        _judge_one_virtual_head(answer, model, tokens, first, second)
    model = previous_token_model({(0, 1): 1, (1, 2): 2})
    ids = torch.tensor([[0, 4, 2, 6, 1, 5]])
    pattern, _ = answer(model, ids, (0, 1), (1, 2))
    pattern = expect.tensor(pattern, batch=1, query=6, key=6)
    expect.close(
        pattern[0].diagonal(-3),
        torch.ones(3),
        "A head that looks one back, then one that looks two back: the pair should "
        "look three back.",
        atol=1e-3,
    )


def _judge_one_virtual_head(answer, model, tokens, first, second) -> None:
    result = answer(model, tokens, first, second)
    expect.true(
        isinstance(result, list | tuple) and len(result) == 2,
        "Two things should come back: the pattern and the OV matrix.",
    )
    batch, length = tokens.shape
    d_model = model.cfg.d_model
    pattern = expect.tensor(result[0], batch=batch, query=length, key=length)
    ov = expect.tensor(result[1], d_in=d_model, d_out=d_model)
    expect.close(
        pattern.sum(-1),
        torch.ones(batch, length),
        "Each row of the pattern should sum to 1.",
    )
    expect.close(pattern.triu(1), 0 * pattern, "Your pattern looks at later positions.")
    expect.close(
        pattern,
        _two_steps(model, tokens, first, second),
        "Your pattern is not the share that gets from each key to each query in two "
        "steps.",
    )
    patterns = _patterns(model, tokens)

    def stream(*heads):
        return _only(model, tokens, heads, patterns)[0]

    silent = stream()
    added = stream(first, second) - stream(first) - stream(second) + silent
    expect.close(
        pattern @ silent @ ov,
        added,
        "Pattern times embedding times your OV matrix should be what the pair adds to "
        "the stream.",
    )


def _two_steps(model, tokens: Tensor, first, second) -> Tensor:
    """From key to query by way of every position between, added up one by one."""
    _, cache = model.run_with_cache(tokens)
    one = cache["pattern", first[0]][:, first[1]].tolist()
    two = cache["pattern", second[0]][:, second[1]].tolist()
    places = range(tokens.shape[1])
    return torch.tensor(
        [
            [[sum(t[q][m] * o[m][k] for m in places) for k in places] for q in places]
            for o, t in zip(one, two, strict=True)
        ],
        dtype=torch.float64,
    )


def _pair(model, tokens, from_head, to_head):
    _, cache = model.run_with_cache(tokens)
    patterns = [cache["pattern", layer][:, h] for layer, h in (from_head, to_head)]
    ovs = [FactoredMatrix(model.W_V[h], model.W_O[h]) for h in (from_head, to_head)]
    return patterns, ovs


def virtual_patterns_swapped(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return one @ two, ov_1 @ ov_2


def virtual_ov_in_paper_order(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return two @ one, ov_2 @ ov_1


def virtual_elementwise(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return two * one, ov_1 @ ov_2


def virtual_small(model, tokens, from_head, to_head):
    (one, two), _ = _pair(model, tokens, from_head, to_head)
    ov_1, ov_2 = (model.W_O[h] @ model.W_V[h] for h in (from_head, to_head))
    return two @ one, ov_1 @ ov_2


def virtual_sum(model, tokens, from_head, to_head):
    (one, two), (ov_1, ov_2) = _pair(model, tokens, from_head, to_head)
    return (one + two) / 2, ov_1.AB + ov_2.AB


VIRTUAL_HEAD = Check(
    name="virtual_head",
    judge=judge_virtual_head,
    hints=(
        "Follow one piece of information. The earlier head carries it from a key to "
        "some position, and the later head carries it from there to the query.",
        "Adding up over all positions between is a matrix product of the two patterns. "
        "A row vector meets the earlier head's W_OV first.",
        '`pattern = second @ first`, each taken from `cache["pattern", layer][:, '
        "head]`, and `FactoredMatrix(W_V, W_O)` of the earlier head `@` that of the "
        "later one.",
    ),
    mistakes=(
        Mistake(
            "patterns swapped",
            "Your patterns are multiplied in the wrong order. Rows are queries: the "
            "later head's pattern stands on the left, and its keys are the earlier "
            "head's queries.",
            virtual_patterns_swapped,
        ),
        Mistake(
            "OV in the paper's order",
            "The paper writes W_OV of the later head first, for column vectors. Here "
            "vectors are rows, and the earlier head's W_OV stands on the left.",
            virtual_ov_in_paper_order,
        ),
        Mistake(
            "elementwise",
            "You multiplied the patterns entry by entry. That asks where both heads "
            "look at once; what is needed is two steps, one after the other.",
            virtual_elementwise,
        ),
        Mistake(
            "W_O before W_V",
            "W_O W_V is [d_head, d_head]. A head first reads with W_V and then writes "
            "with W_O, so its matrix is W_V W_O, [d_model, d_model].",
            virtual_small,
        ),
        Mistake(
            "side by side",
            "You added the two heads. That is what they do side by side; a virtual "
            "head is one after the other, a product.",
            virtual_sum,
        ),
    ),
    passed=(
        "Checked on models of two and three layers: the pattern against a sum over all "
        "positions between, and pattern and OV matrix together against what the "
        "model's pair of heads adds to the stream. Two lower triangles whose rows sum "
        "to 1 multiply to another one, so the pair is a head in its own right, without "
        "a single parameter of its own."
    ),
)


# --- score_path_terms ---------------------------------------------------------------


def judge_score_path_terms(answer) -> None:
    for n_heads, head, seed, ids in ((3, 1, 0, TOKENS), (2, 0, 1, MORE_TOKENS)):
        model, tokens = random_model(2, seed, n_heads=n_heads), torch.tensor(ids)
        batch, length = tokens.shape
        parts = n_heads + 2
        result = expect.tensor(
            answer(model, tokens, head),
            query_part=parts,
            key_part=parts,
            batch=batch,
            query=length,
            key=length,
        )
        names = ["embedding", "position", *(f"head 0.{i}" for i in range(n_heads))]
        expected = _scores_of_parts(model, tokens, head)
        for i, query in enumerate(names):
            for j, key in enumerate(names):
                expect.close(
                    result[i, j],
                    expected[i, j],
                    f"The scores of query part {i} ({query}) with key part {j} ({key}) "
                    "are not what the head gives when it reads only these.",
                )
        _, cache = model.run_with_cache(tokens)
        expect.close(
            result.sum((0, 1)).tril(),
            cache["attn_scores", 1][:, head].tril(),
            "All entries together should be the scores of the model.",
        )


def _scores_of_parts(model, tokens: Tensor, head: int) -> Tensor:
    """The model's own queries and keys when layer 1 is given one part to read."""
    patterns = _patterns(model, tokens)
    silent = _only(model, tokens, (), patterns)[0]
    parts = [silent, model.W_pos[: tokens.shape[1]].double().expand_as(silent)]
    for other in range(model.cfg.n_heads):
        stream = _only(model, tokens, ((0, other),), patterns)[0]
        parts.append(stream - silent)
    sides = [_read_by_layer_1(model, tokens, part, head) for part in parts]
    size = math.sqrt(model.cfg.d_head)
    rows = [[q @ k.transpose(-1, -2) / size for _, k in sides] for q, _ in sides]
    return torch.stack([torch.stack(row) for row in rows])


def _read_by_layer_1(model, tokens: Tensor, part: Tensor, head: int):
    seen = []

    def give(read, hook):
        return part.float()

    def look(value, hook):
        seen.append(value[:, :, head].double())

    hooks = [(f"blocks.1.attn.{side}.hook_in", give) for side in "qk"]
    hooks += [(f"blocks.1.attn.hook_{side}", look) for side in "qk"]
    model.run_with_hooks(tokens, fwd_hooks=hooks)
    queries, keys = seen  # the model computes its queries first
    return queries, keys


def _score_parts(model, tokens, layer=0) -> Tensor:
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    position = model.W_pos[: tokens.shape[1]].expand_as(embed)
    stream = cache["resid_pre", layer]
    heads = _moved(model, cache, layer, stream)
    return torch.cat([embed[None], position[None], heads])


def _score_terms(model, queries: Tensor, keys: Tensor, head: int) -> Tensor:
    return einsum(
        queries @ model.W_Q[1, head],
        keys @ model.W_K[1, head],
        "i batch q d, j batch k d -> i j batch q k",
    )


def scores_unscaled(model, tokens, head):
    parts = _score_parts(model, tokens)
    return _score_terms(model, parts, parts, head)


def scores_over_d_model(model, tokens, head):
    return scores_unscaled(model, tokens, head) / model.cfg.d_model**0.5


def scores_swapped(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    return right.transpose(0, 1)


def scores_of_other_order(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    return right.transpose(-1, -2)


def scores_without_position(model, tokens, head):
    parts = _score_parts(model, tokens)[[0, *range(2, model.cfg.n_heads + 2)]]
    return _score_terms(model, parts, parts, head) / model.cfg.d_head**0.5


def scores_of_layer_1(model, tokens, head):
    parts = _score_parts(model, tokens, layer=1)
    return _score_terms(model, parts, parts, head) / model.cfg.d_head**0.5


def scores_masked(model, tokens, head):
    right = scores_unscaled(model, tokens, head) / model.cfg.d_head**0.5
    later = torch.ones(right.shape[-2:], device=right.device).triu(1).bool()
    return right.masked_fill(later, -torch.inf)


SCORE_PATH_TERMS = Check(
    name="score_path_terms",
    judge=judge_score_path_terms,
    hints=(
        "A score is a product of a query and a key. If both are sums, the product is a "
        "sum over all pairs, like (a + b) * (c + d).",
        "Stack the h + 2 parts of what layer 1 reads: embedding, position, and what "
        "each head of layer 0 wrote. Turn all of them into queries with W_Q and all of "
        "them into keys with W_K, then take every query part with every key part.",
        "`parts @ model.W_Q[1, head]` and `parts @ model.W_K[1, head]` are [part, "
        "batch, "
        'pos, d_head]. One `einsum` with "query_part batch query d_head, key_part '
        'batch key d_head -> query_part key_part batch query key", divided by '
        "`math.sqrt(model.cfg.d_head)`, is all.",
    ),
    mistakes=(
        Mistake(
            "not scaled",
            "Your scores are not divided by sqrt(d_head). The paper leaves this factor "
            "out; the model has it.",
            scores_unscaled,
        ),
        Mistake(
            "scaled by d_model",
            "You divided by sqrt(d_model). Queries and keys have d_head numbers, so it "
            "is sqrt(d_head).",
            scores_over_d_model,
        ),
        Mistake(
            "parts swapped",
            "Query parts and key parts are swapped. The first axis is the part that "
            "the query is made from. Swapped, K-composition would look like "
            "Q-composition.",
            scores_swapped,
        ),
        Mistake(
            "query and key swapped",
            "The last two axes are swapped: queries should be rows, keys columns.",
            scores_of_other_order,
        ),
        Mistake(
            "no position",
            "The position vectors are missing. They are added to what W_Q and W_K "
            "read, in layer 1 as in layer 0.",
            scores_without_position,
        ),
        Mistake(
            "heads of layer 1",
            "You used what the heads of layer 1 write. Layer 1 reads what the heads of "
            "layer 0 wrote.",
            scores_of_layer_1,
        ),
        Mistake(
            "masked",
            "You masked the scores. A mask of minus infinity cannot be split into "
            "parts; it comes after the sum.",
            scores_masked,
        ),
    ),
    passed=(
        "Checked by letting layer 1 of the model read one part at a time and taking "
        "its own queries and keys, for all pairs of parts, and the sum against the "
        "model's scores. A score is linear in the query and linear in the key, and "
        "each is a sum of h + 2 parts, so a score is a sum of (h + 2) squared."
    ),
)


# --- composition_score --------------------------------------------------------------


def _factors(seed: int, d_model: int, inner: int) -> FactoredMatrix:
    generator = torch.Generator().manual_seed(seed)
    tall = torch.randn(d_model, inner, generator=generator)
    return FactoredMatrix(tall, torch.randn(inner, d_model, generator=generator))


def _selector(d_model: int, reads: list[int], writes: list[int]) -> FactoredMatrix:
    """Copies some places of a vector to some others."""
    eye = torch.eye(d_model)
    return FactoredMatrix(eye[:, reads], eye[writes])


def judge_composition_score(answer) -> None:
    for seed in (0, 1):
        first, second = _factors(seed, 10, 3), _factors(seed + 10, 10, 4)
        expect.close(
            expect.number(answer(first, second)),
            _score_by_vectors(first, second),
            "The score is not what comes of pushing every basis vector through both "
            "matrices.",
        )
    first, second = _factors(4, 9, 2), _factors(5, 9, 5)
    scaled = FactoredMatrix(10 * first.A, first.B)
    expect.close(
        expect.number(answer(scaled, second)),
        _score_by_vectors(first, second),
        "Making W_V ten times as large should not change the score.",
    )
    writes = _selector(11, [0, 1, 2], [5, 6, 7])
    for reads, value, words in (
        ([5], 1 / 3**0.5, "one of the three places"),
        ([8, 9], 0.0, "places that the first never writes to"),
    ):
        expect.close(
            expect.number(
                answer(writes, _selector(11, reads, list(range(len(reads)))))
            ),
            value,
            f"The second matrix reads {words}.",
        )
    silent = FactoredMatrix(torch.zeros(10, 3), first.B[:, :1].expand(2, 10)[[0, 1, 1]])
    expect.close(
        expect.number(answer(silent, _factors(6, 10, 4))),
        0.0,
        "A head that writes nothing composes with nothing: the score should be 0.",
    )


def _score_by_vectors(first: FactoredMatrix, second: FactoredMatrix) -> float:
    """Frobenius norms as sums over what happens to each basis vector."""
    basis = torch.eye(first.A.shape[0], dtype=torch.float64)

    def size(*steps) -> float:
        total = 0.0
        for vector in basis:
            for matrix in steps:
                vector = vector @ matrix.A.double() @ matrix.B.double()
            total += sum(x * x for x in vector.tolist())
        return math.sqrt(total)

    return size(first, second) / (size(first) * size(second))


def _ratio(product: Tensor, first, second) -> float:
    return (product.norm() / (first.AB.norm() * second.AB.norm())).item()


def score_without_sizes(first, second):
    return (first.AB @ second.AB).norm().item()


def score_with_one_size(first, second):
    return ((first.AB @ second.AB).norm() / first.AB.norm()).item()


def score_other_order(first, second):
    return _ratio(second.AB @ first.AB, first, second)


def score_transposed(first, second):
    return _ratio(first.AB @ second.AB.T, first, second)


def score_squared(first, second):
    return _ratio(first.AB @ second.AB, first, second) ** 2


def score_spectral(first, second):
    matrices = (first.AB @ second.AB, first.AB, second.AB)
    product, one, two = (torch.linalg.matrix_norm(m, 2).item() for m in matrices)
    return product / (one * two)


def score_less_floor(first, second):
    return _ratio(first.AB @ second.AB, first, second) - first.shape[0] ** -0.5


def score_of_silence(first, second):
    return _ratio(first.AB @ second.AB, first, second)


COMPOSITION_SCORE = Check(
    name="composition_score",
    judge=judge_composition_score,
    hints=(
        "Multiply the two matrices and see how large the product is, compared with how "
        "large it could have been.",
        "The Frobenius norm is the root of the sum of all squared entries. A row "
        "vector meets `first` first, so the product is first times second. Take care "
        "of matrices that are all zero.",
        "`(first @ second).AB.norm() / (first.AB.norm() * second.AB.norm())`, and 0 if "
        "the denominator is 0. `.AB` multiplies the factors out, and `.item()` makes a "
        "number of it.",
    ),
    mistakes=(
        Mistake(
            "no denominators",
            "Your score has no denominator, so it grows with the size of the weights. "
            "Divide by the norms of both matrices.",
            score_without_sizes,
        ),
        Mistake(
            "one denominator",
            "You divided by the norm of the first matrix only.",
            score_with_one_size,
        ),
        Mistake(
            "other order",
            "You multiplied second times first. Vectors are rows here, so what the "
            "first writes meets the second from the left.",
            score_other_order,
        ),
        Mistake(
            "transposed",
            "You transposed the second matrix. It already reads with its rows.",
            score_transposed,
        ),
        Mistake(
            "squared",
            "This is the square of the score. A norm is the root of a sum of squares.",
            score_squared,
        ),
        Mistake(
            "spectral norm",
            "You used the largest singular value. The Frobenius norm takes all entries "
            "into account.",
            score_spectral,
        ),
        Mistake(
            "baseline subtracted",
            "You subtracted 1/sqrt(d_model). The baseline comes later; the score "
            "itself is the plain ratio.",
            score_less_floor,
        ),
        Mistake(
            "zero by zero",
            "Your score divides 0 by 0 when a head writes nothing. Return 0 then.",
            score_of_silence,
        ),
    ),
    passed=(
        "Checked against pushing every basis vector through both matrices, and on "
        "matrices with a known answer. Dividing by both norms makes heads with large "
        "and with small weights comparable."
    ),
)


# --- q_composition, k_composition, v_composition ------------------------------------


def _judge_table(answer, mode: str, reads: str) -> None:
    calls = (
        (2, 3, 0, {}, (0, 1)),
        (3, 2, 1, {"from_layer": 0, "to_layer": 2}, (0, 2)),
        (3, 2, 1, {"from_layer": 1, "to_layer": 2}, (1, 2)),
        (3, 2, 1, {"from_layer": 2, "to_layer": 1}, (2, 1)),
        (2, 3, 0, {"from_layer": 1, "to_layer": 1}, (1, 1)),
    )
    for n_layers, n_heads, seed, layers, (one, two) in calls:
        model = random_model(n_layers, seed, n_heads=n_heads)
        library = model.all_composition_scores(mode).scores
        result = answer(model, **layers)
        table = expect.tensor(result, from_head=n_heads, to_head=n_heads)
        if one >= two:
            expect.close(
                table,
                0 * table,
                f"Layer {two} cannot read what layer {one} writes, so all scores "
                "should be 0.",
            )
        expect.close(
            table,
            library[one, :, two],
            f"From layer {one} to layer {two}, your scores are not those of "
            f"TransformerLens: how much {reads} of the later head reads.",
        )


def judge_q_composition(answer) -> None:
    _judge_table(answer, "Q", "the query")


def judge_k_composition(answer) -> None:
    _judge_table(answer, "K", "the key")


def judge_v_composition(answer) -> None:
    _judge_table(answer, "V", "the value")
    model = previous_token_model({(0, 0): 1, (1, 0): 1}, n_heads=1)
    expect.close(
        expect.tensor(answer(model), from_head=1, to_head=1),
        torch.full((1, 1), 7**-0.5),
        "In a model made by hand, 1.0 reads all seven places that 0.0 writes to, so "
        "the score should be the root of 1/7.",
    )


def _table(model, from_layer, to_layer, mode, causal=True, source=None) -> Tensor:
    """Composition scores of all pairs from dense matrices, rightly or wrongly."""
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if causal and from_layer >= to_layer:
        return scores
    source = from_layer if source is None else source
    for i in range(n_heads):
        ov = model.W_V[source, i] @ model.W_O[source, i]
        for j in range(n_heads):
            qk = model.W_Q[to_layer, j] @ model.W_K[to_layer, j].T
            later = model.W_V[to_layer, j] @ model.W_O[to_layer, j]
            right = {"Q": qk, "K": qk.T, "V": later, "V.T": later.T}[mode]
            scores[i, j] = (ov @ right).norm() / (ov.norm() * right.norm())
    return scores


def q_of_key(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "K")


def q_of_value(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "V")


def q_transposed(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "Q").T


def q_of_own_layer(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "Q", source=to_layer)


def q_anywhere(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "Q", causal=False)


def q_less_floor(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "Q") - model.cfg.d_model**-0.5


def k_of_query(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "Q")


def k_transposed(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "K").T


def k_of_own_layer(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "K", source=to_layer)


def k_anywhere(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "K", causal=False)


def v_of_output(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "V.T")


def v_transposed(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "V").T


def v_of_own_layer(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "V", source=to_layer)


def v_anywhere(model, from_layer=0, to_layer=1):
    return _table(model, from_layer, to_layer, "V", causal=False)


TABLE_TRANSPOSED = (
    "Your table is transposed. Rows are the earlier heads, columns the later ones."
)
OWN_LAYER = (
    "You used W_OV of the later layer. What is read was written by a head of "
    "`from_layer`."
)
ANYWHERE = (
    "Your function also scores pairs in which the reading head is not in a later "
    "layer. Such heads cannot read each other; their scores should be 0."
)

Q_COMPOSITION = Check(
    name="q_composition",
    judge=judge_q_composition,
    hints=(
        "What the earlier head writes stands in the columns of its W_OV. What the "
        "later head's query reads are the rows of its W_QK. Use `composition_score` on "
        "each pair.",
        "W_OV is W_V times W_O, and W_QK is W_Q times W_K transposed. Two loops over "
        "heads fill the table. Do not forget the case without any earlier layer.",
        "`ov = FactoredMatrix(model.W_V[from_layer, i], model.W_O[from_layer, i])`, "
        "`qk = FactoredMatrix(model.W_Q[to_layer, j], model.W_K[to_layer, j].T)`, and "
        "`scores[i, j] = composition_score(ov, qk)`.",
    ),
    mistakes=(
        Mistake(
            "K instead of Q",
            "This is K-composition. With row vectors, W_QK = W_Q W_K^T has the query "
            "on the left, and that is the side that has to meet W_OV. Transposed, it "
            "is the key.",
            q_of_key,
        ),
        Mistake(
            "V instead of Q",
            "This is V-composition: you took W_OV of the later head. Its query is read "
            "by W_QK.",
            q_of_value,
        ),
        Mistake("transposed", TABLE_TRANSPOSED, q_transposed),
        Mistake("own layer", OWN_LAYER, q_of_own_layer),
        Mistake("any order of layers", ANYWHERE, q_anywhere),
        Mistake(
            "baseline subtracted",
            "You subtracted 1/sqrt(d_model). The table should hold the plain scores.",
            q_less_floor,
        ),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores on models of two and "
        "three layers, and that a head which comes too early reads nothing."
    ),
)

K_COMPOSITION = Check(
    name="k_composition",
    judge=judge_k_composition,
    hints=(
        "The same as Q-composition, on the other side of W_QK.",
        "The key is read by the columns of W_QK. Transpose it, so that they become "
        "rows that meet W_OV.",
        "`kq = FactoredMatrix(model.W_K[to_layer, j], model.W_Q[to_layer, j].T)` is "
        "W_QK transposed; `composition_score(ov, kq)` is the score.",
    ),
    mistakes=(
        Mistake(
            "Q instead of K",
            "This is Q-composition. Here W_QK = W_Q W_K^T has the query on the left; "
            "to let the key meet W_OV, transpose it.",
            k_of_query,
        ),
        Mistake("transposed", TABLE_TRANSPOSED, k_transposed),
        Mistake("own layer", OWN_LAYER, k_of_own_layer),
        Mistake("any order of layers", ANYWHERE, k_anywhere),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores. In the paper, with "
        "column vectors, K-composition is W_QK W_OV without a transpose and "
        "Q-composition has one; with rows it is the other way round."
    ),
)

V_COMPOSITION = Check(
    name="v_composition",
    judge=judge_v_composition,
    hints=(
        "What does a later head do with what it moves? It reads it with W_V.",
        "W_OV of the later head stands where W_QK stood in the other two.",
        "`later = FactoredMatrix(model.W_V[to_layer, j], model.W_O[to_layer, j])` and "
        "`composition_score(earlier, later)`.",
    ),
    mistakes=(
        Mistake(
            "the wrong side",
            "You transposed the later W_OV, so you compare two outputs. The later head "
            "reads with W_V, the left factor.",
            v_of_output,
        ),
        Mistake("transposed", TABLE_TRANSPOSED, v_transposed),
        Mistake("own layer", OWN_LAYER, v_of_own_layer),
        Mistake("any order of layers", ANYWHERE, v_anywhere),
    ),
    passed=(
        "Checked against TransformerLens's all_composition_scores and on two "
        "previous-token heads set by hand, of which one reads what the other writes. "
        "The product in the numerator is the OV matrix of the virtual head."
    ),
)


# --- random_composition -------------------------------------------------------------


def judge_random_composition(answer) -> None:
    for d_model, d_head, seed in ((40, 5, 0), (30, 9, 3)):
        n = 400
        scores = expect.tensor(answer(d_model, d_head, n, seed), sample=n)
        expect.true(
            ((scores > 0) & (scores <= 1)).all(),
            "A composition score lies between 0 and 1. Some of yours do not.",
        )
        floor = d_model**-0.5
        expect.close(
            scores.mean(),
            floor,
            f"With d_model {d_model} random heads should score 1/sqrt(d_model) on "
            "average.",
            atol=0,
            rtol=0.04,
        )
        expect.close(
            scores.std(),
            _random_scores(d_model, d_head, n, seed + 100).std(),
            "The mean is right, but the scores should spread like those of heads, "
            "whose matrices are products of two narrow factors.",
            atol=0,
            rtol=0.25,
        )
    again = expect.tensor(answer(20, 3, 5, 7), sample=5)
    expect.close(
        expect.tensor(answer(20, 3, 5, 7), sample=5),
        again,
        "The same seed should give the same samples.",
    )
    other = expect.tensor(answer(20, 3, 5, 8), sample=5)
    expect.true(
        (again - other).abs().max() > 1e-6,
        "Two different seeds gave the same samples.",
    )


def _random_scores(d_model, d_head, n, seed, draw=torch.randn, full=False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def head() -> Tensor:
        if full:
            return draw(n, d_model, d_model, generator=generator)
        tall = draw(n, d_model, d_head, generator=generator)
        return tall @ draw(n, d_head, d_model, generator=generator)

    one, two = head(), head()
    sizes = one.norm(dim=(1, 2)) * two.norm(dim=(1, 2))
    return (one @ two).norm(dim=(1, 2)) / sizes


def random_full_rank(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, seed, full=True)


def random_positive(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, seed, draw=torch.rand)


def random_expectation(d_model, d_head, n_samples=200, seed=0):
    return torch.full((n_samples,), d_model**-0.5)


def random_one_seed(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, 0)


def random_same_head(d_model, d_head, n_samples=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tall = torch.randn(n_samples, d_model, d_head, generator=generator)
    head = tall @ torch.randn(n_samples, d_head, d_model, generator=generator)
    size = head.norm(dim=(1, 2))
    return (head @ head.transpose(1, 2)).norm(dim=(1, 2)) / size**2


RANDOM_COMPOSITION = Check(
    name="random_composition",
    judge=judge_random_composition,
    uses_random=True,
    hints=(
        "Make two heads without any meaning, score them with `composition_score`, and "
        "repeat.",
        "A head's matrix is W_V W_O or W_Q W_K^T: a tall matrix times a wide one. Draw "
        "all four factors anew for each sample, from one generator with the given "
        "seed.",
        "`generator = torch.Generator().manual_seed(seed)`; each head is "
        "`FactoredMatrix(torch.randn(d_model, d_head, generator=generator), "
        "torch.randn(d_head, d_model, generator=generator))`. Collect the scores in "
        "`torch.tensor([...])`.",
    ),
    mistakes=(
        Mistake(
            "full rank",
            "You drew full matrices [d_model, d_model]. The mean is the same, but a "
            "head's matrix is a product of two narrow factors, and that spreads more. "
            "With the wrong spread, chance looks significant.",
            random_full_rank,
        ),
        Mistake(
            "positive numbers",
            "Your random numbers are all positive, so all matrices point the same way "
            "and compose strongly. Draw them with mean 0.",
            random_positive,
        ),
        Mistake(
            "only the mean",
            "You returned the expected value for every sample. The spread is needed "
            "too, to say how far above the floor is far.",
            random_expectation,
        ),
        Mistake(
            "fixed seed",
            "Your function does not use the seed it is given.",
            random_one_seed,
        ),
        Mistake(
            "a head with itself",
            "You composed each random head with itself, transposed. Draw two heads "
            "that know nothing of each other.",
            random_same_head,
        ),
    ),
    passed=(
        "Checked for two sizes: mean, spread, and that the seed decides. A random "
        "vector has 1/d_model of its squared length in any given direction, so a score "
        "is about 1/sqrt(d_model), and no head can be said to compose below that."
    ),
)


# --- cyclic_composition_score -------------------------------------------------------


def judge_cyclic_composition_score(answer) -> None:
    calls = (
        (2, 3, 0, {}, (0, 1)),
        (3, 2, 1, {"from_layer": 0, "to_layer": 2}, (0, 2)),
        (3, 2, 1, {"from_layer": 2, "to_layer": 1}, (2, 1)),
    )
    for n_layers, n_heads, seed, layers, (one, two) in calls:
        model = random_model(n_layers, seed, n_heads=n_heads)
        result = answer(model, **layers)
        table = expect.tensor(result, from_head=n_heads, to_head=n_heads)
        if one >= two:
            expect.close(
                table,
                0 * table,
                f"Layer {two} cannot read what layer {one} writes, so all scores "
                "should be 0.",
            )
            continue
        expected = [
            [_cycle_by_hand(model, (one, i), (two, j)) for j in range(n_heads)]
            for i in range(n_heads)
        ]
        expect.close(
            table,
            torch.tensor(expected),
            "These are not the numbers that the bug gives.",
        )


def _cycle_by_hand(model, first, second) -> float:
    """In the paper's own notation, with plain lists of rows."""
    W_V, W_O = model.W_V[first].T.tolist(), model.W_O[first].T.tolist()
    W_Q, W_K = model.W_Q[second].T.tolist(), model.W_K[second].T.tolist()
    W_Q_T = [list(column) for column in zip(*W_Q, strict=True)]
    cycle = _times(_times(W_K, W_O), _times(W_V, W_Q_T))
    return _size(cycle) / (_size(_times(W_Q_T, W_K)) * _size(_times(W_O, W_V)))


def _times(one: list[list[float]], two: list[list[float]]) -> list[list[float]]:
    columns = list(zip(*two, strict=True))
    return [
        [sum(a * b for a, b in zip(row, column, strict=True)) for column in columns]
        for row in one
    ]


def _size(matrix: list[list[float]]) -> float:
    return math.sqrt(sum(x * x for row in matrix for x in row))


def _cyclic(model, from_layer, to_layer, form: str, sizes: str = "true") -> Tensor:
    n_heads = model.cfg.n_heads
    scores = torch.zeros(n_heads, n_heads)
    if from_layer >= to_layer:
        return scores
    for i in range(n_heads):
        for j in range(n_heads):
            W_V, W_O = model.W_V[from_layer, i], model.W_O[from_layer, i]
            W_Q, W_K = model.W_Q[to_layer, j], model.W_K[to_layer, j]
            product = {
                "first": W_K.T @ W_O.T @ W_V.T @ W_Q,
                "second": W_V.T @ W_Q @ W_K.T @ W_O.T,
                "true": W_V @ W_O @ W_K @ W_Q.T,
                "query": W_Q.T @ W_O.T @ W_V.T @ W_K,
            }[form]
            size = {
                "true": (W_V @ W_O).norm() * (W_Q @ W_K.T).norm(),
                "pieces": (W_O @ W_K).norm() * (W_Q.T @ W_V).norm(),
                "none": torch.tensor(1.0),
            }[sizes]
            scores[i, j] = product.norm() / size
    return scores


def cyclic_true(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "true")


def cyclic_second(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "second")


def cyclic_of_query(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "query")


def cyclic_other_sizes(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first", "pieces")


def cyclic_without_sizes(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first", "none")


def cyclic_transposed(model, from_layer=0, to_layer=1):
    return _cyclic(model, from_layer, to_layer, "first").T


CYCLIC_COMPOSITION_SCORE = Check(
    name="cyclic_composition_score",
    judge=judge_cyclic_composition_score,
    hints=(
        "Write down the four matrices in the order of the docstring and turn each into "
        "TransformerLens's, by a transpose. The product is small: d_head by d_head.",
        "The paper's W_K is `model.W_K[layer, head].T`, its W_O is "
        "`model.W_O[layer, head].T`, its W_V is `model.W_V[layer, head].T`, and its "
        "W_Q^T is `model.W_Q[layer, head]` as it stands.",
        "`cycle = W_K.T @ W_O.T @ W_V.T @ W_Q`, and the score is `cycle.norm() / "
        "((W_V @ W_O).norm() * (W_Q @ W_K.T).norm())`.",
    ),
    mistakes=(
        Mistake(
            "no mistake",
            "This is the true K-composition. Here the mistake itself is wanted: the "
            "factors moved around in a cycle.",
            cyclic_true,
        ),
        Mistake(
            "second form",
            "This is the other of the two forms that the library could give. The one "
            "wanted begins with W_K of the later head.",
            cyclic_second,
        ),
        Mistake(
            "query and key swapped",
            "W_Q and W_K are swapped: yours begins with W_Q and ends with W_K^T.",
            cyclic_of_query,
        ),
        Mistake(
            "other denominator",
            "Your denominator has the norms of W_K W_O and W_V W_Q^T. The one wanted "
            "is that of the true score, the norms of W_OV and W_QK.",
            cyclic_other_sizes,
        ),
        Mistake(
            "no denominator",
            "The denominator is missing: the norm of W_OV times the norm of W_QK.",
            cyclic_without_sizes,
        ),
        Mistake("transposed", TABLE_TRANSPOSED, cyclic_transposed),
    ),
    passed=(
        "Checked against the paper's formula with plain loops. The trace of a product "
        "and its non-zero eigenvalues do not change when a factor moves from the end "
        "to the front. The Frobenius norm does, so this is another number than the one "
        "the figure claimed to show."
    ),
)


# --- term_importance ----------------------------------------------------------------


def judge_term_importance(answer) -> None:
    for n_layers, seed, ids in ((2, 0, TOKENS), (3, 1, MORE_TOKENS), (1, 2, TOKENS)):
        model, tokens = random_model(n_layers, seed), torch.tensor(ids)
        orders = expect.tensor(answer(model, tokens), order=n_layers + 1)
        losses = _losses_by_order(model, tokens)
        for order, (before, after) in enumerate(zip(losses, losses[1:], strict=False)):
            expect.close(
                orders[order],
                before - after,
                f"With {n_layers} layers, the effect of the paths through exactly "
                f"{order} heads is not the change of the loss when they are added.",
            )
        expect.close(
            orders.sum(),
            math.log(model.cfg.d_vocab) - _loss(model(tokens), tokens),
            "All orders together should lead from the uniform guess to the loss of the "
            "model itself.",
        )


def _losses_by_order(model, tokens: Tensor) -> list[float]:
    """Losses of a uniform guess, then of orders 0 and 1, found by silencing heads.

    Ends with the loss of the whole model where the next order is the last.
    """
    patterns = _patterns(model, tokens)
    direct = _only(model, tokens, (), patterns)[1]
    logits = direct.clone()
    for layer in range(model.cfg.n_layers):
        for head in range(model.cfg.n_heads):
            logits += _only(model, tokens, ((layer, head),), patterns)[1] - direct
    losses = [math.log(model.cfg.d_vocab), _loss(direct, tokens), _loss(logits, tokens)]
    if model.cfg.n_layers == 2:
        losses.append(_loss(model(tokens), tokens))
    return losses


def _order_losses(model, tokens, frozen=True, late=True) -> list[float]:
    """The algorithm of the paper, or with one thing wrong."""
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    layers = range(model.cfg.n_layers)
    place = model.W_pos[: tokens.shape[1]]
    added = [torch.zeros_like(embed) for _ in layers]
    losses = []
    for _ in range(len(layers) + 1):
        stream, outputs = embed, []
        for layer in layers:
            own = dict(cache.items())
            if not frozen:
                own["pattern", layer] = _attend(model, stream + place, layer)
                outputs.append(_moved(model, own, layer, stream).sum(0))
            else:
                outputs.append(_moved(model, cache, layer, stream).sum(0))
            stream = stream + (added if late else outputs)[layer]
        losses.append(_loss(stream @ model.W_U, tokens))
        added = outputs
    return losses


def _attend(model, read: Tensor, layer: int) -> Tensor:
    queries = einsum(read, model.W_Q[layer], "b p d, h d k -> b h p k")
    keys = einsum(read, model.W_K[layer], "b p d, h d k -> b h p k")
    scores = queries @ keys.transpose(-1, -2) / model.cfg.d_head**0.5
    later = torch.ones(scores.shape[-2:], device=read.device).triu(1).bool()
    return scores.masked_fill(later, -torch.inf).softmax(-1)


def _steps(losses: list[float]) -> Tensor:
    losses = torch.tensor(losses)
    return losses[:-1] - losses[1:]


def orders_not_frozen(model, tokens):
    losses = _order_losses(model, tokens, frozen=False)
    return _steps([math.log(model.cfg.d_vocab), *losses])


def orders_one_too_many(model, tokens):
    losses = _order_losses(model, tokens, late=False)
    return _steps([math.log(model.cfg.d_vocab), *losses])


def orders_as_losses(model, tokens):
    return torch.tensor(_order_losses(model, tokens))


def orders_from_uniform(model, tokens):
    losses = torch.tensor(_order_losses(model, tokens))
    return math.log(model.cfg.d_vocab) - losses


def orders_negative(model, tokens):
    return -_steps([math.log(model.cfg.d_vocab), *_order_losses(model, tokens)])


def orders_without_direct(model, tokens):
    return _steps(_order_losses(model, tokens))


TERM_IMPORTANCE = Check(
    name="term_importance",
    judge=judge_term_importance,
    hints=(
        "Run the model several times by hand with its patterns saved from a normal "
        "run. In each pass, what is added to the stream is not what this pass "
        "computes.",
        "Pass n adds to the stream, after each layer, what that layer put out in pass "
        "n - 1; pass 0 adds nothing. So the stream of pass n holds the paths through "
        "at most n heads. Note each pass's loss and take differences, starting from "
        "log(d_vocab).",
        "Keep `added`, one tensor for each layer, all zero at first. In a pass: "
        "`stream = embed`; for each layer compute its output from `stream`, its saved "
        "pattern, W_V and W_O, append it to `outputs`, then `stream = stream + "
        "added[layer]`. After the layers note the loss of `stream @ model.W_U` and set "
        "`added = outputs`.",
    ),
    mistakes=(
        Mistake(
            "patterns not frozen",
            "You computed the attention patterns anew in each pass. That also takes "
            "away Q- and K-composition, and the early layer seems to matter more than "
            "its paths do. Keep the patterns of the whole model.",
            orders_not_frozen,
        ),
        Mistake(
            "same pass",
            "You added what the same pass computed. Then pass 0 is already the whole "
            "model. Add what the pass before computed, and nothing in pass 0.",
            orders_one_too_many,
        ),
        Mistake(
            "losses",
            "These are the losses of the passes. Return how much each order takes off: "
            "the loss before minus the loss after.",
            orders_as_losses,
        ),
        Mistake(
            "measured from uniform",
            "You measured each order from the uniform guess. Measure it from the order "
            "before.",
            orders_from_uniform,
        ),
        Mistake(
            "sign",
            "Your signs are turned round. What lowers the loss should be positive.",
            orders_negative,
        ),
        Mistake(
            "no direct path",
            "Order 0 is missing: the loss of a uniform guess, log(d_vocab), minus that "
            "of the direct path.",
            orders_without_direct,
        ),
    ),
    passed=(
        "Checked on models of one, two and three layers: orders 0 and 1 against the "
        "model with heads silenced one by one, and the sum against the model's own "
        "loss. That the last pass gives the exact loss is the strongest test there is "
        "of such code: any path left out or counted twice would show."
    ),
)


# --- marginal_effect ----------------------------------------------------------------


def judge_marginal_effect(answer) -> None:
    model, tokens = random_model(2, seed=3), torch.tensor(MORE_TOKENS)
    patterns = _patterns(model, tokens)
    direct = _only(model, tokens, (), patterns)[1]
    alone = {
        (layer, head): _only(model, tokens, ((layer, head),), patterns)[1] - direct
        for layer in (0, 1)
        for head in range(3)
    }

    def loss_with(heads) -> float:
        return _loss(direct + sum(alone[head] for head in set(heads)), tokens)

    cases = (
        ([(1, 0), (1, 2)], [(0, 1)]),
        ([(0, 0), (0, 1), (0, 2)], [(1, 0), (1, 1), (1, 2)]),
        ([(0, 2), (1, 1)], [(0, 2)]),
        ([(1, 1)], []),
    )
    for heads, given in cases:
        expected = loss_with(given) - loss_with([*given, *heads])
        words = [f"{a}.{b}" for a, b in heads], [f"{a}.{b}" for a, b in given]
        expect.close(
            expect.number(answer(model, tokens, heads, given)),
            expected,
            f"The effect of heads {words[0]} given {words[1]} is not the change of the "
            "loss when each head reads the embedding only.",
        )


def _first_order(model, tokens, heads, cache=None) -> float:
    _, cache = model.run_with_cache(tokens)
    embed = cache["hook_embed"]
    outputs = [_moved(model, cache, layer, embed) for layer in (0, 1)]
    stream = embed + sum(outputs[layer][head] for layer, head in heads)
    return _loss(stream @ model.W_U, tokens)


def effect_negative(model, tokens, heads, given=()):
    both = set(heads) | set(given)
    return _first_order(model, tokens, both) - _first_order(model, tokens, given)


def effect_counted_twice(model, tokens, heads, given=()):
    both = [*heads, *given]
    return _first_order(model, tokens, given) - _first_order(model, tokens, both)


def effect_alone(model, tokens, heads, given=()):
    return _first_order(model, tokens, ()) - _first_order(model, tokens, heads)


def effect_of_given(model, tokens, heads, given=()):
    both = set(heads) | set(given)
    return _first_order(model, tokens, heads) - _first_order(model, tokens, both)


def effect_with_pairs(model, tokens, heads, given=()):
    patterns = _patterns(model, tokens)
    less = _only(model, tokens, tuple(given), patterns)[1]
    more = _only(model, tokens, tuple(set(given) | set(heads)), patterns)[1]
    return _loss(less, tokens) - _loss(more, tokens)


def effect_unfrozen(model, tokens, heads, given=()):
    losses = []
    for keep in (set(given), set(given) | set(heads)):

        def kept(z, hook, keep=keep):
            own = [head for layer, head in keep if layer == hook.layer()]
            out = torch.zeros_like(z)
            out[:, :, own] = z[:, :, own]
            return out

        hooks = [(f"blocks.{layer}.attn.hook_z", kept) for layer in (0, 1)]
        losses.append(_loss(model.run_with_hooks(tokens, fwd_hooks=hooks), tokens))
    return losses[0] - losses[1]


MARGINAL_EFFECT = Check(
    name="marginal_effect",
    judge=judge_marginal_effect,
    hints=(
        "Compute two losses, without and with the heads, and subtract.",
        "For a set of heads, the stream is the embedding plus, for each head, pattern "
        "times embedding times W_V times W_O. No head reads what another one wrote.",
        '`moved = cache["pattern", layer][:, head] @ embed`, then `stream = stream + '
        "moved @ model.W_V[layer, head] @ model.W_O[layer, head]`. Use a set, so that "
        "no head is added twice, and return loss(given) - loss(given and heads).",
    ),
    mistakes=(
        Mistake(
            "sign",
            "Your sign is turned round: heads that lower the loss should have a "
            "positive effect.",
            effect_negative,
        ),
        Mistake(
            "counted twice",
            "A head that is in both lists is added twice. It is there or it is not.",
            effect_counted_twice,
        ),
        Mistake(
            "given ignored",
            "You compared with the direct path alone. The heads in `given` are there "
            "in both runs.",
            effect_alone,
        ),
        Mistake(
            "the other way round",
            "This is the effect of `given` when `heads` are there already.",
            effect_of_given,
        ),
        Mistake(
            "with pairs",
            "Your later heads also move what the earlier ones wrote. Only paths "
            "through at most one head count here, so every head reads the embedding.",
            effect_with_pairs,
        ),
        Mistake(
            "patterns not frozen",
            "You ran the model with some heads silenced, so the later patterns "
            "changed. Use the patterns of the whole model.",
            effect_unfrozen,
        ),
    ),
    passed=(
        "Checked for four pairs of sets against the model with heads silenced one by "
        "one. Effects of two sets need not add up to the effect of both: if two heads "
        "know the same thing, the second one adds little, whichever comes second."
    ),
)


# --- pattern_preserving_ablation ----------------------------------------------------


def judge_pattern_preserving_ablation(answer) -> None:
    cases = (
        (1, MORE_TOKENS, [(0, 0), (0, 2), (1, 1)]),
        (0, TOKENS, [(0, 1)]),
        (2, TOKENS, []),
    )
    for seed, ids, heads in cases:
        model, tokens = random_model(2, seed), torch.tensor(ids)
        batch, length = tokens.shape
        logits = expect.tensor(
            answer(model, tokens, heads), batch=batch, pos=length, d_vocab=13
        )
        expected = sum(
            term
            for path, term in _terms(model, tokens).items()
            if not set(path) & set(heads)
        )
        words = ", ".join(f"{a}.{b}" for a, b in heads) or "no heads"
        expect.close(
            logits,
            expected,
            f"Ablating {words} should leave the sum of all paths that do not pass "
            "through them.",
        )


def _silenced(model, tokens, heads, frozen=True, mean=False, keep=False) -> Tensor:
    patterns = _patterns(model, tokens)

    def as_told(pattern, hook):
        return patterns[hook.layer()]

    def silence(z, hook):
        out = z.clone()
        own = [head for layer, head in heads if layer == hook.layer()]
        if keep:
            own = [head for head in range(z.shape[2]) if head not in own]
        out[:, :, own] = z[:, :, own].mean((0, 1)) if mean else 0.0
        return out

    hooks = []
    for layer in range(model.cfg.n_layers):
        if frozen:
            hooks.append((f"blocks.{layer}.attn.hook_pattern", as_told))
        hooks.append((f"blocks.{layer}.attn.hook_z", silence))
    return model.run_with_hooks(tokens, fwd_hooks=hooks)


def ablation_not_frozen(model, tokens, heads):
    return _silenced(model, tokens, heads, frozen=False)


def ablation_by_mean(model, tokens, heads):
    return _silenced(model, tokens, heads, mean=True)


def ablation_of_others(model, tokens, heads):
    return _silenced(model, tokens, heads, keep=True)


def ablation_of_logits(model, tokens, heads):
    logits, cache = model.run_with_cache(tokens)
    for layer, head in heads:
        read = cache["resid_pre", layer]
        logits = logits - _moved(model, cache, layer, read)[head] @ model.W_U
    return logits


def ablation_of_one_path(model, tokens, heads):
    logits, cache = model.run_with_cache(tokens)
    for layer, head in heads:
        embed = cache["hook_embed"]
        logits = logits - _moved(model, cache, layer, embed)[head] @ model.W_U
    return logits


PATTERN_PRESERVING_ABLATION = Check(
    name="pattern_preserving_ablation",
    judge=judge_pattern_preserving_ablation,
    hints=(
        "Run the model twice. The first run only remembers the patterns.",
        "In the second run, two kinds of hooks: one forces each layer's pattern to be "
        "the remembered one, the other sets the output of the chosen heads to zero.",
        'Hook `blocks.{layer}.attn.hook_pattern` and return `cache["pattern", layer]`; '
        "hook `blocks.{layer}.attn.hook_z` [batch pos head d_head], clone it and set "
        "`[:, :, head]` of the chosen heads to 0. Then `model.run_with_hooks(tokens, "
        "fwd_hooks=hooks)`. A hook's layer is `hook.layer()`.",
    ),
    mistakes=(
        Mistake(
            "patterns not frozen",
            "You silenced the heads and let later patterns change. That is the full "
            "ablation. Here all heads attend as if nothing were missing.",
            ablation_not_frozen,
        ),
        Mistake(
            "mean",
            "You put the head's mean output in its place. Here it is zero.",
            ablation_by_mean,
        ),
        Mistake(
            "the other heads",
            "You silenced all heads but those in the list.",
            ablation_of_others,
        ),
        Mistake(
            "only the way to the logits",
            "You took away what the heads write straight to the logits. Later heads "
            "still move what these heads wrote; their values have to change too.",
            ablation_of_logits,
        ),
        Mistake(
            "only paths through one head",
            "You subtracted the paths that pass through these heads alone. Paths that "
            "pass through one of them and another head have to go too.",
            ablation_of_one_path,
        ),
    ),
    passed=(
        "Checked against the sum of all paths that avoid the heads. With the patterns "
        "fixed, taking a head away and striking out its paths are the same. What the "
        "head did for other heads' patterns stays."
    ),
)


# --- value_weighted_pattern ---------------------------------------------------------


def judge_value_weighted_pattern(answer) -> None:
    for layer, head, seed, ids in ((1, 2, 0, TOKENS), (0, 1, 1, MORE_TOKENS)):
        model, tokens = random_model(2, seed), torch.tensor(ids)
        batch, length = tokens.shape
        result = expect.tensor(
            answer(model, tokens, layer, head), batch=batch, query=length, key=length
        )
        expect.close(
            result.triu(1), 0 * result, "Your result looks at later positions."
        )
        _, cache = model.run_with_cache(tokens)
        pattern = cache["pattern", layer][:, head].tolist()
        values = cache["v", layer][:, :, head].tolist()
        expected = [
            [
                [
                    weight * math.hypot(*value)
                    for weight, value in zip(r, v, strict=True)
                ]
                for r in rows
            ]
            for rows, v in zip(pattern, values, strict=True)
        ]
        expect.close(
            result,
            torch.tensor(expected),
            "The weight of each key should be multiplied by the size of the value "
            "vector at that key.",
        )


def _weights_and_values(model, tokens, layer, head):
    _, cache = model.run_with_cache(tokens)
    return cache["pattern", layer][:, head], cache["v", layer][:, :, head], cache


def weighted_by_query(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * values.norm(dim=-1)[:, :, None]


def weighted_by_stream(model, tokens, layer, head):
    pattern, _, cache = _weights_and_values(model, tokens, layer, head)
    return pattern * cache["resid_pre", layer].norm(dim=-1)[:, None, :]


def weighted_by_output(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * (values @ model.W_O[layer, head]).norm(dim=-1)[:, None, :]


def weighted_and_normalised(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    weighted = pattern * values.norm(dim=-1)[:, None, :]
    return weighted / weighted.sum(-1, keepdim=True)


def weighted_by_square(model, tokens, layer, head):
    pattern, values, _ = _weights_and_values(model, tokens, layer, head)
    return pattern * values.pow(2).sum(-1)[:, None, :]


def not_weighted(model, tokens, layer, head):
    return _weights_and_values(model, tokens, layer, head)[0]


VALUE_WEIGHTED_PATTERN = Check(
    name="value_weighted_pattern",
    judge=judge_value_weighted_pattern,
    hints=(
        "Attention to a key moves nothing if the value there is zero. Multiply each "
        "weight by the size of what would be moved.",
        'The cache has the values as `cache["v", layer]` [batch pos head d_head]. '
        "Their "
        "norms belong to keys, so they multiply columns of the pattern.",
        '`sizes = cache["v", layer][:, :, head].norm(dim=-1)`, and '
        '`cache["pattern", layer][:, head] * sizes[:, None, :]`.',
    ),
    mistakes=(
        Mistake(
            "value of the query",
            "You used the values at the query. What is moved comes from the key, so "
            "the sizes belong to the columns.",
            weighted_by_query,
        ),
        Mistake(
            "the stream",
            "You used the size of the stream. The head moves only what W_V reads from "
            "it.",
            weighted_by_stream,
        ),
        Mistake(
            "after W_O",
            "You used the size of the value after W_O. That is a sensible measure too, "
            "and Kobayashi et al. prefer it, but the paper scales by the value vector.",
            weighted_by_output,
        ),
        Mistake(
            "normalised",
            "You made the rows sum to 1 again. Then a head that moves nothing would "
            "look as busy as any other.",
            weighted_and_normalised,
        ),
        Mistake(
            "squared",
            "You used the squared size. Take the root.",
            weighted_by_square,
        ),
        Mistake(
            "not weighted",
            "This is the plain pattern. Multiply it by the sizes of the values.",
            not_weighted,
        ),
    ),
    passed=(
        "Checked entry by entry for a head of each layer. A head that has nothing to "
        "do still has to put its attention somewhere; if the value there is small, "
        "little is moved, and the weighted pattern shows it."
    ),
)


CHECKS = (
    TWO_LAYER_PATH_TERMS,
    VIRTUAL_HEAD,
    SCORE_PATH_TERMS,
    COMPOSITION_SCORE,
    Q_COMPOSITION,
    K_COMPOSITION,
    V_COMPOSITION,
    RANDOM_COMPOSITION,
    CYCLIC_COMPOSITION_SCORE,
    TERM_IMPORTANCE,
    MARGINAL_EFFECT,
    PATTERN_PRESERVING_ABLATION,
    VALUE_WEIGHTED_PATTERN,
)


PREDICTIONS = (
    Prediction(
        name="number_of_paths",
        question=(
            "A model has two layers of 8 heads. A path leads from a token to the "
            "logits and passes through at most one head of each layer. How many paths "
            "are there, and how many of them have weights of their own?"
        ),
        choices=(
            Choice(
                "17 paths, and all have weights of their own.",
                "That counts the direct path and 16 heads. A head of layer 1 can also "
                "move what a head of layer 0 wrote, and that is a path too.",
            ),
            Choice(
                "81 paths; the 64 through two heads have no weights of their own.",
                "1 + 16 + 64. A path through two heads uses the weights of both, which "
                "are there already.",
            ),
            Choice(
                "81 paths, each with weights of its own.",
                "The number is right. But the model has 16 heads' weights and no more; "
                "the 64 pairs use them again.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="two_steps_back",
        question=(
            "Head 0.1 attends to the previous position, and so does head 1.0. Where "
            "does the virtual head made of both look?"
        ),
        choices=(
            Choice(
                "At the previous position.",
                "Each of the two steps goes one back, and the second starts where the "
                "first ended.",
            ),
            Choice(
                "Half at the previous position, half at the one before.",
                "That would be two heads side by side. One after the other, both steps "
                "are taken.",
            ),
            Choice(
                "Two positions back.",
                "Head 1.0 fetches from p - 1 what head 0.1 had fetched from p - 2.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="composition_kind",
        question=(
            "Head 0.1 writes at each position which token came before it. Head 1.0 "
            "looks for a position whose previous token equals the current token. On "
            "which side does head 1.0 read what head 0.1 wrote?"
        ),
        choices=(
            Choice(
                "In its query.",
                "The query says what is looked for, here the current token, and that "
                "is the embedding at the place itself.",
            ),
            Choice(
                "In its key.",
                "The key says what a position has to offer: I come after that token. "
                "This is K-composition, and the next chapter is about it.",
            ),
            Choice(
                "In its value.",
                "The value is what is moved once the place is found. Finding it is a "
                "matter of query and key.",
            ),
        ),
        right=1,
    ),
    Prediction(
        name="score_by_chance",
        question=(
            "Take two heads with random weights in a stream of d_model = 256. What is "
            "their composition score, roughly?"
        ),
        choices=(
            Choice(
                "0, because they know nothing of each other.",
                "Random directions in a space of 256 dimensions are nearly orthogonal, "
                "but not quite.",
            ),
            Choice(
                "1/256.",
                "That is the share of a random vector's squared length that lies in a "
                "given direction. The score is a ratio of lengths, so take the root.",
            ),
            Choice(
                "1/16.",
                "The root of 1/256. This is the floor that every score has to be "
                "compared with.",
            ),
            Choice(
                "1/2.",
                "Half would mean that one head reads most of what the other one "
                "writes.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="round_the_corner",
        question=(
            "In a product of four matrices, the last factor is moved to the front. "
            "Which of these can change?"
        ),
        choices=(
            Choice(
                "The trace.",
                "tr(ABCD) = tr(DABC): the trace does not notice.",
            ),
            Choice(
                "The non-zero eigenvalues.",
                "If ABCD v = c v, then DABC (D v) = c (D v): they stay.",
            ),
            Choice(
                "The Frobenius norm.",
                "It can. The norm is the root of the trace of M M^T, and that is "
                "another product, with each factor twice.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="worth_of_pairs",
        question=(
            "Of the 81 paths, 64 pass through two heads. What share of the way from a "
            "uniform guess to the model's loss do you expect these 64 to bring, when "
            "the patterns are held fixed?"
        ),
        choices=(
            Choice(
                "Most of it: they are the great majority.",
                "They are many, but each of them is a product of two narrow matrices "
                "that were mostly trained for something else.",
            ),
            Choice(
                "About half.",
                "It is less. The direct path and the single heads do nearly all of the "
                "work.",
            ),
            Choice(
                "A tenth or less.",
                "In the paper it was 0.3 of 7.3 nats. Run the cells below for the two "
                "models here.",
            ),
        ),
        right=2,
    ),
    Prediction(
        name="heads_of_layer_0",
        question=(
            "All heads of layer 0 are silenced. Once, all patterns are held as they "
            "were; once, layer 1 computes its patterns anew. When does the loss rise "
            "more?"
        ),
        choices=(
            Choice(
                "With the patterns held.",
                "Then layer 1 still knows where to look, because the patterns were "
                "made with layer 0's help.",
            ),
            Choice(
                "With new patterns.",
                "Part of what layer 0 does is to tell layer 1 where to look. Held "
                "patterns keep that part.",
            ),
            Choice(
                "It makes no difference.",
                "It would make none if layer 1 did not read layer 0 in its queries and "
                "keys.",
            ),
        ),
        right=1,
    ),
)
