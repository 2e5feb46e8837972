"""Markov chain samplers at equal numbers of force evaluations, on targets where modes are hard to reach.

    python benchmarks/mcmc_comparison.py --target torsional-toy
    python benchmarks/mcmc_comparison.py --target alanine-dipeptide --budget 2e7 --sampler HMC --sampler MALA
    python benchmarks/mcmc_comparison.py --target alanine-dipeptide --make-reference --budget 1e8

All chains of a run start in one configuration. A budget counts every energy-and-force evaluation: those of warm-up, of
all rungs of tempering, and one for a step of dynamics. Each sampler has the settings below, the same for every budget.
Results are appended to the ``--json`` file, a line a run, so that the same command goes on after an interruption and
further samplers or seeds add rows; ``--output`` gets the table.

For molecules: a mode is a basin of torsions with a population above 1 %. The total variation of mode weights and of
24 × 24 Ramachandran histograms (the worst pair of adjacent torsions) is from the reference; beside the latter stands
what exact draws would have, as many as the run's effective ones and as many as its frames. Effective samples are by
autocorrelation: the smallest over cos and sin of all torsions, and that of the indicator of a well, which is zero where
the well was never entered or never left. Chains that all miss a mode do not know it, and neither does an effective
sample size: † marks samplers of which a seed missed one. Crossings are arrivals of a chain in the middle half of
another well than it was in last, for the torsion where they are fewest; in tempering they are those of the coldest
rung, where exchanges bring them about too. φ > 0 stands for 0° < φ < 130°, beyond which lies the C5 basin. Means over
seeds, ± their standard deviation (for P, ± the standard error of the mean); in brackets the worst seed.
"""

import argparse
import json
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import openmm
import torch
from mcmc_targets import PROBLEMS

from openmm_diffsampler import (
    HMC,
    MALA,
    DiffusiveGibbs,
    InternalDiffusiveGibbs,
    ParallelTempering,
    WeightedTrajectory,
)
from openmm_diffsampler.mcmc import recommended_settings

#: Share of a budget that chains adapt in, draws of a chain at most, frames of all chains at most.
WARMUP, MOST_DRAWS, MOST_FRAMES = 0.1, 5000, 640_000


class Run(NamedTuple):
    """A WeightedTrajectory with what it cost, warm-up included."""

    wt: WeightedTrajectory
    evaluations: int
    seconds: float


class NotApplicableError(Exception):
    """The sampler has nothing to do with the target, and why."""


# Samplers: (problem, start, budget, seed) → Run


def n_chains(budget, share=1):
    """16 chains for a budget of 2e5 to 128 for 2e7; a `share` of them, at least two."""
    return max(2, int(min(128, max(16, budget // 150_000)) * share))


def run_chains(sampler, start, budget, seed, share=1):
    """Sweeps as the budget allows, the first tenth of them warm-up."""
    target, chains = sampler.target, n_chains(budget, share)
    sampler.sample(start, 1, n_chains=2, n_warmup=0)
    sweep = sum(row["evaluations"] for row in sampler.statistics) / 2  # of a chain
    n_sweeps = int((budget - chains) / (chains * sweep))
    n_warmup = max(1, int(WARMUP * n_sweeps))
    most = min(MOST_DRAWS, MOST_FRAMES // chains)
    thinning = -(-(n_sweeps - n_warmup) // most)
    n_draws = (n_sweeps - n_warmup) // max(1, thinning)
    if n_draws < 4:
        raise NotApplicableError(f"{budget:.3g} evaluations are {n_sweeps} sweeps of {chains} chains")
    before, begin = target.n_evaluations, time.perf_counter()
    wt = sampler.sample(start, n_draws, n_chains=chains, n_warmup=n_warmup, thinning=thinning, seed=seed)
    return Run(wt, target.n_evaluations - before, time.perf_counter() - begin)


#: Where the adaptation of step sizes starts, in the units of x; molecules have the last one.
STEP_SIZES = {"mog40": 1.0, "lj38": 0.01, "molecule": 0.0015}


def step_size(problem):
    return STEP_SIZES.get(problem.name, STEP_SIZES["molecule"])


def digs_cartesian(problem, start, budget, seed):
    # Molecules: noise so wide that it hardly holds the Hamiltonian steps back, and long trajectories; of 0.005 to 0.04
    # nm and 8 to 40 leapfrog steps the most effective samples; a level of 0.0005 nm, where guesses are accepted, costs
    # more than it gains. Mixture: a single level, that of Chen et al., s = √(1 − 0.1²)/0.1. Cluster: 10 and 1
    # times its thermal width, as recommended.
    scales, n_leapfrog = {"mog40": ([9.95], 5), "lj38": ([0.25, 0.025], 8)}.get(problem.name, ([0.04], 40))
    sampler = DiffusiveGibbs(problem.target, scales, step_size=step_size(problem), n_leapfrog=n_leapfrog)
    return run_chains(sampler, start, budget, seed)


def digs_rotations(problem, start, budget, seed):
    # As recommended: torsion noise of 1.5 rad, three rotations for each rotatable bond, one Cartesian level of 0.01 nm.
    if not problem.has_bonds:
        raise NotApplicableError("no bonds to turn")
    return run_chains(
        DiffusiveGibbs(problem.target, **recommended_settings(problem.target, start)), start, budget, seed
    )


def digs_internal(problem, start, budget, seed, share=1, **options):
    # As recommended, for every molecule.
    if not problem.has_bonds:
        raise NotApplicableError("no internal coordinates without bonds")
    before = problem.target.n_evaluations
    sampler = InternalDiffusiveGibbs(problem.target, start, **options)
    spent = problem.target.n_evaluations - before  # on thermal widths
    run = run_chains(sampler, start, budget - spent, seed, share)
    return run._replace(evaluations=run.evaluations + spent)


def digs_internal_tempering(problem, start, budget, seed):
    # Four rungs to 525 K: the torsions cross by themselves, heat is for what else is stiff.
    ladder = [1, 0.83, 0.69, 0.57]
    return digs_internal(problem, start, budget, seed, share=1 / 4, inverse_temperatures=ladder)


def digs_tempering(problem, start, budget, seed):
    # The levels of "DiGS Cartesian" at every rung of the tempering ladder.
    if problem.has_bonds:
        raise NotApplicableError("molecules are noised in internal coordinates")
    scales, n_leapfrog = {"mog40": ([9.95], 5), "lj38": ([0.025], 8)}[problem.name]
    sampler = DiffusiveGibbs(
        problem.target,
        scales,
        step_size=step_size(problem),
        n_leapfrog=n_leapfrog,
        inverse_temperatures=ladder(problem),
    )
    return run_chains(sampler, start, budget, seed, share=1 / 4)


def hmc(problem, start, budget, seed):
    # 40 leapfrog steps: the most effective samples of alanine dipeptide's torsions, of 5 to 80; aspartame hardly cares.
    return run_chains(HMC(problem.target, step_size=step_size(problem), n_leapfrog=40), start, budget, seed)


def mala(problem, start, budget, seed):
    return run_chains(MALA(problem.target, step_size=step_size(problem)), start, budget, seed)


def ladder(problem):
    """β of the rungs: 300 to 1075 K; T* from 0.12 to 0.24; to 1000 for the mixture, as Chen et al. have it."""
    n, hottest = {"mog40": (5, 1000), "lj38": (8, 2)}.get(problem.name, (8, 1075 / 300))
    return [hottest ** (-k / (n - 1)) for k in range(n)]


def tempering(swaps, problem, start, budget, seed):
    # Exchanges after every trajectory of 10 leapfrog steps, better than 20 and 40; a quarter of the chains, as each has
    # all rungs.
    sampler = ParallelTempering(
        problem.target, ladder(problem), step_size=step_size(problem), n_leapfrog=10, swaps=swaps
    )
    return run_chains(sampler, start, budget, seed, share=1 / 4)


def langevin(problem, start, budget, seed):
    # One trajectory, LangevinMiddleIntegrator: molecules with 2 fs and 1/ps; clusters with 0.01 and 0.5 reduced units.
    if problem.dynamics is None:
        raise NotApplicableError("no System")
    with one_core():
        return _langevin(problem, start.numpy(), int(budget), seed)


def _langevin(problem, x, steps, seed):
    n_draws = min(20_000, int((1 - WARMUP) * steps))
    stride = int((1 - WARMUP) * steps) // n_draws
    context = dynamics(problem.dynamics, x, fastest_platform(problem.dynamics, x), seed)
    begin, step = time.perf_counter(), context.getIntegrator().step
    step(steps - n_draws * stride)
    frames = np.empty((n_draws, 1, *x.shape))
    for k in range(n_draws):
        step(stride)
        frames[k, 0] = context.getState(positions=True).getPositions(asNumpy=True)._value
    seconds, target = time.perf_counter() - begin, problem.target
    frames = target.project(torch.as_tensor(frames))
    wt = WeightedTrajectory.from_chains(frames, topology=target.topology, temperature=target.temperature)
    return Run(wt, steps, seconds)


@contextmanager
def one_core():
    """Where the system allows it: OpenMM's CPU platform takes a quarter of the time when its threads stay together."""
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if allowed:
        os.sched_setaffinity(0, {max(allowed)})
    try:
        yield
    finally:
        if allowed:
            os.sched_setaffinity(0, allowed)


def dynamics(settings, x, platform, seed):
    """A Context at `x` with velocities of the temperature, on one thread."""
    system, temperature, timestep, friction = settings
    integrator = openmm.LangevinMiddleIntegrator(temperature, friction, timestep)
    integrator.setRandomNumberSeed(seed + 1)  # zero would mean any seed
    properties = {"Threads": "1"} if platform == "CPU" else {}
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName(platform), properties)
    context.setPositions(x)
    context.setVelocitiesToTemperature(temperature, seed + 1)
    return context


def fastest_platform(settings, x):
    """Which makes 200 steps in less time."""

    def seconds(platform):
        context = dynamics(settings, x, platform, 0)
        context.getIntegrator().step(20)
        begin = time.perf_counter()
        context.getIntegrator().step(200)
        return time.perf_counter() - begin

    return min(("CPU", "Reference"), key=seconds)


SAMPLERS = {
    "DiGS Cartesian": digs_cartesian,
    "DiGS rotations": digs_rotations,
    "DiGS internal": digs_internal,
    "DiGS internal, tempering": digs_internal_tempering,
    "DiGS Cartesian, tempering": digs_tempering,
    "HMC": hmc,
    "MALA": mala,
    "Langevin dynamics": langevin,
    "tempering, reversible": lambda *arguments: tempering("reversible", *arguments),
    "tempering, non-reversible": lambda *arguments: tempering("non-reversible", *arguments),
}


# Runs and tables


def key(row):
    return row["target"], row["sampler"], float(row["budget"]), int(row["seed"])


def read_rows(file):
    lines = Path(file).read_text(encoding="utf-8").splitlines() if Path(file).exists() else []
    return [json.loads(line) for line in lines]


def new_row(problem, name, budget, seed):
    """A line of the JSON file."""
    run = SAMPLERS[name](problem, problem.start(seed), budget, seed)
    row = {"target": problem.name, "sampler": name, "budget": budget, "seed": seed}
    return row | {"evaluations": run.evaluations, "seconds": run.seconds} | problem.measure(run.wt)


def missing_runs(problem, options):
    """Make the rows that the file does not have."""
    there = {key(row) for row in read_rows(options.json)}
    for name in options.samplers:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            if (problem.name, name, options.budget, seed) in there:
                continue
            try:
                row = new_row(problem, name, options.budget, seed)
            except NotApplicableError as reason:
                print(f"{name} is left out: {reason}", flush=True)
                break
            with Path(options.json).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            print(f"{name}, seed {seed}: {row['evaluations']:,} evaluations, {row['seconds']:.1f} s", flush=True)


def table(columns, rows):
    """A Markdown table of dicts; a cell that a row lacks is a dash."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(str(row.get(c, '–')) for c in columns)} |" for row in rows]
    return "\n".join(lines)


def report(problem, options):
    reference = problem.reference(options.reference)
    kept = [row for row in read_rows(options.json) if key(row)[::2] == (problem.name, options.budget)]
    kept = [row for row in kept if 0 <= row["seed"] - options.first_seed < options.seeds]
    shown = []
    for name in options.samplers:
        rows = [row for row in kept if row["sampler"] == name]
        if rows:
            cells = {"sampler": name, "seeds": len(rows)} | problem.cells(rows, reference)
            cells["evaluations"] = f"{np.mean([row['evaluations'] for row in rows]):,.0f}"
            cells["seconds"] = f"{np.mean([row['seconds'] for row in rows]):,.1f}"
            shown.append(cells)
    columns = dict.fromkeys(column for row in shown for column in row)
    title = f"## {problem.name}, {options.budget:.3g} evaluations"
    return "\n\n".join([title, table(columns, shown), problem.note(reference)]) + "\n"


def make_reference(problem, options):
    """By the first sampler asked for, or tempering, in one run with the whole budget."""
    if not problem.needs_reference:
        raise SystemExit(f"{problem.name} needs no reference file")
    name = options.sampler[0] if options.sampler else "tempering, non-reversible"
    run = SAMPLERS[name](problem, problem.start(options.seeds), options.budget, options.seeds)
    file = options.reference or problem.reference_file
    problem.make_reference(run.wt, file)
    return f"{file}: {name}, {run.evaluations:,} evaluations in {run.seconds:.0f} s\n\n" + problem.note(
        problem.reference(file)
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", required=True, choices=PROBLEMS)
    parser.add_argument("--sampler", action="append", choices=SAMPLERS, help="repeat for several; default: all")
    parser.add_argument("--budget", type=float, default=2e5, help="evaluations of a run")
    parser.add_argument("--seeds", type=int, default=8, help="runs of a sampler")
    parser.add_argument("--first-seed", type=int, default=0, help="to share a table between processes")
    parser.add_argument("--reference", help="npz with a histogram over φ and ψ and what --make-reference writes")
    parser.add_argument("--make-reference", action="store_true", help="write the reference instead, with --budget")
    parser.add_argument("--json", default="mcmc-comparison.jsonl", help="results, a line a run")
    parser.add_argument("--output", help="Markdown file of the table")
    options = parser.parse_args()
    options.samplers = options.sampler or list(SAMPLERS)
    torch.set_num_threads(1)  # batches are small
    problem = PROBLEMS[options.target]()
    if options.make_reference:
        print(make_reference(problem, options))
        return
    missing_runs(problem, options)
    text = report(problem, options)
    print("\n" + text)
    if options.output:
        Path(options.output).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
