"""The autoregressive density: normalised, periodic, ordered, its samples and its two evaluations alike."""

import math

import pytest
import torch

from openmm_diffsampler.networks import AutoregressiveDensity


def density(n_circular, n_real, **settings):
    torch.manual_seed(0)
    made = AutoregressiveDensity(n_circular, n_real, width=16, **settings)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made


@pytest.mark.parametrize("settings", [{}, {"n_layers": 3, "n_real_waves": 2}, {"n_layers": 1, "n_components": 1}])
@pytest.mark.parametrize(("n_circular", "n_real"), [(2, 3), (0, 4), (3, 0)])
def test_sampling_and_evaluation_agree(n_circular, n_real, settings):
    made = density(n_circular, n_real, **settings)
    x, log_q = made.sample(500, torch.Generator().manual_seed(1))
    assert torch.allclose(made(x).double(), log_q, rtol=1e-4, atol=1e-3)
    assert x[:, :n_circular].abs().max() <= math.pi if n_circular else True


def test_is_normalised():
    """∫q over a circle and a line, by the trapezoid rule."""
    made = density(1, 1)
    angle = torch.linspace(-math.pi, math.pi, 101)
    real = torch.linspace(-30, 30, 1001)
    grid = torch.cartesian_prod(angle, real)
    with torch.no_grad():
        q = made(grid).double().exp().reshape(101, 1001)
    total = torch.trapezoid(torch.trapezoid(q, real.double()), angle.double())
    assert abs(total - 1) < 1e-3


def test_is_periodic_in_angles():
    made = density(2, 2)
    x = torch.randn(100, 4)
    turned = x + 2 * math.pi * torch.tensor([1.0, -2.0, 0.0, 0.0])
    assert torch.allclose(made(x), made(turned), atol=1e-4)


def test_each_coordinate_sees_those_before_it_alone():
    made, x = density(1, 3), torch.randn(1, 4, requires_grad=True)
    circular, real = made._outputs(made._features(x))
    for k, output in enumerate([circular[0], *real]):
        (slope,) = torch.autograd.grad(output.sum(), x, retain_graph=True)
        assert (slope[0, k:] == 0).all()
        assert (slope[0, :k] != 0).all()


def test_starts_from_a_gaussian_by_least_squares():
    """A correlated Gaussian needs no training: KL of one component to it is nothing but what 20,000 samples leave."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(5, 5, generator=generator)
    x = torch.randn(20_000, 5, generator=generator) @ mixing.T
    made = AutoregressiveDensity(0, 5, width=8, n_components=1)
    made.start_from(x)
    covariance = mixing @ mixing.T
    exact = torch.distributions.MultivariateNormal(torch.zeros(5), covariance).log_prob(x)
    assert (exact - made(x)).mean().abs() < 2e-3


def test_bfloat16_is_close():
    made, x = density(2, 6), torch.randn(200, 8)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        low = made(x)
    assert (low - made(x)).abs().median() < 0.1


def test_refuses_nothing_to_describe():
    with pytest.raises(ValueError, match="at least one of each"):
        AutoregressiveDensity(0, 0)
