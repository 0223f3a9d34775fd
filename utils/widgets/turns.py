"""Several models trained side by side, in turns, and measured after each turn.

Called by the training panel. Each model is trained by `train` on a thread of its own,
of which only the one whose turn it is runs; so the steps, and with them the weights,
are those of `train` alone. Whoever started them can pause and end them meanwhile.
"""

import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from utils.models.attention_only import AttentionOnlyTransformer, as_bridge
from utils.text.corpus import stdlib_corpus
from utils.text.tokenizer import load_tokenizer
from utils.training.recipes import Recipe
from utils.training.trainer import Run, StepState, train
from utils.widgets.snapshots import (
    Measure,
    Snapshot,
    Story,
    kept_snapshots,
    measured,
    save_snapshot,
    words_of,
)

__all__ = ["Arm", "Turns", "folder_of", "read_sentence"]

# In turns. A checkpoint is some megabytes, and a killed kernel loses what came after.
TURNS_PER_CHECKPOINT = 5


def read_sentence(recipe: Recipe, sentence: str) -> Int[Tensor, "1 pos"]:
    """The tokens of a sentence; raises ValueError when the model cannot read them."""
    words = load_tokenizer(recipe.model.d_vocab).encode(sentence)
    most = recipe.model.n_ctx
    if not 2 <= len(words) <= most:
        raise ValueError(
            f"The sentence has {len(words)} tokens with the start token; it needs at "
            f"least 2, and the model reads at most {most}."
        )
    return torch.tensor([words])


@dataclass
class Arm:
    """One model in training: its recipe, its snapshots, and where both are kept."""

    name: str
    recipe: Recipe
    sentence: Int[Tensor, "1 pos"]
    measures: Mapping[str, Measure]
    folder: Path
    step: int = 0
    loss: float | None = None
    total: int = 0
    run: Run | None = None
    done: bool = False
    network: AttentionOnlyTransformer | None = None
    snapshots: list[Snapshot] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    bridge: TransformerBridge | None = None

    def __post_init__(self):
        self.total = self.total or self.recipe.training.steps
        self.words = words_of(self.recipe.model.d_vocab, self.sentence[0])
        self.snapshots = kept_snapshots(self.folder)
        self.step = self.snapshots[-1].step if self.snapshots else 0

    @property
    def checkpoint(self) -> Path:
        """The file that `train` goes on from."""
        return self.folder / "checkpoint.pt"

    @property
    def story(self) -> Story:
        """What has been seen of it so far."""
        model = self.recipe.model
        heads = (model.n_layers, model.n_heads)
        # A copy, because the list still grows while this one is drawn.
        return Story(self.total, heads, self.words, tuple(self.snapshots))

    def renew(self) -> None:
        """The model as it was before its first step, and its snapshot then."""
        self.network = AttentionOnlyTransformer(self.recipe.model, self.recipe.seed)
        self.problems, self.bridge, self.done = {}, None, False
        if not self.snapshots:
            self.look(0)

    def look(self, step: int) -> None:
        """Take a snapshot now; a measure that failed is not asked again."""
        measures = {n: m for n, m in self.measures.items() if n not in self.problems}
        self.network.eval()
        found, problems = measured(self._reader(), measures, self.sentence, step)
        self.problems |= problems
        self.snapshots = [s for s in self.snapshots if s.step < step] + [found]
        save_snapshot(found, self.folder)

    def _reader(self) -> TransformerBridge:
        if self.bridge is None:
            tokenizer = load_tokenizer(self.recipe.model.d_vocab)
            self.bridge = as_bridge(self.network, tokenizer).eval()
        # `train` moves the parameters, which the two share, but does not say so.
        self.bridge.cfg.device = str(next(self.network.parameters()).device)
        return self.bridge

    def forget(self) -> None:
        """Remove everything that was kept of it."""
        for path in [self.checkpoint, *self.folder.glob("*.safetensors")]:
            path.unlink(missing_ok=True)
        self.step, self.loss, self.run, self.snapshots = 0, None, None, []

    def begin_after(self, step: int) -> None:
        """Snapshots later than the checkpoint will be taken again."""
        for late in [s for s in self.snapshots if s.step > step]:
            (self.folder / f"{late.step:07d}.safetensors").unlink(missing_ok=True)
        self.snapshots = [s for s in self.snapshots if s.step <= step]


def folder_of(keep: Path, name: str, *choices: object) -> Path:
    """A folder of its own for each set of choices that changes what is kept in it."""
    slug = "".join(c if c.isalnum() else "-" for c in name.lower())
    return keep / f"{slug}-{zlib.crc32(repr(choices).encode()):08x}"


class Turns:
    """One training of all arms, from where each was left, to its end or `end()`.

    `news` is set whenever there is something new to draw.
    """

    def __init__(self, arms: Sequence[Arm], every: int, mode: str):
        self.arms, self.every, self.mode = list(arms), every, mode
        self.news = threading.Event()
        self.failure: Exception | None = None
        self.ended = self.paused = False
        self._changed = threading.Condition()
        self._turn: Arm | None = None
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Let the arm that is furthest behind begin."""
        for arm in self.arms:
            arm.done = False
        self._turn = self._next()
        for arm in self.arms:
            thread = threading.Thread(target=self._work, args=(arm,), daemon=True)
            self._threads.append(thread)
            thread.start()

    @property
    def alive(self) -> bool:
        """Whether any arm is still in training, or writing its checkpoint."""
        return any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        """Wait until all threads have ended."""
        for thread in self._threads:
            thread.join()

    def pause(self, paused: bool = True) -> None:
        """Wait after the current step; `pause(False)` goes on."""
        self._tell(paused=paused)

    def end(self) -> None:
        """Finish the current step, write the checkpoints, and stop."""
        self._tell(ended=True)

    def _tell(self, **what: bool) -> None:
        with self._changed:
            for name, value in what.items():
                setattr(self, name, value)
            self._changed.notify_all()
        self.news.set()

    def _next(self) -> Arm | None:
        waiting = [arm for arm in self.arms if not arm.done]
        return min(waiting, key=lambda arm: arm.step, default=None)

    def _has_turn(self, arm: Arm) -> bool:
        """Wait for the arm's turn; False when it is to end instead."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.ended or (self._turn is arm and not self.paused)
            )
            return not self.ended

    def _work(self, arm: Arm) -> None:
        try:
            if self._has_turn(arm):
                self._train(arm)
        except Exception as error:
            self.failure = error
            self.end()
        finally:
            with self._changed:
                arm.done = True
                self._turn = self._next()
                self._changed.notify_all()
            self.news.set()

    def _train(self, arm: Arm) -> None:
        arm.renew()
        self.news.set()
        recipe, first = arm.recipe, []

        def after_step(state: StepState) -> bool:
            if not first:
                first.append(state.step)
                arm.begin_after(state.step - 1)
            return self._after_step(arm, state)

        arm.run = train(
            arm.network,
            recipe.batches(stdlib_corpus(recipe.model.d_vocab)),
            replace(
                recipe.training, checkpoint_every=TURNS_PER_CHECKPOINT * self.every
            ),
            checkpoint=arm.checkpoint,
            progress=False,
            on_step=after_step,
            mode=self.mode,
        )
        arm.step = arm.run.steps_done

    def _after_step(self, arm: Arm, state: StepState) -> bool:
        arm.step, arm.total, arm.loss = state.step, state.steps, state.loss
        turn_is_over = state.step % self.every == 0
        if turn_is_over or state.step == state.steps:
            arm.look(state.step)
            self.news.set()
        if state.step == state.steps:
            return True
        if turn_is_over:
            with self._changed:
                self._turn = self._next()
                self._changed.notify_all()
        return self._has_turn(arm)
