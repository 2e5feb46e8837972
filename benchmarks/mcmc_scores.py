"""Numbers over seeds, as the tables of mcmc_comparison.py show them, and what dynamics needs."""

from typing import NamedTuple

import numpy as np
import openmm
from openmm import unit


class Dynamics(NamedTuple):
    """What Langevin dynamics needs: ps, 1/ps."""

    system: openmm.System
    temperature: unit.Quantity
    timestep: float
    friction: float


def mean_and_worst(values, digits=3):
    return f"{np.mean(values):.{digits}f} ({np.max(values):.{digits}f})"


def mean_and_spread(values, digits=0):
    return f"{np.mean(values):,.{digits}f} ± {np.std(values, ddof=len(values) > 1):,.{digits}f}"


def total_variation(p, q):
    return 0.5 * np.abs(np.asarray(p) - q).sum()


def floor(p, n):
    """Mean total variation of `n` exact draws from the probabilities `p`."""
    n = max(int(n), 1)
    counts = np.random.default_rng(0).multinomial(n, np.ravel(p) / np.sum(p), size=20)
    return float(np.mean([total_variation(c / n, np.ravel(p)) for c in counts]))
