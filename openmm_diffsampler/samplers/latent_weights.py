"""The density of a latent given its configuration, by the encoder of an energy-based diffusion generator."""

import math

import torch

from openmm_diffsampler.diffusion import place_levels, reverse_spreads
from openmm_diffsampler.diffusion.solvers import flow_log_density, flow_points, path_log_weights, path_samples

__all__ = ["FlowEncoder", "PathEncoder"]


class _Encoder:
    """p_E(z | x) of a trained score.

    Arguments:
        latent: :class:`~openmm_diffsampler.samplers.latent.Latent`.
        posterior: :class:`~openmm_diffsampler.networks.LatentScore`.
    """

    def __init__(self, latent, posterior):
        self.latent, self.posterior, self.schedule = latent, posterior, posterior.schedule
        self.prior_scale = math.hypot(1.0, self.schedule.s_max)

    def _score(self, x):
        """Score function (z, t) of the latents of x."""
        return lambda z, t: self.posterior(z, x, t).to(z.dtype)


class PathEncoder(_Encoder):
    """p_E(z | x) by random paths of the reverse process: estimated without bias, for any score and number of levels.

    Arguments:
        latent, posterior: as above.
        tables: :class:`~openmm_diffsampler.diffusion.LevelTables` of the reverse process.
        n_levels: steps of a path.
        n_paths: paths that the density is averaged over.
    """

    def __init__(self, latent, posterior, tables, n_levels, n_paths):
        super().__init__(latent, posterior)
        self.n_paths, self.times = n_paths, place_levels(tables, n_levels)
        spreads = reverse_spreads(self.schedule, self.times, tables.size)
        self.options = {"spreads": spreads, "prior_scale": self.prior_scale}

    def log_ratio(self, z, x, generator):
        """log p_E(z | x) − log q(z), (n,) in double precision."""
        score = self._score(x)
        found = [
            -path_log_weights(self.latent, score, self.schedule, z, self.times, generator, **self.options)
            for _ in range(self.n_paths)
        ]
        return torch.logsumexp(torch.stack(found), 0) - math.log(self.n_paths)

    def draw(self, x, generator):
        """One latent of each x, (n, *event_shape)."""
        return path_samples(self.latent, self._score(x), self.schedule, len(x), self.times, generator, **self.options).x


class FlowEncoder(_Encoder):
    """p_E(z | x) by the probability flow of the score: exact up to the error of the solver.

    Arguments:
        latent, posterior: as above.
        n_steps: of Heun's method.
    """

    def __init__(self, latent, posterior, n_steps):
        super().__init__(latent, posterior)
        self.n_steps = n_steps

    def log_ratio(self, z, x, generator):
        """log p_E(z | x) − log q(z), (n,) in double precision."""
        options = {"prior_scale": self.prior_scale}
        log_density = flow_log_density(self.latent, self._score(x), self.schedule, z, self.n_steps, **options)
        return log_density + self.latent.reduced_potential(z)

    def draw(self, x, generator):
        """One latent of each x, (n, *event_shape)."""
        options = {"prior_scale": self.prior_scale}
        return flow_points(self.latent, self._score(x), self.schedule, len(x), self.n_steps, generator, **options)
