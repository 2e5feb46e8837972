"""Annealed importance sampling: log Z and averages are exact for any number of levels, weights become more even."""

import pytest
import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.mcmc.hamiltonian import hamiltonian_step
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.samplers.annealed_weights import Bridge, annealed, bridge_ends
from openmm_diffsampler.samplers.buffer_start import hamiltonian_step_size


def target():
    return GaussianMixture([[-1.0, 0.0], [1.0, 0.5]], scales=0.6, weights=[1, 3])


def proposal(n, generator):
    """A wide normal, its samples and their log-densities."""
    normal = torch.distributions.MultivariateNormal(torch.zeros(2).double(), 2.0 * torch.eye(2).double())
    y = 2**0.5 * torch.randn(n, 2, generator=generator, dtype=torch.float64)
    return normal.log_prob, y, normal.log_prob(y)


def run(n_levels, step_size=0.5, n=40_000):
    generator = torch.Generator().manual_seed(1)
    log_density, y, log_q = proposal(n, generator)
    return annealed(target(), log_density, y, log_q, n_levels, 3, step_size, generator)


@pytest.mark.parametrize("step_size", [0.5, 1.8])
@pytest.mark.parametrize("n_levels", [1, 2, 6])
def test_log_z_and_averages_are_exact(n_levels, step_size):
    y, log_weights, u = run(n_levels, step_size)
    weights = log_weights.exp()
    assert abs(weights.mean() - 1) < 4 * weights.std() / len(weights) ** 0.5  # Z is one; z of 4
    share = (weights * (y[:, 0] > 0)).mean() / weights.mean()
    exact = 0.25 * float(torch.special.ndtr(torch.tensor(-1 / 0.6))) + 0.75 * float(
        torch.special.ndtr(torch.tensor(1 / 0.6))
    )
    error = (weights * ((y[:, 0] > 0).double() - share)).std() / weights.mean() / len(weights) ** 0.5
    assert abs(share - exact) < 4 * error
    assert torch.equal(u, target().reduced_potential(y))


def test_more_levels_make_weights_more_even():
    spreads = [float(run(n_levels)[1].std()) for n_levels in (1, 3, 9)]
    assert spreads[0] > 1.5 * spreads[1] > 2.2 * spreads[2]


@pytest.mark.parametrize(("n_levels", "evaluations"), [(1, 1), (2, 4), (6, 16)])
def test_levels_cost_their_leapfrog_steps_alone(n_levels, evaluations):
    density, generator = target(), torch.Generator().manual_seed(1)
    log_density, y, log_q = proposal(100, generator)
    annealed(density, log_density, y, log_q, n_levels, 3, 0.5, generator)
    assert density.n_evaluations == 100 * evaluations


def test_a_step_knows_its_ends():
    """Where it arrives, u, log q and the derivatives of both are those of a new evaluation."""
    density, generator = target(), torch.Generator().manual_seed(5)
    log_density, y, _ = proposal(1000, generator)
    start = bridge_ends(density, log_density, y)
    ends = Bridge(density, log_density, 0.5).move(start, 1.0, 3, generator)
    assert 0.1 < float((ends.y == y).all(1).double().mean()) < 0.9  # some stay, some move
    for found, anew in zip(ends, bridge_ends(density, log_density, ends.y), strict=True):
        torch.testing.assert_close(found, anew, rtol=1e-12, atol=1e-12)


def test_samples_without_weight_never_get_one():
    generator = torch.Generator().manual_seed(2)
    log_density, y, log_q = proposal(100, generator)
    log_q[:10] = torch.inf
    log_weights = annealed(target(), log_density, y, log_q, 4, 3, 0.5, generator)[1]
    assert log_weights[:10].isneginf().all() and log_weights[10:].isfinite().all()


def test_score_of_the_bridge_is_its_derivative():
    log_density, y, _ = proposal(20, torch.Generator().manual_seed(3))
    bridge, step = Bridge(target(), log_density, 0.3), 1e-5
    for k in range(2):
        moved = [bridge.reduced_potential(y + s * step * torch.eye(2)[k]) for s in (1, -1)]
        assert torch.allclose((moved[1] - moved[0]) / (2 * step), bridge.score(y)[:, k], atol=1e-7)


def test_step_size_is_found():
    generator = torch.Generator().manual_seed(4)
    log_density, y, _ = proposal(500, generator)
    bridge = Bridge(target(), log_density, 0.5)
    step_size, state = hamiltonian_step_size(bridge, y, 3, generator), evaluate(bridge, y)
    for _ in range(20):
        state, probability = hamiltonian_step(bridge, state, step_size, 3, generator)
    assert abs(float(probability.mean()) - 0.8) < 0.06
