"""The mixture-of-40-Gaussians table of Chen et al., Diffusive Gibbs Sampling (ICML 2024), and what it leaves out.

    python benchmarks/digs_mog40.py [--draws 1000] [--replicates 4]

As in the authors' notebooks each sampler runs ten chains from the origin, 1,000 draws each, about 1,000 evaluations a
draw, with their step sizes (here each step draws its size within ±20%; parallel tempering swaps even and odd pairs in
turn at random). Replicates run side by side and give the spread. Beside their two figures, the biased squared MMD
against 10,000 exact draws and the relative error of the mean of a quadratic function (here against its exact mean),
stand those that can tell a good sampler from a perfect one: the unbiased squared MMD with the p-value of a permutation
test, how many of the 40 modes were seen and the total variation of their weights, for a replicate and for a single
chain. The first row is for exact draws: no sampler can do better.
"""

import argparse
import time

import numpy as np
import torch

from openmm_diffsampler import HMC, MALA, DiffusiveGibbs, ParallelTempering, gmm40
from openmm_diffsampler.analysis import maximum_mean_discrepancy

#: What the authors' notebooks print: biased MMD², relative error.
PUBLISHED = {
    "DiGS": (4.30e-4, 0.00968),
    "MALA": (0.767, 0.692),
    "HMC": (1.295, 0.882),
    "parallel tempering": (0.0148, 0.111),
}

#: s = σ/α of their single level, α = 0.1, and of a ladder of α from there to 0.9, the range that their code allows for.
LEVEL = [(1 - 0.1**2) ** 0.5 / 0.1]
LADDER = [(1 - a**2) ** 0.5 / a for a in np.linspace(0.1, 0.9, 5)]


def samplers(target):
    """Name → sampler, sweeps a draw, sweeps of warm-up. Their MALA step ε is our step size √(2ε)."""
    mala = {"denoiser": "mala", "n_denoising_steps": 5, "step_size": 0.2**0.5}
    betas = [0.001 ** (r / 4) for r in range(5)]
    return {
        "DiGS": (DiffusiveGibbs(target, LEVEL, **mala), 200, 0),
        "MALA": (MALA(target, step_size=2.0), 1000, 0),
        "HMC": (HMC(target, step_size=0.06, n_leapfrog=20), 50, 0),
        "parallel tempering": (
            ParallelTempering(target, betas, step_size=[0.06] * 5, n_leapfrog=20, swaps="reversible"),
            10,
            0,
        ),
        "DiGS, five levels": (DiffusiveGibbs(target, LADDER, **mala), 33, 0),
        "DiGS, five levels, HMC, adapted": (DiffusiveGibbs(target, LADDER, step_size=1.0, n_leapfrog=5), 33, 100),
        "parallel tempering, adapted, non-reversible": (
            ParallelTempering(target, betas, step_size=1.0, n_leapfrog=5),
            40,
            100,
        ),
    }


def quadratic(device_seed=0):
    """A, b and shift of the authors' function (x + c)ᵀA(x + c) + bᵀ(x + c)."""
    generator = torch.Generator().manual_seed(device_seed)
    shift = 2 * torch.randn(2, generator=generator)
    matrix, vector = 2 * torch.rand(2, 2, generator=generator), torch.rand(2, generator=generator)
    return matrix.double(), vector.double(), shift.double()


def quadratic_mean(x):
    matrix, vector, shift = quadratic()
    y = x + shift
    return float((torch.einsum("bi,ij,bj->b", y, matrix, y) + y @ vector).mean())


def exact_quadratic_mean(target):
    """From the moments of the mixture: the mean over centres, and tr(A) s² for the width."""
    matrix, _, _ = quadratic()
    return quadratic_mean(target.means) + float(matrix.trace() * target.scales[0, 0] ** 2)


def mode_weights(target, x):
    return torch.bincount(target.mode(x), minlength=40).double() / len(x)


def figures(target, chains, exact, seed):
    """The figures of one replicate (n_chains, n_draws, 2)."""
    x = chains.flatten(0, 1)
    generator = torch.Generator().manual_seed(seed)
    mmd = maximum_mean_discrepancy(x, exact, n_permutations=199, generator=generator)
    truth = exact_quadratic_mean(target)
    weights = mode_weights(target, x)
    alone = [(mode_weights(target, chain) - 1 / 40).abs().sum() / 2 for chain in chains]
    return {
        "biased": mmd.biased,
        "error": abs(quadratic_mean(x) / truth - 1),
        "unbiased": mmd.unbiased,
        "p": mmd.p_value,
        "modes": int((weights > 0).sum()),
        "variation": float((weights - 1 / 40).abs().sum() / 2),
        "alone": float(torch.stack(alone).mean()),
    }


COLUMNS = (
    "sampler",
    "evaluations a draw",
    "MMD² biased, published",
    "MMD² biased",
    "relative error, published",
    "relative error",
    "MMD² unbiased",
    "p",
    "modes",
    "mode weights TV",
    "of one chain",
    "seconds",
)


def show(name, rows, evaluations="", seconds=""):
    median = {key: float(np.median([row[key] for row in rows])) for key in rows[0]}
    published = PUBLISHED.get(name, ("–", "–"))
    cells = [name, evaluations, published[0], f"{median['biased']:.2e}", published[1], f"{median['error']:.4f}"]
    cells += [f"{median['unbiased']:.1e}", ", ".join(f"{row['p']:.3f}" for row in rows), f"{median['modes']:.0f}"]
    cells += [f"{median['variation']:.3f}", f"{median['alone']:.3f}", seconds]
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=10, help="of a replicate")
    parser.add_argument("--draws", type=int, default=1000, help="of a chain")
    parser.add_argument("--replicates", type=int, default=4)
    parser.add_argument("--only", nargs="+", help="names of samplers")
    options = parser.parse_args()
    torch.set_num_threads(1)  # batches are small
    target, generator = gmm40(), torch.Generator().manual_seed(2024)
    shape = (options.replicates, options.chains, options.draws, 2)
    exact = target.sample(options.chains * options.draws, generator)
    print(f"{options.chains} chains × {options.draws} draws, seed 1, medians of {options.replicates} replicates\n")
    print(f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|")
    draws = target.sample(shape[0] * shape[1] * shape[2], generator).reshape(shape)
    show("exact draws", [figures(target, r, exact, k) for k, r in enumerate(draws)])
    for name, (sampler, thinning, n_warmup) in samplers(target).items():
        if options.only and name not in options.only:
            continue
        n_chains = options.replicates * options.chains
        before, start = target.n_evaluations, time.perf_counter()
        wt = sampler.sample(
            torch.zeros(2), options.draws, n_chains=n_chains, n_warmup=n_warmup, thinning=thinning, seed=1
        )
        seconds = time.perf_counter() - start
        evaluations = (target.n_evaluations - before) / (n_chains * options.draws)
        rows = [figures(target, r, exact, k) for k, r in enumerate(wt.x.reshape(shape))]
        show(name, rows, f"{evaluations:,.0f}", f"{seconds:,.0f}")


if __name__ == "__main__":
    main()
