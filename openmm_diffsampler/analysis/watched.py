"""What has to converge before a run of chains is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .diagnostics import chains_as_array, effective_sample_size, r_hat
from .observables import default_observables
from .torsion_convergence import TorsionConvergence, torsion_convergence

if TYPE_CHECKING:
    from .landscape import Landscape
    from .weighted_trajectory import WeightedTrajectory

__all__ = ["Watched", "watch"]

#: Levels of a part are watched from this population on: of rarer ones the intervals tell.
LEAST_POPULATION = 0.01


@dataclass(frozen=True)
class Watched:
    """R-hat and effective sample size of a torsion, of a part with several shapes, or of an observable.

    Where several numbers describe one thing, such as cos θ and sin θ, the worse one counts.
    """

    name: str
    r_hat: float
    effective_sample_size: float

    def effort(self, r_hat: float, effective_samples: float) -> float:
        """How many times as long a run has to be for these limits; ESS and 1/(R-hat² − 1) grow with its length.

        Example:
            >>> Watched("phi", 1.02, 250.0).effort(1.01, 1000.0)
            4.0
            >>> Watched("phi", 1.002, 2500.0).effort(1.01, 1000.0) < 1
            True
        """
        excess = (self.r_hat**2 - 1) / (r_hat**2 - 1) if np.isfinite(self.r_hat) else np.inf
        return float(max(excess, effective_samples / self.effective_sample_size))


def watch(
    wt: WeightedTrajectory, landscape: Landscape | None = None, convergence: Sequence[TorsionConvergence] | None = None
) -> list[Watched]:
    """Every torsion, every part of several shapes, and the energy; of what is no molecule the default observables.

    Torsions are watched as cos nθ and sin nθ, n the order of their symmetry, and parts by the population of each level
    of equal energy from 1 % on, so that wells and shapes that are the same count as one.

    Arguments:
        wt: a WeightedTrajectory of kind "mcmc".
        landscape: that of the sampler.
        convergence: of the torsions, if it is known already.

    Example:
        >>> import torch
        >>> from openmm_diffsampler.analysis import WeightedTrajectory
        >>> x = torch.randn(200, 4, 1, generator=torch.Generator().manual_seed(0))
        >>> [(row.name, row.r_hat < 1.05) for row in watch(WeightedTrajectory.from_chains(x))]
        [('coordinate 0', True)]
    """
    torsions = torsion_convergence(wt) if convergence is None else convergence
    rows = [Watched(row.torsion.name, row.r_hat, row.effective_sample_size) for row in torsions]
    parts = [] if landscape is None else landscape.parts
    for part in parts:
        level = part.levels[part.labels(wt.x)]
        shares = np.bincount(level) / len(level)
        inside = [level == k for k in np.flatnonzero((shares >= LEAST_POPULATION) & (shares <= 1 - LEAST_POPULATION))]
        if inside:
            rows.append(_worst(part.name, wt, inside))
    if torsions or parts:
        return rows if wt.reduced_potential is None else [*rows, _worst("energy", wt, [wt.reduced_potential.numpy()])]
    return [_worst(name, wt, [values]) for name, values in default_observables(wt).items()]


def _worst(name: str, wt: WeightedTrajectory, columns: Sequence[np.ndarray]) -> Watched:
    chains = [chains_as_array(np.asarray(column, dtype=float), wt.chain, wt.draw) for column in columns]
    return Watched(name, max(map(r_hat, chains)), min(map(effective_sample_size, chains)))
