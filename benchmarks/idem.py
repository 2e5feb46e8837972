"""iDEM on GMM-40, DW-4 and LJ-13: sample quality, weights and cost, beside the published numbers.

Loads the weights that come with each system, or trains afresh (`--train`). Reference samples are exact for GMM-40; for
DW-4 and LJ-13 they come from 1,000 annealed chains of this package and diffusive Gibbs (DW-4) or Hamiltonian Monte
Carlo sampling (LJ-13), or from a file of your own.
Beside every distance stands its floor: what another draw of the reference scores at the same count. Symmetry-aware W2
matches permutations first and rotations after; the published rows were made on other reference sets.
"""

import argparse
import time
from dataclasses import asdict

import numpy as np
import torch

from openmm_diffsampler import HMC, IDEM, DiffusiveGibbs, load_system
from openmm_diffsampler.analysis import (
    bootstrap_floor,
    distance_total_variation,
    energy_distances,
    symmetric_wasserstein,
)
from openmm_diffsampler.mcmc.annealing import annealed_chains

#: Read in tables of the papers: symmetry-aware W2 and energy W2 of raw samples, ESS, seconds of training and for 1,000
#: samples on their GPU.
PUBLISHED = {
    "gmm40": {"iDEM": {"ESS": 0.734, "training": "3.5 h", "1,000 samples": "7.2 s"}},
    "dw4": {
        "iDEM": {"W2": 0.70, "energy W2": 0.55, "ESS": 0.827, "training": "4.5 h", "1,000 samples": "2.6 s"},
        "Adjoint Sampling": {"W2": 0.62, "energy W2": 0.55},
        "ASBS": {"W2": 0.43, "energy W2": 0.20},
    },
    "lj13": {
        "iDEM": {"W2": 1.61, "energy W2": 30.78, "ESS": 0.231, "training": "6.5 h", "1,000 samples": "19.7 s"},
        "Adjoint Sampling": {"W2": 1.67, "energy W2": 2.40},
        "ASBS": {"W2": 1.59, "energy W2": 1.99},
        "PDNS": {"energy W2": 1.01},
    },
}
ODE = {"gmm40": {"n_steps": 50}, "dw4": {"n_steps": 50}, "lj13": {"n_steps": 20}}


def reference(target, path, n, seed):
    """(n, *event_shape) reference samples."""
    if path is not None:
        x = torch.as_tensor(np.load(path), dtype=target.dtype).reshape(-1, *target.event_shape)
        return target.project(x)[:n]
    if target.name == "gmm40":
        return target.sample(n, torch.Generator().manual_seed(seed))
    chains = annealed_chains(target, 1000, 3.0, torch.Generator().manual_seed(seed))
    if target.name == "dw4":  # where Hamiltonian steps alone are slow to change shape
        sampler = DiffusiveGibbs(target, noise_scales=[2.0, 0.5], step_size=0.3)
    else:
        sampler = HMC(target, step_size=chains.step_size, n_leapfrog=10)
    return sampler.sample(chains.state.x, n // 1000, n_warmup=500, thinning=50, seed=seed).x


def timed(action):
    start = time.perf_counter()
    return action(), time.perf_counter() - start


def row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def show_modes(target, raw, weighted):
    counts = torch.bincount(target.mode(raw.x), minlength=40)
    print(f"\nmodes of {len(raw):,} raw samples: {int((counts > 0).sum())} of 40, least {int(counts.min())} samples")
    z = []
    for k in range(40):
        share, error = weighted.expectation((target.mode(weighted.x) == k).double())
        z.append((share - 1 / 40) / error)
    z = np.array(z)
    print(f"weights of the 40 modes, reweighted: largest |z| {abs(z).max():.2f}, χ²/40 {np.square(z).mean():.2f}")
    z = weighted.log_Z / weighted.log_Z_standard_error
    print(f"log Z: {weighted.log_Z:.4f} ± {weighted.log_Z_standard_error:.4f}, exact 0, z {z:.2f}")


def show_distances(target, raw, weighted, exact, counts):
    """Distances to the reference with their floors, raw and reweighted, and published ones."""
    u_exact, shuffle = target.reduced_potential(exact), torch.Generator().manual_seed(0)
    resampled = weighted.resample(len(weighted), seed=0)
    row("distance", "raw", "reweighted", "floor", *PUBLISHED[target.name])
    row(*["---"] * (4 + len(PUBLISHED[target.name])))
    for n in counts:
        floor = bootstrap_floor(symmetric_wasserstein, exact, n, n_repeats=2, n_reference=n).mean
        found = [
            symmetric_wasserstein(wt.x[torch.randperm(len(wt), generator=shuffle)], exact, n=n)
            for wt in (raw, resampled)
        ]
        published = [figures.get("W2", "") if n == counts[-1] else "" for figures in PUBLISHED[target.name].values()]
        row(f"symmetry-aware W2, {n:,}", *(f"{v:.3f} ({v / floor:.3f} ×)" for v in found), f"{floor:.3f}", *published)
    half = len(exact) // 2
    floor = bootstrap_floor(energy_distances, u_exact, half).mean
    finite = raw.reduced_potential.isfinite()
    u, w = raw.reduced_potential[finite], weighted.weights
    valid = weighted.reduced_potential.isfinite()
    found = energy_distances(u, u_exact), energy_distances(weighted.reduced_potential[valid], u_exact, weights=w[valid])
    for name in ("w1", "w2", "total_variation"):
        label = "energy " + {"w1": "W1", "w2": "W2", "total_variation": "TV"}[name]
        published = [figures.get(label, "") for figures in PUBLISHED[target.name].values()]
        row(label, *(f"{getattr(d, name):.3f}" for d in found), f"{getattr(floor, name):.3f} ({half:,})", *published)
    floor = bootstrap_floor(distance_total_variation, exact, half).mean
    found = distance_total_variation(raw.x, exact), distance_total_variation(weighted.x, exact, weights=w)
    blank = [""] * len(PUBLISHED[target.name])
    row("distances TV", *(f"{v:.4f}" for v in found), f"{floor:.4f} ({half:,})", *blank)


def show_energy(name, wt, exact_mean, exact_error, seconds):
    mean, error = wt.expectation(wt.reduced_potential)
    z = (mean - exact_mean) / (error**2 + exact_error**2) ** 0.5
    share = wt.effective_sample_size / len(wt)
    log_Z = f"{wt.log_Z:.3f} ± {wt.log_Z_standard_error:.3f}"
    row(name, f"{len(wt):,}", f"{share:.3f}", log_Z, f"{mean:.3f} ± {error:.3f}", f"{z:.2f}", f"{seconds:.0f}")


def benchmark(name, options):
    target = load_system(name).target()
    if options.train:
        sampler = IDEM(target, options.preset, seed=options.seed).fit(options.steps, progress=True)
    else:
        sampler = IDEM.load(options.weights, target) if options.weights else IDEM.pretrained(name)
    record, n = sampler.record, options.samples
    print(f"\n## {name}, preset {sampler.preset}, training seed {sampler.seed}, sampling seed {options.seed}\n")
    print(
        f"trained in {record['n_steps']:,} steps, {record['n_evaluations']:,} evaluations, {record['seconds']:,.0f} s "
        f"on {record['threads']} threads (published: {PUBLISHED[name]['iDEM']['training']} on a GPU); "
        f"{sum(p.numel() for p in sampler.model.parameters()):,} weights"
    )
    if options.verbose:
        print(asdict(sampler.settings))
    thousand = [timed(lambda w=w: sampler.sample(1000, w, seed=options.seed + 1))[1] for w in (None, "path")]
    print(
        f"1,000 samples: raw {thousand[0]:.1f} s, with path weights {thousand[1]:.1f} s "
        f"(published: {PUBLISHED[name]['iDEM']['1,000 samples']} on a GPU)\n"
    )
    exact = reference(target, options.reference, n, options.seed + 1000)
    u = target.reduced_potential(exact)
    exact_mean, exact_error = float(u.mean()), float(u.std()) / len(u) ** 0.5
    raw, _ = timed(lambda: sampler.sample(n, None, seed=options.seed + 2))
    weighted, seconds = timed(lambda: sampler.sample(n, "path", seed=options.seed + 3))
    row("weights", "samples", "ESS", "log Z", "⟨u⟩", "z", "seconds")
    row(*["---"] * 7)
    row("reference", f"{len(u):,}", "", "", f"{exact_mean:.3f} ± {exact_error:.3f}", "", "")
    show_energy("path", weighted, exact_mean, exact_error, seconds)
    ode, seconds = timed(lambda: sampler.sample(options.ode_samples or n, "ode", seed=options.seed + 4, **ODE[name]))
    show_energy(f"probability flow {ODE[name]}", ode, exact_mean, exact_error, seconds)
    print(f"| published iDEM | | {PUBLISHED[name]['iDEM']['ESS']} | | | | |\n")
    if name == "gmm40":
        show_modes(target, raw, weighted)
    else:
        show_distances(target, raw, weighted, exact, options.counts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=["gmm40", "dw4", "lj13"])
    parser.add_argument("--train", action="store_true", help="train afresh instead of loading weights")
    parser.add_argument("--weights", help="folder of a trained sampler, for a single system")
    parser.add_argument("--preset", default="default", help="of a fresh training")
    parser.add_argument("--steps", type=int, help="of a fresh training")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--ode-samples", type=int, help="with probability-flow weights; by default as many")
    parser.add_argument("--counts", type=int, nargs="+", default=[400, 2000], help="of symmetry-aware W2")
    parser.add_argument("--reference", help=".npy file of reference samples, for a single system")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print all settings")
    options = parser.parse_args()
    for name in options.systems:
        benchmark(name, options)


if __name__ == "__main__":
    main()
