"""Energies and forces a second: a plain loop over OpenMM, beside each backend, in one run.

    python benchmarks/energy_throughput.py [--batch 1024] [--repeats 5]

Prints a Markdown table of medians over alternating repeats, with the ratio to the best plain loop.
"""

import argparse
import contextlib
import os
import statistics
import time

import numpy as np
import openmm
import torch
from openmm import unit

from openmm_diffsampler import load_system

SYSTEMS = ("alanine-dipeptide", "alanine-dipeptide-vacuum", "lj13", "lj55")


@contextlib.contextmanager
def on_one_core(wanted):
    """Keep this thread, and threads started meanwhile, on one core."""
    if not wanted:
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def plain_loop(system, platform, pinned=False):
    """The loop a script would have: one context, setPositions and getState."""
    properties = {"Threads": "1"} if platform == "CPU" else {}
    chosen = openmm.Platform.getPlatformByName(platform)
    with on_one_core(pinned):
        context = openmm.Context(system, openmm.VerletIntegrator(0.001), chosen, properties)

    def evaluate(x):
        with on_one_core(pinned):
            for frame in x:
                context.setPositions(frame)
                state = context.getState(getEnergy=True, getForces=True)
                state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    return evaluate


def candidates(molecule):
    """(label, function of a float64 batch)."""
    loops = {f"plain loop, {p}": plain_loop(molecule.system, p) for p in ("Reference", "CPU")}
    if hasattr(os, "sched_setaffinity"):  # the CPU platform hands each frame to a thread, which costs between cores
        loops["plain loop, CPU, on one core"] = plain_loop(molecule.system, "CPU", pinned=True)
    yield from ((name, lambda x, f=loop: f(x.numpy())) for name, loop in loops.items())
    for platform in ("Reference", "CPU"):
        target = molecule.target(backend="openmm", platform=platform)
        yield f"backend openmm, {platform}", target.reduced_potential_and_score
        if platform == "Reference":
            yield "backend openmm, Reference, second derivative", lambda x, t=target: second_derivative(t, x)
    for dtype in (torch.float64, torch.float32):
        target = molecule.target(backend="torch", dtype=dtype)
        name = f"backend torch, {str(dtype).removeprefix('torch.')}"
        yield name, lambda x, t=target, d=dtype: t.reduced_potential_and_score(x.to(d))
        yield f"{name}, second derivative", lambda x, t=target, d=dtype: second_derivative(t, x.to(d))


def second_derivative(target, x):
    """A product of the Hessian with a vector, from scores that are known: what a loss on scores adds."""
    return target._score_vjp_guarded(x, torch.ones_like(x))


def rate(function, x, seconds):
    """Configurations a second, on as many of `x` as fit in the time."""
    small = x[:16]
    start = time.perf_counter()
    function(small)
    per_frame = (time.perf_counter() - start) / len(small)
    part = x[: int(np.clip(seconds / per_frame, 16, len(x)))]
    start = time.perf_counter()
    function(part)
    return len(part) / (time.perf_counter() - start)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"batch {options.batch}, median of {options.repeats}, {torch.get_num_threads()} threads\n")
    print("| system | way | configurations/s | ratio to the best plain loop |\n|---|---|---|---|")
    for name in SYSTEMS:
        molecule = load_system(name)
        start = torch.as_tensor(molecule.positions.value_in_unit(unit.nanometer), dtype=torch.float64)
        noise = torch.randn(options.batch, *start.shape, generator=torch.Generator().manual_seed(0))
        x = start + 0.002 * noise.double()
        ways = dict(candidates(molecule))
        rates = {way: [] for way in ways}
        for _ in range(options.repeats):
            for way, function in ways.items():
                rates[way].append(rate(function, x, 0.3))
        medians = {way: statistics.median(values) for way, values in rates.items()}
        best = max(value for way, value in medians.items() if way.startswith("plain"))
        for way, value in medians.items():
            print(f"| {name} | {way} | {value:,.0f} | {value / best:.2f} |", flush=True)


if __name__ == "__main__":
    main()
