"""Torsion noise of the openmmtools move; comparisons state the z-score they allow."""

import copy
import itertools
import math

import numpy as np
import openmm
import pytest
import torch
from openmm import app, unit
from openmmtools import cache, mcmc, multistate, states
from openmmtools.utils import deserialize, serialize
from scipy.integrate import quad

from openmm_diffsampler import DiffusiveGibbsMove, load_system
from openmm_diffsampler.coordinates import BondRotations
from openmm_diffsampler.mcmc.torsion_trials import torsion_trials

from .known import KT, REFERENCE, TEMPERATURE, mean_and_error

FEMTOSECOND = unit.femtosecond
#: Wells at 0 and π, 20 kT between them.
DOUBLE_WELL = "10*(1 - cos(2*theta)) - 0.5*cos(theta)"


def chain_topology(n_atoms=4):
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    atoms = [topology.addAtom(name, app.element.carbon, residue) for name in "ABCDE"[:n_atoms]]
    for pair in itertools.pairwise(atoms):
        topology.addBond(*pair)
    return topology


def chain(reduced_torsion=DOUBLE_WELL, masses=(12, 12, 12, 12)):
    """A chain of four atoms, its torsion with p(φ) ∝ exp(−u(φ)): state and start at φ = π."""
    system = openmm.System()
    for mass in masses:
        system.addParticle(mass)
    bond, angle = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce()
    for i in range(3):
        bond.addBond(i, i + 1, 0.15, 20000.0)
    for i in range(2):
        angle.addAngle(i, i + 1, i + 2, math.radians(110), 200.0)
    torsion = openmm.CustomTorsionForce(f"{KT}*({reduced_torsion})")
    torsion.addTorsion(0, 1, 2, 3, [])
    for force in (bond, angle, torsion):
        system.addForce(force)
    x = np.array([[-0.05, 0.14, 0], [0, 0, 0], [0.15, 0, 0], [0.2, -0.14, 0]])
    return states.ThermodynamicState(system, TEMPERATURE), states.SamplerState(x * unit.nanometer)


def reference_cache():
    return cache.ContextCache(platform=REFERENCE)


def make(noise_scales=(0.005,), n_sweeps=10, timestep=2 * FEMTOSECOND, **options):
    torsions = {"topology": chain_topology(), "torsion_scale": 1.5, "n_torsion_trials": 2}
    return DiffusiveGibbsMove(noise_scales, timestep, n_sweeps, **({"seed": 1} | torsions | options))


def still(**options):
    """A move whose sweeps change nothing to speak of."""
    return make([1e-8], n_sweeps=2, **options)


def torsion(x):
    a, b, c = np.diff(x, axis=0)
    return math.atan2(np.linalg.norm(b) * a @ np.cross(b, c), np.cross(a, b) @ np.cross(b, c))


def angle(x):
    a, b = x[0] - x[1], x[2] - x[1]
    return math.acos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def sample(move, n_draws, reduced_torsion=DOUBLE_WELL, start=None):
    thermodynamic, in_trans = chain(reduced_torsion)
    sampler = mcmc.MCMCSampler(thermodynamic, start or in_trans, move)
    contexts, frames = reference_cache(), []
    for _ in range(n_draws):
        sampler.run(1, contexts)
        frames.append(sampler.sampler_state.positions._value)
    return frames


def average(f, density, low, high):
    return quad(lambda t: f(t) * density(t), low, high)[0] / quad(density, low, high)[0]


def test_the_other_well_gets_its_population():
    """Population of the well at 0, mean cosine and mean bond angle: 4 standard errors each."""

    def density(phi):
        return math.exp(-10 * (1 - math.cos(2 * phi)) + 0.5 * math.cos(phi))

    def bent(theta):
        return math.sin(theta) * math.exp(-100 * (theta - math.radians(110)) ** 2 / KT)

    move = make()
    frames = sample(move, 1000)
    phi = np.array([torsion(x) for x in frames])
    for series, exact, precision in (
        (np.cos(phi) > 0, average(lambda p: math.cos(p) > 0, density, 0, math.pi), 0.02),
        (np.cos(phi), average(math.cos, density, 0, math.pi), 0.04),
        ([angle(x) for x in frames], average(lambda t: t, bent, 0, math.pi), 0.01),
    ):
        mean, error = mean_and_error(series)
        assert error < precision and abs(mean - exact) < 4 * error
    sweeps, level = move.statistics["sweeps"], move.statistics["levels"][1]
    assert level["level"] == "torsion noise 1.5 rad" and level["guesses"] == 2 * sweeps == 20_000
    assert 0.05 < level["guess acceptance"] == level["accepted_guesses"] / level["guesses"] < 0.5
    # A sweep: its start, a guess, five leapfrog steps; the energy before the trials and two trials. One an apply.
    assert move.statistics["evaluations"] == (1 + 1 + 5 + 1 + 2) * sweeps + 1000


def test_without_torsion_noise_the_chain_stays_in_its_well():
    move = make(topology=None, torsion_scale=None, n_torsion_trials=None)
    assert all(math.cos(torsion(x)) < 0 for x in sample(move, 500))
    assert len(move.statistics["levels"]) == 1


def test_energies_that_are_not_finite_are_rejected():
    """p(φ) ∝ 0.3 + cos φ where that is positive; the mean cosine to 4 standard errors."""
    move = make()
    _, start = chain()
    start.positions[3, 1] *= -1  # to φ = 0
    frames = sample(move, 500, "-log(0.3 + cos(theta))", start)
    edge = math.acos(-0.3)
    exact = average(math.cos, lambda phi: 0.3 + math.cos(phi), -edge, edge)
    mean, error = mean_and_error([math.cos(torsion(x)) for x in frames])
    assert error < 0.02 and abs(mean - exact) < 4 * error
    assert 0.2 < move.statistics["levels"][1]["nonfinite"] / move.statistics["levels"][1]["guesses"] < 0.7


def test_rotations_are_those_of_the_batched_sampler():
    molecule = load_system("alanine-dipeptide")
    rotations = BondRotations(molecule.mdtraj_topology)
    trials = torsion_trials(molecule.topology, 0.5 * unit.radian)
    x = np.array(molecule.positions.value_in_unit(unit.nanometer))
    assert trials.n_trials == len(trials.turns) == len(rotations) == 7
    for bond, turn in enumerate(trials.turns):
        [expected] = rotations.rotate(
            torch.tensor(x)[None], torch.tensor([bond]), torch.tensor([0.7], dtype=torch.float64)
        )
        assert np.abs(trials.turn(x, turn, 0.7) - expected.numpy()).max() < 1e-12
    on_one_point = np.zeros_like(x)
    assert (trials.turn(on_one_point, trials.turns[0], 0.7) == 0).all()


def test_a_sweep_starts_from_the_energy_that_trials_left():
    """Steps that are much too long: sweeps evaluate the start and change nothing, trials move on."""
    thermodynamic, start = chain("2*cos(theta)")
    contexts, energies = reference_cache(), []
    move = make([10.0], n_sweeps=1, timestep=1 * unit.microsecond)
    for _ in range(5):
        move.apply(thermodynamic, start, contexts)
        context, integrator = contexts.get_context(thermodynamic)
        energies.append(context.getState(energy=True).getPotentialEnergy()._value)
        assert start.potential_energy._value == pytest.approx(energies[-1])
        integrator.step(1)
        assert integrator.getGlobalVariableByName("digs_energy") == pytest.approx(energies[-1])
    noise, rotations = move.statistics["levels"]
    assert noise["accepted_guesses"] == noise["accepted_trajectories"] == 0 < rotations["accepted_guesses"]
    assert len(set(energies)) > 1


def test_a_state_restores_without_init():
    move = make()
    thermodynamic, start = chain()
    move.apply(thermodynamic, start, reference_cache())
    for other in (copy.deepcopy(move), deserialize(serialize(move))):
        assert other.__getstate__() == move.__getstate__() and other.statistics["levels"][1]["guesses"] == 20
        other.apply(thermodynamic, start, reference_cache())
        assert other.statistics["levels"][1]["guesses"] == 40
    assert move.__getstate__()["torsions"]["bonds"] is not move.__getstate__()["torsions"]["bonds"]
    move.reset_statistics()
    assert move.statistics["levels"][1]["guesses"] == 0 == move.statistics["evaluations"]
    old = make(topology=None, torsion_scale=None, n_torsion_trials=None).__getstate__()
    del old["torsions"]  # as files of versions without torsion noise have it
    restored = DiffusiveGibbsMove.__new__(DiffusiveGibbsMove)
    restored.__setstate__(old)
    assert restored.torsions is None


def test_a_seed_repeats_and_a_resumed_run_goes_on_with_other_rotations():
    thermodynamic, start = chain("0")

    def turned(move, contexts):
        state = copy.deepcopy(start)
        move.apply(thermodynamic, state, contexts)
        return torsion(state.positions._value)

    move, contexts = still(), reference_cache()
    first = turned(move, contexts)
    assert turned(still(), reference_cache()) == pytest.approx(first)
    resumed = deserialize(serialize(move))
    later = [turned(move, contexts), turned(resumed, reference_cache()), turned(still(), contexts)]
    later += [turned(still(seed=0), reference_cache()) for _ in range(2)]
    assert all(abs(math.remainder(a - first, 2 * math.pi)) > 1e-3 for a in later)
    assert len({round(a, 3) for a in later}) == len(later)


def test_the_share_of_trials_does_not_depend_on_the_number_of_sweeps():
    thermodynamic, start = chain()
    move, contexts = make(n_sweeps=None), reference_cache()
    for _ in range(4):
        move.apply(thermodynamic, start, contexts)
    statistics = move.statistics
    assert move.n_sweeps > 10 and statistics["levels"][1]["guesses"] == 2 * statistics["sweeps"] > 60
    assert make(n_torsion_trials=None).torsions.n_trials == 1
    molecule = load_system("alanine-dipeptide-vacuum")
    options = {"n_leapfrog": 2, "topology": molecule.mdtraj_topology, "n_torsion_trials": None}
    assert make(**options).torsions.n_trials == 3  # a sweep has three evaluations, the molecule seven rotatable bonds


def test_particles_of_mass_zero_stay():
    thermodynamic, start = chain(masses=(0, 12, 12, 12))
    before = start.positions._value.copy()
    move = make()
    move.apply(thermodynamic, start, reference_cache())
    assert (start.positions._value[0] == before[0]).all() and (start.positions._value[3] != before[3]).any()
    thermodynamic, start = chain(masses=(12, 12, 12, 0))
    with pytest.raises(ValueError, match="move a particle of mass zero"):
        move.apply(thermodynamic, start, reference_cache())


def test_replica_exchange_resumes_with_its_torsion_noise(tmp_path):
    thermodynamic, start = chain()
    both = [states.ThermodynamicState(thermodynamic.system, t * unit.kelvin) for t in (300, 600)]
    langevin = mcmc.LangevinDynamicsMove(timestep=1 * FEMTOSECOND, n_steps=5)
    sampler = multistate.ReplicaExchangeSampler(mcmc_moves=mcmc.SequenceMove([make(), langevin]))
    reporter = multistate.MultiStateReporter(tmp_path / "run.nc", checkpoint_interval=1)
    sampler.create(both, start, reporter)
    sampler.energy_context_cache = sampler.sampler_context_cache = reference_cache()
    sampler.extend(4)
    before = [moves.move_list[0].statistics for moves in sampler.mcmc_moves]
    assert [s["levels"][1]["guesses"] for s in before] == [80, 80]
    assert before[0]["levels"][1] != before[1]["levels"][1]
    del sampler
    reporter.close()
    reporter = multistate.MultiStateReporter(tmp_path / "run.nc", open_mode="r+", checkpoint_interval=1)
    resumed = multistate.ReplicaExchangeSampler.from_storage(reporter)
    resumed.energy_context_cache = resumed.sampler_context_cache = reference_cache()
    assert [moves.move_list[0].statistics for moves in resumed.mcmc_moves] == before
    resumed.extend(2)
    assert [m.move_list[0].statistics["levels"][1]["guesses"] for m in resumed.mcmc_moves] == [120, 120]
    reporter.close()
