"""The density of a latent given its configuration, by the encoder of an energy-based diffusion generator."""

import math

from openmm_diffsampler.diffusion import place_levels, reverse_spreads
from openmm_diffsampler.diffusion.solvers import flow_log_density, flow_samples, path_log_weights, path_samples

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
        mean = self.posterior.mean(x)
        return lambda z, t: self.posterior(z, x, t, mean).to(z.dtype)


class PathEncoder(_Encoder):
    """p_E(z | x) by random paths of the reverse process, each with its own density: exact for any number of levels.

    Arguments:
        latent, posterior: as above.
        tables: :class:`~openmm_diffsampler.diffusion.LevelTables` of the reverse process.
        n_levels: steps of a path.
    """

    def __init__(self, latent, posterior, tables, n_levels):
        super().__init__(latent, posterior)
        self.times = place_levels(tables, n_levels)
        spreads = reverse_spreads(self.schedule, self.times, tables.size)
        self.options = {"spreads": spreads, "prior_scale": self.prior_scale}

    def log_ratio(self, z, x, generator):
        """log q(z) − log p_E(z | x), (n,) in double precision, of a random path that noise makes out of z."""
        return path_log_weights(self.latent, self._score(x), self.schedule, z, self.times, generator, **self.options)

    def draw(self, x, generator):
        """A latent of each x, (n, *event_shape), and its log q(z) − log p_E(z | x), those of its path."""
        found = path_samples(self.latent, self._score(x), self.schedule, len(x), self.times, generator, **self.options)
        return found.x, found.log_weights


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
        """log q(z) − log p_E(z | x), (n,) in double precision."""
        options = {"prior_scale": self.prior_scale}
        log_density = flow_log_density(self.latent, self._score(x), self.schedule, z, self.n_steps, **options)
        return -self.latent.reduced_potential(z) - log_density

    def draw(self, x, generator):
        """A latent of each x, (n, *event_shape), and its log q(z) − log p_E(z | x)."""
        options = {"prior_scale": self.prior_scale}
        found = flow_samples(self.latent, self._score(x), self.schedule, len(x), self.n_steps, generator, **options)
        return found.x, found.log_weights
