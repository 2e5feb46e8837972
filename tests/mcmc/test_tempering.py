"""Parallel tempering against known answers, at every rung; comparisons state the z-score they allow."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture, ParallelTempering

UNBALANCED = GaussianMixture(torch.tensor([[-12.0], [12.0]]), scales=1.0, weights=[0.2, 0.8])
LADDER = [1.0, 0.3, 0.1, 0.02]


@pytest.mark.parametrize("swaps", ["non-reversible", "reversible"])
def test_weights_of_modes_that_no_chain_crosses_alone(swaps):
    """All chains start in the minor mode; 4 standard errors."""
    sampler = ParallelTempering(UNBALANCED, LADDER, step_size=1.0, n_leapfrog=4, swaps=swaps)
    wt = sampler.sample(torch.tensor([-12.0]), 300, n_chains=100, n_warmup=150, seed=1)
    share, error = wt.expectation(lambda x: (x[:, 0] > 0).double())
    assert error < 0.02 and abs(share - 0.8) < 4 * error
    width, error = wt.expectation(lambda x: (x[:, 0].abs() - 12) ** 2)
    assert abs(width - 1) < 4 * error
    *rungs, swap = sampler.statistics
    assert [row["level"] for row in rungs] == ["β = 1", "β = 0.3", "β = 0.1", "β = 0.02"]
    assert len([key for key in swap if key.startswith("swap ")]) == 3 and swap["evaluations"] == 0
    assert sum(row["evaluations"] for row in rungs) == 300 * 100 * 4 * 4


def test_every_rung_samples_its_own_temperature():
    """Variances 1/β of a Gaussian over all rungs; 4 standard errors of independent chains."""
    target = GaussianMixture(torch.zeros(1, 1), scales=1.0)
    sampler = ParallelTempering(target, [1.0, 0.5, 0.1], step_size=1.0, n_leapfrog=4)
    seen = []
    kept = sampler._kept
    sampler._kept = lambda state, generator: seen.append(state) or kept(state, generator)
    sampler.sample(torch.zeros(1), 50, n_chains=4000, n_warmup=50, seed=2)
    for x, beta in zip(seen[-1].x.reshape(3, 4000), (1.0, 0.5, 0.1), strict=True):
        assert abs(x.var() - 1 / beta) < 4 / beta * math.sqrt(2 / 4000)
    torch.testing.assert_close(seen[-1].u, target.reduced_potential(seen[-1].x))


def test_resumed_run_is_the_same(tmp_path):
    def run(folder, n_draws):
        sampler = ParallelTempering(UNBALANCED, LADDER, step_size=1.0, n_leapfrog=3)
        return sampler.sample(torch.zeros(1), n_draws, n_chains=5, n_warmup=7, seed=3, checkpoint=folder)

    whole = run(None, 20)
    run(tmp_path, 9)
    resumed = run(tmp_path, 20)
    assert torch.equal(whole.x, resumed.x) and whole.x.shape == (100, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inverse_temperatures": [1.0]}, "at least two"),
        ({"inverse_temperatures": [0.9, 0.5]}, "fall from 1"),
        ({"inverse_temperatures": [1.0, 1.0]}, "fall from 1"),
        ({"inverse_temperatures": [1.0, 0.0]}, "stay positive"),
        ({"inverse_temperatures": [1.0, 0.5], "swaps": "all"}, "swaps is 'all'"),
        ({"inverse_temperatures": [1.0, 0.5], "step_size": [1.0]}, "1 step sizes and 2 rungs"),
    ],
)
def test_wrong_settings(options, message):
    with pytest.raises(ValueError, match=message):
        ParallelTempering(UNBALANCED, **({"step_size": 1.0} | options))
