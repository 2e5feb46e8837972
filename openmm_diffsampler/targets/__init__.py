"""What is sampled: the Target interface, OpenMM systems with their backends, and analytic benchmark densities."""

from .analytic import DENSITIES, DoubleWell, GaussianMixture, LennardJones, ManyWell, gmm40
from .base import Target
from .openmm_target import BackendMismatchError, OpenMMTarget
from .system import AnalyticSystem, MolecularSystem, list_systems, load_system, save_system
from .terms.translate import UnsupportedForceError

__all__ = [
    "DENSITIES",
    "AnalyticSystem",
    "BackendMismatchError",
    "DoubleWell",
    "GaussianMixture",
    "LennardJones",
    "ManyWell",
    "MolecularSystem",
    "OpenMMTarget",
    "Target",
    "UnsupportedForceError",
    "gmm40",
    "list_systems",
    "load_system",
    "save_system",
]
