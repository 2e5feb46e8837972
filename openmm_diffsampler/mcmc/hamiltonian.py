"""One Hamiltonian Monte Carlo step for a batch of chains, on the target or on a denoising posterior."""

from dataclasses import dataclass

import torch

from .metropolis import metropolis
from .state import evaluate

__all__ = ["Tether", "hamiltonian_step"]

#: Each chain's step size is drawn within this fraction of the nominal one, so that no orbit closes on itself.
_JITTER = 0.2


@dataclass(frozen=True)
class Tether:
    """The harmonic part |x − x̃|²/2s² of the denoising posterior p(x | x̃) ∝ p(x) N(x̃; x, s²)."""

    noised: torch.Tensor
    scale: float

    def energy(self, x):
        return (x - self.noised).flatten(1).square().sum(1) / (2 * self.scale**2)

    def score(self, x):
        return (self.noised - x) / self.scale**2


def hamiltonian_step(target, state, step_size, n_leapfrog, generator, tether=None):
    r"""Leapfrog of unit mass through u(x) (+ the tether), with momenta drawn afresh, accepted with min(1, e^{−ΔH}).

    With one leapfrog step this is the Metropolis-adjusted Langevin algorithm (MALA) of time step ½h².

    Arguments:
        target: what is sampled.
        state: where the chains are.
        step_size: h, in the units of x (nm for molecules).
        n_leapfrog: steps of a trajectory, one evaluation each.
        generator: torch Generator.
        tether: of the denoising posterior, or None for the target itself.

    Returns:
        The new :class:`ChainState` and each chain's acceptance probability (n_chains,).
    """

    def total_energy(s):
        return s.u if tether is None else s.u + tether.energy(s.x)

    def total_score(s):
        return s.score if tether is None else s.score + tether.score(s.x)

    n = len(state)
    velocity = target.normal(n, generator)
    spread = torch.rand(n, generator=generator, dtype=velocity.dtype, device=velocity.device) * 2 - 1
    h = (step_size * (1 + _JITTER * spread)).reshape(-1, *(1 for _ in target.event_shape))
    before = total_energy(state) + velocity.flatten(1).square().sum(1) / 2
    moved = state
    velocity = velocity + 0.5 * h * total_score(moved)
    for k in range(n_leapfrog):
        moved = evaluate(target, moved.x + h * velocity)
        velocity = velocity + (h if k < n_leapfrog - 1 else 0.5 * h) * total_score(moved)
    after = total_energy(moved) + velocity.flatten(1).square().sum(1) / 2
    accepted, probability = metropolis(before - after, generator)
    return state.where(accepted, moved), probability
