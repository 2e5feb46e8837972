"""Estimates that iDEM regresses on, against exact scores; z-scores of 4 allowed."""

import pytest
import torch

from openmm_diffsampler import GaussianMixture, LennardJones
from openmm_diffsampler.diffusion import mixing_weight
from openmm_diffsampler.samplers.idem_settings import idem_settings
from openmm_diffsampler.samplers.score_targets import ScoreTargets

MIXTURE = GaussianMixture([[-1.5, 0.5], [1.0, -0.5], [0.5, 2.0]], scales=[0.5, 0.8, 0.6], weights=[0.2, 0.5, 0.3])


@pytest.mark.parametrize("n_draws", [1, 8])
@pytest.mark.parametrize("sigma", [0.2, 1.0, 5.0])
def test_at_equilibrium_it_has_no_bias_and_stays_there(n_draws, sigma):
    settings = idem_settings(MIXTURE, changes={"n_draws": n_draws, "n_trajectories": 2, "n_leapfrog": 3})
    targets, generator, n = ScoreTargets(MIXTURE, settings, 0.5), torch.Generator().manual_seed(0), 20_000
    x_0 = MIXTURE.sample(n, generator)
    sigmas, t = torch.full((n,), sigma, dtype=torch.float64), torch.linspace(0, 1, n, dtype=torch.float64)
    targets.mixing = torch.tensor([0.3, 0.6], dtype=torch.float64)
    x_t = x_0 + sigma * MIXTURE.normal(n, generator)
    exact = MIXTURE.noised_score(x_t, 1.0, sigma)
    found, x_new, metrics = targets(x_0, x_t, sigmas, t, generator)
    for against in (exact, torch.ones_like(exact), x_t):
        difference = ((found - exact) * against).sum(1)
        assert abs(difference.mean()) < 4 * difference.std() / n**0.5
    moments = [torch.stack([x[:, 0], x[:, 1], x[:, 0] ** 2, MIXTURE.reduced_potential(x)]) for x in (x_0, x_new)]
    change = moments[1] - moments[0]
    assert (change.mean(1).abs() < 4 * change.std(1) / n**0.5).all()
    assert 0.5 < metrics["HMC acceptance"] <= 1


def test_the_published_estimator_is_biased_where_ours_is_not():
    settings = idem_settings(MIXTURE, "paper", {"n_draws": 4, "score_clip": None})
    targets, generator, n = ScoreTargets(MIXTURE, settings, None), torch.Generator().manual_seed(0), 20_000
    x_0 = MIXTURE.sample(n, generator)
    x_t = x_0 + 3.0 * MIXTURE.normal(n, generator)
    exact = MIXTURE.noised_score(x_t, 1.0, 3.0)
    found, x_new, _ = targets(x_0, x_t, torch.full((n,), 3.0).double(), torch.zeros(n).double(), generator)
    difference = ((found - exact) * exact).sum(1)
    assert x_new is None and abs(difference.mean()) > 4 * difference.std() / n**0.5


def test_the_measured_mix_is_the_one_without_variance_for_a_gaussian():
    tau, target = 0.7, GaussianMixture([[0.0, 0.0]], scales=0.7)
    targets, generator = ScoreTargets(target, idem_settings(target), 0.3), torch.Generator().manual_seed(0)
    sigmas = torch.tensor([0.1, 0.7, 3.0], dtype=torch.float64)
    left = targets.measure(target.sample(2000, generator), sigmas, tau, generator)
    torch.testing.assert_close(targets.mixing, mixing_weight(1.0, sigmas, tau))
    assert left.max() < 1e-9  # a Gaussian of that width leaves nothing


def test_estimates_are_clipped_particle_by_particle():
    target = LennardJones(4)
    settings = idem_settings(target, "paper", {"n_draws": 10, "score_clip": 2.0, "unit": 0.5})
    targets, generator = ScoreTargets(target, settings, None), torch.Generator().manual_seed(0)
    x = target.normal(50, generator)
    found, _, _ = targets(x, x, torch.full((50,), 0.05).double(), torch.zeros(50).double(), generator)
    assert 3.9 < found.norm(dim=-1).max() <= 4.0 + 1e-9
