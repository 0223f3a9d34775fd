"""Chapter 7, `copying_scores`: judge, known mistakes and hints."""

import torch

from utils.checks import Check, Mistake, expect
from utils.checks.ch7_real_models import shared
from utils.checks.largest import Largest

__all__ = ["CHECK"]


def judge_copying_scores(answer) -> None:
    for sizes in (
        dict(seed=0, n_layers=2, n_heads=3, d_vocab=11),
        dict(seed=1, n_layers=1, n_heads=5, n_groups=5, d_model=9, d_head=3),
        dict(seed=2, n_layers=3, n_heads=2, n_groups=2, d_model=6, d_vocab=9),
    ):
        weights = shared.made_up(**sizes)
        n_layers, n_heads = weights["W_Q"].shape[:2]
        result = expect.tensor(answer(weights), layer=n_layers, head=n_heads)
        for layer in range(n_layers):
            for head in range(n_heads):
                expect.close(
                    result[layer, head],
                    _by_hand(weights, layer, head),
                    f"The score of head {layer}.{head} is not that of its full OV "
                    "circuit.",
                    atol=1e-4,
                )
    copies = _copier(40, 6)
    expect.close(
        expect.tensor(answer(copies), layer=1, head=2)[0],
        torch.tensor([1.0, -1.0]),
        "A head that raises every token it sees should score 1, one that lowers it -1.",
    )
    _judge_sizes(answer)


def _judge_sizes(answer) -> None:
    """Last: what is right but has no room in a real model."""
    weights = shared.made_up(3, d_vocab=300)
    with Largest() as largest:
        answer(weights)
    expect.true(
        largest.numel < 300**2,
        "The result is right, but you make a matrix of all tokens by all tokens. For "
        "49,152 of them it takes 9.7 GB for each head. Begin the product at another "
        "place, so that it is [d_head, d_head].",
    )


def _by_hand(weights, layer, head) -> float:
    """From all eigenvalues of the d_vocab x d_vocab matrix, in float64."""
    names = ("W_E", "W_V", "W_O", "W_U")
    W_E, W_V, W_O, W_U = (weights[name].double() for name in names)
    eigenvalues = torch.linalg.eigvals(W_E @ W_V[layer, head] @ W_O[layer, head] @ W_U)
    return (eigenvalues.sum().real / eigenvalues.abs().sum()).item()


def _copier(d_vocab: int, d_head: int) -> dict:
    generator = torch.Generator().manual_seed(5)
    W_E = torch.randn(d_vocab, 8, generator=generator)
    W_V = torch.eye(8)[:, :d_head].expand(1, 2, 8, d_head).clone()
    W_O = W_V.mT.clone()
    W_O[0, 1] *= -1
    return {"W_E": W_E, "W_U": W_E.T.clone(), "W_V": W_V, "W_O": W_O}


def _score(small) -> torch.Tensor:
    eigenvalues = torch.linalg.eigvals(small)
    return eigenvalues.sum(-1).real / eigenvalues.abs().sum(-1)


def _eigenvalues(weights):
    around = weights["W_U"] @ weights["W_E"]
    return torch.linalg.eigvals(weights["W_O"] @ around @ weights["W_V"])


def inside_the_stream(weights):
    return _score(weights["W_O"] @ weights["W_V"])


def real_parts_below(weights):
    eigenvalues = _eigenvalues(weights)
    return eigenvalues.sum(-1).real / eigenvalues.real.abs().sum(-1)


def share_of_positive(weights):
    eigenvalues = _eigenvalues(weights)
    return (eigenvalues.real > 0).float().mean(-1)


def each_alike(weights):
    eigenvalues = _eigenvalues(weights)
    return (eigenvalues.real / eigenvalues.abs()).mean(-1)


def singular_values(weights):
    around = weights["W_U"] @ weights["W_E"]
    small = weights["W_O"] @ around @ weights["W_V"]
    sizes = torch.linalg.svdvals(small)
    return small.diagonal(dim1=-2, dim2=-1).sum(-1) / sizes.sum(-1)


def centred(weights):
    W_E = weights["W_E"] - weights["W_E"].mean(0)
    W_U = weights["W_U"] - weights["W_U"].mean(1, keepdim=True)
    return _score(weights["W_O"] @ (W_U @ W_E) @ weights["W_V"])


def trace_only(weights):
    return _eigenvalues(weights).sum(-1).real


def _small(weights):
    return weights["W_O"] @ (weights["W_U"] @ weights["W_E"]) @ weights["W_V"]


def divided_by_the_norm(weights):
    small = _small(weights)
    return _diagonal(small).sum(-1) / small.flatten(-2).norm(dim=-1)


def small_diagonal(weights):
    diagonal = _diagonal(_small(weights))
    return diagonal.sum(-1) / diagonal.abs().sum(-1)


def whole_diagonal(weights):
    path = weights["W_V"] @ weights["W_O"]
    diagonal = _diagonal(weights["W_E"] @ path @ weights["W_U"])
    return diagonal.sum(-1) / diagonal.abs().sum(-1)


def share_that_raise_themselves(weights):
    path = weights["W_V"] @ weights["W_O"]
    return (_diagonal(weights["W_E"] @ path @ weights["W_U"]) > 0).float().mean(-1)


def _diagonal(matrices):
    return matrices.diagonal(dim1=-2, dim2=-1)


def absolute_sum(weights):
    found = _eigenvalues(weights)
    return found.sum(-1).abs() / found.abs().sum(-1)


def positive_ones_only(weights):
    found = _eigenvalues(weights)
    return found.real.clamp(min=0).sum(-1) / found.abs().sum(-1)


def as_if_symmetric(weights):
    around = weights["W_U"] @ weights["W_E"]
    found = torch.linalg.eigvalsh(weights["W_O"] @ around @ weights["W_V"])
    return found.sum(-1) / found.abs().sum(-1)


def as_if_tied(weights):
    around = weights["W_E"].mT @ weights["W_E"]
    return _score(weights["W_O"] @ around @ weights["W_V"])


def around_the_wrong_way(weights):
    around = (weights["W_U"] @ weights["W_E"]).T
    return _score(weights["W_O"] @ around @ weights["W_V"])


CHECK = Check(
    name="copying_scores",
    judge=judge_copying_scores,
    hints=(
        "The matrix is a product of four. Its eigenvalues that are not zero stay when "
        "you begin the product at another place and go round.",
        "Begin at W_O: W_O (W_U W_E) W_V is only d_head x d_head. The bracket, "
        "[d_model, d_model], is the same for every head, so make it once.",
        '`around = weights["W_U"] @ weights["W_E"]`, then `torch.linalg.eigvals('
        'weights["W_O"] @ around @ weights["W_V"])` for all heads at once; the real '
        "part of their sum over the sum of their absolute values, along the last axis.",
    ),
    mistakes=(
        Mistake(
            "inside the stream",
            "You took the eigenvalues of W_OV alone. Copying is about tokens: W_E "
            "comes before and W_U after.",
            inside_the_stream,
            swap=(
                'weights["W_O"] @ around @ weights["W_V"]',
                'weights["W_O"] @ weights["W_V"]',
            ),
        ),
        Mistake(
            "real parts below",
            "You divided by the absolute values of the real parts. Take the absolute "
            "values of the complex numbers, or a rotation counts as copying.",
            real_parts_below,
            swap=(
                "eigenvalues.abs().sum(dim=-1)",
                "eigenvalues.real.abs().sum(dim=-1)",
            ),
        ),
        Mistake(
            "share of positive ones",
            "You counted the positive eigenvalues. A large one should weigh more than "
            "a small one.",
            share_of_positive,
        ),
        Mistake(
            "each eigenvalue alike",
            "You divided each eigenvalue by its own size and took the mean, so a tiny "
            "one counts as much as a large one. Sum first, above and below.",
            each_alike,
        ),
        Mistake(
            "singular values",
            "You divided by the singular values. They are not the absolute values of "
            "the eigenvalues.",
            singular_values,
        ),
        Mistake(
            "centred",
            "You subtracted means of W_E or W_U. That is chapter 3's other score; here "
            "nothing is centred.",
            centred,
        ),
        Mistake(
            "trace only",
            "You give the sum of the eigenvalues, which is the trace, undivided. So a "
            "head with large weights seems to copy more.",
            trace_only,
        ),
        Mistake(
            "trace over the norm",
            "You divided the trace by the matrix's norm. Below stands the sum of the "
            "eigenvalues' absolute values.",
            divided_by_the_norm,
        ),
        Mistake(
            "diagonal of the small matrix",
            "You took the diagonal of the small matrix. Its sum is that of the "
            "eigenvalues; the sum of absolute values is not.",
            small_diagonal,
        ),
        Mistake(
            "diagonal of the circuit",
            "You took the diagonal of the full OV circuit, each token's effect on "
            "itself. Its sum is that of the eigenvalues; the sum of absolute values is "
            "not. Large vocabularies also make it slow.",
            whole_diagonal,
        ),
        Mistake(
            "share that raise themselves",
            "You counted the tokens that raise their own logit. That is another "
            "measure of copying; asked for are eigenvalues.",
            share_that_raise_themselves,
        ),
        Mistake(
            "absolute value of the sum",
            "You took the absolute value of the sum, so a head that lowers what it "
            "sees counts as one that copies.",
            absolute_sum,
        ),
        Mistake(
            "positive ones only",
            "You summed the positive eigenvalues only. The negative ones count against "
            "copying.",
            positive_ones_only,
        ),
        Mistake(
            "as if symmetric",
            "`eigvalsh` takes the matrix for a symmetric one and reads half of it. "
            "This one is not; use `eigvals`.",
            as_if_symmetric,
        ),
        Mistake(
            "as if tied",
            "You used W_E in place of W_U. In some models one is the transpose of the "
            "other, but not in all.",
            as_if_tied,
        ),
        Mistake(
            "wrong way round",
            "The bracket between W_O and W_V is W_U W_E, not its transpose.",
            around_the_wrong_way,
        ),
    ),
    passed=(
        "Checked head by head against all eigenvalues of the whole matrix, and with a "
        "head that copies and one that does the opposite. For 49,152 tokens the whole "
        "matrix would take 9.7 GB a head; with the product begun at W_O, 64 by 64 is "
        "enough."
    ),
)
