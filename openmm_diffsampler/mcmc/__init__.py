"""Markov chains: diffusive Gibbs sampling of many chains in torch, and HMC, MALA and parallel tempering beside it."""

from .baselines import HMC, MALA
from .defaults import recommended_sampler, recommended_settings, thermal_width
from .diffusive_gibbs import DiffusiveGibbs
from .goal import Goal
from .internal_diffusive_gibbs import InternalDiffusiveGibbs
from .sampler import BatchedSampler
from .tempering import ParallelTempering

__all__ = [
    "HMC",
    "MALA",
    "BatchedSampler",
    "DiffusiveGibbs",
    "Goal",
    "InternalDiffusiveGibbs",
    "ParallelTempering",
    "recommended_sampler",
    "recommended_settings",
    "thermal_width",
]
