"""Bonds that a System has and its topology lacks, as in a PDB file without CONECT records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import openmm

from openmm_diffsampler.targets.bonded_pairs import bonded_pairs
from openmm_diffsampler.targets.elements import bond_length, element_symbols

from .graph import component, neighbours

if TYPE_CHECKING:
    import mdtraj
    import torch

__all__ = ["MissingBondsWarning", "how_to_add_bonds", "missing_bonds", "unbonded_molecules"]


class MissingBondsWarning(UserWarning):
    """The topology lacks bonds that the System has, so that their torsions are not turned."""


def missing_bonds(
    system: openmm.System, topology: mdtraj.Topology | None, positions: np.ndarray | torch.Tensor | None = None
) -> list[tuple[int, int]]:
    """Bonds of the System (:func:`~openmm_diffsampler.targets.bonded_pairs.bonded_pairs`) that the topology lacks.

    Arguments:
        system: openmm System.
        topology: an mdtraj Topology of its particles; None has no bonds.
        positions: (n_atoms, 3) in nm; without them only forces that say how long their bonds are count.

    Returns:
        sorted list of pairs of atom indices.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> missing_bonds(molecule.system, molecule.mdtraj_topology)
        []
    """
    x = None if positions is None else np.asarray(positions, dtype=np.float64)
    bonds = set() if topology is None else {tuple(sorted((a.index, b.index))) for a, b in topology.bonds}
    return sorted(bonded_pairs(system, topology, x) - bonds)


def unbonded_molecules(
    system: openmm.System, topology: mdtraj.Topology | None, missing: list[tuple[int, int]]
) -> list[list[int]]:
    """Molecules of four atoms or more, of known elements, of which the topology has no bond at all.

    Arguments:
        system, topology: as for :func:`missing_bonds`.
        missing: what it found.

    Returns:
        list of lists of atom indices.
    """
    symbols = element_symbols(system, topology)
    bonded = {} if topology is None else neighbours(topology)
    joined = {i: set() for i in range(system.getNumParticles())}
    for a, b in missing:
        if bond_length(symbols[a], symbols[b]) is not None:
            joined[a].add(b)
            joined[b].add(a)
    left, found = {i for pair in missing for i in pair}, []
    while left:
        atoms = component(joined, min(left))
        left -= atoms
        if len(atoms) > 3 and not any(bonded.get(i) for i in atoms):
            found.append(sorted(atoms))
    return found


def how_to_add_bonds(topology: mdtraj.Topology | None, missing: list[tuple[int, int]]) -> str:
    """In words: how many bonds are missing, which, and what to do."""
    atoms = [] if topology is None else list(topology.atoms)
    names = ["–".join(str(atoms[i]) if atoms else str(i) for i in pair) for pair in missing[:5]]
    listed = ", ".join(names) + (", …" if len(missing) > 5 else "")
    if topology is None:
        return f"{len(missing)} bonds that the System has (particles {listed}), since there is none; give topology="
    return (
        f"{len(missing)} bonds that the System has ({listed}); add them by topology.addBond, or as CONECT records of "
        "the PDB file"
    )
