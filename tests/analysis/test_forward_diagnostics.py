"""Gaussians in closed form, a model that misses a mode, and models that are good."""

import numpy as np
import pytest

from openmm_diffsampler.analysis import forward_diagnostics

LOG_Z = 3.0


def normal_log_weights(x, width):
    """For the target Z·N(0, 1) in each of the dimensions of x and the model N(0, width²)."""
    d = x.shape[1]
    return LOG_Z - 0.5 * (x**2).sum(1) + 0.5 * (x**2).sum(1) / width**2 + d * np.log(width)


def both_sides(width, d, n, m, seed):
    rng = np.random.default_rng(seed)
    x, y = width * rng.normal(size=(n, d)), rng.normal(size=(m, d))
    return normal_log_weights(x, width), normal_log_weights(y, width)


@pytest.mark.parametrize("width", [0.9, 1.2])
def test_gaussians_in_closed_form(width):
    """E_q w² = (width²/√(2 width² − 1))^d; both Kullback-Leibler divergences are known too."""
    d = 3
    found = forward_diagnostics(*both_sides(width, d, 200_000, 200_000, seed=0))
    ess = (np.sqrt(2 * width**2 - 1) / width**2) ** d
    kl_q = d * (0.5 * width**2 - 0.5 - np.log(width))
    kl_p = d * (0.5 / width**2 - 0.5 + np.log(width))
    assert found.reverse_ess == pytest.approx(ess, rel=0.02)
    assert found.forward_ess == pytest.approx(ess, rel=0.02)
    assert found.elbo == pytest.approx(LOG_Z - kl_q, abs=0.01)
    assert found.eubo == pytest.approx(LOG_Z + kl_p, abs=0.01)
    assert found.gap == pytest.approx(kl_p + kl_q, abs=0.01)
    for value, error in (found.log_Z_reverse, found.log_Z_forward):
        assert abs(value - LOG_Z) < 4 * error < 0.02
    assert found.unseen == 0 and found.warning is None


def two_modes(seed, n=100_000, m=20_000, share=0.01, missed=True):
    """Modes at 0 and 12; the model is a little too wide in the first, and may lack the second."""
    rng = np.random.default_rng(seed)
    width, at = 1.1, 12.0

    def log_p(x):
        return LOG_Z + np.logaddexp(np.log(1 - share) - 0.5 * x**2, np.log(share) - 0.5 * (x - at) ** 2)

    def log_q(x):
        first, second = -0.5 * (x / width) ** 2, -0.5 * ((x - at) / width) ** 2
        return (first if missed else np.logaddexp(np.log(1 - share) + first, np.log(share) + second)) - np.log(width)

    x = width * rng.normal(size=n) + (0 if missed else at * (rng.random(n) < share))
    y = rng.normal(size=m) + at * (rng.random(m) < share)
    return log_p(x) - log_q(x), log_p(y) - log_q(y), np.where(x < 6, "left", "right"), np.where(y < 6, "left", "right")


@pytest.mark.parametrize("share", [0.01, 0.002])
def test_a_missing_mode_warns(share):
    for seed in range(5):
        lw_model, lw_data, labels_model, labels_data = two_modes(seed, share=share)
        found = forward_diagnostics(lw_model, lw_data)
        assert found.reverse_ess > 0.9 and found.forward_ess < 1e-3
        assert found.unseen == pytest.approx((labels_data == "right").mean())
        assert "% of the held-out configurations have weights that no model sample has: a mode, or" in found.warning
        named = forward_diagnostics(lw_model, lw_data, labels_model=labels_model, labels_data=labels_data)
        [row] = named.under_represented
        assert row.label == "right" and row.population == 0 and row.z > 4
        assert "right has a population of 0 in the samples" in named.warning


def test_a_good_model_raises_no_alarm():
    for seed in range(20):
        lw_model, lw_data, labels_model, labels_data = two_modes(seed, missed=False)
        found = forward_diagnostics(lw_model, lw_data, labels_model=labels_model, labels_data=labels_data)
        assert found.warning is None and found.under_represented == ()
    for width, d in ((1.2, 10), (0.9, 10)):
        for seed in range(20):
            assert forward_diagnostics(*both_sides(width, d, 20_000, 5_000, seed)).warning is None


def test_a_mode_with_too_little_weight_is_named():
    """The model has the basin, but its weights there are wrong by a factor of two: a basin of 2 % seems to have 1 %."""
    rng = np.random.default_rng(0)
    labels_model, labels_data = rng.random(50_000) < 0.01, rng.random(20_000) < 0.02
    lw_model, lw_data = 0.3 * rng.normal(size=50_000), 0.3 * rng.normal(size=20_000) + 0.09
    found = forward_diagnostics(lw_model, lw_data, labels_model=labels_model, labels_data=labels_data)
    assert [row.label for row in found.under_represented] == [True]
    correlated = forward_diagnostics(
        lw_model, lw_data, labels_model=labels_model, labels_data=labels_data, independent_data=200
    )
    assert correlated.warning is None


def test_log_z_that_disagrees_warns():
    lw_model, lw_data = both_sides(1.1, 2, 20_000, 5_000, seed=1)
    assert "standard errors apart" in forward_diagnostics(lw_model, lw_data + 0.2).warning


def test_density_zero_and_weight_zero():
    lw_model, lw_data = both_sides(1.1, 2, 20_000, 5_000, seed=1)
    lw_model[:10], lw_data[:10] = -np.inf, np.inf
    found = forward_diagnostics(lw_model, lw_data)
    assert found.forward_ess == 0 and found.elbo == -np.inf and found.eubo == np.inf
    assert found.unseen == 0.002 and "0.2 % of the held-out" in found.warning
    assert found.as_dict()["warning"] == found.warning


def test_refusals():
    fine = np.zeros(5)
    for wrong, message in (
        (([0.0], fine), "lw_model has shape"),
        ((fine, [np.nan, 0.0]), "lw_data is NaN"),
        (([np.inf, 0.0], fine), "lw_model is NaN or"),
        ((fine, [-np.inf, 0.0]), "lw_data is NaN or -inf"),
        (([-np.inf, -np.inf], fine), "all model samples have weight zero"),
        ((fine, [np.inf, np.inf]), "density zero to all"),
    ):
        with pytest.raises(ValueError, match=message):
            forward_diagnostics(*wrong)
    with pytest.raises(ValueError, match="for one side only"):
        forward_diagnostics(fine, fine, labels_data=fine)
    with pytest.raises(ValueError, match="one for each configuration"):
        forward_diagnostics(fine, fine, labels_model=fine[:2], labels_data=fine)
