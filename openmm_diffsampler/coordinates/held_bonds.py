"""Which bonds keep the isomer that they start as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from openmm_diffsampler.targets.units import thermal_energy

from .axes import crowded_axes, relaxed_barrier
from .double_bonds import double_bonds
from .torsional_barriers import torsional_barriers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from openmm_diffsampler.targets import Target

    from .internal import InternalCoordinates

__all__ = ["HeldBond", "held_bonds", "listed_bonds"]

#: kT of torsion terms from which on a bond is held whatever it is; at room temperature amides have 25 to 40.
_HIGHEST_TERMS = 50.0
#: kJ/mol of torsion terms below which no bond is double, as in models without hydrogens; N=N has 38.
_LEAST_TERMS = 25.0
#: kT of the relaxed barrier from which on an axis is held, and at which its scan is given up.
_AXIS_BARRIER, _ENOUGH = 25.0, 60.0


@dataclass(frozen=True)
class HeldBond:
    """A bond about which nothing is turned.

    Attributes:
        column: of the internal coordinates.
        atoms: indices of its two atoms.
        names: how reports call it, such as "C1=N1".
        reason: "double bond, 70 kJ/mol", "axis, 45 kT" or "as told".
    """

    column: int
    atoms: tuple[int, int]
    names: str
    reason: str

    @property
    def is_axis(self) -> bool:
        return self.reason.startswith("axis")

    def __str__(self) -> str:
        return f"{self.names} ({self.reason})"


def held_bonds(target: Target, coordinates: InternalCoordinates, positions: torch.Tensor) -> list[HeldBond]:
    """Double bonds, and axes between rings that crowding locks.

    A bond is held if

    - it is C=C, C=N or N=N in every Lewis structure (:func:`~.double_bonds.double_bonds`) and the torsion terms of the
      force field bind it by 25 kJ/mol or more; or these bind it by more than 50 kT, whatever it is;
    - it joins two rings, two or more of the four ring atoms beside it carry a substituent, and turning it half around
      with all else relaxed takes more than 25 kT (:func:`~.axes.relaxed_barrier`).

    All others turn: amides, esters, ureas, carbamates, enamines, conjugated single bonds.

    Arguments:
        target: the Cartesian target; without a `system` nothing is held.
        coordinates: of its atoms.
        positions: (n_atoms, 3), nm.
    """
    if not hasattr(target, "system"):
        return []
    kt, topology = thermal_energy(target.temperature), coordinates.topology
    doubles, found = double_bonds(topology), []
    barriers = torsional_barriers(target.system, coordinates, positions)
    axes = {frozenset(axis) for axis in crowded_axes(topology)}
    x = positions.double().cpu().numpy()
    for column, torsion in coordinates.rotatable_torsions.items():
        j, k = sorted(int(i) for i in torsion[1:3])
        bond, terms = frozenset((j, k)), barriers[column]
        if (bond in doubles and terms >= _LEAST_TERMS) or terms > _HIGHEST_TERMS * kt:
            found.append(HeldBond(column, (j, k), _names(topology, j, k, "="), f"double bond, {terms:.0f} kJ/mol"))
        elif bond in axes:
            barrier = relaxed_barrier(target.system, topology, x, j, k, _ENOUGH * kt) / kt
            if barrier > _AXIS_BARRIER:
                height = f"more than {_ENOUGH:.0f}" if barrier > _ENOUGH else f"{barrier:.0f}"
                found.append(HeldBond(column, (j, k), _names(topology, j, k, "–"), f"axis, {height} kT"))
    return found


def listed_bonds(coordinates: InternalCoordinates, pairs: Sequence[tuple[int, int]]) -> list[HeldBond]:
    """Bonds that the user lists by their two atoms.

    Raises:
        ValueError: a pair that is no rotatable bond.
    """
    columns = {frozenset(map(int, t[1:3])): column for column, t in coordinates.rotatable_torsions.items()}
    found = []
    for pair in pairs:
        if frozenset(pair) not in columns:
            raise ValueError(f"atoms {tuple(pair)} of isomers are no rotatable bond")
        j, k = sorted(pair)
        found.append(HeldBond(columns[frozenset(pair)], (j, k), _names(coordinates.topology, j, k, "–"), "as told"))
    return found


def _names(topology, j: int, k: int, mark: str) -> str:
    atoms = [topology.atom(i) for i in (j, k)]
    return mark.join(str(a) if topology.n_residues > 1 else a.name for a in atoms)
