"""Linear maps against indexing, stored dense and sparse."""

import pytest
import torch

from openmm_diffsampler.targets.backends import linear_maps
from openmm_diffsampler.targets.backends.linear_maps import difference_map, selection_map

ROWS, OTHERS, N = torch.tensor([3, 0, 3, 5, 1]), torch.tensor([0, 1, 2, 4, 5]), 6
CPU = {"dtype": torch.float64, "device": "cpu"}


@pytest.fixture(params=["dense", "sparse"])
def kind(request, monkeypatch):
    if request.param == "sparse":
        monkeypatch.setattr(linear_maps, "_DENSE_ENTRIES", 0)
    return request.param


def values(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_small_maps_are_dense_and_large_ones_sparse(kind):
    layout = selection_map(ROWS, N, **CPU).matrix.layout
    assert layout == (torch.strided if kind == "dense" else torch.sparse_csr)


@pytest.mark.parametrize("shape", [(N, 4), (N, 3, 4)])
def test_selection_is_indexing_and_its_transpose_adds_up(kind, shape):
    chosen = selection_map(ROWS, N, **CPU)
    x, y = values(*shape), values(len(ROWS), *shape[1:], seed=1)
    assert torch.equal(chosen(x), x[ROWS])
    assert torch.allclose(chosen.transpose(y), torch.zeros_like(x).index_add(0, ROWS, y), atol=1e-15)


def test_difference_is_indexing_and_its_transpose_adds_up(kind):
    difference = difference_map(ROWS, OTHERS, N, **CPU)
    x, y = values(N, 3, 4), values(len(ROWS), 3, 4, seed=1)
    assert torch.allclose(difference(x), x[ROWS] - x[OTHERS], atol=1e-15)
    expected = torch.zeros_like(x).index_add(0, ROWS, y).index_add(0, OTHERS, y, alpha=-1)
    assert torch.allclose(difference.transpose(y), expected, atol=1e-15)


def test_both_directions_are_differentiable_twice(kind):
    difference = difference_map(ROWS, OTHERS, N, **CPU)
    x, y = values(N, 2).requires_grad_(), values(len(ROWS), 2).requires_grad_()
    for function, argument in ((difference, x), (difference.transpose, y)):
        assert torch.autograd.gradcheck(lambda a, f=function: f(a) ** 2, argument)
        assert torch.autograd.gradgradcheck(lambda a, f=function: f(a) ** 2, argument)


@pytest.mark.parametrize("make", [selection_map, lambda rows, *n, **kwargs: difference_map(rows, rows, *n, **kwargs)])
def test_no_rows(kind, make):
    nothing = make(torch.empty(0, dtype=torch.int64), N, **CPU)
    x = values(N, 3, 4)
    assert nothing(x).shape == (0, 3, 4)
    assert torch.equal(nothing.transpose(nothing(x)), torch.zeros_like(x))
