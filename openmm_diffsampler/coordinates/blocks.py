"""Which soft torsions belong together: neighbours along the chain, without the rotors that turn by themselves."""

import math

from .graph import equal_branches, neighbours, reachable, refined_colours

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


def torsion_blocks(coordinates):
    """Columns of the rotatable torsions of :class:`InternalCoordinates`, in blocks: pairs about bonds that share an
    atom, and one alone for a torsion without such a neighbour. Rotors of three and more, such as methyl groups, are
    in no block.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> from openmm_diffsampler.coordinates import InternalCoordinates
        >>> coordinates = InternalCoordinates(load_system("alanine-dipeptide").mdtraj_topology)
        >>> names = coordinates.column_names()
        >>> [[names[k] for k in block] for block in torsion_blocks(coordinates)]  # doctest: +NORMALIZE_WHITESPACE
        [['torsion 14-8-6-4', 'torsion 1-4-6-8'],
         ['torsion 14-8-6-4', 'torsion 16-14-8-6'],
         ['torsion 16-14-8-6', 'torsion 18-16-14-8']]
    """
    torsions = coordinates.rotatable_torsions
    orders = rotor_orders(coordinates.topology, torsions.values())
    soft = {k: set(t[1:3]) for (k, t), order in zip(torsions.items(), orders, strict=True) if order < 3}
    columns = sorted(soft)
    pairs = [(a, b) for n, a in enumerate(columns) for b in columns[n + 1 :] if soft[a] & soft[b]]
    paired = {k for pair in pairs for k in pair}
    return pairs + [(k,) for k in columns if k not in paired]
