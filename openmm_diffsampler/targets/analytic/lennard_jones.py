"""Lennard-Jones clusters held together by a harmonic trap about their centroid."""

import torch

from .particles import PairwiseTarget

__all__ = ["LennardJones"]


class LennardJones(PairwiseTarget):
    r"""LJ-N: u(x) = Σ_{i≠j} (r_ij⁻¹² − 2r_ij⁻⁶) + ½ Σ_i |x_i − x̄|², over ordered pairs (each counts twice); kT = 1.

    Translation invariant, so the density is over configurations with the centroid at zero; Z is not known. From Köhler,
    Klein & Noé, "Equivariant flows", ICML 2020. One unit of length is 1 nm in trajectories. The systems "lj13" and
    "lj55" are the same energy as an OpenMM System.

    Arguments:
        n_particles: how many particles, at least two.
        name: how reports call the density, by default "lj13" for 13 particles.
        dtype, device: of the evaluation.

    Raises:
        ValueError: `n_particles` is not an integer of two or more.

    Example:
        >>> target = LennardJones(2)
        >>> target.reduced_potential(torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]]))  # 2·(1 − 2) + 2·½·½²
        tensor([-1.7500], dtype=torch.float64)
        >>> target.reduced_potential(torch.zeros(1, 2, 3))
        tensor([inf], dtype=torch.float64)
    """

    def __init__(self, n_particles, *, name=None, dtype=torch.float64, device="cpu"):
        if not isinstance(n_particles, int) or isinstance(n_particles, bool) or n_particles < 2:
            raise ValueError(f"n_particles is {n_particles!r}; give an integer of at least 2")
        # The trap about the centroid is a pair term: ½Σ|x_i − x̄|² = Σ_{i<j} r²/(2N).
        pair_energy = f"2*y*(y-2) + r^2/{2 * n_particles}; y=1/r^6"
        super().__init__(n_particles, 3, pair_energy, name=name or f"lj{n_particles}", dtype=dtype, device=device)
        self.preset_key = f"lj{n_particles}"
        self._identity = torch.eye(n_particles, dtype=dtype, device=device)

    def _evaluate(self, x):
        difference = x[:, :, None] - x[:, None]
        # A particle is put at distance 1 from itself: no force (y − 1 = 0), and an energy of −1 that is added back.
        inverse_square = 1 / (difference.square().sum(-1) + self._identity)
        y = inverse_square**3
        centred = x - x.mean(1, keepdim=True)
        # y(y − 2), since y² − 2y is inf − inf for overlapping particles.
        u = (y * (y - 2) + self._identity).sum((1, 2)) + 0.5 * centred.square().sum((1, 2))
        push = 24 * y * (y - 1) * inverse_square
        return u, (push[..., None] * difference).sum(2) - centred
