"""Benchmark densities in closed form, one a file, and the names that a ``system.yaml`` calls them by."""

from .double_well import DoubleWell
from .gaussian_mixture import GaussianMixture, gmm40
from .lennard_jones import LennardJones
from .many_well import ManyWell

__all__ = ["DENSITIES", "DoubleWell", "GaussianMixture", "LennardJones", "ManyWell", "gmm40"]

#: What ``density:`` in a system.yaml may say -> what builds it; ``parameters:`` are its keyword arguments.
DENSITIES = {"gmm40": gmm40, "mw32": ManyWell, "dw4": DoubleWell}
