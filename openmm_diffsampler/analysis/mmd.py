"""Maximum mean discrepancy: how far two sets of samples are apart, and whether that could be chance."""

from typing import NamedTuple

import torch

__all__ = ["MMD", "maximum_mean_discrepancy"]

#: Rows of the kernel matrix made at a time.
_CHUNK = 1024
#: Points from which the kernel matrix is kept in single precision; sums go on in double.
_LARGE = 5000


class MMD(NamedTuple):
    """Squared maximum mean discrepancies of two sets of samples.

    Attributes:
        biased: the V-statistic, which counts each point as its own neighbour: positive also between exact samples.
        unbiased: the U-statistic, zero on average between exact samples.
        p_value: share of random relabellings whose U-statistic is at least as large; None without permutations.
    """

    biased: float
    unbiased: float
    p_value: float | None


def maximum_mean_discrepancy(x, y, *, n_kernels=5, n_permutations=0, generator=None):
    r"""Squared MMD of x (n, …) and y (m, …) with a sum of Gaussian kernels, and a permutation test of equality.

    .. math:: k(a, b) = \sum_{i=0}^{K-1} e^{-|a - b|^2/h_i}, \qquad h_i = 2^{i - \lfloor K/2 \rfloor}\,\bar h

    with h̄ the mean squared distance of two different points of both sets together. The permutation test assumes
    independent samples: correlated ones are told apart too readily.

    Arguments:
        x, y: samples; everything but the first axis is one vector.
        n_kernels: K.
        n_permutations: random relabellings of the test; none by default.
        generator: torch Generator of the relabellings.

    Returns:
        :class:`MMD`.

    Raises:
        ValueError: fewer than two samples in a set, vectors of different length, numbers that are not finite.

    References:
        Gretton et al., A kernel two-sample test, JMLR 13 (2012).

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> x, y = (torch.randn(500, 2, generator=generator) for _ in range(2))
        >>> same = maximum_mean_discrepancy(x, y, n_permutations=200, generator=generator)
        >>> same.p_value > 0.05, maximum_mean_discrepancy(x, y + 1).unbiased > 0.1
        (True, True)
    """
    x, y = (torch.as_tensor(a, dtype=torch.float64).flatten(1) for a in (x, y))
    if x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise ValueError(f"the samples have shapes {tuple(x.shape)} and {tuple(y.shape)}; give two of each at least")
    if not (x.isfinite().all() and y.isfinite().all()):
        raise ValueError("the samples hold NaN or infinite numbers")
    kernel = _kernel_matrix(torch.cat([x, y]), n_kernels)
    n, m = len(x), len(y)
    labels = torch.zeros(n + m, 1 + n_permutations, dtype=kernel.dtype)
    labels[:n, 0] = 1
    for k in range(1, n_permutations + 1):
        labels[torch.randperm(n + m, generator=generator)[:n], k] = 1
    # With s the indicator of x: sᵀKs, sᵀK1 and 1ᵀK1 hold all sums over pairs.
    rows = kernel.sum(1, dtype=torch.float64)
    within = (labels * (kernel @ labels)).sum(0, dtype=torch.float64)
    across = (labels * rows.to(labels.dtype)[:, None]).sum(0, dtype=torch.float64) - within
    rest = rows.sum() - within - 2 * across
    biased = within / n**2 + rest / m**2 - 2 * across / (n * m)
    unbiased = (within - n_kernels * n) / (n * (n - 1)) + (rest - n_kernels * m) / (m * (m - 1)) - 2 * across / (n * m)
    p_value = None
    if n_permutations:
        p_value = (1 + int((unbiased[1:] >= unbiased[0]).sum())) / (1 + n_permutations)
    return MMD(float(biased[0]), float(unbiased[0]), p_value)


def _kernel_matrix(z, n_kernels):
    """K (N, N) of the pooled samples z (N, d)."""
    n = len(z)
    z = z - z.mean(0)
    widest = 2 * n * float(z.square().sum()) / (n * (n - 1)) * 2.0 ** (n_kernels - 1 - n_kernels // 2)
    kernel = torch.empty(n, n, dtype=torch.float32 if n >= _LARGE else torch.float64)
    for start in range(0, n, _CHUNK):
        # All points alike: any width does.
        term = (torch.cdist(z[start : start + _CHUNK], z).square() / -(widest or 1.0)).exp()
        total = term.clone()
        for _ in range(n_kernels - 1):  # half the width is the square of the kernel
            total += term.square_()
        kernel[start : start + _CHUNK] = total
    return kernel
