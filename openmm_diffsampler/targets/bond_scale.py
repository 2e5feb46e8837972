"""Whether positions are in nm, by the lengths of bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from .elements import bond_length, element_symbols
from .pair_terms import PairTerm, pair_terms

if TYPE_CHECKING:
    import mdtraj

__all__ = ["BondScale"]

#: Share of all bonds that have to be off, and from which ratio to the right length on.
_NEARLY_ALL, _TOO_LONG, _TOO_SHORT = 0.9, 5.0, 0.2
#: Energy in kJ/mol from which on a stretched harmonic bond is off; weak springs may be as long as they like.
_STRAINED = 100.0
#: How many times as long as usual the bond between two elements is at most.
_LONGEST = 1.5
#: Stiffness that counts for bonds of unknown stiffness, in kJ/mol/nm².
_RIGID = 1e12
#: A hydrogen's next atom is within about this distance in nm, in any molecule.
_NEXT_TO_HYDROGEN = 0.1


class BondScale:
    """Tells positions in Å, or in other units than nm, from those in nm.

    What bonds measure is compared with the lengths of the System's own bonds; where it has none that say their length,
    with the usual ones between the elements of the topology's bonds; where there are none either, with how near the
    next atom is to each hydrogen. Particles without bonds, as in clusters, may lie anywhere.

    Arguments:
        system: openmm System.
        topology: mdtraj Topology of its particles, or None.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> scale = BondScale(molecule.system, molecule.mdtraj_topology)
        >>> scale.require(molecule.positions._value)
        >>> scale.require(10 * molecule.positions._value)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: positions look like Å: bonds are 10 times as long as they should be in nm ...
    """

    def __init__(self, system: openmm.System, topology: mdtraj.Topology | None = None):
        symbols = element_symbols(system, topology)
        terms = [term for term in pair_terms(system) if _is_bond(term, symbols)]
        self._stiffness = np.array([term.stiffness or _RIGID for term in terms])
        pairs, lengths = [term.pair for term in terms], [term.length for term in terms]
        if not pairs and topology is not None:
            bonds = [(a.index, b.index) for a, b in topology.bonds]
            usual = [bond_length(symbols[a], symbols[b]) for a, b in bonds]
            pairs = [pair for pair, length in zip(bonds, usual, strict=True) if length]
            lengths = [length for length in usual if length]
            self._stiffness = np.full(len(pairs), _RIGID)
        self._pairs, self._lengths = np.array(pairs, dtype=np.int64).reshape(-1, 2), np.array(lengths)
        by_name = [] if topology is None or pairs else [a.index for a in topology.atoms if symbols[a.index] == "H"]
        self._hydrogens = np.array(by_name, dtype=np.int64)

    def require(self, positions: np.ndarray, where: str = "positions") -> None:
        """Raise unless bonds have about the right length.

        Arguments:
            positions: (n_atoms, 3) or (n, n_atoms, 3), taken for nm.
            where: what the error message calls them.

        Raises:
            ValueError: nearly all bonds are five times too long, or too short.
        """
        for x in np.asarray(positions, dtype=np.float64).reshape(-1, *np.shape(positions)[-2:]):
            found = self._measured(x)
            if found is None:
                continue
            measured, right = found
            ratio = measured / right
            raise ValueError(
                f"{where} look like {_unit_of(ratio)}: bonds are {ratio:.2g} times as long as they should be in nm "
                f"({measured:.3g} nm for {right:.3g} nm); bare numbers are taken for nm. Give a Quantity, such as "
                "positions * openmm.unit.angstrom, or minimise the structure first"
            )

    def _measured(self, x: np.ndarray) -> tuple[float, float] | None:
        """Median lengths, as they are and as they should be, if nearly all are off."""
        if len(self._pairs):
            lengths, right = np.linalg.norm(x[self._pairs[:, 0]] - x[self._pairs[:, 1]], axis=1), self._lengths
            strained = self._stiffness * (lengths - right) ** 2 / 2 >= _STRAINED
        elif len(self._hydrogens) and len(x) > 1:
            from scipy.spatial import cKDTree

            lengths = cKDTree(x).query(x[self._hydrogens], k=2)[0][:, 1]
            right, strained = np.full(len(lengths), _NEXT_TO_HYDROGEN), True
        else:
            return None
        off = ((lengths > _TOO_LONG * right) | (lengths < _TOO_SHORT * right)) & strained
        if off.mean() < _NEARLY_ALL:
            return None
        middle = np.argsort(lengths / right)[len(right) // 2]
        return float(lengths[middle]), float(right[middle])


def _is_bond(term: PairTerm, symbols: list[str | None]) -> bool:
    """Whether a term has the length of a bond between its elements, or is a harmonic one; others may be restraints."""
    usual = bond_length(*(symbols[i] for i in term.pair))
    is_usual = usual is not None and (term.length or np.inf) < _LONGEST * usual
    return bool(term.length) and (is_usual or term.source == "HarmonicBondForce")


def _unit_of(ratio: float) -> str:
    """The unit whose numbers are this many times those in nm."""
    for name, factor, spread in (("Å", 10, 1.4), ("bohr", 18.9, 1.3), ("pm", 1000, 3), ("µm", 1e-3, 3), ("m", 1e-9, 3)):
        if factor / spread < ratio < factor * spread:
            return name
    return "nm that were taken for Å" if 0.05 < ratio < 0.2 else "another unit than nm"
