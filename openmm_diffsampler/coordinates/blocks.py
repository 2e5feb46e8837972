"""Which soft torsions belong together: neighbours along the chain, without the rotors that turn by themselves."""

from .graph import equal_branches, neighbours, refined_colours

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


def torsion_blocks(coordinates):
    """Columns of the rotatable torsions of :class:`InternalCoordinates`, in blocks: pairs about bonds that share an
    atom, and one alone for a torsion without such a neighbour. Rotors of three, such as methyl groups, are in no block.

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
