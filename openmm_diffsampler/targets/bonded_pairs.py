"""Which particles the forces of a System bind to each other."""

from __future__ import annotations

from collections.abc import Iterator

import networkx
import openmm

__all__ = ["bonded_pairs", "fragments"]

#: Forces whose terms are about a few particles by name, with the number of particles that a row of parameters begins
#: with and the methods that count and read the rows.
_TERMS = {
    "HarmonicBondForce": (2, "Bond"),
    "CustomBondForce": (2, "Bond"),
    "HarmonicAngleForce": (3, "Angle"),
    "CustomAngleForce": (3, "Angle"),
    "PeriodicTorsionForce": (4, "Torsion"),
    "RBTorsionForce": (4, "Torsion"),
    "CustomTorsionForce": (4, "Torsion"),
}


def _rows(force: openmm.Force) -> Iterator[tuple[int, ...]]:
    """Particles of each term of a force of :data:`_TERMS`, or of a CustomCompoundBondForce or a CMAP."""
    kind = type(force).__name__
    if kind in _TERMS:
        n, what = _TERMS[kind]
        read = getattr(force, f"get{what}Parameters")
        for k in range(getattr(force, f"getNum{what}s")()):
            yield tuple(read(k)[:n])
    elif kind == "CustomCompoundBondForce":
        for k in range(force.getNumBonds()):
            yield tuple(force.getBondParameters(k)[0])
    elif kind == "CMAPTorsionForce":
        for k in range(force.getNumTorsions()):
            yield tuple(force.getTorsionParameters(k)[1:])


def _pairs(pairs: Iterator[tuple[int, int]]) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in pairs}


def _exclusions(force: openmm.Force) -> set[tuple[int, int]] | None:
    """Pairs that a nonbonded force leaves out altogether; None for a force that is none."""
    if isinstance(force, openmm.NonbondedForce):
        rows = (force.getExceptionParameters(k) for k in range(force.getNumExceptions()))
        return _pairs((i, j) for i, j, charge, _, depth in rows if charge._value == 0 and depth._value == 0)
    if isinstance(force, openmm.CustomNonbondedForce):
        return _pairs(tuple(force.getExclusionParticles(k)) for k in range(force.getNumExclusions()))
    return None


def bonded_pairs(system: openmm.System) -> set[tuple[int, int]]:
    """Pairs of particles that are bonded, as far as the forces tell.

    Harmonic bonds are bonds. So are terms of a CustomBondForce and the arms of angles, where nonbonded forces leave the
    pair out, and constraints; but not what joins the ends of an angle or a torsion (Urey–Bradley terms, scaled
    interactions over three bonds).

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> len(bonded_pairs(molecule.system)), len(bonded_pairs(load_system("lj13").system))
        (21, 0)
    """
    forces = system.getForces()
    excluded = [pairs for pairs in map(_exclusions, forces) if pairs is not None]
    left_out = set.intersection(*excluded) if excluded else None
    harmonic, custom, arms, ends = set(), set(), set(), set()
    for force in forces:
        kind = type(force).__name__
        if kind == "HarmonicBondForce":
            rows = (force.getBondParameters(k) for k in range(force.getNumBonds()))
            harmonic |= _pairs((i, j) for i, j, _, k in rows if k._value != 0)
        elif kind == "CustomBondForce":
            custom |= _pairs(_rows(force))
        elif kind.endswith("AngleForce") and kind in _TERMS:
            rows = list(_rows(force))
            arms |= _pairs((i, j) for i, j, _ in rows) | _pairs((j, k) for _, j, k in rows)
            ends |= _pairs((i, k) for i, _, k in rows)
        elif kind.endswith("TorsionForce") and kind in _TERMS:
            ends |= _pairs((row[0], row[3]) for row in _rows(force))
    constrained = _pairs(tuple(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints()))
    # Without a list of what is left out, as in AMOEBA, terms of pairs are bonds if there are angles too.
    plain = (arms | custom if arms else set()) if left_out is None else (arms | custom) & left_out
    # The ends of an angle are bonded in a ring of three, where two angles have them as an arm.
    return (harmonic | constrained | plain) - (ends - arms)


def fragments(system: openmm.System, bonds: Iterator[tuple[int, int]] = ()) -> list[set[int]]:
    """Sets of particles that terms between named particles join, and the bonds of a topology, if given.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> [len(f) for f in fragments(load_system("alanine-dipeptide").system)]
        [22]
    """
    graph = networkx.Graph()
    graph.add_nodes_from(range(system.getNumParticles()))
    graph.add_edges_from(bonds)
    for force in system.getForces():
        for row in _rows(force):
            networkx.add_path(graph, row)
    graph.add_edges_from(tuple(system.getConstraintParameters(k)[:2]) for k in range(system.getNumConstraints()))
    return [set(atoms) for atoms in networkx.connected_components(graph)]
