"""Iterated denoising energy matching: a diffusion sampler trained on scores that energies alone give."""

import math
from typing import Any

import torch

from openmm_diffsampler.coordinates.whitened_target import WhitenedTarget
from openmm_diffsampler.diffusion import (
    LevelTables,
    NoiseSchedule,
    flow_samples,
    measure_levels,
    path_log_weights,
    path_samples,
    place_levels,
    reverse_spreads,
)
from openmm_diffsampler.diffusion.kernels import wrapped
from openmm_diffsampler.mcmc.metropolis import metropolis
from openmm_diffsampler.networks import EquivariantNetwork, PreconditionedScore, network_for
from openmm_diffsampler.targets import Target

from .base import Sampler
from .buffer_start import equilibrium_start, width_of
from .idem_settings import idem_settings
from .learnt_coordinates import coordinates_state, in_whitened_coordinates, load_coordinates
from .levels_density import LevelDensity
from .loaded_states import checked_number, checked_tables, checked_tensor
from .replay import ReplayBuffer
from .sampler_files import require_target
from .sampling_options import require_options
from .score_targets import ScoreTargets

__all__ = ["IDEM"]

#: Times at which the preconditioning and the reverse process are tabulated.
_N_GRID = 33
#: Configurations that tables are measured on while training, and at its end.
_N_MEASURED, _N_FINAL = 256, 2048
#: Configurations of the buffer whose weights are kept, to compare those of samples with.
_N_HELD_OUT = 1024
#: Steps of the probability flow.
_N_ODE = 50


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
      network enter by a Metropolis step between paths.
    - The estimate at x_t averages over the posterior draws of that step, the clean configuration included, which is
      exact in expectation at equilibrium for any number of draws; both identities are mixed with the weight that has
      the least variance at that level.
    - The network learns what a Gaussian leaves, in the size that it has at each level; levels are drawn by their loss.
    - Reverse steps are placed where the posterior is least round, and add the noise that an isotropic step must.

    A molecule is trained on in internal coordinates, whitened
    (:class:`~openmm_diffsampler.coordinates.whitened_target.WhitenedTarget`): with wrapped noise on torsions that turn,
    and a network that sees their sines and cosines. Its buffer starts with draws of
    :class:`~openmm_diffsampler.mcmc.InternalDiffusiveGibbs`. Samples are Cartesian frames.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`: translation invariant particles that are alike, a density
            without particles, or a molecule with bonds and positions; or its
            :class:`~openmm_diffsampler.coordinates.InternalTarget`, such as that of a
            :class:`~openmm_diffsampler.mcmc.InternalDiffusiveGibbs`, whose units are measured thermal widths.
        preset: ``"default"`` or ``"paper"``.
        seed: of all random numbers of the training.
        settings: those of :class:`~openmm_diffsampler.samplers.IDEMSettings` that differ from the preset.

    Raises:
        TypeError: an unknown setting, or particles that are not alike and no molecule with bonds and positions.
        ValueError: an unknown preset, settings out of their range, a way to start the buffer that does not suit the
            target.

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
    weight_kinds = ("path", "ode")
    density_kinds = ("ode",)

    def __init__(self, target: Target, preset: str = "default", *, seed: int = 0, **settings: Any) -> None:
        require_target(target)
        if target.topology is not None and target.topology.n_bonds and target.positions is None:
            raise TypeError(
                f"{target.name} has bonds and no positions; iDEM takes particles that are all alike, or a molecule "
                "with bonds: pass positions= to OpenMMTarget"
            )
        target = in_whitened_coordinates(target)
        super().__init__(target, preset, seed=seed, **settings)
        options = self.settings
        suits = {"model": True, "explored": isinstance(target, WhitenedTarget), "annealed": target.periods is None}
        if not suits[options.initial]:
            raise ValueError(
                f"initial is {options.initial!r}; molecules are 'explored', densities without angles are 'annealed'"
            )
        self.schedule = NoiseSchedule(options.s_min, options.s_max, shape=options.schedule)
        self.width = self.buffer = None  # of the target, from the buffer
        self.tables = LevelTables(torch.zeros(_N_GRID, dtype=torch.float64), torch.ones(_N_GRID, dtype=torch.float64))

    def _settings(self, preset, changes):
        return idem_settings(self.target, preset, changes)

    def _build(self):
        options = self.settings
        size = {name: getattr(options, name) for name in ("width", "n_layers", "n_waves", "length")}
        network = network_for(self.target, **size)
        plain = torch.ones(_N_GRID)
        return PreconditionedScore(network, 0 * plain, plain / options.unit, plain / options.unit, self.target.periods)

    # Training.

    def _prepare(self, run):
        options, size = self.settings, run.share(self.settings.buffer_size)
        if options.initial == "model":
            self.width, n = 0.0, run.share(options.n_refresh)
            x, step_size = self._reverse(self.average, n, run.generator, options.n_refresh_levels, False).x, None
        else:
            x, step_size = equilibrium_start(self.target, size, run)
            self.width = float(run.agree(width_of(self.target, x)))
        self.buffer = ReplayBuffer(x, size)
        self.targets = ScoreTargets(self.target, options, step_size)
        self.density = LevelDensity(adaptive=options.adaptive_levels)
        if options.preconditioned or options.mixing == "optimal":
            self._measure_sizes(run)

    def _measure_sizes(self, run):
        """Mixing weights of the targets, and the tables of the preconditioning, from the buffer."""
        sigmas = self.schedule.sigma(torch.linspace(0, 1, _N_GRID, dtype=torch.float64))
        rows = self.buffer.draw(min(_N_FINAL, len(self.buffer)), run.generator)
        sizes = self.targets.measure(self.buffer.x[rows], sigmas.to(self.buffer.x), self.width, run.generator)
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
        x_0 = self.buffer.x[rows]
        t = t.to(x_0.dtype)
        sigma = self.schedule.sigma(t)
        x_t = x_0 + target.per_row(sigma) * target.normal(len(rows), generator)
        wanted, x_new, metrics = self.targets(x_0, x_t, sigma, t, generator)
        if x_new is not None:
            self.buffer.replace(rows, wrapped(target, x_new))
        got = run.model(x_t.float(), t.float())
        error = (got - wanted.float()).square().flatten(1).sum(1) / target.n_degrees_of_freedom
        by_row = error * self._weighting(t, sigma).float()
        self.density.learn(t, by_row.detach())
        return (by_row * importance.float()).mean(), metrics

    def _weighting(self, t, sigma):
        kind, unit = self.settings.weighting, self.settings.unit
        if kind == "likelihood":
            return 0.5 * self.schedule.diffusion_squared(t) / math.log(self.settings.s_max / self.settings.s_min)
        return unit**2 * ((sigma / unit) ** 2 + 1e-3 if kind == "published" else torch.ones_like(sigma))

    def _after_step(self, run):
        options = self.settings
        if run.step % options.refresh_every:
            return {}
        if options.preconditioned:
            self._measure_levels(run, _N_MEASURED)
        n = run.share(options.n_refresh)
        x, log_weights, u = self._reverse(self.average, n, run.generator, options.n_refresh_levels, options.reweight)
        finite = u.isfinite() & x.flatten(1).isfinite().all(1)
        metrics = {"sample energy": float(u[finite].mean()) if finite.any() else math.nan}
        if not options.reweight:
            self.buffer.append(x[finite])
            return metrics
        log_weights = torch.where(finite & log_weights.isfinite(), log_weights, -torch.inf)
        metrics["path ESS"] = 0.0
        if log_weights.gt(-torch.inf).any():
            metrics["path ESS"] = float(1 / log_weights.softmax(0).square().sum()) / n
        metrics["swaps"] = self._swap(x, log_weights, run.generator)
        return metrics

    @torch.no_grad()
    def _swap(self, x, log_weights, generator):
        """Metropolis step between configurations of the buffer and samples of the network: both as paths.

        It leaves the buffer in equilibrium whatever the samples are. Returns the share that was accepted.
        """
        rows = self.buffer.draw(min(len(x), len(self.buffer)), generator)
        x, log_weights = x[: len(rows)], log_weights[: len(rows)]
        present = self._path_log_weights(self.buffer.x[rows], self.settings.n_refresh_levels, generator)
        accepted, _ = metropolis(log_weights - present, generator)
        self.buffer.replace(rows[accepted], x[accepted])
        return float(accepted.double().mean())

    def _path_log_weights(self, x_0, n_levels, generator):
        """Log-weights of paths that noising makes of x_0."""
        steps, options = self._steps(n_levels)
        return path_log_weights(self.target, self._score(self.average), self.schedule, x_0, steps, generator, **options)

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

    @torch.no_grad()
    def _finish(self, run):
        if self.settings.preconditioned:
            self._measure_levels(run, _N_FINAL)
        if self.settings.estimator == "equilibrium":
            x_0 = self.buffer.x[self.buffer.draw(min(_N_HELD_OUT, len(self.buffer)), run.generator)]
            self.held_out = self._path_log_weights(x_0, self.settings.n_levels, run.generator).cpu()

    def _diagnosis(self) -> str:
        if self.buffer is None:
            return ""
        u = self.target.reduced_potential(self.buffer.x)
        share = float(u.isfinite().double().mean())
        return (
            f"Of the buffer, {share:.1%} has a finite energy, with a mean of {float(u[u.isfinite()].mean()):.3g} kT; "
            f"estimates have a root mean square of {self.targets.last_size:.3g}."
        )

    def _training_state(self):
        return {
            "buffer": self.buffer.x,
            "size": self.buffer.size,
            **self._sampling_state(),
            "targets": self.targets.state_dict(),
            "density": self.density.state_dict(),
        }

    def _load_training_state(self, state):
        device = self.target.device
        self.buffer = ReplayBuffer(state["buffer"].to(device), state["size"])
        self.targets = ScoreTargets(self.target, self.settings, None)
        self.targets.load_state_dict(state["targets"])
        self.density = LevelDensity(adaptive=self.settings.adaptive_levels)
        self.density.load_state_dict(state["density"])
        self._load_sampling_state(state)

    # Sampling.

    def _sampling_state(self):
        state = {"width": self.width, "tables": self.tables._asdict()}
        state |= {} if self.held_out is None else {"held out": self.held_out}
        return state | coordinates_state(self.target)

    def _load_sampling_state(self, state):
        self.width = checked_number(state, "width", optional=True)
        self.tables = checked_tables(state, "tables", self.target)
        self.held_out = checked_tensor(state, "held out", (None,)) if "held out" in state else None
        load_coordinates(self.target, state)

    def _score(self, model):
        return lambda x, t: model(x.float(), t.float()).to(x.dtype)

    def _steps(self, n_levels):
        """Times of the levels, and the options of the solvers that belong to them."""
        if self.settings.preconditioned:
            times, size = place_levels(self.tables, n_levels), self.tables.size
        else:
            times, size = torch.linspace(0, 1, n_levels, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
        return times, {"spreads": reverse_spreads(self.schedule, times, size), "prior_scale": self._prior_scale}

    @torch.no_grad()
    def _reverse(self, model, n, generator, n_levels, weighted):
        """Samples of the reverse process; those without weights with the noise scales of the settings."""
        times, options = self._steps(n_levels)
        if not weighted:
            options["spreads"] = self.settings.noise_scale * options["spreads"]
            options["n_noiseless"] = self.settings.n_noiseless
        return path_samples(self.target, self._score(model), self.schedule, n, times, generator, **options)

    @property
    def _prior_scale(self):
        return (self.width**2 + self.settings.s_max**2) ** 0.5

    def _draw(self, n, weights, generator, given):
        given = require_options(given, {"n_steps": 1, "n_probes": 1} if weights == "ode" else {"n_levels": 2}, weights)
        if self.width is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        if weights != "ode":
            by_default = self.settings.n_levels
            if weights is None and self.settings.reweight:
                by_default = max(2, by_default // 2)
            n_levels = given.get("n_levels", by_default)
            return self._reverse(self.average, n, generator, n_levels, weights is not None)
        options = {"prior_scale": self._prior_scale, "n_probes": given.get("n_probes")}
        n_steps = given.get("n_steps", _N_ODE)
        return flow_samples(self.target, self._score(self.average), self.schedule, n, n_steps, generator, **options)
