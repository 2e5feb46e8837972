"""Where the latents of a generator live: a normal density in the space of the target."""

import torch

from openmm_diffsampler.diffusion.kernels import draw_prior, log_prior
from openmm_diffsampler.targets.base import Target

__all__ = ["Latent"]


class Latent(Target):
    """N(0, 1) in the space of a target, with the centroid at zero where that moves freely; even on its circles.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.

    Example:
        >>> from openmm_diffsampler import DoubleWell
        >>> latent = Latent(DoubleWell())
        >>> latent, latent.log_Z
        (Latent(name='latent of dw4', event_shape=(4, 2), dtype=torch.float64), 0.0)
    """

    log_Z = 0.0

    def __init__(self, target):
        options = {"name": f"latent of {target.name}", "translation_invariant": target.translation_invariant}
        super().__init__(target.event_shape, **options, dtype=target.dtype, device=target.device)
        self.periods = target.periods

    def _evaluate(self, z):
        score = -z if self.periods is None else torch.where(self.periods.isinf(), -z, 0.0)
        return -log_prior(self, z, 1.0), score

    def sample(self, n, generator):
        """Exact independent draws (n, *event_shape)."""
        return draw_prior(self, n, 1.0, generator)[0]
