"""Chapter 7, `fold_layer_norm`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch7_real_models import shared

__all__ = ["CHECK"]

READERS = {
    "ln1": (("W_Q", "b_Q"), ("W_K", "b_K"), ("W_V", "b_V")),
    "ln2": (("W_in", "b_in"), ("W_gate", None)),
    "ln_final": (("W_U", "b_U"),),
}
WRITERS = ("W_E", "W_pos", "W_O", "b_O", "W_out", "b_out")


def judge_fold_layer_norm(answer) -> None:
    for centre, sizes in (
        (True, dict(seed=0)),
        (False, dict(seed=1, n_heads=4, n_groups=2, gated=True, positions=False)),
        (True, dict(seed=2, n_layers=1, d_mlp=0, d_model=10, d_vocab=12)),
        (False, dict(seed=3, n_layers=3, n_heads=2, n_groups=1, d_head=3)),
    ):
        weights = shared.made_up(**sizes)
        _judge_one(answer(shared.copied(weights), centre), weights, centre)
    weights = shared.made_up(4)
    shared.names_and_shapes(result := answer(weights), weights, {})
    expect.close(
        expect.tensor(result["W_E"], d_vocab=11, d_model=8).mean(dim=-1),
        torch.zeros(11).double(),
        "Without `centre` being given, what is written should be centred.",
    )
    # Last, so that a known mistake has shown itself in the cases above.
    shared.unchanged(answer, weights, True)


def _judge_one(result, before, centre) -> None:
    shared.names_and_shapes(result, before, {})
    found = {
        name: expect.tensor(result[name], **_axes(value))
        for name, value in before.items()
    }
    for name in ("ln1", "ln2", "ln_final"):
        if f"{name}_w" in found:
            for kind, wanted in (("w", 1.0), ("b", 0.0)):
                expect.close(
                    found[f"{name}_{kind}"],
                    torch.full_like(found[f"{name}_{kind}"], wanted),
                    f"{name}_{kind} should be {wanted:g} now: a matrix took it up.",
                )
    for name in WRITERS:
        if name in found and centre:
            expect.close(
                found[name].mean(dim=-1),
                0 * found[name].mean(dim=-1),
                f"{name} is written to the stream, so each of its vectors should have "
                "mean 0 over d_model.",
            )
        elif name in found:
            expect.close(
                found[name], before[name], f"Without `centre`, {name} should stay."
            )
    for norm, pairs in READERS.items():
        for name, _ in pairs:
            if name in found and centre:
                expect.close(
                    found[name].mean(dim=-2),
                    0 * found[name].mean(dim=-2),
                    f"{name} is read after {norm}: with `centre` each of its columns "
                    "should have mean 0 over d_model.",
                )
    tokens = torch.tensor(shared.TOKENS)
    wanted = shared.log_probs(before, tokens, subtract_mean=centre)
    expect.close(
        shared.log_probs(found, tokens, subtract_mean=False),
        wanted,
        "A model with your weights, whose norms only divide, predicts something else "
        f"than the model before.{_where(found, before, centre, tokens, wanted)}",
    )


def _where(found, before, centre, tokens, wanted) -> str:
    """What, put right, puts the whole model right: one name, or all of one norm."""
    right = _folded(before, centre)
    groups = [
        [n for pair in pairs for n in pair if n in found] for pairs in READERS.values()
    ]
    tried = [[name] for group in groups for name in group] + groups
    for names in tried:
        mended = found | {name: right[name].to(found[name].dtype) for name in names}
        away = shared.log_probs(mended, tokens, subtract_mean=False) - wanted
        if away.abs().max() < 1e-5:
            return f" All is right but {' or '.join(names)}."
    return ""


def _axes(value) -> dict[str, int]:
    return {f"axis_{i}": size for i, size in enumerate(value.shape)}


def _folded(weights, centre=True, **change):
    """The right way, or with one thing wrong."""
    folded = dict(weights)
    for norm, pairs in READERS.items():
        if f"{norm}_w" not in weights or norm in change.get("skip", ()):
            continue
        w, b = weights[f"{norm}_w"], weights[f"{norm}_b"]
        for matrix, bias in pairs:
            if matrix not in weights or matrix == change.get("forget"):
                continue
            W = weights[matrix]
            heads = (slice(None), None) if W.dim() == 4 else ()
            here = (*heads, ..., None)
            new = w[here] * (_less_mean(W) if change.get("centred_first") else W)
            if change.get("readers_always"):
                new = _less_mean(new)
            read = new if change.get("bias_scaled") else W
            if change.get("bias_centred"):
                read = _less_mean(W)
            if centre and not change.get("readers_kept"):
                new = _less_mean(new, change.get("reader_axis", -2))
            folded[matrix] = new
            if bias is not None and not change.get("bias_lost"):
                met = b[here] * read
                met = met.mean(-2) if change.get("bias_mean") else met.sum(-2)
                own = 0.0 if change.get("own_bias_lost") else weights[bias]
                folded[bias] = own + met
        if not change.get("norms_kept"):
            folded[f"{norm}_w"], folded[f"{norm}_b"] = torch.ones_like(w), 0 * b
    if centre and not change.get("writers_kept"):
        axis = change.get("axis", -1)
        for name in set(WRITERS) & weights.keys() - set(change.get("uncentred", ())):
            one = weights[name].mean() if axis is None else None
            folded[name] = (
                _less_mean(weights[name], axis) if one is None else weights[name] - one
            )
    return folded


def _less_mean(values, axis=-2):
    return values - values.mean(axis, keepdim=True)


def bias_lost(weights, centre=True):
    return _folded(weights, centre, bias_lost=True)


def own_bias_lost(weights, centre=True):
    return _folded(weights, centre, own_bias_lost=True)


def readers_always_centred(weights, centre=True):
    return _folded(weights, centre, readers_always=True)


def bias_scaled(weights, centre=True):
    return _folded(weights, centre, bias_scaled=True)


def bias_averaged(weights, centre=True):
    return _folded(weights, centre, bias_mean=True)


def norms_kept(weights, centre=True):
    return _folded(weights, centre, norms_kept=True)


def last_norm_forgotten(weights, centre=True):
    return _folded(weights, centre, skip=("ln_final",))


def gate_forgotten(weights, centre=True):
    return _folded(weights, centre, forget="W_gate")


def always_centred(weights, centre=True):
    return _folded(weights, True)


def biases_not_centred(weights, centre=True):
    return _folded(weights, centre, uncentred=("b_O", "b_out"))


def positions_not_centred(weights, centre=True):
    return _folded(weights, centre, uncentred=("W_pos",))


def centred_along_rows(weights, centre=True):
    return _folded(weights, centre, axis=0)


def readers_not_centred(weights, centre=True):
    return _folded(weights, centre, readers_kept=True)


def writers_not_centred(weights, centre=True):
    return _folded(weights, centre, writers_kept=True)


def never_centred(weights, centre=True):
    return _folded(weights, False)


def one_mean_for_all(weights, centre=True):
    return _folded(weights, centre, axis=None)


def readers_along_what_they_give(weights, centre=True):
    return _folded(weights, centre, reader_axis=-1)


def centred_before_the_weight(weights, centre=True):
    return _folded(weights, centre, centred_first=centre, readers_kept=True)


def bias_through_centred(weights, centre=True):
    return _folded(weights, centre, bias_centred=centre)


CHECK = Check(
    name="fold_layer_norm",
    judge=judge_fold_layer_norm,
    hints=(
        "A norm's weight multiplies each entry of the vector before the matrix sums "
        "over them, so it can multiply the matrix's rows instead. Its bias passes "
        "through the matrix as well, and gives the same vector for every text: that is "
        "a bias.",
        "For W_in [layer, d_model, d_mlp]: the new matrix is `w[..., None] * W`, the "
        "new bias `b_in + (b[..., None] * W).sum(dim=-2)`, with the **old** W. For W_Q "
        "[layer, head, d_model, d_head] the weight needs an axis for the heads too: "
        "`w[:, None, :, None]`. Then set w to 1 and b to 0.",
        "Three norms and their readers: ln1 with W_Q, W_K, W_V; ln2 with W_in and "
        "W_gate; ln_final with W_U. With `centre`, `W - W.mean(dim=-2, keepdim=True)` "
        "for each of these after the folding, and `X - X.mean(dim=-1, keepdim=True)` "
        "for W_E, W_pos, W_O, b_O, W_out and b_out. Skip what is not in `weights`.",
    ),
    mistakes=(
        Mistake(
            "norm bias lost",
            "The biases of the norms are gone. Each passes through the matrix that "
            "reads it and adds to that matrix's own bias.",
            bias_lost,
            swap=("weights[bias] + (b_here * W).sum(dim=-2)", "weights[bias]"),
        ),
        Mistake(
            "own bias lost",
            "What the norms' biases add has taken the place of the matrices' own "
            "biases. b_Q and the others stay, and it is added to them.",
            own_bias_lost,
        ),
        Mistake(
            "norm bias scaled",
            "You sent the norm's bias through the matrix that is folded already. The "
            "bias comes after the weight, so it meets the old matrix.",
            bias_scaled,
        ),
        Mistake(
            "norm bias averaged",
            "You took the mean over d_model of the bias times the matrix. A vector "
            "that meets a matrix is a sum over d_model.",
            bias_averaged,
        ),
        Mistake(
            "norms not reset",
            "The matrices have taken up the norms' weights, but the norms still have "
            "them, so they would count twice. Set them to 1 and 0.",
            norms_kept,
            swap=("= torch.ones_like(w), 0 * b", "= w, b"),
        ),
        Mistake(
            "last norm forgotten",
            "The last norm, before W_U, is as it was.",
            last_norm_forgotten,
        ),
        Mistake(
            "gate forgotten",
            "W_gate reads the same vector as W_in, so it has to take up ln2 too.",
            gate_forgotten,
        ),
        Mistake(
            "always centred",
            "You centred although `centre` was False. An RMSNorm subtracts no mean, so "
            "its model uses that direction.",
            always_centred,
        ),
        Mistake(
            "readers always centred",
            "You took the mean off what reads although `centre` was False. An RMSNorm "
            "subtracts no mean, so its model reads that direction too.",
            readers_always_centred,
        ),
        Mistake(
            "output biases not centred",
            "b_O and b_out are written to the stream like everything else, so they "
            "need centring too.",
            biases_not_centred,
        ),
        Mistake(
            "positions not centred",
            "Position vectors are added to the stream, so they need centring too.",
            positions_not_centred,
        ),
        Mistake(
            "centred along another axis",
            "You subtracted a mean over the first axis. A norm subtracts the mean "
            "over d_model of each single vector, which is the last axis of what is "
            "written.",
            centred_along_rows,
        ),
        Mistake(
            "never centred",
            "`centre` changes nothing in your function: what is written still has a "
            "mean, and no norm subtracts it any more.",
            never_centred,
        ),
        Mistake(
            "writers not centred",
            "You took the mean off what reads, and not off what writes. The norm's own "
            "subtraction is gone, so nothing with a mean may enter the stream.",
            writers_not_centred,
        ),
        Mistake(
            "one mean for all",
            "You subtracted one number from all vectors, the mean of the whole "
            "tensor. A norm subtracts from each vector its own mean over d_model.",
            one_mean_for_all,
        ),
        Mistake(
            "readers centred along what they give",
            "You took the mean of each reading matrix over its last axis. What meets "
            "the stream's missing mean is d_model, the axis before the last.",
            readers_along_what_they_give,
        ),
        Mistake(
            "centred before the weight",
            "You took the mean off the matrices first and multiplied by the norm's "
            "weight afterwards, which brings a mean back. Fold first, then centre.",
            centred_before_the_weight,
        ),
        Mistake(
            "bias through the centred matrix",
            "You sent the norm's bias through a matrix that is centred already. The "
            "bias comes after the norm and has a mean of its own, so it meets the old "
            "matrix.",
            bias_through_centred,
        ),
        Mistake(
            "readers not centred",
            "What is written is centred. What reads is not: its columns still have a "
            "mean over d_model, which meets nothing now and only adds to its norm.",
            readers_not_centred,
        ),
    ),
    passed=(
        "Checked by running four models before and after: with and without MLPs, "
        "gates, grouped heads, positions and biases. Weights and biases of a norm are "
        "linear, so matrices can take them up. What is left of a norm is the division."
    ),
)
