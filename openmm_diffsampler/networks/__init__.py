"""Networks of the samplers that learn: functions of a noised configuration and a time."""

from .embedding import TimeEmbedding
from .equivariant import EquivariantNetwork
from .mlp import MLP
from .preconditioned import PreconditionedScore, interpolate

__all__ = ["MLP", "EquivariantNetwork", "PreconditionedScore", "TimeEmbedding", "interpolate"]
