"""Draws of denoising posteriors p(x | x_t), at many levels of noise at once."""

import math
from typing import NamedTuple

import torch

from openmm_diffsampler.diffusion.scores import posterior_draws

from .coordinate_step import coordinate_step
from .hamiltonian import Tether, hamiltonian_step
from .kernels import OPTIMAL_ACCEPTANCE
from .state import evaluate
from .sweep import STEP_ANGLE

__all__ = ["PosteriorEstimate", "PosteriorSampler"]

#: Bins of ln s that have a step size and a mix each, and coarser bands that reports tell apart.
_N_BINS, _N_BANDS = 16, 4
#: How fast step sizes follow, and how much of the running mix a call replaces.
_RATE, _MEMORY = 0.5, 0.05
#: Particles that annealing takes at a time.
_CHUNK = 65_536
_STARTS, _MIXES = ("importance", "annealed", "given"), ("optimal", "unit")


class PosteriorEstimate(NamedTuple):
    """What the draws of p(x | x_t) tell, row by row.

    Attributes:
        score: (n, *event_shape) estimate of ∇log p_t(x_t); NaN in rows none of whose draws has a finite energy.
        x: (n, *event_shape) the last draw.
        metrics: dict of floats: acceptance and particle effective sample size by band of noise, and how many draws of
            those that start "given" are another configuration.
    """

    score: torch.Tensor
    x: torch.Tensor
    metrics: dict


class PosteriorSampler:
    r"""Draws of p(x | x_t) ∝ p(x) N(x_t; x, s²), and the estimate of ∇log p_t(x_t) that they give.

    A draw starts in one of these ways, and is then led on by steps of single coordinates or particles
    (:func:`~openmm_diffsampler.mcmc.coordinate_step.coordinate_step`), which cross barriers that lie along one of them,
    and by Hamiltonian steps whose tether to x_t is solved exactly (one leapfrog step is MALA):

    - ``"importance"``: one of K draws of N(x_t, s²) by the weights e^{−u};
    - ``"annealed"``: one of K particles of annealed importance sampling from N(x_t, s²), by its weight;
    - ``"given"``: a configuration that the caller knows: the one that x_t was made of, or the last draw nearby; with
      K > 1 one of K, it and K − 1 draws of N(x_t, s²), by the weights e^{−u}: if it is a draw of the posterior, so is
      that one, for any K. Where it is not, and no draw leaves its mode, nothing tells that the mode's weight is wrong:
      in more than a few dimensions that needs steps of single coordinates, or annealing.

    The score is the mean over the later half of the trajectories, and that of the coordinate steps, which count as one;
    over the weighted particles where neither follows, and beside trajectories of draws that are given; of

    .. math:: c\,(-\nabla u(x)) + (1 - c)\,(x - x_t)/s^2,

    which has the score as its mean over exact draws, for any c; c has the least variance, learnt bin by bin of s from
    earlier calls. Step sizes are learnt likewise.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        s_min, s_max: noise between which there is something to learn, in the units of x.
        start: see above.
        n_particles: K.
        n_anneal: levels of annealing.
        n_coordinate_steps: how many steps of single coordinates follow.
        n_trajectories, n_leapfrog: of the Hamiltonian steps after them.
        step_size: where the step sizes start, in the units of x.
        mixing: ``"optimal"``, or ``"unit"``: c = 1/(1 + (s/unit)²), the mixed score identity.
        unit: width that counts as one in it.

    Raises:
        ValueError: an unknown start or mixing, nothing to estimate from.

    References:
        He, Chen, Zhang, Barber & Hernández-Lobato, Training neural samplers with reverse diffusive KL divergence,
        arXiv:2410.12456; Neal, Annealed importance sampling, Statistics and Computing 11 (2001).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target, generator = GaussianMixture([[0.0]], scales=1.0), torch.Generator().manual_seed(0)
        >>> sampler = PosteriorSampler(target, 0.1, 2.0, start="importance", n_particles=2000)
        >>> x_t, s = torch.ones(1, 1, dtype=torch.float64), torch.full((1,), 2.0, dtype=torch.float64)
        >>> round(float(sampler(x_t, s, generator).score), 1)  # p_t is N(0, 1 + 2²)
        -0.2
    """

    def __init__(
        self,
        target,
        s_min,
        s_max,
        *,
        start="importance",
        n_particles=1,
        n_anneal=10,
        n_coordinate_steps=0,
        n_trajectories=0,
        n_leapfrog=5,
        step_size=0.1,
        mixing="optimal",
        unit=1.0,
    ):
        for name, value, known in (("start", start, _STARTS), ("mixing", mixing, _MIXES)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; supported are {', '.join(map(repr, known))}")
        if start != "annealed" and n_particles == 1 and not n_trajectories + n_coordinate_steps:
            raise ValueError(
                f"start is {start!r}, n_particles 1, and no steps follow; that tells nothing of the target"
            )
        self.target, self.s_min, self.s_max = target, s_min, s_max
        self.start, self.mixing, self.unit = start, mixing, unit
        self.n_particles, self.n_anneal, self.n_coordinate_steps = n_particles, n_anneal, n_coordinate_steps
        self.n_trajectories, self.n_leapfrog = n_trajectories, n_leapfrog
        self.log_steps = torch.full((_N_BINS,), math.log(step_size), dtype=torch.float64)
        self.mix_sums = torch.zeros(2, _N_BINS, dtype=torch.float64)

    @torch.no_grad()
    def __call__(self, x_t, s, generator, x_0=None, baseline=None):
        """Estimates at x_t (n, *event_shape), configurations plus noise of size s (n,).

        Arguments:
            x_t, s: noised configurations and their noise, in the units of x.
            generator: torch Generator.
            x_0: like x_t, where draws start that are "given".
            baseline: like x_t, some function of x_t and s near the score, which the mix is learnt around; or None.

        Returns:
            :class:`PosteriorEstimate`.
        """
        x_t, s = x_t.to(self.target.dtype), s.to(self.target.dtype)
        bins, chosen, metrics = self._position(s, _N_BINS), x_0, {}
        found = []  # pairs of both identities and which rows (n,) they are of a configuration that can be
        if self.start != "given" or self.n_particles > 1:
            if self.start == "annealed":
                *identities, size, chosen = self._annealed(x_t, s, bins, generator)
            else:
                given = x_0 if self.start == "given" else None
                draws = posterior_draws(self.target, x_t, torch.ones_like(s), s, self.n_particles, generator, x_0=given)
                *identities, size, chosen = draws
            metrics |= self._by_band("particle ESS", size / self.n_particles, s)
            if self.start == "given":
                left = (chosen != x_0).flatten(1).any(1)
                metrics |= self._by_band("left", left.double(), s)
            if not self.n_coordinate_steps and (self.start == "given" or not self.n_trajectories):
                found.append((torch.stack(identities), size > 0))
        if self.n_coordinate_steps or self.n_trajectories:
            state = evaluate(self.target, chosen.to(x_t))
            if self.n_coordinate_steps:
                pair, state, accepted = self._coordinates(state, x_t, s, generator)
                found.append(pair)
                metrics |= self._by_band("coordinate acceptance", accepted, s)
            if self.n_trajectories:
                pairs, state, accepted = self._trajectories(state, x_t, s, bins, generator)
                found += pairs
                metrics |= self._by_band("acceptance", accepted, s)
            chosen = state.x
        (by_target, by_noise), valid = self._mean(found)
        difference = by_target - by_noise
        c = self.target.per_row(self._mix(s, bins).to(x_t))
        if self.mixing == "optimal":
            rest = by_noise - (0.0 if baseline is None else baseline.to(by_noise))
            self._learn_mix(rest[valid], difference[valid], bins[valid.cpu()])
        score = torch.where(self.target.per_row(valid), by_noise + c * difference, torch.nan)
        return PosteriorEstimate(score, chosen, metrics)

    def _position(self, s, n):
        """Which of n bins of ln s each row is in, on the CPU."""
        share = (s.double().cpu() / self.s_min).log() / math.log(self.s_max / self.s_min)
        return (share * n).long().clamp(0, n - 1)

    def _steps(self, bins, like):
        return self.log_steps[bins].exp().to(like)

    def _identities(self, state, x_t, s):
        """Both, and the rows (n,) where something can be; one that starts elsewhere may get there."""
        return torch.stack([state.score, (state.x - x_t) / self.target.per_row(s) ** 2]), state.u.isfinite()

    def _mean(self, found):
        """The mean of pairs of identities and rows, over those that each row is in; and the rows that are in any."""
        total, count = 0.0, 0
        for identities, valid in found:
            total = total + torch.where(self.target.per_row(valid), identities, 0.0)
            count = count + valid
        return total / self.target.per_row(count.clamp(min=1)), count > 0

    def _coordinates(self, state, x_t, s, generator):
        """Mean of the later half of the steps, with its rows; where the last one ends; acceptance by row."""
        n, found, rate = self.n_coordinate_steps, [], 0.0
        for k in range(n):
            state, probability = coordinate_step(self.target, state, x_t, s, generator)
            rate = rate + probability / n
            if k >= n // 2:
                found.append(self._identities(state, x_t, s))
        return self._mean(found), state, rate

    def _trajectories(self, state, x_t, s, bins, generator):
        """Each trajectory of the later half, with its rows; where the last one ends; acceptance by row."""
        tether, found, rate = Tether(x_t, self.target.per_row(s)), [], 0.0
        steps = self._steps(bins, x_t)  # the same for all, or what is invariant would not be
        for k in range(self.n_trajectories):
            state, probability = hamiltonian_step(self.target, state, steps, self.n_leapfrog, generator, tether=tether)
            rate = rate + probability / self.n_trajectories
            if k >= self.n_trajectories // 2:
                found.append(self._identities(state, x_t, s))
        self._learn_steps(rate, s, bins)
        return found, state, rate

    def _learn_steps(self, probability, s, bins):
        wanted = OPTIMAL_ACCEPTANCE["hmc" if self.n_leapfrog > 1 else "mala"]
        count = torch.bincount(bins, minlength=_N_BINS)
        total = torch.zeros(_N_BINS, dtype=torch.float64).index_add_(0, bins, probability.double().cpu())
        # A step is cut to the tether's length: a longer one means nothing.
        longest = torch.full((_N_BINS,), -torch.inf, dtype=torch.float64)
        longest = longest.scatter_reduce(0, bins, s.double().cpu().mul(STEP_ANGLE).log(), "amax")
        changed = self.log_steps + _RATE * (total / count.clamp(min=1) - wanted)
        self.log_steps = torch.where(count > 0, torch.minimum(changed, longest), self.log_steps)

    def _mix(self, s, bins):
        by_unit = 1 / (1 + (s.double().cpu() / self.unit) ** 2)
        if self.mixing == "unit":
            return by_unit
        learnt = (self.mix_sums[0] / self.mix_sums[1].clamp(min=1e-300)).clamp(0, 1)
        return torch.where(self.mix_sums[1][bins] > 0, learnt[bins], by_unit)

    def _learn_mix(self, rest, difference, bins):
        square = difference.flatten(1).square().sum(1).double().cpu()
        product = -(rest * difference).flatten(1).sum(1).double().cpu()
        count = torch.bincount(bins, minlength=_N_BINS)
        empty = torch.zeros(_N_BINS, dtype=torch.float64)
        found = torch.stack([empty.index_add(0, bins, values) for values in (product, square)]) / count.clamp(min=1)
        keep = torch.where(self.mix_sums[1] > 0, 1 - _MEMORY, 0.0)
        self.mix_sums = torch.where(count > 0, keep * self.mix_sums + (1 - keep) * found, self.mix_sums)

    def _annealed(self, x_t, s, bins, generator):
        rows = max(1, _CHUNK // self.n_particles)
        parts = [
            self._annealed_part(x_t[k : k + rows], s[k : k + rows], bins[k : k + rows], generator)
            for k in range(0, len(x_t), rows)
        ]
        return tuple(torch.cat(values) for values in zip(*parts, strict=True))

    def _annealed_part(self, x_t, s, bins, generator):
        """Weighted means of both identities, effective number of particles, one of them by its weight."""
        n, k, target = len(x_t), self.n_particles, self.target
        noised, every_s, every_bin = x_t.repeat_interleave(k, 0), s.repeat_interleave(k), bins.repeat_interleave(k)
        scale = self.target.per_row(every_s)
        options = {"tether": Tether(noised, scale)}
        state = evaluate(target, noised + scale * target.normal(n * k, generator))
        log_weights, before = torch.zeros(n * k, dtype=torch.float64, device=x_t.device), 0.0
        for level in range(1, self.n_anneal + 1):
            beta = (level / self.n_anneal) ** 2  # the energies of what noise makes are the larger ones
            log_weights = log_weights - (beta - before) * state.u.double()
            before = beta
            if level < self.n_anneal:
                steps = self._steps(every_bin, x_t)
                state, probability = hamiltonian_step(
                    target, state, steps, self.n_leapfrog, generator, inverse_temperature=beta, **options
                )
        if self.n_anneal > 1 and not self.n_trajectories:
            self._learn_steps(probability, every_s, every_bin)
        log_weights = log_weights.reshape(n, k)
        hopeless = log_weights.isneginf().all(1)
        weights = torch.where(hopeless[:, None], 1 / k, log_weights.softmax(1))
        pick = torch.multinomial(weights, 1, generator=generator)[:, 0]
        by_draw = self.target.per_row(weights.to(x_t).flatten())
        identities = state.score, (state.x - noised) / scale**2
        means = [(by_draw * values).unflatten(0, (n, k)).sum(1) for values in identities]
        size = torch.where(hopeless, 0.0, 1 / weights.square().sum(1)).to(x_t)
        return *means, size, state.x.unflatten(0, (n, k))[torch.arange(n, device=x_t.device), pick]

    def _by_band(self, name, values, s):
        """Means of a metric within bands of ln s, named by the noise they end at."""
        found, bands = {}, self._position(s, _N_BANDS)
        for band in range(_N_BANDS):
            inside = (bands == band).to(values.device)
            end = self.s_min * (self.s_max / self.s_min) ** ((band + 1) / _N_BANDS)
            found[f"{name} to s {end:.2g}"] = float(values[inside].mean()) if inside.any() else math.nan
        return found

    def state_dict(self):
        """Learnt step sizes and mixes."""
        return {"log steps": self.log_steps, "mix sums": self.mix_sums}

    def load_state_dict(self, state):
        self.log_steps, self.mix_sums = state["log steps"], state["mix sums"]
