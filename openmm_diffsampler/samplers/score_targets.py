"""What the network of iDEM is regressed on: estimates of the noised score, and where configurations go meanwhile."""

import torch

from openmm_diffsampler.diffusion import posterior_draws
from openmm_diffsampler.mcmc.hamiltonian import Tether, hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.networks import interpolate

__all__ = ["ScoreTargets"]

#: Rows that the effective number of draws is measured on.
_N_EFFECTIVE = 256


class ScoreTargets:
    r"""Estimates of ∇log p_t(x_t) from posterior draws: c TSI + (1 − c) DSI, averaged.

    With the estimator ``"equilibrium"`` the draws are: K by importance with the clean configuration among them, one of
    which starts Hamiltonian trajectories on p(x | x_t). If x_0 is in equilibrium, all of them are, and the last one
    replaces x_0: a diffusive Gibbs step. With ``"monte-carlo"`` they are K around x_t alone, and x_0 stays.

    The difference of the two identities has mean zero given x_t, so the least variance has

    .. math:: c^* = -\langle \mathrm{DSI} \cdot (\mathrm{TSI} - \mathrm{DSI}) \rangle / \langle |\mathrm{TSI} -
              \mathrm{DSI}|^2 \rangle,

    measured level by level on the buffer. [derived here: a control variate]

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        settings: :class:`~openmm_diffsampler.samplers.IDEMSettings`.
        step_size: of the Hamiltonian steps, in the units of x.

    Attributes:
        mixing: c at times even from 0 to 1.
        importance: how many trajectories the K draws count as, likewise: their mean effective number.
    """

    def __init__(self, target, settings, step_size):
        self.target, self.settings, self.step_size = target, settings, step_size
        self.mixing, self.importance = torch.ones(2, 2, dtype=torch.float64)
        #: 1, or 0 on angles, of which no Gaussian describes anything.
        self.is_real = 1.0 if target.periods is None else target.periods.isinf().to(target.dtype)
        self.last_size = float("nan")

    def __call__(self, x_0, x_t, sigma, t, generator):
        """Estimates (n, *event_shape), new configurations or None, metrics."""
        c, importance = interpolate(torch.stack([self.mixing, self.importance]), t).to(x_t.dtype)
        by_target, by_noise, x_new, metrics = self._draws(x_0, x_t, sigma, importance, generator)
        c = self.target.per_row(c)
        estimate = by_noise + c * (by_target - by_noise)
        if self.settings.score_clip is not None:
            norm = estimate.norm(dim=-1, keepdim=True) * self.settings.unit
            estimate = estimate * (self.settings.score_clip / norm.clamp(min=1e-12)).clamp(max=1)
        self.last_size = float(estimate.square().mean().sqrt())
        return estimate, x_new, metrics

    def _draws(self, x_0, x_t, sigma, importance, generator):
        """Means of the target and the denoising identity over the draws, the last draw or None, metrics.

        How much the K draws count must not depend on them, or their mean would be biased.
        """
        settings, one = self.settings, torch.ones_like(sigma)
        if settings.estimator == "monte-carlo":
            draws = posterior_draws(self.target, x_t, one, sigma, settings.n_draws, generator)
            return draws.target, draws.denoising, None, {"effective draws": float(draws.effective_size.mean())}
        draws = posterior_draws(self.target, x_t, one, sigma, settings.n_draws, generator, x_0=x_0)
        metrics = {"effective draws": float(draws.effective_size.mean())}
        if not settings.n_trajectories:
            return draws.target, draws.denoising, draws.chosen, metrics
        sigma, importance = self.target.per_row(sigma), self.target.per_row(importance)
        by_target, by_noise = importance * draws.target, importance * draws.denoising
        state = evaluate(self.target, draws.chosen)
        for _ in range(settings.n_trajectories):
            state, probability = hamiltonian_step(
                self.target, state, self.step_size, settings.n_leapfrog, generator, tether=Tether(x_t, sigma)
            )
            by_target += state.score
            by_noise += (state.x - x_t) / sigma**2
        n = importance + settings.n_trajectories
        metrics |= {"HMC acceptance": float(probability.mean()), "buffer energy": float(state.u.mean())}
        return by_target / n, by_noise / n, state.x, metrics

    def measure(self, x_0, sigmas, width, generator):
        """Set the mixing weights from x_0 (n, *event_shape) noised at each of `sigmas`, even in t.

        Returns the root mean square, a degree of freedom, of what a Gaussian of `width` leaves of the estimates.
        """
        mixing, importance, sizes = [], [], []
        for sigma in sigmas:
            x_t = x_0 + sigma * self.target.normal(len(x_0), generator)
            every, one = sigma.expand(len(x_0)), torch.ones_like(x_0.flatten(1)[:, 0])
            importance.append(1.0)
            if self.settings.n_draws > 1:
                few = slice(0, _N_EFFECTIVE)
                draws = posterior_draws(
                    self.target, x_t[few], one[few], every[few], self.settings.n_draws, generator, x_0=x_0[few]
                )
                importance[-1] = float(draws.effective_size.mean())
            by_target, by_noise, _, _ = self._draws(x_0, x_t, every, importance[-1] * one, generator)
            difference = by_target - by_noise
            rest, c = by_noise + self.is_real * x_t / (width**2 + sigma**2), 1.0
            if self.settings.mixing == "optimal":  # what depends on x_t alone changes no mean, only the error of c
                c = -(rest * difference).sum() / difference.square().sum().clamp(min=1e-30)
                c = float(c.clamp(0, 1))
            rest = rest + c * difference
            sizes.append(float((rest.square().sum() / len(x_0) / self.target.n_degrees_of_freedom).sqrt()))
            mixing.append(c)
        self.mixing = torch.tensor(mixing, dtype=torch.float64)
        self.importance = torch.tensor(importance, dtype=torch.float64)
        return torch.tensor(sizes, dtype=torch.float64).clamp(min=1e-12)

    def state_dict(self):
        return {"step_size": self.step_size, "mixing": self.mixing, "importance": self.importance}

    def load_state_dict(self, state):
        self.step_size, self.mixing, self.importance = state["step_size"], state["mixing"], state["importance"]
