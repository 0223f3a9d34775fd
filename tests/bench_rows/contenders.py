"""The two trainers that are compared, on one kind of batches, and how they are watched.

`ours` trains by a recipe of the course. `theirs` is TransformerLens's own: a model
from `TransformerBridge.boot_native`, trained by `transformer_lens.tools.training` with
its defaults (Adam at 1e-3, float32). Both run on the processor, see the same batches in
the same order, and call `on_step` after each update; False from it ends the run.
Called by `speed` and `induction`.
"""

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformer_lens import TransformerBridgeConfig
from transformer_lens.model_bridge import TransformerBridge
from transformer_lens.tools import training as lens_training

from utils.models.attention_only import AttentionOnlyTransformer
from utils.text.corpus import BatchFunction, stdlib_corpus
from utils.training.recipes import Recipe
from utils.training.trainer import Run, next_token_loss, train

__all__ = ["FullLogits", "QuickLoss", "native_model", "ours", "theirs"]

OnStep = Callable[[int], bool]
# More updates than any bounded run gets to.
MANY_STEPS = 20_000


def ours(
    recipe: Recipe,
    on_step: OnStep,
    model: nn.Module | None = None,
    checkpoint: Path | None = None,
    steps: int = MANY_STEPS,
) -> Run:
    """Train by `recipe` with the course's trainer; returns its Run.

    `model` stands in for the recipe's own.
    """
    training = replace(
        recipe.training, steps=steps, schedule="constant", probe_every=0, device="cpu"
    )
    ended = []

    def listen(state) -> bool:
        goes_on = on_step(state.step)
        ended.append(not goes_on)
        return goes_on

    with contextlib.redirect_stdout(io.StringIO()):  # a bridge says where it is moved
        run = train(
            model or AttentionOnlyTransformer(recipe.model, recipe.seed),
            batches_of(recipe),
            training,
            checkpoint=checkpoint,
            progress=False,
            on_step=listen,
            mode="full",
        )
    if not run.finished and not any(ended):
        raise KeyboardInterrupt  # the trainer took it, but it was meant for the bench
    return run


def theirs(
    recipe: Recipe, on_step: OnStep, model: nn.Module | None = None
) -> nn.Module:
    """Train with TransformerLens's trainer on the batches of `recipe`."""
    model = model or native_model(recipe)
    rows = _Rows(batches_of(recipe), recipe.batch_size, on_step)
    config = lens_training.TrainConfig(
        num_epochs=1, batch_size=recipe.batch_size, seed=recipe.seed, device="cpu"
    )
    # Its progress bar and its lines would stand in the middle of the table.
    said = io.StringIO()
    with (
        contextlib.suppress(_Enough),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        torch.enable_grad(),
    ):
        lens_training.train(model, config, rows)
    return model


def batches_of(recipe: Recipe) -> BatchFunction:
    """The batches both train on: text with a share of repeated random tokens."""
    return recipe.batches(stdlib_corpus(recipe.model.d_vocab))


def native_model(
    recipe: Recipe, normalization_type: str | None = None
) -> TransformerBridge:
    """TransformerLens's attention-only model in the recipe's sizes, freshly drawn.

    Its defaults otherwise: biases, positions in the residual stream. Its own default
    for `normalization_type` is "LN", which the paper's models do not have.
    """
    sizes = recipe.model
    config = TransformerBridgeConfig(
        n_layers=sizes.n_layers,
        d_model=sizes.d_model,
        d_vocab=sizes.d_vocab,
        n_heads=sizes.n_heads,
        d_head=sizes.d_head,
        n_ctx=sizes.n_ctx,
        attn_only=True,
        normalization_type=normalization_type,
        seed=recipe.seed,
    )
    return TransformerBridge.boot_native(config)


class _Enough(Exception):
    """Ends TransformerLens's training, which has no call-back that could."""


class _Rows(Dataset):
    """One row after the other, whichever is asked for.

    TransformerLens's loader shuffles the numbers of the rows. Here they are not looked
    at, so that it gets the batches of our trainer in their order. The first row of a
    batch is asked for when the update before it is done.
    """

    def __init__(self, batches: BatchFunction, batch_size: int, on_step: OnStep):
        self.batches, self.batch_size, self.on_step = batches, batch_size, on_step
        self.given = 0

    def __len__(self) -> int:
        return MANY_STEPS * self.batch_size

    def __getitem__(self, _number: int) -> dict[str, Int[Tensor, "pos"]]:
        step, row = divmod(self.given, self.batch_size)
        if row == 0:
            if step and not self.on_step(step):
                raise _Enough
            self.batch = self.batches(step)
        self.given += 1
        return {"tokens": self.batch[row]}


class FullLogits(nn.Module):
    """Our model under another class, so that the trainer takes the ordinary loss.

    Names of parameters stay, because the trainer finds Muon's matrices by them.
    """

    def __init__(self, model: AttentionOnlyTransformer):
        super().__init__()
        for name, part in model.named_children():
            self.add_module(name, part)
        self.whole = (model,)  # a tuple, so that it is not registered a second time

    def forward(
        self, tokens: Int[Tensor, "batch pos"]
    ) -> Float[Tensor, "batch pos d_vocab"]:
        return self.whole[0](tokens)


class QuickLoss(nn.Module):
    """Our model as TransformerLens's trainer calls one: it returns its loss."""

    def __init__(self, model: AttentionOnlyTransformer):
        super().__init__()
        self.model = model

    def forward(
        self, tokens: Int[Tensor, "batch pos"], return_type: str
    ) -> Float[Tensor, ""]:
        assert return_type == "loss"
        return next_token_loss(self.model, tokens)
