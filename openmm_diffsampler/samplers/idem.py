"""Iterated denoising energy matching: a diffusion sampler trained on scores that energies alone give."""

import torch

from openmm_diffsampler.diffusion import (
    LevelTables,
    NoiseSchedule,
    flow_samples,
    measure_levels,
    path_samples,
    place_levels,
    reverse_spreads,
)
from openmm_diffsampler.networks import MLP, EquivariantNetwork, PreconditionedScore

from .base import Sampler
from .idem_settings import idem_settings
from .levels_density import LevelDensity
from .replay import ReplayBuffer
from .score_targets import ScoreTargets, initial_configurations

__all__ = ["IDEM"]

#: Times at which the preconditioning and the reverse process are tabulated.
_N_GRID = 33
#: Configurations that tables are measured on while training, and at its end.
_N_MEASURED, _N_FINAL = 256, 2048
#: Steps of the probability flow.
_N_ODE = 50
#: Samples that are reweighted into the buffer need an effective sample size of at least this share.
_LEAST_ESS = 0.1


class IDEM(Sampler):
    r"""Iterated denoising energy matching (iDEM).

    A network s(x, t) learns the score of the noised target, :math:`p_t = p * N(0, \sigma_t^2)`, from estimates that
    energies and scores alone give. The outer loop puts samples of the current network into a replay buffer; the inner
    loop noises configurations of the buffer and regresses s on the estimates there.

    Preset ``"paper"`` is the published algorithm: :math:`S_K` from K draws around x_t
    (:func:`~openmm_diffsampler.diffusion.estimate_score`), a buffer of the network's samples as they are. Preset
    ``"default"`` removes the bias of the estimates and most of their variance:

    - The buffer starts with :func:`~openmm_diffsampler.mcmc.annealing.annealed_chains` and stays in equilibrium: every
      training step is a diffusive Gibbs step x → x_t → x' of the configurations that it uses, and samples of the
      network enter by their weights.
    - The estimate at x_t averages over the posterior draws of that step, the clean configuration included, which is
      exact in expectation at equilibrium for any number of draws; both identities are mixed with the weight that has
      the least variance at that level.
    - The network learns what a Gaussian leaves, in the size that it has at each level; levels are drawn by their loss.
    - Reverse steps are placed where the posterior is least round, and add the noise that an isotropic step must.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`, translation invariant particles or a density without
            particles.
        preset: ``"default"`` or ``"paper"``.
        seed: of all random numbers of the training.
        settings: those of :class:`~openmm_diffsampler.samplers.IDEMSettings` that differ from the preset.

    Raises:
        TypeError: an unknown setting, or a molecule: its particles are not alike.
        ValueError: an unknown preset, settings out of their range.

    References:
        Akhound-Sadegh et al., Iterated denoising energy matching, ICML 2024, arXiv:2402.06121.

    Example:
        >>> from openmm_diffsampler import IDEM, GaussianMixture
        >>> target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
        >>> settings = {"buffer_size": 512, "batch_size": 128, "n_draws": 8, "n_refresh": 64, "n_refresh_levels": 20}
        >>> sampler = IDEM(target, width=32, s_min=0.05, s_max=8.0, **settings).fit(300)
        >>> wt = sampler.sample(2000, seed=1, n_levels=50)
        >>> abs(wt.log_Z) < 4 * wt.log_Z_standard_error
        True
    """

    method = "idem"

    def __init__(self, target, preset="default", *, seed=0, **settings):
        if target.topology is not None and target.topology.n_bonds:
            raise TypeError(
                f"{target.name} has bonds; iDEM learns from Cartesian coordinates of particles that are all alike. "
                "Sample a molecule with DiffusiveGibbs"
            )
        super().__init__(target, preset, seed=seed, **settings)
        options = self.settings
        self.schedule = NoiseSchedule(options.s_min, options.s_max, shape=options.schedule)
        self.width = None  # of the target, from the buffer
        self.tables = LevelTables(torch.zeros(_N_GRID, dtype=torch.float64), torch.ones(_N_GRID, dtype=torch.float64))

    def _settings(self, preset, changes):
        return idem_settings(self.target, preset, changes)

    def _build(self):
        options, shape = self.settings, self.target.event_shape
        size = {"width": options.width, "n_layers": options.n_layers}
        if len(shape) == 2 and self.target.translation_invariant:
            network = EquivariantNetwork(*shape, **size, length=options.length, furthest=20 * options.length)
        else:
            network = MLP(shape, **size, n_waves=options.n_waves)
        plain = torch.ones(_N_GRID)
        return PreconditionedScore(network, 0 * plain, plain / options.unit, plain / options.unit)

    # Training.

    def _prepare(self, run):
        size = run.share(self.settings.buffer_size)
        options = self.settings
        if options.initial == "annealed":
            x, step_size = initial_configurations(self.target, size, options.s_max, run.generator)
        else:
            self.width = 0.0
            x, step_size = self._reverse(self.average, options.n_refresh, run.generator)[0], None
        self.buffer = ReplayBuffer(x, size)
        self.targets = ScoreTargets(self.target, options, step_size)
        self.density = LevelDensity(adaptive=options.adaptive_levels)
        width = self.buffer.x.flatten(1).square().sum(1).mean() / self.target.n_degrees_of_freedom
        self.width = float(run.agree(width).sqrt()) if options.initial == "annealed" else 0.0
        if options.preconditioned or options.mixing == "optimal":
            self._measure_sizes(run)

    def _measure_sizes(self, run):
        """Mixing weights of the targets, and the tables of the preconditioning, from the buffer."""
        sigmas = self.schedule.sigma(torch.linspace(0, 1, _N_GRID, dtype=torch.float64))
        sizes = self.targets.measure(self.buffer.x[:_N_FINAL], sigmas, self.width, run.generator)
        self.targets.mixing, self.targets.importance = (
            run.agree(table) for table in (self.targets.mixing, self.targets.importance)
        )
        if self.settings.preconditioned:
            skip = 1 / (self.width**2 + sigmas**2)
            inner = torch.ones_like(skip) if isinstance(self.model.network, EquivariantNetwork) else skip.sqrt()
            for module in (self.model, self.average):
                module.set_tables(skip, run.agree(sizes), inner)

    def _loss(self, run):
        options, target, generator = self.settings, self.target, run.generator
        rows = self.buffer.draw(run.share(options.batch_size), generator)
        t, importance = self.density.draw(len(rows), generator)
        sigma = self.schedule.sigma(t)
        x_0 = self.buffer.x[rows]
        x_t = x_0 + self._per_row(sigma) * target.normal(len(rows), generator)
        wanted, x_new, metrics = self.targets(x_0, x_t, sigma, t, generator)
        if x_new is not None:
            self.buffer.replace(rows, x_new)
        got = run.model(x_t.float(), t.float())
        error = (got - wanted.float()).square().flatten(1).sum(1) / target.n_degrees_of_freedom
        by_row = error * self._weighting(sigma).float()
        self.density.learn(t, by_row.detach())
        return (by_row * importance.float()).mean(), metrics

    def _weighting(self, sigma):
        kind, unit = self.settings.weighting, self.settings.unit
        if kind == "likelihood":
            return sigma**2
        return unit**2 * ((sigma / unit) ** 2 + 1e-3 if kind == "published" else torch.ones_like(sigma))

    def _per_row(self, values):
        return values.reshape(-1, *(1 for _ in self.target.event_shape))

    def _after_step(self, run):
        options = self.settings
        if run.step % options.refresh_every:
            return {}
        if options.preconditioned:
            self._measure_levels(run, _N_MEASURED)
        x, log_weights, u = self._reverse(self.average, run.share(options.n_refresh), run.generator)
        if not options.reweight:
            self.buffer.append(x[u.isfinite()])
            return {"sample energy": float(u[u.isfinite()].mean()) if u.isfinite().any() else float("nan")}
        weights = log_weights.nan_to_num(-torch.inf).softmax(0).nan_to_num(0.0)
        size = float(1 / weights.square().sum().clamp(min=1e-12)) / len(x)
        if size >= _LEAST_ESS:
            chosen = weights.multinomial(len(x), replacement=True, generator=run.generator)
            self.buffer.replace(self.buffer.draw(len(x), run.generator), x[chosen])
        return {"path ESS": size, "sample energy": float(u[u.isfinite()].mean())}

    def _measure_levels(self, run, n):
        """Tables of the reverse process, from the buffer and the averaged weights."""
        x_0 = self.buffer.x[self.buffer.draw(min(n, len(self.buffer)), run.generator)]

        def exact(x_0, x_t, t, generator):
            return self.targets(x_0, x_t, self.schedule.sigma(t), t, generator)[0]

        with torch.no_grad():
            tables = measure_levels(
                self.target, self._score(self.average), self.schedule, x_0, exact, run.generator, _N_GRID
            )
        self.tables = LevelTables(*(run.agree(table) for table in tables))

    def _finish(self, run):
        if self.settings.preconditioned:
            self._measure_levels(run, _N_FINAL)

    def diagnosis(self):
        u = self.target.reduced_potential(self.buffer.x)
        share = float(u.isfinite().double().mean())
        return (
            f"Of the buffer, {share:.1%} has a finite energy, with a mean of {float(u[u.isfinite()].mean()):.3g} kT; "
            f"estimates have a root mean square of {self.targets.last_size:.3g}."
        )

    def _training_state(self):
        return {
            "buffer": self.buffer.x,
            "width": self.width,
            "tables": self.tables._asdict(),
            "targets": self.targets.state_dict(),
            "density": self.density.state_dict(),
        }

    def _load_training_state(self, state):
        device = self.target.device
        self.buffer = ReplayBuffer(state["buffer"].to(device), self.settings.buffer_size)
        self.targets = ScoreTargets(self.target, self.settings, None)
        self.targets.load_state_dict(state["targets"])
        self.density = LevelDensity(adaptive=self.settings.adaptive_levels)
        self.density.load_state_dict(state["density"])
        self._load_sampling_state(state)

    # Sampling.

    def _sampling_state(self):
        return {"width": self.width, "tables": self.tables._asdict()}

    def _load_sampling_state(self, state):
        self.width, self.tables = state["width"], LevelTables(**state["tables"])

    def _score(self, model):
        return lambda x, t: model(x.float(), t.float()).to(x.dtype)

    @torch.no_grad()
    def _reverse(self, model, n, generator, n_levels=None, weighted=False):
        """Reverse process with the levels of an outer loop or of samples: x, log-weights."""
        options = self.settings
        n_levels = n_levels or options.n_refresh_levels
        if options.preconditioned:
            times, size = place_levels(self.tables, n_levels), self.tables.size
        else:
            times, size = torch.linspace(0, 1, n_levels, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        spreads = reverse_spreads(self.schedule, times, size)
        changes = {} if weighted else {"n_noiseless": options.n_noiseless}
        return path_samples(
            self.target,
            self._score(model),
            self.schedule,
            n,
            times,
            generator,
            spreads=spreads if weighted else options.noise_scale * spreads,
            prior_scale=self._prior_scale,
            **changes,
        )

    @property
    def _prior_scale(self):
        return (self.width**2 + self.settings.s_max**2) ** 0.5

    def _draw(self, n, weights, generator, given):
        options, unknown = self.settings, set(given) - {"n_levels", "n_steps", "n_probes"}
        if unknown:
            raise TypeError(f"unknown options {sorted(unknown)}; there are n_levels, n_steps and n_probes")
        if self.width is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        if weights != "ode":
            by_default = options.n_levels if weights or not self.settings.reweight else options.n_levels // 2
            n_levels = given.get("n_levels", by_default)
            return self._reverse(self.average, n, generator, n_levels, weighted=weights is not None)
        return flow_samples(
            self.target,
            self._score(self.average),
            self.schedule,
            n,
            given.get("n_steps", _N_ODE),
            generator,
            prior_scale=self._prior_scale,
            n_probes=given.get("n_probes"),
        )
