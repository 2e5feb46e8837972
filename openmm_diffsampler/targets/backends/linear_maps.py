"""Sparse 0, ±1 matrices that gather atoms into rows and scatter rows back onto atoms, fast in both directions."""

import warnings

import torch

__all__ = ["LinearMap", "difference_map", "selection_map"]

#: Matrices of at most this many entries are stored dense: below it a dense product beats a sparse one.
_DENSE_ENTRIES = 100_000


class LinearMap:
    """y = A x on the first axis, and its transpose, both differentiable.

    Arguments:
        rows, columns, values: (n_entries,) the entries of A.
        shape: of A.
        dtype, device: of A.
    """

    def __init__(self, rows, columns, values, shape, *, dtype, device):
        def matrix(rows, columns, shape):
            entries = torch.stack([rows, columns]), values
            sparse = torch.sparse_coo_tensor(*entries, shape, dtype=dtype, device=device, check_invariants=True)
            dense = shape[0] * shape[1] <= _DENSE_ENTRIES
            if dense:
                return sparse.to_dense()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch calls this format a beta
                return sparse.coalesce().to_sparse_csr()

        self.matrix = matrix(rows, columns, shape)
        self.transposed = matrix(columns, rows, shape[::-1])

    def __call__(self, x):
        return _Product.apply(x, self.matrix, self.transposed)

    def transpose(self, y):
        """Aᵀ y."""
        return _Product.apply(y, self.transposed, self.matrix)


class _Product(torch.autograd.Function):
    """A x; its gradient is the product with Aᵀ, kept beside A because transposing a sparse matrix is slow."""

    @staticmethod
    def forward(ctx, x, matrix, transposed):
        ctx.matrices = matrix, transposed
        return (matrix @ x.flatten(1)).view(len(matrix), *x.shape[1:])

    @staticmethod
    def backward(ctx, grad):
        matrix, transposed = ctx.matrices
        return _Product.apply(grad.contiguous(), transposed, matrix), None, None


def selection_map(rows, n, **kwargs):
    """The map x (n, …) → x[rows] as a :class:`LinearMap`; its transpose sums back."""
    rows = torch.as_tensor(rows)
    ones = torch.ones(len(rows), dtype=torch.float64)
    return LinearMap(torch.arange(len(rows)), rows, ones, (len(rows), n), **kwargs)


def difference_map(first, second, n, **kwargs):
    """The map x (n, …) → x[first] − x[second] as a :class:`LinearMap`."""
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    rows = torch.arange(len(first)).repeat(2)
    values = torch.ones(2 * len(first), dtype=torch.float64)
    values[len(first) :] = -1
    return LinearMap(rows, torch.cat([first, second]), values, (len(first), n), **kwargs)
