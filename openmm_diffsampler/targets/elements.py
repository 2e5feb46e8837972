"""Elements of atoms: their masses, and how far apart two of them are when they are bonded."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING

import openmm
from openmm import app

if TYPE_CHECKING:
    import mdtraj
    import numpy as np

__all__ = ["NONMETALS", "bond_length", "element_symbols", "near_pairs", "symbol_of_mass"]

#: Covalent radii in nm (Cordero et al., Dalton Trans. 2832 (2008)).
_RADII = {
    **{"H": 0.031, "B": 0.084, "C": 0.076, "N": 0.071, "O": 0.066, "F": 0.057, "Si": 0.111, "P": 0.107, "S": 0.105},
    **{"Cl": 0.102, "Ge": 0.120, "As": 0.119, "Se": 0.120, "Br": 0.120, "Sn": 0.139, "Te": 0.138, "I": 0.139},
    **{"Li": 0.128, "Be": 0.096, "Na": 0.166, "Mg": 0.141, "Al": 0.121, "K": 0.203, "Ca": 0.176, "Ti": 0.160},
    **{"V": 0.153, "Cr": 0.139, "Mn": 0.139, "Fe": 0.132, "Co": 0.126, "Ni": 0.124, "Cu": 0.132, "Zn": 0.122},
    **{"Mo": 0.154, "Ru": 0.146, "Rh": 0.142, "Pd": 0.139, "Ag": 0.145, "Cd": 0.144, "W": 0.162, "Re": 0.151},
    **{"Os": 0.144, "Ir": 0.141, "Pt": 0.136, "Au": 0.136, "Hg": 0.132, "Pb": 0.146},
}

#: Elements whose atoms are bonded wherever they are near each other.
NONMETALS = ("H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")

#: How far a mass may be from that of an element, in u: what force fields round to.
_ROUNDED = 0.012


def bond_length(a: str | None, b: str | None) -> float | None:
    """Typical length in nm of a bond between two elements, the sum of their covalent radii; None if one is unknown.

    Example:
        >>> round(bond_length("C", "H"), 3), bond_length("C", None)
        (0.107, None)
    """
    return None if a not in _RADII or b not in _RADII else _RADII[a] + _RADII[b]


def near_pairs(x: np.ndarray, symbols: Sequence[str | None], factor: float, cutoff: float) -> Iterator[tuple[int, int]]:
    """Pairs of known elements nearer than `factor` times their :func:`bond_length`, and than `cutoff`.

    Arguments:
        x: (n_atoms, 3) in nm.
        symbols: of the atoms; None takes no part.
        factor, cutoff: see above; the cutoff in nm.

    Example:
        >>> import numpy as np
        >>> list(near_pairs(np.array([[0.0, 0, 0], [0.11, 0, 0], [0.3, 0, 0]]), ["C", "H", "H"], 1.2, 0.35))
        [(0, 1)]
    """
    from scipy.spatial import cKDTree

    for a, b in cKDTree(x).query_pairs(cutoff):
        usual = bond_length(symbols[a], symbols[b])
        if usual is not None and math.dist(x[a], x[b]) < factor * usual:
            yield a, b


def symbol_of_mass(mass: float) -> str | None:
    """The element of this mass in u, as force fields round it, or None.

    Example:
        >>> symbol_of_mass(12.01), symbol_of_mass(1.0), symbol_of_mass(14.027)
        ('C', 'H', None)
    """
    return next((symbol for symbol, exact in _masses().items() if abs(exact - mass) <= _ROUNDED), None)


@cache
def _masses() -> dict[str, float]:
    return {symbol: app.Element.getBySymbol(symbol).mass._value for symbol in _RADII}


def element_symbols(system: openmm.System, topology: mdtraj.Topology | None = None) -> list[str | None]:
    """Symbols of the elements, by the topology, or where it knows none by the masses; None for anything else."""
    masses = (system.getParticleMass(i)._value for i in range(system.getNumParticles()))
    symbols = [symbol_of_mass(mass) for mass in masses]
    if topology is not None:
        for atom in topology.atoms:
            if getattr(atom.element, "atomic_number", 0):
                symbols[atom.index] = "H" if atom.element.atomic_number == 1 else atom.element.symbol  # deuterium
    return symbols
