"""Closed-form forces against OpenMM's Reference platform: every force, every listed test system, capped peptides."""

import numpy as np
import openmm
import pytest
import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.targets.backends.openmm_backend import OpenMMBackend
from openmm_diffsampler.targets.backends.torch_backend import TorchBackend
from openmm_diffsampler.targets.terms.translate import UnsupportedForceError, translate_system

from ..openmmtools_systems import LARGE, SMALL, SOLVENTS, openmmtools_system, peptide


def relative_force_error(system, x, dtype=torch.float64):
    exact = OpenMMBackend(system, platform="Reference", n_contexts=1).energy_and_forces(x)
    energy, forces = TorchBackend(translate_system(system), dtype=dtype).energy_and_forces(x.to(dtype))
    scale = exact[0].abs() + exact[1].flatten(1).norm(dim=1)
    assert ((energy - exact[0]).abs() <= (1e-10 if dtype == torch.float64 else 1e-4) * scale).all()
    difference = (forces - exact[1]).flatten(1).norm(dim=1)
    return float((difference / exact[1].flatten(1).norm(dim=1)).max())


def thermal(system, positions, n=3, steps=60):
    """Snapshots of a short Langevin run at 300 K."""
    integrator = openmm.LangevinMiddleIntegrator(300, 5, 0.0005)
    integrator.setRandomNumberSeed(1)
    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(system, integrator, platform)
    context.setPositions(positions)
    context.setVelocitiesToTemperature(300, 1)
    frames = []
    for _ in range(n):
        integrator.step(steps)
        frames.append(context.getState(getPositions=True).getPositions(asNumpy=True)._value)
    return torch.as_tensor(np.array(frames))


@pytest.mark.parametrize("name", SMALL)
def test_forces_of_openmmtools_systems(name):
    system, positions = openmmtools_system(name)
    steps = 60 if len(positions) < 100 else 5
    assert relative_force_error(system, thermal(system, positions, steps=steps)) <= 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_forces_of_large_openmmtools_systems(name):
    system, positions = openmmtools_system(name)
    x = torch.as_tensor(np.array(positions) + np.random.default_rng(0).normal(scale=0.003, size=(1, len(positions), 3)))
    assert relative_force_error(system, x) <= 1e-10


@pytest.mark.parametrize("solvent", SOLVENTS)
def test_forces_of_capped_peptides(solvent):
    system, _, positions = peptide(solvent)
    assert relative_force_error(system, thermal(system, positions)) <= 1e-10


def test_forces_in_single_precision():
    molecule = load_system("alanine-dipeptide")
    x = thermal(molecule.system, molecule.positions)
    assert relative_force_error(molecule.system, x, torch.float32) <= 2e-5


def particles(n=12):
    system = openmm.System()
    for _ in range(n):
        system.addParticle(1.0)
    return system


def cmap():
    force, rng = openmm.CMAPTorsionForce(), np.random.default_rng(2)
    force.addMap(6, rng.normal(size=36))
    force.addMap(9, rng.normal(size=81))
    force.addTorsion(0, 0, 1, 2, 3, 1, 2, 3, 4)
    force.addTorsion(1, 4, 5, 6, 7, 8, 9, 10, 11)
    return force


def ryckaert_bellemans():
    force = openmm.RBTorsionForce()
    force.addTorsion(0, 1, 2, 3, 1.0, 2.0, -3.0, 0.5, 0.25, 2.0)
    force.addTorsion(3, 2, 1, 0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.5)
    return force


def periodic_torsion():
    force = openmm.PeriodicTorsionForce()
    for n in (1, 2, 3):
        force.addTorsion(4, 1, 6, 3, n, 0.3 * n, 2.5)
    return force


def nonbonded_with_offsets():
    force = openmm.NonbondedForce()
    for i in range(12):
        force.addParticle((-1) ** i * 0.3, 0.2, 0.5)
    force.addException(0, 1, 0.0, 0.2, 0.0)
    force.addException(1, 2, 0.05, 0.25, 0.3)
    force.addGlobalParameter("scale", 0.7)
    force.addParticleParameterOffset("scale", 3, 0.2, 0.01, 0.1)
    force.addExceptionParameterOffset("scale", 1, 0.1, 0.0, 0.2)
    return force


def gbsa():
    force = openmm.GBSAOBCForce()
    force.setSoluteDielectric(2.0)
    force.setSolventDielectric(60.0)
    for i in range(12):
        force.addParticle((-1) ** i * 0.3, 0.1 + 0.01 * i, 0.7 + 0.02 * i)
    return force


def custom_angle():
    force = openmm.CustomAngleForce("k*(cos(theta)-c)^2+a*theta")
    force.addGlobalParameter("a", 0.3)
    force.addPerAngleParameter("k")
    force.addPerAngleParameter("c")
    force.addAngle(0, 1, 2, (3.0, 0.2))
    force.addAngle(5, 3, 4, (1.0, -0.2))
    return force


def custom_torsion():
    force = openmm.CustomTorsionForce("k*min(d, 2*3.14159265-d)^2; d=abs(theta-t0)")
    force.addPerTorsionParameter("k")
    force.addPerTorsionParameter("t0")
    force.addTorsion(0, 1, 2, 3, (3.0, 0.2))
    force.addTorsion(7, 5, 2, 4, (1.0, -0.2))
    return force


def custom_nonbonded():
    force = openmm.CustomNonbondedForce("f(r)*d1*d2*table(t1, t2) + step(0.4-r)*e*r; e=0.5")
    force.addPerParticleParameter("q")
    force.addPerParticleParameter("t")
    force.addComputedValue("d", "q^2+1")
    force.addTabulatedFunction("f", openmm.Continuous1DFunction(np.sin(np.arange(9)), 0.1, 0.8))
    force.addTabulatedFunction("table", openmm.Discrete2DFunction(2, 3, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
    for i in range(12):
        force.addParticle((0.1 * i, i % 2))
    force.addExclusion(0, 1)
    force.addExclusion(5, 2)
    force.addInteractionGroup(range(6), range(3, 12))
    return force


def custom_gb():
    force = openmm.CustomGBForce()
    force.addPerParticleParameter("q")
    force.addComputedValue("I", "q2*exp(-3*r)*(1+0.1*q1)", openmm.CustomGBForce.ParticlePair)
    force.addComputedValue("B", "1/(1+I^2)", openmm.CustomGBForce.SingleParticle)
    force.addComputedValue("C", "B*I+q", openmm.CustomGBForce.SingleParticle)
    force.addEnergyTerm("q*C^2", openmm.CustomGBForce.SingleParticle)
    force.addEnergyTerm("q1*q2*B1*C2/(r+0.1)+q1*q2*B2*C1/(r+0.1)", openmm.CustomGBForce.ParticlePair)
    force.addEnergyTerm("r*B1*B2", openmm.CustomGBForce.ParticlePairNoExclusions)
    for i in range(12):
        force.addParticle((0.1 + 0.05 * i,))
    force.addExclusion(0, 1)
    force.addExclusion(7, 3)
    return force


FORCES = (
    cmap,
    ryckaert_bellemans,
    periodic_torsion,
    nonbonded_with_offsets,
    gbsa,
    custom_angle,
    custom_torsion,
    custom_nonbonded,
    custom_gb,
)


@pytest.mark.parametrize("make", FORCES, ids=lambda make: make.__name__)
def test_single_forces_on_random_positions(make):
    system = particles()
    system.addForce(make())
    x = torch.randn(20, 12, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) * 0.25
    assert relative_force_error(system, x) <= 1e-10


def test_force_vjp_is_the_derivative_of_the_force():
    molecule = load_system("alanine-dipeptide")
    x = thermal(molecule.system, molecule.positions, n=2)
    v = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(4))
    by_differences = OpenMMBackend(molecule.system, platform="Reference", n_contexts=1).force_vjp(x, v)
    closed_form = TorchBackend(translate_system(molecule.system)).force_vjp(x, v)
    assert (closed_form - by_differences).norm() <= 1e-7 * by_differences.norm()


def test_refusals_name_the_force():
    system = particles()
    force = openmm.CustomNonbondedForce("f(r, 1)")
    force.addTabulatedFunction("f", openmm.Continuous2DFunction(4, 4, np.zeros(16), 0, 1, 0, 1))
    for _ in range(12):
        force.addParticle([])
    system.addForce(force)
    with pytest.raises(UnsupportedForceError, match=r"CustomNonbondedForce.*Continuous2DFunction"):
        translate_system(system)
    system = particles()
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)
    system.addForce(force)
    with pytest.raises(UnsupportedForceError, match="NonbondedForce uses a cutoff"):
        translate_system(system)
