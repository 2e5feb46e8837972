"""Bonds that the forces know and the topology lacks."""

from __future__ import annotations

import mdtraj
import openmm

from openmm_diffsampler.targets.bonded_pairs import bonded_pairs

from .graph import neighbours

__all__ = ["missing_bonds"]


def missing_bonds(system: openmm.System, topology: mdtraj.Topology) -> list[tuple[int, int]]:
    """Pairs that forces bind and that the bonds of the topology do not join, nor a shared neighbour (Urey–Bradley).

    Arguments:
        system: openmm System.
        topology: an mdtraj Topology of its particles.

    Returns:
        list of pairs of atom indices.

    Example:
        >>> from openmm_diffsampler import load_system
        >>> molecule = load_system("alanine-dipeptide")
        >>> missing_bonds(molecule.system, molecule.mdtraj_topology)
        []
    """
    bonded = neighbours(topology)
    pairs = sorted(bonded_pairs(system))
    return [(a, b) for a, b in pairs if b not in bonded[a] and not bonded[a] & bonded[b]]
