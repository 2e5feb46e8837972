"""Samples and weights against known normalisations, with exact and with deliberately imperfect scores."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture, ManyWell, gmm40
from openmm_diffsampler.diffusion import NoiseSchedule, flow_samples, path_log_weights, path_samples
from openmm_diffsampler.targets.base import Target

N = 2000


class HarmonicCluster(Target):
    """u = ½ Σ|x_i − x̄|²/τ²: log Z = (N − 1) d/2 · ln 2πτ² in the subspace of fixed centroid."""

    def __init__(self, n_particles=5, n_dimensions=3, tau=0.7):
        super().__init__((n_particles, n_dimensions), name="harmonic cluster", translation_invariant=True)
        self.tau, self.log_Z = tau, self_log_z(n_particles, n_dimensions, tau)

    def _evaluate(self, x):
        centred = self.project(x)
        return centred.square().sum((1, 2)) / (2 * self.tau**2), -centred / self.tau**2

    def noised_score(self, x, alpha, sigma):
        return -self.project(x) / ((alpha * self.tau) ** 2 + sigma**2).reshape(-1, 1, 1)


def self_log_z(n_particles, n_dimensions, tau):
    return (n_particles - 1) * n_dimensions / 2 * math.log(2 * math.pi * tau**2)


def exact_score(target, schedule, factor=1.0):
    """The score of the noised target, made wrong by a factor and a wobble where `factor` is not 1."""

    def score(x, t):
        exact = target.noised_score(x, schedule.alpha(t), schedule.sigma(t))
        if factor == 1.0:
            return exact
        width = (1 + schedule.sigma(t) ** 2).sqrt().reshape(-1, *(1 for _ in target.event_shape))
        return factor * exact + 0.05 * torch.sin(x / width) / width

    return score


def log_mean_and_error(log_weights):
    """log of the mean weight and its standard error by the delta method."""
    weights = (log_weights - log_weights.max()).exp()
    mean = weights.mean()
    return float(mean.log() + log_weights.max()), float(weights.std() / mean / len(weights) ** 0.5)


def effective_share(log_weights):
    weights = log_weights.softmax(0)
    return float(1 / weights.square().sum() / len(weights))


@pytest.mark.parametrize("kind", ["VE", "VP"])
@pytest.mark.parametrize("shape", ["geometric", "linear", "cosine"])
def test_paths_of_a_gaussian_with_its_own_kernels_weigh_the_same(kind, shape):
    """With the exact score and the width of the target every reverse kernel is exact."""
    target, schedule = HarmonicCluster(), NoiseSchedule(0.05, 5.0, kind=kind, shape=shape)
    x, log_weights, _ = path_samples(
        target, exact_score(target, schedule), schedule, 100, 12, torch.Generator().manual_seed(0), width=target.tau
    )
    torch.testing.assert_close(log_weights, torch.full((100,), target.log_Z, dtype=torch.float64), atol=1e-9, rtol=0)
    assert x.mean(1).abs().max() < 1e-12


@pytest.mark.parametrize("kind", ["VE", "VP"])
def test_likelihood_of_a_gaussian_by_the_flow(kind):
    """Against the density of the noised Gaussian at the smallest noise; errors fall with the square of the step."""
    target, schedule = HarmonicCluster(3, 2), NoiseSchedule(0.01, 10.0, kind=kind)
    zero = torch.tensor(0.0, dtype=torch.float64)
    variance = float((schedule.alpha(zero) * target.tau) ** 2 + schedule.sigma(zero) ** 2)
    score, errors = exact_score(target, schedule), []
    for n_steps in (100, 200):
        generator = torch.Generator().manual_seed(1)
        x, log_weights, _ = flow_samples(target, score, schedule, 50, n_steps, generator, width=target.tau)
        log_q = -x.square().sum((1, 2)) / (2 * variance) - self_log_z(3, 2, variance**0.5)
        errors.append((log_weights + target.reduced_potential(x) + log_q).abs().max().item())
    assert errors[1] < 8e-3 and 3 < errors[0] / errors[1] < 5


def test_probes_estimate_the_divergence():
    """Log-densities differ by at most 4 standard deviations of the trace estimate."""
    target, schedule = HarmonicCluster(), NoiseSchedule(0.01, 10.0)
    score, n_probes = exact_score(target, schedule), 100
    exact, estimated = (
        flow_samples(target, score, schedule, 20, 40, torch.Generator().manual_seed(2), **probes)
        for probes in ({}, {"n_probes": n_probes})
    )
    change = 12 * math.log(10 / target.tau)  # of log q along the flow, in 12 dimensions
    assert (exact[1] - estimated[1]).abs().max() < 4 * change * math.sqrt(2 / (12 * n_probes))
    assert estimated[0].shape == (20, 5, 3)


@pytest.mark.parametrize("way", ["path", "flow"])
def test_log_z_of_gmm40_with_an_imperfect_score(way):
    """Within 3 standard errors of zero."""
    target, schedule = gmm40(), NoiseSchedule(0.1, 60.0)
    score, generator = exact_score(target, schedule, 0.97), torch.Generator().manual_seed(3)
    if way == "path":
        _, log_weights, _ = path_samples(target, score, schedule, N, 200, generator, width=1.3, prior_scale=70.0)
    else:
        _, log_weights, _ = flow_samples(target, score, schedule, N, 100, generator, prior_scale=70.0)
    value, error = log_mean_and_error(log_weights)
    assert error < 0.1 and abs(value) < 3 * error
    assert 0.02 < effective_share(log_weights) < 0.98


def many_well_score(schedule, target):
    """Not the score of many wells, but that of two Gaussians a pair, which is near it."""
    pair = GaussianMixture([[-1.70, 0.0], [1.77, 0.0]], scales=[[0.245, 1.0], [0.225, 1.0]], weights=[0.1557, 0.8443])

    def score(x, t):
        pairs = x.reshape(-1, 2)
        alpha, sigma = (
            level(t).repeat_interleave(target.event_shape[0] // 2) for level in (schedule.alpha, schedule.sigma)
        )
        return pair.noised_score(pairs, alpha, sigma).reshape(x.shape)

    return score


@pytest.mark.parametrize("way", ["path", "flow"])
def test_log_z_of_mw32_with_an_imperfect_score(way):
    """Within 3 standard errors of the exact value, in 32 dimensions."""
    target, schedule = ManyWell(), NoiseSchedule(0.02, 10.0)
    score, generator = many_well_score(schedule, target), torch.Generator().manual_seed(4)
    if way == "path":
        _, log_weights, _ = path_samples(target, score, schedule, N // 2, 400, generator, width=0.3, prior_scale=10.2)
    else:
        _, log_weights, _ = flow_samples(target, score, schedule, N // 4, 50, generator, prior_scale=10.2)
    value, error = log_mean_and_error(log_weights)
    assert error < 0.5 and abs(value - target.log_Z) < 3 * error


def test_weights_of_noised_paths_are_those_of_the_same_paths():
    """⟨e^{−f}⟩ over noised paths of exact samples is 1/Z, as ⟨e^f⟩ over reverse paths is Z; 4 standard errors."""
    target = GaussianMixture([[-1.5, 0.5], [1.0, -0.5]], scales=[0.5, 0.8], weights=[0.3, 0.7])
    schedule, generator, n = NoiseSchedule(0.1, 5.0), torch.Generator().manual_seed(0), 20_000

    def score(x, t):
        return 0.95 * target.noised_score(x, 1.0, schedule.sigma(t))

    options = {"width": 0.7, "prior_scale": 5.2}
    forward = path_log_weights(target, score, schedule, target.sample(n, generator), 30, generator, **options)
    inverse = (-forward).exp()
    assert abs(inverse.mean() - 1) < 4 * inverse.std() / n**0.5
    weights = path_samples(target, score, schedule, n, 30, generator, **options).log_weights.exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / n**0.5
