"""Changes of variables: bonds, angles and torsions, and rotations about bonds."""

from .blocks import rotor_orders, torsion_blocks
from .errors import NoInternalCoordinatesError
from .handedness import Handedness, pyramidal_nitrogens, stereocentres
from .internal import InternalCoordinates
from .internal_target import InternalTarget
from .missing_bonds import MissingBondsWarning, how_to_add_bonds, missing_bonds, unbonded_molecules
from .rdkit_conformers import rdkit_conformers
from .rings import ring_torsions, saturated_rings
from .rotations import BondRotations, random_rotations, rotatable_torsions
from .standard_columns import StandardColumns
from .stiff_fragments import StiffFragment, stiff_fragments
from .torsional_barriers import torsional_barriers
from .z_matrix import ZMatrix

__all__ = [
    "BondRotations",
    "Handedness",
    "InternalCoordinates",
    "InternalTarget",
    "MissingBondsWarning",
    "NoInternalCoordinatesError",
    "StandardColumns",
    "StiffFragment",
    "ZMatrix",
    "how_to_add_bonds",
    "missing_bonds",
    "pyramidal_nitrogens",
    "random_rotations",
    "rdkit_conformers",
    "ring_torsions",
    "rotatable_torsions",
    "rotor_orders",
    "saturated_rings",
    "stereocentres",
    "stiff_fragments",
    "torsion_blocks",
    "torsional_barriers",
    "unbonded_molecules",
]
