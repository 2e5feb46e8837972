"""Bonds that a System has and its topology lacks, as in a PDB file without CONECT records."""

import openmm

from .graph import neighbours

__all__ = ["missing_bonds"]


def missing_bonds(system, topology):
    """Pairs of a HarmonicBondForce that the bonds of the topology do not join, nor a shared neighbour (Urey–Bradley).

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
    found = []
    for force in system.getForces():
        if isinstance(force, openmm.HarmonicBondForce):
            pairs = (force.getBondParameters(k)[:2] for k in range(force.getNumBonds()))
            found += [(a, b) for a, b in pairs if b not in bonded[a] and not bonded[a] & bonded[b]]
    return found
