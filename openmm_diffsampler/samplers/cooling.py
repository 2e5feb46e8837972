"""From a smooth density to the target: what a training follows before modes part."""

import math

import torch

from openmm_diffsampler.diffusion.kernels import wrapped
from openmm_diffsampler.mcmc.posterior import PosteriorSampler

__all__ = ["Cooling"]


class Cooling:
    r"""Scores of what the target is replaced with in the first part of a training.

    - ``"temperature"``: :math:`e^{-\beta u}` with β from beta_start to 1. It costs nothing, but where modes part it
      weighs those of unequal width wrongly: by :math:`w\,\sigma^{D(1-\beta)}` for Gaussians.
    - ``"noise"``: :math:`p * N(0, s^2)` with s from noise_start to noise_end, whose modes have the weights of those of
      the target; its score takes draws of p(x | x_s) (:class:`~openmm_diffsampler.mcmc.posterior.PosteriorSampler`).

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        settings: :class:`~openmm_diffsampler.samplers.EDGSettings`.
    """

    def __init__(self, target, settings):
        self.target, self.settings, self.posterior = target, settings, None
        if settings.anneal == "noise":
            ends = settings.noise_end, settings.noise_start
            self.posterior = PosteriorSampler(
                target, *ends, start="importance", n_particles=settings.n_draws, unit=settings.scale
            )

    def __call__(self, x, done, generator):
        """Scores at x (n, *event_shape), zero in rows that tell nothing, and metrics.

        Arguments:
            x: configurations.
            done: share of the steps that are done.
            generator: torch Generator.
        """
        o = self.settings
        left = max(0.0, 1 - done / o.anneal_share) if o.anneal_share else 0.0
        if self.posterior is None or not left:
            beta = o.beta_start**left if self.posterior is None else 1.0
            u, score = self.target.reduced_potential_and_score(wrapped(self.target, x))
            finite = u[u.isfinite()]
            mean = float(finite.mean()) if len(finite) else math.nan
            return beta * score, {"energy": mean} | ({"beta": beta} if self.posterior is None else {"noise": 0.0})
        s = o.noise_end * (o.noise_start / o.noise_end) ** left
        found = self.posterior(x, torch.full((len(x),), s, dtype=x.dtype, device=x.device), generator)
        return found.score.nan_to_num(0.0), {"energy": math.nan, "noise": s} | found.metrics

    def state_dict(self):
        """What draws have learnt."""
        return {} if self.posterior is None else self.posterior.state_dict()

    def load_state_dict(self, state):
        """Put back what :meth:`state_dict` gave."""
        if self.posterior is not None:
            self.posterior.load_state_dict(state)
