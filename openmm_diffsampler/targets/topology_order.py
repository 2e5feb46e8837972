"""Whether the atoms of a topology are the particles of a System, in this order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from .elements import symbol_of_mass
from .pair_terms import pair_terms

if TYPE_CHECKING:
    import mdtraj

__all__ = ["require_same_order"]

#: Masses in u: above what hydrogen gets when masses are repartitioned, and below what is left to any other atom then.
_ABOVE_HYDROGEN, _BELOW_OTHERS = 5.0, 4.5
#: How far a mass may be from that of its element, in u.
_ROUNDED = 0.1
_HYDROGEN = 1.008


def require_same_order(system: openmm.System, topology: mdtraj.Topology) -> None:
    """Raise if masses show that the atoms of the topology come in another order than the particles, or are others.

    Masses may be anything otherwise: all equal, scaled, or moved from heavy atoms to their hydrogens.

    Arguments:
        system: openmm System.
        topology: mdtraj Topology of as many atoms.

    Raises:
        ValueError: hydrogens have masses of heavy atoms and the other way round, or all masses are those of elements,
            and not of the elements that the topology names.

    Example:
        >>> import mdtraj
        >>> topology = mdtraj.Topology(); residue = topology.add_residue("HOH", topology.add_chain())
        >>> for name in ("oxygen", "hydrogen", "hydrogen"):
        ...     _ = topology.add_atom(name, getattr(mdtraj.element, name), residue)
        >>> system = openmm.System(); _ = [system.addParticle(mass) for mass in (1.008, 15.999, 1.008)]
        >>> require_same_order(system, topology)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: atom 0 of the topology (HOH0-oxygen) is O, and particle 0 of the System has the mass of H ...
    """
    atoms = [atom for atom in topology.atoms if getattr(atom.element, "atomic_number", 0)]
    if not atoms:
        return
    masses = _restored(system)[[atom.index for atom in atoms]]
    expected = np.array([atom.element.mass for atom in atoms])
    is_hydrogen = np.array([atom.element.atomic_number == 1 for atom in atoms])
    wrong = np.abs(masses - expected) > _ROUNDED
    heavy_hydrogens, light_others = is_hydrogen & (masses > _ABOVE_HYDROGEN), ~is_hydrogen & (masses < _BELOW_OTHERS)
    if heavy_hydrogens.any() and light_others.any():
        wrong = heavy_hydrogens | light_others
    elif not wrong.any() or not _are_other_elements(masses, expected, wrong):
        return
    k = int(wrong.nonzero()[0][0])
    atom, by_mass = atoms[k], symbol_of_mass(masses[k])
    what = f"the mass of {by_mass} ({masses[k]:.3g} u)" if by_mass else f"a mass of {masses[k]:.3g} u"
    raise ValueError(
        f"atom {atom.index} of the topology ({atom}) is {atom.element.symbol}, and particle {atom.index} of the System "
        f"has {what}; {int(wrong.sum())} atoms differ like that, so the topology has another order than the System "
        "or is of another molecule. Make both from the same file"
    )


def _restored(system: openmm.System) -> np.ndarray:
    """Masses in u, with those given back that were moved to hydrogens, where that makes all of them natural."""
    masses = np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])
    light = masses[(masses > _HYDROGEN + _ROUNDED) & (masses < _BELOW_OTHERS)]
    if not len(light):
        return masses
    values, counts = np.unique(light.round(2), return_counts=True)
    hydrogens = np.flatnonzero(np.abs(masses - values[counts.argmax()]) < 0.02)
    partners = {int(i): (np.inf, None) for i in hydrogens}
    for term in pair_terms(system):
        for i, j in (term.pair, term.pair[::-1]):
            if i in partners and j not in partners and j < len(masses) and (term.length or 1.0) < partners[i][0]:
                partners[i] = term.length or 1.0, j
    restored = masses.copy()
    for i, (_, j) in partners.items():
        if j is not None:
            restored[j] += masses[i] - _HYDROGEN
            restored[i] = _HYDROGEN
    return restored if all(symbol_of_mass(mass) for mass in restored.tolist()) else masses


def _are_other_elements(masses: np.ndarray, expected: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether the masses that do not fit are those of other elements, in another order or all natural."""
    permuted = np.abs(np.sort(masses[wrong]) - np.sort(expected[wrong])).max() <= _ROUNDED
    natural = len(set(masses.tolist())) > 1 and all(symbol_of_mass(mass) for mass in masses.tolist())
    return bool(permuted or natural)
