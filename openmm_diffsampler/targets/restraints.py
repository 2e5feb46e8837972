"""What keeps molecules that are not bonded to each other together."""

from __future__ import annotations

from typing import Any

import openmm
from openmm import unit

from .fragments import fragments

__all__ = ["with_distance_restraint", "with_restrained_fragments"]

_SPRING = 1000 * unit.kilojoule_per_mole / unit.nanometer**2


def with_restrained_fragments(
    system: openmm.System,
    distance: unit.Quantity,
    spring: unit.Quantity = _SPRING,
    atoms: list[int] | None = None,
) -> openmm.System:
    r"""A copy of a System whose molecules stay within a distance of the first one.

    Between an atom of the first molecule and one of each other the energy is zero up to the distance R, and
    ½k(r − R)² beyond. Populations and log Z are those of molecules in this container: choose R by the concentration
    or the definition of "bound" that is meant. log Z contains the volume of about 4πR³/3 for each such molecule.

    Arguments:
        system: openmm System of at least two molecules.
        distance: R, a Quantity of length.
        spring: k, a Quantity.
        atoms: one atom of each molecule that the distance is measured to; by default the first ones.

    Raises:
        TypeError: a distance or spring without unit, or with a wrong one.
        ValueError: a single molecule, a distance or spring that is not positive, or atoms that are not one of each.

    Example:
        >>> pair = openmm.System()
        >>> _ = [pair.addParticle(40.0) for _ in range(2)]
        >>> with_restrained_fragments(pair, 1.5 * unit.nanometer).getNumForces()
        1
    """
    parts = sorted(fragments(system), key=min)
    radius = _positive(distance, unit.nanometer, "distance")
    if len(parts) < 2:
        raise ValueError("the System is a single molecule, which needs no restraint")
    atoms = [min(part) for part in parts] if atoms is None else list(atoms)
    if len(atoms) != len(parts) or any(len(part & set(atoms)) != 1 for part in parts):
        raise ValueError(f"atoms are {atoms}; give one of each of the {len(parts)} molecules")
    return _restrained(system, "0.5*k*max(0, r-radius)^2", [(atoms[0], atom) for atom in atoms[1:]], radius, spring)


def with_distance_restraint(
    system: openmm.System,
    atom: int,
    other: int,
    distance: unit.Quantity,
    spring: unit.Quantity = _SPRING,
) -> openmm.System:
    r"""A copy of a System in which two atoms keep their distance by :math:`U(r) = \tfrac12 k (r - R)^2`.

    Arguments:
        system: openmm System.
        atom, other: indices, of two molecules.
        distance: R, a Quantity of length.
        spring: k, a Quantity.

    Raises:
        TypeError: a distance or spring without unit, or with a wrong one.
        ValueError: atoms that are not in the System or the same, a distance or spring that is not positive.

    Example:
        >>> pair = openmm.System()
        >>> _ = [pair.addParticle(40.0) for _ in range(2)]
        >>> held = with_distance_restraint(pair, 0, 1, 5 * unit.angstrom)
        >>> held.getForce(0).getName()
        'DistanceRestraint'
    """
    n = system.getNumParticles()
    if atom == other or not (0 <= atom < n and 0 <= other < n):
        raise ValueError(f"atoms are {atom} and {other}; give two different ones from 0 to {n - 1}")
    length = _positive(distance, unit.nanometer, "distance")
    return _restrained(system, "0.5*k*(r-radius)^2", [(atom, other)], length, spring, "DistanceRestraint")


def _restrained(
    system: openmm.System,
    energy: str,
    pairs: list[tuple[int, int]],
    radius: float,
    spring: unit.Quantity,
    name: str = "FragmentRestraint",
) -> openmm.System:
    k = _positive(spring, unit.kilojoule_per_mole / unit.nanometer**2, "spring")
    force = openmm.CustomBondForce(energy)
    force.setName(name)
    force.addPerBondParameter("k")
    force.addPerBondParameter("radius")
    for a, b in pairs:
        force.addBond(a, b, [k, radius])
    restrained = openmm.XmlSerializer.clone(system)
    restrained.addForce(force)
    return restrained


def _positive(value: Any, of: unit.Unit, where: str) -> float:
    if not unit.is_quantity(value) or not value.unit.is_compatible(of):
        raise TypeError(f"{where} is {value!r}; give a Quantity in {of}, with openmm.unit")
    number = float(value.value_in_unit(of))
    if not 0 < number < float("inf"):
        raise ValueError(f"{where} is {value}; it must be positive and finite")
    return number
