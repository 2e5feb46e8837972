"""What a System must be like to be sampled, and positions to try it on."""

import numpy as np
import openmm
import pytest
import torch
from openmm import unit

from openmm_diffsampler import load_system
from openmm_diffsampler.targets.positions import positions_array
from openmm_diffsampler.targets.system_checks import generic_positions, require_samplable

from .reference import particles, reference


def constrained(system):
    system.addConstraint(0, 1, 0.1)


def with_virtual_site(system):
    system.addParticle(0.0)
    system.setVirtualSite(2, openmm.TwoParticleAverageSite(0, 1, 0.5, 0.5))


def massless(system):
    system.setParticleMass(1, 0.0)


def with_barostat(system):
    system.addForce(openmm.MonteCarloBarostat(1.0, 300.0))


def with_membrane_barostat(system):
    barostat = openmm.MonteCarloMembraneBarostat
    system.addForce(barostat(1.0, 0.0, 300.0, barostat.XYIsotropic, barostat.ZFree))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (constrained, r"1 constraints.*createSystem\(\.\.\., constraints=None, rigidWater=False\)"),
        (with_virtual_site, "particles 2 are virtual sites.*use a model without"),
        (massless, "particles 1 have mass zero.*give them a mass, or restrain them"),
        (with_barostat, r"has a MonteCarloBarostat.*system\.removeForce"),
        (with_membrane_barostat, r"has a MonteCarloMembraneBarostat.*system\.removeForce"),
    ],
)
def test_what_cannot_be_sampled_is_refused_with_what_to_do(spoil, message):
    system = particles(2)
    require_samplable(system)
    spoil(system)
    with pytest.raises(ValueError, match=message):
        require_samplable(system)


def test_long_lists_of_particles_are_cut_short():
    system = particles(9)
    for i in range(9):
        system.setParticleMass(i, 0.0)
    with pytest.raises(ValueError, match="particles 0, 1, 2, 3, 4, … have mass zero"):
        require_samplable(system)


def test_an_empty_system_and_something_else():
    with pytest.raises(ValueError, match="no particles"):
        require_samplable(openmm.System())
    with pytest.raises(TypeError, match=r"system is a str; give an openmm\.System"):
        require_samplable("<System/>")


@pytest.mark.parametrize("force", [openmm.CMMotionRemover(), openmm.AndersenThermostat(300.0, 1.0)])
def test_forces_that_change_only_the_dynamics_are_accepted(force):
    require_samplable(particles(2, force))


EXPECTED = np.array([[0.0, 0.1, 0.2], [0.3, 0.4, 0.5]])


@pytest.mark.parametrize(
    "positions",
    [
        EXPECTED,
        EXPECTED.tolist(),
        EXPECTED * unit.nanometer,
        EXPECTED * 10 * unit.angstrom,
        [openmm.Vec3(*row) for row in EXPECTED] * unit.nanometer,
        [openmm.Vec3(*row) for row in EXPECTED],
    ],
)
def test_positions_come_in_many_forms(positions):
    array = positions_array(positions, 2)
    assert array.dtype == np.float64
    np.testing.assert_allclose(array, EXPECTED, rtol=1e-15)


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (EXPECTED[:1], r"shape \(1, 3\) and the System 2"),
        (EXPECTED[:, :2], r"shape \(2, 2\)"),
        (EXPECTED * np.nan, "NaN or infinite"),
        (np.full((2, 3), np.inf), "NaN or infinite"),
    ],
)
def test_wrong_positions_are_refused(positions, message):
    with pytest.raises(ValueError, match=message):
        positions_array(positions, 2)


@pytest.mark.parametrize("name", ["lj13", "lj55", "alanine-dipeptide-vacuum"])
def test_generic_positions_have_a_finite_energy_and_are_the_same_every_time(name):
    system = load_system(name).system
    found = generic_positions(system)
    energy, forces = reference(system).energy_and_forces(torch.as_tensor(found)[None])
    assert energy.isfinite().all() and forces.isfinite().all() and forces.any()
    np.testing.assert_array_equal(found, generic_positions(system))


def test_where_every_energy_is_infinite_positions_are_asked_for():
    force = openmm.CustomExternalForce("log(-1-x^2)")
    force.addParticle(0, [])
    with pytest.raises(ValueError, match=r"no configuration of finite energy.*give positions"):
        generic_positions(particles(1, force))
