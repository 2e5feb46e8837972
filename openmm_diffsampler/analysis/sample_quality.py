"""How far samples are from reference samples: energies, interparticle distances, and configurations up to symmetry."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

__all__ = [
    "EnergyDistances",
    "Floor",
    "bootstrap_floor",
    "distance_total_variation",
    "energy_distances",
    "symmetric_wasserstein",
]


class EnergyDistances(NamedTuple):
    """Of two energy distributions: Wasserstein-1 and -2 in units of the energies, total variation from 0 to 1."""

    w1: float
    w2: float
    total_variation: float


class Floor(NamedTuple):
    """What exact samples would score: mean and standard deviation over splits, each of the type the metric returns."""

    mean: float | tuple
    std: float | tuple


def energy_distances(u, reference_u, weights=None, bins=200):
    r"""Wasserstein-1 and -2 distances and total variation of two energy distributions.

    .. math:: W_p^p = \int_0^1 |F^{-1}(q) - G^{-1}(q)|^p\,dq, \qquad
              \mathrm{TV} = \tfrac12 \Big(p_\mathrm{out} + \sum_b |p_b - r_b|\Big)

    W_p is exact; a few overlapping particles can dominate W2. Exact samples have TV > 0: see :func:`bootstrap_floor`.

    Arguments:
        u: (n,) energies of the samples, all finite.
        reference_u: (m,) energies of the reference, equally weighted.
        weights: (n,) weights of the samples (not logarithms), any scale; equal by default.
        bins: bins over the reference's range; p_out is what the samples have outside of it.

    Returns:
        :class:`EnergyDistances`.

    Raises:
        ValueError: no energies, not one axis, energies that are NaN or infinite, weights that do not fit.

    References:
        Peyré and Cuturi, Computational optimal transport, Found. Trends Mach. Learn. 11 (2019), section 2.6.

    Example:
        >>> u = torch.linspace(0, 1, 1000, dtype=torch.float64)
        >>> [round(distance, 9) for distance in energy_distances(u + 3, u)]
        [3.0, 3.0, 1.0]
    """
    u, y = _array(u, "energies", "n"), _array(reference_u, "reference energies", "m")
    w, order, y = _weights(weights, len(u)), u.argsort(), np.sort(y)
    u_levels, y_levels = w[order].cumsum() / w.sum(), np.arange(1, len(y) + 1) / len(y)
    levels = np.sort(np.concatenate([[0], u_levels, y_levels]))
    # Both quantile functions are constant between two levels; their middles are safe from rounding.
    middle = (levels[1:] + levels[:-1]) / 2
    f, g = (a[np.searchsorted(at, middle).clip(max=len(a) - 1)] for a, at in ((u[order], u_levels), (y, y_levels)))
    gap, mass = np.abs(f - g), np.diff(levels)
    tv = _total_variation(u[:, None], y, w, bins)
    return EnergyDistances(float(mass @ gap), math.sqrt(mass @ gap**2), tv)


def distance_total_variation(x, reference, weights=None, bins=200):
    """Total variation (p_out + Σ_b |p_b − r_b|)/2 of histograms of all interparticle distances |x_i − x_j|, i < j.

    Arguments:
        x: (n, n_particles, dim) samples.
        reference: (m, n_particles, dim) reference samples, equally weighted.
        weights: (n,) weights of the samples (not logarithms), any scale; equal by default.
        bins: bins over the reference's range; p_out is what the samples have outside of it.

    Returns:
        float from 0 to 1.

    Raises:
        ValueError: no samples, fewer than two particles, shapes that differ, not finite, weights that do not fit.

    Example:
        >>> x = torch.randn(500, 4, 2, generator=torch.Generator().manual_seed(0))
        >>> round(distance_total_variation(x.flip(1), x), 9), distance_total_variation(10 * x, x) > 0.5
        (0.0, True)
    """
    x, reference = _configurations(x, reference, least=2)
    i, j = np.triu_indices(x.shape[1], 1)
    # The faster way by matrix products loses digits.
    x, y = (torch.cdist(a, a, compute_mode="donot_use_mm_for_euclid_dist")[:, i, j].numpy() for a in (x, reference))
    return _total_variation(x, y, _weights(weights, len(x)), bins)


def symmetric_wasserstein(x, reference, n=None, permutable=True, reflections=True, seed=0, n_alignments=1):
    r"""Wasserstein-2 distance of configurations of like particles, up to rigid motions and permutations.

    .. math:: W_2^2 = \min_\pi \sum_{ij} \pi_{ij}\,d^2(x_i, y_j), \qquad
              d^2(x, y) = \min_{g \in O(\mathrm{dim}),\,P} |x - g P y|^2

    with centroids removed. π is exact; so is d without permutations, else an upper bound. Convention of published
    tables: P is the Hungarian matching, by squared distance, of the centred coordinates as they lie, then g the best
    rotation (Kabsch). So d depends on orientations: a copy both rotated and permuted is not at distance zero. More
    alignments lead down to a local minimum. Compare like n and n_alignments only, beside the :func:`bootstrap_floor`.

    Arguments:
        x: (n_x, n_particles, dim) samples, equally weighted; resample weighted ones first.
        reference: (n_reference, n_particles, dim) reference samples.
        n: compare random subsets of this size; all samples by default.
        permutable: minimise over permutations, for particles that are all alike.
        reflections: minimise over O(dim), which takes mirror images as equal; otherwise over SO(dim).
        seed: of the subsets.
        n_alignments: rounds of matching and rotation, each starting from the last.

    Returns:
        float, in the unit of the coordinates.

    Raises:
        ValueError: no samples, shapes that differ, numbers that are not finite, fewer than n samples in a set.
        RuntimeError: the optimal transport did not converge.

    References:
        Klein, Krämer and Noé, Equivariant flow matching, NeurIPS 2023; Kabsch, Acta Cryst. A32 (1976).

    Example:
        >>> x = torch.randn(20, 5, 3, generator=torch.Generator().manual_seed(0))
        >>> [symmetric_wasserstein(x, 1 - x, permutable=False, reflections=mirror) < 1e-6 for mirror in (True, False)]
        [True, False]
    """
    x, y = _configurations(x, reference)
    if n_alignments < 1 or not (n is None or 1 <= n <= min(len(x), len(y))):
        raise ValueError(
            f"n_alignments is {n_alignments}; n is {n}, of {len(x)} samples and {len(y)} reference samples"
        )
    rng = np.random.default_rng(seed)
    x, y = (a if n is None else a[rng.choice(len(a), n, replace=False)] for a in (x, y))
    x, y = (a - a.mean(1, keepdim=True) for a in (x, y))
    cost = np.stack([_aligned_squares(row, y, permutable, reflections, n_alignments) for row in x])
    import ot  # takes a second, which the other metrics need not pay

    squared, log = ot.emd2(ot.unif(len(x)), ot.unif(len(y)), cost, numItermax=10**9, log=True)
    if log["warning"] is not None:
        raise RuntimeError(f"the optimal transport did not converge: {log['warning']}")
    return math.sqrt(max(float(squared), 0.0))


def bootstrap_floor(metric, reference, n, n_repeats=5, seed=0, n_reference=None):
    """The value of a metric between exact samples: disjoint random subsets of a reference, of n and of n_reference.

    Subsets of different repeats overlap, so the standard deviation is too small where n is much of the reference.

    Arguments:
        metric: function of samples and reference samples; returns a float or a NamedTuple of floats.
        reference: (n_samples, …) energies or configurations, independent, as the metric takes them.
        n: number of the samples that are to be judged; at most half of the reference.
        n_repeats: random splits, two at least.
        seed: of the splits.
        n_reference: samples in the second subset; by default all that are left.

    Returns:
        :class:`Floor`.

    Raises:
        ValueError: a reference too small for these subsets; fewer than two splits.

    Example:
        >>> u = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
        >>> 0.1 < bootstrap_floor(energy_distances, u, n=1000).mean.total_variation < 0.25
        True
    """
    rest = len(reference) - n if n_reference is None else n_reference
    if n_repeats < 2 or n < 1 or rest < 1 or n > len(reference) // 2 or n + rest > len(reference):
        raise ValueError(f"{n_repeats} (2 or more) splits of {len(reference)} into {n} (at most half) and {rest}")
    splits = np.random.default_rng(seed).permuted([np.arange(len(reference))] * n_repeats, axis=1)
    values = [metric(reference[rows[:n]], reference[rows[n : n + rest]]) for rows in splits]
    make, values = getattr(type(values[0]), "_make", float), np.array(values, dtype=float)
    return Floor(make(values.mean(0).tolist()), make(values.std(0, ddof=1).tolist()))


def _array(a, name, *axes):
    a = np.array(a.detach().cpu().numpy() if torch.is_tensor(a) else a, dtype=float)
    if a.ndim != len(axes) or not a.size:
        raise ValueError(f"the {name} have shape {a.shape}; give ({', '.join(axes)}), not empty")
    if n_bad := int((~np.isfinite(a)).sum()):
        raise ValueError(f"{n_bad} of {a.size} {name} are NaN or infinite")
    return a


def _configurations(x, reference, least=1):
    x = torch.from_numpy(_array(x, "coordinates", "n", "n_particles", "dim"))
    y = torch.from_numpy(_array(reference, "reference coordinates", "n", "n_particles", "dim"))
    if x.shape[1:] != y.shape[1:] or x.shape[1] < least:
        raise ValueError(f"shapes are {tuple(x.shape)} and {tuple(y.shape)}; give {least} or more particles, as many")
    return x, y


def _weights(weights, n):
    w = np.ones(n) if weights is None else _array(weights, "weights", "n")
    if len(w) != n or w.min() < 0 or not w.max() > 0:
        raise ValueError(f"{len(w)} weights from {w.min()} to {w.max()} for {n} samples; give one each, ≥ 0, not all 0")
    return w


def _total_variation(values, reference, w, bins):
    bounds, w = (reference.min(), reference.max()), np.broadcast_to(w[:, None], values.shape)
    p, r = np.histogram(values, bins, bounds, weights=w)[0] / w.sum(), np.histogram(reference, bins, bounds)[0]
    return float(np.abs(p - r / reference.size).sum() + max(1 - p.sum(), 0)) / 2


def _aligned_squares(x, y, permutable, reflections, n_alignments):
    """d² (m,) of x (k, dim) and all y (m, k, dim), all centred."""
    turned, matched = y, y
    for _ in range(n_alignments):
        if permutable:  # with all norms given, squared distances are least where inner products are largest
            products = (x @ turned.mT).numpy()
            columns = np.stack([linear_sum_assignment(a, maximize=True)[1] for a in products])
            matched = y.gather(1, torch.from_numpy(columns)[..., None].expand_as(y))
        left, overlap, right = torch.linalg.svd(x.T @ matched)
        if not reflections:
            flip = (left.det() * right.det()).sign()[:, None]
            left[..., -1], overlap[:, -1:] = left[..., -1] * flip, overlap[:, -1:] * flip
        turned = y @ (left @ right).mT
    return (x.square().sum() + y.square().sum((1, 2)) - 2 * overlap.sum(-1)).clamp(min=0).numpy()
