"""EDG: a generator and a diffusion of its latent, trained together from energies by one bound."""

import math
from typing import Any

import torch

from openmm_diffsampler._common.quoting import shown
from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.diffusion import LevelTables, SolverSamples, measure_levels
from openmm_diffsampler.diffusion.kernels import wrapped
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.targets import Target

from .base import Sampler
from .buffer_start import hamiltonian_step_size, whiten
from .cooling import Cooling
from .edg_settings import edg_settings
from .latent import Latent
from .latent_diffusion import LatentDiffusion
from .latent_weights import FlowEncoder, PathEncoder
from .learnt_coordinates import coordinates_state, in_whitened_coordinates, load_coordinates
from .levels_density import LevelDensity
from .loaded_states import checked_number, checked_tables
from .marginal_density import log_marginal_density
from .mirror import kept_half, mirrored
from .sampler_files import require_target
from .sampling_options import require_options
from .training import TrainingDivergedError

__all__ = ["EDG"]

#: Times at which the reverse process of the latent is tabulated, and latents that it is measured on.
_N_GRID, _N_MEASURED = 33, 1024
#: Samples that are weighed at a time: networks of particles have intermediate values that should stay in the cache.
_N_WEIGHED = 256
#: Options of sampling with each kind of weights, and their least values.
_OPTIONS = {
    None: {"n_cooling": 0},
    "path": {"n_levels": 2, "n_draws": 0, "n_cooling": 0},
    "ode": {"n_steps": 1, "n_draws": 0, "n_cooling": 0},
}


class EDG(Sampler):
    r"""Energy-based diffusion generator (EDG): a decoder of Gaussian latents, with a diffusion as its encoder.

    A sample is :math:`x \sim q(x \mid z)`, a :class:`~openmm_diffsampler.networks.Decoder` with forces of the target
    inside, of a latent z ~ N(0, 1). Its density q(x) is unknown, but any density p_E(z | x) bounds the divergence from
    the target:

    .. math:: \mathrm{KL}(q(x) \| p(x)) \le \mathrm{KL}(q(z)\,q(x \mid z) \| p(x)\,p_E(z \mid x)) = \ln Z +
              \mathrm{E}[u(x) + \ln q(z) + \ln q(x \mid z) - \ln p_E(z \mid x)],

    with equality if p_E(z | x) = q(z | x), the posterior. That is a diffusion of the latent run backwards, with a score
    :math:`s(z_t, x, t)` that depends on x; its part of the bound is an integral of denoising losses
    (:class:`~openmm_diffsampler.samplers.latent_diffusion.LatentDiffusion`), and so one loss trains both, and the
    diffusion is never simulated:

    .. math:: L = \mathrm{E}\Big[\beta u(x) - \tfrac12 \ln|C(z)| + \ln\tfrac{s_{max}}{s_{min}}\,
              \big|s\,s_\theta(z + s\varepsilon, x) + \varepsilon\big|^2\Big], \qquad x = \mu(z) + C(z)^{1/2} \xi.

    Gradients reach the decoder through x in all terms. The covariance C of its noise is δ², or narrower where the
    energy is stiff. Preset ``"default"`` starts at a high temperature, β < 1, and lowers it, for modes to be found
    before they part; ``"paper"`` takes the target as it is, even noise, and the implicit form of the integrand.

    Training may stop at a higher temperature than that of the target (`beta_end`), where both networks have less to
    learn; a target that no preset knows stops at β = 0.1. Samples are then cooled by annealed importance sampling in
    `n_cooling` levels (:class:`~openmm_diffsampler.samplers.cooling.Cooling`), which keeps weights exact. An
    option of sampling, `n_cooling=0` leaves samples hot: right by their weights alone.

    Weights, of what the decoder makes, at β = `beta_end`, are :math:`w = e^{-\beta u(x)}/\hat q(x)` with the mean Z(β),
    whatever the encoder is: q̂ is an average over the latent that x was made from and others of the encoder's (an option
    of sampling, `n_draws`; :mod:`~openmm_diffsampler.samplers.marginal_density`), for which p_E(z | x) is taken

    - ``"path"``: along random paths of the reverse process in `n_levels` steps, each with a density of its own: exact.
    - ``"ode"``: by the probability flow: exact up to the error of the solver, and dearer, since it needs the divergence
      of the score.

    Where u(−x) = u(x) and a target says so (its `mirror`), a decoder that keeps one of both images is made whole: signs
    of samples are random, and the half that it keeps counts twice (:mod:`~openmm_diffsampler.samplers.mirror`).

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`: as for :class:`~openmm_diffsampler.IDEM`.
        preset: ``"default"`` or ``"paper"``.
        seed: of all random numbers of the training.
        settings: those of :class:`~openmm_diffsampler.samplers.EDGSettings` that differ from the preset.

    Raises:
        TypeError: an unknown setting, or particles that are not alike and no molecule with bonds and positions.
        ValueError: an unknown preset, settings out of their range.

    References:
        Wang, Guo, Wu & Liu, Energy based diffusion generator for efficient sampling of Boltzmann distributions,
        arXiv:2401.02080.

    Example:
        >>> from openmm_diffsampler import EDG, GaussianMixture
        >>> target = GaussianMixture([[0.0, 0.0]], scales=0.5)
        >>> small = {"batch_size": 64, "width": 16, "score_width": 16, "n_leapfrog": 1, "n_final_steps": 50}
        >>> wt = EDG(target, **small).fit(100).sample(1000, seed=1)
        >>> abs(wt.log_Z) < 4 * wt.log_Z_standard_error
        True
    """

    method = "edg"
    weight_kinds = ("path", "ode")
    precision = "32-true"  # bounds are differences of large numbers
    sampling_batch = 1024

    def __init__(self, target: Target, preset: str = "default", *, seed: int = 0, **settings: Any) -> None:
        require_target(target)
        super().__init__(in_whitened_coordinates(target), preset, seed=seed, **settings)
        self.latent = Latent(self.target)
        self.tables, self.step_sizes, self.half = None, (), 0

    def _settings(self, preset, changes):
        return edg_settings(self.target, preset, changes)

    def _build(self):
        return LatentDiffusion(self.target, self.settings)

    # Training.

    def _prepare(self, run):
        if isinstance(self.target, WhitenedTarget):
            whiten(run, self.target)

    def _set_up(self, run):
        self.levels = LevelDensity(adaptive=self.settings.adaptive_levels)

    def _beta(self, run):
        """Inverse temperature of a step, in units of that of the target."""
        options = self.settings
        share = options.anneal_share * run.n_steps
        progress = min(1.0, run.step / share) if share else 1.0
        return options.beta_start ** (1 - progress) * options.beta_end**progress

    def _loss(self, run):
        options, target, generator = self.settings, self.target, run.generator
        n, d = run.share(options.batch_size), target.n_degrees_of_freedom
        z, xi = self.latent.sample(n, generator), self._output_noise(n, generator)
        beta = self._beta(run)
        t, level_weights, noise, probes = self._noise(n, generator)
        x, log_volume, integrand = run.model(target, z, xi, noise, t, probes, beta)
        u, score = target.reduced_potential_and_score(wrapped(target, x.detach().to(target.dtype)))
        finite = u[u.isfinite()]
        push = self._clipped(-beta * score).to(x.dtype)
        of_encoder = run.model.log_range * (level_weights * integrand).mean()
        loss = ((push * x).flatten(1).sum(1).mean() - log_volume.mean() + of_encoder) / d
        self.levels.learn(t, integrand.detach())
        of_encoder, volume = float(of_encoder.detach()), float(log_volume.detach().mean())
        mean = float(finite.mean()) if len(finite) else math.nan
        metrics = {
            "energy": mean,
            "bound": self._bound(beta * mean, z, volume, of_encoder),
            "encoder loss": of_encoder / d,
            "output noise": math.exp(volume / d),
            "posterior width": float(run.model.posterior.log_width.detach().exp()),
            "beta": beta,
        }
        return loss, metrics

    def _bound(self, u, z, log_volume, of_encoder):
        """Lower bound of the logarithm of ∫e^{−βu}, βu being `u` on average: −E[βu + ln q(z) + ln q(x|z) − ln p_E]."""
        d, options = self.target.n_degrees_of_freedom, self.settings
        if options.form == "implicit":
            of_encoder += d * self.average.log_range
        of_noise = d * math.log(options.s_min) - log_volume  # those of both last Gaussians, less what they share
        return float(self.latent.reduced_potential(z).mean()) - u - of_noise - of_encoder

    def _noise(self, n, generator):
        """Levels, their weights, noise of the latents, and probes where the loss needs them, `n_times` for each."""
        k = self.settings.n_times
        t, weights = self.levels.draw(n * k, generator)
        mixed = torch.randperm(n * k, generator=generator, device=t.device)  # no configuration keeps to one end
        noise = self.latent.normal(n * k, generator)
        probes = self.latent.normal(n * k, generator) if self.settings.form == "implicit" else None
        return t[mixed], weights[mixed], noise, probes

    def _clipped(self, push):
        """Forces with those rows shortened whose force is far above the median one."""
        size = push.flatten(1).square().sum(1).sqrt()
        bound = self.settings.score_clip * size.median() / size.clamp(min=1e-30)
        return push * self.target.per_row(bound.clamp(max=1))

    def _finish(self, run):
        """Fit the encoder of the averaged weights to their decoder, which stays as it is; then tabulate its levels."""
        posterior = self.average.posterior
        pairs = self._pairs(self.settings.n_pool, run)
        posterior.requires_grad_(True)
        try:
            self._fit_encoder(pairs, run)
        finally:
            posterior.requires_grad_(False)
        z, x = self._pairs(_N_MEASURED, run)
        self._measure(z, x, run)
        self.half = int(run.agree(torch.tensor(kept_half(self.target, x))))
        self.step_sizes = self._found_step_sizes(x, run)

    def _found_step_sizes(self, x, run):
        """Of the cooling, at both of its ends; none where nothing is cooled."""
        options = self.settings
        if not options.n_cooling:
            return ()
        calm = x[self.target.reduced_potential(x).argsort()[: len(x) // 4]]  # overlapping particles do not move
        sizes = [
            hamiltonian_step_size(self.target, calm, options.n_cooling_leapfrog, run.generator, beta)
            for beta in (options.beta_end, 1.0)
        ]
        return tuple(run.agree(torch.tensor(sizes, dtype=torch.float64)).tolist())

    def _fit_encoder(self, pairs, run):
        options, parameters = self.settings, [*self.average.posterior.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=options.learning_rate, betas=(0.9, 0.99))
        for step in run.fitting("encoder", options.n_final_steps):
            progress = step / options.n_final_steps
            optimizer.param_groups[0]["lr"] = 0.5 * options.learning_rate * (1 + math.cos(math.pi * progress))
            n = run.share(options.batch_size)
            rows = torch.randint(len(pairs[0]), (n,), generator=run.generator, device=pairs[0].device)
            z, x = (values[rows] for values in pairs)
            t, weights, noise, probes = self._noise(n, run.generator)
            optimizer.zero_grad()
            (weights * self.average.integrand(self.target, z, x, noise, t, probes)).mean().backward()
            for parameter in parameters:
                parameter.grad = run.mean(parameter.grad)
            norm = torch.nn.utils.clip_grad_norm_(parameters, options.gradient_clip)
            if not norm.isfinite():
                raise TrainingDivergedError(
                    f"the gradient of the encoder is not finite at step {step} of its fit. {self.diagnosis()}"
                )
            optimizer.step()

    @torch.no_grad()
    def _measure(self, z, x, run):
        latent, posterior = self.latent, self.average.posterior

        def score(z, t):
            return posterior(z, x, t).to(z.dtype)

        def exact(z_0, z_t, t, generator):
            return (z_0 - z_t) / latent.per_row(posterior.schedule.ratio(t)) ** 2

        tables = measure_levels(latent, score, posterior.schedule, z, exact, run.generator, _N_GRID)
        self.tables = LevelTables(*(run.agree(table) for table in tables))

    def _pairs(self, n, run, batch=1024):
        """Latents and configurations (n, *event_shape) of the averaged decoder, those that are finite."""
        with torch.no_grad():
            parts = [self._decoded(min(batch, n - start), run.generator)[:2] for start in range(0, n, batch)]
        z, x = (torch.cat(values) for values in zip(*parts, strict=True))
        valid = x.flatten(1).isfinite().all(1)
        if run.anywhere(not valid.any()):
            raise TrainingDivergedError(f"no sample of the decoder is finite. {self.diagnosis()}")
        return z[valid], x[valid]

    def _decoded(self, n, generator):
        """z, x and log q(x | z)."""
        target, decoder = self.target, self.average.decoder
        z, noise = self.latent.sample(n, generator), self._output_noise(n, generator)
        output = decoder(z.float(), target, self.settings.beta_end)
        x = output.at(noise)
        return z, wrapped(target, x), output.log_density(x - output.mean)

    def _output_noise(self, n, generator):
        target = self.target
        return torch.randn(n, *target.event_shape, generator=generator, dtype=target.dtype, device=target.device)

    def _diagnosis(self) -> str:
        with torch.no_grad():
            x = self._decoded(256, torch.Generator(self.target.device).manual_seed(0))[1]
        u = self.target.reduced_potential(x)
        finite = u[u.isfinite()]
        mean = float(finite.mean()) if len(finite) else math.nan
        return f"Of samples, {len(finite) / len(u):.1%} have a finite energy, with a mean of {mean:.3g} kT."

    def _training_state(self):
        return {"levels": self.levels.state_dict()} | coordinates_state(self.target)

    def _load_training_state(self, state):
        self.levels.load_state_dict(state["levels"])
        load_coordinates(self.target, state)

    # Sampling.

    def _sampling_state(self):
        if self.tables is None:
            return {}
        state = {"tables": self.tables._asdict(), "half": self.half, "step sizes": list(self.step_sizes)}
        return state | coordinates_state(self.target)

    def _load_sampling_state(self, state):
        if "tables" not in state:
            self.tables, self.step_sizes, self.half = None, (), 0
            return
        sizes, half = state["step sizes"], state["half"]
        if not isinstance(sizes, list) or len(sizes) not in (0, 2) or half not in (-1, 0, 1):
            raise ValueError(f"its step sizes are {shown(sizes)}, and its half is {shown(half)}")
        self.step_sizes = tuple(checked_number({"step size": size}, "step size") for size in sizes)
        self.tables = checked_tables(state, "tables", self.latent)
        self.half = 0 if self.target.mirror is None else half
        load_coordinates(self.target, state)

    @torch.no_grad()
    def _draw(self, n, weights, generator, given):
        given, options = require_options(given, _OPTIONS[weights], weights), self.settings
        if self.tables is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        n_cooling = given.pop("n_cooling", options.n_cooling)
        if n_cooling and not self.step_sizes:
            raise ValueError(f"n_cooling is {n_cooling}; this sampler was trained without, and makes cold samples")
        z, x, log_decoder = self._decoded(n, generator)
        images, log_weights = x, torch.zeros(n, dtype=torch.float64, device=x.device)
        if self.half:
            images, log_weights = mirrored(self.target, x, self.half, generator)
        state = evaluate(self.target, images)
        if weights is not None:
            encoder, n_draws = self._encoder(weights, **given)
            log_q = self._log_density(z, x, log_decoder, encoder, n_draws, generator)
            log_weights = log_weights - log_q - options.beta_end * state.u.double()
        cooling = Cooling(options.beta_end, n_cooling, options.n_cooling_leapfrog, self.step_sizes)
        state, log_ratio = cooling.run(self.target, state, generator)
        return SolverSamples(wrapped(self.target, state.x), log_weights + log_ratio, state.u.double())

    def _encoder(self, weights, n_levels=None, n_steps=None, n_draws=None):
        """p_E(z | x) of these weights, and how many of its latents they take."""
        options, posterior = self.settings, self.average.posterior
        if weights == "ode":
            encoder = FlowEncoder(self.latent, posterior, n_steps or options.n_ode_steps)
            return encoder, options.n_ode_draws if n_draws is None else n_draws
        encoder = PathEncoder(self.latent, posterior, self.tables, n_levels or options.n_path_levels)
        return encoder, options.n_draws if n_draws is None else n_draws

    def _log_density(self, z, x, log_decoder, encoder, n_draws, generator):
        """log q(x) (n,), estimated, of samples that latents z led to with densities q(x | z)."""

        def estimate(z, x, log_decoder):
            def draw():
                other, log_ratio = encoder.draw(x, generator)
                output = self.average.decoder(other.float(), self.target, self.settings.beta_end)
                return log_ratio + output.log_density(wrapped(self.target, x - output.mean)).double()

            return log_marginal_density(encoder.log_ratio(z, x, generator) + log_decoder.double(), draw, n_draws)

        parts = zip(*(values.split(_N_WEIGHED) for values in (z, x, log_decoder)), strict=True)
        return torch.cat([estimate(*part) for part in parts])
