"""What internal coordinates cost beside an energy with forces, per configuration.

python benchmarks/internal_coordinates.py
python benchmarks/internal_coordinates.py --system aspartame --batch 128
"""

import argparse
import time

import torch

from openmm_diffsampler import load_system
from openmm_diffsampler.coordinates import InternalTarget


def microseconds(work, n, repeats=7, calls=20):
    """Per configuration, best of several rounds."""
    work()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        best = min(best, (time.perf_counter() - start) / calls)
    return best / n * 1e6


def rows(name, batch, dtype):
    molecule = load_system(name)
    cartesian = molecule.target(dtype=dtype)
    target = InternalTarget(cartesian, molecule.positions)
    start = target.from_cartesian(torch.as_tensor(molecule.positions._value, dtype=dtype)[None])
    noise = 0.1 * torch.randn(batch, *target.event_shape, generator=torch.Generator().manual_seed(0), dtype=dtype)
    y = start + noise
    x, c = target.to_cartesian(y), target.coordinates
    z = y * target.widths
    force = cartesian.score(x)
    return {
        "energy and forces": lambda: cartesian.reduced_potential_and_score(x),
        "z → x": lambda: c.place(z),
        "forces → z": lambda: c.pull_back(x, force),
        "log-Jacobian and its derivatives": lambda: c.volume(z),
        "stereocentres": lambda: target.handedness.is_kept(x),
        "x → z": lambda: c.to_internal(x),
        "energy and score in internal coordinates": lambda: target.reduced_potential_and_score(y),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--system", action="append", help="repeat for several")
    parser.add_argument("--batch", type=int, default=1024)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.system or ["alanine-dipeptide-vacuum", "alanine-dipeptide", "aspartame"]:
        print(f"\n{name}, {options.batch} configurations, µs each\n\n| | float64 | float32 |\n|---|---|---|")
        work = [rows(name, options.batch, dtype) for dtype in (torch.float64, torch.float32)]
        for what in work[0]:
            double, single = (microseconds(part[what], options.batch) for part in work)
            print(f"| {what} | {double:.2f} | {single:.2f} |", flush=True)


if __name__ == "__main__":
    main()
