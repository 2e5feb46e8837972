"""Distances, angles and torsions of a batch, and the way back: derivatives by them turned into gradients on atoms.

Configurations run along the last axis: positions are (n_atoms, 3, batch), a quantity is (n, batch). Each class holds
the distinct atom tuples of a System, so that terms that share a quantity compute it once.
"""

import torch

from .linear_maps import difference_map, selection_map

__all__ = ["Angles", "Distances", "Positions", "Torsions"]


def _cross(a, b):
    ax, ay, az = a.unbind(1)
    bx, by, bz = b.unbind(1)
    return torch.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], 1)


def _dot(a, b):
    return (a * b).sum(1)


class Distances:
    """r = |x₁ − x₂| for each pair; its derivative is taken as (∂E/∂r)/r."""

    def __init__(self, atoms, n_atoms, **kwargs):
        self.edges = difference_map(atoms[:, 0], atoms[:, 1], n_atoms, **kwargs)

    def values(self, positions):
        """r (n_pairs, batch), and what :meth:`gradient` wants to see again."""
        edges = self.edges(positions)
        return _dot(edges, edges).sqrt(), edges

    def gradient(self, edges, slope):
        """Gradient (n_atoms, 3, batch) from (∂E/∂r)/r (n_pairs, batch)."""
        return self.edges.transpose(edges * slope.unsqueeze(1))


class Angles:
    """θ = atan2(|u×v|, u·v) with u = x₁ − x₂, v = x₃ − x₂."""

    def __init__(self, atoms, n_atoms, **kwargs):
        self.n = len(atoms)
        self.edges = difference_map(atoms[:, [0, 2]].T.reshape(-1), atoms[:, [1, 1]].T.reshape(-1), n_atoms, **kwargs)

    def values(self, positions):
        u, v = self.edges(positions).split(self.n)
        cross = _cross(u, v)
        sine = _dot(cross, cross).clamp(min=1e-30).sqrt()  # a floor, since the root has no derivative at zero
        return torch.atan2(sine, _dot(u, v)), (u, v, cross, sine)

    def gradient(self, cache, slope):
        """From ∂E/∂θ, with ∂θ/∂u = u×(u×v) / (u²|u×v|) and ∂θ/∂v = (u×v)×v / (v²|u×v|)."""
        u, v, cross, sine = cache
        along = slope / sine.clamp(min=1e-6)  # the floor of OpenMM's kernels
        by_u = _cross(u, cross) * (along / _dot(u, u)).unsqueeze(1)
        by_v = _cross(cross, v) * (along / _dot(v, v)).unsqueeze(1)
        return self.edges.transpose(torch.cat([by_u, by_v]))


class Torsions:
    """φ = atan2(|b₂| b₁·(b₂×b₃), (b₁×b₂)·(b₂×b₃)) with bᵢ = xᵢ₊₁ − xᵢ: zero at cis, in (−π, π]."""

    def __init__(self, atoms, n_atoms, **kwargs):
        self.n = len(atoms)
        self.edges = difference_map(atoms[:, 1:].T.reshape(-1), atoms[:, :-1].T.reshape(-1), n_atoms, **kwargs)

    def values(self, positions):
        b1, b2, b3 = self.edges(positions).split(self.n)
        m, n = _cross(b1, b2), _cross(b2, b3)
        axis = _dot(b2, b2).sqrt()
        return torch.atan2(axis * _dot(b1, n), _dot(m, n)), (b1, b2, b3, m, n, axis)

    def gradient(self, cache, slope):
        """From ∂E/∂φ, with ∂φ/∂x₁ = −|b₂| m/m² and ∂φ/∂x₄ = |b₂| n/n² (Blondel & Karplus, J. Comput. Chem. 1996)."""
        b1, b2, b3, m, n, axis = cache
        along = slope * axis
        by_b1 = m * (along / _dot(m, m)).unsqueeze(1)
        by_b3 = n * (along / _dot(n, n)).unsqueeze(1)
        square = axis * axis
        by_b2 = -by_b1 * (_dot(b1, b2) / square).unsqueeze(1) - by_b3 * (_dot(b3, b2) / square).unsqueeze(1)
        return self.edges.transpose(torch.cat([by_b1, by_b2, by_b3]))


class Positions:
    """x, y, z of single atoms."""

    def __init__(self, atoms, n_atoms, **kwargs):
        self.atoms = selection_map(atoms[:, 0], n_atoms, **kwargs)

    def values(self, positions):
        return self.atoms(positions), None

    def gradient(self, _, slope):
        return self.atoms.transpose(slope)
