"""Score identities and estimators against the closed-form score of a noised mixture; z-scores of 4 allowed."""

import pytest
import torch

from openmm_diffsampler import GaussianMixture, LennardJones
from openmm_diffsampler.diffusion import estimate_score, mixing_weight, posterior_draws, posterior_score, scores

MIXTURE = GaussianMixture([[-1.5, 0.5], [1.0, -0.5], [0.5, 2.0]], scales=[0.5, 0.8, 0.6], weights=[0.2, 0.5, 0.3])
LEVELS = [(1.0, 0.3), (1.0, 2.0), (0.6, 0.8), (0.1, 0.995)]


def exact_posterior_draws(x_t, alpha, sigma, n, generator):
    """Exact draws (n, d) of p(x | x_t) for one x_t (d,): a mixture whose components are narrowed by the observation."""
    variance = MIXTURE.scales**2
    total = alpha**2 * variance + sigma**2
    log_weights = MIXTURE.log_weights - 0.5 * ((x_t - alpha * MIXTURE.means) ** 2 / total + total.log()).sum(1)
    mean = (alpha * variance * x_t + sigma**2 * MIXTURE.means) / total
    spread = (variance * sigma**2 / total).sqrt()
    k = log_weights.softmax(0).multinomial(n, replacement=True, generator=generator)
    return mean[k] + spread[k] * torch.randn(n, 2, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
@pytest.mark.parametrize("c", [0.0, 0.37, 1.0, "mixed"])
def test_identities(alpha, sigma, c):
    generator = torch.Generator().manual_seed(0)
    x_t = torch.tensor([0.4, 0.9], dtype=torch.float64)
    c = alpha**2 if c == "mixed" else c
    x = exact_posterior_draws(x_t, alpha, sigma, 40_000, generator)
    draws = posterior_score(x_t, x, MIXTURE.score(x), alpha, sigma, c)
    exact = MIXTURE.noised_score(x_t[None], alpha, sigma)[0]
    error = draws.std(0) / len(draws) ** 0.5
    assert ((draws.mean(0) - exact).abs() < 4 * error).all()


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_the_right_mix_has_no_variance_for_a_gaussian(alpha, sigma):
    tau, generator = 0.7, torch.Generator().manual_seed(0)
    target = GaussianMixture([[0.3]], scales=tau)
    x, x_t = torch.randn(100, 1, generator=generator, dtype=torch.float64), torch.tensor([[1.3]], dtype=torch.float64)
    found = posterior_score(x_t, x, target.score(x), alpha, sigma, mixing_weight(alpha, sigma, tau))
    torch.testing.assert_close(found, target.noised_score(x_t, alpha, sigma).expand(100, 1))


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS[:3])
@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
def test_estimator_approaches_the_score(alpha, sigma, c):
    """Sixteen estimates with K = 20,000 average to the exact score within 4 standard errors."""
    generator = torch.Generator().manual_seed(1)
    x_t = torch.tensor([[0.4, 0.9]], dtype=torch.float64).expand(16, 2)
    found, effective = estimate_score(MIXTURE, x_t, alpha, sigma, 20_000, generator, c=c)
    exact = MIXTURE.noised_score(x_t[:1], alpha, sigma)
    assert ((found.mean(0) - exact).abs() < 4 * found.std(0) / 4).all()
    assert (effective > 100).all() and (effective <= 20_000).all()


def test_with_target_scores_it_is_the_gradient_of_the_log_of_the_mean_weight():
    x_t = torch.tensor([[0.4, 0.9], [-2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    found, _ = estimate_score(MIXTURE, x_t.detach(), 0.8, 0.6, 50, torch.Generator().manual_seed(2))
    generator = torch.Generator().manual_seed(2)
    torch.rand(2, 1, generator=generator, dtype=torch.float64)  # which draw is chosen
    noise = MIXTURE.normal(100, generator).reshape(2, 50, 2)
    x = (x_t[:, None] + 0.6 * noise) / 0.8
    log_mean = (-MIXTURE.reduced_potential(x.reshape(-1, 2))).reshape(2, 50).logsumexp(1)
    torch.testing.assert_close(found, torch.autograd.grad(log_mean.sum(), x_t)[0])


def test_rows_may_have_levels_of_their_own_and_chunks_do_not_matter(monkeypatch):
    alpha, sigma, c = torch.tensor([1.0, 0.6]), torch.tensor([0.3, 0.8]), torch.tensor([1.0, 0.4])
    x_t = torch.tensor([[0.4, 0.9], [-2.0, 0.1]], dtype=torch.float64)
    whole = estimate_score(MIXTURE, x_t, alpha, sigma, 32, torch.Generator().manual_seed(3), c=c)[0]
    monkeypatch.setattr(scores, "_CHUNK", 32)
    generator = torch.Generator().manual_seed(3)
    torch.testing.assert_close(estimate_score(MIXTURE, x_t, alpha, sigma, 32, generator, c=c)[0], whole)
    noise = MIXTURE.normal(64, _after_spots(3)).reshape(2, 32, 2)
    for k in range(2):
        x = (x_t[k] + sigma[k] * noise[k]) / alpha[k]
        weights = (-MIXTURE.reduced_potential(x)).softmax(0)
        by_draw = posterior_score(x_t[k], x, MIXTURE.score(x), alpha[k], sigma[k], c[k])
        torch.testing.assert_close(weights @ by_draw, whole[k])


def _after_spots(seed):
    """A generator that has drawn which of the K is chosen, for two rows."""
    generator = torch.Generator().manual_seed(seed)
    torch.rand(2, 1, generator=generator, dtype=torch.float64)
    return generator


@pytest.mark.parametrize(("alpha", "sigma"), LEVELS)
def test_with_the_clean_configuration_it_has_no_bias(alpha, sigma):
    """K = 2 only: E[y · s*] = E[|s*|²] over pairs in equilibrium, and the chosen draw is in equilibrium again."""
    generator, n = torch.Generator().manual_seed(4), 40_000
    x_0 = MIXTURE.sample(n, generator)
    x_t = alpha * x_0 + sigma * MIXTURE.normal(n, generator)
    exact = MIXTURE.noised_score(x_t, alpha, sigma)
    for x, biased in ((x_0, False), (None, True)):
        found, _ = estimate_score(MIXTURE, x_t, alpha, sigma, 2, generator, x_0=x, c=0.5)
        difference = ((found - exact) * exact).sum(1)
        z = float(difference.mean() / difference.std()) * n**0.5
        assert abs(z) > 4 if biased and sigma / alpha > 1 else abs(z) < 4 or biased
    alpha, sigma = torch.full((n,), alpha).double(), torch.full((n,), sigma).double()
    chosen = posterior_draws(MIXTURE, x_t, alpha, sigma, 8, generator, x_0=x_0).chosen
    moments = torch.stack([chosen[:, 0], chosen[:, 1], chosen[:, 0] ** 2, MIXTURE.reduced_potential(chosen)])
    before = torch.stack([x_0[:, 0], x_0[:, 1], x_0[:, 0] ** 2, MIXTURE.reduced_potential(x_0)])
    error = (before - moments).std(1) / n**0.5
    assert ((before - moments).mean(1).abs() < 4 * error).all()


def test_particles_stay_in_their_subspace_and_hopeless_rows_give_zero():
    target = LennardJones(4)
    generator = torch.Generator().manual_seed(0)
    x_t = torch.cat([target.normal(3, generator), torch.full((1, 4, 3), torch.nan, dtype=torch.float64)])
    found, effective = estimate_score(target, x_t, 1.0, 0.3, 200, generator)
    assert (effective[:3] >= 1).all() and effective[3] == 0
    assert found[:3].mean(1).abs().max() < 1e-10 and found[:3].abs().max() > 0
    assert (found[3] == 0).all()
    with pytest.raises(ValueError, match="n_samples is 0"):
        estimate_score(target, x_t, 1.0, 0.3, 0, generator)
