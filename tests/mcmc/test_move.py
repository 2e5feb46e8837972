"""The openmmtools move: samplers, sequences, replica exchange; comparisons state the z-score they allow."""

import copy
import warnings

import numpy as np
import openmm
import pytest
from openmm import app, unit
from openmmtools import cache, mcmc, multistate, states, testsystems
from openmmtools.utils import deserialize, serialize

from openmm_diffsampler import DiffusiveGibbsIntegrator, DiffusiveGibbsMove

from .known import KT, REFERENCE, TEMPERATURE, ball, mean_and_error, oscillator, two_mode_molecule

FEMTOSECOND = unit.femtosecond


def make(n_sweeps=20, **options):
    return DiffusiveGibbsMove([(0, 0, 0.07), 0.01], 3 * FEMTOSECOND, n_sweeps, n_leapfrog=4, **options)


def reference_cache():
    return cache.ContextCache(platform=REFERENCE)


def molecule_states(temperatures=(300,)):
    system, positions, exact = two_mode_molecule()
    thermodynamic = [states.ThermodynamicState(system, t * unit.kelvin) for t in temperatures]
    return thermodynamic, states.SamplerState(positions * unit.nanometer), exact


def langevin():
    return mcmc.LangevinDynamicsMove(timestep=1 * FEMTOSECOND, collision_rate=5 / unit.picosecond, n_steps=5)


@pytest.mark.parametrize(
    "combine",
    [
        lambda move: move,
        lambda move: mcmc.SequenceMove([move, langevin()]),
        lambda move: mcmc.WeightedMove([(move, 0.7), (langevin(), 0.3)]),
    ],
    ids=["alone", "sequence", "weighted"],
)
def test_two_modes_alone_and_with_langevin(combine):
    """Share of the long bond, 4 standard errors; Langevin discretisation is far below that at 1 fs."""
    [thermodynamic], start, exact = molecule_states()
    move = make(seed=1)
    sampler = mcmc.MCMCSampler(thermodynamic, start, combine(move))
    contexts, series = reference_cache(), []
    for _ in range(800):
        sampler.run(1, contexts)
        x = sampler.sampler_state.positions._value
        series.append(np.linalg.norm(x[2] - x[1]) > 0.2)
    share, error = mean_and_error(series)
    assert error < 0.03 and abs(share - exact) < 4 * error
    statistics = move.statistics
    assert statistics["sweeps"] == statistics["levels"][0]["guesses"] >= 20 * 480
    assert statistics["seconds"] > 0 and 0.05 < statistics["levels"][0]["guess acceptance"] < 0.5


def test_velocities_and_energies_are_those_of_the_new_positions():
    [thermodynamic], start, _ = molecule_states()
    sampler = mcmc.MCMCSampler(thermodynamic, start, make(5, seed=1))
    contexts, kinetic = reference_cache(), []
    for _ in range(400):
        sampler.run(1, contexts)
        kinetic.append(sampler.sampler_state.kinetic_energy._value)
    assert abs(np.mean(kinetic) / (4.5 * KT) - 1) < 4 * (2 / 9 / 400) ** 0.5
    context, _ = contexts.get_context(thermodynamic)
    sampler.sampler_state.apply_to_context(context)
    exact = context.getState(energy=True).getPotentialEnergy()._value
    assert sampler.sampler_state.potential_energy._value == pytest.approx(exact)


def test_a_state_restores_without_init():
    move = make(seed=5)
    [thermodynamic], start, _ = molecule_states()
    move.apply(thermodynamic, start, reference_cache())
    for other in (copy.deepcopy(move), deserialize(serialize(move))):
        assert other.__getstate__() == move.__getstate__() and other.statistics["sweeps"] == 20
    assert move.__getstate__() is not move.__getstate__()
    other.statistics = copy.deepcopy(move).statistics
    other.reset_statistics()
    assert move.statistics["sweeps"] == 20 and other.statistics["evaluations"] == 0


def test_levels_by_particle_are_not_mixed_up_in_a_shared_context():
    """Two moves of the same structure share a context, which must get the scales of whichever runs."""
    [thermodynamic], start, _ = molecule_states()
    contexts = reference_cache()
    first, second = make(), DiffusiveGibbsMove([(0.02, 0, 0), 0.005], 3 * FEMTOSECOND, 20, n_leapfrog=4)
    for move in (first, second, first):
        move.apply(thermodynamic, start, contexts)
        _, integrator = contexts.get_context(thermodynamic)
        assert integrator.noise_scales == move.sweep.noise_scales
    assert len(contexts) == 1


def test_a_seed_repeats_and_a_new_context_goes_on_with_other_numbers():
    [thermodynamic], start, _ = molecule_states()

    def run(move):
        state = copy.deepcopy(start)
        move.apply(thermodynamic, state, reference_cache())
        return state.positions._value

    move = make(seed=3)
    first = run(move)
    assert (first == run(make(seed=3))).all() and (first != run(make(seed=4))).any()
    assert (first != run(move)).any()
    move.reset_statistics()
    assert (first != run(move)).any()
    [hotter], _, _ = molecule_states([400])
    assert make(seed=3)._seed(hotter) != make(seed=3)._seed(thermodynamic)


def test_number_of_sweeps_is_chosen_so_that_overhead_is_small():
    thermodynamic = states.ThermodynamicState(oscillator(), TEMPERATURE)
    state = states.SamplerState(np.zeros((1, 3)) * unit.nanometer)
    move, contexts = DiffusiveGibbsMove([0.02], 5 * FEMTOSECOND), reference_cache()
    assert move.n_sweeps is None
    for _ in range(4):
        move.apply(thermodynamic, state, contexts)
    chosen = move.n_sweeps
    assert chosen > 100  # a sweep of one particle takes microseconds, an apply a millisecond
    before = move.statistics["sweeps"]
    move.apply(thermodynamic, state, contexts)
    assert move.n_sweeps == chosen and move.statistics["sweeps"] == before + chosen


def test_refusals():
    system = openmm.System()
    system.addParticle(1.0)
    system.addParticle(1.0)
    system.addConstraint(0, 1, 0.1)
    state = states.SamplerState(np.eye(3)[:2] * unit.nanometer)
    with pytest.raises(ValueError, match="constraints=None"):
        DiffusiveGibbsMove([0.1], FEMTOSECOND * 1, 1).apply(
            states.ThermodynamicState(system, TEMPERATURE), state, reference_cache()
        )
    outside = states.SamplerState([[2, 0, 0]] * unit.nanometer)
    with pytest.raises(ValueError, match="energy at the start is nan"):
        DiffusiveGibbsMove([0.1], FEMTOSECOND * 1, 1).apply(
            states.ThermodynamicState(ball()[0], TEMPERATURE), outside, reference_cache()
        )
    with pytest.raises(ValueError, match="n_sweeps is 0"):
        make(0)
    with pytest.raises(ValueError, match="no noise level"):
        DiffusiveGibbsMove([], 1 * FEMTOSECOND)


def test_at_constant_pressure_the_volume_is_for_other_moves():
    fluid = testsystems.LennardJonesFluid(nparticles=100)
    thermodynamic = states.ThermodynamicState(fluid.system, 120 * unit.kelvin, 1 * unit.atmosphere)
    start = states.SamplerState(fluid.positions, box_vectors=fluid.system.getDefaultPeriodicBoxVectors())
    volume = start.volume
    contexts = reference_cache()
    move = DiffusiveGibbsMove([0.002], 5 * FEMTOSECOND, 2, seed=1)
    with pytest.warns(UserWarning, match="MonteCarloBarostatMove"):
        move.apply(thermodynamic, start, contexts)
    assert start.volume == volume
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # told once is enough
        sequence = mcmc.SequenceMove([move, mcmc.MonteCarloBarostatMove(n_attempts=20)])
        sequence.apply(thermodynamic, start, contexts)
    assert start.volume != volume and move.statistics["sweeps"] == 4


def quiet_replica_exchange(path, temperatures, move, n_iterations):
    reporter = multistate.MultiStateReporter(path, checkpoint_interval=2)
    thermodynamic, start, exact = molecule_states(temperatures)
    sampler = multistate.ReplicaExchangeSampler(mcmc_moves=move, number_of_iterations=n_iterations)
    sampler.create(thermodynamic, start, reporter)
    return sampler, reporter, exact


def on_reference(sampler):
    sampler.energy_context_cache, sampler.sampler_context_cache = reference_cache(), reference_cache()
    return sampler


def test_replica_exchange_resumes_from_its_file(tmp_path):
    """Statistics of every state's move go on from the file, level by level."""
    move = mcmc.SequenceMove([make(), langevin()])
    sampler, reporter, _ = quiet_replica_exchange(tmp_path / "run.nc", (300, 400, 600), move, 10)
    on_reference(sampler).run()
    before = [moves.move_list[0].statistics for moves in sampler.mcmc_moves]
    assert [s["sweeps"] for s in before] == [200, 200, 200]
    # Guesses are easier at a higher temperature: every state has counted its own.
    assert before[0]["levels"][0] != before[2]["levels"][0]
    del sampler
    reporter.close()
    reporter = multistate.MultiStateReporter(tmp_path / "run.nc", open_mode="r+", checkpoint_interval=2)
    resumed = on_reference(multistate.ReplicaExchangeSampler.from_storage(reporter))
    assert [moves.move_list[0].statistics for moves in resumed.mcmc_moves] == before
    resumed.extend(5)
    for moves, old in zip(resumed.mcmc_moves, before, strict=True):
        new = moves.move_list[0].statistics
        assert new["sweeps"] == 300 and new["levels"][1]["guesses"] == old["levels"][1]["guesses"] + 100
        assert new["levels"][0]["accepted_guesses"] > old["levels"][0]["accepted_guesses"]
    reporter.close()


class WatchedReplicaExchange(app.ReplicaExchangeSampler):
    """Remembers the noise that each state was sampled with."""

    seen = frozenset()

    def simulateReplica(self, index, steps=None):  # noqa: N802
        super().simulateReplica(index, steps)
        self.seen |= {(self.replicaStateIndex[index], self.simulation.integrator.noise_scales[1])}


def openmm_replica_exchange(folder, resume=False):
    system, positions, exact = two_mode_molecule()
    topology = app.Topology()
    residue = topology.addResidue("MOL", topology.addChain())
    for name in "ABC":
        topology.addAtom(name, app.element.carbon, residue)
    integrator = DiffusiveGibbsIntegrator(TEMPERATURE, [(0, 0, 0.07), 0.01], 3 * FEMTOSECOND, n_leapfrog=4, seed=1)
    simulation = app.Simulation(topology, system, integrator, REFERENCE)
    simulation.context.setPositions(positions)
    thermodynamic = [{"temperature": t * unit.kelvin, "digs_scale_1": s} for t, s in ((300, 0.01), (450, 0.015))]
    sampler = WatchedReplicaExchange(thermodynamic, simulation, 10)
    sampler.reporters.append(
        app.ReplicaExchangeReporter(str(folder), 1, sampler, checkpoints=True, energy=True, resume=resume)
    )
    return sampler, exact


def test_replica_exchange_of_openmm_itself(tmp_path):
    """The share of the long bond at 300 K, 4 standard errors, half of it after a resume that keeps the counts."""
    series, sweeps = [], []
    for resume in (False, True):
        sampler, exact = openmm_replica_exchange(tmp_path / "run", resume)

        def long_bond(sampler):
            x = sampler.replicaConformation[sampler.replicaStateIndex.index(0)].getPositions(asNumpy=True)._value
            series.append(np.linalg.norm(x[2] - x[1]) > 0.2)
            sweeps.append(sampler.simulation.integrator.statistics()["levels"][0]["guesses"])

        sampler.reporters.append(long_bond)
        sampler.simulate(500)
        assert sampler.seen == {(0, 0.01), (1, 0.015)}  # each state has noise of its own
    share, error = mean_and_error(series)
    assert error < 0.03 and abs(share - exact) < 4 * error
    assert sweeps[-1] == 2 * 500 * 10  # each replica carries the counts of its own sweeps, at whatever temperature
