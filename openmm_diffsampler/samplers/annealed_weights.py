"""Weights made more even: samples of a density led to the target by annealed importance sampling."""

from typing import NamedTuple

import torch

from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import ChainState
from openmm_diffsampler.targets import Target

__all__ = ["Bridge", "BridgeEnds", "annealed", "bridge_ends"]


class BridgeEnds(NamedTuple):
    """What both ends of a bridge say of configurations y: of the target u and score, of q log q and its gradient."""

    y: torch.Tensor
    u: torch.Tensor
    score: torch.Tensor
    log_q: torch.Tensor
    gradient: torch.Tensor

    def where(self, moved, others):
        """`others` in the rows where `moved` (n,) is true."""
        pairs = zip(self, others, strict=True)
        return BridgeEnds(*(torch.where(moved.reshape(-1, *(1 for _ in a.shape[1:])), b, a) for a, b in pairs))


def bridge_ends(target, log_density, y):
    """:class:`BridgeEnds` of y, by one evaluation."""
    u, score = target.reduced_potential_and_score(y)
    with torch.enable_grad():
        at = y.detach().requires_grad_()
        log_q = log_density(at)
        (gradient,) = torch.autograd.grad(log_q.sum(), at)
    return BridgeEnds(y, u, score, log_q.detach(), gradient)


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
        self._latest = None  # ends of the last evaluation

    def _evaluate(self, y):
        self._latest = bridge_ends(self.target, self.log_density, y)
        return self._between(self._latest)

    def _between(self, ends):
        u = self.beta * ends.u - (1 - self.beta) * ends.log_q
        return u, self.beta * ends.score + (1 - self.beta) * ends.gradient

    def move(self, ends, step_size, n_leapfrog, generator):
        """A Hamiltonian step from `ends`, which are not evaluated again; returns the ends of where it arrives."""
        self._latest = ends
        u, score = self._between(ends)
        valid = u.isfinite() & score.flatten(1).isfinite().all(1)
        u, score = torch.where(valid, u, torch.inf), torch.where(self.per_row(valid), score, 0.0)
        state, _ = hamiltonian_step(self, ChainState(ends.y, u, score), step_size, n_leapfrog, generator)
        # What was evaluated last are the proposals, and a chain is either there or where it was.
        moved = (state.x.to(self._latest.y) == self._latest.y).flatten(1).all(1)
        return ends.where(moved, self._latest)


def annealed(target, log_density, y, log_q, n_levels, n_leapfrog, step_size, generator):
    r"""Move y ~ q towards the target, and the log-weights (n,) that belong to where they arrive.

    .. math:: \log w = \sum_{k=1}^{K} (\beta_k - \beta_{k-1}) \left(-u(y_{k-1}) - \log q(y_{k-1})\right),
        \qquad \beta_k = k/K,

    where y_k is y_{k−1} after a Hamiltonian step that leaves π_{β_k} invariant. The weights are exact, E[w] = Z, for
    any number of levels; the more there are, the more even they are. One level leaves y as it is: w = e^{−u}/q.
    They cost 1 + (K − 1)·n_leapfrog evaluations of each sample.

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

    def share(u, log_q):  # of a level in the log-weights
        return torch.where(u < torch.inf, (-u - log_q) / n_levels, -torch.inf)

    if n_levels == 1:
        u = target.reduced_potential(y)
        return y, share(u, log_q), u
    ends = bridge_ends(target, log_density, y)
    log_weights = share(ends.u, log_q)
    for k in range(1, n_levels):
        ends = Bridge(target, log_density, k / n_levels).move(ends, step_size, n_leapfrog, generator)
        log_weights = log_weights + share(ends.u, ends.log_q.to(log_q))
    return ends.y, log_weights, ends.u
