"""Densities of samples made from latents, with encoders that are wrong: known log Z; z-scores of 4 allowed."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.diffusion.kernels import log_normal
from openmm_diffsampler.samplers.marginal_density import log_marginal_density

TARGET = GaussianMixture([[0.0]], scales=1.0)
NOISE, RIGHT, N = 0.1, 0.6, 20_000


def weights_of(n_draws, width=1.0, wrong_share=0.0):
    """Weights of N(0, 1), log Z = 0, for x = z + δξ, z ~ N(0, 1), and q(x) = N(x; 0, 1 + δ²).

    The encoder is wider than the posterior by `width`, and a share of it lies around x + 5, which leads elsewhere.
    """
    generator = torch.Generator().manual_seed(0)
    z, noise = TARGET.normal(N, generator), TARGET.normal(N, generator)
    x = z + NOISE * noise
    scale = width * NOISE / math.hypot(1, NOISE)
    mean = x / (1 + NOISE**2)

    def log_ratio(z):
        of_joint = log_normal(TARGET, z, 1.0) + log_normal(TARGET, (x - z) / NOISE, NOISE)
        parts = [
            math.log(share) + log_normal(TARGET, (z - mean - shift) / scale, scale)
            for share, shift in ((1 - wrong_share, 0.0), (wrong_share, 5.0))
            if share
        ]
        return of_joint - torch.logsumexp(torch.stack(parts), 0)

    def draw():
        wrong = torch.rand(N, 1, generator=generator) < wrong_share
        return log_ratio(mean + 5 * wrong + scale * TARGET.normal(N, generator))

    log_q = log_marginal_density(log_ratio(z), draw, n_draws)
    return (-TARGET.reduced_potential(x) - log_q).exp(), log_q, x


def off_by(weights, exact):
    return abs(float(weights.mean()) - exact) / (float(weights.std()) / len(weights) ** 0.5)


@pytest.mark.parametrize("width", [0.7, 1.3])
@pytest.mark.parametrize("n_draws", [0, 1, 8])
def test_weights_have_the_right_mean_for_a_wrong_encoder(n_draws, width):
    weights = weights_of(n_draws, width)[0]
    assert off_by(weights, 1.0) < 4 and float(weights.std()) < 2


def test_more_draws_are_nearer_to_the_density():
    errors = []
    for n_draws in (0, 4, 64):
        _, log_q, x = weights_of(n_draws, width=2.0)
        exact = log_normal(TARGET, x / math.hypot(1, NOISE), math.hypot(1, NOISE))
        errors.append(float((log_q - exact).square().mean().sqrt()))
    assert errors[0] > 1.5 * errors[1] > 3 * errors[2] and errors[2] < 0.15


@pytest.mark.parametrize("n_draws", [0, 3, 30])
def test_latents_that_lead_elsewhere_are_missed_by_a_power_of_their_share(n_draws):
    missed = (1 - RIGHT) ** (n_draws + 1)
    weights = weights_of(n_draws, wrong_share=1 - RIGHT)[0]
    assert off_by(weights, 1 - missed) < 4


def test_draws_that_fail_count_as_nothing():
    own = torch.tensor([0.0, 1.0])
    found = log_marginal_density(own, lambda: torch.tensor([math.nan, -math.inf]), 3)
    torch.testing.assert_close(found, own.double() - math.log(4))
