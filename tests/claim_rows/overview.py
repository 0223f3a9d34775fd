"""Rows F-10 to F-23: the identities of the paper's overview, on the shipped models."""

import math
import statistics
import time
from functools import cache

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from solutions.ch0_toolbox import attention_pattern, head_outputs
from solutions.ch1_residual_stream import (
    decompose_residual,
    head_as_tensor_product,
    ov_matrix,
    qk_matrix,
    reparametrise_head,
    rotate_basis,
    virtual_weight,
)
from solutions.ch3_one_layer import svd_of_product
from tests.claim_rows import Claim
from tests.claim_rows.shared import pair_vocab, rows, shipped
from utils.models.attention_only import AttentionOnlyConfig, AttentionOnlyTransformer
from utils.models.handmade import with_weights

__all__ = ["CLAIMS"]

NAME = "two_layer"


def text(length: int = 40) -> Tensor:
    """Three held-out rows."""
    return rows("heldout", d_vocab=pair_vocab())[5:8, :length]


def relative(one: Tensor, two: Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    return ((one - two).abs().max() / two.abs().max()).item()


# --- the architecture by hand (F-10, F-11, F-18) ------------------------------------

MATRICES = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")
Weights = dict[str, Tensor]


def by_hand(tokens: Tensor, w: Weights, biases: Weights) -> Tensor:
    """The logits of one row, head by head and place by place; a bias may be absent."""
    n_layers, n_heads, _, d_head = w["W_Q"].shape

    def bias(name: str, *place: int) -> Tensor | float:
        return biases[name][place] if name in biases else 0.0

    stream = w["W_E"][tokens]
    for layer in range(n_layers):
        written = torch.zeros_like(stream) + bias("b_O", layer)
        placed = stream + w["W_pos"][: len(tokens)]
        for head in range(n_heads):
            q, k, v = (
                x @ w[f"W_{name}"][layer, head] + bias(f"b_{name}", layer, head)
                for name, x in (("Q", placed), ("K", placed), ("V", stream))
            )
            for i in range(len(tokens)):
                scores = [q[i] @ k[j] / math.sqrt(d_head) for j in range(i + 1)]
                weights = torch.stack(scores).exp()
                mixed = weights @ v[: i + 1] / weights.sum()
                written[i] += mixed @ w["W_O"][layer, head]
        stream = stream + written
    return stream @ w["W_U"] + bias("b_U", slice(None))


def exact_weights(name: str) -> Weights:
    """The weights of a shipped model in float64."""
    return {each: getattr(shipped(name), each).double() for each in MATRICES}


def forward_by_hand() -> dict[str, float]:
    errors, largest = [], 0.0
    for name in ("one_layer", NAME):
        model = shipped(name)
        some = rows("heldout", d_vocab=model.cfg.d_vocab)[5:6, :24]
        logits = model(some)[0]
        hand = by_hand(some[0], exact_weights(name), {})
        errors.append((hand - logits).abs().max().item())
        largest = max(largest, logits.abs().max().item())
    return {"error": max(errors), "largest": largest}


def random_biases(w: Weights) -> Weights:
    """Biases as large as what they are added to, so that forgetting one shows."""
    generator = torch.Generator().manual_seed(0)
    _, n_heads, d_model, d_head = w["W_Q"].shape
    shapes = {name: (1, n_heads, d_head) for name in ("b_Q", "b_K", "b_V")}
    shapes |= {"b_O": (1, d_model), "b_U": (w["W_U"].shape[1],)}
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }


def fold(w: Weights, biases: Weights) -> AttentionOnlyTransformer:
    """A one-layer model without biases, and with one dimension that is always 1.

    The embedding writes the 1, nothing else touches it, and whoever reads has its bias
    in the new row. W_O reads no stream, so its bias waits for the unembedding.
    """
    (_, n_heads, d_model, d_head), n_ctx = w["W_Q"].shape, len(w["W_pos"])
    d_vocab = len(w["W_E"])
    config = AttentionOnlyConfig(1, d_vocab, d_model + 1, n_heads, d_head, n_ctx)
    network = AttentionOnlyTransformer(config).double().eval()
    ones, attn = torch.ones(d_vocab, 1), network.layers[0].attn
    network.tok_embed.weight.copy_(torch.cat([w["W_E"], ones], 1))
    network.pos.weight.copy_(torch.cat([w["W_pos"], torch.zeros(n_ctx, 1)], 1))
    for name in "QKV":
        matrix = torch.cat([w[f"W_{name}"][0], biases[f"b_{name}"][0][:, None]], 1)
        rows_ = matrix.transpose(1, 2).flatten(0, 1)
        attn.get_submodule(name.lower()).weight.copy_(rows_)
    written = w["W_O"][0].flatten(0, 1)
    attn.o.weight.copy_(torch.cat([written, torch.zeros(len(written), 1)], 1).T)
    last = biases["b_O"] @ w["W_U"] + biases["b_U"]
    network.head.weight.copy_(torch.cat([w["W_U"], last]).T)
    return network


def biases_fold() -> dict[str, float]:
    """F-10, and what is left of each bias: how far from one constant row of logits."""
    w = exact_weights("one_layer")
    biases = random_biases(w)
    some = rows("heldout")[5, :12]
    plain, biased = by_hand(some, w, {}), by_hand(some, w, biases)
    spread = {}
    for name in biases:
        change = by_hand(some, w, {name: biases[name]}) - plain
        spread[name] = (change - change.mean(0)).abs().max().item()
    only_b_K = by_hand(some, w, {"b_K": biases["b_K"]}) - plain
    return {
        "error": (fold(w, biases)(some[None])[0] - biased).abs().max().item(),
        "moved": (biased - plain).abs().max().item(),
        "constant": max(spread[name] for name in ("b_V", "b_O", "b_U")),
        "query": spread["b_Q"],
        "key": only_b_K.abs().max().item(),
    }


def three_steps() -> dict[str, float]:
    """Values, their mixture, what is written: each step against the library's own."""
    model, errors = shipped(NAME), []
    _, cache = model.run_with_cache(text())
    heads, last = model.cfg.n_heads, model.cfg.n_layers
    # The library's heads come layer after layer: all heads of 0, then all of 1.
    theirs = cache.stack_head_results(last)
    for layer in range(last):
        stream, pattern = cache["resid_pre", layer], cache["pattern", layer]
        for head in range(heads):
            values = stream @ model.W_V[layer, head]
            mixed = torch.zeros_like(values)
            for i in range(mixed.shape[1]):
                for j in range(i + 1):
                    mixed[:, i] += pattern[:, head, i, j, None] * values[:, j]
            written = mixed @ model.W_O[layer, head]
            errors += [
                relative(values, cache["v", layer][:, :, head]),
                relative(mixed, cache["z", layer][:, :, head]),
                relative(written, theirs[layer * heads + head]),
            ]
    return {"error": max(errors)}


# --- the residual stream (F-12 to F-16) ---------------------------------------------


def residual_sum() -> dict[str, float]:
    model = shipped(NAME)
    _, cache = model.run_with_cache(text())
    last = cache[f"blocks.{model.cfg.n_layers - 1}.hook_resid_post"]
    return {"error": relative(decompose_residual(model, text()).sum(0), last)}


def rotated() -> dict[str, float]:
    model = shipped(NAME)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(model.cfg.d_model, model.cfg.d_model, generator=generator)
    turned = with_weights(model, rotate_basis(model, torch.linalg.qr(noise)[0]))
    moved = (turned.W_E - model.W_E).abs().max().item()
    return {"error": relative(turned(text()), model(text())), "moved": moved}


def through_virtual_weight() -> dict[str, float]:
    """What head 0.3 adds to the keys of head 1.0, by matrix and by silencing it."""
    model = shipped(NAME)
    _, cache = model.run_with_cache(text())
    pattern = cache["blocks.0.attn.hook_pattern"][:, 3]
    mixed = pattern @ cache["hook_embed"]
    added = mixed @ virtual_weight(model, (0, 3), (1, 0), "k").AB

    def silence(z: Tensor, hook) -> Tensor:
        return z.index_fill(2, torch.tensor([3]), 0.0)

    with model.hooks(fwd_hooks=[("blocks.0.attn.hook_z", silence)]):
        _, without = model.run_with_cache(text())
    name = "blocks.1.attn.hook_k"
    return {"error": relative(added, (cache[name] - without[name])[:, :, 0])}


def bandwidth() -> dict[str, float]:
    """Share of variance in the top half of the directions, and of random vectors."""
    model = shipped("one_layer")
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(model.W_E.shape, generator=generator)
    tables = {"W_E": model.W_E, "W_U": model.W_U.T, "null": noise}
    shares = {}
    for name, table in tables.items():
        variance = torch.linalg.svdvals(table - table.mean(0)) ** 2
        half = len(variance) // 2
        shares[name] = (variance[:half].sum() / variance.sum()).item()
    return shares


def erasing_heads() -> dict[str, float]:
    """Heads that attend to the present token and write its opposite."""
    found = total = 0
    for name in ("one_layer", NAME):
        model = shipped(name)
        some = rows("heldout", d_vocab=model.cfg.d_vocab)[5:8, :40]
        _, cache = model.run_with_cache(some)
        for layer in range(model.cfg.n_layers):
            itself = cache["pattern", layer].diagonal(0, -2, -1).mean((0, 2))
            for head in range(model.cfg.n_heads):
                values = ov_matrix(model, layer, head).eigenvalues
                share = (values.sum() / values.abs().sum()).real
                found += bool(share < -0.5 and itself[head] > 0.5)
                total += 1
    return {"found": found, "total": total}


def heads_add_up() -> dict[str, float]:
    model = shipped(NAME)
    _, cache = model.run_with_cache(text())
    errors = [
        relative(head_outputs(model, text(), layer).sum(2), cache["attn_out", layer])
        for layer in range(model.cfg.n_layers)
    ]
    return {"error": max(errors)}


def tensor_product() -> dict[str, float]:
    model = shipped(NAME)
    _, cache = model.run_with_cache(text(6)[:1])
    pattern = cache["blocks.0.attn.hook_pattern"][0, 3]
    stream, ov = cache["hook_embed"][0], ov_matrix(model, 0, 3).AB
    product = head_as_tensor_product(pattern, ov) @ stream.flatten()
    head = head_outputs(model, text(6)[:1], 0)[0, :, 3]
    return {"error": relative(product, head.flatten())}


def pattern_formula() -> dict[str, float]:
    model = shipped(NAME)
    _, cache = model.run_with_cache(text())
    errors = [
        (
            attention_pattern(model, text(), layer, head)
            - cache["pattern", layer][:, head]
        )
        .abs()
        .max()
        .item()
        for layer in range(model.cfg.n_layers)
        for head in range(model.cfg.n_heads)
    ]
    return {"error": max(errors)}


def only_products_matter() -> dict[str, float]:
    model = shipped(NAME)
    d_head = model.cfg.d_head
    generator = torch.Generator().manual_seed(1)
    change = torch.randn(d_head, d_head, generator=generator) + 6 * torch.eye(d_head)
    weights = {name: getattr(model, name).clone() for name in ("W_V", "W_O")}
    new = reparametrise_head(model, 0, 3, change)
    weights["W_V"][0, 3], weights["W_O"][0, 3] = new
    other = with_weights(model, weights)
    ranks = [
        torch.linalg.matrix_rank(matrix(model, 0, 3).AB.double(), rtol=1e-5).item()
        for matrix in (ov_matrix, qk_matrix)
    ]
    error = relative(other(text()), model(text()))
    return {"error": error, "rank": max(ranks), "d_head": d_head}


# --- what factors are good for (F-21, F-23) -----------------------------------------


def factored_and_full(d_model: int, d_head: int, n: int) -> tuple[float, float]:
    """How many times fewer operations and less time two narrow matrices take.

    Both ways move `n` vectors of the stream through one W_OV. Operations are counted
    by PyTorch; times are medians of seven runs that take turns.
    """
    generator = torch.Generator().manual_seed(0)
    shapes = ((n, d_model), (d_model, d_head), (d_head, d_model))
    x, W_V, W_O = (torch.randn(shape, generator=generator) for shape in shapes)
    W_OV = W_V @ W_O
    ways = (lambda: x @ W_OV, lambda: x @ W_V @ W_O)
    operations, seconds = [], ([], [])
    for way in ways:
        with FlopCounterMode(display=False) as counter:
            way()
        operations.append(counter.get_total_flops())
    for _ in range(7):
        for way, kept in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            way()
            kept.append(time.perf_counter() - start)
    full, factored = map(statistics.median, seconds)
    return operations[0] / operations[1], full / factored


def inefficiency() -> dict[str, float]:
    """At this model's sizes, and at those of the paper's larger model."""
    cfg = shipped(NAME).cfg
    fewer, faster = factored_and_full(cfg.d_model, cfg.d_head, 4096)
    fewer_large, faster_large = factored_and_full(4096, 128, 256)
    return {
        "fewer": fewer,
        "faster": faster,
        "fewer_large": fewer_large,
        "faster_large": faster_large,
    }


@cache
def truncated(kept: tuple[int, ...]) -> float:
    """Typical error of a logit when all heads keep these singular directions only.

    All W_OV of the one-layer model are cut at once. The error is the root mean square
    over logits, as a share of what the heads add to them; constants are taken off.
    """
    model = shipped("one_layer")
    some = rows("heldout")[5:8, :40]
    W_V, W_O = torch.zeros_like(model.W_V), torch.zeros_like(model.W_O)
    for head in range(model.cfg.n_heads):
        U, S, V = svd_of_product(model.W_V[0, head], model.W_O[0, head])
        for i in kept:
            W_V[0, head, :, i] = U[:, i] * S[i]
            W_O[0, head, i] = V[:, i]
    cut = with_weights(model, {"W_V": W_V, "W_O": W_O})
    silent = with_weights(model, {"W_V": 0 * W_V})
    logits, cut, silent = (
        (x - x.mean(-1, keepdim=True))[:, 1:]
        for x in (each(some) for each in (model, cut, silent))
    )
    return ((cut - logits).norm() / (silent - logits).norm()).item()


def singular_truncation() -> dict[str, float]:
    full = shipped("one_layer").cfg.d_head
    sizes = {"quarter": full // 4, "half": full // 2, "all": full}
    numbers = {name: truncated(tuple(range(k))) for name, k in sizes.items()}
    numbers["one"] = truncated((0,))
    numbers["least"] = truncated(tuple(range(full // 2, full)))
    model = shipped("one_layer")
    values = torch.linalg.svdvals(model.W_V[0] @ model.W_O[0])[:, :full]
    return numbers | {"spread": (values[:, 0] / values[:, -1]).max().item()}


def identity(row: str, statement: str, measure, limit: float, reason: str) -> Claim:
    """A row whose paper value is an equality."""
    return Claim(
        row=row,
        statement=statement,
        paper="equality",
        measure=measure,
        ours="largest relative difference {error:.1e}",
        conditions={f"below {limit:g}": lambda n: n["error"] < limit},
        reason=reason,
        needs=(NAME,),
    )


CLAIMS = (
    Claim(
        row="F-10",
        statement="Leaving out biases loses nothing: one dimension that is always 1 "
        "holds them, and most are a bias on the logits.",
        paper="foldable; mostly logit biases",
        measure=biases_fold,
        ours="folded, the largest error is {error:.1e} where biases move logits by up "
        "to {moved:.0f}; b_V, b_O, b_U add one row of logits everywhere (to "
        "{constant:.0e}), b_K nothing ({key:.0e}); b_Q differs by up to {query:.1f}",
        conditions={
            "folded, below 1e-4": lambda n: n["error"] < 1e-4,
            "the biases matter": lambda n: n["moved"] > 1,
            "b_V, b_O, b_U are a logit bias": lambda n: n["constant"] < 1e-8,
            "b_K changes nothing": lambda n: n["key"] < 1e-8,
        },
        reason="Rows of a pattern sum to 1, so b_V passes through; b_K adds the same "
        "to all keys of a query. Only b_Q prefers some keys.",
        needs=("one_layer",),
        rests_on="draws",
    ),
    Claim(
        row="F-11",
        statement="Embed, add what the heads write layer by layer, unembed: that is "
        "the whole model.",
        paper="equations",
        measure=forward_by_hand,
        ours="written out in loops: largest difference {error:.1e}, logits up to "
        "{largest:.0f}",
        conditions={"below 1e-4": lambda n: n["error"] < 1e-4},
        reason="The loops use float64, the models float32, and that is the difference.",
        needs=("one_layer", NAME),
    ),
    identity(
        "F-12",
        "The residual stream is the sum of the embedding and all head outputs.",
        residual_sum,
        1e-5,
        "Nothing else writes to the stream.",
    ),
    Claim(
        row="F-13",
        statement="The stream has no privileged basis: rotating every matrix that "
        "touches it changes no logit.",
        paper="equality",
        measure=rotated,
        ours="relative difference {error:.1e}, embeddings moved by up to {moved:.1f}",
        conditions={
            "below 1e-4": lambda n: n["error"] < 1e-4,
            "the embeddings did move": lambda n: n["moved"] > 0.1,
        },
        reason="There is no LayerNorm, and all maps are linear.",
        needs=(NAME,),
        rests_on="draws",
    ),
    identity(
        "F-14",
        "Virtual weights couple heads of different layers.",
        through_virtual_weight,
        1e-4,
        "Head 0.3 into the keys of head 1.0, against silencing head 0.3.",
    ),
    Claim(
        row="F-15",
        statement="Embeddings use a small part of the directions of the stream.",
        paper="a small fraction, in large models",
        measure=bandwidth,
        ours="variance in the top half of the directions: W_E {W_E:.2f}, W_U "
        "{W_U:.2f}, random {null:.2f}",
        conditions={
            "W_E at least 0.05 above random": lambda n: n["W_E"] > n["null"] + 0.05,
            "W_U at least 0.05 above random": lambda n: n["W_U"] > n["null"] + 0.05,
        },
        reason="With 256 directions the effect is weaker than the paper's.",
        needs=("one_layer",),
        rests_on="draws",
    ),
    Claim(
        row="F-16",
        statement="Some heads erase what stands at their own position.",
        paper="hints; no number",
        measure=erasing_heads,
        ours="{found:.0f} of {total:.0f} heads",
        conditions={"at least one": lambda n: n["found"] >= 1},
        reason="Two small models without MLPs have little to tidy up.",
        expected="not reproduced",
        needs=("one_layer", NAME),
    ),
    identity(
        "F-17",
        "Heads are independent and additive.",
        heads_add_up,
        1e-5,
        "W_O splits into one block per head.",
    ),
    identity(
        "F-18",
        "A head takes three steps: values, their mixture by the pattern, the output.",
        three_steps,
        1e-5,
        "Every head, each step in plain loops against the library's value, z, result.",
    ),
    identity(
        "F-19",
        "With its pattern fixed, a head is the tensor product of A and W_OV.",
        tensor_product,
        1e-5,
        "Head 0.3 on six tokens, against the head's real output.",
    ),
    identity(
        "F-20",
        "The pattern is a softmax of x W_QK x, scaled by the root of d_head.",
        pattern_formula,
        1e-4,
        "All heads, causal mask included; the paper leaves out the scale.",
    ),
    Claim(
        row="F-21",
        statement="Multiplying by the full W_OV is far slower than by its two factors.",
        paper="no number",
        measure=inefficiency,
        ours="{fewer:.0f} times fewer operations, {faster:.1f} times faster at this "
        "model's sizes; {fewer_large:.0f} and {faster_large:.1f} times at d_model 4096 "
        "and d_head 128",
        conditions={
            "fewer operations here": lambda n: n["fewer"] > 1,
            "fewer operations at the paper's sizes": lambda n: n["fewer_large"] > 1,
            "faster at the paper's sizes": lambda n: n["faster_large"] > 1,
        },
        reason="The ratio of operations is d_model / (2 d_head); the time depends on "
        "the machine, and small products are too short to judge by it.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-22",
        statement="W_Q, W_K and W_V, W_O act only as pairs, of rank d_head at most.",
        paper="equality",
        measure=only_products_matter,
        ours="relative difference {error:.1e} with other W_V, W_O; rank {rank:.0f}",
        conditions={
            "below 1e-4": lambda n: n["error"] < 1e-4,
            "rank at most d_head": lambda n: n["rank"] <= n["d_head"],
        },
        reason="Any invertible matrix between W_V and W_O cancels.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-23",
        statement="The singular directions of W_OV say what a head reads and where it "
        "writes: d_head of them are all there is, the largest matter most.",
        paper="a way to read W_OV; no number",
        measure=singular_truncation,
        ours="share of the heads' effect on the logits that is lost with 1, 8, 16, 32 "
        "of 32 directions: {one:.2f}, {quarter:.2f}, {half:.2f}, {all:.0e}; with the "
        "16 smallest {least:.2f}; the largest singular value is at most {spread:.1f} "
        "times the smallest",
        conditions={
            "exact with d_head": lambda n: n["all"] < 1e-4,
            "more directions, less error": lambda n: (
                n["one"] > n["quarter"] > n["half"] > n["all"]
            ),
            "the larger half loses less than the smaller": lambda n: (
                n["half"] < n["least"]
            ),
        },
        reason="Muon trains all directions of a matrix at one speed, so the singular "
        "values hardly differ, and no few of them carry a head. All heads are cut at "
        "once.",
        expected="partly",
        needs=("one_layer",),
    ),
)
