"""Weights with an encoder that is wrong about some latents: known shares, known log Z; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.diffusion.kernels import log_normal
from openmm_diffsampler.samplers.trials import is_near, trials_until, with_trials

TARGET = GaussianMixture([[0.0]], scales=1.0)
NOISE, RIGHT = 0.1, 0.6


def trials_of(share, n, most, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return trials_until(lambda rows: torch.rand(len(rows), generator=generator) < share, n, most)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_the_mean_number_of_draws_is_one_over_the_share(share):
    counts = trials_of(share, 20_000, 10_000)
    error = math.sqrt((1 - share) / share**2 / 20_000)
    assert abs(float(counts.mean()) - 1 / share) < 4 * error
    assert float(counts.min()) == 1


def test_no_more_draws_than_allowed():
    drawn = []

    def never(rows):
        drawn.append(len(rows))
        return torch.zeros(len(rows), dtype=torch.bool)

    assert trials_until(never, 3, 7).tolist() == [7, 7, 7] and drawn == [3] * 6
    assert trials_until(lambda rows: rows > 0, 3, 7).tolist() == [7, 1, 1]  # one row, and three draws at once
    assert trials_until(never, 0, 7).shape == (0,) and len(drawn) == 6


@pytest.mark.parametrize("d", [1, 6, 100])
def test_nearly_all_noise_is_near(d):
    target, generator = GaussianMixture([[0.0] * d], scales=1.0), torch.Generator().manual_seed(0)
    noise = target.normal(10_000, generator)
    assert float(is_near(target, noise).double().mean()) > 0.999
    assert not is_near(target, noise + 20).any()


@pytest.mark.parametrize("n_trials", [0, 100])
def test_latents_that_lead_elsewhere_do_not_spoil_log_z(n_trials):
    """x = z + δξ, z ~ N(0, 1), and 40 % of p_E(z | x) around x + 5, which decodes to elsewhere: Z = 1, or 0.6."""
    generator, n = torch.Generator().manual_seed(0), 20_000
    z, noise = TARGET.normal(n, generator), TARGET.normal(n, generator)
    x = z + NOISE * noise
    width = NOISE / math.hypot(1, NOISE)
    mean = x / (1 + NOISE**2)
    log_encoder = torch.logaddexp(
        math.log(RIGHT) + log_normal(TARGET, (z - mean) / width, width),
        math.log(1 - RIGHT) + log_normal(TARGET, (z - mean - 5) / width, width),
    )
    log_weights = log_encoder - TARGET.reduced_potential(x)
    log_weights = log_weights - log_normal(TARGET, z, 1.0) - log_normal(TARGET, noise, NOISE)

    def leads_back(rows):
        wrong = torch.rand(len(rows), 1, generator=generator) > RIGHT
        there = mean[rows] + 5 * wrong + width * TARGET.normal(len(rows), generator)
        return is_near(TARGET, (x[rows] - there) / NOISE)

    if n_trials:
        log_weights = with_trials(log_weights, is_near(TARGET, noise), leads_back, n_trials)
    weights = log_weights.exp()
    error = float(weights.std()) / n**0.5
    assert abs(float(weights.mean()) - (1.0 if n_trials else RIGHT)) < 4 * error < 0.05
