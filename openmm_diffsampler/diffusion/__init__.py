"""Diffusion, shared by the samplers that learn: noise schedules, score identities and estimators, weighted solvers."""

from .levels import LevelTables, measure_levels, place_levels, reverse_spreads
from .schedules import NoiseSchedule
from .scores import PosteriorDraws, estimate_score, mixing_weight, posterior_draws, posterior_score
from .solvers import SolverSamples, flow_log_density, flow_samples, path_log_weights, path_samples

__all__ = [
    "LevelTables",
    "NoiseSchedule",
    "PosteriorDraws",
    "SolverSamples",
    "estimate_score",
    "flow_log_density",
    "flow_samples",
    "measure_levels",
    "mixing_weight",
    "path_log_weights",
    "path_samples",
    "place_levels",
    "posterior_draws",
    "posterior_score",
    "reverse_spreads",
]
