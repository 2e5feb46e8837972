"""A generator: one network pass from a latent to a configuration."""

import torch

from .equivariant import EquivariantNetwork
from .for_target import network_for

__all__ = ["Generator"]


class Generator(torch.nn.Module):
    r"""x = g(z), in blocks that each move every coordinate: x ← x + b F(x/a), from x = a z.

    Blocks are what :func:`network_for` gives: particles that are alike move by :class:`EquivariantNetwork`, so that g
    turns and permutes with z. A new generator gives x = a z. Angles start at z itself, which is then spread evenly over
    the circle.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, for its shape, symmetry and periods.
        scale: a, the width to start from, in the units of x.
        width, n_layers: of the network of each block.
        n_blocks: blocks.
        n_waves: of the MLP, or the LatticeNetwork.
        length: of the EquivariantNetwork.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> g = Generator(DoubleWell(), scale=2.0, width=16, n_layers=2, n_blocks=2)
        >>> z = torch.randn(3, 4, 2)
        >>> torch.equal(g(z), 2 * z)
        True
    """

    def __init__(self, target, *, scale, width, n_layers, n_blocks=1, n_waves=0, length=0.5):
        super().__init__()
        factor = torch.full(target.event_shape, float(scale))
        if target.periods is not None:
            factor = torch.where(target.periods.isfinite().cpu(), 1.0, factor)
        self.register_buffer("factor", factor, persistent=False)
        size = {"width": width, "n_layers": n_layers, "n_waves": n_waves, "length": length}
        self.blocks = torch.nn.ModuleList(network_for(target, **size) for _ in range(n_blocks))

    def forward(self, z):
        """z (n, *event_shape) → x, like z."""
        factor = self.factor.to(z.dtype)
        x = factor * z
        nothing = torch.zeros(len(z), dtype=torch.float32, device=z.device)
        for block in self.blocks:
            # Distances between particles are physical; elsewhere numbers of order one suit a network.
            inner = x if isinstance(block, EquivariantNetwork) else x / factor
            x = x + factor * block(inner, nothing).to(z.dtype)
        return x
