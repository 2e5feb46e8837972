"""The OpenMM integrator against known distributions on every platform; comparisons state the z-score they allow."""

import copy
import math

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmmtools.integrators import ThermostatedIntegrator

from openmm_diffsampler import DiffusiveGibbsIntegrator, load_system

from .known import KT, PLATFORMS, REFERENCE, TEMPERATURE, ball, mean_and_error, oscillator, two_mode_molecule

FEMTOSECOND = unit.femtosecond


def make(noise_scales=(0.05, 0.01), timestep=10 * FEMTOSECOND, **options):
    return DiffusiveGibbsIntegrator(TEMPERATURE, noise_scales, timestep, **options)


def start(system, integrator, positions=((0, 0, 0),), platform=REFERENCE, properties=None):
    context = openmm.Context(system, integrator, platform, properties or {})
    context.setPositions(np.array(positions))
    return context


def sample(context, integrator, n, sweeps=1):
    """Positions and velocities (n, n_atoms, 3), `sweeps` apart."""
    x, v = [], []
    for _ in range(n):
        integrator.step(sweeps)
        state = context.getState(positions=True, velocities=True)
        x.append(state.getPositions(asNumpy=True)._value)
        v.append(state.getVelocities(asNumpy=True)._value)
    return np.array(x), np.array(v)


@pytest.mark.parametrize(("platform", "properties"), PLATFORMS, ids=str)
def test_distribution_on_every_platform(platform, properties):
    """Variances of an oscillator and the weights of two modes, 4 standard errors; Maxwell–Boltzmann velocities."""
    chosen = openmm.Platform.getPlatformByName(platform)
    n = {"Reference": 10_000, "CPU": 1500}.get(platform, 800)
    integrator = make(seed=3)
    context = start(oscillator(mass=2.0), integrator, platform=chosen, properties=properties)
    x, v = sample(context, integrator, n, 2)
    for axis, k in enumerate((1000, 4000, 16000)):
        value, error = mean_and_error(x[:, 0, axis] ** 2)
        assert abs(value - KT / k) < 4 * error
    assert abs((v**2).mean() - KT / 2.0) < 4 * KT / 2.0 * math.sqrt(2 / (3 * n))
    system, positions, exact = two_mode_molecule()
    integrator = make([(0, 0, 0.07), (0.01, 0.01, 0.01)], 3 * FEMTOSECOND, seed=4)
    context = start(system, integrator, positions, chosen, properties)
    integrator.step(50)
    x, _ = sample(context, integrator, n, 2)
    share, error = mean_and_error(np.linalg.norm(x[:, 2] - x[:, 1], axis=1) > 0.2)
    assert error < 0.06 and abs(share - exact) < 4 * error


@pytest.mark.parametrize(
    "options",
    [
        {"noise_scales": [0.03], "denoiser": "mala"},
        {"noise_scales": [0.2, 0.05, 0.02, 0.005], "n_leapfrog": 3},
        {"noise_scales": [0.005], "n_leapfrog": 8, "n_denoising_steps": 3},  # a tether far stiffer than the timestep
    ],
    ids=["mala", "ladder", "stiff tether"],
)
def test_any_settings_leave_the_oscillator_alone(options):
    integrator = make(seed=5, **options)
    context = start(oscillator(), integrator)
    x, _ = sample(context, integrator, 20_000)
    for axis, k in enumerate((1000, 4000, 16000)):
        value, error = mean_and_error(x[:, 0, axis] ** 2)
        assert abs(value - KT / k) < 4 * error
    assert all(row["HMC acceptance"] > 0.5 for row in integrator.statistics()["levels"])


def test_nonfinite_proposals_are_rejected_and_counted():
    """NaN energies outside a ball: the distribution inside stays exact, 4 standard errors."""
    system, exact = ball()
    integrator = make([0.5, 0.1], 200 * FEMTOSECOND, seed=6)
    context = start(system, integrator)
    x, _ = sample(context, integrator, 20_000)
    value, error = mean_and_error((x**2).sum((1, 2)))
    assert abs(value - exact) < 4 * error
    first, second = integrator.statistics()["levels"]
    assert first["nonfinite"] > second["nonfinite"] > 0


@pytest.mark.parametrize(("platform", "properties"), PLATFORMS, ids=str)
def test_overlapping_atoms_do_no_harm(platform, properties):
    """Guesses that throw atoms on top of each other, and trajectories that blow up."""
    cluster = load_system("lj13")
    integrator = DiffusiveGibbsIntegrator(cluster.temperature, [5.0, 0.05], 1 * unit.picosecond, seed=1)
    positions = cluster.positions.value_in_unit(unit.nanometer)
    context = start(cluster.system, integrator, positions, openmm.Platform.getPlatformByName(platform), properties)
    integrator.step(60)
    state = context.getState(positions=True, energy=True)
    assert np.isfinite(state.getPositions(asNumpy=True)._value).all()
    assert math.isfinite(state.getPotentialEnergy()._value)
    assert integrator.statistics()["levels"][0]["HMC acceptance"] < 0.2


def test_rejecting_what_runs_off_is_exact():
    """Steps near the limit of what counts as running off, under a tether: 4 standard errors."""
    system, force = openmm.System(), openmm.CustomExternalForce("0.5*1e-6*(x^2 + y^2 + z^2)")
    system.addParticle(1.0)
    force.addParticle(0, [])
    system.addForce(force)
    integrator = make([800.0], 800 * unit.picosecond, seed=1)
    context = start(system, integrator)
    x, _ = sample(context, integrator, 20_000)
    assert integrator.statistics()["levels"][0]["nonfinite"] > 1000
    value, error = mean_and_error((x**2).mean((1, 2)))
    assert abs(value - KT / 1e-6) < 4 * error


def test_narrow_levels_keep_their_acceptance():
    """Many stiff coordinates, a timestep that suits them, and tethers from wide to far narrower."""
    system, force = openmm.System(), openmm.CustomExternalForce("0.5*1000*(x^2 + y^2 + z^2)")
    for i in range(100):
        system.addParticle(1.0)
        force.addParticle(i, [])
    system.addForce(force)
    width = math.sqrt(KT / 1000)
    levels = [width * s for s in (15, 0.6, 0.2, 0.1, 0.08, 0.025)]
    integrator = make(levels, 0.3 / math.sqrt(1000) * unit.picosecond, n_leapfrog=10, seed=1)
    context = start(system, integrator, np.random.default_rng(0).normal(scale=width, size=(100, 3)))
    integrator.step(300)
    assert all(row["HMC acceptance"] > 0.8 for row in integrator.statistics()["levels"]), integrator.statistics()
    context.reinitialize()


def test_massless_particles_stay_and_masses_do_not_matter():
    """A heavy and a light particle on springs from one that is held: equal variances, 4 standard errors."""
    system, bonds = openmm.System(), openmm.CustomBondForce("2000*r^2")
    for mass in (0.0, 1.0, 100.0):
        system.addParticle(mass)
    bonds.addBond(0, 1, [])
    bonds.addBond(0, 2, [])
    system.addForce(bonds)
    integrator = make([0.03], 5 * FEMTOSECOND, seed=2, n_leapfrog=10)
    context = start(system, integrator, [[1, 2, 3]] * 3)
    x, v = sample(context, integrator, 20_000)
    assert (x[:, 0] == [1, 2, 3]).all() and (v[:, 0] == 0).all()
    for atom, mass in ((1, 1.0), (2, 100.0)):
        value, error = mean_and_error(((x[:, atom] - [1, 2, 3]) ** 2).mean(1))
        assert abs(value - KT / 4000) < 4 * error
        value, error = mean_and_error((v[:, atom] ** 2).mean(1))
        assert abs(value - KT / mass) < 4 * error


def test_a_particle_without_noise_is_not_displaced_by_guesses():
    system = openmm.System()
    system.addParticle(1.0)
    system.addParticle(1e30)  # hardly moves in the trajectories
    force = openmm.CustomExternalForce("1000*(x^2 + y^2 + z^2)")
    force.addParticle(0, [])
    system.addForce(force)
    integrator = make([(0.02, 0.0)], seed=1)
    context = start(system, integrator, np.zeros((2, 3)))
    integrator.step(100)
    x = context.getState(positions=True).getPositions(asNumpy=True)._value
    assert abs(x[1]).max() < 1e-10 and abs(x[0]).max() > 1e-3


def test_centre_of_mass_motion_is_left_alone():
    def run(*forces):
        system = oscillator()
        for force in forces:
            system.addForce(force)
        integrator = make(seed=1)
        return sample(start(system, integrator), integrator, 50)

    assert all((a == b).all() for a, b in zip(run(), run(openmm.CMMotionRemover(1)), strict=True))


@pytest.mark.parametrize(("platform", "properties"), PLATFORMS[:2], ids=str)
def test_a_seed_on_a_fresh_context_repeats_exactly(platform, properties):
    molecule = load_system("alanine-dipeptide-vacuum")
    chosen = openmm.Platform.getPlatformByName(platform)

    def run(seed):
        integrator = make([5e-4], 1 * FEMTOSECOND, seed=seed)
        context = start(molecule.system, integrator, molecule.positions._value, chosen, properties)
        integrator.step(25)
        return context.getState(positions=True).getPositions(asNumpy=True)._value

    first = run(11)
    assert (first == run(11)).all() and (first != run(12)).any()


def restored(integrator):
    """Through XML and back, with its interface."""
    copied = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(integrator))
    assert ThermostatedIntegrator.restore_interface(copied)
    return copied


def test_serialisation_in_the_middle_of_a_run():
    """A run that goes through XML and a new context every 2,000 sweeps: 4 standard errors, and the counts go on."""
    system, positions, exact = two_mode_molecule()
    integrator = make([(0, 0, 0.07), 0.01], 3 * FEMTOSECOND, n_leapfrog=4, seed=1)
    series = []
    for k in range(10):
        context = start(system, integrator, positions)
        x, _ = sample(context, integrator, 2000)
        series.append(np.linalg.norm(x[:, 2] - x[:, 1], axis=1) > 0.2)
        positions = x[-1]
        statistics = integrator.statistics()
        integrator = restored(integrator)
        assert integrator.statistics() == statistics and statistics["levels"][0]["guesses"] == 2000 * (k + 1)
        assert integrator.noise_scales == ((0.0, 0.0, 0.07), 0.01)
        assert integrator.getTemperature() / unit.kelvin == pytest.approx(300)
        integrator.setRandomNumberSeed(k + 2)
    share, error = mean_and_error(np.concatenate(series))
    assert abs(share - exact) < 4 * error


def test_copies_keep_class_and_settings():
    integrator = make([(0.1, 0.2), 0.05])
    copied = copy.deepcopy(integrator)
    assert type(copied) is DiffusiveGibbsIntegrator and copied.noise_scales == integrator.noise_scales


def test_without_its_class_it_still_samples_right():
    """Deserialised by a program that does not know this package; 4 standard errors, from outside changes too."""
    plain = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(make(seed=8)))
    context = start(oscillator(), plain)
    x = []
    for _ in range(20_000):
        context.setPositions(-context.getState(positions=True).getPositions(asNumpy=True))
        plain.step(1)
        x.append(context.getState(positions=True).getPositions(asNumpy=True)._value[0])
    for axis, k in enumerate((1000, 4000, 16000)):
        value, error = mean_and_error(np.array(x)[:, axis] ** 2)
        assert abs(value - KT / k) < 4 * error


def test_changes_between_steps_are_seen():
    """Positions and parameters that others set are the start of the next sweep, not what the last one left."""
    force = openmm.CustomExternalForce("0.5*k*(x^2+y^2+z^2)")
    force.addGlobalParameter("k", 1000.0)
    force.addParticle(0, [])
    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(force)
    integrator = make([0.03], seed=9)
    context = start(system, integrator)
    integrator.step(10)
    context.setParameter("k", 1e5)
    x, _ = sample(context, integrator, 4000)
    value, error = mean_and_error((x[100:] ** 2).mean((1, 2)))
    assert abs(value - KT / 1e5) < 4 * error
    context.setPositions([[math.nan, 0, 0]])
    with pytest.raises(ValueError, match="at the start"):
        integrator.step(2)


def test_statistics_count_what_happens():
    """The evaluations that are told are those that are made, and each makes energy and forces at once."""
    calls = []

    def harmonic(state):
        x = state.getPositions(asNumpy=True)._value
        calls.append(1)
        return 500 * (x**2).sum(), -1000 * x

    system = openmm.System()
    system.addParticle(1.0)
    system.addForce(openmm.PythonForce(harmonic))
    integrator = make([0.05, 0.01], n_leapfrog=3, n_denoising_steps=2)
    context = start(system, integrator)
    integrator.step(1)
    calls.clear()
    integrator.reset_statistics()
    integrator.step(10)
    statistics = integrator.statistics()
    assert statistics["evaluations"] == len(calls) == 1 + 10 * 2 * (1 + 2 * 3)
    assert [row["guesses"] for row in statistics["levels"]] == [10, 10]
    assert [row["trajectories"] for row in statistics["levels"]] == [20, 20]
    context.reinitialize()


def test_works_in_a_simulation_with_reporters(tmp_path):
    molecule = load_system("alanine-dipeptide-vacuum")
    integrator = make([5e-4], 1 * FEMTOSECOND, seed=1)
    simulation = app.Simulation(molecule.topology, molecule.system, integrator, REFERENCE)
    simulation.context.setPositions(molecule.positions)
    simulation.reporters.append(app.DCDReporter(str(tmp_path / "run.dcd"), 20))
    simulation.reporters.append(
        app.StateDataReporter(str(tmp_path / "run.csv"), 20, step=True, potentialEnergy=True, temperature=True)
    )
    simulation.step(400)
    table = np.genfromtxt(tmp_path / "run.csv", delimiter=",", names=True)
    assert (tmp_path / "run.dcd").stat().st_size > 20 * 22 * 12
    # 20 kinetic energies of 66 degrees of freedom: 4 standard errors.
    assert abs(table["Temperature_K"].mean() - 300) < 4 * 300 * math.sqrt(2 / 66 / 20)
