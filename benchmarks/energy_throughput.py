"""Energies and forces a second: every backend beside OpenMM and the usual torch code, in one run.

    python benchmarks/energy_throughput.py [--batch 1024] [--repeats 7] [--peptides]

Prints Markdown tables of medians over repeats in which all ways take turns, each on inputs that are perturbed afresh.
OpenMM is at its best: one context that is made and run on one core, since the CPU platform loses most of its time
when it hands a frame from one core to another; and two processes, a core each. ``--peptides`` adds capped polyalanines
of 22 to 112 atoms.
"""

import argparse
import multiprocessing
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import unit

from openmm_diffsampler import load_system

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

SYSTEMS = ("alanine-dipeptide", "alanine-dipeptide-vacuum", "lj13", "lj55")
SECONDS = 0.25
PERTURBATION = 0.002


class OnOneCore:
    """Keeps this thread, and threads that start meanwhile, on one core."""

    def __enter__(self):
        self.cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
        if self.cores:
            os.sched_setaffinity(0, {min(self.cores)})

    def __exit__(self, *_):
        if self.cores:
            os.sched_setaffinity(0, self.cores)


def openmm_loop(system, platform):
    """The loop a script would have: one context, setPositions and getState."""
    properties = {"Threads": "1"} if platform == "CPU" else {}
    with OnOneCore():
        context = openmm.Context(
            system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName(platform), properties
        )

    def evaluate(x):
        with OnOneCore():
            for frame in x.numpy():
                context.setPositions(frame)
                state = context.getState(energy=True, forces=True)
                state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    return evaluate


def _work(xml, platform, core, frames, pipe):
    """A process that evaluates `frames` again and again, for as many seconds as it is told, and tells how many."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    evaluate = openmm_loop(openmm.XmlSerializer.deserialize(xml), platform)
    evaluate(frames[:16])
    pipe.send(0)
    while (seconds := pipe.recv()) is not None:
        n, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            evaluate(frames[:64])
            n += len(frames[:64])
        pipe.send(n / (time.perf_counter() - start))


class TwoProcesses:
    """Two OpenMM contexts in processes of their own, a core each."""

    def __init__(self, system, platform, frames):
        xml, spawn = openmm.XmlSerializer.serialize(system), multiprocessing.get_context("spawn")
        cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else [0, 1]
        self.pipes = []
        for core in cores:
            ours, theirs = spawn.Pipe()
            spawn.Process(target=_work, args=(xml, platform, core, frames, theirs), daemon=True).start()
            self.pipes.append(ours)
        for pipe in self.pipes:
            pipe.recv()

    def rate(self):
        for pipe in self.pipes:
            pipe.send(SECONDS)
        return sum(pipe.recv() for pipe in self.pipes)

    def close(self):
        for pipe in self.pipes:
            pipe.send(None)


def all_ordered_pairs(x):
    """Energy and score of a Lennard-Jones cluster as sampler papers compute it: N² differences, autograd."""
    x = x.detach().requires_grad_()
    n = x.shape[1]
    off_diagonal = ~torch.eye(n, dtype=torch.bool)
    r = (x[:, :, None] - x[:, None])[:, off_diagonal].norm(dim=-1)
    u = (r**-12 - 2 * r**-6).sum(1) + 0.5 * (x - x.mean(1, keepdim=True)).square().sum((1, 2))
    return u, -torch.autograd.grad(u.sum(), x)[0]


def second_derivative(target, x):
    """A product of the Hessian with a vector, from scores that are known: what a loss on scores adds."""
    return target._score_vjp_guarded(x, torch.ones_like(x))


def candidates(molecule):
    """Way → function of a float64 batch."""
    ways = {f"OpenMM {p}, one context": openmm_loop(molecule.system, p) for p in ("Reference", "CPU")}
    if molecule.name.startswith("lj"):
        ways["torch, all ordered pairs, autograd"] = all_ordered_pairs
    for backend in ("torch", "kernel"):
        for dtype in (torch.float64, torch.float32):
            target = molecule.target(backend=backend, dtype=dtype)
            name = f"{backend} {str(dtype).removeprefix('torch.')}"
            ways[name] = target.reduced_potential_and_score
            ways[f"{name}, Hessian times vector"] = lambda x, t=target: second_derivative(t, x)
    return ways


def rate(way, function, start, batch, generator):
    """Configurations a second on fresh inputs, of as many at a time as `batch` allows in a moment."""

    def fresh(n):
        noise = torch.randn(n, *start.shape, generator=generator, dtype=torch.float64)
        return (start + PERTURBATION * noise).to(torch.float32 if "float32" in way else torch.float64)

    x = fresh(min(batch, 16))
    begin = time.perf_counter()
    function(x)
    per_frame = (time.perf_counter() - begin) / len(x)
    n = int(np.clip(SECONDS / per_frame, min(batch, 16), batch))
    inputs = [fresh(n) for _ in range(5)]
    time.sleep(0.005)  # torch's threads spin for a while after they made the inputs
    done, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < SECONDS:
        function(inputs[done % 5])
        done += 1
    return n * done / (time.perf_counter() - begin)


def start_of(molecule):
    return torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer), dtype=torch.float64)


def medians(ways, start, batch, repeats, extra=None):
    """Way → median rate, all ways taking turns; `extra` are ways with a rate of their own."""
    generator = torch.Generator().manual_seed(0)
    rates = {way: [] for way in [*ways, *(extra or {})]}
    for _ in range(repeats):
        for way, function in ways.items():
            rates[way].append(rate(way, function, start, batch, generator))
        for way, own in (extra or {}).items():
            rates[way].append(own())
    return {way: statistics.median(values) for way, values in rates.items()}


def large_batches(options):
    print("| system | way | configurations/s | over the best OpenMM context |\n|---|---|---|---|")
    found = {}
    for name in SYSTEMS:
        molecule = load_system(name)
        start = start_of(molecule)
        frames = start + PERTURBATION * torch.randn(64, *start.shape, dtype=torch.float64)
        pairs = {p: TwoProcesses(molecule.system, p, frames) for p in ("Reference", "CPU")}
        extra = {f"OpenMM {p}, two processes": pair.rate for p, pair in pairs.items()}
        found[name] = result = medians(candidates(molecule), start, options.batch, options.repeats, extra)
        for pair in pairs.values():
            pair.close()
        best = max(value for way, value in result.items() if "one context" in way)
        for way, value in result.items():
            print(f"| {name} | {way} | {value:,.0f} | {value / best:.2f} |", flush=True)
    goals(found)


def goals(found):
    obc1, vacuum, lj13, lj55 = (found[name] for name in SYSTEMS)
    best = max(value for way, value in obc1.items() if "one context" in way)
    autograd = "torch, all ordered pairs, autograd"
    rows = [
        ("obc1, float64, over the best OpenMM context", obc1["kernel float64"] / best, 60),
        ("obc1, float64, over closed forms in eager torch", obc1["kernel float64"] / obc1["torch float64"], 8),
        ("vacuum, float64, over two Reference processes",
         vacuum["kernel float64"] / vacuum["OpenMM Reference, two processes"], 15),
        ("LJ-13, float64, over autograd of all ordered pairs", lj13["kernel float64"] / lj13[autograd], 60),
        ("LJ-55, float64, over autograd of all ordered pairs", lj55["kernel float64"] / lj55[autograd], 100),
        ("obc1, float32 over float64", obc1["kernel float32"] / obc1["kernel float64"], 1.6),
    ]  # fmt: skip
    print("\n| ratio | measured | goal |\n|---|---|---|")
    for label, value, goal in rows:
        print(f"| {label} | {value:.1f} | {goal} |")


def small_batches(options):
    print("\n| system | batch | kernel float64 / s | best OpenMM context / s | ratio |\n|---|---|---|---|---|")
    for name in SYSTEMS:
        molecule = load_system(name)
        ways = {way: f for way, f in candidates(molecule).items() if "one context" in way or way == "kernel float64"}
        for batch in (1, 16):
            result = medians(ways, start_of(molecule), batch, options.repeats)
            kernel, best = result.pop("kernel float64"), max(result.values())
            print(f"| {name} | {batch} | {kernel:,.0f} | {best:,.0f} | {kernel / best:.2f} |", flush=True)


def peptides(options):
    from openmm_diffsampler import OpenMMTarget
    from tests.targets.openmmtools_systems import peptide

    columns = ("peptide", "solvent", "atoms", "kernel float64 / s", "OpenMM Reference / s", "OpenMM CPU / s", "ratio")
    print(f"\n| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for solvent in ("vacuum", "OBC2"):
        for n in (1, 2, 3, 5, 7, 10):
            system, _, positions = peptide(solvent, n)
            start = torch.as_tensor(positions, dtype=torch.float64)
            target = OpenMMTarget(system, 300 * unit.kelvin, backend="kernel", positions=positions)
            ways = {p: openmm_loop(system, p) for p in ("Reference", "CPU")}
            ways["kernel"] = target.reduced_potential_and_score
            result = medians(ways, start, options.batch, 3)
            others = [result[p] for p in ("Reference", "CPU")]
            cells = [f"ALA{n}", solvent, len(start), *(f"{v:,.0f}" for v in (result["kernel"], *others))]
            print(f"| {' | '.join(map(str, cells))} | {result['kernel'] / max(others):.1f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--peptides", action="store_true", help="also cost against the number of atoms")
    options = parser.parse_args()
    print(f"batch {options.batch}, median of {options.repeats}, {torch.get_num_threads()} threads\n")
    large_batches(options)
    small_batches(options)
    if options.peptides:
        peptides(options)


if __name__ == "__main__":
    main()
