"""Weights of samples on circles, against a closed form; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler.diffusion import (
    NoiseSchedule,
    flow_samples,
    measure_levels,
    path_log_weights,
    path_samples,
    reverse_spreads,
)
from openmm_diffsampler.diffusion.kernels import draw_prior, log_normal, log_prior, wrapped
from openmm_diffsampler.targets.base import Target

from .test_solvers import effective_share, log_mean_and_error

N_HARMONICS = 40


class AngleAndNumber(Target):
    """u = −κ cos(2πa/P − 1) + ½b²/τ²: log Z = ln(P I₀(κ)) + ½ ln 2πτ²; the angle is a, the number is b."""

    def __init__(self, period=5.0, kappa=3.0, tau=0.7):
        super().__init__((2,), name="angle and number")
        self.period, self.kappa, self.tau = period, kappa, tau
        self.periods = torch.tensor([period, math.inf], dtype=torch.float64)
        bessel = float(torch.special.i0(torch.tensor(kappa, dtype=torch.float64)))
        self.log_Z = math.log(period * bessel) + 0.5 * math.log(2 * math.pi * tau**2)
        # Fourier coefficients of the von Mises density, by quadrature on a grid, which is exact for it.
        grid = torch.arange(512, dtype=torch.float64) * (2 * math.pi / 512)
        density = (kappa * grid.cos()).exp()
        self.k = torch.arange(N_HARMONICS, dtype=torch.float64)
        self.coefficients = (density * (self.k[:, None] * grid).cos()).mean(1) / density.mean()
        self.coefficients[1:] *= 2

    def _angle(self, x):
        return 2 * math.pi * x[:, 0] / self.period - 1

    def _evaluate(self, x):
        angle = self._angle(x)
        u = -self.kappa * angle.cos() + x[:, 1] ** 2 / (2 * self.tau**2)
        return u, torch.stack([-self.kappa * 2 * math.pi / self.period * angle.sin(), -x[:, 1] / self.tau**2], 1)

    def noised_score(self, x, sigma):
        """Each harmonic decays under noise by itself."""
        width = 2 * math.pi * sigma / self.period
        kept = self.coefficients * (-0.5 * (self.k * width[:, None]) ** 2).exp()
        phase = self.k * self._angle(x)[:, None]
        slope = -(2 * math.pi / self.period) * (kept * self.k * phase.sin()).sum(1) / (kept * phase.cos()).sum(1)
        return torch.stack([slope, -x[:, 1] / (self.tau**2 + sigma**2)], 1)

    def sample(self, n, generator):
        """From a fine grid of angles."""
        cell = self.period / 20_000
        grid = (torch.arange(20_000, dtype=torch.float64) + 0.5) * cell - self.period / 2
        u, _ = self._evaluate(torch.stack([grid, torch.zeros_like(grid)], 1))
        spots = torch.rand(n, 2, generator=generator, dtype=torch.float64)
        rows = torch.searchsorted((-u).softmax(0).cumsum(0), spots[:, 0].contiguous()).clamp(max=len(grid) - 1)
        b = self.tau * torch.randn(n, generator=generator, dtype=torch.float64)
        return torch.stack([grid[rows] + (spots[:, 1] - 0.5) * cell, b], 1)


TARGET, SCHEDULE = AngleAndNumber(), NoiseSchedule(0.05, 4.0)


def exact(x, t):
    return TARGET.noised_score(x, SCHEDULE.sigma(t))


def wrong(x, t):
    return 0.7 * exact(x, t) + 0.3 * torch.sin(2 * math.pi * x / TARGET.period)


def test_noise_on_a_circle_is_normalised():
    """Over one turn, narrow and wide, for a mean anywhere; the prior likewise."""
    n = 4000
    grid = (torch.arange(n, dtype=torch.float64) + 0.5) / n * TARGET.period
    x = torch.stack([grid, torch.zeros(n, dtype=torch.float64)], 1)
    flat = math.log((2 * math.pi) ** 0.5)
    for scale in (0.02, 0.5, 3.0, 40.0):
        for mean in (0.3, -17.0):
            log_density = log_normal(TARGET, (x - mean * torch.tensor([1.0, 0.0])) / scale, scale)
            total = (log_density + flat + math.log(scale)).exp().mean() * TARGET.period
            assert abs(total - 1) < 1e-9
    torch.testing.assert_close(log_normal(TARGET, x / 40, 40.0) - log_prior(TARGET, x, 40.0), torch.zeros(n).double())
    by_column = torch.tensor([0.5, 0.2], dtype=torch.float64)
    same = log_normal(TARGET, x / 0.5, 0.5) + math.log(0.5) - math.log(0.2)
    torch.testing.assert_close(log_normal(TARGET, x / by_column, by_column), same)


def test_the_prior_and_wrapping():
    x, log_density = draw_prior(TARGET, 5000, 4.0, torch.Generator().manual_seed(0))
    assert x[:, 0].abs().max() <= TARGET.period / 2 and x[:, 1].abs().max() > 2 * TARGET.period
    torch.testing.assert_close(log_density, log_prior(TARGET, x, 4.0))
    turned = x + torch.tensor([3 * TARGET.period, 0.0])
    torch.testing.assert_close(wrapped(TARGET, turned), x)
    with pytest.raises(ValueError, match="kind 'VE'"):
        path_samples(TARGET, exact, NoiseSchedule(0.1, 5.0, kind="VP"), 3, 5, torch.Generator())


@pytest.mark.parametrize("n_steps", [5, 40])
@pytest.mark.parametrize("score", [exact, wrong])
def test_log_z_by_paths(n_steps, score):
    generator = torch.Generator().manual_seed(1)
    x, log_weights, _ = path_samples(TARGET, score, SCHEDULE, 8000, n_steps, generator)
    value, error = log_mean_and_error(log_weights)
    assert abs(value - TARGET.log_Z) < 4 * error < 0.2
    assert x[:, 0].abs().max() <= TARGET.period / 2
    if n_steps == 40 and score is exact:
        assert effective_share(log_weights) > 0.5


@pytest.mark.parametrize("score", [exact, wrong])
def test_log_z_by_noised_paths(score):
    """⟨e^{−f}⟩ over noised paths of exact samples is 1/Z."""
    n, generator = 8000, torch.Generator().manual_seed(2)
    log_weights = path_log_weights(TARGET, score, SCHEDULE, TARGET.sample(n, generator), 20, generator)
    value, error = log_mean_and_error(-log_weights)
    assert abs(value + TARGET.log_Z) < 4 * error < 0.2


def test_log_z_by_the_flow():
    """Of the exact score, up to the solver: weights are even as far as the lowest noise allows."""
    generator = torch.Generator().manual_seed(3)
    schedule = NoiseSchedule(0.02, 8.0)
    x, log_weights, _ = flow_samples(
        TARGET, lambda x, t: TARGET.noised_score(x, schedule.sigma(t)), schedule, 2000, 100, generator, width=TARGET.tau
    )
    value, error = log_mean_and_error(log_weights)
    assert abs(value - TARGET.log_Z) < 4 * error + 1e-3 and effective_share(log_weights) > 0.99
    assert x[:, 0].abs().max() <= TARGET.period / 2


def test_each_angle_has_a_spread_of_its_own():
    """Against −⟨∂s/∂a⟩ of the exact score, on which the best spread of a step depends; relative error 0.1."""
    n, generator = 20_000, torch.Generator().manual_seed(4)
    x_0 = TARGET.sample(n, generator)
    tables = measure_levels(TARGET, exact, SCHEDULE, x_0, lambda x_0, x, t, _: exact(x, t), generator, n_grid=5)
    assert tables.size.shape == (5, 2)
    sigma = SCHEDULE.sigma(torch.linspace(0, 1, 5, dtype=torch.float64))
    torch.testing.assert_close(tables.size[:, 1], 1 / (TARGET.tau**2 + sigma**2), rtol=0.1, atol=0)
    times = torch.linspace(0, 1, 40, dtype=torch.float64)
    spreads = reverse_spreads(SCHEDULE, times, tables.size)
    assert spreads.shape == (40, 2)
    plain = path_samples(TARGET, exact, SCHEDULE, 5000, times, torch.Generator().manual_seed(5))
    fitted = path_samples(TARGET, exact, SCHEDULE, 5000, times, torch.Generator().manual_seed(5), spreads=spreads)
    assert effective_share(fitted.log_weights) > effective_share(plain.log_weights)
    value, error = log_mean_and_error(fitted.log_weights)
    assert abs(value - TARGET.log_Z) < 4 * error
