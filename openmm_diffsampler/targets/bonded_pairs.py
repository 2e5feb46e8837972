"""Which particles of a System are bonded to each other, as far as its forces tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from .elements import NONMETALS, bond_length, element_symbols, near_pairs
from .pair_terms import PairTerm, excluded_pairs, pair_terms

if TYPE_CHECKING:
    import mdtraj

__all__ = ["bonded_pairs"]

#: A pair is bonded if it is no longer than this many times the usual bond of the elements; the second number is for
#: pairs with a common neighbour (Urey–Bradley terms), and where distances are all that is known.
_LONGEST, _LONGEST_BY_LENGTH = 1.5, 1.2
#: Distance in nm up to which pairs are looked at.
_CUTOFF = 0.35
#: From this stiffness (kJ/mol/nm²) on, and up to this length (nm), a harmonic term is a bond whatever the elements say.
_STIFF, _LONG = 5000.0, 0.6


def bonded_pairs(
    system: openmm.System, topology: mdtraj.Topology | None = None, positions: np.ndarray | None = None
) -> set[tuple[int, int]]:
    """Pairs of particles that the System keeps at the length of a bond.

    Pairs come from every force: harmonic and custom bonds, compounds and centroids of two particles, multipoles, and
    those among the exclusions, angles and torsions that lie as near each other as bonded atoms do. Where no force has
    any, as in a machine-learnt potential, nonmetals at that distance are bonded. Urey–Bradley terms, restraints and
    1–4 terms are told from bonds by their length.

    Arguments:
        system: openmm System.
        topology: an mdtraj Topology of its particles, which tells their elements; without it masses do. Its bonds
            count as well.
        positions: (n_atoms, 3) in nm; without them only forces that say how long their bonds are count.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> len(bonded_pairs(molecule.system)), len(bonded_pairs(load_system("lj13").system))
        (21, 0)
    """
    symbols, terms = element_symbols(system, topology), pair_terms(system)
    bonds = set() if topology is None else {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    bonded: dict[int, set[int]] = {i: set() for i in range(system.getNumParticles())}
    around: dict[int, set[int]] = {i: set() for i in bonded}
    for a, b in bonds:
        bonded[a].add(b)
        bonded[b].add(a)
    for a, b in bonds | {term.pair for term in terms}:
        around[a].add(b)
        around[b].add(a)
    found = bonds | {term.pair for term in terms if _is_bond(term, symbols, bonded, around, positions)}
    near = set()
    if positions is not None:
        near = set(near_pairs(positions, symbols, _LONGEST_BY_LENGTH, _CUTOFF)) - found
    if near:
        excluded = excluded_pairs(system)
        organic = {p for p in near if symbols[p[0]] in NONMETALS and symbols[p[1]] in NONMETALS}
        found |= near & excluded if terms or excluded else organic
    return found


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
