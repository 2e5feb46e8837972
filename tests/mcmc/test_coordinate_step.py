"""Steps of single coordinates on a denoising posterior: known shares of modes, known widths; z-scores of 4 allowed."""

import torch

from openmm_diffsampler import ManyWell
from openmm_diffsampler.mcmc.coordinate_step import coordinate_step
from openmm_diffsampler.mcmc.posterior import PosteriorSampler
from openmm_diffsampler.mcmc.state import evaluate
from openmm_diffsampler.targets.base import Target


class Springs(Target):
    """u = ½ Σ|x_i − x̄|²/width², of particles whose centroid is free."""

    def __init__(self, n_particles, width):
        super().__init__((n_particles, 2), name="springs", translation_invariant=True)
        self.width = width

    def _evaluate(self, x):
        x = self.project(x) / self.width**2
        return 0.5 * self.width**2 * x.flatten(1).square().sum(1), -x


def test_particles_get_the_width_of_a_gaussian_posterior():
    target, generator, n = Springs(3, 0.7), torch.Generator().manual_seed(0), 4000
    s = torch.full((n,), 0.5, dtype=torch.float64)
    x_t = target.normal(1, generator).expand(n, 3, 2)
    state, kept = evaluate(target, target.project(3 * target.normal(n, generator))), 0.0
    for _ in range(60):
        state, probability = coordinate_step(target, state, x_t, s, generator)
        kept += float(probability.mean()) / 60
    shrink = 0.7**2 / (0.7**2 + 0.5**2)
    variance = shrink * 0.5**2
    away = state.x - shrink * x_t
    square = away.flatten(1).square().sum(1) / variance  # χ² of 4 degrees of freedom
    assert abs(float(square.mean()) - 4) < 4 * (2 * 4 / n) ** 0.5
    assert float((away.mean(0) / (variance / n) ** 0.5).abs().max()) < 4
    assert float(state.x.mean(1).abs().max()) < 1e-9 and 0.2 < kept < 1
    u, score = target.reduced_potential_and_score(state.x)
    assert torch.equal(u, state.u) and torch.equal(score, state.score)


def test_weights_of_modes_are_mended_in_many_dimensions():
    """Of 16 double wells started half and half; shares of each posterior by quadrature."""
    target, generator, n = ManyWell(), torch.Generator().manual_seed(0), 300
    x_0 = target.sample(n, generator)
    sides = torch.where(torch.rand(n, 16, generator=generator) < 0.5, 1.0, -1.0)
    x_0[:, ::2] = sides * x_0[:, ::2].abs()
    s = torch.full((n,), 2.5, dtype=torch.float64)
    x_t = x_0 + 2.5 * target.normal(n, generator)
    grid = torch.linspace(-4, 4, 801, dtype=torch.float64)
    log_density = -(grid**4 - 6 * grid**2 - 0.5 * grid) - (x_t[:, ::2, None] - grid) ** 2 / (2 * 2.5**2)
    wanted = (log_density.softmax(2) * (grid > 0)).sum(2)
    sampler = PosteriorSampler(target, 0.1, 4.0, start="given", n_coordinate_steps=1500, n_trajectories=2)
    found = (sampler(x_t, s, generator, x_0=x_0).x[:, ::2] > 0).double()
    error = ((wanted * (1 - wanted)).sum()).sqrt() / wanted.numel()
    assert abs(float((found - wanted).mean())) < 4 * float(error)
    assert float(wanted.mean()) > 0.7  # where they started is far from it
