"""DiKL: a one-step generator, trained by reverse diffusive Kullback–Leibler divergence."""

import math
from typing import Any

import torch

from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.diffusion.kernels import draw_prior
from openmm_diffsampler.mcmc.posterior import PosteriorSampler
from openmm_diffsampler.networks import Generator
from openmm_diffsampler.targets import Target

from .base import Sampler
from .buffer_start import whiten
from .companion import Companion
from .dikl_settings import dikl_settings, published_ratios
from .divergence_weights import DivergenceWeights
from .learnt_coordinates import coordinates_state, in_whitened_coordinates, load_coordinates
from .levels_density import stratified
from .one_step_sampling import OneStepSampling, one_pass
from .replay import ReplayBuffer
from .sampler_files import require_target

__all__ = ["DiKL"]

#: How much of the running mean score gap a step replaces.
_MEMORY = 0.01


class DiKL(Sampler):
    r"""One-step generators by reverse diffusive KL: x = g(z), an independent sample in one pass of a network.

    Reverse KL from samples of g alone settles in one mode. Between noised densities modes overlap, and so g minimises

    .. math:: \mathrm{DiKL}(g) = \int w(s)\,\mathrm{KL}(g_s \| p_s)\,d\ln s, \qquad g_s = g * N(0, s^2),\;
              p_s = p * N(0, s^2),

    which is zero for g = p alone, as each term is. Its gradient needs two scores at noised samples x_s = g(z) + s ε,

    .. math:: \nabla_\theta \mathrm{DiKL} = \int w(s)\,\mathrm{E}\left[(\nabla\log g_s(x_s) - \nabla\log p_s(x_s))
              \cdot \partial_\theta g(z)\right] d\ln s:

    that of the samples from a *companion*, a diffusion model fitted to them by a few steps of denoising score matching
    within each step; that of the target from draws of p(x | x_s) by
    :class:`~openmm_diffsampler.mcmc.posterior.PosteriorSampler`. Published in variance-preserving form, αx + σε;
    with s = σ/α it is the same divergence.

    Preset ``"paper"`` has the published ladder of levels, weights and posterior draws. ``"default"`` starts the draws
    where x_s came from, which is a draw of the posterior once g = p, spreads levels evenly over ln s, mixes the score
    identities with the least variance, and fits the companion to the samples of the latest steps.

    Weights, both exact:

    - ``"path"``: those of a diffusion model that is fitted to the generator's samples, refined as below, once that is
      done: samples of its own, many passes each. They are weighed exactly, however good it is; a mode that neither the
      generator nor trajectories reach is missing all the same.
    - ``"encoder"``: those of the generator's own samples, ended by Gaussian noise of `output_noise`
      (:class:`~openmm_diffsampler.samplers.latent_encoder.LatentEncoder`): a density of the latent given the sample, by
      Newton steps from guesses and the Jacobian there. Not for coordinates with periods. Where the generator folds more
      than there are guesses, log Z comes out too low from any number of samples that one can draw.

    With ``weights=None`` a sample takes one pass and `n_refine` Hamiltonian trajectories on the target, which only
    bring it nearer; ``n_refine=0`` is the pass alone.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`: as for :class:`~openmm_diffsampler.IDEM`.
        preset: ``"default"`` or ``"paper"``.
        seed: of all random numbers of the training.
        settings: those of :class:`~openmm_diffsampler.samplers.DiKLSettings` that differ from the preset.

    Raises:
        TypeError: an unknown setting, or particles that are not alike and no molecule with bonds and positions.
        ValueError: an unknown preset, settings out of their range.

    References:
        He, Chen, Zhang, Barber & Hernández-Lobato, Training neural samplers with reverse diffusive KL divergence,
        arXiv:2410.12456.

    Example:
        >>> from openmm_diffsampler import DiKL, GaussianMixture
        >>> target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
        >>> small = {"batch_size": 128, "width": 32, "score_width": 32, "n_final_steps": 100, "n_score_steps": 2}
        >>> sampler = DiKL(target, scale=2.0, s_max=8.0, **small).fit(20)
        >>> sampler.sample(1000, weights=None, seed=1).x.shape
        torch.Size([1000, 1])
    """

    method = "dikl"
    precision = "32-true"  # what is left of two scores when they are subtracted
    sampling_batch = 256

    def __init__(self, target: Target, preset: str = "default", *, seed: int = 0, **settings: Any) -> None:
        require_target(target)
        super().__init__(in_whitened_coordinates(target), preset, seed=seed, **settings)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed + 1)
            self.companion = Companion(self.target, self.settings, "score").to(self.target.device)
        self.sampling, self.pool = self._new_sampling(), None
        self.weight_kinds = self.sampling.weight_kinds

    def _new_sampling(self):
        return OneStepSampling(self.target, self.average, self.settings, self.seed + 2)

    def _settings(self, preset, changes):
        return dikl_settings(self.target, preset, changes)

    def _build(self):
        options = self.settings
        names = ("scale", "width", "n_layers", "n_blocks", "n_waves", "length")
        return Generator(self.target, **{name: getattr(options, name) for name in names})

    # Training.

    def _prepare(self, run):
        options, target = self.settings, self.target
        if isinstance(target, WhitenedTarget):
            whiten(run, target)
        latest = one_pass(target, run.model, options.batch_size, run.generator)[1]
        self.pool = ReplayBuffer(latest, self._pool_size)
        self.kept, self.gap, self.least_gap, self.least_step = None, None, math.inf, 0

    def _set_up(self, run):
        """What a run has beside its state."""
        options = self.settings
        self.companion.set_up(run)
        self.weights = DivergenceWeights(options.weighting, options.scale)
        names = ("n_particles", "n_anneal", "n_coordinate_steps", "n_trajectories", "n_leapfrog", "step_size", "mixing")
        self.posterior = PosteriorSampler(
            self.target,
            options.s_min,
            options.s_max,
            start={"generated": "given", "kept": "given"}.get(options.posterior, options.posterior),
            unit=options.scale,
            **{name: getattr(options, name) for name in names},
        )

    @property
    def _pool_size(self):
        return self.settings.n_pool or self.settings.batch_size

    def _inner_samples(self, n, run):
        """What the companion is fitted to: the generator's samples of the latest steps, or new ones."""
        if self.settings.n_pool:
            return self.pool.x[self.pool.draw(n, run.generator)]
        return one_pass(self.target, run.model, n, run.generator)[1]

    def _times(self, n, generator, done):
        """t (n,) of the levels at which divergences are taken, when a share `done` of the steps is."""
        options = self.settings
        if options.objective == "reverse-kl":
            return torch.zeros(n, dtype=torch.float64, device=self.target.device)
        if options.n_levels:
            s = options.scale * published_ratios(options.beta_min, options.beta_max, options.n_levels)
            rows = torch.randint(len(s), (n,), generator=generator, device=self.target.device)
            return self.companion.schedule.time(s.clamp(min=options.s_min).to(rows.device))[rows]
        lowest = max(0.0, 1 - done / options.coarse_share) if options.coarse_share else 0.0
        return self.companion.top() * (lowest + (1 - lowest) * stratified(n, generator))

    def _loss(self, run):
        options, target, generator = self.settings, self.target, run.generator
        done = run.step / run.n_steps
        rate = 0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)) if options.decay else 1.0
        metrics = {
            "score loss": self.companion.fit(
                run, lambda n: self._inner_samples(n, run), options.n_score_steps, rate, self.companion.top()
            )
        }
        n = run.share(options.batch_size)
        z, noise, t, new = self._noise(n, generator, done)
        x = run.model(z.float())
        clean = x.detach().to(target.dtype)
        latest = clean if self.kept is None else one_pass(target, run.model, n, generator)[1]
        self.pool.append(latest[latest.flatten(1).isfinite().all(1)])
        s = self.companion.schedule.ratio(t)
        x_t = clean + self.target.per_row(s) * noise
        with torch.no_grad():
            of_samples = self.companion.score(x_t, t)
        if options.objective == "reverse-kl":
            u, of_target = target.reduced_potential_and_score(x_t)
            metrics["energy"] = float(u[u.isfinite()].mean())
        else:
            x_0 = clean if self.kept is None else torch.where(target.per_row(new), clean, self.kept[-1])
            found = self.posterior(x_t, s, generator, x_0=x_0, baseline=of_samples)
            of_target = found.score
            metrics |= found.metrics
            if options.posterior == "kept":
                self.kept = (z, noise, t, found.x)
        difference = of_samples - of_target
        gap = s * difference.flatten(1).square().sum(1).div(target.n_degrees_of_freedom).sqrt()
        metrics["score gap"] = self._last_gap = float(run.agree(gap.nanmedian()))
        difference = self.weights(difference, s, t / self.companion.top())
        square = difference.flatten(1).square().sum(1) / target.n_degrees_of_freedom
        root = square.nanmedian().sqrt()
        bound = options.score_clip * root / square.sqrt().clamp(min=1e-30)
        difference = torch.where(
            self.target.per_row(square.isfinite()), difference * self.target.per_row(bound.clamp(max=1)), 0.0
        )
        metrics["clipped"] = float((bound < 1).double().mean())
        # Of unit size whatever the levels weigh and x is counted in, so that one clip of gradients suits all.
        push = (difference / root.clamp(min=1e-30) / options.scale).to(x.dtype)
        return (push * x).flatten(1).sum(1).mean() / target.n_degrees_of_freedom**0.5, metrics

    def _noise(self, n, generator, done):
        """Latents, noise and levels of a step, and which rows (n,) of them are new.

        Where they are kept, a few at a time are renewed.
        """
        z = draw_prior(self.target, n, 1.0, generator)[0]
        noise, t = self.target.normal(n, generator), self._times(n, generator, done).to(self.target.dtype)
        if self.kept is None:
            return z, noise, t, torch.ones_like(t, dtype=torch.bool)
        new = torch.rand(n, generator=generator, device=z.device) < 1 / self.settings.lifetime
        rows, (z_kept, noise_kept, t_kept, _) = self.target.per_row(new), self.kept
        return torch.where(rows, z, z_kept), torch.where(rows, noise, noise_kept), torch.where(new, t, t_kept), new

    def _after_step(self, run):
        gap = self._last_gap
        self.gap = gap if self.gap is None else self.gap + _MEMORY * (gap - self.gap)
        if self.gap < self.least_gap:
            self.least_gap, self.least_step = self.gap, run.step
        return {}

    def _is_done(self, run):
        return bool(self.settings.patience) and run.step - self.least_step > self.settings.patience

    def _finish(self, run):
        self.sampling = self._new_sampling()
        self.sampling.fit(run)

    def _diagnosis(self) -> str:
        if self.pool is None:
            return ""
        u = self.target.reduced_potential(self.pool.x)
        share = float(u.isfinite().double().mean())
        return (
            f"Of the latest samples, {share:.1%} have a finite energy, with a mean of "
            f"{float(u[u.isfinite()].mean()):.3g} kT."
        )

    def _training_state(self):
        kept = {} if self.kept is None else dict(zip(("z", "noise", "t", "x"), self.kept, strict=True))
        return {
            "pool": self.pool.x,
            "kept": kept,
            "sizes": self.weights.sizes,
            "gaps": [self.gap, self.least_gap, self.least_step],
            "posterior": self.posterior.state_dict(),
            **self.companion.run_state(),
            **coordinates_state(self.target),
        }

    def _load_training_state(self, state):
        self.pool = ReplayBuffer(state["pool"].to(self.target.device), self._pool_size)
        self.weights.sizes = state["sizes"]
        kept = state.get("kept", {})
        device = self.target.device
        self.kept = tuple(kept[name].to(device) for name in ("z", "noise", "t", "x")) if kept else None
        self.gap, self.least_gap, self.least_step = state["gaps"]
        self.posterior.load_state_dict(state["posterior"])
        self.companion.load_run_state(state)
        load_coordinates(self.target, state)

    # Sampling.

    def _sampling_state(self):
        return self.sampling.state() | coordinates_state(self.target)

    def _load_sampling_state(self, state):
        self.sampling.load_state(state)
        load_coordinates(self.target, state)

    def _draw(self, n, weights, generator, given):
        return self.sampling.draw(n, weights, generator, given)
