"""Networks of the samplers that learn: scores of noised configurations, and densities."""

from .autoregressive import AutoregressiveDensity
from .decoder import Decoder
from .descent import Descent
from .embedding import TimeEmbedding
from .equivariant import EquivariantNetwork
from .for_target import network_for
from .generator import Generator
from .latent_score import LatentScore
from .lattice import LatticeNetwork
from .mlp import MLP
from .preconditioned import PreconditionedScore, interpolate

__all__ = [
    "MLP",
    "AutoregressiveDensity",
    "Decoder",
    "Descent",
    "EquivariantNetwork",
    "Generator",
    "LatentScore",
    "LatticeNetwork",
    "PreconditionedScore",
    "TimeEmbedding",
    "interpolate",
    "network_for",
]
