"""EDG on densities in the plane, in many dimensions, on a lattice and of particles: a Markdown row of figures for each.

    python benchmarks/edg.py mog2 rings --steps 3000 -n 10000 --seed 0
    python benchmarks/edg.py lj13 --sampler FOLDER --reference REFERENCE.npy

Trains, or loads what `--sampler` names. Densities that can be sampled exactly: maximum mean discrepancies from exact
samples, by the sum of five Gaussian kernels of openmm_diffsampler.analysis, biased and unbiased, with the biased one
between two exact sets as floor and a permutation test. For the test of weighted samples they are resampled
systematically to so few that none is taken twice. The bound is the mean of ln w, below log Z on average (of fields
with a mirror image, within the half that is kept). Particles:
total variations and floors as in benchmarks/dikl.py, and the ESS of batches of 256.
"""

import argparse
import ast
import math

import numpy as np
import torch
from idem import reference, row, timed

from openmm_diffsampler import EDG, GaussianMixture, load_system
from openmm_diffsampler.analysis import (
    bootstrap_floor,
    distance_total_variation,
    energy_distances,
    maximum_mean_discrepancy,
)
from openmm_diffsampler.targets import RelaxedIsing, RuggedWell, mog2, mog2i, mog6, mog9, ring, rings

PLANAR = {"mog2": mog2, "mog2i": mog2i, "mog6": mog6, "mog9": mog9, "ring": ring, "rings": rings}
DIMENSIONS = (10, 100, 1000)
#: Of which no preset knows: modes and dimensions of random Gaussians, the spread of their means, and a seed.
RANDOM = {"random-10-2": (10, 2, 6.0, 1), "random-5-4": (5, 4, 3.0, 2)}
SYSTEMS = (
    *PLANAR,
    *("gmm40", "dw4", "lj13", "ising", "six"),
    *RANDOM,
    *(f"{name}-{d}" for name in ("gaussians", "rugged") for d in DIMENSIONS),
)
#: Of the paper: MMD of raw samples, and ESS of 256. Its kernel is not known here, but of samples of a single mode the
#: biased MMD² above is 1.9, 1.7 and 2.7 for mog2, mog2i and mog6, and methods that lose modes have 1.9, 1.6 and 2.6
#: there: so these are squares too, in all likelihood.
PUBLISHED_MMD = {"mog2": 0.01, "mog2i": 0.50, "mog6": 0.01, "mog9": 0.02, "ring": 0.01, "rings": 0.02}
PUBLISHED_ESS = {"lj13": "0.132 ± 0.048"}
N_PERMUTATIONS = 200
BATCH = 256
#: Samples below which a test of equality says nothing.
_FEWEST = 100


def two_gaussians(d, name):
    """Two Gaussians of unit width, six apart along the diagonal, of weights 1/3 and 2/3."""
    direction = torch.ones(1, d, dtype=torch.float64) / math.sqrt(d)
    return GaussianMixture(torch.cat([-3 * direction, 3 * direction]), 1.0, [1, 2], name=name)


def random_gaussians(n_modes, d, spread, seed, name):
    """Round Gaussians of widths 0.3 to 0.9 and weights apart by up to three."""
    generator = torch.Generator().manual_seed(seed)
    means = spread * torch.randn(n_modes, d, generator=generator, dtype=torch.float64)
    widths, weights = (0.5 + torch.rand(n_modes, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    return GaussianMixture(means, 0.6 * widths.expand(-1, d), weights[:, 0].tolist(), name=name)


def target_of(name, options):
    if name in PLANAR:
        return PLANAR[name]()
    if name in RANDOM:
        return random_gaussians(*RANDOM[name], name)
    if name == "six":
        target = mog6()
        target.name = name
        return target
    if name == "ising":
        return RelaxedIsing(options.size, options.temperature, whitened=True)
    kind, _, d = name.partition("-")
    if kind == "gaussians":
        return two_gaussians(int(d), name)
    return RuggedWell(int(d)) if kind == "rugged" else load_system(name).target()


def trained(target, options):
    if options.sampler:
        return EDG.load(options.sampler, target)
    settings = {name: ast.literal_eval(value) for name, _, value in (s.partition("=") for s in options.set)}
    sampler = EDG(target, options.preset, seed=options.seed, **settings)
    sampler.fit(options.steps, checkpoint=options.checkpoint, progress=options.progress)
    if options.save:
        sampler.save(options.save)
    return sampler


def show(figures):
    """A header and a row of a dict of cells."""
    row(*figures)
    row(*["---"] * len(figures))
    row(*figures.values())


def kish(log_weights):
    w = (log_weights - log_weights.max()).exp()
    return float(w.sum() ** 2 / w.square().sum() / len(w))


def weight_figures(kind, wt, target, seconds):
    log_z, error = wt.log_Z, wt.log_Z_standard_error
    bound = float(wt.log_weights[wt.log_weights > -torch.inf].mean())
    figures = {"n": f"{len(wt):,}", "ESS": f"{wt.effective_sample_size / len(wt):.3f}"}
    if target.log_Z is None:
        figures |= {"log Z": f"{log_z:.3f} ± {error:.3f}", "bound": f"{bound:.3f}"}
    else:
        gap = log_z - target.log_Z
        figures |= {"log Z − exact": f"{gap:.4f} ± {error:.4f}", "z": f"{gap / error:.2f}"}
        figures["bound − exact"] = f"{bound - target.log_Z:.4f}"
    figures["seconds"] = f"{seconds:.1f}"
    return {f"{kind}: {name}": cell for name, cell in figures.items()}


def mmd_figures(name, target, wt, options):
    """Discrepancies of raw and reweighted samples from exact ones."""
    generator = torch.Generator().manual_seed(options.seed + 1000)
    n = min(options.mmd, len(wt))
    exact, again = target.sample(n, generator), target.sample(n, generator)

    def compare(x, n_permutations):
        return maximum_mean_discrepancy(x, exact, n_permutations=n_permutations, generator=generator)

    raw, floor = compare(wt.x[:n], N_PERMUTATIONS), compare(again, 0)
    figures = {
        "MMD: n": f"{n:,}",
        "biased MMD²": f"{raw.biased:.5f}",
        "floor of MMD²": f"{floor.biased:.5f}",
        "published": PUBLISHED_MMD.get(name, ""),
        "biased MMD": f"{math.sqrt(max(raw.biased, 0)):.4f}",
        "floor of MMD": f"{math.sqrt(max(floor.biased, 0)):.4f}",
        "unbiased MMD²": f"{raw.unbiased:.2e}",
        "p": f"{raw.p_value:.3f}",
    }
    alone = min(n, int(1 / float(wt.weights.max())))
    if alone < _FEWEST:
        return figures | {"reweighted: n": alone, "reweighted: unbiased MMD²": "–", "reweighted: p": "–"}
    found = compare(wt.resample(alone, seed=options.seed).x, N_PERMUTATIONS)
    return figures | {
        "reweighted: n": f"{alone:,}",
        "reweighted: unbiased MMD²": f"{found.unbiased:.2e}",
        "reweighted: p": f"{found.p_value:.3f}",
    }


def mode_figures(target, wt, options):
    """Modes found, and the total variation of their shares from those of exact samples."""
    exact = torch.bincount(target.mode(target.sample(200_000, torch.Generator().manual_seed(options.seed))))
    exact = (exact / exact.sum()).numpy()
    mode = target.mode(wt.x)
    draws = np.random.default_rng(0).multinomial(len(wt), exact, 100) / len(wt)
    shares = {
        "": torch.bincount(mode, minlength=len(exact)).numpy() / len(wt),
        "reweighted ": torch.bincount(mode, wt.weights, minlength=len(exact)).numpy(),
    }
    figures = {"modes": f"{int((shares[''] > 0).sum())} of {len(exact)}"}
    for name, share in shares.items():
        figures[f"{name}mode TV"] = f"{0.5 * np.abs(share - exact).sum():.4f}"
    return figures | {"mode floor": f"{0.5 * np.abs(draws - exact).sum(1).mean():.4f}"}


def particle_figures(name, target, wt, options):
    exact = reference(target, options.reference, max(2 * len(wt), 20_000), options.seed + 1000)
    u_exact, u = target.reduced_potential(exact), wt.reduced_potential
    half = min(len(wt), len(exact) // 2)
    floors = bootstrap_floor(energy_distances, u_exact, half).mean.total_variation
    between = bootstrap_floor(distance_total_variation, exact, half).mean
    valid = u < 1e3  # an overlap: left out of the energies, and counted
    figures = {"overlaps": int((~valid).sum())}
    for kind, weights in (("raw", None), ("reweighted", wt.weights)):
        found = energy_distances(u[valid], u_exact, weights=None if weights is None else weights[valid])
        figures[f"{kind}: energy TV"] = f"{found.total_variation:.4f}"
        figures[f"{kind}: distance TV"] = f"{distance_total_variation(wt.x, exact, weights=weights):.4f}"
    batches = [kish(part) for part in wt.log_weights.split(BATCH) if len(part) == BATCH and part.max() > -torch.inf]
    return figures | {
        "energy floor": f"{floors:.4f}",
        "distance floor": f"{between:.4f}",
        f"ESS of {BATCH}": f"{np.mean(batches):.3f} ± {np.std(batches):.3f}" if batches else "",
        "published": PUBLISHED_ESS.get(name, ""),
    }


def benchmark(name, options):
    target = target_of(name, options)
    sampler = trained(target, options)
    record = sampler.record
    figures = {
        "system": name,
        "seed": sampler.seed,
        "training": f"{record['seconds']:,.0f} s",
        "evaluations": f"{record['n_evaluations']:.2g}",
    }
    wt = None
    for k, kind in enumerate(sampler.weight_kinds):
        if n := (options.ode if k else options.n):
            found, seconds = timed(lambda kind=kind, n=n: sampler.sample(n, kind, seed=options.seed + 1))
            figures |= weight_figures(kind, found, target, seconds)
            wt = found if wt is None else wt
    print(f"\n## {name}, preset {sampler.preset}, {record['n_steps']:,} steps, {record.get('threads', '?')} threads\n")
    if target.translation_invariant:
        figures |= particle_figures(name, target, wt, options)
    else:
        figures |= mmd_figures(name, target, wt, options)
        if hasattr(target, "mode"):
            figures |= mode_figures(target, wt, options)
    show(figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="+", choices=SYSTEMS, metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument("--sampler", help="folder of a trained sampler, for a single system")
    parser.add_argument("--preset", default="default", help="of a training")
    parser.add_argument("--steps", type=int, help="of a training")
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help="settings")
    parser.add_argument("--checkpoint", help="folder that a training is resumed from")
    parser.add_argument("--save", help="folder to write a trained sampler to")
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("-n", type=int, default=10_000, help="samples, with the first kind of weights")
    parser.add_argument("--ode", type=int, default=1000, help="samples with probability-flow weights, or 0")
    parser.add_argument("--mmd", type=int, default=5000, help="samples of the discrepancies")
    parser.add_argument("--reference", help=".npy file of reference samples, for a single particle system")
    parser.add_argument("--size", type=int, default=16, help="of the lattice of spins")
    parser.add_argument("--temperature", type=float, default=2.0, help="of the lattice of spins")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.systems:
        benchmark(name, options)


if __name__ == "__main__":
    main()
