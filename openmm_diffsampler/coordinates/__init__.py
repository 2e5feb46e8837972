"""Changes of variables: rotations about bonds."""

from .rotations import BondRotations, rotatable_torsions

__all__ = ["BondRotations", "rotatable_torsions"]
