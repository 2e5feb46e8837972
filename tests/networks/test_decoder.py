"""The decoder and the score of its latents: both ends of the noise, symmetry, forces inside."""

import pytest
import torch

from openmm_diffsampler import EDG, GaussianMixture, LennardJones, load_system
from openmm_diffsampler.diffusion import NoiseSchedule
from openmm_diffsampler.networks import Decoder, LatentScore


def test_noise_of_the_prior_at_the_far_end():
    """Whatever the networks say, the score at s → ∞ is that of the prior, −z/s², to the order of 1/s."""
    target, schedule = GaussianMixture([[0.0, 0.0]], scales=1.0), NoiseSchedule(0.01, 1e4)
    torch.manual_seed(0)
    score = LatentScore(target, schedule, scale=1.0, posterior_width=0.1, width=8, n_layers=1)
    for parameter in score.rest.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    z, x = 1e4 * torch.randn(50, 2), torch.randn(50, 2)
    assert float((1e4 * score(z, x, torch.ones(50)).detach() + z / 1e4).abs().max()) < 1e-2


def test_particles_turn_with_their_latent():
    target, generator = LennardJones(5), torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    decoder = Decoder(target, n_leapfrog=2, epsilon=0.002, scale=0.7, width=8, n_layers=2, n_descent=3)
    score = LatentScore(
        target, NoiseSchedule(0.01, 20.0), scale=0.7, posterior_width=0.1, width=8, n_layers=2, length=0.5
    )
    for parameter in (*decoder.parameters(), *score.parameters()):
        if parameter.ndim:
            torch.nn.init.normal_(parameter, std=0.2)
    z, x = target.normal(6, generator).float(), target.normal(6, generator).float()
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator))
    order, t = torch.randperm(5, generator=generator), torch.rand(6)
    close = {"rtol": 2e-3, "atol": 2e-4}
    there = decoder(z, target).mean.float()
    torch.testing.assert_close(decoder(z @ turn, target).mean.float()[:, order], (there @ turn)[:, order], **close)
    torch.testing.assert_close(decoder(z[:, order], target).mean.float(), there[:, order], **close)
    there = score(z, x, t)
    torch.testing.assert_close(score(z @ turn, x @ turn, t), there @ turn, **close)
    torch.testing.assert_close(score(z[:, order], x[:, order], t), there[:, order], **close)
    assert (
        float((there - score(z, z, t)).detach().abs().max()) > 0.01 and float(there.detach().sum(1).abs().max()) < 1e-3
    )


def test_forces_guide_the_decoder():
    """Before any training, leapfrog steps on the target lower the energy that the plain decoder has."""
    target, generator = GaussianMixture([[1.0, 0.0]], scales=0.5), torch.Generator().manual_seed(0)
    z = target.normal(500, generator).float()
    energies = []
    for n_leapfrog in (0, 4):
        decoder = Decoder(target, n_leapfrog=n_leapfrog, epsilon=0.01, scale=2.0, width=8, n_layers=1)
        with torch.no_grad():
            energies.append(float(target.reduced_potential(decoder(z, target).mean).mean()))
    assert energies[1] < 0.7 * energies[0]


@pytest.mark.parametrize("n_leapfrog", [0, 1])
def test_the_centroid_stays_where_forces_are_bounded_one_by_one(n_leapfrog):
    target, generator = LennardJones(5), torch.Generator().manual_seed(0)
    decoder = Decoder(target, n_leapfrog=n_leapfrog, epsilon=0.002, scale=0.7, width=8, n_layers=2, n_descent=5)
    with torch.no_grad():
        there = decoder(target.normal(20, generator).float(), target).mean
    assert float(there.mean(1).abs().max()) < 1e-6


def test_curved_noise_is_refused_where_coordinates_turn():
    target = load_system("alanine-dipeptide").target()
    with pytest.raises(ValueError, match="some that turn"):
        EDG(target, curved_noise=True)
