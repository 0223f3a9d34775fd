"""Chapter 1, `reparametrise_head`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model, with_weights

__all__ = ["CHECK"]


def judge_reparametrise_head(answer) -> None:
    answer = expect.weights_only(answer)
    tokens = torch.tensor(shared.TEXTS)
    for layer, head, pair, d_head, seed in (
        (1, 2, "ov", 4, 13),
        (0, 1, "qk", 3, 14),
        (0, 1, "ov", 5, 16),
        (2, 0, "qk", 4, 15),
    ):
        model = random_model(3, seed, d_head=d_head, scale=0.7)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(d_head, d_head, generator=generator)
        change = torch.eye(d_head) * 1.5 + 0.4 * noise
        result = answer(model, layer, head, change, pair)
        first, second = _two_matrices(model, result, pair)
        changed = _with_head(model, layer, head, pair, first, second)
        expect.close(
            changed(tokens),
            model(tokens),
            f"With your two matrices in head {layer}.{head} (pair {pair!r}) the "
            "model's logits are different ones.",
            atol=2e-4,
        )
        what = "values" if pair == "ov" else "queries"
        name = f"blocks.{layer}.attn.hook_{what[0]}"
        old, new = (
            shared.watch(m, tokens, [name])[name][:, :, head] for m in (model, changed)
        )
        expect.close(
            new,
            old @ change.double(),
            f"The logits are the same, but the {what} should be the old ones times "
            "`change`.",
            atol=1e-4,
        )


def _two_matrices(model, result, pair: str) -> tuple[Tensor, Tensor]:
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    expect.true(
        isinstance(result, tuple | list) and len(result) == 2,
        f"For pair {pair!r} the result should be two matrices, {' and '.join(names)}.",
    )
    checked = []
    for name, value in zip(names, result, strict=True):
        rows, columns = getattr(model, name).shape[2:]
        axes = {f"rows of {name}": rows, f"columns of {name}": columns}
        checked.append(expect.tensor(value, **axes).float())
    return checked[0], checked[1]


def _with_head(model, layer: int, head: int, pair: str, first, second):
    """The model with two matrices of one head exchanged."""
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    weights = {name: getattr(model, name).clone() for name in names}
    weights[names[0]][layer, head] = first
    weights[names[1]][layer, head] = second
    return with_weights(model, weights)


def _pair_of(model, layer, head, pair):
    names = ("W_V", "W_O") if pair == "ov" else ("W_Q", "W_K")
    return tuple(getattr(model, name)[layer, head] for name in names)


def head_unchanged(model, layer, head, change, pair="ov"):
    return _pair_of(model, layer, head, pair)


def head_changed_twice(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, change @ two if pair == "ov" else two @ change


def head_changed_by_transpose(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, change.T @ two if pair == "ov" else two @ change


def head_inverse_first(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    undo = torch.linalg.inv(change)
    if pair == "ov":
        return one @ undo, change @ two
    return one @ undo, two @ change.T


def head_key_not_transposed(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    undo = torch.linalg.inv(change)
    return one @ change, undo @ two if pair == "ov" else two @ undo


def head_only_first(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, layer, head, pair)
    return one @ change, two


def head_of_last_layer(model, layer, head, change, pair="ov"):
    one, two = _pair_of(model, -1, head, pair)
    undo = torch.linalg.inv(change)
    return one @ change, undo @ two if pair == "ov" else two @ undo.T


def always_the_last_layer(answer) -> bool:
    """Whether one of both pairs comes from the last layer whatever layer is asked."""
    model, change = random_model(3, 0), torch.eye(4) + 0.5 * torch.eye(4).roll(1, 0)
    for pair in ("ov", "qk"):
        found = answer(model, 0, 1, change, pair)
        wanted = head_of_last_layer(model, 0, 1, change, pair)
        if all(
            torch.allclose(torch.as_tensor(yours).to(theirs), theirs, atol=1e-4)
            for yours, theirs in zip(found, wanted, strict=True)
        ):
            return True
    return False


def head_always_ov(model, layer, head, change, pair="ov"):
    undo = torch.linalg.inv(change)
    return model.W_V[layer, head] @ change, undo @ model.W_O[layer, head]


CHECK = Check(
    name="reparametrise_head",
    judge=judge_reparametrise_head,
    hints=(
        "Only the product counts: W_V W_O, or W_Q W_K^T. Put `change` times its "
        "inverse, which is nothing, between the two factors.",
        "W_V W_O = (W_V G) (G^-1 W_O). For the other pair write W_Q W_K^T = "
        "(W_Q G) (G^-1 W_K^T) and ask which W_K makes the second bracket.",
        '`undo = torch.linalg.inv(change)`. For "ov" return `W_V @ change, '
        'undo @ W_O`; for "qk" return `W_Q @ change, W_K @ undo.T`.',
    ),
    mistakes=(
        Mistake(
            "nothing changed",
            "These are the old matrices. The first of the two should be the old one "
            "times `change`.",
            head_unchanged,
        ),
        Mistake(
            "changed twice",
            "You multiplied both matrices by `change`. The second has to undo what the "
            "first does: use the inverse.",
            head_changed_twice,
        ),
        Mistake(
            "transpose for inverse",
            "You undid the change with its transpose. That is the inverse only of a "
            "rotation; here `change` is any invertible matrix.",
            head_changed_by_transpose,
            swap=("torch.linalg.inv(change)", "change.T"),
        ),
        Mistake(
            "inverse on the first",
            "The logits are right, but you multiplied the first matrix by the inverse "
            "and the second by `change`. It should be the other way round.",
            head_inverse_first,
        ),
        Mistake(
            "key not transposed",
            'For "ov" this is right. For "qk" the score is W_Q W_K^T, and '
            "(G^-1 W_K^T) is the transpose of W_K times the transposed inverse.",
            head_key_not_transposed,
            swap=("@ undo.T", "@ undo"),
        ),
        Mistake(
            "only the first",
            "You changed only the first matrix. The second has to make up for it.",
            head_only_first,
        ),
        Mistake(
            "always the last layer",
            "You took the matrices of the last layer, whatever `layer` says.",
            head_of_last_layer,
            always_the_last_layer,
        ),
        Mistake(
            "always OV",
            'You returned W_V and W_O also for pair "qk".',
            head_always_ov,
        ),
    ),
    passed=(
        "Checked by putting your matrices into a model, for both pairs: same logits, "
        "and values or queries that are the old ones times `change`. Only products "
        "reach the stream, so a single weight or value of a head has no meaning alone."
    ),
)
