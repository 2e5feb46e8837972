"""Four particles in the plane, bound in pairs by a double well in their distance."""

import torch

from .particles import PairwiseTarget

__all__ = ["DoubleWell"]


class DoubleWell(PairwiseTarget):
    r"""DW-4: u(x) = Σ_{i<j} 0.9(d_ij − 4)⁴ − 4(d_ij − 4)², each pair of the four particles once; kT = 1.

    Translation invariant, so the density is over configurations with the centroid at zero; Z is not known. From Köhler,
    Klein & Noé, "Equivariant flows", ICML 2020. One unit of length is 1 nm in trajectories.

    Arguments:
        name: how reports call the density.
        dtype, device: of the evaluation.

    Example:
        >>> target = DoubleWell()
        >>> square = 4 * torch.tensor([[[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]])
        >>> target.reduced_potential(square)  # only the diagonals are away from d = 4
        tensor([-8.3966], dtype=torch.float64)
        >>> target.topology.n_atoms
        4
    """

    preset_key = "dw4"

    def __init__(self, *, name="dw4", dtype=torch.float64, device="cpu"):
        super().__init__(4, 2, "t*t*(0.9*t*t-4); t=r-4", name=name, dtype=dtype, device=device)
        self._first, self._second = torch.triu_indices(4, 4, offset=1, device=self.device)

    def _evaluate(self, x):
        difference = x[:, self._first] - x[:, self._second]
        distance = difference.square().sum(-1).sqrt()
        t = distance - 4
        u = (t * t * (0.9 * t * t - 4)).sum(1)
        pull = (t * (8 - 3.6 * t * t) / distance)[..., None] * difference
        score = torch.zeros_like(x).index_add(1, self._first, pull).index_add(1, self._second, -pull)
        return u, score
