"""Scores of noised densities: identities that express them by the density itself, and estimators from its energy."""

import torch

__all__ = ["estimate_score", "mixing_weight", "posterior_score"]

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


def estimate_score(target, x_t, alpha, sigma, n_samples, generator, *, c=1.0):
    r"""∇log p_t(x_t) from energies and scores at K draws x⁽ⁱ⁾ ~ N(x_t/α, (σ/α)²), weighted by e^{−u}.

    With c = 1 it is the estimator of iDEM,

    .. math:: S_K(x_t) = \sum_i \mathrm{softmax}_i(-u(x^{(i)}))\,\frac{-\nabla u(x^{(i)})}{\alpha}
              = \nabla_{x_t} \log \frac1K \sum_i e^{-u(x^{(i)})},

    biased for finite K; other c mix in the denoising identity (see :func:`posterior_score`), which has the lower
    variance at large σ.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        x_t: (n, *event_shape).
        alpha, sigma: a number, or (n,).
        n_samples: K, evaluations a row.
        generator: torch Generator.
        c: a number, or (n,).

    Returns:
        scores (n, *event_shape) and the effective number of draws (n,), (Σw)²/Σw²; both zero in rows all of whose
        draws have infinite energy.

    References:
        Akhound-Sadegh et al., Iterated denoising energy matching, ICML 2024, arXiv:2402.06121.

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
    rows = max(1, _CHUNK // n_samples)
    levels = [
        torch.as_tensor(value, dtype=x_t.dtype, device=x_t.device).expand(len(x_t)) for value in (alpha, sigma, c)
    ]
    estimates, sizes = torch.empty_like(x_t), x_t.new_empty(len(x_t))
    for start in range(0, len(x_t), rows):
        part = slice(start, start + rows)
        estimates[part], sizes[part] = _estimate(target, x_t[part], [v[part] for v in levels], n_samples, generator)
    return estimates, sizes


def _estimate(target, x_t, levels, n_samples, generator):
    alpha, sigma, c = (value.reshape(-1, 1, *(1 for _ in target.event_shape)) for value in levels)
    noise = target.normal(len(x_t) * n_samples, generator).to(x_t.dtype).unflatten(0, (len(x_t), n_samples))
    x = (x_t.unsqueeze(1) + sigma * noise) / alpha
    u, score = target.reduced_potential_and_score(x.flatten(0, 1))
    log_weights = -u.unflatten(0, (len(x_t), n_samples))
    hopeless = log_weights.isneginf().all(1)
    weights = log_weights.softmax(1).to(x_t.dtype)
    by_draw = posterior_score(x_t.unsqueeze(1), x, score.unflatten(0, (len(x_t), n_samples)), alpha, sigma, c)
    estimate = (weights.reshape(*weights.shape, *(1 for _ in target.event_shape)) * by_draw).sum(1)
    estimate[hopeless] = 0.0
    return estimate, torch.where(hopeless, 0.0, 1 / weights.square().sum(1))
