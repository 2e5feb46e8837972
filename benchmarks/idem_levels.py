"""How many reverse steps, where, and with how much noise: effective sample size of path weights on trained samplers.

Rows differ in how the levels of noise are placed, columns in their number. ``even``: even in ln σ, as published;
``linear``: even in σ; ``measured``: where the posterior is least round (`diffusion.place_levels`). The noise of a step
is ``full``, the variance of the noising step as published, or ``measured``, that of the isotropic Gaussian nearest to
the posterior (`diffusion.reverse_spreads`). The score is the same in all.
"""

import argparse

import torch

from openmm_diffsampler import IDEM
from openmm_diffsampler.diffusion import path_samples, place_levels, reverse_spreads


def levels(sampler, placing, n):
    """Times (n,) rising to 1."""
    even = torch.linspace(0, 1, n, dtype=torch.float64)
    if placing == "measured":
        return place_levels(sampler.tables, n)
    if placing == "linear":
        s_min, s_max = sampler.schedule.s_min, sampler.schedule.s_max
        return sampler.schedule.time(s_min + (s_max - s_min) * even).clamp(0, 1)
    return even


@torch.no_grad()
def effective_share(sampler, placing, noise, n_levels, n, seed, batch=256):
    """(Σw)²/Σw² over n samples, a sample."""
    times = levels(sampler, placing, n_levels)
    size = sampler.tables.size if noise == "measured" else torch.zeros(2, dtype=torch.float64)
    spreads = reverse_spreads(sampler.schedule, times, size)
    generator = torch.Generator().manual_seed(seed)

    def score(x, t):
        return sampler.average(x.float(), t.float()).to(x.dtype)

    prior_scale = (sampler.width**2 + sampler.settings.s_max**2) ** 0.5
    parts = [
        path_samples(
            sampler.target,
            score,
            sampler.schedule,
            min(batch, n - start),
            times,
            generator,
            spreads=spreads,
            prior_scale=prior_scale,
        ).log_weights
        for start in range(0, n, batch)
    ]
    weights = torch.cat(parts).nan_to_num(-torch.inf).softmax(0)
    return float(1 / weights.square().sum()) / n


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("systems", nargs="*", default=["gmm40", "dw4", "lj13"])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--levels", type=int, nargs="+", default=[25, 50, 100, 200])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = [("linear", "full"), ("even", "full"), ("even", "measured"), ("measured", "full"), ("measured", "measured")]
    for name in options.systems:
        sampler = IDEM.pretrained(name)
        print(f"\n{name}: ESS of {options.samples:,} samples, seed {options.seed}\n")
        print(f"| levels | noise | {' | '.join(map(str, options.levels))} |\n{'|---' * (2 + len(options.levels))}|")
        for placing, noise in rows:
            cells = [
                f"{effective_share(sampler, placing, noise, n, options.samples, options.seed):.3f}"
                for n in options.levels
            ]
            print(f"| {placing} | {noise} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
