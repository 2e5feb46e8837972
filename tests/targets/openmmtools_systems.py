"""Systems to compare energies and forces on: the non-periodic openmmtools test systems, and capped alanine peptides."""

import random

import numpy as np
import openmm
from openmm import app, unit

__all__ = ["LARGE", "SMALL", "SOLVENTS", "openmmtools_system", "peptide"]

#: Test systems of openmmtools whose forces all have closed forms here.
SMALL = (
    "AlanineDipeptideImplicit",
    "AlanineDipeptideVacuum",
    "AlchemicalAlanineDipeptide",
    "ConstraintCoupledHarmonicOscillator",
    "CustomExternalForcesTestSystem",
    "Diatom",
    "HarmonicOscillator",
    "HarmonicOscillatorArray",
    "HostGuestImplicit",
    "HostGuestImplicitGBn",
    "HostGuestImplicitGBn2",
    "HostGuestImplicitHCT",
    "HostGuestImplicitOBC1",
    "HostGuestImplicitOBC2",
    "HostGuestVacuum",
    "LennardJonesCluster",
    "LennardJonesPair",
    "MolecularIdealGas",
    "PowerOscillator",
    "TolueneImplicit",
    "TolueneImplicitGBn",
    "TolueneImplicitGBn2",
    "TolueneImplicitHCT",
    "TolueneImplicitOBC1",
    "TolueneImplicitOBC2",
    "TolueneVacuum",
    "WaterCluster",
)

#: Thousands of atoms: minutes on the Reference platform.
LARGE = ("LysozymeImplicit", "SrcImplicit")

#: What a capped peptide is solvated in → force-field files beside amber14.
SOLVENTS = {"vacuum": (), "OBC2": ("implicit/obc2.xml",), "GBn2": ("implicit/gbn2.xml",)}


def openmmtools_system(name):
    """(System, positions in nm) of an openmmtools test system, without its constraints."""
    from openmmtools import testsystems

    made = getattr(testsystems, name)()
    for i in reversed(range(made.system.getNumConstraints())):
        made.system.removeConstraint(i)
    return made.system, made.positions.value_in_unit(unit.nanometer)


def _place(a, b, c, length, angle, torsion):
    """Point d at `length` from c, with angle b–c–d and torsion a–b–c–d in degrees."""
    angle, torsion = np.radians([angle, torsion])
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    local = np.array([-np.cos(angle), np.sin(angle) * np.cos(torsion), np.sin(angle) * np.sin(torsion)])
    return c + length * local @ np.array([axis, np.cross(normal, axis), normal])


def _heavy_atoms(n_alanines, phi=-75.0, psi=145.0):
    """(residue name, {atom name: position in nm}) of ACE-ALA…-NME."""
    nitrogen, alpha = np.array([-0.05, 0.14, 0.0]), np.zeros(3)
    carbon = np.array([0.152, 0.0, 0.0])
    residues = [("ACE", {"CH3": alpha, "C": carbon, "O": _place(nitrogen, alpha, carbon, 0.123, 120.5, psi + 180)})]
    for k in range(n_alanines + 1):
        nitrogen, before, carbonyl = _place(nitrogen, alpha, carbon, 0.1335, 116.6, psi), alpha, carbon
        alpha = _place(before, carbonyl, nitrogen, 0.1449, 121.9, 180.0)
        if k == n_alanines:
            return [*residues, ("NME", {"N": nitrogen, "C": alpha})]
        carbon = _place(carbonyl, nitrogen, alpha, 0.1522, 110.3, phi)
        residue = {"N": nitrogen, "CA": alpha, "C": carbon}
        residue["O"] = _place(nitrogen, alpha, carbon, 0.123, 120.5, psi + 180)
        residue["CB"] = _place(carbonyl, nitrogen, alpha, 0.1526, 110.1, phi - 122.5)
        residues.append(("ALA", residue))


def peptide(solvent, n_alanines=3):
    """(System, openmm topology, positions in nm) of ACE-(ALA)n-NME with amber14, as openmm.app builds it."""
    topology, positions = app.Topology(), []
    chain = topology.addChain()
    for name, atoms in _heavy_atoms(n_alanines):
        residue = topology.addResidue(name, chain)
        for atom, place in atoms.items():
            topology.addAtom(atom, app.Element.getBySymbol(atom[0]), residue)
            positions.append(openmm.Vec3(*place))
    topology.createStandardBonds()
    force_field = app.ForceField("amber14-all.xml", *SOLVENTS[solvent])
    model = app.Modeller(topology, positions * unit.nanometer)
    random.seed(0)  # Modeller places hydrogens at random before it minimises
    model.addHydrogens(force_field, platform=openmm.Platform.getPlatformByName("Reference"))
    system = force_field.createSystem(model.topology, nonbondedMethod=app.NoCutoff, constraints=None)
    return system, model.topology, model.positions.value_in_unit(unit.nanometer)
