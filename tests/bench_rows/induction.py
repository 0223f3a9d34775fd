"""Time until a head attends as induction does, for both trainers and for a ladder.

A run ends when the best head's prefix matching reaches 0.5, or at a limit; what was
not reached is shown as "more than" the time it was given. Prefix matching is measured
every ten updates, and the time that takes is not counted.

The ladder starts from our recipe and changes one thing at a time, so that one can see
which of the differences between the two trainers makes the ratio.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import torch
from transformer_lens.model_bridge import TransformerBridge

from solutions.ch5_induction_heads import prefix_matching_score, repeated_tokens
from tests.bench_rows import Row, ratio_text
from tests.bench_rows.contenders import (
    FullLogits,
    QuickLoss,
    native_model,
    ours,
    theirs,
)
from utils.models.attention_only import AttentionOnlyTransformer, as_bridge
from utils.training.recipes import Recipe

__all__ = ["LADDER", "THRESHOLD", "Outcome", "Watch", "induction_rows"]

THRESHOLD = 0.5
EVERY = 10
SPAN, COPIES = 25, 4
# The other trainer is given this many times our median, and a little more.
FACTOR, MARGIN = 20, 1.05
OUR_LIMIT = 600.0


@dataclass(frozen=True)
class Outcome:
    """How a run ended: seconds and updates of training, the best score, if reached."""

    seconds: float
    steps: int
    best: float
    reached: bool


class Watch:
    """Ends a run at the threshold or the limit, and counts only time spent training.

    Its `goes_on` is the `on_step` of a contender. `score` gives the best head's prefix
    matching of the model as it is now.
    """

    def __init__(
        self,
        score: Callable[[], float],
        limit: float,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.score, self.limit, self.clock = score, limit, clock
        self.start, self.measuring, self.best = clock(), 0.0, 0.0
        self.outcome: Outcome | None = None

    def goes_on(self, step: int) -> bool:
        """Measure if it is time to, and say whether training goes on."""
        seconds = self.clock() - self.start - self.measuring
        late = seconds >= self.limit
        if step % EVERY and not late:
            return True
        before = self.clock()
        self.best = max(self.best, self.score())
        self.measuring += self.clock() - before
        self.outcome = Outcome(seconds, step, self.best, self.best >= THRESHOLD)
        return not (late or self.outcome.reached)


def best_prefix_matching(
    bridge: TransformerBridge, span: int = SPAN, copies: int = COPIES
) -> Callable[[], float]:
    """A function that measures the best head now; the rows are the same each time."""
    rows = repeated_tokens(bridge.cfg.d_vocab, span, copies, batch=8)

    @torch.no_grad()
    def score() -> float:
        training = bridge.training
        best = prefix_matching_score(bridge.eval(), rows).max().item()
        bridge.train(training)
        return best

    return score


# --- The runs ---------------------------------------------------------------------

Contender = Callable[[Recipe, float], Outcome]


def our_run(
    recipe: Recipe,
    limit: float,
    contender: Callable = ours,
    wrap: Callable | None = None,
) -> Outcome:
    """Our model by our recipe; `contender` changes the trainer, `wrap` the loss."""
    model = AttentionOnlyTransformer(recipe.model, recipe.seed)
    watch = Watch(best_prefix_matching(as_bridge(model)), limit)
    contender(recipe, watch.goes_on, wrap(model) if wrap else model)
    return watch.outcome


def their_run(
    recipe: Recipe,
    limit: float,
    contender: Callable = theirs,
    normalization_type: str | None = None,
) -> Outcome:
    """TransformerLens's model by its recipe, or with `contender=ours` by ours."""
    bridge = native_model(recipe, normalization_type)
    watch = Watch(best_prefix_matching(bridge), limit)
    contender(recipe, watch.goes_on, bridge)
    return watch.outcome


def with_model(**changes) -> Contender:
    """Our run with something else in the model's configuration."""
    return lambda recipe, limit: our_run(
        replace(recipe, model=replace(recipe.model, **changes)), limit
    )


def with_training(**changes) -> Contender:
    """Our run with something else in the training's configuration."""
    return lambda recipe, limit: our_run(
        replace(recipe, training=replace(recipe.training, **changes)), limit
    )


IN_FLOAT32 = "ours in float32"
LADDER: dict[str, Contender] = {
    "ours, positions added to the stream": with_model(positions="stream"),
    "ours, positions begin as noise": with_model(position_init="normal"),
    "ours, AdamW at 1e-2 for all, no Muon": with_training(optimizer="adamw", lr=1e-2),
    "ours, AdamW at 3e-3 for all, no Muon": with_training(optimizer="adamw", lr=3e-3),
    IN_FLOAT32: with_training(dtype="float32"),
    "ours, F.cross_entropy on all logits": lambda recipe, limit: our_run(
        recipe, limit, wrap=FullLogits
    ),
    "TransformerLens's model, our recipe": lambda recipe, limit: their_run(
        recipe, limit, contender=ours
    ),
    "our model, TransformerLens's recipe": lambda recipe, limit: our_run(
        recipe, limit, contender=theirs, wrap=QuickLoss
    ),
    "TransformerLens's own, with its LayerNorm": lambda recipe, limit: their_run(
        recipe, limit, normalization_type="LN"
    ),
}


# --- The rows ---------------------------------------------------------------------


def induction_rows(
    recipe: Recipe,
    seeds: int = 5,
    limit: float | None = None,
    ladder: Mapping[str, Contender] = LADDER,
) -> Iterator[Row]:
    """Rows as they are measured: ours with several seeds, theirs once, the ladder.

    `limit` bounds TransformerLens's run in seconds, by default 20 times our median and
    5 % more. Each rung of the ladder is given a quarter of it. Ours are bounded by it
    too, or by ten minutes.
    """
    # Imports and the reading of the text are nobody's training.
    dtype = ours(recipe, lambda step: False).dtype
    theirs(recipe, lambda step: False)
    found = [
        our_run(replace(recipe, seed=seed), limit or OUR_LIMIT) for seed in range(seeds)
    ]
    base, slowest = median_and_slowest(found)
    tokens = recipe.batch_size * recipe.model.n_ctx
    yield row(f"ours, median of {seeds} seeds", base, tokens)
    yield row(f"ours, slowest of {seeds} seeds", slowest, tokens)
    limit = limit or FACTOR * MARGIN * base.seconds
    other = their_run(recipe, limit)
    yield row("TransformerLens's own model and trainer", other, tokens, base)
    for name, contender in ladder.items():
        if name == IN_FLOAT32 and dtype == "float32":
            continue
        yield row(name, contender(recipe, limit / 4), tokens, base)


def median_and_slowest(found: list[Outcome]) -> tuple[Outcome, Outcome]:
    """The middle run and the last; one that did not arrive is later than all that did.

    Of an even number the later one in the middle is taken, so that it is a run that
    there was.
    """
    order = sorted(found, key=lambda o: (not o.reached, o.seconds))
    return order[len(order) // 2], order[-1]


def row(
    what: str, outcome: Outcome, tokens_per_step: int, base: Outcome | None = None
) -> Row:
    """A run's row; with `base`, our median, its time as a multiple of ours.

    Example:
        >>> ours = Outcome(40.0, 400, 0.61, True)
        >>> theirs = Outcome(850.0, 5000, 0.031, False)
        >>> found = row("theirs", theirs, 4096, ours)
        >>> found.ours
        'more than 850 s (best prefix matching 0.03)'
        >>> found.other, found.ratio
        ('20.5 M tokens, 24,094/s', 'more than 21 times')
    """
    seconds = f"{outcome.seconds:.0f} s"
    if not outcome.reached:
        seconds = f"more than {int(outcome.seconds)} s"
        seconds += f" (best prefix matching {outcome.best:.2f})"
    tokens = outcome.steps * tokens_per_step
    seen = f"{tokens / 1e6:.1f} M tokens, {tokens / outcome.seconds:,.0f}/s"
    ratio = ""
    if base is not None and base.reached:
        ratio = ratio_text(outcome.seconds / base.seconds, not outcome.reached)
    return Row(what, seconds, seen, ratio)
