"""Chapter 1, `rotate_basis`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect
from utils.checks.ch1_residual_stream import shared
from utils.models.handmade import random_model, with_weights

__all__ = ["CHECK"]


WEIGHTS = ("W_E", "W_pos", "W_Q", "W_K", "W_V", "W_O", "W_U")


def judge_rotate_basis(answer) -> None:
    answer = expect.weights_only(answer)
    # All of W_pos counts: the texts are as long as the models can read.
    tokens = torch.tensor(shared.FULL_TEXTS)
    for n_layers, size, seed in ((2, 10, 11), (1, 7, 12), (3, 8, 13)):
        model = random_model(n_layers, seed, d_model=size, scale=0.7)
        rotation = _orthogonal(size, seed)
        turned = with_weights(model, _seven_weights(model, answer(model, rotation)))
        name = shared.final_name(model)
        streams = [
            shared.watch(m, tokens, [name, "hook_embed"]) for m in (model, turned)
        ]
        expect.close(
            turned(tokens),
            model(tokens),
            "With your weights the model's logits are different ones.",
            atol=1e-4,
        )
        expect.close(
            streams[1]["hook_embed"],
            streams[0]["hook_embed"] @ rotation.double(),
            "The logits are the same, but the embedding x of a token should have "
            "become x @ rotation.",
        )
        expect.close(
            streams[1][name],
            streams[0][name] @ rotation.double(),
            "The logits are the same, but the final stream x should have become "
            "x @ rotation.",
            atol=1e-4,
        )


def _orthogonal(size: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, size, generator=generator))[0]


def _seven_weights(model, result) -> dict[str, Tensor]:
    kind = type(result).__name__
    expect.true(
        isinstance(result, dict),
        f"The result should be a dict of weights by name; yours is of type {kind}.",
    )
    names = ", ".join(WEIGHTS)
    expect.true(
        set(result) == set(WEIGHTS),
        f"The dict should have exactly the keys {names}. "
        f"Yours are {', '.join(map(str, result))}.",
    )
    checked = {}
    for name in WEIGHTS:
        shape = getattr(model, name).shape
        axes = {f"axis {i} of {name}": size for i, size in enumerate(shape)}
        checked[name] = expect.tensor(result[name], **axes).float()
    return checked


def _rotated(model, rotation, readers=None, **other):
    """All seven weights, some of them changed, for the known mistakes."""
    readers = rotation.T if readers is None else readers
    writes = {name: getattr(model, name) @ rotation for name in ("W_E", "W_pos", "W_O")}
    reads = {
        name: readers @ getattr(model, name) for name in ("W_Q", "W_K", "W_V", "W_U")
    }
    return writes | reads | other


def rotate_without_positions(model, rotation):
    return _rotated(model, rotation, W_pos=model.W_pos)


def rotate_readers_same_way(model, rotation):
    return _rotated(model, rotation, readers=rotation)


def rotate_only_writers(model, rotation):
    return _rotated(model, rotation, readers=torch.eye(len(rotation)))


def rotate_without_unembedding(model, rotation):
    return _rotated(model, rotation, W_U=model.W_U)


def rotate_without_outputs(model, rotation):
    return _rotated(model, rotation, W_O=model.W_O)


def rotate_backwards(model, rotation):
    return _rotated(model, rotation.T)


def rotate_nothing(model, rotation):
    return _rotated(model, torch.eye(len(rotation)))


def rotate_embedding_and_unembedding(model, rotation):
    same = {name: getattr(model, name) for name in ("W_pos", "W_Q", "W_K", "W_V")}
    return _rotated(model, rotation, W_O=model.W_O, **same)


CHECK = Check(
    name="rotate_basis",
    judge=judge_rotate_basis,
    hints=(
        "Sort the seven matrices into those that write vectors of the stream's size "
        "and those that read them. W_pos writes for W_Q and W_K.",
        "What is written has to come out rotated: multiply by the rotation on the "
        "right. What reads has to undo it first: multiply by its transpose on the "
        "left.",
        "`model.W_E @ rotation`, the same for W_pos and W_O, and "
        "`rotation.T @ model.W_Q`, the same for W_K, W_V and W_U. `@` works on "
        "[layer, head, ...] stacks as well.",
    ),
    mistakes=(
        Mistake(
            "positions left out",
            "The position vectors are not rotated. W_Q and W_K read stream plus "
            "position, so both have to be in the new basis.",
            rotate_without_positions,
        ),
        Mistake(
            "readers rotated the same way",
            "You multiplied the reading matrices by the rotation itself. They meet a "
            "rotated vector and have to undo that first, with the transpose.",
            rotate_readers_same_way,
            swap=("rotation.T @ getattr", "rotation @ getattr"),
        ),
        Mistake(
            "only the writers",
            "You rotated what is written and left the readers as they were. They would "
            "read a stream in a basis that is not theirs.",
            rotate_only_writers,
        ),
        Mistake(
            "unembedding left out",
            "W_U also reads the stream, and you left it as it was.",
            rotate_without_unembedding,
        ),
        Mistake(
            "head outputs left out",
            "W_O writes into the stream, and you left it as it was. The heads would "
            "write in the old basis and the embedding in the new one.",
            rotate_without_outputs,
            swap=("model.W_O @ rotation", "model.W_O"),
        ),
        Mistake(
            "backwards",
            "The logits are right, but you rotated by the inverse: the stream became "
            "x @ rotation.T.",
            rotate_backwards,
        ),
        Mistake(
            "nothing rotated",
            "These are the old weights. Their logits are right, of course, but the "
            "stream should have become x @ rotation.",
            rotate_nothing,
        ),
        Mistake(
            "only the two ends",
            "You rotated W_E and W_U only. The heads in between also read and write "
            "the stream.",
            rotate_embedding_and_unembedding,
        ),
    ),
    passed=(
        "Checked by putting your weights into a model, for one to three layers: same "
        "logits, and a stream that is x @ rotation from the embedding to the end. "
        "Whatever writes turns by the rotation, whatever reads turns it back first."
    ),
)
