"""What the OpenMM integrator refuses, and what it says."""

import math

import numpy as np
import openmm
import pytest
from openmm import unit

from openmm_diffsampler import DiffusiveGibbsIntegrator, load_system

from .known import PLATFORMS, TEMPERATURE, ball, oscillator
from .test_integrator import FEMTOSECOND, make, start


@pytest.mark.parametrize(("platform", "properties"), PLATFORMS[:2], ids=str)
def test_a_start_with_nan_positions_raises(platform, properties):
    molecule = load_system("alanine-dipeptide-vacuum")
    positions = molecule.positions.value_in_unit(unit.nanometer).copy()
    positions[3, 1] = math.nan
    integrator = make([5e-4], 1 * FEMTOSECOND)
    context = start(molecule.system, integrator, positions, openmm.Platform.getPlatformByName(platform), properties)
    with pytest.raises(ValueError, match="at the start is"):
        integrator.step(1)
    context.reinitialize()


def test_noise_scales_can_be_changed_to_others_of_the_kind():
    integrator = make([0.1, (0.01, 0.02)])
    integrator.set_noise_scales([0.2, (0.0, 0.03)])
    assert integrator.noise_scales == (0.2, (0.0, 0.03))
    for wrong in ([0.2], [0.2, 0.1], [(0.1, 0.1), 0.01]):
        with pytest.raises(ValueError, match="give 2 levels"):
            integrator.set_noise_scales(wrong)
    with pytest.raises(ValueError, match="must be positive"):
        integrator.set_noise_scales([math.nan, (0.1, 0.1)])
    angstrom = unit.angstrom
    assert make([[1 * angstrom, 0 * angstrom], 2 * angstrom]).noise_scales == (0.2, (0.1, 0.0))


def test_a_start_without_finite_energy_raises():
    integrator = make()
    context = start(oscillator(), integrator, [[math.nan, 0, 0]])
    with pytest.raises(ValueError, match="energy at the start is nan kJ/mol; minimise"):
        integrator.step(1)
    context.setPositions([[0, 0, 0]])
    integrator.step(1)
    outside = make()
    context = start(ball()[0], outside, [[2, 0, 0]])
    with pytest.raises(ValueError, match="energy at the start"):
        outside.step(5)
    assert context.getState(positions=True).getPositions(asNumpy=True)._value.tolist() == [[2, 0, 0]]


def forbidden(kind):
    system = openmm.System()
    for _ in range(3):
        system.addParticle(1.0)
    if kind == "constraints":
        system.addConstraint(0, 1, 0.1)
    elif kind == "virtual sites":
        system.setParticleMass(2, 0)
        system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))
    elif kind == "MonteCarloBarostat":
        force = openmm.NonbondedForce()
        force.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
        for _ in range(3):
            force.addParticle(0, 1, 0)
        system.addForce(force)
        system.addForce(openmm.MonteCarloBarostat(1 * unit.bar, TEMPERATURE))
    return system


@pytest.mark.parametrize("kind", ["constraints", "virtual sites", "MonteCarloBarostat"])
def test_what_cannot_be_sampled_raises_before_anything_moves(kind):
    integrator = make()
    context = start(forbidden(kind), integrator, np.eye(3))
    with pytest.raises(ValueError, match=kind):
        integrator.step(1)
    assert (context.getState(positions=True).getPositions(asNumpy=True)._value == np.eye(3)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((300, [0.1], 1 * FEMTOSECOND), TypeError, "temperature is 300, without a unit"),
        ((TEMPERATURE, [0.1], 0.001), TypeError, "timestep is 0.001"),
        ((TEMPERATURE, [0.1], -1 * FEMTOSECOND), ValueError, "timestep is -1 fs"),
        ((TEMPERATURE, [], 1 * FEMTOSECOND), ValueError, "no noise level"),
        ((TEMPERATURE, 0.1, 1 * FEMTOSECOND), TypeError, "give a list of levels"),
        ((TEMPERATURE, 0.1 * unit.nanometer, 1 * FEMTOSECOND), TypeError, "give a list of levels"),
        ((TEMPERATURE, [1] * unit.picosecond, 1 * FEMTOSECOND), TypeError, "no length"),
        ((TEMPERATURE, [-0.1], 1 * FEMTOSECOND), ValueError, "must be positive"),
    ],
)
def test_wrong_settings(arguments, error, message):
    with pytest.raises(error, match=message):
        DiffusiveGibbsIntegrator(*arguments)


def test_wrong_seed_and_scales_of_another_molecule():
    with pytest.raises(ValueError, match="seed is -1"):
        make(seed=-1)
    integrator = make([(0.1, 0.1)])
    context = start(oscillator(), integrator)
    with pytest.raises(ValueError, match="2 scales and the System 1 particles"):
        integrator.step(1)
    assert context.getState(positions=True).getPositions()[0] == openmm.Vec3(0, 0, 0) * unit.nanometer


def test_steps_without_a_context_say_so():
    with pytest.raises(ValueError, match="no context"):
        make().step(1)
