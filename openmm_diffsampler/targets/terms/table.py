"""The table of terms: what a System's energy is made of, as data, independent of who evaluates it.

Executors (torch now, compiled kernels beside it) read these classes and nothing of OpenMM. Energies are in kJ/mol,
lengths in nm, angles in radians.
"""

from dataclasses import dataclass, field

import numpy as np

from .program import Program

__all__ = ["VARIABLES", "BodyTerm", "ComputedValue", "EnergyContribution", "GBTerm", "MapTerm", "TermTable"]

#: Variables of the program of a :class:`BodyTerm`, by its geometry.
VARIABLES = {"distance": ("r",), "angle": ("theta",), "torsion": ("theta",), "position": ("x", "y", "z")}


@dataclass(frozen=True)
class BodyTerm:
    """Terms that share one energy function of one geometric quantity.

    Attributes:
        geometry: ``"distance"`` (2 atoms, variable r), ``"angle"`` (3, theta), ``"torsion"`` (4, theta in (−π, π]) or
            ``"position"`` (1; x, y, z).
        atoms: (n_terms, n_atoms) int64.
        program: outputs the energy and then its derivatives by the variables; for a distance (dE/dr)/r, since the force
            on the first atom is −(dE/dr)/r · (x₁ − x₂).
        parameters: name → (n_terms,) float64.
        source: the OpenMM force it came from.
    """

    geometry: str
    atoms: np.ndarray
    program: Program
    parameters: dict
    source: str


@dataclass(frozen=True)
class MapTerm:
    """Torsion–torsion correction maps (CMAP): bicubic patches.

    Attributes:
        atoms: (n_terms, 8) int64, the atoms of the first torsion and of the second.
        map_index: (n_terms,) which map.
        coefficients: one (size, size, 4, 4) array a map; the energy in patch (i, j) is Σ c[i, j, a, b] tᵃ uᵇ with t, u
            in [0, 1) across the patch, the first torsion along i.
    """

    atoms: np.ndarray
    map_index: np.ndarray
    coefficients: tuple
    source: str = "CMAPTorsionForce"


@dataclass(frozen=True)
class ComputedValue:
    """One computed value of a :class:`GBTerm`.

    Attributes:
        pair: True for Σ_{j≠i} f(r_ij) — outputs f, (df/dr)/r — and False for a function of earlier values and
            parameters — outputs f, then ∂f by each name in `depends_on`.
        respects_exclusions: whether excluded pairs are left out.
    """

    name: str
    pair: bool
    respects_exclusions: bool
    program: Program
    depends_on: tuple


@dataclass(frozen=True)
class EnergyContribution:
    """One energy term of a :class:`GBTerm`.

    Attributes:
        pair: False: E(values; parameters) of each atom, outputs E, then ∂E by each name in `depends_on`. True: E of
            each unordered pair, outputs E, (∂E/∂r)/r, then ∂E by each name in `depends_on` with suffix 1, then with 2.
    """

    pair: bool
    respects_exclusions: bool
    program: Program
    depends_on: tuple


@dataclass(frozen=True)
class GBTerm:
    """A many-body force in the style of generalised Born models (CustomGBForce, GBSAOBCForce).

    Attributes:
        values, energies: in order of evaluation.
        parameters: name → (n_atoms,) float64.
        exclusions: (n, 2) int64 atom pairs.
    """

    values: tuple
    energies: tuple
    parameters: dict
    exclusions: np.ndarray
    source: str

    def kept_pairs(self, stage, pairs):
        """Which of the pairs (n, 2), each with its lower atom first, a pair stage sums over: their numbers."""
        if not stage.respects_exclusions or not len(self.exclusions):
            return np.arange(len(pairs))
        n = 1 + max(pairs.max(initial=0), self.exclusions.max())
        codes, excluded = (p @ [n, 1] for p in (pairs, np.sort(self.exclusions, 1)))
        return np.flatnonzero(~np.isin(codes, excluded))


@dataclass
class TermTable:
    """All terms of a System; `tables` are the tabulated functions that programs refer to by number."""

    n_atoms: int
    terms: list = field(default_factory=list)
    tables: list = field(default_factory=list)
