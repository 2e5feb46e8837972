import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from openmm_diffsampler.targets.analytic import ManyWell


def _density(a):
    return np.exp(0.5 * a + 6 * a**2 - a**4)


def _integral(f, low=-6.0, high=6.0):
    return integrate.quad(f, low, high, epsabs=0, epsrel=1e-12, limit=500, points=[0.0] if low < 0 < high else None)[0]


Z = _integral(_density)


def test_coordinates_interleave_wells_and_gaussians():
    target = ManyWell(2)
    a, v, b, w = 1.5, -0.3, -1.2, 2.0
    expected = sum(-0.5 * t - 6 * t**2 + t**4 for t in (a, b)) + (v**2 + w**2) / 2
    x = torch.tensor([[a, v, b, w]], dtype=torch.float64)
    assert target.reduced_potential(x).item() == pytest.approx(expected, rel=1e-14)
    assert target.mode(x).tolist() == [[True, False]]


@pytest.mark.parametrize("n_pairs", [1, 3, 16])
def test_log_Z_is_that_of_quadrature(n_pairs):  # noqa: N802
    assert ManyWell(n_pairs).log_Z == pytest.approx(n_pairs * (math.log(Z) + 0.5 * math.log(2 * math.pi)), rel=1e-12)
    assert ManyWell().log_Z == pytest.approx(16 * (math.log(11784.50927) + 0.5 * math.log(2 * math.pi)), abs=1e-7)


def test_the_minor_well_holds_a_sixth():
    assert _integral(_density, -6, 0) / Z == pytest.approx(0.1557, abs=5e-5)


def test_sample_moments():
    """20000 × 16 pairs against quadrature; |z| < 4 for each of six means (the seed is fixed)."""
    x = ManyWell().sample(20_000, torch.Generator().manual_seed(0)).reshape(-1, 2).numpy()
    a, v = x.T
    for f in (lambda t: t, np.square, lambda t: t**4, lambda t: 1.0 * (t < 0)):
        mean = _integral(lambda t, f=f: f(t) * _density(t)) / Z
        z = (f(a).mean() - mean) / (f(a).std() / math.sqrt(len(a)))
        assert abs(z) < 4
    for values, mean in ((v, 0.0), (v**2, 1.0), (a * v, 0.0)):
        assert abs((values.mean() - mean) / (values.std() / math.sqrt(len(values)))) < 4


def test_samples_follow_the_density():
    """Kolmogorov-Smirnov on 50000 values; p < 1e-4 fails (the seed is fixed)."""
    x = ManyWell(1).sample(50_000, torch.Generator().manual_seed(1)).numpy()
    grid = np.linspace(-4, 4, 20_001)
    cumulative = integrate.cumulative_simpson(_density(grid), x=grid, initial=0) / Z
    assert stats.kstest(x[:, 0], lambda t: np.interp(t, grid, cumulative)).pvalue > 1e-4
    assert stats.kstest(x[:, 1], stats.norm.cdf).pvalue > 1e-4


def test_pairs_are_independent():
    """Correlation of 1000 × 16 samples between neighbouring pairs; |z| < 4 (the seed is fixed)."""
    a = ManyWell().sample(1000, torch.Generator().manual_seed(2))[:, 0::2].numpy()
    correlations = np.corrcoef(a.T)[np.triu_indices(16, 1)]
    assert np.abs(correlations).max() * math.sqrt(1000) < 4


@pytest.mark.parametrize("n_pairs", [0, -1, 2.0, True, "16"])
def test_a_wrong_number_of_pairs_is_refused(n_pairs):
    with pytest.raises(ValueError, match="give a positive integer"):
        ManyWell(n_pairs)
