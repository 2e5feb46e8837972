"""Markov chains: diffusive Gibbs sampling of many chains in torch, and HMC and MALA beside it."""

from .baselines import HMC, MALA
from .defaults import recommended_settings, thermal_width
from .diffusive_gibbs import DiffusiveGibbs
from .sampler import BatchedSampler

__all__ = ["HMC", "MALA", "BatchedSampler", "DiffusiveGibbs", "recommended_settings", "thermal_width"]
