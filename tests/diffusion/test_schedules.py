"""Schedules against their own definitions, by automatic differentiation."""

import itertools

import pytest
import torch

from openmm_diffsampler.diffusion import NoiseSchedule

CASES = list(itertools.product(("VE", "VP"), ("geometric", "linear", "cosine")))


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_rates_are_those_of_the_marginals(kind, shape):
    schedule = NoiseSchedule(0.02, 30.0, kind=kind, shape=shape)
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64, requires_grad=True)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    if kind == "VP":
        torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(alpha))
        (drift,) = torch.autograd.grad(alpha.log().sum(), t, retain_graph=True)
    else:
        assert (alpha == 1).all()
        drift = torch.zeros_like(t)
    torch.testing.assert_close(schedule.drift(t), drift)
    (by_variance,) = torch.autograd.grad((sigma**2).sum(), t)
    torch.testing.assert_close(schedule.diffusion_squared(t), by_variance - 2 * drift * sigma**2)
    torch.testing.assert_close(schedule.time(schedule.ratio(t)), t)


@pytest.mark.parametrize(("kind", "shape"), CASES)
def test_ends(kind, shape):
    schedule = NoiseSchedule(0.02, 30.0, kind=kind, shape=shape)
    ratios = schedule.ratio(torch.tensor([0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(ratios, torch.tensor([0.02, 30.0], dtype=torch.float64))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0.0, 1.0), {}, "positive, finite and rising"),
        ((2.0, 1.0), {}, "rising"),
        ((0.1, float("inf")), {}, "finite"),
        ((0.1, 1.0), {"kind": "sub-VP"}, "supported are 'VE', 'VP'"),
        ((0.1, 1.0), {"shape": "sigmoid"}, "supported are 'geometric'"),
    ],
)
def test_wrong_settings(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(*arguments, **options)
