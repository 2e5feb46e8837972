import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from openmm_diffsampler.targets.analytic import GaussianMixture, gmm40

SKEWED = {"means": [[-1.5], [0.5], [2.0]], "scales": [0.3, 0.8, 0.1], "weights": [0.2, 0.5, 0.3]}


def _grid(low, high, n):
    axis = torch.linspace(low, high, n, dtype=torch.float64)
    return axis, (high - low) / (n - 1)


def test_potential_is_minus_the_log_density_of_scipy():
    means, scales, weights = np.array([[0.0, 1.0], [2.0, -1.0]]), np.array([[0.5, 2.0], [1.0, 0.7]]), [0.25, 0.75]
    x = np.random.default_rng(0).normal(size=(20, 2))
    density = sum(w * stats.norm.pdf(x, m, s).prod(1) for w, m, s in zip(weights, means, scales, strict=True))
    target = GaussianMixture(means, scales, [1, 3])
    torch.testing.assert_close(target.reduced_potential(torch.as_tensor(x)), -torch.as_tensor(density).log())


def test_gmm40_integrates_to_one():
    axis, h = _grid(-55, 55, 441)
    target = gmm40()
    integral = target.reduced_potential(torch.cartesian_prod(axis, axis)).neg().exp().sum() * h**2
    assert integral.item() == pytest.approx(math.exp(target.log_Z), abs=1e-9)


def test_gmm40_has_the_centres_of_seed_zero_and_leaves_the_global_generator_alone():
    state = torch.random.get_rng_state()
    target = gmm40()
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = (torch.rand((40, 2)) - 0.5) * 2 * 40
    assert torch.equal(target.means.float(), expected)
    assert target.scales.unique().tolist() == [pytest.approx(math.log1p(math.e), rel=1e-6)]
    assert target.log_weights.exp().tolist() == pytest.approx([1 / 40] * 40)


def test_noised_log_density_is_the_convolution():
    target, alpha, sigma = GaussianMixture(**SKEWED), 0.7, 0.4
    y, h = _grid(-6, 6, 4001)
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    kernel = (-0.5 * ((x[:, None] - alpha * y) / sigma) ** 2).exp() / (sigma * math.sqrt(2 * math.pi))
    expected = (kernel * target.reduced_potential(y[:, None]).neg().exp()).sum(1) * h
    torch.testing.assert_close(target.noised_log_prob(x[:, None], alpha, sigma).exp(), expected, rtol=1e-8, atol=1e-12)


def test_noised_score_is_the_gradient_of_the_noised_log_density():
    target = gmm40()
    generator = torch.Generator().manual_seed(0)
    x = target.sample(30, generator).requires_grad_()
    alpha, sigma = torch.rand(30, generator=generator), 5 * torch.rand(30, generator=generator)
    expected = torch.autograd.grad(target.noised_log_prob(x, alpha, sigma).sum(), x)[0]
    torch.testing.assert_close(target.noised_score(x, alpha, sigma), expected)
    one_by_one = [target.noised_score(x[i : i + 1], alpha[i].item(), sigma[i].item()) for i in range(30)]
    torch.testing.assert_close(torch.cat(one_by_one), expected)


def test_without_noise_the_noised_score_is_the_score():
    target = GaussianMixture(**SKEWED)
    x = torch.linspace(-2, 3, 11)[:, None]
    torch.testing.assert_close(target.noised_score(x, 1.0, 0.0), target.score(x))
    assert target.noised_score(x, 1.0, 0.0).dtype == torch.float32


def test_samples_follow_the_density():
    """Kolmogorov-Smirnov on 20000 samples; p < 1e-4 fails (the seed is fixed)."""
    x = GaussianMixture(**SKEWED).sample(20_000, torch.Generator().manual_seed(0))[:, 0].numpy()
    columns = [np.ravel(SKEWED[key]) for key in ("weights", "means", "scales")]

    def cdf(value):
        return sum(w * stats.norm.cdf(value, m, s) for w, m, s in zip(*columns, strict=True))

    assert stats.kstest(x, cdf).pvalue > 1e-4


def test_samples_of_gmm40_visit_every_mode_as_often_as_they_should():
    """40000 samples counted by nearest centre, against quadrature; |z| < 4 for each of 40 (the seed is fixed)."""
    target = gmm40()
    axis, h = _grid(-55, 55, 331)
    x = torch.cartesian_prod(axis, axis)
    probability = torch.zeros(40, dtype=x.dtype).index_add(
        0, target.mode(x), (-target.reduced_potential(x)).exp() * h**2
    )
    counts = target.mode(target.sample(40_000, torch.Generator().manual_seed(0))).bincount(minlength=40)
    z = (counts - 40_000 * probability) / (40_000 * probability * (1 - probability)).sqrt()
    assert probability.sum().item() == pytest.approx(1)
    assert z.abs().max() < 4


def test_mode_is_the_nearest_centre():
    target = gmm40()
    assert target.mode(target.means + 0.01).tolist() == list(range(40))


def test_a_component_of_weight_zero_is_never_visited():
    target = GaussianMixture([[0.0], [20.0]], 1.0, [1, 0])
    x = torch.tensor([[5.0]], dtype=torch.float64)
    assert target.reduced_potential(x).item() == pytest.approx(12.5 + 0.5 * math.log(2 * math.pi))
    assert target.score(x).item() == pytest.approx(-5)
    assert not target.mode(target.sample(100, torch.Generator().manual_seed(0))).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"means": [0.0, 1.0]}, r"means have shape \(2,\); give \(n_components, n_dimensions\)"),
        ({"means": [[0.0], [math.nan], [1.0]]}, "means contain NaN"),
        ({"scales": [0.5, 0.5]}, r"scales have shape \(2,\)"),
        ({"scales": [0.5, 0.5, 0.0]}, "scales must be positive; the smallest is 0.0"),
        ({"weights": [1, 2]}, r"weights have shape \(2,\); give \(3,\)"),
        ({"weights": [1, 2, -1]}, "weights must not be negative"),
        ({"weights": [0, 0, 0]}, "nor all zero"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        GaussianMixture(**(SKEWED | changes))


def test_noise_levels_of_another_batch_are_refused():
    with pytest.raises(ValueError, match=r"sigma has shape \(3,\); give one number, or one for each of the 2 rows"):
        gmm40().noised_score(torch.zeros(2, 2), 1.0, torch.ones(3))


def exact(target, x):
    """u (n,) in fifty digits."""
    with mpmath.workdps(50):
        rows = []
        for row in x.tolist():
            density = mpmath.mpf(0)
            for m, s, w in zip(target.means.tolist(), target.scales.tolist(), target.log_weights.tolist(), strict=True):
                z = [(mpmath.mpf(a) - b) / c for a, b, c in zip(row, m, s, strict=True)]
                norm = mpmath.fprod(mpmath.sqrt(2 * mpmath.pi) * c for c in s)
                density += mpmath.exp(w - mpmath.fsum(a * a for a in z) / 2) / norm
            rows.append(float(-mpmath.log(density)))
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize(
    ("centre", "scale"), [(0.0, 1.0), (40.0, 1.3), (1e2, 1e-1), (1e4, 1.0), (1e4, 1e-3), (1e6, 1e-3), (1e-3, 1e-9)]
)
def test_digits_are_kept_however_far_the_centres_are_from_the_origin(centre, scale):
    means = torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, 0.5], [1.0, 1.0, 1.0]]) * centre
    target = GaussianMixture(means, [scale, 2 * scale, scale / 2], [0.2, 0.5, 0.3])
    x = target.sample(50, torch.Generator().manual_seed(0))
    assert (target.reduced_potential(x) - exact(target, x)).abs().max() < 1e-9


def test_modes_are_told_apart_far_from_the_origin():
    means = 1e6 + 1e-2 * torch.arange(40.0, dtype=torch.float64)[:, None].expand(40, 2)
    target = GaussianMixture(means, 1e-4)
    assert torch.equal(target.mode(means), torch.arange(40))


def test_gmm40_is_evaluated_by_products_of_matrices():
    """Expanded, which is faster and what seeds have had their results by; so are small mixtures near the origin."""
    assert gmm40()._is_expanded and GaussianMixture(**SKEWED)._is_expanded
    assert not GaussianMixture([[1e4]], 1e-3)._is_expanded and not gmm40(dtype=torch.float32)._is_expanded
