"""Changes of variables: bonds, angles and torsions, and rotations about bonds."""

from .blocks import rotor_order, torsion_blocks
from .errors import NoInternalCoordinatesError
from .handedness import Handedness, stereocentres
from .internal import InternalCoordinates
from .internal_target import InternalTarget
from .rings import has_flexible_ring
from .rotations import BondRotations, rotatable_torsions
from .z_matrix import ZMatrix

__all__ = [
    "BondRotations",
    "Handedness",
    "InternalCoordinates",
    "InternalTarget",
    "NoInternalCoordinatesError",
    "ZMatrix",
    "has_flexible_ring",
    "rotatable_torsions",
    "rotor_order",
    "stereocentres",
    "torsion_blocks",
]
