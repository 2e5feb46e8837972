"""What diagnostics.json says about the torsions of a molecule: convergence, wells, conformers, named basins."""

import numpy as np

from .conformers import conformer_populations, well_populations
from .free_energy import ALANINE_DIPEPTIDE_BASINS, basin_populations
from .populations import population_row, unvisited_bound
from .torsion_convergence import worst_first
from .torsions import backbone_torsions

__all__ = ["torsion_numbers"]


def torsion_numbers(wt, torsions, convergence):
    """Rows of numbers on the torsions of a molecule, as dicts that go into a JSON file.

    Arguments:
        wt: a WeightedTrajectory.
        torsions: list of MoleculeTorsion.
        convergence: list of TorsionConvergence, or an empty one for frames that are not of chains.

    Returns:
        dict of "torsions" (worst first), "basins", "wells" and "conformers" → list of dicts.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> torsion_numbers(WeightedTrajectory(torch.zeros(9, 2), torch.zeros(9), kind="importance"), [], [])
        {'torsions': [], 'basins': [], 'wells': [], 'conformers': []}
    """
    bound = unvisited_bound(wt)
    names, conformers = conformer_populations(wt, torsions)
    return {
        "torsions": [_convergence(row) for row in worst_first(convergence)],
        "basins": [{"basin": name} | population_row(estimate, bound) for name, estimate in _basins(wt).items()],
        "wells": _wells(wt, torsions, bound),
        "conformers": [
            {"wells": dict(zip(names, wells, strict=True))} | population_row(estimate, bound)
            for wells, estimate in conformers.items()
        ],
    }


def _convergence(row):
    return {
        "torsion": row.torsion.name,
        "atoms": list(row.torsion.atoms),
        "symmetric end": row.torsion.symmetric,
        "R-hat": float(row.r_hat) if np.isfinite(row.r_hat) else None,
        "effective sample size": row.effective_sample_size,
        "wells": len(row.torsion.wells),
        "transitions": int(row.transitions.sum()),
        "transitions of a chain": {
            "fewest": int(row.transitions.min()),
            "mean": float(row.transitions.mean()),
            "most": int(row.transitions.max()),
        },
        "converged": row.verdict,
    }


def _basins(wt):
    """Only where there is one φ and one ψ, which the boxes are for."""
    if wt.topology is None or set(backbone_torsions(wt.topology)) != {"phi", "psi"}:
        return {}
    return basin_populations(wt, basins=ALANINE_DIPEPTIDE_BASINS)


def _wells(wt, torsions, bound):
    populations = well_populations(wt, torsions)
    rows = []
    for torsion in torsions:
        for i, (well, estimate) in enumerate(populations[torsion.name].items()):
            row = {"torsion": torsion.name, "symmetric end": torsion.symmetric, "well": well}
            low, high = torsion.wells.limits(i)
            rows.append(row | {"from / °": low, "to / °": high} | population_row(estimate, bound))
    return rows
