"""What holds free molecules together, so that their density has a norm: a container, or a restrained distance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import openmm
from openmm import app, unit

from .fragments import fragments_of
from .positions import positions_array

if TYPE_CHECKING:
    import mdtraj

__all__ = ["with_container", "with_distance_restraint"]

_STIFFNESS = 1000 * unit.kilojoule_per_mole / unit.nanometer**2


def with_container(
    system: openmm.System,
    positions: Any,
    radius: unit.Quantity,
    *,
    topology: app.Topology | mdtraj.Topology | None = None,
    stiffness: unit.Quantity = _STIFFNESS,
) -> openmm.System:
    r"""A copy of a System whose molecules stay within `radius` of the largest one, and move freely there.

    To the distance r of the atom nearest to the centre of each molecule from that of the largest one belongs

    .. math:: U(r) = \tfrac12 k \max(0, r - R)^2 ,

    which ignores where the whole is and how it is turned. Populations within the container do not depend on it if R is
    well beyond where molecules touch; log Z does, as that of molecules at the concentration of one in (4/3)πR³.

    Arguments:
        system: openmm System without a periodic box.
        positions: a configuration, which tells the molecules and the atoms in their middle; Quantity or nm.
        radius: R, a Quantity of length.
        topology: of the atoms; its bonds join atoms to molecules, beside those of the System's forces.
        stiffness: k, a Quantity of energy over squared length.

    Raises:
        TypeError: a radius or stiffness without unit or with a wrong one.
        ValueError: one molecule alone; a value that is not positive and finite; positions outside the container.

    Example:
        >>> from openmm_diffsampler import OpenMMTarget
        >>> pair, force = openmm.System(), openmm.NonbondedForce()
        >>> for charge in (1.0, -1.0):
        ...     _ = pair.addParticle(30.0), force.addParticle(charge, 0.3, 0.5)
        >>> _ = pair.addForce(force)
        >>> x = [[0, 0, 0], [0.3, 0, 0]]
        >>> held = with_container(pair, x, 1.5 * unit.nanometer)
        >>> OpenMMTarget(held, 300 * unit.kelvin, positions=x).is_normalisable
        True
    """
    x = positions_array(positions, system.getNumParticles())
    if topology is not None and not hasattr(topology, "n_bonds"):
        import mdtraj

        topology = mdtraj.Topology.from_openmm(topology)
    molecules = fragments_of(system, x, topology)
    if len(molecules) < 2:
        raise ValueError("the System is one molecule, which its bonds hold together; it needs no container")
    middles = [atoms[int(np.linalg.norm(x[atoms] - x[atoms].mean(0), axis=1).argmin())] for atoms in molecules]
    pairs = [(middles[-1], middle) for middle in middles[:-1]]
    size = _positive(radius, unit.nanometer, "radius", "2 * openmm.unit.nanometer")
    outside = [b for a, b in pairs if np.linalg.norm(x[a] - x[b]) > size]
    if outside:
        raise ValueError(
            f"the molecules of particles {outside[:5]} are farther than {size:.3g} nm from the largest one; give a "
            "larger radius, or positions nearer to each other"
        )
    return _restrained(system, "0.5*k*max(0, r-r0)^2", pairs, size, stiffness)


def with_distance_restraint(
    system: openmm.System,
    particle: int,
    other: int,
    distance: unit.Quantity,
    *,
    stiffness: unit.Quantity = _STIFFNESS,
) -> openmm.System:
    r"""A copy of a System in which two particles keep their distance by :math:`U(r) = \tfrac12 k (r - R)^2`.

    Arguments:
        system: openmm System.
        particle, other: indices, of two molecules.
        distance: R, a Quantity of length.
        stiffness: k, a Quantity of energy over squared length.

    Raises:
        TypeError: a distance or stiffness without unit or with a wrong one.
        ValueError: particles that are not in the System or the same; a value that is not positive and finite.

    Example:
        >>> pair = openmm.System(); _ = pair.addParticle(23.0), pair.addParticle(35.5)
        >>> held = with_distance_restraint(pair, 0, 1, 5 * unit.angstrom)
        >>> [type(force).__name__ for force in held.getForces()]
        ['CustomBondForce']
    """
    n = system.getNumParticles()
    if particle == other or not (0 <= particle < n and 0 <= other < n):
        raise ValueError(f"particles are {particle} and {other}; give two different ones from 0 to {n - 1}")
    size = _positive(distance, unit.nanometer, "distance", "0.5 * openmm.unit.nanometer")
    return _restrained(system, "0.5*k*(r-r0)^2", [(particle, other)], size, stiffness)


def _restrained(
    system: openmm.System, energy: str, pairs: list[tuple[int, int]], size: float, stiffness: unit.Quantity
) -> openmm.System:
    k = _positive(
        stiffness,
        unit.kilojoule_per_mole / unit.nanometer**2,
        "stiffness",
        "1000 * openmm.unit.kilojoule_per_mole / openmm.unit.nanometer**2",
    )
    force = openmm.CustomBondForce(energy)
    force.setName("restraint between molecules")
    for name in ("k", "r0"):
        force.addPerBondParameter(name)
    for a, b in pairs:
        force.addBond(a, b, [k, size])
    copy = openmm.XmlSerializer.clone(system)
    copy.addForce(force)
    return copy


def _positive(value: Any, of: unit.Unit, where: str, example: str) -> float:
    if not unit.is_quantity(value) or not value.unit.is_compatible(of):
        raise TypeError(f"{where} is {value!r}; give a Quantity in {of}, for example {example}")
    number = value.value_in_unit(of)
    if not 0 < number < float("inf"):
        raise ValueError(f"{where} is {value}; it must be positive and finite")
    return float(number)
