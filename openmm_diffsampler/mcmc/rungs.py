"""Replica exchange: kernels at several temperatures side by side, and trades between neighbours."""

from itertools import pairwise

import torch

from .kernels import Kernel
from .metropolis import metropolis

__all__ = ["SWAPS", "RungKernel", "SwapKernel", "geometric_ladder", "inverse_temperatures_of", "replica_kernels"]

SWAPS = ("non-reversible", "reversible")


def inverse_temperatures_of(values):
    """The ladder as a list of floats, at least two that fall from 1.

    Raises:
        ValueError: another ladder.
    """
    betas = [float(beta) for beta in values]
    if len(betas) < 2 or betas[0] != 1 or not all(a > b > 0 for a, b in pairwise(betas)):
        raise ValueError(f"inverse_temperatures are {betas}; give at least two that fall from 1 and stay positive")
    return betas


def geometric_ladder(hottest, n_rungs):
    """β of `n_rungs` temperatures that rise in equal ratios from 1 to `hottest`.

    Example:
        >>> geometric_ladder(4.0, 3)
        [1.0, 0.5, 0.25]

    Raises:
        ValueError: `hottest` not above 1, or fewer than two rungs.
    """
    if not hottest > 1 or n_rungs < 2:
        raise ValueError(
            f"a ladder of {n_rungs} rungs up to {hottest:.3g} times the temperature leads nowhere; give at least two "
            "rungs, and a hottest temperature above that of the target"
        )
    return [hottest ** (-k / (n_rungs - 1)) for k in range(n_rungs)]


def replica_kernels(kernels, betas, swaps):
    """The kernels of one sweep of replica exchange: those of each rung, and the trades.

    Arguments:
        kernels: function of β that makes the kernels of a rung, which adapt each for itself.
        betas: of each rung.
        swaps: one of ``SWAPS``.

    Raises:
        ValueError: unknown swaps.
    """
    if swaps not in SWAPS:
        raise ValueError(f"swaps is {swaps!r}; supported are {', '.join(map(repr, SWAPS))}")
    moves = [RungKernel(kernel, k, betas) for k, beta in enumerate(betas) for kernel in kernels(beta)]
    return [*moves, SwapKernel(betas, swaps == "reversible")]


def _rung(k, n_rungs, state):
    """Rows of rung `k`: chains are rung after rung."""
    n = len(state) // n_rungs
    return slice(k * n, (k + 1) * n)


class RungKernel(Kernel):
    """A kernel for the chains at one rung, the others standing by."""

    def __init__(self, kernel, k, betas):
        self.kernel, self.k, self.n_rungs, self.beta = kernel, k, len(betas), betas[k]
        super().__init__(f"β = {self.beta:.3g}" + f", {kernel.name}" * bool(kernel.name))
        self.step_size, self.adaptive = kernel.step_size, kernel.adaptive

    def reset(self):
        self.kernel.reset()

    @property
    def counts(self):
        return self.kernel.counts

    @property
    def parts(self):
        return self.kernel.parts

    @property
    def evaluations(self):
        return self.kernel.evaluations

    def __call__(self, target, state, generator, adapt=False):
        rows = _rung(self.k, self.n_rungs, state)
        moved = self.kernel(target, state.rows(rows), generator, adapt, inverse_temperature=self.beta)
        return state.with_rows(rows, moved)

    move = __call__

    def statistics(self):
        return self.kernel.statistics() | {"level": self.name}

    def state_dict(self):
        return self.kernel.state_dict()

    def load_state_dict(self, state):
        self.kernel.load_state_dict(state)

    def settings(self):
        return self.kernel.settings() | super().settings()


class SwapKernel(Kernel):
    """Neighbouring rungs trade configurations; no evaluations."""

    _changing = (*Kernel._changing, "is_odd")

    def __init__(self, betas, reversible):
        super().__init__("swaps")
        self.betas, self.reversible = tuple(betas), reversible

    def reset(self):
        super().reset()
        self.is_odd = False

    def move(self, target, state, generator, adapt, inverse_temperature=1.0):
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
