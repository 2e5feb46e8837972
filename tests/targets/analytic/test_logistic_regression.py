import math

import pytest
import torch

from openmm_diffsampler import HMC
from openmm_diffsampler.targets.analytic import LogisticRegression


def _data(n=40, d=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    features = 2 + 3 * torch.randn(n, d, generator=generator, dtype=torch.float64)
    labels = (features[:, 0] + torch.randn(n, generator=generator, dtype=torch.float64) > 2).double()
    return features, labels


def test_energy_is_the_negative_log_likelihood_and_prior():
    features, labels = _data()
    target = LogisticRegression(features, labels, prior_scale=2.0)
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    scaled = (features - features.mean(0)) / features.std(0, correction=0)
    expected = []
    for row in x:
        p = torch.sigmoid(scaled @ row[:-1] + row[-1])
        log_likelihood = torch.where(labels == 1, p.log(), (1 - p).log()).sum()
        log_prior = -(row.square().sum() / (2 * 2.0**2))
        expected.append(-(log_likelihood + log_prior))
    assert torch.allclose(target.reduced_potential(x), torch.stack(expected), rtol=1e-12)


def test_score_is_the_gradient():
    target = LogisticRegression(*_data())
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    u, score = target._evaluate(x)
    assert torch.allclose(score, -torch.autograd.grad(u.sum(), x)[0], rtol=1e-10, atol=1e-10)


def test_far_weights_have_a_finite_energy():
    target = LogisticRegression(*_data())
    u, score = target.reduced_potential_and_score(torch.full((1, 4), 1e4).double())
    assert u.isfinite().all() and score.isfinite().all()


def test_a_constant_feature_is_left_to_the_prior():
    features, labels = _data()
    features[:, 1] = 7.0
    target = LogisticRegression(features, labels)
    assert target.reduced_potential(torch.zeros(1, 4)).isfinite().all()
    score = target.score(torch.tensor([[0.3, 0.5, -0.2, 0.1]]).double())
    assert score[0, 1].item() == pytest.approx(-0.5)


def test_predictions_of_chains_match_quadrature():
    """16,000 HMC samples of a slope and an intercept; predictive probabilities within 0.01 of a 2-D grid."""
    features, labels = _data(n=20, d=1)
    target = LogisticRegression(features, labels)
    axis = torch.linspace(-6, 6, 401, dtype=torch.float64)
    x = torch.cartesian_prod(axis, axis)
    u = target.reduced_potential(x)
    exact = target.predict(x, features, (u.min() - u).exp())
    wt = HMC(target, step_size=0.3).sample(torch.zeros(2), 250, n_chains=64, seed=0)
    assert torch.allclose(target.predict(wt.x, features), exact, atol=0.01)


def test_predict_weighs_samples():
    features, labels = _data()
    target = LogisticRegression(features, labels)
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    only = target.predict(x, features, [0.0, 2.0, 0.0])
    assert torch.allclose(only, target.predict(x[1:2], features))
    assert torch.allclose(
        target.predict(x, features), torch.stack([target.predict(r[None], features) for r in x]).mean(0)
    )


def test_no_exact_samples_nor_log_Z():  # noqa: N802
    target = LogisticRegression(*_data())
    assert target.log_Z is None
    with pytest.raises(TypeError, match="no exact sampler"):
        target.sample(1, torch.Generator())


def test_identity_depends_on_data_and_prior():
    features, labels = _data()
    same, other = LogisticRegression(features, labels), LogisticRegression(features, 1 - labels)
    assert same.identity() == LogisticRegression(features, labels).identity()
    assert same.identity() != other.identity()
    assert same.identity() != LogisticRegression(features, labels, prior_scale=2.0).identity()


def test_wrong_input_is_refused():
    features, labels = _data()
    with pytest.raises(ValueError, match=r"give \(n, n_features\)"):
        LogisticRegression(features, labels[1:])
    with pytest.raises(ValueError, match=r"give \(n, n_features\)"):
        LogisticRegression(features[:, 0], labels)
    with pytest.raises(ValueError, match="give 0 and 1"):
        LogisticRegression(features, 2 * labels)
    with pytest.raises(ValueError, match="NaN or infinite"):
        LogisticRegression(features / 0, labels)
    for scale in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be positive"):
            LogisticRegression(features, labels, prior_scale=scale)
    target = LogisticRegression(features, labels)
    with pytest.raises(ValueError, match=r"give \(n, 3\)"):
        target.predict(torch.zeros(1, 4), features[:, :2])
    with pytest.raises(ValueError, match="one a sample"):
        target.predict(torch.zeros(1, 4), features, [0.5, 0.5])
