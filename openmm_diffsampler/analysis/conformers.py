"""Populations of the wells of each torsion, and of conformers: joint states of all torsions."""

import numpy as np

from .populations import population
from .torsions import molecule_torsions

__all__ = ["conformer_populations", "well_populations"]


def well_populations(wt, torsions=None):
    """Population of every well of every torsion, with its standard error.

    Arguments:
        wt: a WeightedTrajectory.
        torsions: list of MoleculeTorsion; by default :func:`~openmm_diffsampler.analysis.molecule_torsions`.

    Returns:
        dict of torsion → dict of well → Estimate; see :func:`~openmm_diffsampler.analysis.population` for errors.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(200, 4, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> wells = well_populations(WeightedTrajectory.from_chains(x, topology=topology))
        >>> round(sum(estimate.value for estimate in wells["phi"].values()), 9)
        1.0
    """
    torsions = molecule_torsions(wt) if torsions is None else torsions
    return {
        torsion.name: {well: population(wt, torsion.state == i) for i, well in enumerate(torsion.wells.names)}
        for torsion in torsions
    }


def conformer_populations(wt, torsions=None, minimum=0.01, most=20):
    """The most populated conformers with standard errors; a conformer says in which well every torsion is.

    Torsions with a single well, and those that turn a symmetric group (methyl, carboxylate, phenyl), distinguish no
    conformers and are left out.

    Arguments:
        wt: a WeightedTrajectory.
        torsions: list of MoleculeTorsion; by default :func:`~openmm_diffsampler.analysis.molecule_torsions`.
        minimum: population from which a conformer is listed.
        most: how many are listed at most.

    Returns:
        (names of the torsions, dict of tuple of wells → Estimate), most populated first; both empty for a molecule
        without torsions to tell conformers apart.

    Example:
        >>> import torch
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> topology = load_system("alanine-dipeptide").mdtraj_topology
        >>> x = torch.randn(5, 4, 22, 3, generator=torch.Generator().manual_seed(0))
        >>> conformer_populations(WeightedTrajectory.from_chains(x[:1, :1], topology=topology))
        ((), {})
    """
    torsions = molecule_torsions(wt) if torsions is None else torsions
    torsions = [torsion for torsion in torsions if len(torsion.wells) > 1 and not torsion.symmetric]
    if not torsions:
        return (), {}
    code = np.zeros(len(wt), dtype=int)
    for torsion in torsions:
        # Numbered anew after each torsion, since products of many numbers of wells overflow.
        code = np.unique(code * len(torsion.wells) + torsion.state, return_inverse=True)[1].ravel()
    share = np.bincount(code, weights=wt.weights.numpy())
    example = np.unique(code, return_index=True)[1]
    listed = [c for c in np.argsort(-share, kind="stable")[:most] if share[c] >= minimum]
    names = tuple(torsion.name for torsion in torsions)
    return names, {
        tuple(t.wells.names[t.state[example[c]]] for t in torsions): population(wt, code == c) for c in listed
    }
