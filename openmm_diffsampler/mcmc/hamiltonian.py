"""One Hamiltonian Monte Carlo step for a batch of chains, on the target or on a denoising posterior."""

from dataclasses import dataclass

import torch

from .metropolis import metropolis
from .state import evaluate
from .sweep import STEP_ANGLE, STEP_SIZE_JITTER

__all__ = ["Tether", "hamiltonian_step"]


@dataclass(frozen=True)
class Tether:
    """The harmonic part |x − x̃|²/2s² of the denoising posterior p(x | x̃) ∝ p(x) N(x̃; x, s²).

    Arguments:
        noised: x̃ (n_chains, *event_shape).
        scale: s, one number, a tensor that broadcasts to the event shape, zero where there is no tether, or one
            (n_chains, 1, …) with a scale for each chain.
    """

    noised: torch.Tensor
    scale: float | torch.Tensor

    @property
    def frequency(self):
        """1/s of unit masses, zero where there is no tether."""
        return 1 / self.scale if isinstance(self.scale, float) else torch.where(self.scale > 0, 1 / self.scale, 0.0)

    def energy(self, x):
        """|x − x̃|²/2s²: (n_chains, *event_shape) → (n_chains,)."""
        return ((x - self.noised) * self.frequency).flatten(1).square().sum(1) / 2

    def longest(self, h):
        """The step h, cut to STEP_ANGLE radians of each coordinate's motion."""
        if isinstance(self.scale, float):
            return h.clamp(max=STEP_ANGLE * self.scale)
        return torch.where(self.scale > 0, torch.minimum(h, STEP_ANGLE * self.scale), h)

    def move(self, x, velocity, h):
        """Positions and velocities after the time h of exact motion under the tether alone."""
        frequency, arm = self.frequency, x - self.noised
        cosine, sine = (h * frequency).cos(), (h * frequency).sin()
        drift = (
            self.scale * sine if isinstance(self.scale, float) else torch.where(self.scale > 0, self.scale * sine, h)
        )
        return self.noised + cosine * arm + drift * velocity, cosine * velocity - sine * frequency * arm


def hamiltonian_step(target, state, step_size, n_leapfrog, generator, tether=None, inverse_temperature=1.0):
    r"""A leapfrog trajectory of unit mass, with velocities drawn afresh, accepted with min(1, e^{−ΔH}).

    A leapfrog step of size h kicks the velocity by ½h times the score, moves freely (or exactly under the tether, which
    turns x − x̃ and v into each other by the angle h/s, cut to STEP_ANGLE) and kicks again. With one leapfrog step and
    no tether this is the Metropolis-adjusted Langevin algorithm (MALA) of time step ½h².

    Arguments:
        target: what is sampled.
        state: where the chains are.
        step_size: h, in the units of x (nm for molecules).
        n_leapfrog: steps of a trajectory, one evaluation each.
        generator: torch Generator.
        tether: of the denoising posterior, or None for the target itself.
        inverse_temperature: β, to sample e^{−βu} instead of e^{−u}.

    Returns:
        The new :class:`ChainState` and each chain's acceptance probability (n_chains,).
    """

    def hamiltonian(s, velocity):
        potential = inverse_temperature * s.u
        if tether is not None:
            potential = potential + tether.energy(s.x)
        return potential + velocity.flatten(1).square().sum(1) / 2

    n = len(state)
    velocity = normal(target, n, generator, 1.0 if tether is None else tether.scale)
    spread = torch.rand(n, generator=generator, dtype=velocity.dtype, device=velocity.device) * 2 - 1
    h = (step_size * (1 + STEP_SIZE_JITTER * spread)).reshape(-1, *(1 for _ in target.event_shape))
    if tether is not None:
        h = tether.longest(h)
    before = hamiltonian(state, velocity)
    moved = state
    velocity = velocity + 0.5 * h * inverse_temperature * moved.score
    for k in range(n_leapfrog):
        if tether is None:
            x = moved.x + h * velocity
        else:
            x, velocity = tether.move(moved.x, velocity, h)
        moved = evaluate(target, x)
        velocity = velocity + (h if k < n_leapfrog - 1 else 0.5 * h) * inverse_temperature * moved.score
    accepted, probability = metropolis(before - hamiltonian(moved, velocity), generator)
    return state.where(accepted, moved), probability


def normal(target, n, generator, scale):
    """Standard normal draws, in the subspace of the target unless `scale` differs from particle to particle.

    Noise of such a scale moves the centroid, which is then as free as any coordinate.
    """
    if isinstance(scale, float) or scale.ndim > len(target.event_shape):
        return target.normal(n, generator)
    options = {"generator": generator, "dtype": target.dtype, "device": target.device}
    return torch.randn(n, *target.event_shape, **options)
