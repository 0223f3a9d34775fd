"""Rows F-12 to F-22: the identities of the paper's overview, on the shipped models."""

import torch
from torch import Tensor

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
from tests.claim_rows import Claim
from tests.claim_rows.shared import pair_vocab, rows, shipped
from utils.handmade import with_weights

__all__ = ["CLAIMS"]

NAME = "two_layer"


def text(length: int = 40) -> Tensor:
    """Three held-out rows."""
    return rows("heldout", d_vocab=pair_vocab())[5:8, :length]


def relative(one: Tensor, two: Tensor) -> float:
    """The largest difference, as a share of the largest entry."""
    return ((one - two).abs().max() / two.abs().max()).item()


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
    ),
)
