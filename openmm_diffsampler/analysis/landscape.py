"""What a search found out about a molecule before the run: shapes of its stiff parts, and conformers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

__all__ = ["Landscape", "Part"]

#: Frames that are labelled at once.
_CHUNK = 16_384
#: Shapes whose energies differ by less (kT) are one by symmetry.
_SAME = 0.05


@dataclass(frozen=True, eq=False)
class Part:
    """The shapes (basins) of a ring system, or of another part that no turn about a bond leads from one to another.

    Attributes:
        name: how reports call it.
        label: positions (n, n_atoms, 3) in nm → (n,) numbers of shapes.
        energies: (K,) energies of the minima in kT above the lowest.
        free_energies: (K,) the same with the harmonic entropy of the part.
    """

    name: str
    label: Callable[[torch.Tensor], torch.Tensor]
    energies: np.ndarray
    free_energies: np.ndarray

    def labels(self, x: torch.Tensor) -> np.ndarray:
        """(n,) numbers of shapes, a few thousand frames at a time."""
        return torch.cat([self.label(rows.double()) for rows in x.split(_CHUNK)]).numpy()

    @property
    def levels(self) -> np.ndarray:
        """(K,) integers, the same for shapes of equal energy: turned or mirrored, these are one.

        Example:
            >>> Part("ring", None, np.array([0.0, 0.01, 2.3]), np.zeros(3)).levels
            array([0, 0, 1])
        """
        order = np.argsort(self.energies, kind="stable")
        rises = np.diff(self.energies[order], prepend=self.energies[order[:1]]) > _SAME
        levels = np.empty(len(order), dtype=int)
        levels[order] = np.cumsum(rises)
        return levels


@dataclass(frozen=True, eq=False)
class Landscape:
    """What is known of a molecule besides the frames of a run.

    Attributes:
        parts: list of :class:`Part`.
        conformers: positions (m, n_atoms, 3) of minima in nm.
        energies: (m,) their reduced potentials.
    """

    parts: list[Part] = field(default_factory=list)
    conformers: torch.Tensor = field(default_factory=lambda: torch.zeros(0, 0, 3))
    energies: np.ndarray = field(default_factory=lambda: np.zeros(0))
