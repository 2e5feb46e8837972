"""Energies and forces a second: a plain loop over OpenMM, beside each backend, in one run.

    python benchmarks/energy_throughput.py [--batch 1024] [--repeats 5]

Prints a Markdown table of medians over alternating repeats, with the ratio to the better plain loop.
"""

import argparse
import statistics
import time

import numpy as np
import openmm
import torch
from openmm import unit

from openmm_diffsampler import load_system

SYSTEMS = ("alanine-dipeptide", "alanine-dipeptide-vacuum", "lj13", "lj55")


def plain_loop(system, platform):
    """The loop a script would have: one context, setPositions and getState."""
    properties = {"Threads": "1"} if platform == "CPU" else {}
    chosen = openmm.Platform.getPlatformByName(platform)
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), chosen, properties)

    def evaluate(x):
        for frame in x:
            context.setPositions(frame)
            state = context.getState(getEnergy=True, getForces=True)
            state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value

    return evaluate


def candidates(molecule):
    loops = {f"plain loop, {p}": plain_loop(molecule.system, p) for p in ("Reference", "CPU")}
    yield from ((name, lambda x, f=f: f(x.numpy())) for name, f in loops.items())
    for platform in ("Reference", "CPU"):
        target = molecule.target(backend="openmm", platform=platform)
        yield f"backend openmm, {platform}", target.reduced_potential_and_score
    for dtype in (torch.float64, torch.float32):
        target = molecule.target(backend="torch", dtype=dtype)
        name = f"backend torch, {str(dtype).removeprefix('torch.')}"
        yield name, lambda x, t=target, d=dtype: t.reduced_potential_and_score(x.to(d))
        if dtype == torch.float64:
            yield "backend torch, second derivative", lambda x, t=target: t._score_vjp_guarded(x, torch.ones_like(x))


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
    print("| system | way | configurations/s | ratio to the better plain loop |\n|---|---|---|---|")
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
