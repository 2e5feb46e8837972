"""Å are told from nm by the lengths of bonds, and nothing else is taken for Å."""

import itertools

import mdtraj
import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import DiffusiveGibbsIntegrator, InternalDiffusiveGibbs, OpenMMTarget, load_system
from openmm_diffsampler.mcmc.state import AbsurdEnergyWarning, initial_state
from openmm_diffsampler.targets.bond_scale import BondScale

from .reference import particles

MOLECULE = load_system("alanine-dipeptide-vacuum")
X = np.array(MOLECULE.positions.value_in_unit(unit.nanometer))


def without_bond_forces(system):
    """Without forces that say how long bonds are, as with a machine-learnt potential."""
    system = openmm.XmlSerializer.clone(system)
    for k in reversed(range(system.getNumForces())):
        if not isinstance(system.getForce(k), openmm.NonbondedForce):
            system.removeForce(k)
    return system


def without_bonds(topology):
    topology = topology.copy()
    topology._bonds = []
    return topology


SCALES = {
    "by the System": BondScale(MOLECULE.system),
    "by elements": BondScale(without_bond_forces(MOLECULE.system), MOLECULE.mdtraj_topology),
    "by hydrogens": BondScale(without_bond_forces(MOLECULE.system), without_bonds(MOLECULE.mdtraj_topology)),
}


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
def test_units_are_told(scale):
    scale.require(X)
    scale.require(np.stack([X, 1.5 * X, 0.6 * X]))
    for factor, name in ((10, "Å"), (18.9, "bohr"), (1000, "pm"), (0.1, "nm that were taken for Å"), (1e-9, "m:")):
        with pytest.raises(ValueError, match=f"positions look like {name}.*bare numbers are taken for nm"):
            scale.require(factor * X)
    with pytest.raises(ValueError, match="look like Å"):
        scale.require(np.stack([X, 10 * X]))


def test_angstroms_are_refused_wherever_positions_come_in():
    target = MOLECULE.target()
    with pytest.raises(ValueError, match="positions look like Å: bonds are 10 times as long"):
        OpenMMTarget(MOLECULE.system, MOLECULE.temperature, positions=10 * X)
    with pytest.raises(ValueError, match="positions look like Å"):
        OpenMMTarget(MOLECULE.system, MOLECULE.temperature, positions=10 * X * unit.nanometer)
    with pytest.raises(ValueError, match="initial positions look like Å"):
        initial_state(target, 10 * X, 3)
    with pytest.raises(ValueError, match="initial positions look like Å"):
        InternalDiffusiveGibbs(target, torch.as_tensor(10 * X))
    integrator = DiffusiveGibbsIntegrator(MOLECULE.temperature, [5e-4], 1 * unit.femtosecond)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(MOLECULE.system, integrator, platform)
    context.setPositions(10 * X)
    with pytest.raises(ValueError, match="positions look like Å"):
        integrator.step(1)


def chain(n, length, stiffness):
    force = openmm.HarmonicBondForce()
    for k in range(n - 1):
        force.addBond(k, k + 1, length, stiffness)
    return particles(n, force)


def line(n, distance):
    return np.stack([distance * np.arange(n), np.zeros(n), np.zeros(n)], 1)


def test_what_is_no_mistake_passes():
    cluster = load_system("lj13")
    BondScale(cluster.system, cluster.mdtraj_topology).require(10 * np.array(cluster.positions._value))
    beads = chain(5, 0.47, 1250.0)  # coarse-grained
    for distance in (0.3, 0.47, 1.0):
        BondScale(beads).require(line(5, distance))
    with pytest.raises(ValueError, match="look like Å"):
        BondScale(beads).require(line(5, 4.7))
    BondScale(chain(5, 0.1, 0.5)).require(line(5, 1.0))  # springs so weak that heat alone stretches them
    broken = X.copy()
    broken[:6] += 5.0  # across a periodic boundary
    SCALES["by the System"].require(broken)


def test_restraints_say_nothing_about_units():
    system = openmm.XmlSerializer.clone(MOLECULE.system)
    far = openmm.CustomBondForce("0.5*k*(r-r0)^2")
    far.addPerBondParameter("k")
    far.addPerBondParameter("r0")
    for k in range(21):
        far.addBond(k, 21, [1e4, 5.0])
    system.addForce(far)
    BondScale(system).require(X)


def test_atoms_of_a_trace_are_no_bonded_atoms():
    """Cα atoms, 0.38 nm apart, by a topology alone."""
    topology = mdtraj.Topology()
    chain_ = topology.add_chain()
    atoms = [topology.add_atom("CA", mdtraj.element.carbon, topology.add_residue("ALA", chain_)) for _ in range(5)]
    for a, b in itertools.pairwise(atoms):
        topology.add_bond(a, b)
    scale = BondScale(particles(5), topology)
    scale.require(line(5, 0.38))
    with pytest.raises(ValueError, match="look like"):
        scale.require(line(5, 3.8))


def test_absurd_energies_are_told():
    target = MOLECULE.target()
    x = X.copy()
    x[20] = x[4] + 0.004  # a hydrogen in a carbon
    with pytest.warns(AbsurdEnergyWarning, match="atoms overlap"):
        state = initial_state(target, x)
    assert state.u.isfinite().all()
    with pytest.raises(ValueError, match=r"chains \[1\] hold NaN"):
        initial_state(target, np.stack([X, X * np.nan]))
