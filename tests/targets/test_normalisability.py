"""Molecules that nothing holds together: told, and held on request."""

import warnings

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit

from openmm_diffsampler import HMC, BoltzmannGenerator
from openmm_diffsampler.coordinates import InternalTarget
from openmm_diffsampler.targets import (
    OpenMMTarget,
    UnnormalisableDensityWarning,
    load_system,
    with_restrained_fragments,
)
from openmm_diffsampler.targets.fragments import fragments

KELVIN = 300 * unit.kelvin
#: Two diatomic molecules.
POSITIONS = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.5, 0], [0.1, 0.5, 0.01]]) * unit.nanometer


def _two_molecules(charge=0.0):
    system, bonds, nonbonded = openmm.System(), openmm.HarmonicBondForce(), openmm.NonbondedForce()
    topology = app.Topology()
    chain = topology.addChain()
    residues = [topology.addResidue(f"M{k}", chain) for k in range(2)]
    for k in range(4):
        topology.addAtom(f"C{k}", app.element.carbon, residues[k // 2])
        system.addParticle(12.0)
        nonbonded.addParticle(charge * (-1) ** k, 0.3, 0.5)
    for a, b in ((0, 1), (2, 3)):
        bonds.addBond(a, b, 0.1, 1e5)
        nonbonded.addException(a, b, 0, 0.3, 0)
        topology.addBond(*(list(topology.atoms())[i] for i in (a, b)))
    system.addForce(bonds)
    system.addForce(nonbonded)
    return system, topology


def _target(system, topology=None):
    return OpenMMTarget(system, KELVIN, topology=topology, positions=POSITIONS)


@pytest.mark.parametrize("charge", [0.0, 0.5])
@pytest.mark.parametrize("with_topology", [True, False])
def test_molecules_that_drift_apart_are_told(charge, with_topology):
    system, topology = _two_molecules(charge)
    with pytest.warns(UnnormalisableDensityWarning, match="2 molecules, and nothing holds atoms .* to the others"):
        target = _target(system, topology if with_topology else None)
    assert not target.is_normalisable
    with pytest.raises(ValueError, match="nothing holds together"):
        BoltzmannGenerator(target)


def _harmonic_pairs(system):
    force = openmm.CustomNonbondedForce("0.1*r^2")
    for _ in range(system.getNumParticles()):
        force.addParticle([])
    system.addForce(force)


def _container(system):
    force = openmm.CustomExternalForce("max(0, x*x+y*y+z*z-4)")
    for k in range(system.getNumParticles()):
        force.addParticle(k, [])
    system.addForce(force)


def _bond_between(system):
    system.getForce(0).addBond(1, 2, 0.5, 10.0)


def _periodic(system):
    system.getForce(1).setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.getForce(1).setCutoffDistance(0.9)
    system.getForce(1).setUseDispersionCorrection(False)


@pytest.mark.parametrize("hold", [_harmonic_pairs, _container, _bond_between, _periodic])
def test_whatever_holds_them_will_do(hold):
    system, topology = _two_molecules()
    hold(system)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnnormalisableDensityWarning)
        assert _target(system, topology).is_normalisable


def test_a_force_that_grows_too_slowly_does_not_hold():
    """exp(−2 log r) r² has no integral, exp(−9 log r) r² has one."""
    for power, holds in ((2, False), (9, True)):
        system, topology = _two_molecules()
        force = openmm.CustomNonbondedForce(f"{power}*2.4943*log(r+1)/4")  # four pairs
        for _ in range(4):
            force.addParticle([])
        system.addForce(force)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnnormalisableDensityWarning)
            assert _target(system, topology).is_normalisable == holds


@pytest.mark.parametrize("name", ["lj13", "lj55", "alanine-dipeptide", "aspartame"])
def test_built_in_systems_are_normalisable(name):
    assert load_system(name).target().is_normalisable


def test_restrained_molecules_stay_together():
    system, topology = _two_molecules()
    held = with_restrained_fragments(system, 0.8 * unit.nanometer)
    assert system.getNumForces() == 2 and len(fragments(held)) == 1
    target = _target(held, topology)
    assert target.is_normalisable and target.translation_invariant
    x = HMC(target, step_size=0.002, n_leapfrog=5).sample(POSITIONS, 200, n_chains=16, n_warmup=50, seed=0).x
    # Beyond the radius of 0.8 nm by at most a few √(kT/k) = 0.05 nm.
    assert (x[:, 0] - x[:, 2]).norm(dim=1).max() < 1.1


def test_restraints_refuse_what_they_cannot_do():
    system, _ = _two_molecules()
    with pytest.raises(ValueError, match="one of each of the 2 molecules"):
        with_restrained_fragments(system, 1 * unit.nanometer, atoms=[0, 1])
    with pytest.raises(ValueError, match="must be positive"):
        with_restrained_fragments(system, 0 * unit.nanometer)
    with pytest.raises(ValueError, match="single molecule"):
        with_restrained_fragments(load_system("alanine-dipeptide").system, 1 * unit.nanometer)


def test_the_internal_target_of_one_molecule_passes_it_on():
    molecule = load_system("alanine-dipeptide-vacuum")
    assert InternalTarget(molecule.target(), molecule.positions).is_normalisable
    assert torch.isfinite(molecule.target().reduced_potential(torch.as_tensor(molecule.positions._value)[None])).all()
