"""Replica exchange of openmmtools with diffusive Gibbs sampling and Langevin dynamics in sequence.

    python examples/replica_exchange.py            # a minute or two
    python examples/replica_exchange.py --short    # seconds, to see it run

Kill it whenever you like and run it again: it goes on from replica-exchange.nc, statistics of the moves included.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import openmm
from openmm import unit
from openmmtools import cache, mcmc, multistate, states

import openmm_diffsampler as ods
from openmm_diffsampler.analysis import basin_populations, write_results

logging.getLogger("openmmtools.multistate").setLevel(logging.ERROR)
short = "--short" in sys.argv
n_iterations, n_sweeps, n_between_reports = (20, 50, 5) if short else (300, 100, 30)
storage = Path("replica-exchange.nc")

molecule = ods.load_system("alanine-dipeptide-vacuum")
temperatures = np.geomspace(300, 700, 4) * unit.kelvin


def open_storage(mode):
    every_position = range(molecule.system.getNumParticles())
    return multistate.MultiStateReporter(
        storage, open_mode=mode, checkpoint_interval=1, analysis_particle_indices=every_position
    )


def resumed():
    """The sampler in the storage, or None if there is none or it was killed before its first iteration was kept."""
    if not storage.exists():
        return None
    try:
        reporter = open_storage("r+")
        return multistate.ReplicaExchangeSampler.from_storage(reporter), reporter
    except (ValueError, KeyError, IndexError, OSError):
        print("nothing to go on from; starting over")
        for path in Path.cwd().glob("replica-exchange*.nc"):
            path.unlink()
        return None


def created():
    # Noise on torsions jumps from basin to basin; the Cartesian level relaxes what rotations leave alone.
    digs = ods.DiffusiveGibbsMove(
        [0.01] * unit.nanometer,
        1 * unit.femtosecond,
        n_sweeps,
        n_leapfrog=8,
        topology=molecule.topology,
        torsion_scale=1.5 * unit.radian,
    )
    langevin = mcmc.LangevinDynamicsMove(
        timestep=1 * unit.femtosecond, collision_rate=1 / unit.picosecond, n_steps=200, reassign_velocities=False
    )
    sampler = multistate.ReplicaExchangeSampler(mcmc_moves=mcmc.SequenceMove([digs, langevin]))
    reporter = open_storage(None)
    thermodynamic_states = [states.ThermodynamicState(molecule.system, t) for t in temperatures]
    sampler.create(thermodynamic_states, states.SamplerState(molecule.positions), reporter)
    return sampler, reporter


sampler, reporter = resumed() or created()
if sampler.iteration:
    print(f"going on after iteration {sampler.iteration}")

# The Reference platform is the fastest for 22 atoms in vacuum.
contexts = cache.ContextCache(platform=openmm.Platform.getPlatformByName("Reference"))
sampler.energy_context_cache = sampler.sampler_context_cache = contexts
while sampler.iteration < n_iterations:
    sampler.extend(min(n_between_reports, n_iterations - sampler.iteration))
    print(f"{sampler.iteration} of {n_iterations} iterations", flush=True)

for temperature, moves in zip(temperatures, sampler.mcmc_moves, strict=True):
    statistics = moves.move_list[0].statistics
    cartesian, torsions = statistics["levels"]
    print(
        f"{temperature.value_in_unit(unit.kelvin):.0f} K: {statistics['sweeps']:,} sweeps, accepted trajectories "
        f"{cartesian['HMC acceptance']:.3f}, accepted rotations {torsions['guess acceptance']:.3f} of "
        f"{torsions['guesses']:,}"
    )

# The frames that were at 300 K, whichever replica they belong to.
at_300 = (reporter.read_replica_thermodynamic_states() == 0).argmax(1)
frames = [
    reporter.read_sampler_states(iteration, analysis_particles_only=True)[replica].positions._value
    for iteration, replica in enumerate(at_300)
][len(at_300) // 10 :]
reporter.close()
wt = ods.WeightedTrajectory.from_chains(
    np.array(frames, dtype=float)[:, None], topology=molecule.mdtraj_topology, temperature=temperatures[0]
)
for basin, (population, error) in basin_populations(wt).items():
    print(f"{basin:12} {population:.3f} ± {error:.3f}")
for what, path in write_results(wt, "replica-exchange-results", name="alanine dipeptide in vacuum").items():
    print(f"{what:24} {path}")
