import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from openmm_diffsampler.targets.analytic import GaussianMixture, RuggedWell

SHAPES = [{}, {"width": 1.0, "amplitude": 3.0, "wavelength": 0.5}, {"width": 0.3, "amplitude": 0.0}]


def _density(target):
    w, a, frequency = target.width, target.amplitude, 2 * math.pi / target.wavelength
    return lambda t: np.exp(-0.5 * (t / w) ** 2 + a * np.cos(frequency * t))


def _integral(target, f):
    return integrate.quad(
        lambda t: f(t) * _density(target)(t), -10 * target.width, 10 * target.width, epsrel=1e-11, limit=1000
    )[0]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("d", [1, 10, 1000])
def test_log_Z_is_that_of_quadrature(shape, d):  # noqa: N802
    target = RuggedWell(d, **shape)
    assert target.log_Z == pytest.approx(d * math.log(_integral(target, lambda t: 1.0)), rel=1e-9, abs=1e-9)


def test_log_Z_is_that_of_the_Bessel_series():  # noqa: N802
    target = RuggedWell(1)
    k, frequency = np.arange(1, 60), 2 * math.pi / target.wavelength
    series = special.iv(0, target.amplitude) + 2 * np.sum(
        special.iv(k, target.amplitude) * np.exp(-0.5 * (k * frequency * target.width) ** 2)
    )
    assert target.log_Z == pytest.approx(math.log(series * target.width * math.sqrt(2 * math.pi)), abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_energy_and_its_gradient(shape):
    target = RuggedWell(3, **shape)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64, requires_grad=True)
    u, score = target._evaluate(x)
    expected = -np.log(_density(target)(x.detach().numpy())).sum(1)
    assert np.allclose(u.detach().numpy(), expected, rtol=1e-10)
    assert torch.allclose(score, -torch.autograd.grad(u.sum(), x)[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_sample_moments(shape):
    """2,000 × 10 coordinates against quadrature: x, x², u and the share of the middle well; |z| < 4 (fixed seed)."""
    target = RuggedWell(10, **shape)
    x = target.sample(2000, torch.Generator().manual_seed(0)).numpy()
    normalisation = _integral(target, lambda t: 1.0)
    half = target.wavelength / 2
    for f in (lambda t: t, np.square, lambda t: -np.log(_density(target)(t)), lambda t: 1.0 * (np.abs(t) < 0.7 * half)):
        values = f(x).ravel()
        mean = _integral(target, f) / normalisation
        assert abs(values.mean() - mean) < 4 * values.std() / math.sqrt(values.size)


def test_samples_follow_the_density_and_are_independent():
    """Kolmogorov–Smirnov on 50,000 values, p < 1e-4 fails; correlations of neighbours |z| < 4 (fixed seed)."""
    target = RuggedWell(5)
    x = target.sample(10_000, torch.Generator().manual_seed(1)).numpy()
    grid = np.linspace(-20, 20, 40_001)
    cumulative = integrate.cumulative_simpson(_density(target)(grid), x=grid, initial=0)
    assert stats.kstest(x.ravel(), lambda t: np.interp(t, grid, cumulative / cumulative[-1])).pvalue > 1e-4
    correlations = np.corrcoef(x.T)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() * math.sqrt(len(x)) < 4


def test_wells():
    target = RuggedWell(2)
    assert target.well(torch.tensor([[0.9, -3.5]])).tolist() == [[0, -2]]
    spread = target.well(target.sample(10_000, torch.Generator().manual_seed(0)))
    assert set(range(-2, 3)) <= set(spread.unique().tolist())


def test_mixtures_of_a_thousand_dimensions_do_not_underflow():
    """Energy and score in 1,000 dimensions against the single component that a point belongs to."""
    means = torch.stack([torch.full((1000,), 3 / math.sqrt(1000)), torch.full((1000,), -3 / math.sqrt(1000))])
    target = GaussianMixture(means, 1.0, [1, 2])
    x = target.sample(200, torch.Generator().manual_seed(0))
    u, score = target.reduced_potential_and_score(x)
    log_each = -0.5 * torch.cdist(x, target.means).square() - 500 * math.log(2 * math.pi) + target.log_weights
    assert torch.allclose(u, -log_each.logsumexp(1), rtol=1e-10)
    assert torch.allclose(score, log_each.softmax(1) @ target.means - x, atol=1e-9)
    far = 100 * torch.ones(1, 1000, dtype=torch.float64)
    assert target.reduced_potential(far).isfinite().all()


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3"])
def test_a_wrong_number_of_dimensions_is_refused(n):
    with pytest.raises(ValueError, match="give a positive integer"):
        RuggedWell(n)


def test_wrong_parameters_are_refused():
    for name in ("width", "wavelength"):
        for value in (0.0, -1.0, math.inf, math.nan):
            with pytest.raises(ValueError, match=f"{name} is .*; it must be positive"):
                RuggedWell(1, **{name: value})
    for value in (-0.1, math.inf, math.nan):
        with pytest.raises(ValueError, match=r"amplitude is .*; it must not be negative"):
            RuggedWell(1, amplitude=value)
