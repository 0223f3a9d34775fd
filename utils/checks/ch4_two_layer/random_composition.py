"""Chapter 4, `random_composition`: judge, known mistakes and hints."""

import torch
from torch import Tensor

from utils.checks import Check, Mistake, expect

__all__ = ["CHECK"]


def judge_random_composition(answer) -> None:
    for d_model, d_head, seed in ((40, 12, 0), (30, 4, 3), (25, 7, 5)):
        n = 400
        scores = expect.tensor(answer(d_model, d_head, n, seed), sample=n)
        expect.true(
            ((scores > 0) & (scores <= 1)).all(),
            "A composition score lies between 0 and 1. Some of yours do not.",
        )
        floor = d_model**-0.5
        expect.close(
            scores.mean(),
            floor,
            f"With d_model {d_model} random heads should score 1/sqrt(d_model) on "
            "average.",
            atol=0,
            rtol=0.06,
        )
        expect.close(
            scores.std(),
            _random_scores(d_model, d_head, n, seed + 100).std(),
            "The mean is right, but the scores should spread like those of heads, "
            "whose matrices are products of two narrow factors.",
            atol=0,
            rtol=0.25,
        )
    spreads = [
        expect.tensor(answer(3, 3, 100, seed), sample=100).std() for seed in range(12)
    ]
    # Of 60 dozens drawn anew none had more than 0.015, of 60 with one head kept none
    # had less than 0.021.
    expect.true(
        torch.stack(spreads).std() < 0.019,
        "With other seeds your samples spread quite differently. Each sample needs two "
        "heads of its own; draw none of them once for all.",
    )
    # Scores of heads of two dimensions differ much. Chains of heads, in which each
    # sample shares one with the next, gave 0.11 to 0.16 in single seeds; samples of
    # their own gave -0.03 to 0.
    alike = [
        _next_alike(expect.tensor(answer(2, 4, 1500, seed), sample=1500))
        for seed in range(3)
    ]
    expect.true(
        sum(alike) / 3 < 0.07,
        "Neighbouring samples are alike: they share a head. Each sample needs two "
        "heads of its own.",
    )
    again = expect.tensor(answer(20, 3, 5, 7), sample=5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        expect.close(
            expect.tensor(answer(20, 3, 5, 7), sample=5),
            again,
            "The same seed should give the same samples, whatever was drawn before. "
            "Draw every number from a `torch.Generator` with that seed.",
        )
    expect.true(
        "the random state" not in getattr(answer, "notes", ()),
        "Your function changed the global random state, as torch.manual_seed does. "
        "Draw every number from a `torch.Generator` of your own.",
    )
    other = expect.tensor(answer(20, 3, 5, 8), sample=5)
    expect.true(
        (again - other).abs().max() > 1e-6,
        "Two different seeds gave the same samples.",
    )


def _next_alike(scores: Tensor) -> float:
    """Correlation of each sample's distance from the typical square with the next's."""
    away = (scores.double() ** 2 - 1 / 2) ** 2
    return torch.corrcoef(torch.stack([away[1:], away[:-1]]))[0, 1].item()


def _random_scores(d_model, d_head, n, seed, draw=torch.randn, full=False) -> Tensor:
    generator = torch.Generator().manual_seed(seed)

    def head() -> Tensor:
        if full:
            return draw(n, d_model, d_model, generator=generator)
        tall = draw(n, d_model, d_head, generator=generator)
        return tall @ draw(n, d_head, d_model, generator=generator)

    one, two = head(), head()
    sizes = one.norm(dim=(1, 2)) * two.norm(dim=(1, 2))
    return (one @ two).norm(dim=(1, 2)) / sizes


def random_full_rank(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, seed, full=True)


def random_positive(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, seed, draw=torch.rand)


def random_expectation(d_model, d_head, n_samples=200, seed=0):
    return torch.full((n_samples,), d_model**-0.5)


def random_one_seed(d_model, d_head, n_samples=200, seed=0):
    return _random_scores(d_model, d_head, n_samples, 0)


def _forgets_the_seed(answer) -> bool:
    """Whether two seeds give the same samples."""
    one, two = (torch.as_tensor(answer(9, 3, 20, seed)) for seed in (1, 2))
    return torch.equal(one, two)


def random_first_head_kept(d_model, d_head, n_samples=200, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def heads(n) -> Tensor:
        tall = torch.randn(n, d_model, d_head, generator=generator)
        return tall @ torch.randn(n, d_head, d_model, generator=generator)

    one, two = heads(1), heads(n_samples)
    return (one @ two).norm(dim=(1, 2)) / (one.norm() * two.norm(dim=(1, 2)))


def random_same_head(d_model, d_head, n_samples=200, seed=0):
    generator = torch.Generator().manual_seed(seed)
    tall = torch.randn(n_samples, d_model, d_head, generator=generator)
    head = tall @ torch.randn(n_samples, d_head, d_model, generator=generator)
    size = head.norm(dim=(1, 2))
    return (head @ head.transpose(1, 2)).norm(dim=(1, 2)) / size**2


CHECK = Check(
    name="random_composition",
    judge=judge_random_composition,
    uses_random=True,
    hints=(
        "Make two heads without any meaning, score them with `composition_score`, and "
        "repeat.",
        "A head's matrix is W_V W_O or W_Q W_K^T: a tall matrix times a wide one. Draw "
        "all four factors anew for each sample, from one generator with the given "
        "seed.",
        "`generator = torch.Generator().manual_seed(seed)`; each head is "
        "`FactoredMatrix(torch.randn(d_model, d_head, generator=generator), "
        "torch.randn(d_head, d_model, generator=generator))`. Collect the scores in "
        "`torch.tensor([...])`.",
    ),
    mistakes=(
        Mistake(
            "full rank",
            "You drew full matrices [d_model, d_model]. The mean is the same, but a "
            "head's matrix is a product of two narrow factors, and that spreads more. "
            "With the wrong spread, chance looks significant.",
            random_full_rank,
        ),
        Mistake(
            "positive numbers",
            "Your random numbers are all positive, so all matrices point the same way "
            "and compose strongly. Draw them with mean 0.",
            random_positive,
        ),
        Mistake(
            "only the mean",
            "You returned the expected value for every sample. The spread is needed "
            "too, to say how far above the floor is far.",
            random_expectation,
            swap=("torch.tensor(scores)", "torch.full((n_samples,), d_model**-0.5)"),
        ),
        Mistake(
            "fixed seed",
            "Your function does not use the seed it is given.",
            random_one_seed,
            _forgets_the_seed,
            swap=("manual_seed(seed)", "manual_seed(0)"),
        ),
        Mistake(
            "first head kept",
            "You drew one head once and composed it with all others. Each sample needs "
            "two heads of its own.",
            random_first_head_kept,
        ),
        Mistake(
            "a head with itself",
            "You composed each random head with itself, transposed. Draw two heads "
            "that know nothing of each other.",
            random_same_head,
        ),
    ),
    passed=(
        "Checked for three sizes: mean, spread, and that the seed decides. A random "
        "vector has 1/d_model of its squared length in any given direction, so heads "
        "that know nothing of each other score about 1/sqrt(d_model)."
    ),
)
