"""A real language model: what a learner's functions cost, and the library's.

SmolLM2 where it was fetched, else a model of its shapes that has learned nothing. Each
analysis runs in a process of its own, `python -m tests.bench_rows.real_models NAME
WHO`, so that its largest memory is its own. Where the library would take minutes or
more memory than there is, it does a part, and the row says which; what both return is
compared in float64, the behaviour as the model computes it (`Task.apart`). Called by
`tests/bench.py`.

Over 400 lines: each task stands with the library's way and with how far both are apart.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformer_lens import FactoredMatrix, head_detector
from transformer_lens.model_bridge import TransformerBridge

from solutions.ch5_induction_heads import repeated_tokens
from solutions.ch7_real_models import (
    composition_graph,
    copying_scores,
    grouped_heads,
    induction_scores,
    top_ov_pairs,
)
from tests.bench_rows import Row, middle, ratio_text
from tests.bench_rows.chapters import chapter_rows
from utils.launcher import environment
from utils.models.real import (
    best_here,
    folder_of,
    is_whole,
    load_real_model,
    start_id,
    weights_of,
)

__all__ = ["TASKS", "Subject", "Task", "real_model_rows"]

ROUNDS = 3
LAYERS, HEADS, GROUPS, D_MODEL, D_HEAD, D_VOCAB = 30, 9, 3, 576, 64, 49_152
FEW_LAYERS, FEW_TOKENS, HEAD = 6, 4096, (17, 3)
RESET_PEAK = "/proc/self/clear_refs"


class Subject:
    """The model that is measured, its weights, and a part of it for the library."""

    @cached_property
    def model(self) -> TransformerBridge:
        if is_whole("smollm2", thorough=False):
            return load_real_model("smollm2", folded=True)
        return _of_its_shapes(LAYERS)

    @cached_property
    def shallow(self) -> TransformerBridge:
        """The first layers alone: all pairs at once in the library need 20 GB."""
        return _of_its_shapes(FEW_LAYERS)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        return grouped_heads(weights_of(self.model))

    @cached_property
    def rows(self) -> Tensor:
        tokens = repeated_tokens(self.model.cfg.d_vocab, 40, batch=8)
        tokens[:, 0] = start_id(self.model)
        return tokens

    @cached_property
    def replayed(self) -> "Replayed":
        """The model's own patterns on these rows, so that reading them is timed."""
        return Replayed(self.model, self.rows)


class Replayed:
    """Stands in for a model that has run: it shows its kept patterns, at no cost."""

    def __init__(self, model: TransformerBridge, rows: Tensor):
        self.cfg = model.cfg
        _, cache = model.run_with_cache(rows, names_filter=_is_pattern)
        self._patterns = [cache["pattern", i] for i in range(model.cfg.n_layers)]

    def run_with_hooks(self, tokens: Tensor, fwd_hooks: list) -> None:
        for pattern, (_, hook) in zip(self._patterns, fwd_hooks, strict=True):
            hook(pattern, None)

    def run_with_cache(self, tokens: Tensor) -> tuple[None, dict]:
        return None, {("pattern", i): one for i, one in enumerate(self._patterns)}


def _is_pattern(name: str) -> bool:
    return name.endswith("hook_pattern")


def _of_its_shapes(n_layers: int) -> TransformerBridge:
    """SmolLM2's first layers, or as many that have learned nothing; not folded."""
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    from utils.text.tokenizer import load_tokenizer

    if is_whole("smollm2", thorough=False):
        model = AutoModelForCausalLM.from_pretrained(
            folder_of("smollm2"), num_hidden_layers=n_layers, dtype=torch.float32
        )
    else:
        config = LlamaConfig(
            vocab_size=D_VOCAB,
            hidden_size=D_MODEL,
            intermediate_size=1536,
            num_hidden_layers=n_layers,
            num_attention_heads=HEADS,
            num_key_value_heads=GROUPS,
            tie_word_embeddings=True,
        )
        model = LlamaForCausalLM(config)
    bridge = TransformerBridge.boot_transformers(
        "llama", hf_model=model, tokenizer=load_tokenizer(4096), dtype=torch.float32
    )
    return bridge.requires_grad_(False)


# --- The same by the library ----------------------------------------------------------


def pairs_by_factored_matrix(weights: dict[str, Tensor], pairs: int = 400) -> Tensor:
    """So many K-compositions of layer 0 with layer 1, pair by pair."""
    W, heads = weights, weights["W_Q"].shape[1]
    ov = [FactoredMatrix(W["W_V"][0, h], W["W_O"][0, h]) for h in range(heads)]
    kq = [FactoredMatrix(W["W_K"][1, h], W["W_Q"][1, h].T) for h in range(heads)]
    scores = [
        (ov[i] @ kq[j]).norm() / ov[i].norm() / kq[j].norm()
        for i, j in (divmod(pair % heads**2, heads) for pair in range(pairs))
    ]
    return torch.stack(scores[: heads**2]).view(heads, heads)


def copying_by_factored_matrix(weights: dict[str, Tensor], heads: int = 9) -> Tensor:
    """The copying scores of the first heads of layer 0."""
    W, scores = weights, []
    for head in range(heads):
        into = W["W_E"] @ W["W_V"][0, head]
        found = FactoredMatrix(into, W["W_O"][0, head] @ W["W_U"]).eigenvalues
        scores.append(found.sum().real / found.abs().sum())
    return torch.stack(scores)


def top_by_factored_matrix(
    weights: dict[str, Tensor], strips: int, k: int = 100
) -> Tensor:
    """The largest entries of so many strips of 512 rows of one full OV circuit."""
    layer, head = HEAD if len(weights["W_V"]) > HEAD[0] else (0, 0)
    path = FactoredMatrix(weights["W_V"][layer, head], weights["W_O"][layer, head])
    circuit = weights["W_E"] @ path @ weights["W_U"]
    best = weights["W_E"].new_empty(0)
    for start in range(0, min(512 * strips, len(weights["W_E"])), 512):
        strip = circuit[start : start + 512].AB
        strip = strip - strip.mean(dim=1, keepdim=True)
        best = torch.cat([best, strip.flatten().topk(k).values]).topk(k).values
    return best


def behaviour_by_detectors(model: TransformerBridge, rows: Tensor) -> Tensor:
    """Three of the five scores, [score, layer, head], row by row."""
    _, cache = model.run_with_cache(rows)
    cfg, found = model.cfg, []
    patterns = [
        getattr(head_detector, f"get_{name}_head_detection_pattern")
        for name in ("induction", "previous_token", "duplicate_token")
    ]
    for pattern in patterns:
        wanted = [pattern(row[None]) for row in rows]
        scores = [
            head_detector.compute_head_attention_similarity_score(
                cache["pattern", layer][row, head],
                wanted[row],
                exclude_bos=False,
                exclude_current_token=False,
                error_measure="mul",
            )
            for layer in range(cfg.n_layers)
            for head in range(cfg.n_heads)
            for row in range(len(rows))
        ]
        found.append(torch.tensor(scores).view(cfg.n_layers, cfg.n_heads, -1).mean(-1))
    return torch.stack(found)


# --- How far both are apart -----------------------------------------------------------


def _in_float64(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() for name, value in weights.items()}


def largest(difference: Tensor) -> float:
    return difference.abs().max().item()


def graph_apart(subject: Subject) -> float:
    model = subject.shallow.double()
    ours = composition_graph(grouped_heads(weights_of(model)), "k")
    return largest(ours - model.all_composition_scores("K").scores)


def pairs_apart(subject: Subject) -> float:
    names = ("W_Q", "W_K", "W_V", "W_O", "b_K", "b_V")
    some = _in_float64({name: subject.weights[name][:2] for name in names})
    ours = composition_graph(some, "k")[0, :, 1]
    return largest(ours - pairs_by_factored_matrix(some, HEADS**2))


def copying_apart(subject: Subject) -> float:
    names = ("W_E", "W_U", "W_V", "W_O")
    some = _in_float64({name: subject.weights[name] for name in names})
    some |= {name: some[name][:1] for name in ("W_V", "W_O")}
    return largest(copying_scores(some)[0] - copying_by_factored_matrix(some))


def top_apart(subject: Subject) -> float:
    """On the first tokens: the largest entries of all have no room in float64."""
    layer, head = HEAD
    W = subject.weights
    some = {"W_E": W["W_E"][:FEW_TOKENS], "W_U": W["W_U"][:, :FEW_TOKENS]}
    some |= {name: W[name][layer, head][None, None] for name in ("W_V", "W_O")}
    some = _in_float64(some)
    ours = top_ov_pairs(some, 0, 0, k=100)[0]
    return largest(ours - top_by_factored_matrix(some, FEW_TOKENS // 512))


def behaviour_apart(subject: Subject) -> float:
    """The library divides by all queries, ours by those that have such a key."""
    theirs = behaviour_by_detectors(subject.replayed, subject.rows)
    ours = induction_scores(subject.replayed, subject.rows)[:3]
    n = subject.rows.shape[1]
    asked = torch.tensor([(n - 1) // 2, n - 1, (n - 1) // 2])
    # Each token of the second copy has one key behind its first copy; so has the last
    # of the first copy when it comes to the second's first.
    return largest(ours * asked[:, None, None] / n - theirs)


# --- The rows -------------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """One analysis: ours, the library's (a `part` of the work), and how far apart.

    `times` is how often the library's part goes into the whole.
    """

    what: str
    limit: str
    ours: Callable[[Subject], object]
    theirs: Callable[[Subject], object]
    apart: Callable[[Subject], float]
    times: float = 1.0
    part: str = ""
    before: tuple[str, ...] = ("weights",)


TASKS = {
    "graph": Task(
        "K-composition of all pairs of 270 heads",
        "limit 8 s",
        lambda s: composition_graph(s.weights, "k"),
        lambda s: pairs_by_factored_matrix(s.weights),
        pairs_apart,
        LAYERS * (LAYERS - 1) / 2 * HEADS**2 / 400,
        "from 400 pairs",
    ),
    "few_layers": Task(
        f"the same for its first {FEW_LAYERS} layers",
        "",
        lambda s: composition_graph(grouped_heads(weights_of(s.shallow)), "k"),
        lambda s: s.shallow.all_composition_scores("K"),
        graph_apart,
        part="all_composition_scores",
        before=("shallow",),
    ),
    "copying": Task(
        "copying scores of 270 heads",
        "limit 2 s, 2,500 MB",
        lambda s: copying_scores(s.weights),
        lambda s: copying_by_factored_matrix(s.weights),
        copying_apart,
        LAYERS,
        "from 9 heads",
    ),
    "top": Task(
        "the 100 largest entries of one full OV circuit",
        "limit 15 s, 1,500 MB",
        lambda s: top_ov_pairs(s.weights, *HEAD, k=100),
        lambda s: top_by_factored_matrix(s.weights, 8),
        top_apart,
        D_VOCAB / 512 / 8,
        "from 8 strips of 96",
    ),
    "behaviour": Task(
        "behaviour of all heads, 8 rows of 81 tokens",
        "limit 10 s",
        lambda s: induction_scores(s.model, s.rows),
        lambda s: behaviour_by_detectors(s.model, s.rows),
        behaviour_apart,
        part="three of five scores, by head_detector; nearly all is the model's run",
        before=("model", "rows"),
    ),
    "reading": Task(
        "the same once the model has run: a score of all heads",
        "",
        lambda s: induction_scores(s.replayed, s.rows),
        lambda s: behaviour_by_detectors(s.replayed, s.rows),
        behaviour_apart,
        5 / 3,
        "three of five scores, by head_detector",
        before=("replayed",),
    ),
}


def real_model_rows() -> Iterator[Row]:
    """A row for each analysis: time and largest memory, the model's own included.

    Last, the chapter as a whole.
    """
    for name, task in TASKS.items():
        (ours, memory), (theirs, their_memory) = (
            _measured(name, who) for who in ("ours", "theirs")
        )
        apart, _ = _measured(name, "apart")
        part = f" ({task.part})" if task.part else ""
        yield Row(
            f"{task.what} ({task.limit})" if task.limit else task.what,
            f"{_told(ours)} s, {memory:,.0f} MB",
            f"{_told(theirs * task.times)} s{part}, {their_memory:,.0f} MB; "
            f"results {apart:.0e} apart",
            ratio_text(theirs * task.times / ours),
        )
    chapter = "ch7_real_models"
    for row in chapter_rows(which=chapter):
        yield Row(f"{chapter}, {best_here()} (limit 4,000 MB)", row.ours, row.other)


def _told(seconds: float) -> str:
    return f"{seconds:.1f}" if seconds >= 1 else f"{seconds:.2f}"


def _measured(name: str, who: str) -> tuple[float, float]:
    """Seconds (or how far apart) and megabytes, from a process of its own."""
    command = [sys.executable, "-m", "tests.bench_rows.real_models", name, who]
    done = subprocess.run(
        command,
        cwd=environment.ROOT,
        env=environment.child_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    number, megabytes = done.stdout.split()[-2:]
    return float(number), float(megabytes)


def seconds(function: Callable[[], object], rounds: int = ROUNDS) -> float:
    """The median of some rounds, or of one that takes long."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
        if times[0] > 5:
            break
    return middle(times)


@torch.no_grad()
def _child(name: str, who: str) -> None:
    """Measure one thing and print it with the largest memory meanwhile."""
    task, subject = TASKS[name], Subject()
    for part in task.before:
        getattr(subject, part)
    _forget_peak()
    if who == "apart":
        number = task.apart(subject)
    else:
        number = seconds(lambda: getattr(task, who)(subject))
    print(number, _peak())


def _forget_peak() -> None:
    """Linux can begin to count anew; elsewhere the peak is that since the start."""
    if os.path.exists(RESET_PEAK):
        with open(RESET_PEAK, "w", encoding="ascii") as file:
            file.write("5")


def _peak() -> float:
    """The largest memory of this process, in megabytes; nan on Windows."""
    if os.path.exists(RESET_PEAK):
        with open("/proc/self/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    try:
        import resource
    except ImportError:
        return float("nan")
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 2**20 if sys.platform == "darwin" else size / 1024


if __name__ == "__main__":
    _child(*sys.argv[1:])
