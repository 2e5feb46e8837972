"""Scores of noised densities: identities that express them by the density itself, and estimators from its energy."""

from typing import NamedTuple

import torch

__all__ = ["PosteriorDraws", "estimate_score", "mixing_weight", "posterior_draws", "posterior_score"]

#: Configurations that an estimator evaluates at a time.
_CHUNK = 65_536


def mixing_weight(alpha, sigma, width):
    r"""c = α²τ²/(α²τ² + σ²): how much of the target score identity to take for a target of width τ.

    For a Gaussian of width τ the mix then has no variance at all. τ = 1 in a variance-preserving schedule is the mixed
    score identity, c = α². [derived here from the posterior of a Gaussian]

    Arguments:
        alpha, sigma: numbers or tensors.
        width: τ, in the units of x.

    Example:
        >>> mixing_weight(1.0, 2.0, 1.0)
        0.2
    """
    signal = (alpha * width) ** 2
    return signal / (signal + sigma**2)


def posterior_score(x_t, x, score, alpha, sigma, c):
    r"""What each draw x of the denoising posterior p(x | x_t) contributes to ∇log p_t(x_t), of which it is the mean.

    .. math:: c\,\frac{-\nabla u(x)}{\alpha} + (1 - c)\,\frac{\alpha x - x_t}{\sigma^2}

    c = 1 is the target score identity (TSI), c = 0 the denoising one (DSI), c = α² with α² + σ² = 1 the mixed one
    (MSI); every c is exact.

    Arguments:
        x_t: noised configurations, with a shape that broadcasts with that of x.
        x: draws of the posterior.
        score: −∇u at x, like x.
        alpha, sigma, c: numbers, or tensors that broadcast with x.

    References:
        Vincent, Neural Computation 23 (2011); De Bortoli et al., Target score matching, arXiv:2402.08667.
    """
    return c * score / alpha + (1 - c) * (alpha * x - x_t) / sigma**2


def estimate_score(target, x_t, alpha, sigma, n_samples, generator, *, c=1.0, x_0=None):
    r"""∇log p_t(x_t) from energies and scores at K draws x⁽ⁱ⁾ ~ N(x_t/α, (σ/α)²), weighted by e^{−u}.

    With c = 1 it is the estimator of iDEM,

    .. math:: S_K(x_t) = \sum_i \mathrm{softmax}_i(-u(x^{(i)}))\,\frac{-\nabla u(x^{(i)})}{\alpha}
              = \nabla_{x_t} \log \frac1K \sum_i e^{-u(x^{(i)})},

    biased for finite K; other c mix in the denoising identity (see :func:`posterior_score`), which has the lower
    variance at large σ.

    Given the configuration `x_0` that x_t is a noised copy of, it takes the place of one draw. Where x_0 is in
    equilibrium, it is itself a draw of p(x | x_t), one of the others by the weights is another one (a Gibbs step over
    the K, known as iterated sampling importance resampling), and so the estimate has *no bias* for any K.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        x_t: (n, *event_shape).
        alpha, sigma: a number, or (n,).
        n_samples: K, evaluations a row.
        generator: torch Generator.
        c: a number, or (n,).
        x_0: (n, *event_shape), or None.

    Returns:
        scores (n, *event_shape) and the effective number of draws (n,), (Σw)²/Σw²; both zero in rows all of whose
        draws have infinite energy.

    References:
        Akhound-Sadegh et al., Iterated denoising energy matching, ICML 2024, arXiv:2402.06121; Andrieu, Lee & Vihola,
        Uniform ergodicity of the iterated conditional SMC, Bernoulli 24 (2018), for the step over the K.

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> target = GaussianMixture([[0.0]], scales=1.0)  # p_t is N(0, 1 + σ²)
        >>> generator = torch.Generator().manual_seed(0)
        >>> x_t = torch.tensor([[1.0]], dtype=torch.float64)
        >>> estimate_score(target, x_t, 1.0, 1.0, 100, generator, c=mixing_weight(1.0, 1.0, 1.0))[0]
        tensor([[-0.5000]], dtype=torch.float64)
    """
    if n_samples < 1:
        raise ValueError(f"n_samples is {n_samples}; it must be at least 1")
    alpha, sigma, c = (
        torch.as_tensor(v, dtype=x_t.dtype, device=x_t.device).expand(len(x_t)) for v in (alpha, sigma, c)
    )
    draws = posterior_draws(target, x_t, alpha, sigma, n_samples, generator, x_0=x_0)
    c = c.reshape(-1, *(1 for _ in target.event_shape))
    return draws.denoising + c * (draws.target - draws.denoising), draws.effective_size


class PosteriorDraws(NamedTuple):
    """What K weighted draws of p(x | x_t) tell, row by row.

    Attributes:
        target, denoising: (n, *event_shape) weighted means of both score identities, of equal expectation.
        effective_size: (n,) effective number of draws; zero where all energies are infinite, and the means with it.
        chosen: (n, *event_shape) one of the draws, by the weights.
    """

    target: torch.Tensor
    denoising: torch.Tensor
    effective_size: torch.Tensor
    chosen: torch.Tensor


def posterior_draws(target, x_t, alpha, sigma, n_samples, generator, *, x_0=None):
    """The draws of :func:`estimate_score`, in chunks that fit into memory: :class:`PosteriorDraws`."""
    rows = max(1, _CHUNK // n_samples)
    spots = torch.rand(len(x_t), 1, generator=generator, dtype=x_t.dtype, device=x_t.device)
    parts = []
    for start in range(0, len(x_t), rows):
        part = slice(start, start + rows)
        kept = None if x_0 is None else x_0[part]
        parts.append(_draws(target, x_t[part], alpha[part], sigma[part], n_samples, generator, kept, spots[part]))
    return PosteriorDraws(*(torch.cat(values) for values in zip(*parts, strict=True)))


def _draws(target, x_t, alpha, sigma, n_samples, generator, x_0, spots):
    n, shape = len(x_t), target.event_shape
    alpha, sigma = (value.reshape(-1, 1, *(1 for _ in shape)) for value in (alpha, sigma))
    noise = target.normal(n * n_samples, generator).to(x_t.dtype).unflatten(0, (n, n_samples))
    x = (x_t.unsqueeze(1) + sigma * noise) / alpha
    if x_0 is not None:
        x[:, 0] = x_0
    u, score = target.reduced_potential_and_score(x.flatten(0, 1))
    log_weights, score = -u.unflatten(0, (n, n_samples)), score.unflatten(0, (n, n_samples))
    hopeless = log_weights.isneginf().all(1)
    weights = torch.where(hopeless[:, None], 0.0, log_weights.softmax(1)).to(x_t.dtype)
    by_draw = weights.reshape(n, n_samples, *(1 for _ in shape))
    arm = torch.where(by_draw > 0, alpha * x - x_t.unsqueeze(1), 0.0)
    cumulated = weights.double().cumsum(1)
    pick = (cumulated <= spots * cumulated[:, -1:]).sum(1).clamp(max=n_samples - 1)
    return (
        (by_draw * score).sum(1) / alpha.squeeze(1),
        (by_draw * arm).sum(1) / sigma.squeeze(1) ** 2,
        torch.where(hopeless, 0.0, 1 / weights.square().sum(1)),
        x[torch.arange(n, device=x.device), pick],
    )
