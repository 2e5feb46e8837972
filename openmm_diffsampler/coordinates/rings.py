"""Rings that can pucker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from .graph import neighbours
from .smallest_rings import ring_parts, smallest_rings

if TYPE_CHECKING:
    import mdtraj

__all__ = ["around_ring", "ring_torsions", "saturated_rings"]

#: Saturated atoms of a ring from which on it has puckers that a barrier separates.
_SATURATED = 3


def saturated_rings(topology: mdtraj.Topology) -> list[tuple[int, ...]]:
    """Rings of five atoms or more with at least three saturated atoms (four neighbours), as in proline and sugars.

    Their puckers are no rotatable torsions. Aromatic rings do not count.

    Arguments:
        topology: an mdtraj Topology with bonds.

    Returns:
        list of tuples of atom indices, each once around its ring.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> saturated_rings(load_system("aspartame").mdtraj_topology)
        []
    """
    bonded = neighbours(topology)
    saturated = {a for a in bonded if len(bonded[a]) >= 4}
    parts = (part for part in ring_parts(bonded) if sum(a in saturated for a in part) >= _SATURATED)
    rings = [ring for part in parts for ring in smallest_rings(part)]
    return sorted(around_ring(bonded, r) for r in rings if len(r) > 4 and len(r & saturated) >= _SATURATED)


def around_ring(bonded: dict[int, set[int]], atoms: set[int]) -> tuple[int, ...]:
    """The atoms of a ring in order, from the lowest index towards its lower neighbour."""
    walk = [min(atoms)]
    while len(walk) < len(atoms):
        walk.append(min((bonded[walk[-1]] & atoms) - set(walk)))
    return tuple(walk)


def ring_torsions(x: torch.Tensor, ring: Sequence[int]) -> torch.Tensor:
    """Torsions about the bonds of a ring: (n, n_atoms, 3) → (n, len(ring)) in radians.

    Example:
        >>> corners = torch.arange(6) * torch.pi / 3
        >>> chair = torch.stack([corners.cos(), corners.sin(), torch.tensor([0.2, -0.2] * 3)], 1)
        >>> [round(t, 1) for t in ring_torsions(chair[None], range(6))[0].tolist()]
        [-1.1, 1.1, -1.1, 1.1, -1.1, 1.1]
    """
    arms = [x[:, list(ring)].roll(-k - 1, 1) - x[:, list(ring)].roll(-k, 1) for k in range(3)]
    before, after = torch.linalg.cross(arms[0], arms[1]), torch.linalg.cross(arms[1], arms[2])
    sine = (arms[0] * after).sum(-1) * arms[1].norm(dim=-1)
    return torch.atan2(sine, (before * after).sum(-1))
