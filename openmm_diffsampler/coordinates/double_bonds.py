"""Which bonds of a molecule are double in every Lewis structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import networkx

from .graph import neighbours

if TYPE_CHECKING:
    import mdtraj

__all__ = ["double_bonds"]

#: Bonds that a neutral atom makes, by its element.
_VALENCES = {"B": 3, "C": 4, "N": 3, "O": 2, "S": 2, "Se": 2}
#: Neighbours of an end that E/Z isomerism needs: one more than the bond and the atoms or lone pair in its plane.
_NEIGHBOURS = {("C", 3), ("N", 2)}


def double_bonds(topology: mdtraj.Topology) -> set[frozenset[int]]:
    """C=C, C=N and N=N bonds whose ends have a further neighbour and that are double in every Lewis structure.

    Each atom has as many bonds left as its valence is larger than its number of neighbours. They are paired between
    neighbours, as many as can be; a bond is double if fewer can be without it. Rings that are aromatic, and the single
    bonds of butadiene, acrolein, biphenyl, amides, enamines and guanidinium, can do without.

    Arguments:
        topology: with all hydrogens.

    Returns:
        set of pairs of atom indices.

    Example:
        >>> import mdtraj
        >>> topology = mdtraj.Topology()
        >>> residue = topology.add_residue("DZE", topology.add_chain())
        >>> elements = "NNHH"
        >>> atoms = [topology.add_atom(e, mdtraj.element.Element.getBySymbol(e), residue) for e in elements]
        >>> for i, j in ((0, 1), (0, 2), (1, 3)):
        ...     topology.add_bond(atoms[i], atoms[j])
        >>> [sorted(bond) for bond in double_bonds(topology)]
        [[0, 1]]
    """
    bonded = neighbours(topology)
    symbols = {atom.index: getattr(atom.element, "symbol", "") for atom in topology.atoms}
    left = {i: max(0, _VALENCES.get(symbols[i], 0) - len(bonded[i])) for i in bonded}
    unsaturated = networkx.Graph((i, j) for i in bonded for j in bonded[i] if left[i] and left[j])
    found = set()
    for atoms in networkx.connected_components(unsaturated):
        part = unsaturated.subgraph(atoms)
        candidates = [(i, j) for i, j in part.edges if all((symbols[k], len(bonded[k])) in _NEIGHBOURS for k in (i, j))]
        if candidates:
            most = _n_pairs(part, left)
            for i, j in candidates:
                without = networkx.Graph(part)
                without.remove_edge(i, j)
                if _n_pairs(without, left) < most:
                    found.add(frozenset((i, j)))
    return found


def _n_pairs(part: networkx.Graph, left: dict[int, int]) -> int:
    """How many bonds can be made besides the single ones."""
    copies = networkx.Graph(((i, a), (j, b)) for i, j in part.edges for a in range(left[i]) for b in range(left[j]))
    return len(networkx.max_weight_matching(copies, maxcardinality=True))
