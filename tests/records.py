"""`python3 -m utils records [NAME ...]`: train what the kept records show, again.

Each experiment is a recipe, trained with several seeds, and measured on the way by the
solutions' own analyses. The result goes to `utils/assets/records`, with the weights of
some seeds. A seed that is done is kept in `.training/records`, so an
interrupted command goes on with the next. All of them together take some two hours on
two cores; the shipped files were made by this command.
"""

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from jaxtyping import Float, Int
from torch import Tensor

from solutions.ch0_toolbox import per_token_loss
from solutions.ch2_zero_layer import bigram_log_probs
from solutions.ch4_two_layer import pattern_preserving_ablation
from solutions.ch5_induction_heads import (
    prefix_matching_score,
    previous_token_score,
    repeat_loss,
    repeated_tokens,
)
from utils.models.attention_only import (
    AttentionOnlyTransformer,
    as_bridge,
    save_model,
)
from utils.text.batches import Windows
from utils.text.corpus import START_ID, load_tokenizer, stdlib_corpus
from utils.training.recipes import CHECKPOINTS, LIVE, Recipe
from utils.training.records import RECORD_FOLDER, WEIGHT_FOLDER, Record, save_record
from utils.training.trainer import StepState, train

__all__ = ["EXPERIMENTS", "Experiment", "Watch", "main", "make"]

PARTS = CHECKPOINTS / "records"
N_WINDOWS = 256
# Made up for the course: two names that no training text holds, each used again.
SENTENCE = """class Mossgrove:
    def wick(self, lamp):
        return lamp

m = Mossgrove()
m.wick(Mossgrove)
"""


@dataclass(frozen=True)
class Experiment:
    """A recipe, the seeds it is trained with, and when snapshots are taken.

    `keep` is how many of the first seeds leave their weights, named after the
    experiment and the seed. `patterns` keeps the attention on SENTENCE.
    """

    recipe: Recipe
    seeds: tuple[int, ...] = (0, 1, 2)
    every: int = 15
    keep: int = 0
    patterns: bool = False

    @property
    def steps(self) -> tuple[int, ...]:
        """After how many updates there is a snapshot."""
        last = self.recipe.training.steps
        return tuple(sorted({*range(0, last, self.every), last}))


def _changed(recipe: Recipe, steps: int | None = None, **model) -> Recipe:
    """A recipe with another number of steps and other choices of the model."""
    training = replace(recipe.training, steps=steps or recipe.training.steps)
    return replace(recipe, model=replace(recipe.model, **model), training=training)


# The arms that are compared with the paper: a longer context, the shipped models' 1,024
# tokens, and the same steps with and without repeats in the data. On text the rate is
# constant, so that no schedule can make the change (O-10); with repeats it falls in the
# last third, as it did for the shipped models.
_LONG = replace(_changed(LIVE, steps=1500, d_vocab=1024, n_ctx=256), batch_size=16)
_TEXT = replace(_LONG, repeat_share=0.0)
_MIXED = replace(
    _LONG, training=replace(_LONG.training, schedule="linear", decay_share=1 / 3)
)
_ADAM = replace(
    _LONG,
    training=replace(_LONG.training, steps=2000, optimizer="adamw", lr=3e-3),
)
TWO_SEEDS, FIVE_SEEDS = (0, 1), (0, 1, 2, 3, 4)

EXPERIMENTS = {
    "text_two_layer": Experiment(_TEXT, every=50, keep=3),
    "text_one_layer": Experiment(_changed(_TEXT, n_layers=1), every=50),
    "text_one_layer_smeared": Experiment(
        _changed(_TEXT, n_layers=1, smeared_keys=True), every=50
    ),
    "text_two_layer_smeared": Experiment(
        _changed(_TEXT, smeared_keys=True), TWO_SEEDS, every=50
    ),
    "mixed_two_layer": Experiment(_MIXED, every=30, keep=3),
    "mixed_one_layer": Experiment(_changed(_MIXED, n_layers=1), every=30, keep=3),
    "mixed_two_layer_adamw": Experiment(_ADAM, seeds=(0,), every=50, keep=1),
    "live_two_layer": Experiment(LIVE, FIVE_SEEDS, patterns=True),
    "live_one_layer": Experiment(_changed(LIVE, n_layers=1), patterns=True),
    "live_three_layer": Experiment(_changed(LIVE, n_layers=3), every=25),
    "live_one_layer_smeared": Experiment(_changed(LIVE, n_layers=1, smeared_keys=True)),
    "live_two_layer_smeared": Experiment(_changed(LIVE, smeared_keys=True), TWO_SEEDS),
    "live_positions_in_stream": Experiment(_changed(LIVE, positions="stream"), keep=3),
    "live_fixed_lag_one_layer": Experiment(
        replace(_changed(LIVE, n_layers=1), lag=40), every=25
    ),
    "live_fixed_lag_two_layer": Experiment(replace(LIVE, lag=40), TWO_SEEDS, every=25),
    "live_repeats_0": Experiment(replace(LIVE, repeat_share=0.0), TWO_SEEDS, every=25),
    "live_repeats_3": Experiment(replace(LIVE, repeat_share=0.03), TWO_SEEDS, every=25),
    "live_repeats_50": Experiment(replace(LIVE, repeat_share=0.5), TWO_SEEDS, every=25),
    # The same number of tokens in each step.
    "live_context_16": Experiment(
        replace(_changed(LIVE, n_ctx=16), batch_size=256), TWO_SEEDS, every=25
    ),
    "live_context_64": Experiment(
        replace(_changed(LIVE, n_ctx=64), batch_size=64), TWO_SEEDS, every=25
    ),
}


class Watch:
    """What is measured at each snapshot, on texts that are the same for all seeds.

    `windows` are held-out text at random offsets. `repeats` are spans of `span` random
    tokens in as many copies as fit, at most 4; `fixed_lag` rows repeat at the recipe's
    own lag when it has one.
    """

    def __init__(self, experiment: Experiment, n_windows: int | None = None):
        n_windows = n_windows or N_WINDOWS
        recipe = experiment.recipe
        n_ctx, d_vocab = recipe.model.n_ctx, recipe.model.d_vocab
        self.experiment, self.recipe = experiment, recipe
        corpus = stdlib_corpus(d_vocab)
        self.windows = Windows(corpus.heldout_tokens, n_windows, n_ctx, seed=99)(0)
        self.span = min(25, (n_ctx - 1) // 2)
        copies = min(4, (n_ctx - 1) // self.span)
        self.repeats = repeated_tokens(d_vocab, self.span, copies, batch=8, seed=9)
        self.fixed_lag = None
        if recipe.lag is not None:
            self.fixed_lag = repeated_tokens(d_vocab, recipe.lag, batch=8, seed=8)
        words = load_tokenizer(d_vocab).encode(SENTENCE, add_special_tokens=False)
        self.sentence = torch.tensor([[START_ID, *words]])[:, :n_ctx]
        self.chosen = _chosen(n_windows, n_ctx)
        self.kinds = repeat_kinds(self.windows)

    @property
    def bands(self) -> dict[str, tuple[int, int]]:
        """Columns of the losses, first included and last not, early and late.

        At about 0.1 and 0.95 of the context, as in O-02, and wide enough to be steady.
        """
        n = self.recipe.model.n_ctx
        return {"early": (n // 16, n // 8), "late": (n - 1 - n // 8, n - 1)}

    def losses(self, model) -> Float[Tensor, "window pos"]:
        """The loss of every token of the windows but the start token."""
        parts = self.windows.split(32)
        return torch.cat([per_token_loss(model, part) for part in parts])

    def fixed(self) -> dict[str, Tensor]:
        """What belongs to the windows and not to the model."""
        d_vocab = self.recipe.model.d_vocab
        rows = stdlib_corpus(d_vocab).rows("train", self.recipe.model.n_ctx)
        table = bigram_log_probs(rows.long(), d_vocab, pseudocount=0.1)
        bigram = -table[self.windows[:, :-1], self.windows[:, 1:]]
        kinds = self.kinds
        return {
            "bigram_loss_by_position": bigram.mean(0),
            **{f"bigram_{k}": v for k, v in self._in_bands(bigram).items()},
            "token_kind": kinds[self.chosen].to(torch.uint8),
            "kind_share": torch.stack([(kinds == k).float().mean() for k in range(3)]),
        }

    def __call__(self, network: AttentionOnlyTransformer) -> dict[str, Tensor]:
        """One snapshot: a tensor for each series."""
        model = as_bridge(network)
        losses = self.losses(network)
        kinds = self.kinds
        found = {
            "text_loss": losses.mean(),
            "repeat_loss": torch.tensor(repeat_loss(model, self.repeats, self.span)),
            "previous_token": previous_token_score(model, self.repeats),
            "prefix_matching": prefix_matching_score(model, self.repeats),
            "loss_by_position": losses.mean(0),
            "token_losses": losses[self.chosen].half(),
            "kind_loss": torch.stack([losses[kinds == k].mean() for k in range(3)]),
            **{k: v.half() for k, v in self._in_bands(losses).items()},
        }
        if self.fixed_lag is not None:
            scores = prefix_matching_score(model, self.fixed_lag)
            found["prefix_matching_at_fixed_lag"] = scores
        if self.experiment.patterns:
            _, cache = model.run_with_cache(self.sentence)
            layers = range(model.cfg.n_layers)
            attention = torch.stack([cache["pattern", layer][0] for layer in layers])
            found["attention"] = (255 * attention).round().to(torch.uint8)
        return found

    def after(self, network: AttentionOnlyTransformer) -> dict[str, Tensor]:
        """At the end of a run: the change of token losses when a head is left out."""
        model = as_bridge(network)
        with_all = self.losses(network)[self.chosen]
        changes = []
        for layer in range(model.cfg.n_layers):
            for head in range(model.cfg.n_heads):
                without = self._losses_without(model, (layer, head))
                changes.append((without[self.chosen] - with_all).half())
        shape = (model.cfg.n_layers, model.cfg.n_heads, -1)
        return {"ablation_change": torch.stack(changes).view(shape)}

    def _losses_without(self, model, head: tuple[int, int]) -> Tensor:
        return self.losses(
            lambda rows: pattern_preserving_ablation(model, rows, [head])
        )

    def _in_bands(self, losses: Tensor) -> dict[str, Float[Tensor, "window"]]:
        return {
            f"{name}_loss": losses[:, first:last].mean(1)
            for name, (first, last) in self.bands.items()
        }


def _chosen(n_windows: int, n_ctx: int) -> tuple[Tensor, Tensor]:
    """Four tokens of each window, from its second half: rows and columns."""
    columns = torch.linspace(n_ctx // 2, n_ctx - 2, 4).long()
    rows = torch.arange(n_windows).repeat_interleave(4)
    return rows, columns.repeat(n_windows)


def repeat_kinds(rows: Int[Tensor, "row pos"]) -> Int[Tensor, "row pos-1"]:
    """What the text before says of each next token (O-09).

    0: the current token has not occurred before in the row. 1: it has, and what came
    next the last time comes next again. 2: it has, and something else comes next.
    """
    kinds = torch.zeros(rows.shape[0], rows.shape[1] - 1, dtype=torch.long)
    for r, row in enumerate(rows.tolist()):
        followed: dict[int, int] = {}
        for i in range(len(row) - 1):
            if row[i] in followed:
                kinds[r, i] = 1 if followed[row[i]] == row[i + 1] else 2
            followed[row[i]] = row[i + 1]
    return kinds


def run_seed(name: str, seed: int) -> dict[str, Tensor]:
    """Train one seed and return its series; from `.training/records` if it is there."""
    path = PARTS / f"{name}-{seed}.safetensors"
    if path.exists():
        return safetensors.torch.load_file(path)
    experiment = EXPERIMENTS[name]
    recipe = replace(experiment.recipe, seed=seed)
    watch = Watch(experiment)
    network = AttentionOnlyTransformer(recipe.model, seed=seed)
    snapshots: list[Mapping[str, Tensor]] = []
    wanted = set(experiment.steps)

    @torch.no_grad()
    def look(state: StepState | None) -> None:
        if state is None or state.step in wanted:
            network.eval()
            snapshots.append(watch(network))

    look(None)
    batches = recipe.batches(stdlib_corpus(recipe.model.d_vocab))
    run = train(network, batches, recipe.training, on_step=look, mode="full")
    if not run.finished:
        raise KeyboardInterrupt
    series = {key: torch.stack([s[key] for s in snapshots]) for key in snapshots[0]}
    if experiment.keep:
        with torch.no_grad():
            series |= watch.after(network)
    PARTS.mkdir(parents=True, exist_ok=True)
    if seed in experiment.seeds[: experiment.keep]:
        about = {"recipe": asdict(recipe), "seed": seed, "tokens_seen": _tokens(recipe)}
        save_model(network, PARTS / f"{name}_{seed}", about)
    safetensors.torch.save_file(series, path)
    return series


def _tokens(recipe: Recipe) -> int:
    return recipe.training.steps * recipe.batch_size * recipe.model.n_ctx


def make(name: str) -> Path:
    """Train all seeds of an experiment and write its record and its models."""
    experiment = EXPERIMENTS[name]
    recipe = experiment.recipe
    runs = [run_seed(name, seed) for seed in experiment.seeds]
    watch = Watch(experiment)
    series = {key: torch.stack([run[key] for run in runs]) for key in runs[0]}
    if experiment.patterns:
        series["attention"] = series["attention"][:1]
    record = Record(
        name=name,
        model=recipe.model,
        seeds=experiment.seeds,
        steps=torch.tensor(experiment.steps),
        series=series,
        fixed=watch.fixed() | {"sentence": watch.sentence},
        about={
            "recipe": asdict(recipe),
            "tokens_per_step": recipe.batch_size * recipe.model.n_ctx,
            "bands": watch.bands,
            "span": watch.span,
            "windows": len(watch.windows),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    )
    WEIGHT_FOLDER.mkdir(parents=True, exist_ok=True)
    for seed in experiment.seeds[: experiment.keep]:
        for end in (".safetensors", ".json"):
            part = (PARTS / f"{name}_{seed}").with_suffix(end)
            (WEIGHT_FOLDER / part.name).write_bytes(part.read_bytes())
    return save_record(record, RECORD_FOLDER)


def main(argv: list[str]) -> int:
    """Make the records named, or all of them; 0 when they are written."""
    unknown = [name for name in argv if name not in EXPERIMENTS]
    if unknown:
        known = ", ".join(EXPERIMENTS)
        print(
            f"There is no record {unknown[0]!r}. There are: {known}.", file=sys.stderr
        )
        return 2
    for name in argv or EXPERIMENTS:
        print(f"{make(name)} is written.")
    return 0
