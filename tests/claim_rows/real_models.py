"""Rows F-140, F-141 and F-148: MLPs, convolutions and norms, on the shipped GPT-2."""

from functools import cache

import torch
import torch.nn.functional as F

from solutions.ch7_real_models import fold_layer_norm, mlp_path_terms
from tests.claim_rows import Claim
from utils.models.real import load_real_model, weights_of
from utils.text.corpus import stdlib_corpus

__all__ = ["CLAIMS"]


@cache
def model(folded: bool = True):
    return load_real_model("small_gpt2", folded=folded)


def text():
    return stdlib_corpus(1024).rows("heldout", 128)[3:7, :60].long()


def mlp_paths() -> dict[str, float]:
    _, cached = model().run_with_cache(text())
    off = []
    for layer in range(model().cfg.n_layers):
        into = cached[f"blocks.{layer}.mlp.hook_pre"]
        terms = mlp_path_terms(model(), text(), layer)
        off.append(((terms.sum(0) - into).abs().max() / into.abs().max()).item())
    return {"off": max(off), "terms": len(terms)}


def convolution() -> dict[str, float]:
    """A kernel of five, as five heads that each look a fixed way back."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 7, generator=generator, dtype=torch.float64)
    kernel = torch.randn(5, 7, 3, generator=generator, dtype=torch.float64)
    padded = F.pad(x.T[None], (4, 0))
    theirs = F.conv1d(padded, kernel.permute(2, 1, 0).flip(-1))[0].T
    ours = torch.zeros_like(theirs)
    for back, W in enumerate(kernel):
        A = torch.eye(40, dtype=torch.float64).roll(back, dims=0).tril()
        ours += A @ x @ W
    return {"off": (ours - theirs).abs().max().item()}


def folding() -> dict[str, float]:
    raw, folded = model(folded=False), model()
    log_probs = [m(text()).log_softmax(-1) for m in (raw, folded)]
    ours, theirs = fold_layer_norm(weights_of(raw)), weights_of(folded)
    # The library also moves value biases into b_O and takes the mean off W_U's rows.
    others = ours.keys() - {"b_V", "b_O", "W_U", "b_U"}
    whole = _loss(folded)
    return {
        "off": (log_probs[0] - log_probs[1]).abs().max().item(),
        "weights": max((ours[n] - theirs[n]).abs().max().item() for n in others),
        "frozen": _loss(folded, freeze=True) - whole,
        "whole": whole,
    }


def _loss(m, freeze: bool = False) -> float:
    hooks = []
    if freeze:
        names = [name for name in m.hook_dict if name.endswith("hook_scale")]
        hooks = [(name, lambda s, hook: s.mean((0, 1), True) + 0 * s) for name in names]
    log_probs = m.run_with_hooks(text(), fwd_hooks=hooks)[:, :-1].log_softmax(-1)
    return -log_probs.gather(-1, text()[:, 1:, None]).mean().item()


CLAIMS = (
    Claim(
        row="F-140",
        statement="What enters an MLP's nonlinearity is a sum over paths.",
        paper="exact",
        measure=mlp_paths,
        ours="{terms:.0f} terms in the last layer, off by {off:.0e} of the largest",
        conditions={"off by less than 1e-4": lambda n: n["off"] < 1e-4},
        reason="Everything up to the nonlinearity is linear, with the scales of the "
        "text held.",
    ),
    Claim(
        row="F-141",
        statement="A convolution is a sum of heads with fixed patterns.",
        paper="exact (Cordonnier et al.)",
        measure=convolution,
        ours="off by {off:.0e}",
        conditions={"off by less than 1e-6": lambda n: n["off"] < 1e-6},
        reason="Each entry of the kernel is a head that looks a fixed way back.",
        rests_on="draws",
    ),
    Claim(
        row="F-148",
        statement="All of LayerNorm but its division folds into the weights.",
        paper="all but the variance scaling",
        measure=folding,
        ours="log-probabilities {off:.0e} apart, weights {weights:.0e} from the "
        "library's; with all scales frozen {frozen:+.2f} nats on {whole:.2f}",
        conditions={
            "log-probabilities less than 1e-3 apart": lambda n: n["off"] < 1e-3,
            "the library's weights, to 1e-4": lambda n: n["weights"] < 1e-4,
            "freezing the division costs something": lambda n: n["frozen"] > 0.1,
        },
        reason="The identity is exact; float32 rounds in another order. The division "
        "depends on the text, so no weight can take it up.",
    ),
)
