"""Maximum mean discrepancies against sums written out, and the calibration of the permutation test."""

import pytest
import torch
from scipy.stats import kstest

from openmm_diffsampler.analysis import maximum_mean_discrepancy, mmd


def normal(n, d=2, seed=0, dtype=torch.float64):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_against_sums_written_out():
    x, y = normal(7, seed=1), normal(5, seed=2) + 0.5
    z = torch.cat([x, y])
    squares = (z[:, None] - z).square().sum(-1)
    width = squares.sum() / (12 * 11) / 4
    k = sum((-squares / (width * 2**i)).exp() for i in range(5))
    xx, yy, xy = k[:7, :7], k[7:, 7:], k[:7, 7:]
    found = maximum_mean_discrepancy(x, y)
    assert found.biased == pytest.approx(float(xx.mean() + yy.mean() - 2 * xy.mean()))
    off = (xx.sum() - xx.trace()) / 42 + (yy.sum() - yy.trace()) / 20 - 2 * xy.mean()
    assert found.unbiased == pytest.approx(float(off)) and found.p_value is None


def test_single_precision_of_large_sets_is_enough(monkeypatch):
    x, y = normal(900, seed=1), normal(1100, seed=2) * 1.02
    double = maximum_mean_discrepancy(x, y)
    monkeypatch.setattr(mmd, "_LARGE", 100)
    single = maximum_mean_discrepancy(x, y)
    assert abs(single.unbiased - double.unbiased) < 1e-6 and abs(single.biased - double.biased) < 1e-6


def test_p_values_are_uniform_for_equal_distributions():
    """100 pairs of sets; Kolmogorov–Smirnov p > 0.01."""
    generator = torch.Generator().manual_seed(0)
    p = [
        maximum_mean_discrepancy(
            normal(60, seed=2 * k), normal(80, seed=2 * k + 1), n_permutations=99, generator=generator
        ).p_value
        for k in range(100)
    ]
    assert kstest(p, "uniform").pvalue > 0.01


def test_different_distributions_are_told_apart():
    generator = torch.Generator().manual_seed(0)
    found = maximum_mean_discrepancy(normal(300, 6), normal(300, 6, 1) + 0.4, n_permutations=99, generator=generator)
    assert found.p_value == 0.01 and found.unbiased > 0


@pytest.mark.parametrize("shapes", [((1, 2), (5, 2)), ((5, 2), (5, 3))])
def test_wrong_shapes(shapes):
    with pytest.raises(ValueError, match="have shapes"):
        maximum_mean_discrepancy(*(torch.zeros(shape) for shape in shapes))


def test_points_that_are_all_alike_and_numbers_that_are_not_finite():
    same = maximum_mean_discrepancy(torch.zeros(5, 2), torch.zeros(6, 2), n_permutations=19)
    assert same.unbiased == pytest.approx(0, abs=1e-12) and same.p_value > 0.5
    with pytest.raises(ValueError, match="NaN or infinite"):
        maximum_mean_discrepancy(torch.full((5, 2), torch.nan), torch.zeros(6, 2))
