"""Cooling: weights whose mean is known, whatever steps and levels; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.samplers.cooling import Cooling

N = 4000


@pytest.fixture
def hot():
    """Samples of a Gaussian of width 0.5 at β = 0.2, and log Z there."""
    target, generator = GaussianMixture([[1.0, 0.0, 0.0]], scales=0.5), torch.Generator().manual_seed(0)
    x = target.means[0] + 0.5 / math.sqrt(0.2) * target.normal(N, generator)
    return target, evaluate(target, x), 1.5 * (1 - 0.2) * math.log(2 * math.pi * 0.25) - 1.5 * math.log(0.2)


@pytest.mark.parametrize(("n_levels", "steps"), [(0, (1.0, 0.5)), (1, (1.0, 0.5)), (10, (1.0, 0.5)), (10, (3.0, 3.0))])
def test_weights_lead_from_one_normalisation_to_the_other(hot, n_levels, steps):
    """log Z = 0 at β = 1; also with steps that are nearly always rejected."""
    target, state, log_Z = hot
    state, log_weights = Cooling(0.2, n_levels, 3, steps).run(target, state, torch.Generator().manual_seed(1))
    w = (log_weights + log_Z).exp()
    assert abs(float(w.mean()) - 1) < 4 * float(w.std()) / N**0.5
    mean = float((w * (state.x[:, 0] - 1).square()).mean())  # 0.25
    assert abs(mean - 0.25) < 4 * float((w * ((state.x[:, 0] - 1).square() - 0.25)).std()) / N**0.5
    torch.testing.assert_close(state.u, target.reduced_potential(state.x))


def test_more_levels_make_weights_even(hot):
    target, state, _ = hot
    spread = []
    for n_levels in (0, 20, 200):
        _, log_weights = Cooling(0.2, n_levels, 3, (1.0, 0.5)).run(target, state, torch.Generator().manual_seed(1))
        spread.append(float(log_weights.std()))
    assert spread[1] < 0.7 * spread[0] and spread[2] < 0.6 * spread[1]


def test_no_levels_leave_samples_where_they_are(hot):
    target, state, _ = hot
    evaluations = target.n_evaluations
    there, log_weights = Cooling(0.2, 0, 3, (1.0, 0.5)).run(target, state, torch.Generator().manual_seed(1))
    assert torch.equal(there.x, state.x) and target.n_evaluations == evaluations
    torch.testing.assert_close(log_weights, -0.8 * state.u)


def test_at_the_temperature_of_the_target_weights_stay(hot):
    """Trajectories alone, which move samples of infinite energy, too."""
    target, state, _ = hot
    state.u[0] = torch.inf
    there, log_weights = Cooling(1.0, 20, 3, (0.5, 0.5)).run(target, state, torch.Generator().manual_seed(1))
    assert not log_weights.any() and bool(there.u.isfinite().all())
    assert float(there.u.mean()) < float(state.u[1:].mean()) - 1
