"""The molecules that a System consists of, by what joins its particles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import openmm
from networkx.utils import UnionFind

from .elements import NONMETALS, element_symbols, near_pairs
from .pair_terms import forces_of, joined_particles, pair_terms

__all__ = ["fragments"]

#: A pair is joined if it is no longer than this many times the usual bond between the elements.
_LONGEST = 1.3
#: Distance in nm up to which pairs are looked at, that of the longest bond of two nonmetals.
_CUTOFF = 0.37
#: Distances in nm between which the energy of a custom bond has to rise by so many kJ/mol, or it lets go.
_FAR, _FARTHER, _RISE = 1e4, 1e6, 50.0
#: Forces whose terms of two particles never let go.
_HOLDING = ("HarmonicBondForce", "AmoebaMultipoleForce", "constraint")


def fragments(
    system: openmm.System, bonds: Iterable[tuple[int, int]] = (), positions: np.ndarray | None = None
) -> list[set[int]]:
    """Particles that belong together: by bonded forces, by the bonds of a topology, or as near as bonded elements are.

    A CustomBondForce joins only where its energy rises without bound: not with Lennard-Jones terms of single pairs.

    Arguments:
        system: openmm System.
        bonds: pairs of particles, as of a topology.
        positions: (n_atoms, 3) in nm, or None.

    Returns:
        list of sets of particles, the smallest first.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> [len(fragments(load_system(name).system)) for name in ("alanine-dipeptide", "lj13")]
        [1, 13]
    """
    joined = UnionFind(range(system.getNumParticles()))
    for pair in bonds:
        joined.union(*pair)
    if positions is not None:
        symbols = [symbol if symbol in NONMETALS else None for symbol in element_symbols(system)]
        for pair in near_pairs(positions, symbols, _LONGEST, _CUTOFF):
            joined.union(*pair)
    for term in pair_terms(system):
        if term.source in _HOLDING:
            joined.union(*term.pair)
    for force in forces_of(system):
        if isinstance(force, openmm.CustomBondForce):
            for pair in _holding_bonds(force, joined):
                joined.union(*pair)
        elif not isinstance(force, openmm.HarmonicBondForce):
            for particles in joined_particles(force):
                joined.union(*particles)
    return sorted(joined.to_sets(), key=len)


def _holding_bonds(force: openmm.CustomBondForce, joined: UnionFind) -> Iterator[tuple[int, int]]:
    """Bonds between groups whose energy rises without bound, found out on two particles alone."""
    known, pair = {}, None
    for k in range(force.getNumBonds()):
        a, b, parameters = force.getBondParameters(k)
        if joined[a] == joined[b]:
            continue
        if parameters not in known:
            pair = _Pair(force, parameters) if pair is None else pair
            known[parameters] = pair.rises(parameters)
        if known[parameters]:
            yield a, b


class _Pair:
    """Two particles with one bond of a force, whose parameters change."""

    def __init__(self, force: openmm.CustomBondForce, parameters: tuple[float, ...]):
        self._force, system = openmm.CustomBondForce(force.getEnergyFunction()), openmm.System()
        for k in range(force.getNumPerBondParameters()):
            self._force.addPerBondParameter(force.getPerBondParameterName(k))
        for k in range(force.getNumGlobalParameters()):
            self._force.addGlobalParameter(force.getGlobalParameterName(k), force.getGlobalParameterDefaultValue(k))
        self._force.addBond(0, 1, parameters)
        for _ in range(2):
            system.addParticle(1.0)
        system.addForce(self._force)
        platform = openmm.Platform.getPlatformByName("Reference")
        self._context = openmm.Context(system, openmm.VerletIntegrator(0.001), platform)

    def rises(self, parameters: tuple[float, ...]) -> bool:
        self._force.setBondParameters(0, 0, 1, parameters)
        self._force.updateParametersInContext(self._context)
        energies = []
        for distance in (_FAR, _FARTHER):
            self._context.setPositions([[0, 0, 0], [distance, 0, 0]])
            energies.append(self._context.getState(getEnergy=True).getPotentialEnergy()._value)
        return not energies[1] - energies[0] <= _RISE
