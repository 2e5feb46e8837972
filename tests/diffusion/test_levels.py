"""Levels of the reverse process, against Gaussians, whose posteriors are known; z-scores of 4 allowed."""

import pytest
import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.diffusion import (
    LevelTables,
    NoiseSchedule,
    measure_levels,
    path_samples,
    place_levels,
    reverse_spreads,
)

SCHEDULE = NoiseSchedule(0.05, 5.0)


def tables_of(target, n=4000, n_grid=17):
    generator = torch.Generator().manual_seed(0)

    def score(x, t):
        return target.noised_score(x, SCHEDULE.alpha(t), SCHEDULE.sigma(t))

    def exact(x_0, x_t, t, generator):
        return score(x_t, t)

    return measure_levels(target, score, SCHEDULE, target.sample(n, generator), exact, generator, n_grid)


def test_an_isotropic_gaussian_has_no_cost_and_the_spreads_of_its_posterior():
    tau = 0.7
    target = GaussianMixture([[0.0, 0.0, 0.0]], scales=tau)
    tables = tables_of(target)
    sigma = SCHEDULE.sigma(torch.linspace(0, 1, 17, dtype=torch.float64))
    torch.testing.assert_close(tables.size, 1 / (tau**2 + sigma**2), rtol=0.06, atol=0)  # 4 of √(2/12,000)
    assert tables.cost.max() < 1e-4
    times = torch.linspace(0, 1, 17, dtype=torch.float64)
    before = torch.cat([torch.zeros(1, dtype=torch.float64), sigma[:-1]])
    exact = ((sigma**2 - before**2) * (tau**2 + before**2) / (tau**2 + sigma**2)).sqrt()
    torch.testing.assert_close(reverse_spreads(SCHEDULE, times, 1 / (tau**2 + sigma**2)), exact)


def test_the_cost_of_a_long_gaussian_is_that_of_its_curvatures():
    scales = torch.tensor([[0.1, 2.0]])
    tables = tables_of(GaussianMixture([[0.0, 0.0]], scales=scales))
    sigma = SCHEDULE.sigma(torch.linspace(0, 1, 17, dtype=torch.float64))
    curvatures = -1 / (scales[0].double() ** 2 + sigma[:, None] ** 2)
    mean = curvatures.mean(1, keepdim=True)
    expected = sigma**4 * (curvatures - mean).square().sum(1)
    torch.testing.assert_close(tables.cost, expected, rtol=0.15, atol=1e-6)


def test_levels_gather_where_steps_cost():
    cost = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0])
    times = place_levels(LevelTables(torch.ones(5), cost), 101)
    assert times[0] == 0 and times[-1] == 1 and (times.diff() > 0).all()
    assert ((times > 0.25) & (times < 0.75)).double().mean() > 0.85
    torch.testing.assert_close(place_levels(LevelTables(cost, 0 * cost), 5), torch.linspace(0, 1, 5).double())
    with pytest.raises(ValueError, match="1 levels"):
        place_levels(LevelTables(cost, cost), 1)


def test_measured_levels_give_more_even_weights():
    """Exact score, 12 levels: placed and with measured spreads, the variance of log-weights falls to below 2/3."""
    target = GaussianMixture([[-3.0, 0.0], [3.0, 1.0]], scales=[[0.1, 1.0], [1.0, 0.3]], weights=[0.3, 0.7])
    tables = tables_of(target, n_grid=33)

    def score(x, t):
        return target.noised_score(x, 1.0, SCHEDULE.sigma(t))

    variances = []
    times = place_levels(tables, 12)
    for steps, options in ((12, {"width": 3.0}), (times, {"spreads": reverse_spreads(SCHEDULE, times, tables.size)})):
        generator = torch.Generator().manual_seed(1)
        _, log_w, _ = path_samples(target, score, SCHEDULE, 20_000, steps, generator, prior_scale=5.8, **options)
        scaled = (log_w - log_w.logsumexp(0)).exp() * len(log_w)
        assert abs(float(log_w.logsumexp(0)) - 9.903487552536127) < 4 * float(scaled.std()) / 20_000**0.5
        variances.append(float(scaled.var()))
    assert variances[1] < variances[0] / 1.5


def test_steps_without_noise_have_no_weights():
    target = GaussianMixture([[0.0]], scales=1.0)

    def score(x, t):
        return target.noised_score(x, 1.0, SCHEDULE.sigma(t))

    x, log_w, _ = path_samples(target, score, SCHEDULE, 100, 20, torch.Generator().manual_seed(0), n_noiseless=3)
    assert log_w.isnan().all() and x.isfinite().all()
