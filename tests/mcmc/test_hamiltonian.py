"""Motion under the tether, and one Hamiltonian step on posteriors that are known; z-scores of 4 standard errors."""

import math

import pytest
import torch

from openmm_diffsampler import GaussianMixture, load_system
from openmm_diffsampler.mcmc.hamiltonian import Tether, hamiltonian_step
from openmm_diffsampler.mcmc.state import initial_state


def test_motion_under_the_tether_keeps_energy_and_volume_and_reverses():
    generator = torch.Generator().manual_seed(0)
    x, v, noised = (torch.randn(50, 4, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    scale = torch.tensor([0.0, 0.01, 0.5, 3.0], dtype=torch.float64).reshape(4, 1)
    tether, h = Tether(noised, scale), torch.full((50, 1, 1), 0.7, dtype=torch.float64)

    def energy(x, v):
        return tether.energy(x) + v.flatten(1).square().sum(1) / 2

    moved, turned = tether.move(x, v, h)
    torch.testing.assert_close(energy(moved, turned), energy(x, v))
    back, velocity = tether.move(moved, -turned, h)
    torch.testing.assert_close(back, x)
    torch.testing.assert_close(velocity, -v)
    torch.testing.assert_close(moved[:, 0], x[:, 0] + 0.7 * v[:, 0])  # free where the scale is zero

    def flow(both):
        return torch.cat([t.flatten() for t in Tether(noised[:1], scale).move(*both.reshape(2, 1, 4, 3), h[:1])])

    jacobian = torch.autograd.functional.jacobian(flow, torch.stack([x[0], v[0]]).flatten())
    assert torch.linalg.det(jacobian) == pytest.approx(1)


@pytest.mark.parametrize("n_leapfrog", [1, 4], ids=["mala", "hmc"])
@pytest.mark.parametrize("step", [0.4, 0.7])
def test_step_has_the_moments_of_the_posterior(n_leapfrog, step):
    # p = N(0, τ²), x̃ = 1.5: the posterior is N(x̃ τ²/(τ²+s²), τ²s²/(τ²+s²)).
    tau, s, n = 2.0, 0.7, 20_000
    target = GaussianMixture(torch.zeros(1, 1), scales=tau)
    generator = torch.Generator().manual_seed(0)
    state = initial_state(target, torch.zeros(1), n)
    tether = Tether(torch.full((n, 1), 1.5, dtype=torch.float64), s)
    for _ in range(60):
        state, _ = hamiltonian_step(target, state, step, n_leapfrog, generator, tether)
    mean, variance = 1.5 * tau**2 / (tau**2 + s**2), tau**2 * s**2 / (tau**2 + s**2)
    assert abs(state.x.mean() - mean) < 4 * math.sqrt(variance / n)
    assert abs(state.x.var() - variance) < 4 * variance * math.sqrt(2 / n)


def test_tethers_by_coordinate_have_their_own_posteriors():
    # p = N(0, τ²I), one coordinate tight, one loose, one free.
    tau, n = 1.0, 20_000
    target = GaussianMixture(torch.zeros(1, 3), scales=tau)
    generator = torch.Generator().manual_seed(1)
    state = initial_state(target, torch.zeros(3), n)
    scale = torch.tensor([0.05, 2.0, 0.0], dtype=torch.float64)
    tether = Tether(torch.full((n, 3), 1.0, dtype=torch.float64), scale)
    for _ in range(80):
        state, _ = hamiltonian_step(target, state, 0.5, 4, generator, tether)
    for k, s in enumerate((0.05, 2.0, math.inf)):
        precision = 1 / tau**2 + 1 / s**2
        mean, variance = 1 / s**2 / precision, 1 / precision
        assert abs(state.x[:, k].mean() - mean) < 4 * math.sqrt(variance / n)
        assert abs(state.x[:, k].var() - variance) < 4 * variance * math.sqrt(2 / n)


def test_a_stiff_tether_leaves_the_acceptance_to_the_target():
    """With a step of ten times the noise scale, which is cut to the scale, nothing is lost."""
    molecule = load_system("lj13")
    target = molecule.target()
    state = initial_state(target, molecule.positions, 200)
    generator = torch.Generator().manual_seed(0)
    tether = Tether(state.x + 0.001 * target.normal(200, generator), 0.001)
    _, probability = hamiltonian_step(target, state, 0.01, 10, generator, tether)
    assert probability.mean() > 0.99


def test_inverse_temperature():
    target = GaussianMixture(torch.zeros(1, 1), scales=1.0)
    generator = torch.Generator().manual_seed(0)
    state = initial_state(target, torch.zeros(1), 20_000)
    for _ in range(50):
        state, _ = hamiltonian_step(target, state, 1.0, 3, generator, inverse_temperature=0.25)
    assert abs(state.x.var() - 4) < 4 * 4 * math.sqrt(2 / 20_000)
