"""Networks of the samplers that learn: scores of noised configurations, and densities."""

from .autoregressive import AutoregressiveDensity
from .embedding import TimeEmbedding
from .equivariant import EquivariantNetwork
from .mlp import MLP
from .preconditioned import PreconditionedScore, interpolate

__all__ = ["MLP", "AutoregressiveDensity", "EquivariantNetwork", "PreconditionedScore", "TimeEmbedding", "interpolate"]
