"""Axes between two rings that crowded substituents lock: which bonds may be such, and how high their barriers are."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import openmm
import torch

from .graph import beyond_bridges, is_rotatable, neighbours
from .rings import ring_torsions

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

__all__ = ["crowded_axes", "relaxed_barrier"]

#: Of the four atoms next to an axis, how many must carry more than a hydrogen for it to be looked at.
_N_CROWDED = 2
#: Steps of a turn by 180°, kJ/mol of the tether that makes it, most iterations of each minimisation, and of the first.
_N_STEPS, _TETHER, _N_ITERATIONS, _N_FIRST = 20, 3000.0, 60, 500


def crowded_axes(topology: mdtraj.Topology) -> list[tuple[int, int]]:
    """Bonds between two rings, in no ring, whose ends have three neighbours each and crowded atoms beside them.

    Arguments:
        topology: with bonds.

    Returns:
        list of pairs of atom indices. Of the four ring atoms next to such a bond two or more have three neighbours
        that are no hydrogens, as the carbons of BINOL have.
    """
    bonded = neighbours(topology)
    heavy = {atom.index for atom in topology.atoms if getattr(atom.element, "symbol", "") != "H"}
    bridges = beyond_bridges(bonded)
    in_ring = {i for i in bonded if any((i, j) not in bridges for j in bonded[i])}

    def is_axis(j: int, k: int) -> bool:
        beside = (bonded[j] | bonded[k]) - {j, k}
        flat = all(len(bonded[i]) == 3 for i in (j, k))
        return flat and beside <= in_ring and sum(len(bonded[i] & heavy) > 2 for i in beside) >= _N_CROWDED

    bonds = ((a.index, b.index) for a, b in topology.bonds)
    return [(j, k) for j, k in bonds if {j, k} <= in_ring and is_rotatable(bonded, bridges, j, k) and is_axis(j, k)]


def relaxed_barrier(
    system: openmm.System, topology: mdtraj.Topology, positions: np.ndarray, j: int, k: int, enough: float = math.inf
) -> float:
    """kJ/mol that it takes to turn the bond j–k half around, the easier way, all else minimised at each step.

    Two torsions about the bond, of opposite neighbours, are tethered to where they should be.

    Arguments:
        system: openmm System; it is left as it is.
        topology: of its particles.
        positions: (n_atoms, 3), nm.
        j, k: the bond, whose ends have three neighbours each.
        enough: kJ/mol at which a turn is given up.

    Returns:
        The barrier from the minimum near `positions`; if it is more than `enough`, where the turn was given up.
    """
    bonded = neighbours(topology)
    ends = [sorted(bonded[a] - {b}) for a, b in ((j, k), (k, j))]
    torsions = [(i, j, k, m) for i, m in zip(*ends, strict=True)]
    context = openmm.Context(*_tethered(system, torsions), openmm.Platform.getPlatformByName("Reference"))
    return min(_highest(context, torsions, positions, way, enough) for way in (1, -1))


def _tethered(
    system: openmm.System, torsions: list[tuple[int, int, int, int]]
) -> tuple[openmm.System, openmm.Integrator]:
    tethered = openmm.XmlSerializer.clone(system)
    force = openmm.CustomTorsionForce("tether*(1-cos(theta-theta0-turn))")
    force.addGlobalParameter("tether", 0.0)
    force.addGlobalParameter("turn", 0.0)
    force.addPerTorsionParameter("theta0")
    for torsion in torsions:
        force.addTorsion(*torsion, [0.0])
    tethered.addForce(force)
    return tethered, openmm.VerletIntegrator(0.001)


def _highest(
    context: openmm.Context,
    torsions: list[tuple[int, int, int, int]],
    positions: np.ndarray,
    way: int,
    enough: float,
) -> float:
    """Highest energy on the way, above the first minimum; the energy is taken without the tether."""
    system = context.getSystem()
    force = system.getForce(system.getNumForces() - 1)
    context.setPositions(positions)
    context.setParameter("tether", 0.0)
    openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_N_FIRST)
    state = context.getState(positions=True, energy=True)
    x, lowest, highest = state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value, 0.0
    for n, torsion in enumerate(torsions):
        angle = float(ring_torsions(torch.as_tensor(x)[None], torsion)[0, 0])  # the first of a ring of its atoms
        force.setTorsionParameters(n, *torsion, [angle])
    force.updateParametersInContext(context)
    for step in itertools.count(1):
        if step > _N_STEPS or highest > enough:
            return highest
        context.setParameter("tether", _TETHER)
        context.setParameter("turn", way * step * math.pi / _N_STEPS)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_N_ITERATIONS)
        context.setParameter("tether", 0.0)
        highest = max(highest, context.getState(energy=True).getPotentialEnergy()._value - lowest)
