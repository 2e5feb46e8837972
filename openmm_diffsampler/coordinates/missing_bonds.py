"""Bonds that a System has and its topology lacks, as in a PDB file without CONECT records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from openmm_diffsampler.targets.bonded_pairs import PairTerm, excluded_pairs, pair_terms
from openmm_diffsampler.targets.elements import NONMETALS, bond_length, element_symbols

from .graph import component, neighbours

if TYPE_CHECKING:
    import mdtraj
    import torch

__all__ = ["MissingBondsWarning", "how_to_add_bonds", "missing_bonds", "unbonded_molecules"]

#: A pair is bonded if it is no longer than this many times the usual bond of the elements; the second number is for
#: pairs with a common neighbour (Urey–Bradley terms), and where distances are all that is known.
_LONGEST, _LONGEST_BY_LENGTH = 1.5, 1.2
#: From this stiffness (kJ/mol/nm²) on, and up to this length (nm), a harmonic term is a bond whatever the elements say.
_STIFF, _LONG = 5000.0, 0.6


class MissingBondsWarning(UserWarning):
    """The topology lacks bonds that the System has, so that their torsions are not turned."""


def missing_bonds(
    system: openmm.System, topology: mdtraj.Topology | None, positions: np.ndarray | torch.Tensor | None = None
) -> list[tuple[int, int]]:
    """Pairs that the System keeps at the length of a bond and that the topology does not join.

    Pairs come from every force: harmonic and custom bonds, compounds and centroids of two particles, multipoles, and
    those among the exclusions, angles and torsions that lie as near each other as bonded atoms do. Where no force has
    any, as in a machine-learnt potential, nonmetals at that distance are bonded. Urey–Bradley terms, restraints and
    1–4 terms are told from bonds by their length.

    Arguments:
        system: openmm System.
        topology: an mdtraj Topology of its particles; None has no bonds.
        positions: (n_atoms, 3) in nm; without them only forces that say how long their bonds are count.

    Returns:
        sorted list of pairs of atom indices.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> missing_bonds(molecule.system, molecule.mdtraj_topology)
        []
    """
    bonded = {i: set() for i in range(system.getNumParticles())} if topology is None else neighbours(topology)
    symbols = element_symbols(system, topology)
    x = None if positions is None else np.asarray(positions, dtype=np.float64)
    terms = pair_terms(system)
    around = {i: set(others) for i, others in bonded.items()}
    for term in terms:
        a, b = term.pair
        around[a].add(b)
        around[b].add(a)
    found = {
        term.pair
        for term in terms
        if term.pair[1] not in bonded[term.pair[0]] and _is_bond(term, symbols, bonded, around, x)
    }
    if x is not None:
        near = {p for p in _near_pairs(x, symbols) if p[1] not in bonded[p[0]]} - found
        if near:
            excluded = excluded_pairs(system)
            organic = {p for p in near if symbols[p[0]] in NONMETALS and symbols[p[1]] in NONMETALS}
            found |= near & excluded if terms or excluded else organic
    return sorted(found)


def unbonded_molecules(
    system: openmm.System, topology: mdtraj.Topology, missing: list[tuple[int, int]]
) -> list[list[int]]:
    """Molecules of four atoms or more, of known elements, of which the topology has no bond at all.

    Arguments:
        system, topology: as for :func:`missing_bonds`.
        missing: what it found.

    Returns:
        list of lists of atom indices.
    """
    symbols, bonded = element_symbols(system, topology), neighbours(topology)
    joined = {i: set() for i in bonded}
    for a, b in missing:
        if bond_length(symbols[a], symbols[b]) is not None:
            joined[a].add(b)
            joined[b].add(a)
    left, found = {i for pair in missing for i in pair}, []
    while left:
        atoms = component(joined, min(left))
        left -= atoms
        if len(atoms) > 3 and not any(bonded[i] for i in atoms):
            found.append(sorted(atoms))
    return found


def how_to_add_bonds(topology: mdtraj.Topology | None, missing: list[tuple[int, int]]) -> str:
    """In words: how many bonds are missing, which, and what to do."""
    atoms = [] if topology is None else list(topology.atoms)
    names = ["–".join(str(atoms[i]) if atoms else str(i) for i in pair) for pair in missing[:5]]
    listed = ", ".join(names) + (", …" if len(missing) > 5 else "")
    if topology is None:
        return f"{len(missing)} bonds that the System has (particles {listed}), since there is none; give topology="
    return (
        f"{len(missing)} bonds that the System has ({listed}); add them by topology.addBond, or as CONECT records of "
        "the PDB file"
    )


def _is_bond(
    term: PairTerm,
    symbols: list[str | None],
    bonded: dict[int, set[int]],
    around: dict[int, set[int]],
    x: np.ndarray | None,
) -> bool:
    a, b = term.pair
    usual = bond_length(symbols[a], symbols[b])
    share = bool(around[a] & around[b])
    if usual is None:  # beads: every harmonic bond but those between second neighbours
        return (term.stiffness or term.length) is not None and not bonded[a] & bonded[b]
    length = term.length
    if length is None and x is not None:
        length = float(np.linalg.norm(x[a] - x[b]))
    if length is None:
        return False
    if length < (_LONGEST_BY_LENGTH if share else _LONGEST) * usual:
        return True
    return not share and (term.stiffness or 0) >= _STIFF and length <= _LONG


def _near_pairs(x: np.ndarray, symbols: list[str | None]) -> set[tuple[int, int]]:
    """Pairs of known elements within the length of a bond."""
    from scipy.spatial import cKDTree

    found, longest = set(), 0.35
    for a, b in cKDTree(x).query_pairs(longest):
        usual = bond_length(symbols[a], symbols[b])
        if usual is not None and np.linalg.norm(x[a] - x[b]) < _LONGEST_BY_LENGTH * usual:
            found.add((a, b))
    return found
