"""A Boltzmann generator: an exact density, fitted to what Markov chains explore and corrected by weights."""

import math
from typing import Any

import torch
from torch.nn import functional

from openmm_diffsampler.coordinates import InternalTarget, StandardColumns, random_rotations
from openmm_diffsampler.diffusion import SolverSamples
from openmm_diffsampler.networks import AutoregressiveDensity
from openmm_diffsampler.targets import Target

from .annealed_weights import Bridge, annealed
from .base import Sampler
from .boltzmann_settings import boltzmann_settings
from .buffer_start import hamiltonian_step_size
from .exploration import explore_for
from .generator_buffer import GeneratorBuffer
from .learnt_coordinates import in_coordinates, standard_columns
from .loaded_states import checked_columns, checked_number, checked_tensor, require_internal_state
from .sampler_files import require_target
from .sampling_options import require_options

__all__ = ["BoltzmannGenerator"]

#: Rows of a pass without derivatives.
_CHUNK = 8192
#: Levels and leapfrog steps of annealed weights, and the samples that their step size is found with.
_N_LEVELS, _N_LEAPFROG, _N_TRIED = 4, 2, 256
#: Explored configurations that training needs.
_FEWEST = 100
#: Held-out configurations that training is watched by.
_N_WATCHED = 1024


class BoltzmannGenerator(Sampler):
    r"""Independent samples with exact weights, from an autoregressive density in bonds, angles and torsions.

    1. *Explore.* Diffusive Gibbs sampling with guessed torsions fills a buffer with equilibrium configurations x and
       their reduced potentials u(x), at the speed of the compiled energies. Densities without particles are explored by
       annealed chains.
    2. *Fit.* A density q (:class:`~openmm_diffsampler.networks.AutoregressiveDensity`) first maximises the likelihood
       of the buffer, and then minimises how far the log-weights are from log Z, the mean log-weight,

       .. math:: L = \mathrm{E}\left[(u(x) + \log q(x) + \log Z)^2\right],

       over configurations of the buffer, noised copies of them, and samples of q, which tell what q should not make.
       Near its minimum, which is zero at q = p, the gradient of L has no noise: every configuration brings its exact
       energy, so that far fewer of them are needed than likelihood alone would need. log Z is estimated by the weights
       of samples of q.
    3. *Feed back.* Samples of q are let into the buffer by an independence Metropolis step with their weights, one
       evaluation each. The buffer stays in equilibrium, is renewed as training goes on, and jumps between modes as the
       generator does.
    4. *Weigh.* Samples have the exact weights w = e^{−u}/q: averages, free energies and log Z need no autocorrelation
       time. With ``weights="annealed"`` they are led to the target in `n_levels` steps
       (:func:`~openmm_diffsampler.samplers.annealed_weights.annealed`), with weights as exact and more even.

    What the samples of q cannot tell, a mode that q leaves out, is told by configurations that training never saw:
    :meth:`sample` compares the weights of both and warns (:class:`~openmm_diffsampler.samplers.MissedModeWarning`).

    Arguments:
        target: an :class:`~openmm_diffsampler.OpenMMTarget` of a molecule with a topology that has bonds and positions,
            a density without particles, or few particles that are all alike: for more than a handful the network, which
            knows nothing of permutations, is far behind that of :class:`~openmm_diffsampler.IDEM`.
        preset: ``"default"``.
        seed: of all random numbers of the training.
        settings: those of :class:`~openmm_diffsampler.samplers.BoltzmannSettings` that differ from the preset.

    Attributes:
        internal: what the density is over: an :class:`~openmm_diffsampler.coordinates.InternalTarget`, or the target.
        columns: :class:`~openmm_diffsampler.coordinates.StandardColumns`, between that and the network.

    Raises:
        TypeError: an unknown setting; atoms of different elements without bonds.
        ValueError: a target without positions, an unknown preset, settings out of their range.
        NoInternalCoordinatesError: an energy that depends on where the molecule is.

    References:
        Noé, Olsson, Köhler & Wu, Boltzmann generators, Science 365 (2019);
        Richter, Boustati, Nüsken, Ruiz & Akyildiz, VarGrad: a low-variance gradient estimator for variational
        inference, NeurIPS 2020 (squares of log-weights as a loss);
        Gabrié, Rotskoff & Vanden-Eijnden, Adaptive Monte Carlo augmented with normalizing flows, PNAS 119 (2022).

    Example:
        >>> from openmm_diffsampler import BoltzmannGenerator, GaussianMixture
        >>> target = GaussianMixture([[-2.0], [2.0]], scales=0.5, weights=[1, 3])
        >>> settings = {"n_exploration": 1_000_000, "n_chains": 1000, "batch_size": 256, "width": 16, "n_warmup": 2}
        >>> generator = BoltzmannGenerator(target, **settings).fit(200)
        >>> wt = generator.sample(2000, seed=1)
        >>> abs(wt.log_Z) < 4 * wt.log_Z_standard_error
        True
    """

    method = "boltzmann"
    weight_kinds, density_kinds = ("density", "annealed"), ("density",)
    sampling_batch = _CHUNK

    def __init__(self, target: Target, preset: str = "default", *, seed: int = 0, **settings: Any) -> None:
        require_target(target)
        if target.device.type != "cpu":
            raise ValueError(
                f"{target.name} is on {target.device}; the Boltzmann generator explores and trains on the CPU"
            )
        self.internal = in_coordinates(target)
        target = target.cartesian if isinstance(target, InternalTarget) else target
        self.columns = self.step_size = self.buffer = None
        super().__init__(target, preset, seed=seed, **settings)

    @property
    def sampled(self):
        return self.internal

    def _settings(self, preset, changes):
        return boltzmann_settings(self.target, preset, changes)

    def _build(self):
        options, d = self.settings, self.internal.n_degrees_of_freedom
        n_circular = len(self.internal.turning) if isinstance(self.internal, InternalTarget) else 0
        names = ("width", "n_layers", "n_components", "n_circular_components", "n_waves", "n_real_waves")
        return AutoregressiveDensity(n_circular, d - n_circular, **{name: getattr(options, name) for name in names})

    # Training.

    def _prepare(self, run):
        found = explore_for(run, self.internal)
        state = standard_columns(self.internal, found.x.double()).state_dict()
        self.columns = StandardColumns(**state | {k: run.agree(state[k]) for k in ("centre", "scale", "period")})
        c, u = self.columns.to_columns(found.x), found.u - self.columns.log_scale
        if len(c) < _FEWEST:
            raise ValueError(f"{len(c)} configurations were explored, too few to train on; give more n_exploration")
        self.buffer = GeneratorBuffer(self.internal, self.columns, c, u)
        self.buffer.hold_out(min(self.settings.n_held_out, len(c) // 10), run.generator)
        self.model.start_from(self.buffer.c)
        with torch.no_grad():
            for ours, theirs in zip(self.model.parameters(), self.average.parameters(), strict=True):
                ours.copy_(run.agree(ours.detach()))
                theirs.copy_(ours)

    def _loss(self, run):
        options, buffer = self.settings, self.buffer
        n = run.share(options.batch_size)
        share = self._variance_share(run.step / run.n_steps)
        if share == 1:
            noised_share = options.noised_share if isinstance(self.internal, InternalTarget) else 0.0
            c, u, others = buffer.draw_mixed(n, options.own_share, noised_share, run.generator)
        else:
            (c, u), others = buffer.draw(n, run.generator), 0
        log_q = run.model(c).double()
        log_weights = -u - log_q
        of_buffer = log_weights[others:].detach()
        away = log_weights - (of_buffer.mean() if buffer.log_z is None else buffer.log_z)
        squares = 2 * functional.huber_loss(away, torch.zeros_like(away), delta=options.outlier)
        metrics = {
            "negative log-likelihood": -float(log_q[others:].detach().mean()),
            "variance of log-weights": float(of_buffer.var()),
        }
        return squares if share == 1 else share * squares - (1 - share) * log_q.mean(), metrics

    def _variance_share(self, progress):
        begin, end = self.settings.likelihood_until, self.settings.variance_from
        return float(progress >= end) if begin == end else min(1.0, max(0.0, (progress - begin) / (end - begin)))

    def _after_step(self, run):
        if run.step % self.settings.refresh_every:
            return {}
        c, log_q = self.average.sample(run.share(self.settings.n_refresh), run.generator)
        u = self.buffer.reduced_potential(c)
        log_weights = -u - log_q
        latest = run.agree(log_weights.logsumexp(0) - math.log(len(log_weights)))
        # Before the squares set in, q changes too fast for a memory.
        self.buffer.learn_log_z(latest, forget=self._variance_share(run.step / run.n_steps) < 1)
        self.buffer.keep_own(c, u, log_q, self.settings.n_own)
        swaps = self.buffer.swap(c, u, log_q, self._log_q, run.generator)
        held = torch.randint(len(self.buffer.held_c), (_N_WATCHED,), generator=run.generator)
        return {
            "ESS": float(1 / log_weights.softmax(0).square().sum()) / len(log_weights),
            "swaps": swaps,
            "held-out variance": float(self._held_out(held).var()),
        }

    def _held_out(self, rows=slice(None)):
        """Log-weights of held-out configurations."""
        return -self.buffer.held_u[rows] - self._log_q(self.buffer.held_c[rows])

    def _finish(self, run):
        self.held_out = self._held_out()
        y = self._samples(_N_TRIED, run.generator)[0]
        half_way = Bridge(self.internal, self._log_density, 0.5)
        self.step_size = hamiltonian_step_size(half_way, y, _N_LEAPFROG, run.generator)

    def _diagnosis(self) -> str:
        if self.buffer is None:
            return ""
        mean = float(self.buffer.u.mean())
        return f"The buffer holds {len(self.buffer):,} configurations with a mean energy of {mean:.3g} kT."

    def _log_q(self, c):
        """log q of columns (n, D) under the averaged weights, in double precision."""
        with torch.no_grad():
            return torch.cat([self.average(part).double() for part in c.split(_CHUNK)])

    def _log_density(self, y):
        """log q (n,) of y (n, *event_shape) in its own units; differentiable."""
        return self.average(self.columns.to_columns(y)).double() - self.columns.log_scale

    def _samples(self, n, generator):
        """y (n, *event_shape), their log-densities, and whether they are inside the turn that counts."""
        c, log_q = self.average.sample(n, generator)
        y, inside = self.columns.from_columns(c)
        return y, log_q - self.columns.log_scale, inside

    def _training_state(self):
        return self.buffer.state_dict() | {"sampling": self._sampling_state()}

    def _load_training_state(self, state):
        self._load_sampling_state(state["sampling"])
        self.buffer = GeneratorBuffer(self.internal, self.columns, state["columns"], state["potentials"])
        self.buffer.load_state_dict(state)

    # Sampling.

    def _sampling_state(self):
        if self.columns is None:
            return {}
        state = {"columns": self.columns.state_dict(), "step size": self.step_size}
        if self.held_out is not None:
            state["held out"] = self.held_out.float()
        if isinstance(self.internal, InternalTarget):
            state |= {name: getattr(self.internal, name) for name in ("positions", "widths", "chirality")}
        return state

    def _load_sampling_state(self, state):
        is_molecule = isinstance(self.internal, InternalTarget)
        if "columns" not in state:
            self.columns = self.held_out = self.step_size = None
            return
        columns = checked_columns(state["columns"], self.internal.event_shape)
        if columns.n_circular != self.model.n_circular or len(columns.order) != self.internal.n_degrees_of_freedom:
            raise ValueError("its columns are those of another density")
        self.columns = columns
        self.held_out = checked_tensor(state, "held out", (None,)).double() if "held out" in state else None
        self.step_size = checked_number(state, "step size", optional=True) if "step size" in state else None
        if is_molecule:
            require_internal_state(state, self.target.event_shape[0], self.internal.n_degrees_of_freedom)
            options = {name: state[name] for name in ("widths", "chirality")}
            self.internal = InternalTarget(self.target, state["positions"], isomers=self.internal.isomers, **options)
            self.internal.hold_isomers()

    @torch.no_grad()
    def _draw(self, n, weights, generator, given):
        given = require_options(given, {"n_levels": 1, "n_leapfrog": 1} if weights == "annealed" else {}, weights)
        if self.columns is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        y, log_q, inside = self._samples(n, generator)
        log_q = torch.where(inside, log_q, torch.inf)  # what is outside has no weight
        n_levels = given.get("n_levels", _N_LEVELS) if weights == "annealed" else 1
        steps = n_levels, given.get("n_leapfrog", _N_LEAPFROG), self.step_size
        y, log_weights, u = annealed(self.internal, self._log_density, y, log_q, *steps, generator)
        if not isinstance(self.internal, InternalTarget):
            return SolverSamples(self.internal.project(y), log_weights, u)
        x, u = self.internal.frames(y, torch.where(log_weights > -torch.inf, u, torch.inf))
        # The target has no preferred orientation, and neither have its samples.
        return SolverSamples(x @ random_rotations(n, generator, x), log_weights, u)
