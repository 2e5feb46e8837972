import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from openmm_diffsampler.targets.analytic import Ring, mog2, mog2i, mog6, mog9, ring, rings

MIXTURES = {"mog2": mog2, "mog2i": mog2i, "mog6": mog6, "mog9": mog9}
RINGS = {"ring": ring, "rings": rings}
ALL = MIXTURES | RINGS


def _grid_integral(target, f, n=801, reach=16.0):
    """∫ f(x) exp(−u(x)) dx by the trapezoidal rule on a square."""
    axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    density = (-target.reduced_potential(x)).exp()
    return float((f(x) * density).sum()) * float(axis[1] - axis[0]) ** 2


def _radial_integral(target, f):
    """2π ∫ f(r) r exp(−u(r)) dr, piece by piece."""

    def integrand(r):
        u = target.reduced_potential(torch.tensor([[r, 0.0]], dtype=torch.float64))
        return f(r) * r * math.exp(-float(u))

    edges = [0.0, *((target.radii[1:] + target.radii[:-1]) / 2).tolist(), float(target.radii[-1]) + 12 * target.width]
    pieces = itertools.pairwise(edges)
    return 2 * math.pi * sum(integrate.quad(integrand, a, b, epsabs=0, epsrel=1e-11)[0] for a, b in pieces)


@pytest.mark.parametrize("name", MIXTURES)
def test_mixtures_are_normalised(name):
    target = MIXTURES[name]()
    assert target.log_Z == 0
    assert _grid_integral(target, lambda x: 1.0) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", RINGS)
def test_log_Z_of_rings_is_that_of_quadrature(name):  # noqa: N802
    target = RINGS[name]()
    assert target.log_Z == pytest.approx(math.log(_radial_integral(target, lambda r: 1.0)), abs=1e-10)


def test_log_Z_of_a_thin_and_of_a_wide_ring():  # noqa: N802
    thin, wide = Ring([3.0], 0.01), Ring([0.1], 2.0)
    assert thin.log_Z == pytest.approx(math.log(2 * math.pi * 3 * 0.01 * math.sqrt(2 * math.pi)), abs=1e-10)
    assert wide.log_Z == pytest.approx(math.log(_radial_integral(wide, lambda r: 1.0)), abs=1e-10)


def test_published_values():
    x = torch.tensor([[1.0, -2.0], [3.3, 0.4]], dtype=torch.float64)
    r = x.square().sum(1).sqrt()
    assert torch.allclose(ring().reduced_potential(x), (r - 2) ** 2 / 0.32)
    each = torch.stack([(r - i) ** 2 / 0.04 for i in range(1, 6)])
    assert torch.allclose(rings().reduced_potential(x), each.min(0).values)
    centre = mog6().means
    assert torch.allclose(centre.square().sum(1), torch.full((6,), 25.0).double())
    assert torch.allclose(mog2().scales ** 2, torch.full((2, 2), 0.5).double())


@pytest.mark.parametrize("name", ALL)
def test_score_is_the_gradient(name):
    target = ALL[name]()
    x = 3 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x.requires_grad_()
    u, score = target._evaluate(x)
    assert torch.allclose(score, -torch.autograd.grad(u.sum(), x)[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ALL)
def test_samples_have_the_moments_of_the_density(name):
    """20,000 samples against quadrature: x, y, xy, |x|² and u; |z| < 4 for each (the seed is fixed)."""
    target = ALL[name]()
    x = target.sample(20_000, torch.Generator().manual_seed(1))
    assert x.shape == (20_000, 2)
    z = math.exp(target.log_Z)
    functions = [
        lambda x: x[:, 0],
        lambda x: x[:, 1],
        lambda x: x[:, 0] * x[:, 1],
        lambda x: x.square().sum(1),
        target.reduced_potential,
    ]
    for f in functions:
        mean = _grid_integral(target, f) / z
        values = f(x)
        assert abs(float(values.mean()) - mean) < 4 * float(values.std()) / math.sqrt(len(x))


def test_radii_follow_their_density():
    """Kolmogorov–Smirnov on 50,000 radii of five rings and angles; p < 1e-4 fails (the seed is fixed)."""
    target = rings()
    x = target.sample(50_000, torch.Generator().manual_seed(2)).numpy()
    r = np.linspace(0, 7, 70_001)
    points = torch.as_tensor(np.stack([r, np.zeros_like(r)], 1))
    density = r * torch.exp(-target.reduced_potential(points)).numpy()
    cumulative = integrate.cumulative_trapezoid(density, r, initial=0)
    found = np.hypot(*x.T)
    assert stats.kstest(found, lambda t: np.interp(t, r, cumulative / cumulative[-1])).pvalue > 1e-4
    assert stats.kstest(np.arctan2(x[:, 1], x[:, 0]), stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4
    shares = np.bincount(target.mode(torch.as_tensor(x)), minlength=5) / len(x)
    assert shares == pytest.approx(np.arange(1, 6) / 15, abs=0.01)


def test_the_origin_has_a_finite_energy_and_no_force():
    u, score = rings().reduced_potential_and_score(torch.zeros(1, 2, dtype=torch.float64))
    assert u.item() == pytest.approx(25) and score.tolist() == [[0, 0]]


def test_single_precision_and_no_samples():
    target = rings(dtype=torch.float32)
    x = target.sample(7, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32 and target.reduced_potential(x).isfinite().all()
    assert target.sample(0, torch.Generator()).shape == (0, 2)


def test_identity_tells_rings_apart():
    assert Ring([1.0], 0.1).identity() != Ring([1.0], 0.2).identity()
    assert Ring([1.0], 0.1).identity() == Ring([1.0], 0.1).identity()


@pytest.mark.parametrize("radii", [[], [-1.0], [0.0, 1.0], [2.0, 1.0], [1.0, 1.0], [math.nan], 1.0])
def test_wrong_radii_are_refused(radii):
    with pytest.raises(ValueError, match="give a rising list of positive numbers"):
        Ring(radii, 0.1)


@pytest.mark.parametrize("width", [0.0, -1.0, math.inf, math.nan])
def test_a_wrong_width_is_refused(width):
    with pytest.raises(ValueError, match="must be positive"):
        Ring([1.0], width)
