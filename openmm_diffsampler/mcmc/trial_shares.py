"""Which blocks of torsions are tried, and how often, so that no torsion lags behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

__all__ = ["TrialShares"]

#: Share of the trials that is spread evenly over the blocks, in warm-up and after it.
_FLOOR_WARMUP, _FLOOR = 0.3, 0.1
#: Rate per trial that a block is credited with before its first one.
_HOPED_FOR = 0.5
#: The power a of the sum over torsions; the larger, the more the slowest one counts.
_POWER = 3
#: Steps of the iteration for the shares after each sweep; it goes on from where it was.
_N_STEPS = 5
#: Added to how far a torsion goes, and might: one with a single well asks for no trials.
_STILL = 0.01
#: Most trials a sweep: for each evaluation of the other moves, or for each torsion, whichever is more.
_MOST_PER_EVALUATION, _MOST_PER_TORSION = 4, 2


class TrialShares:
    r"""Shares p_b of the trials for blocks b of torsions, and the number n of trials a sweep, learned in warm-up.

    A trial of block b renews the torsion t in it at the rate

    .. math:: r_{tb} = \frac{\langle a\,f(\Delta\tau_t)\rangle}{\langle f(\tau_t - \tau'_t)\rangle}\,,
        \qquad f(\Delta) = (1 - \cos\Delta)\,[\cos\Delta < \tfrac12]\,,

    with a = 1 where the guess was accepted, and independent draws τ, τ' below; f counts changes of the well alone, as
    Hamiltonian steps do the rest. Per trial a torsion then loses R_t = Σ_b p_b r_tb of its correlation. The
    shares minimise Σ_t R_t^{−3}, which the slowest torsions rule. n minimises what an effective sample of the slowest
    one costs, (n + c)(1 + ρ)/(1 − ρ) evaluations with ρ = (1 − R)^n, where c are the evaluations of a sweep's other
    moves. A tenth of the trials is spread evenly. After warm-up all of it stands still.

    Arguments:
        blocks: tuples of columns of torsions.
        n_trials: of a sweep, where it is fixed, or None to learn it.
        n_others: the evaluations c.
        ease: column → factor on the rate of a torsion that may lag, such as a rotor with wells that are all the same.
        most: trials a sweep at most, if not as many as there is use for.
        memory: trials of a block that the mean of what they achieve goes over.

    Example:
        >>> shares = TrialShares([(0,), (1,)])
        >>> for _ in range(20):  # the second torsion is renewed by one guess in ten only
        ...     shares.update(0, [1.0])
        ...     shares.update(1, [0.1])
        ...     shares.settle({0: 1.0, 1: 1.0})
        >>> shares.freeze()
        >>> bool(shares.values[1] > 0.75)
        True
    """

    def __init__(
        self,
        blocks: Sequence[tuple[int, ...]],
        n_trials: int | None = None,
        n_others: int = 6,
        ease: dict[int, float] | None = None,
        most: int | None = None,
        memory: int = 20,
    ) -> None:
        self.blocks, self.fixed, self.n_others, self.memory = tuple(blocks), n_trials, n_others, memory
        self.columns = sorted({k for block in blocks for k in block})
        self.ease = torch.tensor([(ease or {}).get(k, 1.0) for k in self.columns], dtype=torch.float64)
        useful = max(_MOST_PER_EVALUATION * n_others, _MOST_PER_TORSION * len(self.columns))
        self.most = useful if most is None else min(most, useful)
        place = {k: row for row, k in enumerate(self.columns)}
        self._rows = [[place[k] for k in block] for block in self.blocks]
        self.restart()

    def restart(self) -> None:
        """Even shares, before any warm-up."""
        n = len(self.blocks)
        self.values = torch.full((n,), 1 / max(n, 1), dtype=torch.float64)
        self.jumps = [[0.0] * len(block) for block in self.blocks]
        self.n_updates, self.floor = [0] * n, _FLOOR_WARMUP
        self.n_trials = min(max(4, len(self.columns)), self.most) if self.fixed is None else self.fixed
        self._refresh()

    def freeze(self) -> None:
        """Fewer trials go to what gains little."""
        self.floor = _FLOOR
        self._refresh()

    def _refresh(self) -> None:
        self._cumulated = ((1 - self.floor) * self.values + self.floor / max(len(self.blocks), 1)).cumsum(0)

    def update(self, which: int, jumps: Sequence[float]) -> None:
        """Learn from the mean of a·f(Δτ) for each torsion of one block over all chains."""
        self.n_updates[which] += 1
        weight = 1 / min(self.memory, self.n_updates[which])
        self.jumps[which] = [old + weight * (new - old) for old, new in zip(self.jumps[which], jumps, strict=True)]

    def settle(self, ideal: dict[int, float]) -> None:
        """Bring shares and number of trials up to date, after a sweep of warm-up.

        Arguments:
            ideal: the denominator of the rate of each column.
        """
        rates = torch.zeros(len(self.columns), len(self.blocks), dtype=torch.float64)
        for b, rows in enumerate(self._rows):
            for row, jump in zip(rows, self.jumps[b], strict=True):
                known = (jump + _STILL) / (ideal[self.columns[row]] + _STILL)
                rates[row, b] = min(known, 1.0) if self.n_updates[b] else _HOPED_FOR
        rates = (rates * self.ease[:, None]).clamp(min=1e-6 / len(self.blocks))
        for _ in range(_N_STEPS):
            slow = (rates @ self.values) ** -(_POWER + 1.0)
            # A step of an iteration that never raises the sum, as all of it is a posynomial in the shares.
            self.values = self.values * (slow @ rates) ** (1 / (_POWER + 1))
            self.values = (self.values / self.values.sum()).clamp(min=1e-4 / len(self.blocks))
            self.values /= self.values.sum()
        if self.fixed is None:
            share = (1 - _FLOOR) * self.values + _FLOOR / len(self.blocks)
            self.n_trials = self._best_number(float((rates @ share).min()))
        self._refresh()

    def _best_number(self, rate: float) -> int:
        n = torch.arange(1, self.most + 1, dtype=torch.float64)
        kept = (1 - min(rate, 0.999)) ** n
        return 1 + int(((n + self.n_others) * (1 + kept) / (1 - kept)).argmin())

    def draw(self, generator: torch.Generator) -> int:
        """A block at random."""
        spot = torch.rand(1, generator=generator, dtype=torch.float64, device=generator.device).cpu()
        return min(int(torch.searchsorted(self._cumulated, spot * self._cumulated[-1])), len(self.blocks) - 1)

    def state_dict(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("jumps", "n_updates", "floor", "n_trials")}
        return own | {"values": self.values.tolist()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.jumps, self.n_updates = [list(j) for j in state["jumps"]], list(state["n_updates"])
        self.floor, self.n_trials = float(state["floor"]), state["n_trials"]
        self.values = torch.tensor(state["values"], dtype=torch.float64)
        self._refresh()
