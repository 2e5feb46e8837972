"""When a run of chains is done."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from openmm_diffsampler.analysis.verdict import Ending
from openmm_diffsampler.analysis.watched import Watched

__all__ = ["Goal", "Watch"]

#: The first look is after so many draws of a chain, each later one after so many times more.
_FIRST_LOOK, _FACTOR = 40.0, 1.25


@dataclass(frozen=True)
class Goal:
    """What a run goes on for: everything watched has converged, or a budget is spent.

    Arguments:
        effective_samples: at least, of every torsion, ring system and the energy.
        r_hat: at most.
        evaluations: of the energy, in warm-up and draws, that are spent at most, up to those of one draw.
        minutes: of wall time at most, or None; a run that such a budget ends cannot be repeated exactly.

    Raises:
        ValueError: a limit that is not a number above zero, or an R-hat of one or less.

    Example:
        >>> Goal(effective_samples=400).r_hat
        1.01
        >>> Goal(r_hat=0.9)
        Traceback (most recent call last):
        ValueError: r_hat is 0.9; give a number above 1, such as 1.01
    """

    effective_samples: float = 1000.0
    r_hat: float = 1.01
    evaluations: float = 2e7
    minutes: float | None = None

    def __post_init__(self) -> None:
        for name in ("effective_samples", "evaluations", "minutes"):
            value = getattr(self, name)
            if not (name == "minutes" and value is None) and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value}; give a number above 0")
        if not (math.isfinite(self.r_hat) and self.r_hat > 1):
            raise ValueError(f"r_hat is {self.r_hat}; give a number above 1, such as 1.01")


@dataclass
class Watch:
    """Looks at a run now and then, and says when it is done.

    Arguments:
        goal: what it goes on for.

    Attributes:
        note: what the last look saw, for a progress bar.
    """

    goal: Goal
    note: str = ""
    _began: float = field(default_factory=time.perf_counter)

    def is_due(self, reached: int, stride: int) -> bool:
        """Whether to look after the draw that brings a chain to `reached`, by steps of `stride`.

        Example:
            >>> [n for n in range(1, 100) if Watch(Goal()).is_due(n, 1)]
            [40, 50, 63, 79, 98]
        """
        look = _FIRST_LOOK
        while look <= reached - stride:
            look *= _FACTOR
        return look <= reached

    def is_reached(self, rows: Sequence[Watched]) -> bool:
        """Whether all rows are within the limits."""
        worst = max(rows, key=lambda row: row.effort(self.goal.r_hat, self.goal.effective_samples), default=None)
        if worst is None:
            return False
        self.note = f"{worst.name}: R-hat {worst.r_hat:.3f}, {worst.effective_sample_size:,.0f} effective samples"
        return worst.effort(self.goal.r_hat, self.goal.effective_samples) <= 1

    def spent(self, evaluations: int) -> str:
        """Which budget is spent, in words; empty while none is."""
        if evaluations >= self.goal.evaluations:
            return f"the budget of {self.goal.evaluations:.3g} energy evaluations was spent"
        if self.goal.minutes is not None and time.perf_counter() - self._began >= 60 * self.goal.minutes:
            return f"the budget of {self.goal.minutes:g} minutes was spent"
        return ""

    def ending(self, reason: str, evaluations: int) -> Ending:
        """How the run ended."""
        return Ending(reason, self.goal.r_hat, self.goal.effective_samples, evaluations)
