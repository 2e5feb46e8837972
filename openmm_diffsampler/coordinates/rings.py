"""Rings that can pucker."""

from .graph import neighbours, reachable

__all__ = ["has_flexible_ring"]

#: Saturated atoms of a ring from which on it has puckers that a barrier separates.
_SATURATED = 3


def has_flexible_ring(topology):
    """Whether a ring holds at least three saturated atoms (with four neighbours), as in proline, sugars, cyclohexane.

    Such puckers are no rotatable torsions; they change by heat or long trajectories only. Aromatic rings do not count.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> has_flexible_ring(load_system("aspartame").mdtraj_topology)
        False
    """
    bonded = neighbours(topology)
    left = {(a, b) for a in bonded for b in bonded[a] if a < b and b in reachable(bonded, a, b)}
    while left:  # rings that share atoms are one
        atoms = set(left.pop())
        while joined := {bond for bond in left if atoms & set(bond)}:
            left -= joined
            atoms |= {a for bond in joined for a in bond}
        if sum(len(bonded[a]) >= 4 for a in atoms) >= _SATURATED:
            return True
    return False
