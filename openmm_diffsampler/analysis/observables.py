"""Which observables stand for a trajectory when none is named."""

import numpy as np

from openmm_diffsampler.coordinates import rotatable_torsions

from .dihedrals import dihedral_angles
from .torsions import backbone_torsions

__all__ = ["default_observables"]


def default_observables(wt):
    """Slow observables by which the effective sample size of chains is judged; the smallest one counts.

    - ``"energy"``: the reduced potential in kT, where the trajectory has it;
    - a molecule with backbone torsions: cos and sin of every φ and ψ (``"cos phi"``, or ``"cos phi:2"`` of several);
    - another molecule with bonds: cos and sin of one torsion a rotatable bond
      (:func:`~openmm_diffsampler.coordinates.rotatable_torsions`);
    - other particles (event shape ``(n, 2)`` or ``(n, 3)``): the radius of gyration in nm;
    - densities without particles: every coordinate.

    Arguments:
        wt: a WeightedTrajectory.

    Returns:
        dict of name → (n_frames,) float64 array.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> list(default_observables(WeightedTrajectory.from_chains(torch.zeros(10, 4, 2))))
        ['coordinate 0', 'coordinate 1']
        >>> list(default_observables(WeightedTrajectory.from_chains(torch.zeros(10, 4, 13, 3))))
        ['radius of gyration']
    """
    energy = {} if wt.reduced_potential is None else {"energy": wt.reduced_potential.numpy()}
    torsions = {} if wt.topology is None else _torsions(wt.topology)
    if torsions:
        angles = dihedral_angles(wt, list(torsions.values()))
        both = {
            f"{f.__name__} {name}": f(angle)
            for name, angle in zip(torsions, angles.T, strict=True)
            for f in (np.cos, np.sin)
        }
        return both | energy
    x = wt.x.double().numpy()
    if x.ndim == 3 and x.shape[2] in (2, 3):
        centred = x - x.mean(1, keepdims=True)
        return {"radius of gyration": np.sqrt((centred**2).sum(2).mean(1))} | energy
    return {f"coordinate {i}": column for i, column in enumerate(x.reshape(len(x), -1).T)} | energy


def _torsions(topology):
    named = backbone_torsions(topology)
    return named or {"torsion " + "-".join(map(str, atoms)): atoms for atoms in rotatable_torsions(topology)}
