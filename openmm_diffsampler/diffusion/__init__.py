"""Diffusion, shared by the samplers that learn: noise schedules, score identities and estimators, weighted solvers."""

from .schedules import NoiseSchedule
from .scores import estimate_score, mixing_weight, posterior_score
from .solvers import flow_samples, path_samples

__all__ = ["NoiseSchedule", "estimate_score", "flow_samples", "mixing_weight", "path_samples", "posterior_score"]
