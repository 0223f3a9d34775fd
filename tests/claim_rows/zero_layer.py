"""Zero-layer models: F-40 to F-43."""

import itertools
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from solutions.ch2_zero_layer import (
    bigram_log_probs,
    direct_path,
    kl_to_bigram,
    kneser_ney_loss,
)
from tests.claim_rows import Claim
from tests.claim_rows.shared import D_VOCAB, count, counts, rows, shipped
from utils.models.attention_only import (
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    as_bridge,
)
from utils.text.corpus import PlantedLanguage
from utils.training.config import TrainConfig
from utils.training.trainer import next_token_loss, train

__all__ = ["CLAIMS"]

WIDTHS = (4, 16, 64, 128)


def lookup_error() -> dict[str, float]:
    """Largest difference between logits and table rows, over the largest logit."""
    model, text = shipped("zero_layer"), rows()[:4]
    logits = model(text)
    error = (direct_path(model)[text] - logits).abs().max() / logits.abs().max()
    return {"error": error.item()}


SEEDS = range(3)


@cache
def planted_models() -> tuple[PlantedLanguage, dict]:
    """Zero-layer models of four widths, three of each, trained on one bigram language.

    The values are by (d_model, seed).
    """
    language = PlantedLanguage(d_vocab=128, seed=0)
    recipe = TrainConfig(
        steps=200, lr=0.02, schedule="linear", decay_share=0.6, probe_every=0
    )
    models = {}
    for place in itertools.product(WIDTHS, SEEDS):
        d_model, seed = place
        config = AttentionOnlyConfig(n_layers=0, d_vocab=128, d_model=d_model, n_ctx=64)
        models[place] = AttentionOnlyTransformer(config, seed=seed)
        batches = language.batches(32, 64)
        train(models[place], batches, recipe, progress=False, mode="full")
    return language, models


@cache
def planted_losses() -> Float[Tensor, "width seed"]:
    """Nats above the one-token floor on fresh text."""
    language, models = planted_models()
    heldout = language.sample(n_rows=500, n_ctx=64, seed=99)
    floor = language.one_token_floor(n_ctx=64)
    losses = [next_token_loss(model, heldout).item() for model in models.values()]
    return torch.tensor(losses).view(len(WIDTHS), len(SEEDS)) - floor


def planted_optimum() -> dict[str, float]:
    """The worst of the seeds at d_model 64."""
    language, models = planted_models()
    truth = language.bigram_log_probs.float().clamp(min=-50)  # no 0 times infinity
    frequencies = language.bigram_probs[0].float()
    divergences = [
        kl_to_bigram(as_bridge(models[64, seed]), truth, frequencies) for seed in SEEDS
    ]
    above = planted_losses()[WIDTHS.index(64)].max().item()
    return {"above": above, "kl": max(divergences), "n": len(SEEDS)}


def text_optimum() -> dict[str, float]:
    train_rows, heldout = rows("train"), rows()
    here, after = heldout[:, :-1], heldout[:, 1:]
    table = direct_path(shipped("zero_layer")).log_softmax(1)
    loss = -table[here, after].mean().item()
    floor = kneser_ney_loss(train_rows, heldout, D_VOCAB)
    add_one = -bigram_log_probs(train_rows, D_VOCAB)[here, after].mean().item()
    return {"loss": loss, "floor": floor, "above": loss - floor, "add_one": add_one}


def low_rank() -> dict[str, float]:
    losses = planted_losses()
    _, models = planted_models()
    excess = max(
        torch.linalg.matrix_rank(direct_path(as_bridge(model))).item() - d_model
        for (d_model, _), model in models.items()
    )
    narrow, wide = losses[:-1], losses[1:].clone()
    wide[-1] -= 0.01
    falls = count((narrow > wide).all(dim=0))
    worst = {
        f"d{d}": loss for d, loss in zip(WIDTHS, losses.amax(1).tolist(), strict=True)
    }
    paid = losses[0].min().item()
    return worst | {
        "falls": falls,
        "paid": paid,
        "n": len(SEEDS),
        "excess_rank": excess,
    }


def correlation_with_bigrams(name: str) -> float:
    """How well W_E W_U orders the successors of each token.

    The correlation of its entries with the counted log P(next | current), over pairs
    seen at least ten times in the training text, each row centred on its mean over
    these pairs, because a row's constant means nothing.
    """
    table = counts("train", shipped(name).cfg.d_vocab)
    seen = table >= 10
    share = seen / seen.sum(1, keepdim=True).clamp(min=1)
    sides = []
    for values in (table.clamp(min=1).log(), direct_path(shipped(name))):
        centred = values - (values * share).sum(1, keepdim=True)
        sides.append(centred[seen])
    return torch.corrcoef(torch.stack(sides))[0, 1].item()


def direct_path_in_larger_models() -> dict[str, float]:
    numbers = {}
    for name in ("zero_layer", "one_layer", "two_layer"):
        path = direct_path(shipped(name))
        itself = path.argmax(1) == torch.arange(len(path))
        numbers[name] = correlation_with_bigrams(name)
        numbers[f"{name}_itself"] = itself.float().mean().item()
    return numbers


CLAIMS = (
    Claim(
        row="F-40",
        statement="A zero-layer model is one matrix: the logits after a token are its "
        "row of W_E W_U.",
        paper="equality",
        measure=lookup_error,
        ours="largest difference {error:.1e} of the largest logit",
        conditions={"below 1e-6": lambda n: n["error"] < 1e-6},
        reason="Nothing stands between embedding and unembedding.",
        needs=("zero_layer",),
    ),
    Claim(
        row="F-41",
        statement="Its best is the bigram table: on a language whose bigrams are "
        "known, W_E W_U comes to the truth.",
        paper="approximates the bigram log-likelihood; no number",
        measure=planted_optimum,
        ours="worst of {n:.0f} trainings: {above:.3f} nats above the floor, mean KL "
        "{kl:.3f} nats (d_model 64 of 128 words)",
        conditions={
            "at most 0.05 nats above the floor": lambda n: n["above"] <= 0.05,
            "KL at most 0.05 nats": lambda n: n["kl"] <= 0.05,
        },
        reason="The table's class structure fits into 64 dimensions.",
        rests_on="trains",
    ),
    Claim(
        row="F-41",
        statement="The same on real text: about as good as careful counting of pairs.",
        paper="no number",
        measure=text_optimum,
        ours="{loss:.2f} nats held out; Kneser-Ney {floor:.2f} ({above:+.2f}), counts "
        "plus one {add_one:.2f}",
        conditions={
            "at most 0.15 nats above Kneser-Ney": lambda n: n["above"] <= 0.15,
            "below counts plus one": lambda n: n["loss"] < n["add_one"],
        },
        reason="Being squeezed through d_model numbers smooths the table, as "
        "Kneser-Ney does by other means.",
        needs=("zero_layer",),
    ),
    Claim(
        row="F-42",
        statement="The table is squeezed to rank d_model, and a narrower model pays "
        "for it.",
        paper="implied",
        measure=low_rank,
        ours="nats above the floor at d_model 4, 16, 64, 128, worst of {n:.0f} "
        "trainings: {d4:.3f}, {d16:.3f}, {d64:.3f}, {d128:.3f}",
        conditions={
            "the loss falls with each width in every training": lambda n: (
                n["falls"] == n["n"]
            ),
            "four dimensions cost half a nat": lambda n: n["paid"] > 0.5,
            "no rank above d_model": lambda n: n["excess_rank"] <= 0,
        },
        reason="From 64 to 128 there is nothing left to gain, so 0.01 nats are "
        "allowed there.",
        rests_on="trains",
    ),
    Claim(
        row="F-43",
        statement="In larger models the direct path keeps the bigrams that other paths "
        "leave to it.",
        paper="no number",
        measure=direct_path_in_larger_models,
        ours="correlation with log bigrams {zero_layer:.2f} (0 layers), {one_layer:.2f}"
        " (1), {two_layer:.2f} (2); {one_layer_itself:.1%} of tokens predict "
        "themselves most (1)",
        conditions={
            "one layer: above 0 and below the zero-layer model's": lambda n: (
                0 < n["one_layer"] < n["zero_layer"]
            ),
            "two layers: above 0 and below the zero-layer model's": lambda n: (
                0 < n["two_layer"] < n["zero_layer"]
            ),
            "at most 10 % predict themselves": lambda n: (
                max(n[k] for k in n if k.endswith("itself")) <= 0.1
            ),
        },
        reason="Attention to the present and the previous token takes bigrams over.",
        needs=("zero_layer", "one_layer", "two_layer"),
    ),
)
