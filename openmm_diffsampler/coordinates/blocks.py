"""Which soft torsions belong together: neighbours along the chain, without the rotors that turn by themselves."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from .graph import equal_branches, neighbours, reachable, refined_colours

if TYPE_CHECKING:
    from .internal import InternalCoordinates

__all__ = ["rotor_orders", "torsion_blocks"]


def rotor_orders(topology, torsions):
    """How many equal branches each torsion turns: 3 for methyl, CF3 or t-butyl, 2 for carboxylate or phenyl, else 1.

    A turn by 2π/3 (π) renames their atoms. Branches are single atoms, atoms with equal single atoms on them, or the two
    sides of a flat ring. Where both ends are rotors it is the order of the whole turn: 6 for toluene.

    Arguments:
        topology: an mdtraj Topology with bonds.
        torsions: list of four atom indices each.
    """
    bonded, colours = neighbours(topology), refined_colours(topology)

    def order(j, k):
        ends = equal_branches(bonded, colours, j, k)
        return math.lcm(*(len(b) for end, _, b in ends if _is_rotor(bonded, colours, end, b)))

    return [order(*torsion[1:3]) for torsion in torsions]


def _is_rotor(bonded, colours, end, branches):
    tips = [bonded[i] - {end} for i in branches]
    if all(len(tip) == 0 or (len(tip) == 3 and _are_equal_atoms(bonded, colours, tip)) for tip in tips):
        return True
    closed = len(branches) == 2 and branches[1] in reachable(bonded, branches[0], end)
    return closed and all(len(bonded[i]) <= 3 for i in branches)


def _are_equal_atoms(bonded, colours, atoms):
    return len({colours[i] for i in atoms}) == 1 and all(len(bonded[i]) == 1 for i in atoms)


def torsion_blocks(coordinates: InternalCoordinates, held: Iterable[int] = ()) -> list[tuple[int, ...]]:
    """Columns of the rotatable torsions of :class:`InternalCoordinates`, in blocks that are turned together.

    Each torsion is a block of its own. Pairs are about bonds that share an atom, and triples about bonds that all share
    one, as at a branched carbon or a tertiary amine. Rotors of three and more, such as methyl groups, are in none of
    these.

    Arguments:
        coordinates: of the molecule.
        held: columns that are in no block.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.coordinates import InternalCoordinates
        >>> coordinates = InternalCoordinates(load_system("alanine-dipeptide").mdtraj_topology)
        >>> names = coordinates.column_names()
        >>> [[names[k] for k in b] for b in torsion_blocks(coordinates) if len(b) > 1]  # doctest: +NORMALIZE_WHITESPACE
        [['torsion 14-8-6-4', 'torsion 1-4-6-8'],
         ['torsion 14-8-6-4', 'torsion 16-14-8-6'],
         ['torsion 16-14-8-6', 'torsion 18-16-14-8']]
    """
    held = set(held)
    torsions = {k: t for k, t in coordinates.rotatable_torsions.items() if k not in held}
    orders = rotor_orders(coordinates.topology, torsions.values())
    soft = {k: set(t[1:3]) for (k, t), order in zip(torsions.items(), orders, strict=True) if order < 3}
    columns = sorted(soft)
    pairs = [block for block in combinations(columns, 2) if set.intersection(*(soft[k] for k in block))]
    about: dict[int, list[int]] = {}
    for k in columns:
        for atom in soft[k]:
            about.setdefault(atom, []).append(k)
    triples = sorted({block for around in about.values() for block in combinations(around, 3)})
    return [(k,) for k in sorted(torsions)] + pairs + triples
