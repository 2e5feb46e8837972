"""Equilibrium configurations out of nothing: a population of chains led from a wide Gaussian to the target."""

import math
from typing import NamedTuple

import torch

from .adaptation import StepSize
from .hamiltonian import Tether, hamiltonian_step
from .state import ChainState, evaluate

__all__ = ["AnnealedChains", "annealed_chains"]

#: Of the Hamiltonian steps on the way.
_ACCEPTANCE = 0.8
#: Updates that the step size remembers, so that it follows the changing density.
_MEMORY = 20


class AnnealedChains(NamedTuple):
    """The chains at the target, the estimate of log Z, the step size that their Hamiltonian steps ended with."""

    state: ChainState
    log_Z: float
    step_size: float
    n_levels: int


def annealed_chains(
    target, n, scale, generator, *, survival=0.9, n_steps=4, n_leapfrog=10, n_final=200, max_levels=2000
):
    r"""Sequential Monte Carlo from N(0, S²) to the target, along the densities

    .. math:: \pi_\beta(x) \propto e^{-\beta u(x)}\, N(x; 0, S^2)^{1 - \beta}.

    Each level raises β until the effective sample size of the importance weights falls to `survival` of the chains,
    resamples them, and moves them by Hamiltonian Monte Carlo.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        n: chains.
        scale: S, in the units of x, wider than the target.
        generator: torch Generator.
        survival: between 0 and 1; nearer to 1 means more levels.
        n_steps: trajectories of `n_leapfrog` steps a level.
        n_final: trajectories at the target.
        max_levels: levels at most.

    Returns:
        :class:`AnnealedChains`. log Z lies too low where chains could not follow, as every such estimate.

    Raises:
        RuntimeError: fewer than two chains have a finite energy, or `max_levels` do not lead to the target.

    References:
        Del Moral, Doucet & Jasra, Sequential Monte Carlo samplers, J. R. Stat. Soc. B 68 (2006).

    Example:
        >>> from openmm_diffsampler import gmm40
        >>> chains = annealed_chains(gmm40(), 2000, 50.0, torch.Generator().manual_seed(0), n_final=0)
        >>> abs(chains.log_Z) < 0.2
        True
    """
    state = evaluate(target, scale * target.normal(n, generator))
    step, beta, n_levels = StepSize(0.1 * scale, _ACCEPTANCE), 0.0, 0
    log_Z = target.n_degrees_of_freedom * (0.5 * math.log(2 * math.pi) + math.log(scale))
    while beta < 1:
        n_levels += 1
        if n_levels > max_levels:
            raise RuntimeError(
                f"{max_levels} levels led only to β = {beta:.2e}; give starting configurations, or a scale nearer to "
                f"the width of {target.name} than {scale}"
            )
        difference = torch.where(state.u < torch.inf, _rise(state, scale), -torch.inf)
        if difference.isfinite().sum() < 2:
            raise RuntimeError(f"fewer than two of {n} configurations from N(0, {scale}²) have a finite energy")
        gain = _largest_gain(difference, 1 - beta, survival * int(difference.isfinite().sum()))
        log_weights = gain * difference
        log_Z += float(log_weights.logsumexp(0)) - math.log(n)
        beta = 1.0 if gain >= 1 - beta else beta + gain
        state = _resampled(state, log_weights, generator)
        for _ in range(n_steps):
            state = _moved(target, state, step, n_leapfrog, generator, beta, scale)
    for _ in range(n_final):
        state = _moved(target, state, step, n_leapfrog, generator, 1.0, scale)
    step.freeze()
    return AnnealedChains(state, log_Z, step.value, n_levels)


def _rise(state, scale):
    """d log π_β/dβ, (n,)."""
    return state.x.flatten(1).square().sum(1) / (2 * scale**2) - state.u


def _largest_gain(difference, most, size):
    """How far β may rise until (Σw)²/Σw² of w = e^{gain · difference} falls to `size`, by bisection of its log."""

    def effective(gain):
        return float(1 / (gain * difference).softmax(0).square().sum())

    if effective(most) >= size:
        return most
    low, high = math.log(most) - 100.0, math.log(most)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective(math.exp(middle)) >= size else (low, middle)
    return math.exp(low)


def _resampled(state, log_weights, generator):
    """Systematic resampling; a chain of weight zero never survives."""
    cumulated = log_weights.softmax(0).cumsum(0)
    spot = torch.rand(1, generator=generator, dtype=cumulated.dtype, device=cumulated.device)
    at = (torch.arange(len(state), dtype=cumulated.dtype, device=cumulated.device) + spot) / len(state) * cumulated[-1]
    rows = torch.searchsorted(cumulated, at.clamp(max=float(cumulated[-1])), right=False)
    return ChainState(state.x[rows], state.u[rows], state.score[rows])


def _moved(target, state, step, n_leapfrog, generator, beta, scale):
    tether = None
    if beta < 1:
        tether = Tether(torch.zeros_like(state.x), scale / math.sqrt(1 - beta))
    options = {"tether": tether, "inverse_temperature": beta}
    state, probability = hamiltonian_step(target, state, step.value, n_leapfrog, generator, **options)
    step.update(float(probability.mean()))
    step.n_updates = min(step.n_updates, _MEMORY)
    return state
