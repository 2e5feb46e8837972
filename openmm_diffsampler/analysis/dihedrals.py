"""Dihedral angles of weighted frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from .weighted_trajectory import WeightedTrajectory

__all__ = ["dihedral_angles", "dihedral_angles_of", "in_space"]


def dihedral_angles(wt: WeightedTrajectory, quartets: Sequence[Sequence[int]]) -> np.ndarray:
    """Dihedral angles in radians, in [−π, π], from single precision; only the atoms that count are copied.

    Arguments:
        wt: a WeightedTrajectory of particles.
        quartets: four atom indices a dihedral.

    Returns:
        (n_frames, n_dihedrals) float64 array.

    Example:
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> x = torch.tensor([[[1.0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 1]]])
        >>> dihedral_angles(WeightedTrajectory(x, [0.0], kind="importance"), [(0, 1, 2, 3)]).round(4).tolist()
        [[1.5708]]
    """
    return dihedral_angles_of(wt.x, quartets)


def dihedral_angles_of(x: torch.Tensor, quartets: Sequence[Sequence[int]]) -> np.ndarray:
    """The same of positions (n, n_atoms, 3) in nm."""
    import mdtraj

    atoms, places = np.unique(np.array(quartets, dtype=np.int64), return_inverse=True)
    x = in_space(x[:, torch.from_numpy(atoms)])
    # mdtraj needs no topology here, as atoms go by their indices.
    angles = mdtraj.compute_dihedrals(mdtraj.Trajectory(x, None), places.reshape(-1, 4), periodic=False)
    return angles.astype(np.float64)


def in_space(x: torch.Tensor) -> np.ndarray:
    """Coordinates (n, n_atoms, 3) in single precision, as mdtraj takes them, with z = 0 for particles in a plane.

    Example:
        >>> in_space(torch.ones(1, 1, 2)).tolist()
        [[[1.0, 1.0, 0.0]]]
    """
    return torch.nn.functional.pad(x, (0, 3 - x.shape[2])).float().numpy()
