"""Parallel tempering: chains at several temperatures trade configurations, the hot ones cross barriers for the cold."""

from itertools import pairwise

import torch

from .kernels import HamiltonianKernel, Kernel
from .metropolis import metropolis
from .sampler import BatchedSampler
from .state import ChainState

__all__ = ["ParallelTempering"]

_SWAPS = ("non-reversible", "reversible")


class ParallelTempering(BatchedSampler):
    r"""Replica exchange of Hamiltonian Monte Carlo chains that sample :math:`e^{-\beta_r u(x)}`, for β from 1 down.

    A sweep makes `n_steps` trajectories at every rung r of the ladder and then offers neighbours (r, r+1) to trade
    configurations, accepted with :math:`\min(1, e^{(\beta_r - \beta_{r+1})(u_r - u_{r+1})})`. Draws are those of
    β = 1. A target without walls spreads ever wider as β falls, so that the ladder must end where it is still normal.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        inverse_temperatures: β of each rung, falling from 1.
        step_size: where the adaptation of each rung's step size starts, in the units of x, for β = 1; hotter rungs
            start at ``step_size/√β``. A list gives each rung its own.
        n_leapfrog: leapfrog steps of a trajectory, one evaluation each.
        n_steps: trajectories of a rung in a sweep.
        swaps: ``"non-reversible"``: even and odd pairs in turn, which carries configurations along the ladder;
            ``"reversible"``: even or odd pairs at random.

    Raises:
        ValueError: fewer than two rungs, β that do not fall from 1, as many step sizes as there are not rungs, unknown
            swaps.

    References:
        Swendsen & Wang, Phys. Rev. Lett. 57 (1986); Syed et al., Non-reversible parallel tempering, JRSS B 84 (2022).

    Example:
        >>> import torch
        >>> from openmm_diffsampler import GaussianMixture, ParallelTempering
        >>> target = GaussianMixture(torch.tensor([[-9.0], [9.0]]), scales=1.0, weights=[0.2, 0.8])
        >>> sampler = ParallelTempering(target, [1.0, 0.25, 0.06], step_size=1.0, n_leapfrog=4)
        >>> wt = sampler.sample(target.means[0], 500, n_chains=50, seed=1)
        >>> share, standard_error = wt.expectation(lambda x: (x[:, 0] > 0).double())
        >>> abs(share - 0.8) < 3 * standard_error
        True
    """

    def __init__(self, target, inverse_temperatures, *, step_size, n_leapfrog=10, n_steps=1, swaps="non-reversible"):
        betas = [float(beta) for beta in inverse_temperatures]
        if len(betas) < 2 or betas[0] != 1 or not all(a > b > 0 for a, b in pairwise(betas)):
            raise ValueError(f"inverse_temperatures are {betas}; give at least two that fall from 1 and stay positive")
        if swaps not in _SWAPS:
            raise ValueError(f"swaps is {swaps!r}; supported are {', '.join(map(repr, _SWAPS))}")
        steps = step_size if hasattr(step_size, "__len__") else [step_size * beta**-0.5 for beta in betas]
        if len(steps) != len(betas):
            raise ValueError(f"there are {len(steps)} step sizes and {len(betas)} rungs")
        rungs = [RungKernel(k, betas, step, n_leapfrog, n_steps) for k, step in enumerate(steps)]
        super().__init__(target, [*rungs, SwapKernel(betas, swaps == "reversible")])
        self.inverse_temperatures = betas

    def _spread(self, state):
        """Every rung starts where the chains do; rows are rung after rung."""
        n = len(self.inverse_temperatures)
        return ChainState(*(t.repeat(n, *(1 for _ in t.shape[1:])) for t in (state.x, state.u, state.score)))

    def _kept(self, state):
        return state.rows(_rung(0, len(self.inverse_temperatures), state))


def _rung(k, n_rungs, state):
    """Rows of rung `k`."""
    n = len(state) // n_rungs
    return slice(k * n, (k + 1) * n)


class RungKernel(HamiltonianKernel):
    """Trajectories of the chains at one rung, the others standing by."""

    def __init__(self, k, betas, step_size, n_leapfrog, n_steps):
        super().__init__(step_size, n_leapfrog, n_steps, name=f"β = {betas[k]:.3g}")
        self.k, self.n_rungs, self.beta = k, len(betas), betas[k]

    def move(self, target, state, generator, adapt):
        rows = _rung(self.k, self.n_rungs, state)
        moved = super().move(target, state.rows(rows), generator, adapt, inverse_temperature=self.beta)
        return state.with_rows(rows, moved)


class SwapKernel(Kernel):
    """Neighbouring rungs trade configurations; no evaluations."""

    def __init__(self, betas, reversible):
        super().__init__("swaps")
        self.betas, self.reversible = tuple(betas), reversible

    def reset(self):
        super().reset()
        self.is_odd = False

    def move(self, target, state, generator, adapt):
        if self.reversible:
            self.is_odd = bool(torch.rand(1, generator=generator, device=state.u.device) < 0.5)
        n_rungs = len(self.betas)
        for k in range(int(self.is_odd), n_rungs - 1, 2):
            cold, hot = (_rung(r, n_rungs, state) for r in (k, k + 1))
            mine, other = state.rows(cold), state.rows(hot)
            accepted, _ = metropolis((self.betas[k] - self.betas[k + 1]) * (mine.u - other.u), generator)
            self.count(f"swap {self.betas[k]:.3g}–{self.betas[k + 1]:.3g}", accepted)
            state = state.with_rows(cold, mine.where(accepted, other)).with_rows(hot, other.where(accepted, mine))
        self.is_odd = not self.is_odd
        return state

    def state_dict(self):
        return super().state_dict() | {"is_odd": self.is_odd}

    def load_state_dict(self, state):
        super().load_state_dict(state)
        self.is_odd = state["is_odd"]
