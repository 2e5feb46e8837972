"""Densities of noise and of what noise ends as: normal on real numbers, wrapped normal and uniform on circles."""

import math

import torch

__all__ = ["draw_prior", "log_normal", "log_prior", "require_circles", "wrapped"]

#: Images of a circle further away than this many widths are below double precision.
_FURTHEST = 9.0


def require_circles(target, schedule):
    """Refuse a schedule that shrinks x where circles cannot shrink."""
    if target.periods is not None and schedule.kind != "VE":
        raise ValueError(
            f"{target.name} has angles, whose circle only noise of kind 'VE' keeps; this is {schedule.kind!r}"
        )


def wrapped(target, x):
    """The same configurations, each angle within half a turn of zero."""
    if target.periods is None:
        return x
    return torch.where(target.periods.isinf(), x, _to_half_turn(x, target.periods))


def _to_half_turn(x, period):
    return x - period * torch.round(x / period)


def log_normal(target, standardised, scale):
    r"""log N(x; μ, scale²) for (x − μ)/scale, in the subspace of the target: (n, *event_shape) → (n,).

    On a circle of length P noise is wrapped: :math:`\sum_m N(x + mP; \mu, \mathrm{scale}^2)`, with all images that
    double precision can tell.

    Arguments:
        target: a :class:`~openmm_diffsampler.targets.Target`.
        standardised: (x − μ)/scale.
        scale: a number; or, where the target has periods, a tensor like a configuration.

    Example:
        >>> from openmm_diffsampler import GaussianMixture
        >>> log_normal(GaussianMixture([[0.0]], scales=1.0), torch.zeros(1, 1), 1.0)
        tensor([-0.9189])
    """
    if target.periods is None:
        d = target.n_degrees_of_freedom
        square = standardised.flatten(1).square().sum(1)
        return -0.5 * square - d * (math.log(scale) + 0.5 * math.log(2 * math.pi))
    periods = target.periods
    scale = torch.as_tensor(scale, dtype=periods.dtype, device=periods.device).expand(periods.shape)
    turns = periods.isfinite()
    by_column = -0.5 * standardised.square() - scale.log() - 0.5 * math.log(2 * math.pi)
    by_column[:, turns] += _log_images(standardised[:, turns], (periods / scale)[turns])
    return by_column.flatten(1).sum(1)


def _log_images(arm, period):
    """log Σ_m exp(½a² − ½(a + mP)²) in units of the scale: (n, k), (k,) → (n, k)."""
    nearest = _to_half_turn(arm, period)
    n = math.ceil(_FURTHEST / float(period.min())) + 1 if len(period) else 0
    images = torch.arange(-n, n + 1, dtype=arm.dtype, device=arm.device)
    squares = (nearest.unsqueeze(-1) + period.unsqueeze(-1) * images).square()
    return 0.5 * arm.square() + torch.logsumexp(-0.5 * squares, -1)


def draw_prior(target, n, scale, generator):
    """n draws of the prior, N(0, scale²) and uniform on circles, with their log-density."""
    noise = target.normal(n, generator)
    if target.periods is None:
        return scale * noise, log_normal(target, noise, scale)
    spots = torch.rand(noise.shape, generator=generator, dtype=noise.dtype, device=noise.device) - 0.5
    real = target.periods.isinf()
    x = torch.where(real, scale * noise, spots * torch.where(real, 0.0, target.periods))
    return x, log_prior(target, x, scale)


def log_prior(target, x, scale):
    """The log-density of :func:`draw_prior` at x, (n,)."""
    if target.periods is None:
        return log_normal(target, x / scale, scale)
    real = target.periods.isinf()
    log_density = -0.5 * (x[:, real] / scale).square() - math.log(scale) - 0.5 * math.log(2 * math.pi)
    return log_density.sum(1) - float(target.periods[~real].log().sum())
