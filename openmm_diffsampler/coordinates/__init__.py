"""Changes of variables: bonds, angles and torsions, and rotations about bonds."""

from .blocks import rotor_order, torsion_blocks
from .handedness import Handedness, stereocentres
from .internal import InternalCoordinates
from .internal_target import InternalTarget
from .rotations import BondRotations, rotatable_torsions
from .z_matrix import ZMatrix

__all__ = [
    "BondRotations",
    "Handedness",
    "InternalCoordinates",
    "InternalTarget",
    "ZMatrix",
    "rotatable_torsions",
    "rotor_order",
    "stereocentres",
    "torsion_blocks",
]
