"""From samples at a high temperature to samples of the target, with weights that stay exact."""

from typing import NamedTuple

import torch

from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step

__all__ = ["Cooling"]


class Cooling(NamedTuple):
    r"""Annealed importance sampling from e^{−β_0 u} to e^{−u} in K levels of equal ratios:

    .. math:: \log w = -\sum_{k=1}^{K} (\beta_k - \beta_{k-1})\,u(x_{k-1}), \qquad \beta_k = \beta_0^{1 - k/K},

    where x_k is x_{k−1} after a Hamiltonian trajectory that leaves e^{−β_k u} invariant. A weight with respect to
    e^{−β_0 u}, times w, is one with respect to e^{−u}: exact for any K and any step sizes. At β_0 = 1 trajectories
    leave weights as they are; with K = 0 samples stay where they are.

    Arguments:
        beta: β_0, at most 1.
        n_levels: K; each costs `n_leapfrog` evaluations of a sample.
        n_leapfrog: steps of a trajectory.
        step_sizes: at β_0 and at 1, in the units of x; a power of β between them.

    References:
        Neal, Annealed importance sampling, Statistics and Computing 11 (2001).

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> from openmm_diffsampler.mcmc.state import evaluate
        >>> target, generator = GaussianMixture([[0.0, 0.0]], scales=1.0), torch.Generator().manual_seed(0)
        >>> hot = evaluate(target, 2 * target.normal(10_000, generator))  # at β = 1/4
        >>> state, log_weights = Cooling(0.25, 20, 3, (1.0, 0.5)).run(target, hot, generator)
        >>> round(float(state.x.std()), 1), round(float(log_weights.exp().mean()), 3)  # Z over that at 1/4
        (1.0, 0.063)
    """

    beta: float
    n_levels: int
    n_leapfrog: int
    step_sizes: tuple

    def run(self, target, state, generator):
        """:class:`~openmm_diffsampler.mcmc.state.ChainState` of n samples → that at the end, and log w (n,)."""
        log_weights, beta = torch.zeros(len(state), dtype=torch.float64, device=state.u.device), self.beta
        for k in range(1, self.n_levels + 1):
            colder = self.beta ** (1 - k / self.n_levels)
            log_weights, beta = log_weights - _work(state.u, colder - beta), colder
            options = {"inverse_temperature": beta}
            step_size = self._step_size(k / self.n_levels)
            state, _ = hamiltonian_step(target, state, step_size, self.n_leapfrog, generator, **options)
        return state, log_weights - _work(state.u, 1 - beta)

    def _step_size(self, progress):
        hot, cold = self.step_sizes
        return hot ** (1 - progress) * cold**progress


def _work(u, rise):
    """(Δβ) u in double precision, and nothing where β stays, whatever u."""
    return rise * u.double() if rise else torch.zeros_like(u, dtype=torch.float64)
