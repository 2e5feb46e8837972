"""The distribution of one torsion, with its standard error."""

import numpy as np

from .free_energy import _standard_error, torsion_angles

__all__ = ["torsion_marginal"]


def torsion_marginal(wt, torsion, bins=60):
    r"""Weighted density of a torsion in equal bins from −180° to 180°, with its standard error.

    Errors are those of :func:`~openmm_diffsampler.analysis.free_energy_surface`: by weights for importance samples, by
    the spread between chains for MCMC, and none for a single chain.

    Arguments:
        wt: a WeightedTrajectory with topology.
        torsion: by name or as four atom indices; see :func:`~openmm_diffsampler.analysis.torsion_angles`.
        bins: how many.

    Returns:
        (edges (bins + 1,) in degrees, density (bins,) per degree, standard error (bins,) per degree or None).

    Raises:
        TypeError, ValueError: as :func:`~openmm_diffsampler.analysis.torsion_angles`.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(50, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> wt = WeightedTrajectory(x, torch.zeros(50), kind="importance", topology=topology)
        >>> edges, density, error = torsion_marginal(wt, "phi", bins=12)
        >>> round(float((density * np.diff(edges)).sum()), 6), error.shape
        (1.0, (12,))
    """
    bin_of = np.floor((torsion_angles(wt, torsion) + 180) * (bins / 360)).astype(int) % bins

    def histogram(weights, rows=slice(None)):
        return np.bincount(bin_of[rows], weights=weights, minlength=bins)

    probability = histogram(wt.weights.numpy())
    error = _standard_error(wt, probability, histogram)
    width = 360 / bins
    return np.linspace(-180, 180, bins + 1), probability / width, None if error is None else error / width
