"""The two halves of an energy-based diffusion generator in one module, and the divergence between them."""

import math

import torch

from openmm_diffsampler.diffusion import NoiseSchedule
from openmm_diffsampler.diffusion.kernels import wrapped
from openmm_diffsampler.networks import Decoder, LatentScore

__all__ = ["LatentDiffusion"]


class LatentDiffusion(torch.nn.Module):
    r"""Decoder q(x | z) and encoder p_E(z | x), a diffusion of the latent conditioned on x, run backwards.

    Noise spoils the latent, :math:`z_s = z + s\varepsilon`; the encoder takes it out again with its score
    s_θ(z_s, x). From s_max, where it starts with N(0, 1 + s_max²), to s_min, where a Gaussian step ends it,

    .. math:: -\log p_E(z \mid x) \le \int_{\ln s_{min}}^{\ln s_{max}}
              \mathrm{E}\,|s\,s_\theta(z_s, x) + \varepsilon|^2\,d\ln s + \text{what depends on no network}

    (the chain rule of the divergence between noising and denoising, in steps that shrink to nothing: with
    ẑ = z_s + s² s_θ each costs |ẑ − z|² d(−1/2s²)). The *denoising* integrand, minus the D that would be there with no
    network at all, has the same mean as the *implicit* one,

    .. math:: s^2 \big(|s_\theta|^2 + 2 \nabla_{z_s} \cdot s_\theta\big),

    by Stein's identity; the divergence is probed by a random direction, and costs a second derivative of the network.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        settings: :class:`~openmm_diffsampler.samplers.EDGSettings`.

    Attributes:
        schedule: :class:`~openmm_diffsampler.diffusion.NoiseSchedule` of s.
        log_range: ln s_max/s_min, what the mean integrand over t is to be multiplied with.

    References:
        Wang, Guo, Wu & Liu, arXiv:2401.02080; Kingma, Salimans, Poole & Ho, Variational diffusion models,
        NeurIPS 2021, for the sum of divergences; Hyvärinen, JMLR 6 (2005), for the implicit form.
    """

    def __init__(self, target, settings):
        super().__init__()
        o = settings
        self.schedule = NoiseSchedule(o.s_min, o.s_max)
        self.log_range = math.log(o.s_max / o.s_min)
        shared = {"scale": o.scale, "length": o.length}
        n_leapfrog = o.n_leapfrog if o.decoder == "hamiltonian" else 0
        self.decoder = Decoder(
            target,
            n_leapfrog=n_leapfrog,
            epsilon=o.epsilon,
            force_clip=o.force_clip,
            width=o.width,
            n_layers=o.n_layers,
            n_blocks=o.n_blocks,
            n_waves=o.n_waves,
            n_descent=o.n_descent,
            descent_step=o.descent_step,
            curved_noise=o.curved_noise,
            **shared,
        )
        self.posterior = LatentScore(
            target,
            self.schedule,
            posterior_width=float(self.decoder.output_noise().detach()) / o.scale,
            width=o.score_width,
            n_layers=o.score_layers,
            n_waves=o.score_waves,
            **shared,
        )

    def forward(self, target, z, xi, noise, t, probes=None, beta=1.0):
        """Configurations, and the integrand of the divergence between encoder and decoder.

        Arguments:
            target: what forces are asked of.
            z, xi: (n, *event_shape) draws of the latent, and of the noise that ends the decoder.
            noise, t: (k n, *event_shape) and (k n,), the noise of the latents and its level, k times for each.
            probes: like noise, random directions of unit covariance for the implicit form; None: denoising.
            beta: inverse temperature, for noise that is curved.

        Returns:
            x (n, *event_shape), ½ ln |C| of the covariance C of its noise, (n,) or a scalar, and the integrand (k n,),
            all differentiable.
        """
        output = self.decoder(z.float(), target, beta)
        x = output.at(xi)
        return x, output.log_volume(), self.integrand(target, z, x.float(), noise, t, probes)

    def integrand(self, target, z, x, noise, t, probes=None):
        """That of :meth:`forward` alone, for configurations x (n, *event_shape)."""
        s = target.per_row(self.schedule.ratio(t))
        tiles = (len(t) // len(z), *(1 for _ in target.event_shape))
        z, x, mean = (values.repeat(tiles) for values in (z, x, self.posterior.mean(x)))
        z_t = wrapped(target, z + s * noise).float()
        if probes is not None:
            z_t.requires_grad_()
        score = self.posterior(z_t, x, t, mean)
        s = s.float()
        if probes is None:
            return (s * score + noise.float()).flatten(1).square().sum(1)
        (product,) = torch.autograd.grad(score, z_t, probes.float(), create_graph=True)
        divergence = (product * probes.float()).flatten(1).sum(1)
        return s.flatten() ** 2 * (score.flatten(1).square().sum(1) + 2 * divergence)
