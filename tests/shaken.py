"""Run things again as another computer might: other kernels, last digits and draws.

A verdict that holds for one set of rounding errors and one draw says little. So
`python3 -m utils claims --shake N` measures each row N times more, in processes of
their own: with other kernels of torch and MKL and another number of threads, with every
initial weight of a model that is trained moved to a neighbouring number, and, where
something is drawn, with other seeds.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from tests.claim_rows import Claim, all_claims
from utils.models.attention_only import AttentionOnlyTransformer
from utils.text.planted import PlantedLanguage

__all__ = ["KERNELS", "next_to", "other_draws", "other_last_digits", "shake"]

# What torch and MKL were seen to obey, and to compute other last digits with.
KERNELS = (
    {"ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "1"},
    {"MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"},
    {"ATEN_CPU_CAPABILITY": "avx2", "OMP_NUM_THREADS": "2"},
    {
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
        "OMP_NUM_THREADS": "1",
    },
)
APART = 1_000  # seeds of two shakes differ by more than any row counts


def next_to(values: Tensor, seed: int) -> Tensor:
    """Each number moved to the next larger or the next smaller one, as a coin says."""
    coins = np.random.default_rng(seed).random(tuple(values.shape)) < 0.5
    ends = torch.where(torch.from_numpy(coins), torch.inf, -torch.inf)
    return torch.nextafter(values, ends.to(values))


@contextlib.contextmanager
def other_last_digits(seed: int) -> Iterator[None]:
    """Models made inside begin with weights one unit in the last place away."""
    initialise = AttentionOnlyTransformer._initialise

    def moved(self, own_seed: int) -> None:
        initialise(self, own_seed)
        with torch.no_grad():
            for i, parameter in enumerate(self.parameters()):
                parameter.copy_(next_to(parameter, seed * 100 + i))

    with mock.patch.object(AttentionOnlyTransformer, "_initialise", moved):
        yield


@contextlib.contextmanager
def other_draws(seed: int) -> Iterator[None]:
    """Every seed given inside to torch or a planted language's texts is another."""
    sample = PlantedLanguage.sample

    class Generator(torch.Generator):
        def manual_seed(self, own_seed: int):
            return super().manual_seed(own_seed + APART * seed)

    def other_sample(self, n_rows: int, n_ctx: int, own_seed: int = 0, **words):
        own_seed = words.pop("seed", own_seed)
        return sample(self, n_rows, n_ctx, seed=own_seed + APART * seed)

    with (
        mock.patch.object(torch, "Generator", Generator),
        mock.patch.object(PlantedLanguage, "sample", other_sample),
    ):
        yield


def shake(
    claims: Sequence[Claim], number: int
) -> Iterator[tuple[Claim, str, str, float]]:
    """Measure once more: yield each claim, its verdict, our numbers, and the seconds.

    `number` says which kernels and which seeds. Rows that rest on the same thing share
    a process, because they may share a model.
    """
    places = {id(claim): place for place, claim in enumerate(all_claims())}
    for kind in dict.fromkeys(claim.rests_on for claim in claims):
        chosen = [places[id(c)] for c in claims if c.rests_on == kind]
        command = [sys.executable, "-m", "tests.shaken", str(number), kind]
        with subprocess.Popen(
            [*command, *map(str, chosen)],
            env={**os.environ, **KERNELS[number % len(KERNELS)]},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            for line in process.stdout:
                place, *rest = json.loads(line)
                yield all_claims()[place], *rest
        if process.returncode:
            raise RuntimeError(f"A shaken run ended with code {process.returncode}.")


def _measured(number: int, kind: str, places: list[int]) -> None:
    """In the new process: measure, and print a line of JSON for each row."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    with contextlib.ExitStack() as stack:
        if kind == "trains":
            stack.enter_context(other_last_digits(number))
        if kind == "draws":
            stack.enter_context(other_draws(number + 1))
        for place in places:
            start = time.perf_counter()
            finding = all_claims()[place].find()
            seconds = time.perf_counter() - start
            line = [place, finding.verdict, finding.ours, seconds]
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    _measured(int(sys.argv[1]), sys.argv[2], [int(word) for word in sys.argv[3:]])
