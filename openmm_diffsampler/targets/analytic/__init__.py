"""Benchmark densities in closed form, one a file, and the names that a ``system.yaml`` calls them by."""

from .double_well import DoubleWell
from .gaussian_mixture import GaussianMixture, gmm40
from .lennard_jones import LennardJones
from .logistic_regression import LogisticRegression
from .many_well import ManyWell
from .planar import Ring, mog2, mog2i, mog6, mog9, ring, rings
from .relaxed_ising import RelaxedIsing
from .rugged_well import RuggedWell

__all__ = [
    "DENSITIES",
    "DoubleWell",
    "GaussianMixture",
    "LennardJones",
    "LogisticRegression",
    "ManyWell",
    "RelaxedIsing",
    "Ring",
    "RuggedWell",
    "gmm40",
    "mog2",
    "mog2i",
    "mog6",
    "mog9",
    "ring",
    "rings",
]

#: What ``density:`` in a system.yaml may say -> what builds it; ``parameters:`` are its keyword arguments.
DENSITIES = {"gmm40": gmm40, "mw32": ManyWell, "dw4": DoubleWell}
