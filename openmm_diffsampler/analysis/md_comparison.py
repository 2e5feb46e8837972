"""Plain molecular dynamics as the yardstick of a sampler: a run of so many evaluations, or so many seconds."""

import time
from dataclasses import dataclass

import numpy as np
import openmm
from openmm import app, unit

from openmm_diffsampler.targets.units import require_temperature, thermal_energy

from .weighted_trajectory import WeightedTrajectory

__all__ = ["ComparisonRun", "short_md"]

#: Steps by which the faster platform is found.
_TRIAL = 30


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """Frames to compare with, and what they have cost.

    Attributes:
        trajectory: a WeightedTrajectory.
        label: what tables and figures call it.
        n_evaluations: energy-and-force evaluations.
        seconds: of the run, without start-up.
    """

    trajectory: WeightedTrajectory
    label: str
    n_evaluations: int
    seconds: float


def short_md(
    system,
    topology,
    positions,
    temperature,
    *,
    n_evaluations=None,
    seconds=None,
    timestep=1 * unit.femtosecond,
    friction=1 / unit.picosecond,
    interval=100,
    platform=None,
    seed=0,
):
    """Langevin dynamics from one configuration, as long as it may cost.

    The integrator is OpenMM's LangevinMiddleIntegrator. The energy of a frame is one evaluation more than its steps.
    Frames are kept from the first on, since a short run has nothing to spare.

    Arguments:
        system: openmm System.
        topology: mdtraj or openmm.app Topology.
        positions: Quantity, or array in nm, (n_atoms, 3).
        temperature: Quantity.
        n_evaluations: how many energy-and-force evaluations to make, at least ``interval + 1``; or
        seconds: how long to run on the clock, to the end of the frame that is then being made.
        timestep, friction: Quantities. Flexible bonds to hydrogen want 1 fs.
        interval: steps between frames.
        platform: name of an OpenMM platform; by default the faster of Reference and CPU in a trial of a few steps.
        seed: of velocities and noise.

    Returns:
        ComparisonRun with frames of kind "mcmc", one chain.

    Raises:
        TypeError: a temperature without unit.
        ValueError: neither or both of `n_evaluations` and `seconds`, or less of it than a frame takes.
        openmm.OpenMMException: the dynamics exploded.

    References:
        Zhang et al., Unified efficient thermostat scheme for the canonical ensemble with holonomic or isokinetic
        constraints via molecular dynamics, J. Phys. Chem. A 123 (2019).

    Example:
        >>> from openmm_diffsampler import load_system
        >>> m = load_system("alanine-dipeptide-vacuum")
        >>> run = short_md(m.system, m.topology, m.positions, m.temperature, n_evaluations=1010, platform="Reference")
        >>> run.label, run.n_evaluations, run.trajectory.n_frames
        ('molecular dynamics, 1.0 ps', 1010, 10)
    """
    if (n_evaluations is None) == (seconds is None):
        raise ValueError("give n_evaluations or seconds, and one of them")
    if interval < 1 or (n_evaluations is not None and n_evaluations <= interval):
        raise ValueError(f"{n_evaluations} evaluations make no frame of {interval} steps and one energy")
    if seconds is not None and seconds <= 0:
        raise ValueError(f"seconds is {seconds}; it must be positive")
    kT = thermal_energy(require_temperature(temperature))

    def context(name):
        integrator = openmm.LangevinMiddleIntegrator(temperature, friction, timestep)
        integrator.setRandomNumberSeed(seed + 1)  # OpenMM takes 0 for a random seed
        made = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(name))
        made.setPositions(positions)
        made.setVelocitiesToTemperature(temperature, seed + 1)
        return made

    running = context(platform or min(("Reference", "CPU"), key=lambda name: _seconds_of_trial(context(name))))
    frames, energies = [], []
    start = time.perf_counter()
    while len(frames) * (interval + 1) + interval < n_evaluations if seconds is None else _within(start, seconds):
        running.getIntegrator().step(interval)
        state = running.getState(positions=True, energy=True)
        frames.append(state.getPositions(asNumpy=True).value_in_unit(unit.nanometer))
        energies.append(state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole) / kT)
    elapsed = time.perf_counter() - start
    length = (len(frames) * interval * timestep).value_in_unit(unit.picosecond)
    trajectory = WeightedTrajectory(
        np.array(frames),
        np.zeros(len(frames)),
        kind="mcmc",
        topology=_mdtraj_topology(topology),
        reduced_potential=np.array(energies),
        temperature=temperature,
    )
    duration = f"{length:.1f} ps" if length < 1000 else f"{length / 1000:.1f} ns"
    return ComparisonRun(trajectory, f"molecular dynamics, {duration}", len(frames) * (interval + 1), elapsed)


def _within(start, seconds):
    return time.perf_counter() - start < seconds


def _seconds_of_trial(context):
    context.getIntegrator().step(5)  # kernels are made in the first steps
    context.getState(energy=True)
    start = time.perf_counter()
    context.getIntegrator().step(_TRIAL)
    context.getState(energy=True)
    return time.perf_counter() - start


def _mdtraj_topology(topology):
    if not isinstance(topology, app.Topology):
        return topology
    import mdtraj

    return mdtraj.Topology.from_openmm(topology)
