"""Rows F-68 to F-71 and F-149: copying, by eigenvalues and otherwise, in one layer."""

import time
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from solutions.ch3_one_layer import (
    copying_score,
    copying_top1,
    full_ov_circuit,
    ov_eigenvalues,
    svd_of_product,
)
from tests.claim_rows import Claim
from tests.claim_rows.one_layer import NAME, heads, model
from tests.claim_rows.shared import count
from utils.models.handmade import with_weights

__all__ = ["CLAIMS"]

RANDOM_SEEDS = range(6)


@cache
def random_heads(seed: int):
    """The shipped model with W_V and W_O drawn: random heads between trained ends.

    As large as the trained ones, and with the same W_E and W_U: what those two alone
    bring into a score is in the null too.
    """
    generator = torch.Generator().manual_seed(seed)
    return with_weights(
        model(),
        {
            name: weight.std() * torch.randn(weight.shape, generator=generator)
            for name, weight in (("W_V", model().W_V), ("W_O", model().W_O))
        },
    )


@cache
def scores(
    centred: bool = False,
) -> tuple[Float[Tensor, "head"], Float[Tensor, "null"]]:
    """Copying scores of the shipped model and of random heads."""
    null = [
        copying_score(random_heads(seed), 0, head, centred)
        for seed in RANDOM_SEEDS
        for head in heads()
    ]
    return trained_scores(centred), torch.tensor(null)


@cache
def trained_scores(centred: bool = False) -> Float[Tensor, "head"]:
    return torch.tensor([copying_score(model(), 0, head, centred) for head in heads()])


def copying() -> dict[str, float]:
    numbers = {"heads": len(heads()), "nulls": len(RANDOM_SEEDS) * len(heads())}
    for name, centred in (("raw", False), ("centred", True)):
        trained, null = scores(centred)
        numbers[f"{name}_mean"] = null.mean().item()
        numbers[f"{name}_error"] = (null.std() / len(null) ** 0.5).item()
        numbers[f"{name}_null"] = null.max().item()
        numbers[f"{name}_above"] = count(trained > null.max())
        numbers[f"{name}_n"] = count(trained > 0.5)
        numbers[f"{name}_largest"] = trained.abs().max().item()
    return numbers


def right_of_zero(each, head: int) -> float:
    """The share of the sum of absolute eigenvalues that lies right of zero."""
    values = ov_eigenvalues(each, 0, head)
    return (values.abs()[values.real > 0].sum() / values.abs().sum()).item()


def spectrum() -> dict[str, float]:
    """The copying head with the highest score, and all random heads."""
    null = [
        right_of_zero(random_heads(seed), head)
        for seed in RANDOM_SEEDS
        for head in heads()
    ]
    return {
        "right": right_of_zero(model(), int(scores()[0].argmax())),
        "null": sum(null) / len(null),
        "most": max(null),
        "nulls": len(null),
    }


def rank_correlation(x: Tensor, y: Tensor) -> float:
    ranks = torch.stack([each.argsort().argsort().float() for each in (x, y)])
    return torch.corrcoef(ranks)[0, 1].item()


def two_measures() -> dict[str, float]:
    trained, _ = scores()
    top1 = torch.tensor([copying_top1(model(), 0, head) for head in heads()])
    high = trained > 0.5
    best = full_ov_circuit(model(), 0, int(trained.argmax()))
    diagonal = (best.A * best.B.T).sum(1)
    total = ov_eigenvalues(model(), 0, int(trained.argmax())).sum().real
    return {
        "correlation": rank_correlation(trained, top1),
        "within": rank_correlation(trained[high], top1[high]),
        "high": count(high),
        "trace": abs((total - diagonal.sum()) / total).item(),
        "lower": (diagonal < 0).float().mean().item(),
        "score": trained.max().item(),
        "top1": top1.max().item(),
    }


def low_rank_tools() -> dict[str, float]:
    circuit = full_ov_circuit(model(), 0, int(trained_scores().argmax()))
    a, b = circuit.A[:1000].double(), circuit.B[:, :1000].double()
    start = time.perf_counter()
    dense = torch.linalg.svdvals(a @ b)[: a.shape[1]]
    middle = time.perf_counter()
    _, S, _ = svd_of_product(a, b)
    ratio = (middle - start) / (time.perf_counter() - middle)
    small, large = torch.linalg.eigvals(b @ a), torch.linalg.eigvals(a @ b)
    large = large[large.abs().argsort(descending=True)[: len(small)]]
    nearest = (small[:, None] - large).abs().amin(1) / small.abs()
    error = ((S - dense) / dense).abs().max()
    return {
        "singular": error.item(),
        "eigen": nearest.max().item(),
        "ratio": ratio,
    }


CLAIMS = (
    Claim(
        row="F-68",
        statement="The copying score is a number between -1 and 1 whose mean over "
        "random heads is 0.",
        paper="formula",
        measure=copying,
        ours="{nulls:.0f} random heads {raw_mean:+.3f} (standard error "
        "{raw_error:.3f}), with W_U centred {centred_mean:+.3f} ({centred_error:.3f}); "
        "largest trained {raw_largest:.2f} and {centred_largest:.2f}",
        conditions={
            "within [-1, 1]": lambda n: (
                max(n["raw_largest"], n["centred_largest"]) <= 1
            ),
            "mean within 3 standard errors of 0": lambda n: (
                abs(n["raw_mean"]) < 3 * n["raw_error"]
            ),
            "and with W_U centred": lambda n: (
                abs(n["centred_mean"]) < 3 * n["centred_error"]
            ),
        },
        reason="A random W_V is as likely as its negative, which turns the score's "
        "sign. Random are W_V and W_O only, between the trained W_E and W_U.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-69",
        statement="Most heads of a one-layer model copy (score above 0.5).",
        paper="10 of 12 heads (0.83)",
        measure=copying,
        ours="{raw_n:.0f} of {heads:.0f} heads; {raw_above:.0f} score above all "
        "{nulls:.0f} random heads (at most {raw_null:.2f}), {centred_above:.0f} with "
        "W_U centred (at most {centred_null:.2f})",
        conditions={
            "at least half": lambda n: n["raw_n"] >= n["heads"] / 2,
            "at least half above all random heads": lambda n: (
                n["raw_above"] >= n["heads"] / 2
            ),
            "at least half, centred": lambda n: n["centred_above"] >= n["heads"] / 2,
        },
        reason="Copying is the most a single layer can do with the context. Raw, some "
        "random heads reach 0.5 by chance; centred, they stay near 0.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-70",
        statement="A copying head's eigenvalues lie right of zero, random ones all "
        "around it.",
        paper="figure",
        measure=spectrum,
        ours="{right:.2f} of the sum of absolute values lies right of zero; "
        "{nulls:.0f} random heads {null:.2f} on average, at most {most:.2f}",
        conditions={
            "at least 0.9 trained": lambda n: n["right"] >= 0.9,
            "about half at random": lambda n: 0.4 < n["null"] < 0.6,
            "no random head has as much": lambda n: n["most"] < n["right"],
        },
        reason="Shown for the head with the highest score.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-71",
        statement="The score agrees with the diagonal on which heads copy, and does "
        "not speak for each token.",
        paper="limits named, no number",
        measure=two_measures,
        ours="rank correlation with top-1 copying {correlation:.2f} over all heads, "
        "{within:.2f} within the {high:.0f} above 0.5; trace identity {trace:.0e}; at "
        "score {score:.2f}, {lower:.0%} of tokens lower themselves and at most "
        "{top1:.0%} are on top",
        conditions={
            "rank correlation above 0.5": lambda n: n["correlation"] > 0.5,
            "and within the heads above 0.5": lambda n: n["within"] > 0.5,
            "trace identity below 1e-4": lambda n: n["trace"] < 1e-4,
        },
        expected="partly",
        reason="Both tell copying heads from others. Among those that copy they rank "
        "differently: the sum of eigenvalues is the sum of the diagonal, so it "
        "averages over tokens.",
        needs=(NAME,),
        rests_on="draws",
    ),
    Claim(
        row="F-149",
        statement="Singular values and eigenvalues of a product come from its small "
        "factors.",
        paper="eigenvalues of AB are those of BA",
        measure=low_rank_tools,
        ours="relative errors {singular:.0e} and {eigen:.0e}, {ratio:.0f} times faster",
        conditions={
            "singular values within 1e-4": lambda n: n["singular"] < 1e-4,
            "eigenvalues within 1e-4": lambda n: n["eigen"] < 1e-4,
        },
        reason="Measured on 1,000 tokens in float64; the time depends on the machine.",
        needs=(NAME,),
    ),
)
