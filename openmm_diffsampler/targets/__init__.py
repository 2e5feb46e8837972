"""What is sampled: the Target interface, OpenMM systems with their backends, and analytic benchmark densities."""

from .analytic import (
    DENSITIES,
    DoubleWell,
    GaussianMixture,
    LennardJones,
    LogisticRegression,
    ManyWell,
    RelaxedIsing,
    Ring,
    RuggedWell,
    gmm40,
    mog2,
    mog2i,
    mog6,
    mog9,
    ring,
    rings,
)
from .base import Target
from .normalisability import UnnormalisableDensityWarning
from .openmm_target import BackendMismatchError, OpenMMTarget
from .restraints import with_distance_restraint, with_restrained_fragments
from .system import AnalyticSystem, MolecularSystem, list_systems, load_system, save_system
from .terms.translate import UnsupportedForceError

__all__ = [
    "DENSITIES",
    "AnalyticSystem",
    "BackendMismatchError",
    "DoubleWell",
    "GaussianMixture",
    "LennardJones",
    "LogisticRegression",
    "ManyWell",
    "MolecularSystem",
    "OpenMMTarget",
    "RelaxedIsing",
    "Ring",
    "RuggedWell",
    "Target",
    "UnnormalisableDensityWarning",
    "UnsupportedForceError",
    "gmm40",
    "list_systems",
    "load_system",
    "mog2",
    "mog2i",
    "mog6",
    "mog9",
    "ring",
    "rings",
    "save_system",
    "with_distance_restraint",
    "with_restrained_fragments",
]
