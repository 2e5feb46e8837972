"""What keeps molecules that are not bonded to each other together."""

from __future__ import annotations

import openmm
from openmm import unit

from .bonded_pairs import fragments

__all__ = ["with_restrained_fragments"]


def with_restrained_fragments(
    system: openmm.System,
    distance: unit.Quantity,
    spring: unit.Quantity = 1000 * unit.kilojoule_per_mole / unit.nanometer**2,
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
        ValueError: a single molecule, a distance that is not positive, or atoms that are not one of each molecule.

    Example:
        >>> pair = openmm.System()
        >>> _ = [pair.addParticle(40.0) for _ in range(2)]
        >>> with_restrained_fragments(pair, 1.5 * unit.nanometer).getNumForces()
        1
    """
    parts = fragments(system)
    radius = distance.value_in_unit(unit.nanometer)
    if len(parts) < 2:
        raise ValueError("the System is a single molecule, which needs no restraint")
    if not 0 < radius < float("inf"):
        raise ValueError(f"distance is {distance}; it must be positive and finite")
    atoms = [min(part) for part in parts] if atoms is None else list(atoms)
    if len(atoms) != len(parts) or any(len(part & set(atoms)) != 1 for part in parts):
        raise ValueError(f"atoms are {atoms}; give one of each of the {len(parts)} molecules")
    force = openmm.CustomBondForce("0.5*k*max(0, r-radius)^2")
    force.setName("FragmentRestraint")
    force.addPerBondParameter("k")
    force.addPerBondParameter("radius")
    for atom in atoms[1:]:
        force.addBond(atoms[0], atom, [spring.value_in_unit(unit.kilojoule_per_mole / unit.nanometer**2), radius])
    restrained = openmm.XmlSerializer.clone(system)
    restrained.addForce(force)
    return restrained
