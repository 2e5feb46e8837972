"""Bias and error of estimates of a noised score, where the exact one is known, at equal numbers of evaluations.

    python benchmarks/score_estimator.py [--rows 256] [--repeats 8] [--dimensions 2 10 100 1000 10000]

iDEM (arXiv:2402.06121) learns from S_K, an estimate of ∇log p_t(x_t) out of K draws around x_t, and leaves open how far
off it is at which K, noise and dimension. Here p has two modes of weights 0.3 and 0.7, eight widths apart along the
diagonal. A mode is a Gaussian with standard deviations even in their logarithm from the first coordinate to the last, a
factor of four; their root mean square, the width, is 1. (In a round mode the mixing below would leave no error at all.)

Each row is an x_t = x + σε of its own, x ~ p. The estimate there is repeated R times, with fresh noise and, where it
uses the clean configuration x_0, a fresh exact draw of p(x_0 | x_t). With s the exact score and means ⟨⟩ over rows,

    MSE   = ⟨|estimate − s|²⟩ / ⟨|s|²⟩
    bias² = ⟨|mean of the repeats − s|² − (their sample variance)/R⟩ / ⟨|s|²⟩, in expectation the square of the
            systematic error at given x_t: part of the MSE, the rest is scatter

An estimate of zero has 1 for both. A bias² within its statistical error over the rows is given as "<", an upper bound
(97.5%: without bias one in 40 exceeds it). "Effective draws" are (Σw)²/Σw². The estimators:
    S_K          K draws from N(x_t, σ²), weighted by e^{−u}, target scores: as published
    S_K + mix    the same draws; target and denoising identity mixed by 1/(1 + σ²), best for a Gaussian of width 1
    x_0          x_0 in the place of one draw; and with that mix, x_0 + mix
    ours         x_0 among K/2 draws, then K/10 Hamiltonian trajectories of five steps on p(x | x_t) that start at one
                 of them; measured mixing (ScoreTargets)
    Gaussian     no evaluations: the score of a round Gaussian with the mean and width of p, a guess to improve on
"""

import argparse
import time

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.stats import t as student

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.diffusion import mixing_weight, posterior_draws
from openmm_diffsampler.mcmc.adaptation import StepSize
from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.samplers.idem_settings import IDEMSettings
from openmm_diffsampler.samplers.score_targets import ScoreTargets

SIGMAS, EVALUATIONS, PLOTTED = (0.1, 0.3, 1.0, 3.0, 10.0), (10, 100, 1000), 100
WEIGHTS, SEPARATION, ANISOTROPY, N_LEAPFROG = (0.3, 0.7), 8.0, 4.0, 5
ESTIMATORS = ("S_K", "S_K + mix", "x_0", "x_0 + mix", "ours")
STYLES = (("#c53030", "o"), ("#dd6b20", "s"), ("#805ad5", "^"), ("#2b6cb0", "D"), ("#2f855a", "v"))
#: Coordinates evaluated for an estimator in a cell of the table, where the smallest numbers allow; and at a time.
MOST, CHUNK = 1e7, 2**22


def mixture(d):
    scales = torch.logspace(0, 1, d, base=ANISOTROPY, dtype=torch.float64)
    scales = (scales / scales.square().mean().sqrt()).expand(2, d)
    means = SEPARATION / 2 / d**0.5 * torch.tensor([[-1.0], [1.0]]).expand(2, d)
    return GaussianMixture(means, scales, WEIGHTS, dtype=torch.float32)


def mean_and_width(target):
    """Mean (d,) of the mixture and root mean square distance from it in a coordinate."""
    weights = target.log_weights.exp()[:, None]
    mean = (weights * target.means).sum(0)
    return mean, float((weights * (target.scales**2 + (target.means - mean) ** 2)).sum(0).mean().sqrt())


def exact_posterior_draws(target, x_t, sigma, generator):
    """One exact draw of p(x_0 | x_t) for each row of x_t (n, d): a mixture of narrowed components."""
    variance, total = target.scales**2, target.scales**2 + sigma**2
    difference = x_t[:, None] - target.means
    log_weights = target.log_weights - 0.5 * (difference**2 / total + total.log()).sum(-1)
    k = log_weights.softmax(1).multinomial(1, generator=generator)[:, 0]
    mean = target.means[k] + (variance / total)[k] * difference[torch.arange(len(k)), k]
    return mean + (variance * sigma**2 / total).sqrt()[k] * target.normal(len(k), generator)


def adapted_step(target, generator):
    """Size of Hamiltonian steps with the acceptance that the sampler aims at, 80% on the target itself."""
    state, step = evaluate(target, target.sample(8, generator)), StepSize(0.3, 0.8)
    for _ in range(40):
        state, probability = hamiltonian_step(target, state, step.value, N_LEAPFROG, generator)
        step.update(float(probability.mean()))
    step.freeze()
    return step.value


def our_targets(target, n_evaluations, step_size, width, generator):
    """ScoreTargets of `n_evaluations` a row, with the mixing measured at every σ on draws of its own."""
    n_trajectories = n_evaluations // (2 * N_LEAPFROG)
    n_draws = n_evaluations - 1 - n_trajectories * N_LEAPFROG  # the start of the trajectories is evaluated again
    settings = IDEMSettings(n_draws=n_draws, n_trajectories=n_trajectories, n_leapfrog=N_LEAPFROG)
    targets = ScoreTargets(target, settings, step_size)
    n = min(2048, max(2, int(MOST / n_evaluations / target.event_shape[0])))  # 2,048 as in the sampler
    targets.measure(target.sample(n, generator), torch.tensor(SIGMAS), width, generator)
    return targets


def estimates(target, ours, x_0, x_t, level, n_evaluations, generator):
    """Estimates (n, d) by name, effective draws (n,) without and with x_0."""
    sigma, found, sizes = torch.full((len(x_t),), SIGMAS[level]), {}, []
    c = mixing_weight(1.0, SIGMAS[level], 1.0)
    for name, kept in (("S_K", None), ("x_0", x_0)):
        draws = posterior_draws(target, x_t, torch.ones_like(sigma), sigma, n_evaluations, generator, x_0=kept)
        found[name], found[f"{name} + mix"] = draws.target, draws.denoising + c * (draws.target - draws.denoising)
        sizes.append(draws.effective_size)
    times = torch.full((len(x_t),), level / (len(SIGMAS) - 1), dtype=torch.float64)
    found["ours"] = ours(x_0, x_t, sigma, times, generator)[0].float()
    return found, sizes


def cell(target, ours, level, n_evaluations, options, generator):
    """One dimension, σ and K: name → (MSE, bias², its error), Gaussian's MSE, rows, repeats, effective draws."""
    d, sigma = target.event_shape[0], SIGMAS[level]
    n = int(MOST / n_evaluations / max(d, 4))
    n_repeats = min(options.repeats, max(2, n // 16))
    n_rows = min(options.rows, max(2, n // n_repeats))
    x_t = target.sample(n_rows, generator) + sigma * target.normal(n_rows, generator)
    exact = target.noised_score(x_t, 1.0, sigma)
    repeated = x_t.repeat(n_repeats, 1)
    x_0 = exact_posterior_draws(target, repeated, sigma, generator)
    chunks = zip(*(x.split(max(1, CHUNK // (n_evaluations * d))) for x in (x_0, repeated)), strict=True)
    parts = [estimates(target, ours, *chunk, level, n_evaluations, generator) for chunk in chunks]
    square, figures = float(exact.square().sum(1).mean()), {}
    for name in ESTIMATORS:
        found = torch.cat([part[0][name] for part in parts]).unflatten(0, (n_repeats, n_rows))
        bias = ((found.mean(0) - exact).square().sum(-1) - found.var(0).sum(-1) / n_repeats) / square
        margin = student.ppf(0.975, n_rows - 1) * float(bias.std()) / n_rows**0.5
        figures[name] = float((found - exact).square().sum(-1).mean()) / square, float(bias.mean()), margin
    mean, width = mean_and_width(target)
    gaussian = float(((mean - x_t) / (width**2 + sigma**2) - exact).square().sum(1).mean()) / square
    return figures, gaussian, n_rows, n_repeats, [torch.cat([p[1][j] for p in parts]).mean() for j in range(2)]


def number(value):
    if 1e-3 <= value < 999.5:
        return f"{value:.2g}" if value < 99.5 else f"{value:.0f}"
    return f"{value:.1e}".replace("e-0", "e-").replace("e+0", "e")


def shown(figure):
    error, bias, margin = figure
    return f"{number(error)} ({number(bias) if bias > margin else '<' + number(max(bias, 0) + margin)})"


def row(*values):
    print(f"| {' | '.join(map(str, values))} |", flush=True)


def head(*columns):
    row(*columns)
    print("|---" * len(columns) + "|")


def summary(cells):
    """Over all cells: how often an estimator is any good, its worst MSE and bias², and its MSE beside that of S_K."""

    def extreme(values, which):
        key = which(values, key=values.get)
        return f"{number(values[key])} ({', '.join(f'{v:g}' for v in key)})"

    print(f"\nAll {len(cells)} cells; (d, σ, K) in brackets; ratio: MSE of S_K / MSE\n")
    columns = ("MSE < 0.1", "MSE < Gaussian's", "largest MSE", "bias² found", "largest bias²", "median ratio")
    head("estimator", *columns, "least ratio")
    for name in ESTIMATORS:
        error = {key: figures[name][0] for key, (figures, _) in cells.items()}
        bias = {key: figures[name][1] for key, (figures, _) in cells.items() if figures[name][1] > figures[name][2]}
        ratio = {key: figures["S_K"][0] / error[key] for key, (figures, _) in cells.items()}
        good, better = sum(v < 0.1 for v in error.values()), sum(error[key] < cell[1] for key, cell in cells.items())
        row(name, good, better, extreme(error, max), len(bias), extreme(bias, max) if bias else "–",
            number(np.median(list(ratio.values()))), extreme(ratio, min))  # fmt: skip


def plot(cells, dimensions, path):
    figure = Figure(figsize=(3 * len(SIGMAS), 4.6), dpi=120, layout="constrained")
    all_axes = figure.subplots(1, len(SIGMAS), sharey=True)
    for axes, sigma in zip(all_axes, SIGMAS, strict=True):
        here = [cells[d, sigma, PLOTTED] for d in dimensions]
        axes.plot(dimensions, [gaussian for _, gaussian in here], "k:", label="Gaussian, no evaluations")
        for name, (colour, marker) in zip(ESTIMATORS, STYLES, strict=True):
            error, bias, margin = np.array([figures[name] for figures, _ in here]).T
            axes.plot(dimensions, error, marker + "-", ms=5, color=colour, label=name)
            axes.plot(dimensions, np.where(bias > margin, bias, np.nan), marker + "--", ms=5, mfc="w", color=colour)
        axes.set(xscale="log", yscale="log", title=f"σ = {sigma:g} widths", xlabel="dimension")
        axes.grid(alpha=0.25)
    all_axes[0].set_ylabel("relative to the mean square of the score")
    figure.suptitle(f"K = {PLOTTED} evaluations. Solid: MSE. Dashed, open: bias², where it is significant")
    figure.legend(*all_axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256, help="noised configurations a cell, at most")
    parser.add_argument("--repeats", type=int, default=8, help="estimates a row, at most")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[2, 10, 100, 1000, 10_000])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--output", default="score_estimator.png", help="plot to write")
    options = parser.parse_args()
    if min(options.rows, options.repeats) < 2 or min(options.dimensions) < 2:
        parser.error("rows, repeats and dimensions must be at least 2")
    print(f"Cells: MSE (bias²), relative to the mean square of the score; seed {options.seed}, single precision")
    cells, begin = {}, time.perf_counter()
    for d in options.dimensions:
        target, generator = mixture(d), torch.Generator().manual_seed(options.seed)
        width, step_size = mean_and_width(target)[1], adapted_step(target, generator)
        print(f"\nDimension {d:,}; Hamiltonian steps of {step_size:.3f} widths\n")
        head("σ", "K", "rows × repeats", "Gaussian", *ESTIMATORS, "effective draws", "with x_0", "c of ours")
        ours = {k: our_targets(target, k, step_size, width, generator) for k in EVALUATIONS}
        for level, sigma in enumerate(SIGMAS):
            for k in EVALUATIONS:
                figures, gaussian, n_rows, n_repeats, sizes = cell(target, ours[k], level, k, options, generator)
                cells[d, sigma, k] = figures, gaussian
                row(f"{sigma:g}", k, f"{n_rows} × {n_repeats}", number(gaussian), *map(shown, figures.values()),
                    *(f"{size:.3g}" for size in sizes), f"{ours[k].mixing[level]:.2f}")  # fmt: skip
    summary(cells)
    plot(cells, options.dimensions, options.output)
    print(f"\n{time.perf_counter() - begin:.0f} s on {torch.get_num_threads()} threads; plot in {options.output}")


if __name__ == "__main__":
    main()
