"""Jumps between the basins of stiff fragments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .basin_shares import BasinShares
from .basins import FragmentBasins
from .kernels import Kernel
from .metropolis import metropolis
from .state import ChainState, evaluate

if TYPE_CHECKING:
    from openmm_diffsampler.coordinates import InternalTarget

__all__ = ["BasinJumpKernel"]


class BasinJumpKernel(Kernel):
    r"""Takes a fragment from its basin k to another one, l, by the affine map T of :class:`FragmentBasins`.

    l is drawn in proportion to the weights w of the basins, and accepted with

    .. math:: \min\Big(1, e^{-\beta(u' - u)}\,|\det T_{kl}|\, \frac{w_k\,(1 - w_k)}{w_l\,(1 - w_l)}\Big).

    A jump that does not land in basin l, or so far out that the way back would differ by a turn, is rejected. Whose
    turn it is is drawn at random, the same fragment for all chains. How often, and w, are learned in warm-up
    (:class:`~openmm_diffsampler.mcmc.basin_shares.BasinShares`).

    Arguments:
        basins: list of :class:`~openmm_diffsampler.mcmc.basins.FragmentBasins`, one a fragment.
        n_others: evaluations of the other moves of a sweep.
    """

    def __init__(self, basins: list[FragmentBasins], n_others: int = 6) -> None:
        super().__init__("basins of rings and nitrogens")
        self.basins, self.n_others = basins, n_others
        self.shares = BasinShares(basins, n_others)
        self.adaptive = [self.shares]

    def move(
        self,
        target: InternalTarget,
        state: ChainState,
        generator: torch.Generator,
        adapt: bool,
        inverse_temperature: float = 1.0,
    ) -> ChainState:
        if not self.basins:
            return state
        last, after = None, None
        for _ in range(self.shares.trials.n_trials):
            which = self.shares.trials.draw(generator)
            known, weights = self.basins[which], self.shares.weights[which].to(state.x)
            # Labels take longer than energies: they are known where the jump before was the same fragment's.
            before = after if which == last else known.label(target.to_cartesian(state.x))
            chances = weights.repeat(len(state), 1)
            chances[torch.arange(len(state)), before] = 0
            wanted = torch.multinomial(chances, 1, generator=generator)[:, 0]
            y, log_volume, possible = known.mapped(target, state.x, before, wanted)
            guess = evaluate(target, y)
            log_weight = (weights * (1 - weights)).log()
            log_ratio = log_volume + log_weight[before] - log_weight[wanted]
            log_ratio += inverse_temperature * (state.u - guess.u)
            accepted, _ = metropolis(torch.where(possible, log_ratio, -torch.inf), generator)
            rows = accepted.nonzero()[:, 0]
            accepted[rows] = known.label(target.to_cartesian(y[rows])) == wanted[rows]
            last, after = which, torch.where(accepted, wanted, before)
            self.count("guess", accepted, str(which))
            self._count_entries(which, wanted, accepted)
            if adapt:
                self.shares.update(which, before, wanted, accepted)
            state = state.where(accepted, guess)
        if adapt:
            x = target.to_cartesian(state.x)
            self.shares.settle([known.label(x) for known in self.basins])
        return state

    def _count_entries(self, which: int, wanted: torch.Tensor, accepted: torch.Tensor) -> None:
        n_basins = self.basins[which].n_basins
        entered, tried = (torch.bincount(rows, minlength=n_basins).tolist() for rows in (wanted[accepted], wanted))
        for k, n in enumerate(tried):
            if n:
                total = self.parts.setdefault(f"{which} {k}", [0.0, 0])
                total[0] += entered[k]
                total[1] += n

    @property
    def entries(self) -> dict[int, list[tuple[int, int]]]:
        """Place of a fragment in `basins` → of each of its basins, how often a jump got into it, of how many tried.

        Counted since warm-up.
        """
        return {
            which: [(int(n), tried) for n, tried in (self.parts.get(f"{which} {k}", (0, 0)) for k in range(n_basins))]
            for which, n_basins in enumerate(known.n_basins for known in self.basins)
        }
