"""Which bonds, angles and torsions place the atoms of a molecule, one after the other."""

from dataclasses import dataclass

import numpy as np

from .errors import NoInternalCoordinatesError
from .graph import beyond_bridges, component, is_rotatable, neighbours

__all__ = ["ZMatrix"]


@dataclass(frozen=True)
class ZMatrix:
    r"""A bond–angle–torsion tree: atom k of the order is placed by its distance from `centre`, its angle with `axis`,
    and its torsion about the bond centre–axis.

    The tree grows outwards from a bond in the middle of the molecule, so that torsions sweep few atoms. The first atom
    placed on a centre, its *main* one, has a proper torsion, centre–axis continued by one more bond. The others have
    improper-like torsions: the angle about centre–axis from the main atom to them, which is stiff. All atoms on the
    centre follow the main torsion, so that each rotatable bond has exactly one soft coordinate.

    Bonds that close rings are not used. Fragments (without a bond between them) are joined to the root of the largest
    one by an artificial bond from their own most central atom, whose length, angles and torsions say where they are.

    Attributes:
        order: (N,) atom indices, as they are placed.
        centre, axis: (N,) atom indices, −1 where there is none (the first atoms).
        reference: (N, 2) atoms a → b whose direction b − a, seen along the axis, is torsion zero.
        is_main: (N,) bool, of atoms with a proper torsion.
        rotatable: (N − 3,) bool, of proper torsions about a bond that is in no ring.

    References:
        Parsons et al., J. Comput. Chem. 26, 1063 (2005), for placing atoms; Chang, Potter & Gilson, J. Phys. Chem. B
        107, 1048 (2003), for torsions relative to a main one.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> z_matrix = ZMatrix.from_topology(load_system("alanine-dipeptide").mdtraj_topology)
        >>> z_matrix.torsions[z_matrix.rotatable].tolist()[0]
        [14, 8, 6, 4]
    """

    order: np.ndarray
    centre: np.ndarray
    axis: np.ndarray
    reference: np.ndarray
    is_main: np.ndarray
    rotatable: np.ndarray

    @classmethod
    def from_topology(cls, topology):
        """The tree of an mdtraj Topology with bonds.

        Raises:
            NoInternalCoordinatesError: fewer than two atoms, or no bonds.
        """
        if topology.n_atoms < 2 or topology.n_bonds == 0:
            raise NoInternalCoordinatesError(
                f"a topology of {topology.n_atoms} atoms and {topology.n_bonds} bonds has no internal coordinates; it "
                "needs at least two atoms and a bond"
            )
        bonded = neighbours(topology)
        heavy = {a.index for a in topology.atoms if a.element is None or a.element.atomic_number > 1}
        root = _join_fragments(bonded, heavy)
        order, centre, axis, reference, is_main = _grow(bonded, heavy, root)
        real = neighbours(topology)  # without the artificial bonds
        bridges = beyond_bridges(real)
        last = zip(is_main[3:], centre[3:].tolist(), axis[3:].tolist(), strict=True)
        rotatable = np.array([main and is_rotatable(real, bridges, j, k) for main, j, k in last], dtype=bool)
        return cls(order, centre, axis, reference, is_main, rotatable)

    @property
    def torsions(self):
        """(N − 3, 4) atoms of each torsion column; in an improper-like one the last is the main atom."""
        return np.stack([self.order, self.centre, self.axis, self.reference[:, 1]], 1)[3:]


def _join_fragments(bonded, heavy):
    """Add artificial bonds to `bonded` until everything hangs together; returns the root."""
    left, fragments = set(bonded), []
    while left:
        fragments.append(component(bonded, min(left)))
        left -= fragments[-1]
    fragments.sort(key=lambda atoms: (-len(atoms), min(atoms)))
    roots = [_most_central(bonded, atoms, heavy) for atoms in fragments]
    for other in roots[1:]:
        bonded[roots[0]].add(other)
        bonded[other].add(roots[0])
    return roots[0]


def _most_central(bonded, atoms, heavy):
    """The atom from which the farthest one is nearest; a heavy one with several neighbours where there is a choice."""

    def farthest(start):
        seen, shell, n = {start}, [start], 0
        while shell:
            shell = [i for a in shell for i in bonded[a] if i not in seen and not seen.add(i)]
            n += 1
        return n

    return min(atoms, key=lambda i: (i not in heavy, len(bonded[i]) < 2, farthest(i), i))


def _grow(bonded, heavy, root):
    """order, centre, axis, reference, is_main, from the root outwards."""
    beyond = beyond_bridges(bonded)

    def rank(j, i):
        """Main atoms are heavy and have much beyond them; in a ring that is everything."""
        return (i not in heavy, len(bonded[i]) < 2, -beyond.get((j, i), len(bonded)), i)

    first = min(bonded[root], key=lambda i: rank(root, i))
    parent = {root: first, first: root}  # of the first two, the other one: the axis of what they carry
    rows = [(root, -1, -1, (-1, -1), False), (first, root, -1, (-1, -1), False)]
    centres, third, placed = [first, root], None, {root, first}
    while centres:
        j = centres.pop(0)
        axis, main = parent[j], None
        for i in sorted(bonded[j] - placed, key=lambda i: rank(j, i)):
            reference, is_main = (j, main), False
            if main is None:
                main, is_main = i, True
                if third is None:
                    third, reference, is_main = i, (-1, -1), False
                elif j == root:
                    reference = (axis, third)
                else:
                    reference = (axis, first if axis == root else parent[axis])
            rows.append((i, j, axis, reference, is_main))
            parent[i] = j
            placed.add(i)
            centres.append(i)
    return [np.array(column) for column in zip(*rows, strict=True)]
