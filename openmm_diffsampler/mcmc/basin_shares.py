"""How many jumps between basins a sweep makes, of which fragment, and into which basin: learned in warm-up."""

from __future__ import annotations

from itertools import count, islice
from typing import Any

import torch

from .basins import FragmentBasins
from .trial_shares import TrialShares

__all__ = ["BasinShares"]

#: Jumps a sweep for each fragment, at first and at most, and how many their mean success is taken over.
_FIRST_JUMPS, _MOST_JUMPS, _MEMORY = 4, 16, 500
#: Power of a basin's population by which it is jumped to; share of the jumps that goes to basins however rare.
_POWER, _FLOOR = 0.7, 0.2


class BasinShares:
    r"""Number of jumps a sweep, shares of the fragments, and weights w of their basins.

    What :class:`~openmm_diffsampler.mcmc.trial_shares.TrialShares` is for blocks of torsions, fragments are here, and
    basins their torsions: a jump from basin k to l that is accepted moves the indicators of both, and independent draws
    move that of basin k with probability 2π(1 − π), π its population. So the basin that is slowest to be entered and
    left rules. Basins are chosen by

    .. math:: w = \tfrac45\, \hat\pi^{0.7} / \textstyle\sum \hat\pi^{0.7} + \tfrac15 / K\,,

    where π̂ is the larger of the population that chains have seen and that of the harmonic free energy: what chains
    hardly get into stays within reach. After warm-up all of it stands still.

    Arguments:
        basins: list of :class:`~openmm_diffsampler.mcmc.basins.FragmentBasins`; read anew at each restart.
        n_others: evaluations of the other moves of a sweep.

    Attributes:
        trials: the :class:`~openmm_diffsampler.mcmc.trial_shares.TrialShares`.
        weights: (K,) of each fragment, which sum to one.
    """

    def __init__(self, basins: list[FragmentBasins], n_others: int) -> None:
        self.basins, self.n_others = basins, n_others
        self.restart()

    def restart(self) -> None:
        """What the harmonic free energies say, before any warm-up."""
        numbers = count()
        self._columns = [tuple(islice(numbers, known.n_basins)) for known in self.basins]
        most = _MOST_JUMPS * len(self.basins)
        self.trials = TrialShares(self._columns, n_others=self.n_others, most=most, memory=_MEMORY)
        self.trials.n_trials = _FIRST_JUMPS * len(self.basins)
        self.visits = [[0.0] * known.n_basins for known in self.basins]
        self._refresh()

    def freeze(self) -> None:
        """Fewer jumps go to what gains little."""
        self.trials.freeze()

    def _refresh(self) -> None:
        self.weights = []
        for known, visits in zip(self.basins, self.visits, strict=True):
            seen = torch.tensor(visits, dtype=torch.float64, device=known.lowest.device)
            harmonic = torch.softmax(-known.free_energies.double(), 0)
            raised = torch.maximum(seen / seen.sum().clamp(min=1), harmonic) ** _POWER
            self.weights.append((1 - _FLOOR) * raised / raised.sum() + _FLOOR / len(raised))

    def update(self, which: int, before: torch.Tensor, wanted: torch.Tensor, accepted: torch.Tensor) -> None:
        """Learn from the jumps of one fragment: basins (n,) that they lead from and to, and whether they did."""
        moved = torch.cat([before[accepted], wanted[accepted]])
        jumps = torch.bincount(moved, minlength=self.basins[which].n_basins) / len(accepted)
        self.trials.update(which, jumps.tolist())

    def settle(self, labels: list[torch.Tensor]) -> None:
        """Bring all up to date after a sweep of warm-up that left chains in these basins (n,) of each fragment."""
        ideal = {}
        for which, here in enumerate(labels):
            found = torch.bincount(here, minlength=self.basins[which].n_basins).tolist()
            n = sum(self.visits[which]) / len(here)
            # The weight of what was seen first falls in time, as chains started spread evenly.
            kept = n / (n + 1)
            self.visits[which] = [kept * old + new for old, new in zip(self.visits[which], found, strict=True)]
            total = sum(self.visits[which])
            for column, visits in zip(self._columns[which], self.visits[which], strict=True):
                ideal[column] = 2 * visits / total * (1 - visits / total)
        self.trials.settle(ideal)
        self._refresh()

    def state_dict(self) -> dict[str, Any]:
        return {"visits": self.visits, "trials": self.trials.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.visits = [list(map(float, visits)) for visits in state["visits"]]
        self.trials.load_state_dict(state["trials"])
        self._refresh()
