"""Draws of denoising posteriors p(x | x_t), at many levels of noise at once."""

import math
from typing import NamedTuple

import torch

from openmm_diffsampler.diffusion.scores import posterior_draws

from .hamiltonian import Tether, hamiltonian_step
from .state import evaluate
from .sweep import STEP_ANGLE

__all__ = ["PosteriorEstimate", "PosteriorSampler"]

#: Bins of t that have a step size and a mix each, and coarser bands that reports tell apart.
_N_BINS, _N_BANDS = 16, 4
#: Acceptance that step sizes are led to: one leapfrog step (MALA), several.
_ACCEPTANCE = (0.574, 0.8)
#: How fast step sizes follow, and how much of the running mix a call replaces.
_RATE, _MEMORY = 0.2, 0.05
#: Rows that importance and annealed starts take at a time, in particles.
_CHUNK = 65_536


class PosteriorEstimate(NamedTuple):
    """What the draws of p(x | x_t) tell, row by row.

    Attributes:
        score: (n, *event_shape) estimate of ∇log p_t(x_t).
        x: (n, *event_shape) the last draw.
        metrics: dict of floats: acceptance and particle effective sample size by band of noise.
    """

    score: torch.Tensor
    x: torch.Tensor
    metrics: dict


class PosteriorSampler:
    r"""Draws of p(x | x_t) ∝ p(x) N(x_t; x, s²), and the estimate of ∇log p_t(x_t) that they give.

    A draw starts in one of these ways, and is then led on by Hamiltonian steps whose tether to x_t is solved exactly
    (one leapfrog step is MALA):

    - ``"importance"``: one of K draws of N(x_t, s²) by the weights e^{−u};
    - ``"annealed"``: one of K particles of annealed importance sampling from N(x_t, s²), by its weight;
    - ``"given"``: a configuration that the caller knows: the one that x_t was made of, or the last draw nearby; with
      K > 1 one of K, it and K − 1 draws of N(x_t, s²), by the weights e^{−u}: if it is a draw of the posterior, so is
      that one, for any K.

    The score is the mean over the later half of the trajectories (and, with none or of draws that are given, over the
    weighted particles) of

    .. math:: c\,(-\nabla u(x)) + (1 - c)\,(x - x_t)/s^2,

    exact in expectation for any c; c has the least variance, learnt bin by bin of t from earlier calls. Step sizes
    are learnt likewise.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        start: see above.
        n_particles: K.
        n_anneal: levels of annealing.
        n_trajectories, n_leapfrog: of the Hamiltonian steps that follow.
        step_size: where the step sizes start, in the units of x.
        mixing: ``"optimal"``, or ``"unit"``: c = 1/(1 + (s/unit)²), the mixed score identity.
        unit: width that counts as one in it.
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule` of kind "VE", for s(t).

    Raises:
        ValueError: an unknown start or mixing, nothing to estimate from.

    References:
        He, Chen, Zhang, Barber & Hernández-Lobato, Training neural samplers with reverse diffusive KL divergence,
        arXiv:2410.12456; Neal, Annealed importance sampling, Statistics and Computing 11 (2001).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> from openmm_diffsampler.diffusion import NoiseSchedule
        >>> target, generator = GaussianMixture([[0.0]], scales=1.0), torch.Generator().manual_seed(0)
        >>> sampler = PosteriorSampler(target, NoiseSchedule(0.1, 2.0), start="importance", n_particles=2000)
        >>> x_t, t = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        >>> round(float(sampler(x_t, t, generator).score), 1)  # p_t is N(0, 1 + 2²)
        -0.2
    """

    def __init__(
        self,
        target,
        schedule,
        *,
        start="importance",
        n_particles=1,
        n_anneal=10,
        n_trajectories=0,
        n_leapfrog=5,
        step_size=0.1,
        mixing="optimal",
        unit=1.0,
    ):
        for name, value, known in (("start", start, _STARTS), ("mixing", mixing, ("optimal", "unit"))):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; supported are {', '.join(map(repr, known))}")
        if start == "given" and n_particles == 1 and not n_trajectories:
            raise ValueError("start is 'given', n_particles 1 and n_trajectories 0; that tells nothing of the target")
        self.target, self.schedule, self.start, self.mixing, self.unit = target, schedule, start, mixing, unit
        self.n_particles, self.n_anneal, self.n_trajectories = n_particles, n_anneal, n_trajectories
        self.n_leapfrog = n_leapfrog
        self.log_steps = torch.full((_N_BINS,), math.log(step_size), dtype=torch.float64)
        self.mix_sums = torch.zeros(2, _N_BINS, dtype=torch.float64)

    @torch.no_grad()
    def __call__(self, x_t, t, generator, x_0=None, baseline=None):
        """Estimates at x_t (n, *event_shape) and t (n,).

        Arguments:
            x_t, t: noised configurations and their times in the schedule.
            generator: torch Generator.
            x_0: like x_t, where draws start that are "given".
            baseline: like x_t, some function of x_t and t near the score, which the mix is learnt around; or None.

        Returns:
            :class:`PosteriorEstimate`.
        """
        x_t, t = x_t.to(self.target.dtype), t.to(self.target.dtype)
        s, bins = self.schedule.ratio(t), (t * _N_BINS).long().clamp(0, _N_BINS - 1).cpu()
        metrics = {}
        chosen, means = x_0, []
        if self.start != "given" or self.n_particles > 1:
            if self.start == "annealed":
                *identities, size, chosen = self._annealed(x_t, s, bins, generator)
            else:
                given = x_0 if self.start == "given" else None
                draws = posterior_draws(self.target, x_t, torch.ones_like(s), s, self.n_particles, generator, x_0=given)
                *identities, size, chosen = draws
            metrics |= self._by_band("particle ESS", size / self.n_particles, t)
            if self.start == "given" or not self.n_trajectories:
                means.append(torch.stack(identities))
        if self.n_trajectories:
            state = evaluate(self.target, chosen.to(self.target.dtype))
            found, chosen, accepted = self._trajectories(state, x_t, s, bins, generator)
            means += found
            metrics |= self._by_band("acceptance", accepted, t)
        by_target, by_noise = torch.stack(means).mean(0)
        difference = by_target - by_noise
        c = self._per_row(self._mix(s, bins).to(x_t))
        if self.mixing == "optimal":
            self._learn_mix(by_noise - (0.0 if baseline is None else baseline.to(by_noise)), difference, bins)
        return PosteriorEstimate(by_noise + c * difference, chosen, metrics)

    def _per_row(self, values):
        return values.reshape(-1, *(1 for _ in self.target.event_shape))

    def _trajectories(self, state, x_t, s, bins, generator):
        """Both identities of each trajectory of the later half, where the last one ends, acceptance by row."""
        tether, found, rate = Tether(x_t, self._per_row(s)), [], 0.0
        for k in range(self.n_trajectories):
            steps = self.log_steps[bins].exp().to(x_t)
            state, probability = hamiltonian_step(self.target, state, steps, self.n_leapfrog, generator, tether=tether)
            self._learn_steps(probability, s, bins)
            rate = rate + probability / self.n_trajectories
            if k >= self.n_trajectories // 2:
                found.append(torch.stack([state.score, (state.x - x_t) / self._per_row(s) ** 2]))
        return found, state.x, rate

    def _learn_steps(self, probability, s, bins):
        wanted = _ACCEPTANCE[self.n_leapfrog > 1]
        count = torch.bincount(bins, minlength=_N_BINS)
        total = torch.zeros(_N_BINS, dtype=torch.float64).index_add_(0, bins, probability.double().cpu())
        seen = count > 0
        change = _RATE * (total[seen] / count[seen] - wanted)
        self.log_steps[seen] = self.log_steps[seen] + change
        # A step is cut to the tether's length: a longer one means nothing.
        longest = torch.full((_N_BINS,), -torch.inf, dtype=torch.float64)
        longest = longest.scatter_reduce(0, bins, s.double().cpu().mul(STEP_ANGLE).log(), "amax")
        self.log_steps[seen] = torch.minimum(self.log_steps[seen], longest[seen])

    def _mix(self, s, bins):
        if self.mixing == "unit":
            return 1 / (1 + (s / self.unit) ** 2)
        known = self.mix_sums[1] > 0
        learnt = torch.where(known, self.mix_sums[0] / self.mix_sums[1].clamp(min=1e-300), 0.0).clamp(0, 1)
        return torch.where(known[bins], learnt[bins], 1 / (1 + (s.double().cpu() / self.unit) ** 2)).to(s.device)

    def _learn_mix(self, rest, difference, bins):
        square = difference.flatten(1).square().sum(1).double().cpu()
        product = -(rest * difference).flatten(1).sum(1).double().cpu()
        count = torch.bincount(bins, minlength=_N_BINS)
        found = torch.stack(
            [torch.zeros(_N_BINS, dtype=torch.float64).index_add_(0, bins, v) for v in (product, square)]
        )
        found = found / count.clamp(min=1)
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
        n, k, target = len(x_t), self.n_particles, self.target
        noised, scale = x_t.repeat_interleave(k, 0), self._per_row(s.repeat_interleave(k))
        state = evaluate(target, noised + scale * target.normal(n * k, generator))
        log_weights, before = torch.zeros(n * k, dtype=torch.float64, device=x_t.device), 0.0
        for level in range(1, self.n_anneal + 1):
            beta = (level / self.n_anneal) ** 2  # the energies of what noise makes are the larger ones
            log_weights = log_weights - (beta - before) * state.u.double()
            before = beta
            if level < self.n_anneal:
                steps = self.log_steps[bins].exp().to(x_t).repeat_interleave(k)
                state, _ = hamiltonian_step(
                    target,
                    state,
                    steps,
                    self.n_leapfrog,
                    generator,
                    tether=Tether(noised, scale),
                    inverse_temperature=beta,
                )
        log_weights = log_weights.reshape(n, k)
        hopeless = log_weights.isneginf().all(1)
        weights = torch.where(hopeless[:, None], 1 / k, log_weights.softmax(1))
        pick = torch.multinomial(weights, 1, generator=generator)[:, 0]
        by_draw = self._per_row(weights.to(x_t).flatten())
        x, score = state.x, state.score
        means = [(by_draw * values).unflatten(0, (n, k)).sum(1) for values in (score, (x - noised) / scale**2)]
        size = torch.where(hopeless, 0.0, 1 / weights.square().sum(1)).to(x_t)
        return *means, size, x.unflatten(0, (n, k))[torch.arange(n, device=x.device), pick]

    def _by_band(self, name, values, t):
        """Means of a metric within bands of t, named by the noise they end at."""
        found = {}
        for band in range(_N_BANDS):
            inside = (t * _N_BANDS).long().clamp(0, _N_BANDS - 1) == band
            end = float(self.schedule.ratio(torch.tensor((band + 1) / _N_BANDS, dtype=torch.float64)))
            found[f"{name} to s {end:.2g}"] = float(values[inside].mean()) if inside.any() else math.nan
        return found

    def state_dict(self):
        """Learnt step sizes and mixes."""
        return {"log steps": self.log_steps, "mix sums": self.mix_sums}

    def load_state_dict(self, state):
        self.log_steps, self.mix_sums = state["log steps"], state["mix sums"]


_STARTS = ("importance", "annealed", "given")
