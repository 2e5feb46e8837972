"""How far each internal coordinate of a molecule wanders while the others stand still."""

import torch

from .kernels import HamiltonianKernel
from .state import evaluate

__all__ = ["measure_widths"]

#: Chains of the short run, trajectories of a round (of which the last are looked at), leapfrog steps of a trajectory.
_N_CHAINS, _N_TRAJECTORIES, _N_SEEN, _N_LEAPFROG = 16, 30, 10, 6
#: Rounds; each starts with the widths of the one before.
_N_ROUNDS = 2
#: A width changes by at most this factor in a round.
_LARGEST_CHANGE = 8.0


def measure_widths(target, positions, seed=0):
    r"""Give an :class:`~openmm_diffsampler.coordinates.InternalTarget` the thermal widths

    .. math:: w_k = \langle (\partial u/\partial z_k)^2 \rangle^{-1/2}
        = \langle \partial^2 u/\partial z_k^2 \rangle^{-1/2}

    of a short Hamiltonian Monte Carlo run near the start, about 6,000 evaluations; equality holds at equilibrium, by
    parts. For a Gaussian it is the width with the other coordinates held.

    Arguments:
        target: the InternalTarget, whose widths are replaced.
        positions: (n_atoms, 3) or (n, n_atoms, 3) tensor, nm, of finite energy.
        seed: of the run.
    """
    generator = torch.Generator(target.device).manual_seed(seed)
    z = target.from_cartesian(positions.reshape(-1, *target.cartesian.event_shape)) * target.widths
    z = z[torch.arange(_N_CHAINS) % len(z)]
    for _ in range(_N_ROUNDS):
        state, kernel, squares = evaluate(target, z / target.widths), HamiltonianKernel(0.1, _N_LEAPFROG), []
        for k in range(_N_TRAJECTORIES):
            state = kernel(target, state, generator, adapt=True)
            if k >= _N_TRAJECTORIES - _N_SEEN:
                squares.append(state.score.square().mean(0))
        z = state.x * target.widths
        change = torch.stack(squares).mean(0) ** -0.5
        target.set_widths(target.widths * change.clamp(1 / _LARGEST_CHANGE, _LARGEST_CHANGE))
