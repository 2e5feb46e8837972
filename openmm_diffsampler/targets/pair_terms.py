"""Terms of forces between named particles, and the pairs that forces leave out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import openmm

__all__ = ["PairTerm", "excluded_pairs", "forces_of", "joined_particles", "pair_terms"]

#: What force fields call the length at which the energy of a bond is lowest.
_LENGTHS = ("r0", "b0", "l0", "d0", "x0", "req", "r_eq", "r_0", "re", "length", "r_equil", "r_min", "rmin")


#: Kind of term → how many particles it has; a CMAP torsion has eight.
_PARTICLES = {"Bond": 2, "Angle": 3, "Torsion": 4, "TorsionTorsion": 5}


@dataclass(frozen=True)
class PairTerm:
    """A term of two particles, such as a bond or a restraint.

    Attributes:
        pair: the particles, the lower index first.
        source: class of the force.
        length: where its energy is lowest in nm, or None where that is not known.
        stiffness: k of ½k(r − length)² in kJ/mol/nm², or None.
    """

    pair: tuple[int, int]
    source: str
    length: float | None = None
    stiffness: float | None = None


def forces_of(system: openmm.System) -> Iterator[openmm.Force]:
    """Every force, those within a CustomCVForce or ATMForce included."""
    waiting = list(system.getForces())
    while waiting:
        force = waiting.pop(0)
        yield force
        if isinstance(force, openmm.CustomCVForce):
            waiting += [force.getCollectiveVariable(k) for k in range(force.getNumCollectiveVariables())]
        elif isinstance(force, openmm.ATMForce):
            waiting += [force.getForce(k) for k in range(force.getNumForces())]


def joined_particles(force: openmm.Force) -> Iterator[list[int]]:
    """Particles of each bonded term of a force: of bonds, angles, torsions, maps, compounds, and groups of one each.

    Example:
        >>> angles = openmm.HarmonicAngleForce(); _ = angles.addAngle(3, 4, 5, 2.0, 400.0)
        >>> list(joined_particles(angles))
        [[3, 4, 5]]
    """
    if isinstance(force, openmm.CustomCentroidBondForce):
        groups = [list(force.getGroupParameters(k)[0]) for k in range(force.getNumGroups())]
        for k in range(force.getNumBonds()):
            yield [i for g in force.getBondParameters(k)[0] for i in groups[g]]
        return
    for noun, n in _PARTICLES.items():
        if not hasattr(force, f"getNum{noun}s"):
            continue
        first = 1 if isinstance(force, openmm.CMAPTorsionForce) else 0  # its row begins with the number of the map
        get = getattr(force, f"get{noun}Parameters")
        for k in range(getattr(force, f"getNum{noun}s")()):
            row = get(k)
            yield list(row[first : n + 5 * first]) if isinstance(row[0], int) else list(row[0])


def pair_terms(system: openmm.System) -> list[PairTerm]:
    """Every term of two particles: bonds of any force, restraints, and 1–2 pairs of multipoles.

    Terms without any stiffness are left out.

    Example:
        >>> system = openmm.System(); _ = [system.addParticle(12.0) for _ in range(2)]
        >>> bonds = openmm.CustomBondForce("k*(r-r0)^4"); _ = bonds.addPerBondParameter("r0")
        >>> _ = bonds.addGlobalParameter("k", 1e6); _ = bonds.addBond(1, 0, [0.15]); _ = system.addForce(bonds)
        >>> pair_terms(system)
        [PairTerm(pair=(0, 1), source='CustomBondForce', length=0.15, stiffness=None)]
    """
    found = []
    for force in forces_of(system):
        name = type(force).__name__
        if isinstance(force, openmm.HarmonicBondForce):
            for k in range(force.getNumBonds()):
                a, b, length, stiffness = force.getBondParameters(k)
                if stiffness._value > 0:
                    found.append(PairTerm(_sorted(a, b), name, length._value, stiffness._value))
        elif isinstance(force, openmm.CustomBondForce):
            column = _column_of_length(force)
            for k in range(force.getNumBonds()):
                a, b, values = force.getBondParameters(k)
                found.append(PairTerm(_sorted(a, b), name, None if column is None else values[column]))
        elif isinstance(force, openmm.AmoebaMultipoleForce):
            kind = openmm.AmoebaMultipoleForce.Covalent12
            for a in range(force.getNumMultipoles()):
                found += [PairTerm((a, b), name) for b in force.getCovalentMap(a, kind) if a < b]
        else:
            found += [PairTerm(_sorted(*row), name) for row in joined_particles(force) if len(set(row)) == 2]
    pairs = [system.getConstraintParameters(k) for k in range(system.getNumConstraints())]
    return found + [PairTerm(_sorted(a, b), "constraint", length._value) for a, b, length in pairs]


def excluded_pairs(system: openmm.System) -> set[tuple[int, int]]:
    """Pairs that some force leaves out or that a bonded term holds together: 1–2 and 1–3 pairs, and often 1–4 ones."""
    found = set()
    for force in forces_of(system):
        for row in joined_particles(force):
            found.update(_sorted(a, b) for a, b in combinations(set(row), 2) if len(row) <= 8)
        if hasattr(force, "getNumExclusions") and not isinstance(force, openmm.CustomHbondForce):
            for k in range(force.getNumExclusions()):
                found.add(_sorted(*force.getExclusionParticles(k)))
        if hasattr(force, "getNumExceptions"):
            for k in range(force.getNumExceptions()):
                a, b, *values = force.getExceptionParameters(k)
                if not any(getattr(value, "_value", value) for value in _strengths(force, values)):
                    found.add(_sorted(a, b))
        if hasattr(force, "getParticleExclusions"):
            for a in range(force.getNumParticles()):
                found.update(_sorted(a, b) for b in force.getParticleExclusions(a) if a != b)
    return found


def _strengths(force: openmm.Force, values: list) -> list:
    """Of the parameters of an exception, those that make it an interaction: all but the size of NonbondedForce's."""
    return [values[0], values[2]] if isinstance(force, openmm.NonbondedForce) else values


def _column_of_length(force: openmm.CustomBondForce) -> int | None:
    names = [force.getPerBondParameterName(k).lower() for k in range(force.getNumPerBondParameters())]
    return next((names.index(name) for name in _LENGTHS if name in names), None)


def _sorted(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)
