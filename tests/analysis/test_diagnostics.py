import numpy as np
import pytest

from openmm_diffsampler.analysis import chains_as_array, effective_sample_size, r_hat


@pytest.mark.parametrize("rho", [-0.3, 0.0, 0.5, 0.9])
def test_ess_of_autoregressive_chains(ar1, rho):
    """ESS = n (1 - rho)/(1 + rho) for AR(1), within 10 % at 80,000 draws."""
    values = ar1(rho, 10_000, 8, seed=3)
    assert effective_sample_size(values) == pytest.approx(values.size * (1 - rho) / (1 + rho), rel=0.1)


def test_ess_predicts_the_spread_of_means(ar1):
    """The variance of the mean over 200 repeats is var/ESS, within 25 %."""
    repeats = [ar1(0.8, 400, 4, seed) for seed in range(200)]
    predicted = np.mean([1 / effective_sample_size(values) for values in repeats])
    assert np.var([values.mean() for values in repeats]) == pytest.approx(predicted, rel=0.25)


def test_disagreeing_chains_have_a_small_ess(ar1):
    values = ar1(0.0, 500, 4, seed=0)
    assert effective_sample_size(values + 10 * np.arange(4)) < 10 < 1500 < effective_sample_size(values)


def test_antithetic_ess_is_capped():
    values = np.tile([1.0, -1.0], 500) + 0.01 * np.random.default_rng(0).normal(size=1000)
    assert effective_sample_size(values) == pytest.approx(1000 * np.log10(1000))


def test_ess_special_cases():
    assert effective_sample_size(np.full((100, 3), 2.5)) == 1.0
    assert effective_sample_size(np.random.default_rng(0).normal(size=(3, 7))) == 7.0
    # Chains that stand still in different places are worth about one draw each.
    assert effective_sample_size(np.tile(np.arange(5.0), (100, 1))) == pytest.approx(5, rel=0.05)


def test_r_hat_of_independent_draws(ar1):
    assert 0.99 < r_hat(ar1(0.0, 1000, 4, seed=5)) < 1.01


def test_r_hat_of_shifted_chains(ar1):
    assert r_hat(ar1(0.0, 1000, 4, seed=5) + np.array([0, 0, 0, 2.0])) > 1.1


def test_r_hat_of_chains_of_different_width(ar1):
    """Only the folded part sees a difference of scales."""
    assert r_hat(ar1(0.0, 1000, 4, seed=5) * np.array([1, 1, 1, 3.0])) > 1.1


def test_r_hat_of_a_drifting_chain():
    assert r_hat(np.linspace(0, 1, 200)) > 1.1


def test_r_hat_ignores_monotone_transformations(ar1):
    """Exactly so for the bulk part, which a common shift of one chain makes the larger one."""
    values = ar1(0.0, 500, 4, seed=1) + np.array([0, 0, 0, 2.0])
    assert r_hat(np.exp(values)) == pytest.approx(r_hat(values), rel=1e-12)


def test_r_hat_special_cases():
    assert np.isnan(r_hat(np.ones((50, 2))))
    assert np.isnan(r_hat(np.random.default_rng(0).normal(size=(3, 2))))
    assert r_hat(np.tile(np.arange(4.0), (50, 1))) == np.inf
    two_valued = np.random.default_rng(0).integers(0, 2, size=(1000, 4))
    assert 0.99 < r_hat(two_valued) < 1.01


@pytest.mark.parametrize("function", [effective_sample_size, r_hat])
@pytest.mark.parametrize(
    ("values", "message"),
    [([[1.0], [np.nan]], "1 of 2 values"), (np.zeros((2, 2, 2)), "shape"), (np.zeros((0, 3)), "at least one draw")],
)
def test_refusals(function, values, message):
    with pytest.raises(ValueError, match=message):
        function(values)


def test_chains_as_array_orders_by_draw():
    array = chains_as_array([3, 1, 2, 20, 10, 30], chain=[5, 5, 5, 2, 2, 2], draw=[30, 10, 20, 8, 7, 9])
    assert array.tolist() == [[10, 1], [20, 2], [30, 3]]


def test_chains_as_array_cuts_to_the_shortest():
    array = chains_as_array(np.arange(7), chain=[0, 0, 0, 0, 1, 1, 1], draw=[0, 1, 2, 3, 0, 1, 2])
    assert array.tolist() == [[0, 4], [1, 5], [2, 6]]


def test_chains_as_array_leaves_out_a_stub():
    array = chains_as_array(np.arange(101), chain=[0] * 100 + [1], draw=[*range(100), 0])
    assert array[:, 0].tolist() == list(range(100))


def test_chains_as_array_refuses_other_lengths():
    with pytest.raises(ValueError, match=r"give \(n,\) each"):
        chains_as_array([1, 2], chain=[0], draw=[0, 1])
