"""The molecules of mcmc_comparison.py: alanine dipeptide, aspartame, and a chain whose torsions are known."""

import math
from itertools import pairwise

import numpy as np
import openmm
import torch
from mcmc_scores import Dynamics
from mcmc_torsions import BINS, Reference, TorsionProblem
from openmm import app, unit

from openmm_diffsampler import OpenMMTarget, load_system
from openmm_diffsampler.analysis import ALANINE_DIPEPTIDE_BASINS
from openmm_diffsampler.coordinates import BondRotations
from openmm_diffsampler.targets.system_checks import generic_positions
from openmm_diffsampler.targets.units import thermal_energy


def alanine_dipeptide(name):
    """Chains start in the basin C7eq, at φ = −80°; the file has the extended conformation, on the line φ = 180°."""
    molecule = load_system(name)
    rotations = BondRotations(molecule.mdtraj_topology)
    extended = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer))[None]
    about_phi = torch.tensor([[atoms[1:3] for atoms in rotations.torsions].index((6, 8))])
    start = rotations.rotate(extended, about_phi, torch.tensor([math.radians(100)], dtype=extended.dtype))[0]
    torsions = {"phi": (4, 6, 8, 14), "psi": (6, 8, 14, 16)}
    return TorsionProblem(
        molecule.target(),
        start,
        torsions,
        [("phi", "psi")],
        {"phi": [0, 130]},  # as the basins: beyond 130° it is the C5 basin
        basins=ALANINE_DIPEPTIDE_BASINS,
        rare=("phi", 0, "φ>0"),
        dynamics=_dynamics(molecule.system, molecule.temperature),
    )


def aspartame():
    """The torsions that differ when turned: without NH3, CH3, COO and phenyl."""
    molecule = load_system("aspartame")
    names = {
        "chi1 Asp": "N1 CA1 CB1 CG1",
        "psi Asp": "N1 CA1 C1 N2",
        "omega": "CA1 C1 N2 CA2",
        "phi Phe": "C1 N2 CA2 C2",
        "chi1 Phe": "N2 CA2 CB2 CR1",
        "psi Phe": "N2 CA2 C2 OM",
        "ester": "CA2 C2 OM CM",
    }
    index = {atom.name: atom.index for atom in molecule.topology.atoms()}
    pairs = [("chi1 Asp", "psi Asp"), ("psi Asp", "omega"), ("omega", "phi Phe"), ("phi Phe", "psi Phe")]
    pairs += [("phi Phe", "chi1 Phe"), ("chi1 Phe", "psi Phe"), ("psi Phe", "ester")]
    return TorsionProblem(
        molecule.target(),
        molecule.positions.value_in_unit(unit.nanometer),
        {name: tuple(index[atom] for atom in atoms.split()) for name, atoms in names.items()},
        pairs,
        ASPARTAME_CUTS,
        dynamics=_dynamics(molecule.system, molecule.temperature),
    )


#: Between the wells of aspartame's torsions.
ASPARTAME_CUTS = {
    "chi1 Asp": [-120, 0, 120],
    "psi Asp": [-120, 60],
    "chi1 Phe": [-120, 0, 120],
    "psi Phe": [-120, 60],
}


def _dynamics(system, temperature):
    # 2 fs without constraints: the harmonic motion of bonds to hydrogen is stable, and torsions do not notice.
    return Dynamics(system, temperature, 0.002, 1.0)


# A chain with four torsions that know nothing of each other

#: Of each torsion: (periodicity, phase in degrees, k in kJ/mol) of k(1 + cos(nφ − δ)). Barriers exceed 12 kT at 300 K.
TOY_TORSIONS = {
    "tau1": [(3, 0, 17.0), (1, 40, 1.2)],
    "tau2": [(2, 0, 18.0), (1, 70, 1.3)],
    "tau3": [(3, 0, 17.0), (1, -60, 1.5)],
    "tau4": [(2, 0, 18.0), (1, -90, 1.8)],
}
TOY_CUTS = {name: [-120, 0, 120] if terms[0][0] == 3 else [-180, 0] for name, terms in TOY_TORSIONS.items()}


def torsional_toy():
    """Seven atoms in a row: without other forces than bonds, angles and torsions, p(τ) factorises exactly."""
    system, topology = openmm.System(), app.Topology()
    residue = topology.addResidue("TOY", topology.addChain())
    atoms = [topology.addAtom(f"C{i + 1}", app.element.carbon, residue) for i in range(7)]
    bonds, angles, torsions = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for i in range(7):
        system.addParticle(14.0)
        if i < 6:
            topology.addBond(atoms[i], atoms[i + 1])
            bonds.addBond(i, i + 1, 0.15, 2e5)
        if i < 5:
            angles.addAngle(i, i + 1, i + 2, math.radians(112), 500.0)
    for i, terms in enumerate(TOY_TORSIONS.values()):
        for n, phase, k in terms:
            torsions.addTorsion(i, i + 1, i + 2, i + 3, n, math.radians(phase), k)
    for force in (bonds, angles, torsions):
        system.addForce(force)
    temperature, start = 300 * unit.kelvin, generic_positions(system)
    names = list(TOY_TORSIONS)
    return TorsionProblem(
        OpenMMTarget(system, temperature, topology, positions=start, name="torsional-toy"),
        start,
        {name: (i, i + 1, i + 2, i + 3) for i, name in enumerate(names)},
        list(pairwise(names)),
        TOY_CUTS,
        dynamics=_dynamics(system, temperature),
        exact=_toy_reference,
    )


def _toy_reference(problem):
    kT, fine = thermal_energy(300 * unit.kelvin), 3600
    angle = (np.arange(fine) + 0.5) * 360 / fine - 180
    marginals, wells = {}, []
    for name, terms in TOY_TORSIONS.items():
        energy = sum(k * (1 + np.cos(np.radians(n * angle - phase))) for n, phase, k in terms)
        p = np.exp(-energy / kT)
        p /= p.sum()
        marginals[name] = p.reshape(BINS, -1).sum(1)
        cuts = TOY_CUTS[name]
        wells.append(np.bincount(problem.wells({name: angle}, name), p, len(cuts)))
    basins = wells[0]
    for p in wells[1:]:
        basins = np.multiply.outer(basins, p)
    pairs = np.array([np.outer(marginals[a], marginals[b]) for a, b in problem.pairs])
    return Reference(pairs, basins.ravel(), None, math.inf)
