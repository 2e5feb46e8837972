"""Which soft torsions belong together: neighbours along the chain, without the rotors that turn by themselves."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import TYPE_CHECKING

from .graph import equal_branches, neighbours, refined_colours

if TYPE_CHECKING:
    from .internal import InternalCoordinates

__all__ = ["rotor_orders", "torsion_blocks"]


def rotor_orders(topology, torsions):
    """How many equal single atoms each torsion turns: 3 for a methyl group, 2 for a carboxylate, else 1.

    A turn by 2π/3 (π) renames those atoms.

    Arguments:
        topology: an mdtraj Topology with bonds.
        torsions: list of four atom indices each.
    """
    bonded, colours = neighbours(topology), refined_colours(topology)

    def order(j, k):
        ends = (branches for _, _, branches in equal_branches(bonded, colours, j, k))
        return max((len(b) for b in ends if all(len(bonded[i]) == 1 for i in b)), default=1)

    return [order(*torsion[1:3]) for torsion in torsions]


def torsion_blocks(coordinates: InternalCoordinates, held: Iterable[int] = ()) -> list[tuple[int, ...]]:
    """Columns of the rotatable torsions of :class:`InternalCoordinates`, in blocks that are turned together.

    Each torsion is a block of its own. Pairs are about bonds that share an atom, and triples about bonds that all share
    one, as at a branched carbon or a tertiary amine. Rotors of three, such as methyl groups, are in no pair or triple.

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
