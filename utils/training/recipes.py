"""How the shipped models were trained; `python3 -m utils train NAME` does it again.

Called by the launcher and by whoever wants a model of the same kind with one thing
changed: `train_recipe(replace(RECIPES["two_layer"], seed=3), folder)`.
"""

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from utils.models.attention_only import (
    MODEL_FOLDER,
    AttentionOnlyConfig,
    AttentionOnlyTransformer,
    save_model,
)
from utils.models.gpt2 import GPT2Sizes, SmallGPT2, save_gpt2
from utils.models.handmade import vectors_alike
from utils.text.corpus import (
    BatchFunction,
    Corpus,
    kept_out_ids,
    load_tokenizer,
    stdlib_corpus,
    with_repeats,
)
from utils.training.checkpoint import CheckpointError
from utils.training.config import TrainConfig, TrainingError
from utils.training.trainer import Run, next_token_loss, train

__all__ = ["LIVE", "RECIPES", "Recipe", "grow", "heldout_loss", "main", "train_recipe"]

ROOT = Path(__file__).parents[2]
# On a shared machine the course's own folder cannot be written.
CHECKPOINTS = Path(os.environ.get("COURSE_CHECKPOINTS") or ROOT / ".training")
CHECKPOINTS = CHECKPOINTS.expanduser()
UNFIT_TO_SHIP = (
    "COURSE_TRAIN is set, so a barely trained model would replace a shipped one. "
    "Unset it, or give another place with --out FOLDER."
)


@dataclass(frozen=True)
class Recipe:
    """A model, its text and its training.

    The text is the standard library. A `repeat_share` of the rows are random tokens
    repeated at a random period instead; a share `kept_out` of all ids never occurs in
    those, though it does in text (F-104). `lag` fixes the period. `seed` decides the
    first weights, the order of the text and the repeats.

    With `first_tokens` there are two parts: `first_steps` steps as `training` says,
    with that many tokens only, then the vocabulary grows to the model's and `training`
    follows. It can, because the first ids of this tokenizer are a vocabulary of their
    own.
    """

    model: AttentionOnlyConfig | GPT2Sizes
    training: TrainConfig
    batch_size: int = 16
    repeat_share: float = 0.0
    kept_out: float = 0.1
    lag: int | None = None
    seed: int = 0
    first_tokens: int | None = None
    first_steps: int = 0

    @property
    def never_repeated(self) -> tuple[int, ...]:
        """The ids that are in no repeat, neither before nor after the growth."""
        first = self.first_tokens or 0
        young = kept_out_ids(first, self.kept_out) if first else ()
        later = kept_out_ids(self.model.d_vocab, self.kept_out)
        return (*young, *(token for token in later if token >= first))

    def batches(self, corpus: Corpus) -> BatchFunction:
        """The batch function this recipe trains on, with all tokens of this corpus."""
        text = corpus.batches(self.batch_size, self.model.n_ctx, self.seed)
        if not self.repeat_share:
            return text
        out = [token for token in self.never_repeated if token < corpus.d_vocab]
        return with_repeats(
            text, self.repeat_share, corpus.d_vocab, exclude=out, lag=self.lag
        )


def _sizes(
    n_layers: int, d_model: int = 256, waves: float = 0.5
) -> AttentionOnlyConfig:
    return AttentionOnlyConfig(
        n_layers=n_layers, d_vocab=4096, d_model=d_model, position_scale=waves
    )


# Without layers there is no attention to learn; two passes over the text are enough.
BIGRAMS = TrainConfig(
    steps=600,
    lr=2e-2,
    schedule="linear",
    decay_share=0.5,
    dtype="auto",
    checkpoint_every=50,
    probe_every=50,
)
ATTENTION = TrainConfig(
    steps=4000,
    lr=1e-2,
    optimizer="muon",
    muon_lr=0.03,
    warmup_steps=20,
    schedule="linear",
    decay_share=0.5,
    dtype="auto",
    checkpoint_every=200,
    probe_every=200,
)
# Two layers, and what is compared with them, begin with 1,024 tokens and go on with
# 4,096. With 4,096 from the first step the head for the previous token never formed
# (24.6 million tokens, several recipes). Position waves of height 1 instead of 1/2 make
# it form in two thirds of the steps, and prefix matching on text alone 0.6, not 0.4.
_TWO = Recipe(
    _sizes(2, waves=1.0),
    replace(ATTENTION, steps=1800),
    repeat_share=0.13,
    first_tokens=1024,
    first_steps=1500,
)

RECIPES = {
    "zero_layer": Recipe(_sizes(0, d_model=128), BIGRAMS, batch_size=32),
    "one_layer": Recipe(_sizes(1), ATTENTION),
    "two_layer": _TWO,
    "one_layer_twin": replace(_TWO, model=_sizes(1, waves=1.0)),
    "two_layer_text": replace(_TWO, repeat_share=0.0),
    # Chapter 7's: with waves of height 1/4 added to the stream, and Muon on all
    # matrices inside the layers, induction comes after half of these steps. When the
    # shipped one was trained, no probe ran before the last step. So its record's curve
    # is one point, the loss on an eighth of the held-out rows; `heldout_loss` is that
    # on all of them. `train small_gpt2` writes the whole curve.
    "small_gpt2": Recipe(
        GPT2Sizes(),
        replace(ATTENTION, steps=1500, lr=7e-3),
        batch_size=32,
        repeat_share=0.13,
    ),
}

# Small and quick, for training in front of one's eyes. Chosen by measurement: with
# position waves of height 1 instead of 1/2 induction comes after two thirds of the
# steps, and more repeats or another learning rate did not bring it forward.
LIVE = Recipe(
    AttentionOnlyConfig(
        n_layers=2,
        d_vocab=512,
        d_model=128,
        n_heads=4,
        n_ctx=128,
        position_scale=1.0,
    ),
    replace(ATTENTION, steps=500, schedule="constant", probe_every=0),
    batch_size=32,
    repeat_share=0.13,
)


@torch.no_grad()
def heldout_loss(model: nn.Module, rows: Int[Tensor, "row pos"]) -> float:
    """Mean nats per token over evaluation rows, of every token but a row's first."""
    device = next(model.parameters()).device
    total = 0.0
    for part in rows.split(16):
        part = part.to(device, torch.long)
        total += next_token_loss(model, part).item() * len(part)
    return total / len(rows)


def train_recipe(
    recipe: Recipe,
    path: str | Path,
    checkpoint: str | Path | None = None,
    mode: str | None = None,
    on_step: Callable | None = None,
) -> Run:
    """Train by a recipe and, when finished, save the model and its record at `path`.

    An interrupted run saves no model and goes on from `checkpoint` the next time. The
    steps with fewer tokens, where the recipe has them, keep theirs beside it.
    """
    corpus = stdlib_corpus(recipe.model.d_vocab)
    rows = corpus.rows("heldout", recipe.model.n_ctx)
    model = _fresh(recipe)
    first = None
    if recipe.first_tokens:
        first = _train_first(recipe, checkpoint, mode, on_step)
        if not first.finished:
            return first
        grow(first.model, model, recipe.seed)
    run = train(
        model,
        recipe.batches(corpus),
        recipe.training,
        probes={"heldout_loss": lambda model: heldout_loss(model, rows[::8])},
        checkpoint=checkpoint,
        mode=mode,
        on_step=on_step,
    )
    if run.finished and _is_first_process():
        loss = heldout_loss(model, rows)
        record = _record(recipe, corpus, first, run, loss)
        if isinstance(model, SmallGPT2):
            save_gpt2(model, load_tokenizer(recipe.model.d_vocab), path, record)
        else:
            save_model(model, path, record)
    return run


def _fresh(recipe: Recipe) -> AttentionOnlyTransformer | SmallGPT2:
    """An untrained model of the recipe's kind."""
    kind = (
        SmallGPT2 if isinstance(recipe.model, GPT2Sizes) else AttentionOnlyTransformer
    )
    return kind(recipe.model, seed=recipe.seed)


def _train_first(
    recipe: Recipe, checkpoint: str | Path | None, mode: str | None, on_step
) -> Run:
    """The recipe's steps with its `first_tokens`."""
    corpus = stdlib_corpus(recipe.first_tokens)
    config = replace(recipe.model, d_vocab=recipe.first_tokens)
    training = replace(recipe.training, steps=recipe.first_steps, probe_every=0)
    return train(
        AttentionOnlyTransformer(config, seed=recipe.seed),
        recipe.batches(corpus),
        training,
        checkpoint=checkpoint and _beside(checkpoint),
        mode=mode,
        on_step=on_step,
    )


def _beside(checkpoint: str | Path) -> Path:
    """Where the steps with fewer tokens keep their checkpoint."""
    return Path(checkpoint).with_suffix(".first.pt")


@torch.no_grad()
def grow(
    small: AttentionOnlyTransformer, large: AttentionOnlyTransformer, seed: int = 0
) -> None:
    """Put a trained model's weights into one that knows more tokens, in place.

    The two differ in `d_vocab` only. The rows of new tokens in W_E and W_U are drawn
    together, with the mean and the covariance of the known tokens' rows (the start
    token's aside). So they lie in the directions in which the heads already match and
    copy; drawn in any direction, they upset the heads before they are learned.
    """
    matrices = ("tok_embed.weight", "head.weight")
    trained, grown = small.state_dict(), large.state_dict()
    known = torch.cat([trained[name] for name in matrices], dim=1)[1:]
    n_new = large.config.d_vocab - small.config.d_vocab
    new = vectors_alike(known, n_new, seed)
    for name, rows in zip(matrices, new.chunk(2, dim=1), strict=True):
        trained[name] = torch.cat([trained[name], rows])
    for name, weight in grown.items():
        weight.copy_(trained[name])


def _is_first_process() -> bool:
    return int(os.environ.get("RANK", 0)) == 0


def _record(
    recipe: Recipe, corpus: Corpus, first: Run | None, run: Run, loss: float
) -> dict:
    """What is kept beside the weights: enough to train the model again."""
    runs = [each for each in (first, run) if each is not None]
    tokens, seconds = (
        sum(each.history[name].iloc[-1] for each in runs)
        for name in ("tokens", "seconds")
    )
    before = tokens - run.history["tokens"].iloc[-1]
    measured = run.history.dropna(subset=["heldout_loss"])
    return {
        "recipe": asdict(replace(recipe, training=run.config)),
        "corpus": {
            "name": corpus.name,
            "python": platform.python_version(),
            "train_tokens": len(corpus.train_tokens),
            "heldout_tokens": len(corpus.heldout_tokens),
        },
        "seed": recipe.seed,
        "tokens_seen": int(tokens),
        "seconds": round(float(seconds), 1),
        "heldout_loss": round(loss, 4),
        "heldout_loss_by_tokens": [
            [int(before + row.tokens), round(row.heldout_loss, 4)]
            for row in measured.itertuples()
        ],
        "dtype": " then ".join(dict.fromkeys(each.dtype for each in runs)),
        "torch": torch.__version__,
    }


def main(argv: list[str]) -> int:
    """`train NAME [--out FOLDER]`: train a shipped model; 0 when it is finished."""
    name, folder, problem = _read(argv)
    if problem:
        print(problem, file=sys.stderr)
        return 2
    checkpoint = CHECKPOINTS / f"{name}.pt"
    try:
        run = train_recipe(RECIPES[name], folder / name, checkpoint)
    except (CheckpointError, TrainingError) as error:
        print(error, file=sys.stderr)
        return 1
    if not run.finished:
        print(
            f"Stopped after {run.steps_done} of {run.config.steps} steps. "
            f"`python3 -m utils train {name}` goes on from there."
        )
        return 130
    if _is_first_process():
        for file in (checkpoint, _beside(checkpoint)):
            file.unlink(missing_ok=True)
        print(f"{name} is trained and saved in {folder}.")
    return 0


def _read(argv: list[str]) -> tuple[str, Path, str | None]:
    """The name, the folder to write to, and what is wrong, if anything is."""
    words, folder = list(argv), MODEL_FOLDER
    if "--out" in words[:-1]:
        at = words.index("--out")
        folder = Path(words[at + 1])
        del words[at : at + 2]
    elif os.environ.get("COURSE_TRAIN", "full") != "full":
        return "", folder, UNFIT_TO_SHIP
    if len(words) == 1 and words[0] in RECIPES:
        return words[0], folder, None
    given = f"There is no model named {words[0]!r}. " if words else ""
    return "", folder, f"{given}Give one name: {', '.join(RECIPES)}."
