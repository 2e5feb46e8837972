"""A Boltzmann generator: an exact density, fitted to what Markov chains explore and corrected by weights."""

import math

import torch
from torch.nn import functional

from openmm_diffsampler.coordinates import InternalTarget, StandardColumns, random_rotations
from openmm_diffsampler.diffusion import SolverSamples
from openmm_diffsampler.mcmc.metropolis import metropolis
from openmm_diffsampler.networks import AutoregressiveDensity

from .annealed_weights import annealed, bridge_step_size
from .base import Sampler
from .boltzmann_settings import boltzmann_settings
from .exploration import explore

__all__ = ["BoltzmannGenerator"]

#: Rows of a pass without derivatives.
_CHUNK = 8192
#: Log-weights lower than log Z by more than this are those of clashes.
_CLASH = 10.0
#: Largest noise on configurations of the buffer, in thermal widths.
_LARGEST_NOISE = 0.5
#: Bins of a turn that tell how rare a torsion is.
_N_BINS = 36
#: How much of the running log Z a new estimate leaves.
_MEMORY = 0.9
#: Levels and leapfrog steps of annealed weights, where the step size starts, and the samples that it is found with.
_N_LEVELS, _N_LEAPFROG, _STEP_SIZE, _N_TRIED = 4, 2, 0.3, 256
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

    def __init__(self, target, preset="default", *, seed=0, **settings):
        self.internal = _in_coordinates(target)
        target = target.cartesian if isinstance(target, InternalTarget) else target
        self.columns, self.step_size = None, None
        self._seldom = None  # running sums of how rare the rows of the buffer are, where they are known
        super().__init__(target, preset, seed=seed, **settings)

    @property
    def sampled(self):
        return self.internal

    def _settings(self, preset, changes):
        return boltzmann_settings(self.target, preset, changes)

    def _build(self):
        options, d = self.settings, self.internal.n_degrees_of_freedom
        n_circular = len(self.internal.turning) if isinstance(self.internal, InternalTarget) else 0
        return AutoregressiveDensity(
            n_circular,
            d - n_circular,
            width=options.width,
            n_layers=options.n_layers,
            n_components=options.n_components,
            n_circular_components=options.n_circular_components,
            n_waves=options.n_waves,
            n_real_waves=options.n_real_waves,
        )

    # Training.

    def _prepare(self, run):
        seed = self.seed + 1_000_003 * run.rank
        found = explore(
            self.internal, run.share(self.settings.n_exploration), self.settings, seed, run.progress, run.interrupted
        )
        state = _standard_columns(self.internal, found.x.double()).state_dict()
        self.columns = StandardColumns(**state | {k: run.agree(state[k]) for k in ("centre", "scale", "period")})
        c, u = self.columns.to_columns(found.x), found.u - self.columns.log_scale
        order = torch.randperm(len(c), generator=run.generator)
        if len(c) < _FEWEST:
            raise ValueError(f"{len(c)} configurations were explored, too few to train on; give more n_exploration")
        n_held = min(self.settings.n_held_out, len(c) // 10)
        self.held_c, self.held_u = c[order[:n_held]], u[order[:n_held]]
        self.c, self.u = c[order[n_held:]], u[order[n_held:]]
        self.own_c, self.own_u, self.log_z = self.c[:0], self.u[:0], None
        self.model.start_from(self.c)
        with torch.no_grad():
            for ours, theirs in zip(self.model.parameters(), self.average.parameters(), strict=True):
                ours.copy_(run.agree(ours.detach()))
                theirs.copy_(ours)

    def _loss(self, run):
        options = self.settings
        n = run.share(options.batch_size)
        share = self._variance_share(run.step / run.n_steps)
        rows = self._rows(n, run.generator, rare=share == 1)
        c, u = self.c[rows], self.u[rows]
        others = 0  # rows that are not of the buffer
        if share == 1 and len(self.own_c):
            others = int(n * options.own_share)
            own = torch.randint(len(self.own_c), (others,), generator=run.generator)
            c[:others], u[:others] = self.own_c[own], self.own_u[own]
        if share == 1 and isinstance(self.internal, InternalTarget):
            noised = slice(others, others + int(n * options.noised_share))
            c[noised], u[noised] = self._noised(c[noised], u[noised], run.generator)
            others = noised.stop
        log_q = run.model(c).double()
        log_weights = -u - log_q
        of_buffer = log_weights[others:].detach()
        away = log_weights - (of_buffer.mean() if self.log_z is None else self.log_z)
        squares = 2 * functional.huber_loss(away, torch.zeros_like(away), delta=options.outlier)
        metrics = {
            "negative log-likelihood": -float(log_q[others:].detach().mean()),
            "variance of log-weights": float(of_buffer.var()),
        }
        return squares if share == 1 else share * squares - (1 - share) * log_q.mean(), metrics

    def _rows(self, n, generator, rare):
        """Rows of the buffer: at random, but every other one, where `rare`, as often as its torsions are seldom.

        In proportion to p^{−1/2}, p being the share of the bin of its rarest torsion: squares may be summed over any
        density, and a state of little weight needs log q to be right just as much.
        """
        rows = torch.randint(len(self.c), (n,), generator=generator)
        if rare and self.columns.n_circular:
            if self._seldom is None:
                self._seldom = self._rarity().cumsum(0)
            spot = torch.rand(n // 2, generator=generator, dtype=torch.float64) * self._seldom[-1]
            rows[: 2 * (n // 2) : 2] = torch.searchsorted(self._seldom, spot).clamp(max=len(self.c) - 1)
        return rows

    def _rarity(self):
        """p^{−1/2} of the rarest torsion of each configuration of the buffer."""
        rarest = torch.zeros(len(self.c), dtype=torch.float64)
        for angles in self.c[:, : self.columns.n_circular].unbind(1):
            bins = ((angles / (2 * math.pi) + 0.5) * _N_BINS).long().clamp(0, _N_BINS - 1)
            share = torch.bincount(bins, minlength=_N_BINS).double() / len(bins)
            rarest = torch.maximum(rarest, share[bins].rsqrt())
        return rarest

    def _noised(self, c, u, generator):
        """Configurations somewhat off those of the buffer, by up to a few tenths of thermal widths; their energies."""
        y, _ = self.columns.from_columns(c)
        s = _LARGEST_NOISE * torch.rand(len(c), 1, generator=generator, dtype=y.dtype)
        y = y + s * self.internal.normal(len(y), generator)
        # A clash counts as so much higher than where it came from: every row has a finite place to go to.
        u_noised = self.internal.reduced_potential(y) - self.columns.log_scale
        return self.columns.to_columns(y), torch.minimum(u_noised, u + 2 * _CLASH)

    def _variance_share(self, progress):
        begin, end = self.settings.likelihood_until, self.settings.variance_from
        return float(progress >= end) if begin == end else min(1.0, max(0.0, (progress - begin) / (end - begin)))

    def _after_step(self, run):
        if run.step % self.settings.refresh_every:
            return {}
        c, log_q = self.average.sample(run.share(self.settings.n_refresh), run.generator)
        y, inside = self.columns.from_columns(c)
        u = torch.where(inside, self.internal.reduced_potential(y) - self.columns.log_scale, torch.inf)
        log_weights = -u - log_q
        self._estimate_log_z(log_weights, run)
        kept = self.settings.n_own
        # A clash, whose weight is zero or so, is to become e^{−10} times as likely, not impossible.
        if self.log_z is not None:
            cut = torch.minimum(u, _CLASH - self.log_z - log_q)
            self.own_c, self.own_u = torch.cat([self.own_c, c])[-kept:], torch.cat([self.own_u, cut])[-kept:]
        rows = torch.randperm(len(self.c), generator=run.generator)[: len(c)]
        c, proposed, u = c[: len(rows)], log_weights[: len(rows)], u[: len(rows)]
        present = -self.u[rows] - self._log_q(self.c[rows])
        accepted, _ = metropolis(proposed - present, run.generator)
        self.c[rows[accepted]], self.u[rows[accepted]] = c[accepted], u[accepted]
        self._seldom = None
        held = torch.randint(len(self.held_c), (_N_WATCHED,), generator=run.generator)
        return {
            "ESS": float(1 / log_weights.softmax(0).square().sum()) / len(log_weights),
            "swaps": float(accepted.double().mean()),
            "held-out variance": float((-self.held_u[held] - self._log_q(self.held_c[held])).var()),
        }

    def _estimate_log_z(self, log_weights, run):
        """The running log Z; before the squares set in, q changes too fast for a memory."""
        latest = run.agree(log_weights.logsumexp(0) - math.log(len(log_weights)))
        if not latest.isfinite():
            return
        forget = self.log_z is None or self._variance_share(run.step / run.n_steps) < 1
        self.log_z = float(latest) if forget else _MEMORY * self.log_z + (1 - _MEMORY) * float(latest)

    def _finish(self, run):
        self.held_out = -self.held_u - self._log_q(self.held_c)
        y = self._samples(_N_TRIED, run.generator)[0]
        self.step_size = bridge_step_size(self.internal, self._log_density, y, _STEP_SIZE, _N_LEAPFROG, run.generator)

    def diagnosis(self):
        return f"The buffer holds {len(self.c):,} configurations with a mean energy of {float(self.u.mean()):.3g} kT."

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
        return {
            "columns": self.c,
            "potentials": self.u,
            "held columns": self.held_c,
            "held potentials": self.held_u,
            "own columns": self.own_c,
            "own potentials": self.own_u,
            "log Z": self.log_z,
            "sampling": self._sampling_state(),
        }

    def _load_training_state(self, state):
        self.c, self.u = state["columns"], state["potentials"]
        self.held_c, self.held_u = state["held columns"], state["held potentials"]
        self.own_c, self.own_u, self.log_z = state["own columns"], state["own potentials"], state["log Z"]
        self._load_sampling_state(state["sampling"])

    # Sampling.

    def _sampling_state(self):
        if self.columns is None:
            return {}
        state = {"columns": self.columns.state_dict(), "step size": self.step_size}
        if self.held_out is not None:
            state["held out"] = self.held_out.float()
        if isinstance(self.internal, InternalTarget):
            names = ("positions", "widths", "chirality")
            state |= {name: getattr(self.internal, name) for name in names}
        return state

    def _load_sampling_state(self, state):
        self.columns = StandardColumns(**state["columns"]) if "columns" in state else None
        self.held_out = state["held out"].double() if "held out" in state else None
        self.step_size = state.get("step size")
        if "widths" in state:
            self.internal = InternalTarget(
                self.target, state["positions"], widths=state["widths"], chirality=state["chirality"]
            )
            self.internal.hold_double_bonds()

    @torch.no_grad()
    def _draw(self, n, weights, generator, given):
        known = {"n_levels", "n_leapfrog"} if weights == "annealed" else set()
        if set(given) - known:
            raise TypeError(
                f"unknown options {sorted(set(given) - known)} with weights {weights!r}; there are {sorted(known)}"
            )
        if self.columns is None:
            raise RuntimeError("the sampler has not been trained; call fit() first, or load weights")
        y, log_q, inside = self._samples(n, generator)
        n_levels = given.get("n_levels", _N_LEVELS) if weights == "annealed" else 1
        y, log_weights, u = annealed(
            self.internal,
            self._log_density,
            y,
            torch.where(inside, log_q, torch.inf),
            n_levels,
            given.get("n_leapfrog", _N_LEAPFROG),
            self.step_size,
            generator,
        )
        if not isinstance(self.internal, InternalTarget):
            return SolverSamples(self.internal.project(y), log_weights, u)
        x, u = self.internal.frames(y, torch.where(log_weights > -torch.inf, u, torch.inf))
        # The target has no preferred orientation, and neither have its samples.
        return SolverSamples(x @ random_rotations(n, generator, x), log_weights, u)


def _standard_columns(target, x):
    if isinstance(target, InternalTarget):
        return StandardColumns.of_molecule(target, x)
    return StandardColumns.of_particles(x) if target.translation_invariant else StandardColumns.of_density(x)


def _in_coordinates(target):
    """What the density is over: the internal coordinates of a molecule, or the target itself."""
    if target.device.type != "cpu":
        raise ValueError(f"{target.name} is on {target.device}; the Boltzmann generator explores and trains on the CPU")
    if isinstance(target, InternalTarget):
        if not target.held:
            target.hold_double_bonds()
        return target
    if target.topology is None:
        return target
    if not target.topology.n_bonds:
        if len({atom.element for atom in target.topology.atoms}) > 1:
            raise TypeError(f"{target.name} has no bonds and different elements; give a topology with its bonds")
        return target
    if target.positions is None:
        raise ValueError(f"{target.name} has no positions; pass positions= to OpenMMTarget")
    internal = InternalTarget(target, target.positions)
    internal.hold_double_bonds()
    return internal
