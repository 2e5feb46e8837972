"""Jumps between the puckers of saturated rings."""

import torch

from .kernels import Kernel
from .metropolis import metropolis
from .ring_puckers import centred, turns
from .state import evaluate

__all__ = ["RingJumpKernel"]


class RingJumpKernel(Kernel):
    r"""Takes a ring from its pucker s to the other one by the affine map of :class:`RingPuckers`, accepted with

    .. math:: \min\big(1, e^{-\beta(u' - u)}\,|\det T_s|\big).

    A jump that does not land in the other pucker, or so far out that the way back would differ by a turn, is rejected;
    so are those from configurations between the puckers.

    Arguments:
        puckers: list of :class:`~openmm_diffsampler.mcmc.ring_puckers.RingPuckers`, one a ring.
        n_trials: jumps a call, each of a ring drawn at random, the same for all chains.
    """

    def __init__(self, puckers, n_trials=1):
        super().__init__("ring puckers")
        self.puckers, self.n_trials = puckers, n_trials

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
        for _ in range(self.n_trials):
            which = int(torch.randint(len(self.puckers), (1,), generator=generator, device=state.x.device))
            known = self.puckers[which]
            before = known.pucker(target.to_cartesian(state.x))
            y, log_volume, possible = self._mapped(target, known, state.x, before)
            guess = evaluate(target, y)
            after = known.pucker(target.to_cartesian(y))
            log_ratio = inverse_temperature * (state.u - guess.u) + log_volume
            possible &= (before != 0) & (after == -before)
            accepted, _ = metropolis(torch.where(possible, log_ratio, -torch.inf), generator)
            self.count("guess", accepted, str(which))
            state = state.where(accepted, guess)
        return state

    @staticmethod
    def _mapped(target, known, x, before):
        """Mapped coordinates, log|det T|, and whether the way back is the same."""
        y, log_volume = x.clone(), torch.zeros_like(x[:, 0])
        possible = torch.ones_like(before, dtype=torch.bool)
        columns, turn = torch.tensor(known.columns, device=x.device), turns(target, known.columns)
        for s in (1, -1):
            rows = (before == s).nonzero()[:, 0]
            arm = centred(x[rows][:, columns] - known.means[s].to(x), turn) @ known.maps[s].to(x).T
            y[rows[:, None], columns] = known.means[-s].to(x) + arm
            log_volume[rows] = s * known.log_determinant
            possible[rows] = (arm.abs() < turn / 2).all(1)
        return y, log_volume, possible
