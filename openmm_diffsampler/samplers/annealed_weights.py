"""Weights made more even: samples of a density led to the target by annealed importance sampling."""

import torch

from openmm_diffsampler.mcmc.adaptation import StepSize
from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.targets import Target

__all__ = ["Bridge", "annealed", "bridge_step_size"]

#: Trajectories that the step size is found with, and their acceptance.
_N_TRIALS, _ACCEPTANCE = 100, 0.8


class Bridge(Target):
    r"""π_β(y) ∝ q(y)^{1−β} e^{−βu(y)} between a density q, at β = 0, and a target.

    Arguments:
        target: with real coordinates (D,).
        log_density: differentiable function y (n, D) → log q (n,).
        beta: between 0 and 1.

    Example:
        >>> from openmm_diffsampler import ManyWell
        >>> bridge = Bridge(ManyWell(1), lambda y: -0.5 * y.square().sum(1), beta=0.5)
        >>> bridge.reduced_potential(torch.zeros(1, 2)).tolist()
        [0.0]
    """

    def __init__(self, target, log_density, beta):
        super().__init__(target.event_shape, name=f"bridge to {target.name}", dtype=target.dtype, device=target.device)
        self.target, self.log_density, self.beta = target, log_density, beta

    def _evaluate(self, y):
        u, score = self.target.reduced_potential_and_score(y)
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            log_q = self.log_density(y)
            (of_density,) = torch.autograd.grad(log_q.sum(), y)
        u = self.beta * u - (1 - self.beta) * log_q.detach()
        return u, self.beta * score + (1 - self.beta) * of_density


def annealed(target, log_density, y, log_q, n_levels, n_leapfrog, step_size, generator):
    r"""Move y ~ q towards the target, and the log-weights (n,) that belong to where they arrive.

    .. math:: \log w = \sum_{k=1}^{K} (\beta_k - \beta_{k-1}) \left(-u(y_{k-1}) - \log q(y_{k-1})\right),
        \qquad \beta_k = k/K,

    where y_k is y_{k−1} after a Hamiltonian step that leaves π_{β_k} invariant. The weights are exact, E[w] = Z, for
    any number of levels; the more there are, the more even they are. One level leaves y as it is: w = e^{−u}/q.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target` with real coordinates.
        log_density: differentiable function y (n, D) → log q (n,).
        y: (n, D) samples of q.
        log_q: (n,) their log-densities.
        n_levels: K.
        n_leapfrog, step_size: of the Hamiltonian steps, in the units of y.
        generator: torch Generator.

    Raises:
        ValueError: no levels.

    Returns:
        y (n, D), log-weights (n,), reduced potentials (n,).

    References:
        Neal, Annealed importance sampling, Statistics and Computing 11 (2001).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target, generator = GaussianMixture(torch.zeros(1, 2), scales=0.8), torch.Generator().manual_seed(0)
        >>> zero, one = torch.zeros(2).double(), torch.eye(2).double()
        >>> log_density = torch.distributions.MultivariateNormal(zero, one).log_prob
        >>> y = target.normal(1000, generator)
        >>> _, even, _ = annealed(target, log_density, y, log_density(y), 8, 3, 0.5, generator)
        >>> _, uneven, _ = annealed(target, log_density, y, log_density(y), 1, 3, 0.5, generator)
        >>> bool(even.std() < 0.6 * uneven.std())
        True
    """
    if n_levels < 1:
        raise ValueError(f"n_levels is {n_levels}; it must be at least 1")
    u = target.reduced_potential(y)
    log_weights = torch.zeros_like(log_q)
    for k in range(1, n_levels + 1):
        log_weights = log_weights + torch.where(u < torch.inf, (-u - log_q) / n_levels, -torch.inf)
        if k == n_levels:
            return y, log_weights, u
        bridge = Bridge(target, log_density, k / n_levels)
        state, _ = hamiltonian_step(bridge, evaluate(bridge, y), step_size, n_leapfrog, generator)
        y = state.x
        with torch.no_grad():
            log_q = log_density(y).to(log_q)
        u = target.reduced_potential(y)


def bridge_step_size(target, log_density, y, initial, n_leapfrog, generator):
    """The step size that suits Hamiltonian steps half way between q and the target, from samples y of q."""
    bridge, step = Bridge(target, log_density, 0.5), StepSize(initial, _ACCEPTANCE)
    state = evaluate(bridge, y)
    for _ in range(_N_TRIALS):
        state, probability = hamiltonian_step(bridge, state, step.value, n_leapfrog, generator)
        step.update(float(probability.mean()))
    step.freeze()
    return step.value
