"""What DiKL depends on: weighting, levels, draws, network, distance of two modes; each over several seeds. Markdown.

The target is two Gaussians in two dimensions, of widths .5 and weights 1 : 3, d apart; small networks. Shown
is the weight of the heavier mode (exactly .75) and the root mean square distance to its centre along each axis
(exactly .5), mean ± standard deviation over the seeds, and the evaluations of a training.

    python benchmarks/dikl_ablations.py weighting levels posterior generator separation
"""

import argparse

import torch

from openmm_diffsampler import DiKL, GaussianMixture
from openmm_diffsampler.samplers.dikl_settings import published_ratios

SMALL = {"batch_size": 128, "width": 32, "score_width": 32, "encoder_width": 8, "n_score_steps": 2}
SMALL |= {"n_final_steps": 4, "n_refine": 0}  # one pass, no weights
POSTERIORS = {
    "sample and 15 draws (default)": {},
    "sample, HMC": {"n_particles": 1, "n_trajectories": 4},
    "sample, MALA": {"n_particles": 1, "n_trajectories": 20, "n_leapfrog": 1},
    "kept, HMC": {"posterior": "kept", "n_particles": 1, "n_trajectories": 4},
    "sample, 16 coordinate steps": {"n_particles": 1, "n_coordinate_steps": 16},
    "kept, 16 coordinate steps": {"posterior": "kept", "n_particles": 1, "n_coordinate_steps": 16},
    "importance of 16": {"posterior": "importance", "n_trajectories": 0},
    "importance of 256": {"posterior": "importance", "n_particles": 256, "n_trajectories": 0},
    "annealed, 10 particles": {"posterior": "annealed", "n_particles": 10, "n_trajectories": 0},
}
SEPARATIONS = (2.0, 4.0, 8.0, 16.0, 32.0)


def show(label, d, changes, options):
    target = GaussianMixture([[-d / 2, 0.0], [d / 2, 0.0]], scales=0.5, weights=[1, 3], name="two modes")
    settings = SMALL | {"s_min": 0.1, "s_max": d, "s_prior": 10 * d, "scale": max(1.0, d / 4), "n_trajectories": 0}
    shares, widths = [], []
    for seed in range(options.seeds):
        spent = []
        sampler = DiKL(target, seed=seed, **(settings | changes))
        after_step = sampler._after_step
        sampler._after_step = lambda run, kept=after_step, spent=spent: spent.append(run.n_evaluations) or kept(run)
        sampler.fit(options.steps)
        x = sampler.sample(4000, None, seed=seed, n_refine=0).x
        right = x[:, 0] > 0
        shares.append(right.double().mean())
        widths.append((x[right] - target.means[1]).square().mean().sqrt())
    shares, widths = torch.stack(shares), torch.stack(widths)
    figures = [f"{float(v.nanmean()):.3f} ± {float(v.std()):.3f}" for v in (shares, widths)]
    print(f"| {label} | {' | '.join(figures)} | {spent[-1] / 1e6:.2f}e6 |", flush=True)


def last_beta(n_levels, ratio):
    """The last β of a linear ladder that ends just below σ/α = `ratio`."""
    low, high = 0.003, 0.999
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if published_ratios(0.003, middle, n_levels)[-1] < ratio else (low, middle)
    return low


def head(name):
    print(f"\n| {name} | weight of the heavier mode (.75) | width (.5) | evaluations |\n|---|---|---|---|")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["weighting", "levels", "posterior", "generator", "separation"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=400)
    options = parser.parse_args()
    if "weighting" in options.what:
        head("w(s), modes 8 apart")
        for kind in ("published", "uniform", "even", "signal", "variance"):
            show(kind, 8.0, {"weighting": kind}, options)
    if "levels" in options.what:
        head("levels, modes 8 apart")
        show("continuous", 8.0, {}, options)
        for n in (3, 10, 30):
            ladder = {"n_levels": n, "beta_min": 0.003, "beta_max": last_beta(n, 4.0)}
            show(f"ladder of {n}, β linear", 8.0, ladder, options)
    if "posterior" in options.what:
        head("draws of the posterior, modes 8 apart")
        for name, changes in POSTERIORS.items():
            show(name, 8.0, changes, options)
    if "generator" in options.what:
        head("waves of the generator, coarse share, modes 8 apart")
        for n_waves in (0, 2, 4):
            for share in (0.0, 0.5):
                show(f"{n_waves}, {share:g}", 8.0, {"n_waves": n_waves, "coarse_share": share}, options)
    if "separation" in options.what:
        for objective in ("diffusive", "reverse-kl"):
            head(f"distance of the modes, {objective}")
            for d in SEPARATIONS:
                show(f"{d:g}", d, {"objective": objective}, options)


if __name__ == "__main__":
    main()
