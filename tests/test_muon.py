"""The Muon optimiser against PyTorch's own, and against the exact orthogonal factor."""

import copy

import pytest
import torch
from torch import nn

from utils.training.muon import Muon, orthogonalised


def matrices(shapes, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(0.1 * torch.randn(*s, generator=generator)) for s in shapes]


@pytest.mark.parametrize(
    "shapes",
    [
        [(24, 24)] * 3,
        [(24, 10), (10, 24), (24, 10)],
        [(7, 7)],
    ],
)
def test_moves_as_pytorchs_muon_does(shapes):
    """PyTorch works in bfloat16, so weights may differ by its rounding."""
    ours = matrices(shapes)
    theirs = copy.deepcopy(ours)
    mine = Muon(ours, lr=0.03, weight_decay=0.1)
    other = torch.optim.Muon(theirs, lr=0.03, weight_decay=0.1)
    before = [p.detach().clone() for p in ours]
    for step in range(4):
        for p, q, grad in zip(ours, theirs, matrices(shapes, 1 + step), strict=True):
            p.grad, q.grad = grad.detach(), grad.detach().clone()
        mine.step()
        other.step()
    for start, p, q in zip(before, ours, theirs, strict=True):
        moved = (q - start).norm()
        assert (p - q).norm() < 0.02 * moved
        assert moved > 0.1 * start.norm()


def test_singular_values_become_about_one_and_directions_stay():
    generator = torch.Generator().manual_seed(2)
    stack = torch.randn(3, 9, 14, generator=generator)
    result = orthogonalised(stack)
    left, _, right = torch.linalg.svd(stack, full_matrices=False)
    inside = left.mT @ result @ right.mT  # diagonal if the directions are the same
    values = inside.diagonal(dim1=1, dim2=2)
    assert (values > 0.6).all() and (values < 1.3).all()
    assert (inside - torch.diag_embed(values)).abs().max() < 1e-3


def test_matrices_of_a_stack_do_not_mix():
    generator = torch.Generator().manual_seed(3)
    stack = torch.randn(4, 5, 8, generator=generator)
    alone = torch.cat([orthogonalised(one[None]) for one in stack])
    assert torch.allclose(orthogonalised(stack), alone, atol=1e-5)


def test_a_parameter_without_gradient_stays_and_a_vector_is_refused():
    still, moved = matrices([(4, 6), (4, 6)])
    before = still.detach().clone()
    optimizer = Muon([still, moved], lr=0.1)
    moved.grad = torch.ones_like(moved)
    optimizer.step()
    assert torch.equal(still, before)
    with pytest.raises(ValueError, match="matrices"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)


def test_state_can_be_saved_and_taken_up_again():
    one, grads = matrices([(5, 3)]), matrices([(5, 3)], seed=9)
    two = copy.deepcopy(one)
    first, second = Muon(one, lr=0.1), Muon(two, lr=0.1)
    for p in (*one, *two):
        p.grad = grads[0].detach().clone()
    first.step()
    second.step()
    again = Muon(two, lr=0.5)
    again.load_state_dict(copy.deepcopy(second.state_dict()))
    first.step()
    again.step()
    assert torch.equal(one[0], two[0])
