"""Whether anything holds the parts of a System together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import openmm

from .backends.foreign_forces import foreign_forces
from .bonded_pairs import fragments

if TYPE_CHECKING:
    import mdtraj

__all__ = ["UnnormalisableDensityWarning", "free_fragment", "warn_of_free_fragments"]

#: Distances in nm that a fragment is moved away to.
_FAR, _FARTHER = 100.0, 1000.0
#: exp(−u) has no integral unless u rises by more than 3 log r, the volume there is at a distance r.
_LEAST_RISE = 3 * math.log(_FARTHER / _FAR)
#: Fragments that are moved, at most.
_MOST = 20


class UnnormalisableDensityWarning(UserWarning):
    """Parts of the System drift apart for ever: exp(−u) has no integral, and neither populations nor log Z exist."""


def free_fragment(
    system: openmm.System, parts: list[set[int]], positions: np.ndarray, u: Callable[[np.ndarray], np.ndarray]
) -> set[int] | None:
    r"""A fragment that nothing keeps from leaving, or None.

    ∫exp(−u) over the place of a fragment exists only if u grows by more than 3 log r with its distance r. Each
    fragment is moved away by 100 and by 1000 nm, in two directions, to see.

    Arguments:
        system: openmm System; in a periodic one nothing can leave.
        parts: sets of particles, as of :func:`~openmm_diffsampler.targets.bonded_pairs.fragments`.
        positions: (n_atoms, 3) in nm.
        u: reduced potentials of (n, n_atoms, 3).
    """
    if len(parts) < 2 or system.usesPeriodicBoundaryConditions():
        return None
    direction = np.array([0.48, -0.6, 0.64])
    for part in sorted(parts, key=len)[:_MOST]:
        moved = np.repeat(positions[None], 4, axis=0)
        for row, distance in enumerate((_FAR, _FARTHER, -_FAR, -_FARTHER)):
            moved[row][sorted(part)] += distance * direction
        near, far, near_back, far_back = u(moved)
        if not (far - near > _LEAST_RISE and far_back - near_back > _LEAST_RISE):
            return part
    return None


def warn_of_free_fragments(
    name: str,
    system: openmm.System,
    topology: mdtraj.Topology | None,
    positions: np.ndarray,
    u: Callable[[np.ndarray], np.ndarray],
) -> bool:
    """Whether something holds all molecules together; `name` is that of the target, the rest as above.

    Warns:
        UnnormalisableDensityWarning: nothing does, and what to do.
    """
    bonds = [] if topology is None else [(a.index, b.index) for a, b in topology.bonds]
    if not bonds and foreign_forces(system):
        return True  # a force that nobody here can read may bind all there is
    parts = fragments(system, bonds)
    free = free_fragment(system, parts, positions, u)
    if free is None:
        return True
    atoms = [str(i) if topology is None else str(topology.atom(i)) for i in sorted(free)]
    listed = ", ".join(atoms[:3]) + (", …" if len(atoms) > 3 else "")
    warnings.warn(
        f"{name} has {len(parts)} molecules, and nothing holds atoms {listed} to the others: they drift apart, so "
        "that neither populations nor log Z exist. Keep them together, for example by "
        "openmm_diffsampler.targets.with_restrained_fragments(system, 1.5 * unit.nanometer)",
        UnnormalisableDensityWarning,
        stacklevel=3,
    )
    return False
