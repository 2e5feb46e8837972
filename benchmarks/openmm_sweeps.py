"""Sweeps a second inside OpenMM, beside a Python loop over getState and the HMC move of openmmtools.

    python benchmarks/openmm_sweeps.py [--repeats 5] [--platforms Reference CPU]

Prints a Markdown table of medians over alternating repeats. A sweep has one noise level with one guess and one
trajectory of ten leapfrog steps. ``HMCMove(n_steps=n)`` of openmmtools makes n trajectories of n steps, n² in all; here
n is 10 too, and what is compared is the time of a leapfrog step, with whatever else the way spends on it.
"""

import argparse
import os
import statistics
import time

import numpy as np
import openmm
from openmm import unit

from openmm_diffsampler import DiffusiveGibbsIntegrator, DiffusiveGibbsMove, load_system

# isort: split
from openmmtools import cache, mcmc, states

SYSTEMS = ("lj13", "alanine-dipeptide-vacuum", "alanine-dipeptide")
N_LEAPFROG, SCALE = 10, 0.01
KB = 8.31446261815324e-3
#: Energies and forces of one sweep.
SWEEP = 1 + N_LEAPFROG


class PythonLoop:
    """The sweep as a script would write it: numpy, one context, setPositions and getState for every evaluation."""

    def __init__(self, molecule, platform, timestep):
        self.context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
        self.kt = KB * molecule.temperature.value_in_unit(unit.kelvin)
        masses = [molecule.system.getParticleMass(i)._value for i in range(molecule.system.getNumParticles())]
        self.m = np.array(masses)[:, None]
        self.h, self.rng = timestep.value_in_unit(unit.picosecond), np.random.default_rng(0)
        self.x = molecule.positions.value_in_unit(unit.nanometer)
        self.energy, self.force = self.evaluate(self.x)

    def evaluate(self, x):
        self.context.setPositions(x)
        state = self.context.getState(energy=True, forces=True)
        return state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    def accept(self, change):
        return change <= -self.kt * np.log(self.rng.random())

    def hamiltonian(self, energy, x, v, noised):
        return energy + (0.5 * self.m * v**2 + 0.5 * self.kt * ((x - noised) / SCALE) ** 2).sum()

    def sweep(self):
        noised = self.x + SCALE * self.rng.normal(size=self.x.shape)
        guess = noised + SCALE * self.rng.normal(size=self.x.shape)
        energy, force = self.evaluate(guess)
        if self.accept(energy - self.energy):
            self.x, self.energy, self.force = guess, energy, force
        h, x, force = self.h * self.rng.uniform(0.8, 1.2), self.x, self.force
        angular = np.sqrt(self.kt / self.m) / SCALE
        cosine, sine = np.cos(h * angular), np.sin(h * angular)
        v = np.sqrt(self.kt / self.m) * self.rng.normal(size=x.shape)
        before = self.hamiltonian(self.energy, x, v, noised)
        v = v + 0.5 * h * force / self.m
        for k in range(N_LEAPFROG):
            arm = x - noised
            x, v = noised + cosine * arm + sine / angular * v, cosine * v - sine * angular * arm
            energy, force = self.evaluate(x)
            v = v + (h if k < N_LEAPFROG - 1 else 0.5 * h) * force / self.m
        if self.accept(self.hamiltonian(energy, x, v, noised) - before):
            self.x, self.energy, self.force = x, energy, force

    def run(self, seconds):
        n, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            self.sweep()
            n += 1
        return n * SWEEP / (time.perf_counter() - start)


def integrator_way(molecule, platform, timestep):
    integrator = DiffusiveGibbsIntegrator(molecule.temperature, [SCALE], timestep, n_leapfrog=N_LEAPFROG, seed=1)
    context = openmm.Context(molecule.system, integrator, platform)
    context.setPositions(molecule.positions)
    integrator.step(2)

    def run(seconds):
        before, start = integrator.statistics()["evaluations"], time.perf_counter()
        while time.perf_counter() - start < seconds:
            integrator.step(20)
        return (integrator.statistics()["evaluations"] - before) / (time.perf_counter() - start)

    run.context = context  # lives as long as the way
    return run


def move_way(move, evaluations, molecule, platform):
    thermodynamic = states.ThermodynamicState(molecule.system, molecule.temperature)
    sampler, contexts = states.SamplerState(molecule.positions), cache.ContextCache(platform=platform)
    for _ in range(4):
        move.apply(thermodynamic, sampler, contexts)

    def run(seconds):
        before, start, n = evaluations(move), time.perf_counter(), 0
        while time.perf_counter() - start < seconds or n == 0:
            move.apply(thermodynamic, sampler, contexts)
            n += 1
        made = n * N_LEAPFROG**2 if before is None else evaluations(move) - before
        return made / (time.perf_counter() - start)

    return run


def ways(molecule, platform):
    """Name → function from seconds to evaluations a second."""
    timestep = (20 if molecule.name.startswith("lj") else 1) * unit.femtosecond
    digs = DiffusiveGibbsMove([SCALE], timestep, n_leapfrog=N_LEAPFROG, seed=1)
    hmc = mcmc.HMCMove(timestep=timestep, n_steps=N_LEAPFROG)
    return {
        "Python loop over getState": PythonLoop(molecule, platform, timestep).run,
        "DiffusiveGibbsIntegrator": integrator_way(molecule, platform, timestep),
        "DiffusiveGibbsMove": move_way(digs, lambda move: move.statistics["evaluations"], molecule, platform),
        "openmmtools HMCMove(n_steps=10)": move_way(hmc, lambda move: None, molecule, platform),
    }, digs


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one measurement")
    parser.add_argument("--platforms", nargs="+", default=["Reference", "CPU"])
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        # Before any context exists: the CPU platform's thread hand-over costs more between cores than on one.
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        os.environ["OPENMM_CPU_THREADS"] = "1"
    print(f"one core, {N_LEAPFROG} leapfrog steps a trajectory, s = {SCALE} nm, median of {options.repeats}\n")
    print(
        "| system | platform | way | evaluations/s | sweeps/s | ratio to the Python loop |\n|---|---|---|---|---|---|"
    )
    for name in SYSTEMS:
        molecule = load_system(name)
        for platform in options.platforms:
            runs, digs = ways(molecule, openmm.Platform.getPlatformByName(platform))
            rates = {way: [] for way in runs}
            for _ in range(options.repeats):
                for way, run in runs.items():
                    rates[way].append(run(options.seconds))
            medians = {way: statistics.median(values) for way, values in rates.items()}
            loop = medians["Python loop over getState"]
            for way, value in medians.items():
                sweeps = "–" if "HMC" in way else f"{value / SWEEP:,.0f}"
                print(f"| {name} | {platform} | {way} | {value:,.0f} | {sweeps} | {value / loop:.2f} |", flush=True)
            made = digs.statistics
            share = made["overhead_seconds"] / (made["overhead_seconds"] + made["seconds"])
            print(f"| | | overhead of an apply of {digs.n_sweeps} sweeps | {share:.1%} | | |", flush=True)


if __name__ == "__main__":
    main()
