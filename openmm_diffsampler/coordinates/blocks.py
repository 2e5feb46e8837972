"""Which soft torsions belong together: neighbours along the chain, without the rotors that turn by themselves."""

from .graph import neighbours, refined_colours

__all__ = ["rotor_order", "torsion_blocks"]


def rotor_order(topology, torsion):
    """How many equal single atoms a torsion (four atoms) turns: 3 for a methyl group, 2 for a carboxylate, else 1.

    A turn by 2π/3 (π) renames those atoms and changes nothing else.
    """
    bonded, colours = neighbours(topology), refined_colours(topology)
    _, j, k, _ = torsion
    orders = [1]
    for end, other in ((j, k), (k, j)):
        outer = bonded[end] - {other}
        if len({colours[i] for i in outer}) == 1 and all(len(bonded[i]) == 1 for i in outer):
            orders.append(len(outer))
    return max(orders)


def torsion_blocks(coordinates):
    """Columns of the rotatable torsions of :class:`InternalCoordinates`, in blocks: pairs about bonds that share an
    atom, and one alone for a torsion without such a neighbour. Rotors are in no block.

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
    soft = {
        k: {t[1], t[2]} for k, t in coordinates.rotatable_torsions.items() if rotor_order(coordinates.topology, t) < 3
    }
    columns = sorted(soft)
    pairs = [(a, b) for n, a in enumerate(columns) for b in columns[n + 1 :] if soft[a] & soft[b]]
    paired = {k for pair in pairs for k in pair}
    return pairs + [(k,) for k in columns if k not in paired]
