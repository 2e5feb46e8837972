"""The density of a sample that was made from a latent, averaged over latents of an encoder."""

import math

import torch

__all__ = ["log_marginal_density"]


def log_marginal_density(own, draw, n_draws):
    r"""Estimates of log q(x), :math:`q(x) = \int q(z)\,q(x \mid z)\,dz`, of samples x made from latents z_0:

    .. math:: \hat q(x) = \frac{1}{K + 1} \sum_{k=0}^{K} r(z_k), \qquad
              r(z) = \frac{q(z)\,q(x \mid z)}{p_E(z \mid x)}, \qquad z_1, \dots, z_K \sim p_E(z \mid x).

    :math:`1/\hat q` has the mean 1/q(x), for any encoder p_E and any K: z_0 is a draw of the posterior
    q(z | x) = r(z) p_E(z | x)/q(x), so that

    .. math:: \mathrm{E}\Big[\frac{1}{\hat q}\Big] = \frac{1}{q(x)} \int \frac{r(z_0)}{\hat q}
              \prod_{k=0}^{K} p_E(z_k \mid x)\,dz_k = \frac{1}{q(x)},

    since all latents play the same part there, and r(z_k)/q̂ is one on average over k. With K = 0 this is the published
    estimator. It varies as p_E(z | x)/q(z | x) does, and where an encoder leaks, to latents that lead elsewhere, its
    mean is right in name alone: those are never sampled. Where a share A of p_E leads back to x, what is missed for
    that is :math:`(1 - A)^{K+1}` of the mean.

    p_E may as well be a density of paths that end in a latent, and q(z) times that of the noise that leads back.

    Arguments:
        own: (n,) log r(z_0).
        draw: function without arguments: log r (n,) of new latents, one for each sample; NaN counts as r = 0.
        n_draws: K.

    Returns:
        log q̂ (n,) in double precision.

    References:
        Sobolev & Vetrov, Importance weighted hierarchical variational inference, NeurIPS 2019, arXiv:1905.03290.

    Example:
        An encoder that knows nothing, z ~ N(0, 1), of x = z + ξ: r = N(x; z, 1), and q(x) = N(x; 0, 2).

        >>> from openmm_diffsampler import GaussianMixture
        >>> target, generator = GaussianMixture([[0.0]], scales=1.0), torch.Generator().manual_seed(0)
        >>> def log_normal(away):
        ...     return -0.5 * (away[:, 0].square() + math.log(2 * math.pi))
        >>> z, xi = target.normal(50_000, generator), target.normal(50_000, generator)
        >>> def draw():
        ...     return log_normal(z + xi - target.normal(50_000, generator))
        >>> log_q = log_marginal_density(log_normal(xi), draw, 9)
        >>> weights = (-0.5 * (z + xi)[:, 0].square() - log_q).exp()  # of e^{−x²/2}
        >>> round(float(weights.mean()), 1), round((2 * math.pi) ** 0.5, 1)
        (2.5, 2.5)
    """
    total = own.double()
    for _ in range(n_draws):
        total = torch.logaddexp(total, draw().double().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf))
    return total - math.log(n_draws + 1)
