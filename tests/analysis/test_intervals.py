"""95 % intervals of populations hold 95 % of the time; the table in docs/weighted-samples.md is made of these cases.

Coverage over 500 repeats has a standard error of 0.010; limits are 0.95 ± 0.02 with two of these besides. The table
takes four times as many.
"""

import numpy as np
import pytest
import torch

from openmm_diffsampler.analysis import WeightedTrajectory, interval_of_counts, population, population_interval

N_REPEATS, ALLOWED = 500, 0.04
#: Population, frames, spread σ of log-weights, how many times more frames the proposal has in the state than it should.
WEIGHTED = {
    "3 expected": (0.001, 3000, 0.0, 1),
    "6.6 expected": (0.001, 6600, 0.0, 1),
    "30 expected": (0.03, 1000, 0.0, 1),
    "half": (0.5, 200, 0.0, 1),
    "uneven weights, 3 expected": (0.001, 3000, 0.5, 1),
    "uneven weights, 6.6 expected": (0.001, 6600, 0.5, 1),
    "very uneven weights, 6.6 expected": (0.001, 6600, 1.0, 1),
    "very uneven weights, 20 expected": (0.003, 6700, 1.0, 1),
    "very uneven weights, half": (0.5, 200, 1.0, 1),
    "light state, 6.6 expected": (0.001, 2204, 0.5, 3),
    "heavy state, 20 expected": (0.03, 2000, 0.5, 1 / 3),
}
#: Population, probability that a draw repeats the one before, draws, chains; effective hits p n (1 − λ)/(1 + λ).
CHAINS = {
    "5 effective hits": (0.001, 0.5, 500, 32),
    "9 effective hits": (0.01, 0.8, 500, 16),
    "11 effective hits": (0.003, 0.8, 500, 64),
    "17 effective hits": (0.1, 0.9, 200, 16),
    "42 effective hits": (0.5, 0.9, 200, 8),
}


def weighted_coverage(p, n, sigma, more, n_repeats, seed=0):
    """Coverage by the interval and by ± 1.96 standard errors."""
    rng = np.random.default_rng(seed)
    q = more * p / (1 + (more - 1) * p)
    covered = np.zeros(2)
    for _ in range(n_repeats):
        inside = rng.random(n) < q
        log_weights = sigma * rng.normal(size=n) - np.log(more) * inside
        wt = WeightedTrajectory(torch.zeros(n, 1), torch.from_numpy(log_weights), kind="importance")
        covered += covers(population(wt, inside), p)
    return covered / n_repeats


def covers(estimate, p):
    low, high = estimate.interval
    return np.array([low <= p <= high, abs(estimate.value - p) <= 1.96 * estimate.standard_error])


def chain_coverage(p, repeats, n_draws, n_chains, n_repeats, seed=0):
    """The same of two-state Markov chains."""
    rng = np.random.default_rng(seed)
    wt = WeightedTrajectory.from_chains(torch.zeros(n_draws, n_chains, 1))
    # An unvisited state is bounded by the ESS of the default observables, which are constant here.
    wt.ess_by_observable = {"all": n_draws * n_chains * (1 - repeats) / (1 + repeats)}
    covered = np.zeros(2)
    for _ in range(n_repeats):
        fresh, renewed = rng.random((n_draws, n_chains)) < p, rng.random((n_draws, n_chains)) > repeats
        renewed[0] = True
        last = np.maximum.accumulate(np.where(renewed, np.arange(n_draws)[:, None], 0))
        inside = np.take_along_axis(fresh, last, 0)
        covered += covers(population(wt, inside.T.ravel()), p)
    return covered / n_repeats


@pytest.mark.parametrize("case", ["3 expected", "6.6 expected", "very uneven weights, 6.6 expected", "half"])
def test_intervals_of_weighted_samples_cover(case):
    assert weighted_coverage(*WEIGHTED[case], N_REPEATS)[0] == pytest.approx(0.95, abs=ALLOWED)


@pytest.mark.parametrize("case", ["9 effective hits", "17 effective hits"])
def test_intervals_of_chains_cover(case):
    assert chain_coverage(*CHAINS[case], N_REPEATS)[0] == pytest.approx(0.95, abs=ALLOWED)


def test_standard_errors_alone_do_not():
    assert weighted_coverage(0.001, 3000, 1.0, 1, 400)[1] < 0.8


def test_intervals_are_symmetric_between_inside_and_outside():
    inside = np.arange(500) < 7
    wt = WeightedTrajectory(torch.zeros(500, 1), torch.linspace(0, 1, 500), kind="importance")
    low, high = population_interval(wt, inside)
    assert low < population(wt, inside).value < high
    other = population_interval(wt, inside[::-1])
    assert other != (low, high) and population(wt, inside).interval == (low, high)
    never, always = population_interval(wt, inside & ~inside), population_interval(wt, inside | ~inside)
    assert never[0] == 0 and always[1] == 1 and never[1] == pytest.approx(1 - always[0])
    assert interval_of_counts(3, 1e6)[1] * 1e6 == pytest.approx(8.2, abs=0.1)  # of a Poisson number


def test_copies_count_once():
    wt = WeightedTrajectory(torch.zeros(200, 1), torch.zeros(200), kind="importance")
    inside = torch.arange(200) < 20
    copies = wt.resample(1000, seed=0)
    low, high = population_interval(copies, inside[copies.draw].numpy())
    assert (low, high) == pytest.approx(population_interval(wt, inside.numpy()), abs=0.004)


if __name__ == "__main__":  # the table
    print("| | p | frames | σ or λ | interval | ± 1.96 SE |\n|---|---|---|---|---|---|")
    for cases, coverage in ((WEIGHTED, weighted_coverage), (CHAINS, chain_coverage)):
        for name, case in cases.items():
            n, spread = (f"{case[1]:,}", case[2]) if cases is WEIGHTED else (f"{case[2]} × {case[3]}", case[1])
            ours, theirs = coverage(*case, 4 * N_REPEATS)
            print(f"| {name} | {case[0]:g} | {n} | {spread:g} | {ours:.3f} | {theirs:.3f} |", flush=True)
