"""What internal coordinates cannot describe."""

__all__ = ["NoInternalCoordinatesError"]


class NoInternalCoordinatesError(ValueError):
    """A molecule, or an energy, that bonds, angles and torsions do not suit; Cartesian coordinates do."""
