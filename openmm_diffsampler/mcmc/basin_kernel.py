"""Jumps between the basins of stiff fragments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

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

    A jump that does not land in basin l, or so far out that the way back would differ by a turn, is rejected.

    Arguments:
        basins: list of :class:`~openmm_diffsampler.mcmc.basins.FragmentBasins`, one a fragment.
        n_jumps: jumps a call for each fragment; whose turn it is is drawn at random, the same for all chains.
    """

    def __init__(self, basins: list[FragmentBasins], n_jumps: int) -> None:
        super().__init__("basins of rings and nitrogens")
        self.basins, self.n_jumps = basins, n_jumps

    def move(
        self,
        target: InternalTarget,
        state: ChainState,
        generator: torch.Generator,
        adapt: bool,
        inverse_temperature: float = 1.0,
    ) -> ChainState:
        options = {"generator": generator, "device": state.x.device}
        for _ in range(self.n_jumps * len(self.basins)):
            which = int(torch.randint(len(self.basins), (1,), **options))
            known = self.basins[which]
            before = known.label(target.to_cartesian(state.x))
            chances = known.weights.to(state.x).repeat(len(state), 1)
            chances[torch.arange(len(state)), before] = 0
            wanted = torch.multinomial(chances, 1, generator=generator)[:, 0]
            y, log_volume, possible = known.mapped(target, state.x, before, wanted)
            guess = evaluate(target, y)
            possible &= known.label(target.to_cartesian(y)) == wanted
            log_weight = (known.weights * (1 - known.weights)).log().to(state.x)
            log_ratio = log_volume + log_weight[before] - log_weight[wanted]
            log_ratio += inverse_temperature * (state.u - guess.u)
            accepted, _ = metropolis(torch.where(possible, log_ratio, -torch.inf), generator)
            self.count("guess", accepted, str(which))
            state = state.where(accepted, guess)
        return state
