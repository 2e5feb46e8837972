"""What EDG depends on: decoder, form of the score loss, weights, step size; each over several seeds. Markdown.

    python benchmarks/edg_ablations.py decoder form weights epsilon --target mog2 --seeds 3 --steps 1000

Shown are, mean ± standard deviation over the seeds: log Z less the bound (the mean of ln w); the share of effective
samples; the root mean square error of log Z in units of its own standard error; δ at the end; evaluations and seconds
of a training. One training serves all kinds of weights.
"""

import argparse
import math
import time

import numpy as np
from edg import PLANAR
from idem import row

from openmm_diffsampler import EDG, GaussianMixture
from openmm_diffsampler.targets import RuggedWell

SMALL = {"batch_size": 128, "width": 48, "score_width": 64, "learning_rate": 3e-3, "n_final_steps": 1000}
SMALL |= {"beta_end": 1.0, "n_cooling": 0}  # what decoder and encoder do alone
TARGETS = PLANAR | {
    "gaussian-4": lambda: GaussianMixture([[0.0] * 4], scales=0.5, name="gaussian-4"),
    "rugged-4": lambda: RuggedWell(4),
}
DECODERS = {
    "hamiltonian, 4 steps": {},
    "hamiltonian, 1 step": {"n_leapfrog": 1},
    "hamiltonian, 4 steps, curved noise": {"curved_noise": True},
    "gaussian": {"decoder": "gaussian"},
}
FORMS = {
    "denoising, 4 levels": {},
    "denoising, 1 level": {"n_times": 1},
    "implicit, 4 levels": {"form": "implicit"},
    "implicit, 1 level": {"form": "implicit", "n_times": 1},
    "denoising, levels drawn evenly": {"adaptive_levels": False},
}
WEIGHTS = {
    "16 draws": ("path", {}),
    "4 draws": ("path", {"n_draws": 4}),
    "no draws": ("path", {"n_draws": 0}),
    "16 draws, paths of 20 levels": ("path", {"n_levels": 20}),
    "flow, 4 draws": ("ode", {"n_draws": 4}),
    "flow, no draws": ("ode", {"n_draws": 0}),
}
EPSILONS = (1e-4, 1e-3, 1e-2, 0.1, 0.3)


def figures(wt, target):
    log_weights = wt.log_weights[wt.log_weights > -math.inf]
    error = (wt.log_Z - target.log_Z) / wt.log_Z_standard_error
    return target.log_Z - float(log_weights.mean()), wt.effective_sample_size / len(wt), error


def cell(values, digits=3):
    return f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1) if len(values) > 1 else 0:.{digits}f}"


def trained(target, seed, changes, options):
    settings = SMALL | {"scale": options.scale} | changes
    return EDG(target, seed=seed, **settings).fit(options.steps)


def show(label, samplers, kind, given, options):
    found, seconds = [], 0.0
    for sampler in samplers:
        start = time.perf_counter()
        wt = sampler.sample(options.samples, kind, seed=sampler.seed + 1, **given)
        seconds += (time.perf_counter() - start) / len(samplers)
        found.append(figures(wt, sampler.target))
    gap, share, error = zip(*found, strict=True)
    width = [float(s.average.decoder.output_noise()) for s in samplers]
    record = samplers[0].record
    row(
        *(label, cell(gap), cell(share), f"{np.sqrt(np.mean(np.square(error))):.1f}", cell(width)),
        *(
            f"{record['n_evaluations']:.2g}",
            f"{np.mean([s.record['seconds'] for s in samplers]):.0f}",
            f"{seconds:.1f}",
        ),
    )


def head(name):
    print()
    row(name, "log Z − bound", "ESS", "z of log Z, rms", "δ", "evaluations", "training, s", "sampling, s")
    row(*["---"] * 8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=["decoder", "form", "weights", "epsilon"])
    parser.add_argument("--target", choices=TARGETS, default="mog2")
    parser.add_argument("--scale", type=float, default=4.0, help="width that the decoder starts from")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=4000)
    options = parser.parse_args()
    target, seeds = TARGETS[options.target](), range(options.seeds)
    variants = {
        "decoder": DECODERS,
        "form": FORMS,
        "epsilon": {f"ε_0 = {epsilon:g}": {"epsilon": epsilon} for epsilon in EPSILONS},
    }
    for what in options.what:
        head(f"{what}, {target.name}")
        if what == "weights":
            samplers = [trained(target, seed, {}, options) for seed in seeds]
            for label, (kind, given) in WEIGHTS.items():
                show(label, samplers, kind, given, options)
            continue
        for label, changes in variants[what].items():
            show(label, [trained(target, seed, changes, options) for seed in seeds], "path", {}, options)


if __name__ == "__main__":
    main()
