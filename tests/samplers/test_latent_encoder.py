"""Densities of latents given samples: linear and folded generators, draws; z-scores of 4 allowed."""

import math

import torch

from openmm_diffsampler import GaussianMixture
from openmm_diffsampler.diffusion.kernels import log_normal
from openmm_diffsampler.networks import Generator
from openmm_diffsampler.samplers.dikl_settings import DiKLSettings
from openmm_diffsampler.samplers.latent_encoder import LatentEncoder, LatentMixture


def test_encoder_weights_of_a_linear_generator_are_exact():
    """x = a z + s ξ is a Gaussian of variance a² + s²: Newton finds the posterior of z from any guess."""
    target = GaussianMixture(torch.zeros(1, 3), scales=1.3)
    settings = DiKLSettings(scale=1.3, encoder_width=8, encoder_layers=1, output_noise=0.4, n_newton=1)
    encoder, g = LatentEncoder(target, settings), Generator(target, scale=1.3, width=8, n_layers=1)
    generator = torch.Generator().manual_seed(0)
    z, noise = target.normal(100, generator), target.normal(100, generator)
    x = 1.3 * z + 0.4 * noise
    variance = 1.3**2 + 0.4**2
    log_x = encoder.latents(g, x).log_density(z) - log_normal(target, z, 1.0) - log_normal(target, noise, 0.4)
    exact = 0.5 * (x.square().sum(1) / variance + 3 * math.log(2 * math.pi * variance))
    torch.testing.assert_close(log_x, exact, rtol=1e-4, atol=1e-3)


def test_draws_of_latents_have_their_density():
    """A mixture of two Gaussians for each row: E_q[p_E/q h] over z ~ q is E[h] over draws."""
    n, generator = 20_000, torch.Generator().manual_seed(0)
    root = torch.tensor([[2.0, 0.5], [0.0, 1.5]], dtype=torch.float64).expand(2, n, 2, 2)
    modes = torch.tensor([[1.0, 0.0], [-0.5, 0.3]], dtype=torch.float64)[:, None].expand(2, n, 2)
    shares = torch.tensor([0.3, 0.7], dtype=torch.float64).log()[:, None].expand(2, n)
    latents = LatentMixture(shares, modes, root, torch.eye(2, dtype=torch.float64), (2,))
    target = GaussianMixture(torch.zeros(1, 2), scales=1.5)
    z, drawn = target.sample(n, generator), latents.draw(generator)
    ratio = (latents.log_density(z) + target.reduced_potential(z)).exp()
    for h in (torch.ones_like, lambda z: z, lambda z: z**2, lambda z: z.roll(1, 1) * z):
        left, right = ratio[:, None] * h(z), h(drawn)
        error = ((left.var(0) + right.var(0)) / n).sqrt()
        assert ((left.mean(0) - right.mean(0)).abs() < 4 * error + 1e-9).all()


def test_encoder_weights_of_a_folded_generator_find_both_latents():
    """x = |z| + s ξ, whose density is 2N(x; 0, 1): log Z of the half-normal target e^{−x²/2} on x > 0 is ½ ln(π/2)."""
    target = GaussianMixture([[0.0]], scales=1.0)
    settings = DiKLSettings(encoder_width=32, encoder_layers=2, output_noise=0.05)
    torch.manual_seed(0)
    encoder, generator = LatentEncoder(target, settings), torch.Generator().manual_seed(0)
    z = target.normal(4000, generator)
    noise = target.normal(4000, generator)
    x = z.abs() + 0.05 * noise
    losses = list(encoder.fit((z, x), 300, 256, generator))
    assert losses[-1] < losses[0]
    log_ratio = encoder.latents(lambda z: z.abs(), x).log_density(z) - log_normal(target, z, 1.0)
    log_weights = (
        log_ratio - log_normal(target, noise, 0.05) + torch.where(x[:, 0] > 0.2, -0.5 * x[:, 0] ** 2, -torch.inf)
    )
    weights = log_weights.exp()
    exact = math.sqrt(math.pi / 2) * math.erfc(0.2 / math.sqrt(2))
    assert abs(float(weights.mean()) - exact) < 4 * float(weights.std()) / 4000**0.5
    assert float(weights.std() / weights.mean()) < 1.2  # half of the mass found each way
